//! The chain of a testnet: a genesis from a preset or a file, with wallets that it pays.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use ashlar_consensus::{Genesis, Params, Work, genesis_file::GenesisError};
use ashlar_primitives::Ash;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    file::NetworkFile,
    wallets::{FAUCET, KnownWallet},
};

/// Coins in which a wallet gets what the genesis pays it: so many payments can wait at once.
const COINS_EACH: u64 = 10;
/// Hashes that a block of a development chain takes at most: the bound of the node's `--dev-clock`.
const DEVELOPMENT_HASHES: u64 = 1 << 20;

/// `[genesis]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenesisTable {
    /// What to start from.
    pub preset: Preset,
    /// A genesis file to start from instead, as it is but for its time and what it pays.
    pub file: Option<PathBuf>,
    /// Seconds since 1970; the present second unless given.
    pub time: Option<u32>,
    /// Keys of the genesis file that shall be others (`halving_interval = 10`).
    pub set: BTreeMap<String, toml::Value>,
}

/// What a genesis starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Trivial proof of work for ever: blocks come by the clock, or when they are asked for.
    #[default]
    Dev,
    /// Real proof of work, little of it, and a difficulty that follows the miners.
    Work,
}

impl Preset {
    const fn text(self) -> &'static str {
        match self {
            Self::Dev => include_str!("../presets/dev.json"),
            Self::Work => include_str!("../presets/work.json"),
        }
    }
}

/// Why there is no genesis.
#[derive(Debug, Error)]
pub enum PresetError {
    /// The file can't be read.
    #[error("can't read the genesis file {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// The file is not JSON, or no object.
    #[error("{path} is not a genesis file: it is no JSON object")]
    NotAnObject {
        /// The file.
        path: PathBuf,
    },
    /// What came out breaks a rule of genesis files.
    #[error("the genesis that [genesis] describes is none: {0}")]
    Genesis(#[from] GenesisError),
}

/// A chain: its genesis file's text, and what it says.
#[derive(Clone, Debug)]
pub struct Chain {
    /// As it is written.
    pub text: String,
    /// What it says.
    pub params: Params,
}

impl Chain {
    /// Reads a genesis file's text.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: String) -> Result<Self, PresetError> {
        let params = Genesis::parse(&text)?.params().clone();
        Ok(Self { text, params })
    }

    /// Makes the chain that a network file describes; paths are taken from `folder`.
    ///
    /// # Errors
    /// Where its genesis can't be read, or is none.
    pub fn make(file: &NetworkFile, folder: &Path) -> Result<Self, PresetError> {
        let table = &file.genesis;
        let (text, path) = match &table.file {
            None => (table.preset.text().to_owned(), PathBuf::new()),
            Some(path) => {
                let path = folder.join(path);
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| PresetError::Unreadable { path: path.clone(), error })?;
                (text, path)
            }
        };
        let Ok(Value::Object(mut genesis)) = serde_json::from_str(&text) else {
            return Err(PresetError::NotAnObject { path });
        };
        genesis.insert("time".to_owned(), table.time.unwrap_or_else(present_second).into());
        for (key, value) in &table.set {
            genesis.insert(key.clone(), json!(value));
        }
        let prefix = genesis.get("address_prefix").and_then(Value::as_str).unwrap_or_default();
        let mut paid: Vec<Value> = Vec::new();
        if ashlar_primitives::Address::is_prefix(prefix) {
            // A file of one's own pays whom it pays; only a preset's faucet is ours to fill.
            let faucet = table.file.is_none().then_some((FAUCET, file.faucet.balance));
            let named = file.wallet.iter().map(|wallet| (wallet.name.as_str(), wallet.balance));
            for (name, balance) in faucet.into_iter().chain(named) {
                paid.extend(allocations(&KnownWallet::of(name, prefix).address, balance.0));
            }
        }
        if let Some(Value::Array(allocations)) = genesis.get_mut("allocations") {
            allocations.append(&mut paid);
        }
        Self::parse(serde_json::to_string_pretty(&genesis).unwrap_or_default() + "\n")
    }

    /// Whether a node lets its clock be set on this chain: where difficulty does not follow it, or
    /// a block of the genesis's difficulty takes a moment.
    pub fn is_development(&self) -> bool {
        let mut bound = [0; 32];
        bound[..8].copy_from_slice(&DEVELOPMENT_HASHES.to_le_bytes());
        self.is_trivial() || self.params.anchor_target().work() <= Work::from_le_bytes(bound)
    }

    /// Whether every block is found at the first tries, and nothing makes it harder.
    pub fn is_trivial(&self) -> bool {
        self.params.difficulty_half_life == 0
    }
}

/// A balance in several coins.
fn allocations(address: &str, balance: Ash) -> Vec<Value> {
    let grains = balance.0.grains();
    let each = grains / COINS_EACH;
    let coin = |value: u64| json!({ "address": address, "value": value });
    let mut coins: Vec<Value> = Vec::new();
    if each > 0 {
        coins.extend((1..COINS_EACH).map(|_| coin(each)));
    }
    let rest = if each > 0 { grains - each * (COINS_EACH - 1) } else { grains };
    if rest > 0 {
        coins.push(coin(rest));
    }
    coins
}

fn present_second() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> NetworkFile {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn both_presets_are_chains_that_pay_faucet_and_wallets() {
        for preset in ["dev", "work"] {
            let text = format!(
                "[genesis]\npreset = \"{preset}\"\ntime = 1800000000\n\
                 set = {{ halving_interval = 7 }}\n[[wallet]]\nname = \"alice\"\nbalance = \"5.5\""
            );
            let chain = Chain::make(&file(&text), Path::new("")).unwrap();
            assert_eq!(chain.is_trivial(), preset == "dev");
            assert!(chain.is_development());
            assert_eq!((chain.params.time, chain.params.halving_interval), (1_800_000_000, 7));
            let genesis: Value = serde_json::from_str(&chain.text).unwrap();
            let sum = |name: &str| -> u64 {
                let address = KnownWallet::of(name, "test").address;
                let all = genesis["allocations"].as_array().unwrap().iter();
                all.filter(|a| a["address"] == *address).map(|a| a["value"].as_u64().unwrap()).sum()
            };
            assert_eq!((sum("alice"), sum(FAUCET)), (550_000_000, 100_000_000_000_000));
        }
    }

    #[test]
    fn a_genesis_that_is_none_is_refused() {
        let wrong = file("[genesis]\nset = { halving_interval = 0 }");
        assert!(matches!(Chain::make(&wrong, Path::new("")), Err(PresetError::Genesis(_))));
        let unknown = file("[genesis]\nset = { colour = \"red\" }");
        assert!(matches!(Chain::make(&unknown, Path::new("")), Err(PresetError::Genesis(_))));
        let missing = file("[genesis]\nfile = \"nowhere.json\"");
        assert!(matches!(
            Chain::make(&missing, Path::new("/nowhere")),
            Err(PresetError::Unreadable { .. })
        ));
    }

    #[test]
    fn a_balance_is_paid_to_the_grain() {
        for (balance, coins) in [("0", 0), ("0.00000003", 1), ("1.00000007", 10)] {
            let balance: Ash = balance.parse().unwrap();
            let all = allocations("a", balance);
            let sum: u64 = all.iter().map(|coin| coin["value"].as_u64().unwrap()).sum();
            assert_eq!((all.len(), sum), (coins, balance.0.grains()));
        }
    }
}
