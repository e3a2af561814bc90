//! What the engine wants of the world.

use std::sync::Arc;

use ashlar_ledger::View;
use ashlar_primitives::{BlockId, Wtxid, wire};

use crate::{call::{Answer, CallError, CallId}, input::{GossipData, InboundId, Peer, RequestId, Ticket}, job::{Job, JobId}};

/// On a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict { /// Pass it on.
    Accept, /// Wrong for everyone, for ever: the sender is to blame.
    Reject, /// Not wanted here and now; nobody is to blame.
    Ignore }

/// What a peer did wrong. What each costs is one `match` in the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence { /* implementer: OtherChain, BadStatus, InvalidHeader, InvalidBlock, InvalidTransaction, MalformedAnswer, WrongAnswer, UnrequestedAnswer, Stalling, TooManyRequests … */ WrongAnswer }

/// One thing to do. The driver carries them out in order.
#[derive(Debug)]
pub enum Output {
    Request(RequestId, Peer, wire::Request),
    /// `None`: refused; the stream is closed without an answer.
    Answer(InboundId, Option<wire::Answer>),
    Publish(GossipData),
    Verdict(Ticket, Verdict),
    /// The engine keeps scores; this one reached its end. The driver closes the connection, and
    /// where `ban_ms` is set keeps the peer and its address out for so long.
    Cut { peer: Peer, offence: Offence, reason: String, ban_ms: Option<u64> },
    Reply(CallId, Result<Answer, CallError>),
    Job(JobId, Job),
    Event(Event),
}

/// In order of doing.
pub type Outputs = Vec<Output>;

/// What others may want to know; nothing depends on anybody listening.
#[derive(Clone, Debug)]
pub enum Event {
    /// The published tip moved. All readers get this view.
    Tip { view: Arc<View>, disconnected: Vec<BlockId>, connected: Vec<BlockId> },
    TransactionAccepted { wtxid: Wtxid, txid: ashlar_primitives::Txid },
    /// For the log.
    Notice(Notice),
}

/// Things an operator should read, each with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A header was refused because its time is ahead of our clock.
    ClockBehind { header_time: u32, now_seconds: u64 },
    BlockInvalid { id: BlockId, code: &'static str },
    PeerOfOtherChain { peer: Peer, address: String, chain_id: BlockId },
    Reorganised { depth: u32, old_tip: BlockId, new_tip: BlockId },
    Syncing { height: u32, target: u32 },
    Synced { height: u32 },
}
