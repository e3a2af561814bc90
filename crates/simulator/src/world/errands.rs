//! What people ask of nodes, and what they do with the replies.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ashlar_consensus::{TxError, check_transaction};
use ashlar_engine::{
    Answer, Call, CallError, CallId,
    call::{AnswerBody, BlockVerdict},
};
use ashlar_ledger::View;
use ashlar_mempool::{Limits, Refusal};
use ashlar_primitives::{Block, BlockId, Encode, Lock, Txid};
use ashlar_testkit::model::{body, difficulty, state};
use rand::seq::IndexedRandom as _;

use super::{Event, World};
use crate::{
    craft::{self, Draft},
    excuses::{Circumstances, MALFORMED, TOO_NEW, is_nobodys_fault},
    invariants::Violation,
    node::{CALL_DEADLINE, Node, NodeId},
    people::{Errand, MinerId, Payment, WalletId, solve},
    random::once_in,
    scenario::SETTLING_BLOCKS,
    trace::Subject,
};

/// After the last payment is made there are enough blocks to come.
const _: () = assert!(SETTLING_BLOCKS >= 6);

/// Somebody hands in something wrong so often.
const BLUNDER_INTERVAL: Duration = Duration::from_secs(7);
/// Once in so many times what somebody does wrong is to hand in too long a chain.
const LONG_CHAIN_ONCE_IN: u32 = 60;
/// Further ahead than any clock here is wrong and any header may be.
const MUCH_TOO_NEW_SECONDS: u32 = 4 * 3_600;
/// Between a wrong block and the next on it.
const STUBBORN: Duration = Duration::from_secs(1);
/// Nothing is known of a coin by the tip alone.
const MISSING_INPUT: &str = "tx-missing-input";
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
        self.queue.push(BLUNDER_INTERVAL, Event::Blunder);
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
            let next = self.now + self.people.time_to_payment();
            self.queue.push(next, Event::Pay(wallet));
            self.offer_payment(wallet, false)?;
        }
        Ok(())
    }

    pub(super) fn make_probe(&mut self) -> Result<(), Violation> {
        self.try_probe()?;
        if self.probe.is_none() {
            // Where people quarrelled about every coin, one that is still there will do.
            let contested = std::mem::take(&mut self.people.contested);
            let tried = self.try_probe();
            self.people.contested.extend(contested);
            tried?;
        }
        self.probe.map(|_| ()).ok_or(Violation::NoProbe)
    }

    fn try_probe(&mut self) -> Result<(), Violation> {
        for wallet in self.people.wallet_ids() {
            self.probe = self.offer_payment(wallet, true)?;
            if self.probe.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn offer_payment(
        &mut self,
        wallet: WalletId,
        is_probe: bool,
    ) -> Result<Option<Txid>, Violation> {
        let Some(home) = self.people.home(wallet) else { return Ok(None) };
        let Some(view) = self.node(home).view() else { return Ok(None) };
        let payments = self
            .people
            .pay(wallet, &view, is_probe)
            .map_err(|error| Violation::query(home, &error))?;
        let first = payments.first().map(|payment| payment.transaction.txid());
        for payment in payments {
            let txid = payment.transaction.txid();
            let errand = if is_probe { Errand::Probe(txid) } else { Errand::Payment(txid) };
            let call = Call::SubmitTransactions(vec![Arc::clone(&payment.transaction)]);
            self.queue.push(self.now, Event::Call { node: payment.node, errand, call });
            self.payment_places.insert(txid, self.payments.len());
            self.payments.push((payment, false));
        }
        Ok(first)
    }

    /// A transaction with something wrong goes where any goes; nodes and model must say the same.
    pub(super) fn blunder(&mut self) -> Result<(), Violation> {
        if !self.is_first_phase() {
            return Ok(());
        }
        self.queue.push(self.now + BLUNDER_INTERVAL, Event::Blunder);
        let (wallet, node) = self.people.draw_clumsy();
        if let Some((Payment { transaction, .. }, _)) = self
            .payments
            .choose(self.people.random())
            .filter(|_| self.tally.events.is_multiple_of(3))
        {
            // What was handed in before, once more and perhaps elsewhere.
            let transaction = Arc::clone(transaction);
            let txid = transaction.txid();
            self.people.contested.extend(&transaction.transaction().inputs);
            self.blunders.insert(txid, transaction.transaction().clone());
            let call = Call::SubmitTransactions(vec![transaction]);
            self.queue.push(self.now, Event::Call { node, errand: Errand::Clumsy(txid), call });
            return Ok(());
        }
        let Some(view) = self.node(node).view() else { return Ok(()) };
        if once_in(self.people.random(), LONG_CHAIN_ONCE_IN) {
            let chain = self.people.long_chain(wallet, &view);
            let chain = chain.map_err(|error| Violation::query(node, &error))?;
            if let Some(chain) = chain {
                let call = Call::SubmitTransactions(chain);
                self.queue.push(self.now, Event::Call { node, errand: Errand::Chain, call });
            }
            return Ok(());
        }
        let made = self.people.blunder(wallet, &view);
        let made = made.map_err(|error| Violation::query(node, &error))?;
        let Some(transaction) = made else { return Ok(()) };
        let model = body::check_transaction(&transaction).err();
        let checked = check_transaction(transaction.clone());
        let code = checked.as_ref().err().map(TxError::code);
        if code != model {
            return Err(Violation::OtherTransactionVerdict { node, code, model });
        }
        match checked {
            Err(error) => {
                self.tally.codes.insert(error.code());
            }
            Ok(checked) => {
                let txid = checked.txid();
                self.blunders.insert(txid, transaction);
                let call = Call::SubmitTransactions(vec![Arc::new(checked)]);
                let errand = Errand::Clumsy(txid);
                self.queue.push(self.now, Event::Call { node, errand, call });
            }
        }
        Ok(())
    }

    /// What the node says of it at its tip is what the model says, which knows no mempool.
    fn blunder_judged(
        &mut self,
        node: NodeId,
        txid: Txid,
        (tip, height): (BlockId, u32),
        refusal: Option<&Refusal>,
    ) -> Result<(), Violation> {
        let Some(transaction) = self.blunders.remove(&txid) else { return Ok(()) };
        self.judge.facts(&tip);
        let (params, coins) = (self.judge.params(), self.judge.model().coins(&tip));
        let model = state::check_transaction(params, height + 1, &transaction, coins).err();
        let code = refusal.map(Refusal::code);
        self.tally.codes.extend(code);
        let agrees = match refusal {
            // Its parents may wait in the mempool.
            None | Some(Refusal::Policy(_)) => model.is_none() || model == Some(MISSING_INPUT),
            Some(Refusal::Invalid(_)) => model == code || model == Some(MISSING_INPUT),
        };
        match agrees {
            true => Ok(()),
            false => Err(Violation::OtherTransactionVerdict { node, code, model }),
        }
    }

    /// After a reorganisation: whether the payments that are unconfirmed now could be too many for
    /// one cluster (PROTOCOL.md §13), so that the node may have to forget some.
    pub(super) fn note_overfull(&mut self, node: NodeId, view: &View) -> Result<(), Violation> {
        if self.forgetful.contains(&node) {
            return Ok(());
        }
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
        // What another transaction contradicts, what can have become too young by a
        // reorganisation, and what spends from such a one: it may have had to go though it could
        // be confirmed again.
        let mut excused = BTreeSet::new();
        for (Payment { node, transaction, is_aged }, accepted) in &self.payments {
            let (node, txid) = (*node, transaction.txid());
            let mut inputs = transaction.transaction().inputs.iter();
            let is_contested = inputs.clone().any(|input| {
                self.people.contested.contains(input) || excused.contains(&input.txid)
            });
            if is_contested || (*is_aged && self.reorganised.contains(&node)) {
                excused.insert(txid);
                continue;
            }
            let view = self.nodes.get(node.0).and_then(Node::view);
            let Some(view) = view.filter(|_| *accepted) else { continue };
            let query = |error| Violation::query(node, &error);
            if view.transaction_place(&txid).map_err(query)?.is_some() {
                continue;
            }
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

    /// How many seconds must pass before the node's clock accepts any block on its tip.
    fn tip_is_ahead_by(&mut self, node: NodeId) -> u64 {
        let (now, max_future) = (self.now, self.scenario.chain.max_future_seconds());
        let node = self.node(node);
        let latest = node.clocks(now).unix_seconds() + max_future;
        node.view().map_or(0, |view| view.tip().min_time().saturating_sub(latest))
    }

    /// What can make a node refuse a good block by now.
    fn circumstances(&self, node: NodeId) -> Circumstances {
        Circumstances::of(&self.scenario, node, self.now)
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
            Err(CallError::TipAhead { wait_seconds })
                if wait_seconds > 0 && wait_seconds == self.tip_is_ahead_by(node) =>
            {
                return Ok(());
            }
            Err(error) => return Err(Violation::CallRefused { node, error }),
        };
        match (errand, answer.body) {
            (Errand::Template(miner), AnswerBody::Template(template)) => {
                let block = solve(&template).ok_or(Violation::Unsolvable { node })?;
                self.clumsy_miner(node, &block);
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
                        let place = self.payment_places.get(&txid);
                        let made = place.and_then(|place| self.payments.get_mut(*place));
                        made.into_iter().for_each(|(_, accepted)| *accepted = true);
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
            (Errand::Clumsy(txid), AnswerBody::Submitted(of)) => {
                let refusal = of.first().and_then(|result| result.as_ref().err());
                self.blunder_judged(node, txid, (answer.tip, answer.height), refusal)
            }
            (Errand::Chain, AnswerBody::Submitted(of)) => of
                .iter()
                .filter_map(|result| result.as_ref().err())
                .try_for_each(|refusal| self.payment_refused(node, Errand::Chain, refusal)),
            (Errand::Spoiled(model), AnswerBody::Block(verdict)) => {
                self.spoiled_judged(node, model, &verdict)
            }
            (Errand::Audit, body) => self.audited(node, answer.tip, &body),
            _ => Err(Violation::OtherReply { node }),
        }
    }

    /// Now and then somebody hands in a template with something wrong, before the block itself.
    fn clumsy_miner(&mut self, node: NodeId, block: &Block) {
        let Some(flaw) = self.people.draw_flaw().filter(|_| self.is_first_phase()) else { return };
        let random = self.people.random();
        let Some(spoiled) = craft::spoil(&self.judge, block.clone(), flaw, random) else { return };
        self.hasty_miner(node, block);
        let id = spoiled.header.id();
        let learned = self.judge.learn(&spoiled).err();
        let model = learned.or_else(|| self.judge.verdict(&id)?.err());
        let (errand, call) = (Errand::Spoiled(model), Call::SubmitBlock(spoiled.to_bytes()));
        self.queue.push(self.now, Event::Call { node, errand, call });
        self.stubborn_miner(node, &spoiled);
        // The honest block with a byte too many, anywhere: nothing that could be held against it.
        let (_, anywhere) = self.people.draw_clumsy();
        let bytes = [block.to_bytes(), vec![0]].concat();
        let (errand, call) = (Errand::Spoiled(Some(MALFORMED)), Call::SubmitBlock(bytes));
        self.queue.push(self.now, Event::Call { node: anywhere, errand, call });
    }

    /// The same block with a time that no clock here reaches.
    fn hasty_miner(&mut self, node: NodeId, block: &Block) {
        let Some(parent) = self.judge.entry(&block.header.parent) else { return };
        let (params, mut hasty) = (self.judge.params(), block.clone());
        hasty.header.time = block.header.time.saturating_add(MUCH_TOO_NEW_SECONDS);
        hasty.header.bits = difficulty::required_bits(params, &parent.link, hasty.header.time);
        let Some(hasty) = craft::seal(hasty) else { return };
        // No verdict about the block, so the judge is not told.
        let (errand, call) = (Errand::Spoiled(Some(TOO_NEW)), Call::SubmitBlock(hasty.to_bytes()));
        self.queue.push(self.now, Event::Call { node, errand, call });
    }

    /// A block on one that is wrong, once that was judged.
    fn stubborn_miner(&mut self, node: NodeId, wrong: &Block) {
        let parent = wrong.header.id();
        if self.judge.entry(&parent).is_none_or(|entry| entry.failed.is_none()) {
            return;
        }
        let pay_to = Lock { version: Lock::KEY, program: [2; 32] };
        let (time, mark) = (wrong.header.time, self.tally.events);
        let draft = Draft { parent, time, pay_to, mark, transactions: Vec::new() };
        let Some(child) = craft::craft(&mut self.judge, draft) else { return };
        let model = self.judge.learn(&child).err();
        let (errand, call) = (Errand::Spoiled(model), Call::SubmitBlock(child.to_bytes()));
        self.queue.push(self.now + STUBBORN, Event::Call { node, errand, call });
    }

    /// A node refuses it for the model's reason, unless it has none to judge it at all yet.
    fn spoiled_judged(
        &mut self,
        node: NodeId,
        model: Option<&'static str>,
        verdict: &BlockVerdict,
    ) -> Result<(), Violation> {
        match verdict {
            // Not on the best branch any more, or handed in before.
            BlockVerdict::Side(_) | BlockVerdict::Known(_) => Ok(()),
            BlockVerdict::Accepted(id) => match model {
                None => Ok(()),
                Some(_) => Err(Violation::InvalidChain { node, id: *id, model }),
            },
            BlockVerdict::Refused { code, .. } => {
                self.tally.codes.insert(code);
                let is_excused = self.circumstances(node).excuse_other_reason(code, model);
                match model {
                    Some(model) if model == *code => Ok(()),
                    _ if is_excused => Ok(()),
                    _ => Err(Violation::OtherBlockVerdict { node, code, model }),
                }
            }
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
            BlockVerdict::Refused { code, .. } if self.circumstances(node).excuse_refusal(code) => {
                Ok(())
            }
            BlockVerdict::Refused { code, message } => {
                Err(Violation::BlockRefused { node, code, message })
            }
        }
    }

    /// The wallet saw its coins in a published view, and keeps the rules; for the payment that must
    /// be confirmed everywhere nothing excuses a refusal.
    fn payment_refused(
        &mut self,
        node: NodeId,
        errand: Errand,
        refusal: &Refusal,
    ) -> Result<(), Violation> {
        self.tally.codes.insert(refusal.code());
        let excused = is_nobodys_fault(refusal);
        match errand {
            Errand::Payment(_) if excused => {
                self.tally.payments_refused += 1;
                Ok(())
            }
            Errand::Chain if excused => Ok(()),
            _ => Err(Violation::PaymentRefused { node, code: refusal.code() }),
        }
    }
}
