//! Blocks of any kind, on any branch, offered to the ledger and to the slow model.

use std::{
    cell::OnceCell,
    ops::Bound,
    sync::{Arc, LazyLock},
};

use ashlar_consensus::{Genesis, transaction::sighash};
use ashlar_ledger::{
    Direction, Family, Ledger, MemoryStore, Read as _, Settings, records::INVALIDATED,
};
use ashlar_primitives::{
    Amount, Block, BlockId, Coin, Encode as _, Lock, OutPoint, Output, Policy, SigHash, Signature,
    Transaction, Witness, hash::sha256, keys::SecretKey,
};
use ashlar_testkit::{
    builder::{Chain, GENESIS_TIME, Plan, genesis_with, key, seal},
    model::{Judged, Model},
};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::json;

use crate::steer::Steer;

/// Blocks in one chain at most.
const MAX_BLOCKS: usize = 40;
/// Late enough for the blocks of a chain, too early for times that were made to be.
const NOW_SECONDS: u64 = GENESIS_TIME as u64 + 1_000;
/// Ways to lock a coin: four plain keys, then policies.
const OWNERS: u8 = 10;
const SECRET: [u8; 32] = [7; 32];

/// Keys are dear to make, and few.
static KEYS: LazyLock<[SecretKey; 4]> = LazyLock::new(|| [0, 1, 2, 3].map(key));
/// Of each owner.
static LOCKS: LazyLock<Vec<Lock>> = LazyLock::new(|| {
    (0..OWNERS)
        .map(|owner| match owner {
            0..4 => Lock::key(KEYS[usize::from(owner)].public_key()),
            _ => Lock::policy(policy(owner, false).id()),
        })
        .collect()
});

/// One of the policies that coins of these chains lie under.
fn policy(owner: u8, shown: bool) -> Policy {
    let signer = |number: usize| Policy::Key(KEYS[number].public_key());
    let both = |condition| Policy::Threshold { k: 2, children: vec![signer(0), condition] };
    match owner {
        4 => signer(1),
        5 => {
            let hidden = Policy::Opaque(signer(1).id());
            let middle = if shown { hidden } else { signer(1) };
            Policy::Threshold { k: 2, children: vec![signer(0), middle, signer(2)] }
        }
        6 => both(Policy::Hash(sha256(&SECRET))),
        7 => both(Policy::After(4)),
        8 => both(Policy::Older(2)),
        _ => Policy::After(2),
    }
}

/// Whose signatures the policy wants.
fn signers(owner: u8) -> &'static [usize] {
    match owner {
        4 => &[1],
        5 => &[0, 2],
        6..=8 => &[0],
        _ => &[],
    }
}

fn lock_of(owner: u8) -> Lock {
    LOCKS[usize::from(owner)]
}

fn witness(owner: u8, digest: &SigHash) -> Witness {
    if owner < 4 {
        return Witness::Key { signature: KEYS[usize::from(owner)].sign(digest) };
    }
    Witness::Policy {
        policy: policy(owner, true),
        signatures: signers(owner).iter().map(|number| KEYS[*number].sign(digest)).collect(),
        preimages: if owner == 6 { vec![SECRET] } else { Vec::new() },
    }
}

/// Two chains: one with everything fixed and small, one whose difficulty moves.
fn geneses() -> [Genesis; 2] {
    let allocations: Vec<(Lock, u64)> =
        (0..OWNERS).map(|owner| (lock_of(owner), 5_000 + u64::from(owner))).collect();
    let small = [
        ("coinbase_maturity", json!(2)),
        ("halving_interval", json!(4)),
        ("initial_subsidy", json!(1_000)),
        ("max_block_bytes", json!(10_000)),
        ("max_future_seconds", json!(600)),
    ];
    let moving = [
        ("difficulty_half_life", json!(120)),
        ("stall_relief_seconds", json!(500)),
        ("max_future_seconds", json!(100)),
        ("coinbase_maturity", json!(0)),
    ];
    [genesis_with(&allocations, &small), genesis_with(&allocations, &moving)]
}

thread_local! {
    static GENESES: OnceCell<[Genesis; 2]> = const { OnceCell::new() };
}

struct Run {
    chain: Chain,
    model: Model,
    ledger: Ledger<MemoryStore>,
    store: Arc<MemoryStore>,
    /// Blocks that children can be made of, in order.
    parents: Vec<BlockId>,
    rng: StdRng,
}

impl Run {
    fn new(genesis: &Genesis) -> Self {
        let chain = Chain::new(genesis.clone());
        let store = Arc::new(MemoryStore::new());
        let settings = Settings { transaction_index: true, lock_index: true, ..<_>::default() };
        let ledger = Ledger::open(Arc::clone(&store), genesis, settings).unwrap();
        let parents = vec![chain.genesis_id()];
        let rng = StdRng::seed_from_u64(0);
        Self { chain, model: Model::new(genesis), ledger, store, parents, rng }
    }

    /// A payment of coins after `parent`, or of outputs earlier in the block.
    fn transaction(
        &self,
        steer: &mut Steer<'_>,
        parent: &BlockId,
        earlier: &[(OutPoint, Output)],
    ) -> Option<Transaction> {
        let stored = self.chain.coins(parent).iter();
        let stored = stored.map(|(at, coin): (_, &Coin)| (*at, coin.output));
        let all: Vec<(OutPoint, Output)> = earlier.iter().copied().chain(stored).collect();
        if all.is_empty() {
            return None;
        }
        let mut spent: Vec<(OutPoint, Output)> = Vec::new();
        for _ in 0..=steer.below(3) {
            let coin = *steer.pick(&all);
            if !spent.contains(&coin) {
                spent.push(coin);
            }
        }
        let sum: u64 = spent.iter().map(|(_, output)| output.value.grains()).sum();
        let count = u64::try_from(1 + steer.below(3)).unwrap();
        let each = sum.saturating_sub(u64::from(steer.byte() % 16)) / count;
        let output = |owner| Output { value: Amount::from_grains(each), lock: lock_of(owner) };
        let mut transaction = Transaction {
            not_before: 0,
            inputs: spent.iter().map(|(at, _)| *at).collect(),
            outputs: (0..count).map(|_| output(steer.byte() % OWNERS)).collect(),
            memo: Vec::new(),
            witnesses: Vec::new(),
        };
        let spoil = if steer.one_in(3) { steer.byte() % 24 } else { u8::MAX };
        match spoil {
            0 => transaction.inputs.clear(),
            1 => transaction.outputs.clear(),
            2 => transaction.inputs.push(transaction.inputs[0]),
            3 => transaction.outputs[0].value = Amount::from_grains(steer.edge()),
            4 => transaction.outputs[0].lock.version = steer.byte(),
            5 => transaction.memo = vec![0; 255 + steer.below(3)],
            6 => transaction.not_before = steer.edge32() % 16,
            7 => transaction.inputs[0].index ^= 1,
            8 => transaction.outputs[0].value = Amount::from_grains(sum + 1),
            9 => transaction.outputs = vec![transaction.outputs[0]; 2_440],
            _ => {}
        }
        let outputs: Vec<Output> = spent.iter().map(|(_, output)| *output).collect();
        let mut digest = sighash(&self.chain.genesis_id(), &transaction.txid(), &outputs);
        if spoil == 10 {
            digest.0[0] ^= 1;
        }
        let mut locks: Vec<Lock> = Vec::new();
        for output in &outputs {
            if !locks.contains(&output.lock) {
                locks.push(output.lock);
            }
        }
        // Somebody signs for a lock that was spoiled, too.
        let owner = |lock: &Lock| (0..OWNERS).find(|owner| lock_of(*owner) == *lock).unwrap_or(0);
        transaction.witnesses = locks.iter().map(|lock| witness(owner(lock), &digest)).collect();
        spoil_witness(steer, spoil, &mut transaction.witnesses);
        Some(transaction)
    }

    fn plan(&self, steer: &mut Steer<'_>, parent: &BlockId) -> Plan {
        let mut transactions: Vec<Transaction> = Vec::new();
        let mut earlier: Vec<(OutPoint, Output)> = Vec::new();
        for _ in 0..steer.below(4) {
            let Some(transaction) = self.transaction(steer, parent, &earlier) else { break };
            // What the builder adds up must stay a number.
            let values = transaction.outputs.iter().map(|output| output.value.grains());
            if values.fold(0_u128, |sum, value| sum + u128::from(value)) < 1 << 54 {
                let txid = transaction.txid();
                let outputs = (0..).zip(&transaction.outputs);
                earlier.extend(outputs.map(|(index, output)| (OutPoint { txid, index }, *output)));
            }
            transactions.push(transaction);
        }
        let claim = match steer.byte() % 12 {
            0 => Some(Amount::ZERO),
            1 => Some(Amount::from_grains(steer.edge())),
            // A plain sum could overflow on what was spoiled.
            _ if transactions.iter().any(|tx| tx.outputs.len() > 4) => Some(Amount::ZERO),
            _ => None,
        };
        Plan { transactions, pay_to: lock_of(steer.byte() % OWNERS), claim, time: None }
    }

    fn block(&self, steer: &mut Steer<'_>) -> Block {
        let back = if steer.one_in(4) { steer.below(8) } else { 0 };
        let parent = self.parents[self.parents.len().saturating_sub(1 + back)];
        let plan = self.plan(steer, &parent);
        let is_huge = |output: &Output| output.value.grains() >= 1 << 54;
        let huge = plan.transactions.iter().any(|tx| tx.outputs.iter().any(is_huge));
        let plan = if huge { Plan { claim: Some(Amount::ZERO), ..plan } } else { plan };
        let mut block = self.chain.draft(&parent, plan);
        let spoil = if steer.one_in(3) { steer.byte() % 24 } else { u8::MAX };
        let coinbase = &mut block.coinbase;
        match spoil {
            0 => coinbase.version = steer.byte(),
            1 => coinbase.height ^= 1 << steer.below(32),
            2 => coinbase.outputs.clear(),
            3 => coinbase.outputs = vec![coinbase.outputs[0]; 1_023 + steer.below(3)],
            4 => coinbase.outputs[0].lock.version = steer.byte(),
            5 => coinbase.extra = vec![0; 95 + steer.below(3)],
            6 => coinbase.utxo_commitment.0[steer.below(32)] ^= 1,
            7 => coinbase.outputs.push(coinbase.outputs[0]),
            8 => block.transactions.reverse(),
            9 => block.transactions.extend_from_within(..),
            10 => block.header.time = block.header.time.wrapping_add(steer.edge32()),
            11 => block.header.time = block.header.time.wrapping_sub(steer.byte().into()),
            12 => block.header.version = 0x2000_0000 ^ (1 << steer.below(32)),
            13 => block.header.parent = BlockId([steer.byte(); 32]),
            14 => coinbase.outputs[0].value = Amount::ZERO,
            _ => {}
        }
        if (10..=11).contains(&spoil) && steer.below(4) > 0 && self.knows(&parent) {
            let state = &self.chain.state(&parent).header;
            block.header.bits =
                state.required_bits(self.chain.genesis().params(), block.header.time);
        }
        if spoil == 15 {
            block.header.bits ^= 1 << steer.below(16);
        }
        let easy = ashlar_consensus::Target::from_bits(block.header.bits)
            .is_some_and(|target| target.bit_len() > 240);
        if !easy {
            return block;
        }
        let mut block = seal(block);
        match spoil {
            16 => block.header.nonce ^= 1 << steer.below(32),
            17 => block.coinbase.extra.push(1),
            18 => drop(block.transactions.pop()),
            _ => {}
        }
        block
    }

    fn knows(&self, id: &BlockId) -> bool {
        self.parents.contains(id)
    }

    /// One block to both.
    fn offer(&mut self, bytes: &[u8]) -> Result<Judged, &'static str> {
        use ashlar_ledger::Offered;
        let wanted = self.model.judge(bytes, NOW_SECONDS);
        let found = match self.ledger.offer(bytes, NOW_SECONDS, &mut self.rng).unwrap() {
            Offered::Accepted => Ok(Judged::Accepted),
            Offered::Side => Ok(Judged::Side),
            Offered::Known => Ok(Judged::Known),
            Offered::Refused { code } => Err(code),
        };
        assert_eq!(found, wanted, "the ledger's verdict, then the model's");
        self.compare();
        wanted
    }

    fn compare(&self) {
        let view = self.ledger.view();
        let best = self.model.best();
        assert_eq!(view.tip().id, best);
        assert_eq!(view.utxo_commitment(), self.model.commitment(&best));
        let coins = self.model.coins(&best);
        assert_eq!(view.coin_count(), u64::try_from(coins.len()).unwrap());
        let total: u64 = coins.values().map(|coin| coin.output.value.grains()).sum();
        assert_eq!(view.coin_total().grains(), total);
    }

    fn step(&mut self, steer: &mut Steer<'_>) {
        let block = self.block(steer);
        let mut bytes = block.to_bytes();
        let slip = if steer.one_in(8) { steer.byte() % 4 } else { u8::MAX };
        match slip {
            0 => bytes.truncate(steer.below(bytes.len())),
            1 => bytes.push(steer.byte()),
            2 => {
                let place = steer.below(bytes.len());
                bytes[place] ^= 1 << steer.below(8);
            }
            _ => {}
        }
        let verdict = self.offer(&bytes);
        if slip < 3 {
            // Whatever became of that one: the one that was meant may still come.
            self.offer(&block.to_bytes()).ok();
        }
        let id = block.header.id();
        let is_new = !self.knows(&id) && self.knows(&block.header.parent);
        let kept = self.model.entry(&id).is_some_and(|entry| entry.body.is_some());
        if is_new && kept {
            if self.chain.adopt(block.clone()).is_err() {
                self.chain.adopt_unjudged(block);
            }
            self.parents.push(id);
        }
        assert_ne!(verdict, Err(INVALIDATED));
    }

    /// Coin by coin, and once more from what lies in the store.
    fn finish(mut self, genesis: &Genesis) {
        self.ledger.flush().unwrap();
        let best = self.model.best();
        let all = (Bound::Unbounded, Bound::Unbounded);
        let stored = self.store.scan(Family::Coins, all, usize::MAX, Direction::Forward).unwrap();
        let stored: Vec<Vec<u8>> = stored.into_iter().map(|(_, coin)| coin).collect();
        let coins: Vec<Vec<u8>> = self.model.coins(&best).values().map(Coin::to_bytes).collect();
        assert_eq!(stored, coins);
        drop(self.ledger);
        let settings = Settings { transaction_index: true, lock_index: true, ..<_>::default() };
        self.ledger = Ledger::open(self.store.clone(), genesis, settings).unwrap();
        self.compare();
    }
}

fn spoil_witness(steer: &mut Steer<'_>, spoil: u8, witnesses: &mut Vec<Witness>) {
    let Some(first) = witnesses.first_mut() else { return };
    match (spoil, &mut *first) {
        (11, Witness::Key { signature }) => signature.0[steer.below(64)] ^= 1 << steer.below(8),
        (12, Witness::Policy { signatures, .. }) => drop(signatures.pop()),
        (13, Witness::Policy { signatures, .. }) => signatures.push(Signature([0; 64])),
        (14, Witness::Policy { signatures, .. }) => signatures.reverse(),
        (15, Witness::Policy { preimages, .. }) => preimages.push(SECRET),
        (16, Witness::Policy { preimages, .. }) => preimages.clear(),
        (17, Witness::Policy { policy, .. }) => *policy = Policy::After(steer.byte().into()),
        (18, _) => *first = Witness::Key { signature: Signature([1; 64]) },
        (19, _) => drop(witnesses.pop()),
        (20, _) => witnesses.push(Witness::Key { signature: Signature([0; 64]) }),
        (21, _) => witnesses.reverse(),
        _ => {}
    }
}

/// Ledger and model give every block the same verdict, or the same code of PROTOCOL.md §8; stand
/// at the same tip with the same coins, commitment and sums after each; and the coins in the store
/// are the model's, also for a ledger that opens it anew.
pub fn connect_block(data: &[u8]) {
    GENESES.with(|geneses_cell| {
        let mut steer = Steer::new(data);
        let genesis = &geneses_cell.get_or_init(geneses)[usize::from(steer.byte() % 2)];
        let mut run = Run::new(genesis);
        for _ in 0..MAX_BLOCKS {
            if steer.is_done() {
                break;
            }
            run.step(&mut steer);
        }
        run.finish(genesis);
    });
}
