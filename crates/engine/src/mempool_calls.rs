//! What callers see of the mempool, and what comes back into it from an earlier run.

use ashlar_ledger::Store;
use ashlar_mempool::{Entry, Mempool};
use ashlar_primitives::{OutPoint, Txid};

use crate::{
    Engine,
    batch::Origin,
    call::{CallId, MAX_CALL_ENTRIES, MempoolEntry, MempoolInfo, MempoolKin, Restored},
    time::Time,
};

/// What waits at a moment, as callers see it.
pub(crate) struct Waiting<'a> {
    pub(crate) mempool: &'a Mempool,
    pub(crate) orphans: usize,
    pub(crate) now: Time,
}

impl Waiting<'_> {
    /// The lowest feerate that the mempool takes now, in grains per 1,000 bytes.
    pub(crate) fn floor_per_kb(&self) -> u64 {
        self.mempool.min_feerate(self.now.monotonic_ms).per_kb()
    }

    pub(crate) fn info(&self) -> MempoolInfo {
        MempoolInfo {
            count: self.mempool.len(),
            size_bytes: self.mempool.size_bytes(),
            memory_bytes: self.mempool.memory_bytes(),
            max_bytes: self.mempool.limits().max_bytes,
            total_fee: self.mempool.total_fee(),
            min_feerate_per_kb: self.floor_per_kb(),
            orphans: self.orphans,
            sequence: self.mempool.sequence(),
        }
    }

    pub(crate) fn page(&self, after: Option<u64>, limit: usize) -> Vec<MempoolEntry> {
        let later = self.mempool.entered_after(after.unwrap_or(0));
        later.take(limit.min(MAX_CALL_ENTRIES)).map(|entry| self.entry(entry)).collect()
    }

    pub(crate) fn transaction(&self, txid: &Txid) -> Option<MempoolEntry> {
        self.mempool.get(txid).map(|entry| self.entry(entry))
    }

    pub(crate) fn spenders(&self, outpoints: &[OutPoint]) -> Vec<Option<Txid>> {
        let spender =
            |outpoint| self.mempool.spender(outpoint).map(|entry| entry.transaction.txid());
        outpoints.iter().map(spender).collect()
    }

    fn entry(&self, entry: &Entry) -> MempoolEntry {
        let entered_unix = self.now.unix_seconds_at(entry.entered_ms);
        let mut spent_by: Vec<Txid> = self.mempool.children(&entry.transaction.txid()).collect();
        // Once for each output, where one spends several.
        spent_by.sort_unstable();
        spent_by.dedup();
        MempoolEntry {
            transaction: entry.transaction.clone(),
            fee: entry.fee,
            delta_grains: entry.delta_grains,
            entered_unix: entered_unix.saturating_sub(entry.waited_ms / 1_000),
            sequence: entry.sequence,
            ancestor_count: entry.ancestor_count,
            descendant_count: entry.descendant_count,
            depends: self.mempool.parents(&entry.transaction).into_iter().collect(),
            spent_by,
        }
    }

    pub(crate) fn kin(&self, txid: &Txid) -> Option<MempoolKin> {
        let describe = |kin: Vec<&Entry>| -> Vec<MempoolEntry> {
            kin.into_iter().map(|kin| self.entry(kin)).collect()
        };
        Some(MempoolKin {
            entry: self.transaction(txid)?,
            ancestors: describe(self.mempool.ancestors(txid)),
            descendants: describe(self.mempool.descendants(txid)),
        })
    }
}

impl<S: Store> Engine<S> {
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        Waiting { mempool: &self.mempool, orphans: self.orphans.len(), now: self.now }
    }

    pub(crate) fn restore(&mut self, call: CallId, restored: Vec<Restored>) {
        let waited_ms = restored.iter().map(|it| (it.transaction.wtxid(), it.waited_ms)).collect();
        let transactions = restored.into_iter().map(|it| it.transaction).collect();
        self.judge_for(call, Origin::Restored { call, waited_ms }, transactions);
    }
}
