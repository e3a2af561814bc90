//! What a wallet asks of a node to prove what it said before.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use ashlar_consensus::{Genesis, HeaderState};
use ashlar_primitives::{BlockId, Decode, Header, Txid};
use ashlar_rpc::{
    Client, ClientError,
    prelude::*,
    types::{HeaderResult, Text},
};
use tokio::sync::Mutex;

use super::{HeaderChain, Included, MerklePath, TrustError, cache::Cache};
use crate::node::NodeError;

/// Of a data directory: where a node keeps it.
const GENESIS_FILE: &str = "genesis.json";
/// Headers in one call: the interface's own bound.
const HEADERS_PER_CALL: u32 = 2_000;

/// How many headers are taken back, at first, where a node is on another branch than was proven
/// before; then ten times as many.
const FIRST_STEP_BACK: usize = 10;

/// Asks for proofs and keeps what was proven: the headers in a file beside the wallet, the rest for
/// one command.
#[derive(Debug)]
pub(crate) struct Prover {
    genesis: Genesis,
    proven: Mutex<Proven>,
}

#[derive(Debug)]
struct Proven {
    chain: HeaderChain,
    cache: Option<Cache>,
    /// By the block that they were proven in.
    transactions: BTreeMap<(Txid, BlockId), Included>,
}

impl Prover {
    /// By the genesis file that the user names, or that of the node's data directory. Which of the
    /// two does not matter: the wallet's chain id is the judge of it.
    /// Without a wallet's file nothing is kept.
    pub(crate) fn new(
        named: Option<&Path>,
        datadir: Option<&Path>,
        wallet: &Path,
    ) -> Result<Self, TrustError> {
        let path: PathBuf = match (named, datadir) {
            (Some(path), _) => path.to_owned(),
            (None, Some(datadir)) => datadir.join(GENESIS_FILE),
            (None, None) => return Err(TrustError::NoGenesis),
        };
        let text = fs::read_to_string(&path)
            .map_err(|error| TrustError::Unreadable { path: path.clone(), error })?;
        let genesis = Genesis::parse(&text).map_err(|error| TrustError::Genesis { path, error })?;
        let mut chain = HeaderChain::begin(genesis.clone());
        let cache =
            wallet.exists().then(|| Cache::open(Cache::path_of(wallet), &mut chain, now_seconds()));
        let proven = Proven { chain, cache, transactions: BTreeMap::new() };
        Ok(Self { genesis, proven: Mutex::new(proven) })
    }

    /// Refuses a genesis of another chain than the wallet's.
    pub(crate) fn check_chain(&self, wallet: &str) -> Result<(), TrustError> {
        let file = self.genesis.params().chain_id.to_string();
        if file == wallet {
            return Ok(());
        }
        Err(TrustError::OtherGenesis { file, wallet: wallet.to_owned() })
    }

    /// The tip of all headers that the node can prove.
    pub(crate) async fn tip(&self, client: &Client) -> Result<HeaderState, NodeError> {
        let mut proven = self.proven.lock().await;
        self.catch_up(client, &mut proven).await?;
        Ok(proven.chain.tip().clone())
    }

    /// A transaction or coinbase that the node says is in the block at a height, and in this one
    /// where it is named: proven to be there. With it the number of proven blocks from that one up
    /// to the tip.
    pub(crate) async fn included(
        &self,
        client: &Client,
        txid: Txid,
        height: u32,
        block: Option<BlockId>,
    ) -> Result<(Included, u32), NodeError> {
        let mut proven = self.proven.lock().await;
        let known = proven.chain.block(height).ok();
        if known.is_none() || block.is_some() && known != block {
            self.catch_up(client, &mut proven).await?;
        }
        let id = block.unwrap_or(proven.chain.block(height)?);
        if proven.chain.block(height)? != id {
            return Err(TrustError::OtherBlock { height, id }.into());
        }
        let (confirmations, _) = proven.chain.buried(height)?;
        if let Some(known) = proven.transactions.get(&(txid, id)) {
            return Ok((known.clone(), confirmations));
        }
        let proof = client.getmerkleproof(Text(txid), Some(Text(id))).await;
        let proof = match proof.map_err(ClientError::from) {
            Err(error) if error.code() == Some("not-found") => {
                return Err(TrustError::NoProof { txid, height }.into());
            }
            proof => proof?,
        };
        let bad = || TrustError::BadProof { txid, height };
        let branch = proof.branch.iter().map(|hash| hash.0.as_slice().try_into());
        let branch = branch.collect::<Result<_, _>>().map_err(|_| bad())?;
        let path = MerklePath { position: proof.position, leaves: proof.leaves, branch };
        let included = proven.chain.check_inclusion(txid, height, &proof.hex.0, &path)?;
        proven.transactions.insert((txid, id), included.clone());
        Ok((included, confirmations))
    }

    /// Takes in the headers up to the node's tip. Where it is on another branch than was proven
    /// before, from their fork on, and only if that has as much work.
    async fn catch_up(&self, client: &Client, proven: &mut Proven) -> Result<(), NodeError> {
        let before = proven.chain.tip().work;
        let mut back = FIRST_STEP_BACK;
        loop {
            let start = proven.chain.headers().len();
            let Err(error) = self.extend(client, &mut proven.chain).await else { break };
            let is_elsewhere = match &error {
                NodeError::Trust(TrustError::NoChain { .. }) => true,
                // It is not so high.
                NodeError::Client(error) => error.code() == Some("invalid-parameter"),
                _ => false,
            };
            if !is_elsewhere || start == 0 {
                return Err(error);
            }
            // Lower each time, whatever was taken in meanwhile: who makes headers up comes to an end.
            let kept = start.saturating_sub(back);
            let excess = proven.chain.headers().len().saturating_sub(kept);
            proven.chain = proven.chain.shorter(excess, now_seconds())?;
            proven.cache.iter_mut().for_each(Cache::forget);
            back = back.saturating_mul(10);
        }
        let tip = proven.chain.tip();
        if tip.work < before {
            return Err(TrustError::LessWork { height: tip.height }.into());
        }
        if let Some(cache) = &mut proven.cache {
            // What can't be kept is proven again next time.
            drop(cache.save(&proven.chain));
        }
        Ok(())
    }

    async fn extend(&self, client: &Client, chain: &mut HeaderChain) -> Result<(), NodeError> {
        let now = now_seconds();
        loop {
            // The last known header again: an answer without it is of another branch, or says that
            // there is nothing above it.
            let tip = chain.tip();
            let (height, id) = (tip.height, tip.id);
            let page = client.getblockheaders(height, HEADERS_PER_CALL, Some(false)).await;
            let mut headers = Vec::new();
            for header in page.map_err(ClientError::from)?.headers {
                let HeaderResult::Raw(bytes) = header else { continue };
                let header = Header::from_bytes(&bytes.0);
                headers.push(header.map_err(|_| TrustError::NoChain { height, id })?);
            }
            match headers.split_first() {
                Some((known, above)) if known.id() == id => {
                    chain.extend(above, now)?;
                    if above.len() + 1 < usize::try_from(HEADERS_PER_CALL).unwrap_or(usize::MAX) {
                        return Ok(());
                    }
                }
                _ => return Err(TrustError::NoChain { height, id }.into()),
            }
        }
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
