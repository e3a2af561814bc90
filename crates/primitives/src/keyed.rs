//! Hash tables of what strangers choose, looked up for every coin of a block.

use core::hash::BuildHasher;
use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    sync::LazyLock,
};

use foldhash::{
    SharedSeed,
    fast::{FoldHasher, SeedableRandomState},
};

/// A map under a [`Key`] of its own. Its order decides nothing, anywhere.
pub type KeyedMap<K, V> = HashMap<K, V, Key>;

/// A set under a [`Key`] of its own. Its order decides nothing, anywhere.
pub type KeyedSet<K> = HashSet<K, Key>;

/// The secret that one table hashes under: several times as fast as the standard library's hash.
///
/// Nobody can make keys that fall together without knowing it: it is drawn from what the operating
/// system gives the standard library's own tables (the hash by itself would take addresses and the
/// clock), a part of it once for the process and a part for each table.
#[derive(Clone, Debug)]
pub struct Key(SeedableRandomState);

/// The process's part.
static SHARED: LazyLock<SharedSeed> = LazyLock::new(|| SharedSeed::from_u64(random()));

fn random() -> u64 {
    RandomState::new().hash_one(())
}

impl Default for Key {
    /// Another each time.
    fn default() -> Self {
        Self(SeedableRandomState::with_seed(random(), &SHARED))
    }
}

impl BuildHasher for Key {
    type Hasher = FoldHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OutPoint, Txid};

    #[test]
    fn every_table_has_a_key_of_its_own() {
        let outpoint = OutPoint { txid: Txid([1; 32]), index: 2 };
        let hashes: HashSet<u64> = (0..64).map(|_| Key::default().hash_one(outpoint)).collect();
        assert_eq!(hashes.len(), 64);
        let key = Key::default();
        assert_eq!(key.hash_one(outpoint), key.hash_one(outpoint));
        // Each part of an outpoint counts.
        let others =
            [OutPoint { index: 3, ..outpoint }, OutPoint { txid: Txid([2; 32]), ..outpoint }];
        assert!(others.iter().all(|other| key.hash_one(other) != key.hash_one(outpoint)));
    }
}
