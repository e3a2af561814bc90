//! Peers.

use ashlar_primitives::BlockId;
use serde::{Deserialize, Serialize};

use super::text::Text;

/// What names a connection: its number, peer id or multiaddress. A number may stand without
/// quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PeerName {
    /// The connection's number.
    Number(u64),
    /// Any of the three.
    Text(String),
}

impl core::fmt::Display for PeerName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// One ban, as `listbanned` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BannedPeer {
    /// A peer id, an IPv4 address or an IPv6 /64.
    pub address: String,
    /// Since when, seconds since 1970.
    pub ban_created: u64,
    /// Until when, seconds since 1970.
    pub banned_until: u64,
    /// What for.
    pub ban_reason: String,
}

/// What a peer was asked for and has not answered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Requests for its status.
    pub status: u64,
    /// Requests for headers.
    pub headers: u64,
    /// Blocks.
    pub blocks: u64,
    /// Requests for transactions that a compact block lacks.
    pub block_transactions: u64,
    /// Requests for its mempool's ids, and for transactions of it.
    pub transactions: u64,
}

/// One peer, as `getpeerinfo` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// The connection's number, never used twice in a run.
    pub id: u64,
    /// Its multiaddress.
    pub addr: String,
    /// Its peer id.
    pub identity: String,
    /// Whether it dialled this node.
    pub inbound: bool,
    /// What it calls itself, once it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subver: Option<String>,
    /// The height of the highest header of this node's whose block the peer is known to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_headers: Option<u32>,
    /// The height of its tip, as it last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_blocks: Option<u32>,
    /// Its tip, as it last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip: Option<Text<BlockId>>,
    /// What it serves (PROTOCOL.md §12): bit 0 all bodies, bit 1 those of two days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<u32>,
    /// How long the connection has stood, in milliseconds.
    pub connected_ms: u64,
    /// When anything last came from it, seconds since 1970.
    pub last_seen: u64,
    /// When a block that was new to this node last came from it, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_block: Option<u64>,
    /// When a transaction that was new to this node last came from it, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transaction: Option<u64>,
    /// What it was asked for and has not answered yet.
    pub inflight: InFlight,
    /// What it did wrong, as a score.
    pub banscore: u32,
    /// Bytes that came over the connection, those of its encryption not counted.
    pub bytesrecv: u64,
    /// Bytes that went over it.
    pub bytessent: u64,
    /// The last round trip, in milliseconds; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_ms: Option<u64>,
    /// How gossip thinks of it: below zero it is being passed over.
    pub gossip_score: f64,
}

/// The answer of `getnettotals`. Counted is what streams carry: enciphering comes on top.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetTotals {
    /// Bytes that came, from peers who left and from strangers too.
    pub totalbytesrecv: u64,
    /// Bytes that went.
    pub totalbytessent: u64,
    /// When this was true by the node's clock, milliseconds since 1970.
    pub timemillis: u64,
}

/// The answer of `getnetworkinfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// What this node calls itself.
    pub subversion: String,
    /// The version of the protocol.
    pub protocolversion: u32,
    /// The part of the protocol names that keeps chains apart: 8 hex digits.
    pub network: String,
    /// This node's peer id.
    pub identity: String,
    /// Whether the network runs.
    pub networkactive: bool,
    /// Peers.
    pub connections: u64,
    /// Those that dialled this node.
    pub connections_in: u64,
    /// Those that this node dialled.
    pub connections_out: u64,
    /// Multiaddresses that it listens on.
    pub localaddresses: Vec<String>,
    /// What an operator should know now; empty when all is well.
    pub warnings: Vec<String>,
}
