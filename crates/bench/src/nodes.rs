//! Nets of real nodes for the parts that measure whole processes.

use std::{fs, path::Path, time::Duration};

use ashlar_processes::{Launch, Process, Rpc, binary, wait_at_most};
use tempfile::TempDir;

use crate::{Outcome, maker::Made};

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
    /// Submits blocks that it must take.
    pub fn submit<'a>(&self, blocks: impl IntoIterator<Item = &'a Made>) -> Outcome<()> {
        for made in blocks {
            if let Some(reason) = self.rpc.submit(&made.block.to_bytes())? {
                return Err(format!("a block of the workload is refused: {reason}").into());
            }
        }
        Ok(())
    }

    /// Processor time of all its threads up to now.
    pub fn processor_time(&self) -> Outcome<Duration> {
        processor_time(self.process.id())
    }

    /// [`memory`].
    pub fn memory(&self) -> Outcome<(u64, u64)> {
        memory(self.process.id())
    }

    /// Waits until it has so many peers.
    pub fn wait_connected(&self, peers: u64) -> Outcome<()> {
        wait_until("a node has its peers", || Ok(self.rpc.connections()? == peers))
    }
}

/// Processor time of all threads of a process up to now.
pub fn processor_time(pid: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // What follows the program's name, which may hold anything: utime and stime are the 14th and
    // 15th of all fields (proc_pid_stat(5)).
    let fields = stat.rsplit_once(')').ok_or("an unknown form of /proc/PID/stat")?.1;
    let mut sum: u64 = 0;
    for ticks in fields.split_whitespace().skip(11).take(2) {
        sum += ticks.parse::<u64>()?;
    }
    Ok(Duration::from_secs_f64(sum as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Resident memory of a process, in bytes: now, and the most it ever was.
pub fn memory(pid: u32) -> Outcome<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kibibytes.map(|kibibytes: u64| kibibytes * 1024).ok_or("no such line in /proc")
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
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
