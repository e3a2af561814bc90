//! The workload: payments of one input and two outputs, every output under a key of its own, from
//! a seed.

use ashlar_consensus::{Genesis, SpentCoins, State, transaction::sighash};
use ashlar_primitives::{
    Amount, BlockId, Coin, Encode as _, Lock, OutPoint, Transaction, Witness, hash::tagged_hash,
    keys::SecretKey,
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

/// A coin below this is not spent again.
const DUST_GRAINS: u64 = 10 * FEE_GRAINS;

/// Keys of another branch begin here, so that no two branches share one.
const BRANCH_KEYS: u64 = 1 << 40;

/// The key of a number in the workload of a seed.
pub fn key(seed: u64, number: u64) -> SecretKey {
    let message = [seed.to_le_bytes(), number.to_le_bytes()].concat();
    SecretKey::from_bytes(&tagged_hash("ashlar/bench key", &message))
}

/// A coin, and the number of the key that opens it.
#[derive(Clone, Copy, Debug)]
struct Owned {
    outpoint: OutPoint,
    coin: Coin,
    key: u64,
}

/// A growing chain of payments. A clone is a fork.
#[derive(Clone, Debug)]
pub struct Payments {
    seed: u64,
    random: ChaCha12Rng,
    maker: Maker,
    purse: Vec<Owned>,
    next_key: u64,
}

impl Payments {
    /// The `genesis.json` of a workload with so many payments a block.
    pub fn genesis_text(payments_per_block: usize) -> String {
        genesis_text(payments_per_block, FIRST_GRAINS, 4_000_000)
    }

    /// A chain with the blocks that make its first coins: as many as a block will spend.
    ///
    /// # Panics
    /// Where there are more payments than a block holds.
    pub fn new(seed: u64, payments_per_block: usize) -> (Self, Vec<Made>) {
        let genesis = Genesis::parse(&Self::genesis_text(payments_per_block));
        let mut maker = Maker::new(genesis.expect("the parts of a valid genesis"));
        let keys = 0..payments_per_block as u64;
        let locks: Vec<_> = keys.clone().into_par_iter().map(|number| lock(seed, number)).collect();
        let (blocks, coins) = fund(&mut maker, &locks, FIRST_GRAINS);
        let owned = |(key, (outpoint, coin))| Owned { outpoint, coin, key };
        let purse = keys.zip(coins).map(owned).collect();
        let random = ChaCha12Rng::seed_from_u64(seed);
        let payments = Self { seed, random, maker, purse, next_key: payments_per_block as u64 };
        (payments, blocks)
    }

    /// From now on another chain than the one this was cloned from, with keys of its own.
    pub fn diverge(&mut self, branch: u64) {
        self.maker.diverge(branch);
        self.next_key += branch * BRANCH_KEYS;
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

    /// The next block: so many payments, each of a coin chosen at random from all that there are.
    ///
    /// # Panics
    /// Where the chain has fewer coins.
    pub fn block(&mut self, payments: usize) -> Made {
        let mut chosen = Vec::with_capacity(payments);
        while chosen.len() < payments {
            let place = self.random.random_range(0..self.purse.len());
            let owned = self.purse.swap_remove(place);
            if owned.coin.output.value.grains() >= DUST_GRAINS {
                chosen.push((owned, self.next_key));
                self.next_key += 2;
            }
        }
        let (seed, chain_id) = (self.seed, self.genesis().params().chain_id);
        let transactions: Vec<_> = chosen
            .par_iter()
            .map(|(owned, first_key)| payment(seed, &chain_id, owned, *first_key))
            .collect();
        let coins = chosen.iter().map(|(owned, _)| (owned.outpoint, owned.coin)).collect();
        let made = self.maker.grow(transactions, &SpentCoins { coins });
        let height = made.block.height();
        for (transaction, (_, first_key)) in made.block.transactions().iter().zip(chosen) {
            let owned = |(key, (outpoint, coin))| Owned { outpoint, coin, key };
            self.purse.extend((first_key..).zip(transaction.coins(height)).map(owned));
        }
        made
    }

    /// The next block: the payments of a block of another branch, in the same place.
    ///
    /// # Panics
    /// Where a coin that they spend is not on this branch.
    pub fn repeat(&mut self, made: &Made) -> Made {
        let transactions = made.block.to_block().transactions;
        let coins = made.diff.spent.clone().into_iter().collect();
        self.maker.grow(transactions, &SpentCoins { coins })
    }
}

fn lock(seed: u64, number: u64) -> Lock {
    Lock::key(key(seed, number).public_key())
}

/// Pays half of a coin to one new key, and the rest to another.
fn payment(seed: u64, chain_id: &BlockId, owned: &Owned, first_key: u64) -> Transaction {
    let payees = [lock(seed, first_key), lock(seed, first_key + 1)];
    payment_to(seed, chain_id, (owned.outpoint, &owned.coin), owned.key, payees)
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
