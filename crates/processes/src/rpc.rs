//! Calls to a running node.

use std::{collections::BTreeSet, path::Path};

use ashlar_primitives::{BlockId, Txid};
use ashlar_rpc::{
    Client, ClientError, Credentials, RunFile,
    prelude::*,
    types::{AddressUtxo, BlockchainInfo, ChainTip, MempoolInfo, MempoolResult, Text, to_hex},
};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::node::COOKIE;

/// Calls to one running node.
#[derive(Debug)]
pub struct Rpc {
    runtime: Runtime,
    client: Client,
    /// Where peers reach it.
    pub peer_address: String,
}

impl Rpc {
    /// Prepares calls to the node that runs on a data directory; `None` where none does.
    pub fn connect(datadir: &Path) -> Option<Self> {
        let run = RunFile::read(datadir).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let credentials = Credentials::Cookie(datadir.join(COOKIE));
        let client = runtime.block_on(async { Client::connect(&run.rpc, &credentials) }).ok()?;
        Some(Self { runtime, client, peer_address: run.listening.first()?.clone() })
    }

    /// Any method, its parameters by position.
    pub fn call(&self, method: &str, params: Vec<Value>) -> Result<Value, ClientError> {
        self.runtime.block_on(self.client.call(method, params))
    }

    /// `submitblock`.
    pub fn submit(&self, block: &[u8]) -> Result<Option<String>, ClientError> {
        Ok(self.runtime.block_on(self.client.submitblock(to_hex(block)))?)
    }

    /// `sendrawtransactions`; whether each is taken is the mempool's business.
    pub fn send(&self, transactions: Vec<String>) -> Result<(), ClientError> {
        drop(self.runtime.block_on(self.client.sendrawtransactions(transactions))?);
        Ok(())
    }

    /// The ids of all that wait: all pages of `getrawmempool`.
    pub fn waiting(&self) -> Result<BTreeSet<Txid>, ClientError> {
        let mut ids = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.client.getrawmempool(Some(true), after, None);
            let MempoolResult::Entries(page) = self.runtime.block_on(page)? else {
                let reason = "a list of ids where entries were asked for".to_owned();
                return Err(ClientError::BadAnswer { reason });
            };
            ids.extend(page.transactions.into_keys().map(|id| id.0));
            after = page.next;
            if after.is_none() {
                return Ok(ids);
            }
        }
    }

    /// `getnetworkinfo`, the number of peers.
    pub fn connections(&self) -> Result<u64, ClientError> {
        Ok(self.runtime.block_on(self.client.getnetworkinfo())?.connections)
    }

    /// `getmempoolinfo`.
    pub fn mempool(&self) -> Result<MempoolInfo, ClientError> {
        Ok(self.runtime.block_on(self.client.getmempoolinfo())?)
    }

    /// `getblockchaininfo`.
    pub fn info(&self) -> Result<BlockchainInfo, ClientError> {
        Ok(self.runtime.block_on(self.client.getblockchaininfo())?)
    }

    /// `getchaintips`.
    pub fn tips(&self) -> Result<Vec<ChainTip>, ClientError> {
        Ok(self.runtime.block_on(self.client.getchaintips())?)
    }

    /// `getblockhash`.
    pub fn id_at(&self, height: u32) -> Result<BlockId, ClientError> {
        Ok(self.runtime.block_on(self.client.getblockhash(height))?.0)
    }

    /// `getblock`, its bytes.
    pub fn block(&self, id: BlockId) -> Result<Vec<u8>, ClientError> {
        let answer = self.call("getblock", vec![id.to_string().into(), 0.into()])?;
        Ok(hex::decode(answer.as_str().unwrap_or_default()).unwrap_or_default())
    }

    /// All pages of `getaddressutxos`.
    pub fn coins(&self, addresses: &[String]) -> Result<Vec<AddressUtxo>, ClientError> {
        let mut coins = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.client.getaddressutxos(addresses.to_vec().into(), cursor, None);
            let page = self.runtime.block_on(page)?;
            coins.extend(page.utxos);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(coins);
            }
        }
    }

    /// A transaction's block on the best chain, by the index; `None` where it is in none.
    pub fn confirmed(&self, txid: Txid) -> Result<Option<BlockId>, ClientError> {
        match self.runtime.block_on(self.client.gettransaction(Text(txid))) {
            Ok(status) => Ok(status.blockhash.map(|id| id.0)),
            Err(error) => match ClientError::from(error) {
                error if error.code() == Some("not-found") => Ok(None),
                error => Err(error),
            },
        }
    }

    /// `generatetoaddress`: the ids.
    pub fn generate(&self, blocks: u32, address: &str) -> Result<Vec<BlockId>, ClientError> {
        let ids = self.client.generatetoaddress(blocks, address.to_owned(), None);
        Ok(self.runtime.block_on(ids)?.into_iter().map(|id| id.0).collect())
    }

    /// `addnode`.
    pub fn connect_to(&self, address: &str) -> Result<(), ClientError> {
        Ok(self.runtime.block_on(self.client.addnode(address.to_owned(), None))?)
    }

    /// `setban … add`: parts from the peer with this multiaddress, until [`Rpc::clear_bans`]. An
    /// end of the connection alone would not last: nodes come back to whom they know.
    pub fn ban(&self, address: &str) -> Result<(), ClientError> {
        let identity = address.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(self.runtime.block_on(self.client.setban(identity, "add".to_owned(), None))?)
    }

    /// `clearbanned`.
    pub fn clear_bans(&self) -> Result<(), ClientError> {
        Ok(self.runtime.block_on(self.client.clearbanned())?)
    }
}
