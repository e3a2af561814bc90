//! Transactions.

use std::collections::BTreeMap;

use ashlar_primitives::{BlockId, Txid, Wtxid};
use serde::{Deserialize, Serialize};

use super::{
    block::CoinbaseDetail,
    chain::Tip,
    text::{Hex, Text},
};

/// A coin that a transaction spends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDetail {
    /// The transaction, or coinbase, that made the coin.
    pub txid: Text<Txid>,
    /// Which of its outputs.
    pub vout: u16,
}

/// Who is paid what by `createrawtransaction`: amounts in grains by address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Payees {
    /// In the order of addresses.
    Object(BTreeMap<String, u64>),
    /// In the order given.
    List(Vec<BTreeMap<String, u64>>),
}

/// A coin that a transaction or coinbase makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputDetail {
    /// Its index.
    pub n: u16,
    /// In grains.
    pub value: u64,
    /// Who may spend it.
    pub address: String,
}

/// What satisfies one lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessDetail {
    /// `key` or `policy`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its encoding.
    pub hex: Hex,
}

/// A transaction, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionDetail {
    /// Its id.
    pub txid: Text<Txid>,
    /// Its id with witnesses.
    pub wtxid: Text<Wtxid>,
    /// The encoding, in bytes.
    pub size: u64,
    /// The first height at which it may stand in a block.
    pub not_before: u32,
    /// What it spends.
    pub vin: Vec<InputDetail>,
    /// What it makes.
    pub vout: Vec<OutputDetail>,
    /// The payer's own bytes.
    pub memo: Hex,
    /// One for each distinct lock spent.
    pub witnesses: Vec<WitnessDetail>,
    /// The encoding.
    pub hex: Hex,
}

/// What an id names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TransactionBody {
    /// A transfer.
    Transaction(Box<TransactionDetail>),
    /// A coinbase.
    Coinbase(Box<CoinbaseDetail>),
}

/// A transaction or coinbase and where it stands: the answer of `gettransaction`, and of
/// `getrawtransaction` when verbose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionStatus {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// What it says.
    #[serde(flatten)]
    pub body: TransactionBody,
    /// Blocks from its own up to the tip; 0 while it waits in the mempool, or where its block is
    /// off the best chain.
    pub confirmations: u32,
    /// Its block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blockhash: Option<Text<BlockId>>,
    /// The height of its block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blockheight: Option<u32>,
    /// Where it stands among the block's transactions; the coinbase is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blockindex: Option<u32>,
    /// The time of its block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocktime: Option<u32>,
    /// In grains; known only while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<u64>,
    /// When it entered the mempool; known only while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

/// The answer of `getrawtransaction`: by `verbosity`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RawTransactionResult {
    /// 0: the encoding.
    Raw(Hex),
    /// 1: what it says and where it stands.
    Detail(Box<TransactionStatus>),
}
