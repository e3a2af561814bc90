//! The keeper: the one process of a testnet that is always there. It starts and watches the nodes,
//! owns the lines between them, finds blocks by wish, and does what verbs ask of it.
//!
//! Reading order: `process` (a node's process), `links` (the lines), `nodes` (what can be done to
//! nodes), `faults`, `mining`, `time`, `saves`, `reorg`, `report` (how it stands), `verbs` (who asks
//! what).

mod faucet;
mod faults;
mod hashing;
mod links;
mod mining;
mod nodes;
mod process;
mod reorg;
mod report;
mod saves;
mod time;
mod verbs;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ashlar_rpc::{Client, types::ClockSetting};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
};
use tracing::{debug, info, warn};

use self::{links::Links, nodes::Node, process::Vitals};
use crate::{
    control::{NodeState, NodeStatus, Status},
    error::TestnetError,
    file::{NetworkFile, NodeNumber},
    layout::{Layout, State},
    mining::Mining,
    netns::Namespaces,
    presets::Chain,
    programs::Programs,
};

/// Longest that a dying keeper is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Verbs that are being served at once; a further one waits.
const MAX_CALLERS: usize = 64;

/// A running testnet.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) layout: Layout,
    pub(crate) programs: Programs,
    pub(crate) chain: Chain,
    pub(crate) file: NetworkFile,
    /// The nodes' namespaces, where they have some.
    pub(crate) netns: Option<Namespaces>,
    pub(crate) links: Links,
    /// Counts the times that nodes were told to flap no more.
    flaps: watch::Sender<u64>,
    pub(crate) mining: watch::Sender<Mining>,
    state: Mutex<State>,
    nodes: Mutex<BTreeMap<NodeNumber, Node>>,
    /// How the clock of all nodes runs.
    clock: watch::Sender<Option<ClockSetting>>,
    /// Held by whoever finds blocks, and by whoever wants none to be found.
    finding: tokio::sync::Mutex<()>,
    /// Held by whoever starts and stops nodes: one thing after another. Taken before `finding`.
    lifecycle: tokio::sync::Mutex<()>,
    /// Held by whoever pays from the faucet.
    giving: tokio::sync::Mutex<()>,
    end: Notify,
}

impl Keeper {
    /// What is remembered. Never held over an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes as they are now. Never held over an await.
    fn nodes(&self) -> MutexGuard<'_, BTreeMap<NodeNumber, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what is remembered.
    pub(crate) fn save(&self) -> Result<(), TestnetError> {
        self.layout.save(&self.state())
    }

    /// To call a node that runs.
    pub(crate) fn client(&self, number: NodeNumber) -> Result<Client, TestnetError> {
        let nodes = self.nodes();
        let node = nodes.get(&number).ok_or_else(|| TestnetError::NoSuchNode {
            number,
            nodes: nodes.keys().copied().collect(),
        })?;
        node.client().ok_or(TestnetError::NodeDown { number })
    }

    /// Whether a node's process stands still.
    fn is_paused(&self, number: NodeNumber) -> bool {
        let vitals = self.nodes().get(&number).and_then(nodes::vitals);
        vitals.is_some_and(|vitals| vitals.is_paused)
    }

    /// The nodes that serve now.
    pub(crate) fn serving(&self) -> Vec<NodeNumber> {
        let nodes = self.nodes();
        nodes.iter().filter(|(_, node)| node.client().is_some()).map(|(n, _)| *n).collect()
    }
}

/// Keeps the testnet in a folder until it is asked to end, by the verb `down` or by a signal, which
/// both stop the nodes first.
///
/// # Errors
/// Where there is no testnet, another keeper has it, or a part of it can't be read.
pub fn keep(folder: &Path) -> Result<(), TestnetError> {
    let layout = Layout::at(folder)?;
    let state = layout.load()?;
    let lock = lock(&layout)?;
    // No terminal's end is this one's end.
    if let Err(error) = rustix::process::setsid() {
        debug!(%error, "this process leads a session already");
    }
    let file = NetworkFile::read(&layout.network_file())?;
    let chain = layout.chain()?;
    let keeper = Arc::new(Keeper {
        netns: file.netns.then(|| Namespaces::of(layout.folder())),
        programs: Programs::find()?,
        chain,
        file,
        links: Links::new()?,
        flaps: watch::Sender::new(0),
        mining: watch::Sender::new(state.mining.clone()),
        clock: watch::Sender::new(state.clock),
        nodes: Mutex::new(state.nodes.keys().map(|number| (*number, Node::default())).collect()),
        state: Mutex::new(state),
        finding: tokio::sync::Mutex::new(()),
        lifecycle: tokio::sync::Mutex::new(()),
        giving: tokio::sync::Mutex::new(()),
        end: Notify::new(),
        layout,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(TestnetError::disk("the keeper's threads"))?;
    let outcome = runtime.block_on(serve(&keeper));
    if outcome.is_err() && keeper.nodes().values().all(|node| node.process.is_none()) {
        // It could not even begin.
        keeper.netns.iter().for_each(Namespaces::remove_all);
    }
    drop(lock);
    outcome
}

/// Takes away what a testnet has outside of its folder, where neither its keeper nor its nodes run.
///
/// # Errors
/// Where its network file can't be read.
pub fn clear(layout: &Layout) -> Result<(), TestnetError> {
    if NetworkFile::read(&layout.network_file())?.netns {
        Namespaces::of(layout.folder()).remove_all();
    }
    Ok(())
}

/// How a testnet stands whose keeper does not run.
pub fn standing(layout: &Layout, state: &State) -> Status {
    let nodes = state.nodes.keys().map(|number| {
        let pid = process::left_over(&layout.node(*number).join(nodes::PID_FILE));
        let vitals = pid.and_then(Vitals::of);
        NodeStatus {
            node: *number,
            state: if pid.is_some() { NodeState::Running } else { NodeState::Stopped },
            reason: None,
            pid,
            memory_bytes: vitals.map(|vitals| vitals.memory_bytes),
            cpu_ms: vitals.map(|vitals| vitals.cpu_ms),
            answers: None,
        }
    });
    Status { nodes: nodes.collect(), mining: state.mining.clone(), keeper_pid: None }
}

/// One keeper has a testnet. One that is just dying may hold it a moment longer.
fn lock(layout: &Layout) -> Result<File, TestnetError> {
    let path = layout.keeper_lock();
    let file = File::create(&path).map_err(TestnetError::disk(&path))?;
    let locked = ashlar_processes::wait_at_most(LOCK_PATIENCE, || match file.try_lock() {
        Ok(()) => Some(Ok(())),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => Some(Err(error)),
    });
    let kept = TestnetError::KeptAlready { folder: layout.folder().to_owned() };
    locked.ok_or(kept)?.map_err(TestnetError::disk(path))?;
    Ok(file)
}

async fn serve(keeper: &Arc<Keeper>) -> Result<(), TestnetError> {
    keeper.take_over().await?;
    let listener = listen(&keeper.layout)?;
    faucet::open(keeper).await?;
    tokio::spawn(mining::mine(Arc::clone(keeper)));
    let mut terminate = signal(SignalKind::terminate()).map_err(TestnetError::disk("signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(TestnetError::disk("signals"))?;
    let callers = Arc::new(tokio::sync::Semaphore::new(MAX_CALLERS));
    info!(folder = %keeper.layout.folder().display(), "keeping");
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let Ok(place) = Arc::clone(&callers).acquire_owned().await else { break };
                    let keeper = Arc::clone(keeper);
                    tokio::spawn(async move {
                        verbs::serve(&keeper, stream).await;
                        drop(place);
                    });
                }
                Err(error) => warn!(%error, "a verb can't be taken"),
            },
            () = keeper.end.notified() => break,
            _ = terminate.recv() => { keeper.stop_all().await; break }
            _ = interrupt.recv() => { keeper.stop_all().await; break }
        }
    }
    if let Err(error) = fs::remove_file(keeper.layout.folder().join("keeper.sock")) {
        warn!(%error, "the socket stays");
    }
    info!("ended");
    Ok(())
}

/// Takes the place of the socket of a keeper that is gone: the lock says that it is.
fn listen(layout: &Layout) -> Result<UnixListener, TestnetError> {
    let (_folder, path) = layout.socket()?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(TestnetError::disk(path)(error));
        }
        _ => {}
    }
    UnixListener::bind(&path).map_err(TestnetError::disk(path))
}
