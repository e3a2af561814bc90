//! One waiting transaction, and what it costs to keep.

use core::mem::size_of;
use std::sync::Arc;

use ashlar_consensus::CheckedTransaction;
use ashlar_primitives::{Amount, OutPoint, Output, Policy, Signature, Txid, Witness, Wtxid};

use crate::{
    cluster::{Chunk, Cluster, ClusterId, Member, Rank},
    feerate::Feerate,
};

/// A waiting transaction.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The transaction, its ids and its size.
    pub transaction: Arc<CheckedTransaction>,
    /// Inputs less outputs.
    pub fee: Amount,
    /// What the operator adds to it, or takes off, see [`Mempool::prioritise`](crate::Mempool::prioritise).
    pub delta_grains: i64,
    /// When it came in, on the caller's monotonic clock.
    pub entered_ms: u64,
    /// For how long it had waited before, in an earlier run.
    pub waited_ms: u64,
    /// Rises with each that comes in; never used twice in a run.
    pub sequence: u64,
    /// Waiting transactions that it spends from, directly or not, and itself.
    pub ancestor_count: usize,
    /// Waiting transactions that spend from it, directly or not, and itself.
    pub descendant_count: usize,
    /// After this moment of the caller's monotonic clock it has waited for too long.
    pub(crate) expires_ms: u64,
    pub(crate) cluster: ClusterId,
    /// A next block's height at which the contextual rules were seen to hold. They go on holding
    /// as the height rises: no rule turns against a transaction because time passes.
    pub(crate) judged_height: u32,
}

impl Entry {
    /// Its own, without its relatives.
    pub fn feerate(&self) -> Feerate {
        Feerate::new(self.fee, u64::from(self.transaction.size_bytes()))
    }

    /// Its own, with the operator's priority.
    pub(crate) fn weighed_feerate(&self) -> Feerate {
        Feerate::new(self.weighed_fee(), u64::from(self.transaction.size_bytes()))
    }

    /// Sorts parents before children, for an ancestor always has fewer ancestors; then by entry.
    pub(crate) const fn order(&self) -> (usize, u64) {
        (self.ancestor_count, self.sequence)
    }

    /// Heap bytes that the pool needs for it: an estimate, see [`crate::Mempool::memory_bytes`].
    pub fn memory_bytes(&self) -> usize {
        memory_bytes(&self.transaction)
    }

    pub(crate) fn member(&self) -> Member<'_> {
        Member {
            txid: self.transaction.txid(),
            sequence: self.sequence,
            rate: self.weighed_feerate(),
            inputs: &self.transaction.transaction().inputs,
        }
    }
}

/// What an allocator adds to each block of memory, by its header and by rounding up.
const ALLOCATION_OVERHEAD: usize = 16;

/// Heap bytes that the pool needs for a transaction: the transaction itself, and its places in the
/// pool's maps. An estimate from the sizes of the types, made to be a little high rather than low,
/// and held against the process's memory by a test.
pub(crate) fn memory_bytes(transaction: &CheckedTransaction) -> usize {
    let body = transaction.transaction();
    let witnesses = body.witnesses.iter().fold(0_usize, |sum, witness| match witness {
        Witness::Key { .. } => sum,
        Witness::Policy { policy, signatures, preimages } => sum
            .saturating_add(allocation::<Signature>(signatures.capacity()))
            .saturating_add(allocation::<[u8; 32]>(preimages.capacity()))
            .saturating_add(policy_heap_bytes(policy)),
    });
    [
        // Behind the `Arc`, its two counters with it.
        allocation::<(usize, usize, CheckedTransaction)>(1),
        allocation::<OutPoint>(body.inputs.capacity()),
        allocation::<Output>(body.outputs.capacity()),
        allocation::<u8>(body.memo.capacity()),
        allocation::<Witness>(body.witnesses.capacity()),
        witnesses,
        map_slots::<(Txid, Entry)>(1),
        map_slots::<(Wtxid, Txid)>(1),
        map_slots::<(u64, Txid)>(2),
        map_slots::<(OutPoint, Txid)>(body.inputs.len()),
        // As if it were a cluster by itself.
        map_slots::<(ClusterId, Cluster)>(1),
        allocation::<Chunk>(1),
        allocation::<Txid>(1),
        map_slots::<Rank>(1),
    ]
    .into_iter()
    .fold(0, usize::saturating_add)
}

fn allocation<T>(count: usize) -> usize {
    match count {
        0 => 0,
        _ => count.saturating_mul(size_of::<T>()).saturating_add(ALLOCATION_OVERHEAD),
    }
}

/// The nodes of a B-tree are at least half full, and hardly more than that where keys ascend.
const fn map_slots<T>(count: usize) -> usize {
    count.saturating_mul(size_of::<T>()).saturating_mul(2)
}

/// Decoding bounds a policy to 64 nodes at depth 8, and with it this recursion.
fn policy_heap_bytes(policy: &Policy) -> usize {
    match policy {
        Policy::Threshold { children, .. } => children
            .iter()
            .map(policy_heap_bytes)
            .fold(allocation::<Policy>(children.capacity()), usize::saturating_add),
        Policy::Opaque(_)
        | Policy::Key(_)
        | Policy::Hash(_)
        | Policy::After(_)
        | Policy::Older(_) => 0,
    }
}
