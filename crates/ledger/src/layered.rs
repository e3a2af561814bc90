//! What readers see between a tip that was told and the end of its writing: the step above the
//! store.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, OnceLock},
};

use crate::{
    memory::is_empty_range,
    records::IndexRecord,
    step::Full,
    store::{Batch, Direction, Entry, Family, KeyRange, Read, StoreError},
};

/// Keys with what is under them now; `None`: nothing any more.
type Above = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What each index gains and loses.
type Rows = BTreeMap<Family, Above>;

/// A step that is not yet in the store, above a snapshot that is without it.
pub(crate) struct Layered {
    full: Arc<Full>,
    indexes: IndexRecord,
    /// Made when first asked for, since hardly anybody asks in so short a time.
    rows: OnceLock<Result<Rows, StoreError>>,
    below: Arc<dyn Read>,
}

impl Layered {
    pub(crate) const fn new(full: Arc<Full>, indexes: IndexRecord, below: Arc<dyn Read>) -> Self {
        Self { full, indexes, rows: OnceLock::new(), below }
    }

    fn rows(&self, family: Family) -> Result<Option<&Above>, StoreError> {
        let rows = self.rows.get_or_init(|| self.full.rows(self.indexes).map(in_order));
        rows.as_ref().map(|rows| rows.get(&family)).map_err(Clone::clone)
    }

    /// `None`: the step says nothing of this key.
    fn above(&self, family: Family, key: &[u8]) -> Result<Option<Option<Vec<u8>>>, StoreError> {
        Ok(match is_index(family) {
            true => self.rows(family)?.and_then(|rows| rows.get(key)).cloned(),
            false => self.full.value(family, key),
        })
    }
}

/// Of one key the last row counts.
fn in_order(rows: Batch) -> Rows {
    let mut sorted = Rows::new();
    for (family, key, value) in rows.writes {
        sorted.entry(family).or_default().insert(key, value);
    }
    sorted
}

/// Whether a step has the family's changes as rows.
const fn is_index(family: Family) -> bool {
    matches!(family, Family::Transactions | Family::LockCoins | Family::LockHistory)
}

impl Read for Layered {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.above(family, key)? {
            Some(value) => Ok(value),
            None => self.below.get(family, key),
        }
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let above = keys.iter().map(|key| self.above(family, key));
        let above: Vec<_> = above.collect::<Result<_, _>>()?;
        let is_asked = |(key, above): (&Vec<u8>, &Option<_>)| above.is_none().then(|| key.clone());
        let asked: Vec<Vec<u8>> = keys.iter().zip(&above).filter_map(is_asked).collect();
        let mut below = self.below.get_many(family, &asked)?.into_iter();
        Ok(above.into_iter().map(|value| value.or_else(|| below.next()).flatten()).collect())
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
        let above: Vec<(Vec<u8>, Option<Vec<u8>>)> = match is_index(family) {
            true => {
                let rows = self.rows(family)?.into_iter();
                rows.flat_map(|rows| rows.range::<[u8], _>(range))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect()
            }
            false => {
                let mut values = self.full.values(family);
                values.retain(|(key, _)| contains(range, key));
                values
            }
        };
        // Each of them takes the place of one below at most.
        let limit_below = limit.saturating_add(above.len());
        let below = self.below.scan(family, range, limit_below, direction)?;
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = below.into_iter().collect();
        for (key, value) in above {
            match value {
                Some(value) => merged.insert(key, value),
                None => merged.remove(&key),
            };
        }
        Ok(match direction {
            Direction::Forward => merged.into_iter().take(limit).collect(),
            Direction::Backward => merged.into_iter().rev().take(limit).collect(),
        })
    }
}

fn contains((start, end): KeyRange<'_>, key: &[u8]) -> bool {
    let is_after = match start {
        Bound::Included(start) => key >= start,
        Bound::Excluded(start) => key > start,
        Bound::Unbounded => true,
    };
    let is_before = match end {
        Bound::Included(end) => key <= end,
        Bound::Excluded(end) => key < end,
        Bound::Unbounded => true,
    };
    is_after && is_before
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use ashlar_consensus::UtxoDiff;
    use ashlar_primitives::{Amount, Coin, Encode as _, Lock, OutPoint, Output, Txid};
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::{
        MemoryStore, keys,
        step::Step,
        store::{Durability, Store as _},
    };

    const NAMES: u8 = 24;

    fn outpoint(name: u8) -> OutPoint {
        OutPoint { txid: Txid([name; 32]), index: name.into() }
    }

    fn coin(height: u32) -> Coin {
        let lock = Lock { version: 0, program: [0; 32] };
        let output = Output { value: Amount::from_grains(1), lock };
        Coin { output, height, is_coinbase: false }
    }

    fn key(family: Family, name: u8) -> Vec<u8> {
        match family {
            Family::Coins => keys::coin(&outpoint(name)),
            _ => vec![name / 5; usize::from(name % 5) + 1],
        }
    }

    /// A store, a step over it that touches a part of what is there and of what is not, and rows.
    fn scene(seed: u64) -> (MemoryStore, Full, Batch) {
        let mut rng = StdRng::seed_from_u64(seed);
        let store = MemoryStore::new();
        let (mut step, mut spent, mut created) = (Step::default(), Vec::new(), Vec::new());
        let (mut batch, mut rows) = (Batch::default(), Batch::default());
        for family in Family::ALL {
            for name in 0..NAMES {
                let is_there = rng.random_bool(0.5);
                if is_there {
                    batch.put(family, key(family, name), coin(0).to_bytes());
                }
                if rng.random_bool(0.6) {
                    continue;
                }
                let value = |rng: &mut StdRng| rng.random_bool(0.5).then(|| vec![rng.random()]);
                if family == Family::Coins {
                    match is_there {
                        true => spent.push((outpoint(name), coin(0))),
                        false => created.push((outpoint(name), coin(1))),
                    };
                } else if is_index(family) {
                    for _ in 0..rng.random_range(1..3) {
                        rows.writes.push((family, key(family, name), value(&mut rng)));
                    }
                } else {
                    step.write(family, key(family, name), value(&mut rng));
                }
            }
        }
        let [spent, created] = [spent, created].map(|coins| coins.into_iter().collect());
        step.apply(&UtxoDiff { spent, created });
        store.commit(batch, Durability::Later).unwrap();
        (store, step.end(), rows)
    }

    #[test]
    fn it_reads_as_the_store_does_once_the_step_is_written() {
        for seed in 0..40 {
            let (store, full, rows) = scene(seed);
            let mut batch = full.to_batch(IndexRecord::default()).unwrap();
            batch.writes.extend(rows.writes.iter().cloned());
            let layered = Layered {
                rows: OnceLock::from(Ok(in_order(rows))),
                ..Layered::new(Arc::new(full), IndexRecord::default(), store.snapshot())
            };
            store.commit(batch, Durability::Later).unwrap();
            for family in Family::ALL {
                let mut keys: Vec<Vec<u8>> = (0..NAMES).map(|name| key(family, name)).collect();
                keys.sort_unstable();
                let written = store.get_many(family, &keys).unwrap();
                assert_eq!(layered.get_many(family, &keys).unwrap(), written, "{seed} {family:?}");
                for key in &keys {
                    assert_eq!(layered.get(family, key).unwrap(), store.get(family, key).unwrap());
                }
                for (start, end) in [(0, NAMES), (3, 17), (9, 9), (12, 4)] {
                    let [start, end] = [start, end].map(|at| key(family, at));
                    let (start, end) = (start.as_slice(), end.as_slice());
                    for range in [
                        (Bound::Unbounded, Bound::Unbounded),
                        (Bound::Included(start), Bound::Unbounded),
                        (Bound::Excluded(start), Bound::Included(end)),
                        (Bound::Unbounded, Bound::Excluded(end)),
                    ] {
                        for direction in [Direction::Forward, Direction::Backward] {
                            for limit in [0, 1, 5, usize::MAX] {
                                assert_eq!(
                                    layered.scan(family, range, limit, direction).unwrap(),
                                    store.scan(family, range, limit, direction).unwrap(),
                                    "{seed} {family:?} {range:?} {limit} {direction:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
