//! The mempool: what waits, and what it takes to be confirmed.

use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::{FeeEstimate, MempoolInfo, MempoolResult};

/// The mempool: what waits, and what it takes to be confirmed.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Mempool {
    /// The transactions that wait, in order of entry.
    ///
    /// # Parameters
    /// - `verbose`: `false` (default) for ids alone, `true` for entries.
    /// - `after`: the `sequence` of an entry: only later ones.
    /// - `limit`: most to answer; 10,000 unless given, which is also the most.
    #[method(name = "getrawmempool")]
    async fn getrawmempool(
        &self,
        verbose: Option<bool>,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<MempoolResult, RpcError>;

    /// How much waits, and what it takes to get in.
    #[method(name = "getmempoolinfo")]
    async fn getmempoolinfo(&self) -> Result<MempoolInfo, RpcError>;

    /// The feerate to be confirmed within so many blocks. Always answers, and says from what.
    ///
    /// # Parameters
    /// - `conf_target`: blocks to wait, 1 to 1,008.
    #[method(name = "estimatesmartfee")]
    async fn estimatesmartfee(&self, conf_target: u32) -> Result<FeeEstimate, RpcError>;
}
