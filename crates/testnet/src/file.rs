//! The network file: what a testnet is made of, in TOML that a person writes.
//!
//! ```toml
//! nodes = 5
//! topology = "ring"
//!
//! [mining]
//! mode = "interval"
//! interval_ms = 2000
//!
//! [[wallet]]
//! name = "alice"
//! balance = "1000"
//! ```
//!
//! Every key has a default; one that is not known is refused with its line. `docs/network-file.md`
//! tells of all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ashlar_primitives::Ash;
use ashlar_processes::relay::{Bandwidth, Delay, Loss, Shape};
use ashlar_rpc::types::Text;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    mining::{Mining, MiningError},
    presets::GenesisTable,
    wallets::{FAUCET, MINER},
};

/// Most nodes of one testnet: what two cores bear.
pub const MAX_NODES: u16 = 64;
/// Nodes where nothing says how many.
pub const DEFAULT_NODES: u16 = 3;
/// Up to so many nodes are all linked with each other.
const MESH_NODES: u16 = 5;
/// Most wallets that a genesis pays.
pub const MAX_WALLETS: usize = 64;

/// Keys of a node's configuration that the testnet decides.
const OWN_SETTINGS: &[&str] = &[
    "genesis",
    "listen",
    "peers",
    "connect",
    "rpc_listen",
    "discovery",
    "exempt_loopback",
    "profile",
    "dev_clock",
    "mine",
];

/// The number of a node, from 1 on.
pub type NodeNumber = u16;

/// A network file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkFile {
    /// How many nodes, numbered from 1; 3 unless given, or as many as the `[[node]]`s name.
    pub nodes: Option<NodeNumber>,
    /// Which of them are linked, beside what `[[link]]`s say.
    pub topology: Option<Topology>,
    /// How much memory each node takes.
    pub profile: Profile,
    /// With root: whether each node gets a network namespace and an address of its own.
    pub netns: bool,
    /// The chain.
    pub genesis: GenesisTable,
    /// Who finds blocks, and when.
    pub mining: Mining,
    /// What is given away.
    pub faucet: FaucetTable,
    /// What is particular about single nodes.
    pub node: Vec<NodeTable>,
    /// Single links.
    pub link: Vec<LinkTable>,
    /// Wallets that the genesis pays.
    pub wallet: Vec<WalletTable>,
}

/// Which nodes are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// All with all.
    Mesh,
    /// Each with the next, the last with the first.
    Ring,
    /// A ring, and each also with the one across it: few links, few steps from any to any.
    Chords,
    /// Each with the next.
    Line,
    /// All with the first.
    Star,
    /// None but the `[[link]]`s.
    None,
}

/// How much memory a node takes: the node's own setting of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Many nodes on one machine.
    #[default]
    Small,
    /// A machine of its own.
    Default,
}

impl Profile {
    /// As the node's configuration has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Default => "default",
        }
    }
}

/// `[[node]]`: what is particular about one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeTable {
    /// Its number.
    pub number: NodeNumber,
    /// Further keys of its `ashlar.toml`, which the node itself checks.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// For `render`: the machine it runs on, a name or an address that the others reach.
    #[serde(default)]
    pub host: Option<String>,
    /// For `render`: its peers' port there.
    #[serde(default)]
    pub port: Option<u16>,
    /// For `render`: its RPC port there, on loopback.
    #[serde(default)]
    pub rpc_port: Option<u16>,
}

/// A value of a node's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// `true`, `false`.
    Switch(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
}

/// `[[link]]`: a line between two nodes, which the first dials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkTable {
    /// Its two ends.
    pub between: [NodeNumber; 2],
    /// Every byte arrives so much later: `200ms`.
    #[serde(default)]
    pub latency: Delay,
    /// And at random up to so much later still.
    #[serde(default)]
    pub jitter: Delay,
    /// Packets that are lost: `5%`. On TCP a stall until the sender sends again.
    #[serde(default)]
    pub loss: Loss,
    /// What the line carries at most: `1mbit`.
    #[serde(default)]
    pub bandwidth: Option<Bandwidth>,
}

/// `[[wallet]]`: one that the genesis pays. Its words follow from its name, so that everybody can
/// have them: its coins are worth nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalletTable {
    /// Lower-case letters, digits and dashes.
    pub name: String,
    /// What it has at first, in ASH.
    #[serde(default = "default_balance")]
    pub balance: Text<Ash>,
}

/// `[faucet]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaucetTable {
    /// What it has at first, in ASH.
    pub balance: Text<Ash>,
    /// What it gives where nobody says how much.
    pub amount: Text<Ash>,
    /// The most that it gives at once over HTTP.
    pub most: Text<Ash>,
    /// How often it gives over HTTP in a minute, to all together.
    pub per_minute: u32,
}

impl Default for FaucetTable {
    fn default() -> Self {
        Self {
            balance: Text(Ash::whole(1_000_000)),
            amount: Text(Ash::whole(10)),
            most: Text(Ash::whole(1_000)),
            per_minute: 60,
        }
    }
}

fn default_balance() -> Text<Ash> {
    Text(Ash::whole(10_000))
}

/// A network file that can't be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It can't be read.
    #[error("can't read the network file {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// It is not TOML, or has a key or a value that is not known there.
    #[error("{path} is not a network file: {error}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, and why.
        error: Box<toml::de::Error>,
    },
    /// Too few nodes or too many.
    #[error("a testnet has 1 to {MAX_NODES} nodes, not {nodes}")]
    Nodes {
        /// How many were asked for.
        nodes: NodeNumber,
    },
    /// A table is about a node that is not there.
    #[error("{table} names node {number}, and the nodes are 1 to {nodes}")]
    NoSuchNode {
        /// Which table.
        table: &'static str,
        /// The node.
        number: NodeNumber,
        /// How many there are.
        nodes: NodeNumber,
    },
    /// Two tables are about one node, link or wallet.
    #[error("{table} {name} is there twice")]
    Twice {
        /// Which table.
        table: &'static str,
        /// What is there twice.
        name: String,
    },
    /// A link from a node to itself.
    #[error("a link is between two nodes, not between {number} and itself")]
    Loop {
        /// The node.
        number: NodeNumber,
    },
    /// A wallet's name is none.
    #[error(
        "{name:?} is no name for a wallet: 1 to 32 lower-case letters, digits and dashes, and not \
         faucet or miner, which are there anyway"
    )]
    WalletName {
        /// The name.
        name: String,
    },
    /// More wallets than a genesis may pay here.
    #[error("at most {MAX_WALLETS} wallets")]
    TooManyWallets,
    /// The shares of miners make no sense.
    #[error("[mining] {0}")]
    Mining(#[from] MiningError),
    /// A setting that the testnet itself decides.
    #[error("node {number}: the testnet itself sets {key}; leave it out")]
    OwnSetting {
        /// The node.
        number: NodeNumber,
        /// The setting.
        key: String,
    },
}

impl NetworkFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with its line where it is a matter of one.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| FileError::Unreadable { path: path.to_owned(), error })?;
        let file: Self = toml::from_str(&text).map_err(|error| FileError::Malformed {
            path: path.to_owned(),
            error: Box::new(error),
        })?;
        file.check()?;
        Ok(file)
    }

    /// The file of so many nodes, and nothing else out of the ordinary.
    ///
    /// # Errors
    /// [`FileError::Nodes`].
    pub fn of(nodes: NodeNumber) -> Result<Self, FileError> {
        let file = Self { nodes: Some(nodes), ..Self::default() };
        file.check()?;
        Ok(file)
    }

    /// How many nodes there are at first.
    pub fn count(&self) -> NodeNumber {
        let named = self.node.iter().map(|node| node.number).max();
        self.nodes.or(named).unwrap_or(DEFAULT_NODES)
    }

    /// What is particular about a node.
    pub fn settings(&self, number: NodeNumber) -> BTreeMap<String, Setting> {
        let table = self.node.iter().find(|node| node.number == number);
        table.map(|node| node.settings.clone()).unwrap_or_default()
    }

    /// All links, each from the node that dials.
    pub fn links(&self) -> BTreeSet<(NodeNumber, NodeNumber)> {
        let mut links = match self.topology {
            None if !self.link.is_empty() => BTreeSet::new(),
            topology => links_of(topology, self.count()),
        };
        for link in &self.link {
            let [from, to] = link.between;
            if !links.contains(&(to, from)) {
                links.insert((from, to));
            }
        }
        links
    }

    /// What the line between two nodes does to its bytes.
    pub fn shape(&self, one: NodeNumber, other: NodeNumber) -> Shape {
        let is_it = |link: &&LinkTable| matches!(link.between, [a, b] if (a, b) == (one, other) || (b, a) == (one, other));
        let shape = |link: &LinkTable| Shape {
            latency: link.latency,
            jitter: link.jitter,
            loss: link.loss,
            bandwidth: link.bandwidth,
            ..Shape::default()
        };
        self.link.iter().find(is_it).map(shape).unwrap_or_default()
    }

    fn check(&self) -> Result<(), FileError> {
        let nodes = self.count();
        if !(1..=MAX_NODES).contains(&nodes) {
            return Err(FileError::Nodes { nodes });
        }
        let there = |table, number| match (1..=nodes).contains(&number) {
            true => Ok(()),
            false => Err(FileError::NoSuchNode { table, number, nodes }),
        };
        let mut seen = BTreeSet::new();
        for node in &self.node {
            there("[[node]]", node.number)?;
            once(&mut seen, "[[node]]", node.number.to_string())?;
            if let Some(key) = node.settings.keys().find(|key| OWN_SETTINGS.contains(&key.as_str()))
            {
                return Err(FileError::OwnSetting { number: node.number, key: key.clone() });
            }
        }
        let mut seen = BTreeSet::new();
        for LinkTable { between: [from, to], .. } in &self.link {
            there("[[link]]", *from)?;
            there("[[link]]", *to)?;
            if from == to {
                return Err(FileError::Loop { number: *from });
            }
            once(&mut seen, "[[link]]", format!("{} and {}", from.min(to), from.max(to)))?;
        }
        if self.wallet.len() > MAX_WALLETS {
            return Err(FileError::TooManyWallets);
        }
        let mut seen = BTreeSet::new();
        for wallet in &self.wallet {
            if !is_wallet_name(&wallet.name) || [FAUCET, MINER].contains(&wallet.name.as_str()) {
                return Err(FileError::WalletName { name: wallet.name.clone() });
            }
            once(&mut seen, "[[wallet]]", wallet.name.clone())?;
        }
        self.mining.check()?;
        for share in &self.mining.miners {
            there("[mining] miners", share.node)?;
        }
        Ok(())
    }
}

fn once(seen: &mut BTreeSet<String>, table: &'static str, name: String) -> Result<(), FileError> {
    match seen.insert(name.clone()) {
        true => Ok(()),
        false => Err(FileError::Twice { table, name }),
    }
}

/// Whether a wallet of a testnet may be called so: its name is that of a file.
pub fn is_wallet_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The links of a shape; without one, few enough for the machine and never a single way.
fn links_of(topology: Option<Topology>, nodes: NodeNumber) -> BTreeSet<(NodeNumber, NodeNumber)> {
    let usual = if nodes <= MESH_NODES { Topology::Mesh } else { Topology::Chords };
    let topology = topology.unwrap_or(usual);
    let mut links = BTreeSet::new();
    // The later one dials, since the earlier one is there when it starts.
    let mut link = |one: NodeNumber, other: NodeNumber| {
        if one != other {
            links.insert((one.max(other), one.min(other)));
        }
    };
    for number in 1..=nodes {
        let next = number % nodes + 1;
        match topology {
            Topology::Mesh => (1..number).for_each(|other| link(number, other)),
            Topology::Ring => link(number, next),
            Topology::Chords => {
                link(number, next);
                link(number, (number - 1 + nodes / 2) % nodes + 1);
            }
            Topology::Line if number < nodes => link(number, next),
            Topology::Star => link(number, 1),
            Topology::Line | Topology::None => {}
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NetworkFile, FileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.toml");
        std::fs::write(&path, text).unwrap();
        NetworkFile::read(&path)
    }

    #[test]
    fn an_empty_file_is_three_nodes() {
        let file = read("").unwrap();
        assert_eq!(file, NetworkFile::default());
        assert_eq!((file.count(), file.links().len()), (3, 3));
    }

    /// What the manual shows as every key is read, and leaves none out.
    #[test]
    fn the_manual_knows_every_key() {
        let page = include_str!("../../../docs/network-file.md");
        let (_, rest) = page.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let file = read(example).unwrap();
        let shown: toml::Table = toml::from_str(example).unwrap();
        let written = serde_json::to_value(&file).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        for table in keys(&written) {
            assert!(shown.contains_key(&table), "{table}");
            let inner = match &written[&table] {
                serde_json::Value::Array(tables) => &tables[0],
                inner => inner,
            };
            for key in inner.as_object().map(|_| keys(inner)).unwrap_or_default() {
                assert!(example.contains(&format!("{key} = ")), "{table}.{key}");
            }
        }
        let defaults = (file.mining.interval_ms, file.mining.cpu_percent, file.faucet);
        let mining = Mining::default();
        assert_eq!(
            defaults,
            (mining.interval_ms, mining.cpu_percent, FaucetTable::default()),
            "the example shows the defaults"
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_line() {
        for (text, wanted) in [
            ("nodes = 2\nnoods = 3\n", "line 2"),
            ("[mining]\nmode = \"sometimes\"\n", "line 2"),
            ("[[node]]\nnumber = 1\ncolour = \"red\"\n", "line 3"),
            ("[genesis]\npreset = \"moon\"\n", "line 2"),
            ("[[wallet]]\nname = \"alice\"\nbalance = \"-1\"\n", "line 3"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, wanted) in [
            ("nodes = 0", "1 to 64 nodes"),
            ("nodes = 65", "1 to 64 nodes"),
            ("nodes = 2\n[[node]]\nnumber = 3", "names node 3"),
            ("[[node]]\nnumber = 1\n[[node]]\nnumber = 1", "there twice"),
            ("[[link]]\nbetween = [2, 2]", "itself"),
            ("[[link]]\nbetween = [1, 2]\n[[link]]\nbetween = [2, 1]", "there twice"),
            ("[[link]]\nbetween = [1, 9]", "names node 9"),
            ("[[wallet]]\nname = \"../alice\"", "no name for a wallet"),
            ("[[wallet]]\nname = \"faucet\"", "no name for a wallet"),
            ("[[node]]\nnumber = 1\n[node.settings]\nlisten = [\"x\"]", "leave it out"),
            ("[mining]\nminers = [{ node = 7, share = 1 }]", "names node 7"),
            ("[mining]\nminers = [{ node = 1, share = 0 }]", "[mining]"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    /// Nodes that are reached from the first one.
    fn reached(links: &BTreeSet<(NodeNumber, NodeNumber)>) -> usize {
        let mut found = BTreeSet::from([1]);
        loop {
            let more: BTreeSet<_> = links
                .iter()
                .filter(|(from, to)| found.contains(from) != found.contains(to))
                .flat_map(|(from, to)| [*from, *to])
                .collect();
            let before = found.len();
            found.extend(more);
            if found.len() == before {
                return before;
            }
        }
    }

    #[test]
    fn shapes_hold_together() {
        for nodes in 1..=30 {
            for (topology, most) in [
                (Topology::Mesh, nodes * (nodes - 1) / 2),
                (Topology::Ring, nodes),
                (Topology::Chords, 2 * nodes),
                (Topology::Line, nodes - 1),
                (Topology::Star, nodes - 1),
            ] {
                let links = links_of(Some(topology), nodes);
                assert!(links.len() <= usize::from(most), "{topology:?} {nodes}");
                assert!(links.iter().all(|(from, to)| from > to), "{topology:?} {nodes}");
                assert_eq!(reached(&links), usize::from(nodes), "{topology:?} {nodes}");
            }
        }
        assert!(links_of(Some(Topology::None), 5).is_empty());
        assert_eq!(links_of(None, 5).len(), 10, "all with all");
        assert!(links_of(None, 30).len() <= 60);
    }

    #[test]
    fn named_links_stand_alone_or_beside_a_shape() {
        let alone = read("nodes = 4\n[[link]]\nbetween = [1, 4]").unwrap();
        assert_eq!(alone.links(), BTreeSet::from([(1, 4)]));
        let beside = read("nodes = 4\ntopology = \"line\"\n[[link]]\nbetween = [1, 2]").unwrap();
        assert_eq!(beside.links(), BTreeSet::from([(2, 1), (3, 2), (4, 3)]));
    }
}
