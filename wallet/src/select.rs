//! Which coins pay: three ways of choosing, and the least wasteful result of them.
//!
//! In the manner of Bitcoin Core: branch and bound looks for coins that fit so well that no change
//! is needed; a single random draw keeps coins of every size in use and tells observers little;
//! the largest first spends the fewest. What they waste (fee above what the same coins would cost
//! at another time, change to make and to spend later, or what is given away for want of change)
//! decides. Unlike there, one signature covers all coins of one owner (PROTOCOL.md §3), so the
//! second coin of an owner costs a third of the first.

use std::collections::BTreeMap;

use ashlar_primitives::{Lock, OutPoint, Output};
use rand::{Rng, seq::SliceRandom};

/// What can be chosen.
pub(crate) trait Coin: Clone {
    /// Its name.
    fn outpoint(&self) -> OutPoint;
    /// What it is worth, and whose it is.
    fn output(&self) -> Output;
}

/// An outpoint (PROTOCOL.md §3).
pub(crate) const INPUT_BYTES: u64 = 34;
/// A witness of one key.
pub(crate) const WITNESS_BYTES: u64 = 65;
/// An output.
pub(crate) const OUTPUT_BYTES: u64 = 41;
/// What a coin costs at other times, in grains for 1,000 bytes. Below it, spending more coins than
/// needed saves fees in the end.
pub(crate) const LONG_TERM_RATE_PER_KB: u64 = 2_000;
/// Steps of branch and bound before it gives up, as in Bitcoin Core.
const MAX_TRIES: usize = 100_000;
/// Change that a random draw aims at, at least: smaller coins are soon dust. In grains.
const LEAST_CHANGE: u64 = 100_000;

/// What is to be covered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// What recipients get, in grains.
    pub(crate) amount: u64,
    /// The transaction without inputs, witnesses and change.
    pub(crate) base_bytes: u64,
    /// Of the one witness that each owner's coins need.
    pub(crate) witness_bytes: u64,
    /// Grains for 1,000 bytes.
    pub(crate) rate_per_kb: u64,
    /// Bytes of the largest transaction that is wanted.
    pub(crate) most_bytes: u64,
}

impl Target {
    fn fee(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(self.rate_per_kb).div_ceil(1_000)
    }

    /// To make change now and to spend it some day.
    fn change_cost(&self) -> u64 {
        let later =
            (INPUT_BYTES + self.witness_bytes).saturating_mul(LONG_TERM_RATE_PER_KB) / 1_000;
        self.fee(OUTPUT_BYTES).saturating_add(later)
    }

    /// Amount and fee of a transaction that spends these.
    fn needed<C: Coin>(&self, draw: &Draw<'_, C>) -> u64 {
        self.amount.saturating_add(self.fee(self.base_bytes + draw.bytes(self)))
    }
}

/// Coins taken so far.
#[derive(Clone, Debug)]
struct Draw<'a, C> {
    coins: &'a [&'a C],
    places: Vec<usize>,
    sum: u64,
    /// How many coins of each owner.
    owners: BTreeMap<Lock, usize>,
}

impl<'a, C: Coin> Draw<'a, C> {
    const fn new(coins: &'a [&'a C]) -> Self {
        Self { coins, places: Vec::new(), sum: 0, owners: BTreeMap::new() }
    }

    fn take(&mut self, place: usize) {
        let output = self.coins[place].output();
        self.places.push(place);
        self.sum = self.sum.saturating_add(output.value.grains());
        *self.owners.entry(output.lock).or_default() += 1;
    }

    fn put_back(&mut self) -> Option<usize> {
        let place = self.places.pop()?;
        let output = self.coins[place].output();
        self.sum = self.sum.saturating_sub(output.value.grains());
        if let Some(count) = self.owners.get_mut(&output.lock) {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(&output.lock);
            }
        }
        Some(place)
    }

    /// Of inputs and witnesses.
    fn bytes(&self, target: &Target) -> u64 {
        let count = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        count(self.places.len()) * INPUT_BYTES + count(self.owners.len()) * target.witness_bytes
    }

    /// In thousandths of grains; less is better, and below zero where coins are spent cheaply.
    fn waste(&self, target: &Target) -> i128 {
        let timing = i128::from(self.bytes(target))
            * (i128::from(target.rate_per_kb) - i128::from(LONG_TERM_RATE_PER_KB));
        let excess = self.sum.saturating_sub(target.needed(self));
        timing + i128::from(excess.min(target.change_cost())) * 1_000
    }
}

/// The coins to spend, or `None` where all together do not cover the target within its size.
pub(crate) fn select<C: Coin>(
    coins: &[C],
    target: &Target,
    random: &mut impl Rng,
) -> Option<Vec<C>> {
    let own_cost = target.fee(INPUT_BYTES + target.witness_bytes);
    // A coin that costs more than it is worth only helps others.
    let mut worth: Vec<&C> =
        coins.iter().filter(|coin| coin.output().value.grains() > own_cost).collect();
    worth.sort_by_key(|coin| {
        (std::cmp::Reverse(coin.output().value), coin.output().lock, coin.outpoint())
    });
    let draws = [
        branch_and_bound(&worth, target),
        random_draw(&worth, target, random),
        largest_first(&worth, target),
    ];
    let best = draws
        .into_iter()
        .flatten()
        .filter(|draw| target.base_bytes + OUTPUT_BYTES + draw.bytes(target) <= target.most_bytes)
        .min_by_key(|draw| (draw.waste(target), draw.places.len()))?;
    Some(best.places.iter().map(|place| worth[*place].clone()).collect())
}

/// Searches sets of coins, larger ones first, for the least wasteful that needs no change.
fn branch_and_bound<'a, C: Coin>(coins: &'a [&'a C], target: &Target) -> Option<Draw<'a, C>> {
    // What all coins from a place on are worth.
    let mut rest = vec![0u64; coins.len() + 1];
    for place in (0..coins.len()).rev() {
        rest[place] = rest[place + 1].saturating_add(coins[place].output().value.grains());
    }
    let mut draw = Draw::new(coins);
    let mut best: Option<(i128, Draw<'a, C>)> = None;
    let mut next = 0;
    for _ in 0..MAX_TRIES {
        let needed = target.needed(&draw);
        let fits = draw.sum >= needed && draw.sum - needed <= target.change_cost();
        if fits {
            let waste = draw.waste(target);
            if best.as_ref().is_none_or(|(least, _)| waste < *least) {
                best = Some((waste, draw.clone()));
            }
        }
        let hopeless = draw.sum.saturating_add(rest[next]) < needed || draw.sum >= needed;
        if !hopeless && next < coins.len() {
            draw.take(next);
            next += 1;
            continue;
        }
        let Some(left_out) = draw.put_back() else { break };
        // A coin like the one left out would only repeat the same search.
        let alike = |place: usize| coins[place].output() == coins[left_out].output();
        next = (left_out + 1..coins.len()).find(|place| !alike(*place)).unwrap_or(coins.len());
    }
    best.map(|(_, draw)| draw)
}

/// Takes coins in random order until they pay and leave change worth having.
fn random_draw<'a, C: Coin>(
    coins: &'a [&'a C],
    target: &Target,
    random: &mut impl Rng,
) -> Option<Draw<'a, C>> {
    let mut order: Vec<usize> = (0..coins.len()).collect();
    order.shuffle(random);
    let mut draw = Draw::new(coins);
    let change = LEAST_CHANGE.saturating_add(target.fee(OUTPUT_BYTES));
    for place in order {
        draw.take(place);
        if draw.sum >= target.needed(&draw).saturating_add(change) {
            return Some(draw);
        }
    }
    None
}

/// Takes the largest coins until they pay.
fn largest_first<'a, C: Coin>(coins: &'a [&'a C], target: &Target) -> Option<Draw<'a, C>> {
    let mut draw = Draw::new(coins);
    for place in 0..coins.len() {
        draw.take(place);
        if draw.sum >= target.needed(&draw) {
            return Some(draw);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::{Amount, OutPoint, Output, PublicKey, Txid};
    use rand::{RngExt as _, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::payment::OwnCoin;

    fn coin(number: u16, grains: u64, owner: u8) -> OwnCoin {
        let mut txid = [0; 32];
        txid[..2].copy_from_slice(&number.to_le_bytes());
        OwnCoin {
            outpoint: OutPoint { txid: Txid(txid), index: 0 },
            output: Output {
                value: Amount::from_grains(grains),
                lock: Lock::key(PublicKey([owner; 32])),
            },
            change: 0,
            index: owner.into(),
        }
    }

    fn target(amount: u64, rate_per_kb: u64) -> Target {
        Target {
            amount,
            base_bytes: 100,
            witness_bytes: WITNESS_BYTES,
            rate_per_kb,
            most_bytes: 60_000,
        }
    }

    fn sum(coins: &[OwnCoin]) -> u64 {
        coins.iter().map(|coin| coin.output.value.grains()).sum()
    }

    #[test]
    fn coins_that_fit_are_spent_without_change() {
        // 7 + 5 + 3 pay 15,000,000 and the fee of three coins of three owners; no others do.
        let fee = 100 + 3 * 99;
        let values = [20_000_000, 11_000_000, 7_000_000, 5_000_000, 3_000_000 + fee, 900_000];
        let coins: Vec<OwnCoin> = (0u8..)
            .zip(values)
            .map(|(number, grains)| coin(number.into(), grains, number))
            .collect();
        let target = target(15_000_000, 1_000);
        let worth: Vec<&OwnCoin> = coins.iter().collect();
        let found = branch_and_bound(&worth, &target).unwrap();
        assert_eq!(found.sum, target.needed(&found));
        let mut random = StdRng::seed_from_u64(1);
        assert_eq!(sum(&select(&coins, &target, &mut random).unwrap()), 15_000_000 + fee);
    }

    /// A miner's coins: all alike, and far more than can be tried in every way.
    #[test]
    fn thousands_of_coins_alike_are_no_long_search() {
        let coins: Vec<OwnCoin> = (0..3_000).map(|number| coin(number, 5_000_000, 1)).collect();
        let mut random = StdRng::seed_from_u64(1);
        let chosen = select(&coins, &target(12_000_000, 5_000), &mut random).unwrap();
        assert_eq!(chosen.len(), 3);
    }

    #[test]
    fn what_is_chosen_always_pays_and_stays_within_the_size() {
        let mut random = StdRng::seed_from_u64(7);
        for round in 0..300 {
            let coins: Vec<OwnCoin> = (0..random.random_range(1..60))
                .map(|number| {
                    coin(number, 1 << random.random_range(5..30), random.random_range(0..8))
                })
                .collect();
            let mut target =
                target(random.random_range(1..200_000_000), random.random_range(0..20_000));
            target.most_bytes = random.random_range(300..4_000);
            let chosen = select(&coins, &target, &mut random);
            let worth = |coin: &&OwnCoin| coin.output.value.grains() > target.fee(99);
            let all: Vec<&OwnCoin> = coins.iter().filter(worth).collect();
            let mut everything = Draw::new(&all);
            (0..all.len()).for_each(|place| everything.take(place));
            match chosen {
                Some(chosen) => {
                    let chosen: Vec<&OwnCoin> = chosen.iter().collect();
                    let mut draw = Draw::new(&chosen);
                    (0..chosen.len()).for_each(|place| draw.take(place));
                    assert!(draw.sum >= target.needed(&draw), "round {round}");
                    assert!(target.base_bytes + draw.bytes(&target) < target.most_bytes);
                    let distinct: std::collections::BTreeSet<OutPoint> =
                        chosen.iter().map(|coin| coin.outpoint).collect();
                    assert_eq!(distinct.len(), chosen.len());
                }
                // Nothing was missed: all coins together do not pay, or are too large.
                None => assert!(
                    everything.sum < target.needed(&everything)
                        || target.base_bytes + OUTPUT_BYTES + everything.bytes(&target)
                            > target.most_bytes,
                    "round {round}"
                ),
            }
        }
    }

    #[test]
    fn the_second_coin_of_an_owner_is_cheaper_than_anothers_first() {
        let coins = [coin(1, 1_000_000, 1), coin(2, 1_000_000, 1), coin(3, 1_000_000, 2)];
        let refs: Vec<&OwnCoin> = coins.iter().collect();
        let target = target(1, 1_000);
        let cost = |places: &[usize]| {
            let mut draw = Draw::new(&refs);
            places.iter().for_each(|place| draw.take(*place));
            draw.bytes(&target)
        };
        assert_eq!((cost(&[0, 1]), cost(&[0, 2])), (2 * 34 + 65, 2 * 99));
    }
}
