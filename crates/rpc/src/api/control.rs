//! The node itself.

use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::Tip;

/// The node itself.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Control {
    /// Stands the node's clock still, on a node with a development clock.
    ///
    /// # Parameters
    /// - `timestamp`: seconds since 1970; 0 lets the clock run again.
    ///
    /// # Errors
    /// - `real-clock`: the node has no development clock.
    #[method(name = "setmocktime")]
    async fn setmocktime(&self, timestamp: u64) -> Result<(), RpcError>;

    /// Copies the data directory of this running node: chain, genesis file and configuration, not
    /// the node's identity and password. Answers the tip that the copy stands at, or stood at when
    /// it was begun: it may hold newer blocks. It appears at its place whole and synced, or not at
    /// all, and is a data directory.
    ///
    /// # Parameters
    /// - `directory`: an absolute path on the node's machine, where nothing may be yet.
    ///
    /// # Errors
    /// - `invalid-parameter`: the path is not absolute, or something is there.
    /// - `backup-failed`: the disk or the database refused.
    #[method(name = "backup")]
    async fn backup(&self, directory: String) -> Result<Tip, RpcError>;

    /// Ends the node.
    #[method(name = "stop")]
    async fn stop(&self) -> Result<String, RpcError>;
}
