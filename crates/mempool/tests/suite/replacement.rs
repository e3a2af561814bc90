//! Replacement by fee: the rules one by one, at their edges.

use ashlar_mempool::{Limits, PolicyError, Refusal, ReplacementFault};
use ashlar_primitives::OutPoint;

use crate::world::{Draft, Owner, Spend, Tx, World, output};

const VALUE: u64 = 10_000_000;
/// Of a transaction with one input and one output, see `sizes_are_what_the_table_assumes`.
const SIZE: u64 = 98;

fn world() -> World {
    World::new(Limits::default())
}

/// Spends `spends`, each worth `VALUE`, into one output.
fn pay(spends: &[Spend], fee: u64) -> Tx {
    let value = VALUE * spends.len() as u64 - fee;
    Draft::new(spends, &[(value, Owner::Anyone)]).build()
}

/// Spends an output worth `value` into one output.
fn pass_on(spend: Spend, value: u64, fee: u64) -> Tx {
    Draft::new(&[spend], &[(value - fee, Owner::Anyone)]).build()
}

fn fault(world: &mut World, tx: &Tx) -> ReplacementFault {
    match world.accept(tx).unwrap_err() {
        Refusal::Policy(PolicyError::Conflict(fault)) => fault,
        other => panic!("{other}"),
    }
}

fn ids(txs: &[Tx]) -> Vec<ashlar_primitives::Txid> {
    txs.iter().map(|tx| tx.txid()).collect()
}

#[test]
fn sizes_are_what_the_table_assumes() {
    let mut world = world();
    let coin = world.coin(VALUE);
    assert_eq!(u64::from(pay(&[coin], 0).size_bytes()), SIZE);
}

#[test]
fn fees_and_feerates_at_their_edges() {
    use ReplacementFault::{Fee, Feerate};
    // (fee of the one that waits, fee of its child, fee of the newcomer, its memo) → what is said.
    // With an empty memo the newcomer has the size of the one that waits.
    let table = [
        // Higher, but its own bytes are not paid.
        (1_000, None, 1_001, 0, Some(Fee { fee: 1_001, required: 1_000 + SIZE })),
        (1_000, None, 1_000 + SIZE - 1, 0, Some(Fee { fee: 1_097, required: 1_098 })),
        (1_000, None, 1_000 + SIZE, 0, None),
        // Not higher at all.
        (1_000, None, 1_000, 0, Some(Feerate { required: 1_001 })),
        (1_000, None, 999, 0, Some(Feerate { required: 1_001 })),
        // Pays for its bytes, but at a lower feerate: twice the size for less than twice the fee.
        (1_000, None, 2_000, SIZE, Some(Feerate { required: 2_001 })),
        (1_000, None, 2_001, SIZE, None),
        // The child's fee is paid too, and its feerate does not matter.
        (1_000, Some(500), 1_500 + SIZE - 1, 0, Some(Fee { fee: 1_597, required: 1_598 })),
        (1_000, Some(500), 1_500 + SIZE, 0, None),
        (1_000, Some(9_000), 10_000 + SIZE - 1, 0, Some(Fee { fee: 10_097, required: 10_098 })),
        (1_000, Some(9_000), 10_000 + SIZE, 0, None),
    ];
    for (waiting, child, newcomer, memo, expected) in table {
        let mut world = world();
        let coin = world.coin(VALUE);
        let mut old = vec![pay(&[coin], waiting)];
        world.accept(&old[0]).unwrap();
        if let Some(fee) = child {
            let child = pass_on(output(&old[0], 0), VALUE - waiting, fee);
            world.accept(&child).unwrap();
            old.push(child);
        }
        let memo = vec![0; memo as usize];
        // To another owner, so that it is another transaction whatever it pays.
        let tx = Draft::new(&[coin], &[(VALUE - newcomer, Owner::TwoWays)]).memo(&memo).build();
        match expected {
            Some(expected) => {
                assert_eq!(fault(&mut world, &tx), expected);
                assert_eq!(world.pool.len(), old.len());
            }
            None => {
                let accepted = world.accept(&tx).unwrap();
                assert_eq!(ids(&accepted.removed), ids(&old), "parents first");
                assert_eq!(world.pool.len(), 1);
                assert_eq!(world.pool.total_fee().grains(), newcomer);
            }
        }
        world.assert_template_connects(100_000);
    }
}

#[test]
fn the_feerate_of_each_direct_conflict_is_beaten() {
    let mut world = world();
    let (a, b) = (world.coin(VALUE), world.coin(VALUE));
    let (cheap, dear) = (pay(&[a], 200), pay(&[b], 5_000));
    world.accept(&cheap).unwrap();
    world.accept(&dear).unwrap();
    let size = u64::from(pay(&[a, b], 0).size_bytes());
    // Pays for both, at a feerate between theirs.
    let between = 5_000 * size / SIZE;
    assert!(between > 5_200 + size);
    assert_eq!(
        fault(&mut world, &pay(&[a, b], between)),
        ReplacementFault::Feerate { required: between + 1 }
    );
    let accepted = world.accept(&pay(&[a, b], between + 1)).unwrap();
    assert_eq!(accepted.removed.len(), 2);
}

#[test]
fn no_unconfirmed_output_that_they_did_not_spend() {
    let mut world = world();
    let (a, b) = (world.coin(VALUE), world.coin(VALUE));
    let split = |spend| {
        let half = (VALUE - 1_000) / 2;
        Draft::new(&[spend], &[(half, Owner::Anyone), (half, Owner::Anyone)]).build()
    };
    let (parent, other) = (split(a), split(b));
    let half = (VALUE - 1_000) / 2;
    let old = pass_on(output(&parent, 0), half, 1_000);
    for tx in [&parent, &other, &old] {
        world.accept(tx).unwrap();
    }
    // The second output of the same parent, or an output of another that waits, is new.
    for new in [output(&parent, 1), output(&other, 0)] {
        let tx = Draft::new(&[output(&parent, 0), new], &[(half, Owner::Anyone)]).build();
        let expected = ReplacementFault::NewUnconfirmedInput { input: 1 };
        assert_eq!(fault(&mut world, &tx), expected);
    }
    // A confirmed coin may be added, and the very output spent again.
    let coin = world.coin(VALUE);
    let tx = Draft::new(&[coin, output(&parent, 0)], &[(half, Owner::Anyone)]).build();
    assert_eq!(ids(&world.accept(&tx).unwrap().removed), ids(&[old]));
    assert_eq!(world.pool.get(&tx.txid()).unwrap().ancestor_count, 2);
}

#[test]
fn nothing_spends_from_what_it_replaces() {
    let mut world = world();
    let coin = world.coin(VALUE);
    let first = pay(&[coin], 1_000);
    let second = pass_on(output(&first, 0), VALUE - 1_000, 1_000);
    world.accept(&first).unwrap();
    world.accept(&second).unwrap();
    // In conflict with both, so that the output of `first` is not new to it.
    let tx = Draft::new(&[coin, output(&first, 0)], &[(1, Owner::Anyone)]).build();
    assert_eq!(fault(&mut world, &tx), ReplacementFault::SpendsReplaced { input: 1 });
    let itself = Draft::new(&[coin, output(&second, 0)], &[(1, Owner::Anyone)]).build();
    assert_eq!(fault(&mut world, &itself), ReplacementFault::NewUnconfirmedInput { input: 1 });
}

#[test]
fn at_most_sixty_four_go() {
    // 64 and 65 in direct conflict.
    for (count, taken) in [(64, true), (65, false)] {
        let mut world = world();
        let coins: Vec<Spend> = (0..count).map(|_| world.coin(VALUE)).collect();
        for coin in &coins {
            world.accept(&pay(&[*coin], 100)).unwrap();
        }
        let tx = Draft::new(&coins, &[(1, Owner::Anyone)]).build();
        if taken {
            assert_eq!(world.accept(&tx).unwrap().removed.len(), 64);
        } else {
            assert_eq!(fault(&mut world, &tx), ReplacementFault::TooMany { max: 64 });
        }
    }
    // By descendants: chains of 32 and 32, of 32 and 33.
    for (second, taken) in [(32, true), (33, false)] {
        let mut world = world();
        let coins = [world.coin(VALUE), world.coin(VALUE)];
        for (coin, length) in coins.into_iter().zip([32, second]) {
            let (mut spend, mut value) = (coin, VALUE);
            for _ in 0..length {
                let tx = pass_on(spend, value, 100);
                world.accept(&tx).unwrap();
                (spend, value) = (output(&tx, 0), value - 100);
            }
        }
        let tx = Draft::new(&coins, &[(1, Owner::Anyone)]).build();
        if taken {
            assert_eq!(world.accept(&tx).unwrap().removed.len(), 64);
            assert_eq!(world.pool.len(), 1);
        } else {
            assert_eq!(fault(&mut world, &tx), ReplacementFault::TooMany { max: 64 });
        }
    }
}

#[test]
fn a_replacement_makes_room_in_its_own_cluster() {
    let mut world = world();
    let coin = world.coin(VALUE);
    let (mut spend, mut value) = (coin, VALUE);
    let mut last: Option<(Spend, u64)> = None;
    for _ in 0..64 {
        let tx = pass_on(spend, value, 100);
        world.accept(&tx).unwrap();
        last = Some((spend, value));
        (spend, value) = (output(&tx, 0), value - 100);
    }
    let (spend, value) = last.unwrap();
    let replacement = pass_on(spend, value, 5_000);
    assert_eq!(world.accept(&replacement).unwrap().removed.len(), 1);
    assert_eq!(world.pool.get(&replacement.txid()).unwrap().ancestor_count, 64);
}

#[test]
fn a_replaced_link_leaves_two_clusters() {
    let mut world = world();
    let coins = [world.coin(VALUE), world.coin(VALUE)];
    let parents = [pay(&coins[..1], 100), pay(&coins[1..], 100)];
    for tx in &parents {
        world.accept(tx).unwrap();
    }
    let ends = [output(&parents[0], 0), output(&parents[1], 0)];
    let link = Draft::new(&ends, &[(VALUE, Owner::Anyone)]).build();
    world.accept(&link).unwrap();
    assert_eq!(world.pool.get(&parents[0].txid()).unwrap().descendant_count, 2);
    assert_eq!(world.pool.spender(&ends[0].0).unwrap().transaction.txid(), link.txid());
    let one_side = Draft::new(&ends[..1], &[(1, Owner::Anyone)]).build();
    assert_eq!(ids(&world.accept(&one_side).unwrap().removed), ids(&[link]));
    assert_eq!(world.pool.get(&parents[0].txid()).unwrap().descendant_count, 2);
    assert_eq!(world.pool.get(&parents[1].txid()).unwrap().descendant_count, 1);
    let freed: OutPoint = ends[1].0;
    assert!(world.pool.spender(&freed).is_none());
}

#[test]
fn rounds_of_replacement_are_paid_for() {
    let mut world = world();
    let coin = world.coin(VALUE);
    let (mut fee, mut carried_bytes) = (0, 0);
    for round in 0..1_000_u32 {
        let draft = Draft::new(&[coin], &[(VALUE - fee, Owner::Anyone)]).memo(&round.to_le_bytes());
        fee += u64::from(draft.build().size_bytes());
        let tx = Draft { outputs: vec![(VALUE - fee, Owner::Anyone)], ..draft }.build();
        world.accept(&tx).unwrap();
        carried_bytes += u64::from(tx.size_bytes());
        assert_eq!(fee, carried_bytes, "the one that is left pays for every byte ever carried");
    }
    assert_eq!(world.pool.len(), 1);
}
