//! What RPC, wallet and miner ask of live state: one bounded call, one reply.

use std::sync::Arc;

use ashlar_consensus::CheckedTransaction;
use ashlar_mempool::Refusal;
use ashlar_primitives::{Amount, Block, BlockId, Lock, OutPoint, Transaction, Txid, Wtxid};
use thiserror::Error;

use crate::input::{Direction, Peer};

/// A call, numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Most transactions in one call.
pub const MAX_CALL_TRANSACTIONS: usize = 1_000;

/// A question or an order.
#[derive(Clone, Debug)]
pub enum Call {
    /// Into the mempool and on to peers; a result for each. At most 1,000.
    SubmitTransactions(Vec<Arc<CheckedTransaction>>),
    /// As `SubmitTransactions`, signatures included, but nothing is kept.
    TestTransactions(Vec<Arc<CheckedTransaction>>),
    /// A whole block's bytes: judged, connected, published.
    SubmitBlock(Vec<u8>),
    /// A block to work on, paying `pay_to`; checked before it is served.
    Template { pay_to: Lock, extra: Vec<u8> },
    MempoolInfo,
    /// In order of entry, after this sequence.
    MempoolPage { after: Option<u64>, limit: usize },
    MempoolTransaction(Txid),
    /// Which waiting transactions spend these.
    MempoolSpenders(Vec<OutPoint>),
    Peers,
    SyncStatus,
    /// Blocks to wait → feerate.
    EstimateFee { target_blocks: u32 },
    InvalidateBlock(BlockId),
    ReconsiderBlock(BlockId),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    #[error("the node is too busy; try again")]
    Overloaded,
    #[error("the node is stopping")]
    Stopping,
    #[error("no such block")]
    NotFound,
    #[error("at most {max} allowed")]
    TooMany { max: usize },
}

/// The tip that an answer was made at, and the answer.
#[derive(Clone, Debug)]
pub struct Answer { pub tip: BlockId, pub height: u32, pub body: AnswerBody }

/// One for each call.
#[derive(Clone, Debug)]
pub enum AnswerBody {
    Submitted(Vec<Result<SubmittedTransaction, Refusal>>),
    Tested(Vec<Result<SubmittedTransaction, Refusal>>),
    Block(BlockVerdict),
    Template(Arc<Template>),
    MempoolInfo(MempoolInfo),
    MempoolPage(Vec<MempoolEntry>),
    MempoolTransaction(Option<MempoolEntry>),
    MempoolSpenders(Vec<Option<Txid>>),
    Peers(Vec<PeerInfo>),
    Sync(SyncStatus),
    Fee(FeeEstimate),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedTransaction { pub txid: Txid, pub wtxid: Wtxid, pub fee: Amount, pub size_bytes: u32 }

/// On a submitted block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockVerdict { /// It is now the tip (or was connected on the way).
    Accepted(BlockId), /// Kept, the tip is another.
    Side(BlockId), Known(BlockId), Refused { code: &'static str, message: String } }

/// A block without proof of work.
#[derive(Clone, Debug)]
pub struct Template {
    /// Complete with coinbase and merkle root; `time` is now (within bounds), nonce 0.
    pub block: Block,
    pub height: u32,
    pub min_time: u32,
    /// After it the bits are others: ask anew.
    pub max_time: u32,
    pub fees: Amount,
    pub subsidy: Amount,
    /// Changes when a new template would be better.
    pub mempool_sequence: u64,
    pub transaction_fees: Vec<Amount>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MempoolInfo { pub count: usize, pub size_bytes: usize, pub memory_bytes: usize, pub max_bytes: usize, pub total_fee: Amount, /// Grains per 1,000 bytes.
    pub min_feerate_per_kb: u64, pub orphans: usize }

#[derive(Clone, Debug)]
pub struct MempoolEntry { pub transaction: Arc<CheckedTransaction>, pub fee: Amount, pub entered_unix: u64, pub sequence: u64, pub ancestor_count: usize, pub descendant_count: usize, pub depends: Vec<Txid> }

#[derive(Clone, Debug)]
pub struct PeerInfo { pub peer: Peer, pub direction: Direction, pub address: String, pub identity: String, pub agent: Option<String>, pub height: Option<u32>, pub tip: Option<BlockId>, pub services: Option<u32>, pub connected_ms: u64, pub in_flight: usize, pub score: u32 }

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncStatus { pub syncing: bool, pub height: u32, pub best_header_height: u32, pub blocks_in_flight: usize, pub peers: usize }

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeeEstimate { /// Grains per 1,000 bytes.
    pub feerate_per_kb: u64, /// What it was made from, for people.
    pub basis: &'static str, pub target_blocks: u32 }
