//! Compact blocks: a block told by short ids to somebody who has most of it (PROTOCOL.md §12).

use crate::{
    block::{Block, Coinbase, Header},
    codec::{Decode, DecodeError, Encode, Reader},
    hash::Wtxid,
    transaction::Transaction,
};

/// Six bytes of SipHash over a wtxid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub [u8; 6]);

/// `header ‖ coinbase ‖ salt ‖ short ids ‖ prefilled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactBlock {
    /// The block's own.
    pub header: Header,
    /// Whole: nobody else has it.
    pub coinbase: Coinbase,
    /// Chosen by the sender, so that collisions can't be prepared.
    pub salt: u64,
    /// Of the transactions that are not prefilled, in block order.
    pub short_ids: Vec<ShortId>,
    /// Index among the block's transactions (coinbase not counted), strictly ascending.
    pub prefilled: Vec<(u32, Transaction)>,
}

/// What became of a compact block and the transactions at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebuild {
    /// Every transaction is known and the merkle root is the header's.
    Complete(Block),
    /// These indexes are missing, ascending: ask the sender.
    Ask(Vec<u32>),
    /// A collision, a wrong answer or a wrong root: fetch the whole block, blame nobody yet.
    Whole,
}

/// Computes short ids under one header and salt.
#[derive(Clone, Debug)]
pub struct ShortIdKey { /* siphasher key */ }

impl ShortIdKey {
    /// The key of §12: the first 16 bytes of SHA-256(header ‖ salt).
    pub fn new(header: &Header, salt: u64) -> Self { todo!() }
    /// The 16 bytes.
    pub fn to_bytes(&self) -> [u8; 16] { todo!() }
    /// The short id of a transaction.
    pub fn short_id(&self, wtxid: &Wtxid) -> ShortId { todo!() }
}

impl CompactBlock {
    /// Tells `block` with these transactions (ascending indexes) prefilled.
    pub fn build(block: &Block, salt: u64, prefill: &[u32]) -> Self { todo!() }
    /// The form for a block whose compact form is over the gossip limit: header and coinbase
    /// alone; the receiver fetches it whole (§12).
    pub fn announcement(block: &Block, salt: u64) -> Self { todo!() }
    /// How many transactions the block has.
    pub fn transaction_count(&self) -> usize { todo!() }
}

/// Puts a block together again from what the receiver has (`known`: wtxid and transaction, in
/// any order) and, where it asked for what was missing, the answer. Checks the merkle root.
/// Takes an iterator of borrowed transactions, clones only those that the block holds.
pub fn rebuild<'a>(
    compact: &CompactBlock,
    known: impl IntoIterator<Item = (Wtxid, &'a Transaction)>,
    received: Option<&[Transaction]>,
) -> Rebuild { todo!() }
