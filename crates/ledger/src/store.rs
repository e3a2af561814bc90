//! The boundary to storage: synchronous, ordered keys, atomic batches, snapshots.
//!
//! The ledger asks nothing else of a disk. [`crate::MemoryStore`] and `RocksStore` keep the same
//! contract, and the same tests run on both.

use std::{ops::Bound, path::Path, sync::Arc};

use ashlar_primitives::BlockId;
use thiserror::Error;

/// Where a record lives (docs/architecture.md, "Storage"): one column family each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Block id → header and what the tree knows of it.
    Headers,
    /// Block id → the block's protocol encoding.
    Blocks,
    /// Block id → the coins that it spent.
    Undo,
    /// Outpoint → coin, unspent at the stored tip.
    Coins,
    /// Height → block id on the best chain.
    Heights,
    /// Ids of headers without children.
    Tips,
    /// Txid → where it was confirmed (an index, may be off).
    Transactions,
    /// Lock ‖ outpoint of unspent coins (an index, may be off).
    LockCoins,
    /// Lock ‖ height ‖ position → what happened (an index, may be off).
    LockHistory,
    /// Schema, chain, tip, counters.
    Meta,
}

impl Family {
    /// Every family, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Headers,
        Self::Blocks,
        Self::Undo,
        Self::Coins,
        Self::Heights,
        Self::Tips,
        Self::Transactions,
        Self::LockCoins,
        Self::LockHistory,
        Self::Meta,
    ];

    /// The column family's name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Blocks => "blocks",
            Self::Undo => "undo",
            Self::Coins => "coins",
            Self::Heights => "heights",
            Self::Tips => "tips",
            Self::Transactions => "transactions",
            Self::LockCoins => "lock_coins",
            Self::LockHistory => "lock_history",
            Self::Meta => "meta",
        }
    }
}

/// *We* are broken: the node stops with this message. Never "not found", never a verdict.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The disk or the database refused.
    #[error(
        "storage failed while {doing}: {message}; the node stops. Check the disk (space, health, permissions), then start again"
    )]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// In the words of the system.
        message: String,
    },
    /// What was read is not what was written.
    #[error(
        "stored data is damaged: {what}; the node stops. `ashlar-node check` finds what is wrong, `ashlar-node reindex` makes everything again from stored blocks; where those are damaged too, restore a backup, or remove the ledger's directory and sync again"
    )]
    Corrupt {
        /// Which record, and what is wrong with it.
        what: String,
    },
    /// The database is there and does not open.
    #[error(
        "the database in {directory} does not open: {message}. Where the disk has room and may be read, its files are damaged: restore a backup, or remove that directory and sync again"
    )]
    Unopenable {
        /// Of the database.
        directory: String,
        /// In the words of RocksDB.
        message: String,
    },
    /// Another process works on the same files.
    #[error(
        "this data directory is in use by another ashlar-node: {directory}; stop that one, or choose another directory"
    )]
    InUse {
        /// The data directory.
        directory: String,
    },
    /// A branch with more work leaves the chain below what this pruned node keeps, so that there
    /// is no way to it. Says nothing about that branch, and marks nothing.
    #[error(
        "a branch with more work leaves this chain at block {fork_height}, and this pruned node keeps blocks from {history_start} on only, so it can't follow; the node stops. Nothing is damaged, but this chain is not the best one any more: remove the data directory and sync again, with a larger --prune or without it"
    )]
    BelowHistory {
        /// The last block that both have.
        fork_height: u32,
        /// The lowest block that is kept.
        history_start: u32,
    },
    /// This kind of store can't do that.
    #[error("{what} is not possible on a store in memory")]
    Unsupported {
        /// What was asked.
        what: &'static str,
    },
}

impl StoreError {
    /// A record that is not what was written.
    pub(crate) fn corrupt(what: impl core::fmt::Display) -> Self {
        Self::Corrupt { what: what.to_string() }
    }
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// In key order.
    Forward,
    /// Against it.
    Backward,
}

/// How sure a commit is when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power cut.
    Synced,
    /// Survives a killed process; a power cut may lose the newest ones, never a middle one.
    Later,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The range of keys that a scan covers.
pub type KeyRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Reading, from the live store or a snapshot. Errors: [`StoreError::Io`], [`StoreError::Corrupt`].
pub trait Read: Send + Sync {
    /// The value under a key, `None` where there is none.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// `keys` sorted; answers in the same order.
    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
    /// At most `limit` entries of the range, in key order or against it.
    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError>;
}

/// Writes that happen together or not at all. Later writes of one key win.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Family, key, and the value or `None` to delete.
    pub writes: Vec<(Family, Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Sets a value.
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.writes.push((family, key, Some(value)));
    }
    /// Removes a value, whether there or not.
    pub fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.writes.push((family, key, None));
    }
    /// Puts the writes in the order of their keys, or nearly: a database takes neighbours several
    /// times as fast as what lies scattered. Those of one key stay in their order.
    pub(crate) fn sort(&mut self) {
        // By the beginning alone: hashes differ there.
        let beginning = |key: &[u8]| {
            let mut bytes = [0; size_of::<u128>()];
            bytes.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
            u128::from_be_bytes(bytes)
        };
        self.writes.sort_by_cached_key(|(family, key, _)| (*family, beginning(key)));
    }
    /// Bytes of keys and values written.
    pub fn size_bytes(&self) -> usize {
        self.writes
            .iter()
            .map(|(_, key, value)| key.len() + value.as_ref().map_or(0, Vec::len))
            .sum()
    }
    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// How many entries [`clear_by_commits`] deletes in one batch.
const CLEAR_BATCH_ENTRIES: usize = 16_384;

/// A tip that others were told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its height.
    pub height: u32,
    /// Itself.
    pub id: BlockId,
}

/// What a store says of the tip that was announced last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// None was.
    Absent,
    /// This one.
    Tip(Announced),
    /// There is a marker, and it can't be read.
    Damaged,
}

/// A store of ordered keys.
pub trait Store: Read + 'static {
    /// A consistent picture of this moment, unaffected by later commits.
    fn snapshot(&self) -> Arc<dyn Read>;
    /// Writes all of `batch` or nothing. Batches survive in the order of their commits: what a
    /// power cut loses is a tail.
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError>;
    /// Whether a commit may take so long that a thread of its own should wait for it. Simulated
    /// time knows no threads: only what really writes to a disk says so.
    fn writes_slowly(&self) -> bool {
        false
    }
    /// Makes all earlier commits survive a power cut.
    fn sync(&self) -> Result<(), StoreError>;
    /// A [`Store::sync`] will follow soon: begins with it, where it can, without waiting. What goes
    /// wrong that sync tells.
    fn start_sync(&self) {}
    /// A copy of the present state as a directory of its own, which must not exist yet.
    fn checkpoint(&self, directory: &Path) -> Result<(), StoreError>;
    /// Much was deleted: a hint to give the room back to the system soon, without waiting for it.
    fn reclaim(&self) -> Result<(), StoreError>;
    /// Removes everything of a family. Not atomic: a crash may leave a part.
    fn clear(&self, family: Family) -> Result<(), StoreError>;
    /// Remembers, apart from all families, the tip that others are now told of; survives a power
    /// cut when it returns. A database that damage threw back to an older state does not know what
    /// it lost: this tells.
    fn announce(&self, tip: Announced) -> Result<(), StoreError>;
    /// What was announced last. Damage of the marker itself is no error.
    fn announced(&self) -> Result<Marker, StoreError>;
}

/// A [`Store::clear`] in ordinary commits, for stores that have no shorter way.
///
/// # Errors
/// Those of scanning and committing.
pub fn clear_by_commits(store: &impl Store, family: Family) -> Result<(), StoreError> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    loop {
        let entries = store.scan(family, all, CLEAR_BATCH_ENTRIES, Direction::Forward)?;
        if entries.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for (key, _) in entries {
            batch.delete(family, key);
        }
        store.commit(batch, Durability::Later)?;
    }
}
