//! What callers see of the mempool, and what comes back into it from an earlier run.

use ashlar_ledger::Store;
use ashlar_mempool::Entry;
use ashlar_primitives::Txid;

use crate::{
    Engine,
    batch::Origin,
    call::{CallId, MempoolEntry, MempoolInfo, MempoolKin, Restored},
};

impl<S: Store> Engine<S> {
    pub(crate) fn mempool_info(&self) -> MempoolInfo {
        MempoolInfo {
            count: self.mempool.len(),
            size_bytes: self.mempool.size_bytes(),
            memory_bytes: self.mempool.memory_bytes(),
            max_bytes: self.mempool.limits().max_bytes,
            total_fee: self.mempool.total_fee(),
            min_feerate_per_kb: self.floor_per_kb(),
            orphans: self.orphans.len(),
            sequence: self.mempool.sequence(),
        }
    }

    pub(crate) fn mempool_entry(&self, entry: &Entry) -> MempoolEntry {
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

    pub(crate) fn mempool_kin(&self, txid: &Txid) -> Option<MempoolKin> {
        let describe = |kin: Vec<&Entry>| -> Vec<MempoolEntry> {
            kin.into_iter().map(|kin| self.mempool_entry(kin)).collect()
        };
        Some(MempoolKin {
            entry: self.mempool_entry(self.mempool.get(txid)?),
            ancestors: describe(self.mempool.ancestors(txid)),
            descendants: describe(self.mempool.descendants(txid)),
        })
    }

    pub(crate) fn restore(&mut self, call: CallId, restored: Vec<Restored>) {
        let waited_ms = restored.iter().map(|it| (it.transaction.wtxid(), it.waited_ms)).collect();
        let transactions = restored.into_iter().map(|it| it.transaction).collect();
        self.judge_for(call, Origin::Restored { call, waited_ms }, transactions);
    }
}
