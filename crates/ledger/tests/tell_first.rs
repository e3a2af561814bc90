//! Blocks that are told of before their step is written: what readers see meanwhile, and after a
//! crash in between.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use ashlar_consensus::verify_signatures;
use ashlar_ledger::{Completed, Ledger, MemoryStore, Move, Settings, Store, View};
use ashlar_primitives::{BlockId, Lock};
use ashlar_testkit::builder::{Chain, lock};
use common::*;

fn settings() -> Settings {
    Settings { tell_first: true, ..Settings::default() }
}

/// Up to where the next block is told of.
fn connect<S: Store>(ledger: &mut Ledger<S>, chain: &Chain, id: &BlockId) {
    let block = chain.branch(id).pop().unwrap();
    ledger.accept_header(block.header(), NOW).unwrap().unwrap();
    ledger.store_body(block).unwrap();
    loop {
        match ledger.next_move(0).unwrap() {
            Move::Idle => panic!("there is a block to connect"),
            Move::Progress => {}
            Move::Verify(walked) => {
                let verified =
                    verify_signatures(walked.checks(), &Default::default(), &mut rand::rng());
                let completed = ledger.complete(walked, verified, 0).unwrap();
                assert_eq!(completed, Completed::Connected);
                return;
            }
        }
    }
}

/// Every answer of a view that depends on its tip.
fn answers(view: &View, chain: &Chain) -> Vec<String> {
    let tip = view.tip();
    let mut answers = vec![
        format!("{:?}", view.state().unwrap()),
        format!("{:?}", view.all_coins(None, 1_000).unwrap()),
        format!("{:?}", view.chain_tips().unwrap()),
        format!("{:?}", view.headers_after(&[chain.genesis_id()], None, 1_000).unwrap()),
        format!("{:?}", view.spent_coins(&tip.id).unwrap()),
        format!("{:?}", view.block_bytes(&tip.id).unwrap()),
        format!("{:?}", view.block_id_at(tip.height).unwrap()),
    ];
    let locks: Vec<Lock> = (0..8).map(lock).collect();
    for lock in &locks {
        answers.push(format!("{:?}", view.lock_coins(lock, None, 1_000).unwrap()));
        answers.push(format!("{:?}", view.lock_coins(lock, None, 2).unwrap()));
        answers.push(format!("{:?}", view.lock_history(lock, None, 1_000).unwrap()));
    }
    for block in chain.branch(&tip.id) {
        for transaction in block.transactions() {
            answers.push(format!("{:?}", view.transaction_place(&transaction.txid()).unwrap()));
        }
    }
    answers
}

#[test]
fn a_view_says_the_same_before_and_after_its_step_is_written() {
    let mut chain = rich_chain();
    let tip = start(&mut chain, 12, 1);
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings());
    for block in chain.branch(&tip) {
        connect(&mut ledger, &chain, &block.id());
        let stored = derived(&*store, ashlar_ledger::Family::Coins);
        let told = ledger.view();
        assert_view(&ledger, &chain, &block.id());
        let before = answers(&told, &chain);

        assert!(matches!(ledger.next_move(0).unwrap(), Move::Progress), "it is written now");
        assert_ne!(derived(&*store, ashlar_ledger::Family::Coins), stored);
        assert!(matches!(ledger.next_move(0).unwrap(), Move::Idle));
        let written = ledger.take_refreshed().unwrap();
        assert_eq!(written.sequence(), told.sequence());
        assert_eq!(answers(&written, &chain), before);
        assert_eq!(answers(&told, &chain), before, "it keeps its answers");
    }
    assert_is_replay(&*store, &chain, &tip, &settings());
}

#[test]
fn what_was_told_and_not_written_is_there_again_before_anybody_is_served() {
    let mut chain = rich_chain();
    let tip = start(&mut chain, 6, 1);
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings());
    for block in chain.branch(&tip) {
        connect(&mut ledger, &chain, &block.id());
        // The process dies; or the power goes, with all that is not synced.
        for left in [MemoryStore::clone(&store), store.after_power_cut(usize::MAX)] {
            let left = Arc::new(left);
            let mut after = open(&left, &chain, &settings());
            assert_eq!(after.warning(), None);
            assert_eq!(after.view().tip().height, block.height() - 1);
            after.resume(&mut rand::rng()).unwrap();
            assert_view(&after, &chain, &block.id());
            assert!(
                after.take_published().is_none(),
                "who begins with this view is not told of it"
            );
            drop(after);
            assert_is_replay(&*left, &chain, &block.id(), &settings());
        }
        settle(&mut ledger);
    }
}

/// Whatever comes between the telling and the writing, nothing is lost and nothing comes too late.
#[test]
fn orders_that_come_in_between_wait_for_the_step() {
    let mut chain = rich_chain();
    let low = start(&mut chain, 4, 1);
    let tip = extend_with_payments(&mut chain, &low, 1, 2);
    let other = extend_with_payments(&mut chain, &low, 2, 3);
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings());
    offer_branch(&mut ledger, &chain, &low);
    connect(&mut ledger, &chain, &tip);
    ledger.invalidate(&tip).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &low);
    ledger.reconsider(&tip).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &tip);
    offer_branch(&mut ledger, &chain, &other);
    assert_view(&ledger, &chain, &other);
    ledger.flush().unwrap();
    assert_eq!(store.unsynced(), 0);
    drop(ledger);
    assert_is_replay(&*store, &chain, &other, &settings());
}
