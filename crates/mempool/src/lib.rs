//! Unconfirmed transactions: policy (PROTOCOL.md §13), conflicts, replacement, eviction, selection.
//!
//! It must not know storage or peers: the caller brings the coins of the published tip. Validity
//! is `ashlar_consensus`'s, by the same functions as for blocks; this crate adds policy, which
//! punishes nobody.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::{CheckedBlock, CheckedTransaction, Params, TxError, signature::VerifiedTransaction};
use ashlar_primitives::{Amount, BlockId, Coin, OutPoint, Output, Txid, Wtxid};
use thiserror::Error;

/// Limits, with the defaults of §13.
#[derive(Clone, Debug)]
pub struct Limits { pub max_bytes: usize, pub min_feerate: Feerate, pub max_cluster_transactions: usize, pub max_cluster_bytes: usize, pub expiry_ms: u64, pub max_relay_bytes: u32, pub max_evicted_by_replacement: usize }

/// Grains for a number of bytes, compared as a fraction: no rounding decides anything.
#[derive(Clone, Copy, Debug)]
pub struct Feerate { pub fee: Amount, pub size_bytes: u64 }

/// Why a transaction is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A rule of §8, for ever or for now.
    #[error(transparent)]
    Invalid(#[from] TxError),
    /// A policy of §13: nobody is punished.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// §13, in order, by code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PolicyError { // tx-already-known, tx-already-confirmed, tx-not-relayable, tx-fee-too-low, tx-mempool-full, tx-conflict, tx-cluster-too-large
    #[error("known already")] AlreadyKnown,
    #[error("confirmed already")] AlreadyConfirmed,
    #[error("too large to be relayed")] NotRelayable,
    #[error("pays {fee} grains, at least {required} needed")] FeeTooLow { fee: u64, required: u64 },
    #[error("the mempool is full; at least {required} grains needed now")] MempoolFull { required: u64 },
    #[error("conflicts with a waiting transaction that it may not replace")] Conflict,
    #[error("too many unconfirmed transactions hang together")] ClusterTooLarge,
}

impl Refusal { pub const fn code(&self) -> &'static str { todo!() } }

/// The published tip, as far as the mempool needs it.
#[derive(Clone, Debug)]
pub struct Tip { pub id: BlockId, /// Of the next block.
    pub next_height: u32 }

/// What accepting did.
#[derive(Clone, Debug)]
pub struct Accepted { pub wtxid: Wtxid, pub fee: Amount, /// Conflicts and their descendants, or what was pushed out for room.
    pub removed: Vec<Arc<CheckedTransaction>> }

/// A waiting transaction.
#[derive(Clone, Debug)]
pub struct Entry { pub transaction: Arc<CheckedTransaction>, pub fee: Amount, pub entered_ms: u64, pub sequence: u64, /// Ancestors and descendants in the mempool.
    pub ancestor_count: usize, pub descendant_count: usize }

/// Unconfirmed transactions that could all be confirmed together on the present tip.
#[derive(Debug)]
pub struct Mempool { /* … */ }

impl Mempool {
    pub fn new(params: Arc<Params>, limits: Limits) -> Self { todo!() }
    /// The inputs that no waiting transaction makes: look them up in the ledger and pass what was found.
    pub fn chain_inputs(&self, transaction: &CheckedTransaction) -> Vec<OutPoint> { todo!() }
    /// Coins in input order: the mempool's own outputs (as coins of the next block's height) over `chain`.
    /// `extra` holds outputs of transactions that stand before it in the same batch.
    pub fn resolve(&self, tip: &Tip, transaction: &CheckedTransaction, chain: &BTreeMap<OutPoint, Coin>, extra: &BTreeMap<OutPoint, Output>) -> Vec<Option<Coin>> { todo!() }
    /// Everything but signatures, and without change: consensus first, then policy in the order of §13.
    /// `confirmed`: an output of it is an unspent coin, or the index knows it.
    pub fn test(&self, tip: &Tip, transaction: &CheckedTransaction, chain: &BTreeMap<OutPoint, Coin>, confirmed: bool) -> Result<Amount, Refusal> { todo!() }
    /// `test`, then in; the signatures are proved by `verified`.
    pub fn accept(&mut self, tip: &Tip, transaction: Arc<CheckedTransaction>, verified: &VerifiedTransaction, chain: &BTreeMap<OutPoint, Coin>, confirmed: bool, now_ms: u64) -> Result<Accepted, Refusal> { todo!() }
    /// After the published tip moved: first what was disconnected (tip first), then what was connected. Returns what left.
    /// `coins` answers for outpoints at the new tip (the caller fetched them: see `returning_inputs`).
    pub fn block_connected(&mut self, block: &CheckedBlock) -> Vec<Arc<CheckedTransaction>> { todo!() }
    pub fn get(&self, txid: &Txid) -> Option<&Entry> { todo!() }
    pub fn get_by_wtxid(&self, wtxid: &Wtxid) -> Option<&Entry> { todo!() }
    pub fn spender(&self, outpoint: &OutPoint) -> Option<&Entry> { todo!() }
    /// (wtxid, transaction) of all: for rebuilding compact blocks.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> { std::iter::empty() }
    /// Best feerate first, parents before children, whole packages that fit into `max_bytes`.
    pub fn select(&self, max_bytes: usize) -> Vec<&Entry> { todo!() }
    pub fn len(&self) -> usize { todo!() }
    pub fn size_bytes(&self) -> usize { todo!() }
    /// The rolling floor.
    pub fn min_feerate(&self, now_ms: u64) -> Feerate { todo!() }
    pub fn expire(&mut self, now_ms: u64) -> Vec<Arc<CheckedTransaction>> { todo!() }
    /// Removes one and its descendants.
    pub fn remove(&mut self, txid: &Txid) -> Vec<Arc<CheckedTransaction>> { todo!() }
}
