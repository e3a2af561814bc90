//! What a verb and the keeper say to each other: one line of JSON each way over a Unix socket.
//!
//! To add a verb: a variant of [`Request`], an arm in `keeper/verbs.rs`, a command in `cli.rs`. Its
//! answer is whatever type the two agree on.

use std::path::PathBuf;

use ashlar_primitives::{Ash, BlockId};
use ashlar_rpc::types::Text;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    clock::TimeChange,
    error::Refusal,
    file::NodeNumber,
    lines::{LinkChange, Sides},
    mining::Mining,
    reorg::Against,
    wallets::KnownWallet,
};
#[cfg(doc)]
use crate::{clock::TimeNow, lines::LineState, reorg::Reorganised, saves::Save, tree::Run};

/// Longest request, in bytes.
pub const MAX_REQUEST_BYTES: u64 = 1 << 20;
/// Longest reply, in bytes.
pub const MAX_REPLY_BYTES: u64 = 16 << 20;

/// What can be asked of a keeper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Start every node that does not run, and wait until they agree; more nodes where more are
    /// wanted than there are. [`Overview`].
    Up {
        /// At least so many.
        nodes: Option<NodeNumber>,
    },
    /// What there is and where. [`Overview`].
    Overview,
    /// How it stands. [`Status`].
    Status,
    /// More nodes. [`Overview`].
    Add {
        /// How many more.
        nodes: NodeNumber,
    },
    /// Stop a node and forget it, with its data.
    Remove {
        /// Which.
        node: NodeNumber,
    },
    /// Start a node that does not run, and wait until it serves.
    Start {
        /// Which.
        node: NodeNumber,
    },
    /// Stop a node cleanly.
    Stop {
        /// Which.
        node: NodeNumber,
    },
    /// `kill -9`.
    Kill {
        /// Which.
        node: NodeNumber,
    },
    /// Let a node's process stand still, connections and all.
    Pause {
        /// Which.
        node: NodeNumber,
    },
    /// Let it go on.
    Resume {
        /// Which.
        node: NodeNumber,
    },
    /// Find blocks now, whatever the mode. [`Mined`].
    Mine {
        /// How many.
        blocks: u32,
        /// On which node; the first that runs unless given.
        node: Option<NodeNumber>,
    },
    /// Say who finds blocks, and when; or only ask. [`Mining`].
    Mining {
        /// What shall be.
        change: Option<Mining>,
    },
    /// Pay from the faucet. [`Given`].
    Faucet {
        /// Whom.
        address: String,
        /// How much; the faucet's usual amount unless given.
        amount: Option<Text<Ash>>,
    },
    /// The clock of all nodes. [`TimeNow`].
    Time {
        /// What shall be; `None` only asks.
        change: Option<TimeChange>,
    },
    /// Save the whole testnet as it is. [`Save`].
    Save {
        /// What to call it.
        name: String,
    },
    /// Put a save in the place of what there is now. [`Save`].
    Load {
        /// Its name.
        name: String,
    },
    /// Replace the last blocks by a heavier branch. [`Reorganised`].
    Reorg {
        /// How many blocks.
        depth: u32,
        /// What becomes of one payment in them.
        against: Option<Against>,
        /// Which node hears of the branch first; the first that runs unless given.
        node: Option<NodeNumber>,
    },
    /// The blocks of all nodes as one tree. [`Run`].
    Tree,
    /// Cut all lines between sides, and join the others. [`LineState`]s.
    Partition {
        /// Who can still hear whom.
        sides: Sides,
    },
    /// Join all that was cut. [`LineState`]s.
    Heal,
    /// How the lines are. [`LineState`]s.
    Links,
    /// Change the line between two nodes. Its [`LineState`]s.
    Link {
        /// One end.
        from: NodeNumber,
        /// The other.
        to: NodeNumber,
        /// What shall be otherwise.
        change: LinkChange,
    },
    /// Take a node's lines down and up, again and again.
    Flap {
        /// Which.
        node: NodeNumber,
        /// How often.
        times: u32,
        /// Once down and up, in milliseconds.
        period_ms: u32,
        /// Whether to answer when it is over.
        wait: bool,
    },
    /// Set a node's clock. What it reads then, milliseconds since 1970.
    Clock {
        /// Which.
        node: NodeNumber,
        /// How.
        change: ClockChange,
    },
    /// Let every write of a node fail until it is started again.
    DiskFull {
        /// Which.
        node: NodeNumber,
    },
    /// Stop all nodes cleanly, then the keeper.
    Down,
}

/// What becomes of a node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockChange {
    /// It reads so much more than it did, or less where below 0.
    Move {
        /// In milliseconds.
        ms: i64,
    },
    /// It is right again: the testnet's.
    Reset,
}

/// A reply: an answer or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It was done; what there is to say of it.
    Ok(Value),
    /// It was not.
    Error(Refusal),
}

/// What there is and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The testnet's folder.
    pub folder: PathBuf,
    /// The chain's name.
    pub chain: String,
    /// The highest tip.
    pub height: u32,
    /// Who finds blocks, and when.
    pub mining: Mining,
    /// The nodes.
    pub nodes: Vec<Place>,
    /// The wallets that have something, their words known to all.
    pub wallets: Vec<KnownWallet>,
    /// Of every wallet.
    pub wallet_password: String,
    /// Where the faucet answers, by HTTP.
    pub faucet: Option<String>,
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its number.
    pub node: NodeNumber,
    /// Its data directory.
    pub datadir: PathBuf,
    /// `http://IP:PORT` of its RPC server.
    pub rpc: String,
    /// The file with its RPC cookie.
    pub cookie: PathBuf,
    /// Its log.
    pub log: PathBuf,
}

/// How a testnet stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The nodes, in order.
    pub nodes: Vec<NodeStatus>,
    /// Who finds blocks, and when.
    pub mining: Mining,
    /// The keeper's process id, where it runs.
    pub keeper_pid: Option<u32>,
}

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its number.
    pub node: NodeNumber,
    /// What its process does.
    pub state: NodeState,
    /// Why, where it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its process id.
    pub pid: Option<u32>,
    /// The memory that it holds, in bytes.
    pub memory_bytes: Option<u64>,
    /// The time on a processor that it has had, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// What it says of itself, where it answers.
    pub answers: Option<NodeAnswers>,
}

/// What a node's process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It does not run: never started, stopped or killed.
    Stopped,
    /// It does not serve yet.
    Starting,
    /// It serves.
    Running,
    /// It stands still.
    Paused,
    /// It ended by itself.
    Failed,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAnswers {
    /// The height of its tip.
    pub height: u32,
    /// Its tip.
    pub tip: Text<BlockId>,
    /// Its peers.
    pub peers: u64,
    /// Transactions that wait.
    pub waiting: u64,
}

/// Blocks that were found on request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mined {
    /// On which node.
    pub node: NodeNumber,
    /// In order.
    pub blocks: Vec<Text<BlockId>>,
}

/// A payment of the faucet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Its id.
    pub txid: String,
    /// Whom.
    pub address: String,
    /// How much.
    pub amount: Text<Ash>,
}
