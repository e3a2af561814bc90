//! Addresses and what belongs to them.

use ashlar_primitives::{BlockId, Txid};
use serde::{Deserialize, Serialize};

use super::{chain::Tip, event::AddressMovement, text::Text};

/// One address, or a list of up to 1,000 different ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Addresses {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Addresses {
    /// Most addresses in one call.
    pub const MAX: usize = 1_000;

    /// As a list.
    pub fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(address) => vec![address],
            Self::Many(addresses) => addresses,
        }
    }
}

impl From<&str> for Addresses {
    fn from(address: &str) -> Self {
        Self::One(address.to_owned())
    }
}

impl From<Vec<String>> for Addresses {
    fn from(addresses: Vec<String>) -> Self {
        Self::Many(addresses)
    }
}

/// The answer of `getaddressbalance`, over all addresses given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressBalance {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// All confirmed unspent coins, in grains, immature ones included.
    pub balance: u64,
    /// Coins of coinbases that can't be spent yet, in grains.
    pub immature: u64,
    /// How many coins.
    pub coins: u64,
}

/// One unspent coin of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressUtxo {
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
    /// Blocks from its own up to the tip, its own counted.
    pub confirmations: u32,
    /// Whether a coinbase made it.
    pub coinbase: bool,
    /// The first height at which a block may spend it.
    pub matures_at: u32,
    /// Whether the next block may spend it.
    pub mature: bool,
    /// The waiting transaction that spends it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent_by: Option<Text<Txid>>,
}

/// The answer of `getaddressutxos`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressUtxos {
    /// When this was true. A page with another tip than the one before does not continue it:
    /// start over.
    #[serde(flatten)]
    pub at: Tip,
    /// Address by address, in the order given.
    pub utxos: Vec<AddressUtxo>,
    /// Pass it as `cursor` to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a confirmed transaction did to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressHistoryEntry {
    /// Whose history.
    pub address: String,
    /// The transaction or coinbase.
    pub txid: Text<Txid>,
    /// What it paid to the address, in grains.
    pub received: u64,
    /// What it spent of the address's coins, in grains.
    pub spent: u64,
    /// Whether it is a coinbase.
    pub coinbase: bool,
    /// The height of its block.
    pub height: u32,
    /// Where it stands in the block; the coinbase is 0.
    pub position: u32,
    /// Its block.
    pub blockhash: Text<BlockId>,
    /// The time of its block.
    pub blocktime: u32,
    /// Blocks from its own up to the tip, its own counted.
    pub confirmations: u32,
}

/// The answer of `getaddresshistory`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressHistory {
    /// When this was true. A page with another tip than the one before does not continue it:
    /// start over.
    #[serde(flatten)]
    pub at: Tip,
    /// The height from which on this node keeps histories (the genesis block apart); 0: all of it.
    #[serde(default)]
    pub history_start: u32,
    /// Address by address, in the order given; newest first within each.
    pub entries: Vec<AddressHistoryEntry>,
    /// Pass it as `cursor` to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer of `getaddressmempool`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressMempool {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// Transaction by transaction, and in each address by address.
    pub waiting: Vec<AddressMovement>,
}

/// The answer of `validateaddress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatedAddress {
    /// Whether this chain's coins can be paid to it.
    pub isvalid: bool,
    /// As the chain writes it, where valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `key` or `policy`, where valid.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The public key or policy id, where valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What is wrong with it, where not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
