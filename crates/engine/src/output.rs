//! What the engine wants of the world.

use std::sync::Arc;

use ashlar_consensus::CheckedTransaction;
use ashlar_ledger::{HeldBranch, View};
use ashlar_mempool::Departure;
use ashlar_primitives::{Amount, BlockId, Coin, Txid, wire};

pub use crate::offence::Offence;
use crate::{
    call::{Answer, CallError, CallId, SyncProgress, Warning},
    input::{GossipData, InboundId, Peer, RequestId, Ticket},
    job::{Job, JobId},
};

/// On a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Wrong for everyone, for ever: the sender is to blame.
    Reject,
    /// Not wanted here and now; nobody is to blame.
    Ignore,
}

/// One thing to do. The driver carries them out in order.
#[derive(Debug)]
pub enum Output {
    /// Ask a peer. Exactly one `Response` or `RequestFailed` is expected back; one that comes
    /// after the engine gave up is ignored.
    Request(RequestId, Peer, wire::Request),
    /// `None`: refused; the stream is closed without an answer.
    Answer(InboundId, Option<wire::Answer>),
    /// Gossip of our own, on the topic of its kind.
    Publish(GossipData),
    /// On a gossip message: one for each ticket.
    Verdict(Ticket, Verdict),
    /// The engine keeps scores; this one reached its end. The driver closes the connection, and
    /// where `ban_ms` is set keeps the peer and its address out for so long. The engine has
    /// already forgotten the peer.
    Cut {
        /// The connection.
        peer: Peer,
        /// What it did last.
        offence: Offence,
        /// The same for people.
        reason: String,
        /// How long to keep it out.
        ban_ms: Option<u64>,
    },
    /// One for each call.
    Reply(CallId, Result<Answer, CallError>),
    /// Work to run away from the engine's thread.
    Job(JobId, Job),
    /// News.
    Event(Event),
}

/// In order of doing.
pub type Outputs = Vec<Output>;

/// What others may want to know; nothing depends on anybody listening.
#[derive(Clone, Debug)]
pub enum Event {
    /// The published tip moved. All readers get this view.
    Tip {
        /// The new picture.
        view: Arc<View>,
        /// From the old tip down.
        disconnected: Vec<BlockId>,
        /// Up to the new tip.
        connected: Vec<BlockId>,
        /// More blocks were disconnected than [`crate::Settings::reorg_alarm`].
        is_deep: bool,
    },
    /// The picture of the same published tip, after old blocks were pruned or a branch was held
    /// back. All readers get it.
    View(Arc<View>),
    /// A transaction entered the mempool.
    TransactionAccepted {
        /// Itself.
        transaction: Arc<CheckedTransaction>,
        /// What it pays.
        fee: Amount,
        /// The coins that it spends, in input order.
        spent: Arc<[Coin]>,
        /// Its place in the order of entry.
        sequence: u64,
    },
    /// Transactions left the mempool, parents first. Told before any of them comes in again.
    TransactionsLeft(Arc<[Departure]>),
    /// For the log.
    Notice(Notice),
}

/// Things an operator should read, each with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A header was refused because its time is ahead of our clock. At most one a minute.
    ClockBehind {
        /// The header's, seconds since 1970.
        header_time: u32,
        /// Ours.
        now_seconds: u64,
    },
    /// A block broke a rule.
    BlockInvalid {
        /// Which.
        id: BlockId,
        /// The rule (PROTOCOL.md §8).
        code: &'static str,
    },
    /// A peer of another chain was cut, and not banned.
    PeerOfOtherChain {
        /// The connection.
        peer: Peer,
        /// Where it is.
        address: String,
        /// Its chain.
        chain_id: BlockId,
    },
    /// The published tip left a branch.
    Reorganised {
        /// Blocks disconnected.
        depth: u32,
        /// Of the branch that was left.
        old_tip: BlockId,
        /// Of the branch taken.
        new_tip: BlockId,
        /// Deeper than [`crate::Settings::reorg_alarm`].
        is_deep: bool,
    },
    /// A branch with more work waits for the operator: once when it is found, and at each start.
    ReorganisationHeld {
        /// The branch.
        held: HeldBranch,
        /// Of the published chain, which is kept.
        tip: BlockId,
        /// Of that.
        height: u32,
    },
    /// The node is behind and catches up: at the start and then every 10 s.
    Syncing(SyncProgress),
    /// What keeps it from catching up, once when that is found.
    Lacking(Warning),
    /// The node has caught up.
    Synced {
        /// Of the published tip.
        height: u32,
    },
    /// A template did not pass the check that precedes serving: a bug, or memory that lies. The
    /// transaction that was to blame left the mempool.
    TemplateRefused {
        /// The rule (PROTOCOL.md §8).
        code: &'static str,
        /// The transaction at fault, where one is.
        txid: Option<Txid>,
    },
}
