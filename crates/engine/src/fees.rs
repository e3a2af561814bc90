//! What to pay: an honest guess from what waits now. It knows nothing of what will come, and says
//! so in its basis.

use ashlar_ledger::Store;

use crate::{
    Engine,
    call::FeeEstimate,
    limits::{FEE_PICTURE_MS, MAX_FEE_TARGET_BLOCKS},
};

/// The mempool's chunks as feerates with sizes, best first, as they were a few seconds ago.
#[derive(Debug, Default)]
pub(crate) struct FeePicture {
    made_ms: Option<u64>,
    rates: Vec<(u64, u64)>,
    waiting_bytes: u64,
}

impl<S: Store> Engine<S> {
    /// The lowest feerate that the mempool takes now, in grains per 1,000 bytes.
    pub(crate) fn floor_per_kb(&self) -> u64 {
        self.mempool.min_feerate(self.now.monotonic_ms).per_kb()
    }

    pub(crate) fn estimate_fee(&mut self, target_blocks: u32) -> FeeEstimate {
        let target_blocks = target_blocks.clamp(1, MAX_FEE_TARGET_BLOCKS);
        self.refresh_fee_picture();
        let room_bytes =
            u64::from(self.params.max_block_bytes).saturating_mul(u64::from(target_blocks));
        let mut used_bytes = 0_u64;
        let last = self.fee_picture.rates.iter().find(|(_, size_bytes)| {
            used_bytes = used_bytes.saturating_add(*size_bytes);
            used_bytes > room_bytes
        });
        let floor = self.floor_per_kb();
        let (feerate_per_kb, basis) = match last {
            None => (floor, "all that waits now fits into these blocks: the lowest feerate"),
            // One grain more than the first that does not fit.
            Some((rate, _)) => (
                rate.saturating_add(1).max(floor),
                "what waits now fills these blocks: just above the first that does not fit",
            ),
        };
        let waiting_bytes = self.fee_picture.waiting_bytes;
        FeeEstimate { feerate_per_kb, basis, waiting_bytes, target_blocks }
    }

    fn refresh_fee_picture(&mut self) {
        let now_ms = self.now.monotonic_ms;
        let is_fresh = self
            .fee_picture
            .made_ms
            .is_some_and(|made_ms| now_ms.saturating_sub(made_ms) < FEE_PICTURE_MS);
        if is_fresh {
            return;
        }
        let chunks = self.mempool.chunk_feerates();
        let rates: Vec<(u64, u64)> = chunks.map(|rate| (rate.per_kb(), rate.size_bytes)).collect();
        let waiting_bytes = rates.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        self.fee_picture = FeePicture { made_ms: Some(now_ms), rates, waiting_bytes };
    }
}
