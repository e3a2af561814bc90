//! The mempool: what waits, and what it takes to be confirmed.

use ashlar_primitives::Txid;
use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::{
    FeeEstimate, InputDetail, MempoolEntryDetail, MempoolInfo, MempoolResult,
    PrioritisedTransactions, SavedMempool, SpendingPrevout, Text,
};

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
    ///
    /// # Example
    /// [true]
    #[method(name = "getrawmempool")]
    async fn getrawmempool(
        &self,
        verbose: Option<bool>,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<MempoolResult, RpcError>;

    /// How much waits, and what it takes to get in.
    ///
    /// # Example
    /// []
    #[method(name = "getmempoolinfo")]
    async fn getmempoolinfo(&self) -> Result<MempoolInfo, RpcError>;

    /// One waiting transaction, and what it hangs together with.
    ///
    /// # Parameters
    /// - `txid`: its id.
    ///
    /// # Errors
    /// - `not-found`: it does not wait.
    ///
    /// # Example
    /// ["{waiting}"]
    #[method(name = "getmempoolentry")]
    async fn getmempoolentry(&self, txid: Text<Txid>) -> Result<MempoolEntryDetail, RpcError>;

    /// The waiting transactions that one spends from, directly or not.
    ///
    /// # Parameters
    /// - `txid`: its id.
    /// - `verbose`: `false` (default) for ids alone, parents first; `true` for entries.
    ///
    /// # Errors
    /// - `not-found`: it does not wait.
    ///
    /// # Example
    /// ["{waiting}"]
    #[method(name = "getmempoolancestors")]
    async fn getmempoolancestors(
        &self,
        txid: Text<Txid>,
        verbose: Option<bool>,
    ) -> Result<MempoolResult, RpcError>;

    /// The waiting transactions that spend from one, directly or not.
    ///
    /// # Parameters
    /// - `txid`: its id.
    /// - `verbose`: `false` (default) for ids alone, parents first; `true` for entries.
    ///
    /// # Errors
    /// - `not-found`: it does not wait.
    ///
    /// # Example
    /// ["{waiting}"]
    #[method(name = "getmempooldescendants")]
    async fn getmempooldescendants(
        &self,
        txid: Text<Txid>,
        verbose: Option<bool>,
    ) -> Result<MempoolResult, RpcError>;

    /// Which waiting transactions spend these outputs, in the order given.
    ///
    /// # Parameters
    /// - `outputs`: up to 10,000.
    ///
    /// # Errors
    /// - `too-many`: more than 10,000.
    ///
    /// # Example
    /// [[{"txid": "{txid}", "vout": 1}]]
    #[method(name = "gettxspendingprevout")]
    async fn gettxspendingprevout(
        &self,
        outputs: Vec<InputDetail>,
    ) -> Result<Vec<SpendingPrevout>, RpcError>;

    /// Makes this node count a transaction for more than it pays, or for less, when it chooses
    /// what to keep and what to put into a block. It may come later, and may be prioritised again,
    /// which adds up; once it is confirmed its priority is forgotten. Answers `true`.
    ///
    /// # Parameters
    /// - `txid`: its id.
    /// - `dummy`: 0 or `null`; it is there for callers made for Bitcoin Core.
    /// - `fee_delta`: added to what it has, in grains; may be negative.
    ///
    /// # Errors
    /// - `priorities-full`: 10,000 other transactions have a priority.
    ///
    /// # Example
    /// ["{waiting}", null, 2000]
    #[method(name = "prioritisetransaction")]
    async fn prioritisetransaction(
        &self,
        txid: Text<Txid>,
        dummy: Option<u64>,
        fee_delta: i64,
    ) -> Result<bool, RpcError>;

    /// What `prioritisetransaction` did, as far as it is not over.
    ///
    /// # Example
    /// []
    #[method(name = "getprioritisedtransactions")]
    async fn getprioritisedtransactions(&self) -> Result<PrioritisedTransactions, RpcError>;

    /// Writes what waits to the data directory, from where it is loaded at the next start. A node
    /// that ends well does that by itself, and every ten minutes where something changed.
    ///
    /// # Errors
    /// - `mempool-loading`: what waited in the last run is still being loaded.
    /// - `save-failed`: the disk refused.
    ///
    /// # Example
    /// []
    #[method(name = "savemempool")]
    async fn savemempool(&self) -> Result<SavedMempool, RpcError>;

    /// The feerate to be confirmed within so many blocks, as `estimatesmartfee` answers it.
    ///
    /// # Parameters
    /// - `nblocks`: blocks to wait, 1 to 1,008; 1 if left out.
    ///
    /// # Example
    /// [6]
    #[method(name = "estimatefee")]
    async fn estimatefee(&self, nblocks: Option<u32>) -> Result<FeeEstimate, RpcError>;

    /// The feerate to be confirmed within so many blocks. Always answers, and says from what.
    ///
    /// # Parameters
    /// - `conf_target`: blocks to wait, 1 to 1,008.
    ///
    /// # Example
    /// [6]
    #[method(name = "estimatesmartfee")]
    async fn estimatesmartfee(&self, conf_target: u32) -> Result<FeeEstimate, RpcError>;
}
