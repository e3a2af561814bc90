//! How fast peers may download from us (THREATS N9).
//!
//! One bucket of bytes for each peer and one for all together. An answer leaves while neither is in
//! debt, and may put both into it; until they are out again the next ones wait. What a new block
//! needs is counted and never waits, and gossip is not counted: whoever downloads the chain again
//! and again delays itself and nobody's blocks.

use ashlar_primitives::wire::{self, tag};

use crate::limits::{
    UPLOAD_BURST_BYTES, UPLOAD_BYTES_PER_SECOND, UPLOAD_TOTAL_BURST_BYTES,
    UPLOAD_TOTAL_BYTES_PER_SECOND,
};

/// What may still be sent. It refills up to its burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    burst_bytes: u64,
    bytes_per_second: u64,
    spent_bytes: u64,
    since_ms: u64,
}

impl Bucket {
    /// A full one for a peer.
    pub(crate) const fn of_peer() -> Self {
        Self::new(UPLOAD_BURST_BYTES, UPLOAD_BYTES_PER_SECOND)
    }

    /// A full one for all peers together.
    pub(crate) const fn of_all() -> Self {
        Self::new(UPLOAD_TOTAL_BURST_BYTES, UPLOAD_TOTAL_BYTES_PER_SECOND)
    }

    const fn new(burst_bytes: u64, bytes_per_second: u64) -> Self {
        Self { burst_bytes, bytes_per_second, spent_bytes: 0, since_ms: 0 }
    }

    /// Whether something may be sent now.
    pub(crate) fn is_open(&mut self, now_ms: u64) -> bool {
        let passed_ms = now_ms.saturating_sub(self.since_ms);
        self.since_ms = self.since_ms.max(now_ms);
        let refilled = passed_ms.saturating_mul(self.bytes_per_second) / 1_000;
        self.spent_bytes = self.spent_bytes.saturating_sub(refilled);
        self.spent_bytes < self.burst_bytes
    }

    pub(crate) fn spend(&mut self, bytes: usize) {
        self.spent_bytes = self.spent_bytes.saturating_add(bytes as u64);
    }
}

/// Whether an answer goes out at once, whatever was sent before: a new block waits for it.
pub(crate) fn is_urgent(frame: &[u8]) -> bool {
    matches!(frame.get(wire::LENGTH_PREFIX), Some(&(tag::STATUS | tag::BLOCK_TRANSACTIONS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn each_bucket_has_its_burst_and_then_its_rate() {
        for (mut bucket, burst, rate) in [
            (Bucket::of_peer(), UPLOAD_BURST_BYTES, UPLOAD_BYTES_PER_SECOND),
            (Bucket::of_all(), UPLOAD_TOTAL_BURST_BYTES, UPLOAD_TOTAL_BYTES_PER_SECOND),
        ] {
            let mut sent = 0;
            for second in 0..60 {
                while bucket.is_open(1 + second * 1_000) {
                    bucket.spend(MIB);
                    sent += MIB as u64;
                }
                assert_eq!(sent, burst + second * rate, "after {second} s");
            }
        }
    }

    #[test]
    fn a_debt_is_paid_off_before_the_next_and_time_gives_no_more_than_the_burst() {
        let mut bucket = Bucket::of_peer();
        assert!(bucket.is_open(10));
        bucket.spend(usize::try_from(UPLOAD_BURST_BYTES + UPLOAD_BYTES_PER_SECOND).unwrap());
        assert!(!bucket.is_open(10));
        assert!(!bucket.is_open(1_010), "no longer in debt, and nothing to spend");
        assert!(bucket.is_open(1_020));
        assert!(bucket.is_open(5), "a clock that goes back takes nothing");
        assert!(bucket.is_open(1_000_000));
        bucket.spend(usize::try_from(UPLOAD_BURST_BYTES).unwrap());
        assert!(!bucket.is_open(1_000_000));
    }

    #[test]
    fn what_a_new_block_needs_is_urgent() {
        let missing = wire::Answer::BlockTransactions(Vec::new()).to_frame();
        assert!(is_urgent(&missing));
        assert!(!is_urgent(&wire::Answer::Mempool(Vec::new()).to_frame()));
        assert!(!is_urgent(&[]));
    }
}
