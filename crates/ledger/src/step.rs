//! A step: what connecting and disconnecting blocks has changed since the last commit.
//!
//! Reads go to the step first and to the store behind it. A commit empties it in one atomic
//! batch. While a step before it is *frozen*, on its way to the disk (`frozen.rs`), reads go step,
//! frozen, store.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::{CheckedBlock, SpentCoins, UtxoDiff};
use ashlar_primitives::{Coin, CoinList, Encode as _, OutPoint, keyed::Key};
use indexmap::{IndexMap, map::Entry};

use crate::{
    index, keys,
    moves::Way,
    records::IndexRecord,
    store::{Batch, Family, Store, StoreError},
};

/// What a changed coin is taken to weigh in memory and in the batch, in bytes.
const COIN_CHANGE_BYTES: usize = 160;

/// What the rows of the indexes are taken to weigh: those of a coin that comes or goes, and that of
/// a transaction, in bytes.
const COIN_ROWS_BYTES: usize = 160;
const ROW_BYTES: usize = 48;

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
    changes: Changes,
    /// Blocks of which the indexes are to be told, in order.
    indexed: Vec<Indexed>,
    /// The changes of the step before, while they are being written.
    frozen: Option<Arc<Changes>>,
    write_bytes: usize,
    opened_ms: Option<u64>,
}

/// A block of which the indexes are to be told. Nobody reads their rows back from a step, so that
/// they are made where the batch is put together.
#[derive(Debug)]
pub(crate) struct Indexed {
    pub(crate) block: Arc<CheckedBlock>,
    /// What it spent from outside itself.
    pub(crate) undo: SpentCoins,
    /// What it made and did not spend.
    pub(crate) created: CoinList,
    pub(crate) way: Way,
}

impl Indexed {
    /// About the bytes of its rows.
    fn size_bytes(&self) -> usize {
        let coins = self.undo.coins.len().saturating_add(self.created.len());
        let transactions = self.block.transactions().len();
        coins.saturating_mul(COIN_ROWS_BYTES).saturating_add(transactions.saturating_mul(ROW_BYTES))
    }

    fn write(&self, indexes: IndexRecord, batch: &mut Batch) -> Result<(), StoreError> {
        let Self { block, undo, created, way } = self;
        for (family, key, value) in index::rows(block, block.height(), undo, indexes)? {
            batch.writes.push((family, key, (*way == Way::Connect).then_some(value)));
        }
        if indexes.locks {
            let (spent, created) = match way {
                Way::Connect => (&undo.coins, created),
                Way::Disconnect => (created, &undo.coins),
            };
            batch.writes.extend(index::coin_rows(spent, created));
        }
        Ok(())
    }
}

/// A step that ended.
#[derive(Debug)]
pub(crate) struct Full {
    changes: Arc<Changes>,
    indexed: Vec<Indexed>,
}

impl Full {
    /// All of it, in the order of keys.
    pub(crate) fn to_batch(&self, indexes: IndexRecord) -> Result<Batch, StoreError> {
        let mut batch = self.rows(indexes)?;
        batch.sort();
        self.changes.write(&mut batch);
        Ok(batch)
    }

    /// The rows of the indexes, of one key the one that counts last.
    pub(crate) fn rows(&self, indexes: IndexRecord) -> Result<Batch, StoreError> {
        let mut batch = Batch::default();
        for block in &self.indexed {
            block.write(indexes, &mut batch)?;
        }
        Ok(batch)
    }

    /// What is under a key after the step, the indexes apart; `None`: what was there before.
    pub(crate) fn value(&self, family: Family, key: &[u8]) -> Option<Option<Vec<u8>>> {
        if family == Family::Coins {
            let coin = self.changes.coin(&keys::read_coin(key).ok()?)?;
            return Some(coin.map(|coin| coin.to_bytes()));
        }
        self.changes.writes.get(&(family, key.to_vec())).cloned()
    }

    /// [`Full::value`] of all keys of a family that it knows, in no order.
    pub(crate) fn values(&self, family: Family) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let Changes { coins, writes } = &*self.changes;
        if family == Family::Coins {
            let value = |change: &Change| change.coin.map(|coin| coin.to_bytes());
            return coins.iter().map(|(outpoint, it)| (keys::coin(outpoint), value(it))).collect();
        }
        let writes = writes.iter().filter(|((its, _), _)| *its == family);
        writes.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }
}

/// What a step is asked for.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Looked up thousands of times a block, and far larger than a processor's cache: so the table
    /// has places alone. A batch has them in order.
    coins: IndexMap<OutPoint, Change, Key>,
    writes: BTreeMap<(Family, Vec<u8>), Option<Vec<u8>>>,
}

impl Changes {
    /// A coin as it is after these changes; `None`: they do not touch it.
    fn coin(&self, outpoint: &OutPoint) -> Option<Option<Coin>> {
        self.coins.get(outpoint).map(|change| change.coin)
    }

    fn write(&self, batch: &mut Batch) {
        let mut coins: Vec<_> = self.coins.iter().map(|coin| (beginning(coin.0), coin)).collect();
        coins.sort_unstable_by_key(|(beginning, (outpoint, _))| (*beginning, **outpoint));
        batch.writes.reserve(coins.len().saturating_add(self.writes.len()));
        for (_, (outpoint, change)) in coins {
            let value = change.coin.map(|coin| coin.to_bytes());
            batch.writes.push((Family::Coins, keys::coin(outpoint), value));
        }
        for ((family, key), value) in &self.writes {
            batch.writes.push((*family, key.clone(), value.clone()));
        }
    }
}

/// What tells nearly all outpoints apart, at hand where many are put in order.
fn beginning(outpoint: &OutPoint) -> u64 {
    outpoint.txid.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl Step {
    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        let Changes { coins, writes } = &self.changes;
        coins.is_empty() && writes.is_empty() && self.indexed.is_empty()
    }

    /// About how much memory the changes take.
    pub(crate) fn size_bytes(&self) -> usize {
        self.changes.coins.len().saturating_mul(COIN_CHANGE_BYTES).saturating_add(self.write_bytes)
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
        let removed = match self.changes.writes.insert((family, key), value) {
            Some(before) => len(&before),
            None => {
                self.write_bytes = self.write_bytes.saturating_add(key_len);
                0
            }
        };
        self.write_bytes = self.write_bytes.saturating_add(added).saturating_sub(removed);
    }

    /// The indexes are to be told of a block.
    pub(crate) fn index(&mut self, block: Indexed) {
        self.write_bytes = self.write_bytes.saturating_add(block.size_bytes());
        self.indexed.push(block);
    }

    /// Coins made and spent.
    pub(crate) fn apply(&mut self, diff: &UtxoDiff) {
        let coins = &mut self.changes.coins;
        coins.reserve(diff.spent.len().saturating_add(diff.created.len()));
        for outpoint in diff.spent.keys() {
            match coins.entry(*outpoint) {
                // Made since the last commit: the store never hears of it.
                Entry::Occupied(change) if !change.get().is_stored => {
                    change.swap_remove();
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
            coins.entry(*outpoint).or_insert(fresh).coin = Some(*coin);
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
        let frozen = || self.frozen.as_ref().and_then(|frozen| frozen.writes.get(&entry));
        match self.changes.writes.get(&entry).or_else(frozen) {
            Some(value) => Ok(value.clone()),
            None => store.get(family, &entry.1),
        }
    }

    /// What the step says of a coin; `None`: what the store has under its outpoint counts.
    pub(crate) fn coin(&self, outpoint: &OutPoint) -> Option<Option<Coin>> {
        let frozen = || self.frozen.as_ref().and_then(|frozen| frozen.coin(outpoint));
        self.changes.coin(outpoint).or_else(frozen)
    }

    /// Ends here, and begins anew above all changes so far, which are read until [`Step::thaw`].
    /// Nothing is frozen yet.
    pub(crate) fn freeze(&mut self) -> Full {
        let full = self.end();
        self.frozen = Some(Arc::clone(&full.changes));
        full
    }

    /// Ends here, nothing being read from it any more. Nothing is frozen. The next one is likely to
    /// be as large.
    pub(crate) fn end(&mut self) -> Full {
        let Self { changes, indexed, .. } = std::mem::take(self);
        self.changes.coins.reserve(changes.coins.len());
        Full { changes: Arc::new(changes), indexed }
    }

    /// What was frozen is in the store.
    pub(crate) fn thaw(&mut self) {
        self.frozen = None;
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
        assert_eq!([step.coin(&outpoint(1)), step.coin(&outpoint(2))], [Some(None), None]);
        step.apply(&create(1, 7));
        assert_eq!(step.coin(&outpoint(1)), Some(Some(coin(7))));
        step.apply(&spend(1, 7));
        let batch = step.end().to_batch(IndexRecord::default()).unwrap();
        assert_eq!(batch.writes, [(Family::Coins, keys::coin(&outpoint(1)), None)]);
        assert!(step.is_empty() && step.opened_ms().is_none());
    }

    #[test]
    fn a_frozen_step_is_read_until_it_is_stored() {
        let store = MemoryStore::new();
        let mut step = Step::default();
        step.apply(&create(1, 5));
        step.write(Family::Undo, vec![1], Some(vec![2]));
        let full = step.freeze();
        assert!(step.is_empty() && step.size_bytes() == 0);
        assert_eq!(step.coin(&outpoint(1)), Some(Some(coin(5))));
        assert_eq!(step.get(&store, Family::Undo, vec![1]).unwrap(), Some(vec![2]));

        // What the next step spends is deleted after it was stored.
        step.apply(&spend(1, 5));
        assert_eq!(step.coin(&outpoint(1)), Some(None));
        let batch = full.to_batch(IndexRecord::default()).unwrap();
        store.commit(batch, Durability::Synced).unwrap();
        step.thaw();
        assert_eq!(step.get(&store, Family::Undo, vec![1]).unwrap(), Some(vec![2]));
        let batch = step.end().to_batch(IndexRecord::default()).unwrap();
        assert_eq!(batch.writes, [(Family::Coins, keys::coin(&outpoint(1)), None)]);
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
