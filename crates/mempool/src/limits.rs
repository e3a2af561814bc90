//! What an operator may set, with the defaults of PROTOCOL.md §13.

use ashlar_primitives::Amount;

use crate::feerate::Feerate;

/// Most transactions in one cluster, whatever the settings say: sets of them are 64 bits wide.
pub const MAX_CLUSTER_TRANSACTIONS: usize = 64;

/// What a replacement pays for its own bytes, and by how much the floor passes what was pushed
/// out: 1 grain per byte (§13). So the bytes that anybody makes the network carry are always paid.
pub const INCREMENTAL_FEERATE: Feerate = Feerate::new(Amount::from_grains(1), 1);

/// Room that a block needs beside its transactions: header, count, and a coinbase of a few outputs.
/// A cluster is never larger than what is left of an otherwise empty block.
pub const BLOCK_OVERHEAD_BYTES: usize = 1_000;

/// The policy's numbers. All bounds are inclusive.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Memory that the pool may take: real heap bytes, not sizes of encodings.
    pub max_bytes: usize,
    /// Below it nothing is taken (`tx-fee-too-low`).
    pub min_feerate: Feerate,
    /// At most [`MAX_CLUSTER_TRANSACTIONS`]; more is cut to that (`tx-cluster-too-large`).
    pub max_cluster_transactions: usize,
    /// Sum of the encodings of a cluster, at most what an empty block has room for
    /// (`tx-cluster-too-large`).
    pub max_cluster_bytes: usize,
    /// What waited longer is dropped, with what spends from it.
    pub expiry_ms: u64,
    /// Whole encoding of a transaction (`tx-not-relayable`).
    pub max_relay_bytes: u32,
    /// Transactions that one replacement may push out, descendants counted (`tx-conflict`).
    pub max_evicted_by_replacement: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 300_000_000,
            min_feerate: Feerate::new(Amount::from_grains(1), 1),
            max_cluster_transactions: MAX_CLUSTER_TRANSACTIONS,
            max_cluster_bytes: 100_000,
            expiry_ms: 14 * 24 * 60 * 60 * 1_000,
            max_relay_bytes: 65_000,
            max_evicted_by_replacement: 64,
        }
    }
}
