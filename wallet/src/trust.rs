//! What a node says, checked as far as a wallet can: headers with their proof of work from the
//! genesis block on, and in them the transactions that made the coins (PROTOCOL.md §4, §5).
//!
//! Reading order: this file (what is judged, without IO), [`prover`] (what is asked for it),
//! [`cache`] (what is kept of it).
//!
//! A node that lies can then still hold back: it can show an old chain, leave out a coin, or not
//! say that one is spent. It can't make up a coin, nor show a chain that nobody worked on. What is
//! signed commits to the amounts spent (§3), so that no lie makes the wallet pay more than it shows.

pub(crate) mod cache;
pub(crate) mod prover;

use std::{io, path::PathBuf};

use ashlar_consensus::{
    Genesis, HeaderState, Work, genesis_file::GenesisError, header::JudgeError, judge_header,
};
use ashlar_primitives::{
    Address, BlockId, Coinbase, Decode, Header, MerkleRoot, Output, Transaction, Txid,
    hash::double_sha256,
    merkle::{INNER_PREIMAGE_LEN, root_of_branch},
};
use thiserror::Error;

use crate::failure::Kind;

/// Why a node is not to be believed, or can't prove what it says.
#[derive(Debug, Error)]
pub(crate) enum TrustError {
    #[error("to verify, the chain's genesis file is needed: --verify=FILE, or a node's --datadir")]
    NoGenesis,
    #[error("{path} can't be read: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path}: {error}")]
    Genesis { path: PathBuf, error: GenesisError },
    #[error("the genesis file is for the chain {file}, this wallet for {wallet}")]
    OtherGenesis { file: String, wallet: String },
    #[error("the block {id} is not at height {height} of the chain that the node proved")]
    OtherBlock { height: u32, id: BlockId },
    #[error("the node's header {id} at height {height} is wrong: {error}; don't trust this node")]
    BadHeader { height: u32, id: BlockId, error: JudgeError },
    #[error(
        "the node's headers are no chain: {id} at height {height} does not build on the last; don't trust this node"
    )]
    NoChain { height: u32, id: BlockId },
    #[error(
        "the node shows a chain up to block {height} only, with less work than one that was proven before; wait until it has caught up, or ask another"
    )]
    LessWork { height: u32 },
    #[error("the node names a block at height {height}, but proved only {proven} headers")]
    TooHigh { height: u32, proven: u32 },
    #[error(
        "the node's proof for {txid} does not lead to the block at height {height}; don't trust it"
    )]
    BadProof { txid: Txid, height: u32 },
    #[error("the node can't prove that {txid} is in the block at height {height}; don't trust it")]
    NoProof { txid: Txid, height: u32 },
    #[error("{txid} does not hold what the node said; don't trust this node")]
    OtherOutput { txid: Txid },
}

impl TrustError {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::NoGenesis | Self::Unreadable { .. } | Self::Genesis { .. } => Kind::Usage,
            Self::LessWork { .. } => Kind::Node,
            _ => Kind::Trust,
        }
    }
}

/// Headers that follow from the genesis block, each with its proof of work.
#[derive(Clone, Debug)]
pub(crate) struct HeaderChain {
    genesis: Genesis,
    tip: HeaderState,
    /// By height.
    blocks: Vec<Proven>,
}

/// A header, and what follows from it.
#[derive(Clone, Copy, Debug)]
struct Proven {
    header: Header,
    id: BlockId,
    /// Of the chain up to it.
    work: Work,
}

/// A path from a leaf to the merkle root, as a node gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MerklePath {
    /// Where the leaf stands; the coinbase is 0.
    pub(crate) position: u32,
    /// How many leaves there are.
    pub(crate) leaves: u32,
    /// From the bottom up; none where a last node goes up unchanged.
    pub(crate) branch: Vec<[u8; 32]>,
}

impl HeaderChain {
    /// The genesis block alone, which needs no proof: the chain's id is its hash.
    pub(crate) fn begin(genesis: Genesis) -> Self {
        let tip = genesis.state().header.clone();
        let header = genesis.block().header;
        let blocks = vec![Proven { header, id: tip.id, work: tip.work }];
        Self { genesis, tip, blocks }
    }

    /// The last proven header.
    pub(crate) const fn tip(&self) -> &HeaderState {
        &self.tip
    }

    /// Takes in the next headers, each judged by all the rules for headers.
    pub(crate) fn extend(
        &mut self,
        headers: &[Header],
        now_seconds: u64,
    ) -> Result<(), TrustError> {
        for header in headers {
            let (height, id) = (self.tip.height.saturating_add(1), header.id());
            if header.parent != self.tip.id {
                return Err(TrustError::NoChain { height, id });
            }
            self.tip = judge_header(&self.tip, self.genesis.params(), header, now_seconds)
                .map_err(|error| TrustError::BadHeader { height, id, error })?;
            self.blocks.push(Proven { header: *header, id, work: self.tip.work });
        }
        Ok(())
    }

    /// The chain's id.
    pub(crate) const fn id(&self) -> BlockId {
        self.genesis.params().chain_id
    }

    /// All headers above the genesis block's, in order.
    pub(crate) fn headers(&self) -> impl ExactSizeIterator<Item = &Header> {
        self.blocks.iter().map(|block| &block.header).skip(1)
    }

    /// The same chain without its last so many headers.
    pub(crate) fn shorter(&self, by: usize, now_seconds: u64) -> Result<Self, TrustError> {
        let kept = self.headers().len().saturating_sub(by);
        let headers: Vec<Header> = self.headers().take(kept).copied().collect();
        let mut chain = Self::begin(self.genesis.clone());
        chain.extend(&headers, now_seconds)?;
        Ok(chain)
    }

    /// The block at a height.
    pub(crate) fn block(&self, height: u32) -> Result<BlockId, TrustError> {
        self.proven(height).map(|block| block.id)
    }

    /// Blocks from a height up to the tip, its own counted, and the work in them.
    pub(crate) fn buried(&self, height: u32) -> Result<(u32, Work), TrustError> {
        self.proven(height)?;
        let before = height
            .checked_sub(1)
            .map_or(Ok(Work::default()), |below| self.proven(below).map(|block| block.work))?;
        let count = self.tip.height.saturating_sub(height).saturating_add(1);
        Ok((count, self.tip.work.saturating_sub(before)))
    }

    fn proven(&self, height: u32) -> Result<Proven, TrustError> {
        let block = usize::try_from(height).ok().and_then(|height| self.blocks.get(height));
        block.copied().ok_or(TrustError::TooHigh { height, proven: self.tip.height })
    }

    /// Whether a transaction or coinbase, as bytes, is `txid` and in the block at `height`.
    pub(crate) fn check_inclusion(
        &self,
        txid: Txid,
        height: u32,
        bytes: &[u8],
        path: &MerklePath,
    ) -> Result<Included, TrustError> {
        let bad = TrustError::BadProof { txid, height };
        let Some(outputs) = outputs_of(txid, bytes) else { return Err(bad) };
        let included = Included { outputs };
        // Such bytes could be two hashes of an inner node (PROTOCOL.md §4).
        if bytes.len() == INNER_PREIMAGE_LEN {
            return Err(bad);
        }
        match path.root(double_sha256(bytes)) {
            Some(root) if root == self.proven(height)?.header.merkle_root => Ok(included),
            _ => Err(bad),
        }
    }
}

/// What a transaction or coinbase made, given its bytes; `None` where they have another id.
pub(crate) fn outputs_of(txid: Txid, bytes: &[u8]) -> Option<Vec<Output>> {
    match (Transaction::from_bytes(bytes), Coinbase::from_bytes(bytes)) {
        (Ok(transaction), _) if transaction.txid() == txid => Some(transaction.outputs),
        (_, Ok(coinbase)) if Txid::from(coinbase.id()) == txid => Some(coinbase.outputs),
        _ => None,
    }
}

/// A transaction or coinbase that is surely in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Included {
    outputs: Vec<Output>,
}

impl Included {
    /// Whether it made this coin: so many grains for the address that reads so.
    pub(crate) fn made(&self, index: u16, grains: u64, address: &str) -> bool {
        let output = self.outputs.get(usize::from(index));
        output.is_some_and(|output| output.value.grains() == grains && is_of(output, address))
    }

    /// What it paid to the address that reads so, in grains.
    pub(crate) fn paid_to(&self, address: &str) -> u64 {
        let paid = self.outputs.iter().filter(|output| is_of(output, address));
        paid.fold(0, |sum, output| sum.saturating_add(output.value.grains()))
    }
}

fn is_of(output: &Output, address: &str) -> bool {
    let prefix = address.rsplit_once('1').map_or("", |(prefix, _)| prefix);
    Address::parse(address, prefix).is_ok_and(|address| address.lock == output.lock)
}

impl MerklePath {
    /// The root above a leaf; `None` where the path fits no tree of so many leaves.
    fn root(&self, leaf: [u8; 32]) -> Option<MerkleRoot> {
        let position = usize::try_from(self.position).ok()?;
        root_of_branch(leaf, position, usize::try_from(self.leaves).ok()?, &self.branch)
    }
}

#[cfg(test)]
mod tests {
    use ashlar_consensus::HeaderError;
    use ashlar_primitives::{Amount, Encode, Lock, OutPoint, merkle::merkle_root};

    use super::*;

    pub(super) const NOW: u64 = 1_800_000_000;

    fn genesis() -> Genesis {
        Genesis::parse(include_str!("../../tests/genesis-dev.json")).unwrap()
    }

    pub(super) fn begin() -> HeaderChain {
        HeaderChain::begin(genesis())
    }

    /// The next header over this root, its nonce found.
    pub(super) fn mine(chain: &HeaderChain, merkle_root: MerkleRoot) -> Header {
        let parent = chain.tip();
        let time = u32::try_from(parent.min_time()).unwrap();
        let bits = parent.required_bits(chain.genesis.params(), time);
        let (version, parent) = (0x2000_0000, parent.id);
        let mut header = Header { version, parent, merkle_root, time, bits, nonce: 0 };
        while chain.clone().extend(&[header], NOW).is_err() {
            header.nonce += 1;
        }
        header
    }

    #[test]
    fn headers_need_their_work_and_follow_one_another() {
        let mut chain = begin();
        for number in 1..=3 {
            let header = mine(&chain, MerkleRoot([number; 32]));
            chain.extend(&[header], NOW).unwrap();
        }
        assert_eq!(chain.tip().height, 3);
        assert_eq!(chain.buried(2).unwrap().0, 2);
        assert!(chain.buried(1).unwrap().1 > chain.buried(2).unwrap().1);
        assert!(matches!(chain.block(4), Err(TrustError::TooHigh { .. })));
        let good = mine(&chain, MerkleRoot::ZERO);
        let mut lazy = good;
        let refused = loop {
            lazy.nonce += 1;
            if let Err(error) = chain.clone().extend(&[lazy], NOW) {
                break error;
            }
        };
        let is_lazy = |error: &TrustError| {
            let TrustError::BadHeader { error: JudgeError::Rule(error), .. } = error else {
                return false;
            };
            matches!(error, HeaderError::HighHash)
        };
        assert!(is_lazy(&refused), "{refused}");
        let easy = Header { bits: 0x2100_ffff, ..good };
        assert!(matches!(chain.extend(&[easy], NOW), Err(TrustError::BadHeader { .. })));
        let elsewhere = Header { parent: BlockId([9; 32]), ..good };
        assert!(matches!(chain.extend(&[elsewhere], NOW), Err(TrustError::NoChain { .. })));
        let early = u64::from(good.time) - 8_000;
        assert!(matches!(chain.extend(&[good], early), Err(TrustError::BadHeader { .. })));
    }

    fn transaction(number: u8) -> Transaction {
        let lock = Lock { version: 0, program: [number; 32] };
        Transaction {
            not_before: number.into(),
            inputs: vec![OutPoint { txid: Txid([number; 32]), index: 0 }],
            outputs: vec![Output { value: Amount::from_grains(number.into()), lock }],
            memo: Vec::new(),
            witnesses: Vec::new(),
        }
    }

    /// All siblings of a leaf, bottom up.
    fn path(leaves: &[[u8; 32]], position: usize) -> MerklePath {
        let (mut level, mut place, mut branch) = (leaves.to_vec(), position, Vec::new());
        while level.len() > 1 {
            branch.extend(level.get(place ^ 1));
            level = level.chunks(2).map(|pair| merkle_root(pair).0).collect();
            place /= 2;
        }
        let number = |number| u32::try_from(number).unwrap();
        MerklePath { position: number(position), leaves: number(leaves.len()), branch }
    }

    #[test]
    fn a_transaction_is_in_the_block_that_its_path_leads_to_and_in_no_other() {
        for count in 1..=9_u8 {
            let all: Vec<Transaction> = (1..=count).map(transaction).collect();
            let leaves: Vec<[u8; 32]> = all.iter().map(|t| t.wtxid().0).collect();
            let mut chain = begin();
            let header = mine(&chain, merkle_root(&leaves));
            chain.extend(&[header], NOW).unwrap();
            let header = mine(&chain, MerkleRoot([1; 32]));
            chain.extend(&[header], NOW).unwrap();
            for (position, transaction) in all.iter().enumerate() {
                let (txid, bytes) = (transaction.txid(), transaction.to_bytes());
                let path = path(&leaves, position);
                let included = chain.check_inclusion(txid, 1, &bytes, &path).unwrap();
                let Output { value, lock } = transaction.outputs[0];
                let address = Address::new("ash", lock).unwrap().to_string();
                let other = Lock { version: 0, program: [99; 32] };
                let other = Address::new("ash", other).unwrap().to_string();
                assert!(included.made(0, value.grains(), &address));
                assert!(!included.made(0, value.grains() + 1, &address));
                assert!(!included.made(1, value.grains(), &address));
                assert!(!included.made(0, value.grains(), &other));
                assert_eq!(included.paid_to(&address), value.grains());
                assert_eq!(included.paid_to(&other), 0);

                assert!(chain.check_inclusion(txid, 2, &bytes, &path).is_err(), "another block");
                assert!(chain.check_inclusion(Txid([9; 32]), 1, &bytes, &path).is_err());
                let mut longer = path.clone();
                longer.branch.push([0; 32]);
                assert!(chain.check_inclusion(txid, 1, &bytes, &longer).is_err());
                let beyond = MerklePath { position: u32::from(count), ..path };
                assert!(chain.check_inclusion(txid, 1, &bytes, &beyond).is_err());
            }
        }
    }

    #[test]
    fn the_coins_of_the_genesis_are_proven_by_the_chain_id_alone() {
        let chain = begin();
        let coinbase = chain.genesis.block().coinbase.clone();
        let txid = Txid::from(coinbase.id());
        let path = MerklePath { position: 0, leaves: 1, branch: Vec::new() };
        let included = chain.check_inclusion(txid, 0, &coinbase.to_bytes(), &path).unwrap();
        let paid = coinbase.outputs[0];
        let address = Address::new("devash", paid.lock).unwrap().to_string();
        assert!(included.made(0, paid.value.grains(), &address));
    }
}
