//! [`crate::api::mempool`], each method handed to the room that knows its subject.

use jsonrpsee::core::async_trait;

use super::{Answer, Handlers};
use crate::{
    api::MempoolServer,
    server::{backend::Backend, mempool},
    types::{FeeEstimate, MempoolInfo, MempoolResult},
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

    async fn estimatesmartfee(&self, conf_target: u32) -> Answer<FeeEstimate> {
        mempool::estimate_fee(&self.0, conf_target).await
    }
}
