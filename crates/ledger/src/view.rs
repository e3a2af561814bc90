//! What readers see: one consistent picture of a published tip.

use std::sync::Arc;

use ashlar_consensus::{HeaderState, Params, CheckedBlock, Work};
use ashlar_primitives::{Amount, Block, BlockId, Coin, Commitment, Header, Lock, OutPoint, Transaction, Txid};

use crate::store::{Read, StoreError};

/// A published tip and a snapshot of the store under it. Cheap to clone by `Arc`, readable from any thread.
#[derive(Clone)]
pub struct View { /* params, snapshot, tip: HeaderState, sequence, totals, settings */ }

/// A header with what the tree knows of it.
#[derive(Clone, Debug)]
pub struct StoredHeader { pub header: Header, pub height: u32, pub work: Work, pub clock: u32, pub lag: i64, pub failed: Option<&'static str>, pub has_body: bool }

/// A tip of a branch, as `getchaintips` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainTip { pub id: BlockId, pub height: u32, pub branch_len: u32, pub status: TipStatus }

/// As Bitcoin Core names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TipStatus { Active, ValidFork, ValidHeaders, HeadersOnly, Invalid }

/// A coin with where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedCoin { pub outpoint: OutPoint, pub coin: Coin }

/// One line of a lock's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry { pub height: u32, pub position: u32, pub txid: Txid, pub received: Amount, pub spent: Amount, pub is_coinbase: bool }

/// Opaque place in a paged list: the last key seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// A page and where the next one starts, where there is one.
#[derive(Clone, Debug)]
pub struct Page<T> { pub items: Vec<T>, pub next: Option<Cursor> }

/// A question that this node can't answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("the {index} index is off; start the node with it on")]
    IndexOff { index: &'static str },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl View {
    pub fn params(&self) -> &Arc<Params> { todo!() }
    pub fn tip(&self) -> &HeaderState { todo!() }
    /// Rises by one with each published view.
    pub fn sequence(&self) -> u64 { todo!() }
    /// After the tip.
    pub fn utxo_commitment(&self) -> Commitment { todo!() }
    pub fn coin_count(&self) -> u64 { todo!() }
    /// Sum of all coins.
    pub fn coin_total(&self) -> Amount { todo!() }
    /// Everything that coinbases ever claimed, allocations not counted.
    pub fn claimed_total(&self) -> Amount { todo!() }
    /// (transaction index on, lock index on)
    pub fn transaction_index(&self) -> bool { todo!() }
    pub fn lock_index(&self) -> bool { todo!() }

    pub fn block_id_at(&self, height: u32) -> Result<Option<BlockId>, StoreError> { todo!() }
    pub fn header(&self, id: &BlockId) -> Result<Option<StoredHeader>, StoreError> { todo!() }
    /// Whether the block is on the published chain.
    pub fn is_active(&self, id: &BlockId) -> Result<bool, StoreError> { todo!() }
    pub fn block(&self, id: &BlockId) -> Result<Option<Block>, StoreError> { todo!() }
    pub fn block_bytes(&self, id: &BlockId) -> Result<Option<Vec<u8>>, StoreError> { todo!() }
    /// Of the header `id`, on any stored branch: for difficulty and median time queries.
    pub fn header_state(&self, id: &BlockId) -> Result<Option<HeaderState>, StoreError> { todo!() }
    pub fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, StoreError> { todo!() }
    /// In the order of `outpoints` (any order; sorts for the store itself).
    pub fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> { todo!() }
    /// Where a confirmed transaction (or coinbase) stands: height and index (0 is the coinbase).
    pub fn transaction_place(&self, txid: &Txid) -> Result<Option<(u32, u32)>, QueryError> { todo!() }
    pub fn lock_coins(&self, lock: &Lock, after: Option<&Cursor>, limit: usize) -> Result<Page<LocatedCoin>, QueryError> { todo!() }
    /// Newest first.
    pub fn lock_history(&self, lock: &Lock, after: Option<&Cursor>, limit: usize) -> Result<Page<HistoryEntry>, QueryError> { todo!() }
    pub fn chain_tips(&self) -> Result<Vec<ChainTip>, StoreError> { todo!() }

    /// §12 tag 1: up to `limit` headers after the first locator entry on this chain.
    pub fn headers_after(&self, locator: &[BlockId], stop: Option<&BlockId>, limit: usize) -> Result<Vec<Header>, StoreError> { todo!() }
}

impl core::fmt::Debug for View {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { write!(f, "View({})", self.tip().id) }
}
