//! Driving the ledger: one move at a time, the signatures of a block away while everything else
//! goes on; and what follows when the published tip moved.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use ashlar_consensus::{BlockError, CheckedBlock, Verified, signature::Place};
use ashlar_ledger::{Completed, Move, MovedBlock, Published, Store, StoreError, WalkedBlock};
use ashlar_primitives::{BlockId, Wtxid};

use crate::{
    Engine,
    input::Peer,
    job::Job,
    jobs::JobPurpose,
    limits::SYNC_LEAD_BLOCKS,
    offence::Offence,
    output::{Event, Notice, Output},
};

/// Where the ledger is.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// `next_move` may have something to do.
    pub(crate) more: bool,
    /// What this call decided goes out before the next move, which may take long.
    saying: bool,
    /// The net was told of it, and it is kept in the next call, before anything else.
    unkept: Option<Arc<CheckedBlock>>,
    /// The tip moved and was told; what here goes by it has yet to follow.
    following: Vec<Moves>,
    /// Their signatures are out, each the parent of the next. Bounded by what the ledger gives out.
    verifying: VecDeque<Verifying>,
    /// Of the block connected last: while a step is open, above the published tip.
    pub(crate) connected_height: u32,
    /// The best header or the tip moved since `syncing` was found.
    moved: bool,
    syncing: bool,
}

/// What the move of a tip disconnected, from the old tip down, and connected, lowest first.
#[derive(Debug)]
struct Moves {
    disconnected: Vec<MovedBlock>,
    connected: Vec<MovedBlock>,
}

/// A walked block, and what became of its signatures.
#[derive(Debug)]
struct Verifying {
    walked: WalkedBlock,
    verified: Option<Result<Verified, Place>>,
}

impl Chain {
    /// Whether the mempool is still the old tip's.
    pub(crate) const fn is_following(&self) -> bool {
        !self.following.is_empty()
    }

    /// Whether a known header chain leads the tip so far that nothing is relayed.
    pub(crate) const fn is_syncing(&self) -> bool {
        self.syncing
    }

    /// Whether the node is behind must be found anew.
    pub(crate) const fn note_moved(&mut self) {
        self.moved = true;
        self.more = true;
    }

    /// The ledger's next move is made in the next call: what this one says goes out before it.
    pub(crate) const fn say_first(&mut self) {
        self.saying = true;
    }

    /// A block is announced in this call and kept in the next.
    pub(crate) fn keep_next(&mut self, block: Arc<CheckedBlock>) {
        self.unkept = Some(block);
    }

    /// Whether every body that is here is kept: the download asks for the others.
    pub(crate) const fn has_kept_all(&self) -> bool {
        self.unkept.is_none()
    }

    /// Whether the live state stands still because a block's signatures are out.
    pub(crate) fn is_verifying(&self) -> bool {
        !self.verifying.is_empty()
    }

    /// Whether the ledger can go on now.
    pub(crate) fn may_move(&self) -> bool {
        self.more || self.is_verified()
    }

    /// Whether the signatures of the next block are in.
    fn is_verified(&self) -> bool {
        self.verifying.front().is_some_and(|next| next.verified.is_some())
    }

    fn take_verified(&mut self) -> Option<(WalkedBlock, Result<Verified, Place>)> {
        if !self.is_verified() {
            return None;
        }
        let Verifying { walked, verified } = self.verifying.pop_front()?;
        Some((walked, verified?))
    }
}

impl<S: Store> Engine<S> {
    /// Headers came or went: where the chain should go may have changed.
    pub(crate) fn note_best_header(&mut self) {
        self.chain.moved = true;
        self.chain.more = true;
        self.headers.dirty = true;
        self.download.stale = true;
        self.download.dirty = true;
    }

    /// At most one move of the ledger.
    pub(crate) fn drive(&mut self) -> Result<(), StoreError> {
        let now_ms = self.now.monotonic_ms;
        if self.chain.saying {
            return Ok(());
        }
        if self.chain.is_verified() {
            return self.complete_block();
        }
        // An open step wants to be written.
        let is_due = || self.ledger.next_wakeup().is_some_and(|due_ms| due_ms <= now_ms);
        self.chain.more |= !self.chain.is_verifying() && is_due();
        if self.chain.more {
            match self.aside(|ledger| ledger.next_move(now_ms))? {
                Move::Idle => self.chain.more = false,
                Move::Progress => {}
                Move::Verify(walked) => self.verify_block(walked),
            }
            self.publish()?;
            self.follow_pruning();
            self.follow_hold()?;
        }
        if !self.chain.more && !self.chain.is_verifying() {
            self.on_standstill()?;
        }
        Ok(())
    }

    /// Bodies left the ledger: readers and, where they must know, peers are told.
    fn follow_pruning(&mut self) {
        if self.ledger.take_reopened() {
            self.note_best_header();
        }
        let Some(view) = self.ledger.take_refreshed() else { return };
        let before = self.services();
        self.view = view.clone();
        self.out.push(Output::Event(Event::View(view)));
        if self.services() != before {
            let peers: Vec<Peer> = self.peers.askable().map(|(peer, _)| peer).collect();
            for peer in peers {
                self.ask_status(peer);
            }
        }
    }

    fn verify_block(&mut self, mut walked: WalkedBlock) {
        let (checks, terms) = (walked.take_checks(), walked.terms());
        // What is in the mempool was verified when it came in, and its wtxid commits to every
        // signature and to everything signed.
        let known: BTreeSet<Wtxid> = checks
            .iter()
            .map(|check| check.wtxid)
            .filter(|wtxid| self.mempool.contains_wtxid(wtxid))
            .collect();
        let id = walked.id();
        self.chain.verifying.push_back(Verifying { walked, verified: None });
        self.start_job(JobPurpose::VerifyBlock { id }, Job::VerifyBlock { checks, known, terms });
    }

    pub(crate) fn on_block_verified(
        &mut self,
        id: BlockId,
        result: Result<Verified, Place>,
    ) -> Result<(), StoreError> {
        // It is not there any more where one before it broke a rule.
        let waiting = self.chain.verifying.iter_mut().find(|it| it.walked.id() == id);
        if let Some(waiting) = waiting {
            waiting.verified = Some(result);
        }
        self.complete_block()
    }

    /// The next block becomes the live tip, or breaks a rule.
    fn complete_block(&mut self) -> Result<(), StoreError> {
        let Some((walked, result)) = self.chain.take_verified() else { return Ok(()) };
        let (id, height) = (walked.id(), walked.height());
        self.chain.more = true;
        let now_ms = self.now.monotonic_ms;
        let completed = self.aside(|ledger| ledger.complete(walked, result, now_ms))?;
        if completed != Completed::Connected {
            // What was walked after it was walked for nothing.
            self.chain.verifying.clear();
        }
        match completed {
            Completed::Connected => {
                self.chain.connected_height = height;
                self.download.dirty |= self.download.is_waiting();
            }
            // An order of the operator overtook it.
            Completed::Dropped => {}
            Completed::Invalid(error) => self.on_invalid_block(id, &error)?,
        }
        self.publish()
    }

    /// A block broke a rule of group 3 of §8. Whoever calls it part of its own chain follows
    /// other rules; whoever only passed it on did as it should.
    fn on_invalid_block(&mut self, id: BlockId, error: &BlockError) -> Result<(), StoreError> {
        self.notice(Notice::BlockInvalid { id, code: error.code() });
        let mut claimants = Vec::new();
        for (&peer, state) in &self.peers.all {
            let Some(claim) = &state.claim else { continue };
            if self.ledger.header_state(&claim.tip)?.is_some()
                && self.ledger.is_descendant(&claim.tip, &id)?
            {
                claimants.push(peer);
            }
        }
        for peer in claimants {
            self.cut(peer, Offence::InvalidChain);
        }
        self.refuse_submission(id, error.code(), error.to_string());
        self.note_best_header();
        Ok(())
    }

    fn publish(&mut self) -> Result<(), StoreError> {
        let Some(published) = self.ledger.take_published() else { return Ok(()) };
        let Published { view, disconnected, connected } = published;
        self.view = view;
        self.note_best_header();
        let is_deep = self.note_reorganised(&disconnected);
        let ids: Vec<BlockId> = connected.iter().map(|block| block.id).collect();
        self.out.push(Output::Event(Event::Tip {
            view: self.view.clone(),
            disconnected: disconnected.iter().map(|block| block.id).collect(),
            connected: ids.clone(),
            is_deep,
        }));
        self.update_syncing()?;
        for id in &ids {
            self.accept_submission(id);
        }
        if !ids.iter().any(|id| self.recent.was_relayed(id)) {
            self.push_status();
        }
        self.chain.following.push(Moves { disconnected, connected });
        self.chain.say_first();
        Ok(())
    }

    /// A block that the last call announced is kept.
    pub(crate) fn keep_announced(&mut self) -> Result<(), StoreError> {
        self.chain.unkept.take().map_or(Ok(()), |block| self.keep_body(block).map(drop))
    }

    /// What the last call said is out. If it told of a tip, what here goes by the tip follows,
    /// before anything else is done.
    pub(crate) fn follow_tip(&mut self) -> Result<(), StoreError> {
        self.chain.saying = false;
        let following = core::mem::take(&mut self.chain.following);
        if following.is_empty() {
            return Ok(());
        }
        for Moves { disconnected, connected } in &following {
            self.follow_with_mempool(disconnected, connected)?;
        }
        // The ledger may still have the step to write: who waits for a template does not.
        self.chain.say_first();
        self.rebuild_template()
    }

    /// What is confirmed leaves the mempool; what was, and is no more, comes back.
    fn follow_with_mempool(
        &mut self,
        disconnected: &[MovedBlock],
        connected: &[MovedBlock],
    ) -> Result<(), StoreError> {
        if !self.mempool.is_empty() || self.orphans.len() > 0 {
            for moved in connected {
                let Some(block) = self.moved_body(moved)? else { continue };
                for transaction in self.mempool.block_connected(&block) {
                    self.recent.add_transaction(transaction);
                }
                for transaction in block.transactions() {
                    self.orphans.remove(&transaction.wtxid());
                    self.orphans.note_parent(&transaction.txid());
                }
            }
        }
        // From the old tip down: the last one stood on the fork.
        let Some(lowest) = disconnected.last() else { return Ok(()) };
        let fork_height = lowest.height.saturating_sub(1);
        let inputs = self.mempool.inputs_above(fork_height);
        let coins = self.view.coins(&inputs)?;
        let found = inputs.into_iter().zip(coins);
        let chain = found.filter_map(|(outpoint, coin)| Some((outpoint, coin?))).collect();
        let dropped = self.mempool.revalidate(&self.mempool_tip(), fork_height, &chain);
        for transaction in &dropped {
            self.recent.add_transaction(transaction.clone());
        }
        self.return_transactions(disconnected, dropped);
        Ok(())
    }

    /// A block that moved, read back where the move was too long to carry it.
    pub(crate) fn moved_body(
        &self,
        moved: &MovedBlock,
    ) -> Result<Option<Arc<CheckedBlock>>, StoreError> {
        match &moved.body {
            Some(body) => Ok(Some(body.clone())),
            None => self.ledger.block(&moved.id),
        }
    }

    /// Says once when the node falls behind, and once when it is there.
    pub(crate) fn update_syncing(&mut self) -> Result<(), StoreError> {
        if !core::mem::take(&mut self.chain.moved) {
            return Ok(());
        }
        let best = self.sync_target()?;
        let tip = self.view.tip();
        let height = tip.height;
        let leads = best.work > tip.work && best.height > height.saturating_add(SYNC_LEAD_BLOCKS);
        let behind = leads || tip.work < self.settings.minimum_work;
        let was_behind = core::mem::replace(&mut self.chain.syncing, behind);
        if behind && !was_behind {
            self.notice_progress()?;
        }
        if was_behind && !behind {
            self.notice(Notice::Synced { height });
            // The mempool stood still while nothing was relayed.
            for state in self.peers.all.values_mut() {
                state.reconcile.wanted = true;
            }
        }
        Ok(())
    }
}
