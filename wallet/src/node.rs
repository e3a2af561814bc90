//! What the wallet asks of a node.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ashlar_consensus::HeaderState;
use ashlar_primitives::{
    Address, Amount, BlockId, Decode, Encode, Lock, OutPoint, Output, Transaction, Txid,
};
use ashlar_rpc::{
    Client, ClientError, Credentials, RunFile, RunFileError,
    client::Way,
    prelude::*,
    types::{
        AddressHistoryEntry, AddressMovement, AddressUtxo, BlockchainInfo, RawTransactionResult,
        Text, TransactionStatus,
    },
};
use thiserror::Error;

use crate::{
    cli::NodeArguments,
    failure::Kind,
    keystore::{Chain, Keystore, KeystoreError},
    offline::SpentCoin,
    payment::OwnCoin,
    trust::{self, TrustError, prover::Prover},
};

/// Addresses in one call: the interface's own bound.
const ADDRESSES_PER_CALL: usize = 1_000;
/// How often a list is read anew because the tip moved between two pages.
const MAX_READS: usize = 10;

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
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the node answered with another transaction than {txid}; don't trust it")]
    OtherTransaction { txid: Txid },
}

impl NodeError {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Trust(error) => error.kind(),
            Self::OtherChain { .. } | Self::ForeignCoin | Self::OtherTransaction { .. } => {
                Kind::Trust
            }
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
    /// Where nothing is believed without a proof.
    prover: Option<Prover>,
}

/// An unspent confirmed coin of the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldCoin {
    pub(crate) outpoint: OutPoint,
    pub(crate) output: Output,
    pub(crate) address: String,
    /// Row and index of its key; `None` where the wallet only watches.
    pub(crate) key: Option<(u32, u32)>,
    pub(crate) confirmations: u32,
    /// Whether the next block may spend it: coinbases wait.
    pub(crate) mature: bool,
    /// The waiting transaction that spends it already.
    pub(crate) spent_by: Option<String>,
}

/// The coins of a wallet at one tip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) coins: Vec<HeldCoin>,
}

impl Node {
    /// Finds the node; the first call connects. What it proves is kept beside `wallet`.
    pub(crate) fn find(arguments: &NodeArguments, wallet: &Path) -> Result<Self, NodeError> {
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
        let prover = match &arguments.verify {
            Some(named) => {
                Some(Prover::new(named.as_deref(), arguments.datadir.as_deref(), wallet)?)
            }
            None => None,
        };
        let way = Way::new(&address, arguments.rpc_ca.as_deref()).map_err(ClientError::from)?;
        Ok(Self { client: Client::connect_by(way, &credentials)?, address, prover })
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
        if let Some(prover) = &self.prover {
            prover.check_chain(&wallet.id)?;
        }
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
        let addresses = keystore.addresses()?;
        let locks: BTreeMap<String, Lock> =
            addresses.iter().map(|address| (address.to_string(), address.lock)).collect();
        let mut holdings = Holdings::default();
        for coin in self.utxos(&addresses).await? {
            let lock = locks.get(&coin.address).ok_or(NodeError::ForeignCoin)?;
            holdings.coins.push(HeldCoin::new(keystore, *lock, coin)?);
        }
        Ok(holdings)
    }

    /// The coins of these addresses that the next block may spend and nothing spends yet.
    pub(crate) async fn coins(&self, addresses: &[Address]) -> Result<Vec<SpentCoin>, NodeError> {
        let mut coins = Vec::new();
        for coin in self.utxos(addresses).await? {
            let of = addresses.iter().find(|address| address.to_string() == coin.address);
            let lock = of.ok_or(NodeError::ForeignCoin)?.lock;
            if coin.mature && coin.spent_by.is_none() {
                coins.push(SpentCoin {
                    outpoint: OutPoint { txid: *coin.txid, index: coin.vout },
                    output: Output { value: Amount::from_grains(coin.value), lock },
                    height: Some(coin.height),
                });
            }
        }
        Ok(coins)
    }

    /// Everything known that spends coins of an address: waiting transactions, then confirmed
    /// ones, newest first. Each is the one with its id, whatever the node says.
    pub(crate) async fn spenders(&self, address: &Address) -> Result<Vec<Transaction>, NodeError> {
        let address = std::slice::from_ref(address);
        let waiting = self.utxos(address).await?.into_iter().filter_map(|coin| coin.spent_by);
        let mut spenders: Vec<(Txid, Option<BlockId>)> =
            waiting.map(|txid| (*txid, None)).collect();
        let history = self.history(address).await?;
        let spent = history.iter().filter(|entry| entry.spent > 0);
        spenders.extend(spent.map(|entry| (*entry.txid, Some(*entry.blockhash))));
        let mut transactions = Vec::new();
        for (txid, block) in spenders {
            let bytes = self.raw_transaction(txid, block).await?;
            let transaction = Transaction::from_bytes(&bytes).ok();
            let genuine = transaction.filter(|transaction| transaction.txid() == txid);
            transactions.push(genuine.ok_or(NodeError::OtherTransaction { txid })?);
        }
        Ok(transactions)
    }

    /// That what is to be spent was made as the node said: by transactions with these very ids.
    /// Those that the node does not keep, or can't find without an index, are let be: a signature
    /// commits to the amounts, so that a lie makes it worthless and nothing else.
    pub(crate) async fn check_coins(
        &self,
        coins: impl IntoIterator<Item = (OutPoint, Output)>,
    ) -> Result<(), NodeError> {
        let mut by_txid: BTreeMap<Txid, Vec<(u16, Output)>> = BTreeMap::new();
        for (outpoint, output) in coins {
            by_txid.entry(outpoint.txid).or_default().push((outpoint.index, output));
        }
        for (txid, coins) in by_txid {
            let bytes = match self.raw_transaction(txid, None).await {
                Ok(bytes) => bytes,
                Err(NodeError::Client(error))
                    if matches!(error.code(), Some("not-found" | "index-off" | "pruned")) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let outputs =
                trust::outputs_of(txid, &bytes).ok_or(NodeError::OtherTransaction { txid })?;
            let is_there =
                |(index, output): &(u16, Output)| outputs.get(usize::from(*index)) == Some(output);
            if !coins.iter().all(is_there) {
                return Err(TrustError::OtherOutput { txid }.into());
            }
        }
        Ok(())
    }

    /// What the node gives for a transaction or coinbase, unchecked; from its block where one is
    /// named.
    async fn raw_transaction(
        &self,
        txid: Txid,
        block: Option<BlockId>,
    ) -> Result<Vec<u8>, NodeError> {
        let raw = self.client.getrawtransaction(Text(txid), None, block.map(Text));
        match raw.await.map_err(ClientError::from)? {
            RawTransactionResult::Raw(hex) => Ok(hex.0),
            RawTransactionResult::Detail(_) => Err(NodeError::OtherTransaction { txid }),
        }
    }

    /// The tip of the headers that the node has proven; `None` where it need not.
    pub(crate) async fn proven_tip(&self) -> Result<Option<HeaderState>, NodeError> {
        match &self.prover {
            Some(prover) => Ok(Some(prover.tip(&self.client).await?)),
            None => Ok(None),
        }
    }

    /// That each of these coins was made, as it is said to be. That none was spent since is the
    /// node's word: no commitment of the chain proves it to a wallet.
    async fn prove_coins(&self, coins: &[AddressUtxo]) -> Result<(), NodeError> {
        let Some(prover) = &self.prover else { return Ok(()) };
        for coin in coins {
            let txid = *coin.txid;
            let (included, _) = prover.included(&self.client, txid, coin.height, None).await?;
            if !included.made(coin.vout, coin.value, &coin.address) {
                return Err(TrustError::OtherOutput { txid }.into());
            }
        }
        Ok(())
    }

    /// That these transactions are in their blocks and paid what they are said to have paid; their
    /// confirmations become the proven ones.
    async fn prove_history(&self, entries: &mut [AddressHistoryEntry]) -> Result<(), NodeError> {
        let Some(prover) = &self.prover else { return Ok(()) };
        for entry in entries {
            let (txid, block) = (*entry.txid, *entry.blockhash);
            let proven = prover.included(&self.client, txid, entry.height, Some(block)).await?;
            if proven.0.paid_to(&entry.address) != entry.received {
                return Err(TrustError::OtherOutput { txid }.into());
            }
            entry.confirmations = proven.1;
        }
        Ok(())
    }

    async fn prove_status(
        &self,
        txid: Txid,
        status: &mut TransactionStatus,
    ) -> Result<(), NodeError> {
        let Some(prover) = &self.prover else { return Ok(()) };
        if status.confirmations == 0 {
            return Ok(());
        }
        let (Some(height), Some(block)) = (status.blockheight, &status.blockhash) else {
            return Err(TrustError::BadProof { txid, height: 0 }.into());
        };
        let proven = prover.included(&self.client, txid, height, Some(**block)).await?;
        status.confirmations = proven.1;
        Ok(())
    }

    /// All coins of these addresses at one tip.
    async fn utxos(&self, addresses: &[Address]) -> Result<Vec<AddressUtxo>, NodeError> {
        'reads: for _ in 0..MAX_READS {
            let mut coins = Vec::new();
            let mut tip = None;
            for addresses in chunks(addresses) {
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
                    self.prove_coins(&page.utxos).await?;
                    coins.extend(page.utxos);
                    match page.next {
                        Some(next) => cursor = Some(next),
                        None => break,
                    }
                }
            }
            return Ok(coins);
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
                    let mut page = self
                        .client
                        .getaddresshistory(addresses.clone().into(), cursor.take(), None)
                        .await
                        .map_err(ClientError::from)?;
                    if *tip.get_or_insert(page.at) != page.at {
                        continue 'reads;
                    }
                    self.prove_history(&mut page.entries).await?;
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

    /// What waiting transactions do to these addresses, by the node's word: there is no proof of
    /// what is in no block.
    pub(crate) async fn waiting(
        &self,
        addresses: &[Address],
    ) -> Result<Vec<AddressMovement>, NodeError> {
        let mut movements = Vec::new();
        for addresses in chunks(addresses) {
            let answer = self.client.getaddressmempool(addresses.into()).await;
            movements.extend(answer.map_err(ClientError::from)?.waiting);
        }
        Ok(movements)
    }

    /// Grains for 1,000 bytes to be confirmed within so many blocks, by the node's estimate.
    pub(crate) async fn feerate_per_kb(&self, target_blocks: u32) -> Result<u64, NodeError> {
        let estimate =
            self.client.estimatesmartfee(target_blocks).await.map_err(ClientError::from)?;
        Ok(estimate.feerate)
    }

    /// Hands a transaction in. The node's refusal is [`Submitted::Refused`]; everything else that
    /// goes wrong leaves open whether it got there.
    pub(crate) async fn submit(&self, transaction: &Transaction) -> Result<Submitted, NodeError> {
        let hex = hex::encode(transaction.to_bytes());
        match self.client.sendrawtransaction(hex).await.map_err(ClientError::from) {
            Ok(_) => Ok(Submitted::Taken),
            Err(error) => match error.code() {
                Some("tx-already-known" | "tx-already-confirmed") => Ok(Submitted::Taken),
                Some(code) if code.starts_with("tx-") => {
                    Ok(Submitted::Refused { reason: error.to_string() })
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Where a transaction stands; `None` where the node knows of none.
    pub(crate) async fn transaction(
        &self,
        txid: &Txid,
    ) -> Result<Option<TransactionStatus>, NodeError> {
        match self.client.gettransaction(Text(*txid)).await.map_err(ClientError::from) {
            Ok(mut status) => {
                self.prove_status(*txid, &mut status).await?;
                Ok(Some(status))
            }
            Err(error) if error.code() == Some("not-found") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What these coins are worth and whose they are, by the node's word; `None` where it does not
    /// know one of them.
    pub(crate) async fn outputs(
        &self,
        coins: &[OutPoint],
        address_prefix: &str,
    ) -> Result<Option<Vec<Output>>, NodeError> {
        let mut outputs = Vec::new();
        for coin in coins {
            let found = self.client.gettxout(Text(coin.txid), coin.index, Some(false)).await;
            let Some(found) = found.map_err(ClientError::from)? else { return Ok(None) };
            let Ok(address) = Address::parse(&found.address, address_prefix) else {
                return Err(NodeError::ForeignCoin);
            };
            outputs.push(Output { value: Amount::from_grains(found.value), lock: address.lock });
        }
        Ok(Some(outputs))
    }

    /// Whether a coin is unspent, by blocks alone or by waiting transactions too.
    pub(crate) async fn is_unspent(
        &self,
        coin: &OutPoint,
        with_mempool: bool,
    ) -> Result<bool, NodeError> {
        let found = self.client.gettxout(Text(coin.txid), coin.index, Some(with_mempool));
        Ok(found.await.map_err(ClientError::from)?.is_some())
    }
}

/// What a node did with a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// It has it, now or since before.
    Taken,
    /// A rule or the node's policy is against it.
    Refused {
        /// In the node's words.
        reason: String,
    },
}

impl HeldCoin {
    fn new(keystore: &Keystore, lock: Lock, coin: AddressUtxo) -> Result<Self, NodeError> {
        let value = Amount::from_grains(coin.value);
        if !value.is_in_range() {
            return Err(NodeError::ForeignCoin);
        }
        Ok(Self {
            outpoint: OutPoint { txid: *coin.txid, index: coin.vout },
            output: Output { value, lock },
            key: keystore.key_of(&lock).map(|key| (key.change, key.index)),
            address: coin.address,
            confirmations: coin.confirmations,
            mature: coin.mature,
            spent_by: coin.spent_by.map(|txid| txid.to_string()),
        })
    }

    /// Whether a block could spend it now, if it has a key.
    pub(crate) const fn is_free(&self) -> bool {
        self.mature && self.spent_by.is_none()
    }
}

impl Holdings {
    /// The sum of the coins that a test holds for.
    pub(crate) fn sum(&self, holds: impl Fn(&HeldCoin) -> bool) -> Amount {
        let values = self.coins.iter().filter(|coin| holds(coin)).map(|coin| coin.output.value);
        // Each is in range; a lying node can only make the sum look smaller.
        Amount::checked_sum(values).unwrap_or(Amount::MAX_MONEY)
    }

    /// What can be signed and spent now, without these.
    pub(crate) fn spendable(&self, reserved: &BTreeSet<OutPoint>) -> Vec<OwnCoin> {
        let free = self.coins.iter().filter(|coin| coin.is_free());
        free.filter(|coin| !reserved.contains(&coin.outpoint))
            .filter_map(|coin| {
                let (change, index) = coin.key?;
                Some(OwnCoin { outpoint: coin.outpoint, output: coin.output, change, index })
            })
            .collect()
    }
}

fn chunks(addresses: &[Address]) -> Vec<Vec<String>> {
    addresses
        .chunks(ADDRESSES_PER_CALL)
        .map(|chunk| chunk.iter().map(ToString::to_string).collect())
        .collect()
}
