//! The store in memory: persistent ordered maps, so that clones and snapshots share structure.

use std::{
    ops::Bound,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use imbl::OrdMap;

use crate::store::{
    Batch, Direction, Durability, Entry, Family, KeyRange, Read, Store, StoreError,
};

/// Keys and values are shared, not copied, when a node of the map is.
type Map = OrdMap<Arc<[u8]>, Arc<[u8]>>;

/// All families at one moment: cloning is ten reference counts.
#[derive(Clone, Debug, Default)]
struct Families {
    maps: [Map; Family::ALL.len()],
}

/// For simulation, tests and the vectors. A clone is a store of its own that shares all
/// structure with the original until one of them is written to: ten thousand nodes that start
/// from one chain cost one chain. Nothing survives the process, so `Synced` means nothing here.
#[derive(Debug, Default)]
pub struct MemoryStore {
    families: RwLock<Families>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn current(&self) -> RwLockReadGuard<'_, Families> {
        // A commit swaps in finished maps at its end, so even a poisoned lock guards a whole state.
        self.families.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self { families: RwLock::new(self.current().clone()) }
    }
}

impl Families {
    fn map(&self, family: Family) -> &Map {
        // `Family::ALL` lists the variants in order of declaration, so the discriminant is the place.
        &self.maps[family as usize]
    }
}

impl Read for Families {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.map(family).get(key).map(|value| value.to_vec()))
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|key| self.get(family, key)).collect()
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        if is_empty_range(range) {
            return Ok(Vec::new());
        }
        let owned = |(key, value): (&Arc<[u8]>, &Arc<[u8]>)| (key.to_vec(), value.to_vec());
        let entries = self.map(family).range::<KeyRange<'_>, [u8]>(range);
        Ok(match direction {
            Direction::Forward => entries.take(limit).map(owned).collect(),
            Direction::Backward => entries.rev().take(limit).map(owned).collect(),
        })
    }
}

/// Whether no key lies between the bounds; ordered maps may panic on such a range.
pub(crate) fn is_empty_range((start, end): KeyRange<'_>) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

impl Read for MemoryStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.current().get(family, key)
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.current().get_many(family, keys)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        self.current().scan(family, range, limit, direction)
    }
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Arc<dyn Read> {
        Arc::new(self.current().clone())
    }

    fn commit(&self, batch: Batch, _durability: Durability) -> Result<(), StoreError> {
        let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = families.clone();
        for (family, key, value) in batch.writes {
            let map = &mut next.maps[family as usize];
            match value {
                Some(value) => map.insert(key.into(), value.into()),
                None => map.remove(key.as_slice()),
            };
        }
        *families = next;
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn checkpoint(&self, _directory: &Path) -> Result<(), StoreError> {
        Err(StoreError::Unsupported { what: "a checkpoint" })
    }
}
