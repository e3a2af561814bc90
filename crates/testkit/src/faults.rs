//! A store that fails once, at a chosen call.
//!
//! Everything that a ledger keeps goes through `Store`, so a test that lets the N-th call fail,
//! for every N, has seen every place at which a disk can fail and a process can die.

use std::{
    ops::Bound,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use ashlar_ledger::{
    Announced, Batch, Direction, Durability, Family, Marker, Read, Store, StoreError,
    store::{Entry, KeyRange},
};

/// Which calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `commit`, `sync`, `clear`, `checkpoint`, `announce`.
    Write,
    /// `get`, `get_many`, `scan`, on the store and its snapshots.
    Read,
}

/// Whether what was asked is done when the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Not done. A `clear`, which is not atomic, is half done.
    Before,
    /// Done, and reported as failed.
    After,
}

/// What becomes of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// One call fails; those after it would work, if anybody made them.
    Fail,
    /// The process is gone: every call from now on fails.
    Kill,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which calls are counted.
    pub call: Call,
    /// The how many-th of them, from 1.
    pub number: usize,
    /// Before or after it.
    pub moment: Moment,
    /// What then.
    pub effect: Effect,
}

/// A store with a fault, or with none, which only counts; or a snapshot of one.
#[derive(Debug)]
pub struct FaultyStore<S: ?Sized> {
    store: Arc<S>,
    progress: Arc<Progress>,
    is_slow: bool,
}

#[derive(Debug)]
struct Progress {
    fault: Option<Fault>,
    reads: AtomicUsize,
    writes: AtomicUsize,
    has_struck: AtomicBool,
    writes_after: AtomicUsize,
}

fn injected() -> StoreError {
    StoreError::Io { doing: "a test", message: "injected".to_owned() }
}

impl Progress {
    /// Counts a call and carries it out, or as much of it as the fault leaves. `part` is what is
    /// done of it where the fault comes before its end.
    fn make<T>(
        &self,
        call: Call,
        part: impl FnOnce() -> Result<(), StoreError>,
        whole: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.has_struck.load(SeqCst) {
            if call == Call::Write {
                self.writes_after.fetch_add(1, SeqCst);
            }
            if self.fault.is_some_and(|fault| fault.effect == Effect::Kill) {
                return Err(injected());
            }
        }
        let counter = match call {
            Call::Read => &self.reads,
            Call::Write => &self.writes,
        };
        let number = counter.fetch_add(1, SeqCst) + 1;
        match self.fault.filter(|fault| fault.call == call && fault.number == number) {
            None => whole(),
            Some(fault) => {
                self.has_struck.store(true, SeqCst);
                match fault.moment {
                    Moment::Before => part()?,
                    Moment::After => drop(whole()?),
                }
                Err(injected())
            }
        }
    }

    fn read<T>(&self, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.make(Call::Read, || Ok(()), read)
    }

    fn write(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.make(Call::Write, || Ok(()), write)
    }
}

impl<S> FaultyStore<S> {
    /// Around `store`.
    pub fn new(store: S, fault: Option<Fault>) -> Self {
        let progress = Progress {
            fault,
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            has_struck: AtomicBool::new(false),
            writes_after: AtomicUsize::new(0),
        };
        Self { store: Arc::new(store), progress: Arc::new(progress), is_slow: false }
    }

    /// The same, saying that it writes slowly, as a disk does: a ledger that catches up writes to
    /// it on a thread of its own.
    #[must_use]
    pub fn slow(self) -> Self {
        Self { is_slow: true, ..self }
    }

    /// Calls of a kind so far.
    pub fn calls(&self, call: Call) -> usize {
        match call {
            Call::Read => self.progress.reads.load(SeqCst),
            Call::Write => self.progress.writes.load(SeqCst),
        }
    }

    /// Whether the fault has come.
    pub fn has_struck(&self) -> bool {
        self.progress.has_struck.load(SeqCst)
    }

    /// Writes that were tried after it.
    pub fn writes_after(&self) -> usize {
        self.progress.writes_after.load(SeqCst)
    }

    /// What lies beneath: what survived.
    pub fn inner(&self) -> &S {
        &self.store
    }

    /// Takes the fault away.
    pub fn into_inner(self) -> S {
        Arc::into_inner(self.store).expect("nobody else was given it")
    }
}

impl<S: Read + ?Sized> Read for FaultyStore<S> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.progress.read(|| self.store.get(family, key))
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.progress.read(|| self.store.get_many(family, keys))
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        self.progress.read(|| self.store.scan(family, range, limit, direction))
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn snapshot(&self) -> Arc<dyn Read> {
        let store = self.store.snapshot();
        Arc::new(FaultyStore { store, progress: Arc::clone(&self.progress), is_slow: false })
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.progress.write(|| self.store.commit(batch, durability))
    }

    fn writes_slowly(&self) -> bool {
        self.is_slow
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.progress.write(|| self.store.sync())
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        self.progress.write(|| self.store.checkpoint(directory))
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        self.progress.write(|| self.store.reclaim())
    }

    fn clear(&self, family: Family) -> Result<(), StoreError> {
        let half = || {
            let all = (Bound::Unbounded, Bound::Unbounded);
            let entries = self.store.scan(family, all, usize::MAX, Direction::Forward)?;
            let mut batch = Batch::default();
            for (key, _) in entries.iter().take(entries.len() / 2) {
                batch.delete(family, key.clone());
            }
            self.store.commit(batch, Durability::Later)
        };
        self.progress.make(Call::Write, half, || self.store.clear(family))
    }

    fn announce(&self, tip: Announced) -> Result<(), StoreError> {
        self.progress.write(|| self.store.announce(tip))
    }

    fn announced(&self) -> Result<Marker, StoreError> {
        self.progress.read(|| self.store.announced())
    }
}

#[cfg(test)]
mod tests {
    use ashlar_ledger::MemoryStore;

    use super::*;

    fn put(store: &impl Store, key: u8) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(Family::Coins, vec![key], vec![]);
        store.commit(batch, Durability::Later)
    }

    fn keys(store: &impl Store) -> Vec<u8> {
        let all = (Bound::Unbounded, Bound::Unbounded);
        let entries = store.scan(Family::Coins, all, 999, Direction::Forward).unwrap();
        entries.into_iter().map(|(key, _)| key[0]).collect()
    }

    fn faulty(number: usize, moment: Moment, effect: Effect) -> FaultyStore<MemoryStore> {
        let fault = Fault { call: Call::Write, number, moment, effect };
        FaultyStore::new(MemoryStore::new(), Some(fault))
    }

    #[test]
    fn a_fault_strikes_once_and_where_it_is_told_to() {
        for (moment, left) in [(Moment::Before, vec![1, 3]), (Moment::After, vec![1, 2, 3])] {
            let store = faulty(2, moment, Effect::Fail);
            put(&store, 1).unwrap();
            assert!(!store.has_struck());
            put(&store, 2).unwrap_err();
            assert_eq!((store.has_struck(), store.writes_after()), (true, 0));
            put(&store, 3).unwrap();
            assert_eq!((store.calls(Call::Write), store.writes_after()), (3, 1));
            assert_eq!(keys(store.inner()), left);
        }
    }

    #[test]
    fn after_a_kill_nothing_works_and_half_of_a_clear_is_done() {
        let store = faulty(3, Moment::Before, Effect::Kill);
        put(&store, 1).unwrap();
        put(&store, 2).unwrap();
        let snapshot = store.snapshot();
        store.clear(Family::Coins).unwrap_err();
        put(&store, 3).unwrap_err();
        assert!(store.get(Family::Coins, &[2]).is_err());
        assert!(snapshot.get(Family::Coins, &[2]).is_err());
        assert_eq!(keys(&store.into_inner()), [2]);
    }

    #[test]
    fn a_power_cut_takes_a_tail_down_to_the_last_sync() {
        let store = MemoryStore::new();
        put(&store, 1).unwrap();
        store.sync().unwrap();
        for key in 2..=4 {
            put(&store, key).unwrap();
        }
        assert_eq!(store.unsynced(), 3);
        for (lost, left) in
            [(0, vec![1, 2, 3, 4]), (1, vec![1, 2, 3]), (2, vec![1, 2]), (3, vec![1]), (9, vec![1])]
        {
            assert_eq!(keys(&store.after_power_cut(lost)), left);
        }
        for key in 5..=200 {
            put(&store, key).unwrap();
        }
        assert_eq!(keys(&store.after_power_cut(usize::MAX)), [1]);
        assert_eq!(keys(&store.after_power_cut(1)).len(), 199);
        store.commit(Batch::default(), Durability::Synced).unwrap();
        assert_eq!(keys(&store.after_power_cut(9)).len(), 200);
    }
}
