//! Coins made beforehand, and payments of which each spends one of them: all can be confirmed at
//! once, in any order.

use ashlar_consensus::Genesis;
use ashlar_primitives::{
    BlockId, Coin, Encode as _, Lock, OutPoint, PublicKey, Transaction, hash::tagged_hash,
};
use rayon::prelude::*;

use crate::{
    http,
    maker::{Made, Maker, fund, genesis_text},
    payments::payment_to,
};

/// Value of each coin.
const COIN_GRAINS: u64 = 10_000;

/// Coins of one key each, and a chain that makes them.
#[derive(Debug)]
pub struct Purse {
    seed: u64,
    chain_id: BlockId,
    genesis_text: String,
    lead: Vec<Made>,
    coins: Vec<(u64, OutPoint, Coin)>,
}

impl Purse {
    /// So many coins on a chain of blocks of at most this size.
    ///
    /// # Panics
    /// Where they are worth more than there may be.
    pub fn new(seed: u64, coins: usize, max_block_bytes: u32) -> Self {
        let genesis_text = genesis_text(coins, COIN_GRAINS, max_block_bytes);
        let genesis = Genesis::parse(&genesis_text).expect("the parts of a valid genesis");
        let chain_id = genesis.params().chain_id;
        let keys = 0..coins as u64;
        let lock = |number| Lock::key(crate::payments::key(seed, number).public_key());
        let locks: Vec<_> = keys.clone().into_par_iter().map(lock).collect();
        let (lead, coins) = fund(&mut Maker::new(genesis), &locks, COIN_GRAINS);
        let owned = |(key, (outpoint, coin))| (key, outpoint, coin);
        let coins = keys.zip(coins).map(owned).collect();
        Self { seed, chain_id, genesis_text, lead, coins }
    }

    /// The chain's `genesis.json`.
    pub fn genesis_text(&self) -> &str {
        &self.genesis_text
    }

    /// The blocks that make the coins.
    pub fn lead(&self) -> &[Made] {
        &self.lead
    }

    /// Payments of so many coins that were not spent yet; fewer where the purse is nearly empty.
    pub fn payments(&mut self, count: usize) -> Vec<Transaction> {
        let spent = self.coins.split_off(self.coins.len().saturating_sub(count));
        let payment = |(key, outpoint, coin): &(u64, OutPoint, Coin)| {
            let payees = [0, 1].map(|output| stranger(outpoint, output));
            payment_to(self.seed, &self.chain_id, (*outpoint, coin), *key, payees)
        };
        spent.par_iter().map(payment).collect()
    }
}

/// The lock of a key that nobody has. What it is paid is never spent again, and no node can tell;
/// it saves the benchmark, not the node, two thirds of the work.
fn stranger(spent: &OutPoint, output: u8) -> Lock {
    let message = [&spent.to_bytes()[..], &[output]].concat();
    Lock::key(PublicKey(tagged_hash("ashlar/bench stranger", &message)))
}

/// The body of a `sendrawtransactions` of these.
pub fn submission(transactions: &[Transaction]) -> Vec<u8> {
    let hex = transactions.iter().map(|one| format!("\"{}\"", hex::encode(one.to_bytes())));
    http::call("sendrawtransactions", &format!("[[{}]]", hex.collect::<Vec<_>>().join(",")))
}
