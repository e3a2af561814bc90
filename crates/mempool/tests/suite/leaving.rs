//! Whoever follows the pool is told of each that leaves, once, and why.

use ashlar_mempool::{Leaving, Limits};
use ashlar_primitives::Txid;

use crate::world::{Draft, Owner, Spend, Tx, World, output};

const VALUE: u64 = 10_000_000;

fn pay(coin: Spend, value: u64) -> Tx {
    Draft::new(&[coin], &[(value, Owner::Anyone)]).build()
}

fn told(world: &mut World) -> Vec<(Txid, u64, Leaving)> {
    let left = world.pool.take_departures();
    left.iter().map(|left| (left.transaction.txid(), left.sequence, left.why)).collect()
}

#[test]
fn each_departure_is_told_once_with_its_place_and_reason() {
    let mut world = World::new(Limits::default());
    let coin = world.coin(VALUE);
    let first = pay(coin, VALUE - 1_000);
    let child = pay(output(&first, 0), VALUE - 2_000);
    let accepted = world.accept(&first).unwrap();
    assert_eq!(accepted.sequence, world.pool.get(&first.txid()).unwrap().sequence);
    let spent: Vec<u64> = accepted.spent.iter().map(|coin| coin.output.value.grains()).collect();
    assert_eq!(spent, [VALUE]);
    let of_child = world.accept(&child).unwrap();
    let spent: Vec<u64> = of_child.spent.iter().map(|coin| coin.output.value.grains()).collect();
    assert_eq!(spent, [VALUE - 1_000], "a coin that waits itself");
    assert_eq!(told(&mut world), []);

    let better = pay(coin, VALUE - 100_000);
    let of_better = world.accept(&better).unwrap();
    assert_eq!(
        told(&mut world),
        [
            (first.txid(), accepted.sequence, Leaving::Replaced),
            (child.txid(), of_child.sequence, Leaving::Replaced),
        ]
    );
    assert_eq!(told(&mut world), [], "once");

    // A block confirms it, and spends a coin of another otherwise.
    let other = world.coin(VALUE);
    let (loser, winner) = (pay(other, VALUE - 1_000), pay(other, VALUE - 2_000));
    let of_loser = world.accept(&loser).unwrap();
    world.mine(&[better.clone(), winner]);
    let mut left = told(&mut world);
    left.sort_by_key(|(_, sequence, _)| *sequence);
    assert_eq!(
        left,
        [
            (better.txid(), of_better.sequence, Leaving::Confirmed),
            (loser.txid(), of_loser.sequence, Leaving::Conflicting),
        ]
    );

    let coin = world.coin(VALUE);
    let late = pay(coin, VALUE - 1_000);
    let of_late = world.accept(&late).unwrap();
    world.pool.expire(u64::MAX);
    assert_eq!(told(&mut world), [(late.txid(), of_late.sequence, Leaving::Expired)]);

    // One that comes back has another place.
    let again = world.accept(&late).unwrap();
    assert!(again.sequence > of_late.sequence);
    world.pool.remove(&late.txid());
    assert_eq!(told(&mut world), [(late.txid(), again.sequence, Leaving::Refused)]);
}
