//! What the RPC server asks of this node.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ashlar_consensus::Genesis;
use ashlar_engine::{Answer, Call, CallError, Desk, call::AnswerBody};
use ashlar_ledger::{RocksStore, View};
use ashlar_network::{NetworkError, NetworkHandle};
use ashlar_rpc::{
    server::{
        Backend, BackendError, ChainEvent, Health, MemoryState, MempoolFile, MiningState,
        NetworkState, PeerTraffic,
    },
    types::{BannedPeer, ClockInfo, ClockSetting},
};
use tokio::sync::{Notify, Semaphore, broadcast, oneshot, watch};

use crate::{
    backup,
    clock::Clock,
    datadir::GENESIS_FILE,
    disk::Room,
    health::{ReadyMarks, Seen},
    keeper::{self, KeepError, Keeper},
    lanes::{Item, Lanes, MAX_CALLS},
    logging::LogFilter,
    memory,
    metrics::{Metrics, Readings},
};

/// Longest that a caller waits for a place among the calls.
const CALL_PLACE_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to each running part.
pub(crate) struct Handles {
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) views: watch::Receiver<Arc<View>>,
    pub(crate) events: broadcast::Sender<ChainEvent>,
    pub(crate) network: NetworkHandle,
    pub(crate) clock: Arc<Clock>,
    pub(crate) room: Room,
    pub(crate) stop: Arc<Notify>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) store: Arc<RocksStore>,
    pub(crate) datadir: PathBuf,
    pub(crate) log: Arc<LogFilter>,
    pub(crate) ready_marks: ReadyMarks,
    pub(crate) desk: Arc<Desk>,
}

/// The running node, as the RPC server and the miner see it.
pub(crate) struct NodeBackend {
    handles: Handles,
    places: Semaphore,
    mining: Mutex<MiningState>,
    keeper: Keeper,
    started: Instant,
}

impl Deref for NodeBackend {
    type Target = Handles;
    fn deref(&self) -> &Handles {
        &self.handles
    }
}

impl NodeBackend {
    pub(crate) fn new(handles: Handles) -> Self {
        let (places, keeper) = (Semaphore::new(MAX_CALLS), Keeper::new(&handles.datadir));
        Self { handles, places, mining: Mutex::default(), keeper, started: Instant::now() }
    }

    /// What keeps waiting transactions over a restart.
    pub(crate) const fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// The wall clock.
    pub(crate) fn unix_ms(&self) -> u64 {
        self.clock.now().unix_ms
    }

    /// What the miner reports of itself.
    pub(crate) fn set_mining(&self, state: MiningState) {
        *self.mining.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Backend for NodeBackend {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    async fn call(&self, call: Call) -> Result<Answer, CallError> {
        if let Some(answer) = self.desk.answer(&call) {
            return Ok(answer);
        }
        // A place is held until the reply, so that waiting callers never fill the lane.
        let place = tokio::time::timeout(CALL_PLACE_TIMEOUT, self.places.acquire())
            .await
            .map_err(|_| CallError::Overloaded)?;
        let _place = place.map_err(|_| CallError::Stopping)?;
        let (reply, answer) = oneshot::channel();
        let is_urgent = matches!(call, Call::SubmitBlock(_));
        let item = Item::Call(call, reply);
        let pushed =
            if is_urgent { self.lanes.push_urgent(item) } else { self.lanes.push_bulk(item) };
        pushed.map_err(|_| CallError::Overloaded)?;
        answer.await.unwrap_or(Err(CallError::Stopping))
    }

    fn events(&self) -> broadcast::Receiver<ChainEvent> {
        self.events.subscribe()
    }

    async fn network(&self) -> Option<NetworkState> {
        let info = self.network.info().await?;
        Some(NetworkState {
            identity: info.identity,
            listening: info.listening,
            inbound: info.inbound,
            outbound: info.outbound,
            bytes_received: info.bytes_received,
            bytes_sent: info.bytes_sent,
            unix_ms: self.unix_ms(),
        })
    }

    async fn traffic(&self) -> Vec<PeerTraffic> {
        let told = self.network.peers().await.into_iter().map(|traffic| PeerTraffic {
            peer: traffic.peer.0,
            bytes_received: traffic.bytes_received,
            bytes_sent: traffic.bytes_sent,
            ping_ms: traffic.ping_ms,
            gossip_score: traffic.gossip_score,
        });
        told.collect()
    }

    async fn add_node(&self, address: String) -> Result<(), BackendError> {
        self.network.add_peer(&address).await.map_err(|error| match error {
            NetworkError::Stopped => BackendError::Stopping,
            other => BackendError::BadAddress { address, reason: other.to_string() },
        })
    }

    async fn remove_node(&self, address: String) -> Result<(), BackendError> {
        self.network.remove_peer(&address).await.map_err(|error| match error {
            NetworkError::Stopped => BackendError::Stopping,
            other => BackendError::BadAddress { address, reason: other.to_string() },
        })
    }

    async fn disconnect_node(&self, who: String, away_seconds: u64) -> Result<(), BackendError> {
        self.network.disconnect(&who, away_seconds).await.map_err(|error| match error {
            NetworkError::Stopped => BackendError::Stopping,
            _ => BackendError::NotConnected { who },
        })
    }

    async fn bans(&self) -> Result<Vec<BannedPeer>, BackendError> {
        let bans = self.network.bans().await.map_err(|_| BackendError::Stopping)?;
        let told = bans.into_iter().map(|ban| BannedPeer {
            address: ban.who,
            ban_created: ban.since,
            banned_until: ban.until,
            ban_reason: ban.reason,
        });
        Ok(told.collect())
    }

    async fn ban(&self, who: String, seconds: u64) -> Result<(), BackendError> {
        self.network.ban(&who, seconds, "by the operator").await.map_err(of_ban)
    }

    async fn unban(&self, who: String) -> Result<(), BackendError> {
        self.network.unban(&who).await.map_err(of_ban)
    }

    async fn clear_bans(&self) -> Result<(), BackendError> {
        self.network.clear_bans().await.map(drop).map_err(|_| BackendError::Stopping)
    }

    fn clock(&self) -> ClockInfo {
        self.clock.info()
    }

    fn set_clock(&self, setting: Option<ClockSetting>) -> Result<(), BackendError> {
        self.clock.set(setting).map_err(|_| BackendError::RealClock)
    }

    async fn backup(&self, directory: String) -> Result<(), BackendError> {
        let (store, datadir) = (Arc::clone(&self.store), self.datadir.clone());
        let made = tokio::task::spawn_blocking(move || {
            backup::make(&*store, &datadir, Path::new(&directory))
        });
        match made.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.is_about_path() => {
                Err(BackendError::BadDirectory { reason: error.to_string() })
            }
            Ok(Err(error)) => Err(BackendError::BackupFailed { reason: error.to_string() }),
            Err(_) => Err(BackendError::Stopping),
        }
    }

    async fn save_mempool(&self) -> Result<MempoolFile, BackendError> {
        match keeper::save(self, true).await {
            Ok(count) => Ok(MempoolFile {
                path: self.keeper.path().display().to_string(),
                transactions: count as u64,
            }),
            Err(KeepError::Loading) => Err(BackendError::MempoolLoading),
            Err(KeepError::Engine(CallError::Stopping)) => Err(BackendError::Stopping),
            Err(error) => Err(BackendError::SaveFailed { reason: error.to_string() }),
        }
    }

    fn is_mempool_loaded(&self) -> bool {
        self.keeper.is_loaded()
    }

    fn mining(&self) -> MiningState {
        *self.mining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn metrics(&self) -> Result<String, CallError> {
        let (sync, mempool) =
            tokio::try_join!(self.call(Call::SyncStatus), self.call(Call::MempoolInfo))?;
        let network = self.network.info().await.ok_or(CallError::Stopping)?;
        let (AnswerBody::Sync(sync), AnswerBody::MempoolInfo(mempool)) = (sync.body, mempool.body)
        else {
            return Err(CallError::Stopping);
        };
        let view = self.view();
        let (urgent_items, bulk_items) = self.lanes.lengths();
        let readings = Readings {
            tip_time: view.tip().clock,
            chain_work: view.tip().work,
            coins: view.coin_count(),
            stored_bytes: view.history().bytes(),
            disk_free_bytes: self.room.free_bytes(),
            mining: self.mining(),
            urgent_items,
            bulk_items,
            bans: self.network.bans().await.map_or(0, |bans| bans.len()),
            sync,
            mempool,
            peers_inbound: network.inbound,
            peers_outbound: network.outbound,
        };
        Ok(self.metrics.text(&readings))
    }

    async fn health(&self) -> Health {
        let unhealthy =
            |reason: &str| Health { unhealthy: vec![reason.to_owned()], unready: vec![] };
        let Some(network) = self.network.info().await else {
            return unhealthy("its network has stopped");
        };
        let view = self.view();
        match self.call(Call::SyncStatus).await {
            Ok(Answer { body: AnswerBody::Sync(sync), .. }) => {
                let tip_age_seconds =
                    self.clock.now().unix_seconds().saturating_sub(view.tip().clock.into());
                let connections = network.inbound.saturating_add(network.outbound);
                self.ready_marks.judge(&Seen { sync, connections, tip_age_seconds })
            }
            Err(CallError::Stopping) => unhealthy("it is stopping"),
            Ok(_) | Err(_) => unhealthy("its engine does not answer"),
        }
    }

    fn note_call(&self, method: &str, is_ok: bool, took: Duration) {
        self.metrics.note_call(method, is_ok, took);
    }

    fn genesis(&self) -> Result<Genesis, BackendError> {
        let path = self.datadir.join(GENESIS_FILE);
        let text = fs::read_to_string(path)
            .map_err(|error| BackendError::NoGenesis { reason: error.to_string() })?;
        Genesis::parse(&text).map_err(|error| BackendError::NoGenesis { reason: error.to_string() })
    }

    fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    fn memory(&self) -> MemoryState {
        memory::of_process()
    }

    fn log_filter(&self) -> String {
        self.log.directives()
    }

    fn set_log_filter(&self, directives: &str) -> Result<(), BackendError> {
        self.log.set(directives).map_err(|reason| BackendError::BadLogFilter {
            directives: directives.to_owned(),
            reason,
        })
    }

    fn warnings(&self) -> Vec<String> {
        self.room.warning().into_iter().collect()
    }

    fn stop(&self) {
        self.stop.notify_one();
    }
}

fn of_ban(error: NetworkError) -> BackendError {
    match error {
        NetworkError::NotBannable { .. } => BackendError::NotBannable { reason: error.to_string() },
        NetworkError::NotBanned { who } => BackendError::NotBanned { who },
        _ => BackendError::Stopping,
    }
}
