//! The testnet's folder: what lies where, and what is remembered between two runs.
//!
//! ```text
//! network.toml    the network file it was made from
//! genesis.json    its chain
//! state.json      nodes, links and ports as they are now
//! keeper.sock     where the keeper listens, while it runs
//! keeper.log  keeper.lock
//! saves/NAME/     what `save` made
//! node1/ …        the nodes' data directories, each with its log and pid
//! wallets/        the wallets' files
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use ashlar_processes::relay::Shape;
use ashlar_rpc::types::ClockSetting;
use serde::{Deserialize, Serialize};

use crate::{
    error::TestnetError,
    file::{NetworkFile, NodeNumber},
    lines::{LineState, Sides},
    mining::Mining,
    presets::Chain,
    wallets::{FAUCET, MINER},
};

/// The paths in a testnet's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    folder: PathBuf,
}

/// What changes as a testnet lives, and outlives its keeper.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The nodes that are there.
    pub nodes: BTreeMap<NodeNumber, NodeRecord>,
    /// The links between them.
    pub links: Vec<LinkRecord>,
    /// Who finds blocks, and when.
    pub mining: Mining,
    /// How the clock of all nodes runs; `None`: as the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockSetting>,
    /// The lines that are cut, slow or lossy.
    #[serde(default)]
    pub lines: Vec<LineState>,
    /// How the net is parted, until it is healed: for nodes that come meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sides: Option<Sides>,
    /// The faucet's port for HTTP; 0 until it has one.
    pub faucet_port: u16,
}

/// What is remembered of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// Its RPC port, which it keeps; 0 until it has one.
    pub rpc_port: u16,
    /// By how much its clock is ahead of the testnet's, in milliseconds.
    #[serde(default)]
    pub clock_offset_ms: i64,
}

/// What is remembered of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRecord {
    /// The node that dials.
    pub from: NodeNumber,
    /// The node that is reached.
    pub to: NodeNumber,
    /// The port on which the keeper takes the call; 0 until it has one.
    pub port: u16,
    /// What the line does to its bytes, in both directions.
    #[serde(default)]
    pub shape: Shape,
}

impl LinkRecord {
    /// A line that does nothing to its bytes.
    pub fn plain(from: NodeNumber, to: NodeNumber) -> Self {
        Self { from, to, port: 0, shape: Shape::default() }
    }
}

impl Layout {
    /// A folder, which need not be there; made absolute.
    ///
    /// # Errors
    /// Where there is no current directory to begin at.
    pub fn at(folder: &Path) -> Result<Self, TestnetError> {
        let folder = std::path::absolute(folder).map_err(TestnetError::disk(folder))?;
        Ok(Self { folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The network file that it was made from.
    pub fn network_file(&self) -> PathBuf {
        self.folder.join("network.toml")
    }

    /// The chain's genesis file.
    pub fn genesis(&self) -> PathBuf {
        self.folder.join("genesis.json")
    }

    /// [`State`].
    pub fn state_file(&self) -> PathBuf {
        self.folder.join("state.json")
    }

    /// The keeper's log.
    pub fn keeper_log(&self) -> PathBuf {
        self.folder.join("keeper.log")
    }

    /// Locked by the keeper while it runs.
    pub fn keeper_lock(&self) -> PathBuf {
        self.folder.join("keeper.lock")
    }

    /// A node's data directory.
    pub fn node(&self, number: NodeNumber) -> PathBuf {
        self.folder.join(format!("node{number}"))
    }

    /// A node's log.
    pub fn log(&self, number: NodeNumber) -> PathBuf {
        self.node(number).join("log")
    }

    /// A wallet's file.
    pub fn wallet(&self, name: &str) -> PathBuf {
        self.folder.join("wallets").join(format!("{name}.json"))
    }

    /// The keeper's socket: a path to use while the folder, which is returned beside it, is open.
    /// Through it the address is short however deep the folder lies; the system takes no path of
    /// more than 107 bytes (unix(7)).
    pub(crate) fn socket(&self) -> Result<(File, PathBuf), TestnetError> {
        let folder = File::open(&self.folder).map_err(TestnetError::disk(&self.folder))?;
        let path = format!("/proc/self/fd/{}/keeper.sock", folder.as_raw_fd());
        Ok((folder, path.into()))
    }

    /// Whether a testnet was made here.
    pub fn exists(&self) -> bool {
        self.state_file().exists()
    }

    /// Makes a testnet here: its chain and its state. What the network file names is taken from
    /// the folder `beside`. The state comes last: it says that all is there.
    ///
    /// # Errors
    /// Where the chain is none, or the disk refuses.
    pub fn make(&self, file: &NetworkFile, text: &str, beside: &Path) -> Result<(), TestnetError> {
        let chain = Chain::make(file, beside)?;
        // Cookies and keys are in it.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.folder.join("wallets"))
            .map_err(TestnetError::disk(&self.folder))?;
        write(&self.network_file(), text.as_bytes())?;
        write(&self.genesis(), chain.text.as_bytes())?;
        let state = State {
            nodes: (1..=file.count()).map(|number| (number, NodeRecord::default())).collect(),
            links: file
                .links()
                .into_iter()
                .map(|(from, to)| LinkRecord {
                    shape: file.shape(from, to),
                    ..LinkRecord::plain(from, to)
                })
                .collect(),
            mining: file.mining.clone(),
            clock: None,
            lines: Vec::new(),
            sides: None,
            faucet_port: 0,
        };
        self.save(&state)
    }

    /// What was remembered.
    ///
    /// # Errors
    /// Where there is no testnet, or its state is damaged.
    pub fn load(&self) -> Result<State, TestnetError> {
        let path = self.state_file();
        if !self.exists() {
            return Err(TestnetError::NoTestnet { folder: self.folder.clone() });
        }
        let text = fs::read(&path).map_err(TestnetError::disk(&path))?;
        serde_json::from_slice(&text)
            .map_err(|error| TestnetError::Damaged { path, reason: error.to_string() })
    }

    /// Remembers it.
    pub(crate) fn save(&self, state: &State) -> Result<(), TestnetError> {
        let text = serde_json::to_vec_pretty(state).unwrap_or_default();
        write(&self.state_file(), &text)
    }

    /// The names of the wallets whose words everybody knows.
    ///
    /// # Errors
    /// Where the network file can't be read.
    pub fn known_wallets(&self) -> Result<BTreeSet<String>, TestnetError> {
        let file = NetworkFile::read(&self.network_file())?;
        let named = file.wallet.into_iter().map(|wallet| wallet.name);
        Ok([FAUCET, MINER].map(str::to_owned).into_iter().chain(named).collect())
    }

    /// The chain that was made.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn chain(&self) -> Result<Chain, TestnetError> {
        let path = self.genesis();
        let text = fs::read_to_string(&path).map_err(TestnetError::disk(&path))?;
        Ok(Chain::parse(text)?)
    }
}

/// Writes a file whole, or leaves what was there.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), TestnetError> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).map_err(TestnetError::disk(&beside))?;
    file.write_all(content)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(TestnetError::disk(path))
}

/// Removes a folder that may not be there.
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
