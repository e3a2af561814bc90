//! What a budget takes away, what it never takes, and what follows for those who come late.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

use ashlar_ledger::{
    BodyStored, Family, History, Ledger, MemoryStore, Move, Offered, OpenLedgerError, Read,
    Settings, Store, StoreError,
    care::{self, CareError, Depth, Remedy, reindex},
};
use ashlar_primitives::{BlockId, Encode as _, wire::Status};
use ashlar_testkit::{
    builder::{Chain, genesis_with, lock},
    faults::{Call, Effect, Fault, FaultyStore, Moment},
};
use common::*;
use serde_json::json;

/// What no budget takes from these chains.
const KEPT: u32 = 288;

/// Blocks every ten minutes: two days are 288 of them.
fn slow_chain() -> Chain {
    let allocations: Vec<_> =
        (0..40).map(|number| (lock(1 + number % 4), 1_000_000 + number)).collect();
    Chain::new(genesis_with(&allocations, &[("block_interval", json!(600))]))
}

fn pruned_to(bytes: u64) -> Settings {
    Settings { prune_bytes: Some(bytes), ..Settings::default() }
}

fn value_bytes(store: &impl Read, family: Family) -> u64 {
    dump(store, family).iter().map(|(_, value)| value.len() as u64).sum()
}

/// The counters are exact, headers tell the truth about bodies, and from where history starts the
/// chain is there, with its undo records, and nothing of the indexes from below.
fn assert_pruned_well<S: Store>(ledger: &Ledger<S>, store: &S) -> History {
    let view = ledger.view();
    let history = view.history();
    assert_eq!(history.body_bytes, value_bytes(store, Family::Blocks));
    assert_eq!(history.undo_bytes, value_bytes(store, Family::Undo));
    let bodies = dump(store, Family::Blocks);
    for (key, _) in dump(store, Family::Headers) {
        let id = BlockId(key.as_slice().try_into().unwrap());
        let is_stored = bodies.binary_search_by(|(body, _)| body.cmp(&key)).is_ok();
        assert_eq!(view.header(&id).unwrap().unwrap().has_body, is_stored);
        assert_eq!(ledger.has_body(&id).unwrap(), is_stored);
    }
    for height in 1..=view.tip().height {
        let id = view.block_id_at(height).unwrap().unwrap();
        let is_kept = height >= history.start;
        assert_eq!(view.block(&id).unwrap().is_some(), is_kept, "{height}");
        assert_eq!(store.get(Family::Undo, &id.0).unwrap().is_some(), is_kept, "{height}");
        assert!(ledger.knows_body(&id).unwrap());
    }
    let is_kept = |height: &[u8]| {
        let height = u32::from_be_bytes(height.try_into().unwrap());
        height == 0 || height >= history.start
    };
    for (key, _) in dump(store, Family::LockHistory) {
        assert!(is_kept(&key[33..37]));
    }
    for (_, place) in dump(store, Family::Transactions) {
        let height: Vec<u8> = place[..4].iter().rev().copied().collect();
        assert!(is_kept(&height));
    }
    history
}

#[test]
fn a_budget_takes_the_oldest_and_stops_at_two_days() {
    let mut chain = slow_chain();
    let tip = start(&mut chain, 400, 1);
    let full = value_bytes(&replay(&chain, &tip, &Settings::default()), Family::Blocks);
    for budget in [0, full, u64::MAX] {
        let store = Arc::new(MemoryStore::new());
        let mut ledger = open(&store, &chain, &pruned_to(budget));
        offer_branch(&mut ledger, &chain, &tip);
        settle(&mut ledger);
        assert_view(&ledger, &chain, &tip);
        let history = assert_pruned_well(&ledger, &*store);
        match budget {
            0 => assert_eq!(history.start, 400 + 1 - KEPT),
            u64::MAX => assert_eq!(history.start, 0),
            // Undo records are over the budget for bodies alone; no more goes than must.
            _ => {
                assert!(history.start > 1 && history.start < 400 + 1 - KEPT);
                assert!(history.bytes() <= full && history.bytes() > full - 2_000);
            }
        }
        assert_eq!(ledger.wanted_bodies(10).unwrap(), []);
        // The coins and their index are those of a node that keeps everything.
        for family in [Family::Coins, Family::LockCoins, Family::Heights] {
            let whole = replay(&chain, &tip, &Settings::default());
            assert_eq!(dump(&*store, family), dump(&whole, family));
        }
    }
}

#[test]
fn an_order_gives_up_blocks_that_have_room_but_none_of_two_days() {
    let mut chain = slow_chain();
    let tip = start(&mut chain, 400, 1);
    for (wanted, start) in [(0, 0), (50, 50), (400, 400 + 1 - KEPT)] {
        let store = Arc::new(MemoryStore::new());
        let mut ledger = open(&store, &chain, &pruned_to(u64::MAX));
        offer_branch(&mut ledger, &chain, &tip);
        settle(&mut ledger);
        ledger.prune_below(wanted);
        settle(&mut ledger);
        assert_eq!(assert_pruned_well(&ledger, &*store).start, start);
    }
    // Where nothing is pruned, an order changes nothing.
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &Settings::default());
    offer_branch(&mut ledger, &chain, &tip);
    ledger.prune_below(100);
    settle(&mut ledger);
    assert_eq!(assert_pruned_well(&ledger, &*store).start, 0);
}

#[test]
fn the_floor_is_two_days_or_288_blocks() {
    assert_eq!(Status::recent_blocks(600), 288);
    assert_eq!(Status::recent_blocks(3_600), 288);
    assert_eq!(Status::recent_blocks(599), 288);
    assert_eq!(Status::recent_blocks(60), 2_880);
    assert_eq!(Status::recent_blocks(1), 172_800);
    assert_eq!(Status::recent_blocks(0), 288);
}

/// The process dies before or after each write while a pruned node reorganises and goes on.
#[test]
fn a_crash_at_any_write_leaves_a_pruned_chain_that_goes_on() {
    let mut chain = slow_chain();
    let trunk = start(&mut chain, 300, 1);
    let short = extend_with_payments(&mut chain, &trunk, 2, 2);
    let long = extend_with_payments(&mut chain, &trunk, 4, 3);
    let settings = Settings { step_bytes: 1, ..pruned_to(0) };
    let before = Arc::new(MemoryStore::new());
    let mut ledger = open(&before, &chain, &settings);
    offer_branch(&mut ledger, &chain, &trunk);
    drop(ledger);
    let before = Arc::into_inner(before).unwrap();

    let act = |ledger: &mut Ledger<FaultyStore<MemoryStore>>| -> Result<(), StoreError> {
        let rng = &mut rand::rng();
        for tip in [&short, &long] {
            for block in chain.branch(tip).into_iter().skip(300) {
                ledger.offer(&block.to_block().to_bytes(), NOW, rng)?;
            }
        }
        ledger.settle_down(rng)
    };
    let mut starts = BTreeSet::new();
    for moment in [Moment::Before, Moment::After] {
        for number in 1.. {
            let fault = Fault { call: Call::Write, number, moment, effect: Effect::Kill };
            let store = Arc::new(FaultyStore::new(before.clone(), Some(fault)));
            let died = match Ledger::open(Arc::clone(&store), chain.genesis(), settings.clone()) {
                Ok(mut ledger) => act(&mut ledger).is_err(),
                Err(_) => true,
            };
            let rest = Arc::new(Arc::into_inner(store).unwrap().into_inner());
            let mut ledger = open(&rest, &chain, &settings);
            starts.insert(assert_pruned_well(&ledger, &*rest).start);
            settle(&mut ledger);
            for block in chain.branch(&long).into_iter().skip(300) {
                assert!(!matches!(offer(&mut ledger, &block), Offered::Refused { .. }));
            }
            settle(&mut ledger);
            assert_view(&ledger, &chain, &long);
            assert_eq!(assert_pruned_well(&ledger, &*rest).start, 304 + 1 - KEPT);
            if !died {
                break;
            }
        }
    }
    assert!(starts.len() > 3, "{starts:?}");
}

#[test]
fn a_full_node_is_pruned_in_bounded_steps_and_readers_learn_of_it() {
    let mut chain = slow_chain();
    let tip = start(&mut chain, 700, 1);
    let store = Arc::new(replay(&chain, &tip, &Settings::default()));
    let mut ledger = open(&store, &chain, &pruned_to(0));
    let old = ledger.view();
    assert_eq!(old.history().start, 0);
    let mut steps = 0;
    while matches!(ledger.next_move(0).unwrap(), Move::Progress) {
        let view = ledger.take_refreshed().unwrap();
        assert_eq!((view.tip().id, view.sequence()), (tip, old.sequence()));
        assert!(view.history().start > steps * 128);
        steps += 1;
    }
    // 412 blocks, 128 in each.
    assert_eq!(steps, 4);
    assert!(ledger.take_refreshed().is_none() && ledger.take_published().is_none());
    assert_eq!(assert_pruned_well(&ledger, &*store).start, 700 + 1 - KEPT);
    // Who still holds the old view reads on.
    let first = old.block_id_at(1).unwrap().unwrap();
    assert!(old.block(&first).unwrap().is_some());
    assert!(ledger.view().block(&first).unwrap().is_none());
    assert_eq!(ledger.block(&first).unwrap(), None);
    // A body that is gone is not taken again.
    let body = Arc::clone(chain.block(&first));
    assert_eq!(ledger.store_body(body).unwrap(), BodyStored::Known);
    assert_eq!(offer(&mut ledger, chain.block(&first)), Offered::Known);
}

#[test]
fn without_the_budget_it_goes_on_pruned_and_indexes_stay_as_they_are() {
    let mut chain = slow_chain();
    let tip = start(&mut chain, 300, 1);
    let store = Arc::new(MemoryStore::new());
    let bare = Settings { lock_index: false, ..pruned_to(0) };
    let mut ledger = open(&store, &chain, &bare);
    offer_branch(&mut ledger, &chain, &tip);
    settle(&mut ledger);
    drop(ledger);

    let all = Settings::default();
    let error = Ledger::open(Arc::clone(&store), chain.genesis(), all).unwrap_err();
    let OpenLedgerError::IndexNeedsHistory { index, history_start } = error else {
        panic!("{error}")
    };
    assert_eq!((index, history_start), ("address", 13));

    let settings = Settings { lock_index: false, ..Settings::default() };
    let mut ledger = open(&store, &chain, &settings);
    let longer = extend_with_payments(&mut chain, &tip, 5, 2);
    offer_branch(&mut ledger, &chain, &longer);
    assert_view(&ledger, &chain, &longer);
    assert_eq!(assert_pruned_well(&ledger, &*store).start, 13);
    assert_eq!(ledger.view().prune_bytes(), None);

    // And an index that is off can be dropped and never comes back.
    drop(ledger);
    let none = Settings { transaction_index: false, lock_index: false, ..pruned_to(0) };
    let mut ledger = open(&store, &chain, &none);
    settle(&mut ledger);
    assert_eq!(assert_pruned_well(&ledger, &*store).start, 18);
    drop(ledger);
    let error = Ledger::open(Arc::clone(&store), chain.genesis(), settings).unwrap_err();
    assert!(error.to_string().contains("transaction index"), "{error}");
}

#[test]
fn a_heavier_branch_from_below_stops_the_node_and_marks_nothing() {
    let mut chain = slow_chain();
    // With the tip at 320 history starts at 33.
    let root = start(&mut chain, 31, 1);
    let fork = chain.extend_by(&root, 1);
    let tip = chain.extend_by(&fork, 288);
    let below = extend_with_payments(&mut chain, &root, 290, 2);
    let above = extend_with_payments(&mut chain, &fork, 289, 3);
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &pruned_to(0));
    offer_branch(&mut ledger, &chain, &tip);
    settle(&mut ledger);
    assert_eq!(ledger.view().history().start, 33);
    drop(ledger);
    let store = Arc::into_inner(store).unwrap();

    // From the last block that is not kept: as deep as it can be.
    let reachable = Arc::new(store.clone());
    let mut ledger = open(&reachable, &chain, &pruned_to(0));
    store_branch(&mut ledger, &chain, &above);
    settle(&mut ledger);
    assert_view(&ledger, &chain, &above);

    let store = Arc::new(store);
    let mut ledger = open(&store, &chain, &pruned_to(0));
    store_branch(&mut ledger, &chain, &below);
    for _ in 0..2 {
        let error = ledger.settle_down(&mut rand::rng()).unwrap_err();
        let StoreError::BelowHistory { fork_height, history_start } = error else {
            panic!("{error}")
        };
        assert_eq!((fork_height, history_start), (31, 33));
        assert_view(&ledger, &chain, &tip);
        for block in chain.branch(&below).iter().chain(&chain.branch(&tip)) {
            assert_eq!(ledger.failed_code(&block.id()).unwrap(), None);
        }
        // The same after a restart: nothing is forgotten, and nothing is served that is not there.
        drop(ledger);
        ledger = open(&store, &chain, &pruned_to(0));
    }
}

/// 300 blocks, their tip, and a node that has thrown away what it may.
fn pruned_chain() -> (Chain, BlockId, Arc<MemoryStore>, Ledger<MemoryStore>) {
    let mut chain = slow_chain();
    let tip = start(&mut chain, 300, 1);
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &pruned_to(0));
    offer_branch(&mut ledger, &chain, &tip);
    settle(&mut ledger);
    (chain, tip, store, ledger)
}

#[test]
fn what_stands_on_pruned_blocks_is_not_taken_away_by_hand() {
    let (chain, tip, _store, mut ledger) = pruned_chain();
    let ids: Vec<BlockId> = chain.branch(&tip).iter().map(|block| block.id()).collect();
    assert_eq!(ledger.pruned_below(&ids[11]).unwrap(), Some(13));
    ledger.invalidate(&ids[11]).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &tip);
    assert_eq!(ledger.pruned_below(&ids[12]).unwrap(), None);
    ledger.invalidate(&ids[12]).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &ids[11]);
    ledger.reconsider(&ids[12]).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &tip);
}

#[test]
fn bodies_of_dead_branches_leave_every_node_and_come_back_where_they_matter() {
    let mut chain = rich_chain();
    let fork = start(&mut chain, 3, 1);
    let dead = extend_with_payments(&mut chain, &fork, 5, 2);
    let knot = chain.branch(&dead)[5].id();
    let twig = extend_with_payments(&mut chain, &knot, 1, 3);
    let tip = chain.extend_by(&fork, 1_110);
    let settings = Settings::default();
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings);
    offer_branch(&mut ledger, &chain, &dead);
    offer_branch(&mut ledger, &chain, &twig);
    offer_branch(&mut ledger, &chain, &tip);
    settle(&mut ledger);
    assert_view(&ledger, &chain, &tip);
    assert_eq!(assert_pruned_well(&ledger, &*store).start, 0);
    let branch: Vec<BlockId> =
        chain.branch(&dead).iter().skip(3).map(|block| block.id()).chain([twig]).collect();
    for id in &branch {
        assert!(!ledger.has_body(id).unwrap() && ledger.failed_code(id).unwrap().is_none());
        assert_eq!(store.get(Family::Undo, &id.0).unwrap(), None);
    }
    assert_eq!(ledger.wanted_bodies(10).unwrap(), []);

    // It gets more work after all: what was deleted is fetched, and nothing else.
    let long = chain.extend_by(&dead, 1_106);
    for block in chain.branch(&long).into_iter().skip(8) {
        ledger.accept_header(block.header(), NOW).unwrap().unwrap();
        ledger.store_body(block).unwrap();
    }
    settle(&mut ledger);
    assert_view(&ledger, &chain, &tip);
    assert!(ledger.take_reopened() && !ledger.take_reopened());
    let wanted: Vec<BlockId> =
        ledger.wanted_bodies(10).unwrap().into_iter().map(|(_, id)| id).collect();
    assert_eq!(wanted, branch[..5]);
    for id in wanted.iter().rev() {
        assert_eq!(ledger.store_body(Arc::clone(chain.block(id))).unwrap(), BodyStored::New);
    }
    settle(&mut ledger);
    assert_view(&ledger, &chain, &long);
    drop(ledger);
    assert_is_replay(&*store, &chain, &long, &settings);
}

#[test]
fn care_that_needs_every_block_refuses_and_says_where_history_starts() {
    let (chain, _, store, ledger) = pruned_chain();
    drop(ledger);
    let before = Family::ALL.map(|family| dump(&*store, family));
    let mut go_on = |_| ControlFlow::Continue(());
    let check = |depth| {
        let mut go_on = |_| ControlFlow::Continue(());
        care::check(&*store, chain.genesis(), depth, &mut rand::rng(), &mut go_on)
    };

    let file = tempfile::tempfile().unwrap();
    for (what, error) in [
        ("check --full", check(Depth::Full).unwrap_err()),
        ("reindex", reindex::begin(&*store, chain.genesis()).unwrap_err()),
        ("export", care::export(&*store, chain.genesis(), &file, &mut go_on).unwrap_err()),
    ] {
        assert!(matches!(error, CareError::Pruned { history_start: 13 }), "{what}: {error}");
        let text = error.to_string();
        assert!(text.contains("pruned and holds blocks from 13 on only"), "{what}: {text}");
        assert!(text.contains("sync again"), "{what}: {text}");
    }
    assert_eq!(file.metadata().unwrap().len(), 0);
    // What is there can be checked, and nothing was done to it.
    let report = check(Depth::Blocks(1_000)).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.blocks, u64::from(KEPT));
    assert_eq!(Family::ALL.map(|family| dump(&*store, family)), before);
    // Damage has one way out only: the bodies that a reindex needs are gone.
    let (coin, _) = dump(&*store, Family::Coins).remove(0);
    let mut batch = ashlar_ledger::Batch::default();
    batch.delete(Family::Coins, coin);
    store.commit(batch, ashlar_ledger::Durability::Later).unwrap();
    let report = check(Depth::Blocks(10)).unwrap();
    assert_eq!(report.remedy(), Some(Remedy::Resync));
    assert!(report.findings[0].remedy.to_string().contains("sync again"));
}

/// A store of before there were counters counts itself once.
#[test]
fn a_store_that_never_counted_is_counted() {
    let mut chain = slow_chain();
    let tip = start(&mut chain, 30, 1);
    let store = Arc::new(replay(&chain, &tip, &Settings::default()));
    let mut batch = ashlar_ledger::Batch::default();
    batch.delete(Family::Meta, b"body_bytes".to_vec());
    batch.delete(Family::Meta, b"undo_bytes".to_vec());
    store.commit(batch, ashlar_ledger::Durability::Later).unwrap();
    let ledger = open(&store, &chain, &Settings::default());
    assert!(assert_pruned_well(&ledger, &*store).bytes() > 0);
    assert_eq!(ledger.view().tip().id, tip);
}
