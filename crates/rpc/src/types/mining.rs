//! Making blocks.

use ashlar_primitives::{BlockId, Commitment, MerkleRoot, Txid, Wtxid};
use serde::{Deserialize, Serialize};

use super::{
    chain::Tip,
    text::{Hex, Text},
};

/// What the next block must meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextBlock {
    /// Its height.
    pub height: u32,
    /// Its compact target if it were found without relief, 8 hex digits.
    pub bits: String,
    /// The same in full, 64 hex digits.
    pub target: String,
    /// Its subsidy, in grains.
    pub subsidy: u64,
}

/// The answer of `getmininginfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MiningInfo {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The height of the best block.
    pub blocks: u32,
    /// The chain's name.
    pub chain: String,
    /// The whole network's hashes per second, from the work and times of the last 120 blocks.
    pub networkhashps: u64,
    /// How many transactions wait.
    pub pooledtx: u64,
    /// Threads of this node that mine; 0 where none do.
    pub threads: u64,
    /// This node's own hashes per second.
    pub hashps: u64,
    /// What the next block must meet.
    pub next: NextBlock,
    /// What an operator should know now; empty when all is well.
    pub warnings: Vec<String>,
}

/// What `getblocktemplate` is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateRequest {
    /// Who is paid.
    pub address: String,
    /// The miner's own bytes in the coinbase, at most 96.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Hex>,
    /// The `longpollid` of an earlier answer: wait until something better can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longpollid: Option<String>,
}

/// A transaction of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateTransaction {
    /// Its encoding.
    pub data: Hex,
    /// Its id.
    pub txid: Text<Txid>,
    /// Its id with witnesses: its leaf of the merkle tree.
    pub hash: Text<Wtxid>,
    /// In grains.
    pub fee: u64,
}

/// The answer of `getblocktemplate`: a block that lacks only its proof of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockTemplate {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The header's version; bits 13–28 are free to be rolled.
    pub version: u32,
    /// The block that it stands on.
    pub previousblockhash: Text<BlockId>,
    /// Its height.
    pub height: u32,
    /// The root over the coinbase and the transactions below.
    pub merkleroot: Text<MerkleRoot>,
    /// The coinbase's encoding; its last bytes are `extra`.
    pub coinbase: Hex,
    /// What the coinbase pays: subsidy and fees, in grains.
    pub coinbasevalue: u64,
    /// The commitment that the coinbase carries.
    pub utxo_commitment: Text<Commitment>,
    /// The transactions, in order.
    pub transactions: Vec<TemplateTransaction>,
    /// The time in the header: now.
    pub curtime: u32,
    /// The earliest time that the header may have.
    pub mintime: u32,
    /// The latest time for which `bits` are right: ask anew after it.
    pub maxtime: u32,
    /// The compact target, 8 hex digits.
    pub bits: String,
    /// The same in full, 64 hex digits.
    pub target: String,
    /// The largest block, in bytes.
    pub sizelimit: u32,
    /// For the next call, which is then answered when a better template can be had.
    pub longpollid: String,
    /// The whole block's encoding with nonce 0: find a nonce for its first 80 bytes and submit it.
    pub block: Hex,
}
