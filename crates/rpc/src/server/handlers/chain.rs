//! [`crate::api::chain`], each method handed to the room that knows its subject.

use ashlar_engine::Call;
use ashlar_primitives::{BlockId, OutPoint, Txid};
use jsonrpsee::core::async_trait;

use super::{Answer, Handlers};
use crate::{
    api::ChainServer,
    server::{backend::Backend, chain, orders, proof, scan, stats},
    types::{
        Addresses, BlockHeaders, BlockName, BlockResult, BlockStats, BlockchainInfo, ChainTip,
        ChainTxStats, HeaderResult, IndexInfo, MerkleProof, PrunedChain, ScannedCoins, Text, Tip,
        TxOut, TxOutSetInfo, Verbosity, VerifiedChain, VerifiedProof,
    },
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
        orders::carry_out(&self.0, blockhash.0, Call::AcceptReorganisation).await
    }

    async fn getblockheaders(
        &self,
        start: u32,
        count: u32,
        verbose: Option<bool>,
    ) -> Answer<BlockHeaders> {
        chain::block_headers(&self.0, start, count, verbose.unwrap_or(false)).await
    }

    async fn getblockstats(&self, hash_or_height: BlockName) -> Answer<BlockStats> {
        stats::block_stats(&self.0, hash_or_height).await
    }

    async fn getchaintxstats(
        &self,
        nblocks: Option<u32>,
        blockhash: Option<Text<BlockId>>,
    ) -> Answer<ChainTxStats> {
        stats::chain_tx_stats(&self.0, nblocks, blockhash.map(|id| id.0)).await
    }

    async fn gettxoutsetinfo(&self) -> Answer<TxOutSetInfo> {
        Ok(stats::tx_out_set_info(&self.0.view()))
    }

    async fn scantxoutset(
        &self,
        addresses: Addresses,
        cursor: Option<String>,
    ) -> Answer<ScannedCoins> {
        scan::coins(&self.0, addresses, cursor).await
    }

    async fn getmerkleproof(
        &self,
        txid: Text<Txid>,
        blockhash: Option<Text<BlockId>>,
    ) -> Answer<MerkleProof> {
        proof::make(&self.0, txid.0, blockhash.map(|id| id.0)).await
    }

    async fn verifymerkleproof(&self, proof: MerkleProof) -> Answer<VerifiedProof> {
        proof::verify(&self.0, proof).await
    }

    async fn waitforblockheight(&self, height: u32, timeout: Option<u64>) -> Answer<Tip> {
        orders::wait_for_height(&self.0, height, timeout).await
    }

    async fn verifychain(&self, nblocks: Option<u32>) -> Answer<VerifiedChain> {
        orders::verify(&self.0, nblocks).await
    }

    async fn pruneblockchain(&self, height: u32) -> Answer<PrunedChain> {
        orders::prune(&self.0, height).await
    }

    async fn invalidateblock(&self, blockhash: Text<BlockId>) -> Answer<Tip> {
        orders::carry_out(&self.0, blockhash.0, Call::InvalidateBlock).await
    }

    async fn reconsiderblock(&self, blockhash: Text<BlockId>) -> Answer<Tip> {
        orders::carry_out(&self.0, blockhash.0, Call::ReconsiderBlock).await
    }

    async fn getindexinfo(&self) -> Answer<IndexInfo> {
        Ok(orders::index_info(&self.0))
    }
}
