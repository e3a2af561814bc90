//! The JSON-RPC interface of a node, written once: the traits give server and clients.
//!
//! * [`api`]: every method, with its meaning, and how to add one. Start here. `docs/rpc.md` and
//!   the OpenRPC document are made from it.
//! * [`scope`]: who may call what.
//! * [`types`]: what goes in and comes out.
//! * [`error`]: why a call has no result.
//! * [`client`]: for wallets and scripts, over HTTP or WebSocket. Nothing else is compiled by
//!   default.
//! * [`run_file`]: how a running node is found on the same machine.
//! * `server` (a feature): the node's half, over a ledger view and engine calls. It must not
//!   know libp2p or RocksDB; what it needs of a node is the one trait `server::Backend`.

#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "the examples are JSON, whose lists look like links"
)]
pub mod api;
pub mod client;
pub mod error;
pub mod run_file;
pub mod scope;
#[cfg(feature = "server")]
pub mod server;
pub mod types;

pub use client::{Client, ClientError, Credentials, UserPassword};
pub use error::{ErrorData, RpcError};
pub use run_file::{RunFile, RunFileError};
pub use scope::Scope;

/// The methods of every topic, for callers: `use ashlar_rpc::prelude::*`.
pub mod prelude {
    pub use crate::api::{
        AddressesClient as _, ChainClient as _, ControlClient as _, MempoolClient as _,
        MiningClient as _, NetworkClient as _, SubscriptionsClient as _, TransactionsClient as _,
    };
}

/// Where nodes listen for RPC unless told otherwise, on loopback.
pub const DEFAULT_PORT: u16 = 9332;
