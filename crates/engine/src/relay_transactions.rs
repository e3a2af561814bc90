//! Transactions on their way into the mempool, in batches, whoever sent them.
//!
//! ```text
//! gossip, answers ─ stateless rules (job) ─┐
//! calls, orphans, reorganisation ──────────┴─ judge ─ signatures (job) ─ accept ─ verdict, replies
//! ```
//!
//! Jobs of several batches run side by side, but batches are judged in order of arrival, and
//! accepted in the same order: a child may follow its parent in the next batch, and what the
//! mempool holds never depends on which job was quicker. Rules come before signatures, and the
//! coins of a batch are read together.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use ashlar_consensus::{
    CheckedTransaction, SignatureCheck, TxError, VerifiedTransaction, judge_transaction,
    signature::Place,
};
use ashlar_ledger::{MovedBlock, Store, StoreError, view::QueryError};
use ashlar_mempool::{Accepted, Tip};
use ashlar_primitives::{Coin, OutPoint, Output as Coined, Transaction, Wtxid};

use crate::{
    Engine,
    batch::{Batch, BatchId, Fate, Item, Origin, Stage, outputs_of, parents_first},
    call::AnswerBody,
    input::{Peer, Ticket},
    job::Job,
    jobs::JobPurpose,
    limits::{MAX_BATCHES, MAX_BATCHES_PER_PEER, MAX_PEER_BATCHES, ORPHANS_PER_ROUND},
    offence::{Offence, transaction_refusal},
    output::{Event, Output, Verdict},
    timers::Timer,
};

/// All batches on their way.
#[derive(Debug, Default)]
pub(crate) struct TransactionRelay {
    last: u64,
    pub(crate) batches: BTreeMap<BatchId, Batch>,
    /// Outputs of transactions that were judged and not yet accepted: their children may come
    /// close behind.
    coming: BTreeMap<OutPoint, Coined>,
    /// What a reorganisation threw out and is to be tried again, in this order.
    returning: VecDeque<Returning>,
}

/// See [`TransactionRelay::returning`].
#[derive(Debug)]
enum Returning {
    Block(MovedBlock),
    Transactions(Vec<Arc<CheckedTransaction>>),
}

impl TransactionRelay {
    /// What keeps the stateless rules and is not in the mempool yet: a block may hold it already.
    pub(crate) fn on_their_way(&self) -> impl Iterator<Item = &Arc<CheckedTransaction>> {
        self.batches.values().flat_map(|batch| &batch.items).map(|item| &item.transaction)
    }
}

impl<S: Store> Engine<S> {
    /// The published tip as the mempool sees it.
    pub(crate) fn mempool_tip(&self) -> Tip {
        let tip = self.view.tip();
        Tip { id: tip.id, next_height: tip.height.saturating_add(1) }
    }

    /// Whether one more batch finds room: a peer's, or (`None`) one of our own.
    pub(crate) fn has_batch_room(&self, peer: Option<Peer>) -> bool {
        let count = self.transactions.batches.len();
        match peer.map(|peer| self.peers.get(peer)) {
            None => count < MAX_BATCHES,
            Some(state) => {
                count < MAX_PEER_BATCHES
                    && state.is_some_and(|state| state.batches < MAX_BATCHES_PER_PEER)
            }
        }
    }

    /// A batch came by gossip.
    pub(crate) fn on_gossiped_transactions(
        &mut self,
        ticket: Ticket,
        transactions: Arc<Vec<Transaction>>,
    ) {
        let now_ms = self.now.monotonic_ms;
        let peer = ticket.source;
        let has_room = self.has_batch_room(Some(peer));
        let wanted = !self.chain.is_syncing()
            && self.peers.get_mut(peer).is_some_and(|state| {
                state.claim.is_some()
                    && !state.unproductive.is_empty(now_ms)
                    && !state.productive.is_empty(now_ms)
            });
        if transactions.is_empty() || !has_room || !wanted {
            self.verdict(ticket, Verdict::Ignore);
            return;
        }
        let deadline_ms = ticket.deadline_ms;
        let transactions = Arc::unwrap_or_clone(transactions);
        let id = self.add_batch(Origin::Gossip { peer }, Stage::Checking, Vec::new());
        if let Some(batch) = self.transactions.batches.get_mut(&id) {
            batch.ticket = Some(ticket);
        }
        self.timers.set(Timer::BatchTicket(id), deadline_ms);
        self.start_job(JobPurpose::CheckBatch(id), Job::CheckTransactions { transactions });
    }

    /// Transactions that a peer answered. The caller saw that there is room.
    pub(crate) fn add_answered(
        &mut self,
        peer: Peer,
        asked: BTreeSet<Wtxid>,
        transactions: Vec<Transaction>,
    ) {
        let id = self.add_batch(Origin::Answer { peer, asked }, Stage::Checking, Vec::new());
        self.start_job(JobPurpose::CheckBatch(id), Job::CheckTransactions { transactions });
    }

    /// Transactions that keep the stateless rules already.
    pub(crate) fn add_checked(
        &mut self,
        origin: Origin,
        transactions: Vec<Arc<CheckedTransaction>>,
    ) {
        self.add_batch(origin, Stage::Checked, transactions);
    }

    fn add_batch(
        &mut self,
        origin: Origin,
        stage: Stage,
        transactions: Vec<Arc<CheckedTransaction>>,
    ) -> BatchId {
        self.transactions.last = self.transactions.last.saturating_add(1);
        let id = BatchId(self.transactions.last);
        if let Some(state) = origin.peer().and_then(|peer| self.peers.get_mut(peer)) {
            state.batches = state.batches.saturating_add(1);
        }
        let items = transactions.into_iter().map(Item::new).collect();
        let batch = Batch {
            origin,
            ticket: None,
            stage,
            items,
            chain: BTreeMap::new(),
            chain_sequence: None,
        };
        self.transactions.batches.insert(id, batch);
        id
    }

    /// The stateless rules were checked. One that fails them is wrong for ever: the whole batch
    /// goes.
    pub(crate) fn on_batch_checked(
        &mut self,
        id: BatchId,
        results: Vec<Result<CheckedTransaction, TxError>>,
    ) {
        let Some(batch) = self.transactions.batches.get_mut(&id) else { return };
        let checked: Result<Vec<Arc<CheckedTransaction>>, TxError> =
            results.into_iter().map(|result| result.map(Arc::new)).collect();
        let mut checked = match checked {
            Ok(checked) => checked,
            Err(error) => {
                debug_assert!(error.is_permanent());
                return self.reject_batch(id, Offence::InvalidTransaction);
            }
        };
        if let Origin::Answer { asked, .. } = &batch.origin {
            if !checked.iter().all(|transaction| asked.contains(&transaction.wtxid())) {
                return self.reject_batch(id, Offence::WrongAnswer);
            }
            // An answer is in the order of the question, best feerate first.
            checked = parents_first(checked);
        }
        batch.items = checked.into_iter().map(Item::new).collect();
        batch.stage = Stage::Checked;
    }

    /// Judges at most one batch and accepts at most one, in order of arrival.
    pub(crate) fn pump_batches(&mut self) -> Result<(), StoreError> {
        self.feed_batches()?;
        let unjudged = self
            .transactions
            .batches
            .iter()
            .find(|(_, batch)| matches!(batch.stage, Stage::Checking | Stage::Checked));
        if let Some((&id, Batch { stage: Stage::Checked, .. })) = unjudged {
            self.judge_batch(id)?;
        }
        let first = self.transactions.batches.first_key_value();
        if let Some((&id, Batch { stage: Stage::Verified, .. })) = first {
            self.accept_batch(id)?;
        }
        Ok(())
    }

    /// Whether `pump_batches` has more to do at once.
    pub(crate) fn batches_are_ready(&self) -> bool {
        let batches = &self.transactions.batches;
        let judge = batches
            .values()
            .find(|batch| matches!(batch.stage, Stage::Checking | Stage::Checked))
            .is_some_and(|batch| batch.stage == Stage::Checked);
        let accept = batches.values().next().is_some_and(|batch| batch.stage == Stage::Verified);
        let feed = batches.len() < MAX_BATCHES
            && (self.orphans.has_ready() || !self.transactions.returning.is_empty());
        judge || accept || feed
    }

    /// After a reorganisation: the transactions of the blocks that were disconnected (from the
    /// old tip down), lowest first, then what the mempool had to drop.
    pub(crate) fn return_transactions(
        &mut self,
        disconnected: &[MovedBlock],
        dropped: Vec<Arc<CheckedTransaction>>,
    ) {
        let returning = &mut self.transactions.returning;
        returning.extend(disconnected.iter().rev().cloned().map(Returning::Block));
        if !dropped.is_empty() {
            returning.push_back(Returning::Transactions(dropped));
        }
    }

    /// What waits inside: transactions that a reorganisation threw out, orphans whose parent
    /// came.
    fn feed_batches(&mut self) -> Result<(), StoreError> {
        if !self.has_batch_room(None) {
            return Ok(());
        }
        if let Some(returning) = self.transactions.returning.pop_front() {
            let transactions = match returning {
                Returning::Block(moved) => {
                    let body = self.moved_body(&moved)?;
                    body.map_or_else(Vec::new, |block| block.transactions().to_vec())
                }
                Returning::Transactions(transactions) => transactions,
            };
            if !transactions.is_empty() {
                self.add_checked(Origin::Returned, transactions);
            }
        } else if self.orphans.has_ready() {
            let orphans = self.orphans.take_ready(ORPHANS_PER_ROUND);
            let senders = orphans.iter().map(|o| (o.transaction.wtxid(), o.peer)).collect();
            let orphans = orphans.into_iter().map(|orphan| orphan.transaction).collect();
            self.add_checked(Origin::Orphans(senders), orphans);
        }
        Ok(())
    }

    /// The coins of the published tip for a batch, read together.
    fn fetch_coins(&self, items: &[Item]) -> Result<BTreeMap<OutPoint, Coin>, StoreError> {
        let outpoints: Vec<OutPoint> =
            items.iter().flat_map(|item| self.mempool.chain_inputs(&item.transaction)).collect();
        let coins = self.view.coins(&outpoints)?;
        let found = outpoints.into_iter().zip(coins);
        Ok(found.filter_map(|(outpoint, coin)| Some((outpoint, coin?))).collect())
    }

    /// Everything but signatures and policy, and the job for the signatures.
    fn judge_batch(&mut self, id: BatchId) -> Result<(), StoreError> {
        let Some(mut batch) = self.transactions.batches.remove(&id) else { return Ok(()) };
        let tip = self.mempool_tip();
        batch.chain = self.fetch_coins(&batch.items)?;
        batch.chain_sequence = Some(self.view.sequence());
        let mut checks: Vec<(Wtxid, Vec<SignatureCheck>)> = Vec::new();
        for item in batch.items.iter_mut().filter(|item| item.fate == Fate::Waiting) {
            let transaction = &item.transaction;
            if self.mempool.contains_wtxid(&transaction.wtxid()) {
                item.fate = Fate::Known;
                continue;
            }
            let coming = &self.transactions.coming;
            let coins = self.mempool.resolve(&tip, transaction, &batch.chain, coming);
            match judge_transaction(&self.params, tip.next_height, transaction, &coins) {
                Ok(judged) => {
                    checks.push((transaction.wtxid(), judged.checks));
                    for (outpoint, output) in outputs_of(transaction) {
                        self.transactions.coming.insert(outpoint, output);
                    }
                }
                Err(error) => item.fate = Fate::Refused(error.into()),
            }
        }
        batch.stage = Stage::Verifying;
        let is_rejected = batch.origin.peer().is_some() && batch.has_wrong_one();
        self.transactions.batches.insert(id, batch);
        if is_rejected {
            self.reject_batch(id, Offence::InvalidTransaction);
        } else if checks.is_empty() {
            self.on_batch_verified(id, Vec::new());
        } else {
            let job = Job::VerifyTransactions { checks };
            self.start_job(JobPurpose::VerifyBatch(id), job);
        }
        Ok(())
    }

    /// Signatures are verified; results stand for the items that were still waiting, in order.
    pub(crate) fn on_batch_verified(
        &mut self,
        id: BatchId,
        results: Vec<Result<VerifiedTransaction, Place>>,
    ) {
        let Some(batch) = self.transactions.batches.get_mut(&id) else { return };
        batch.stage = Stage::Verified;
        let waiting = batch.items.iter_mut().filter(|item| item.fate == Fate::Waiting);
        for (item, result) in waiting.zip(results) {
            match result {
                Ok(verified) => item.verified = Some(verified),
                Err(Place { witness, .. }) => {
                    item.fate = Fate::Refused(TxError::BadSignature { witness }.into());
                }
            }
        }
        if batch.origin.peer().is_some() && batch.has_wrong_one() {
            self.reject_batch(id, Offence::InvalidTransaction);
        }
    }

    /// Into the mempool, in order; then everybody who waits is told.
    fn accept_batch(&mut self, id: BatchId) -> Result<(), StoreError> {
        let Some(mut batch) = self.transactions.batches.remove(&id) else { return Ok(()) };
        if batch.chain_sequence != Some(self.view.sequence()) {
            batch.chain = self.fetch_coins(&batch.items)?;
        }
        let tip = self.mempool_tip();
        let now_ms = self.now.monotonic_ms;
        let keep = !matches!(batch.origin, Origin::Tested(_));
        let mut chain = core::mem::take(&mut batch.chain);
        for item in &mut batch.items {
            let (is_waiting, is_orphan) = (item.fate == Fate::Waiting, item.fate.is_orphan());
            if !is_waiting && !is_orphan {
                continue;
            }
            let confirmed = self.may_be_confirmed(item, &chain)?;
            item.fate = match &item.verified {
                Some(verified) if keep => {
                    self.accept(&tip, &item.transaction, verified, &chain, confirmed)
                }
                // An orphan was not judged to its end, and only the mempool can tell one from a
                // confirmed transaction. If its parent has come it goes round again.
                verified => {
                    let tested =
                        self.mempool.test(&tip, &item.transaction, &chain, confirmed, now_ms);
                    match tested {
                        Ok(_) if verified.is_none() => Fate::Waiting,
                        Ok(fee) => {
                            // Children further down the list may spend what it would make.
                            chain.extend(item.transaction.coins(tip.next_height));
                            Fate::Accepted { fee }
                        }
                        Err(refusal) => refusal.into(),
                    }
                }
            };
        }
        if batch.items.iter().any(|item| item.fate == Fate::Waiting) {
            batch.stage = Stage::Checked;
            self.transactions.batches.insert(id, batch);
        } else {
            self.retire_batch(id, &batch);
            self.finish_batch(batch);
        }
        Ok(())
    }

    fn accept(
        &mut self,
        tip: &Tip,
        transaction: &Arc<CheckedTransaction>,
        verified: &VerifiedTransaction,
        chain: &BTreeMap<OutPoint, Coin>,
        confirmed: bool,
    ) -> Fate {
        let now_ms = self.now.monotonic_ms;
        let accepted =
            self.mempool.accept(tip, transaction.clone(), verified, chain, confirmed, now_ms);
        match accepted {
            Ok(accepted) => {
                let Accepted { fee, sequence, spent, removed, .. } = accepted;
                for removed in removed {
                    self.recent.add_transaction(removed);
                }
                self.orphans.remove(&transaction.wtxid());
                self.orphans.note_parent(&transaction.txid());
                self.tell_departures();
                let (transaction, spent) = (Arc::clone(transaction), spent.into());
                let event = Event::TransactionAccepted { transaction, fee, spent, sequence };
                self.out.push(Output::Event(event));
                Fate::Accepted { fee }
            }
            Err(refusal) => refusal.into(),
        }
    }

    /// Tells what left the mempool since this was last told.
    pub(crate) fn tell_departures(&mut self) {
        let left = self.mempool.take_departures();
        if !left.is_empty() {
            self.out.push(Output::Event(Event::TransactionsLeft(left.into())));
        }
    }

    /// Whether a transaction whose inputs are gone may be in a block already. Asked only where
    /// an input is missing, for a confirmed one's always are.
    fn may_be_confirmed(
        &self,
        item: &Item,
        chain: &BTreeMap<OutPoint, Coin>,
    ) -> Result<bool, StoreError> {
        let transaction = &item.transaction;
        let inputs = self.mempool.chain_inputs(transaction);
        if inputs.iter().all(|input| chain.contains_key(input)) {
            return Ok(false);
        }
        if self.view.transaction_index() {
            return match self.view.transaction_place(&transaction.txid()) {
                Ok(place) => Ok(place.is_some()),
                Err(QueryError::Store(error)) => Err(error),
                Err(QueryError::IndexOff { .. }) => Ok(false),
            };
        }
        let outpoints: Vec<OutPoint> =
            outputs_of(transaction).map(|(outpoint, _)| outpoint).collect();
        Ok(self.view.coins(&outpoints)?.iter().any(Option::is_some))
    }

    /// A batch that was taken off the road gives up its claim on its peer and on coming outputs.
    fn retire_batch(&mut self, id: BatchId, batch: &Batch) {
        self.timers.clear(Timer::BatchTicket(id));
        for item in &batch.items {
            for (outpoint, _) in outputs_of(&item.transaction) {
                self.transactions.coming.remove(&outpoint);
            }
        }
        if let Some(state) = batch.origin.peer().and_then(|peer| self.peers.get_mut(peer)) {
            state.batches = state.batches.saturating_sub(1);
        }
    }

    /// Who sent something that was new here is worth more than others.
    fn note_bringer(&mut self, batch: &Batch) {
        let brought = |item: &Item| matches!(item.fate, Fate::Accepted { .. });
        if let Some(peer) = batch.origin.peer()
            && batch.items.iter().any(brought)
        {
            self.peers.note_transaction(peer, self.now.monotonic_ms);
        }
    }

    /// A batch with something that is wrong for ever is rejected whole.
    fn reject_batch(&mut self, id: BatchId, offence: Offence) {
        let Some(batch) = self.transactions.batches.remove(&id) else { return };
        self.retire_batch(id, &batch);
        if let Some(ticket) = batch.ticket {
            self.verdict(ticket, Verdict::Reject);
        }
        if let Some(peer) = batch.origin.peer() {
            self.penalise(peer, offence);
        }
    }

    fn finish_batch(&mut self, batch: Batch) {
        self.note_bringer(&batch);
        let Batch { origin, ticket, items, .. } = batch;
        match origin {
            Origin::Gossip { peer } => self.finish_gossip(peer, ticket, items),
            Origin::Answer { peer, .. } => {
                self.pass_on(&items);
                self.keep_orphans(&items, |_| Some(peer));
            }
            Origin::Orphans(senders) => {
                for item in &items {
                    let Fate::Refused(refusal) = item.fate else { continue };
                    let sender = senders.get(&item.transaction.wtxid()).copied();
                    let offence = transaction_refusal(&refusal).offence;
                    if let (Some(peer), Some(offence)) = (sender, offence) {
                        self.penalise(peer, offence);
                    }
                }
                self.pass_on(&items);
                // Another parent may still be missing.
                self.keep_orphans(&items, |wtxid| senders.get(wtxid).copied());
            }
            Origin::Returned => self.pass_on(&items),
            Origin::Submitted(call) => {
                self.pass_on(&items);
                self.reply(call, AnswerBody::Submitted(items.iter().map(Item::reply).collect()));
            }
            Origin::Restored { call, waited_ms } => {
                for item in items.iter().filter(|item| matches!(item.fate, Fate::Accepted { .. })) {
                    let waited_ms = waited_ms.get(&item.transaction.wtxid()).copied().unwrap_or(0);
                    self.mempool.note_waited(&item.transaction.txid(), waited_ms);
                }
                self.reply(call, AnswerBody::Submitted(items.iter().map(Item::reply).collect()));
            }
            Origin::Tested(call) => {
                self.reply(call, AnswerBody::Tested(items.iter().map(Item::reply).collect()));
            }
        }
    }

    /// The verdict of §12. Passed on only where every transaction was checked to the end, and
    /// those that it newly brought are at least half of its bytes.
    fn finish_gossip(&mut self, peer: Peer, ticket: Option<Ticket>, items: Vec<Item>) {
        let now_ms = self.now.monotonic_ms;
        let sum = |items: &mut dyn Iterator<Item = &Item>| {
            items.map(Item::size_bytes).fold(0, u64::saturating_add)
        };
        let all_bytes = sum(&mut items.iter());
        let new_bytes = sum(&mut items.iter().filter(|i| matches!(i.fate, Fate::Accepted { .. })));
        if let Some(state) = self.peers.get_mut(peer) {
            state.unproductive.take(all_bytes.saturating_sub(new_bytes), now_ms);
            state.productive.take(new_bytes, now_ms);
        }
        let is_fresh = new_bytes.saturating_mul(2) >= all_bytes;
        let accepted = is_fresh && items.iter().all(Item::is_fully_checked);
        match ticket {
            Some(ticket) if accepted => self.verdict(ticket, Verdict::Accept),
            ticket => {
                if let Some(ticket) = ticket {
                    self.verdict(ticket, Verdict::Ignore);
                }
                self.pass_on(&items);
            }
        }
        self.keep_orphans(&items, |_| Some(peer));
    }

    /// What is new joins our own next batch.
    fn pass_on(&mut self, items: &[Item]) {
        for item in items {
            if matches!(item.fate, Fate::Accepted { .. }) {
                self.gather(item.transaction.clone());
            }
        }
    }

    /// Those whose parents are missing wait, and their sender is asked for what it has.
    fn keep_orphans(&mut self, items: &[Item], sender: impl Fn(&Wtxid) -> Option<Peer>) {
        let now_ms = self.now.monotonic_ms;
        for item in items {
            if !item.fate.is_orphan() {
                continue;
            }
            let Some(peer) = sender(&item.transaction.wtxid()) else { continue };
            let Some(state) = self.peers.get_mut(peer) else { continue };
            state.reconcile.wanted = true;
            self.reconcile_dirty = true;
            self.orphans.insert(item.transaction.clone(), peer, now_ms, &mut self.rng);
        }
    }

    /// A verdict would come too late.
    pub(crate) fn on_batch_ticket_timer(&mut self, id: BatchId) {
        let batches = &mut self.transactions.batches;
        if let Some(ticket) = batches.get_mut(&id).and_then(|batch| batch.ticket.take()) {
            self.verdict(ticket, Verdict::Ignore);
        }
    }
}
