//! Peers.

use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::{BannedPeer, NetTotals, NetworkInfo, PeerInfo, PeerName};

/// Peers.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Network {
    /// The connections.
    ///
    /// # Example
    /// []
    #[method(name = "getpeerinfo")]
    async fn getpeerinfo(&self) -> Result<Vec<PeerInfo>, RpcError>;

    /// This node in the network.
    ///
    /// # Example
    /// []
    #[method(name = "getnetworkinfo")]
    async fn getnetworkinfo(&self) -> Result<NetworkInfo, RpcError>;

    /// All bytes that went through the network since the start.
    ///
    /// # Example
    /// []
    #[method(name = "getnettotals")]
    async fn getnettotals(&self) -> Result<NetTotals, RpcError>;

    /// Dials a node and keeps dialling it, or no longer.
    ///
    /// # Parameters
    /// - `node`: its multiaddress, `/ip4/192.0.2.1/tcp/9333`, with or without `/p2p/ID`.
    /// - `command`: `"add"` (default), or `"remove"` to no longer dial it; a connection that
    ///   stands is left alone.
    ///
    /// # Errors
    /// - `bad-peer-address`: not an address that can be dialled.
    ///
    /// # Example
    /// ["/ip4/192.0.2.1/tcp/9333", "add"]
    #[method(name = "addnode")]
    async fn addnode(&self, node: String, command: Option<String>) -> Result<(), RpcError>;

    /// Ends a connection, and keeps the peer away for five minutes: `listbanned` shows it; `setban`
    /// with `remove` lets it in sooner, and so does `addnode` with an address that names it.
    ///
    /// # Parameters
    /// - `address`: its multiaddress, peer id or number, as `getpeerinfo` shows them.
    ///
    /// # Errors
    /// - `not-connected`: there is no such connection.
    ///
    /// # Example
    /// [7]
    #[method(name = "disconnectnode")]
    async fn disconnectnode(&self, address: PeerName) -> Result<(), RpcError>;

    /// Who is kept out, the ban that ends first first. Bans outlive a restart.
    ///
    /// # Example
    /// []
    #[method(name = "listbanned")]
    async fn listbanned(&self) -> Result<Vec<BannedPeer>, RpcError>;

    /// Keeps a peer out, closing its connections, or lets it in again.
    ///
    /// # Parameters
    /// - `subnet`: a peer id, an IPv4 address, or an IPv6 address, which stands for its /64.
    /// - `command`: `"add"`, or `"remove"` to lift the ban.
    /// - `bantime`: for how long, in seconds; a day if left out, ten years at most.
    ///
    /// # Errors
    /// - `invalid-parameter`: neither a peer id nor an address, or another command.
    /// - `not-banned`: there is no such ban to lift.
    ///
    /// # Example
    /// ["192.0.2.1", "add", 3600]
    #[method(name = "setban")]
    async fn setban(
        &self,
        subnet: String,
        command: String,
        bantime: Option<u64>,
    ) -> Result<(), RpcError>;

    /// Lets everybody in again.
    ///
    /// # Example
    /// []
    #[method(name = "clearbanned")]
    async fn clearbanned(&self) -> Result<(), RpcError>;
}
