//! When the chain or the clock moves on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ashlar_consensus::{CheckedBlock, CheckedTransaction, judge_transaction};
use ashlar_primitives::{BlockId, Coin, OutPoint, Txid};

use crate::{entry::Entry, leaving::Leaving, pool::Mempool};

/// Most transactions that one call of [`Mempool::expire`] takes for too old; their descendants
/// come on top.
pub const MAX_EXPIRED_PER_CALL: usize = 1_000;

/// The published tip, as far as the mempool needs it.
#[derive(Clone, Debug)]
pub struct Tip {
    /// Its id.
    pub id: BlockId,
    /// Of the next block: where a waiting transaction could stand at the earliest.
    pub next_height: u32,
}

impl Mempool {
    /// A block joined the published chain: what it confirms leaves, and so does, with its
    /// descendants, what spends a coin that the block spent otherwise. Returns the latter, parents
    /// first; the former are in the block.
    pub fn block_connected(&mut self, block: &CheckedBlock) -> Vec<Arc<CheckedTransaction>> {
        let transactions = block.transactions();
        let confirmed: BTreeSet<Txid> = transactions
            .iter()
            .map(|transaction| transaction.txid())
            .filter(|txid| self.entries.contains_key(txid))
            .collect();
        let spent = transactions.iter().flat_map(|transaction| &transaction.transaction().inputs);
        let conflicting: Vec<Txid> = spent
            .filter_map(|input| self.spenders.get(input))
            .filter(|spender| !confirmed.contains(*spender))
            .copied()
            .collect();
        let conflicting = self.with_descendants(conflicting);
        for transaction in transactions {
            self.priorities.remove(&transaction.txid());
        }
        // Children of what is confirmed now spend coins of this height, from the next one on.
        let from_height = block.coinbase().height.saturating_add(1);
        let children: BTreeSet<Txid> =
            confirmed.iter().flat_map(|txid| self.children(txid)).collect();
        for child in children {
            if let Some(entry) = self.entries.get_mut(&child) {
                entry.judged_height = entry.judged_height.max(from_height);
            }
        }
        let before = self.departures.len();
        let both = confirmed.union(&conflicting).copied().collect();
        let mut removed = self.take_out(&both, Leaving::Conflicting);
        for departure in self.departures.iter_mut().skip(before) {
            if confirmed.contains(&departure.transaction.txid()) {
                departure.why = Leaving::Confirmed;
            }
        }
        removed.retain(|transaction| !confirmed.contains(&transaction.txid()));
        removed
    }

    /// The chain coins that [`Mempool::revalidate`] needs to see: the inputs, from outside the
    /// pool, of every transaction that was judged on blocks above `fork_height`. Sorted, each once.
    ///
    /// What was judged no higher needs no second look: its coins are at or below the fork, and no
    /// rule turns against a transaction because the height rises. So this grows with what came in
    /// since the fork, not with the pool; finding it is one pass over the pool.
    pub fn inputs_above(&self, fork_height: u32) -> Vec<OutPoint> {
        let inputs: BTreeSet<OutPoint> = self
            .judged_above(fork_height)
            .flat_map(|entry| &entry.transaction.transaction().inputs)
            .filter(|input| !self.entries.contains_key(&input.txid))
            .copied()
            .collect();
        inputs.into_iter().collect()
    }

    /// After a reorganisation: drops, with its descendants, what the new tip does not allow, be it
    /// that a coin is gone, not mature, or too young, or a height not reached. `fork_height` is
    /// that of the highest block common to the old and the new chain (a lower one is always
    /// right); `chain` holds the coins found for [`Mempool::inputs_above`] it.
    ///
    /// Returns what left, parents first. Some of it may be valid again once the transactions of
    /// the disconnected blocks are back: submit it after them.
    pub fn revalidate(
        &mut self,
        tip: &Tip,
        fork_height: u32,
        chain: &BTreeMap<OutPoint, Coin>,
    ) -> Vec<Arc<CheckedTransaction>> {
        let mut due: Vec<(usize, u64, Txid)> = self
            .judged_above(fork_height)
            .map(|entry| (entry.ancestor_count, entry.sequence, entry.transaction.txid()))
            .collect();
        // Parents first: a child is judged only where its parents stand.
        due.sort_unstable();
        let mut gone = BTreeSet::new();
        let nothing = BTreeMap::new();
        for (_, _, txid) in due {
            let Some(entry) = self.get(&txid).filter(|_| !gone.contains(&txid)) else { continue };
            let coins = self.resolve(tip, &entry.transaction, chain, &nothing);
            match judge_transaction(&self.params, tip.next_height, &entry.transaction, &coins) {
                Ok(_) => {
                    if let Some(entry) = self.entries.get_mut(&txid) {
                        entry.judged_height = tip.next_height;
                    }
                }
                Err(_) => gone.extend(self.with_descendants([txid])),
            }
        }
        self.take_out(&gone, Leaving::Unconfirmable)
    }

    /// Drops what waited longer than the limit, with its descendants. Returns what left, parents
    /// first. Bounded by [`MAX_EXPIRED_PER_CALL`]: what is left over goes at the next call.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Arc<CheckedTransaction>> {
        let expired: Vec<Txid> = self
            .by_expiry
            .range(..(now_ms, Txid::ZERO))
            .take(MAX_EXPIRED_PER_CALL)
            .map(|(_, txid)| *txid)
            .collect();
        let gone = self.with_descendants(expired);
        self.take_out(&gone, Leaving::Expired)
    }

    /// A waiting transaction had waited for so long before it came in, in an earlier run: that
    /// counts towards its expiry.
    pub fn note_waited(&mut self, txid: &Txid, waited_ms: u64) {
        let Some(entry) = self.entries.get_mut(txid) else { return };
        self.by_expiry.remove(&(entry.expires_ms, *txid));
        let left_ms = self.limits.expiry_ms.saturating_sub(waited_ms);
        entry.waited_ms = waited_ms;
        entry.expires_ms = entry.entered_ms.saturating_add(left_ms);
        self.by_expiry.insert((entry.expires_ms, *txid));
    }

    /// Those whose contextual rules were last seen to hold on blocks above `fork_height`.
    fn judged_above(&self, fork_height: u32) -> impl Iterator<Item = &Entry> {
        let highest = fork_height.saturating_add(1);
        self.entries.values().filter(move |entry| entry.judged_height > highest)
    }
}
