//! The workload: payments from a seed, every owner used once. Of one input and two outputs, each
//! under a key or a policy of its own; or of many coins of one owner that go to another.

use ashlar_consensus::{Genesis, SpentCoins, State, transaction::sighash};
use ashlar_primitives::{
    Amount, BlockId, Coin, Encode as _, Lock, OutPoint, Policy, SigHash, Transaction, Witness,
    hash::tagged_hash, keys::SecretKey,
};
use ashlar_testkit::builder;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rayon::prelude::*;

use crate::maker::{Made, Maker, fund, genesis_text};

/// What each payment weighs, in bytes.
pub const PAYMENT_BYTES: usize = 194;

/// Value of the coins that a workload begins with: enough to be halved many times.
const FIRST_GRAINS: u64 = 100_000_000_000;

/// What a payment leaves to the miner: over the default minimum of 1 grain per byte.
const FEE_GRAINS: u64 = 200;

/// Keys of another branch begin here, so that no two branches share one.
const BRANCH_KEYS: u64 = 1 << 40;

/// Who owns the coins of a workload, and how many of them a transaction spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One coin of a key, to two others: what most transactions are like.
    Payments,
    /// [`COINS_OF_ONE_OWNER`] coins of a key, which go to another as so many coins.
    OneOwner,
    /// One coin of two keys of three, to two such owners.
    Policies,
}

/// Inputs and outputs of each transaction of [`Kind::OneOwner`].
pub const COINS_OF_ONE_OWNER: usize = 50;

/// Keys of each owner of [`Kind::Policies`], and how many of them sign.
const POLICY_KEYS: u64 = 3;
const POLICY_SIGNATURES: u8 = 2;

impl Kind {
    /// Every kind, and its name in files and in the table.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Payments, "payments"), (Self::OneOwner, "one-owner"), (Self::Policies, "policies")];

    /// Coins that a transaction spends.
    pub const fn inputs(self) -> usize {
        match self {
            Self::Payments | Self::Policies => 1,
            Self::OneOwner => COINS_OF_ONE_OWNER,
        }
    }

    /// What a transaction leaves to the miner: over the default minimum of 1 grain per byte.
    const fn fee_grains(self) -> u64 {
        match self {
            Self::Payments => FEE_GRAINS,
            Self::OneOwner => 80 * COINS_OF_ONE_OWNER as u64,
            Self::Policies => 2 * FEE_GRAINS + FEE_GRAINS / 2,
        }
    }

    /// To how many owners it goes.
    const fn payees(self) -> u64 {
        match self {
            Self::Payments | Self::Policies => 2,
            Self::OneOwner => 1,
        }
    }

    /// Value of the coins that a workload begins with: enough to be halved, or to pay fees, many
    /// times.
    const fn first_grains(self) -> u64 {
        match self {
            Self::Payments | Self::Policies => FIRST_GRAINS,
            Self::OneOwner => FIRST_GRAINS / COINS_OF_ONE_OWNER as u64,
        }
    }

    /// The lock of the owner of a number.
    fn lock(self, seed: u64, number: u64) -> Lock {
        match self {
            Self::Payments | Self::OneOwner => Lock::key(key(seed, number).public_key()),
            Self::Policies => Lock::policy(policy(seed, number, POLICY_KEYS).id()),
        }
    }

    /// What opens the coins of that owner.
    fn witness(self, seed: u64, number: u64, digest: &SigHash) -> Witness {
        match self {
            Self::Payments | Self::OneOwner => {
                Witness::Key { signature: key(seed, number).sign(digest) }
            }
            Self::Policies => {
                let keys = (0..POLICY_SIGNATURES).map(|at| policy_key(seed, number, at.into()));
                let signatures = keys.map(|key| key.sign(digest)).collect();
                let policy = policy(seed, number, POLICY_SIGNATURES.into());
                Witness::Policy { policy, signatures, preimages: Vec::new() }
            }
        }
    }
}

fn policy_key(seed: u64, number: u64, place: u64) -> SecretKey {
    key(seed, number * POLICY_KEYS + place)
}

/// Its first `shown` keys; the others are hidden, which leaves its id as it is.
fn policy(seed: u64, number: u64, shown: u64) -> Policy {
    let child = |place| {
        let key = Policy::Key(policy_key(seed, number, place).public_key());
        if place < shown { key } else { Policy::Opaque(key.id()) }
    };
    Policy::Threshold { k: POLICY_SIGNATURES, children: (0..POLICY_KEYS).map(child).collect() }
}

/// The key of a number in the workload of a seed.
pub fn key(seed: u64, number: u64) -> SecretKey {
    let message = [seed.to_le_bytes(), number.to_le_bytes()].concat();
    SecretKey::from_bytes(&tagged_hash("ashlar/bench key", &message))
}

/// Coins that are spent together, and the number of the owner who opens them.
#[derive(Clone, Debug)]
struct Owned {
    coins: Vec<(OutPoint, Coin)>,
    owner: u64,
}

impl Owned {
    fn grains(&self) -> u64 {
        self.coins.iter().map(|(_, coin)| coin.output.value.grains()).sum()
    }
}

/// A growing chain of payments. A clone is a fork.
#[derive(Clone, Debug)]
pub struct Payments {
    kind: Kind,
    seed: u64,
    random: ChaCha12Rng,
    maker: Maker,
    purse: Vec<Owned>,
    next_owner: u64,
}

impl Payments {
    /// The `genesis.json` of a workload with so many payments a block.
    pub fn genesis_text(payments_per_block: usize) -> String {
        Self::genesis_text_of(Kind::Payments, payments_per_block)
    }

    /// The same of a kind.
    pub fn genesis_text_of(kind: Kind, payments_per_block: usize) -> String {
        genesis_text(payments_per_block * kind.inputs(), kind.first_grains(), 4_000_000)
    }

    /// A chain with the blocks that make its first coins: as many as a block will spend.
    ///
    /// # Panics
    /// Where there are more payments than a block holds.
    pub fn new(seed: u64, payments_per_block: usize) -> (Self, Vec<Made>) {
        Self::of(Kind::Payments, seed, payments_per_block)
    }

    /// The same of a kind.
    ///
    /// # Panics
    /// Where there are more transactions than a block holds.
    pub fn of(kind: Kind, seed: u64, payments_per_block: usize) -> (Self, Vec<Made>) {
        let genesis = Genesis::parse(&Self::genesis_text_of(kind, payments_per_block));
        let mut maker = Maker::new(genesis.expect("the parts of a valid genesis"));
        let owners = 0..payments_per_block as u64;
        let locks: Vec<_> =
            owners.clone().into_par_iter().map(|number| kind.lock(seed, number)).collect();
        let each = locks.iter().flat_map(|lock| std::iter::repeat_n(*lock, kind.inputs()));
        let (blocks, coins) = fund(&mut maker, &each.collect::<Vec<_>>(), kind.first_grains());
        let owned = |(owner, coins): (u64, &[_])| Owned { coins: coins.to_vec(), owner };
        let purse = owners.zip(coins.chunks(kind.inputs())).map(owned).collect();
        let random = ChaCha12Rng::seed_from_u64(seed);
        let next_owner = payments_per_block as u64;
        (Self { kind, seed, random, maker, purse, next_owner }, blocks)
    }

    /// From now on another chain than the one this was cloned from, with keys of its own.
    pub fn diverge(&mut self, branch: u64) {
        self.maker.diverge(branch);
        self.next_owner += branch * BRANCH_KEYS;
        self.random.set_stream(branch);
    }

    /// The chain's.
    pub fn genesis(&self) -> &Genesis {
        self.maker.genesis()
    }

    /// What the last block left.
    pub const fn state(&self) -> &State {
        self.maker.state()
    }

    /// The next block: so many payments, each of an owner chosen at random from all that there are.
    ///
    /// # Panics
    /// Where the chain has fewer.
    pub fn block(&mut self, payments: usize) -> Made {
        let mut chosen = Vec::with_capacity(payments);
        while chosen.len() < payments {
            let place = self.random.random_range(0..self.purse.len());
            let owned = self.purse.swap_remove(place);
            if owned.grains() >= 10 * self.kind.fee_grains() {
                chosen.push((owned, self.next_owner));
                self.next_owner += self.kind.payees();
            }
        }
        let (kind, seed, chain_id) = (self.kind, self.seed, self.genesis().params().chain_id);
        let transactions: Vec<_> = chosen
            .par_iter()
            .map(|(owned, payee)| spend(kind, seed, &chain_id, owned, *payee))
            .collect();
        let coins = chosen.iter().flat_map(|(owned, _)| owned.coins.iter().copied()).collect();
        let made = self.maker.grow(transactions, &SpentCoins { coins });
        let height = made.block.height();
        for (transaction, (_, payee)) in made.block.transactions().iter().zip(chosen) {
            let coins: Vec<_> = transaction.coins(height).collect();
            let owned = |(owner, coins): (u64, &[_])| Owned { coins: coins.to_vec(), owner };
            self.purse.extend((payee..).zip(coins.chunks(kind.inputs())).map(owned));
        }
        made
    }

    /// The next block: the payments of a block of another branch, in the same place.
    ///
    /// # Panics
    /// Where a coin that they spend is not on this branch.
    pub fn repeat(&mut self, made: &Made) -> Made {
        let transactions = made.block.to_block().transactions;
        let coins = made.diff.spent.clone();
        self.maker.grow(transactions, &SpentCoins { coins })
    }
}

/// Pays everything that an owner has to the payees whose numbers begin here, in equal parts.
fn spend(kind: Kind, seed: u64, chain_id: &BlockId, owned: &Owned, payee: u64) -> Transaction {
    let inputs = owned.coins.iter().map(|(outpoint, _)| *outpoint).collect();
    let spent: Vec<_> = owned.coins.iter().map(|(_, coin)| coin.output).collect();
    let count = kind.payees() * kind.inputs() as u64;
    let value = owned.grains() - kind.fee_grains();
    let locks = (payee..payee + kind.payees()).map(|number| kind.lock(seed, number));
    let mut outputs: Vec<_> = locks
        .flat_map(|lock| std::iter::repeat_n(lock, kind.inputs()))
        .map(|lock| builder::output(lock, value / count))
        .collect();
    if let Some(last) = outputs.last_mut() {
        last.value = Amount::from_grains(value / count + value % count);
    }
    let mut transaction =
        Transaction { not_before: 0, inputs, outputs, memo: Vec::new(), witnesses: Vec::new() };
    let digest = sighash(chain_id, &transaction.txid(), &spent);
    transaction.witnesses.push(kind.witness(seed, owned.owner, &digest));
    transaction
}

/// Pays half of a coin, which is under the key of this number, to one payee, and the rest to
/// another.
pub(crate) fn payment_to(
    seed: u64,
    chain_id: &BlockId,
    (outpoint, coin): (OutPoint, &Coin),
    own_key: u64,
    payees: [Lock; 2],
) -> Transaction {
    let value = coin.output.value.grains() - FEE_GRAINS;
    let half = value / 2;
    let [one, other] = payees;
    let mut transaction = Transaction {
        not_before: 0,
        inputs: vec![outpoint],
        outputs: vec![builder::output(one, half), builder::output(other, value - half)],
        memo: Vec::new(),
        witnesses: Vec::new(),
    };
    let digest = sighash(chain_id, &transaction.txid(), &[coin.output]);
    let signature = key(seed, own_key).sign(&digest);
    transaction.witnesses.push(Witness::Key { signature });
    debug_assert_eq!(transaction.encoded_len(), PAYMENT_BYTES);
    debug_assert!(value > 0 && Amount::from_grains(value).is_in_range());
    transaction
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ashlar_consensus::verify_signatures;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_valid_chain() {
        let chain = |seed| {
            let (mut payments, mut blocks) = Payments::new(seed, 50);
            blocks.extend((0..3).map(|_| payments.block(50)));
            blocks
        };
        let (one, again, other) = (chain(1), chain(1), chain(2));
        let ids = |chain: &[Made]| chain.iter().map(|made| made.block.id()).collect::<Vec<_>>();
        assert_eq!(ids(&one), ids(&again));
        assert_ne!(ids(&one), ids(&other));
        let mut locks = BTreeSet::new();
        for made in &one[1..] {
            verify_signatures(&made.checks, &BTreeSet::new(), &mut rand::rng()).unwrap();
            assert_eq!(made.checks.len(), 50);
            for checked in made.block.transactions() {
                assert_eq!(checked.size_bytes() as usize, PAYMENT_BYTES);
                let outputs = &checked.transaction().outputs;
                assert!(outputs.iter().all(|output| locks.insert(output.lock)), "a key again");
            }
        }
    }

    /// Signatures and fees of every kind are good, block after block.
    #[test]
    fn every_kind_goes_on_and_on() {
        for (kind, name) in Kind::ALL {
            let (mut payments, _) = Payments::of(kind, 3, 6);
            for _ in 0..4 {
                let made = payments.block(6);
                verify_signatures(&made.checks, &BTreeSet::new(), &mut rand::rng()).unwrap();
                let transactions = made.block.transactions();
                assert_eq!(transactions.len(), 6, "{name}");
                for checked in transactions {
                    assert_eq!(checked.transaction().inputs.len(), kind.inputs(), "{name}");
                    assert!(u64::from(checked.size_bytes()) <= kind.fee_grains(), "{name}");
                }
                let spent: u64 = made.diff.spent.values().map(|c| c.output.value.grains()).sum();
                let paid = transactions.iter().flat_map(|one| &one.transaction().outputs);
                let paid: u64 = paid.map(|output| output.value.grains()).sum();
                assert_eq!(spent - paid, 6 * kind.fee_grains(), "{name}");
            }
        }
    }

    #[test]
    fn branches_share_nothing_but_their_past() {
        let (mut one, _) = Payments::new(1, 20);
        one.block(20);
        let mut other = one.clone();
        other.diverge(1);
        let (one, other) = (one.block(20), other.block(20));
        assert_eq!(one.block.header().parent, other.block.header().parent);
        assert_ne!(one.block.id(), other.block.id());
    }

    #[test]
    fn a_branch_can_confirm_the_payments_of_another() {
        let (mut one, _) = Payments::new(1, 20);
        let mut other = one.clone();
        other.diverge(1);
        for _ in 0..3 {
            let made = one.block(20);
            let again = other.repeat(&made);
            assert_ne!(made.block.id(), again.block.id());
            assert_eq!(made.block.to_block().transactions, again.block.to_block().transactions);
        }
    }
}
