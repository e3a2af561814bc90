//! Properties of the state transition: connecting and disconnecting is nothing, a diff
//! is what it did to the coins and reverses, the commitment is that of the coins there are.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::{
    CheckedBlock, HeaderState, SpentCoins, UtxoAccumulator, UtxoDiff, disconnect,
};
use ashlar_primitives::{Coin, CoinList, OutPoint, Transaction};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::builder::{Chain, Owner, apply, commitment_of, output, payment};

/// Payments of one owner to itself: of coins that are there, of coins just made, with one or two
/// outputs, with fees. Returns the fees.
fn random_payments(chain: &Chain, owner: &Owner, random: &mut StdRng) -> (Vec<Transaction>, u64) {
    let mut spendable = chain.spendable(owner.lock());
    let (mut transactions, mut fees) = (Vec::new(), 0);
    for _ in 0..random.random_range(0..6) {
        if spendable.is_empty() {
            break;
        }
        let take = random.random_range(1..=spendable.len().min(3));
        let spent: Vec<_> = (0..take)
            .map(|_| spendable.swap_remove(random.random_range(0..spendable.len())))
            .collect();
        let sum: u64 = spent.iter().map(|(_, coin)| coin.output.value.grains()).sum();
        let fee = random.random_range(0..2).min(sum - 1);
        let mut values = vec![sum - fee];
        if values[0] > 1 && random.random() {
            let part = random.random_range(1..values[0]);
            values = vec![values[0] - part, part];
        }
        fees += fee;
        let outputs = values.iter().map(|value| output(*value, owner.lock())).collect();
        let transaction = payment(&chain.params.chain_id, owner, &spent, outputs);
        let txid = transaction.txid();
        spendable.extend((0..).zip(&transaction.outputs).map(|(index, output)| {
            let coin = Coin { output: *output, height: chain.height(), is_coinbase: false };
            (OutPoint { txid, index }, coin)
        }));
        transactions.push(transaction);
    }
    (transactions, fees)
}

/// A connected block and what it takes to undo it.
struct Done {
    parent: HeaderState,
    block: Arc<CheckedBlock>,
    undo: SpentCoins,
}

fn extend(chain: &mut Chain, owner: &Owner, random: &mut StdRng) -> Done {
    let parent = chain.state.header.clone();
    let (transactions, fees) = random_payments(chain, owner, random);
    let mut coinbase = chain.coinbase(owner, fees);
    if random.random_range(0..4) == 0 {
        // An output of nothing makes no coin, and the one behind it keeps its index.
        coinbase.outputs.insert(0, output(0, owner.lock()));
    }
    let (block, undo) = chain.connect(chain.block(coinbase, transactions));
    Done { parent, block, undo }
}

fn assert_sealed(chain: &Chain) {
    assert_eq!(chain.state.utxo.commitment(), commitment_of(&chain.coins));
}

#[test]
fn connecting_and_disconnecting_is_nothing() {
    for seed in 0..8 {
        let mut random = StdRng::seed_from_u64(seed);
        let owner = Owner::new(1);
        let mut chain = Chain::new();
        let mut done = Vec::new();
        for _ in 0..25 {
            let before = chain.clone();
            let step = extend(&mut chain, &owner, &mut random);
            let connected = chain.clone();
            assert_sealed(&chain);
            let back = chain.disconnect(&step.block, &step.undo, step.parent.clone());
            assert_eq!(chain.coins, before.coins);
            assert_eq!(chain.state, before.state);
            // Coins that the undo record holds beyond the block's own change nothing.
            let more = SpentCoins { coins: before.coins.clone().into_iter().collect() };
            assert_eq!(disconnect(&step.block, &more), back);
            apply(&back.clone().reversed(), &mut chain.coins);
            assert_eq!(chain.coins, connected.coins);
            chain = connected;
            done.push((before, step));
        }
        // And all the way down again.
        for (before, step) in done.into_iter().rev() {
            chain.disconnect(&step.block, &step.undo, step.parent);
            assert_eq!(chain.coins, before.coins);
            assert_eq!(chain.state, before.state);
        }
        assert!(chain.coins.is_empty());
    }
}

/// A set of coins on the way, and what led to the next.
struct Stop {
    coins: BTreeMap<OutPoint, Coin>,
    utxo: UtxoAccumulator,
    diff: UtxoDiff,
}

/// Up and down at random, on ever new branches, the same payments coming again at other heights:
/// what a reorganisation makes of the coins. The last stop leads nowhere. Also, how many payments
/// moved.
fn wander(seed: u64, moves: usize) -> (Vec<Stop>, usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let owner = Owner::new(1);
    let mut chain = Chain::new();
    let mut done: Vec<Done> = (0..6).map(|_| extend(&mut chain, &owner, &mut random)).collect();
    let mut waiting: Vec<(Vec<Transaction>, u64)> = Vec::new();
    let (mut stops, mut moved) = (Vec::new(), 0);
    for _ in 0..moves {
        let (coins, utxo) = (chain.coins.clone(), chain.state.utxo.clone());
        let diff = if random.random() && done.len() > 4 {
            let Done { parent, block, undo } = done.pop().unwrap();
            let fees = block.coinbase().outputs.iter().map(|it| it.value.grains()).sum::<u64>();
            let subsidy = chain.params.subsidy(block.height()).grains();
            waiting.push((block.to_block().transactions, fees - subsidy));
            chain.disconnect(&block, &undo, parent)
        } else {
            // One block later than it was, where there is room for one more.
            let step = match waiting.pop().filter(|(again, _)| all_there(&chain, again)) {
                Some((again, fees)) if random.random() => {
                    moved += again.len();
                    extend_with(&mut chain, &owner, again, fees)
                }
                Some(later) => {
                    waiting.push(later);
                    extend_with(&mut chain, &owner, vec![], 0)
                }
                None => extend(&mut chain, &owner, &mut random),
            };
            let diff = disconnect(&step.block, &step.undo).reversed();
            done.push(step);
            diff
        };
        stops.push(Stop { coins, utxo, diff });
    }
    let (coins, utxo) = (chain.coins, chain.state.utxo);
    stops.push(Stop { coins, utxo, diff: UtxoDiff::default() });
    (stops, moved)
}

#[test]
fn a_diff_is_what_changed_and_reverses() {
    let mut moved = 0;
    for seed in 100..124 {
        let (stops, payments) = wander(seed, 20);
        moved += payments;
        for pair in stops.windows(2) {
            let Stop { coins, utxo, diff } = &pair[0];
            assert_eq!(*diff, difference(coins, &pair[1].coins));
            assert_eq!(diff.applied_to(utxo), pair[1].utxo);
            assert_eq!(utxo.commitment(), commitment_of(coins));
            let mut back = pair[1].coins.clone();
            apply(&diff.clone().reversed(), &mut back);
            assert_eq!(back, *coins);
            assert_eq!(diff.clone().reversed().applied_to(&pair[1].utxo), *utxo);
            assert_eq!(diff.clone().reversed().reversed(), *diff);
        }
    }
    assert!(moved > 20, "too few payments moved to another height: {moved}");
}

/// First one diff, then another: what comes and goes leaves no trace, nor what goes and comes back
/// just as it was.
fn then(first: UtxoDiff, next: &UtxoDiff) -> UtxoDiff {
    let map = |coins: CoinList| -> BTreeMap<_, _> { coins.into_iter().collect() };
    let (mut spent, mut created) = (map(first.spent), map(first.created));
    for (outpoint, coin) in &next.spent {
        if created.remove(outpoint).is_none() {
            spent.insert(*outpoint, *coin);
        }
    }
    for (outpoint, coin) in &next.created {
        if spent.get(outpoint) == Some(coin) {
            spent.remove(outpoint);
        } else {
            created.insert(*outpoint, *coin);
        }
    }
    let [spent, created] = [spent, created].map(|coins| coins.into_iter().collect());
    UtxoDiff { spent, created }
}

#[test]
fn diffs_compose() {
    for seed in 200..212 {
        let (stops, _) = wander(seed, 16);
        for (start, from) in stops.iter().enumerate() {
            let mut whole = UtxoDiff::default();
            for (last, to) in stops.windows(2).map(|pair| (&pair[0], &pair[1])).skip(start) {
                whole = then(whole, &last.diff);
                // One diff for the whole run: on coins, on the accumulator, there and back.
                assert_eq!(whole, difference(&from.coins, &to.coins));
                let mut coins = from.coins.clone();
                apply(&whole, &mut coins);
                assert_eq!(coins, to.coins);
                assert_eq!(whole.applied_to(&from.utxo), to.utxo);
                let back = whole.clone().reversed();
                assert_eq!(back.applied_to(&to.utxo), from.utxo);
                assert_eq!(then(whole.clone(), &back), UtxoDiff::default());
            }
        }
        // However the run is cut, and backwards as forwards.
        for run in stops.windows(3) {
            let [a, b, c] = [&run[0].diff, &run[1].diff, &run[2].diff];
            let (left, right) = (then(then(a.clone(), b), c), then(a.clone(), &then(b.clone(), c)));
            assert_eq!(left, right);
            let back =
                then(then(c.clone().reversed(), &b.clone().reversed()), &a.clone().reversed());
            assert_eq!(left.reversed(), back);
        }
    }
}

#[test]
fn an_accumulator_is_its_bytes_and_knows_no_order() {
    let (stops, _) = wander(300, 12);
    for Stop { coins, utxo, .. } in &stops {
        let bytes: [u8; 2_048] = utxo.to_bytes().try_into().unwrap();
        assert_eq!(UtxoAccumulator::from_bytes(&bytes), *utxo);
        let mut backwards = UtxoAccumulator::empty();
        for (outpoint, coin) in coins.iter().rev() {
            backwards.add(outpoint, coin);
        }
        assert_eq!(backwards, *utxo);
    }
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..50 {
        let bytes: [u8; 2_048] = std::array::from_fn(|_| random.random());
        assert_eq!(UtxoAccumulator::from_bytes(&bytes).to_bytes(), bytes);
    }
}

fn all_there(chain: &Chain, transactions: &[Transaction]) -> bool {
    let made: Vec<_> = transactions.iter().map(Transaction::txid).collect();
    let spendable: BTreeMap<_, _> = chain.spendable(Owner::new(1).lock()).into_iter().collect();
    let inputs = transactions.iter().flat_map(|transaction| &transaction.inputs);
    !transactions.is_empty()
        && inputs
            .filter(|input| !made.contains(&input.txid))
            .all(|input| spendable.contains_key(input))
}

fn extend_with(
    chain: &mut Chain,
    owner: &Owner,
    transactions: Vec<Transaction>,
    fees: u64,
) -> Done {
    let parent = chain.state.header.clone();
    let (block, undo) = chain.extend(owner, transactions, fees);
    Done { parent, block, undo }
}

/// What it takes to come from one set of coins to another, by comparing them.
fn difference(from: &BTreeMap<OutPoint, Coin>, to: &BTreeMap<OutPoint, Coin>) -> UtxoDiff {
    let missing = |these: &BTreeMap<OutPoint, Coin>, those: &BTreeMap<OutPoint, Coin>| {
        these.iter().filter(|(k, v)| those.get(k) != Some(v)).map(|(k, v)| (*k, *v)).collect()
    };
    UtxoDiff { spent: missing(from, to), created: missing(to, from) }
}

#[test]
fn coins_made_and_spent_inside_a_block_leave_no_trace() {
    let owner = Owner::new(1);
    let mut chain = Chain::new();
    for _ in 0..3 {
        chain.extend(&owner, vec![], 0);
    }
    let first_coin = chain.spendable(owner.lock())[0];
    let pay =
        |coin| payment(&chain.params.chain_id, &owner, &[coin], vec![output(1_000, owner.lock())]);
    let height = chain.height();
    let mut chained = vec![pay(first_coin)];
    for _ in 0..4 {
        let last = chained.last().unwrap();
        let coin = Coin { output: last.outputs[0], height, is_coinbase: false };
        chained.push(pay((OutPoint { txid: last.txid(), index: 0 }, coin)));
    }
    let last = OutPoint { txid: chained.last().unwrap().txid(), index: 0 };
    let (block, undo) = chain.extend(&owner, chained, 0);
    let diff = disconnect(&block, &undo).reversed();
    assert_eq!(diff.spent.keys().collect::<Vec<_>>(), [&first_coin.0]);
    let coinbase = OutPoint { txid: block.coinbase_id().into(), index: 0 };
    let mut made = vec![last, coinbase];
    made.sort();
    assert_eq!(diff.created.keys().copied().collect::<Vec<_>>(), made);
    assert_sealed(&chain);
}
