//! Waiting transactions and fees.

use std::collections::BTreeMap;

use ashlar_primitives::{Txid, Wtxid};
use serde::{Deserialize, Serialize};

use super::{chain::Tip, text::Text};
use crate::error::ErrorData;

/// The answer of `getmempoolinfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolInfo {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// How many transactions wait.
    pub size: u64,
    /// Their encodings, in bytes.
    pub bytes: u64,
    /// The memory that they take, in bytes.
    pub usage: u64,
    /// The most memory that they may take, in bytes.
    pub maxmempool: u64,
    /// What they all pay, in grains.
    pub total_fee: u64,
    /// The feerate below which nothing is taken now, in grains for 1,000 bytes.
    pub mempoolminfee: u64,
    /// Transactions set aside until their parents arrive.
    pub orphans: u64,
    /// Whether all that waited in the last run was loaded.
    pub loaded: bool,
}

/// One waiting transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolEntry {
    /// Its id with witnesses.
    pub wtxid: Text<Wtxid>,
    /// In bytes.
    pub size: u32,
    /// What it pays, in grains.
    pub fee: u64,
    /// What this node counts it for, in grains: the fee with what `prioritisetransaction` added.
    pub modifiedfee: u64,
    /// When it entered, in this run or an earlier one, seconds since 1970.
    pub time: u64,
    /// Its place in the order of entry: a cursor for `getrawmempool`.
    pub sequence: u64,
    /// Waiting transactions that it builds on, itself counted.
    pub ancestorcount: u64,
    /// Waiting transactions that build on it, itself counted.
    pub descendantcount: u64,
    /// Waiting transactions whose outputs it spends.
    pub depends: Vec<Text<Txid>>,
    /// Waiting transactions that spend its outputs.
    pub spentby: Vec<Text<Txid>>,
}

/// The answer of `getmempoolentry`: an entry, and what it and its relatives come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolEntryDetail {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// Itself.
    #[serde(flatten)]
    pub entry: MempoolEntry,
    /// Bytes of what it builds on and of itself.
    pub ancestorsize: u64,
    /// What these count for together, in grains.
    pub ancestorfees: u64,
    /// Bytes of what builds on it and of itself.
    pub descendantsize: u64,
    /// What these count for together, in grains.
    pub descendantfees: u64,
}

/// One output of `gettxspendingprevout`, and who spends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendingPrevout {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The transaction, or coinbase, that made the output.
    pub txid: Text<Txid>,
    /// Which of its outputs.
    pub vout: u16,
    /// The waiting transaction that spends it; absent where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spendingtxid: Option<Text<Txid>>,
}

/// The answer of `getprioritisedtransactions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrioritisedTransactions {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// What was added to each, in grains, by id; it need not wait.
    pub transactions: BTreeMap<Text<Txid>, i64>,
}

/// The answer of `savemempool`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMempool {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// The file, on the node's machine.
    pub filename: String,
    /// How many transactions are in it.
    pub transactions: u64,
}

/// A page of the mempool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolListing {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// Waiting transactions by id.
    pub transactions: BTreeMap<Text<Txid>, MempoolEntry>,
    /// Pass it as `after` to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// The answer of `getrawmempool`: by `verbose`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MempoolResult {
    /// `false`: ids, in order of entry.
    Ids(Vec<Text<Txid>>),
    /// `true`: entries.
    Entries(MempoolListing),
}

/// What became of one transaction of `sendrawtransactions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitResult {
    /// Its id, where it decodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txid: Option<Text<Txid>>,
    /// What it pays, in grains, where it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<u64>,
    /// Why it was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SubmitError>,
}

/// Why a transaction was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitError {
    /// As `sendrawtransaction` would have answered it.
    pub code: i32,
    /// For people.
    pub message: String,
    /// The stable code and what to do.
    pub data: ErrorData,
}

/// The answer of `sendrawtransactions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitResults {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// In the order given.
    pub results: Vec<SubmitResult>,
}

/// What would become of one transaction: `testmempoolaccept`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResult {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// Its id, where it decodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txid: Option<Text<Txid>>,
    /// Its id with witnesses, where it decodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wtxid: Option<Text<Wtxid>>,
    /// Whether it would be taken.
    pub allowed: bool,
    /// In bytes, where it would be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// What it pays, in grains, where it would be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<u64>,
    /// The stable code of what is wrong with it.
    #[serde(rename = "reject-reason", default, skip_serializing_if = "Option::is_none")]
    pub reject_reason: Option<String>,
    /// The same for people.
    #[serde(rename = "reject-details", default, skip_serializing_if = "Option::is_none")]
    pub reject_details: Option<String>,
}

/// The answer of `estimatesmartfee`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeEstimate {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// In grains for 1,000 bytes.
    pub feerate: u64,
    /// The number of blocks that it is for.
    pub blocks: u32,
    /// What it was made from.
    pub basis: String,
    /// The bytes that waited then.
    pub waiting_bytes: u64,
}
