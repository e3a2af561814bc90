//! A deep reorganisation waits for the operator, where one asked for that.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use ashlar_ledger::{
    HeaderRefusal, HeldBranch, MemoryStore, Move, Offered, Settings,
    records::HELD,
    view::{ChainTip, TipStatus},
};
use ashlar_primitives::{Amount, BlockId};
use ashlar_testkit::builder::{Chain, Plan};
use common::*;

const HOLD: u32 = 5;

fn holding() -> Settings {
    Settings { step_bytes: 1, reorg_hold: Some(HOLD), ..Settings::default() }
}

/// A branch of 3 + `depth` blocks, and one with a block more from the same fork at 3.
fn branches(depth: usize) -> (Chain, BlockId, BlockId) {
    let mut chain = rich_chain();
    let fork = start(&mut chain, 3, 1);
    let first = extend_with_payments(&mut chain, &fork, depth as u64, 2);
    let heavier = extend_with_payments(&mut chain, &fork, depth as u64 + 1, 3);
    (chain, first, heavier)
}

#[test]
fn as_deep_as_the_hold_is_made_and_one_deeper_waits() {
    for (depth, waits) in [(5, false), (6, true)] {
        let (chain, first, heavier) = branches(depth);
        let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &holding());
        offer_branch(&mut ledger, &chain, &first);
        store_branch(&mut ledger, &chain, &heavier);
        settle(&mut ledger);
        assert_eq!(ledger.take_held(), waits);
        assert_view(&ledger, &chain, if waits { &first } else { &heavier });
        let held = HeldBranch { tip: heavier, height: 4 + depth as u32, depth: depth as u32 };
        assert_eq!(ledger.held_branch().unwrap(), waits.then_some(held));
    }
}

#[test]
fn a_held_branch_is_remembered_grows_and_goes_over_by_order() {
    let (mut chain, first, heavier) = branches(10);
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &holding());
    offer_branch(&mut ledger, &chain, &first);
    store_branch(&mut ledger, &chain, &heavier);
    settle(&mut ledger);
    assert!(ledger.take_held() && !ledger.take_held());
    assert_eq!(ledger.best_header().id, first, "synchronisation stays as well");
    let view = ledger.take_refreshed().unwrap();
    let is_held = |tip: &ChainTip| tip.id == heavier && tip.status == TipStatus::Held;
    assert!(view.chain_tips().unwrap().iter().any(is_held), "readers see it at once");

    // More of it is nobody's fault, and known by its header alone.
    let longer = chain.extend_by(&heavier, 1);
    let header = *chain.block(&longer).header();
    let refused = Err(HeaderRefusal::Failed { code: HELD });
    assert_eq!(ledger.accept_header(&header, NOW).unwrap(), refused);
    assert_eq!(ledger.held_branch().unwrap().unwrap().tip, longer);
    ledger.flush().unwrap();
    drop(ledger);

    let mut ledger = open(&store, &chain, &holding());
    settle(&mut ledger);
    assert_view(&ledger, &chain, &first);
    assert_eq!(ledger.held_branch().unwrap().unwrap().tip, longer);
    let tips = ledger.view().chain_tips().unwrap();
    assert!(tips.iter().any(|tip| tip.id == longer && tip.status == TipStatus::Held));
    // What is not held can't be accepted.
    assert!(!ledger.accept_held(&first).unwrap());
    assert!(!ledger.accept_held(&BlockId([7; 32])).unwrap());
    assert!(ledger.accept_held(&longer).unwrap());
    settle(&mut ledger);
    assert_view(&ledger, &chain, &heavier);
    assert_eq!(ledger.held_branch().unwrap(), None);
    // Its last body may come now, and the branch that was left is one like others.
    assert_eq!(offer(&mut ledger, chain.block(&longer)), Offered::Accepted);
    assert_is_replay(&*store, &chain, &longer, &holding());
}

#[test]
fn its_own_chain_goes_on_and_outgrows_what_is_held() {
    let (mut chain, first, heavier) = branches(10);
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &holding());
    offer_branch(&mut ledger, &chain, &first);
    store_branch(&mut ledger, &chain, &heavier);
    settle(&mut ledger);
    let longer = chain.extend_by(&first, 1);
    assert_eq!(offer(&mut ledger, chain.block(&longer)), Offered::Accepted);
    assert_view(&ledger, &chain, &longer);
    assert_eq!(ledger.held_branch().unwrap(), None, "nothing to ask about between equals");
}

#[test]
fn an_accepted_branch_that_is_invalid_leads_back_and_asks_nobody() {
    let mut chain = rich_chain();
    let fork = start(&mut chain, 3, 1);
    let honest = extend_with_payments(&mut chain, &fork, 20, 2);
    let before_bad = extend_with_payments(&mut chain, &fork, 10, 3);
    let spoiled = chain.spoiled(&before_bad, Plan::default(), |block| {
        block.coinbase.outputs[0].value = Amount::from_grains(600_000_000);
    });
    let bad = chain.adopt_unjudged(spoiled).id();
    let tip = (0..12).fold(bad, |tip, _| chain.extend_unjudged(&tip));
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &holding());
    offer_branch(&mut ledger, &chain, &honest);
    store_branch(&mut ledger, &chain, &tip);
    settle(&mut ledger);
    assert_view(&ledger, &chain, &honest);
    assert!(ledger.take_held() && ledger.accept_held(&tip).unwrap());
    settle(&mut ledger);
    assert_view(&ledger, &chain, &honest);
    assert!(!ledger.take_held());
    assert_eq!(ledger.failed_code(&bad).unwrap(), Some("coinbase-overpays"));
    assert_eq!(ledger.held_branch().unwrap(), None);
}

#[test]
fn a_third_branch_can_not_slip_in_while_another_is_made() {
    let (mut chain, first, heavier) = branches(10);
    let deeper = chain.extend_by(&chain.branch(&first)[0].id(), 14);
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &holding());
    offer_branch(&mut ledger, &chain, &first);
    store_branch(&mut ledger, &chain, &heavier);
    settle(&mut ledger);
    assert!(ledger.take_held() && ledger.accept_held(&heavier).unwrap());
    for _ in 0..3 {
        assert!(matches!(ledger.next_move(0).unwrap(), Move::Progress));
    }
    // Heavier than both, and deeper.
    store_branch(&mut ledger, &chain, &deeper);
    settle(&mut ledger);
    assert_view(&ledger, &chain, &heavier);
    assert!(ledger.take_held());
    assert_eq!(ledger.held_branch().unwrap().unwrap().tip, deeper);
}

#[test]
fn what_a_crash_interrupted_is_finished_without_asking_again() {
    let (chain, first, heavier) = branches(30);
    // After every number of moves: before the first, in the middle of the way down and up.
    for moves in [0, 1, 10, 30] {
        let store = Arc::new(MemoryStore::new());
        let mut ledger = open(&store, &chain, &holding());
        offer_branch(&mut ledger, &chain, &first);
        store_branch(&mut ledger, &chain, &heavier);
        settle(&mut ledger);
        assert!(ledger.accept_held(&heavier).unwrap());
        for _ in 0..moves {
            assert!(matches!(ledger.next_move(0).unwrap(), Move::Progress));
        }
        drop(ledger);
        let mut ledger = open(&store, &chain, &holding());
        ledger.resume(&mut rand::rng()).unwrap();
        settle(&mut ledger);
        // Where nothing was begun the operator is asked once more.
        assert_view(&ledger, &chain, if moves == 0 { &first } else { &heavier });
        assert_eq!(ledger.take_held(), moves == 0);
    }
}

#[test]
fn what_the_operator_takes_away_is_left_however_deep() {
    let (chain, first, lighter) = {
        let mut chain = rich_chain();
        let fork = start(&mut chain, 3, 1);
        let first = extend_with_payments(&mut chain, &fork, 20, 2);
        let lighter = extend_with_payments(&mut chain, &fork, 19, 3);
        (chain, first, lighter)
    };
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &holding());
    offer_branch(&mut ledger, &chain, &first);
    store_branch(&mut ledger, &chain, &lighter);
    settle(&mut ledger);
    ledger.invalidate(&chain.branch(&first)[3].id()).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &lighter);
}
