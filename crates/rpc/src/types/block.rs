//! Headers and blocks.

use ashlar_primitives::{BlockId, CoinbaseId, Commitment, MerkleRoot, Txid};
use serde::{Deserialize, Serialize};

use super::{
    chain::Tip,
    text::{Hex, Text},
    transaction::{OutputDetail, TransactionDetail},
};

/// A header with what the chain says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockHeader {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The block's id.
    pub hash: Text<BlockId>,
    /// Blocks from this one up to the tip, itself counted; −1 off the best chain.
    pub confirmations: i64,
    /// Blocks below it.
    pub height: u32,
    /// The work that buries it, its own counted, in blocks of normal difficulty as the tip has it:
    /// what to judge a payment by, since relieved blocks are cheap. 0 off the best chain.
    pub confirmed_work: f64,
    /// Its version field.
    pub version: u32,
    /// The same, 8 hex digits.
    #[serde(rename = "versionHex")]
    pub version_hex: String,
    /// The root over its coinbase and transactions.
    pub merkleroot: Text<MerkleRoot>,
    /// Its time, as its miner claims.
    pub time: u32,
    /// The median time of the 11 blocks that end with it.
    pub mediantime: u32,
    /// Its nonce.
    pub nonce: u32,
    /// Its compact target, 8 hex digits.
    pub bits: String,
    /// The same in full, 64 hex digits.
    pub target: String,
    /// The work of the chain that ends with it, 64 hex digits.
    pub chainwork: String,
    /// Whether stall relief made it easier than the schedule asks (PROTOCOL.md §5).
    pub relieved: bool,
    /// The code of the rule that it or a block below it broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<String>,
    /// The block below it; absent for the genesis block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previousblockhash: Option<Text<BlockId>>,
    /// The block on it in the best chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nextblockhash: Option<Text<BlockId>>,
}

/// The answer of `getblockheader`: by `verbose`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeaderResult {
    /// `false`: the 80 bytes.
    Raw(Hex),
    /// `true`: what they say.
    Detail(Box<BlockHeader>),
}

/// A coinbase, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoinbaseDetail {
    /// Its id, by which its coins are named.
    pub txid: Text<CoinbaseId>,
    /// The height that it claims.
    pub height: u32,
    /// The commitment to the coins before the block.
    pub utxo_commitment: Text<Commitment>,
    /// Who is paid.
    pub vout: Vec<OutputDetail>,
    /// The miner's own bytes.
    pub extra: Hex,
    /// The encoding.
    pub hex: Hex,
}

/// A block with the ids of what it holds: `getblock` with verbosity 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockSummary {
    /// The header's fields.
    #[serde(flatten)]
    pub header: BlockHeader,
    /// The whole block, in bytes.
    pub size: u64,
    /// Transactions, the coinbase counted.
    #[serde(rename = "nTx")]
    pub transaction_count: u64,
    /// The coinbase.
    pub coinbase: CoinbaseDetail,
    /// Ids: the coinbase's first, then each transaction's.
    pub tx: Vec<Text<Txid>>,
}

/// A block with all that it holds: `getblock` with verbosity 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockDetail {
    /// The header's fields.
    #[serde(flatten)]
    pub header: BlockHeader,
    /// The whole block, in bytes.
    pub size: u64,
    /// Transactions, the coinbase counted.
    #[serde(rename = "nTx")]
    pub transaction_count: u64,
    /// The coinbase.
    pub coinbase: CoinbaseDetail,
    /// The transactions, the coinbase not among them.
    pub tx: Vec<TransactionDetail>,
}

/// The answer of `getblock`: by `verbosity`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BlockResult {
    /// 0: the encoding.
    Raw(Hex),
    /// 2: everything.
    Detail(Box<BlockDetail>),
    /// 1: ids.
    Summary(Box<BlockSummary>),
}

/// A block by its id, or by its height on the best chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BlockName {
    /// On the best chain.
    Height(u32),
    /// On any branch.
    Hash(Text<BlockId>),
}

/// The answer of `getblockheaders`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockHeaders {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The height of the first.
    pub start: u32,
    /// In the order of the chain.
    pub headers: Vec<HeaderResult>,
}

/// The answer of `getblockstats`. Amounts are grains, feerates grains for 1,000 bytes. Sizes and
/// fees are those of the transactions, the coinbase not among them; those that need one are 0
/// where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockStats {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The block's id.
    pub blockhash: Text<BlockId>,
    /// Its height.
    pub height: u32,
    /// Its time, as its miner claims.
    pub time: u32,
    /// The median time of the 11 blocks that end with it.
    pub mediantime: u32,
    /// Transactions, the coinbase counted.
    pub txs: u64,
    /// Coins spent.
    pub ins: u64,
    /// Outputs, those of the coinbase counted.
    pub outs: u64,
    /// Coins made less coins spent.
    pub utxo_increase: i64,
    /// The whole block, in bytes.
    pub total_size: u64,
    /// The smallest transaction, in bytes.
    pub mintxsize: u64,
    /// The largest.
    pub maxtxsize: u64,
    /// The average.
    pub avgtxsize: u64,
    /// The one in the middle.
    pub mediantxsize: u64,
    /// What all outputs hold, those of the coinbase not counted.
    pub total_out: u64,
    /// What the schedule gives for the height.
    pub subsidy: u64,
    /// What the coinbase claims.
    pub claimed: u64,
    /// What all transactions pay. Absent, like all that is about fees, where the coins that the
    /// block spent are not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totalfee: Option<u64>,
    /// What the one that pays least pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minfee: Option<u64>,
    /// What the one that pays most pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxfee: Option<u64>,
    /// The average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avgfee: Option<u64>,
    /// The one in the middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medianfee: Option<u64>,
    /// The lowest feerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minfeerate: Option<u64>,
    /// The highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxfeerate: Option<u64>,
    /// The average by size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avgfeerate: Option<u64>,
    /// Feerates below which a tenth, a quarter, a half, three quarters and nine tenths of the
    /// bytes pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feerate_percentiles: Option<Vec<u64>>,
}
