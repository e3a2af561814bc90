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

use super::{HeaderChain, Included, MerklePath, TrustError};
use crate::node::NodeError;

/// Of a data directory: where a node keeps it.
const GENESIS_FILE: &str = "genesis.json";
/// Headers in one call: the interface's own bound.
const HEADERS_PER_CALL: u32 = 2_000;

/// Asks for proofs and keeps what was proven, for one command.
#[derive(Debug)]
pub(crate) struct Prover {
    genesis: Genesis,
    proven: Mutex<Proven>,
}

#[derive(Debug)]
struct Proven {
    chain: HeaderChain,
    /// By the block that they were proven in.
    transactions: BTreeMap<(Txid, BlockId), Included>,
}

impl Prover {
    /// By the genesis file that the user names, or that of the node's data directory. Which of the
    /// two does not matter: the wallet's chain id is the judge of it.
    pub(crate) fn new(named: Option<&Path>, datadir: Option<&Path>) -> Result<Self, TrustError> {
        let path: PathBuf = match (named, datadir) {
            (Some(path), _) => path.to_owned(),
            (None, Some(datadir)) => datadir.join(GENESIS_FILE),
            (None, None) => return Err(TrustError::NoGenesis),
        };
        let text = fs::read_to_string(&path)
            .map_err(|error| TrustError::Unreadable { path: path.clone(), error })?;
        let genesis = Genesis::parse(&text).map_err(|error| TrustError::Genesis { path, error })?;
        let chain = HeaderChain::begin(genesis.clone());
        Ok(Self { genesis, proven: Mutex::new(Proven { chain, transactions: BTreeMap::new() }) })
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
        self.catch_up(client, &mut proven.chain).await?;
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
            self.catch_up(client, &mut proven.chain).await?;
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

    /// Takes in the headers up to the node's tip; from the start where it has gone over to
    /// another branch since.
    async fn catch_up(&self, client: &Client, chain: &mut HeaderChain) -> Result<(), NodeError> {
        match self.extend(client, chain).await {
            Err(NodeError::Trust(TrustError::NoChain { .. })) => {
                *chain = HeaderChain::begin(self.genesis.clone());
                self.extend(client, chain).await
            }
            done => done,
        }
    }

    async fn extend(&self, client: &Client, chain: &mut HeaderChain) -> Result<(), NodeError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
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
