//! The messages of PROTOCOL.md §12: names, limits, requests, answers, gossip data.
//! Only what the bytes themselves show is judged here.

use crate::{
    block::{Block, Header},
    codec::DecodeError,
    compact::CompactBlock,
    hash::{BlockId, Wtxid},
    transaction::Transaction,
};

// limits: named constants, each with its source (§12): MAX_LOCATOR 64, MAX_HEADERS 2_000,
// MAX_BLOCK_IDS 64, MAX_ANSWER_BYTES 8 MiB, MAX_REQUEST_BYTES 262_144, MAX_COMPACT_BYTES 262_144,
// MAX_BATCH_BYTES 65_536, MAX_MEMPOOL_IDS 10_000, MAX_TRANSACTION_IDS 1_000,
// MAX_TRANSACTIONS_BYTES 1 MiB, MAX_AGENT_BYTES 64, MAX_BLOCK_TRANSACTION_INDEXES 16_000 …

/// The protocol and topic names of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names { pub net: String, pub block: String, pub tx: String, pub sync: String, pub kad: String }

impl Names {
    /// For the chain whose genesis block is this.
    pub fn new(chain_id: &BlockId) -> Self { todo!() }
}

/// Tag 0, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub chain_id: BlockId,
    pub tip: BlockId,
    pub height: u32,
    /// Little-endian, as on the wire.
    pub work: [u8; 32],
    pub services: u32,
    /// Printable ASCII, at most 64 bytes.
    pub agent: String,
}

impl Status {
    /// Services bit 0: has all bodies.
    pub const ALL_BODIES: u32 = 1;
    /// Services bit 1: has at least the bodies of the last two days.
    pub const RECENT_BODIES: u32 = 2;
}

/// What one node asks of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Status(Status),
    Headers { locator: Vec<BlockId>, stop: Option<BlockId> },
    Blocks { ids: Vec<BlockId> },
    BlockTransactions { id: BlockId, indexes: Vec<u32> },
    Mempool,
    Transactions { wtxids: Vec<Wtxid> },
}

/// The answer, tag by tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Status(Status),
    Headers(Vec<Header>),
    Blocks(Vec<Block>),
    BlockTransactions(Vec<Transaction>),
    Mempool(Vec<Wtxid>),
    Transactions(Vec<Transaction>),
}

impl Request {
    pub fn tag(&self) -> u8 { todo!() }
    /// `length u32 ‖ tag ‖ fields`.
    pub fn to_frame(&self) -> Vec<u8> { todo!() }
    /// From the bytes after the length (tag and fields).
    pub fn from_payload(payload: &[u8]) -> Result<Self, DecodeError> { todo!() }
}

impl Answer {
    pub fn tag(&self) -> u8 { todo!() }
    pub fn to_frame(&self) -> Vec<u8> { todo!() }
    /// From the bytes after the length; `asked` is the tag of the request.
    /// `max_block_bytes` is the chain's.
    pub fn from_payload(payload: &[u8], asked: u8, max_block_bytes: u32) -> Result<Self, DecodeError> { todo!() }
    /// The longest payload that an answer may have on a chain (the length prefix's value).
    pub fn max_payload(max_block_bytes: u32) -> usize { todo!() }
}

/// Gossip data of the block topic.
pub fn decode_announcement(data: &[u8]) -> Result<CompactBlock, DecodeError> { todo!() }
/// Gossip data of the tx topic.
pub fn decode_batch(data: &[u8]) -> Result<Vec<Transaction>, DecodeError> { todo!() }
pub fn encode_announcement(compact: &CompactBlock) -> Vec<u8> { todo!() }
pub fn encode_batch(transactions: &[Transaction]) -> Vec<u8> { todo!() }
/// SHA-256 of the data.
pub fn message_id(data: &[u8]) -> [u8; 32] { todo!() }
