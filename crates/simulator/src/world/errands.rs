//! What people ask of nodes, and what they do with the replies.

use std::{collections::BTreeSet, sync::Arc};

use ashlar_consensus::TxError;
use ashlar_engine::{
    Answer, Call, CallError, CallId,
    call::{AnswerBody, BlockVerdict},
};
use ashlar_ledger::View;
use ashlar_mempool::{Limits, PolicyError, Refusal};
use ashlar_primitives::{Encode, Txid};

use super::{Event, World};
use crate::{
    invariants::Violation,
    node::{CALL_DEADLINE, Node, NodeId},
    people::{Errand, MinerId, Payment, WalletId, solve},
    scenario::SETTLING_BLOCKS,
    trace::Subject,
};

/// After the last payment is made there are enough blocks to come.
const _: () = assert!(SETTLING_BLOCKS >= 6);

/// Not a verdict: the clock is behind.
const TOO_NEW: &str = "time-too-new";
/// The miner of the last phase.
const LAST_MINER: MinerId = MinerId(0);

impl World {
    pub(super) fn schedule_people(&mut self) {
        for miner in self.people.miner_ids() {
            let at = self.people.time_to_block(miner);
            self.queue.push(at, Event::Find(miner));
        }
        for wallet in self.people.wallet_ids() {
            let at = self.people.time_to_payment();
            self.queue.push(at, Event::Pay(wallet));
        }
        let settle = self.scenario.timeline.settle;
        let interval = self.scenario.chain.block_interval;
        self.queue.push(settle, Event::Settle { following: SETTLING_BLOCKS - 1 });
        // After the first of the last blocks has decided the last race.
        self.queue.push(settle + interval + interval / 2, Event::Probe);
        self.queue.push(self.scenario.timeline.end - CALL_DEADLINE * 2, Event::Inquire);
    }

    fn is_first_phase(&self) -> bool {
        self.now < self.scenario.timeline.settle
    }

    pub(super) fn find(&mut self, miner: MinerId) {
        if self.is_first_phase() {
            self.ask_template(miner);
            let next = self.now + self.people.time_to_block(miner);
            self.queue.push(next, Event::Find(miner));
        }
    }

    pub(super) fn settle(&mut self, following: u32) {
        self.ask_template(LAST_MINER);
        if let Some(following) = following.checked_sub(1) {
            let next = self.now + self.scenario.chain.block_interval;
            self.queue.push(next, Event::Settle { following });
        }
    }

    fn ask_template(&mut self, miner: MinerId) {
        if let Some((node, call)) = self.people.ask_template(miner) {
            let errand = Errand::Template(miner);
            self.queue.push(self.now, Event::Call { node, errand, call });
        }
    }

    pub(super) fn pay(&mut self, wallet: WalletId) -> Result<(), Violation> {
        if self.is_first_phase() {
            self.offer_payment(wallet, false)?;
            let next = self.now + self.people.time_to_payment();
            self.queue.push(next, Event::Pay(wallet));
        }
        Ok(())
    }

    pub(super) fn make_probe(&mut self) -> Result<(), Violation> {
        for wallet in self.people.wallet_ids() {
            self.probe = self.offer_payment(wallet, true)?;
            if self.probe.is_some() {
                return Ok(());
            }
        }
        Err(Violation::NoProbe)
    }

    fn offer_payment(
        &mut self,
        wallet: WalletId,
        is_probe: bool,
    ) -> Result<Option<Txid>, Violation> {
        let Some(home) = self.people.home(wallet) else { return Ok(None) };
        let Some(view) = self.node(home).view() else { return Ok(None) };
        let payment = self
            .people
            .pay(wallet, &view, is_probe)
            .map_err(|error| Violation::query(home, &error))?;
        let Some(payment) = payment else { return Ok(None) };
        let txid = payment.transaction.txid();
        let errand = if is_probe { Errand::Probe(txid) } else { Errand::Payment(txid) };
        let call = Call::SubmitTransactions(vec![Arc::clone(&payment.transaction)]);
        self.queue.push(self.now, Event::Call { node: payment.node, errand, call });
        self.payments.push((payment, false));
        Ok(Some(txid))
    }

    /// After a reorganisation: whether the payments that are unconfirmed now could be too many for
    /// one cluster (PROTOCOL.md §13), so that the node may have to forget some.
    pub(super) fn note_overfull(&mut self, node: NodeId, view: &View) -> Result<(), Violation> {
        let (mut unconfirmed, mut bytes) = (0, 0);
        for (Payment { transaction, .. }, _) in &self.payments {
            let place = view.transaction_place(&transaction.txid());
            if place.map_err(|error| Violation::query(node, &error))?.is_none() {
                unconfirmed += 1;
                bytes += transaction.size_bytes();
            }
        }
        // A cluster must also fit into a block, with room for its frame and its coinbase.
        let limits = Limits::default();
        let fits = bytes <= self.scenario.chain.max_block_bytes / 2;
        if unconfirmed > limits.max_cluster_transactions || !fits {
            self.forgetful.insert(node);
        }
        Ok(())
    }

    /// A payment that a node took, that no block holds, and that could still be confirmed, must
    /// be waiting in that node's mempool: what was undone meanwhile must have come back.
    pub(super) fn inquire(&mut self) -> Result<(), Violation> {
        let mut waiting = BTreeSet::new();
        for (Payment { node, transaction }, accepted) in &self.payments {
            let (node, txid) = (*node, transaction.txid());
            let view = self.nodes.get(node.0).and_then(Node::view);
            let Some(view) = view.filter(|_| *accepted) else { continue };
            let query = |error| Violation::query(node, &error);
            if view.transaction_place(&txid).map_err(query)?.is_some() {
                continue;
            }
            let mut inputs = transaction.transaction().inputs.iter();
            let is_possible = inputs.try_fold(true, |so_far, input| {
                let coin = view.coin(input).map_err(|error| Violation::Store { node, error })?;
                Ok(so_far && (coin.is_some() || waiting.contains(&input.txid)))
            })?;
            if is_possible {
                waiting.insert(txid);
                let (errand, call) = (Errand::Inquiry(txid), Call::MempoolTransaction(txid));
                self.queue.push(self.now, Event::Call { node, errand, call });
            }
        }
        Ok(())
    }

    pub(super) fn call(
        &mut self,
        node: NodeId,
        errand: Errand,
        call: Call,
    ) -> Result<(), Violation> {
        let kind = match &call {
            Call::Template { .. } => "call for template",
            Call::SubmitBlock(_) => "call with block",
            Call::MempoolTransaction(_) => "call for payment",
            Call::MempoolPage { .. } | Call::MempoolInfo | Call::SyncStatus | Call::Peers => {
                "audit"
            }
            _ => "call with payment",
        };
        let (id, input) = self.node(node).call(errand, call);
        self.queue.push(self.now + CALL_DEADLINE, Event::CallDeadline { node, call: id });
        self.feed(node, (kind, Subject::Number(id.0)), input)
    }

    pub(super) fn reply(
        &mut self,
        node: NodeId,
        call: CallId,
        result: Result<Answer, CallError>,
    ) -> Result<(), Violation> {
        let errand =
            self.node(node).reply(call).ok_or(Violation::SecondReply { node, call: call.0 })?;
        let answer = match result {
            Ok(answer) => answer,
            // No block can follow the tip by this clock.
            Err(CallError::NoTemplate { code: TOO_NEW }) if self.scenario.has_wrong_clocks() => {
                return Ok(());
            }
            Err(error) => return Err(Violation::CallRefused { node, error }),
        };
        match (errand, answer.body) {
            (Errand::Template(miner), AnswerBody::Template(template)) => {
                let block = solve(&template).ok_or(Violation::Unsolvable { node })?;
                self.judge.learn(&block).map_err(|code| Violation::BlockNotValid { node, code })?;
                let (errand, call) = (Errand::Block(miner), Call::SubmitBlock(block.to_bytes()));
                self.queue.push(self.now, Event::Call { node, errand, call });
                Ok(())
            }
            (Errand::Block(_), AnswerBody::Block(verdict)) => self.block_judged(node, verdict),
            (errand @ (Errand::Payment(txid) | Errand::Probe(txid)), AnswerBody::Submitted(of)) => {
                let [result] =
                    <[_; 1]>::try_from(of).map_err(|_| Violation::OtherReply { node })?;
                match result {
                    Ok(_) => {
                        self.tally.payments_accepted += 1;
                        let made = self.payments.iter_mut();
                        made.filter(|(payment, _)| payment.transaction.txid() == txid)
                            .for_each(|(_, accepted)| *accepted = true);
                        Ok(())
                    }
                    Err(refusal) => self.payment_refused(node, errand, &refusal),
                }
            }
            (Errand::Inquiry(txid), AnswerBody::MempoolTransaction(entry)) => match entry {
                Some(_) => {
                    self.tally.payments_waiting += 1;
                    Ok(())
                }
                None if self.forgetful.contains(&node) => {
                    self.tally.payments_forgotten += 1;
                    Ok(())
                }
                None => Err(Violation::PaymentForgotten { node, txid }),
            },
            (Errand::Audit, body) => self.audited(node, answer.tip, &body),
            _ => Err(Violation::OtherReply { node }),
        }
    }

    fn block_judged(&mut self, node: NodeId, verdict: BlockVerdict) -> Result<(), Violation> {
        match verdict {
            BlockVerdict::Accepted(id) | BlockVerdict::Side(id) => {
                if let Some(Err(code)) = self.judge.verdict(&id) {
                    return Err(Violation::BlockNotValid { node, code });
                }
                self.tally.blocks_found += 1;
                self.note(Some(node), "found", Subject::Block(id));
                Ok(())
            }
            // Every template has an `extra` of its own.
            BlockVerdict::Known(_) => Err(Violation::OtherReply { node }),
            // By a clock that is behind, no block can follow the tip.
            BlockVerdict::Refused { code: TOO_NEW, .. } if self.scenario.has_wrong_clocks() => {
                Ok(())
            }
            // The node lost its chain between the template and the block.
            BlockVerdict::Refused { code: "unknown-parent", .. }
                if self.scenario.is_wiped(node) =>
            {
                Ok(())
            }
            BlockVerdict::Refused { code, message } => {
                Err(Violation::BlockRefused { node, code, message })
            }
        }
    }

    /// The wallet saw its coins in a published view; between that and the verdict a
    /// reorganisation may have undone them. Nothing else excuses a refusal.
    fn payment_refused(
        &mut self,
        node: NodeId,
        errand: Errand,
        refusal: &Refusal,
    ) -> Result<(), Violation> {
        let excused = matches!(
            refusal,
            Refusal::Invalid(TxError::MissingInput { .. })
                | Refusal::Policy(
                    PolicyError::ClusterTooLarge { .. } | PolicyError::MempoolFull { .. }
                )
        );
        if excused && matches!(errand, Errand::Payment(_)) {
            self.tally.payments_refused += 1;
            return Ok(());
        }
        Err(Violation::PaymentRefused { node, code: refusal.code() })
    }
}
