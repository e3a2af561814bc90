//! Replacement by fee (PROTOCOL.md §13): who may push out those that spend the same coins.
//!
//! What a miner would earn must rise, in total and at the margin, and every byte that the network
//! carried for the loser is paid by the winner, so that rounds of replacement are never free.

use std::collections::BTreeSet;

use ashlar_consensus::CheckedTransaction;
use ashlar_primitives::{Amount, Txid};

use crate::{
    entry::Entry, error::ReplacementFault, feerate::Feerate, limits::INCREMENTAL_FEERATE,
    pool::Mempool,
};

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
        // An unconfirmed output that somebody spends: that somebody is in direct conflict.
        let is_new = |made_here: bool, spent: bool| made_here && !spent;
        if let Some(input) = inputs.iter().position(|input| {
            is_new(self.entries.contains_key(&input.txid), self.spenders.contains_key(input))
        }) {
            return Err(ReplacementFault::NewUnconfirmedInput { input });
        }
        let size_bytes = u64::from(transaction.size_bytes());
        let best = direct.iter().filter_map(|txid| self.get(txid)).map(Entry::feerate).max();
        if let Some(best) = best.filter(|best| Feerate::new(fee, size_bytes) <= *best) {
            let product = u128::from(best.fee.grains()).saturating_mul(u128::from(size_bytes));
            let above = product
                .checked_div(u128::from(best.size_bytes))
                .and_then(|least| u64::try_from(least.saturating_add(1)).ok());
            return Err(ReplacementFault::Feerate { required: above.unwrap_or(u64::MAX) });
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
                sum.saturating_add(entry.fee.grains())
            });
        if fee.grains() < required {
            return Err(ReplacementFault::Fee { fee: fee.grains(), required });
        }
        Ok(gone)
    }
}
