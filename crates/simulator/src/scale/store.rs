//! A store that is shared where its content is the same.
//!
//! Ten thousand nodes of one chain hold nearly the same records, but each writes them by itself,
//! and not in the same order: copies of one store drift apart. So each family knows a digest of
//! its *content*, a sum over its entries, which does not depend on the order of writing; whoever
//! arrives at a content that another store had before takes that one's map instead of a new one.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use ashlar_ledger::{
    memory::is_empty_range,
    store::{
        Announced, Batch, Direction, Durability, Entry, Family, KeyRange, Marker, Read, Store,
        StoreError, clear_by_commits,
    },
};
use imbl::OrdMap;

/// How many contents are remembered, over all families: the last ones of a net. What is forgotten
/// goes on to live in the stores that hold it, and is no longer found by others.
const MAX_CONTENTS: usize = 16_384;

type Map = OrdMap<Arc<[u8]>, Arc<[u8]>>;

/// Records of a family, and the sum of the digests of all of them.
#[derive(Clone, Default)]
struct Content {
    map: Map,
    digest: u128,
}

/// All families at one moment.
#[derive(Clone, Default)]
struct Families([Content; Family::ALL.len()]);

/// The contents that stores of one net had lately.
#[derive(Default)]
pub struct Pool {
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// Never iterated.
    maps: HashMap<(Family, u128), Map>,
    order: VecDeque<(Family, u128)>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} contents)", self.shelf().order.len())
    }
}

impl Pool {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, family: Family, digest: u128) -> Option<Map> {
        self.shelf().maps.get(&(family, digest)).cloned()
    }

    fn keep(&self, family: Family, content: &Content) {
        let place = (family, content.digest);
        let mut shelf = self.shelf();
        if shelf.maps.insert(place, content.map.clone()).is_none() {
            shelf.order.push_back(place);
        }
        if shelf.order.len() > MAX_CONTENTS
            && let Some(oldest) = shelf.order.pop_front()
        {
            shelf.maps.remove(&oldest);
        }
    }
}

/// A store in memory that survives nothing; every commit counts as synced.
pub struct SharedStore {
    families: RwLock<Families>,
    announced: Mutex<Option<Announced>>,
    /// `None`: shares with nobody.
    pool: Option<Arc<Pool>>,
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<usize> = self.current().0.iter().map(|content| content.map.len()).collect();
        write!(f, "SharedStore({sizes:?})")
    }
}

/// What an entry adds to its family's digest: 128 bits, so that contents that differ are told
/// apart in any world that nobody makes on purpose.
fn entry_digest(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(value);
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    u128::from_le_bytes(digest)
}

impl SharedStore {
    /// An empty store.
    pub fn new(pool: Option<Arc<Pool>>) -> Self {
        Self { families: RwLock::default(), announced: Mutex::default(), pool }
    }

    /// A store of its own with the same content as this one.
    #[must_use]
    pub fn copy(&self, pool: Option<Arc<Pool>>) -> Self {
        Self {
            families: RwLock::new(self.current().clone()),
            announced: Mutex::new(*self.marker()),
            pool,
        }
    }

    fn current(&self) -> RwLockReadGuard<'_, Families> {
        self.families.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn marker(&self) -> MutexGuard<'_, Option<Announced>> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    /// This content after some writes, each key once.
    fn after(
        &self,
        family: Family,
        writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
        pool: Option<&Pool>,
    ) -> Self {
        let digest = writes.iter().fold(self.digest, |digest, (key, value)| {
            let was = self.map.get(key.as_slice()).map_or(0, |old| entry_digest(key, old));
            let is = value.as_ref().map_or(0, |new| entry_digest(key, new));
            digest.wrapping_sub(was).wrapping_add(is)
        });
        if let Some(map) = pool.and_then(|pool| pool.find(family, digest)) {
            return Self { map, digest };
        }
        let mut map = self.map.clone();
        for (key, value) in writes {
            match value {
                Some(value) => map.insert(key.into(), value.into()),
                None => map.remove(key.as_slice()),
            };
        }
        let content = Self { map, digest };
        if let Some(pool) = pool {
            pool.keep(family, &content);
        }
        content
    }
}

impl Read for Families {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0[family as usize].map.get(key).map(|value| value.to_vec()))
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
        let entries = self.0[family as usize].map.range::<KeyRange<'_>, [u8]>(range);
        Ok(match direction {
            Direction::Forward => entries.take(limit).map(owned).collect(),
            Direction::Backward => entries.rev().take(limit).map(owned).collect(),
        })
    }
}

impl Read for SharedStore {
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

impl Store for SharedStore {
    fn snapshot(&self) -> Arc<dyn Read> {
        Arc::new(self.current().clone())
    }

    fn commit(&self, batch: Batch, _durability: Durability) -> Result<(), StoreError> {
        let mut writes: BTreeMap<Family, BTreeMap<Vec<u8>, Option<Vec<u8>>>> = BTreeMap::new();
        for (family, key, value) in batch.writes {
            // Later writes of one key win.
            writes.entry(family).or_default().insert(key, value);
        }
        let mut next = self.current().clone();
        for (family, writes) in writes {
            let content = &mut next.0[family as usize];
            *content = content.after(family, writes, self.pool.as_deref());
        }
        *self.families.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
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
        *self.marker() = Some(tip);
        Ok(())
    }

    fn announced(&self) -> Result<Marker, StoreError> {
        Ok(self.marker().map_or(Marker::Absent, Marker::Tip))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn put(store: &SharedStore, entries: &[(&[u8], &[u8])]) {
        let mut batch = Batch::default();
        for (key, value) in entries {
            batch.put(Family::Coins, key.to_vec(), value.to_vec());
        }
        store.commit(batch, Durability::Later).unwrap();
    }

    fn shares(a: &SharedStore, b: &SharedStore) -> bool {
        a.current().0[Family::Coins as usize].map.ptr_eq(&b.current().0[Family::Coins as usize].map)
    }

    #[test]
    fn the_same_content_is_shared_however_it_came_about() {
        let pool = Arc::new(Pool::default());
        let store = || SharedStore::new(Some(Arc::clone(&pool)));
        let (a, b) = (store(), store());
        put(&a, &[(b"1", b"x"), (b"2", b"y")]);
        put(&b, &[(b"2", b"z")]);
        assert!(!shares(&a, &b));
        put(&b, &[(b"1", b"x")]);
        put(&b, &[(b"2", b"y")]);
        assert!(shares(&a, &b));
        let mut batch = Batch::default();
        batch.delete(Family::Coins, b"1".to_vec());
        b.commit(batch, Durability::Synced).unwrap();
        assert_eq!(b.get(Family::Coins, b"1").unwrap(), None);
        assert_eq!(a.get(Family::Coins, b"1").unwrap().unwrap(), b"x");
        put(&b, &[(b"1", b"x")]);
        assert!(shares(&a, &b));
    }

    #[test]
    fn who_shares_with_nobody_reads_the_same() {
        let alone = SharedStore::new(None);
        put(&alone, &[(b"1", b"x"), (b"1", b"y")]);
        let copy = alone.copy(None);
        assert!(shares(&alone, &copy));
        put(&alone, &[(b"2", b"z")]);
        assert_eq!(copy.get(Family::Coins, b"2").unwrap(), None);
        assert_eq!(alone.get(Family::Coins, b"1").unwrap().unwrap(), b"y");
    }
}
