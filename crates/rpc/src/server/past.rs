//! What is true of a block for ever, of those that callers asked about lately.
//!
//! A median time takes the headers of eleven ancestors, and explorers ask about the same blocks
//! again and again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use ashlar_ledger::{View, view::StoredHeader};
use ashlar_primitives::BlockId;

use super::burial::is_relieved;
use crate::error::RpcError;

/// Blocks remembered: a few hundred kilobytes.
const MAX_BLOCKS: usize = 4_096;

/// What follows from a block's ancestors alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Of the last eleven times.
    pub(super) mediantime: u32,
    /// See [`is_relieved`].
    pub(super) is_relieved: bool,
}

impl Facts {
    /// Reads them from the headers below.
    pub(super) fn read(view: &View, id: &BlockId, stored: &StoredHeader) -> Result<Self, RpcError> {
        let state = view.header_state(id)?;
        let mediantime = state.map_or(stored.header.time, |state| state.median_time());
        Ok(Self { mediantime, is_relieved: is_relieved(view, stored)? })
    }
}

/// The blocks asked about last, the oldest question first.
#[derive(Debug, Default)]
pub(super) struct Past(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    facts: BTreeMap<BlockId, Facts>,
    order: VecDeque<BlockId>,
}

impl Past {
    /// The facts of a block, remembered or read.
    pub(super) fn facts(
        &self,
        view: &View,
        id: &BlockId,
        stored: &StoredHeader,
    ) -> Result<Facts, RpcError> {
        let known = self.lock(|remembered| remembered.facts.get(id).copied());
        if let Some(facts) = known {
            return Ok(facts);
        }
        let facts = Facts::read(view, id, stored)?;
        self.lock(|remembered| remembered.insert(*id, facts, MAX_BLOCKS));
        Ok(facts)
    }

    fn lock<T>(&self, work: impl FnOnce(&mut Remembered) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Remembered {
    fn insert(&mut self, id: BlockId, facts: Facts, max: usize) {
        if self.facts.insert(id, facts).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > max {
            if let Some(oldest) = self.order.pop_front() {
                self.facts.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_question_is_forgotten_first() {
        let mut remembered = Remembered::default();
        let facts = |mediantime| Facts { mediantime, is_relieved: false };
        for number in 0..5_u8 {
            remembered.insert(BlockId([number; 32]), facts(number.into()), 3);
        }
        // Asked twice at the same moment, it is remembered once.
        remembered.insert(BlockId([4; 32]), facts(4), 3);
        let left: Vec<u32> = remembered.facts.values().map(|facts| facts.mediantime).collect();
        assert_eq!(left, [2, 3, 4]);
        assert_eq!(remembered.order.len(), 3);
    }
}
