//! What is given up of the past, in small steps.
//!
//! Two things leave: with a budget, the oldest bodies and undo records of the chain with what the
//! indexes know of them, down to the blocks that every node keeps; and on every node the bodies
//! of branches that came to nothing. Headers stay, and so does how whole a block was: the chain
//! has passed it, and nobody asks for it again.
//!
//! A step is one atomic batch of deletions, counters and the height where history now starts. It
//! needs no sync: a power cut that takes it brings the bodies back.

use std::{ops::Bound, sync::Arc};

use ashlar_consensus::SpentCoins;
use ashlar_primitives::{Block, BlockId, Decode as _, wire::Status};

use crate::{
    headers::missing,
    index, keys,
    keys::meta,
    ledger::Ledger,
    records::{self, IndexRecord},
    store::{Batch, Direction, Durability, Family, Read, Store, StoreError},
    view::View,
};

/// Blocks that one step deletes at most.
const STEP_BLOCKS: usize = 128;

/// Bodies and undo records of a step, in bytes: the last block may exceed it.
const STEP_BYTES: u64 = 16 << 20;

/// After so many deleted bytes the store is asked to give the room back.
const RECLAIM_BYTES: u64 = 16 << 20;

/// A branch with less work whose tip is this far below the chain's loses its bodies
/// (THREATS S11). Should it ever matter again, they are fetched again.
const DEAD_BRANCH_DEPTH: u32 = 1_000;

/// Dead branches are looked for each time the chain has grown by so many blocks.
const SWEEP_INTERVAL_BLOCKS: u32 = 100;

/// Tips that one step of a sweep looks at.
const SWEEP_TIPS: usize = 64;

/// Entries that are read at once where a store that never counted is counted: each may be as
/// large as a block.
const COUNT_ENTRIES: usize = 8;

/// How much of the past is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The height from which on the chain's bodies and undo records are kept (the genesis block
    /// always is); 0 where nothing was ever pruned.
    pub start: u32,
    /// Bytes of all stored bodies, other branches' too.
    pub body_bytes: u64,
    /// Bytes of all stored undo records.
    pub undo_bytes: u64,
}

impl History {
    /// What a budget is compared with.
    pub const fn bytes(&self) -> u64 {
        self.body_bytes.saturating_add(self.undo_bytes)
    }

    /// As it is stored.
    pub(crate) fn read(store: &impl Store) -> Result<Self, StoreError> {
        let start = match store.get(Family::Meta, meta::HISTORY_START)? {
            Some(value) => records::read_height(&value)?,
            None => 0,
        };
        let sizes = (
            store.get(Family::Meta, meta::BODY_BYTES)?,
            store.get(Family::Meta, meta::UNDO_BYTES)?,
        );
        if let (Some(bodies), Some(undo)) = sizes {
            let body_bytes = records::read_size(&bodies)?;
            return Ok(Self { start, body_bytes, undo_bytes: records::read_size(&undo)? });
        }
        let body_bytes = count(store, Family::Blocks)?;
        let history = Self { start, body_bytes, undo_bytes: count(store, Family::Undo)? };
        let mut batch = Batch::default();
        history.write_sizes(&mut batch);
        store.commit(batch, Durability::Later)?;
        Ok(history)
    }

    pub(crate) fn write_sizes(&self, batch: &mut Batch) {
        let [bodies, undo] = [self.body_bytes, self.undo_bytes].map(records::size_value);
        batch.put(Family::Meta, meta::BODY_BYTES.to_vec(), bodies);
        batch.put(Family::Meta, meta::UNDO_BYTES.to_vec(), undo);
    }
}

/// Bytes of all values of a family.
fn count(store: &impl Read, family: Family) -> Result<u64, StoreError> {
    let mut bytes = 0;
    let mut after = Bound::Unbounded;
    loop {
        let range = (after.as_ref().map(Vec::as_slice), Bound::Unbounded);
        let page = store.scan(family, range, COUNT_ENTRIES, Direction::Forward)?;
        let Some((last, _)) = page.last() else { return Ok(bytes) };
        after = Bound::Excluded(last.clone());
        bytes = page.iter().map(|(_, value)| length(value)).fold(bytes, u64::saturating_add);
    }
}

pub(crate) fn length(value: &[u8]) -> u64 {
    u64::try_from(value.len()).unwrap_or(u64::MAX)
}

/// Where the search for dead branches is.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// Of the chain when the last search began.
    begun_at: u32,
    /// The tip looked at last; `None` while no search goes on.
    after: Option<Vec<u8>>,
}

impl Sweep {
    /// The first one begins when the chain has grown from this height.
    pub(crate) const fn from(height: u32) -> Self {
        Self { begun_at: height, after: None }
    }
}

/// As read from the store.
type Value = Option<Vec<u8>>;

/// Deletions that are to happen at once.
#[derive(Debug, Default)]
struct Removal {
    batch: Batch,
    body_bytes: u64,
    undo_bytes: u64,
    blocks: usize,
}

impl Removal {
    const fn bytes(&self) -> u64 {
        self.body_bytes.saturating_add(self.undo_bytes)
    }

    const fn is_full(&self) -> bool {
        self.blocks >= STEP_BLOCKS || self.bytes() >= STEP_BYTES
    }
}

impl<S: Store> Ledger<S> {
    /// One bounded piece of work, one batch; whether there was any. Only between steps, when what
    /// is stored is the live chain.
    pub(crate) fn prune_step(&mut self) -> Result<bool, StoreError> {
        if self.freed_bytes >= RECLAIM_BYTES {
            // Views that still held what was deleted have been replaced by now.
            self.freed_bytes = 0;
            self.store.reclaim()?;
        }
        Ok(self.prune_chain()? || self.sweep_branches()?)
    }

    /// Gives up the blocks below a height, whatever room there is; `next_move` does it. What no
    /// budget takes away stays, as does all of it where nothing is pruned
    /// ([`crate::Settings::prune_bytes`]). Holds until this ledger is closed.
    pub const fn prune_below(&mut self, height: u32) {
        self.prune_floor = height;
    }

    /// The lowest height that no budget takes away.
    fn prune_limit(&self) -> u32 {
        let kept = Status::recent_blocks(self.params.block_interval);
        self.live.header.height.saturating_add(1).saturating_sub(kept)
    }

    fn prune_chain(&mut self) -> Result<bool, StoreError> {
        let Some(budget_bytes) = self.settings.prune_bytes else { return Ok(false) };
        let limit = self.prune_limit();
        let stored_bytes = self.history.bytes();
        let mut start = self.history.start.max(1);
        let mut removal = Removal::default();
        while start < limit
            && (start < self.prune_floor
                || stored_bytes.saturating_sub(removal.bytes()) > budget_bytes)
            && !removal.is_full()
        {
            let id = self.live_id_at(start)?.ok_or_else(|| {
                StoreError::corrupt(format_args!("no block at height {start}, below the tip"))
            })?;
            self.remove_indexed(&id, start, &mut removal)?;
            start = start.saturating_add(1);
        }
        if removal.blocks == 0 {
            return Ok(false);
        }
        self.history.start = start;
        let value = records::height_value(start);
        removal.batch.put(Family::Meta, meta::HISTORY_START.to_vec(), value);
        self.commit_removal(removal)?;
        self.refresh();
        Ok(true)
    }

    /// A block of the chain goes, and what the indexes know of it.
    fn remove_indexed(
        &mut self,
        id: &BlockId,
        height: u32,
        removal: &mut Removal,
    ) -> Result<(), StoreError> {
        let indexes = self.settings.indexes();
        let (body, undo) = self.remove(id, height, removal)?;
        if indexes == IndexRecord::default() {
            return Ok(());
        }
        let lost = |what| StoreError::corrupt(format_args!("{what} of the block {id} is missing"));
        let block = Block::from_bytes(&body.ok_or_else(|| lost("the body"))?)
            .map_err(|error| StoreError::corrupt(format_args!("block {id}: {error}")))?;
        let spent: SpentCoins = records::read_undo(&undo.ok_or_else(|| lost("the undo record"))?)?;
        for (family, key, _) in index::plain_rows(&block, height, &spent, indexes)? {
            removal.batch.delete(family, key);
        }
        Ok(())
    }

    /// A block's body and undo record go; what they were.
    fn remove(
        &mut self,
        id: &BlockId,
        height: u32,
        removal: &mut Removal,
    ) -> Result<(Value, Value), StoreError> {
        let key = keys::block(id);
        let body = self.store.get(Family::Blocks, &key)?;
        let undo = self.store.get(Family::Undo, &key)?;
        let size = |value: &Value| value.as_deref().map_or(0, length);
        removal.body_bytes = removal.body_bytes.saturating_add(size(&body));
        removal.undo_bytes = removal.undo_bytes.saturating_add(size(&undo));
        removal.blocks = removal.blocks.saturating_add(1);
        removal.batch.delete(Family::Blocks, key.clone());
        removal.batch.delete(Family::Undo, key);
        self.headers.drop_body(id, &mut removal.batch)?;
        self.bodies.remove(height, id);
        Ok((body, undo))
    }

    fn commit_removal(&mut self, mut removal: Removal) -> Result<(), StoreError> {
        let history = &mut self.history;
        history.body_bytes = history.body_bytes.saturating_sub(removal.body_bytes);
        history.undo_bytes = history.undo_bytes.saturating_sub(removal.undo_bytes);
        history.write_sizes(&mut removal.batch);
        self.freed_bytes = self.freed_bytes.saturating_add(removal.bytes());
        self.store.commit(removal.batch, Durability::Later)
    }

    /// Looks through the tips of branches, some in each step, for those that came to nothing.
    fn sweep_branches(&mut self) -> Result<bool, StoreError> {
        if !self.is_resting() {
            return Ok(false);
        }
        let height = self.live.header.height;
        let after = match self.sweep.after.take() {
            Some(tip) => Bound::Excluded(tip),
            None if height >= self.sweep.begun_at.saturating_add(SWEEP_INTERVAL_BLOCKS) => {
                self.sweep.begun_at = height;
                Bound::Unbounded
            }
            None => return Ok(false),
        };
        let floor = height.saturating_sub(DEAD_BRANCH_DEPTH).max(self.history.start);
        let range = (after.as_ref().map(Vec::as_slice), Bound::Unbounded);
        let page = self.store.scan(Family::Tips, range, SWEEP_TIPS, Direction::Forward)?;
        let is_last = page.len() < SWEEP_TIPS;
        let mut removal = Removal::default();
        let mut seen = None;
        for (key, _) in page {
            self.strip_branch(&keys::read_block_id(&key)?, floor, &mut removal)?;
            if removal.is_full() {
                // This tip comes again, since some of its branch may be left.
                break;
            }
            seen = Some(key);
        }
        let goes_on = removal.is_full() || !is_last;
        if goes_on {
            // An empty key is before all tips.
            self.sweep.after = seen.or(match after {
                Bound::Excluded(tip) => Some(tip),
                _ => Some(Vec::new()),
            });
        }
        let found = removal.blocks > 0;
        if found {
            self.commit_removal(removal)?;
            self.refresh();
        }
        Ok(found || goes_on)
    }

    /// Where a branch is dead its bodies go, from its tip down to the chain or to where a branch
    /// that still has bodies leaves it.
    fn strip_branch(
        &mut self,
        tip: &BlockId,
        floor: u32,
        removal: &mut Removal,
    ) -> Result<(), StoreError> {
        let mut node = self.headers.node(tip)?.ok_or_else(|| missing(tip))?;
        let may_win = node.failed.is_none() && node.state.work >= self.live.header.work;
        if node.state.height >= floor || may_win {
            return Ok(());
        }
        while !removal.is_full() && self.live_id_at(node.state.height)? != Some(node.state.id) {
            let (id, height) = (node.state.id, node.state.height);
            if node.has_body {
                self.remove(&id, height, removal)?;
            }
            let parent = node.header.parent;
            let mut siblings = self.headers.tree.children(&parent).filter(|sibling| *sibling != id);
            let tree = &self.headers.tree;
            if siblings.any(|sibling| tree.get(&sibling).is_some_and(|node| node.has_body)) {
                break;
            }
            node = self.headers.node(&parent)?.ok_or_else(|| missing(&parent))?;
        }
        Ok(())
    }

    /// Readers get a view that knows what was just committed, where they are not shown an earlier
    /// tip.
    pub(crate) fn refresh(&mut self) {
        if self.live.header.id == self.published.tip.id {
            self.published = Arc::new(self.make_view(self.published.sequence));
            self.refreshed = true;
        }
    }

    /// The published view, where it was replaced by one of the same tip since the last call.
    pub fn take_refreshed(&mut self) -> Option<Arc<View>> {
        std::mem::take(&mut self.refreshed).then(|| self.view())
    }

    /// Whether bodies that were deleted are wanted again since the last call: a branch that had
    /// come to nothing has the most work now.
    pub const fn take_reopened(&mut self) -> bool {
        std::mem::replace(&mut self.reopened, false)
    }

    /// Where history starts, if the block `id` is of the chain and can't be undone because it, or
    /// what stands on it, was pruned.
    pub fn pruned_below(&self, id: &BlockId) -> Result<Option<u32>, StoreError> {
        let start = self.history.start;
        let Some(node) = self.headers.node(id)? else { return Ok(None) };
        let height = node.state.height;
        let is_gone = height < start && self.live_id_at(height)? == Some(*id);
        Ok(is_gone.then_some(start))
    }

    /// Before the live tip moves to a branch that leaves the chain at this height.
    pub(crate) const fn check_reachable(&self, fork_height: u32) -> Result<(), StoreError> {
        let history_start = self.history.start;
        if fork_height < self.live.header.height && fork_height.saturating_add(1) < history_start {
            return Err(StoreError::BelowHistory { fork_height, history_start });
        }
        Ok(())
    }
}
