//! The blocks that a node is fed: a tree grown from a seed, with payments in each block, stale
//! branches, and reorganisations up to some dozens of blocks deep.

use std::collections::BTreeMap;

use ashlar_primitives::{
    Address, BlockId, Coin, Commitment, Lock, OutPoint, Output, Transaction, keys::SecretKey,
};
use ashlar_testkit::{
    builder::{self, Chain, PREFIX, Plan, Spend},
    model::Model,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Keys that pay each other. Miners are paid under the first.
const OWNERS: u64 = 40;
/// Coins that the genesis block gives each of them, and grains in each.
const COINS_EACH: usize = 4;
const GRAINS_EACH: u64 = 1_000_000_000;
/// What each payment leaves to miners, in grains: above the least that is relayed.
const FEE: u64 = 2_000;
/// Most bytes of a payment's memo: memos make bodies large enough for files of their own.
const MEMO_BYTES: usize = 256;
/// Blocks before the first fork.
const TRUNK: usize = 6;

/// How large a tree grows.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Blocks in all, at least.
    pub blocks: usize,
    /// Most payments in a block.
    pub payments: usize,
    /// Blocks that a reorganisation takes away at most.
    pub deepest: usize,
}

/// What holds after a block, whatever node is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The block's.
    pub height: u32,
    /// To the unspent coins.
    pub commitment: Commitment,
    /// How many there are.
    pub coins: u64,
    /// Their sum, in grains.
    pub supply: u64,
}

/// The blocks, in the order in which they are fed: parents stand before children.
#[derive(Debug)]
pub struct Tree {
    /// Made every block, and has the state after each; the model says the same.
    chain: Chain,
    /// Judges every block as it is fed, by rules of its own.
    model: Model,
    genesis_text: String,
    owners: Vec<SecretKey>,
    fed: Vec<BlockId>,
    /// The best block after the first so many.
    tips: Vec<BlockId>,
    places: BTreeMap<BlockId, usize>,
    depths: Vec<usize>,
}

impl Tree {
    /// The tree of a seed.
    pub fn grow(seed: u64, shape: &Shape) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let owners: Vec<SecretKey> = (0..OWNERS).map(builder::key).collect();
        let allocations: Vec<(Lock, u64)> = owners
            .iter()
            .flat_map(|owner| [(Lock::key(owner.public_key()), GRAINS_EACH); COINS_EACH])
            .collect();
        let genesis_text = builder::genesis_text(&allocations, &[]);
        let chain = Chain::new(builder::genesis_with(&allocations, &[]));
        let model = Model::new(chain.genesis());
        let genesis = chain.genesis_id();
        let mut tree = Self {
            chain,
            model,
            genesis_text,
            owners,
            fed: Vec::new(),
            tips: vec![genesis],
            places: BTreeMap::from([(genesis, 0)]),
            depths: Vec::new(),
        };
        tree.extend(&genesis, TRUNK, shape.payments, &mut random);
        while tree.len() < shape.blocks {
            let tip = tree.tip_after(tree.len());
            let height = tree.height(&tip);
            match random.random_range(0..5) {
                0 | 1 => {
                    tree.extend(&tip, random.random_range(1..=10), shape.payments, &mut random)
                }
                2 => {
                    // Stays behind, or draws level at most.
                    let below = random.random_range(1..=height.min(5));
                    let count = random.random_range(1..=below);
                    tree.extend(&tree.below(&tip, below), count, shape.payments, &mut random);
                }
                kind => {
                    let most = if kind == 3 { 4 } else { shape.deepest };
                    let depth = random.random_range(1..=height.min(most));
                    let count = depth + random.random_range(1..=2);
                    tree.depths.push(depth);
                    tree.extend(&tree.below(&tip, depth), count, shape.payments, &mut random);
                }
            }
        }
        tree
    }

    fn extend(&mut self, from: &BlockId, count: usize, payments: usize, random: &mut StdRng) {
        let mut parent = *from;
        for _ in 0..count {
            let transactions = self.payments(&parent, payments, random);
            parent = self.chain.extend(&parent, Plan::of(transactions)).id();
            self.fed.push(parent);
            self.places.insert(parent, self.fed.len());
            let best = self.tip_after(self.tips.len() - 1);
            // All blocks have the same work, and of equals the first is kept.
            let is_better = self.height(&parent) > self.height(&best);
            let best = if is_better { parent } else { best };
            self.tips.push(best);
            self.ask_model(&parent, &best);
        }
    }

    /// The model judges the newest block, and must be where the tree is.
    fn ask_model(&mut self, newest: &BlockId, best: &BlockId) {
        self.model.judge(&self.bytes(newest), u64::from(u32::MAX)).expect("a valid block");
        assert_eq!(self.model.best(), *best);
        let expected = self.expected(best).expect("a block of the tree");
        assert_eq!(self.model.commitment(best), expected.commitment);
        assert_eq!(self.model.supply(best), u128::from(expected.supply));
        assert_eq!(self.model.coins(best).len() as u64, expected.coins);
    }

    /// Payments good in a child of `parent`. Every fourth is spent again in the same block.
    fn payments(&self, parent: &BlockId, most: usize, random: &mut StdRng) -> Vec<Transaction> {
        let maturity = self.chain.genesis().params().coinbase_maturity;
        let height = self.chain.state(parent).header.height + 1;
        let mut purses: BTreeMap<Lock, Vec<(OutPoint, Output)>> = BTreeMap::new();
        for (outpoint, coin) in self.chain.coins(parent) {
            if !coin.is_coinbase || height >= coin.height + maturity {
                purses.entry(coin.output.lock).or_default().push((*outpoint, coin.output));
            }
        }
        let mut payments = Vec::new();
        for owner in &self.owners {
            if payments.len() >= random.random_range(0..=most) {
                continue;
            }
            let purse = purses.entry(Lock::key(owner.public_key())).or_default();
            if purse.is_empty() {
                continue;
            }
            let inputs: Vec<_> = (0..random.random_range(1..=purse.len().min(3)))
                .map(|_| purse.swap_remove(random.random_range(0..purse.len())))
                .collect();
            let Some((payment, payee)) = self.pay(inputs, owner, random) else { continue };
            let change = random.random_range(0..4) == 0;
            let output = (OutPoint { txid: payment.txid(), index: 0 }, payment.outputs[0]);
            payments.push(payment);
            if change && let Some((child, _)) = self.pay(vec![output], &self.owners[payee], random)
            {
                payments.push(child);
            }
        }
        payments
    }

    /// Spends these coins of one owner; also who gets the first output.
    fn pay(
        &self,
        inputs: Vec<(OutPoint, Output)>,
        owner: &SecretKey,
        random: &mut StdRng,
    ) -> Option<(Transaction, usize)> {
        let sum: u64 = inputs.iter().map(|(_, output)| output.value.grains()).sum();
        let mut left = sum.checked_sub(FEE).filter(|left| *left > 0)?;
        let mut outputs = Vec::new();
        let payee = random.random_range(0..self.owners.len());
        let mut to = payee;
        for _ in 0..random.random_range(1..=3) {
            let grains = random.random_range(1..=left);
            outputs.push(builder::output(Lock::key(self.owners[to].public_key()), grains));
            left -= grains;
            to = random.random_range(0..self.owners.len());
            if left == 0 {
                break;
            }
        }
        let mut memo = vec![0; random.random_range(0..=MEMO_BYTES)];
        random.fill(memo.as_mut_slice());
        let spend = Spend { inputs, outputs, memo, ..Spend::default() };
        Some((spend.sign(&self.chain.genesis_id(), &[owner]), payee))
    }

    fn height(&self, id: &BlockId) -> usize {
        self.chain.state(id).header.height as usize
    }

    fn below(&self, id: &BlockId, depth: usize) -> BlockId {
        (0..depth).fold(*id, |id, _| self.chain.block(&id).header().parent)
    }

    /// How many blocks are fed.
    pub fn len(&self) -> usize {
        self.fed.len()
    }

    /// Never: it has a trunk.
    pub fn is_empty(&self) -> bool {
        self.fed.is_empty()
    }

    /// The genesis file's text.
    pub fn genesis_text(&self) -> &str {
        &self.genesis_text
    }

    /// The id of the block that is fed after `place` others.
    pub fn id(&self, place: usize) -> BlockId {
        self.fed[place]
    }

    /// The encoding of a block other than the genesis block.
    pub fn bytes(&self, id: &BlockId) -> Vec<u8> {
        self.chain.block(id).to_bytes()
    }

    /// The payments of a block other than the genesis block.
    pub fn transactions(&self, id: &BlockId) -> Vec<Transaction> {
        self.chain.block(id).to_block().transactions
    }

    /// How many blocks must have been fed before this one can be known; 0 for the genesis block.
    pub fn place(&self, id: &BlockId) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// The best block after the first `fed` blocks.
    pub fn tip_after(&self, fed: usize) -> BlockId {
        self.tips[fed]
    }

    /// How deep each reorganisation is that the order of feeding brings.
    pub fn depths(&self) -> &[usize] {
        &self.depths
    }

    /// What holds at a block of the tree.
    pub fn expected(&self, id: &BlockId) -> Option<Expected> {
        self.places.get(id)?;
        let state = self.chain.state(id);
        let coins = self.chain.coins(id);
        Some(Expected {
            height: state.header.height,
            commitment: state.utxo.commitment(),
            coins: coins.len() as u64,
            supply: coins.values().map(|coin| coin.output.value.grains()).sum(),
        })
    }

    /// The unspent coins after a block of the tree.
    pub fn coins(&self, id: &BlockId) -> BTreeMap<OutPoint, Coin> {
        self.chain.coins(id).iter().map(|(outpoint, coin)| (*outpoint, *coin)).collect()
    }

    /// The ids from height 1 up to a block of the tree.
    pub fn branch(&self, tip: &BlockId) -> Vec<BlockId> {
        self.chain.branch(tip).iter().map(|block| block.id()).collect()
    }

    /// The child of a block with this encoding.
    pub fn child_with(&self, parent: &BlockId, bytes: &[u8]) -> Option<BlockId> {
        let is_child = |id: &&BlockId| self.chain.block(id).header().parent == *parent;
        self.fed.iter().filter(is_child).find(|id| self.bytes(id) == bytes).copied()
    }

    /// Every address that coins are under.
    pub fn addresses(&self) -> Vec<String> {
        let of = |lock| Address::new(PREFIX, lock).expect("a known lock").to_string();
        self.owners.iter().map(|owner| of(Lock::key(owner.public_key()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_tree_with_deep_reorganisations() {
        let shape = Shape { blocks: 200, payments: 4, deepest: 30 };
        let (one, same) = (Tree::grow(7, &shape), Tree::grow(7, &shape));
        assert_eq!(one.fed, same.fed);
        assert_ne!(one.fed, Tree::grow(8, &shape).fed);
        assert!(one.len() >= 200 && one.depths().iter().any(|depth| *depth > 10));
        assert!((0..one.len()).any(|place| one.transactions(&one.id(place)).len() > 2));
        let tip = one.tip_after(one.len());
        assert_eq!(one.expected(&tip).unwrap().coins, one.coins(&tip).len() as u64);
    }
}
