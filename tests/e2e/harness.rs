//! Processes and how to talk to them.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ashlar_processes::{Launch, PATIENCE, Process, Rpc};
use ashlar_rpc::ClientError;
use serde_json::{Value, json};

const POLL: Duration = Duration::from_millis(50);
/// Of every wallet in these tests.
const PASSWORD: &str = "correct horse";
/// 32 zero bytes as BIP-39: the development genesis pays its first address.
pub(crate) const FAUCET_WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon \
    abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
    abandon abandon abandon abandon abandon art";

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn dev_genesis() -> PathBuf {
    repository().join("tests/genesis-dev.json")
}

/// The folder of the binaries: two above the test's own.
pub(crate) fn binaries() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().to_owned()
}

pub(crate) fn binary(name: &str) -> PathBuf {
    ashlar_processes::binary(name).unwrap()
}

/// Polls until `condition` gives a value; fails with `what` when patience ends.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        thread::sleep(POLL);
    }
}

/// A folder for one test's nodes and wallets, deleted with it (kept where the test fails).
pub(crate) struct Net {
    folder: tempfile::TempDir,
    names: AtomicU32,
}

impl Net {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("ashlar-e2e-").tempdir().unwrap();
        Self { folder, names: AtomicU32::new(0) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new node on the development genesis, connected to `peers`.
    pub(crate) fn node(&self, peers: &[&Node]) -> Node {
        self.node_with(peers, &[])
    }

    pub(crate) fn node_with(&self, peers: &[&Node], flags: &[&str]) -> Node {
        self.node_on(&dev_genesis(), peers, flags)
    }

    /// A new node on the chain of this genesis file.
    pub(crate) fn node_on(&self, genesis: &Path, peers: &[&Node], flags: &[&str]) -> Node {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let mut node = Node {
            datadir: self.path(&format!("node{number}")),
            genesis: genesis.to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            process: None,
        };
        node.start(peers);
        node
    }

    /// A new node on the development genesis that was just started.
    pub(crate) fn unready_node(&self) -> Node {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let mut node = Node {
            datadir: self.path(&format!("node{number}")),
            genesis: dev_genesis(),
            flags: Vec::new(),
            process: None,
        };
        node.launch(&[]);
        node
    }

    /// A new node in a directory chosen by the test.
    pub(crate) fn node_in(&self, datadir: &Path, flags: &[&str]) -> Node {
        let mut node = Node {
            datadir: datadir.to_owned(),
            genesis: dev_genesis(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            process: None,
        };
        node.start(&[]);
        node
    }

    /// The wallet that the development genesis pays.
    pub(crate) fn faucet(&self) -> Wallet {
        self.restore("faucet", &["--genesis", dev_genesis().to_str().unwrap()])
    }

    /// The same from its words, its addresses found by asking a node.
    pub(crate) fn restored_faucet(&self, node: &Node) -> Wallet {
        self.restore("restored", &["--datadir", node.datadir.to_str().unwrap()])
    }

    fn restore(&self, name: &str, flags: &[&str]) -> Wallet {
        let wallet = Wallet { file: self.path(&format!("{name}.json")) };
        let mut command = wallet.command(&["restore", "--light-kdf"]);
        let output =
            command.args(flags).env("ASHLAR_WALLET_MNEMONIC", FAUCET_WORDS).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        wallet
    }

    /// A new wallet.
    pub(crate) fn wallet(&self, name: &str) -> Wallet {
        let wallet = Wallet { file: self.path(&format!("{name}.json")) };
        let genesis = dev_genesis();
        wallet.run(&["create", "--light-kdf", "--genesis", genesis.to_str().unwrap()]);
        wallet
    }
}

/// A node's process and its data.
pub(crate) struct Node {
    pub(crate) datadir: PathBuf,
    genesis: PathBuf,
    /// Beside those that every node gets.
    pub(crate) flags: Vec<String>,
    process: Option<Process>,
}

impl Node {
    pub(crate) fn start(&mut self, peers: &[&Self]) {
        self.launch(peers);
        let process = self.process.as_mut().expect("was started");
        assert!(process.wait_ready().is_some(), "the node is not ready:\n{}", self.log());
    }

    fn launch(&mut self, peers: &[&Self]) {
        assert!(self.process.is_none(), "runs already");
        fs::create_dir_all(&self.datadir).unwrap();
        let mut launch = Launch {
            node: binary("ashlar-node"),
            datadir: self.datadir.clone(),
            genesis: self.genesis.clone(),
            log: self.log_file(),
            flags: self.flags.clone(),
        };
        for peer in peers {
            launch.flags.extend(["--peer".to_owned(), peer.address()]);
        }
        self.process = Some(launch.start(&[]));
    }

    fn log_file(&self) -> PathBuf {
        self.datadir.join("log")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn run_file(&self) -> Value {
        serde_json::from_slice(&fs::read(self.datadir.join("run.json")).unwrap()).unwrap()
    }

    pub(crate) fn rpc_address(&self) -> String {
        self.run_file()["rpc"].as_str().unwrap().to_owned()
    }

    /// A multiaddress for peers.
    pub(crate) fn address(&self) -> String {
        self.run_file()["listening"][0].as_str().unwrap().to_owned()
    }

    /// The one of its multiaddresses that has this in it: `/tcp/`, `/quic-v1`.
    pub(crate) fn address_with(&self, part: &str) -> String {
        let run = self.run_file();
        let mut listening = run["listening"].as_array().unwrap().iter().filter_map(Value::as_str);
        listening.find(|address| address.contains(part)).unwrap().to_owned()
    }

    pub(crate) fn try_call(&self, method: &str, params: Value) -> Result<Value, ClientError> {
        let Value::Array(params) = params else { panic!("parameters are a list") };
        Rpc::connect(&self.datadir).expect("the node runs").call(method, params)
    }

    pub(crate) fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(method, params)
            .unwrap_or_else(|error| panic!("{method}: {error}\n{}", self.log()))
    }

    pub(crate) fn height(&self) -> u64 {
        self.call("getblockcount", json!([])).as_u64().unwrap()
    }

    pub(crate) fn tip(&self) -> String {
        self.call("getbestblockhash", json!([])).as_str().unwrap().to_owned()
    }

    /// Mines so many blocks; the ids.
    pub(crate) fn generate(&self, blocks: u32, address: &str) -> Vec<String> {
        let ids = self.call("generatetoaddress", json!([blocks, address]));
        ids.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("runs").id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| !process.has_ended())
    }

    /// What an operator should know.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let info = self.call("getblockchaininfo", json!([]));
        serde_json::from_value(info["warnings"].clone()).unwrap()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let mut process = self.process.take().expect("runs");
        process.wait(PATIENCE).expect("the node ends by itself")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        drop(self.process.take().expect("runs"));
    }

    /// SIGTERM; the node must end well.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().expect("runs");
        process.signal("TERM");
        let status = process.wait(PATIENCE).expect("the node stops");
        assert!(status.success(), "ended with {status}:\n{}", self.log());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.take());
        if thread::panicking() {
            eprintln!("--- log of {}\n{}", self.datadir.display(), self.log());
        }
    }
}

/// `ashlar-node run` on free ports of the loopback address.
pub(crate) fn run_command(datadir: &Path) -> Command {
    let mut command = Command::new(binary("ashlar-node"));
    command
        .arg("run")
        .arg("--datadir")
        .arg(datadir)
        .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--rpc-listen", "127.0.0.1:0"])
        .args(["--profile", "small", "--exempt-loopback"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until all nodes are on one tip; its id.
pub(crate) fn wait_for_one_tip(nodes: &[&Node]) -> String {
    wait_for("all nodes are on one tip", || {
        let tip = nodes[0].tip();
        nodes.iter().all(|node| node.tip() == tip).then_some(tip)
    })
}

/// A wallet's file.
pub(crate) struct Wallet {
    pub(crate) file: PathBuf,
}

impl Wallet {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("ashlar-wallet"));
        command
            .arg("--wallet")
            .arg(&self.file)
            .arg("--json")
            .args(arguments)
            .env("ASHLAR_WALLET_PASSWORD", PASSWORD)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn try_run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; its JSON.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let output = self.try_run(arguments);
        assert!(
            output.status.success(),
            "ashlar-wallet {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{arguments:?} printed no JSON ({error}): {:?}", output.stdout)
        })
    }

    /// What a command that must succeed prints for people.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(binary("ashlar-wallet"));
        let wallet = command.arg("--wallet").arg(&self.file).args(arguments);
        let output = wallet.env("ASHLAR_WALLET_PASSWORD", PASSWORD).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn on(&self, node: &Node, arguments: &[&str]) -> Value {
        let mut all = vec!["--datadir", node.datadir.to_str().unwrap()];
        all.extend(arguments);
        self.run(&all)
    }

    pub(crate) fn address(&self) -> String {
        self.run(&["address"])["address"].as_str().unwrap().to_owned()
    }

    /// Confirmed and spendable, in grains.
    pub(crate) fn balance(&self, node: &Node) -> u64 {
        self.on(node, &["balance"])["confirmed"].as_u64().unwrap()
    }
}

/// A program on a terminal of its own (`script`, of util-linux), and a person before it.
pub(crate) struct Terminal {
    process: std::process::Child,
    keys: std::process::ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts a program; no argument may need quoting.
    pub(crate) fn start(program: &Path, arguments: &[&str], environment: &[(&str, &Path)]) -> Self {
        let line = format!("{} {}", program.display(), arguments.join(" "));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("script, of util-linux, is installed");
        let (keys, mut screen) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 1_024];
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { process, keys, shown }
    }

    /// Waits until a text is on the screen, takes what is there, and types an answer.
    pub(crate) fn answer(&mut self, prompt: &str, answer: &str) -> String {
        let seen = wait_for(prompt, || {
            let mut shown = self.shown.lock().unwrap();
            shown.contains(prompt).then(|| std::mem::take(&mut *shown))
        });
        writeln!(self.keys, "{answer}").unwrap();
        seen
    }

    /// Waits until the program ends: whether it ended well, and what it showed since.
    pub(crate) fn end(mut self) -> (bool, String) {
        let status = wait_for("the program ends", || self.process.try_wait().unwrap());
        drop(self.keys);
        // The reader holds the other one until it has read all.
        wait_for("all is read", || (Arc::strong_count(&self.shown) == 1).then_some(()));
        let shown = std::mem::take(&mut *self.shown.lock().unwrap());
        (status.success(), shown)
    }
}

/// Bytes to a port, whatever becomes of them.
pub(crate) fn throw(address: &str, bytes: &[u8]) {
    if let Ok(mut stream) = std::net::TcpStream::connect(address) {
        // The node may hang up in the middle, which is its right.
        drop(stream.write_all(bytes));
    }
}
