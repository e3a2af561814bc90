//! The boundary to storage. Synchronous, ordered keys, atomic batches.

use std::{ops::Bound, path::Path, sync::Arc};

use thiserror::Error;

/// Where a record lives (docs/architecture.md, "Storage").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family { Headers, Blocks, Undo, Coins, Heights, Tips, Transactions, LockCoins, LockHistory, Meta }

impl Family {
    pub const ALL: [Self; 10] = [Self::Headers, Self::Blocks, Self::Undo, Self::Coins, Self::Heights, Self::Tips, Self::Transactions, Self::LockCoins, Self::LockHistory, Self::Meta];
    /// The column family's name on disk.
    pub const fn name(self) -> &'static str { todo!() }
}

/// *We* are broken: the node stops with this message. Never "not found".
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The disk or RocksDB refused.
    #[error("storage failed while {doing}: {message}; the node stops. Check the disk (space, health, permissions), then start again")]
    Io { doing: &'static str, message: String },
    /// What was read is not what was written.
    #[error("stored data is damaged: {what}; the node stops. Restore a backup, or remove the data directory and sync again")]
    Corrupt { what: String },
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction { Forward, Backward }

/// How sure a commit is when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability { /// Survives a power cut.
    Synced, /// Survives a killed process; a power cut may lose the newest ones, never a middle one.
    Later }

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Reading, from the live store or a snapshot.
pub trait Read: Send + Sync {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// `keys` sorted; answers in the same order.
    fn get_many(&self, family: Family, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
    /// At most `limit` entries of the range, in key order or against it.
    fn scan(&self, family: Family, range: (Bound<&[u8]>, Bound<&[u8]>), limit: usize, direction: Direction) -> Result<Vec<Entry>, StoreError>;
}

/// Writes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch { pub writes: Vec<(Family, Vec<u8>, Option<Vec<u8>>)> }

impl Batch {
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) { self.writes.push((family, key, Some(value))); }
    pub fn delete(&mut self, family: Family, key: Vec<u8>) { self.writes.push((family, key, None)); }
    /// Approximate size of what is written.
    pub fn size_bytes(&self) -> usize { self.writes.iter().map(|(_, k, v)| k.len() + v.as_ref().map_or(0, Vec::len)).sum() }
}

/// A store of ordered keys.
pub trait Store: Read + 'static {
    /// A consistent picture of this moment, unaffected by later commits.
    fn snapshot(&self) -> Arc<dyn Read>;
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError>;
    /// Makes all earlier commits survive a power cut.
    fn sync(&self) -> Result<(), StoreError>;
    /// A copy of the present state as a directory of its own.
    fn checkpoint(&self, directory: &Path) -> Result<(), StoreError>;
}
