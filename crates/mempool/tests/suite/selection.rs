//! What a block gets: the best, in an order in which it connects.

use std::collections::BTreeSet;

use ashlar_mempool::{Entry, Feerate, Limits};
use ashlar_primitives::{Amount, Txid};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::world::{Draft, Owner, Tx, World, output};

const VALUE: u64 = 100_000_000;

fn world() -> World {
    World::new(Limits::default())
}

fn payment(world: &mut World, fee: u64) -> Tx {
    let coin = world.coin(VALUE);
    let tx = Draft::new(&[coin], &[(VALUE - fee, Owner::Anyone)]).build();
    world.accept(&tx).unwrap();
    tx
}

fn draft_child(parents: &[&Tx], fee: u64) -> Tx {
    let value: u64 = parents.iter().map(|tx| tx.transaction().outputs[0].value.grains()).sum();
    let spends: Vec<_> = parents.iter().map(|tx| output(tx, 0)).collect();
    Draft::new(&spends, &[(value - fee, Owner::Anyone)]).build()
}

fn child(world: &mut World, parents: &[&Tx], fee: u64) -> Tx {
    let tx = draft_child(parents, fee);
    world.accept(&tx).unwrap();
    tx
}

fn ids(entries: Vec<&Entry>) -> Vec<Txid> {
    entries.iter().map(|entry| entry.transaction.txid()).collect()
}

#[test]
fn best_feerate_first_and_equals_in_order_of_entry() {
    let mut world = world();
    let fees = [500, 900, 100, 900, 700];
    let txs: Vec<Tx> = fees.iter().map(|fee| payment(&mut world, *fee)).collect();
    let expected = [1, 3, 4, 0, 2].map(|place: usize| txs[place].txid());
    assert_eq!(ids(world.pool.select(usize::MAX)), expected);
    assert_eq!(ids(world.pool.best_first().collect()), expected);
}

#[test]
fn a_child_lifts_its_parent() {
    let mut world = world();
    let parent = payment(&mut world, 100);
    let middling = payment(&mut world, 1_000);
    let rich = child(&mut world, &[&parent], 10_000);
    let order = [parent.txid(), rich.txid(), middling.txid()];
    assert_eq!(ids(world.pool.select(usize::MAX)), order);
    // A poor child stays behind.
    let poor = child(&mut world, &[&middling], 100);
    assert_eq!(ids(world.pool.select(usize::MAX)).last(), Some(&poor.txid()));
}

#[test]
fn what_does_not_fit_leaves_its_room_to_others() {
    let mut world = world();
    let parent = payment(&mut world, 100);
    let rich = child(&mut world, &[&parent], 100_000);
    let small = payment(&mut world, 1_000);
    let both = (parent.size_bytes() + rich.size_bytes()) as usize;
    assert_eq!(world.pool.select(both).len(), 2);
    assert_eq!(ids(world.pool.select(both - 1)), [small.txid()], "a chunk is whole or not there");
    assert_eq!(world.pool.select(small.size_bytes() as usize).len(), 1);
    assert!(world.pool.select(small.size_bytes() as usize - 1).is_empty());
    assert!(world.pool.select(0).is_empty());
}

#[test]
fn a_full_block_ends_the_search() {
    let mut world = world();
    // More large ones than are looked at in vain, and a small one that comes after them.
    let count = ashlar_mempool::MAX_MISSES as u64 + 10;
    for fee in 0..count {
        let coin = world.coin(VALUE);
        let tx = Draft::new(&[coin], &[(VALUE - 100_000 - fee, Owner::Anyone)]).memo(&[0; 200]);
        world.accept(&tx.build()).unwrap();
    }
    let small = payment(&mut world, 100);
    let large_bytes = 298;
    assert!(world.pool.select(large_bytes - 1).is_empty(), "the small one is too far down");
    // With room enough left, the search goes on to the end.
    let room = 2 * ashlar_mempool::FULL_ENOUGH_BYTES;
    assert_eq!(world.pool.select(room).len(), room / large_bytes + 1);
    assert!(ids(world.pool.select(room)).contains(&small.txid()));
}

/// Random pools: everything selected connects, in order, and blocks earn more than by greed
/// without packages.
#[test]
fn random_pools_are_well_used() {
    let (mut earned, mut naive_earned) = (0, 0);
    for seed in 0..30 {
        let mut rng = StdRng::seed_from_u64(seed);
        // Clusters small against the blocks, as they are in life.
        let mut world = World::new(Limits { max_cluster_transactions: 6, ..Limits::default() });
        let mut txs: Vec<Tx> = Vec::new();
        while txs.len() < 60 {
            let free: Vec<Tx> = txs
                .iter()
                .filter(|tx| world.pool.spender(&output(tx, 0).0).is_none())
                .cloned()
                .collect();
            let fee = rng.random_range(200..20_000);
            let count = rng.random_range(0..3_usize).min(free.len());
            let from = rng.random_range(0..=free.len() - count);
            let parents: Vec<&Tx> = free[from..from + count].iter().collect();
            if parents.is_empty() {
                txs.push(payment(&mut world, fee));
            } else if let tx = draft_child(&parents, fee)
                && world.accept(&tx).is_ok()
            {
                txs.push(tx);
            }
        }
        let all = world.pool.select(usize::MAX);
        assert_eq!(all.len(), 60);
        assert_eq!(ids(all.clone()), ids(world.pool.best_first().collect()));
        let mut seen = BTreeSet::new();
        for entry in &all {
            for parent in world.pool.parents(&entry.transaction) {
                assert!(seen.contains(&parent), "parents come first");
            }
            seen.insert(entry.transaction.txid());
        }
        for max_bytes in [1_500, 3_000, 4_500] {
            world.assert_template_connects(max_bytes);
            let fees = |entries: Vec<&Entry>| entries.iter().map(|e| e.fee.grains()).sum::<u64>();
            earned += fees(world.pool.select(max_bytes));
            naive_earned += fees(by_own_feerate(&world, max_bytes));
        }
    }
    assert!(earned > naive_earned, "{earned} against {naive_earned}");
}

/// The obvious miner: whatever has the best own feerate and no parent outside the block, next.
fn by_own_feerate(world: &World, max_bytes: usize) -> Vec<&Entry> {
    let mut selected: Vec<&Entry> = Vec::new();
    let mut taken = BTreeSet::new();
    let mut left = max_bytes;
    loop {
        let next = world
            .pool
            .iter()
            .filter(|entry| !taken.contains(&entry.transaction.txid()))
            .filter(|entry| entry.transaction.size_bytes() as usize <= left)
            .filter(|entry| world.pool.parents(&entry.transaction).is_subset(&taken))
            .max_by_key(|entry| Feerate::new(entry.fee, entry.transaction.size_bytes().into()));
        let Some(entry) = next else { return selected };
        left -= entry.transaction.size_bytes() as usize;
        taken.insert(entry.transaction.txid());
        selected.push(entry);
    }
}

#[test]
fn the_least_feerate_is_the_setting_while_there_is_room() {
    let world = world();
    assert_eq!(world.pool.min_feerate(0), Feerate::new(Amount::from_grains(1), 1));
}
