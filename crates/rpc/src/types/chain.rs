//! The chain as a whole.

use ashlar_primitives::{BlockId, Commitment, Txid};
use serde::{Deserialize, Serialize};

use super::text::Text;

/// The tip that an answer was made at. Two answers with one tip fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// The id of the tip that this answer was made at.
    pub tip: Text<BlockId>,
    /// Its height.
    pub tip_height: u32,
}

/// The answer of `getblockchaininfo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockchainInfo {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The chain's name, from its genesis file.
    pub chain: String,
    /// The id of the genesis block, which commits to every parameter of the chain.
    pub chain_id: Text<BlockId>,
    /// What this chain's addresses begin with.
    pub address_prefix: String,
    /// The height of the best block.
    pub blocks: u32,
    /// The height of the best known header; above `blocks` while bodies are missing.
    pub headers: u32,
    /// The id of the best block.
    pub bestblockhash: Text<BlockId>,
    /// The best block's compact target, 8 hex digits.
    pub bits: String,
    /// The same in full, 64 hex digits: a block's id, as shown, is at most this.
    pub target: String,
    /// The best block's own time.
    pub time: u32,
    /// The median time of the last 11 blocks: the next block's time must be above it.
    pub mediantime: u32,
    /// Whether the node is still catching up, so that its answers are about the past.
    pub initialblockdownload: bool,
    /// The work of the whole chain, 64 hex digits.
    pub chainwork: String,
    /// How many unspent coins there are.
    pub coins: u64,
    /// The sum of all unspent coins, in grains.
    pub supply: u64,
    /// What all coinbases together have claimed, in grains; allocations of the genesis not counted.
    pub claimed: u64,
    /// The commitment to the set of unspent coins, which the next block must carry.
    pub utxo_commitment: Text<Commitment>,
    /// The subsidy of the next block, in grains.
    pub next_subsidy: u64,
    /// Blocks that must stand on a coinbase's block before its coins can be spent.
    pub coinbase_maturity: u32,
    /// Seconds between blocks that the difficulty aims at.
    pub block_interval: u32,
    /// The largest block, in bytes.
    pub max_block_bytes: u32,
    /// Whether this node finds transactions by id once they are confirmed.
    pub transaction_index: bool,
    /// Whether this node answers for addresses.
    pub address_index: bool,
    /// Bytes of all stored blocks and undo records.
    pub size_on_disk: u64,
    /// Whether this node keeps only a part of the chain's blocks, or is about to.
    pub pruned: bool,
    /// The height from which on blocks, confirmed transactions and histories are kept (the genesis
    /// block apart); absent while nothing was pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruneheight: Option<u32>,
    /// The bytes within which `size_on_disk` is kept where the blocks that every node keeps leave
    /// room; absent where nothing is pruned any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune_target_size: Option<u64>,
    /// How far catching up is; absent when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncInfo>,
    /// What an operator should know now; empty when all is well.
    pub warnings: Vec<String>,
}

/// How far a node is that catches up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncInfo {
    /// The height of the best block.
    pub height: u32,
    /// The height that it goes to as far as is known.
    pub target_height: u32,
    /// Over the last minute; absent in the first seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks_per_second: Option<f64>,
    /// At that speed; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
}

/// The end of one branch, as `getchaintips` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainTip {
    /// The height of the branch's last block.
    pub height: u32,
    /// Its id.
    pub hash: Text<BlockId>,
    /// Blocks from the best chain to it; 0 for the best chain itself.
    pub branchlen: u32,
    /// `active`, `valid-fork`, `valid-headers`, `headers-only`, `invalid`, or `held`: it waits for
    /// `acceptreorg`.
    pub status: String,
}

/// The answer of `gettxout`: one unspent coin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxOut {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The id of the best block.
    pub bestblock: Text<BlockId>,
    /// Blocks from the coin's own up to the tip; 0 while its transaction waits for a block.
    pub confirmations: u32,
    /// In grains.
    pub value: u64,
    /// Who may spend it.
    pub address: String,
    /// Whether a coinbase made it.
    pub coinbase: bool,
    /// The height of its block; absent while its transaction waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

/// The answer of `getchaintxstats`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainTxStats {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The time of the last block.
    pub time: u32,
    /// The last block.
    pub window_final_block_hash: Text<BlockId>,
    /// Its height.
    pub window_final_block_height: u32,
    /// How many blocks.
    pub window_block_count: u32,
    /// Transactions in them, coinbases counted.
    pub window_tx_count: u64,
    /// Seconds from the block before them to the last; 0 where times go back.
    pub window_interval: u32,
    /// Transactions a second; absent where no time went by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txrate: Option<f64>,
}

/// The answer of `gettxoutsetinfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxOutSetInfo {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The height of the best block.
    pub height: u32,
    /// Its id.
    pub bestblock: Text<BlockId>,
    /// How many coins there are.
    pub txouts: u64,
    /// What they hold together, in grains.
    pub total_amount: u64,
    /// The commitment to all of them, which the next block must carry (PROTOCOL.md §6).
    pub utxo_commitment: Text<Commitment>,
}

/// A coin that `scantxoutset` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannedCoin {
    /// Whose it is.
    pub address: String,
    /// The transaction, or coinbase, that made it.
    pub txid: Text<Txid>,
    /// Which of its outputs.
    pub vout: u16,
    /// In grains.
    pub value: u64,
    /// The height of its block.
    pub height: u32,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// The answer of `scantxoutset`: a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannedCoins {
    /// When this was true. A page with another tip than the one before does not continue it:
    /// start over.
    #[serde(flatten)]
    pub at: Tip,
    /// Coins looked at for this page.
    pub txouts: u64,
    /// What was found among them, by outpoint.
    pub unspents: Vec<ScannedCoin>,
    /// What those hold together, in grains.
    pub total_amount: u64,
    /// Pass it as `cursor` to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer of `verifychain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedChain {
    /// What was looked at: the published tip of that moment.
    #[serde(flatten)]
    pub at: Tip,
    /// Whether nothing is wrong.
    pub sound: bool,
    /// Headers judged again.
    pub headers: u64,
    /// Coins summed.
    pub coins: u64,
    /// Blocks undone.
    pub blocks: u64,
    /// What is wrong, up to 100.
    pub findings: Vec<String>,
    /// What to do about it, where something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The answer of `pruneblockchain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedChain {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The lowest block that is kept now, the genesis block apart; 0 where all are.
    pub pruneheight: u32,
    /// Bytes of all stored blocks and undo records.
    pub size_on_disk: u64,
}

/// One index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexState {
    /// Whether it is on. It is then whole: a node builds it before it answers, and a block is in
    /// it when the tip shows the block.
    pub synced: bool,
    /// The height up to which it is whole; 0 where it is off.
    pub best_block_height: u32,
    /// The lowest block in it, the genesis block apart; 0 where it holds all.
    pub start_height: u32,
}

/// The answer of `getindexinfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexInfo {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// Transactions by id.
    pub transaction: IndexState,
    /// Coins and histories by address.
    pub address: IndexState,
}
