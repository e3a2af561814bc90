//! Chains for tests: blocks made on demand on any block made before, payments signed by keys that
//! are numbers, valid or spoiled in one place.
//!
//! ```text
//! let mut chain = Chain::new(genesis(&[(lock(1), 1_000)]));
//! let block = chain.extend(&chain.genesis_id(), Plan::default());
//! let fork = chain.extend(&chain.genesis_id(), Plan { pay_to: lock(2), ..Plan::default() });
//! ```
//!
//! Everything is the same on every run. A [`Chain`] is no node: it knows no best block and keeps
//! every branch, each block with the coins after it.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ashlar_consensus::{
    CheckedBlock, Genesis, SpentCoins, State, Target, check_header, connect::connect_block,
    open_block, transaction::sighash,
};
use ashlar_primitives::{
    Address, Amount, Block, BlockId, Coin, Coinbase, Header, Lock, MerkleRoot, OutPoint, Output,
    Transaction, Witness, keys::SecretKey, merkle::block_merkle_root,
};
use imbl::OrdMap;
use serde_json::{Value, json};

/// The address prefix of test chains.
pub const PREFIX: &str = "test";

/// When test chains begin, in seconds since 1970.
pub const GENESIS_TIME: u32 = 1_700_000_000;

/// The key of a number.
pub fn key(number: u64) -> SecretKey {
    let mut secret = [0x5a; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_bytes(&secret)
}

/// The lock of a number's key.
pub fn lock(number: u64) -> Lock {
    Lock::key(key(number).public_key())
}

/// An output of so many grains.
pub const fn output(lock: Lock, grains: u64) -> Output {
    Output { value: Amount::from_grains(grains), lock }
}

/// A chain with trivial, fixed difficulty, a maturity of 3 blocks and these allocations.
pub fn genesis(allocations: &[(Lock, u64)]) -> Genesis {
    genesis_with(allocations, &[])
}

/// [`genesis`] with some fields of `genesis.json` changed.
pub fn genesis_with(allocations: &[(Lock, u64)], changes: &[(&str, Value)]) -> Genesis {
    Genesis::parse(&genesis_text(allocations, changes)).expect("the parts of a valid genesis")
}

/// The `genesis.json` of [`genesis_with`].
pub fn genesis_text(allocations: &[(Lock, u64)], changes: &[(&str, Value)]) -> String {
    let allocations: Vec<Value> = allocations
        .iter()
        .map(|(lock, value)| {
            let address = Address::new(PREFIX, *lock).expect("a known lock");
            json!({"address": address.to_string(), "value": value})
        })
        .collect();
    let mut text = json!({
        "name": "test",
        "address_prefix": PREFIX,
        "time": GENESIS_TIME,
        "bits": "207fffff",
        "pow_limit_bits": "207fffff",
        "block_interval": 10,
        "difficulty_half_life": 0,
        "stall_relief_seconds": 0,
        "max_future_seconds": 7_200,
        "max_block_bytes": 4_000_000,
        "coinbase_maturity": 3,
        "initial_subsidy": 500_000_000,
        "halving_interval": 1_000_000,
        "message": "",
        "allocations": allocations,
    });
    for (field, value) in changes {
        text[*field] = value.clone();
    }
    text.to_string()
}

/// A transaction to be signed.
#[derive(Clone, Debug, Default)]
pub struct Spend {
    /// The coins spent.
    pub inputs: Vec<(OutPoint, Output)>,
    /// The coins made.
    pub outputs: Vec<Output>,
    /// The first height at which it may stand in a block.
    pub not_before: u32,
    /// Anything.
    pub memo: Vec<u8>,
}

impl Spend {
    /// Signs for a chain, once for each distinct key lock spent.
    ///
    /// # Panics
    /// Where none of `keys` opens a lock.
    pub fn sign(self, chain_id: &BlockId, keys: &[&SecretKey]) -> Transaction {
        let spent: Vec<Output> = self.inputs.iter().map(|(_, output)| *output).collect();
        let mut transaction = Transaction {
            not_before: self.not_before,
            inputs: self.inputs.into_iter().map(|(outpoint, _)| outpoint).collect(),
            outputs: self.outputs,
            memo: self.memo,
            witnesses: Vec::new(),
        };
        let digest = sighash(chain_id, &transaction.txid(), &spent);
        let mut seen = BTreeSet::new();
        for lock in spent.iter().map(|output| output.lock).filter(|lock| seen.insert(*lock)) {
            let owner = keys.iter().find(|key| Lock::key(key.public_key()) == lock);
            let owner = owner.expect("the key of every lock spent");
            transaction.witnesses.push(Witness::Key { signature: owner.sign(&digest) });
        }
        transaction
    }
}

/// What is particular about a block.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In order; those of a valid block.
    pub transactions: Vec<Transaction>,
    /// Who gets the subsidy and the fees.
    pub pay_to: Lock,
    /// What the coinbase claims; `None`: all that it may.
    pub claim: Option<Amount>,
    /// The header's; `None`: a block interval after the parent's.
    pub time: Option<u32>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { transactions: Vec::new(), pay_to: lock(0), claim: None, time: None }
    }
}

impl Plan {
    /// A block of these transactions.
    pub fn of(transactions: Vec<Transaction>) -> Self {
        Self { transactions, ..Self::default() }
    }
}

/// A block that was made, and what it left.
#[derive(Clone, Debug)]
struct Made {
    /// `None` for the genesis block.
    block: Option<Arc<CheckedBlock>>,
    time: u32,
    state: State,
    coins: OrdMap<OutPoint, Coin>,
}

/// Blocks made so far, on any branch.
#[derive(Clone, Debug)]
pub struct Chain {
    genesis: Genesis,
    made: BTreeMap<BlockId, Made>,
    /// Goes into each coinbase, so that no two blocks are alike.
    serial: Cell<u64>,
}

impl Chain {
    /// With the genesis block alone.
    pub fn new(genesis: Genesis) -> Self {
        let made = Made {
            block: None,
            time: genesis.params().time,
            state: genesis.state().clone(),
            coins: genesis
                .diff()
                .created
                .iter()
                .map(|(outpoint, coin)| (*outpoint, *coin))
                .collect(),
        };
        let made = [(genesis.params().chain_id, made)].into();
        Self { genesis, made, serial: Cell::new(0) }
    }

    /// What the chain begins with.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The genesis block's id, which is the chain's.
    pub const fn genesis_id(&self) -> BlockId {
        self.genesis.params().chain_id
    }

    fn made(&self, id: &BlockId) -> &Made {
        self.made.get(id).expect("a block of this chain")
    }

    /// Every block made or taken in so far, the genesis block among them, by id.
    pub fn ids(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.made.keys().copied()
    }

    /// The state after a block.
    ///
    /// # Panics
    /// Like everything here that takes an id: where the chain did not make that block.
    pub fn state(&self, id: &BlockId) -> &State {
        &self.made(id).state
    }

    /// A block; the genesis block has no checked form.
    pub fn block(&self, id: &BlockId) -> &Arc<CheckedBlock> {
        self.made(id).block.as_ref().expect("not the genesis block")
    }

    /// The blocks from above genesis up to `tip`.
    pub fn branch(&self, tip: &BlockId) -> Vec<Arc<CheckedBlock>> {
        let up = |id: &BlockId| self.made(id).block.clone();
        let mut blocks: Vec<_> =
            std::iter::successors(up(tip), |block| up(&block.header().parent)).collect();
        blocks.reverse();
        blocks
    }

    /// The unspent coins after a block.
    pub fn coins(&self, id: &BlockId) -> &OrdMap<OutPoint, Coin> {
        &self.made(id).coins
    }

    /// Those under a lock that a child of the block may spend, by outpoint.
    pub fn spendable(&self, id: &BlockId, lock: &Lock) -> Vec<(OutPoint, Output)> {
        let height = u64::from(self.state(id).header.height) + 1;
        let maturity = u64::from(self.genesis.params().coinbase_maturity);
        self.coins(id)
            .iter()
            .filter(|(_, coin)| coin.output.lock == *lock)
            .filter(|(_, coin)| !coin.is_coinbase || height >= u64::from(coin.height) + maturity)
            .map(|(outpoint, coin)| (*outpoint, coin.output))
            .collect()
    }

    /// A payment of `grains` by the key of a number, good in a child of `at`: spends as few of its
    /// coins as it takes, in order of outpoint, and returns the change.
    ///
    /// # Panics
    /// Where the key has too little.
    pub fn pay(&self, at: &BlockId, from: u64, to: Lock, grains: u64, fee: u64) -> Transaction {
        let mut spend = Spend::default();
        let mut sum = 0;
        for (outpoint, coin) in self.spendable(at, &lock(from)) {
            if sum < grains + fee {
                sum += coin.value.grains();
                spend.inputs.push((outpoint, coin));
            }
        }
        let change = sum.checked_sub(grains + fee).expect("enough coins");
        spend.outputs.push(output(to, grains));
        if change > 0 {
            spend.outputs.push(output(lock(from), change));
        }
        spend.sign(&self.genesis_id(), &[&key(from)])
    }

    /// A block that is complete but for its proof of work, on any block made before.
    pub fn draft(&self, parent: &BlockId, plan: Plan) -> Block {
        let params = self.genesis.params();
        let Made { state, coins, time, .. } = self.made(parent);
        let height = state.header.height + 1;
        let fees = || {
            // Transactions of the same block may spend each other's outputs.
            let mut values: BTreeMap<OutPoint, u64> = BTreeMap::new();
            let mut fees = 0;
            for transaction in &plan.transactions {
                let value = |outpoint| {
                    let stored = coins.get(outpoint).map(|coin| coin.output.value.grains());
                    values.get(outpoint).copied().or(stored).unwrap_or(0)
                };
                let inputs: u64 = transaction.inputs.iter().map(value).sum();
                let outputs: u64 = transaction.outputs.iter().map(|o| o.value.grains()).sum();
                fees += inputs.saturating_sub(outputs);
                let txid = transaction.txid();
                for (index, output) in (0..).zip(&transaction.outputs) {
                    values.insert(OutPoint { txid, index }, output.value.grains());
                }
            }
            Amount::from_grains(params.subsidy(height).grains() + fees)
        };
        let value = plan.claim.unwrap_or_else(fees);
        self.serial.set(self.serial.get() + 1);
        let coinbase = Coinbase {
            version: Coinbase::VERSION,
            height,
            utxo_commitment: state.utxo.commitment(),
            outputs: vec![Output { value, lock: plan.pay_to }],
            extra: self.serial.get().to_le_bytes().to_vec(),
        };
        let earliest = u32::try_from(state.header.min_time()).expect("a time below 2106");
        let time = plan.time.unwrap_or_else(|| (time + params.block_interval).max(earliest));
        let header = Header {
            version: 0x2000_0000,
            parent: *parent,
            merkle_root: MerkleRoot::ZERO,
            time,
            bits: state.header.required_bits(params, time),
            nonce: 0,
        };
        Block { header, coinbase, transactions: plan.transactions }
    }

    /// Makes a valid child of `parent`.
    ///
    /// # Panics
    /// Where the plan breaks a rule.
    pub fn extend(&mut self, parent: &BlockId, plan: Plan) -> Arc<CheckedBlock> {
        let block = seal(self.draft(parent, plan));
        self.adopt(block).expect("a valid block")
    }

    /// Makes so many empty children, one on the other; the last one's id (`parent` for none).
    pub fn extend_by(&mut self, parent: &BlockId, count: usize) -> BlockId {
        (0..count).fold(*parent, |tip, _| self.extend(&tip, Plan::default()).id())
    }

    /// A child of `parent` with one thing wrong: `spoil` changes the finished draft, then the
    /// merkle root is made to fit and the work is done. It is not part of the chain.
    pub fn spoiled(&self, parent: &BlockId, plan: Plan, spoil: impl FnOnce(&mut Block)) -> Block {
        let mut block = self.draft(parent, plan);
        spoil(&mut block);
        seal(block)
    }

    /// Takes in a block made elsewhere; the rule that it breaks, for people, where it is invalid.
    pub fn adopt(&mut self, block: Block) -> Result<Arc<CheckedBlock>, String> {
        let params = self.genesis.params();
        let parent = self.made(&block.header.parent);
        let next = check_header(&parent.state.header, params, &block.header)
            .map_err(|error| error.to_string())?;
        let header = block.header;
        let checked =
            open_block(params, &header, next.height, block).map_err(|error| error.to_string())?;
        let fetched = checked.external_inputs().iter().copied();
        let fetched = fetched.filter_map(|at| Some((at, *parent.coins.get(&at)?))).collect();
        let spent = SpentCoins { coins: fetched };
        let transition =
            connect_block(&parent.state, next, params, &checked, &spent, &mut rand::rng())
                .map_err(|error| error.to_string())?;
        let (state, diff) = transition.into_parts();
        let mut coins = parent.coins.clone();
        for outpoint in diff.spent.keys() {
            coins.remove(outpoint);
        }
        coins.extend(diff.created);
        Ok(self.insert(checked, state, coins))
    }

    /// Takes in a block without judging it with state, so that descendants of an invalid block can
    /// be made. Their header rules hold; what they commit to is nonsense that nobody may reach.
    ///
    /// # Panics
    /// Where the header rules or those of the body alone don't hold.
    pub fn adopt_unjudged(&mut self, block: Block) -> Arc<CheckedBlock> {
        let params = self.genesis.params();
        let parent = self.made(&block.header.parent);
        let next = check_header(&parent.state.header, params, &block.header)
            .expect("a header whose own rules hold");
        let header = block.header;
        let checked =
            open_block(params, &header, next.height, block).expect("a body whose own rules hold");
        let state = State { header: next, utxo: parent.state.utxo.clone() };
        let coins = parent.coins.clone();
        self.insert(checked, state, coins)
    }

    /// Makes an empty child of a block that may have been adopted unjudged.
    pub fn extend_unjudged(&mut self, parent: &BlockId) -> BlockId {
        let block = seal(self.draft(parent, Plan::default()));
        self.adopt_unjudged(block).id()
    }

    fn insert(
        &mut self,
        checked: CheckedBlock,
        state: State,
        coins: OrdMap<OutPoint, Coin>,
    ) -> Arc<CheckedBlock> {
        let block = Arc::new(checked);
        let time = block.header().time;
        self.made.insert(block.id(), Made { block: Some(Arc::clone(&block)), time, state, coins });
        block
    }
}

/// Makes the merkle root fit the body, then does the work.
pub fn seal(mut block: Block) -> Block {
    // A body without a root (a leaf that could be an inner node) keeps the one it has.
    if let Some(root) = block_merkle_root(&block) {
        block.header.merkle_root = root;
    }
    block.header = solve(block.header);
    block
}

/// Finds a nonce.
///
/// # Panics
/// Where the bits have no target, or none of 2^32 nonces will do.
pub fn solve(header: Header) -> Header {
    let target = Target::from_bits(header.bits).expect("valid bits");
    (0..=u32::MAX)
        .map(|nonce| Header { nonce, ..header })
        .find(|header| target.is_met_by(&header.id()))
        .expect("a nonce within 2^32 tries")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child_height(chain: &mut Chain, parent: &BlockId) -> u32 {
        let child = chain.extend_unjudged(parent);
        chain.state(&child).header.height
    }

    #[test]
    fn branches_are_made_side_by_side() {
        let mut chain = Chain::new(genesis(&[(lock(1), 1_000)]));
        let genesis = chain.genesis_id();
        let pay = chain.pay(&genesis, 1, lock(2), 300, 10);
        let one = chain.extend(&genesis, Plan::of(vec![pay.clone()])).id();
        let other = chain.extend(&genesis, Plan::default()).id();
        assert_ne!(one, other);
        assert_eq!(chain.spendable(&one, &lock(2)).len(), 1);
        assert_eq!(chain.spendable(&one, &lock(1))[0].1.value.grains(), 690);
        assert!(chain.spendable(&other, &lock(2)).is_empty());
        // The coinbase took subsidy and fee, and matures after three blocks.
        assert!(chain.spendable(&one, &lock(0)).is_empty());
        let tip = chain.extend_by(&one, 2);
        assert_eq!(chain.spendable(&tip, &lock(0))[0].1.value.grains(), 500_000_010);
        assert_eq!(chain.branch(&tip).len(), 3);

        let twice = chain.spoiled(&one, Plan::default(), |block| block.transactions.push(pay));
        assert!(chain.adopt(twice.clone()).is_err());
        let bad = chain.adopt_unjudged(twice).id();
        assert_eq!(child_height(&mut chain, &bad), 3);
    }
}
