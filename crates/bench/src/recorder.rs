//! A store that remembers what was committed, so that the same entries can be written again by
//! themselves.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ashlar_ledger::{
    Batch, Direction, Durability, Family, Read, RocksStore, Store, StoreError,
    store::{Entry, KeyRange},
};

/// A store on disk whose commits are kept in memory.
#[derive(Debug)]
pub struct Recorder {
    store: Arc<RocksStore>,
    commits: Mutex<Vec<(Batch, Durability)>>,
}

impl Recorder {
    /// Over a store.
    pub const fn new(store: Arc<RocksStore>) -> Self {
        Self { store, commits: Mutex::new(Vec::new()) }
    }

    /// What was committed since the last call, in order.
    pub fn take(&self) -> Vec<(Batch, Durability)> {
        std::mem::take(&mut self.commits.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Read for Recorder {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(family, key)
    }
    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.store.get_many(family, keys)
    }
    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        self.store.scan(family, range, limit, direction)
    }
}

impl Store for Recorder {
    fn snapshot(&self) -> Arc<dyn Read> {
        self.store.snapshot()
    }
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.push((batch.clone(), durability));
        self.store.commit(batch, durability)
    }
    fn sync(&self) -> Result<(), StoreError> {
        self.store.sync()
    }
    fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        self.store.checkpoint(directory)
    }
}
