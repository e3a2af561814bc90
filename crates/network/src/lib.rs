//! libp2p in a box: swarm, behaviours, framing, discovery, connection limits.
//!
//! Wire events become [`ashlar_engine::Input`]s, [`ashlar_engine::Output`]s become wire actions.
//! No libp2p type leaves this crate, and no chain rule enters it.

use std::{path::PathBuf, sync::Arc};

use ashlar_engine::{Input, Output};
use ashlar_primitives::BlockId;

/// Where inputs go: two lanes, neither of which ever makes the network wait.
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
    pub chain_id: BlockId,
    pub max_block_bytes: u32,
    /// Multiaddresses to listen on: `/ip4/0.0.0.0/tcp/9333`.
    pub listen: Vec<String>,
    /// Multiaddresses to dial and keep dialling, with or without `/p2p/ID`.
    pub peers: Vec<String>,
    /// Kept across starts, mode 0600: `node.key` in the data directory.
    pub key_file: PathBuf,
    pub mdns: bool,
    /// Look for further peers through those that are connected (Kademlia); off: `peers` only.
    pub discovery: bool,
    /// `ashlar/0.1.0`
    pub agent: String,
}

/// For `getnetworkinfo`.
#[derive(Clone, Debug)]
pub struct NetworkInfo { pub identity: String, pub listening: Vec<String>, pub connections: usize, pub inbound: usize, pub outbound: usize }

/// A running network. Dropping it does not stop it; `stop` does.
#[derive(Clone, Debug)]
pub struct NetworkHandle { /* command sender */ }

impl NetworkHandle {
    /// Carries out Request, Answer, Publish, Verdict, Cut; other outputs are the driver's own.
    /// Never waits: where a peer's queue is full that peer is cut, where the command queue itself
    /// is full the node is ending.
    pub fn perform(&self, output: Output) { todo!() }
    pub async fn info(&self) -> Option<NetworkInfo> { todo!() }
    /// Dials and keeps.
    pub async fn add_peer(&self, address: &str) -> Result<(), NetworkError> { todo!() }
    /// Stops dialling what `add_peer` or the configuration named; the connection stays.
    pub async fn remove_peer(&self, address: &str) -> Result<(), NetworkError> { todo!() }
    /// By connection number, peer id or address.
    pub async fn disconnect(&self, who: &str) -> Result<(), NetworkError> { todo!() }
    pub async fn stop(&self) { todo!() }
}

/// Why the network can't start, or a command can't be done.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError { #[error("stopped")] Stopped /* bad address, port in use, key file … */ }

/// Starts listening and dialling. The future is the swarm task: the driver spawns and supervises
/// it; its end ends the node. `now_ms` gives the monotonic clock that tickets' deadlines are on.
pub async fn start(config: Config, inbox: Arc<dyn Inbox>, now_ms: Arc<dyn Fn() -> u64 + Send + Sync>) -> Result<(NetworkHandle, impl Future<Output = NetworkError> + Send), NetworkError> {
    Ok((todo!(), async { todo!() }))
}
