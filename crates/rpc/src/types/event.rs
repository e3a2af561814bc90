//! What subscribers are told.

use ashlar_primitives::{BlockId, Txid, Wtxid};
use serde::{Deserialize, Serialize};

use super::{
    chain::{SyncInfo, Tip},
    text::Text,
};

/// Where a subscriber stands after an event: give the last one as `since` to go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventCursor {
    /// The tip that the event led to.
    pub block: Text<BlockId>,
    /// Counts the events of one subscription, from 0: none is ever left out.
    #[serde(default)]
    pub sequence: u64,
}

/// A step of the tip: back over `disconnected`, then forward over `connected`. Whoever takes the
/// steps in order stands on `tip` after each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TipEvent {
    /// Where the step leads.
    #[serde(flatten)]
    pub at: Tip,
    /// Its place in the stream.
    pub cursor: EventCursor,
    /// Blocks that left the best chain, from the old tip down.
    pub disconnected: Vec<Text<BlockId>>,
    /// Blocks that joined it, up to the new tip.
    pub connected: Vec<Text<BlockId>>,
    /// Whether more blocks left at once than this node's `reorg.alarm`; said as it happens, not
    /// when it is told again after `since`.
    #[serde(default)]
    pub alarm: bool,
}

/// Changes of the mempool: first what came, then what left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolEvent {
    /// The tip on which it is so.
    #[serde(flatten)]
    pub at: Tip,
    /// Its place in the stream.
    pub cursor: EventCursor,
    /// Forget what you know of the mempool: this event begins the whole list anew.
    pub reset: bool,
    /// Whether the list that `reset` began goes on in the next event.
    pub listing: bool,
    /// What waits now, in order of entry.
    pub added: Vec<MempoolAddition>,
    /// What waits no more, parents first.
    pub removed: Vec<MempoolRemoval>,
}

/// A transaction that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolAddition {
    /// Its id.
    pub txid: Text<Txid>,
    /// Its id with witnesses.
    pub wtxid: Text<Wtxid>,
    /// In bytes.
    pub size: u32,
    /// In grains.
    pub fee: u64,
}

/// A transaction that waits no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MempoolRemoval {
    /// Its id.
    pub txid: Text<Txid>,
    /// `confirmed`, `conflicting` (a block spends a coin of it otherwise), `replaced` (a better
    /// paid one does), `pushed-out` (no room), `expired`, `unconfirmable` (a reorganisation took a
    /// coin of it away), or `refused` (no block could be made with it).
    pub reason: String,
}

/// What happened to addresses: a step of the tip, or a change of what waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressEvent {
    /// Where the chain stands after it.
    #[serde(flatten)]
    pub at: Tip,
    /// Its place in the stream.
    pub cursor: EventCursor,
    /// Blocks that left the best chain, from the old tip down: what they confirmed is not.
    pub disconnected: Vec<Text<BlockId>>,
    /// What joined the best chain, in its order.
    pub confirmed: Vec<AddressConfirmation>,
    /// Forget what you know of unconfirmed transactions: `waiting` begins their list anew.
    pub reset: bool,
    /// Transactions that wait for a block now.
    pub waiting: Vec<AddressMovement>,
    /// Transactions told as waiting that wait no more, be it because they are confirmed.
    pub left: Vec<MempoolRemoval>,
}

/// What a transaction does to one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressMovement {
    /// As it was given.
    pub address: String,
    /// The transaction, or coinbase.
    pub txid: Text<Txid>,
    /// What comes in, in grains.
    pub received: u64,
    /// What goes out, in grains.
    pub spent: u64,
}

/// The same, in a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressConfirmation {
    /// What it does.
    #[serde(flatten)]
    pub movement: AddressMovement,
    /// The block.
    pub block: Text<BlockId>,
    /// Its height.
    pub height: u32,
}

/// How far this node has caught up; told at most once a second, when it changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncEvent {
    /// The tip that it is about.
    #[serde(flatten)]
    pub at: Tip,
    /// Its place in the stream.
    pub cursor: EventCursor,
    /// Whether the node is still catching up.
    pub initialblockdownload: bool,
    /// The height of the best known header.
    pub headers: u32,
    /// Connections.
    pub peers: u64,
    /// How far catching up is; absent when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncInfo>,
}
