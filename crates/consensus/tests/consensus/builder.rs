//! Keys, transactions and blocks for the tests: small, real, signed and mined.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::{
    CheckedBlock, Genesis, HeaderState, Params, SpentCoins, State, Target, Transition, UtxoDiff,
    check_header, connect_block, difficulty, disconnect, open_block, transaction::sighash,
};
use ashlar_primitives::{
    Amount, Block, BlockId, Coin, Coinbase, Commitment, Header, Lock, MerkleRoot, OutPoint, Output,
    PublicKey, SigHash, Signature, Transaction, Witness, merkle::block_merkle_root,
};
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use rand::{SeedableRng, rngs::StdRng};

/// The same generator each time: which one it is decides no verdict.
pub(crate) fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

/// An owner of coins.
#[derive(Clone)]
pub(crate) struct Owner(SigningKey);

impl Owner {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from([seed; 32]))
    }

    pub(crate) fn key(&self) -> PublicKey {
        PublicKey(VerificationKeyBytes::from(&self.0).into())
    }

    pub(crate) fn lock(&self) -> Lock {
        Lock::key(self.key())
    }

    pub(crate) fn sign(&self, digest: &SigHash) -> Signature {
        Signature(self.0.sign(digest.as_bytes()).to_bytes())
    }
}

pub(crate) fn output(value: u64, lock: Lock) -> Output {
    Output { value: Amount::from_grains(value), lock }
}

/// Spends coins of one owner, all to one output, and signs.
pub(crate) fn payment(
    chain_id: &BlockId,
    owner: &Owner,
    spent: &[(OutPoint, Coin)],
    outputs: Vec<Output>,
) -> Transaction {
    let mut transaction = Transaction {
        not_before: 0,
        inputs: spent.iter().map(|(outpoint, _)| *outpoint).collect(),
        outputs,
        memo: Vec::new(),
        witnesses: Vec::new(),
    };
    let outputs: Vec<_> = spent.iter().map(|(_, coin)| coin.output).collect();
    let digest = sighash(chain_id, &transaction.txid(), &outputs);
    transaction.witnesses = vec![Witness::Key { signature: owner.sign(&digest) }];
    transaction
}

/// `genesis.json` of a chain with fixed, easy difficulty.
pub(crate) const GENESIS: &str = r#"{
    "name": "rules", "address_prefix": "rule", "time": 1700000000,
    "bits": "207fffff", "pow_limit_bits": "207fffff", "block_interval": 10,
    "difficulty_half_life": 0, "stall_relief_seconds": 0, "max_future_seconds": 60,
    "max_block_bytes": 1000000, "coinbase_maturity": 2, "initial_subsidy": 1000,
    "halving_interval": 100, "message": "", "allocations": []
}"#;

/// A chain whose coins are all known: what a ledger is to the rules.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) params: Params,
    pub(crate) state: State,
    pub(crate) coins: BTreeMap<OutPoint, Coin>,
}

impl Chain {
    pub(crate) fn new() -> Self {
        let genesis = Genesis::parse(GENESIS).unwrap();
        Self {
            params: genesis.params().clone(),
            state: genesis.state().clone(),
            coins: genesis.diff().created.clone().into_iter().collect(),
        }
    }

    pub(crate) fn height(&self) -> u32 {
        self.state.header.height + 1
    }

    /// A coinbase for the next block that claims the subsidy and `fees`.
    pub(crate) fn coinbase(&self, owner: &Owner, fees: u64) -> Coinbase {
        let subsidy = self.params.subsidy(self.height()).grains();
        Coinbase {
            version: Coinbase::VERSION,
            height: self.height(),
            utxo_commitment: self.state.utxo.commitment(),
            outputs: vec![output(subsidy + fees, owner.lock())],
            extra: Vec::new(),
        }
    }

    /// A header for the next block, but for root and nonce.
    pub(crate) fn header(&self) -> Header {
        let parent = &self.state.header;
        let time = parent.clock + self.params.block_interval;
        Header {
            version: 0x2000_0000,
            parent: parent.id,
            merkle_root: MerkleRoot::ZERO,
            time,
            bits: parent.required_bits(&self.params, time),
            nonce: 0,
        }
    }

    /// The next block, mined.
    pub(crate) fn block(&self, coinbase: Coinbase, transactions: Vec<Transaction>) -> Block {
        let mut block = Block { header: self.header(), coinbase, transactions };
        block.header.merkle_root = block_merkle_root(&block).unwrap();
        mine(&mut block.header);
        block
    }

    /// The coins that a block spends from outside itself, as a ledger fetches them.
    pub(crate) fn fetch(&self, block: &CheckedBlock) -> SpentCoins {
        let inputs = block.external_inputs().iter().copied();
        let found = |outpoint| Some((outpoint, *self.coins.get(&outpoint)?));
        SpentCoins { coins: inputs.filter_map(found).collect() }
    }

    pub(crate) fn checked(&self, block: Block) -> (HeaderState, Arc<CheckedBlock>) {
        let header = block.header;
        let next = check_header(&self.state.header, &self.params, &header).unwrap();
        let block = open_block(&self.params, &header, next.height, block).unwrap();
        (next, Arc::new(block))
    }

    /// Connects a valid block; returns it with its undo record.
    pub(crate) fn connect(&mut self, block: Block) -> (Arc<CheckedBlock>, SpentCoins) {
        let (next, block) = self.checked(block);
        let coins = self.fetch(&block);
        let transition: Transition =
            connect_block(&self.state, next, &self.params, &block, &coins, &mut rng()).unwrap();
        let (state, diff) = transition.into_parts();
        let undo = SpentCoins { coins: diff.spent.clone() };
        apply(&diff, &mut self.coins);
        self.state = state;
        (block, undo)
    }

    /// Connects a block with these transactions, which pay `fees`.
    pub(crate) fn extend(
        &mut self,
        owner: &Owner,
        transactions: Vec<Transaction>,
        fees: u64,
    ) -> (Arc<CheckedBlock>, SpentCoins) {
        self.connect(self.block(self.coinbase(owner, fees), transactions))
    }

    /// Undoes the tip; the header state of its parent is the caller's to know.
    pub(crate) fn disconnect(
        &mut self,
        block: &CheckedBlock,
        undo: &SpentCoins,
        parent: HeaderState,
    ) -> UtxoDiff {
        let diff = disconnect(block, undo);
        apply(&diff, &mut self.coins);
        self.state = State { header: parent, utxo: diff.applied_to(&self.state.utxo) };
        diff
    }

    /// Coins with this lock that the next block may spend.
    pub(crate) fn spendable(&self, lock: Lock) -> Vec<(OutPoint, Coin)> {
        let mature = |coin: &Coin| {
            !coin.is_coinbase || coin.height + self.params.coinbase_maturity <= self.height()
        };
        let mine = |coin: &Coin| coin.output.lock == lock && mature(coin);
        self.coins.iter().filter(|(_, coin)| mine(coin)).map(|(o, c)| (*o, *c)).collect()
    }
}

/// Does a diff to a plain map, insisting that it fits.
pub(crate) fn apply(diff: &UtxoDiff, coins: &mut BTreeMap<OutPoint, Coin>) {
    for (outpoint, coin) in &diff.spent {
        assert_eq!(coins.remove(outpoint), Some(*coin), "spent what is not there");
    }
    for (outpoint, coin) in &diff.created {
        assert_eq!(coins.insert(*outpoint, *coin), None, "overwrote a coin");
    }
}

/// Looks for a nonce; the bits' own target, whatever the rules require.
pub(crate) fn mine(header: &mut Header) {
    let target = Target::from_bits(header.bits).unwrap();
    while !target.is_met_by(&header.id()) {
        header.nonce += 1;
    }
}

/// The commitment to a set by its definition: every coin added, one by one.
pub(crate) fn commitment_of(coins: &BTreeMap<OutPoint, Coin>) -> Commitment {
    let mut utxo = ashlar_consensus::UtxoAccumulator::empty();
    for (outpoint, coin) in coins {
        utxo.add(outpoint, coin);
    }
    utxo.commitment()
}

/// What a chain of `params` asks of a child of the state, spelled out for tables.
pub(crate) fn required(params: &Params, parent: &HeaderState, time: u32) -> u32 {
    difficulty::required_target(params, parent.clock, parent.lag, time).to_bits()
}
