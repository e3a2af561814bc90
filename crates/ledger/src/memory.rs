//! The store in memory: a persistent ordered map, so that clones and snapshots share structure.

use std::{ops::Bound, path::Path, sync::Arc};

use crate::store::{Batch, Direction, Durability, Entry, Family, Read, Store, StoreError};

/// For simulation, tests and the vectors.
#[derive(Debug, Default)]
pub struct MemoryStore {}

impl Read for MemoryStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> { todo!() }
    fn get_many(&self, family: Family, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> { todo!() }
    fn scan(&self, family: Family, range: (Bound<&[u8]>, Bound<&[u8]>), limit: usize, direction: Direction) -> Result<Vec<Entry>, StoreError> { todo!() }
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Arc<dyn Read> { todo!() }
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> { todo!() }
    fn sync(&self) -> Result<(), StoreError> { todo!() }
    fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> { todo!() }
}
