//! Calls from RPC, wallet and miner: each gets one reply, at once or when its work is done.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::{CheckedBlock, CheckedTransaction, OpenError};
use ashlar_ledger::{HeaderAccepted, Store, StoreError};
use ashlar_mempool::PrioritiesFull;
use ashlar_primitives::{BlockId, Decode as _, Header, codec::Reader};

use crate::{
    Engine,
    batch::Origin,
    call::{
        Answer, AnswerBody, BlockVerdict, Call, CallError, CallId, MAX_CALL_ENTRIES,
        MAX_CALL_TRANSACTIONS, PeerInfo, SyncStatus,
    },
    input::Peer,
    job::Job,
    jobs::JobPurpose,
    limits::{MAX_ORDERS, MAX_SUBMISSIONS},
    offence::open_error_code,
    output::Output,
    peers::PeerState,
};

/// A submitted block on its way: one for each call, since one id may come with several bodies, of
/// which one is the header's.
#[derive(Debug, Default)]
pub(crate) struct Submission {
    /// Opened and kept; the chain decides now.
    block: Option<Arc<CheckedBlock>>,
}

/// Calls whose answer takes time.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) submissions: BTreeMap<(BlockId, CallId), Submission>,
    /// Orders that were carried out; answered when the tip stands still.
    pub(crate) orders: Vec<CallId>,
}

impl<S: Store> Engine<S> {
    pub(crate) fn reply(&mut self, call: CallId, body: AnswerBody) {
        let tip = self.view.tip();
        let answer = Answer { tip: tip.id, height: tip.height, body };
        self.out.push(Output::Reply(call, Ok(answer)));
    }

    pub(crate) fn refuse(&mut self, call: CallId, error: CallError) {
        self.out.push(Output::Reply(call, Err(error)));
    }

    pub(crate) fn on_call(&mut self, id: CallId, call: Call) -> Result<(), StoreError> {
        let body = match call {
            Call::SubmitTransactions(transactions) => {
                self.judge_for(id, Origin::Submitted(id), transactions);
                return Ok(());
            }
            Call::RestoreTransactions(restored) => {
                self.restore(id, restored);
                return Ok(());
            }
            Call::TestTransactions(transactions) => {
                self.judge_for(id, Origin::Tested(id), transactions);
                return Ok(());
            }
            Call::SubmitBlock(bytes) => return self.submit_block(id, bytes),
            Call::Template { pay_to, extra } => return self.on_template_call(id, pay_to, extra),
            Call::InvalidateBlock(block)
                if let Some(history_start) = self.ledger.pruned_below(&block)? =>
            {
                self.refuse(id, CallError::Pruned { block, history_start });
                return Ok(());
            }
            Call::InvalidateBlock(block) => return self.order(id, &block, Self::invalidate),
            Call::Prune { height } => return self.prune_below(id, height),
            Call::AcceptReorganisation(block) => return self.accept_reorganisation(id, block),
            Call::ReconsiderBlock(block) => return self.order(id, &block, Self::reconsider),
            Call::MempoolInfo => AnswerBody::MempoolInfo(self.waiting().info()),
            Call::MempoolPage { after, limit } => {
                AnswerBody::MempoolPage(self.waiting().page(after, limit))
            }
            Call::MempoolTransaction(txid) => {
                AnswerBody::MempoolTransaction(self.waiting().transaction(&txid))
            }
            Call::MempoolKin(txid) => AnswerBody::MempoolKin(self.waiting().kin(&txid)),
            Call::Prioritise { txid, delta_grains } => {
                match self.mempool.prioritise(txid, delta_grains) {
                    Ok(sum) => AnswerBody::Priority(sum),
                    Err(PrioritiesFull) => {
                        self.refuse(id, CallError::PrioritiesFull);
                        return Ok(());
                    }
                }
            }
            Call::Priorities => AnswerBody::Priorities(self.mempool.priorities().clone()),
            Call::MempoolSpenders(outpoints) => {
                if outpoints.len() > MAX_CALL_ENTRIES {
                    self.refuse(id, CallError::TooMany { max: MAX_CALL_ENTRIES });
                    return Ok(());
                }
                AnswerBody::MempoolSpenders(self.waiting().spenders(&outpoints))
            }
            Call::Peers => AnswerBody::Peers(self.peer_infos()?),
            Call::SyncStatus => AnswerBody::Sync(self.sync_status()?),
            Call::EstimateFee { target_blocks } => {
                AnswerBody::Fee(self.estimate_fee(target_blocks))
            }
        };
        self.reply(id, body);
        Ok(())
    }

    pub(crate) fn judge_for(
        &mut self,
        id: CallId,
        origin: Origin,
        transactions: Vec<Arc<CheckedTransaction>>,
    ) {
        if transactions.len() > MAX_CALL_TRANSACTIONS {
            self.refuse(id, CallError::TooMany { max: MAX_CALL_TRANSACTIONS });
        } else if self.has_batch_room(None) {
            self.add_checked(origin, transactions);
        } else {
            self.refuse(id, CallError::Overloaded);
        }
    }

    pub(crate) fn peer_infos(&self) -> Result<Vec<PeerInfo>, StoreError> {
        self.peers.all.iter().map(|(&peer, state)| self.peer_info(peer, state)).collect()
    }

    fn peer_info(&self, peer: Peer, state: &PeerState) -> Result<PeerInfo, StoreError> {
        let now_ms = self.now.monotonic_ms;
        let claim = state.claim.as_ref();
        let claimed = claim.map(|claim| (claim.height, claim.tip));
        // What it gossiped since it last told its status may be higher.
        let seen = match state.available {
            Some(id) => self.ledger.header_state(&id)?.map(|seen| (seen.height, seen.id)),
            None => None,
        };
        let highest = seen.filter(|seen| claimed.is_some_and(|claimed| claimed.0 < seen.0));
        let highest = highest.or(claimed);
        Ok(PeerInfo {
            peer,
            direction: state.direction,
            address: state.address.clone(),
            identity: state.identity.clone(),
            agent: claim.map(|claim| claim.agent.clone()),
            height: highest.map(|(height, _)| height),
            tip: highest.map(|(_, tip)| tip),
            services: claim.map(|claim| claim.services),
            connected_ms: now_ms.saturating_sub(state.connected_ms),
            synced_headers: seen.map(|(height, _)| height),
            in_flight: self.requests.by_kind(&state.in_flight),
            last_seen_unix: self.now.unix_seconds_at(state.seen_ms),
            last_block_unix: state.block_ms.map(|at_ms| self.now.unix_seconds_at(at_ms)),
            last_transaction_unix: state
                .transaction_ms
                .map(|at_ms| self.now.unix_seconds_at(at_ms)),
            score: state.score(now_ms),
        })
    }

    pub(crate) fn sync_status(&self) -> Result<SyncStatus, StoreError> {
        Ok(SyncStatus {
            syncing: self.chain.is_syncing(),
            height: self.view.tip().height,
            best_header_height: self.ledger.best_header().height,
            blocks_in_flight: self.download.blocks_in_flight(),
            peers: self.peers.askable().count(),
            reorganisations: self.reorganisation_counts(),
            warnings: self.warnings()?,
            progress: self.chain.is_syncing().then(|| self.sync_progress()).transpose()?,
        })
    }

    // --- orders of the operator

    fn order(
        &mut self,
        call: CallId,
        block: &BlockId,
        carry_out: fn(&mut Self, &BlockId) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.ledger.header_state(block)?.is_none() {
            self.refuse(call, CallError::NotFound);
        } else if self.calls.orders.len() >= MAX_ORDERS {
            self.refuse(call, CallError::Overloaded);
        } else {
            carry_out(self, block)?;
            self.note_best_header();
            self.calls.orders.push(call);
        }
        Ok(())
    }

    fn prune_below(&mut self, call: CallId, height: u32) -> Result<(), StoreError> {
        if self.view.prune_bytes().is_none() {
            self.refuse(call, CallError::NotPruning);
        } else if self.calls.orders.len() >= MAX_ORDERS {
            self.refuse(call, CallError::Overloaded);
        } else {
            self.ledger.prune_below(height);
            self.chain.more = true;
            self.calls.orders.push(call);
        }
        Ok(())
    }

    fn invalidate(&mut self, block: &BlockId) -> Result<(), StoreError> {
        self.ledger.invalidate(block)
    }

    fn reconsider(&mut self, block: &BlockId) -> Result<(), StoreError> {
        self.ledger.reconsider(block)
    }

    // --- submitted blocks

    fn refuse_block(&mut self, call: CallId, code: &'static str, message: String) {
        self.reply(call, AnswerBody::Block(BlockVerdict::Refused { code, message }));
    }

    /// The order of checks of PROTOCOL.md §8.
    fn submit_block(&mut self, call: CallId, bytes: Vec<u8>) -> Result<(), StoreError> {
        let Ok(header) = Header::decode(&mut Reader::new(&bytes)) else {
            self.refuse_block(call, "malformed", "shorter than a header of 80 bytes".to_owned());
            return Ok(());
        };
        let id = header.id();
        if self.ledger.knows_body(&id)? && self.ledger.failed_code(&id)?.is_none() {
            self.reply(call, AnswerBody::Block(BlockVerdict::Known(id)));
            return Ok(());
        }
        match self.ledger.accept_header(&header, self.now.unix_seconds())? {
            Ok(HeaderAccepted::New | HeaderAccepted::Known) => {}
            Err(refusal) => {
                self.refuse_block(call, refusal.code(), refusal.to_string());
                return Ok(());
            }
        }
        self.note_best_header();
        let Some(state) = self.ledger.header_state(&id)? else { return Ok(()) };
        if self.calls.submissions.len() >= MAX_SUBMISSIONS {
            self.refuse(call, CallError::Overloaded);
            return Ok(());
        }
        self.calls.submissions.insert((id, call), Submission::default());
        let params = self.params.clone();
        let job = Job::OpenBody { params, header, height: state.height, bytes };
        self.start_job(JobPurpose::OpenSubmitted { id, call }, job);
        Ok(())
    }

    pub(crate) fn on_submitted_opened(
        &mut self,
        id: BlockId,
        call: CallId,
        result: Result<Arc<CheckedBlock>, OpenError>,
    ) -> Result<(), StoreError> {
        let block = match result {
            Ok(block) => block,
            Err(error) => {
                self.blame_body(id, None, &error)?;
                self.calls.submissions.remove(&(id, call));
                self.refuse_block(call, open_error_code(&error), error.to_string());
                return Ok(());
            }
        };
        let unknown: Vec<u32> = (0..)
            .zip(block.transactions())
            .filter(|(_, transaction)| !self.mempool.contains_wtxid(&transaction.wtxid()))
            .map(|(index, _)| index)
            .collect();
        let is_new = !self.ledger.knows_body(&id)? && self.ledger.failed_code(&id)?.is_none();
        // As far as everybody who passes it on checks it, it is checked; what it costs to keep and
        // to connect it costs all nodes at the same time.
        if is_new && self.may_relay(&id)? {
            self.announce(&block, &unknown);
            self.chain.keep_next(block.clone());
        } else {
            self.keep_body(block.clone())?;
        }
        // Even where it came by another way meanwhile, the chain may still have to decide.
        self.chain.more = true;
        if let Some(submission) = self.calls.submissions.get_mut(&(id, call)) {
            submission.block = Some(block);
        }
        Ok(())
    }

    /// The chain decided about a block. What is still being opened under its id may be no body of
    /// it, and is answered when that is known.
    fn answer_submissions(&mut self, id: &BlockId, verdict: &BlockVerdict) {
        for call in self.decided_calls(id) {
            self.reply(call, AnswerBody::Block(verdict.clone()));
            self.calls.submissions.remove(&(*id, call));
        }
    }

    fn decided_calls(&self, id: &BlockId) -> Vec<CallId> {
        let of_block = self.calls.submissions.iter().filter(|((block, _), _)| block == id);
        let decided = of_block.filter(|(_, submission)| submission.block.is_some());
        decided.map(|(&(_, call), _)| call).collect()
    }

    pub(crate) fn refuse_submission(&mut self, id: BlockId, code: &'static str, message: String) {
        self.answer_submissions(&id, &BlockVerdict::Refused { code, message });
    }

    /// A block joined the published chain.
    pub(crate) fn accept_submission(&mut self, id: &BlockId) {
        self.answer_submissions(id, &BlockVerdict::Accepted(*id));
    }

    /// The ledger has nothing more to do: what was submitted and is not connected lies on a side
    /// branch, or failed; what was ordered is done.
    pub(crate) fn on_standstill(&mut self) -> Result<(), StoreError> {
        // A step is still open: what it connected is not yet published.
        if self.ledger.next_wakeup().is_some() {
            return Ok(());
        }
        for order in core::mem::take(&mut self.calls.orders) {
            self.reply(order, AnswerBody::Done);
        }
        let judged: Vec<BlockId> = self
            .calls
            .submissions
            .iter()
            .filter(|(_, submission)| submission.block.is_some())
            .map(|(&(id, _), _)| id)
            .collect();
        for id in judged {
            let verdict = match self.ledger.failed_code(&id)? {
                Some(code) => {
                    let message = format!("known to be invalid: {code}");
                    BlockVerdict::Refused { code, message }
                }
                None if self.view.is_active(&id)? => BlockVerdict::Accepted(id),
                None => BlockVerdict::Side(id),
            };
            self.answer_submissions(&id, &verdict);
        }
        Ok(())
    }
}
