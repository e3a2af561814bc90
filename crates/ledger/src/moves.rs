//! How the live tip moves: connect, disconnect, reorganise, commit, publish.

use std::sync::Arc;

use ashlar_consensus::{
    BlockError, CheckedBlock, Signatures, SpentCoins, State, UtxoDiff, Verified, Walked,
    check_commitment,
    connect::{Transition, signature_error},
    disconnect,
    signature::Place,
    walk,
};
use ashlar_primitives::{Amount, BlockId, CoinList, OutPoint};

use crate::{
    ahead::Ahead,
    frozen::{Frozen, Standing},
    keys,
    layered::Layered,
    ledger::{Completed, Ledger, Move, Out, WalkedBlock},
    milestones,
    moved::{Moved, MovedBlock, Published},
    prune::length,
    records::{self, IndexRecord, StateRecord, Totals},
    route::Aimed,
    step::Indexed,
    store::{Announced, Batch, Durability, Family, Read, Store, StoreError},
    tree::Node,
    view::View,
};

/// While the best header is further ahead than this, blocks are connected in large steps; within
/// it each is a step of its own (docs/architecture.md). Nobody is told of a step that is not
/// synced.
pub const CATCHING_UP_BLOCKS: u32 = 24;

/// How many walked blocks are out at most: one whose signatures are verified, and one that is next.
const MAX_OUT: usize = 2;

/// The part of a full step that is worth a thread's while.
const WORTH_WRITING: usize = 4;

/// Memory is tidied each time the chain has grown by this part of what it holds.
const PRUNE_FRACTION: u32 = 16;

/// Which way a block is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Connect,
    Disconnect,
}

impl<S: Store> Ledger<S> {
    /// The next thing to do towards the best chain. `now_ms` never goes back, and only bounds how
    /// long a step stays open. One call disconnects at most one block, walks at most one, writes
    /// one step, or deletes one bounded batch of what is pruned. While a block is out it walks the
    /// next one or answers [`Move::Idle`].
    ///
    /// # Errors
    /// [`StoreError::BelowHistory`] where the best chain can't be reached from here any more.
    pub fn next_move(&mut self, now_ms: u64) -> Result<Move, StoreError> {
        if !self.out.is_empty() {
            return self.move_ahead();
        }
        if self.write_late()? {
            return Ok(Move::Progress);
        }
        let is_between = self.step.is_empty() && self.frozen.is_none();
        if is_between && self.prune_step()? {
            return Ok(Move::Progress);
        }
        loop {
            let Some(target) = self.headers.tree.best_ready().cloned() else {
                return Ok(Move::Idle);
            };
            let live = self.live.header.id;
            if target.state.id == live {
                let settled = self.settle(now_ms)?;
                return Ok(if settled { Move::Progress } else { Move::Idle });
            }
            let target_height = target.state.height;
            match self.aim(target)? {
                Aimed::Clear => {}
                Aimed::Blocked { above, code } => {
                    self.headers.inherit(&above, code)?;
                    self.look_ahead()?;
                    continue;
                }
                Aimed::Hollow { from } => {
                    self.headers.reopen(&from)?;
                    self.reopened = true;
                    self.ahead = Ahead::default();
                    self.look_ahead()?;
                    continue;
                }
            }
            let next = match self.route.first() {
                Some(next) => self.headers.node(&next)?,
                None => None,
            };
            if let Some(next) = &next
                && next.header.parent == live
            {
                return Ok(Move::Verify(self.walk(&next.state.id)?));
            }
            // Down again: from where readers stand, and from the store alone.
            if self.publish_frozen()? {
                return Ok(Move::Progress);
            }
            let fork_height =
                next.map_or(target_height, |next| next.state.height.saturating_sub(1));
            if self.hold_back(fork_height)? {
                continue;
            }
            self.check_reachable(fork_height)?;
            self.disconnect_tip(now_ms)?;
            self.settle(now_ms)?;
            return Ok(Move::Progress);
        }
    }

    /// Makes the route lead from the live chain to `target`.
    fn aim(&mut self, target: Node) -> Result<Aimed, StoreError> {
        let mut route = std::mem::take(&mut self.route);
        let is_live = |node: &Node| Ok(self.live_id_at(node.state.height)? == Some(node.state.id));
        let aimed = route.aim(target, is_live, |id| self.headers.node(id));
        self.route = route;
        aimed
    }

    /// Walks the block after those that are out, where the way goes on over them.
    fn move_ahead(&mut self) -> Result<Move, StoreError> {
        let is_good = self.out.back().is_some_and(|last| last.diff.is_some());
        // A node that prunes does so between two blocks.
        if !is_good || self.out.len() >= MAX_OUT || self.settings.prune_bytes.is_some() {
            return Ok(Move::Idle);
        }
        let Some(target) = self.headers.tree.best_ready().cloned() else { return Ok(Move::Idle) };
        if self.aim(target)? != Aimed::Clear {
            return Ok(Move::Idle);
        }
        let way = self.route.iter().zip(&self.out);
        let is_way = way.filter(|(id, out)| **id == out.id).count() == self.out.len();
        match self.route.get(self.out.len()).filter(|_| is_way) {
            Some(next) => Ok(Move::Verify(self.walk(&next)?)),
            None => Ok(Move::Idle),
        }
    }

    /// Walks a child of the live tip, or of the last block that is out.
    fn walk(&mut self, id: &BlockId) -> Result<WalkedBlock, StoreError> {
        let lost = || StoreError::corrupt(format_args!("the block {id} is missing"));
        let node = self.headers.node(id)?.ok_or_else(lost)?;
        let block = self.block(id)?.ok_or_else(lost)?;
        let is_assumed = self.is_assumed(id, node.state.height)?;
        let coins = SpentCoins { coins: self.coins(block.external_inputs())? };
        let (params, next) = (&self.params, node.state);
        // The state that a block leaves is not known while it is out.
        let parent = self.out.is_empty().then_some(&self.live);
        let mut walked = walk(parent, next, params, &block, &coins);
        if is_assumed {
            walked.checks.clear();
        }
        self.out.push_back(Out { id: *id, diff: walked.diff().cloned() });
        Ok(WalkedBlock { block, walked: Box::new(walked), is_assumed })
    }

    /// Those of `outpoints` (sorted) that name unspent coins after the blocks that are out.
    fn coins(&self, outpoints: &[OutPoint]) -> Result<CoinList, StoreError> {
        // What stands above the store says of each, the lowest first.
        let mut above: Vec<_> = outpoints.iter().map(|at| self.step.coin(at)).collect();
        for diff in self.out.iter().filter_map(|out| out.diff.as_ref()) {
            let changes = diff.spent.get_all(outpoints).zip(diff.created.get_all(outpoints));
            for (above, (spent, created)) in above.iter_mut().zip(changes) {
                if spent.is_some() || created.is_some() {
                    *above = Some(created.copied());
                }
            }
        }
        let asked = outpoints.iter().zip(&above).filter(|(_, above)| above.is_none());
        let keys: Vec<Vec<u8>> = asked.map(|(outpoint, _)| keys::coin(outpoint)).collect();
        let mut stored = self.store.get_many(Family::Coins, &keys)?.into_iter();
        let mut coins = Vec::with_capacity(outpoints.len());
        for (outpoint, above) in outpoints.iter().zip(above) {
            let coin = match above {
                Some(coin) => coin,
                None => {
                    let value = stored.next().flatten();
                    value.map(|value| records::read_coin(&value)).transpose()?
                }
            };
            coins.extend(coin.map(|coin| (*outpoint, coin)));
        }
        Ok(coins.into_iter().collect())
    }

    fn is_assumed(&mut self, id: &BlockId, height: u32) -> Result<bool, StoreError> {
        match &mut self.assumed {
            Some(assumed) => assumed.covers(milestones::Place { id: *id, height }, &self.headers),
            None => Ok(false),
        }
    }

    /// The signatures of a walked block came back. `signatures`: what became of its checks. Where
    /// it does not become the live tip, those walked after it are [`Completed::Dropped`].
    pub fn complete(
        &mut self,
        walked: WalkedBlock,
        signatures: Result<Verified, Place>,
        now_ms: u64,
    ) -> Result<Completed, StoreError> {
        let id = walked.id();
        if self.out.iter().all(|out| out.id != id) {
            return Ok(Completed::Dropped);
        }
        let mut after = std::mem::take(&mut self.out);
        let is_first = after.pop_front().is_some_and(|out| out.id == id);
        let is_child = walked.block.header().parent == self.live.header.id;
        if !is_first || !is_child || self.failed_code(&id)?.is_some() {
            return Ok(Completed::Dropped);
        }
        let WalkedBlock { block, walked, is_assumed } = walked;
        // Before everything else that was found where the block was walked ahead.
        let sealed = match check_commitment(&self.live, &block) {
            Ok(()) => sealed(&self.live, *walked, signatures, is_assumed),
            Err(fault) => Err(fault),
        };
        match sealed {
            Ok(None) => Ok(Completed::Dropped),
            Ok(Some(transition)) => {
                self.out = after;
                self.connect(block, transition, now_ms)?;
                self.settle(now_ms)?;
                Ok(Completed::Connected)
            }
            Err(error) => {
                self.refuse(&block, &error)?;
                Ok(Completed::Invalid(error))
            }
        }
    }

    fn refuse(&mut self, block: &CheckedBlock, error: &BlockError) -> Result<(), StoreError> {
        self.bodies.remove(block.height(), &block.id());
        self.fail(&block.id(), error.code())
    }

    fn connect(
        &mut self,
        block: Arc<CheckedBlock>,
        transition: Transition,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let (id, height) = (block.id(), block.height());
        let claimed = transition.claimed();
        let (next, diff) = transition.into_parts();
        self.totals = totals_after(self.totals, &diff, claimed, Way::Connect)?;
        self.live = next;

        self.step.open(now_ms);
        self.step.apply(&diff);
        let UtxoDiff { spent, created } = diff;
        let undo = SpentCoins { coins: spent };
        #[cfg(feature = "canaries")]
        let undo = crate::canary::forgetful(undo);
        // A block that was here before left its undo record, which is the same again.
        let key = keys::block(&id);
        if self.step.get(&*self.store, Family::Undo, key.clone())?.is_none() {
            let value = records::undo_value(&undo);
            self.history.undo_bytes = self.history.undo_bytes.saturating_add(length(&value));
            self.step.write(Family::Undo, key, Some(value));
        }
        self.step.write(Family::Heights, keys::height(height), Some(keys::block(&id)));
        self.index(Indexed { block: Arc::clone(&block), undo, created, way: Way::Connect });

        if self.route.first() == Some(id) {
            self.route.pop_first();
        }
        self.bodies.remove(height, &id);
        self.moved.connect(MovedBlock { id, height, body: Some(block) });
        Ok(())
    }

    fn disconnect_tip(&mut self, now_ms: u64) -> Result<(), StoreError> {
        let (id, height) = (self.live.header.id, self.live.header.height);
        let lost = |what| StoreError::corrupt(format_args!("{what} of the tip {id} is missing"));
        let block = self.block(&id)?.ok_or_else(|| lost("the body"))?;
        let undo = self.step.get(&*self.store, Family::Undo, keys::block(&id))?;
        let undo = records::read_undo(&undo.ok_or_else(|| lost("the undo record"))?)?;
        let parent = self.headers.node(&block.header().parent)?;
        let parent = parent.ok_or_else(|| lost("the parent"))?.state;

        let diff = disconnect(&block, &undo);
        let utxo = diff.applied_to(&self.live.utxo);
        // The block's own proof of work sealed what its parent left: damage can't get past this.
        if utxo.commitment() != block.coinbase().utxo_commitment {
            return Err(StoreError::corrupt(format_args!(
                "undoing block {id} does not give the coins that it commits to"
            )));
        }
        let claimed = Amount::checked_sum(block.coinbase().outputs.iter().map(|o| o.value));
        let claimed = claimed.ok_or_else(|| lost("a valid coinbase"))?;
        self.totals = totals_after(self.totals, &diff, claimed, Way::Disconnect)?;
        self.live = State { header: parent, utxo };

        // The undo record stays: it tells that the block was valid once, and is the same again.
        self.step.open(now_ms);
        self.step.apply(&diff);
        self.step.write(Family::Heights, keys::height(height), None);
        let created = diff.spent;
        self.index(Indexed { block: Arc::clone(&block), undo, created, way: Way::Disconnect });

        self.moved.disconnect(MovedBlock { id, height, body: Some(block) });
        Ok(())
    }

    fn index(&mut self, block: Indexed) {
        if self.settings.indexes() != IndexRecord::default() {
            self.step.index(block);
        }
    }

    /// Commits and publishes what is due; `false` where nothing was.
    fn settle(&mut self, now_ms: u64) -> Result<bool, StoreError> {
        let ahead = self.best_header().height.saturating_sub(self.live.header.height);
        if self.is_resting() && (self.is_withheld || ahead <= CATCHING_UP_BLOCKS) {
            return self.finish();
        }
        let is_told = self.settle_frozen(now_ms)?;
        let is_due = self.step_due().is_some_and(|due_ms| now_ms >= due_ms);
        // A step of nothing is never full, or there would be no end of them.
        let is_filled = |bytes: usize| self.step.size_bytes() >= bytes.max(1);
        let is_full = is_filled(self.settings.step_bytes);
        // A thread that has nothing to write may as well begin.
        let is_idle = self.may_freeze() && self.frozen.is_none();
        let is_worth = is_idle && is_filled(self.settings.step_bytes / WORTH_WRITING);
        if !is_due && !is_full && !is_worth {
            return Ok(is_told);
        }
        if self.may_freeze() {
            self.freeze(now_ms)?;
            return Ok(true);
        }
        self.commit()?;
        self.publish(self.store.snapshot())?;
        Ok(true)
    }

    /// The step ends here: written, synced, told. `false` where nothing was left to do.
    pub(crate) fn finish(&mut self) -> Result<bool, StoreError> {
        let is_published = self.published.tip.id == self.live.header.id;
        if self.step.is_empty() && is_published {
            return Ok(false);
        }
        match self.may_tell_first() {
            true => self.tell_first()?,
            false => {
                self.commit()?;
                self.publish(self.store.snapshot())?;
            }
        }
        Ok(true)
    }

    /// Whether the step is one block on the published tip, which is the best there is now.
    fn may_tell_first(&self) -> bool {
        let Moved { disconnected, connected, .. } = &self.moved;
        self.settings.tell_first
            && self.frozen.is_none()
            && disconnected.is_empty()
            && connected.len() == 1
            && self.is_resting()
            && self.live.header.work > self.told
    }

    /// Tells of a block before its step is written. What a crash may take then is the step alone:
    /// its body brings it back, and no reader is served before that (`Ledger::resume`).
    fn tell_first(&mut self) -> Result<(), StoreError> {
        self.write_late()?;
        // Headers are written in their order; those of the step would come too late.
        self.write_headers(Batch::default())?;
        self.store.sync()?;
        self.write_state();
        let full = Arc::new(self.step.end());
        self.late = Some(Arc::clone(&full));
        let indexes = self.settings.indexes();
        self.publish(Arc::new(Layered::new(full, indexes, self.store.snapshot())))
    }

    /// Writes what was told of before; `false` where nothing was left. Its sync is that of the next
    /// body: until then a power cut costs no more than a crash.
    fn write_late(&mut self) -> Result<bool, StoreError> {
        let Some(full) = self.late.take() else { return Ok(false) };
        let mut batch = full.to_batch(self.settings.indexes())?;
        self.history.write_sizes(&mut batch);
        self.store.commit(batch, Durability::Later)?;
        self.refresh();
        self.prune();
        Ok(true)
    }

    /// The step ends here, and says where that is.
    fn write_state(&mut self) {
        let state = self.state_record().to_value();
        self.step.write(Family::Meta, keys::meta::STATE.to_vec(), Some(state));
    }

    /// Whether the live tip is the best there is.
    pub(crate) fn is_resting(&self) -> bool {
        let best = self.headers.tree.best_ready();
        best.is_some_and(|best| best.state.id == self.live.header.id)
    }

    /// Writes the step with everything else that changed, in one batch, which survives a power cut
    /// when this returns: at the tip that is a sync for each block, before anybody is told; while
    /// catching up one for each step, so that a cut loses one step at most.
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        self.write_late()?;
        self.thaw()?;
        let mut batch = Batch::default();
        if !self.step.is_empty() {
            self.write_state();
            batch = self.step.end().to_batch(self.settings.indexes())?;
            self.history.write_sizes(&mut batch);
        }
        self.headers.write(&mut batch);
        if !batch.is_empty() {
            self.store.commit(batch, Durability::Synced)?;
        }
        self.prune();
        Ok(())
    }

    pub(crate) fn state_record(&self) -> StateRecord {
        StateRecord { tip: self.live.header.id, utxo: self.live.utxo.clone(), totals: self.totals }
    }

    pub(crate) fn prune(&mut self) {
        let held = self.settings.headers_in_memory;
        let height = self.live.header.height;
        if height.saturating_sub(self.pruned_at) > held / PRUNE_FRACTION {
            self.pruned_at = height;
            self.prune_headers();
        }
    }

    /// Headers that come by themselves, as in a first synchronisation, leave memory too.
    pub(crate) fn tidy_headers(&mut self) {
        let held = usize::try_from(self.settings.headers_in_memory).unwrap_or(usize::MAX);
        let most = self.tidied_len.max(held).saturating_add(held);
        if self.headers.tree.len() > most {
            self.prune_headers();
            self.tidied_len = self.headers.tree.len();
        }
    }

    fn prune_headers(&mut self) {
        let held = self.settings.headers_in_memory;
        let (id, height) = (self.live.header.id, self.live.header.height);
        let near = self.ahead.top_height().map_or(height, |top| top.max(height));
        let far = self.best_header().height.saturating_sub(held);
        self.headers.prune(&id, height.saturating_sub(held), near.saturating_add(1)..far);
    }

    /// Tells readers of what was just committed, where it is the end of a reorganisation or has
    /// more work than what they, or those before a crash, were told: they never see the way down.
    /// `snapshot` is of the live tip.
    fn publish(&mut self, snapshot: Arc<dyn Read>) -> Result<(), StoreError> {
        let nothing = Moved::new(self.settings.moved_body_bytes);
        let moved = std::mem::replace(&mut self.moved, nothing);
        if let Some(kept) = self.publish_as(self.standing(), snapshot, moved)? {
            self.moved = kept;
        }
        Ok(())
    }

    /// [`Ledger::publish`] of a tip that `snapshot` is of; gives `moved` back where nobody is
    /// to be told.
    pub(crate) fn publish_as(
        &mut self,
        standing: Standing,
        snapshot: Arc<dyn Read>,
        moved: Moved,
    ) -> Result<Option<Moved>, StoreError> {
        let (tip, published) = (&standing.tip, &self.published.tip);
        let is_end = tip.id == self.live.header.id && self.is_resting();
        let is_better = tip.work > self.told || is_end;
        if tip.id == published.id || !is_better {
            return Ok(Some(moved));
        }
        self.store.announce(Announced { height: tip.height, id: tip.id })?;
        self.told = tip.work;
        let sequence = self.published.sequence.saturating_add(1);
        self.published = Arc::new(self.view_of(standing, sequence, snapshot));
        self.news = Some(match self.news.take() {
            Some(news) => news.then(moved),
            None => moved,
        });
        Ok(None)
    }

    /// Of the live tip.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            tip: self.live.header.clone(),
            utxo_commitment: self.live.utxo.commitment(),
            totals: self.totals,
            history: self.history,
        }
    }

    /// Only right after a commit: the snapshot must be of the live tip.
    pub(crate) fn make_view(&self, sequence: u64) -> View {
        self.view_of(self.standing(), sequence, self.store.snapshot())
    }

    fn view_of(&self, standing: Standing, sequence: u64, snapshot: Arc<dyn Read>) -> View {
        let Standing { tip, utxo_commitment, totals, history } = standing;
        View {
            params: Arc::clone(&self.params),
            snapshot,
            tip,
            sequence,
            utxo_commitment,
            totals,
            indexes: self.settings.indexes(),
            history,
            prune_bytes: self.settings.prune_bytes,
        }
    }

    /// When `next_move` must be called again though nothing happened, on the clock of `now_ms`:
    /// a step is open that is to be written by then, or one was written that nobody was told of.
    pub fn next_wakeup(&self) -> Option<u64> {
        let frozen_ms = self.frozen.as_ref().map(Frozen::due_ms);
        self.step_due().into_iter().chain(frozen_ms).min()
    }

    fn step_due(&self) -> Option<u64> {
        let opened_ms = self.step.opened_ms()?;
        Some(opened_ms.saturating_add(self.settings.step_ms))
    }

    /// What became visible since the last call, all moves in one.
    pub fn take_published(&mut self) -> Option<Published> {
        let Moved { disconnected, connected, .. } = self.news.take()?;
        Some(Published { view: self.view(), disconnected, connected })
    }

    /// Writes and syncs everything that is not yet on disk. Publishes nothing: a driver that goes
    /// on afterwards calls `next_move`.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.commit()?;
        self.store.sync()
    }
}

/// The verdict on a walked block; `None` where the signatures are another's.
fn sealed(
    parent: &State,
    walked: Walked,
    signatures: Result<Verified, Place>,
    is_assumed: bool,
) -> Result<Option<Transition>, BlockError> {
    // The lowest fault wins: signatures that were to verify stand before the walk's own fault.
    let mut verified = signatures.map_err(signature_error)?;
    let mut pending = walked.outcome?;
    pending.take_sum(&mut verified);
    let signatures = match is_assumed {
        true => Signatures::AssumedValid,
        false => Signatures::Verified(verified),
    };
    Ok(pending.seal(parent, signatures).ok())
}

/// The counters after `diff`. None of this can fail on a valid chain: it is what was stored that
/// is wrong then.
pub(crate) fn totals_after(
    totals: Totals,
    diff: &UtxoDiff,
    claimed: Amount,
    way: Way,
) -> Result<Totals, StoreError> {
    let count = |coins: usize| u64::try_from(coins).ok();
    let sum = |coins: &CoinList| Amount::checked_sum(coins.values().map(|coin| coin.output.value));
    let after = || {
        let coins = totals.coins.checked_add(count(diff.created.len())?)?;
        let value = totals.value.checked_sub(sum(&diff.spent)?)?;
        Some(Totals {
            coins: coins.checked_sub(count(diff.spent.len())?)?,
            value: value.checked_add(sum(&diff.created)?)?,
            claimed: match way {
                Way::Connect => totals.claimed.checked_add(claimed)?,
                Way::Disconnect => totals.claimed.checked_sub(claimed)?,
            },
        })
    };
    after().ok_or_else(|| StoreError::corrupt("the stored counters do not fit the coins"))
}
