//! [`crate::api::chain`], each method handed to the room that knows its subject.

use ashlar_engine::Call;
use ashlar_primitives::{BlockId, OutPoint, Txid};
use jsonrpsee::core::async_trait;

use super::{Answer, Handlers};
use crate::{
    api::ChainServer,
    server::{backend::Backend, chain, context::tip_of_answer},
    types::{BlockResult, BlockchainInfo, ChainTip, HeaderResult, Text, Tip, TxOut, Verbosity},
};

#[async_trait]
impl<B: Backend> ChainServer for Handlers<B> {
    async fn getblockchaininfo(&self) -> Answer<BlockchainInfo> {
        chain::blockchain_info(&self.0).await
    }

    async fn getblockcount(&self) -> Answer<u32> {
        Ok(self.0.view().tip().height)
    }

    async fn getbestblockhash(&self) -> Answer<Text<BlockId>> {
        Ok(self.0.view().tip().id.into())
    }

    async fn getblockhash(&self, height: u32) -> Answer<Text<BlockId>> {
        chain::block_id_at(&self.0, height).await
    }

    async fn getblockheader(
        &self,
        blockhash: Text<BlockId>,
        verbose: Option<bool>,
    ) -> Answer<HeaderResult> {
        chain::block_header(&self.0, blockhash.0, verbose.unwrap_or(true)).await
    }

    async fn getblock(
        &self,
        blockhash: Text<BlockId>,
        verbosity: Option<Verbosity>,
    ) -> Answer<BlockResult> {
        chain::block(&self.0, blockhash.0, verbosity.map_or(1, |verbosity| verbosity.0)).await
    }

    async fn getchaintips(&self) -> Answer<Vec<ChainTip>> {
        chain::chain_tips(&self.0).await
    }

    async fn gettxout(
        &self,
        txid: Text<Txid>,
        n: u16,
        include_mempool: Option<bool>,
    ) -> Answer<Option<TxOut>> {
        let outpoint = OutPoint { txid: txid.0, index: n };
        chain::tx_out(&self.0, outpoint, include_mempool.unwrap_or(true)).await
    }

    async fn acceptreorg(&self, blockhash: Text<BlockId>) -> Answer<Tip> {
        let answer = self.0.call(Call::AcceptReorganisation(blockhash.0)).await?;
        Ok(tip_of_answer(&answer))
    }
}
