//! libp2p in a box: swarm, behaviours, framing, discovery, connection limits.
//!
//! Wire events become [`ashlar_engine::Input`]s, [`ashlar_engine::Output`]s become wire actions.
//! No libp2p type leaves this crate, and no chain rule enters it: what a block or a transaction is
//! worth, and what a mistake costs the peer that made it, is the engine's to say. Only what can't
//! be decoded is judged here.
//!
//! How to read it:
//!
//! - this file is the contract with the driver: [`Config`], [`Inbox`], [`start`], [`NetworkHandle`];
//! - `limits` holds every bound and where it comes from;
//! - `transport` is how bytes travel: TCP, Noise and `muxer`'s Yamux, or QUIC; `traffic` counts
//!   them;
//! - `behaviour` says what runs on a connection: `gate` (bans and limits), identify, ping,
//!   `gossip` (gossipsub's settings), `codec` (request and answer), `discovery` (Kademlia, which
//!   never dials); `upload` says how fast answers leave;
//! - `task` is the one task that owns the swarm. It waits for nobody: the engine is told through
//!   [`Inbox`], which never blocks, and commands come by a bounded queue;
//! - `dialler` decides whom to dial, `book` whom it knows, `seeds` asks DNS for more, `address`
//!   what an address is worth, `bans` who stays out.
//!
//! One `Peer` is one connection with one peer id; there is never a second with the same. The engine
//! hears of it once it is known to be of this chain.

mod address;
mod backoff;
mod bans;
mod behaviour;
mod book;
mod check;
mod codec;
mod dialler;
mod discovery;
mod error;
mod files;
mod gate;
mod gossip;
mod handle;
mod key;
mod limits;
mod log;
mod muxer;
mod seeds;
mod task;
mod traffic;
mod transport;
mod upload;

use std::{path::PathBuf, sync::Arc};

use ashlar_engine::{Input, Peer};
use ashlar_primitives::BlockId;

pub use bans::Ban;
pub use check::taken;
pub use error::NetworkError;
pub use handle::NetworkHandle;

/// A clock's reading.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The driver's two clocks.
#[derive(Clone)]
pub struct Clocks {
    /// In milliseconds from any beginning; never goes back. Tickets' deadlines are on it.
    pub monotonic_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Seconds since 1970: for what is kept over a restart, and for people.
    pub unix_seconds: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for Clocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.moment().fmt(f)
    }
}

impl Clocks {
    pub(crate) fn moment(&self) -> bans::Moment {
        bans::Moment { now_ms: (self.monotonic_ms)(), unix_seconds: (self.unix_seconds)() }
    }
}

/// Where inputs go: two lanes, neither of which ever makes the network wait.
#[allow(
    clippy::result_large_err,
    reason = "a full lane gives the input back; nothing is allocated"
)]
pub trait Inbox: Send + Sync + 'static {
    /// Peers, answers to our requests, announcements. `Err` gives it back: the lane is full
    /// (bounded by what the engine has in flight), which means the node is ending.
    fn urgent(&self, input: Input) -> Result<(), Input>;
    /// Transaction batches and peers' requests. `Err` gives it back: gossip is then answered
    /// Ignore, a request refused.
    fn bulk(&self, input: Input) -> Result<(), Input>;
}

/// What the operator chooses.
#[derive(Clone, Debug)]
pub struct Config {
    /// The genesis block's id: names topics and protocols.
    pub chain_id: BlockId,
    /// The chain's; bounds the answers that are read.
    pub max_block_bytes: u32,
    /// Multiaddresses to listen on: `/ip4/0.0.0.0/tcp/9333`, or `/ip4/0.0.0.0/udp/9333/quic-v1`.
    /// None: only dial. QUIC is spoken where an address here, in `peers` or in
    /// `external_addresses` is of it, and nowhere else.
    pub listen: Vec<String>,
    /// Multiaddresses to dial and keep dialling, with or without `/p2p/ID`. At most 256.
    pub peers: Vec<String>,
    /// Kept across starts, mode 0600: `node.key` in the data directory.
    pub key_file: PathBuf,
    /// Where `peers.json` (the address book) and `bans.json` are kept; `None`: they are forgotten.
    pub state_directory: Option<PathBuf>,
    /// Dial nobody but `peers`.
    pub named_peers_only: bool,
    /// Peer ids that may connect and be dialled; empty: anybody.
    pub allowed_peers: Vec<String>,
    /// A file with the secret of a closed network, 64 hex digits: who does not know it can't even
    /// begin a handshake (libp2p's private networks).
    pub network_secret_file: Option<PathBuf>,
    /// Multiaddresses under which others reach this node, told to peers besides those that it
    /// listens on.
    pub external_addresses: Vec<String>,
    /// Leave loopback out of bans and of the count of connections from one address: for many nodes
    /// on one machine, which share it.
    pub exempts_loopback: bool,
    /// DNS names, at most 16, whose `dnsaddr` records name peers (`_dnsaddr.seed.example.org`): asked
    /// while there are too few. Nothing is asked of DNS for names from anybody else.
    pub dns_seeds: Vec<String>,
    /// Look for peers on the same link by multicast.
    pub mdns: bool,
    /// Look for further peers through those that are connected (Kademlia); off: `peers` only.
    pub discovery: bool,
    /// `ashlar/0.1.0`
    pub agent: String,
}

impl Config {
    /// For a chain, with an identity kept in `key_file`: listens nowhere, dials nobody by name,
    /// looks for peers by way of those that connect.
    pub fn new(chain_id: BlockId, max_block_bytes: u32, key_file: PathBuf) -> Self {
        Self {
            chain_id,
            max_block_bytes,
            listen: Vec::new(),
            peers: Vec::new(),
            key_file,
            state_directory: None,
            named_peers_only: false,
            allowed_peers: Vec::new(),
            network_secret_file: None,
            external_addresses: Vec::new(),
            exempts_loopback: false,
            dns_seeds: Vec::new(),
            mdns: false,
            discovery: true,
            agent: concat!("ashlar/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl Config {
    /// Multiaddresses in it.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &String> {
        self.listen.iter().chain(&self.peers).chain(&self.external_addresses)
    }

    /// QUIC is there where one of the addresses is of it.
    pub(crate) fn carriers(&self) -> address::Carriers {
        address::Carriers {
            quic: self.addresses().any(|address| address::is_quic(address)),
            has_secret: self.network_secret_file.is_some(),
        }
    }
}

/// For `getnetworkinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInfo {
    /// This node's peer id.
    pub identity: String,
    /// Multiaddresses with their real ports, without `/p2p`.
    pub listening: Vec<String>,
    /// Connected peers of this chain.
    pub connections: usize,
    /// Those of them that dialled us.
    pub inbound: usize,
    /// Those that we dialled.
    pub outbound: usize,
    /// Bytes that all streams brought since the start, also of peers who left, and of strangers.
    pub bytes_received: u64,
    /// Bytes that all streams took.
    pub bytes_sent: u64,
}

/// What one connection of this chain cost and how well it works, for `getpeerinfo`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerTraffic {
    /// The connection's number, as in [`ashlar_engine::PeerConnected`].
    pub peer: Peer,
    /// Bytes that its streams brought; enciphering and multiplexing come on top.
    pub bytes_received: u64,
    /// Bytes that its streams took.
    pub bytes_sent: u64,
    /// The last round trip; `None`: not measured yet.
    pub ping_ms: Option<u64>,
    /// What gossipsub thinks of it: 0 at first, some for good deliveries, below −100 it is no
    /// longer listened to.
    pub gossip_score: f64,
}

/// Starts listening and dialling. The future is the swarm task: the driver spawns and supervises
/// it; its end ends the node, and what it returns says why. Must be called on a tokio runtime with
/// IO and time.
///
/// # Errors
///
/// A bad address, a port in use, a key file that can't be used: each names what to change.
pub async fn start(
    config: Config,
    inbox: Arc<dyn Inbox>,
    clocks: Clocks,
) -> Result<(NetworkHandle, impl Future<Output = NetworkError> + Send), NetworkError> {
    let (handle, commands) = handle::channel();
    let mut task = task::Task::new(&config, inbox, clocks, commands)?;
    task.listen(&config.listen).await?;
    Ok((handle, task.run()))
}
