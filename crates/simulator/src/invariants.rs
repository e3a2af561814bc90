//! What must hold, judged outside the nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ashlar_consensus::{UtxoAccumulator, Work};
use ashlar_engine::{CallError, Offence, Verdict};
use ashlar_ledger::{OpenLedgerError, OpenWarning, StoreError, View, view::QueryError};
use ashlar_primitives::{Amount, Block, BlockId, Coin, Commitment, Lock, OutPoint, Txid};
use thiserror::Error;

use crate::{judge::Judge, node::NodeId, readable::Fault};

/// How many coins one page of an address query holds when the index is compared.
const INDEX_PAGE: usize = 64;

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Something happened that never may.
    Safety,
    /// Something that must happen did not.
    Liveness,
}

/// What must hold and did not.
#[derive(Clone, Debug, Error)]
#[expect(missing_docs, reason = "each variant's message says what its fields are")]
pub enum Violation {
    #[error("{node}: {error}")]
    Store { node: NodeId, error: StoreError },
    #[error("{node}: a query failed: {message}")]
    Query { node: NodeId, message: String },
    #[error("{node} cut {other}, who is honest, over a link that works: {offence:?}, {reason}")]
    HonestPeerCut { node: NodeId, other: NodeId, offence: Offence, reason: String },
    #[error("{node} gave the verdict {verdict:?} on a message that an honest node sent")]
    HonestMessageRejected { node: NodeId, verdict: Verdict },
    #[error("{node} gave a second verdict on ticket {ticket}")]
    SecondVerdict { node: NodeId, ticket: u64 },
    #[error("{node} gave no verdict on ticket {ticket} by its deadline")]
    NoVerdict { node: NodeId, ticket: u64 },
    #[error("{node} used the request number {request} again, or one below an earlier one")]
    RequestNumber { node: NodeId, request: u64 },
    #[error("{node} answered inbound request {inbound} twice")]
    SecondAnswer { node: NodeId, inbound: u64 },
    #[error(
        "{node} had no answer in time to its request {request} to {other}, over a link that works"
    )]
    NoAnswer { node: NodeId, other: NodeId, request: u64 },
    #[error("{node} has {in_flight} requests in flight to {other}, more than the network carries")]
    TooManyRequests { node: NodeId, other: NodeId, in_flight: usize },
    #[error("{node} made a template that it then refused itself: {code}")]
    TemplateRefused { node: NodeId, code: &'static str },
    #[error("{node} replied twice to call {call}")]
    SecondReply { node: NodeId, call: u64 },
    #[error("{node} had no reply for call {call} in time")]
    NoReply { node: NodeId, call: u64 },
    #[error("{node} sent {what} that no receiver can read: {fault:?}")]
    Unreadable { node: NodeId, what: &'static str, fault: Fault },
    #[error("{node} refused a miner's or wallet's call: {error}")]
    CallRefused { node: NodeId, error: CallError },
    #[error("{node} answered a call with something that was not asked")]
    OtherReply { node: NodeId },
    #[error("no nonce meets the target of a template of {node}")]
    Unsolvable { node: NodeId },
    #[error("{node} refused a block of a miner who kept the rules: {code}, {message}")]
    BlockRefused { node: NodeId, code: &'static str, message: String },
    #[error("{node} refused a payment of a wallet that kept the rules: {code}")]
    PaymentRefused { node: NodeId, code: &'static str },
    #[error("{node} marked block {id} invalid ({code}), the model says {model:?}")]
    OtherVerdict { node: NodeId, id: BlockId, code: &'static str, model: Option<&'static str> },
    #[error("{node} says {code:?} of a transaction, the model says {model:?}")]
    OtherTransactionVerdict {
        node: NodeId,
        code: Option<&'static str>,
        model: Option<&'static str>,
    },
    #[error("{node} refuses a block for {code}, the model says {model:?}")]
    OtherBlockVerdict { node: NodeId, code: &'static str, model: Option<&'static str> },
    #[error("{node} stands on block {id}, which is not valid: {model:?}")]
    InvalidChain { node: NodeId, id: BlockId, model: Option<&'static str> },
    #[error("{node} made a block that the model refuses: {code}")]
    BlockNotValid { node: NodeId, code: &'static str },
    #[error("{node} has all of the better branch up to {better}, and stays at {tip}")]
    BelowBestChain { node: NodeId, better: BlockId, tip: BlockId },
    #[error("{node} does not open its own store: {message}")]
    NotOpened { node: NodeId, message: String },
    #[error("{node} lost what it had announced: {warning}")]
    WentBack { node: NodeId, warning: OpenWarning },
    #[error("{node} is at {tip} after a restart, with less work than it had announced")]
    FellBack { node: NodeId, tip: BlockId },
    #[error("{node} has {what} of {found}, the bound is {bound}")]
    OutOfBounds { node: NodeId, what: &'static str, found: usize, bound: usize },
    #[error("{node} holds {txid} in its mempool, which {fault}")]
    Mempool { node: NodeId, txid: Txid, fault: &'static str },
    #[error("{node} took {other} for a node of another chain")]
    OtherChain { node: NodeId, other: u64 },
    #[error("{node} published tip {tip} with less work than the one before")]
    WorkFell { node: NodeId, tip: BlockId },
    #[error("{node} published tip {tip} twice in a row")]
    TipRepeated { node: NodeId, tip: BlockId },
    #[error("{node} says of tip {tip} {here:?}, the model says {model:?}")]
    StateDiffers { node: NodeId, tip: BlockId, here: Box<TipFacts>, model: Box<TipFacts> },
    #[error(
        "{node}: all coins are worth {found} grains; the schedule less what was burnt is {expected}"
    )]
    Supply { node: NodeId, found: u64, expected: u64 },
    #[error("replaying the chain of {node} fails at height {height}: {fault}")]
    Replay { node: NodeId, height: u32, fault: &'static str },
    #[error("{node}: replaying its chain gives {replayed:?}, it says {published:?}")]
    ReplayDiffers { node: NodeId, replayed: Box<TipFacts>, published: Box<TipFacts> },
    #[error("{node}: the index says {indexed} grains for a lock, its coins are worth {replayed}")]
    IndexDiffers { node: NodeId, indexed: Amount, replayed: Amount },
    #[error("{node} is asked to tick again and again at {at:?}, and nothing changes")]
    Spinning { node: NodeId, at: Duration },
    #[error("{events} events: the world does not come to an end")]
    Endless { events: u64 },
    #[error(
        "{node} ended at {tip} (height {height}), {other} at {other_tip} (height {other_height})"
    )]
    NotOneTip {
        node: NodeId,
        tip: BlockId,
        height: u32,
        other: NodeId,
        other_tip: BlockId,
        other_height: u32,
    },
    #[error("{node} knows the better header {best} and stays at {tip}")]
    BelowBestHeader { node: NodeId, best: BlockId, tip: BlockId },
    #[error("{node} took {txid}, which still could be confirmed, and has forgotten it")]
    PaymentForgotten { node: NodeId, txid: Txid },
    #[error("no wallet had a coin for the last payment")]
    NoProbe,
    #[error("{node} has not confirmed {txid}, though it pays well")]
    Unconfirmed { node: NodeId, txid: Txid },
}

impl Violation {
    /// What kind of promise it breaks.
    pub const fn class(&self) -> Class {
        match self {
            Self::NoVerdict { .. }
            | Self::NoAnswer { .. }
            | Self::NoReply { .. }
            | Self::Spinning { .. }
            | Self::Endless { .. }
            | Self::NotOneTip { .. }
            | Self::BelowBestHeader { .. }
            | Self::PaymentForgotten { .. }
            | Self::NoProbe
            | Self::Unconfirmed { .. } => Class::Liveness,
            _ => Class::Safety,
        }
    }

    /// A ledger did not open.
    pub fn not_opened(node: NodeId, error: &OpenLedgerError) -> Self {
        Self::NotOpened { node, message: error.to_string() }
    }

    /// A query of the world itself failed.
    pub fn query(node: NodeId, error: &QueryError) -> Self {
        match error {
            QueryError::Store(error) => Self::Store { node, error: error.clone() },
            QueryError::IndexOff { .. } => Self::Query { node, message: error.to_string() },
        }
    }
}

/// What nodes with one tip must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TipFacts {
    /// Of the tip.
    pub height: u32,
    /// To the coins after it.
    pub commitment: Commitment,
    /// How many coins.
    pub coins: u64,
    /// What they are worth.
    pub total: Amount,
    /// What coinbases ever claimed.
    pub claimed: Amount,
}

impl TipFacts {
    /// As a view tells them.
    pub fn of(view: &View) -> Self {
        Self {
            height: view.tip().height,
            commitment: view.utxo_commitment(),
            coins: view.coin_count(),
            total: view.coin_total(),
            claimed: view.claimed_total(),
        }
    }
}

/// What each node published last.
#[derive(Debug, Default)]
pub struct Checks {
    latest: BTreeMap<NodeId, (BlockId, Work)>,
}

impl Checks {
    /// A node's published tip moved: its work did not fall, and the model agrees with it on every
    /// block that was connected and on the state after the last.
    pub fn tip(
        &mut self,
        judge: &mut Judge,
        node: NodeId,
        view: &View,
        connected: &[BlockId],
    ) -> Result<(), Violation> {
        let tip = view.tip();
        if let Some((before, work)) = self.latest.insert(node, (tip.id, tip.work)) {
            if tip.work < work {
                return Err(Violation::WorkFell { node, tip: tip.id });
            }
            if tip.id == before {
                return Err(Violation::TipRepeated { node, tip: tip.id });
            }
        }
        for id in connected {
            let verdict = judge.verdict(id);
            if !matches!(verdict, Some(Ok(()))) {
                let model = verdict.and_then(Result::err);
                return Err(Violation::InvalidChain { node, id: *id, model });
            }
        }
        facts(judge, node, view)
    }

    /// A node has opened its store again, which may be known to hold less than before.
    pub fn restarted(
        &mut self,
        judge: &mut Judge,
        node: NodeId,
        view: &View,
        has_less: bool,
    ) -> Result<(), Violation> {
        let tip = view.tip();
        let before = self.latest.insert(node, (tip.id, tip.work));
        if !has_less && before.is_some_and(|(_, work)| tip.work < work) {
            return Err(Violation::FellBack { node, tip: tip.id });
        }
        facts(judge, node, view)
    }
}

/// A node and the model agree on the state after its tip.
fn facts(judge: &mut Judge, node: NodeId, view: &View) -> Result<(), Violation> {
    let tip = view.tip().id;
    let here = TipFacts::of(view);
    match judge.facts(&tip) {
        Some(model) if *model == here => Ok(()),
        Some(model) => {
            let (here, model) = (Box::new(here), Box::new(model.clone()));
            Err(Violation::StateDiffers { node, tip, here, model })
        }
        None => Err(Violation::InvalidChain { node, id: tip, model: None }),
    }
}

/// All nodes have one tip, and none knows a better header.
pub fn one_tip<'a>(
    nodes: impl Iterator<Item = (NodeId, &'a View, BlockId)> + Clone,
) -> Result<(), Violation> {
    let mut rest = nodes.clone();
    let Some((other, first, _)) = rest.next() else { return Ok(()) };
    for (node, view, _) in rest {
        let (here, there) = (view.tip(), first.tip());
        if here.id != there.id {
            return Err(Violation::NotOneTip {
                node,
                tip: here.id,
                height: here.height,
                other,
                other_tip: there.id,
                other_height: there.height,
            });
        }
    }
    for (node, view, best) in nodes {
        if view.tip().id != best {
            return Err(Violation::BelowBestHeader { node, best, tip: view.tip().id });
        }
    }
    Ok(())
}

/// A chain replayed by the shortest code that can: every coin in a map, nothing incremental. What
/// blocks must not do to coins is judged again here, apart from the rules' own code.
#[derive(Debug, Default)]
pub struct Replay {
    coins: BTreeMap<OutPoint, Coin>,
    claimed: u64,
    fees: u64,
    /// The transactions of the chain.
    pub confirmed: BTreeSet<Txid>,
}

impl Replay {
    /// Replays what `view` shows, from genesis to its tip, and compares the results.
    pub fn of(node: NodeId, view: &View) -> Result<Self, Violation> {
        let mut replay = Self::default();
        for height in 0..=view.tip().height {
            let fail = |fault| Violation::Replay { node, height, fault };
            let store = |error| Violation::Store { node, error };
            let id = view.block_id_at(height).map_err(store)?;
            let id = id.ok_or_else(|| fail("no block at this height"))?;
            let block = view.block(&id).map_err(store)?;
            let block = block.ok_or_else(|| fail("the block's body is not there"))?;
            replay.apply(height, &block).map_err(fail)?;
        }
        let (replayed, published) = (replay.facts(view.tip().height), TipFacts::of(view));
        if replayed == published {
            Ok(replay)
        } else {
            let (replayed, published) = (Box::new(replayed), Box::new(published));
            Err(Violation::ReplayDiffers { node, replayed, published })
        }
    }

    fn apply(&mut self, height: u32, block: &Block) -> Result<(), &'static str> {
        if block.coinbase.height != height {
            return Err("the coinbase tells another height");
        }
        for transaction in &block.transactions {
            let mut spent = 0;
            for input in &transaction.inputs {
                let coin = self.coins.remove(input).ok_or("a coin is spent that is not there")?;
                spent += coin.output.value.grains();
            }
            let txid = transaction.txid();
            let made = self.create(txid, height, false, &transaction.outputs)?;
            self.fees += spent.checked_sub(made).ok_or("a transaction makes money")?;
            self.confirmed.insert(txid);
        }
        let outputs = &block.coinbase.outputs;
        let claimed = self.create(block.coinbase.id().into(), height, height > 0, outputs)?;
        if height > 0 {
            self.claimed += claimed;
        }
        Ok(())
    }

    fn create(
        &mut self,
        txid: Txid,
        height: u32,
        is_coinbase: bool,
        outputs: &[ashlar_primitives::Output],
    ) -> Result<u64, &'static str> {
        let mut made = 0;
        for (index, output) in (0..).zip(outputs) {
            made += output.value.grains();
            if output.value == Amount::ZERO {
                continue;
            }
            let coin = Coin { output: *output, height, is_coinbase };
            if self.coins.insert(OutPoint { txid, index }, coin).is_some() {
                return Err("a coin is made that was there before");
            }
        }
        Ok(made)
    }

    fn facts(&self, height: u32) -> TipFacts {
        let mut accumulator = UtxoAccumulator::empty();
        let mut total = 0;
        for (outpoint, coin) in &self.coins {
            accumulator.add(outpoint, coin);
            total += coin.output.value.grains();
        }
        TipFacts {
            height,
            commitment: accumulator.commitment(),
            coins: self.coins.len() as u64,
            total: Amount::from_grains(total),
            claimed: Amount::from_grains(self.claimed),
        }
    }

    /// All fees ever paid.
    pub const fn fees(&self) -> Amount {
        Amount::from_grains(self.fees)
    }

    /// The coins are worth the allocations and the schedule's subsidies, less what was burnt:
    /// subsidies and fees that no coinbase claimed.
    pub fn compare_supply(
        &self,
        node: NodeId,
        view: &View,
        allocated: Amount,
    ) -> Result<(), Violation> {
        let subsidy = |height| view.params().subsidy(height).grains();
        let subsidies: u64 = (1..=view.tip().height).map(subsidy).sum();
        let found = view.coin_total().grains();
        let burnt = (subsidies + self.fees).checked_sub(self.claimed);
        // Without an answer a coinbase claimed more than it may.
        let expected = burnt.map_or(0, |burnt| allocated.grains() + subsidies - burnt);
        if found == expected { Ok(()) } else { Err(Violation::Supply { node, found, expected }) }
    }

    /// The lock index of a node tells the same money as the replayed coins.
    pub fn compare_index(&self, node: NodeId, view: &View, lock: &Lock) -> Result<(), Violation> {
        let of_lock = self.coins.values().filter(|coin| coin.output.lock == *lock);
        let replayed = of_lock.map(|coin| coin.output.value.grains()).sum::<u64>();
        let (mut indexed, mut after) = (0, None);
        loop {
            let page = view
                .lock_coins(lock, after.as_ref(), INDEX_PAGE)
                .map_err(|error| Violation::query(node, &error))?;
            indexed += page.items.iter().map(|at| at.coin.output.value.grains()).sum::<u64>();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if indexed == replayed {
            return Ok(());
        }
        let [indexed, replayed] = [indexed, replayed].map(Amount::from_grains);
        Err(Violation::IndexDiffers { node, indexed, replayed })
    }
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::{Coinbase, Header, MerkleRoot, Output, Transaction};

    use super::*;

    const LOCK: Lock = Lock { version: Lock::KEY, program: [7; 32] };

    fn output(grains: u64) -> Output {
        Output { value: Amount::from_grains(grains), lock: LOCK }
    }

    fn block(height: u32, claimed: u64, transactions: Vec<Transaction>) -> Block {
        let header = Header {
            version: 0,
            parent: BlockId::ZERO,
            merkle_root: MerkleRoot::ZERO,
            time: 0,
            bits: 0,
            nonce: 0,
        };
        let coinbase = Coinbase {
            version: Coinbase::VERSION,
            height,
            utxo_commitment: Commitment::ZERO,
            outputs: vec![output(claimed)],
            extra: Vec::new(),
        };
        Block { header, coinbase, transactions }
    }

    fn spend(coinbase: &Block, grains: u64) -> Transaction {
        Transaction {
            not_before: 0,
            inputs: vec![OutPoint { txid: coinbase.coinbase.id().into(), index: 0 }],
            outputs: vec![output(grains)],
            memo: Vec::new(),
            witnesses: Vec::new(),
        }
    }

    fn replay(blocks: &[Block]) -> Result<Replay, &'static str> {
        let mut replay = Replay::default();
        for (height, block) in (0..).zip(blocks) {
            replay.apply(height, block)?;
        }
        Ok(replay)
    }

    #[test]
    fn replay_follows_coins_fees_and_claims() {
        let genesis = block(0, 100, vec![]);
        let next = block(1, 15, vec![spend(&genesis, 90)]);
        let replay = replay(&[genesis, next]).ok();
        let facts = replay.as_ref().map(|replay| replay.facts(1));
        let facts = facts.map(|facts| (facts.coins, facts.total, facts.claimed));
        assert_eq!(facts, Some((2, Amount::from_grains(105), Amount::from_grains(15))));
        assert_eq!(replay.map(|replay| replay.fees()), Some(Amount::from_grains(10)));
    }

    #[test]
    fn replay_refuses_what_blocks_must_not_do() {
        let genesis = block(0, 100, vec![]);
        let fault = |next: Block| replay(&[genesis.clone(), next]).err();
        let twice = vec![spend(&genesis, 90), spend(&genesis, 80)];
        assert_eq!(fault(block(1, 5, twice)), Some("a coin is spent that is not there"));
        let makes = vec![spend(&genesis, 101)];
        assert_eq!(fault(block(1, 5, makes)), Some("a transaction makes money"));
        assert_eq!(fault(block(2, 5, vec![])), Some("the coinbase tells another height"));
    }
}
