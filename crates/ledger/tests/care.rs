//! Planted damage is found and mended.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use core::ops::ControlFlow;
use std::sync::Arc;

use ashlar_ledger::{
    Batch, Durability, Family, Ledger, MemoryStore, Offered, OpenLedgerError, Read, Settings,
    Store,
    care::{
        self, CareError, Depth, Remedy, Report,
        reindex::{self, Begun, Reindexed},
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
) -> Result<Reindexed, CareError> {
    if let Begun::Empty(families) = reindex::begin(&**store, chain.genesis())? {
        for family in families {
            store.clear(family)?;
        }
    }
    reindex::run(store, chain.genesis(), Settings::default(), &mut rand::rng(), watch)
}

fn reindex<S: Store>(store: &Arc<S>, chain: &Chain) -> Reindexed {
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
    let done = reindex(&store, &world.chain);
    assert_eq!((done.height, done.tip), (20, world.tip));
    assert_eq!((done.lost_bodies, done.found_headers, done.dropped_headers), (0, 0, 0));
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
        let done = reindex(&store, &world.chain);
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
    let done = reindex(&store, &world.chain);
    assert_eq!((done.tip, done.found_headers), (world.tip, 1));
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
    let done = reindex(&store, &world.chain);
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
        let done = reindex(&store, &world.chain);
        assert_eq!(done.lost_bodies, u64::from(what != "gone"));
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
            Ok(done) => {
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
        assert_eq!(reindex(&store, &world.chain).tip, world.tip);
        assert_same(&world, &*store, "killed");
        // No body was ever away.
        assert_eq!(dump(state, Family::Blocks), dump(&world.store, Family::Blocks));
    }
    assert!(refused > 3 && refused < states.len());
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
    let exported = care::export(&*store, other.genesis(), Vec::new(), &mut go_on);
    is_refused(exported.unwrap_err());
    assert_eq!(dump(&*store, Family::Meta), dump(&world.store, Family::Meta));
}

// --- on disk

#[cfg(feature = "rocksdb")]
mod disk {
    use std::{fs, path::Path};

    use ashlar_ledger::{RocksOptions, RocksReader, RocksStore};

    use super::*;

    /// The world's families in a database, in tables, bodies in blobs and all.
    fn write(world: &World, folder: &Path) {
        let store = RocksStore::open(folder, &RocksOptions::small()).unwrap();
        for family in Family::ALL {
            let writes = dump(&world.store, family);
            let writes = writes.into_iter().map(|(key, value)| (family, key, Some(value)));
            store.commit(Batch { writes: writes.collect() }, Durability::Synced).unwrap();
        }
    }

    /// A copy of a database whose families are tables, not a log.
    fn in_tables(folder: &Path) -> tempfile::TempDir {
        let copies = tempfile::tempdir().unwrap();
        let store = RocksStore::open(folder, &RocksOptions::small()).unwrap();
        store.checkpoint(&copies.path().join("copy")).unwrap();
        copies
    }

    fn reindex_on_disk(folder: &Path, chain: &Chain) -> Reindexed {
        let options = RocksOptions::small();
        let begun = {
            let store = RocksStore::open(folder, &options).unwrap();
            reindex::begin(&store, chain.genesis()).unwrap()
        };
        if let Begun::Empty(families) = begun {
            RocksStore::discard(folder, &options, &families).unwrap();
        }
        let store = Arc::new(RocksStore::open(folder, &options).unwrap());
        let settings = Settings::default();
        reindex::run(&store, chain.genesis(), settings, &mut rand::rng(), &mut go_on).unwrap()
    }

    #[test]
    fn a_reader_changes_no_file_and_a_reindex_gives_what_was_there() {
        let world = world();
        let folder = tempfile::tempdir().unwrap();
        write(&world, folder.path());
        let files = |folder: &Path| {
            let mut files: Vec<_> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap())
                // RocksDB's own log of what it does, and lock files.
                .filter(|entry| !entry.file_name().to_string_lossy().starts_with("LOG"))
                .map(|entry| (entry.path(), fs::read(entry.path()).unwrap()))
                .collect();
            files.sort();
            files
        };
        let before = files(folder.path());
        {
            let store = RocksReader::open(folder.path(), &RocksOptions::small()).unwrap();
            let report = check(&store, &world.chain, Depth::Full);
            assert!(report.is_sound(), "{:?}", report.findings);
            assert!(!export(&store, &world.chain).is_empty());
            // And nobody else may open it meanwhile.
            assert!(RocksStore::open(folder.path(), &RocksOptions::small()).is_err());
        }
        assert!(before == files(folder.path()));

        let done = reindex_on_disk(folder.path(), &world.chain);
        assert_eq!(done.tip, world.tip);
        let store = RocksReader::open(folder.path(), &RocksOptions::small()).unwrap();
        assert_same(&world, &store, "on disk");
    }

    #[test]
    fn rotten_bits_in_any_table_are_found_and_those_that_follow_from_bodies_are_mended() {
        let world = world();
        let folder = tempfile::tempdir().unwrap();
        write(&world, folder.path());
        let sound = in_tables(folder.path());
        let names: Vec<_> = fs::read_dir(sound.path().join("copy"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sst"))
            .collect();
        assert!(names.len() >= Family::ALL.len(), "{names:?}");
        let (mut mended, mut beyond) = (0, 0);
        for name in &names {
            let copy = in_tables(folder.path());
            let path = copy.path().join("copy");
            let table = path.join(name);
            let mut bytes = fs::read(&table).unwrap();
            bytes[10] ^= 0x10;
            fs::remove_file(&table).unwrap();
            fs::write(&table, bytes).unwrap();
            let found = {
                let store = RocksReader::open(&path, &RocksOptions::small()).unwrap();
                care::check(
                    &store,
                    world.chain.genesis(),
                    Depth::Full,
                    &mut rand::rng(),
                    &mut go_on,
                )
            };
            let is_found = found.map_or(true, |report| !report.is_sound());
            assert!(is_found, "{name}");
            let options = RocksOptions::small();
            let begun = {
                let store = RocksStore::open(&path, &options).unwrap();
                reindex::begin(&store, world.chain.genesis())
            };
            let Ok(Begun::Empty(families)) = begun else {
                // What names chain and schema can't be read.
                beyond += 1;
                continue;
            };
            RocksStore::discard(&path, &options, &families).unwrap();
            let store = Arc::new(RocksStore::open(&path, &options).unwrap());
            let settings = Settings::default();
            let run =
                reindex::run(&store, world.chain.genesis(), settings, &mut rand::rng(), &mut go_on);
            let done = run.unwrap();
            match done.is_torn {
                false => {
                    mended += 1;
                    assert!(check(&*store, &world.chain, Depth::Full).is_sound(), "{name}");
                    let is_whole = done.tip == world.tip || done.tip == world.taken;
                    assert!(is_whole || done.height == 0, "{name}: {done:?}");
                }
                true => beyond += 1,
            }
        }
        assert!(mended >= 7 && beyond <= 2, "{mended} mended, {beyond} beyond");
    }
}
