//! What the operator of this node adds to the fees of single transactions, or takes off them.
//!
//! The sum is what the pool goes by in all that it decides itself: whom it takes, replaces, pushes
//! out and puts into a block first. What a transaction really pays stays what it is: a block's fees
//! and [`Mempool::total_fee`] count that alone. A priority may be given before its transaction
//! comes, and lasts until that is confirmed.

use std::collections::{BTreeMap, BTreeSet};

use ashlar_primitives::{Amount, Txid};
use thiserror::Error;

use crate::{
    cluster::{self, Ordered},
    entry::Entry,
    pool::Mempool,
};

/// Most transactions that have a priority at one time.
pub const MAX_PRIORITIES: usize = 10_000;

/// Most that a priority adds or takes off, in grains: more than any fee, and still far from the
/// end of a sum over a cluster.
const MAX_DELTA_GRAINS: i64 = Amount::MAX_MONEY.grains().cast_signed();

/// [`MAX_PRIORITIES`] transactions have a priority already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{MAX_PRIORITIES} transactions have a priority, and no more can be given")]
pub struct PrioritiesFull;

impl Mempool {
    /// Adds `delta_grains` to the priority of a transaction, waiting or not. One that comes to 0 is
    /// forgotten. Returns the sum, which is kept within [`Amount::MAX_MONEY`] either way.
    ///
    /// # Errors
    /// [`PrioritiesFull`], where it would be a new one; nothing has changed.
    pub fn prioritise(&mut self, txid: Txid, delta_grains: i64) -> Result<i64, PrioritiesFull> {
        let before = self.priority(&txid);
        if before == 0 && self.priorities.len() >= MAX_PRIORITIES {
            return Err(PrioritiesFull);
        }
        let sum = before.saturating_add(delta_grains).clamp(-MAX_DELTA_GRAINS, MAX_DELTA_GRAINS);
        match sum {
            0 => self.priorities.remove(&txid),
            _ => self.priorities.insert(txid, sum),
        };
        if sum != before {
            self.reorder(&txid, sum);
        }
        Ok(sum)
    }

    /// All priorities, in grains.
    pub const fn priorities(&self) -> &BTreeMap<Txid, i64> {
        &self.priorities
    }

    pub(crate) fn priority(&self, txid: &Txid) -> i64 {
        self.priorities.get(txid).copied().unwrap_or(0)
    }

    /// Its cluster is put in order anew, by what it counts for now.
    fn reorder(&mut self, txid: &Txid, delta_grains: i64) {
        let Some(entry) = self.entries.get_mut(txid) else { return };
        entry.delta_grains = delta_grains;
        let touched = self.clusters_of([txid]);
        let ordered: Vec<Ordered> = touched
            .iter()
            .flat_map(|id| cluster::components(self.survivors(*id, &BTreeSet::new())))
            .map(|members| cluster::order(&members))
            .collect();
        self.note_change();
        self.regroup(&touched, ordered);
    }
}

impl Entry {
    /// What it counts for: its fee with the operator's priority, 0 at least.
    pub fn weighed_fee(&self) -> Amount {
        weighed(self.fee, self.delta_grains)
    }
}

/// See [`Entry::weighed_fee`].
pub(crate) fn weighed(fee: Amount, delta_grains: i64) -> Amount {
    Amount::from_grains(fee.grains().saturating_add_signed(delta_grains))
}
