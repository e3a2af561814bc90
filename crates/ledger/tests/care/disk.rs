//! Rot in the files of a database: found, and mended as far as it goes.

use std::{fs, path::Path};

use ashlar_ledger::{RocksOptions, RocksReader, RocksStore, care::reindex::LostBodies};
use ashlar_primitives::BlockId;
use ashlar_testkit::{
    builder::{Plan, Spend, key, output},
    faults::{Call, Effect, Fault, FaultyStore, Moment},
};

use super::*;

/// A store's families in a database.
fn write(from: &MemoryStore, folder: &Path) {
    let store = RocksStore::open(folder, &RocksOptions::small()).unwrap();
    for family in Family::ALL {
        let writes = dump(from, family);
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

/// A copy in tables, one of which has a rotten byte; `place` of its length.
fn rotten(folder: &Path, name: &str, place: fn(usize) -> usize) -> tempfile::TempDir {
    let copy = in_tables(folder);
    let table = copy.path().join("copy").join(name);
    let mut bytes = fs::read(&table).unwrap();
    let place = place(bytes.len());
    bytes[place] ^= 0x10;
    // Linked, and so another's, too.
    fs::remove_file(&table).unwrap();
    fs::write(&table, bytes).unwrap();
    copy
}

fn files(folder: &Path, kind: &str) -> Vec<String> {
    let sound = in_tables(folder);
    let entries = fs::read_dir(sound.path().join("copy")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(kind)).collect()
}

/// As the command does it: what was prepared, first time first, and where it ended.
fn reindex_on_disk(folder: &Path, chain: &Chain) -> Result<(Vec<Prepared>, Reindexed), CareError> {
    let options = RocksOptions::small();
    let mut prepared = Vec::new();
    let begin = || {
        let store = RocksStore::open_damaged(folder, &options)?;
        reindex::begin(&store, chain.genesis())
    };
    while let Begun::Empty(families) = begin()? {
        RocksStore::discard(folder, &options, &families)?;
        let store = RocksStore::open_damaged(folder, &options)?;
        prepared.push(reindex::prepare(&store, chain.genesis(), &mut go_on)?);
    }
    let store = Arc::new(RocksStore::open(folder, &options)?);
    let (settings, rng) = (Settings::default(), &mut rand::rng());
    Ok((prepared, reindex::connect(&store, chain.genesis(), settings, rng, &mut go_on)?))
}

#[test]
fn a_reader_changes_no_file_and_a_reindex_gives_what_was_there() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    write(&world.store, folder.path());
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

    let (_, done) = reindex_on_disk(folder.path(), &world.chain).unwrap();
    assert_eq!(done.tip, world.tip);
    let store = RocksReader::open(folder.path(), &RocksOptions::small()).unwrap();
    assert_same(&world, &store, "on disk");
}

#[test]
fn a_version_tells_whether_anything_was_written() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    write(&world.store, folder.path());
    let version = || RocksReader::open(folder.path(), &RocksOptions::small()).unwrap().version();
    let before = version();
    assert_eq!(version(), before);
    let store = RocksStore::open(folder.path(), &RocksOptions::small()).unwrap();
    drop(store);
    assert_eq!(version(), before);
    let store = RocksStore::open(folder.path(), &RocksOptions::small()).unwrap();
    let mut batch = Batch::default();
    batch.put(Family::Meta, b"state".to_vec(), vec![]);
    store.commit(batch, Durability::Synced).unwrap();
    drop(store);
    assert_ne!(version(), before);
}

#[test]
fn rotten_bits_in_any_table_are_found_and_mended_but_for_what_names_the_chain() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    write(&world.store, folder.path());
    let names = files(folder.path(), ".sst");
    assert!(names.len() >= Family::ALL.len(), "{names:?}");
    let (mut mended, mut beyond, mut torn_tables) = (0, 0, 0);
    for name in &names {
        let copy = rotten(folder.path(), name, |_| 10);
        let path = copy.path().join("copy");
        let found = {
            let store = RocksReader::open(&path, &RocksOptions::small()).unwrap();
            care::check(&store, world.chain.genesis(), Depth::Full, &mut rand::rng(), &mut go_on)
        };
        let is_found = found.map_or(true, |report| !report.is_sound());
        assert!(is_found, "{name}");
        let Ok((prepared, done)) = reindex_on_disk(&path, &world.chain) else {
            // What names chain and schema can't be read.
            beyond += 1;
            continue;
        };
        let options = RocksOptions::small();
        let store = Arc::new(RocksStore::open(&path, &options).unwrap());
        assert!(check(&*store, &world.chain, Depth::Full).is_sound(), "{name}");
        // Nothing rotten is left for a compaction to stumble over.
        for family in Family::ALL {
            dump(&*store, family);
            store.reclaim().unwrap();
        }
        mended += 1;
        if prepared[0].is_torn {
            let lost = &prepared[0].lost;
            assert!(lost.number > 0 && lost.listed.iter().all(|(height, _)| height.is_some()));
            assert_eq!(prepared[1..], [Prepared::default()]);
            assert!(done.height < 20);
            torn_tables += 1;
        } else {
            let is_whole = done.tip == world.tip || done.tip == world.taken;
            assert!(is_whole || done.height == 0, "{name}: {done:?}");
        }
        // What was lost is wanted, and the chain is whole when it comes.
        let mut ledger = open(&store, &world.chain, &Settings::default());
        offer_branch(&mut ledger, &world.chain, &world.tip);
        let work = |id: &BlockId| world.chain.state(id).header.work;
        assert!(ledger.view().tip().work >= work(&world.tip), "{name}");
    }
    assert_eq!((mended, beyond, torn_tables), (names.len() - 1, 1, 1));
}

/// The command, its process gone before the N-th write of what it makes; whether it came so
/// far.
fn is_killed(folder: &Path, chain: &Chain, mut number: usize) -> bool {
    let options = RocksOptions::small();
    let faulty = |disk, number| {
        let (moment, effect) = (Moment::Before, Effect::Kill);
        let fault = Fault { call: Call::Write, number, moment, effect };
        Arc::new(FaultyStore::new(disk, Some(fault)))
    };
    loop {
        let store = RocksStore::open_damaged(folder, &options).unwrap();
        let Begun::Empty(families) = reindex::begin(&store, chain.genesis()).unwrap() else {
            break;
        };
        drop(store);
        RocksStore::discard(folder, &options, &families).unwrap();
        let store = faulty(RocksStore::open_damaged(folder, &options).unwrap(), number);
        if reindex::prepare(&*store, chain.genesis(), &mut go_on).is_err() {
            assert!(store.has_struck());
            return true;
        }
        number -= store.calls(Call::Write);
    }
    let store = faulty(RocksStore::open(folder, &options).unwrap(), number);
    let (settings, rng) = (Settings::default(), &mut rand::rng());
    let connected = reindex::connect(&store, chain.genesis(), settings, rng, &mut go_on);
    assert_eq!(connected.is_err(), store.has_struck());
    connected.is_err()
}

#[test]
fn bodies_in_a_torn_table_are_salvaged_also_when_the_process_dies_at_it() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    write(&world.store, folder.path());
    let tip = world.chain.block(&world.tip).to_bytes();
    let sound = in_tables(folder.path());
    let holds_bodies = |name: &String| {
        let bytes = fs::read(sound.path().join("copy").join(name)).unwrap();
        bytes.windows(tip.len()).any(|window| window == tip)
    };
    let name = files(folder.path(), ".sst").into_iter().find(holds_bodies).unwrap();
    let expected = {
        let copy = rotten(folder.path(), &name, |_| 10);
        reindex_on_disk(&copy.path().join("copy"), &world.chain).unwrap().1
    };
    let mut deaths = 0;
    for number in (1..).step_by(5) {
        let copy = rotten(folder.path(), &name, |_| 10);
        let path = copy.path().join("copy");
        if !is_killed(&path, &world.chain, number) {
            break;
        }
        deaths += 1;
        assert_eq!(reindex_on_disk(&path, &world.chain).unwrap().1, expected);
        let store = RocksReader::open(&path, &RocksOptions::small()).unwrap();
        assert!(check(&store, &world.chain, Depth::Full).is_sound(), "write {number}");
    }
    assert!(deaths > 3, "{deaths}");
}

#[test]
fn a_rotten_blob_costs_its_body_alone() {
    let mut chain = rich_chain();
    let low = start(&mut chain, 2, 1);
    let (outpoint, coin) = chain.spendable(&low, &lock(4))[0];
    let outputs = vec![output(lock(5), 10); 150];
    let spend = Spend { inputs: vec![(outpoint, coin)], outputs, ..Spend::default() };
    let large = spend.sign(&chain.genesis_id(), &[&key(4)]);
    let large = chain.extend(&low, Plan::of(vec![large])).id();
    let tip = extend_with_payments(&mut chain, &large, 3, 2);
    let folder = tempfile::tempdir().unwrap();
    write(&replay(&chain, &tip, &Settings::default()), folder.path());
    let blobs = files(folder.path(), ".blob");
    assert_eq!(blobs.len(), 1);

    let copy = rotten(folder.path(), &blobs[0], |length| length / 2);
    let path = copy.path().join("copy");
    let found = {
        let store = RocksReader::open(&path, &RocksOptions::small()).unwrap();
        check(&store, &chain, Depth::Full)
    };
    assert_eq!(found.remedy(), Some(Remedy::Reindex));
    let (prepared, done) = reindex_on_disk(&path, &chain).unwrap();
    let lost = LostBodies { number: 1, listed: vec![(Some(3), large)] };
    assert_eq!(prepared, [Prepared { lost, ..Prepared::default() }]);
    assert_eq!(done.height, 2);
    let store = Arc::new(RocksStore::open(&path, &RocksOptions::small()).unwrap());
    assert!(check(&*store, &chain, Depth::Full).is_sound());
    let mut ledger = open(&store, &chain, &Settings::default());
    assert_eq!(ledger.wanted_bodies(9).unwrap(), [(3, large)]);
    offer(&mut ledger, chain.block(&large));
    assert_view(&ledger, &chain, &tip);
}
