//! Chains made block by block: valid, but nobody verifies what was just signed.

use std::sync::Arc;

use ashlar_consensus::{
    CheckedBlock, Genesis, HeaderState, Params, SignatureCheck, Signatures, SpentCoins, State,
    UtxoDiff, check_header, open_block, open_body, walk,
};
use ashlar_primitives::{
    Block, Coin, Coinbase, Decode as _, Header, Lock, MerkleRoot, OutPoint, Output, Transaction,
};
use ashlar_testkit::builder;

/// A block that was made, and what it left.
#[derive(Debug)]
pub struct Made {
    /// Good by every rule but its signatures, which nobody looked at.
    pub block: Arc<CheckedBlock>,
    /// What it did to the coins.
    pub diff: UtxoDiff,
    /// The signatures to verify.
    pub checks: Vec<SignatureCheck>,
    next: State,
}

/// The end of a chain. A clone is a fork.
#[derive(Clone, Debug)]
pub struct Maker {
    genesis: Arc<Genesis>,
    state: State,
    time: u32,
    branch: u64,
}

impl Maker {
    /// A chain with its genesis block alone.
    pub fn new(genesis: Genesis) -> Self {
        let (state, time) = (genesis.state().clone(), genesis.params().time);
        Self { genesis: Arc::new(genesis), state, time, branch: 0 }
    }

    /// Blocks from now on differ from those of every other branch.
    pub const fn diverge(&mut self, branch: u64) {
        self.branch = branch;
    }

    /// What the chain begins with.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The chain's.
    pub fn params(&self) -> &Params {
        self.genesis.params()
    }

    /// What the tip left.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The height of the next block.
    pub fn next_height(&self) -> u32 {
        self.state.header.height + 1
    }

    /// A child of the tip; the tip stays where it is.
    ///
    /// # Panics
    /// Where the transactions break a rule, signatures apart.
    pub fn child(&self, transactions: Vec<Transaction>, coins: &SpentCoins) -> Made {
        let params = self.params();
        let height = self.next_height();
        let pay_to = Output { value: params.subsidy(height), lock: builder::lock(0) };
        let coinbase = Coinbase {
            version: Coinbase::VERSION,
            height,
            utxo_commitment: self.state.utxo.commitment(),
            outputs: vec![pay_to],
            extra: self.branch.to_le_bytes().to_vec(),
        };
        let time = self.time + params.block_interval;
        let header = Header {
            version: 0x2000_0000,
            parent: self.state.header.id,
            merkle_root: MerkleRoot::ZERO,
            time,
            bits: self.state.header.required_bits(params, time),
            nonce: 0,
        };
        let block = builder::seal(Block { header, coinbase, transactions });
        let header = block.header;
        let state = check_header(&self.state.header, params, &header).expect("a good header");
        let block = open_block(params, &header, height, block).expect("a good body");
        self.walked(block, state, coins)
    }

    /// A block that was made before.
    ///
    /// # Panics
    /// Where it is no child of the tip, or breaks a rule, signatures apart.
    pub fn adopt(&mut self, bytes: &[u8], coins: impl Fn(&OutPoint) -> Option<Coin>) -> Made {
        let header = bytes.get(..Header::LEN).map(Header::from_bytes);
        let header = header.and_then(Result::ok).expect("a whole header");
        let state = check_header(&self.state.header, self.params(), &header).expect("a child");
        let block = open_body(self.params(), &header, self.next_height(), bytes);
        let block = block.expect("a good body");
        let inputs = block.external_inputs().iter().copied();
        let coins = inputs.filter_map(|outpoint| Some((outpoint, coins(&outpoint)?))).collect();
        let made = self.walked(block, state, &SpentCoins { coins });
        self.follow(made)
    }

    fn walked(&self, block: CheckedBlock, state: HeaderState, coins: &SpentCoins) -> Made {
        let walked = walk(&self.state, state, self.params(), &block, coins);
        let pending = walked.outcome.expect("a good block");
        let transition =
            pending.seal(&self.state, Signatures::AssumedValid).expect("the block's own walk");
        let (next, diff) = transition.into_parts();
        Made { block: Arc::new(block), diff, checks: walked.checks, next }
    }

    fn follow(&mut self, made: Made) -> Made {
        self.state = made.next.clone();
        self.time = made.block.header().time;
        made
    }

    /// A child of the tip, which is the tip from then on.
    ///
    /// # Panics
    /// As [`Maker::child`].
    pub fn grow(&mut self, transactions: Vec<Transaction>, coins: &SpentCoins) -> Made {
        let made = self.child(transactions, coins);
        self.follow(made)
    }
}

/// How many outputs a transaction makes that splits an allocation: it stays under the largest
/// size that the rules allow.
const FAN_OUT: usize = 2_400;

/// Room for the outputs of one such transaction, in bytes.
const FAN_OUT_BYTES: usize = 100_000;

/// Largest block of them, in bytes: nodes with little memory take them in as well.
const MAX_FUNDING_BYTES: u32 = 4_000_000;

/// The number of the key that all allocations are under ([`builder::key`]).
const ALLOCATION_KEY: u64 = 0;

/// A `genesis.json` whose allocations [`fund`] splits into `coins` coins of `grains` each.
pub fn genesis_text(coins: usize, grains: u64, max_block_bytes: u32) -> String {
    let allocations =
        vec![(builder::lock(ALLOCATION_KEY), FAN_OUT as u64 * grains); coins.div_ceil(FAN_OUT)];
    builder::genesis_text(&allocations, &[("max_block_bytes", max_block_bytes.into())])
}

/// Splits the allocations of [`genesis_text`]: a coin of `grains` under each lock, in that order,
/// and the blocks that it took.
///
/// # Panics
/// Where the genesis was made for fewer coins, or for more grains.
pub fn fund(maker: &mut Maker, locks: &[Lock], grains: u64) -> (Vec<Made>, Vec<(OutPoint, Coin)>) {
    let chain_id = maker.params().chain_id;
    let key = builder::key(ALLOCATION_KEY);
    let allocations: Vec<_> = maker.genesis().diff().created.clone().into_iter().collect();
    let block_bytes = maker.params().max_block_bytes.min(MAX_FUNDING_BYTES);
    let per_block = (block_bytes as usize / FAN_OUT_BYTES).max(1);
    let groups: Vec<_> = locks.chunks(FAN_OUT).zip(&allocations).collect();
    assert_eq!(groups.len(), locks.len().div_ceil(FAN_OUT), "enough allocations");
    let (mut blocks, mut coins) = (Vec::new(), Vec::with_capacity(locks.len()));
    for groups in groups.chunks(per_block) {
        let mut spent = Vec::new();
        let mut transactions = Vec::new();
        for (locks, (outpoint, coin)) in groups {
            spent.push((*outpoint, *coin));
            let outputs = locks.iter().map(|lock| builder::output(*lock, grains)).collect();
            let inputs = vec![(*outpoint, coin.output)];
            let spend = builder::Spend { inputs, outputs, ..builder::Spend::default() };
            transactions.push(spend.sign(&chain_id, &[&key]));
        }
        let made = maker.grow(transactions, &SpentCoins { coins: spent.into_iter().collect() });
        for transaction in made.block.transactions() {
            coins.extend(transaction.coins(made.block.height()));
        }
        blocks.push(made);
    }
    (blocks, coins)
}
