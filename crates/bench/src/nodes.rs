//! Nets of real nodes for the parts that measure whole processes.

use std::{fs, path::Path, time::Duration};

use ashlar_processes::{Launch, Process, Rpc, binary, wait_at_most};
use tempfile::TempDir;

use crate::Outcome;

/// Longest that anything may take that is not itself measured: these machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Nodes of one chain, in a folder that goes away with them.
#[derive(Debug)]
pub struct Net {
    folder: TempDir,
}

impl Net {
    /// A folder with a chain's genesis file.
    pub fn new(folder: TempDir, genesis_text: &str) -> Outcome<Self> {
        fs::write(folder.path().join("genesis.json"), genesis_text)?;
        Ok(Self { folder })
    }

    /// Where the nodes' directories are.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A ready node, in the directory `name`.
    pub fn start(&self, name: &str, flags: &[String]) -> Outcome<Node> {
        let mut process = self.spawn(name, flags)?;
        let rpc = process.wait_ready();
        let rpc = rpc.ok_or_else(|| format!("{name} does not start:\n{}", process.log_tail()))?;
        Ok(Node { process, rpc })
    }

    /// The same, not yet ready.
    pub fn spawn(&self, name: &str, flags: &[String]) -> Outcome<Process> {
        let launch = Launch {
            node: binary("ashlar-node")?,
            datadir: self.path().join(name),
            genesis: self.path().join("genesis.json"),
            log: self.path().join(format!("{name}.log")),
            flags: [flags, &["--discovery", "false"].map(str::to_owned)].concat(),
        };
        Ok(launch.start(&[]))
    }
}

/// A running node and the way to call it.
#[derive(Debug)]
pub struct Node {
    /// Dropped, it is killed.
    pub process: Process,
    /// Calls.
    pub rpc: Rpc,
}

impl Node {
    /// Waits until it has so many peers.
    pub fn wait_connected(&self, peers: u64) -> Outcome<()> {
        wait_until("a node has its peers", || Ok(self.rpc.connections()? == peers))
    }
}

/// The flag once for each node's address.
pub fn flags<'a>(flag: &str, nodes: impl IntoIterator<Item = &'a Node>) -> Vec<String> {
    let addresses = nodes.into_iter().map(|node| node.rpc.peer_address.clone());
    addresses.flat_map(|address| [flag.to_owned(), address]).collect()
}

/// Polls until it holds; an error where it never does, or can't be told.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let found = wait_at_most(PATIENCE, || match holds() {
        Ok(false) => None,
        Ok(true) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    });
    found.unwrap_or_else(|| Err(format!("waited too long until {what}").into()))
}
