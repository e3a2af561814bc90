//! What the operator adds to fees.

use ashlar_mempool::{Limits, MAX_PRIORITIES, PrioritiesFull};
use ashlar_primitives::{Amount, Txid};

use crate::world::{Draft, Owner, Tx, World};

const VALUE: u64 = 100_000_000;

fn draft(world: &mut World, fee: u64) -> Tx {
    let coin = world.coin(VALUE);
    Draft::new(&[coin], &[(VALUE - fee, Owner::Anyone)]).build()
}

fn payment(world: &mut World, fee: u64) -> Tx {
    let tx = draft(world, fee);
    world.accept(&tx).unwrap();
    tx
}

fn first(world: &World) -> Txid {
    world.pool.best_first().next().unwrap().transaction.txid()
}

#[test]
fn the_order_follows_and_the_fees_do_not() {
    let mut world = World::new(Limits::default());
    let (poor, rich) = (payment(&mut world, 1_000), payment(&mut world, 9_000));
    assert_eq!(first(&world), rich.txid());
    let before = world.pool.sequence();
    assert_eq!(world.pool.prioritise(poor.txid(), 10_000), Ok(10_000));
    assert_eq!(first(&world), poor.txid());
    assert!(world.pool.sequence() > before, "a better template can be had");
    let entry = world.pool.get(&poor.txid()).unwrap();
    assert_eq!((entry.fee.grains(), entry.weighed_fee().grains()), (1_000, 11_000));
    assert_eq!(world.pool.total_fee().grains(), 10_000);
    world.assert_template_connects(usize::MAX);
    // It adds up, and what comes to nothing is forgotten.
    assert_eq!(world.pool.prioritise(poor.txid(), -4_000), Ok(6_000));
    assert_eq!(first(&world), rich.txid());
    assert_eq!(world.pool.prioritise(poor.txid(), -6_000), Ok(0));
    assert!(world.pool.priorities().is_empty());
    // No less than nothing, however much is taken off, and no sum runs over.
    assert_eq!(
        world.pool.prioritise(rich.txid(), i64::MIN),
        Ok(-(Amount::MAX_MONEY.grains() as i64))
    );
    assert_eq!(world.pool.get(&rich.txid()).unwrap().weighed_fee(), Amount::ZERO);
    assert_eq!(world.pool.prioritise(rich.txid(), i64::MAX), Ok(Amount::MAX_MONEY.grains() as i64));
    assert_eq!(first(&world), rich.txid());
}

#[test]
fn it_opens_and_shuts_the_door() {
    let mut world = World::new(Limits::default());
    let (free, dear) = (draft(&mut world, 0), draft(&mut world, 9_000));
    assert_eq!(world.refusal(&free), "tx-fee-too-low");
    world.pool.prioritise(free.txid(), 1_000).unwrap();
    world.accept(&free).unwrap();
    world.pool.prioritise(dear.txid(), -9_000).unwrap();
    assert_eq!(world.refusal(&dear), "tx-fee-too-low");
}

#[test]
fn what_replaces_beats_the_priority_too() {
    let mut world = World::new(Limits::default());
    let coin = world.coin(VALUE);
    let spend = |fee: u64| Draft::new(&[coin], &[(VALUE - fee, Owner::Anyone)]).build();
    let waits = spend(1_000);
    world.accept(&waits).unwrap();
    world.pool.prioritise(waits.txid(), 5_000).unwrap();
    assert_eq!(world.refusal(&spend(6_000)), "tx-conflict");
    world.accept(&spend(7_000)).unwrap();
    assert_eq!(world.pool.len(), 1);
}

#[test]
fn it_lasts_until_the_transaction_is_confirmed() {
    let mut world = World::new(Limits::default());
    let (mined, other) = (payment(&mut world, 1_000), payment(&mut world, 1_000));
    for tx in [&mined, &other] {
        world.pool.prioritise(tx.txid(), 7).unwrap();
    }
    world.pool.remove(&other.txid());
    world.mine(&[mined]);
    assert_eq!(world.pool.priorities().keys().collect::<Vec<_>>(), [&other.txid()]);
    world.accept(&other).unwrap();
    assert_eq!(world.pool.get(&other.txid()).unwrap().delta_grains, 7);
}

#[test]
fn there_is_an_end_to_them() {
    let mut world = World::new(Limits::default());
    let name = |number: usize| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_le_bytes());
        Txid(id)
    };
    for number in 0..MAX_PRIORITIES {
        world.pool.prioritise(name(number), 1).unwrap();
    }
    assert_eq!(world.pool.prioritise(name(MAX_PRIORITIES), 1), Err(PrioritiesFull));
    assert_eq!(world.pool.prioritise(name(0), 1), Ok(2), "one that is there can change");
    assert_eq!(world.pool.prioritise(name(0), -2), Ok(0));
    assert_eq!(world.pool.prioritise(name(MAX_PRIORITIES), 1), Ok(1), "and leave its place");
}
