//! What the server needs of a node: one trait, implemented by the driver.

use std::{future::Future, sync::Arc, time::Duration};

use ashlar_consensus::{CheckedTransaction, Genesis};
use ashlar_engine::{Answer, Call, CallError, Departure, Event};
use ashlar_ledger::View;
use ashlar_primitives::{Amount, BlockId, Coin};
use thiserror::Error;
use tokio::sync::broadcast;

use crate::types::{BannedPeer, ClockInfo, ClockSetting};

/// A node, as far as its RPC server knows it.
///
/// Questions about the chain are answered from [`Backend::view`] without a word to the engine;
/// questions about live state go through [`Backend::call`], one bounded call each. No method may
/// block the thread it is called on.
pub trait Backend: Send + Sync + 'static {
    /// The published view of this moment.
    fn view(&self) -> Arc<View>;

    /// Puts one call to the engine and waits for its reply. Where the engine's queue is full it
    /// waits at most 5 s and answers [`CallError::Overloaded`].
    fn call(&self, call: Call) -> impl Future<Output = Result<Answer, CallError>> + Send;

    /// What happens from now on. The channel's capacity is the node's choice
    /// ([`EVENT_CAPACITY`] suits); a receiver that falls behind it is cut off by the server.
    fn events(&self) -> broadcast::Receiver<ChainEvent>;

    /// The state of the network; `None` once it has stopped.
    fn network(&self) -> impl Future<Output = Option<NetworkState>> + Send;

    /// What went over each connection, in any order; empty once the network has stopped.
    fn traffic(&self) -> impl Future<Output = Vec<PeerTraffic>> + Send;

    /// Dials a multiaddress, and keeps dialling it.
    fn add_node(&self, address: String) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// No longer dials a multiaddress that `add_node` or the configuration named; a connection
    /// that stands is left alone.
    fn remove_node(&self, address: String)
    -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Ends a connection, named by its number, its peer id or its address, and keeps the peer away
    /// for so long.
    fn disconnect_node(
        &self,
        who: String,
        away_seconds: u64,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Who is kept out, the ban that ends first first.
    fn bans(&self) -> impl Future<Output = Result<Vec<BannedPeer>, BackendError>> + Send;

    /// Keeps a peer id, an IPv4 address or an IPv6 /64 out for so long.
    fn ban(
        &self,
        who: String,
        seconds: u64,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Lifts one ban.
    fn unban(&self, who: String) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Lifts all bans.
    fn clear_bans(&self) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// What the wall clock reads, and how it was set.
    fn clock(&self) -> ClockInfo;

    /// Lets the wall clock run so from now on, or with `None` as the machine's does. Only a node
    /// with a development clock can; others answer [`BackendError::RealClock`].
    fn set_clock(&self, setting: Option<ClockSetting>) -> Result<(), BackendError>;

    /// Copies the data directory to a directory that must not exist yet, an absolute path on the
    /// node's machine: at least the published state, synced. [`BackendError::BadDirectory`],
    /// [`BackendError::BackupFailed`].
    fn backup(&self, directory: String) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Writes down what waits, for the next start. [`BackendError::MempoolLoading`],
    /// [`BackendError::SaveFailed`].
    fn save_mempool(&self) -> impl Future<Output = Result<MempoolFile, BackendError>> + Send;

    /// Whether what waited in the last run was loaded.
    fn is_mempool_loaded(&self) -> bool;

    /// The chain's, for what is judged from the beginning.
    fn genesis(&self) -> Result<Genesis, BackendError>;

    /// For how long the node has run, in seconds.
    fn uptime_seconds(&self) -> u64;

    /// What memory the process takes.
    fn memory(&self) -> MemoryState;

    /// What this node's own miner does.
    fn mining(&self) -> MiningState;

    /// What an operator should know now, one sentence each; empty when all is well.
    fn warnings(&self) -> Vec<String>;

    /// What is measured now, in OpenMetrics text, for `GET /metrics`.
    fn metrics(&self) -> impl Future<Output = Result<String, CallError>> + Send;

    /// How the node is, for `GET /healthy` and `GET /ready`; the server asks once a second at
    /// most and takes an answer that does not come for an unhealthy node.
    fn health(&self) -> impl Future<Output = Health> + Send;

    /// A call has ended: `method` is one of the server's or `unknown`. For metrics; must be
    /// quick.
    fn note_call(&self, method: &str, is_ok: bool, took: Duration);

    /// The directives by which the node logs now: `info,ashlar_network=debug`.
    fn log_filter(&self) -> String;

    /// Logs by other directives from now on, until the node ends.
    /// [`BackendError::BadLogFilter`].
    fn set_log_filter(&self, directives: &str) -> Result<(), BackendError>;

    /// Asks the node to end. Returns at once; the node stops its RPC server among the rest.
    fn stop(&self);
}

/// A capacity for the channel behind [`Backend::events`]: a burst of accepted transactions fits.
/// An event is kept until every subscriber has it: in the worst case so many transactions that
/// the mempool no longer holds, for as long as a slow subscriber is borne.
pub const EVENT_CAPACITY: usize = 4_096;

/// What subscribers are told.
#[derive(Clone, Debug)]
pub enum ChainEvent {
    /// The published tip moved.
    Tip {
        /// Of the new view: [`View::sequence`].
        sequence: u64,
        /// The new tip.
        tip: BlockId,
        /// Its height.
        height: u32,
        /// From the old tip down to above the fork.
        disconnected: Arc<[BlockId]>,
        /// From above the fork up to the new tip.
        connected: Arc<[BlockId]>,
        /// More blocks were disconnected than the operator's alarm.
        alarm: bool,
    },
    /// A transaction entered the mempool.
    Transaction {
        /// Itself.
        transaction: Arc<CheckedTransaction>,
        /// What it pays.
        fee: Amount,
        /// The coins that it spends, in input order.
        spent: Arc<[Coin]>,
        /// Its place in the order of entry.
        sequence: u64,
    },
    /// Transactions left the mempool, parents first.
    Left(Arc<[Departure]>),
}

impl ChainEvent {
    /// The engine's event as subscribers are told of it; `None` for those that are for the log.
    pub fn from_engine(event: &Event) -> Option<Self> {
        match event {
            Event::Tip { view, disconnected, connected, is_deep } => Some(Self::Tip {
                sequence: view.sequence(),
                tip: view.tip().id,
                height: view.tip().height,
                disconnected: disconnected.as_slice().into(),
                connected: connected.as_slice().into(),
                alarm: *is_deep,
            }),
            Event::TransactionAccepted { transaction, fee, spent, sequence } => {
                Some(Self::Transaction {
                    transaction: Arc::clone(transaction),
                    fee: *fee,
                    spent: Arc::clone(spent),
                    sequence: *sequence,
                })
            }
            Event::TransactionsLeft(left) => Some(Self::Left(Arc::clone(left))),
            Event::View(_) | Event::Notice(_) => None,
        }
    }
}

/// How a node is. The reasons are for people, and may be read by whoever reaches the port: no
/// paths, addresses or names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why it does not work, so that it should be started anew; empty while it does.
    pub unhealthy: Vec<String>,
    /// Why others should be asked for now, though it works; empty where it is as good as any.
    pub unready: Vec<String>,
}

/// For `getnetworkinfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkState {
    /// The node's transport identity, a peer id.
    pub identity: String,
    /// Multiaddresses that it listens on.
    pub listening: Vec<String>,
    /// Peers that dialled this node.
    pub inbound: usize,
    /// Peers that this node dialled.
    pub outbound: usize,
    /// Bytes that came since the start.
    pub bytes_received: u64,
    /// Bytes that went.
    pub bytes_sent: u64,
    /// When that was by the node's clock, milliseconds since 1970.
    pub unix_ms: u64,
}

/// What `savemempool` wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MempoolFile {
    /// Where, on the node's machine.
    pub path: String,
    /// How many transactions.
    pub transactions: u64,
}

/// For `getpeerinfo`: what the transport knows of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeerTraffic {
    /// The connection's number.
    pub peer: u64,
    /// Bytes that came.
    pub bytes_received: u64,
    /// Bytes that went.
    pub bytes_sent: u64,
    /// The last round trip; `None` before the first.
    pub ping_ms: Option<u64>,
    /// How gossip thinks of it.
    pub gossip_score: f64,
}

/// For `getmininginfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MiningState {
    /// Mining threads; 0 where the node does not mine.
    pub threads: usize,
    /// Hashes per second over the last seconds.
    pub hash_rate: u64,
}

/// For `getmemoryinfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    /// Resident now; 0 where the system does not say.
    pub resident_bytes: u64,
    /// The most that ever was.
    pub peak_bytes: u64,
}

/// Why the node does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackendError {
    /// Not a multiaddress that this node can dial.
    #[error("can't dial {address}: {reason}")]
    BadAddress {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No such connection.
    #[error("not connected to {who}")]
    NotConnected {
        /// As given.
        who: String,
    },
    /// Neither a peer id nor an address.
    #[error("{reason}")]
    NotBannable {
        /// What is wrong with it.
        reason: String,
    },
    /// No such ban.
    #[error("{who} is not banned")]
    NotBanned {
        /// As given.
        who: String,
    },
    /// Not a path that a backup can be made at.
    #[error("{reason}")]
    BadDirectory {
        /// What is wrong with it.
        reason: String,
    },
    /// The genesis file can't be read any more.
    #[error("the genesis file can't be read: {reason}")]
    NoGenesis {
        /// In the system's words.
        reason: String,
    },
    /// The disk or the database refused.
    #[error("the backup failed: {reason}")]
    BackupFailed {
        /// In their words.
        reason: String,
    },
    /// Not directives of a log.
    #[error("the log filter {directives:?} can't be used: {reason}")]
    BadLogFilter {
        /// As given.
        directives: String,
        /// What is wrong with them.
        reason: String,
    },
    /// What waited in the last run is still being loaded.
    #[error("what waited in the last run is still being loaded")]
    MempoolLoading,
    /// What waits can't be written down.
    #[error("what waits can't be saved: {reason}")]
    SaveFailed {
        /// In the disk's words.
        reason: String,
    },
    /// The clock is the machine's and can't be set.
    #[error("the clock of this node can't be set")]
    RealClock,
    /// The node ends.
    #[error("the node is stopping")]
    Stopping,
}
