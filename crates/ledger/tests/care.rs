//! Planted damage is found and mended.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use core::ops::ControlFlow;
use std::sync::Arc;

use ashlar_ledger::{
    Batch, Durability, Family, Ledger, MemoryStore, Offered, OpenLedgerError, Read, Settings,
    Store,
    care::{
        self, Bookmark, CareError, Depth, Progress, Remedy, Report, Stage,
        reindex::{self, Begun, Prepared, Reindexed},
    },
};
use ashlar_testkit::{
    builder::{Chain, lock},
    recorder,
};
use common::{world::*, *};

fn check(store: &impl Read, chain: &Chain, depth: Depth) -> Report {
    care::check(store, chain.genesis(), depth, &mut rand::rng(), &mut go_on).unwrap()
}

fn try_reindex<S: Store>(
    store: &Arc<S>,
    chain: &Chain,
    watch: &mut care::Watch<'_>,
) -> Result<(Prepared, Reindexed), CareError> {
    let mut prepared = Prepared::default();
    while let Begun::Empty(families) = reindex::begin(&**store, chain.genesis())? {
        for family in families {
            store.clear(family)?;
        }
        prepared = reindex::prepare(&**store, chain.genesis(), watch)?;
        assert!(!prepared.is_torn);
    }
    let (settings, rng) = (Settings::default(), &mut rand::rng());
    Ok((prepared, reindex::connect(store, chain.genesis(), settings, rng, watch)?))
}

fn reindex<S: Store>(store: &Arc<S>, chain: &Chain) -> (Prepared, Reindexed) {
    try_reindex(store, chain, &mut go_on).unwrap()
}

/// All families of both stores, but for the undo records of branches that the chain left: a
/// reindex has not been there.
fn assert_same(world: &World, store: &impl Read, what: &str) {
    for family in Family::ALL {
        let mut before = dump(&world.store, family);
        let after = dump(store, family);
        if family == Family::Undo {
            let on_chain: Vec<_> =
                world.chain.branch(&world.tip).iter().map(|b| b.id().0.to_vec()).collect();
            before.retain(|(id, _)| on_chain.contains(id));
            assert!(before.len() < dump(&world.store, family).len());
        }
        if family == Family::Meta {
            before = without_undo_bytes(before);
            let sum: usize = dump(store, Family::Undo).iter().map(|entry| entry.1.len()).sum();
            let counted = store.get(family, b"undo_bytes").unwrap();
            assert_eq!(counted, Some((sum as u64).to_le_bytes().to_vec()), "{what}");
        }
        let after = if family == Family::Meta { without_undo_bytes(after) } else { after };
        assert!(before == after, "{what}: {}", family.name());
    }
}

/// Those of the branches that the chain left are not there to be counted.
fn without_undo_bytes(mut meta: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    meta.retain(|(key, _)| key != b"undo_bytes");
    meta
}

#[test]
fn a_sound_store_is_found_sound_and_left_alone() {
    let world = world();
    let before: Vec<_> = Family::ALL.map(|family| dump(&world.store, family)).into();
    for (depth, blocks) in [(Depth::Blocks(5), 5), (Depth::Blocks(1_000), 20), (Depth::Full, 20)] {
        let report = check(&world.store, &world.chain, depth);
        assert!(report.is_sound(), "{depth:?}: {:#?}", report.findings);
        assert_eq!((report.blocks, report.tip), (blocks, Some((20, world.tip))));
        assert_eq!(report.coins, dump(&world.store, Family::Coins).len() as u64);
    }
    let after: Vec<_> = Family::ALL.map(|family| dump(&world.store, family)).into();
    assert_eq!(before, after);
}

#[test]
fn a_reindex_gives_what_was_there() {
    let world = world();
    let store = Arc::new(world.store.clone());
    let (prepared, done) = reindex(&store, &world.chain);
    assert_eq!((done.height, done.tip), (20, world.tip));
    assert_eq!(prepared, Prepared::default());
    assert_same(&world, &*store, "reindex");
    assert!(check(&*store, &world.chain, Depth::Full).is_sound());
    assert!(dump(&world.store, Family::Undo).iter().any(|e| e.0 == world.abandoned.0));
}

/// Writes past the ledger.
fn plant(store: &MemoryStore, family: Family, key: Vec<u8>, value: Option<Vec<u8>>) {
    let batch = Batch { writes: vec![(family, key, value)] };
    store.commit(batch, Durability::Later).unwrap();
}

/// One byte of the middle entry of a family is another.
fn alter(store: &MemoryStore, family: Family, byte: usize) {
    let entries = dump(store, family);
    let (key, mut value) = entries[entries.len() / 2].clone();
    value[byte] ^= 1;
    plant(store, family, key, Some(value));
}

fn remove(store: &MemoryStore, family: Family) {
    let entries = dump(store, family);
    plant(store, family, entries[entries.len() / 2].0.clone(), None);
}

#[test]
fn whatever_follows_from_bodies_is_found_damaged_and_mended() {
    let world = world();
    let on_chain = world.chain.branch(&world.tip)[9].id();
    let undo = |store: &MemoryStore| store.get(Family::Undo, &on_chain.0).unwrap().unwrap();
    type Damage<'a> = Box<dyn Fn(&MemoryStore) + 'a>;
    let meta = |name: &str| name.as_bytes().to_vec();
    let damages: Vec<(&str, Damage<'_>)> = vec![
        ("a coin gone", Box::new(|store| remove(store, Family::Coins))),
        ("a coin's value", Box::new(|store| alter(store, Family::Coins, 0))),
        ("a coin's height", Box::new(|store| alter(store, Family::Coins, 45))),
        ("all coins gone", Box::new(|store| store.clear(Family::Coins).unwrap())),
        (
            "a coin too many",
            Box::new(|store| {
                let (_, coin) = dump(store, Family::Coins).remove(0);
                plant(store, Family::Coins, vec![7; 34], Some(coin));
            }),
        ),
        ("undo gone", Box::new(|store| plant(store, Family::Undo, on_chain.0.to_vec(), None))),
        (
            "undo altered",
            Box::new(|store| {
                let mut value = undo(store);
                value[8 + 34] ^= 1;
                plant(store, Family::Undo, on_chain.0.to_vec(), Some(value));
            }),
        ),
        (
            "undo cut",
            Box::new(|store| {
                let mut value = undo(store);
                value.pop();
                plant(store, Family::Undo, on_chain.0.to_vec(), Some(value));
            }),
        ),
        ("a height gone", Box::new(|store| remove(store, Family::Heights))),
        ("a height's block", Box::new(|store| alter(store, Family::Heights, 3))),
        (
            "a height above",
            Box::new(|store| {
                let above = 21_u32.to_be_bytes().to_vec();
                plant(store, Family::Heights, above, Some(vec![1; 32]));
            }),
        ),
        ("a tip gone", Box::new(|store| remove(store, Family::Tips))),
        (
            "a tip too many",
            Box::new(|store| plant(store, Family::Tips, on_chain.0.to_vec(), Some(vec![]))),
        ),
        ("the state gone", Box::new(|store| plant(store, Family::Meta, meta("state"), None))),
        (
            "a lane of the state",
            Box::new(|store| {
                let mut value = store.get(Family::Meta, b"state").unwrap().unwrap();
                value[100] ^= 1;
                plant(store, Family::Meta, meta("state"), Some(value));
            }),
        ),
        (
            "a counter",
            Box::new(|store| {
                let mut value = store.get(Family::Meta, b"state").unwrap().unwrap();
                *value.last_mut().unwrap() ^= 1;
                plant(store, Family::Meta, meta("state"), Some(value));
            }),
        ),
        ("a transaction's place gone", Box::new(|store| remove(store, Family::Transactions))),
        ("a transaction's place", Box::new(|store| alter(store, Family::Transactions, 0))),
        ("an address's coin gone", Box::new(|store| remove(store, Family::LockCoins))),
        (
            "an address's coin too many",
            Box::new(|store| plant(store, Family::LockCoins, vec![1; 67], Some(vec![]))),
        ),
        ("an address's history gone", Box::new(|store| remove(store, Family::LockHistory))),
        ("an address's history", Box::new(|store| alter(store, Family::LockHistory, 40))),
        (
            "an address's history too long",
            Box::new(|store| {
                plant(store, Family::LockHistory, vec![1; 41], Some(vec![0; 48]));
            }),
        ),
        (
            "a header's work",
            Box::new(|store| {
                let mut value = store.get(Family::Headers, &on_chain.0).unwrap().unwrap();
                value[84] ^= 1;
                plant(store, Family::Headers, on_chain.0.to_vec(), Some(value));
            }),
        ),
        (
            "a good block's mark as failed",
            Box::new(|store| {
                let mut value = store.get(Family::Headers, &world.tip.0).unwrap().unwrap();
                assert_eq!(value.pop(), Some(0));
                value.extend([1, 12, 0, 0, 0, 0, 0, 0, 0]);
                value.extend(b"bad-coinbase");
                plant(store, Family::Headers, world.tip.0.to_vec(), Some(value));
            }),
        ),
    ];
    for (what, damage) in damages {
        let store = Arc::new(world.store.clone());
        damage(&store);
        let report = check(&*store, &world.chain, Depth::Full);
        // A mark is a verdict, which only a new judgement can tell from a wrong one.
        if what != "a good block's mark as failed" {
            assert!(!report.is_sound(), "{what} was not found");
            assert_eq!(report.remedy(), Some(Remedy::Reindex), "{what}");
        }
        let (_, done) = reindex(&store, &world.chain);
        assert_eq!(done.tip, world.tip, "{what}");
        assert_same(&world, &*store, what);
    }
}

#[test]
fn a_header_that_is_lost_is_found_again_in_its_body() {
    let world = world();
    let store = Arc::new(world.store.clone());
    let lost = world.chain.branch(&world.tip)[9].id();
    plant(&store, Family::Headers, lost.0.to_vec(), None);
    assert!(!check(&*store, &world.chain, Depth::Blocks(1)).is_sound());
    let (prepared, done) = reindex(&store, &world.chain);
    assert_eq!((done.tip, prepared.found_headers), (world.tip, 1));
    assert!(check(&*store, &world.chain, Depth::Full).is_sound());
    for family in Family::ALL {
        // It arrived anew; nothing else is different.
        if ![Family::Headers, Family::Undo, Family::Meta].contains(&family) {
            assert_eq!(dump(&*store, family), dump(&world.store, family), "{}", family.name());
        }
    }
    // All of them at once, as where the family can't be read: what the operator took away is
    // back, for nothing else knew of that.
    store.clear(Family::Headers).unwrap();
    let (_, done) = reindex(&store, &world.chain);
    assert_eq!((done.tip, done.height), (world.taken, 22));
    assert!(check(&*store, &world.chain, Depth::Full).is_sound());
}

#[test]
fn a_damaged_body_is_let_go_and_its_block_connects_when_it_comes_again() {
    let world = world();
    let place = 9;
    let damaged = Arc::clone(&world.chain.branch(&world.tip)[place]);
    let id = damaged.id();
    for what in ["gone", "altered", "cut"] {
        let store = Arc::new(world.store.clone());
        let mut bytes = damaged.to_bytes();
        match what {
            "altered" => bytes[200] ^= 1,
            _ => bytes.truncate(100),
        }
        plant(&store, Family::Blocks, id.0.to_vec(), (what != "gone").then_some(bytes));
        for depth in [Depth::Blocks(15), Depth::Full] {
            let report = check(&*store, &world.chain, depth);
            assert_eq!(report.remedy(), Some(Remedy::Reindex), "{what}, {depth:?}");
            assert!(
                report
                    .findings
                    .iter()
                    .any(|f| f.what.contains("height 10") || f.what.contains(&id.to_string())),
                "{what}: {:?}",
                report.findings
            );
        }
        let (prepared, done) = reindex(&store, &world.chain);
        let lost = if what == "gone" { vec![] } else { vec![(Some(10), id)] };
        assert_eq!(prepared.lost.number, lost.len() as u64);
        assert_eq!(prepared.lost.listed, lost);
        assert_eq!(done.height, place as u32, "{what}");
        assert!(check(&*store, &world.chain, Depth::Full).is_sound(), "{what}");
        let mut ledger = open(&store, &world.chain, &Settings::default());
        assert_eq!(ledger.wanted_bodies(1).unwrap(), [(10, id)]);
        assert_eq!(offer(&mut ledger, &damaged), Offered::Accepted);
        assert_eq!(ledger.view().tip().id, world.tip);
        drop(ledger);
        assert!(check(&*store, &world.chain, Depth::Full).is_sound(), "{what}");
    }
}

#[test]
fn a_reindex_broken_off_anywhere_goes_on() {
    let world = world();
    let store = Arc::new(world.store.clone());
    let mut interruptions = 0;
    // Each try gets one look further than the one before.
    for patience in 0_u32.. {
        let mut looks = 0;
        let mut watch = |_| {
            looks += 1;
            if looks > patience { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match try_reindex(&store, &world.chain, &mut watch) {
            Ok((_, done)) => {
                assert_eq!(done.tip, world.tip);
                break;
            }
            Err(error) => assert!(matches!(error, CareError::Interrupted), "{error}"),
        }
        interruptions += 1;
    }
    assert!(interruptions > 5, "{interruptions}");
    assert_same(&world, &*store, "interrupted");
}

#[test]
fn a_reindex_killed_after_any_commit_goes_on() {
    let world = world();
    let recorder = Arc::new(Recorder::new(Arc::new(world.store.clone())));
    reindex(&recorder, &world.chain);
    let states = recorder::states(&world.store, &recorder.written());
    assert!(states.len() > 10, "{}", states.len());
    let mut refused = 0;
    for (state, _) in &states {
        // An ordinary opening refuses it, or makes the same of it.
        let opened = Arc::new(state.clone());
        match Ledger::open(Arc::clone(&opened), world.chain.genesis(), Settings::default()) {
            Ok(mut ledger) => {
                settle(&mut ledger);
                ledger.flush().unwrap();
                drop(ledger);
                assert_same(&world, &*opened, "opened");
            }
            Err(error) => {
                assert!(matches!(error, OpenLedgerError::Reindexing), "{error}");
                let checked = care::check(
                    &*opened,
                    world.chain.genesis(),
                    Depth::Full,
                    &mut rand::rng(),
                    &mut go_on,
                );
                assert!(matches!(checked, Err(CareError::Open(OpenLedgerError::Reindexing))));
                refused += 1;
            }
        }
        let store = Arc::new(state.clone());
        assert_eq!(reindex(&store, &world.chain).1.tip, world.tip);
        assert_same(&world, &*store, "killed");
        // No body was ever away.
        assert_eq!(dump(state, Family::Blocks), dump(&world.store, Family::Blocks));
    }
    assert!(refused > 3 && refused < states.len());
}

/// Interrupted, or killed at any moment, a check ends with the report of one that was not.
fn assert_check_goes_on(store: &MemoryStore, chain: &Chain, depth: Depth) -> usize {
    const VERSION: u64 = 7;
    let on = |from: Option<Bookmark>, keep: &mut care::Keep<'_>, watch: &mut care::Watch<'_>| {
        let bookmarks = care::Bookmarks { version: VERSION, from, keep };
        care::check_on(store, chain.genesis(), depth, bookmarks, &mut rand::rng(), watch)
    };
    let mut kept = Vec::new();
    let mut looks = 0;
    let mut count = |_| {
        looks += 1;
        ControlFlow::Continue(())
    };
    let whole = on(None, &mut |at, _| kept.push(at.clone()), &mut count).unwrap();
    assert_eq!(whole, check(store, chain, depth));
    for (place, from) in kept.iter().enumerate() {
        let from = Bookmark::from_bytes(&from.to_bytes()).unwrap();
        let mut again = 0;
        let mut count = |_| {
            again += 1;
            ControlFlow::Continue(())
        };
        let report = on(Some(from), &mut |_, _| {}, &mut count).unwrap();
        assert_eq!(report, whole, "from place {place}");
        // Nothing but the quick part, and the family that was being counted, is done again.
        assert!(place < 5 || again < looks, "{again} of {looks} looks from place {place}");
    }
    // By its own will, again and again, each time one look further.
    let (mut from, mut tries) = (None, 0);
    let report = loop {
        tries += 1;
        let mut looks = 0;
        let mut watch = |progress: Progress| {
            // The family is counted again from its beginning.
            let is_new = !matches!(
                progress.stage,
                Stage::ReadHeaders | Stage::JudgeHeaders | Stage::ReadHeights | Stage::CountIndexes
            );
            looks += u32::from(is_new);
            if looks > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut last = None;
        let mut keep = |at: &Bookmark, is_last: bool| {
            if is_last {
                last = Some(at.clone());
            }
        };
        match on(from, &mut keep, &mut watch) {
            Ok(report) => break report,
            Err(error) => assert!(matches!(error, CareError::Interrupted), "{error}"),
        }
        from = last;
        assert!(from.is_some());
    };
    assert_eq!(report, whole);
    tries
}

#[test]
fn a_check_broken_off_anywhere_goes_on() {
    let world = world();
    let damaged = world.store.clone();
    let bodies = dump(&damaged, Family::Blocks);
    let abandoned = damaged.get(Family::Blocks, &world.abandoned.0).unwrap().unwrap();
    plant(&damaged, Family::Blocks, world.abandoned.0.to_vec(), Some(abandoned[..99].to_vec()));
    let light = bodies.iter().find(|(id, _)| {
        let on_chain = world.chain.branch(&world.tip);
        *id != world.abandoned.0 && on_chain.iter().all(|block| block.id().0 != **id)
    });
    plant(&damaged, Family::Blocks, light.unwrap().0.clone(), None);
    alter(&damaged, Family::Coins, 0);
    remove(&damaged, Family::LockHistory);
    remove(&damaged, Family::Tips);
    for depth in [Depth::Blocks(15), Depth::Full] {
        assert_eq!(check(&world.store, &world.chain, depth).findings, []);
        assert!(assert_check_goes_on(&world.store, &world.chain, depth) > 5);
        let findings = check(&damaged, &world.chain, depth).findings.len();
        assert!(findings > if depth == Depth::Full { 5 } else { 2 }, "{findings}");
        assert!(assert_check_goes_on(&damaged, &world.chain, depth) > 5);
    }
}

#[test]
fn a_check_broken_off_among_many_coins_goes_on() {
    let allocations: Vec<_> = (0..1_024).map(|number| (lock(number % 5), 1_000)).collect();
    let mut chain = Chain::new(ashlar_testkit::builder::genesis(&allocations));
    let tip = chain.extend_by(&chain.genesis_id(), 2);
    let store = replay(&chain, &tip, &Settings::default());
    for depth in [Depth::Blocks(1), Depth::Full] {
        assert!(assert_check_goes_on(&store, &chain, depth) >= 2);
        remove(&store, Family::LockCoins);
    }
    alter(&store, Family::Coins, 0);
    assert!(assert_check_goes_on(&store, &chain, Depth::Full) >= 2);
}

#[test]
fn another_chains_store_is_refused() {
    let world = world();
    let other = Chain::new(ashlar_testkit::builder::genesis(&[(lock(1), 5)]));
    let store = Arc::new(world.store.clone());
    let is_refused = |error: CareError| {
        assert!(matches!(error, CareError::Open(OpenLedgerError::OtherChain { .. })), "{error}");
    };
    is_refused(try_reindex(&store, &other, &mut go_on).unwrap_err());
    let depth = Depth::Blocks(1);
    let checked = care::check(&*store, other.genesis(), depth, &mut rand::rng(), &mut go_on);
    is_refused(checked.unwrap_err());
    let file = tempfile::tempfile().unwrap();
    let exported = care::export(&*store, other.genesis(), &file, &mut go_on);
    is_refused(exported.unwrap_err());
    assert_eq!(dump(&*store, Family::Meta), dump(&world.store, Family::Meta));
}

#[cfg(feature = "rocksdb")]
#[path = "care/disk.rs"]
mod disk;
