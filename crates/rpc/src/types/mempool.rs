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
}

/// One waiting transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolEntry {
    /// Its id with witnesses.
    pub wtxid: Text<Wtxid>,
    /// In bytes.
    pub size: u32,
    /// In grains.
    pub fee: u64,
    /// When it entered.
    pub time: u64,
    /// Its place in the order of entry: a cursor for `getrawmempool`.
    pub sequence: u64,
    /// Waiting transactions that it builds on, itself counted.
    pub ancestorcount: u64,
    /// Waiting transactions that build on it, itself counted.
    pub descendantcount: u64,
    /// Waiting transactions whose outputs it spends.
    pub depends: Vec<Text<Txid>>,
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
}
