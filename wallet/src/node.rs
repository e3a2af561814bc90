//! What the wallet asks of a node.

use std::{collections::BTreeSet, path::PathBuf};

use ashlar_primitives::{Address, Amount, Encode, OutPoint, Output, Transaction};
use ashlar_rpc::{
    Client, ClientError, Credentials, RunFile, RunFileError,
    prelude::*,
    types::{AddressHistoryEntry, AddressUtxo, BlockchainInfo},
};
use thiserror::Error;

use crate::{
    cli::NodeArguments,
    failure::Kind,
    keystore::{Chain, Keystore, KeystoreError},
    payment::OwnCoin,
};

/// Addresses in one call: the interface's own bound.
const ADDRESSES_PER_CALL: usize = 1_000;
/// How often a list is read anew because the tip moved between two pages.
const MAX_READS: usize = 10;
/// How soon a payment should be confirmed, in blocks.
const FEE_TARGET_BLOCKS: u32 = 2;

/// Why the node is of no help.
#[derive(Debug, Error)]
pub(crate) enum NodeError {
    #[error("name a node: --datadir DIR, or --rpc IP:PORT with --cookie FILE")]
    NoNode,
    #[error(transparent)]
    RunFile(#[from] RunFileError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the node is on the chain {node}, this wallet is for {wallet}; nothing was sent")]
    OtherChain { node: String, wallet: String },
    #[error("the node's chain moves too fast to read a list to its end; try again")]
    Moving,
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    #[error("the node answered with coins of another address")]
    ForeignCoin,
}

impl NodeError {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::OtherChain { .. } | Self::ForeignCoin => Kind::Trust,
            Self::Keystore(_) => Kind::Wallet,
            Self::Client(ClientError::Call { .. }) => Kind::Rejected,
            Self::NoNode | Self::RunFile(_) | Self::Client(_) | Self::Moving => Kind::Node,
        }
    }
}

/// A node to ask.
pub(crate) struct Node {
    client: Client,
    address: String,
}

/// What the wallet holds, by what can be done with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) spendable: Vec<OwnCoin>,
    /// Coinbase coins that wait for their maturity.
    pub(crate) immature: Amount,
    /// Coins that waiting transactions spend already.
    pub(crate) leaving: Amount,
}

impl Node {
    /// Finds the node; the first call connects.
    pub(crate) fn find(arguments: &NodeArguments) -> Result<Self, NodeError> {
        let address = match (&arguments.rpc, &arguments.datadir) {
            (Some(address), _) => address.clone(),
            (None, Some(datadir)) => RunFile::read(datadir)?.rpc,
            (None, None) => return Err(NodeError::NoNode),
        };
        let cookie: Option<PathBuf> = arguments.cookie.clone();
        let credentials = match (cookie, &arguments.datadir) {
            (Some(cookie), _) => Credentials::Cookie(cookie),
            (None, Some(datadir)) => RunFile::credentials(datadir),
            (None, None) => Credentials::None,
        };
        Ok(Self { client: Client::connect(&address, &credentials)?, address })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) async fn info(&self) -> Result<BlockchainInfo, NodeError> {
        Ok(self.client.getblockchaininfo().await.map_err(ClientError::from)?)
    }

    /// The chain that the node is on.
    pub(crate) async fn chain(&self) -> Result<Chain, NodeError> {
        let info = self.info().await?;
        Ok(Chain {
            name: info.chain,
            id: info.chain_id.to_string(),
            address_prefix: info.address_prefix,
        })
    }

    /// Refuses a node of another chain than the wallet's.
    pub(crate) async fn check_chain(&self, wallet: &Chain) -> Result<BlockchainInfo, NodeError> {
        let info = self.info().await?;
        let node = info.chain_id.to_string();
        if node == wallet.id {
            Ok(info)
        } else {
            Err(NodeError::OtherChain { node, wallet: wallet.id.clone() })
        }
    }

    /// All coins of the wallet at one tip.
    pub(crate) async fn holdings(&self, keystore: &Keystore) -> Result<Holdings, NodeError> {
        'reads: for _ in 0..MAX_READS {
            let mut holdings = Holdings::default();
            let mut tip = None;
            for addresses in chunks(&keystore.addresses()?) {
                let mut cursor = None;
                loop {
                    let page = self
                        .client
                        .getaddressutxos(addresses.clone().into(), cursor.take(), None)
                        .await
                        .map_err(ClientError::from)?;
                    if *tip.get_or_insert(page.at) != page.at {
                        continue 'reads;
                    }
                    for coin in page.utxos {
                        holdings.add(keystore, &coin)?;
                    }
                    match page.next {
                        Some(next) => cursor = Some(next),
                        None => break,
                    }
                }
            }
            return Ok(holdings);
        }
        Err(NodeError::Moving)
    }

    /// Those of these addresses that have a history or hold a coin: a pruned node knows a coin
    /// for longer than what brought it.
    pub(crate) async fn used(&self, addresses: &[Address]) -> Result<BTreeSet<String>, NodeError> {
        let history = self.history(addresses).await?;
        let mut used: BTreeSet<String> = history.into_iter().map(|entry| entry.address).collect();
        for addresses in chunks(addresses) {
            let mut cursor = None;
            loop {
                let coins = self.client.getaddressutxos(addresses.clone().into(), cursor, None);
                let page = coins.await.map_err(ClientError::from)?;
                used.extend(page.utxos.into_iter().map(|coin| coin.address));
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
        Ok(used)
    }

    /// What confirmed transactions did to these addresses, at one tip.
    pub(crate) async fn history(
        &self,
        addresses: &[Address],
    ) -> Result<Vec<AddressHistoryEntry>, NodeError> {
        'reads: for _ in 0..MAX_READS {
            let mut entries = Vec::new();
            let mut tip = None;
            for addresses in chunks(addresses) {
                let mut cursor = None;
                loop {
                    let page = self
                        .client
                        .getaddresshistory(addresses.clone().into(), cursor.take(), None)
                        .await
                        .map_err(ClientError::from)?;
                    if *tip.get_or_insert(page.at) != page.at {
                        continue 'reads;
                    }
                    entries.extend(page.entries);
                    match page.next {
                        Some(next) => cursor = Some(next),
                        None => break,
                    }
                }
            }
            return Ok(entries);
        }
        Err(NodeError::Moving)
    }

    /// Grains for 1,000 bytes, by the node's estimate.
    pub(crate) async fn feerate_per_kb(&self) -> Result<u64, NodeError> {
        let estimate =
            self.client.estimatesmartfee(FEE_TARGET_BLOCKS).await.map_err(ClientError::from)?;
        Ok(estimate.feerate)
    }

    pub(crate) async fn submit(&self, transaction: &Transaction) -> Result<String, NodeError> {
        let hex = hex::encode(transaction.to_bytes());
        let txid = self.client.sendrawtransaction(hex).await.map_err(ClientError::from)?;
        Ok(txid.to_string())
    }
}

impl Holdings {
    fn add(&mut self, keystore: &Keystore, coin: &AddressUtxo) -> Result<(), NodeError> {
        let value = Amount::from_grains(coin.value);
        let add = |sum: Amount| sum.checked_add(value).ok_or(NodeError::ForeignCoin);
        if coin.spent_by.is_some() {
            self.leaving = add(self.leaving)?;
            return Ok(());
        }
        if !coin.mature {
            self.immature = add(self.immature)?;
            return Ok(());
        }
        for key in keystore.keys() {
            let address = keystore.address(key)?;
            if address.to_string() == coin.address {
                self.spendable.push(OwnCoin {
                    outpoint: OutPoint { txid: *coin.txid, index: coin.vout },
                    output: Output { value, lock: address.lock },
                    change: key.change,
                    index: key.index,
                });
                return Ok(());
            }
        }
        Err(NodeError::ForeignCoin)
    }

    /// The sum of what can be spent now.
    pub(crate) fn spendable_total(&self) -> Amount {
        // Answers over MAX_MONEY were refused coin by coin; a lying node can only make the sum
        // look smaller.
        Amount::checked_sum(self.spendable.iter().map(|coin| coin.output.value))
            .unwrap_or(Amount::MAX_MONEY)
    }
}

fn chunks(addresses: &[Address]) -> Vec<Vec<String>> {
    addresses
        .chunks(ADDRESSES_PER_CALL)
        .map(|chunk| chunk.iter().map(ToString::to_string).collect())
        .collect()
}
