//! Memory is bounded: what goes for room, what that asks of newcomers, and how it fades.

use ashlar_mempool::{
    FLOOR_HALF_LIFE_MS, Feerate, INCREMENTAL_FEERATE, Limits, PolicyError, Refusal,
};
use ashlar_primitives::Amount;

use crate::world::{Draft, Owner, Tx, World, output};

const VALUE: u64 = 100_000_000;

/// A pool with room for `count` payments and not one more.
fn world_for(count: usize) -> World {
    let mut world = World::new(Limits::default());
    let tx = payment(&mut world, 1_000);
    world.accept(&tx).unwrap();
    let each = world.pool.memory_bytes();
    World::new(Limits { max_bytes: each * count, ..Limits::default() })
}

fn payment(world: &mut World, fee: u64) -> Tx {
    let coin = world.coin(VALUE);
    Draft::new(&[coin], &[(VALUE - fee, Owner::Anyone)]).build()
}

fn child(parent: &Tx, fee: u64) -> Tx {
    let value = parent.transaction().outputs[0].value.grains();
    Draft::new(&[output(parent, 0)], &[(value - fee, Owner::Anyone)]).build()
}

fn rate(tx: &Tx, fee: u64) -> Feerate {
    Feerate::new(Amount::from_grains(fee), tx.size_bytes().into())
}

/// Ten payments of 1,000 to 10,000 grains in a pool that is full with them.
fn full() -> (World, Vec<Tx>) {
    let mut world = world_for(10);
    let txs: Vec<Tx> = (1..=10).map(|n| payment(&mut world, n * 1_000)).collect();
    for tx in &txs {
        assert!(world.accept(tx).unwrap().removed.is_empty());
    }
    (world, txs)
}

#[test]
fn the_worst_goes() {
    let (mut world, txs) = full();
    assert_eq!(world.pool.memory_bytes(), world.pool.limits().max_bytes);
    let better = payment(&mut world, 5_500);
    let accepted = world.accept(&better).unwrap();
    assert_eq!(accepted.removed, [txs[0].clone()]);
    assert_eq!(world.pool.len(), 10);
    // The floor is now above what went, by what a byte costs.
    let gone = rate(&txs[0], 1_000);
    assert!(world.pool.min_feerate(world.now_ms) > gone);
    let required = 1_000 + INCREMENTAL_FEERATE.fee_for(u64::from(txs[0].size_bytes()));
    let under = payment(&mut world, required - 1);
    assert_eq!(world.refusal(&under), "tx-mempool-full");
}

#[test]
fn who_would_go_at_once_does_not_come_in() {
    let (mut world, txs) = full();
    // As good as the worst, and not better.
    let equal = payment(&mut world, 1_000);
    let refusal = world.accept(&equal).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Policy(PolicyError::MempoolFull {
            required: 1_000 + u64::from(equal.size_bytes())
        })
    );
    assert!(world.pool.get(&txs[0].txid()).is_some());
    assert_eq!(
        world.pool.min_feerate(world.now_ms),
        world.pool.limits().min_feerate,
        "a refusal changes nothing"
    );
}

#[test]
fn a_package_goes_whole_and_a_good_child_saves_its_parent() {
    let (mut world, txs) = full();
    // The worst gets a rich child: now the second worst goes for it.
    let rich = child(&txs[0], 50_000);
    assert_eq!(world.accept(&rich).unwrap().removed, [txs[1].clone()]);
    assert!(world.pool.get(&txs[0].txid()).is_some());
    // The third gets a poor child, which goes before anything else does.
    let poor = child(&txs[9], 1_500);
    assert_eq!(world.refusal(&poor), "tx-mempool-full");
    world.assert_template_connects(100_000);
}

#[test]
fn a_chunk_goes_with_all_its_members() {
    let mut world = world_for(10);
    let parent = payment(&mut world, 500);
    world.accept(&parent).unwrap();
    let child = child(&parent, 700);
    world.accept(&child).unwrap();
    for n in 2..=9 {
        let tx = payment(&mut world, n * 1_000);
        world.accept(&tx).unwrap();
    }
    let tx = payment(&mut world, 20_000);
    let removed = world.accept(&tx).unwrap().removed;
    assert_eq!(removed, [parent.clone(), child.clone()], "one chunk, parents first");
    // The floor is that of the chunk, not of its worst part.
    let chunk = Feerate::new(
        Amount::from_grains(1_200),
        u64::from(parent.size_bytes() + child.size_bytes()),
    );
    assert!(world.pool.min_feerate(world.now_ms) > chunk);
}

#[test]
fn a_replacement_frees_what_it_replaces() {
    let (mut world, txs) = full();
    let coin = (txs[9].transaction().inputs[0], Owner::Anyone);
    let replacement = Draft::new(&[coin], &[(VALUE - 20_000, Owner::Anyone)]).build();
    assert_eq!(world.accept(&replacement).unwrap().removed, [txs[9].clone()]);
    assert_eq!(world.pool.len(), 10);
}

#[test]
fn a_large_one_pushes_out_several() {
    let (mut world, txs) = full();
    let coin = world.coin(VALUE);
    let outputs: Vec<_> = (0..40).map(|_| (1_000, Owner::Anyone)).collect();
    let large = Draft::new(&[coin], &outputs).build();
    let removed = world.accept(&large).unwrap().removed;
    assert!(removed.len() > 1);
    assert_eq!(removed, txs[..removed.len()].to_vec().as_slice());
    assert!(world.pool.memory_bytes() <= world.pool.limits().max_bytes);
    // One that is larger than all the room there is.
    let coin = world.coin(VALUE);
    let outputs: Vec<_> = (0..400).map(|_| (1_000, Owner::Anyone)).collect();
    let huge = Draft::new(&[coin], &outputs).build();
    assert_eq!(world.refusal(&huge), "tx-mempool-full");
    assert!(world.pool.get(&large.txid()).is_some());
}

#[test]
fn the_floor_rises_with_the_tide_and_fades() {
    let (mut world, _) = full();
    let mut before = world.pool.min_feerate(world.now_ms);
    for n in 11..=60 {
        let tx = payment(&mut world, n * 1_000);
        world.accept(&tx).unwrap();
        let now = world.pool.min_feerate(world.now_ms);
        assert!(now > before, "each push asks more of the next");
        before = now;
    }
    let asked = before.fee_for(98);
    let late = payment(&mut world, asked - 1);
    assert_eq!(world.refusal(&late), "tx-mempool-full");
    // Blocks make room, but the floor only fades with time: half of it in half a day.
    let everything: Vec<Tx> = world.pool.iter().map(|e| e.transaction.clone()).collect();
    world.mine(&everything);
    assert!(world.pool.is_empty());
    assert_eq!(world.refusal(&late), "tx-mempool-full");
    world.now_ms += FLOOR_HALF_LIFE_MS;
    let half = world.pool.min_feerate(world.now_ms).fee_for(98);
    assert!((asked / 2 - 1..=asked / 2 + 1).contains(&half));
    world.accept(&late).unwrap();
    let under = payment(&mut world, half - 1);
    assert_eq!(world.refusal(&under), "tx-mempool-full");
    world.now_ms += 20 * FLOOR_HALF_LIFE_MS;
    assert_eq!(world.pool.min_feerate(world.now_ms), world.pool.limits().min_feerate);
    world.accept(&under).unwrap();
}
