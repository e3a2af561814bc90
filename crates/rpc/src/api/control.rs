//! The node itself.

use jsonrpsee::proc_macros::rpc;
use serde_json::Value;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::{ClockInfo, ClockSetting, LogFilter, MemoryInfo, Tip};

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
    ///
    /// # Example
    /// [1900000000]
    #[method(name = "setmocktime")]
    async fn setmocktime(&self, timestamp: u64) -> Result<(), RpcError>;

    /// What the node's wall clock reads, and sets it, on a node with a development clock: for
    /// private nets that try halvings and difficulty in seconds. Deadlines, timeouts and bans run
    /// by the machine's own time all the same. `setmocktime` with 0 gives the machine's clock back.
    ///
    /// # Parameters
    /// - `setting`: from when on and how fast it runs. Unless given, nothing changes.
    ///
    /// # Errors
    /// - `real-clock`: the node has no development clock.
    /// - `invalid-parameter`: a time that no header can have, or too high a speed.
    ///
    /// # Example
    /// [{"unix_ms": 1900000000000, "machine_ms": 1800000000000, "speed_permille": 0}]
    #[method(name = "clock")]
    async fn clock(&self, setting: Option<ClockSetting>) -> Result<ClockInfo, RpcError>;

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
    ///
    /// # Example
    /// ["/srv/backup/ashlar"]
    #[method(name = "backup")]
    async fn backup(&self, directory: String) -> Result<Tip, RpcError>;

    /// Ends the node.
    ///
    /// # Example
    /// []
    #[method(name = "stop")]
    async fn stop(&self) -> Result<String, RpcError>;

    /// For how long the node has run, in seconds.
    ///
    /// # Example
    /// []
    #[method(name = "uptime")]
    async fn uptime(&self) -> Result<u64, RpcError>;

    /// What is written to the log, and sets it until the node ends. Answers what holds then.
    ///
    /// # Parameters
    /// - `filter`: levels (`error`, `warn`, `info`, `debug`, `trace`), one for all, and one for
    ///   each part that is to differ: `info,ashlar_network=debug`. Unless given, nothing changes.
    ///
    /// # Errors
    /// - `invalid-parameter`: not such a list.
    ///
    /// # Example
    /// ["info,ashlar_network=debug"]
    #[method(name = "logging")]
    async fn logging(&self, filter: Option<String>) -> Result<LogFilter, RpcError>;

    /// What memory the node takes, and what for.
    ///
    /// # Example
    /// []
    #[method(name = "getmemoryinfo")]
    async fn getmemoryinfo(&self) -> Result<MemoryInfo, RpcError>;

    /// All methods in a line each, or one in full.
    ///
    /// # Parameters
    /// - `command`: a method's name.
    ///
    /// # Errors
    /// - `unknown-method`: there is none of that name.
    ///
    /// # Example
    /// ["getblockhash"]
    #[method(name = "help")]
    async fn help(&self, command: Option<String>) -> Result<String, RpcError>;

    /// All methods, with their parameters, answers, errors and examples, as an OpenRPC document
    /// (<https://spec.open-rpc.org>), from which clients in many languages can be made. `x-scope`
    /// is the scope that a caller needs.
    ///
    /// # Example
    /// []
    #[method(name = "rpc.discover")]
    async fn discover(&self) -> Result<Value, RpcError>;
}
