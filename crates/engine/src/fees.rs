//! What to pay: an honest guess from what waits now. It knows nothing of what will come, and says
//! so in its basis.

use std::sync::Arc;

use ashlar_ledger::Store;

use crate::{
    Engine,
    call::FeeEstimate,
    limits::{FEE_PICTURE_MS, MAX_FEE_TARGET_BLOCKS},
};

/// The mempool's chunks as feerates with sizes, best first, as they were a few seconds ago.
#[derive(Clone, Debug, Default)]
pub(crate) struct FeePicture {
    made_ms: Option<u64>,
    rates: Arc<[(u64, u64)]>,
    waiting_bytes: u64,
}

impl FeePicture {
    /// What to pay to be among the first of so many blocks, at least `floor`.
    pub(crate) fn estimate(
        &self,
        target_blocks: u32,
        max_block_bytes: u32,
        floor: u64,
    ) -> FeeEstimate {
        let target_blocks = target_blocks.clamp(1, MAX_FEE_TARGET_BLOCKS);
        let room_bytes = u64::from(max_block_bytes).saturating_mul(u64::from(target_blocks));
        let mut used_bytes = 0_u64;
        let last = self.rates.iter().find(|(_, size_bytes)| {
            used_bytes = used_bytes.saturating_add(*size_bytes);
            used_bytes > room_bytes
        });
        let (feerate_per_kb, basis) = match last {
            None => (floor, "all that waits now fits into these blocks: the lowest feerate"),
            // One grain more than the first that does not fit.
            Some((rate, _)) => (
                rate.saturating_add(1).max(floor),
                "what waits now fills these blocks: just above the first that does not fit",
            ),
        };
        FeeEstimate { feerate_per_kb, basis, waiting_bytes: self.waiting_bytes, target_blocks }
    }
}

impl<S: Store> Engine<S> {
    pub(crate) fn estimate_fee(&mut self, target_blocks: u32) -> FeeEstimate {
        self.refresh_fee_picture();
        let floor = self.waiting().floor_per_kb();
        self.fee_picture.estimate(target_blocks, self.params.max_block_bytes, floor)
    }

    pub(crate) fn refresh_fee_picture(&mut self) {
        let now_ms = self.now.monotonic_ms;
        let is_fresh = self
            .fee_picture
            .made_ms
            .is_some_and(|made_ms| now_ms.saturating_sub(made_ms) < FEE_PICTURE_MS);
        if is_fresh {
            return;
        }
        let chunks = self.mempool.chunk_feerates();
        let rates: Arc<[_]> = chunks.map(|rate| (rate.per_kb(), rate.size_bytes)).collect();
        let waiting_bytes = rates.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        self.fee_picture = FeePicture { made_ms: Some(now_ms), rates, waiting_bytes };
    }
}
