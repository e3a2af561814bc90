//! What RPC, wallet and miner ask of live state: one bounded call, one reply.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ashlar_consensus::CheckedTransaction;
pub use ashlar_mempool::MAX_PRIORITIES;
use ashlar_mempool::Refusal;
use ashlar_primitives::{Amount, Block, BlockId, Lock, OutPoint, Txid, Wtxid};
use thiserror::Error;

use crate::input::{Direction, Peer};

/// A call, numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Most transactions in one call.
pub const MAX_CALL_TRANSACTIONS: usize = 1_000;

/// Most entries in one page of the mempool, and most outpoints in one `MempoolSpenders`.
pub const MAX_CALL_ENTRIES: usize = 10_000;

/// A question or an order.
#[derive(Clone, Debug)]
pub enum Call {
    /// Into the mempool and on to peers; a result for each. At most 1,000.
    SubmitTransactions(Vec<Arc<CheckedTransaction>>),
    /// As `SubmitTransactions`, signatures included, but nothing is kept.
    TestTransactions(Vec<Arc<CheckedTransaction>>),
    /// As `SubmitTransactions`, of transactions that waited in an earlier run: peers are not told of
    /// them anew, they ask for what they lack. At most 1,000.
    RestoreTransactions(Vec<Restored>),
    /// A whole block's bytes: judged, connected, published.
    SubmitBlock(Vec<u8>),
    /// A block to work on; checked before it is served.
    Template {
        /// Whom the coinbase pays.
        pay_to: Lock,
        /// The coinbase's `extra`, at most 96 bytes.
        extra: Vec<u8>,
    },
    /// Sizes and floors.
    MempoolInfo,
    /// In order of entry.
    MempoolPage {
        /// Starts after this sequence.
        after: Option<u64>,
        /// At most [`MAX_CALL_ENTRIES`].
        limit: usize,
    },
    /// One waiting transaction.
    MempoolTransaction(Txid),
    /// One waiting transaction, and all that it hangs together with from above or from below.
    MempoolKin(Txid),
    /// Which waiting transactions spend these; at most [`MAX_CALL_ENTRIES`].
    MempoolSpenders(Vec<OutPoint>),
    /// Adds to a transaction's priority, or takes off it (`ashlar_mempool::Mempool::prioritise`).
    Prioritise {
        /// Waiting or not.
        txid: Txid,
        /// Added to what it has, in grains.
        delta_grains: i64,
    },
    /// All priorities.
    Priorities,
    /// Who is connected.
    Peers,
    /// How far the node is.
    SyncStatus,
    /// A feerate that should confirm in time.
    EstimateFee {
        /// Blocks to wait.
        target_blocks: u32,
    },
    /// Treat a block, and all on it, as invalid until `ReconsiderBlock`.
    InvalidateBlock(BlockId),
    /// Forget the failure of a block and of all on it.
    ReconsiderBlock(BlockId),
    /// Give up the blocks below a height, on a node that prunes.
    Prune {
        /// The lowest to keep, where the rules leave that choice.
        height: u32,
    },
    /// Go over to a held branch, which this is any block of.
    AcceptReorganisation(BlockId),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// A bound of the engine is reached.
    #[error("the node is too busy; try again")]
    Overloaded,
    /// Nothing is answered any more.
    #[error("the node is stopping")]
    Stopping,
    /// The block named is not in the header tree.
    #[error("no such block")]
    NotFound,
    /// The block is of the chain, and it or what stands on it was pruned: it can't be undone.
    #[error("block {block} can't be undone: this node keeps blocks from {history_start} on")]
    Pruned {
        /// As given.
        block: BlockId,
        /// The lowest block that is kept.
        history_start: u32,
    },
    /// The block is of no branch that waits for the operator.
    #[error("block {block} is of no branch that is held back")]
    NotHeld {
        /// As given.
        block: BlockId,
    },
    /// This node keeps all blocks.
    #[error("this node keeps all blocks")]
    NotPruning,
    /// A list of the call is too long.
    #[error("at most {max} allowed")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// No more transactions can have a priority.
    #[error(
        "{MAX_PRIORITIES} transactions have a priority, and no more can; take some back first, \
         getprioritisedtransactions lists them"
    )]
    PrioritiesFull,
    /// No template can pay an output that the rules refuse.
    #[error("unknown lock version {version}; use an address of this chain")]
    UnknownLock {
        /// As given.
        version: u8,
    },
    /// No coinbase can carry so much.
    #[error("extra of {length} bytes; at most {max} allowed")]
    ExtraTooLong {
        /// As given.
        length: usize,
        /// The rule's bound (PROTOCOL.md §4).
        max: usize,
    },
    /// A block on the tip must have a time that this clock does not accept yet (PROTOCOL.md §5).
    #[error(
        "a block on the tip must be later than this clock may go: ask again in {wait_seconds} s"
    )]
    TipAhead {
        /// Until it does.
        wait_seconds: u64,
    },
    /// Not even an empty block passes the rules: a bug, or memory that lies.
    #[error("no template passes the rules ({code}); see the log")]
    NoTemplate {
        /// PROTOCOL.md §8.
        code: &'static str,
    },
}

/// The tip that an answer was made at, and the answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The published tip.
    pub tip: BlockId,
    /// Its height.
    pub height: u32,
    /// What was asked.
    pub body: AnswerBody,
}

/// One for each call.
#[derive(Clone, Debug)]
pub enum AnswerBody {
    /// To `SubmitTransactions` and `RestoreTransactions`, in their order.
    Submitted(Vec<Result<SubmittedTransaction, Refusal>>),
    /// To `TestTransactions`, in its order.
    Tested(Vec<Result<SubmittedTransaction, Refusal>>),
    /// To `SubmitBlock`.
    Block(BlockVerdict),
    /// To `Template`.
    Template(Arc<Template>),
    /// To `MempoolInfo`.
    MempoolInfo(MempoolInfo),
    /// To `MempoolPage`.
    MempoolPage(Vec<MempoolEntry>),
    /// To `MempoolTransaction`.
    MempoolTransaction(Option<MempoolEntry>),
    /// To `MempoolKin`.
    MempoolKin(Option<MempoolKin>),
    /// To `Prioritise`: what it comes to, in grains.
    Priority(i64),
    /// To `Priorities`: in grains.
    Priorities(BTreeMap<Txid, i64>),
    /// To `MempoolSpenders`, in its order.
    MempoolSpenders(Vec<Option<Txid>>),
    /// To `Peers`, in order of connection.
    Peers(Vec<PeerInfo>),
    /// To `SyncStatus`.
    Sync(SyncStatus),
    /// To `EstimateFee`.
    Fee(FeeEstimate),
    /// To orders, once the tip moved as far as it goes.
    Done,
}

/// A transaction that entered, or could enter, the mempool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedTransaction {
    /// Without signatures.
    pub txid: Txid,
    /// With.
    pub wtxid: Wtxid,
    /// Inputs less outputs.
    pub fee: Amount,
    /// Its whole encoding.
    pub size_bytes: u32,
}

/// On a submitted block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockVerdict {
    /// It is now the tip, or was connected on the way to it.
    Accepted(BlockId),
    /// Kept; the tip is another.
    Side(BlockId),
    /// Was stored before.
    Known(BlockId),
    /// Breaks a rule, or can't be judged yet.
    Refused {
        /// PROTOCOL.md §8.
        code: &'static str,
        /// For people.
        message: String,
    },
}

/// A block without proof of work.
#[derive(Clone, Debug)]
pub struct Template {
    /// Complete with coinbase and merkle root; `time` is now (within bounds), nonce 0.
    pub block: Block,
    /// The block's.
    pub height: u32,
    /// The first second that the rules allow.
    pub min_time: u32,
    /// After it the bits are others: ask anew.
    pub max_time: u32,
    /// Sum.
    pub fees: Amount,
    /// Of this height.
    pub subsidy: Amount,
    /// Changes when a new template would be better.
    pub mempool_sequence: u64,
    /// In the block's order.
    pub transaction_fees: Vec<Amount>,
}

/// Sizes and floors of the mempool.
#[derive(Clone, Debug, PartialEq)]
pub struct MempoolInfo {
    /// Transactions.
    pub count: usize,
    /// Sum of their encodings.
    pub size_bytes: usize,
    /// Heap bytes that they take of the limit.
    pub memory_bytes: usize,
    /// The limit.
    pub max_bytes: usize,
    /// Of all.
    pub total_fee: Amount,
    /// Grains per 1,000 bytes.
    pub min_feerate_per_kb: u64,
    /// Transactions whose parents are missing, not counted above.
    pub orphans: usize,
    /// Rises with every change: as in [`Template::mempool_sequence`].
    pub sequence: u64,
}

/// A waiting transaction.
#[derive(Clone, Debug)]
pub struct MempoolEntry {
    /// Itself.
    pub transaction: Arc<CheckedTransaction>,
    /// Inputs less outputs.
    pub fee: Amount,
    /// What the operator added to it, in grains.
    pub delta_grains: i64,
    /// When it began to wait, in this run or an earlier one, seconds since 1970.
    pub entered_unix: u64,
    /// Rises with each entry.
    pub sequence: u64,
    /// Waiting ancestors and itself.
    pub ancestor_count: usize,
    /// Waiting descendants and itself.
    pub descendant_count: usize,
    /// Waiting transactions that it spends from directly.
    pub depends: Vec<Txid>,
    /// Waiting transactions that spend from it directly.
    pub spent_by: Vec<Txid>,
}

impl MempoolEntry {
    /// What this node counts it for: its fee with the operator's priority, 0 at least.
    pub const fn weighed_fee(&self) -> Amount {
        Amount::from_grains(self.fee.grains().saturating_add_signed(self.delta_grains))
    }
}

/// A waiting transaction among its own.
#[derive(Clone, Debug)]
pub struct MempoolKin {
    /// Itself.
    pub entry: MempoolEntry,
    /// What it spends from, directly or not, parents first.
    pub ancestors: Vec<MempoolEntry>,
    /// What spends from it, directly or not, parents first.
    pub descendants: Vec<MempoolEntry>,
}

/// A transaction that waited in an earlier run.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Itself.
    pub transaction: Arc<CheckedTransaction>,
    /// For how long it had waited by now.
    pub waited_ms: u64,
}

/// A connected peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The connection.
    pub peer: Peer,
    /// Who dialled.
    pub direction: Direction,
    /// A multiaddress.
    pub address: String,
    /// The transport's peer id.
    pub identity: String,
    /// As its status says; `None` before the handshake.
    pub agent: Option<String>,
    /// Of the highest block that it told of, by status or by gossip.
    pub height: Option<u32>,
    /// That block.
    pub tip: Option<BlockId>,
    /// As its status says.
    pub services: Option<u32>,
    /// How long it has been connected.
    pub connected_ms: u64,
    /// Of the highest header of ours whose block it is known to have.
    pub synced_headers: Option<u32>,
    /// Requests of ours that it has not answered.
    pub in_flight: InFlight,
    /// When anything last came from it, seconds since 1970.
    pub last_seen_unix: u64,
    /// When a block that was new here last came from it.
    pub last_block_unix: Option<u64>,
    /// When a transaction that was new here last came from it.
    pub last_transaction_unix: Option<u64>,
    /// Points of penalty; at 100 it is cut.
    pub score: u32,
}

/// What a peer was asked for and has not answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Requests for its status.
    pub status: usize,
    /// Requests for headers.
    pub headers: usize,
    /// Blocks: of the download, and whole ones that could not be rebuilt.
    pub blocks: usize,
    /// Requests for what a compact block lacks.
    pub block_transactions: usize,
    /// Requests for its mempool's ids, and for transactions.
    pub transactions: usize,
}

/// How far the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncStatus {
    /// More than 24 blocks behind a known header chain.
    pub syncing: bool,
    /// Of the published tip.
    pub height: u32,
    /// Of the best header.
    pub best_header_height: u32,
    /// Bodies asked for.
    pub blocks_in_flight: usize,
    /// Whose handshake is done.
    pub peers: usize,
    /// Since the start.
    pub reorganisations: ReorganisationCounts,
    /// What an operator should know now; empty when all is well.
    pub warnings: Vec<Warning>,
    /// While it is `syncing`.
    pub progress: Option<SyncProgress>,
}

/// How far catching up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncProgress {
    /// Of the published tip.
    pub height: u32,
    /// Where it goes as far as is known: of the best header that can be reached.
    pub target_height: u32,
    /// Thousandths of blocks a second over the last minute; `None` in the first seconds.
    pub milliblocks_per_second: Option<u64>,
    /// At that speed; `None` where there is none.
    pub seconds_left: Option<u64>,
}

/// How often the published tip left a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReorganisationCounts {
    /// In all.
    pub count: u64,
    /// Blocks that the deepest disconnected.
    pub deepest: u32,
    /// Deeper than [`crate::Settings::reorg_alarm`].
    pub alarms: u64,
    /// Branches that were held back from the operator.
    pub held: u64,
}

/// What an operator should know now: a sentence each, which says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The chain was reorganised deeper than [`crate::Settings::reorg_alarm`], within a day.
    DeepReorganisation {
        /// Blocks disconnected.
        depth: u32,
        /// Of the branch that was left.
        old_tip: BlockId,
        /// Of the branch taken.
        new_tip: BlockId,
        /// When, since 1970.
        unix_seconds: u64,
    },
    /// A branch with more work is held back ([`ashlar_ledger::Settings::reorg_hold`]).
    ReorganisationHeld {
        /// Of the published chain.
        tip: BlockId,
        /// Of that.
        height: u32,
        /// Of the held branch.
        held_tip: BlockId,
        /// Of that.
        held_height: u32,
        /// Blocks that going over would disconnect.
        depth: u32,
    },
    /// The node can't catch up: it has no peer that keeps the block that it needs next.
    OnlyPrunedPeers {
        /// Of that block.
        height: u32,
    },
    /// Of a branch with more work nobody hands out the blocks.
    BodiesWithheld {
        /// The first that is missing.
        id: BlockId,
        /// Of that.
        height: u32,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeepReorganisation { depth, old_tip, new_tip, unix_seconds } => write!(
                f,
                "a reorganisation at {unix_seconds} (seconds since 1970) disconnected {depth} \
                 blocks: it left {old_tip} for {new_tip}; look at payments confirmed since then"
            ),
            Self::ReorganisationHeld { tip, height, held_tip, held_height, depth } => write!(
                f,
                "a branch with more work is held back: this node stays at {tip} (height \
                 {height}), others may be at {held_tip} (height {held_height}), and going over \
                 would disconnect {depth} blocks; to go over: ashlar-node rpc acceptreorg \
                 {held_tip}"
            ),
            Self::OnlyPrunedPeers { height } => write!(
                f,
                "block {height} is needed and all peers that had it have pruned it; connect to one \
                 that keeps all blocks (--peer)"
            ),
            Self::BodiesWithheld { id, height } => write!(
                f,
                "there is a header chain with more work, and nobody hands out its block {id} at \
                 height {height}; this node goes by what it can get"
            ),
        }
    }
}

/// A feerate that should confirm in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeeEstimate {
    /// Grains per 1,000 bytes.
    pub feerate_per_kb: u64,
    /// What it was made from, for people.
    pub basis: &'static str,
    /// What waited then, in bytes.
    pub waiting_bytes: u64,
    /// The wait that it stands for, in blocks.
    pub target_blocks: u32,
}
