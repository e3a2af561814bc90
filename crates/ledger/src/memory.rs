//! The store in memory: persistent ordered maps, so that clones and snapshots share structure.

use std::{
    collections::VecDeque,
    ops::Bound,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use imbl::OrdMap;

use crate::store::{
    Announced, Batch, Direction, Durability, Entry, Family, KeyRange, Marker, Read, Store,
    StoreError, clear_by_commits,
};

/// Keys and values are shared, not copied, when a node of the map is.
type Map = OrdMap<Arc<[u8]>, Arc<[u8]>>;

/// All families at one moment: cloning is ten reference counts.
#[derive(Clone, Debug, Default)]
struct Families {
    maps: [Map; Family::ALL.len()],
}

/// How many unsynced commits a [`MemoryStore`] tells apart; of more, a power cut takes the oldest
/// ones together.
const MAX_CUT_POINTS: usize = 64;

/// What the store holds, and what of it is safe.
#[derive(Clone, Debug, Default)]
struct Disk {
    families: Families,
    /// What a power cut may throw the store back to, oldest first: the state of the last sync,
    /// then one after each commit since but the newest. Empty where everything is synced.
    cut_points: VecDeque<Families>,
    announced: Option<Announced>,
}

/// For simulation, tests and the vectors. A clone is a store of its own that shares all
/// structure with the original until one of them is written to: ten thousand nodes that start
/// from one chain cost one chain. Nothing survives the process, but what a power cut would take
/// is known: [`MemoryStore::after_power_cut`].
#[derive(Debug, Default)]
pub struct MemoryStore {
    disk: RwLock<Disk>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn current(&self) -> RwLockReadGuard<'_, Disk> {
        // A commit swaps in finished maps at its end, so even a poisoned lock guards a whole state.
        self.disk.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Disk) -> T) -> T {
        change(&mut self.disk.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many of the newest commits a power cut may take: those since the last sync.
    pub fn unsynced(&self) -> usize {
        self.current().cut_points.len()
    }

    /// The store as a power cut that takes the newest `lost` commits leaves it, or as many as are
    /// not synced. Never a middle one: batches survive in the order of their commits.
    #[must_use]
    pub fn after_power_cut(&self, lost: usize) -> Self {
        let disk = self.current();
        let kept = disk.cut_points.len().saturating_sub(lost);
        let families = disk.cut_points.get(kept).unwrap_or(&disk.families).clone();
        let survivor = Disk { families, cut_points: VecDeque::new(), announced: disk.announced };
        Self { disk: RwLock::new(survivor) }
    }
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self { disk: RwLock::new(self.current().clone()) }
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
pub fn is_empty_range((start, end): KeyRange<'_>) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

impl Read for MemoryStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.current().families.get(family, key)
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.current().families.get_many(family, keys)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        self.current().families.scan(family, range, limit, direction)
    }
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Arc<dyn Read> {
        Arc::new(self.current().families.clone())
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.change(|disk| {
            let mut next = disk.families.clone();
            for (family, key, value) in batch.writes {
                let map = &mut next.maps[family as usize];
                match value {
                    Some(value) => map.insert(key.into(), value.into()),
                    None => map.remove(key.as_slice()),
                };
            }
            let before = std::mem::replace(&mut disk.families, next);
            match durability {
                Durability::Synced => disk.cut_points.clear(),
                Durability::Later => {
                    disk.cut_points.push_back(before);
                    if disk.cut_points.len() > MAX_CUT_POINTS {
                        // Not the first, which is what is safe.
                        disk.cut_points.remove(1);
                    }
                }
            }
        });
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.change(|disk| disk.cut_points.clear());
        Ok(())
    }

    fn checkpoint(&self, _directory: &Path) -> Result<(), StoreError> {
        Err(StoreError::Unsupported { what: "a checkpoint" })
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn clear(&self, family: Family) -> Result<(), StoreError> {
        clear_by_commits(self, family)
    }

    fn announce(&self, tip: Announced) -> Result<(), StoreError> {
        self.change(|disk| disk.announced = Some(tip));
        Ok(())
    }

    fn announced(&self) -> Result<Marker, StoreError> {
        Ok(self.current().announced.map_or(Marker::Absent, Marker::Tip))
    }
}
