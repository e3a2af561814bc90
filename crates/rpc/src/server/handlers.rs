//! The methods of [`crate::api::Api`], each handed to the room that knows its subject.

use std::sync::Arc;

use ashlar_engine::Call;
use ashlar_primitives::{BlockId, OutPoint, Txid};
use jsonrpsee::core::async_trait;

use super::{
    address,
    backend::Backend,
    chain,
    context::{Context, tip_of, tip_of_answer},
    mempool, mining, network,
};
use crate::{
    api::ApiServer,
    error::RpcError,
    types::{
        AddressBalance, AddressHistory, AddressUtxos, Addresses, BannedPeer, BlockResult,
        BlockTemplate, BlockchainInfo, ChainTip, FeeEstimate, HeaderResult, MempoolInfo,
        MempoolResult, MiningInfo, NetworkInfo, PeerInfo, PeerName, RawTransactionResult,
        SubmitResults, TemplateRequest, TestResult, Text, Tip, TransactionStatus, TxOut,
        ValidatedAddress, Verbosity,
    },
};

pub(super) struct Handlers<B>(pub(super) Arc<Context<B>>);

type Answer<T> = Result<T, RpcError>;

#[async_trait]
impl<B: Backend> ApiServer for Handlers<B> {
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

    async fn getrawtransaction(
        &self,
        txid: Text<Txid>,
        verbosity: Option<Verbosity>,
        blockhash: Option<Text<BlockId>>,
    ) -> Answer<RawTransactionResult> {
        let verbosity = verbosity.map_or(0, |verbosity| verbosity.0);
        chain::raw_transaction(&self.0, txid.0, verbosity, blockhash.map(|id| id.0)).await
    }

    async fn gettransaction(&self, txid: Text<Txid>) -> Answer<TransactionStatus> {
        chain::transaction(&self.0, txid.0, None).await
    }

    async fn sendrawtransaction(&self, hexstring: String) -> Answer<Text<Txid>> {
        mempool::send(&self.0, &hexstring).await
    }

    async fn sendrawtransactions(&self, hexstrings: Vec<String>) -> Answer<SubmitResults> {
        mempool::send_all(&self.0, hexstrings).await
    }

    async fn testmempoolaccept(&self, rawtxs: Vec<String>) -> Answer<Vec<TestResult>> {
        mempool::test_all(&self.0, rawtxs).await
    }

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

    async fn gettxout(
        &self,
        txid: Text<Txid>,
        n: u16,
        include_mempool: Option<bool>,
    ) -> Answer<Option<TxOut>> {
        let outpoint = OutPoint { txid: txid.0, index: n };
        chain::tx_out(&self.0, outpoint, include_mempool.unwrap_or(true)).await
    }

    async fn getaddressbalance(&self, addresses: Addresses) -> Answer<AddressBalance> {
        address::balance(&self.0, addresses).await
    }

    async fn getaddressutxos(
        &self,
        addresses: Addresses,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Answer<AddressUtxos> {
        address::utxos(&self.0, addresses, cursor, limit).await
    }

    async fn getaddresshistory(
        &self,
        addresses: Addresses,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Answer<AddressHistory> {
        address::history(&self.0, addresses, cursor, limit).await
    }

    async fn validateaddress(&self, address: String) -> Answer<ValidatedAddress> {
        Ok(address::validate(&self.0, &address))
    }

    async fn estimatesmartfee(&self, conf_target: u32) -> Answer<FeeEstimate> {
        mempool::estimate_fee(&self.0, conf_target).await
    }

    async fn getpeerinfo(&self) -> Answer<Vec<PeerInfo>> {
        network::peers(&self.0).await
    }

    async fn getnetworkinfo(&self) -> Answer<NetworkInfo> {
        network::info(&self.0).await
    }

    async fn addnode(&self, node: String, command: Option<String>) -> Answer<()> {
        network::add_node(&self.0, node, command.as_deref()).await
    }

    async fn disconnectnode(&self, address: PeerName) -> Answer<()> {
        Ok(self.0.backend.disconnect_node(address.to_string()).await?)
    }

    async fn listbanned(&self) -> Answer<Vec<BannedPeer>> {
        Ok(self.0.backend.bans().await?)
    }

    async fn setban(&self, subnet: String, command: String, bantime: Option<u64>) -> Answer<()> {
        network::set_ban(&self.0, subnet, &command, bantime).await
    }

    async fn clearbanned(&self) -> Answer<()> {
        Ok(self.0.backend.clear_bans().await?)
    }

    async fn acceptreorg(&self, blockhash: Text<BlockId>) -> Answer<Tip> {
        let answer = self.0.call(Call::AcceptReorganisation(blockhash.0)).await?;
        Ok(tip_of_answer(&answer))
    }

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

    async fn setmocktime(&self, timestamp: u64) -> Answer<()> {
        let time = (timestamp != 0).then_some(timestamp);
        Ok(self.0.backend.set_mock_time(time)?)
    }

    async fn backup(&self, directory: String) -> Answer<Tip> {
        let view = self.0.view();
        self.0.backend.backup(directory).await?;
        Ok(tip_of(&view))
    }

    async fn stop(&self) -> Answer<String> {
        self.0.backend.stop();
        Ok("Ashlar node stopping".to_owned())
    }
}
