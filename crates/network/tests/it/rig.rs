//! A node of the network alone: its inbox keeps what the engine would have been told.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ashlar_engine::{GossipData, Input, Output, Peer, PeerConnected, Ticket};
use ashlar_network::{Clocks, Config, Inbox, NetworkError, NetworkHandle, start};
use ashlar_primitives::{BlockId, Transaction, wire};
use tempfile::TempDir;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

/// Long enough for a loaded machine, and the bound that the discovery must keep.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const MAX_BLOCK_BYTES: u32 = 4_000_000;

/// Keeps inputs until a test takes them.
#[derive(Default)]
pub(crate) struct Stub {
    inputs: Mutex<Vec<Input>>,
    news: Notify,
    pub(crate) bulk_is_full: AtomicBool,
    /// What came while it was.
    pub(crate) refused: Mutex<Vec<Input>>,
    /// Everyone announced and not gone since.
    connected: Mutex<BTreeMap<Peer, PeerConnected>>,
}

impl Inbox for Stub {
    fn urgent(&self, input: Input) -> Result<(), Input> {
        match &input {
            Input::PeerConnected(news) => {
                let before = self.connected.lock().unwrap().insert(news.peer, news.clone());
                assert!(before.is_none(), "{news:?} was announced twice");
            }
            Input::PeerGone(peer) => {
                let before = self.connected.lock().unwrap().remove(peer);
                assert!(before.is_some(), "{peer:?} was gone before it came");
            }
            _ => {}
        }
        self.inputs.lock().unwrap().push(input);
        self.news.notify_one();
        Ok(())
    }

    fn bulk(&self, input: Input) -> Result<(), Input> {
        if !self.bulk_is_full.load(Ordering::SeqCst) {
            return self.urgent(input);
        }
        let copy = match &input {
            Input::Gossip(ticket, data) => {
                let Ticket { id, source, deadline_ms } = *ticket;
                Input::Gossip(Ticket { id, source, deadline_ms }, data.clone())
            }
            _ => return Err(input),
        };
        self.refused.lock().unwrap().push(copy);
        Err(input)
    }
}

pub(crate) struct Node {
    pub(crate) handle: NetworkHandle,
    pub(crate) inbox: Arc<Stub>,
    pub(crate) task: JoinHandle<NetworkError>,
    pub(crate) identity: String,
    /// To dial, without the peer id.
    pub(crate) address: String,
    pub(crate) directory: Arc<TempDir>,
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    stopped: Arc<Mutex<Option<u64>>>,
}

pub(crate) fn chain(net: u8) -> BlockId {
    BlockId([net; 32])
}

/// A node of chain `net` on a free port of loopback, that finds nobody by itself unless `adjust`
/// says so.
pub(crate) async fn node(net: u8, adjust: impl FnOnce(&mut Config)) -> Node {
    node_in(Arc::new(TempDir::new().unwrap()), net, adjust).await.unwrap()
}

/// By which transport a test's nodes meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Tcp,
    Quic,
}

impl Over {
    pub(crate) fn listen(self) -> Vec<String> {
        vec![match self {
            Self::Tcp => "/ip4/127.0.0.1/tcp/0".into(),
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1".into(),
        }]
    }

    /// A node of chain 1 that listens there alone.
    pub(crate) async fn node(self, adjust: impl FnOnce(&mut Config)) -> Node {
        node(1, |config| {
            config.listen = self.listen();
            adjust(config);
        })
        .await
    }
}

/// Makes a test over TCP and one over QUIC of each function that takes an [`Over`].
macro_rules! over_both {
    ($($test:ident),+ $(,)?) => {
        mod over_tcp {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::rig::Over::Tcp).await;
            })+
        }
        mod over_quic {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::rig::Over::Quic).await;
            })+
        }
    };
}
pub(crate) use over_both;

pub(crate) async fn node_in(
    directory: Arc<TempDir>,
    net: u8,
    adjust: impl FnOnce(&mut Config),
) -> Result<Node, NetworkError> {
    log();
    let mut config = Config::new(chain(net), MAX_BLOCK_BYTES, directory.path().join("node.key"));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    config.discovery = false;
    config.exempts_loopback = true;
    config.state_directory = Some(directory.path().to_owned());
    adjust(&mut config);
    let inbox = Arc::new(Stub::default());
    let origin = Instant::now();
    let stopped = Arc::new(Mutex::new(None));
    let hands = stopped.clone();
    let clock = move || {
        let now_ms = u64::try_from(origin.elapsed().as_millis()).unwrap();
        hands.lock().unwrap().unwrap_or(now_ms)
    };
    let now_ms: Arc<dyn Fn() -> u64 + Send + Sync> = Arc::new(clock);
    let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let clocks = Clocks { monotonic_ms: now_ms.clone(), unix_seconds: Arc::new(wall) };
    let (handle, task) = start(config, inbox.clone(), clocks).await?;
    let task = tokio::spawn(task);
    let info = handle.info().await.unwrap();
    let address = info.listening.first().cloned().unwrap_or_default();
    Ok(Node { handle, inbox, task, identity: info.identity, address, directory, now_ms, stopped })
}

impl Node {
    /// Stops this node's own clock: nothing refills and nothing expires.
    pub(crate) fn stop_clock(&self) {
        let now_ms = (self.now_ms)();
        *self.stopped.lock().unwrap() = Some(now_ms);
    }

    /// Puts a stopped clock forward.
    pub(crate) fn put_forward(&self, ms: u64) {
        let mut stopped = self.stopped.lock().unwrap();
        *stopped = Some(stopped.expect("stopped before") + ms);
    }

    pub(crate) fn start_clock(&self) {
        *self.stopped.lock().unwrap() = None;
    }

    /// The first thing that `pick` takes out of what the engine was told.
    pub(crate) async fn wait<T>(
        &self,
        what: &str,
        mut pick: impl FnMut(&mut Vec<Input>) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(picked) = pick(&mut self.inbox.inputs.lock().unwrap()) {
                return picked;
            }
            let waited = timeout_at(deadline, self.inbox.news.notified()).await;
            assert!(waited.is_ok(), "no {what} in {PATIENCE:?}\n{}", log());
        }
    }

    /// The first input that fits, and none before it of that kind is lost.
    pub(crate) async fn wait_for<T>(
        &self,
        what: &str,
        fits: impl Fn(&Input) -> bool,
        unwrap: impl Fn(Input) -> Option<T>,
    ) -> T {
        self.wait(what, |inputs| {
            let index = inputs.iter().position(&fits)?;
            unwrap(inputs.remove(index))
        })
        .await
    }

    /// How `other` is numbered here, once it is connected.
    pub(crate) async fn peer(&self, other: &Self) -> Peer {
        self.connection(&other.identity).await.peer
    }

    pub(crate) async fn connection(&self, identity: &str) -> PeerConnected {
        self.wait_for(
            "peer connected",
            |input| matches!(input, Input::PeerConnected(news) if news.identity == identity),
            |input| match input {
                Input::PeerConnected(news) => Some(news),
                _ => None,
            },
        )
        .await
    }

    pub(crate) async fn gone(&self, peer: Peer) {
        self.wait_for(
            "peer gone",
            |input| matches!(input, Input::PeerGone(gone) if *gone == peer),
            Some,
        )
        .await;
    }

    pub(crate) async fn request(&self) -> (ashlar_engine::InboundId, Peer, wire::Request) {
        self.wait_for(
            "request",
            |input| matches!(input, Input::Request(..)),
            |input| match input {
                Input::Request(id, peer, request) => Some((id, peer, request)),
                _ => None,
            },
        )
        .await
    }

    /// The end of a request of ours, whatever it is.
    pub(crate) async fn outcome(
        &self,
        id: ashlar_engine::RequestId,
    ) -> Result<wire::Answer, ashlar_engine::RequestFailure> {
        self.wait_for(
            "outcome of a request",
            |input| {
                matches!(input, Input::Response(of, _) | Input::RequestFailed(of, _) if *of == id)
            },
            |input| match input {
                Input::Response(_, answer) => Some(Ok(answer)),
                Input::RequestFailed(_, failure) => Some(Err(failure)),
                _ => None,
            },
        )
        .await
    }

    /// The next batch that came by gossip.
    pub(crate) async fn batch(&self) -> (Ticket, Arc<Vec<Transaction>>) {
        self.wait_for(
            "batch",
            |input| matches!(input, Input::Gossip(_, GossipData::Transactions(_))),
            |input| match input {
                Input::Gossip(ticket, GossipData::Transactions(batch)) => Some((ticket, batch)),
                _ => None,
            },
        )
        .await
    }

    pub(crate) fn publish(&self, batch: Vec<Transaction>) {
        self.handle.perform(Output::Publish(GossipData::Transactions(Arc::new(batch))));
    }

    /// Peer ids of those connected now.
    pub(crate) fn connected(&self) -> Vec<String> {
        let connected = self.inbox.connected.lock().unwrap();
        connected.values().map(|news| news.identity.clone()).collect()
    }

    /// What was told and not taken.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.inbox.inputs.lock().unwrap().iter().map(|input| format!("{input:?}")).collect()
    }
}

/// Looks again and again, until it is so or patience ends.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}\n{}", log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A transaction that no other test's equals; nothing here checks its rules.
pub(crate) fn transaction(memo: &str) -> Transaction {
    Transaction {
        not_before: 0,
        inputs: Vec::new(),
        outputs: Vec::new(),
        memo: memo.as_bytes().to_vec(),
        witnesses: Vec::new(),
    }
}

// ---- the log

#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was logged by all tests of this process so far; starts collecting when first called.
pub(crate) fn log() -> String {
    static LINES: OnceLock<Lines> = OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let lines = Lines(Arc::default());
        let writer = lines.clone();
        tracing_subscriber::fmt()
            .with_env_filter(
                std::env::var("RUST_LOG").unwrap_or_else(|_| "info,ashlar_network=debug".into()),
            )
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        lines
    });
    String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned()
}

/// Whether some line holds all of these.
pub(crate) fn logged(parts: &[&str]) -> bool {
    log().lines().any(|line| parts.iter().all(|part| line.contains(part)))
}
