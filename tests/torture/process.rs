//! The processes: nodes, started also under a tracer that strikes, and calls to them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use ashlar_primitives::BlockId;
use ashlar_rpc::{
    ApiClient, Client, ClientError, Credentials, RunFile,
    types::{AddressUtxo, BlockchainInfo, ChainTip, Text},
};
use tokio::runtime::Runtime;

/// Longest that a node may take to start, to stop, or to reach a tip.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(3);
/// Lines at the end of a log that a failure shows.
const LOG_TAIL_LINES: usize = 25;

/// Polls until there is a value or patience ends.
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    wait_at_most(PATIENCE, &mut look)
}

/// The same with another patience.
pub fn wait_at_most<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = look() {
            return Some(value);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub node: PathBuf,
    /// Its data directory.
    pub datadir: PathBuf,
    /// The chain.
    pub genesis: PathBuf,
    /// Where its log goes: never into the data directory, whose disk may fail.
    pub log: PathBuf,
    /// Further flags.
    pub flags: Vec<String>,
}

impl Launch {
    /// The command line, behind `tracer` where there is one.
    fn command(&self, tracer: &[String]) -> Command {
        let mut command = match tracer.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.node);
                command
            }
            None => Command::new(&self.node),
        };
        command
            .arg("run")
            .arg("--datadir")
            .arg(&self.datadir)
            .arg("--genesis")
            .arg(&self.genesis)
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--rpc-listen", "127.0.0.1:0"])
            .args(["--profile", "small", "--discovery", "false", "--exempt-loopback"])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Starts the node.
    ///
    /// # Panics
    /// Where the program can't be started: nothing can be tested then.
    pub fn start(&self, tracer: &[String]) -> Process {
        // It may be on a disk that the last fault left read-only: then the node says so.
        drop(fs::remove_file(self.datadir.join("run.json")));
        let log = File::create(&self.log).expect("a log file");
        let child = self.command(tracer).stderr(log).spawn();
        let child =
            child.unwrap_or_else(|error| panic!("{} or its tracer: {error}", self.node.display()));
        Process { child, datadir: self.datadir.clone(), log: self.log.clone() }
    }

    /// Runs another command of the node's program on the data directory, to its end: whether it
    /// ended well, and what it printed.
    pub fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(&self.node);
        command.args(arguments).arg("--datadir").arg(&self.datadir);
        command.arg("--genesis").arg(&self.genesis).args(["--profile", "small"]);
        command.stdin(Stdio::null());
        let output = command.output().expect("the node's program");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

/// A running node. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    datadir: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Waits until the node serves; `None` where it ended before, or never did either.
    pub fn wait_ready(&mut self) -> Option<Rpc> {
        let run_file = self.datadir.join("run.json");
        wait_for(|| {
            if self.has_ended() {
                return Some(None);
            }
            run_file.exists().then(|| Rpc::connect(&self.datadir))
        })?
    }

    /// Whether it ended, by itself or killed.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child's state").is_some()
    }

    /// How it ended, within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait_at_most(patience, || self.child.try_wait().expect("a child's state"))
    }

    /// The process id: the tracer, where there is one, is not its parent.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the end awaited.
    pub fn kill(&mut self) {
        // An error says that it ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of it.
    pub fn log_tail(&self) -> String {
        tail(&self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

/// SIGKILL to a process that may be gone.
pub fn kill(pid: u32) {
    drop(Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status());
}

/// Calls to one running node.
#[derive(Debug)]
pub struct Rpc {
    runtime: Runtime,
    client: Client,
    /// Where peers reach it.
    pub peer_address: String,
}

impl Rpc {
    fn connect(datadir: &Path) -> Option<Self> {
        let run = RunFile::read(datadir).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let credentials = Credentials::Cookie(datadir.join(".cookie"));
        let client = runtime.block_on(async { Client::connect(&run.rpc, &credentials) }).ok()?;
        Some(Self { runtime, client, peer_address: run.listening.first()?.clone() })
    }

    /// `submitblock`.
    pub fn submit(&self, block: &[u8]) -> Result<Option<String>, ClientError> {
        Ok(self.runtime.block_on(self.client.submitblock(hex::encode(block)))?)
    }

    /// `sendrawtransactions`; whether each is taken is the mempool's business.
    pub fn send(&self, transactions: Vec<String>) -> Result<(), ClientError> {
        drop(self.runtime.block_on(self.client.sendrawtransactions(transactions))?);
        Ok(())
    }

    /// `getblockchaininfo`.
    pub fn info(&self) -> Result<BlockchainInfo, ClientError> {
        Ok(self.runtime.block_on(self.client.getblockchaininfo())?)
    }

    /// `getchaintips`.
    pub fn tips(&self) -> Result<Vec<ChainTip>, ClientError> {
        Ok(self.runtime.block_on(self.client.getchaintips())?)
    }

    /// `getblockhash`.
    pub fn id_at(&self, height: u32) -> Result<BlockId, ClientError> {
        Ok(self.runtime.block_on(self.client.getblockhash(height))?.0)
    }

    /// `getblock`, its bytes.
    pub fn block(&self, id: BlockId) -> Result<Vec<u8>, ClientError> {
        let asked = self.client.call("getblock", vec![id.to_string().into(), 0.into()]);
        let answer = self.runtime.block_on(asked)?;
        Ok(hex::decode(answer.as_str().unwrap_or_default()).unwrap_or_default())
    }

    /// All pages of `getaddressutxos`.
    pub fn coins(&self, addresses: &[String]) -> Result<Vec<AddressUtxo>, ClientError> {
        let mut coins = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.client.getaddressutxos(addresses.to_vec().into(), cursor, None);
            let page = self.runtime.block_on(page)?;
            coins.extend(page.utxos);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(coins);
            }
        }
    }

    /// A transaction's block on the best chain, by the index; `None` where it is in none.
    pub fn confirmed(&self, txid: ashlar_primitives::Txid) -> Result<Option<BlockId>, ClientError> {
        match self.runtime.block_on(self.client.gettransaction(Text(txid))) {
            Ok(status) => Ok(status.blockhash.map(|id| id.0)),
            Err(error) => match ClientError::from(error) {
                error if error.code() == Some("not-found") => Ok(None),
                error => Err(error),
            },
        }
    }

    /// `addnode`.
    pub fn connect_to(&self, address: &str) -> Result<(), ClientError> {
        Ok(self.runtime.block_on(self.client.addnode(address.to_owned(), None))?)
    }
}
