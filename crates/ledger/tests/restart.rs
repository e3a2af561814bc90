//! What a crash, a restart or another chain's data leave.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use ashlar_ledger::{
    Batch, Durability, Family, Ledger, MemoryStore, OpenLedgerError, Settings, Store as _,
    StoreError,
};
use ashlar_primitives::{Amount, BlockId, Encode as _};
use ashlar_testkit::{
    builder::{Chain, Plan, genesis, genesis_with, lock},
    recorder::Written,
};
use common::*;

/// A chain, a longer branch beside it, and every state of the store on the way from one to the
/// other in steps of one block.
fn recorded_reorganisation(
    settings: &Settings,
) -> (Chain, BlockId, Vec<(MemoryStore, Durability)>) {
    let mut chain = rich_chain();
    let fork = start(&mut chain, 3, 1);
    let short = extend_with_payments(&mut chain, &fork, 8, 2);
    let long = extend_with_payments(&mut chain, &fork, 10, 3);
    let store = Arc::new(Recorder::default());
    let mut ledger = open(&store, &chain, settings);
    offer_branch(&mut ledger, &chain, &short);
    store_branch(&mut ledger, &chain, &long);
    settle(&mut ledger);
    assert_view(&ledger, &chain, &long);
    (chain, long, states(&store))
}

#[test]
fn a_crash_after_any_commit_leaves_a_whole_state_that_goes_on() {
    let settings = Settings { step_bytes: 1, ..Settings::default() };
    let (chain, long, states) = recorded_reorganisation(&settings);
    let mut intermediate = 0;
    for (state, _) in states {
        let store = Arc::new(state);
        if dump(&*store, Family::Meta).len() < 4 {
            continue;
        }
        let mut ledger = open(&store, &chain, &settings);
        let tip = ledger.view().tip().id;
        assert_view(&ledger, &chain, &tip);
        assert_is_replay(&*store, &chain, &tip, &settings);
        settle(&mut ledger);
        intermediate += usize::from(ledger.view().tip().id != tip);
        offer_branch(&mut ledger, &chain, &long);
        assert_view(&ledger, &chain, &long);
        assert_is_replay(&*store, &chain, &long, &settings);
    }
    assert!(intermediate >= 15, "only {intermediate} crashes half-way");
}

#[test]
fn what_was_published_at_the_tip_survives_a_power_cut() {
    let settings = Settings::default();
    let mut chain = rich_chain();
    let tip = start(&mut chain, 12, 1);
    let store = Arc::new(Recorder::default());
    let mut ledger = open(&store, &chain, &settings);
    for block in chain.branch(&tip) {
        offer(&mut ledger, &block);
        // The cut takes everything after the last synced commit.
        let states = states(&store);
        let (survivor, _) =
            states.iter().rfind(|(_, durability)| *durability == Durability::Synced).unwrap();
        let survivor = open(&Arc::new(survivor.clone()), &chain, &settings);
        assert_eq!(survivor.view().tip().id, block.id());
    }
}

#[test]
fn a_ledger_dropped_without_flush_opens_at_its_last_step() {
    let mut chain = rich_chain();
    let tip = start(&mut chain, 40, 1);
    let settings = Settings::default();
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings);
    // Far behind its headers, the ledger keeps its step open.
    let branch = chain.branch(&tip);
    for block in &branch {
        ledger.accept_header(block.header(), NOW).unwrap().unwrap();
    }
    for block in &branch[..10] {
        ledger.store_body(Arc::clone(block)).unwrap();
    }
    while let ashlar_ledger::Move::Verify(walked) = ledger.next_move(0).unwrap() {
        let verified = ashlar_consensus::verify_signatures(
            walked.checks(),
            &Default::default(),
            &mut rand::rng(),
        );
        ledger.complete(walked, verified, 0).unwrap();
    }
    drop(ledger);
    assert_is_replay(&*store, &chain, &chain.genesis_id(), &settings);

    // Bodies and headers were kept, and the road is walked again.
    let mut ledger = open(&store, &chain, &settings);
    assert_eq!(ledger.best_header().id, tip);
    settle(&mut ledger);
    assert_view(&ledger, &chain, &branch[9].id());
    assert_eq!(ledger.wanted_bodies(1).unwrap(), [(11, branch[10].id())]);
    assert_is_replay(&*store, &chain, &branch[9].id(), &settings);
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_ledger_on_disk_opens_where_it_stood() {
    use ashlar_ledger::{RocksOptions, RocksStore};
    let mut chain = rich_chain();
    let tip = start(&mut chain, 30, 1);
    let settings = Settings::default();
    let folder = tempfile::tempdir().unwrap();
    for block in chain.branch(&tip) {
        let disk = RocksStore::open(folder.path(), &RocksOptions::small()).unwrap();
        let disk = Arc::new(disk);
        let mut ledger = open(&disk, &chain, &settings);
        assert_view(&ledger, &chain, &block.header().parent);
        offer(&mut ledger, &block);
        // Dropped as it stands: nothing is flushed.
    }
    let disk = RocksStore::open(folder.path(), &RocksOptions::small()).unwrap();
    assert_is_replay(&disk, &chain, &tip, &settings);
}

#[test]
fn another_chains_data_is_refused_with_both_ids() {
    let ours = genesis(&[(lock(1), 1)]);
    let theirs = genesis_with(&[(lock(1), 1)], &[("message", "another".into())]);
    let store = Arc::new(MemoryStore::new());
    Ledger::open(Arc::clone(&store), &ours, Settings::default()).unwrap();
    let error = Ledger::open(Arc::clone(&store), &theirs, Settings::default()).unwrap_err();
    let text = error.to_string();
    let OpenLedgerError::OtherChain { found, expected } = error else { panic!("{text}") };
    assert_eq!((found, expected), (ours.params().chain_id, theirs.params().chain_id));
    assert!(text.contains(&found.to_string()) && text.contains(&expected.to_string()));
    // Ours is as it was.
    let ledger = Ledger::open(store, &ours, Settings::default()).unwrap();
    assert_eq!(ledger.view().tip().id, found);
}

#[test]
fn another_schema_is_refused() {
    let ours = genesis(&[]);
    let store = Arc::new(MemoryStore::new());
    Ledger::open(Arc::clone(&store), &ours, Settings::default()).unwrap();
    let mut batch = Batch::default();
    batch.put(Family::Meta, b"schema".to_vec(), 77_u32.to_bytes());
    store.commit(batch, Durability::Synced).unwrap();
    let error = Ledger::open(store, &ours, Settings::default()).unwrap_err();
    assert!(matches!(error, OpenLedgerError::OtherSchema { found: 77, known: 1 }));
}

#[test]
fn damage_stops_the_ledger_and_condemns_no_block() {
    let mut chain = rich_chain();
    let tip = start(&mut chain, 3, 1);
    let settings = Settings::default();
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings);
    offer_branch(&mut ledger, &chain, &tip);
    let overwrite = |family, key: &[u8], change: fn(&mut Vec<u8>)| {
        let damaged = MemoryStore::clone(&store);
        let mut value = ashlar_ledger::Read::get(&damaged, family, key).unwrap().unwrap();
        change(&mut value);
        let mut batch = Batch::default();
        batch.put(family, key.to_vec(), value);
        damaged.commit(batch, Durability::Later).unwrap();
        Arc::new(damaged)
    };
    // A body that is not what its header seals, and an undo record with another amount.
    for (family, change) in [
        (Family::Blocks, (|body| body[100] ^= 1) as fn(&mut Vec<u8>)),
        (Family::Undo, |undo| undo[8 + 34] ^= 1),
    ] {
        let damaged = overwrite(family, tip.as_bytes(), change);
        let mut ledger = open(&damaged, &chain, &settings);
        ledger.invalidate(&tip).unwrap();
        let error = ledger.next_move(0).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
    // Without its state record nothing opens.
    let damaged = overwrite(Family::Meta, b"state", |state| state.truncate(40));
    assert!(matches!(
        Ledger::open(damaged, chain.genesis(), settings).unwrap_err(),
        OpenLedgerError::Store(StoreError::Corrupt { .. })
    ));
}

#[test]
fn little_memory_gives_the_same_answers() {
    let mut chain = rich_chain();
    let settings =
        Settings { headers_in_memory: 16, body_cache_bytes: 1_000, ..Settings::default() };
    let low = chain.extend_by(&chain.genesis_id(), 5);
    let main = extend_with_payments(&mut chain, &low, 100, 1);
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings);
    offer_branch(&mut ledger, &chain, &main);

    // A fork that begins far below what is in memory, first light, then heavy; stopped and
    // started in between.
    let light = extend_with_payments(&mut chain, &low, 30, 2);
    offer_branch(&mut ledger, &chain, &light);
    assert_view(&ledger, &chain, &main);
    ledger.flush().unwrap();
    drop(ledger);
    let mut ledger = open(&store, &chain, &settings);
    let heavy = extend_with_payments(&mut chain, &light, 71, 3);
    assert!(ledger.is_descendant(&light, &low).unwrap());
    assert!(!ledger.is_descendant(&light, &main).unwrap());
    assert!(ledger.is_descendant(&main, &low).unwrap());
    offer_branch(&mut ledger, &chain, &heavy);
    assert_view(&ledger, &chain, &heavy);
    assert_is_replay(&*store, &chain, &heavy, &settings);
    for tip in [low, main, light, heavy] {
        let state = &chain.state(&tip).header;
        assert_eq!(ledger.header_state(&tip).unwrap().as_ref(), Some(state));
        assert_eq!(ledger.view().header_state(&tip).unwrap().as_ref(), Some(state));
    }

    // Started anew beside a long branch that left the chain below what is in memory.
    ledger.flush().unwrap();
    drop(ledger);
    let mut ledger = open(&store, &chain, &settings);
    assert_view(&ledger, &chain, &heavy);

    // The operator reaches below memory, too: the lighter chain from the same root remains.
    let first = chain.branch(&heavy)[5].id();
    ledger.invalidate(&first).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &main);
    ledger.invalidate(&low).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &chain.branch(&low)[3].id());
    ledger.reconsider(&heavy).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &heavy);
    assert_is_replay(&*store, &chain, &heavy, &settings);
}

#[test]
fn a_failure_reaches_descendants_that_were_not_in_memory() {
    let mut chain = rich_chain();
    let settings = Settings { headers_in_memory: 16, ..Settings::default() };
    let root = chain.extend_by(&chain.genesis_id(), 3);
    let main = chain.extend_by(&root, 60);
    let bad = chain.spoiled(&root, Plan::default(), |block| {
        block.coinbase.outputs[0].value = Amount::MAX_MONEY;
    });
    let bad = chain.adopt_unjudged(bad).id();
    let unjudged = |chain: &mut Chain, from: BlockId, count| {
        (0..count).fold(from, |tip, _| chain.extend_unjudged(&tip))
    };
    // Two branches over the bad block, one light, one heavier than the main chain.
    let light = unjudged(&mut chain, bad, 5);
    let heavy = unjudged(&mut chain, bad, 60);
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings);
    offer_branch(&mut ledger, &chain, &chain.branch(&main)[20].id());
    // Nobody asks whether it is valid.
    offer_branch(&mut ledger, &chain, &light);
    offer_branch(&mut ledger, &chain, &main);
    ledger.flush().unwrap();
    drop(ledger);

    let mut ledger = open(&store, &chain, &settings);
    store_branch(&mut ledger, &chain, &heavy);
    settle(&mut ledger);
    assert_eq!(ledger.failed_code(&heavy).unwrap(), Some("invalid-parent"));
    assert_eq!(ledger.failed_code(&light).unwrap(), None, "it is on disk alone");
    // It comes back, heavier than all, and is found out without judging anything again.
    let revived = unjudged(&mut chain, light, 70);
    let above = chain.state(&light).header.height;
    for block in chain.branch(&revived).into_iter().filter(|block| block.height() > above) {
        ledger.accept_header(block.header(), NOW).unwrap().unwrap();
        ledger.store_body(block).unwrap();
    }
    assert!(matches!(ledger.next_move(0).unwrap(), ashlar_ledger::Move::Idle));
    for id in [bad, light, revived] {
        assert!(ledger.failed_code(&id).unwrap().is_some());
    }
    assert_eq!(ledger.best_header().id, main);
    assert_view(&ledger, &chain, &main);
}

#[test]
fn locators_double_their_gaps_down_to_genesis() {
    let mut chain = rich_chain();
    let root = chain.extend_by(&chain.genesis_id(), 200);
    let main = chain.extend_by(&root, 100);
    let side = chain.extend_by(&root, 30);
    let settings = Settings { headers_in_memory: 50, ..Settings::default() };
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &settings);
    offer_branch(&mut ledger, &chain, &main);
    offer_branch(&mut ledger, &chain, &side);
    for tip in [main, side] {
        let locator = ledger.locator(&tip).unwrap();
        let branch = chain.branch(&tip);
        let heights: Vec<u32> = locator.iter().map(|id| chain.state(id).header.height).collect();
        assert_eq!(locator[0], tip);
        assert_eq!(*locator.last().unwrap(), chain.genesis_id());
        assert!(locator.len() <= 20, "{heights:?}");
        assert!(heights.windows(2).all(|pair| pair[0] > pair[1]));
        assert!(heights[..10].windows(2).all(|pair| pair[0] == pair[1] + 1));
        for (id, height) in locator.iter().zip(&heights) {
            let index = usize::try_from(*height).unwrap();
            assert!(index == 0 || branch[index - 1].id() == *id);
        }
        // A peer on the main chain answers with what follows the fork.
        let headers = ledger.view().headers_after(&locator, None, 2_000).unwrap();
        let first = if tip == main { None } else { headers.first().map(|h| h.parent) };
        assert!(first.is_none_or(|parent| ledger.is_descendant(&root, &parent).unwrap()));
        assert_eq!(headers.is_empty(), tip == main);
    }
    let view = ledger.view();
    let stop = chain.branch(&main)[9].id();
    let headers = view.headers_after(&[], Some(&stop), 2_000).unwrap();
    assert_eq!(headers.len(), 10);
    assert_eq!(headers[9].id(), stop);
    assert_eq!(view.headers_after(&[BlockId([3; 32])], None, 7).unwrap().len(), 7);
    assert!(ledger.locator(&BlockId([3; 32])).unwrap().is_empty());
}

/// Deletions of what was never there would pile up in a store, one for each block of a long chain,
/// and every look at the tips would step over them.
#[test]
fn a_long_branch_leaves_its_end_among_the_tips_and_one_deletion() {
    let mut chain = rich_chain();
    let tip = start(&mut chain, 30, 1);
    let store = Arc::new(Recorder::default());
    let mut ledger = open(&store, &chain, &Settings::default());
    store.take();
    for block in chain.branch(&tip) {
        ledger.accept_header(block.header(), NOW).unwrap().unwrap();
    }
    ledger.flush().unwrap();
    let batches = store.take().into_iter().filter_map(|written| match written {
        Written::Commit(batch, _) => Some(batch.writes),
        Written::Sync | Written::Announce(_) => None,
    });
    let marks: Vec<_> =
        batches.flatten().filter(|(family, _, _)| *family == Family::Tips).collect();
    let deleted = marks.iter().filter(|(_, _, value)| value.is_none()).count();
    assert_eq!((marks.len(), deleted), (2, 1), "the new end, and genesis that is none any more");
    let tips = dump(&*store, Family::Tips);
    assert_eq!(tips.len(), 1);
    assert_eq!(tips[0].0, tip.0);
}
