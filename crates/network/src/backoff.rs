//! When to try again.

use rand::RngExt;

use crate::limits::STABLE_MS;

/// Doubling from the first wait to the longest, spread by half so that nodes which lost each other
/// together do not dial each other together for ever.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    pub(crate) failures: u32,
    pub(crate) next_ms: u64,
}

impl Backoff {
    pub(crate) fn failed(&mut self, now_ms: u64, (first, longest): (u64, u64)) {
        let wait = first.saturating_mul(1 << self.failures.min(20)).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.next_ms = now_ms + wait - rand::rng().random_range(0..=wait / 2);
    }

    /// After a connection that lasted so long.
    pub(crate) fn ended(&mut self, now_ms: u64, lasted_ms: u64, waits: (u64, u64)) {
        if lasted_ms >= STABLE_MS {
            self.failures = 0;
        }
        self.failed(now_ms, waits);
    }
}
