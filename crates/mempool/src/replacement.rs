//! Replacement by fee (PROTOCOL.md §13): who may push out those that spend the same coins.
//!
//! What a miner would earn must rise, in total and at the margin, and every byte that the network
//! carried for the loser is paid by the winner, so that rounds of replacement are never free.

use std::collections::BTreeSet;

use ashlar_consensus::CheckedTransaction;
use ashlar_primitives::{Amount, OutPoint, Txid};

use crate::{entry::Entry, error::ReplacementFault, limits::INCREMENTAL_FEERATE, pool::Mempool};

impl Mempool {
    /// What `transaction` would push out, descendants included; empty where it conflicts with none.
    pub(crate) fn replaced_by(
        &self,
        transaction: &CheckedTransaction,
        fee: Amount,
    ) -> Result<BTreeSet<Txid>, ReplacementFault> {
        let inputs = &transaction.transaction().inputs;
        let direct: BTreeSet<Txid> =
            inputs.iter().filter_map(|input| self.spenders.get(input)).copied().collect();
        if direct.is_empty() {
            return Ok(direct);
        }
        let max = self.limits.max_evicted_by_replacement;
        if direct.len() > max {
            return Err(ReplacementFault::TooMany { max });
        }
        // Unconfirmed, and spent by nobody so far. (Whoever spends it would be in direct conflict.)
        let is_new = |input: &OutPoint| {
            self.entries.contains_key(&input.txid) && !self.spenders.contains_key(input)
        };
        if let Some(input) = inputs.iter().position(is_new) {
            return Err(ReplacementFault::NewUnconfirmedInput { input });
        }
        let size_bytes = u64::from(transaction.size_bytes());
        let best =
            direct.iter().filter_map(|txid| self.get(txid)).map(Entry::weighed_feerate).max();
        let required = best.map_or(0, |best| best.fee_above(size_bytes));
        if fee.grains() < required {
            return Err(ReplacementFault::Feerate { required });
        }
        let gone =
            self.bounded_descendants(direct, max).ok_or(ReplacementFault::TooMany { max })?;
        if let Some(input) = inputs.iter().position(|input| gone.contains(&input.txid)) {
            return Err(ReplacementFault::SpendsReplaced { input });
        }
        let required = gone
            .iter()
            .filter_map(|txid| self.get(txid))
            .fold(INCREMENTAL_FEERATE.fee_for(size_bytes), |sum, entry| {
                sum.saturating_add(entry.weighed_fee().grains())
            });
        if fee.grains() < required {
            return Err(ReplacementFault::Fee { fee: fee.grains(), required });
        }
        Ok(gone)
    }
}
