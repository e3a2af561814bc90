//! The contract of [`Store`], kept by every kind of it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{ops::Bound, sync::Arc};

use ashlar_ledger::{
    Batch, Direction, Durability, Family, MemoryStore, Read, Store, StoreError, store::KeyRange,
};
use common::dump;

fn put(store: &impl Store, entries: &[(&[u8], &[u8])]) {
    let mut batch = Batch::default();
    for (key, value) in entries {
        batch.put(Family::Coins, key.to_vec(), value.to_vec());
    }
    store.commit(batch, Durability::Later).unwrap();
}

fn keys(
    store: &(impl Read + ?Sized),
    range: KeyRange<'_>,
    limit: usize,
    direction: Direction,
) -> Vec<Vec<u8>> {
    let entries = store.scan(Family::Coins, range, limit, direction).unwrap();
    entries.into_iter().map(|(key, _)| key).collect()
}

fn contract(store: &impl Store) {
    put(store, &[(b"a", b"1"), (b"b", b"2"), (b"c", b""), (b"d", b"4"), (b"\xff", b"5")]);
    assert_eq!(store.get(Family::Coins, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(store.get(Family::Coins, b"c").unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(store.get(Family::Coins, b"e").unwrap(), None);
    assert_eq!(store.get(Family::Meta, b"a").unwrap(), None, "families are apart");
    let many = [b"a".to_vec(), b"aa".to_vec(), b"d".to_vec()];
    assert_eq!(
        store.get_many(Family::Coins, &many).unwrap(),
        [Some(b"1".to_vec()), None, Some(b"4".to_vec())]
    );
    assert!(store.get_many(Family::Coins, &[]).unwrap().is_empty());

    // Scans: bounds of every kind, both ways, limits, and ranges that hold nothing.
    let (from, to): (&[u8], &[u8]) = (b"b", b"d");
    use Bound::{Excluded, Included, Unbounded};
    use Direction::{Backward, Forward};
    let is = |range, limit, direction, expected: &[&[u8]]| {
        assert_eq!(keys(store, range, limit, direction), expected, "{range:?} {direction:?}");
    };
    is((Unbounded, Unbounded), 9, Forward, &[b"a", b"b", b"c", b"d", b"\xff"]);
    is((Unbounded, Unbounded), 2, Backward, &[b"\xff", b"d"]);
    is((Included(from), Included(to)), 9, Forward, &[b"b", b"c", b"d"]);
    is((Included(from), Excluded(to)), 9, Backward, &[b"c", b"b"]);
    is((Excluded(from), Included(to)), 9, Forward, &[b"c", b"d"]);
    is((Excluded(from), Excluded(to)), 9, Backward, &[b"c"]);
    is((Excluded(to), Unbounded), 9, Forward, &[b"\xff"]);
    is((Unbounded, Excluded(from)), 9, Backward, &[b"a"]);
    is((Included(to), Excluded(from)), 9, Forward, &[]);
    is((Included(to), Included(from)), 9, Backward, &[]);
    is((Excluded(from), Excluded(from)), 9, Forward, &[]);
    is((Unbounded, Unbounded), 0, Forward, &[]);

    // A snapshot keeps its moment, whatever is written after it.
    let before = store.snapshot();
    let mut batch = Batch::default();
    batch.put(Family::Coins, b"a".to_vec(), b"first".to_vec());
    batch.put(Family::Coins, b"a".to_vec(), b"last".to_vec());
    batch.delete(Family::Coins, b"b".to_vec());
    batch.delete(Family::Coins, b"absent".to_vec());
    batch.put(Family::Blocks, b"big".to_vec(), vec![7; 100_000]);
    assert_eq!(batch.size_bytes(), 1 + 5 + 1 + 4 + 1 + 6 + 3 + 100_000);
    store.commit(batch, Durability::Synced).unwrap();
    assert_eq!(store.get(Family::Coins, b"a").unwrap().as_deref(), Some(&b"last"[..]));
    assert_eq!(store.get(Family::Coins, b"b").unwrap(), None);
    assert_eq!(store.get(Family::Blocks, b"big").unwrap().unwrap().len(), 100_000);
    assert_eq!(before.get(Family::Coins, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(before.get_many(Family::Coins, &[b"b".to_vec()]).unwrap(), [Some(b"2".to_vec())]);
    assert_eq!(before.get(Family::Blocks, b"big").unwrap(), None);
    assert_eq!(keys(&*before, (Unbounded, Unbounded), 2, Forward), [b"a", b"b"]);

    store.clear(Family::Coins).unwrap();
    store.clear(Family::Coins).unwrap();
    assert!(dump(store, Family::Coins).is_empty());
    assert_eq!(dump(store, Family::Blocks).len(), 1);
    assert_eq!(dump(&*before, Family::Coins).len(), 5);
    put(store, &[(b"z", b"9")]);
    assert_eq!(dump(store, Family::Coins), [(b"z".to_vec(), b"9".to_vec())]);
    store.sync().unwrap();
}

#[test]
fn memory_keeps_the_contract() {
    contract(&MemoryStore::new());
}

#[test]
fn clones_of_memory_go_their_own_ways() {
    let store = MemoryStore::new();
    put(&store, &[(b"a", b"1")]);
    let other = store.clone();
    put(&store, &[(b"b", b"2")]);
    put(&other, &[(b"a", b"3")]);
    assert_eq!(dump(&store, Family::Coins).len(), 2);
    assert_eq!(dump(&other, Family::Coins), [(b"a".to_vec(), b"3".to_vec())]);
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(store.checkpoint(folder.path()), Err(StoreError::Unsupported { .. })));
}

#[test]
fn families_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = Family::ALL.iter().map(|f| f.name()).collect();
    assert_eq!(names.len(), Family::ALL.len());
    assert!(Family::ALL.is_sorted(), "the place in the list is the discriminant");
}

#[test]
fn snapshots_are_read_from_other_threads() {
    let store = Arc::new(MemoryStore::new());
    put(&*store, &[(b"a", b"1")]);
    let snapshot = store.snapshot();
    put(&*store, &[(b"a", b"2")]);
    let seen = std::thread::spawn(move || snapshot.get(Family::Coins, b"a").unwrap());
    assert_eq!(seen.join().unwrap(), Some(b"1".to_vec()));
}

#[cfg(feature = "rocksdb")]
mod disk {
    use ashlar_ledger::{RocksOptions, RocksStore};

    use super::*;

    fn open(folder: &std::path::Path) -> Result<RocksStore, StoreError> {
        RocksStore::open(folder, &RocksOptions::small())
    }

    #[test]
    fn rocks_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        contract(&open(folder.path()).unwrap());
        let default = tempfile::tempdir().unwrap();
        contract(&RocksStore::open(default.path(), &RocksOptions::default()).unwrap());
    }

    /// Bytes of all files.
    fn size(folder: &std::path::Path) -> u64 {
        let files = std::fs::read_dir(folder).unwrap();
        // A file that goes away meanwhile takes no room.
        files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
    }

    /// As pruning does it: bodies under keys without order leave in the order in which they came.
    #[test]
    fn room_comes_back_when_the_oldest_bodies_leave() {
        const BODIES: u64 = 200;
        const BODY_BYTES: usize = 400_000;
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        let key = |number: u64| {
            let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            mixed.repeat(4)
        };
        for number in 0..BODIES {
            let mut batch = Batch::default();
            batch.put(Family::Blocks, key(number), vec![number as u8; BODY_BYTES]);
            store.commit(batch, Durability::Later).unwrap();
        }
        assert!(size(folder.path()) > BODIES * BODY_BYTES as u64);
        for number in 0..180 {
            let mut batch = Batch::default();
            batch.delete(Family::Blocks, key(number));
            store.commit(batch, Durability::Later).unwrap();
        }
        store.reclaim().unwrap();
        // 8 MB are left, and a log and a table or two beside them.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while size(folder.path()) > 32_000_000 {
            assert!(std::time::Instant::now() < deadline, "{} bytes", size(folder.path()));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(dump(&store, Family::Blocks).len(), 20);
    }

    #[test]
    fn what_is_written_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        put(&store, &[(b"a", b"1")]);
        // A view that outlives its store keeps the database open, and the directory taken.
        let snapshot = store.snapshot();
        drop(store);
        assert!(matches!(open(folder.path()), Err(StoreError::InUse { .. })));
        assert_eq!(snapshot.get(Family::Coins, b"a").unwrap(), Some(b"1".to_vec()));
        drop(snapshot);
        let store = open(folder.path()).unwrap();
        assert_eq!(dump(&store, Family::Coins), [(b"a".to_vec(), b"1".to_vec())]);
    }

    #[test]
    fn a_directory_in_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let _held = open(folder.path()).unwrap();
        let error = open(folder.path()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StoreError::InUse { .. }), "{text}");
        assert!(text.contains("in use by another ashlar-node"), "{text}");
        assert!(text.contains(&folder.path().display().to_string()), "{text}");
    }

    #[test]
    fn a_checkpoint_is_a_store_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("one")).unwrap();
        put(&store, &[(b"a", b"1")]);
        let mut batch = Batch::default();
        batch.put(Family::Blocks, b"big".to_vec(), vec![7; 100_000]);
        store.commit(batch, Durability::Later).unwrap();
        let copy = folder.path().join("two");
        store.checkpoint(&copy).unwrap();
        put(&store, &[(b"a", b"2")]);
        let copy = open(&copy).unwrap();
        assert_eq!(copy.get(Family::Coins, b"a").unwrap(), Some(b"1".to_vec()));
        assert_eq!(copy.get(Family::Blocks, b"big").unwrap().unwrap(), vec![7; 100_000]);
        assert!(store.checkpoint(&folder.path().join("two")).is_err(), "it exists");
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "not a directory").unwrap();
        assert!(matches!(open(&file), Err(StoreError::Io { .. })));
        // Remains of a database are not begun anew.
        let ledger = folder.path().join("ledger");
        let store = open(&ledger).unwrap();
        put(&store, &[(b"a", b"1")]);
        drop(store);
        std::fs::remove_file(ledger.join("CURRENT")).unwrap();
        let error = open(&ledger).unwrap_err();
        assert!(matches!(error, StoreError::Unopenable { .. }), "{error}");
        assert!(error.to_string().contains("sync again"), "{error}");
    }
}
