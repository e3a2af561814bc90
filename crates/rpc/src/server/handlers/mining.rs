//! [`crate::api::mining`], each method handed to the room that knows its subject.

use ashlar_primitives::BlockId;
use jsonrpsee::core::async_trait;

use super::{Answer, Handlers};
use crate::{
    api::MiningServer,
    server::{backend::Backend, mining},
    types::{BlockTemplate, MiningInfo, TemplateRequest, Text},
};

#[async_trait]
impl<B: Backend> MiningServer for Handlers<B> {
    async fn getmininginfo(&self) -> Answer<MiningInfo> {
        mining::info(&self.0).await
    }

    async fn getblocktemplate(&self, template_request: TemplateRequest) -> Answer<BlockTemplate> {
        mining::template(&self.0, template_request).await
    }

    async fn submitblock(&self, hexdata: String) -> Answer<Option<String>> {
        mining::submit(&self.0, &hexdata).await
    }

    async fn generatetoaddress(
        &self,
        nblocks: u32,
        address: String,
        maxtries: Option<u64>,
    ) -> Answer<Vec<Text<BlockId>>> {
        mining::generate(&self.0, nblocks, &address, maxtries).await
    }

    async fn getnetworkhashps(&self, nblocks: Option<u32>, height: Option<u32>) -> Answer<u64> {
        mining::network_hash_rate(&self.0, nblocks, height).await
    }
}
