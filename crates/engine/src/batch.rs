//! Batches of transactions: where they came from, how far they are, what became of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ashlar_consensus::{CheckedTransaction, TxError, VerifiedTransaction};
use ashlar_mempool::{PolicyError, Refusal};
use ashlar_primitives::{Amount, Coin, OutPoint, Output, Txid, Wtxid};

use crate::{
    call::{CallId, SubmittedTransaction},
    input::{Peer, Ticket},
    offence::transaction_refusal,
};

/// A batch, numbered in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId(pub(crate) u64);

/// Where a batch came from, and so what is done with its outcome.
#[derive(Debug)]
pub(crate) enum Origin {
    /// By gossip: a verdict is due.
    Gossip { peer: Peer },
    /// As an answer to our request for these.
    Answer { peer: Peer, asked: BTreeSet<Wtxid> },
    /// From a caller: a reply is due.
    Submitted(CallId),
    /// The same, and nothing is kept.
    Tested(CallId),
    /// From a caller, of an earlier run, each with how long it had waited; a reply is due, and
    /// nobody else is told.
    Restored { call: CallId, waited_ms: BTreeMap<Wtxid, u64> },
    /// From blocks that were disconnected.
    Returned,
    /// From the orphan pool, each with who sent it.
    Orphans(BTreeMap<Wtxid, Peer>),
}

impl Origin {
    pub(crate) const fn peer(&self) -> Option<Peer> {
        match self {
            Self::Gossip { peer } | Self::Answer { peer, .. } => Some(*peer),
            Self::Submitted(_)
            | Self::Tested(_)
            | Self::Restored { .. }
            | Self::Returned
            | Self::Orphans(_) => None,
        }
    }
}

/// What became of one transaction of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Not yet judged, or its signatures are out.
    Waiting,
    /// It is in the mempool now (or could be, where it was only tested).
    Accepted { fee: Amount },
    /// It was in the mempool before.
    Known,
    /// Breaks a rule, for ever or at our tip, or is not wanted here.
    Refused(Refusal),
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) transaction: Arc<CheckedTransaction>,
    pub(crate) fate: Fate,
    pub(crate) verified: Option<VerifiedTransaction>,
}

impl Item {
    pub(crate) const fn new(transaction: Arc<CheckedTransaction>) -> Self {
        Self { transaction, fate: Fate::Waiting, verified: None }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        u64::from(self.transaction.size_bytes())
    }

    /// Whether it was judged by every rule, signatures included: only then may it be passed on
    /// inside somebody else's batch.
    pub(crate) const fn is_fully_checked(&self) -> bool {
        self.verified.is_some() || matches!(self.fate, Fate::Known)
    }
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The stateless rules are being checked.
    Checking,
    /// Its turn to be judged has not come.
    Checked,
    /// Signatures are being verified.
    Verifying,
    /// Its turn to be accepted has not come.
    Verified,
}

#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) origin: Origin,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) stage: Stage,
    pub(crate) items: Vec<Item>,
    /// The coins of the published tip that its inputs name, and which view that was.
    pub(crate) chain: BTreeMap<OutPoint, Coin>,
    pub(crate) chain_sequence: Option<u64>,
}

impl Batch {
    /// Whether something in it is wrong for ever.
    pub(crate) fn has_wrong_one(&self) -> bool {
        self.items.iter().any(|item| match item.fate {
            Fate::Refused(refusal) => transaction_refusal(&refusal).offence.is_some(),
            Fate::Waiting | Fate::Accepted { .. } | Fate::Known => false,
        })
    }
}

impl Fate {
    /// Whether an input names no coin that is known here: the parent may come.
    pub(crate) const fn is_orphan(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Invalid(TxError::MissingInput { .. })))
    }
}

impl From<Refusal> for Fate {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Policy(PolicyError::AlreadyKnown) => Self::Known,
            refusal => Self::Refused(refusal),
        }
    }
}

impl Item {
    /// What a caller is told of it.
    pub(crate) fn reply(&self) -> Result<SubmittedTransaction, Refusal> {
        match self.fate {
            Fate::Accepted { fee } => Ok(SubmittedTransaction {
                txid: self.transaction.txid(),
                wtxid: self.transaction.wtxid(),
                fee,
                size_bytes: self.transaction.size_bytes(),
            }),
            // Nothing waits any more when replies are made.
            Fate::Known | Fate::Waiting => Err(PolicyError::AlreadyKnown.into()),
            Fate::Refused(refusal) => Err(refusal),
        }
    }
}

/// The outputs of a transaction by the outpoints that will name them.
pub(crate) fn outputs_of(
    transaction: &CheckedTransaction,
) -> impl Iterator<Item = (OutPoint, Output)> + '_ {
    transaction.coins(0).map(|(outpoint, coin)| (outpoint, coin.output))
}

/// The same transactions, each after those of the list that it spends from; otherwise in order.
pub(crate) fn parents_first(
    transactions: Vec<Arc<CheckedTransaction>>,
) -> Vec<Arc<CheckedTransaction>> {
    let txids: BTreeSet<Txid> = transactions.iter().map(|t| t.txid()).collect();
    let mut children: BTreeMap<Txid, Vec<usize>> = BTreeMap::new();
    let mut missing: Vec<usize> = Vec::new();
    for (index, transaction) in transactions.iter().enumerate() {
        let parents: BTreeSet<Txid> = transaction
            .transaction()
            .inputs
            .iter()
            .map(|input| input.txid)
            .filter(|txid| txids.contains(txid))
            .collect();
        missing.push(parents.len());
        for parent in parents {
            children.entry(parent).or_default().push(index);
        }
    }
    let mut ready: BTreeSet<usize> =
        (0..).zip(&missing).filter(|(_, count)| **count == 0).map(|(index, _)| index).collect();
    let mut sorted = Vec::with_capacity(transactions.len());
    while let Some(index) = ready.pop_first() {
        let Some(transaction) = transactions.get(index) else { continue };
        sorted.push(transaction.clone());
        for &child in children.get(&transaction.txid()).into_iter().flatten() {
            // One txid may stand there twice, with two witnesses; its children wait for one.
            if let Some(count) = missing.get_mut(child).filter(|count| **count > 0) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    ready.insert(child);
                }
            }
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use ashlar_consensus::check_transaction;
    use ashlar_testkit::builder::{Spend, key, lock, output};

    use super::*;

    /// Spends the first outputs of these; `salt` makes it another transaction.
    fn spend(parents: &[&CheckedTransaction], salt: u8) -> Arc<CheckedTransaction> {
        let coin = output(lock(1), 1);
        let inputs = match parents {
            [] => vec![(OutPoint { txid: Txid([salt; 32]), index: 0 }, coin)],
            parents => parents
                .iter()
                .map(|parent| (OutPoint { txid: parent.txid(), index: 0 }, coin))
                .collect(),
        };
        let spend = Spend { inputs, outputs: vec![coin], memo: vec![salt], ..Spend::default() };
        let chain_id = ashlar_primitives::BlockId([0; 32]);
        Arc::new(check_transaction(spend.sign(&chain_id, &[&key(1)])).unwrap())
    }

    #[test]
    fn parents_come_first_and_the_rest_in_order() {
        let [a, b] = [spend(&[], 1), spend(&[], 2)];
        let c = spend(&[&a, &b], 3);
        let d = spend(&[&c], 4);
        let sorted = parents_first(vec![d.clone(), b.clone(), c.clone(), a.clone()]);
        assert_eq!(sorted, [b, a, c, d]);
    }

    #[test]
    fn twins_by_txid_bring_no_child_twice() {
        let a = spend(&[], 1);
        let mut twin = a.transaction().clone();
        twin.witnesses.clear();
        let twin = Arc::new(check_transaction(twin).unwrap());
        assert_eq!(a.txid(), twin.txid());
        let child = spend(&[&a], 2);
        let sorted = parents_first(vec![child.clone(), a.clone(), twin.clone()]);
        assert_eq!(sorted, [a, child, twin]);
    }
}
