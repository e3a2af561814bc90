//! A node's disk: a store in memory that can fail as a disk does, and what its operator does then.
//!
//! Damage is met as RocksDB meets it, whose blocks have checksums: a value with a flipped bit is
//! never handed out, it is an error to read it. What no checksum sees is not modelled.

use std::{
    collections::BTreeSet,
    ops::{ControlFlow, RangeBounds as _},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use ashlar_consensus::Genesis;
use ashlar_ledger::{
    Announced, Batch, Direction, Durability, Family, Marker, MemoryStore, Read, Settings, Store,
    StoreError,
    care::{
        CareError,
        reindex::{self, Begun},
    },
    store::{Entry, KeyRange, clear_by_commits},
};

use crate::random::Random;

/// Entries from which one is chosen to be damaged.
const DAMAGEABLE: usize = 4_096;
/// Neighbours that share a checksum.
const SHARE_A_CHECKSUM: usize = 32;
/// A reindex begins again so often at most: it goes on each time, or the bodies are torn.
const MAX_REINDEX_ROUNDS: usize = 8;

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing can be read.
    Unreadable,
    /// Nothing can be written: there is no room.
    Full,
    /// A bit flipped in a file: none of the entries that share its checksum can be read.
    Damaged {
        /// Of this family.
        family: Family,
        /// The first of them, counted round.
        place: usize,
    },
}

impl DiskFault {
    /// Whether a node that met it stops with this error.
    pub const fn explains(self, error: &StoreError) -> bool {
        match self {
            Self::Unreadable | Self::Full => matches!(error, StoreError::Io { .. }),
            Self::Damaged { .. } => matches!(error, StoreError::Corrupt { .. }),
        }
    }
}

/// What is wrong now.
#[derive(Debug, Default)]
struct Trouble {
    /// Looked at first, since nearly always nothing is.
    is_any: AtomicBool,
    details: Mutex<Details>,
}

#[derive(Clone, Debug, Default)]
struct Details {
    unreadable: bool,
    full: bool,
    damaged: BTreeSet<(Family, Vec<u8>)>,
}

impl Trouble {
    fn details(&self) -> MutexGuard<'_, Details> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, details: Details) {
        self.is_any.store(true, Relaxed);
        *self.details() = details;
    }

    /// Whether a family may be read where `touches` says whether a key would be.
    fn reads(&self, family: Family, touches: impl Fn(&[u8]) -> bool) -> Result<(), StoreError> {
        if !self.is_any.load(Relaxed) {
            return Ok(());
        }
        let details = self.details();
        if details.unreadable {
            return Err(io("reading", "the device does not answer"));
        }
        let mut damaged = details.damaged.iter();
        match damaged.any(|(of, key)| *of == family && touches(key)) {
            true => {
                let what = format!("checksum mismatch in {}", family.name());
                Err(StoreError::Corrupt { what })
            }
            false => Ok(()),
        }
    }

    fn writes(&self) -> Result<(), StoreError> {
        match self.is_any.load(Relaxed) && self.details().full {
            true => Err(io("writing", "no space left on device")),
            false => Ok(()),
        }
    }

    /// What is written anew is whole again.
    fn heal(&self, is_gone: impl Fn(Family, &[u8]) -> bool) {
        if self.is_any.load(Relaxed) {
            self.details().damaged.retain(|(family, key)| !is_gone(*family, key));
        }
    }
}

fn io(doing: &'static str, message: &str) -> StoreError {
    StoreError::Io { doing, message: message.to_owned() }
}

/// What a node keeps, or a picture of its content (of a `dyn Read`), which is read from the same
/// disk. Clones are the same disk's.
#[derive(Clone, Debug, Default)]
pub struct Disk<S: ?Sized = MemoryStore> {
    store: Arc<S>,
    trouble: Arc<Trouble>,
}

impl Disk {
    /// See [`MemoryStore::after_power_cut`].
    #[must_use]
    pub fn after_power_cut(&self, lost: usize) -> Self {
        Self { store: Arc::new(self.store.after_power_cut(lost)), trouble: Arc::default() }
    }

    /// Something goes wrong with it. Damage strikes nothing where there is nothing.
    ///
    /// # Errors
    /// None from a disk that nothing was wrong with.
    pub fn fails(&self, fault: DiskFault) -> Result<(), StoreError> {
        let mut details = Details::default();
        match fault {
            DiskFault::Unreadable => details.unreadable = true,
            DiskFault::Full => details.full = true,
            DiskFault::Damaged { family, place } => {
                let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
                let entries = self.store.scan(family, all, DAMAGEABLE, Direction::Forward)?;
                let place = place.checked_rem(entries.len());
                let hit = entries.into_iter().skip(place.unwrap_or(0)).take(SHARE_A_CHECKSUM);
                details.damaged = hit.map(|(key, _)| (family, key)).collect();
            }
        }
        self.trouble.set(details);
        Ok(())
    }

    /// Whether there is damage that nobody has met, or that nothing was done about.
    pub fn is_damaged(&self) -> bool {
        !self.trouble.details().damaged.is_empty()
    }

    /// It has room again, or another cable.
    pub fn recovers(&self) {
        self.trouble.set(Details::default());
    }

    /// What an operator does about damaged data: makes all anew from the stored blocks, as
    /// `ashlar-node reindex` does. Returns how many bodies were lost.
    ///
    /// # Errors
    /// What is left to do then is to begin with an empty disk.
    pub fn reindex(
        &self,
        genesis: &Genesis,
        settings: Settings,
        random: &mut Random,
    ) -> Result<u64, CareError> {
        let watch = &mut |_| ControlFlow::Continue(());
        let mut lost = 0;
        let store = Arc::new(self.clone());
        for _ in 0..MAX_REINDEX_ROUNDS {
            match reindex::begin(&*store, genesis)? {
                Begun::Empty(families) => {
                    families.into_iter().try_for_each(|family| store.clear(family))?;
                    lost += reindex::prepare(&*store, genesis, watch)?.lost.number;
                }
                Begun::GoesOn => {
                    reindex::connect(&store, genesis, settings, random, watch)?;
                    return Ok(lost);
                }
            }
        }
        Err(CareError::Interrupted)
    }
}

impl<S: Read + ?Sized> Read for Disk<S> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.trouble.reads(family, |damaged| damaged == key)?;
        self.store.get(family, key)
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.trouble.reads(family, |damaged| keys.iter().any(|key| key == damaged))?;
        self.store.get_many(family, keys)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        let entries = self.store.scan(family, range, limit, direction)?;
        // Of a full page, what lies beyond its last entry was not read.
        let last = entries.last().filter(|_| entries.len() == limit).map(|(key, _)| key.as_slice());
        self.trouble.reads(family, |damaged| {
            let is_reached = last.is_none_or(|last| match direction {
                Direction::Forward => damaged <= last,
                Direction::Backward => damaged >= last,
            });
            range.contains(damaged) && is_reached
        })?;
        Ok(entries)
    }
}

impl Store for Disk {
    fn snapshot(&self) -> Arc<dyn Read> {
        let (store, trouble) = (self.store.snapshot(), Arc::clone(&self.trouble));
        Arc::new(Disk::<dyn Read> { store, trouble })
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.trouble.writes()?;
        self.trouble.heal(|family, key| {
            batch.writes.iter().any(|(of, written, _)| *of == family && written == key)
        });
        self.store.commit(batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.trouble.writes()?;
        self.store.sync()
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        self.store.checkpoint(directory)
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        self.store.reclaim()
    }

    fn clear(&self, family: Family) -> Result<(), StoreError> {
        self.trouble.writes()?;
        // A whole family goes without being read.
        self.trouble.heal(|of, _| of == family);
        clear_by_commits(self, family)
    }

    fn announce(&self, tip: Announced) -> Result<(), StoreError> {
        self.trouble.writes()?;
        self.store.announce(tip)
    }

    fn announced(&self) -> Result<Marker, StoreError> {
        self.store.announced()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u8 = 4;

    fn disk() -> Disk {
        let disk = Disk::default();
        (0..KEYS).for_each(|key| put(&disk, key).unwrap());
        disk
    }

    fn put(disk: &Disk, key: u8) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(Family::Coins, vec![key], vec![key]);
        disk.commit(batch, Durability::Later)
    }

    fn page(disk: &dyn Read, limit: usize, direction: Direction) -> Result<usize, StoreError> {
        let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        disk.scan(Family::Coins, all, limit, direction).map(|entries| entries.len())
    }

    #[test]
    fn a_full_disk_can_be_read_and_an_unreadable_one_written() {
        let disk = disk();
        let picture = disk.snapshot();
        disk.fails(DiskFault::Full).unwrap();
        let error = put(&disk, 9).unwrap_err();
        assert!(DiskFault::Full.explains(&error), "{error}");
        assert_eq!(disk.get(Family::Coins, &[1]).unwrap(), Some(vec![1]));
        disk.recovers();
        disk.fails(DiskFault::Unreadable).unwrap();
        put(&disk, 9).unwrap();
        assert!(disk.get(Family::Coins, &[9]).is_err());
        assert!(picture.get(Family::Coins, &[1]).is_err());
        disk.recovers();
        assert_eq!(disk.get(Family::Coins, &[9]).unwrap(), Some(vec![9]));
    }

    #[test]
    fn damage_is_met_by_whoever_reads_it_and_by_nobody_else() {
        let disk = disk();
        // The last of them, which shares its checksum with nobody.
        let fault = DiskFault::Damaged { family: Family::Coins, place: 3 + usize::from(KEYS) };
        disk.fails(fault).unwrap();
        assert!(disk.is_damaged());
        let error = disk.get(Family::Coins, &[3]).unwrap_err();
        assert!(fault.explains(&error) && !DiskFault::Full.explains(&error), "{error}");
        assert!(disk.get_many(Family::Coins, &[vec![2], vec![3]]).is_err());
        assert!(disk.snapshot().get(Family::Coins, &[3]).is_err());
        assert_eq!(disk.get(Family::Coins, &[2]).unwrap(), Some(vec![2]));
        assert_eq!(disk.get(Family::Undo, &[3]).unwrap(), None);
        assert_eq!(page(&disk, 3, Direction::Forward).unwrap(), 3);
        assert!(page(&disk, 4, Direction::Forward).is_err());
        put(&disk, 9).unwrap();
        assert_eq!(page(&disk, 1, Direction::Backward).unwrap(), 1);
        assert!(page(&disk, 2, Direction::Backward).is_err());
        put(&disk, 3).unwrap();
        assert_eq!(disk.get(Family::Coins, &[3]).unwrap(), Some(vec![3]));
        assert!(!disk.is_damaged());
    }
}
