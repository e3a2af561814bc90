//! What can be done to nodes: started, stopped, killed, paused, added, removed; and how a node is
//! told what it shall be, by its `ashlar.toml`.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use ashlar_processes::relay::{Target, socket_address};
use ashlar_rpc::{Client, RunFile, prelude::*, run_file::RUN_FILE};
use rustix::process::Signal;
use tokio::{task::JoinSet, time::Instant};
use tracing::{info, warn};

use super::{
    Keeper, links,
    process::{Process, Vitals},
};
use crate::{
    control::NodeState,
    error::TestnetError,
    file::{MAX_NODES, NodeNumber, Setting},
    layout::{self, LinkRecord, NodeRecord},
    netns::{Namespaces, NetnsError},
};

/// Longest that a node may take to serve, in seconds: its indexes may have to be built.
const START_SECONDS: u64 = 60;
/// Longest that a node may take to stop, in seconds: it gives up itself after 20.
const STOP_SECONDS: u64 = 30;
/// Longest that nodes may take to come together, in seconds.
const AGREE_SECONDS: u64 = 120;
/// Between two looks at a node that is starting.
const POLL: Duration = Duration::from_millis(10);
/// How many earlier nodes an added one dials.
const LINKS_OF_ADDED: usize = 2;
/// The process of a node, in its data directory.
pub(super) const PID_FILE: &str = "pid";
/// Free disk that a testnet's node asks for.
const MIN_FREE: &str = "64MB";

/// A node as the keeper holds it.
#[derive(Debug)]
pub(crate) struct Node {
    /// What its process does; that it stands still the system itself says.
    pub(crate) state: NodeState,
    /// Why it ended by itself.
    pub(crate) reason: Option<String>,
    pub(crate) process: Option<Process>,
    client: Option<Client>,
    /// Whether it was told to end.
    is_ending: bool,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            state: NodeState::Stopped,
            reason: None,
            process: None,
            client: None,
            is_ending: false,
        }
    }
}

impl Node {
    /// To call it, while it serves.
    pub(super) fn client(&self) -> Option<Client> {
        self.client.clone().filter(|_| self.state == NodeState::Running)
    }
}

impl Keeper {
    /// Takes calls for all links, and holds the nodes that an earlier keeper left running.
    pub(super) async fn take_over(self: &Arc<Self>) -> Result<(), TestnetError> {
        let moved = self.open_links()?;
        let numbers: Vec<NodeNumber> = self.nodes().keys().copied().collect();
        for number in numbers {
            let Some(process) = Process::find(&self.layout.node(number).join(PID_FILE)) else {
                continue;
            };
            info!(node = number, pid = process.pid(), "runs already");
            self.hold(number, &process);
            if moved.contains(&number) {
                warn!(node = number, "starts anew: its lines have other ports now");
                self.end(number, Signal::TERM).await?;
            } else if !process.vitals().is_some_and(|vitals| vitals.is_paused) {
                self.await_ready(number, &process).await?;
            }
        }
        Ok(())
    }

    /// Takes calls for all links; the nodes that must dial another port than before.
    pub(super) fn open_links(&self) -> Result<BTreeSet<NodeNumber>, TestnetError> {
        let numbers: Vec<NodeNumber> = self.nodes().keys().copied().collect();
        self.make_namespaces(&numbers)?;
        let links = self.state().links.clone();
        let mut moved = BTreeSet::new();
        for link in &links {
            let port = self.links.open(link, self.netns.as_ref())?;
            if port != link.port {
                moved.insert(link.from);
                self.set_port(link, port);
            }
        }
        let lines = self.state().lines.clone();
        self.links.restore(&lines);
        self.save()?;
        Ok(moved)
    }

    fn set_port(&self, link: &LinkRecord, port: u16) {
        let mut state = self.state();
        let same = |other: &&mut LinkRecord| other.from == link.from && other.to == link.to;
        if let Some(link) = state.links.iter_mut().find(same) {
            link.port = port;
        }
    }

    /// Holds a process as a node's, and sees to it that its end is known.
    fn hold(self: &Arc<Self>, number: NodeNumber, process: &Process) {
        self.nodes().insert(
            number,
            Node { state: NodeState::Starting, process: Some(process.clone()), ..Node::default() },
        );
        self.links.aim(number, Target::Soon);
        let (keeper, process) = (Arc::clone(self), process.clone());
        tokio::spawn(async move {
            let status = process.ended().await;
            keeper.has_ended(number, process.pid(), status);
        });
    }

    /// Notes that a node's process is gone. Whoever sees it first says so; later words are nothing.
    fn has_ended(&self, number: NodeNumber, pid: u32, status: Option<String>) {
        let last_words = last_line(&self.layout.log(number));
        let mut nodes = self.nodes();
        let Some(node) = nodes.get_mut(&number) else { return };
        if node.process.as_ref().is_none_or(|process| process.pid() != pid) {
            return;
        }
        self.links.aim(number, Target::Nowhere);
        let (state, reason) = if node.is_ending {
            (NodeState::Stopped, None)
        } else {
            let status = status.unwrap_or_else(|| "gone".to_owned());
            (NodeState::Failed, Some(format!("{status}; its last words: {last_words}")))
        };
        info!(node = number, ?state, reason, "ended");
        *node = Node { state, reason, ..Node::default() };
    }

    /// Starts a node and waits until it serves.
    pub(crate) async fn start(self: &Arc<Self>, number: NodeNumber) -> Result<(), TestnetError> {
        let _one = self.lifecycle.lock().await;
        self.start_alone(number).await
    }

    async fn start_alone(self: &Arc<Self>, number: NodeNumber) -> Result<(), TestnetError> {
        self.require(number)?;
        if self.nodes().get(&number).is_some_and(|node| node.process.is_some()) {
            return Err(TestnetError::NodeUp { number });
        }
        let datadir = self.layout.node(number);
        fs::create_dir_all(&datadir).map_err(TestnetError::disk(&datadir))?;
        layout::write(&datadir.join("ashlar.toml"), self.configuration(number)?.as_bytes())?;
        self.leave_clock(number)?;
        // Of an earlier life; whether it was there is nothing to this one.
        drop(fs::remove_file(datadir.join(RUN_FILE)));
        let mut command = node_command(&self.programs.node, number, self.netns.as_ref());
        command.arg("run").arg("--datadir").arg(&datadir);
        let process =
            Process::start(&mut command, &self.layout.log(number), &datadir.join(PID_FILE))
                .map_err(|error| TestnetError::Program {
                    program: self.programs.node.clone(),
                    error,
                })?;
        self.hold(number, &process);
        self.await_ready(number, &process).await
    }

    /// Waits until a node serves.
    async fn await_ready(&self, number: NodeNumber, process: &Process) -> Result<(), TestnetError> {
        let datadir = self.layout.node(number);
        let ready = async {
            loop {
                match RunFile::read(&datadir) {
                    Ok(run) if run.pid == process.pid() => break run,
                    // Not yet there, or of an earlier process.
                    _ => tokio::time::sleep(POLL).await,
                }
            }
        };
        let run = tokio::select! {
            run = ready => run,
            status = process.ended() => {
                self.has_ended(number, process.pid(), status);
                let reason = self.nodes().get(&number).and_then(|node| node.reason.clone());
                return Err(TestnetError::NodeFailed { number, reason: reason.unwrap_or_default() });
            }
            () = tokio::time::sleep(Duration::from_secs(START_SECONDS)) => {
                return Err(TestnetError::Patience { number, what: "start", seconds: START_SECONDS });
            }
        };
        let client = Client::connect(&run.rpc, &RunFile::credentials(&datadir))
            .map_err(TestnetError::call(number))?;
        if let Some(node) = self.nodes().get_mut(&number) {
            node.state = NodeState::Running;
            node.client = Some(client);
        }
        let door = run.listening.iter().find_map(|address| socket_address(address));
        self.links.aim(number, door.map_or(Target::Nowhere, Target::At));
        let rpc: Option<SocketAddr> = run.rpc.parse().ok();
        if let Some(record) = self.state().nodes.get_mut(&number) {
            record.rpc_port = rpc.map_or(0, |address| address.port());
        }
        self.save()?;
        info!(node = number, pid = run.pid, rpc = run.rpc, "serves");
        Ok(())
    }

    /// Ends a node, by SIGTERM or by SIGKILL, and waits until it has.
    pub(super) async fn end(&self, number: NodeNumber, signal: Signal) -> Result<(), TestnetError> {
        let process = {
            let mut nodes = self.nodes();
            let Some(node) = nodes.get_mut(&number) else { return Ok(()) };
            node.is_ending = true;
            node.process.clone()
        };
        let Some(process) = process else { return Ok(()) };
        process.signal(signal);
        // One that stands still hears nothing.
        process.signal(Signal::CONT);
        let patience = Duration::from_secs(STOP_SECONDS);
        let Ok(status) = tokio::time::timeout(patience, process.ended()).await else {
            return Err(TestnetError::Patience { number, what: "stop", seconds: STOP_SECONDS });
        };
        self.has_ended(number, process.pid(), status);
        Ok(())
    }

    /// Stops a node cleanly; one that does not run is stopped.
    pub(crate) async fn stop(&self, number: NodeNumber) -> Result<(), TestnetError> {
        let _one = self.lifecycle.lock().await;
        self.require(number)?;
        self.end(number, Signal::TERM).await
    }

    /// `kill -9`.
    pub(crate) async fn kill(&self, number: NodeNumber) -> Result<(), TestnetError> {
        let _one = self.lifecycle.lock().await;
        self.require_process(number)?;
        self.end(number, Signal::KILL).await
    }

    /// Lets a node stand still, or go on.
    pub(crate) fn pause(&self, number: NodeNumber, pause: bool) -> Result<(), TestnetError> {
        let process = self.require_process(number)?;
        process.signal(if pause { Signal::STOP } else { Signal::CONT });
        Ok(())
    }

    /// Namespaces for nodes, where they have some.
    fn make_namespaces(&self, numbers: &[NodeNumber]) -> Result<(), NetnsError> {
        match &self.netns {
            Some(netns) => numbers.iter().try_for_each(|number| netns.make(*number)),
            None => Ok(()),
        }
    }

    /// Stops all nodes at once; who does not stop is told of in the log.
    pub(crate) async fn stop_all(self: &Arc<Self>) {
        let _one = self.lifecycle.lock().await;
        let numbers: Vec<NodeNumber> = self.nodes().keys().copied().collect();
        let mut ends = JoinSet::new();
        for number in numbers {
            let keeper = Arc::clone(self);
            ends.spawn(async move {
                if let Err(error) = keeper.end(number, Signal::TERM).await {
                    warn!(node = number, %error, "is killed");
                    drop(keeper.end(number, Signal::KILL).await);
                }
            });
        }
        while ends.join_next().await.is_some() {}
        self.netns.iter().for_each(Namespaces::remove_all);
    }

    /// Starts all that does not run, after adding nodes until there are `wanted`; waits until all
    /// agree.
    pub(crate) async fn up(
        self: &Arc<Self>,
        wanted: Option<NodeNumber>,
    ) -> Result<(), TestnetError> {
        let have = self.nodes().len();
        let more = wanted.map_or(0, usize::from).saturating_sub(have);
        {
            let _one = self.lifecycle.lock().await;
            self.add_records(more)?;
            self.start_all().await?;
        }
        self.agree().await
    }

    /// Adds nodes, starts them, and waits until all agree.
    pub(crate) async fn add(self: &Arc<Self>, more: NodeNumber) -> Result<(), TestnetError> {
        {
            let _one = self.lifecycle.lock().await;
            for number in self.add_records(usize::from(more))? {
                self.start_alone(number).await?;
            }
        }
        self.agree().await
    }

    async fn start_all(self: &Arc<Self>) -> Result<(), TestnetError> {
        let down: Vec<NodeNumber> = {
            let nodes = self.nodes();
            nodes.iter().filter(|(_, node)| node.process.is_none()).map(|(n, _)| *n).collect()
        };
        self.start_these(down).await
    }

    /// All at once: who is dialled before it serves lets its caller wait.
    pub(super) async fn start_these(
        self: &Arc<Self>,
        down: Vec<NodeNumber>,
    ) -> Result<(), TestnetError> {
        for number in &down {
            self.links.aim(*number, Target::Soon);
        }
        let mut starts = JoinSet::new();
        for number in down {
            let keeper = Arc::clone(self);
            starts.spawn(async move { keeper.start_alone(number).await });
        }
        let mut outcome = Ok(());
        while let Some(started) = starts.join_next().await {
            outcome = outcome.and(started.unwrap_or_else(|panic| {
                warn!(%panic, "a start died");
                Ok(())
            }));
        }
        outcome
    }

    /// Notes more nodes, each linked to the first and to the last before it.
    fn add_records(&self, more: usize) -> Result<Vec<NodeNumber>, TestnetError> {
        let mut added = Vec::new();
        for _ in 0..more {
            let (number, links) = {
                let mut state = self.state();
                if state.nodes.len() >= usize::from(MAX_NODES) {
                    return Err(TestnetError::TooManyNodes { most: MAX_NODES });
                }
                let number = state.nodes.last_key_value().map_or(1, |(last, _)| last + 1);
                let others: BTreeSet<NodeNumber> = state
                    .nodes
                    .keys()
                    .take(1)
                    .chain(state.nodes.keys().rev().take(LINKS_OF_ADDED - 1))
                    .copied()
                    .collect();
                state.nodes.insert(number, NodeRecord::default());
                let links: Vec<LinkRecord> =
                    others.iter().map(|to| LinkRecord::plain(number, *to)).collect();
                state.links.extend(links.clone());
                (number, links)
            };
            self.make_namespaces(&[number])?;
            for link in &links {
                let port = self.links.open(link, self.netns.as_ref())?;
                self.set_port(link, port);
            }
            let sides = self.state().sides.clone();
            sides.iter().for_each(|sides| self.links.place(number, sides));
            self.nodes().insert(number, Node::default());
            added.push(number);
        }
        self.remember_lines()?;
        Ok(added)
    }

    /// Stops a node and deletes all that is its own.
    pub(crate) async fn remove(&self, number: NodeNumber) -> Result<(), TestnetError> {
        let _one = self.lifecycle.lock().await;
        self.require(number)?;
        self.end(number, Signal::TERM).await?;
        self.links.close(number);
        if let Some(netns) = &self.netns {
            netns.remove(number);
        }
        self.nodes().remove(&number);
        {
            let mut state = self.state();
            state.nodes.remove(&number);
            state.links.retain(|link| link.from != number && link.to != number);
        }
        self.save()?;
        let datadir = self.layout.node(number);
        fs::remove_dir_all(&datadir).map_err(TestnetError::disk(&datadir))
    }

    /// Waits until all that serve are connected and on one tip, as far as they can hear each other.
    async fn agree(&self) -> Result<(), TestnetError> {
        let deadline = Instant::now() + Duration::from_secs(AGREE_SECONDS);
        while !self.is_agreed().await {
            if Instant::now() > deadline {
                return Err(TestnetError::NoAgreement { seconds: AGREE_SECONDS });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn is_agreed(&self) -> bool {
        let mut awake = self.serving();
        awake.retain(|number| !self.is_paused(*number));
        for part in self.links.parts(&awake) {
            let mut tips = BTreeSet::new();
            for number in &part {
                let Ok(client) = self.client(*number) else { return false };
                let (Ok(tip), Ok(network)) =
                    (client.getbestblockhash().await, client.getnetworkinfo().await)
                else {
                    return false;
                };
                if part.len() > 1 && network.connections == 0 {
                    return false;
                }
                tips.insert(tip.0);
            }
            if tips.len() > 1 {
                return false;
            }
        }
        true
    }

    pub(super) fn require(&self, number: NodeNumber) -> Result<(), TestnetError> {
        let nodes = self.nodes();
        match nodes.contains_key(&number) {
            true => Ok(()),
            false => {
                Err(TestnetError::NoSuchNode { number, nodes: nodes.keys().copied().collect() })
            }
        }
    }

    pub(super) fn require_process(&self, number: NodeNumber) -> Result<Process, TestnetError> {
        self.require(number)?;
        let process = self.nodes().get(&number).and_then(|node| node.process.clone());
        process.ok_or(TestnetError::NodeDown { number })
    }

    /// A node's `ashlar.toml`. It dials the keeper alone, and looks for nobody.
    fn configuration(&self, number: NodeNumber) -> Result<String, NetnsError> {
        let state = self.state();
        let dialled: Vec<String> = state
            .links
            .iter()
            .filter(|link| link.from == number)
            .map(|link| {
                let face = links::face(link.to, self.netns.as_ref())?;
                Ok(format!("/ip4/{face}/tcp/{}", link.port))
            })
            .collect::<Result<_, NetnsError>>()?;
        let own = match &self.netns {
            Some(netns) => netns.own(number)?,
            None => Ipv4Addr::LOCALHOST,
        };
        let kept = state.nodes.get(&number).map_or(0, |record| record.rpc_port);
        // Another program may have the port by now; then the node gets another.
        let is_free = self.netns.is_some() || TcpListener::bind((own, kept)).is_ok();
        let port = if is_free { kept } else { 0 };
        let mut settings = self.file.settings(number);
        settings.entry("min_free".to_owned()).or_insert(Setting::Text(MIN_FREE.to_owned()));
        let decided = [
            ("genesis", Setting::Text(self.layout.genesis().to_string_lossy().into_owned())),
            ("listen", Setting::Texts(vec![format!("/ip4/{own}/tcp/0")])),
            ("connect", Setting::Texts(dialled)),
            ("rpc_listen", Setting::Text(format!("{own}:{port}"))),
            ("exempt_loopback", Setting::Switch(true)),
            ("profile", Setting::Text(self.file.profile.name().to_owned())),
            ("dev_clock", Setting::Switch(self.chain.is_development())),
        ];
        settings.extend(decided.map(|(key, value)| (key.to_owned(), value)));
        let mut text = "# Written by the testnet at each start of this node.\n".to_owned();
        for (key, value) in &settings {
            // Truths, numbers, texts and lists of texts are written alike in JSON and in TOML.
            let value = serde_json::to_string(value).unwrap_or_default();
            writeln!(text, "{key} = {value}").expect("a string takes everything");
        }
        Ok(text)
    }
}

/// A node's program, with which a write beyond the limit of its files is an error like any other and
/// no signal that kills (setrlimit(2)): so a disk can be filled. Only a shell can say so without
/// unsafe code; it becomes the node.
fn node_command(program: &Path, number: NodeNumber, netns: Option<&Namespaces>) -> Command {
    let shell = Path::new("sh");
    let mut command = match netns {
        Some(netns) => netns.command(number, shell),
        None => Command::new(shell),
    };
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(program);
    command
}

fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("none").trim().to_owned()
}

/// What the system says of a node's process.
pub(super) fn vitals(node: &Node) -> Option<Vitals> {
    node.process.as_ref()?.vitals()
}
