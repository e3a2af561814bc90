//! The first failure of the store is the last: after it nothing more is read or written.
//!
//! A write or a sync that failed leaves open what is on disk, and trying again may report success
//! over data that is gone. So nobody above has to remember not to: the ledger and every view that
//! it gave away work behind one fuse, and once it is blown each call answers with the error that
//! blew it. Whoever opens the store again finds what the disk really kept.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use crate::ledger::Ledger;
use crate::store::{
    Announced, Batch, Direction, Durability, Entry, Family, KeyRange, Marker, Read, Store,
    StoreError,
};

/// Shared by the ledger's store and all snapshots of it.
#[derive(Clone, Debug, Default)]
struct Blown(Arc<OnceLock<StoreError>>);

impl Blown {
    fn check(&self) -> Result<(), StoreError> {
        self.0.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn guard<T>(&self, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.check()?;
        call().inspect_err(|error| {
            self.0.get_or_init(|| error.clone());
        })
    }
}

/// A store behind a fuse, or a snapshot of it behind the same: what a reader can't read stops the
/// node, too.
#[derive(Debug)]
pub(crate) struct Fuse<S: ?Sized> {
    store: Arc<S>,
    blown: Blown,
}

impl<S> Fuse<S> {
    pub(crate) fn new(store: Arc<S>) -> Self {
        Self { store, blown: Blown::default() }
    }

    /// What blew it, where it is blown.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.blown.check()
    }
}

impl<S: Store> Ledger<S> {
    /// The failure that ended this ledger, where a reader of one of its views met it: a driver that
    /// asks now and then stops although nothing else happens.
    pub fn check_store(&self) -> Result<(), StoreError> {
        self.store.check()
    }
}

impl<S: Read + ?Sized> Read for Fuse<S> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.blown.guard(|| self.store.get(family, key))
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.blown.guard(|| self.store.get_many(family, keys))
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        self.blown.guard(|| self.store.scan(family, range, limit, direction))
    }
}

impl<S: Store> Store for Fuse<S> {
    fn snapshot(&self) -> Arc<dyn Read> {
        Arc::new(Fuse { store: self.store.snapshot(), blown: self.blown.clone() })
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.blown.guard(|| self.store.commit(batch, durability))
    }

    fn writes_slowly(&self) -> bool {
        self.store.writes_slowly()
    }

    fn start_sync(&self) {
        self.store.start_sync();
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.blown.guard(|| self.store.sync())
    }

    /// A copy that fails says nothing about the original: the fuse holds.
    fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        self.blown.check()?;
        self.store.checkpoint(directory)
    }

    fn clear(&self, family: Family) -> Result<(), StoreError> {
        self.blown.guard(|| self.store.clear(family))
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        self.blown.guard(|| self.store.reclaim())
    }

    fn announce(&self, tip: Announced) -> Result<(), StoreError> {
        self.blown.guard(|| self.store.announce(tip))
    }

    fn announced(&self) -> Result<Marker, StoreError> {
        self.blown.guard(|| self.store.announced())
    }
}
