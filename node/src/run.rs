//! `ashlar-node run`: start, supervision, stop.
//!
//! The order of starting is the order of need: directory, genesis, ledger, network, engine, RPC,
//! miner. The first critical part that ends by itself ends the node with its reason; a signal or
//! the RPC method `stop` ends it well.

use std::{
    fs,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use ashlar_consensus::{Genesis, Params, Work};
use ashlar_engine::{Engine, Settings};
use ashlar_ledger::{Ledger, OpenLedgerError, RocksOptions, RocksStore};
use ashlar_mempool::Limits;
use ashlar_network::{Clocks, NetworkError, NetworkHandle};
use ashlar_primitives::{Address, Lock};
use ashlar_rpc::RunFile;
use ashlar_rpc::server::{EVENT_CAPACITY, ServerConfig, ServerHandle, start_server};
use thiserror::Error;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, broadcast, oneshot, watch},
    task::JoinHandle,
};
use tracing::{info, warn};

use crate::{
    Failure,
    backend::{Handles, NodeBackend},
    clock::Clock,
    config::{Config, Profile, RunArguments},
    datadir::{self, Datadir, GENESIS_FILE},
    disk::{Room, Watch},
    driver::{Driver, DriverError},
    keeper,
    lanes::Lanes,
    logging::{self, LogFilter},
    metrics::Metrics,
    mining, process,
    progress::{Display, Interrupt},
    size::ByteSize,
};

const AGENT: &str = concat!("ashlar/", env!("CARGO_PKG_VERSION"));
/// Changes of the ledger that wait to be written at once in the small profile, in bytes.
const SMALL_STEP_BYTES: usize = 4 << 20;
/// Memory for waiting transactions in the small profile, in bytes.
const SMALL_MEMPOOL_BYTES: usize = 50 * 1024 * 1024;
/// Hashes that a block of a development chain takes on average at first, where difficulty follows the
/// clock.
const MAX_DEV_BLOCK_HASHES: u64 = 1 << 20;
/// Longest that a clean stop takes before the node ends without it.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest that tasks left over by a stop are waited for.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the node does not start, or ends by itself.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error(
        "no genesis: {path} is not there; name one with --genesis, or make it with `ashlar-node init`"
    )]
    NoGenesis { path: PathBuf },
    #[error("can't read the genesis file {path}: {error}")]
    UnreadableGenesis { path: PathBuf, error: std::io::Error },
    #[error("{path} is not a genesis: {error}")]
    BadGenesis { path: PathBuf, error: Box<ashlar_consensus::genesis_file::GenesisError> },
    #[error(
        "--dev-clock is only for development chains, whose blocks cost next to nothing; on this one \
         a block takes more than {MAX_DEV_BLOCK_HASHES} hashes"
    )]
    DevClockRefused,
    #[error("--mine {address}: {error}")]
    BadMiningAddress { address: String, error: ashlar_primitives::AddressError },
    #[error("the network ended: {0}")]
    Network(NetworkError),
    #[error("the network's task died; its last words are in the log above")]
    NetworkDied,
    #[error("the miner's task died; its last words are in the log above")]
    MinerDied,
    #[error(transparent)]
    Engine(#[from] DriverError),
    #[error("the RPC server ended by itself")]
    Rpc,
    #[error("the node did not stop within {} s; what it had said to anyone is on disk", STOP_TIMEOUT.as_secs())]
    StopTimedOut,
}

/// Runs until stopped.
pub(crate) fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let config = Config::load(arguments)?;
    let log = Arc::new(logging::start(&config)?);
    process::allow_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(config, log));
    // What still runs lets go of the database, which must be closed before the process's last
    // breath: its threads would meet locks that are gone.
    runtime.shutdown_timeout(LET_GO_TIMEOUT);
    outcome
}

/// Puts the calling thread behind those that answer people and peers.
pub(crate) fn lower_priority() {
    ashlar_miner::lower_thread_priority();
}

async fn serve(config: Config, log: Arc<LogFilter>) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let directory = Datadir::open(&config.datadir)?;
    let room = Room::new(&config.datadir, config.min_free);
    room.check_start()?;
    let genesis = read_genesis(&config, &directory)?;
    let params = Arc::new(genesis.params().clone());
    let pay_to = check_chain(&config, &params)?;
    info!(version = AGENT, chain = params.name.as_str(), chain_id = %params.chain_id,
        datadir = %config.datadir.display(), "starting");

    let store = Arc::new(RocksStore::open(&directory.ledger(), &rocks_options(&config))?);
    let Some(ledger) = open_ledger(&config, Arc::clone(&store), genesis, &mut signals).await?
    else {
        info!("stopped");
        return Ok(());
    };
    info!(height = ledger.view().tip().height, tip = %ledger.view().tip().id, "ledger opened");
    tell_history(&ledger, &config);
    let opened = Opened { ledger, store, room, log, pay_to };
    let parts = start(&config, &directory, &params, opened).await?;
    watch_over(parts, &directory, signals).await
}

/// What of the past is here, where that is not all of it or will not stay.
fn tell_history(ledger: &Ledger<RocksStore>, config: &Config) {
    let history = ledger.view().history();
    match config.prune.0 {
        Some(budget) => info!(%budget, stored = %ByteSize(history.bytes()),
            history_start = history.start, "old blocks are pruned"),
        None if history.start > 0 => warn!(
            history_start = history.start,
            "earlier blocks were pruned and stay gone, though pruning is off; for all of them, \
             remove the ledger directory and sync again"
        ),
        None => {}
    }
}

/// What of a configuration must fit the chain; where this node mines, if it does.
pub(crate) fn check_chain(config: &Config, params: &Params) -> Result<Option<Lock>, RunError> {
    if config.dev_clock && !is_development(params) {
        return Err(RunError::DevClockRefused);
    }
    config.mine.as_deref().map(|text| mining_lock(text, params)).transpose()
}

/// The genesis named, or the directory's own, and its text.
pub(crate) fn load_genesis(config: &Config) -> Result<(Genesis, String), RunError> {
    let own = config.datadir.join(GENESIS_FILE);
    let path: &Path = config.genesis.as_deref().unwrap_or(&own);
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound if config.genesis.is_none() => {
            RunError::NoGenesis { path: path.to_owned() }
        }
        _ => RunError::UnreadableGenesis { path: path.to_owned(), error },
    })?;
    let genesis = Genesis::parse(&text)
        .map_err(|error| RunError::BadGenesis { path: path.to_owned(), error: Box::new(error) })?;
    Ok((genesis, text))
}

/// The same to work with: a named one is kept in the directory, so that the next start needs no
/// flag; which chain the data is of, the ledger itself knows.
pub(crate) fn read_genesis(config: &Config, directory: &Datadir) -> Result<Genesis, Failure> {
    let (genesis, text) = load_genesis(config)?;
    let own = directory.genesis_file();
    if !own.exists() {
        datadir::write_atomically(&own, text.as_bytes())?;
    }
    Ok(genesis)
}

/// Whether a wrong clock can do no harm: where times don't set the difficulty, or where it protects
/// nothing, since a block of the genesis's difficulty is made in a moment.
fn is_development(params: &Params) -> bool {
    params.difficulty_half_life == 0 || params.anchor_target().work() <= max_dev_work()
}

fn max_dev_work() -> Work {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&MAX_DEV_BLOCK_HASHES.to_le_bytes());
    Work::from_le_bytes(bytes)
}

fn mining_lock(text: &str, params: &Params) -> Result<Lock, RunError> {
    Address::parse(text, &params.address_prefix)
        .map(|address| address.lock)
        .map_err(|error| RunError::BadMiningAddress { address: text.to_owned(), error })
}

/// How much memory the database takes.
pub(crate) fn rocks_options(config: &Config) -> RocksOptions {
    match config.profile {
        Profile::Default => RocksOptions::default(),
        Profile::Small => RocksOptions::small(),
    }
}

/// How the ledger is kept.
pub(crate) fn ledger_settings(config: &Config) -> ashlar_ledger::Settings {
    ashlar_ledger::Settings {
        transaction_index: config.transaction_index,
        lock_index: config.lock_index,
        prune_bytes: config.prune.0.map(|size| size.0),
        reorg_hold: config.reorg_hold.0,
        assume_valid: config.assume_valid.0,
        step_bytes: match config.profile {
            Profile::Default => ashlar_ledger::Settings::default().step_bytes,
            Profile::Small => SMALL_STEP_BYTES,
        },
        ..ashlar_ledger::Settings::default()
    }
}

/// Opens the ledger; an index that is built first is told of, and a signal breaks the build off
/// for the next start to go on with. `None` where a signal came.
async fn open_ledger(
    config: &Config,
    store: Arc<RocksStore>,
    genesis: Genesis,
    signals: &mut Signals,
) -> Result<Option<Ledger<RocksStore>>, Failure> {
    let settings = ashlar_ledger::Settings { tell_first: true, ..ledger_settings(config) };
    if let Some(id) = settings.assume_valid {
        warn!(%id, "signatures of this block and its ancestors are assumed good, as told");
    }
    let stop = Interrupt::default();
    let mut display = Display::lines(stop.clone());
    let opening = tokio::task::spawn_blocking(move || {
        Ledger::open_watched(store, &genesis, settings, &mut |progress| display.watch(progress))
    });
    let mut opening = pin!(opening);
    let opened = tokio::select! {
        opened = &mut opening => opened,
        () = signals.recv() => {
            stop.set();
            return match opening.await? {
                Ok(_) => Ok(None),
                Err(why @ OpenLedgerError::Interrupted) => {
                    info!("{why}");
                    Ok(None)
                }
                Err(error) => Err(error.into()),
            };
        }
    };
    let mut ledger = opened??;
    if let Some(warning) = ledger.warning() {
        warn!("{warning}");
    }
    // Nobody is shown the middle of a reorganisation that a crash interrupted.
    ledger.resume(&mut rand::rng())?;
    Ok(Some(ledger))
}

/// What asks the node from outside to stop. Listened to from the first moment on and in one place:
/// a signal that comes while nobody waits for it is kept for who waits next.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => info!("interrupted; stopping"),
            _ = self.terminate.recv() => info!("terminated; stopping"),
        }
    }
}

/// The running parts.
struct Parts {
    lanes: Arc<Lanes>,
    stop: Arc<Notify>,
    network: NetworkHandle,
    network_task: JoinHandle<NetworkError>,
    engine_ended: oneshot::Receiver<Result<(), DriverError>>,
    rpc: ServerHandle,
    miner_task: Option<JoinHandle<()>>,
    backend: Arc<NodeBackend>,
    keeper_task: JoinHandle<()>,
}

/// What is there before anything runs.
struct Opened {
    ledger: Ledger<RocksStore>,
    store: Arc<RocksStore>,
    room: Room,
    log: Arc<LogFilter>,
    /// Where this node mines.
    pay_to: Option<Lock>,
}

async fn start(
    config: &Config,
    directory: &Datadir,
    params: &Arc<Params>,
    opened: Opened,
) -> Result<Parts, Failure> {
    let Opened { ledger, store, room, log, pay_to } = opened;
    let clock = Arc::new(Clock::open(config.dev_clock, directory.path())?);
    let lanes = Arc::new(Lanes::default());
    let (network, swarm) = {
        let (clock, wall) = (Arc::clone(&clock), Arc::clone(&clock));
        let clocks = Clocks {
            monotonic_ms: Arc::new(move || clock.monotonic_ms()),
            unix_seconds: Arc::new(move || wall.now().unix_seconds()),
        };
        let inbox = Arc::clone(&lanes) as Arc<dyn ashlar_network::Inbox>;
        ashlar_network::start(network_config(config, directory.key_file(), params), inbox, clocks)
            .await?
    };
    let network_task = tokio::spawn(swarm);

    let (views, view) = watch::channel(ledger.view());
    let (events, _) = broadcast::channel(EVENT_CAPACITY);
    let mut engine = Engine::new(ledger, engine_settings(config), rand::random());
    let desk = engine.desk();
    let metrics = Arc::new(Metrics::new(&params.name));
    let driver = Driver {
        engine,
        lanes: Arc::clone(&lanes),
        clock: Arc::clone(&clock),
        network: network.clone(),
        views,
        events: events.clone(),
        disk: Watch::new(room.clone()),
        metrics: Arc::clone(&metrics),
    };
    let engine_ended = driver.spawn()?;

    let stop = Arc::new(Notify::new());
    let backend = Arc::new(NodeBackend::new(Handles {
        lanes: Arc::clone(&lanes),
        views: view.clone(),
        events,
        network: network.clone(),
        clock,
        room,
        stop: Arc::clone(&stop),
        metrics,
        store,
        datadir: directory.path().to_owned(),
        log,
        ready_marks: config.ready_marks(),
        desk,
    }));
    let rpc = start_server(rpc_config(config, directory), Arc::clone(&backend)).await?;
    let miner_task = pay_to.map(|lock| {
        tokio::spawn(mining::mine(Arc::clone(&backend), view, lock, config.mine_threads))
    });
    let keeper_task = tokio::spawn(keeper::keep(Arc::clone(&backend)));
    announce(directory, &network, &rpc).await?;
    Ok(Parts {
        lanes,
        stop,
        network,
        network_task,
        engine_ended,
        rpc,
        miner_task,
        backend,
        keeper_task,
    })
}

/// What the network is told.
pub(crate) fn network_config(
    config: &Config,
    key_file: PathBuf,
    params: &Params,
) -> ashlar_network::Config {
    ashlar_network::Config {
        chain_id: params.chain_id,
        max_block_bytes: params.max_block_bytes,
        listen: config.listen.clone(),
        peers: config.peers.clone(),
        key_file,
        state_directory: Some(config.datadir.clone()),
        named_peers_only: config.connects_only,
        allowed_peers: config.allow_peers.clone(),
        network_secret_file: config.network_secret.clone(),
        external_addresses: config.external_addresses.clone(),
        exempts_loopback: config.exempt_loopback,
        dns_seeds: config.dns_seeds.clone(),
        mdns: config.mdns,
        discovery: config.discovery,
        agent: AGENT.to_owned(),
    }
}

fn engine_settings(config: &Config) -> Settings {
    let mut mempool = Limits::default();
    if config.profile == Profile::Small {
        mempool.max_bytes = SMALL_MEMPOOL_BYTES;
    }
    Settings {
        mempool,
        agent: AGENT.to_owned(),
        minimum_work: config.minimum_work.0,
        reorg_alarm: config.reorg_alarm,
    }
}

fn rpc_config(config: &Config, directory: &Datadir) -> ServerConfig {
    ServerConfig {
        listen: config.rpc_listen,
        allowed_hosts: config.rpc_allow_hosts.clone(),
        allowed_origins: config.rpc_allow_origins.clone(),
        tokens: config.rpc_tokens.clone(),
        tls: config.rpc_tls.clone(),
        agent: AGENT.to_owned(),
        ..ServerConfig::new(directory.cookie_file())
    }
}

/// Says where the node is reached: in the log, and in `run.json` for scripts.
async fn announce(
    directory: &Datadir,
    network: &NetworkHandle,
    rpc: &ServerHandle,
) -> Result<(), Failure> {
    let info = network.info().await.ok_or(RunError::NetworkDied)?;
    let run = RunFile {
        pid: std::process::id(),
        rpc: rpc.local_addr().to_string(),
        listening: info
            .listening
            .iter()
            .map(|address| format!("{address}/p2p/{}", info.identity))
            .collect(),
        identity: info.identity,
    };
    datadir::write_atomically(&directory.run_file(), &serde_json::to_vec_pretty(&run)?)?;
    info!(rpc = run.rpc.as_str(), listening = ?run.listening, "ready");
    Ok(())
}

/// Waits for the first reason to end, then ends everything.
async fn watch_over(
    mut parts: Parts,
    directory: &Datadir,
    mut signals: Signals,
) -> Result<(), Failure> {
    let outcome: Result<(), RunError> = {
        let miner_died = pin!(ended(parts.miner_task.as_mut()));
        let rpc_ended = pin!(parts.rpc.stopped());
        tokio::select! {
            () = signals.recv() => Ok(()),
            () = parts.stop.notified() => { info!("stopping on request"); Ok(()) }
            end = &mut parts.network_task => Err(end.map_or(RunError::NetworkDied, RunError::Network)),
            end = &mut parts.engine_ended => Err(engine_end(end)),
            () = miner_died => Err(RunError::MinerDied),
            () = rpc_ended => Err(RunError::Rpc),
        }
    };
    let engine_runs = !matches!(outcome, Err(RunError::Engine(_)));
    let stopped = tokio::select! {
        stopped = tokio::time::timeout(STOP_TIMEOUT, stop(parts, engine_runs)) => stopped,
        _ = signals.interrupt.recv() => { warn!("interrupted again; ending at once"); Ok(Ok(())) }
    };
    if let Err(error) = fs::remove_file(directory.run_file()) {
        warn!(%error, "can't remove run.json");
    }
    outcome?;
    match stopped {
        Ok(end) => end?,
        Err(_) => return Err(RunError::StopTimedOut.into()),
    }
    info!("stopped");
    Ok(())
}

/// Pending for ever where there is no such task.
async fn ended(task: Option<&mut JoinHandle<()>>) {
    match task {
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}

fn engine_end(end: Result<Result<(), DriverError>, oneshot::error::RecvError>) -> RunError {
    match end {
        Ok(Err(error)) => RunError::Engine(error),
        // It ends well only when told to, which nobody has done yet.
        Ok(Ok(())) | Err(_) => RunError::Engine(DriverError::Died),
    }
}

/// Callers first, then the world, then the engine, whose last act is to write what is left.
async fn stop(parts: Parts, engine_runs: bool) -> Result<(), RunError> {
    parts.rpc.stop().await;
    if let Some(task) = parts.miner_task {
        task.abort();
    }
    parts.network.stop().await;
    parts.keeper_task.abort();
    if engine_runs {
        match keeper::save(&parts.backend, false).await {
            Ok(count) => info!(count, "waiting transactions saved"),
            Err(error) => warn!(%error, "what waits was not saved"),
        }
        parts.lanes.stop();
        parts.engine_ended.await.map_err(|_| DriverError::Died)??;
    }
    Ok(())
}
