//! A step: what connecting and disconnecting blocks has changed since the last commit.
//!
//! Reads go to the step first and to the store behind it. A commit empties it in one atomic
//! batch. There is room here for a second, frozen step that a writer thread commits while the
//! next one fills: reads would then go step, frozen, store; nothing outside this module and the
//! ledger's `commit` would know.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use ashlar_consensus::UtxoDiff;
use ashlar_primitives::{Coin, Encode as _, OutPoint};

use crate::{
    keys, records,
    store::{Batch, Family, Read, Store, StoreError},
};

/// What a changed coin is taken to weigh in memory and in the batch, in bytes.
const COIN_CHANGE_BYTES: usize = 160;

/// A coin that differs from the store.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// `None`: spent.
    coin: Option<Coin>,
    /// Whether the store has a coin under this outpoint, which must be deleted or replaced.
    is_stored: bool,
}

/// Changes that are not yet on disk.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Looked up thousands of times a block; [`Step::drain`] puts them in order.
    coins: HashMap<OutPoint, Change>,
    writes: BTreeMap<(Family, Vec<u8>), Option<Vec<u8>>>,
    /// Rows that nobody reads back from a step, in the order in which they were made.
    rows: Vec<(Family, Vec<u8>, Option<Vec<u8>>)>,
    write_bytes: usize,
    opened_ms: Option<u64>,
}

impl Step {
    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.coins.is_empty() && self.writes.is_empty() && self.rows.is_empty()
    }

    /// About how much memory the changes take.
    pub(crate) fn size_bytes(&self) -> usize {
        self.coins.len().saturating_mul(COIN_CHANGE_BYTES).saturating_add(self.write_bytes)
    }

    /// When its first change was made; `None` while it is empty.
    pub(crate) const fn opened_ms(&self) -> Option<u64> {
        self.opened_ms
    }

    /// A change is coming.
    pub(crate) fn open(&mut self, now_ms: u64) {
        self.opened_ms.get_or_insert(now_ms);
    }

    /// Later writes of one key win.
    pub(crate) fn write(&mut self, family: Family, key: Vec<u8>, value: Option<Vec<u8>>) {
        let len = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        let key_len = key.len();
        let added = len(&value);
        let removed = match self.writes.insert((family, key), value) {
            Some(before) => len(&before),
            None => {
                self.write_bytes = self.write_bytes.saturating_add(key_len);
                0
            }
        };
        self.write_bytes = self.write_bytes.saturating_add(added).saturating_sub(removed);
    }

    /// A row of an index: as [`Step::write`], but [`Step::get`] does not see it.
    pub(crate) fn write_row(&mut self, family: Family, key: Vec<u8>, value: Option<Vec<u8>>) {
        let added = key.len().saturating_add(value.as_ref().map_or(0, Vec::len));
        self.write_bytes = self.write_bytes.saturating_add(added);
        self.rows.push((family, key, value));
    }

    /// Coins made and spent.
    pub(crate) fn apply(&mut self, diff: &UtxoDiff) {
        self.coins.reserve(diff.spent.len().saturating_add(diff.created.len()));
        for outpoint in diff.spent.keys() {
            match self.coins.entry(*outpoint) {
                // Made since the last commit: the store never hears of it.
                Entry::Occupied(change) if !change.get().is_stored => {
                    change.remove();
                }
                Entry::Occupied(mut change) => change.get_mut().coin = None,
                Entry::Vacant(place) => {
                    place.insert(Change { coin: None, is_stored: true });
                }
            }
        }
        for (outpoint, coin) in &diff.created {
            // What comes back after it was spent need not be the same: the same transaction may
            // stand at another height on another branch.
            let fresh = Change { coin: None, is_stored: false };
            self.coins.entry(*outpoint).or_insert(fresh).coin = Some(*coin);
        }
    }

    /// A value as it is after the step.
    pub(crate) fn get(
        &self,
        store: &impl Store,
        family: Family,
        key: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let entry = (family, key);
        match self.writes.get(&entry) {
            Some(value) => Ok(value.clone()),
            None => store.get(family, &entry.1),
        }
    }

    /// Those of `outpoints` (sorted) that name unspent coins after the step.
    pub(crate) fn coins(
        &self,
        store: &(impl Read + ?Sized),
        outpoints: &[OutPoint],
    ) -> Result<BTreeMap<OutPoint, Coin>, StoreError> {
        let mut found = Vec::with_capacity(outpoints.len());
        let mut asked = Vec::new();
        for outpoint in outpoints {
            match self.coins.get(outpoint) {
                Some(change) => found.extend(change.coin.map(|coin| (*outpoint, coin))),
                None => asked.push(*outpoint),
            }
        }
        let keys: Vec<Vec<u8>> = asked.iter().map(keys::coin).collect();
        for (outpoint, value) in asked.into_iter().zip(store.get_many(Family::Coins, &keys)?) {
            if let Some(value) = value {
                found.push((outpoint, records::read_coin(&value)?));
            }
        }
        // Of what is nearly in order, a map is made in one go.
        Ok(found.into_iter().collect())
    }

    /// Moves all changes to a batch.
    pub(crate) fn drain(&mut self, batch: &mut Batch) {
        let step = std::mem::take(self);
        let mut coins: Vec<_> = step.coins.into_iter().collect();
        coins.sort_unstable_by_key(|(outpoint, _)| *outpoint);
        batch.writes.reserve(coins.len().saturating_add(step.rows.len()));
        for (outpoint, change) in coins {
            let value = change.coin.map(|coin| coin.to_bytes());
            batch.writes.push((Family::Coins, keys::coin(&outpoint), value));
        }
        for ((family, key), value) in step.writes {
            batch.writes.push((family, key, value));
        }
        batch.writes.extend(step.rows);
    }
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::{Amount, Lock, Output, Txid};

    use super::*;
    use crate::{MemoryStore, store::Durability};

    fn outpoint(name: u8) -> OutPoint {
        OutPoint { txid: Txid([name; 32]), index: 0 }
    }

    fn coin(height: u32) -> Coin {
        let lock = Lock { version: 0, program: [0; 32] };
        let output = Output { value: Amount::from_grains(1), lock };
        Coin { output, height, is_coinbase: false }
    }

    fn spend(name: u8, height: u32) -> UtxoDiff {
        UtxoDiff { spent: [(outpoint(name), coin(height))].into(), ..UtxoDiff::default() }
    }

    fn create(name: u8, height: u32) -> UtxoDiff {
        spend(name, height).reversed()
    }

    #[test]
    fn what_comes_and_goes_leaves_no_write() {
        let store = MemoryStore::new();
        let mut batch = Batch::default();
        batch.put(Family::Coins, keys::coin(&outpoint(1)), coin(1).to_bytes());
        store.commit(batch, Durability::Later).unwrap();

        let mut step = Step::default();
        step.apply(&create(2, 5));
        step.apply(&spend(2, 5));
        assert!(step.is_empty());

        // The stored coin leaves with one branch and comes back at another height.
        step.apply(&spend(1, 1));
        assert!(step.coins(&store, &[outpoint(1), outpoint(2)]).unwrap().is_empty());
        step.apply(&create(1, 7));
        assert_eq!(step.coins(&store, &[outpoint(1)]).unwrap(), [(outpoint(1), coin(7))].into());
        step.apply(&spend(1, 7));
        let mut batch = Batch::default();
        step.drain(&mut batch);
        assert_eq!(batch.writes, [(Family::Coins, keys::coin(&outpoint(1)), None)]);
        assert!(step.is_empty() && step.opened_ms().is_none());
    }

    #[test]
    fn size_counts_what_is_held() {
        let mut step = Step::default();
        step.write(Family::Undo, vec![0; 10], Some(vec![0; 90]));
        assert_eq!(step.size_bytes(), 100);
        step.write(Family::Undo, vec![0; 10], Some(vec![0; 40]));
        assert_eq!(step.size_bytes(), 50);
        step.write(Family::Undo, vec![0; 10], None);
        assert_eq!(step.size_bytes(), 10);
        let store = MemoryStore::new();
        assert_eq!(step.get(&store, Family::Undo, vec![0; 10]).unwrap(), None);
    }
}
