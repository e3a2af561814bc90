//! [`crate::api::mempool`], each method handed to the room that knows its subject.

use ashlar_primitives::Txid;
use jsonrpsee::core::async_trait;

use super::{Answer, Handlers};
use crate::{
    api::MempoolServer,
    server::{backend::Backend, mempool, waiting},
    types::{
        FeeEstimate, InputDetail, MempoolEntryDetail, MempoolInfo, MempoolResult,
        PrioritisedTransactions, SavedMempool, SpendingPrevout, Text,
    },
};

#[async_trait]
impl<B: Backend> MempoolServer for Handlers<B> {
    async fn getrawmempool(
        &self,
        verbose: Option<bool>,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Answer<MempoolResult> {
        mempool::listing(&self.0, verbose.unwrap_or(false), after, limit).await
    }

    async fn getmempoolinfo(&self) -> Answer<MempoolInfo> {
        mempool::info(&self.0).await
    }

    async fn getmempoolentry(&self, txid: Text<Txid>) -> Answer<MempoolEntryDetail> {
        waiting::entry(&self.0, txid.0).await
    }

    async fn getmempoolancestors(
        &self,
        txid: Text<Txid>,
        verbose: Option<bool>,
    ) -> Answer<MempoolResult> {
        waiting::ancestors(&self.0, txid.0, verbose.unwrap_or(false)).await
    }

    async fn getmempooldescendants(
        &self,
        txid: Text<Txid>,
        verbose: Option<bool>,
    ) -> Answer<MempoolResult> {
        waiting::descendants(&self.0, txid.0, verbose.unwrap_or(false)).await
    }

    async fn gettxspendingprevout(
        &self,
        outputs: Vec<InputDetail>,
    ) -> Answer<Vec<SpendingPrevout>> {
        waiting::spending(&self.0, outputs).await
    }

    async fn prioritisetransaction(
        &self,
        txid: Text<Txid>,
        dummy: Option<u64>,
        fee_delta: i64,
    ) -> Answer<bool> {
        waiting::prioritise(&self.0, txid.0, dummy, fee_delta).await
    }

    async fn getprioritisedtransactions(&self) -> Answer<PrioritisedTransactions> {
        waiting::prioritised(&self.0).await
    }

    async fn savemempool(&self) -> Answer<SavedMempool> {
        waiting::save(&self.0).await
    }

    async fn estimatefee(&self, nblocks: Option<u32>) -> Answer<FeeEstimate> {
        mempool::estimate_fee(&self.0, nblocks.unwrap_or(1)).await
    }

    async fn estimatesmartfee(&self, conf_target: u32) -> Answer<FeeEstimate> {
        mempool::estimate_fee(&self.0, conf_target).await
    }
}
