//! A store that remembers what was written to it, in order.
//!
//! From that the same entries can be written again by themselves, and every state in which the
//! store ever was be had back: each is what a crash at that moment leaves.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ashlar_ledger::{
    Announced, Batch, Direction, Durability, Family, Marker, MemoryStore, Read, Store, StoreError,
    store::{Entry, KeyRange, clear_by_commits},
};

/// One call that changes what a store holds, or how sure it is.
#[derive(Clone, Debug)]
pub enum Written {
    /// [`Store::commit`].
    Commit(Batch, Durability),
    /// [`Store::sync`].
    Sync,
    /// [`Store::announce`].
    Announce(Announced),
}

/// A store whose writes are kept in memory, once they have succeeded.
#[derive(Debug, Default)]
pub struct Recorder<S> {
    store: Arc<S>,
    written: Mutex<Vec<Written>>,
}

impl<S> Recorder<S> {
    /// Over a store.
    pub const fn new(store: Arc<S>) -> Self {
        Self { store, written: Mutex::new(Vec::new()) }
    }

    /// What was written so far, in order.
    pub fn written(&self) -> Vec<Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, and forgets it.
    pub fn take(&self) -> Vec<Written> {
        std::mem::take(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, written: Written) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(written);
    }
}

/// `start` as it was after each commit of `written`, and whether that commit came to be safe from
/// a power cut before the next one was made.
pub fn states(start: &MemoryStore, written: &[Written]) -> Vec<(MemoryStore, Durability)> {
    let store = start.clone();
    let mut states: Vec<(MemoryStore, Durability)> = Vec::new();
    for written in written {
        let done = match written {
            Written::Commit(batch, durability) => store.commit(batch.clone(), *durability),
            Written::Sync => store.sync(),
            Written::Announce(tip) => store.announce(*tip),
        };
        done.expect("a store in memory takes everything");
        match (written, states.last_mut()) {
            (Written::Commit(_, durability), _) => states.push((store.clone(), *durability)),
            (Written::Sync, Some(last)) => *last = (store.clone(), Durability::Synced),
            (Written::Sync | Written::Announce(_), _) => {}
        }
    }
    states
}

impl<S: Read> Read for Recorder<S> {
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

impl<S: Store> Store for Recorder<S> {
    fn snapshot(&self) -> Arc<dyn Read> {
        self.store.snapshot()
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.store.commit(batch.clone(), durability)?;
        self.note(Written::Commit(batch, durability));
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.store.sync()?;
        self.note(Written::Sync);
        Ok(())
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        self.store.checkpoint(directory)
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        self.store.reclaim()
    }

    /// By commits, so that they are remembered.
    fn clear(&self, family: Family) -> Result<(), StoreError> {
        clear_by_commits(self, family)
    }

    fn announce(&self, tip: Announced) -> Result<(), StoreError> {
        self.store.announce(tip)?;
        self.note(Written::Announce(tip));
        Ok(())
    }

    fn announced(&self) -> Result<Marker, StoreError> {
        self.store.announced()
    }
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::BlockId;

    use super::*;

    fn put(store: &impl Store, key: u8, durability: Durability) {
        let mut batch = Batch::default();
        batch.put(Family::Coins, vec![key], vec![]);
        store.commit(batch, durability).unwrap();
    }

    #[test]
    fn what_was_written_gives_every_state_back() {
        let start = MemoryStore::new();
        put(&start, 0, Durability::Synced);
        let recorder = Recorder::new(Arc::new(start.clone()));
        let tip = Announced { height: 1, id: BlockId([1; 32]) };
        put(&recorder, 1, Durability::Later);
        put(&recorder, 2, Durability::Later);
        recorder.sync().unwrap();
        recorder.announce(tip).unwrap();
        put(&recorder, 3, Durability::Later);
        recorder.clear(Family::Coins).unwrap();

        let states = states(&start, &recorder.written());
        let keys = |state: &MemoryStore| {
            (0..9).filter(|key| state.get(Family::Coins, &[*key]).unwrap().is_some()).count()
        };
        let counted: Vec<_> = states.iter().map(|(state, safe)| (keys(state), *safe)).collect();
        let [later, synced] = [Durability::Later, Durability::Synced];
        assert_eq!(counted, [(2, later), (3, synced), (4, later), (0, later)]);
        assert_eq!(keys(&states[2].0.after_power_cut(9)), 3);
        assert_eq!(states[1].0.announced().unwrap(), Marker::Absent);
        assert_eq!(states[2].0.announced().unwrap(), Marker::Tip(tip));
        assert_eq!(recorder.announced().unwrap(), Marker::Tip(tip));
        assert_eq!(recorder.take().len(), 6);
        assert!(recorder.written().is_empty());
    }
}
