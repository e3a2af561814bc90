//! Blocks and reorganisations: what leaves, what stays, what comes back.

use std::slice::from_ref;

use ashlar_mempool::Limits;
use ashlar_primitives::Txid;

use crate::world::{Draft, MATURITY, Owner, Spend, Tx, World, output};

const VALUE: u64 = 10_000_000;

fn world() -> World {
    World::new(Limits::default())
}

fn spend(coin: Spend, fee: u64) -> Tx {
    Draft::new(&[coin], &[(VALUE - fee, Owner::Anyone)]).build()
}

fn child(parent: &Tx, fee: u64) -> Tx {
    let value = parent.transaction().outputs[0].value.grains();
    Draft::new(&[output(parent, 0)], &[(value - fee, Owner::Anyone)]).build()
}

fn ids(txs: &[Tx]) -> Vec<Txid> {
    txs.iter().map(|tx| tx.txid()).collect()
}

#[test]
fn a_block_confirms_and_its_children_stay() {
    let mut world = world();
    let coin = world.coin(VALUE);
    let parent = spend(coin, 1_000);
    let middle = child(&parent, 1_000);
    let last = child(&middle, 1_000);
    for tx in [&parent, &middle, &last] {
        world.accept(tx).unwrap();
    }
    let before = world.pool.sequence();
    assert!(world.mine(&[parent]).is_empty());
    assert!(world.pool.sequence() > before);
    assert_eq!(world.pool.len(), 2);
    assert_eq!(world.pool.get(&middle.txid()).unwrap().ancestor_count, 1);
    assert_eq!(world.pool.get(&last.txid()).unwrap().ancestor_count, 2);
    world.assert_template_connects(10_000);
    let before = world.pool.sequence();
    world.mine(&[]);
    assert_eq!(world.pool.sequence(), before, "nothing changed");
}

#[test]
fn a_block_removes_conflicts_with_their_descendants() {
    let mut world = world();
    let coin = world.coin(VALUE);
    let loser = spend(coin, 1_000);
    let child_of_loser = child(&loser, 1_000);
    let other = world.coin(VALUE);
    let bystander = spend(other, 1_000);
    for tx in [&loser, &child_of_loser, &bystander] {
        world.accept(tx).unwrap();
    }
    let winner = spend(coin, 2_000);
    let removed = world.mine(&[winner]);
    assert_eq!(ids(&removed), ids(&[loser, child_of_loser]));
    assert_eq!(world.pool.len(), 1);
    assert!(world.pool.get(&bystander.txid()).is_some());
}

#[test]
fn what_a_block_held_comes_back_with_its_children() {
    let mut world = world();
    let coin = world.coin(VALUE);
    let first = spend(coin, 1_000);
    let second = child(&first, 1_000);
    let third = child(&second, 1_000);
    world.accept(&first).unwrap();
    world.accept(&second).unwrap();
    world.mine(&[first.clone(), second.clone()]);
    world.accept(&third).unwrap();
    let done = world.reorganise(1, &[vec![], vec![]]);
    assert_eq!(ids(&done.dropped), ids(from_ref(&third)), "its coin is gone, for a moment");
    assert!(done.refused.is_empty());
    assert_eq!(world.pool.len(), 3);
    assert_eq!(world.pool.get(&third.txid()).unwrap().ancestor_count, 3);
    world.assert_template_connects(10_000);
}

#[test]
fn a_double_spend_on_the_new_branch_takes_its_children_along() {
    let mut world = world();
    let coin = world.coin(VALUE);
    let old = spend(coin, 1_000);
    world.mine(from_ref(&old));
    let waiting = child(&old, 1_000);
    world.accept(&waiting).unwrap();
    let new = spend(coin, 3_000);
    let done = world.reorganise(1, &[vec![new], vec![]]);
    assert_eq!(
        done.refused,
        [(old.txid(), "tx-missing-input"), (waiting.txid(), "tx-missing-input")]
    );
    assert!(world.pool.is_empty());
}

#[test]
fn confirmed_on_both_branches_its_child_stays() {
    let mut world = world();
    let coin = world.coin(VALUE);
    let tx = spend(coin, 1_000);
    world.mine(from_ref(&tx));
    let waiting = child(&tx, 1_000);
    world.accept(&waiting).unwrap();
    let done = world.reorganise(1, &[vec![], vec![tx.clone()]]);
    assert!(done.dropped.is_empty());
    assert_eq!(done.refused, [(tx.txid(), "tx-already-confirmed")]);
    assert_eq!(world.pool.len(), 1);
    world.assert_template_connects(10_000);
}

#[test]
fn a_lost_coinbase_and_a_lost_maturity() {
    let mut world = world();
    // Mined, then spent as soon as it matures.
    world.mine(&[]);
    let (lost, coin) =
        world.coins.iter().find(|(_, coin)| coin.is_coinbase).map(|(o, c)| (*o, *c)).unwrap();
    let old = world.coin_of(VALUE, Owner::Anyone, true);
    for _ in 0..MATURITY {
        world.mine(&[]);
    }
    let value = coin.output.value.grains();
    let of_lost = Draft::new(&[(lost, Owner::Anyone)], &[(value - 1_000, Owner::Anyone)]).build();
    let of_old = spend(old, 1_000);
    let of_both = Draft::new(&[output(&of_lost, 0), output(&of_old, 0)], &[(1, Owner::Anyone)]);
    let of_both = of_both.build();
    for tx in [&of_lost, &of_old, &of_both] {
        world.accept(tx).unwrap();
    }
    // Two blocks shorter: both are immature again. (A chain of more work need not be longer.)
    let depth = world.history_len();
    let done = world.reorganise(2, &[]);
    assert_eq!(ids(&done.dropped), ids(&[of_lost.clone(), of_old.clone(), of_both.clone()]));
    assert_eq!(
        done.refused,
        [
            (of_lost.txid(), "tx-immature-coinbase"),
            (of_old.txid(), "tx-immature-coinbase"),
            (of_both.txid(), "tx-missing-input"),
        ]
    );
    // Longer again, on another branch from its very start: only the old coin is there.
    world.reorganise(depth - 2, &vec![vec![]; depth]);
    assert_eq!(world.refusal(&of_lost), "tx-missing-input");
    world.accept(&of_old).unwrap();
}

#[test]
fn heights_that_were_reached_and_are_not_any_more() {
    let mut world = world();
    world.mine(&[]);
    world.mine(&[]);
    let next = world.tip().next_height;
    let coin = world.coin(VALUE);
    let mut draft = Draft::new(&[coin], &[(1_000_000, Owner::Anyone)]);
    draft.not_before = next;
    let waits = draft.build();
    let locked = world.coin_of(VALUE, Owner::After(next), false);
    let locked = Draft::new(&[locked], &[(1_000_000, Owner::Anyone)]).build();
    let free = world.coin(VALUE);
    let free = spend(free, 1_000);
    for tx in [&waits, &locked, &free] {
        world.accept(tx).unwrap();
    }
    let done = world.reorganise(1, &[]);
    assert_eq!(done.kept.into_iter().collect::<Vec<_>>(), [free.txid()]);
    assert_eq!(
        done.refused,
        [(waits.txid(), "tx-not-yet-valid"), (locked.txid(), "tx-bad-witness")]
    );
    world.mine(&[]);
    world.accept(&waits).unwrap();
    world.accept(&locked).unwrap();
}

#[test]
fn a_coin_confirmed_again_later_is_younger() {
    let mut world = world();
    let coin = world.coin(VALUE);
    let parent = Draft::new(&[coin], &[(1_000_000, Owner::Older(2))]).build();
    world.mine(from_ref(&parent));
    world.mine(&[]);
    let aged =
        Draft::new(&[(output(&parent, 0).0, Owner::Older(2))], &[(1_000, Owner::Anyone)]).build();
    world.accept(&aged).unwrap();
    let done = world.reorganise(2, &[vec![], vec![], vec![parent.clone()]]);
    assert_eq!(ids(&done.dropped), ids(from_ref(&aged)));
    assert_eq!(
        done.refused,
        [(parent.txid(), "tx-already-confirmed"), (aged.txid(), "tx-bad-witness")]
    );
    world.mine(&[]);
    world.accept(&aged).unwrap();
}

#[test]
fn only_what_came_after_the_fork_is_looked_up_again() {
    let mut world = world();
    let old = world.coin(VALUE);
    world.accept(&spend(old, 1_000)).unwrap();
    world.mine(&[]);
    world.mine(&[]);
    let new = world.coin(VALUE);
    world.accept(&spend(new, 1_000)).unwrap();
    let fork = world.height() - 1;
    assert_eq!(world.pool.inputs_above(fork), [new.0]);
    assert!(world.pool.inputs_above(fork + 1).is_empty());
    assert_eq!(world.pool.inputs_above(0).len(), 2);
}

#[test]
fn a_parent_may_come_back_to_children_that_wait() {
    // A caller who has the proofs at hand may bring the parent back before it revalidates.
    let mut world = world();
    let coin = world.coin(VALUE);
    let parent = spend(coin, 1_000);
    world.mine(from_ref(&parent));
    let waiting = child(&parent, 1_000);
    let grandchild = child(&waiting, 1_000);
    world.accept(&waiting).unwrap();
    world.accept(&grandchild).unwrap();
    world.undo_without_pool();
    world.accept(&parent).unwrap();
    let fork = world.height();
    let chain = world.found(&world.pool.inputs_above(fork));
    let tip = world.tip();
    assert!(world.pool.revalidate(&tip, fork, &chain).is_empty());
    assert_eq!(world.pool.get(&grandchild.txid()).unwrap().ancestor_count, 3);
    assert_eq!(world.pool.get(&parent.txid()).unwrap().descendant_count, 3);
    let order: Vec<Txid> =
        world.pool.select(usize::MAX).iter().map(|e| e.transaction.txid()).collect();
    assert_eq!(order, ids(&[parent, waiting, grandchild]));
    world.assert_template_connects(10_000);
}
