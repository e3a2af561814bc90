//! A testnet as its users hold it: started, asked, ended.
//!
//! ```no_run
//! # fn show() -> Result<(), ashlar_testnet::TestnetError> {
//! use ashlar_testnet::Testnet;
//!
//! let net = Testnet::start(3)?;
//! let mined = net.mine(1, Some(2))?;
//! net.wait_for_one_tip()?;
//! println!("{} has {}", net.overview()?.nodes[0].rpc, mined.blocks[0]);
//! # Ok(())
//! # }
//! ```

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ashlar_primitives::Ash;
use ashlar_rpc::types::Text;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::{
    control::{Given, MAX_REPLY_BYTES, Mined, NodeState, Overview, Reply, Request, Status},
    error::TestnetError,
    file::{NetworkFile, NodeNumber},
    layout::Layout,
    logs,
    mining::Mining,
    programs::Programs,
};

/// Longest that a keeper may take to listen, in seconds: it may find nodes that are starting.
const KEEPER_SECONDS: u64 = 90;
/// Longest that [`Testnet::wait_for_one_tip`] waits, in seconds.
const ONE_TIP_SECONDS: u64 = 60;
/// Between two looks.
const POLL: Duration = Duration::from_millis(5);

/// A testnet with its keeper. One that [`Testnet::start`] made ends when it is dropped, and its
/// folder goes.
#[derive(Debug)]
pub struct Testnet {
    layout: Layout,
    /// Deleted with this value.
    folder: Option<TempDir>,
}

impl Testnet {
    /// A new testnet of so many nodes in a temporary folder. Blocks come when they are asked for.
    ///
    /// # Errors
    /// Where the programs are not there, or a node does not start.
    pub fn start(nodes: NodeNumber) -> Result<Self, TestnetError> {
        let text = format!("nodes = {nodes}\n[mining]\nmode = \"manual\"\n");
        Self::start_with(&text)
    }

    /// The same from the text of a network file.
    ///
    /// # Errors
    /// Where it is none, the programs are not there, or a node does not start.
    pub fn start_with(text: &str) -> Result<Self, TestnetError> {
        let folder = tempfile::Builder::new().prefix("ashlar-testnet-").tempdir();
        let folder = folder.map_err(TestnetError::disk(std::env::temp_dir()))?;
        let path = folder.path().join("given.toml");
        fs::write(&path, text).map_err(TestnetError::disk(&path))?;
        let layout = Layout::at(folder.path())?;
        let mut testnet = Self::make(layout, Some(&path), None)?;
        testnet.folder = Some(folder);
        testnet.up(None)?;
        Ok(testnet)
    }

    /// The testnet of a folder, whose keeper must run.
    ///
    /// # Errors
    /// Where there is none, or it does not run.
    pub fn at(folder: &Path) -> Result<Self, TestnetError> {
        let testnet = Self { layout: Layout::at(folder)?, folder: None };
        testnet.layout.load()?;
        testnet.connect().map(|_| testnet)
    }

    /// The testnet of a folder, made where there is none, with its keeper running; its nodes start
    /// with [`Testnet::up`].
    ///
    /// # Errors
    /// Where it was made from another file, or can't be made or kept.
    pub fn make(
        layout: Layout,
        file: Option<&Path>,
        nodes: Option<NodeNumber>,
    ) -> Result<Self, TestnetError> {
        let testnet = Self { layout, folder: None };
        let layout = &testnet.layout;
        if layout.exists() {
            if let Some(path) = file {
                let kept = NetworkFile::read(&layout.network_file())?;
                if NetworkFile::read(path)? != kept {
                    return Err(TestnetError::OtherFile { folder: layout.folder().to_owned() });
                }
            }
        } else {
            let (network, text, beside) = match file {
                Some(path) => {
                    let network = NetworkFile::read(path)?;
                    let text = fs::read_to_string(path).map_err(TestnetError::disk(path))?;
                    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
                    (network, text, folder)
                }
                None => {
                    let network = match nodes {
                        Some(nodes) => NetworkFile::of(nodes)?,
                        None => NetworkFile::default(),
                    };
                    let text = format!("nodes = {}\n", network.count());
                    (network, text, layout.folder().to_owned())
                }
            };
            layout.make(&network, &text, &beside)?;
        }
        testnet.keep()?;
        Ok(testnet)
    }

    /// Starts the keeper in the background, where none runs.
    fn keep(&self) -> Result<(), TestnetError> {
        if self.connect().is_ok() {
            return Ok(());
        }
        let programs = Programs::find()?;
        let path = self.layout.keeper_log();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(TestnetError::disk(&path))?;
        let mut command = Command::new(&programs.testnet);
        command.arg("--dir").arg(self.layout.folder()).arg("keep").stdin(Stdio::null());
        let copy = log.try_clone().map_err(TestnetError::disk(&path))?;
        let mut keeper = command
            .stdout(copy)
            .stderr(log)
            .spawn()
            .map_err(|error| TestnetError::Program { program: programs.testnet.clone(), error })?;
        let deadline = Instant::now() + Duration::from_secs(KEEPER_SECONDS);
        while self.connect().is_err() {
            let has_ended = keeper.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || Instant::now() > deadline {
                let tail = logs::tail(&path);
                return Err(TestnetError::Keeper { log: path, tail });
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// What lies where.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    fn connect(&self) -> Result<UnixStream, TestnetError> {
        let not_running = || TestnetError::NotRunning { folder: self.layout.folder().to_owned() };
        let (_folder, path) = self.layout.socket().map_err(|_| not_running())?;
        UnixStream::connect(path).map_err(|_| not_running())
    }

    /// Asks the keeper, and waits for what it says, however long it takes.
    ///
    /// # Errors
    /// Where it does not run, refuses, or dies over it.
    pub fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, TestnetError> {
        let bad = |reason: String| TestnetError::BadAnswer { reason };
        let mut stream = self.connect()?;
        let mut line = serde_json::to_vec(request).map_err(|error| bad(error.to_string()))?;
        line.push(b'\n');
        stream.write_all(&line).map_err(|error| bad(error.to_string()))?;
        let mut answer = String::new();
        let mut reader = BufReader::new(stream).take(MAX_REPLY_BYTES);
        reader.read_line(&mut answer).map_err(|error| bad(error.to_string()))?;
        if answer.is_empty() {
            return Err(bad("it ended without one".to_owned()));
        }
        match serde_json::from_str(&answer).map_err(|error| bad(error.to_string()))? {
            Reply::Ok(value) => serde_json::from_value(value).map_err(|e| bad(e.to_string())),
            Reply::Error(refusal) => Err(TestnetError::Refused(refusal)),
        }
    }

    /// Starts every node that does not run, and waits until all agree.
    ///
    /// # Errors
    /// As [`Testnet::ask`].
    pub fn up(&self, nodes: Option<NodeNumber>) -> Result<Overview, TestnetError> {
        self.ask(&Request::Up { nodes })
    }

    /// What there is and where.
    ///
    /// # Errors
    /// As [`Testnet::ask`].
    pub fn overview(&self) -> Result<Overview, TestnetError> {
        self.ask(&Request::Overview)
    }

    /// How it stands.
    ///
    /// # Errors
    /// As [`Testnet::ask`].
    pub fn status(&self) -> Result<Status, TestnetError> {
        self.ask(&Request::Status)
    }

    /// Finds blocks now, on a node or on the first that runs.
    ///
    /// # Errors
    /// As [`Testnet::ask`].
    pub fn mine(&self, blocks: u32, node: Option<NodeNumber>) -> Result<Mined, TestnetError> {
        self.ask(&Request::Mine { blocks, node })
    }

    /// Says who finds blocks, and when.
    ///
    /// # Errors
    /// As [`Testnet::ask`].
    pub fn set_mining(&self, mining: Mining) -> Result<Mining, TestnetError> {
        self.ask(&Request::Mining { change: Some(mining) })
    }

    /// Pays from the faucet.
    ///
    /// # Errors
    /// As [`Testnet::ask`].
    pub fn faucet(&self, address: &str, amount: Option<Ash>) -> Result<Given, TestnetError> {
        self.ask(&Request::Faucet { address: address.to_owned(), amount: amount.map(Text) })
    }

    /// Waits until all nodes that serve are on one tip.
    ///
    /// # Errors
    /// [`TestnetError::NoAgreement`] after a minute, and as [`Testnet::ask`].
    pub fn wait_for_one_tip(&self) -> Result<(), TestnetError> {
        let deadline = Instant::now() + Duration::from_secs(ONE_TIP_SECONDS);
        loop {
            let status = self.status()?;
            let serving = status.nodes.iter().filter(|node| node.state == NodeState::Running);
            let tips: Option<Vec<_>> =
                serving.map(|node| Some(node.answers.as_ref()?.tip)).collect();
            if tips.is_some_and(|tips| tips.windows(2).all(|two| two[0] == two[1])) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(TestnetError::NoAgreement { seconds: ONE_TIP_SECONDS });
            }
            thread::sleep(POLL);
        }
    }

    /// Stops all nodes, then the keeper; waits until it is gone.
    ///
    /// # Errors
    /// As [`Testnet::ask`].
    pub fn down(&self) -> Result<(), TestnetError> {
        self.ask::<()>(&Request::Down)?;
        let deadline = Instant::now() + Duration::from_secs(KEEPER_SECONDS);
        while self.is_kept() {
            if Instant::now() > deadline {
                return Err(TestnetError::KeptAlready { folder: self.layout.folder().to_owned() });
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Whether a keeper has the lock.
    fn is_kept(&self) -> bool {
        File::open(self.layout.keeper_lock()).is_ok_and(|file| file.try_lock().is_err())
    }
}

impl Drop for Testnet {
    fn drop(&mut self) {
        if self.folder.is_some() && self.layout.exists() {
            // It may be down already, or its keeper dead and the nodes left over.
            let again = || Self::make(self.layout.clone(), None, None)?.down();
            drop(self.down().or_else(|_| again()));
        }
    }
}
