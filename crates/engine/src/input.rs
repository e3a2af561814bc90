//! What the world tells the engine.

use std::sync::Arc;

use ashlar_primitives::{Transaction, compact::CompactBlock, wire};

use crate::{
    call::{Call, CallId},
    job::{JobId, JobResult},
};

/// A connection, numbered by the driver; never used twice in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub u64);

/// A request that the engine made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request that a peer made; answered or dropped once.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InboundId(pub u64);

/// Who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// They did.
    Inbound,
    /// We did.
    Outbound,
}

/// A new connection, its transport identity proved.
#[derive(Clone, Debug)]
pub struct PeerConnected {
    /// Its number.
    pub peer: Peer,
    /// Who dialled: the dialler asks for status first (PROTOCOL.md §12).
    pub direction: Direction,
    /// For people: a multiaddress.
    pub address: String,
    /// For people: the transport's peer id.
    pub identity: String,
}

/// The right to judge one gossip message, once. Not `Clone`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a gossip message without a verdict is never passed on, nor forgotten"]
pub struct Ticket {
    /// The driver's own number for the message.
    pub id: u64,
    /// Who sent it to us.
    pub source: Peer,
    /// On the monotonic clock: after it a verdict is worth nothing.
    pub deadline_ms: u64,
}

/// Gossip that decoded.
#[derive(Clone, Debug)]
pub enum GossipData {
    /// From the block topic.
    Block(Arc<CompactBlock>),
    /// From the transaction topic: a batch, parents before children.
    Transactions(Arc<Vec<Transaction>>),
}

/// Why a request of ours has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// No answer in time.
    Timeout,
    /// The connection or stream ended, or the peer refused.
    Closed,
    /// What came does not decode or breaks a limit: the peer's fault.
    Malformed,
}

/// Everything that can happen to an engine.
#[derive(Debug)]
pub enum Input {
    /// The time of `next_wakeup` has come.
    Tick,
    /// A connection stands.
    PeerConnected(PeerConnected),
    /// A connection ended, whoever ended it.
    PeerGone(Peer),
    /// A gossip message that wants its verdict.
    Gossip(Ticket, GossipData),
    /// A peer asks.
    Request(InboundId, Peer, wire::Request),
    /// A peer answered what the engine asked.
    Response(RequestId, wire::Answer),
    /// A peer did not answer what the engine asked.
    RequestFailed(RequestId, RequestFailure),
    /// RPC, wallet or miner want something.
    Call(CallId, Call),
    /// A job was run.
    JobDone(JobId, JobResult),
}
