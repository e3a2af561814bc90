//! Every refusal at its limit and over it.

use std::slice::from_ref;

use ashlar_consensus::TxError;
use ashlar_mempool::{Limits, PolicyError, Refusal};

use crate::world::{Draft, Owner, Tx, World, output, params};

const VALUE: u64 = 10_000_000;

fn world() -> World {
    World::new(Limits::default())
}

/// One input, one output, paying `fee`.
fn payment(world: &mut World, fee: u64) -> Tx {
    let coin = world.coin(VALUE);
    Draft::new(&[coin], &[(VALUE - fee, Owner::Anyone)]).build()
}

/// Of exactly so many bytes, by outputs and memo.
fn of_size(world: &mut World, size_bytes: u32, fee: u64) -> Tx {
    let coin = world.coin(VALUE);
    let build = |outputs: u32, memo: u32| {
        let change = VALUE - fee - u64::from(outputs - 1);
        let mut values = vec![(change, Owner::Anyone)];
        values.extend((1..outputs).map(|_| (1, Owner::Anyone)));
        Draft::new(&[coin], &values).memo(&vec![9; memo as usize]).build()
    };
    let smallest = build(1, 0).size_bytes();
    let room = size_bytes - smallest;
    let tx = build(1 + room / 41, room % 41);
    assert_eq!(tx.size_bytes(), size_bytes);
    tx
}

/// A chain of `count` transactions, accepted, each spending the one before.
fn chain(world: &mut World, count: usize, fee: u64) -> Vec<Tx> {
    let mut spend = world.coin(VALUE);
    let mut value = VALUE;
    (0..count)
        .map(|_| {
            value -= fee;
            let tx = Draft::new(&[spend], &[(value, Owner::Anyone)]).build();
            world.accept(&tx).unwrap();
            spend = output(&tx, 0);
            tx
        })
        .collect()
}

#[test]
fn consensus_comes_first() {
    let mut world = world();
    let coin = world.coin(VALUE);
    // Pays nothing as well, which nobody gets to see.
    let mut draft = Draft::new(&[coin], &[(VALUE, Owner::Anyone)]);
    draft.not_before = world.tip().next_height + 1;
    assert_eq!(world.refusal(&draft.build()), "tx-not-yet-valid");
    draft.not_before -= 1;
    assert_eq!(world.refusal(&draft.build()), "tx-fee-too-low");
    let nowhere = output(&draft.build(), 0);
    let orphan = Draft::new(&[nowhere], &[(1, Owner::Anyone)]).build();
    assert_eq!(
        world.accept(&orphan).unwrap_err(),
        Refusal::Invalid(TxError::MissingInput { input: 0 })
    );
    let overspends = Draft::new(&[coin], &[(VALUE + 1, Owner::Anyone)]).build();
    assert_eq!(world.refusal(&overspends), "tx-overspends");
    let stranger = Draft::new(&[(coin.0, Owner::Older(1))], &[(1, Owner::Anyone)]).build();
    assert_eq!(world.refusal(&stranger), "tx-bad-witness");
}

#[test]
fn coinbases_mature_at_the_next_height() {
    let mut world = world();
    let coin = world.coin_of(VALUE, Owner::Anyone, true);
    let tx = Draft::new(&[coin], &[(1, Owner::Anyone)]).build();
    for _ in 1..crate::world::MATURITY {
        assert_eq!(world.refusal(&tx), "tx-immature-coinbase");
        world.mine(&[]);
    }
    world.accept(&tx).unwrap();
}

#[test]
fn an_output_that_a_waiting_parent_lacks_is_missing() {
    let mut world = world();
    let parent = payment(&mut world, 1_000);
    world.accept(&parent).unwrap();
    let child = Draft::new(&[output(&parent, 1)], &[(1, Owner::Anyone)]).build();
    assert_eq!(world.refusal(&child), "tx-missing-input");
}

#[test]
fn unconfirmed_coins_are_as_old_as_the_next_block() {
    let mut world = world();
    let coin = world.coin(VALUE);
    let outputs = [(1_000_000, Owner::Older(0)), (1_000_000, Owner::Older(1))];
    let parent = Draft::new(&[coin], &outputs).build();
    world.accept(&parent).unwrap();
    let spend = |index: u16, owner| {
        let (outpoint, _) = output(&parent, index);
        Draft::new(&[(outpoint, owner)], &[(1, Owner::Anyone)]).build()
    };
    let young = spend(1, Owner::Older(1));
    world.accept(&spend(0, Owner::Older(0))).unwrap();
    let refusal = world.accept(&young).unwrap_err();
    assert_eq!(refusal.code(), "tx-bad-witness");
    assert!(matches!(refusal, Refusal::Invalid(error) if !error.is_permanent()));
    world.mine(&[parent]);
    world.accept(&young).unwrap();
}

#[test]
fn known_with_this_or_another_witness() {
    let mut world = world();
    let coin = world.coin_of(VALUE, Owner::TwoWays, false);
    let mut draft = Draft::new(&[coin], &[(1, Owner::Anyone)]);
    let first = draft.build();
    draft.second_way = true;
    let second = draft.build();
    assert_eq!(first.txid(), second.txid());
    assert_ne!(first.wtxid(), second.wtxid());
    world.accept(&first).unwrap();
    assert_eq!(world.refusal(&first), "tx-already-known");
    assert_eq!(world.refusal(&second), "tx-already-known");
    assert!(world.pool.get_by_wtxid(&second.wtxid()).is_none());
    // A block with the other witness confirms it all the same.
    assert!(world.mine(&[second]).is_empty());
    assert!(world.pool.is_empty());
}

#[test]
fn confirmed_is_said_where_it_is_known() {
    let mut world = world();
    let tx = payment(&mut world, 1_000);
    world.accept(&tx).unwrap();
    world.mine(from_ref(&tx));
    assert_eq!(world.refusal(&tx), "tx-already-confirmed");
    // All outputs spent, and no index to ask: only its inputs tell.
    let child = Draft::new(&[output(&tx, 0)], &[(1, Owner::Anyone)]).build();
    world.mine(&[child]);
    assert_eq!(world.refusal(&tx), "tx-missing-input");
}

#[test]
fn relayable_to_65_000_bytes() {
    let mut world = world();
    let fits = of_size(&mut world, 65_000, 65_000);
    world.accept(&fits).unwrap();
    // Pays too little as well: the size is judged first.
    let over = of_size(&mut world, 65_001, 1);
    assert_eq!(
        world.accept(&over).unwrap_err(),
        Refusal::Policy(PolicyError::NotRelayable { size_bytes: 65_001, max_bytes: 65_000 })
    );
    // A block may hold it.
    world.mine(&[over]);
}

#[test]
fn one_grain_per_byte() {
    let mut world = world();
    let size_bytes = u64::from(payment(&mut world, 0).size_bytes());
    let fits = payment(&mut world, size_bytes);
    world.accept(&fits).unwrap();
    let under = payment(&mut world, size_bytes - 1);
    assert_eq!(
        world.accept(&under).unwrap_err(),
        Refusal::Policy(PolicyError::FeeTooLow { fee: size_bytes - 1, required: size_bytes })
    );
}

#[test]
fn sixty_four_in_a_cluster() {
    let mut world = world();
    let txs = chain(&mut world, 64, 1_000);
    let last = world.pool.get(&txs[63].txid()).unwrap();
    assert_eq!((last.ancestor_count, last.descendant_count), (64, 1));
    let first = world.pool.get(&txs[0].txid()).unwrap();
    assert_eq!((first.ancestor_count, first.descendant_count), (1, 64));
    let value = txs[63].transaction().outputs[0].value.grains();
    let over = Draft::new(&[output(&txs[63], 0)], &[(value - 1_000, Owner::Anyone)]).build();
    assert_eq!(world.refusal(&over), "tx-cluster-too-large");
    world.assert_template_connects(900_000);
    // One confirmed, and there is room.
    world.mine(&txs[..1]);
    world.accept(&over).unwrap();
    assert_eq!(world.pool.get(&over.txid()).unwrap().ancestor_count, 64);
}

#[test]
fn joining_clusters_counts_both() {
    let mut world = world();
    let long = chain(&mut world, 40, 1_000);
    let short = chain(&mut world, 23, 1_000);
    let more = chain(&mut world, 1, 1_000);
    let ends = [output(&long[39], 0), output(&short[22], 0), output(&more[0], 0)];
    let over = Draft::new(&ends, &[(1, Owner::Anyone)]).build();
    assert_eq!(world.refusal(&over), "tx-cluster-too-large");
    let fits = Draft::new(&ends[..2], &[(1, Owner::Anyone)]).build();
    world.accept(&fits).unwrap();
    assert_eq!(world.pool.get(&fits.txid()).unwrap().ancestor_count, 64);
}

#[test]
fn parents_are_counted_before_their_clusters_are_walked() {
    let mut world = world();
    let parents: Vec<Tx> = (0..64).map(|_| payment(&mut world, 1_000)).collect();
    for tx in &parents {
        world.accept(tx).unwrap();
    }
    let spends: Vec<_> = parents.iter().map(|tx| output(tx, 0)).collect();
    let over = Draft::new(&spends, &[(1, Owner::Anyone)]).build();
    assert_eq!(world.refusal(&over), "tx-cluster-too-large");
    let fits = Draft::new(&spends[..63], &[(1, Owner::Anyone)]).build();
    world.accept(&fits).unwrap();
    assert_eq!(world.pool.get(&fits.txid()).unwrap().ancestor_count, 64);
}

#[test]
fn a_hundred_thousand_bytes_in_a_cluster() {
    let mut world = world();
    let parent = of_size(&mut world, 60_000, 60_000);
    world.accept(&parent).unwrap();
    let child = |outputs: usize, memo: usize| {
        let mut values = vec![(VALUE / 4, Owner::Anyone)];
        values.extend((1..outputs).map(|_| (1, Owner::Anyone)));
        Draft::new(&[output(&parent, 0)], &values).memo(&vec![1; memo]).build()
    };
    let room = 40_000 - child(1, 0).size_bytes() as usize;
    let fits = child(1 + room / 41, room % 41);
    assert_eq!(fits.size_bytes(), 40_000);
    let over = child(1 + room / 41, room % 41 + 1);
    assert_eq!(world.refusal(&over), "tx-cluster-too-large");
    world.accept(&fits).unwrap();
}

#[test]
fn a_cluster_fits_into_an_empty_block_of_a_small_chain() {
    let mut params = params();
    params.max_block_bytes = 10_000;
    let mut world = World::with_params(params, Limits::default());
    let fits = of_size(&mut world, 9_000, 9_000);
    world.accept(&fits).unwrap();
    let over = of_size(&mut world, 9_001, 9_001);
    assert_eq!(world.refusal(&over), "tx-cluster-too-large");
    world.assert_template_connects(9_000);
    assert_eq!(world.pool.select(9_000).len(), 1);
    assert_eq!(world.pool.select(8_999).len(), 0);
}

#[test]
fn old_ones_expire_with_their_children() {
    let mut world = world();
    let txs = chain(&mut world, 2, 1_000);
    let day_ms = 24 * 60 * 60 * 1_000;
    world.now_ms += day_ms;
    let later = payment(&mut world, 1_000);
    world.accept(&later).unwrap();
    let child_of_old = Draft::new(&[output(&txs[1], 0)], &[(1, Owner::Anyone)]).build();
    world.accept(&child_of_old).unwrap();
    world.now_ms += 13 * day_ms;
    assert!(world.pool.expire(world.now_ms).is_empty(), "14 days are not over 14 days");
    let removed = world.pool.expire(world.now_ms + 1);
    let ids: Vec<_> = removed.iter().map(|tx| tx.txid()).collect();
    assert_eq!(ids, [txs[0].txid(), txs[1].txid(), child_of_old.txid()]);
    assert_eq!(world.pool.len(), 1);
    assert_eq!(world.pool.expire(world.now_ms + day_ms + 1).len(), 1);
}

#[test]
fn what_waited_in_an_earlier_run_counts() {
    let mut world = world();
    let [young, old] = [1_000, 2_000].map(|fee| payment(&mut world, fee));
    for tx in [&young, &old] {
        world.accept(tx).unwrap();
    }
    let limit_ms = Limits::default().expiry_ms;
    world.pool.note_waited(&old.txid(), limit_ms - 5);
    assert_eq!(world.pool.get(&old.txid()).unwrap().waited_ms, limit_ms - 5);
    assert!(world.pool.expire(world.now_ms + 5).is_empty());
    let removed = world.pool.expire(world.now_ms + 6);
    assert_eq!(removed.iter().map(|tx| tx.txid()).collect::<Vec<_>>(), [old.txid()]);
    // Longer than it may: it goes with the next round, not before the beginning of time.
    world.pool.note_waited(&young.txid(), u64::MAX);
    assert_eq!(world.pool.expire(world.now_ms + 1).len(), 1);
}

#[test]
fn one_call_expires_a_bounded_number() {
    let mut world = world();
    let extra = 5;
    for _ in 0..ashlar_mempool::MAX_EXPIRED_PER_CALL + extra {
        let tx = payment(&mut world, 1_000);
        world.accept(&tx).unwrap();
    }
    world.now_ms += Limits::default().expiry_ms + 1;
    assert_eq!(world.pool.expire(world.now_ms).len(), ashlar_mempool::MAX_EXPIRED_PER_CALL);
    assert_eq!(world.pool.expire(world.now_ms).len(), extra);
}

#[test]
fn pages_follow_the_order_of_entry() {
    let mut world = world();
    let txs: Vec<Tx> = (0..5).map(|_| payment(&mut world, 1_000)).collect();
    for tx in &txs {
        world.accept(tx).unwrap();
    }
    let all: Vec<_> = world.pool.entered_after(0).map(|e| e.transaction.txid()).collect();
    assert_eq!(all, txs.iter().map(|tx| tx.txid()).collect::<Vec<_>>());
    let second = world.pool.get(&txs[1].txid()).unwrap().sequence;
    assert_eq!(world.pool.entered_after(second).count(), 3);
    assert_eq!(world.pool.entered_after(u64::MAX).count(), 0);
    // A page goes on after the place of one that left.
    world.pool.remove(&txs[1].txid());
    assert_eq!(world.pool.entered_after(second).count(), 3);
}

#[test]
#[should_panic(expected = "the proof belongs to another transaction")]
fn a_proof_is_good_for_one_transaction() {
    let mut world = world();
    let (one, other) = (payment(&mut world, 1_000), payment(&mut world, 2_000));
    let chain = world.found(&world.pool.chain_inputs(&one));
    let proof = crate::world::verified(&other);
    let accepted = world.pool.accept(&world.tip(), one, &proof, &chain, false, 0);
    unreachable!("{accepted:?}");
}

#[test]
fn codes_are_those_of_the_protocol() {
    let fault = ashlar_mempool::ReplacementFault::TooMany { max: 64 };
    let codes = [
        (PolicyError::AlreadyKnown, "tx-already-known"),
        (PolicyError::AlreadyConfirmed, "tx-already-confirmed"),
        (PolicyError::NotRelayable { size_bytes: 2, max_bytes: 1 }, "tx-not-relayable"),
        (PolicyError::FeeTooLow { fee: 1, required: 2 }, "tx-fee-too-low"),
        (PolicyError::MempoolFull { required: 1 }, "tx-mempool-full"),
        (PolicyError::Conflict(fault), "tx-conflict"),
        (
            PolicyError::ClusterTooLarge { max_transactions: 64, max_bytes: 100_000 },
            "tx-cluster-too-large",
        ),
    ];
    for (error, code) in codes {
        assert_eq!(Refusal::from(error).code(), code);
    }
    assert_eq!(Refusal::from(TxError::BadInputSum).code(), "tx-bad-input-sum");
}
