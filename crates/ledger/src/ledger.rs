//! The ledger: one owner drives it, one move at a time; signatures can be away between two.
//!
//! ```text
//! accept_header → store_body → next_move ─┬─ Idle
//!                                         ├─ Progress            (a block disconnected, a step written; call again)
//!                                         └─ Verify(WalkedBlock) → signatures → complete → next_move …
//! ```
//!
//! While a block is out, `next_move` may walk the one after it, so that no core waits. They are
//! completed in the order in which they were given out.
//!
//! Three tips: the *live* one, up to which coins and counters stand; the *stored* one, where the
//! last step was committed; the *published* one, of which readers, peers and miners are told.
//! At rest all three are the best chain's. The moves are in `moves.rs`, opening a store in
//! `open.rs`, the road for drivers without jobs in `offer.rs`, what operators decide in `orders.rs`.

use std::{collections::VecDeque, sync::Arc};

use ashlar_consensus::{
    BlockError, CheckedBlock, HeaderError, HeaderState, JudgeError, Params, SignatureCheck, State,
    Terms, UtxoDiff, Walked, Work, header::check_version, judge_header, open_body,
};
use ashlar_primitives::{BlockId, Header};
use thiserror::Error;

use crate::{
    ahead::Ahead,
    assumed::Assumed,
    bodies::BodyCache,
    frozen::Frozen,
    fuse::Fuse,
    headers::Headers,
    keys,
    milestones::Place,
    moved::Moved,
    prune::{History, Sweep, length},
    records::{self, IndexRecord, Totals, is_operators},
    route::Route,
    step::{Full, Step},
    store::{Announced, Batch, Durability, Family, Read as _, Store, StoreError},
    tree::{Node, inherited_code},
    view::View,
};

pub use crate::{
    moved::{MovedBlock, Published},
    offer::Offered,
};

/// How many headers are kept back before they are written without waiting for a step.
const MAX_UNWRITTEN_HEADERS: usize = 2_000;

/// Most ids of a locator (PROTOCOL.md §12 tag 1).
const MAX_LOCATOR: usize = 64;

/// How many of a locator's ids follow each other before the gaps begin to double.
const LOCATOR_DENSE: usize = 10;

/// What the operator chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Find confirmed transactions by txid.
    pub transaction_index: bool,
    /// Find coins and history by lock.
    pub lock_index: bool,
    /// Bodies and undo records are kept within so many bytes, the oldest leave first; never fewer
    /// blocks than [`ashlar_primitives::wire::Status::recent_blocks`]. `None`: all are kept.
    pub prune_bytes: Option<u64>,
    /// Changes that a step holds at most while catching up or reorganising, in bytes.
    pub step_bytes: usize,
    /// How long a step stays open at most while catching up or reorganising.
    pub step_ms: u64,
    /// Below this depth under the tip of their branch, headers are read from disk, but for some
    /// thousands that the chain will come to next.
    pub headers_in_memory: u32,
    /// Bodies kept in memory until they are connected; others are read back from disk.
    pub body_cache_bytes: usize,
    /// Bodies that one [`Published`] carries; it tells the others by id.
    pub moved_body_bytes: usize,
    /// A block whose signatures, and those of its ancestors, are taken for good: every other rule
    /// is judged. Whoever names one trusts where the name came from; it means nothing while the
    /// block's header is not in the tree.
    pub assume_valid: Option<BlockId>,
    /// At the tip, a block is told of as soon as it is judged and its body is safe on disk, and what
    /// it changes is written right after: a crash between the two costs judging it again, before
    /// anybody is served ([`Ledger::resume`]). Else it is written first.
    pub tell_first: bool,
    /// A branch that leaves the published chain deeper than this waits for
    /// [`Ledger::accept_held`], whatever work it has. `None`: the most work wins, as the protocol
    /// has it.
    pub reorg_hold: Option<u32>,
}

impl Default for Settings {
    /// The defaults of docs/architecture.md, both indexes on.
    fn default() -> Self {
        Self {
            transaction_index: true,
            lock_index: true,
            prune_bytes: None,
            step_bytes: 32 << 20,
            step_ms: 2_000,
            headers_in_memory: 20_000,
            body_cache_bytes: 64 << 20,
            moved_body_bytes: 32 << 20,
            assume_valid: None,
            tell_first: false,
            reorg_hold: None,
        }
    }
}

impl Settings {
    pub(crate) const fn indexes(&self) -> IndexRecord {
        IndexRecord { transactions: self.transaction_index, locks: self.lock_index }
    }
}

/// Why a ledger can't be opened.
#[derive(Debug, Error)]
pub enum OpenLedgerError {
    /// The store was made for another genesis.
    #[error(
        "this data directory holds the chain {found}, not {expected}; choose another directory, or the genesis file that made this one"
    )]
    OtherChain {
        /// The chain id in the store.
        found: BlockId,
        /// The chain id of the genesis given.
        expected: BlockId,
    },
    /// The store was written by another release.
    #[error(
        "the stored data has schema {found}, this program knows {known}; use the release that wrote it, or sync anew"
    )]
    OtherSchema {
        /// In the store.
        found: u32,
        /// [`crate::records::SCHEMA`].
        known: u32,
    },
    /// A reindex was interrupted before there was anything to go on from.
    #[error(
        "a reindex of this data directory was not finished; run `ashlar-node reindex` again to finish it"
    )]
    Reindexing,
    /// Told to stop while an index was built.
    #[error("interrupted while building an index; the next start goes on from there")]
    Interrupted,
    /// An index can't be switched on: the blocks that it must know are no longer here.
    #[error(
        "the {index} index can't be switched on: this data directory is pruned and holds blocks from {history_start} on only. Start with the index off, or remove the data directory and sync again"
    )]
    IndexNeedsHistory {
        /// `transaction` or `address`.
        index: &'static str,
        /// The lowest block that is kept.
        history_start: u32,
    },
    /// We are broken.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an opened ledger noticed. It goes on: nothing that it holds is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenWarning {
    /// The database is whole, but older than what this node once told others.
    #[error(
        "this node announced block {} at height {}, and its data directory no longer holds it: damage threw the database back to height {found_height}. What is missing is fetched again from peers; check the disk",
        announced.id, announced.height
    )]
    WentBack {
        /// The tip that is missing.
        announced: Announced,
        /// Where the database stands.
        found_height: u32,
    },
    /// Nothing tells whether the database is as new as what this node told others.
    #[error(
        "the marker of the announced tip is damaged; the database opened at height {found_height} and is checked against nothing. Check the disk"
    )]
    MarkerDamaged {
        /// Where the database stands.
        found_height: u32,
    },
}

/// A header that is in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderAccepted {
    /// Now.
    New,
    /// Before.
    Known,
}

/// A header that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderRefusal {
    /// Breaks a rule. Ids refused as `InvalidParent` whose own rules hold are remembered as failed
    /// (PROTOCOL.md §8), others are not kept.
    #[error(transparent)]
    Rule(#[from] HeaderError),
    /// Not a verdict: offer it again when the parent is known.
    #[error("unknown parent")]
    UnknownParent,
    /// Not a verdict: offer it again when its time has come.
    #[error("too far in the future")]
    TooNew,
    /// Remembered as failed with this code; `invalidated` and `held` are the operator's doing and
    /// nobody's fault.
    #[error("known to be invalid: {code}")]
    Failed {
        /// Of PROTOCOL.md §8, or `invalidated`, or `held`.
        code: &'static str,
    },
}

impl HeaderRefusal {
    /// The stable code of PROTOCOL.md §8.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rule(error) => error.code(),
            Self::UnknownParent => "unknown-parent",
            Self::TooNew => "time-too-new",
            Self::Failed { code } => code,
        }
    }
}

/// What storing a body meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyStored {
    /// Kept; `next_move` may now have something to do.
    New,
    /// Was kept already, or was pruned.
    Known,
    /// Not kept: its header is not in the tree, or it is remembered as failed.
    Unwanted,
}

/// What to do next towards the best chain.
#[derive(Debug)]
pub enum Move {
    /// Nothing, until a header or body comes, a walked block is completed, or
    /// [`Ledger::next_wakeup`].
    Idle,
    /// Something was done; call again.
    Progress,
    /// Verify its signatures, then call [`Ledger::complete`]; after those given out before it.
    Verify(WalkedBlock),
}

/// A block that was walked, its signatures to verify. While any is out, the live state stands still.
#[derive(Debug)]
pub struct WalkedBlock {
    pub(crate) block: Arc<CheckedBlock>,
    /// On the heap: a move is small.
    pub(crate) walked: Box<Walked>,
    /// No signature is to verify: the operator assumes them good.
    pub(crate) is_assumed: bool,
}

impl WalkedBlock {
    /// The block's.
    pub fn id(&self) -> BlockId {
        self.block.id()
    }
    /// The block's.
    pub fn height(&self) -> u32 {
        self.block.height()
    }
    /// What is to verify, in order of place: nothing under [`Settings::assume_valid`].
    pub fn checks(&self) -> &[SignatureCheck] {
        &self.walked.checks
    }
    /// What the same job may sum.
    pub fn terms(&self) -> Terms {
        self.walked.terms()
    }
    /// Takes the checks away (to a job).
    pub fn take_checks(&mut self) -> Vec<SignatureCheck> {
        std::mem::take(&mut self.walked.checks)
    }
}

/// A walked block that is not completed.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) id: BlockId,
    /// `None` where it breaks a rule: nothing is walked after it.
    pub(crate) diff: Option<Arc<UtxoDiff>>,
}

/// What `complete` made of a walked block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completed {
    /// It is the live tip now.
    Connected,
    /// It and its descendants are remembered as failed.
    Invalid(BlockError),
    /// Judged for nothing: the operator took the block away meanwhile, or the signatures were
    /// those of another block. `next_move` goes on from where the chain stands.
    Dropped,
}

/// What the rules and the tree say of a header that is not in the tree's good part yet.
pub(crate) enum Judged {
    /// In the tree, not failed.
    Known(Node),
    /// Good, and new.
    New(HeaderState),
    /// Not taken. `remember`: its own rules hold under a failed parent, so it is kept as failed.
    Refused { refusal: HeaderRefusal, remember: Option<(HeaderState, &'static str)> },
}

/// The ledger over a store.
pub struct Ledger<S: Store> {
    pub(crate) store: Arc<Fuse<S>>,
    pub(crate) params: Arc<Params>,
    pub(crate) settings: Settings,
    pub(crate) headers: Headers<Fuse<S>>,
    /// After the live tip.
    pub(crate) live: State,
    pub(crate) totals: Totals,
    /// What leads from the stored state to the live one.
    pub(crate) step: Step,
    /// The step before, on its way to the disk.
    pub(crate) frozen: Option<Frozen>,
    /// The step that was told of and is still to be written.
    pub(crate) late: Option<Arc<Full>>,
    pub(crate) bodies: BodyCache,
    pub(crate) assumed: Option<Assumed>,
    /// From where the best whole branch leaves the live chain to its tip.
    pub(crate) route: Route,
    /// From the first block that is not whole towards the best header.
    pub(crate) ahead: Ahead,
    /// The blocks whose signatures are away, each the parent of the next.
    pub(crate) out: VecDeque<Out>,
    pub(crate) published: Arc<View>,
    /// From the published tip to the live one.
    pub(crate) moved: Moved,
    /// What was published and not yet taken.
    pub(crate) news: Option<Moved>,
    /// The work of the tip that others were told of last, perhaps by an earlier run.
    pub(crate) told: Work,
    /// At which height memory was last tidied.
    pub(crate) pruned_at: u32,
    /// How many headers were left in memory then, where new ones were the reason.
    pub(crate) tidied_len: usize,
    pub(crate) warning: Option<OpenWarning>,
    /// With what the open step adds to it.
    pub(crate) history: History,
    /// Below this height the operator wants no blocks ([`Ledger::prune_below`]).
    pub(crate) prune_floor: u32,
    pub(crate) sweep: Sweep,
    /// Deleted since the store was last asked to give room back.
    pub(crate) freed_bytes: u64,
    /// Whether the published view was replaced by one of the same tip.
    pub(crate) refreshed: bool,
    /// Whether deleted bodies are wanted again.
    pub(crate) reopened: bool,
    /// The lowest block of the branch that the operator let through last.
    pub(crate) accepted: Option<BlockId>,
    /// Whether a branch was held back.
    pub(crate) has_held: bool,
    /// See [`Self::set_withheld`].
    pub(crate) is_withheld: bool,
}

impl<S: Store> core::fmt::Debug for Ledger<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let tip = &self.live.header;
        write!(f, "Ledger({} at {}, published {:?})", tip.id, tip.height, self.published)
    }
}

impl<S: Store> Ledger<S> {
    /// The chain's.
    pub const fn params(&self) -> &Arc<Params> {
        &self.params
    }

    /// What was wrong when the ledger was opened, for the operator.
    pub const fn warning(&self) -> Option<&OpenWarning> {
        self.warning.as_ref()
    }

    /// The published view: what readers, peers and miners are told.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.published)
    }

    // --- headers

    /// Group 1 of §8 in order, `unknown-parent` and `time-too-new` included.
    pub fn accept_header(
        &mut self,
        header: &Header,
        now_seconds: u64,
    ) -> Result<Result<HeaderAccepted, HeaderRefusal>, StoreError> {
        match self.judge(header, now_seconds)? {
            Judged::Known(_) => Ok(Ok(HeaderAccepted::Known)),
            Judged::New(state) => {
                self.insert_header(*header, state, None)?;
                Ok(Ok(HeaderAccepted::New))
            }
            Judged::Refused { refusal, remember } => {
                if let Some((state, code)) = remember {
                    self.insert_header(*header, state, Some(code))?;
                }
                Ok(Err(refusal))
            }
        }
    }

    pub(crate) fn judge(&self, header: &Header, now_seconds: u64) -> Result<Judged, StoreError> {
        let refused = |refusal| Ok(Judged::Refused { refusal, remember: None });
        if let Some(node) = self.headers.node(&header.id())? {
            return match node.failed {
                Some(code) => refused(HeaderRefusal::Failed { code }),
                None => Ok(Judged::Known(node)),
            };
        }
        if let Err(error) = check_version(header) {
            return refused(error.into());
        }
        let Some(parent) = self.headers.node(&header.parent)? else {
            return refused(HeaderRefusal::UnknownParent);
        };
        let judged = judge_header(&parent.state, &self.params, header, now_seconds);
        if let Some(parent_code) = parent.failed {
            let refusal = match inherited_code(parent_code) {
                code if is_operators(code) => HeaderRefusal::Failed { code },
                _ => HeaderError::InvalidParent.into(),
            };
            let remember = judged.ok().map(|state| (state, inherited_code(parent_code)));
            return Ok(Judged::Refused { refusal, remember });
        }
        match judged {
            Ok(state) => Ok(Judged::New(state)),
            Err(JudgeError::TooNew { .. }) => refused(HeaderRefusal::TooNew),
            Err(JudgeError::Rule(error)) => refused(error.into()),
        }
    }

    pub(crate) fn insert_header(
        &mut self,
        header: Header,
        state: HeaderState,
        failed: Option<&'static str>,
    ) -> Result<(), StoreError> {
        self.headers.insert(Node { header, state, has_body: false, arrival: 0, failed })?;
        if self.headers.unwritten() >= MAX_UNWRITTEN_HEADERS {
            self.write_headers(Batch::default())?;
            self.tidy_headers();
        }
        self.look_ahead()
    }

    /// Commits what changed among the headers, with `batch`.
    pub(crate) fn write_headers(&mut self, mut batch: Batch) -> Result<(), StoreError> {
        self.headers.write(&mut batch);
        if !batch.is_empty() {
            self.store.commit(batch, Durability::Later)?;
        }
        Ok(())
    }

    /// A header state on any branch in memory or on disk, also of failed blocks.
    pub fn header_state(&self, id: &BlockId) -> Result<Option<HeaderState>, StoreError> {
        Ok(self.headers.node(id)?.map(|node| node.state))
    }

    /// A header on any branch, also of failed blocks.
    pub fn header(&self, id: &BlockId) -> Result<Option<Header>, StoreError> {
        Ok(self.headers.node(id)?.map(|node| node.header))
    }

    /// The code with which an id is remembered as failed.
    pub fn failed_code(&self, id: &BlockId) -> Result<Option<&'static str>, StoreError> {
        Ok(self.headers.node(id)?.and_then(|node| node.failed))
    }

    /// The header with the most work that is not failed: where sync wants to go.
    pub fn best_header(&self) -> HeaderState {
        let best = self.headers.tree.best_header();
        best.map_or_else(|| self.live.header.clone(), |node| node.state.clone())
    }

    /// How many headers are held in memory; all others are read when they are asked for.
    pub fn headers_held(&self) -> usize {
        self.headers.tree.len()
    }

    /// Newest first, at most 64, towards genesis: of the branch ending in `from`. Empty where
    /// that is not known.
    pub fn locator(&self, from: &BlockId) -> Result<Vec<BlockId>, StoreError> {
        let Some(node) = self.headers.node(from)? else { return Ok(Vec::new()) };
        let mut at = Place { id: node.state.id, height: node.state.height };
        let mut ids = vec![at.id];
        let mut gap = 1;
        while at.height > 0 && ids.len() < MAX_LOCATOR {
            if ids.len() > LOCATOR_DENSE {
                gap = u32::saturating_mul(gap, 2);
            }
            at = self.ancestor(at, at.height.saturating_sub(gap))?;
            ids.push(at.id);
        }
        Ok(ids)
    }

    /// Whether `id` is `ancestor` or above it. `false` where either is not known.
    pub fn is_descendant(&self, id: &BlockId, ancestor: &BlockId) -> Result<bool, StoreError> {
        let (Some(node), Some(low)) = (self.headers.node(id)?, self.headers.node(ancestor)?) else {
            return Ok(false);
        };
        let (from, to) = (Place { id: *id, height: node.state.height }, low.state.height);
        Ok(from.height >= to && self.ancestor(from, to)?.id == *ancestor)
    }

    /// The ancestor at a height that is not above.
    fn ancestor(&self, from: Place, height: u32) -> Result<Place, StoreError> {
        let mut at = from;
        while at.height > height {
            // From here on the live chain knows by height.
            if self.live_id_at(at.height)? == Some(at.id) {
                let id = self.live_id_at(height)?.ok_or_else(|| missing_height(height))?;
                return Ok(Place { id, height });
            }
            at = self.headers.lower(at, |place| Ok(place.height >= height))?;
        }
        Ok(at)
    }

    /// The live chain's block at a height.
    pub(crate) fn live_id_at(&self, height: u32) -> Result<Option<BlockId>, StoreError> {
        let tip = &self.live.header;
        if height >= tip.height {
            return Ok((height == tip.height).then_some(tip.id));
        }
        let value = self.step.get(&*self.store, Family::Heights, keys::height(height))?;
        value.map(|value| keys::read_block_id(&value)).transpose()
    }

    // --- bodies

    /// Whether the body is stored.
    pub fn has_body(&self, id: &BlockId) -> Result<bool, StoreError> {
        Ok(self.headers.node(id)?.is_some_and(|node| node.has_body))
    }

    /// Whether the body is stored, or was and is not wanted again: who offers it is late.
    pub fn knows_body(&self, id: &BlockId) -> Result<bool, StoreError> {
        Ok(self.headers.node(id)?.is_some_and(|node| node.knows_body()))
    }

    /// A stored block on any branch, opened again; `None` where there is no body, and for the
    /// genesis block, which is valid by definition and opens by no rule.
    pub fn block(&self, id: &BlockId) -> Result<Option<Arc<CheckedBlock>>, StoreError> {
        let Some(node) = self.headers.node(id)? else { return Ok(None) };
        let height = node.state.height;
        if height == 0 || !node.has_body {
            return Ok(None);
        }
        if let Some(block) = self.bodies.get(height, id) {
            return Ok(Some(block));
        }
        let Some(bytes) = self.store.get(Family::Blocks, &keys::block(id))? else {
            return Err(StoreError::corrupt(format_args!("the body of {id} is missing")));
        };
        // Opening it again costs a merkle root and proves that the disk kept every byte.
        let block = open_body(&self.params, &node.header, height, &bytes)
            .map_err(|error| StoreError::corrupt(format_args!("block {id}: {error}")))?;
        Ok(Some(Arc::new(block)))
    }

    /// Keeps a body whose header is in the tree.
    pub fn store_body(&mut self, block: Arc<CheckedBlock>) -> Result<BodyStored, StoreError> {
        self.keep_body(block, CheckedBlock::to_bytes)
    }

    /// [`Ledger::store_body`] of a block whose encoding may be at hand.
    pub(crate) fn keep_body(
        &mut self,
        block: Arc<CheckedBlock>,
        encoding: impl FnOnce(&CheckedBlock) -> Vec<u8>,
    ) -> Result<BodyStored, StoreError> {
        let id = block.id();
        match self.headers.node(&id)? {
            None => return Ok(BodyStored::Unwanted),
            Some(node) if node.failed.is_some() => return Ok(BodyStored::Unwanted),
            Some(node) if node.knows_body() => return Ok(BodyStored::Known),
            Some(_) => {}
        }
        self.headers.receive_body(&id)?;
        let mut batch = Batch::default();
        let bytes = encoding(&block);
        self.history.body_bytes = self.history.body_bytes.saturating_add(length(&bytes));
        let total = records::size_value(self.history.body_bytes);
        batch.put(Family::Meta, keys::meta::BODY_BYTES.to_vec(), total);
        batch.put(Family::Blocks, keys::block(&id), bytes);
        self.write_headers(batch)?;
        // What is told first waits for its body alone, which meanwhile may be walked.
        let is_next = block.header().parent == self.live.header.id && self.best_header().id == id;
        if self.settings.tell_first && is_next {
            self.store.start_sync();
        }
        self.bodies.insert(block, self.live.header.height);
        self.look_ahead()?;
        Ok(BodyStored::New)
    }

    /// Group 2 found that the block itself is wrong: remembered, with all its descendants. An
    /// error of group 3 is for [`Ledger::complete`] to find.
    pub fn mark_invalid(&mut self, id: &BlockId, error: &BlockError) -> Result<(), StoreError> {
        self.fail(id, error.code())
    }

    pub(crate) fn fail(&mut self, id: &BlockId, code: &'static str) -> Result<(), StoreError> {
        self.headers.fail(id, code)?;
        // Those above it that are not in memory do not know: the way is looked at again.
        self.ahead = Ahead::default();
        self.look_ahead()
    }
}

fn missing_height(height: u32) -> StoreError {
    StoreError::corrupt(format_args!("a header at height {height} is missing"))
}
