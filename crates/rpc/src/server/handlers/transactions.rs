//! [`crate::api::transactions`], each method handed to the room that knows its subject.

use ashlar_primitives::{BlockId, Txid};
use jsonrpsee::core::async_trait;

use super::{Answer, Handlers};
use crate::{
    api::TransactionsServer,
    server::{backend::Backend, chain, mempool, unsigned},
    types::{
        Hex, InputDetail, Payees, RawTransactionResult, SubmitResults, TestResult, Text,
        TransactionDetail, TransactionStatus, Verbosity,
    },
};

#[async_trait]
impl<B: Backend> TransactionsServer for Handlers<B> {
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

    async fn createrawtransaction(
        &self,
        inputs: Vec<InputDetail>,
        outputs: Payees,
        not_before: Option<u32>,
        memo: Option<Hex>,
    ) -> Answer<Hex> {
        unsigned::create(&self.0, &inputs, outputs, not_before, memo)
    }

    async fn decoderawtransaction(&self, hexstring: String) -> Answer<TransactionDetail> {
        unsigned::decode(&self.0, &hexstring)
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
}
