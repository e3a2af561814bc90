//! Token buckets: how much of something a peer may make us do.

/// Refills with time up to its burst. A take may overdraw it once: what something costs is often
/// known only after it was done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    per_second: u64,
    burst: u64,
    /// In thousandths, so that milliseconds need no rounding.
    level_milli: u64,
    debt_milli: u64,
    filled_ms: u64,
}

impl Bucket {
    /// Full at `now_ms`.
    pub(crate) const fn new(per_second: u64, burst: u64, now_ms: u64) -> Self {
        let level_milli = burst.saturating_mul(1_000);
        Self { per_second, burst, level_milli, debt_milli: 0, filled_ms: now_ms }
    }

    fn fill(&mut self, now_ms: u64) {
        let age_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = self.filled_ms.max(now_ms);
        let gained = age_ms.saturating_mul(self.per_second);
        let repaid = gained.min(self.debt_milli);
        self.debt_milli = self.debt_milli.saturating_sub(repaid);
        let gained = gained.saturating_sub(repaid);
        let full = self.burst.saturating_mul(1_000);
        self.level_milli = self.level_milli.saturating_add(gained).min(full);
    }

    /// Whether anything is left.
    pub(crate) fn is_empty(&mut self, now_ms: u64) -> bool {
        self.fill(now_ms);
        self.level_milli == 0
    }

    /// Takes `amount`, going into debt where there is less.
    pub(crate) fn take(&mut self, amount: u64, now_ms: u64) {
        self.fill(now_ms);
        let wanted = amount.saturating_mul(1_000);
        let missing = wanted.saturating_sub(self.level_milli);
        self.level_milli = self.level_milli.saturating_sub(wanted);
        self.debt_milli = self.debt_milli.saturating_add(missing);
    }

    /// Takes `amount` where there is so much.
    pub(crate) fn try_take(&mut self, amount: u64, now_ms: u64) -> bool {
        self.fill(now_ms);
        let enough = self.level_milli >= amount.saturating_mul(1_000);
        if enough {
            self.take(amount, now_ms);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(10, 30, 0);
        assert_eq!((0..40).filter(|_| bucket.try_take(1, 0)).count(), 30);
        assert!(!bucket.try_take(1, 99));
        assert!(bucket.try_take(1, 100));
        assert_eq!((0..400).filter(|_| bucket.try_take(1, 10_000)).count(), 30);
    }

    #[test]
    fn debt_is_paid_before_anything_is_there_again() {
        let mut bucket = Bucket::new(10, 10, 0);
        bucket.take(30, 0);
        assert!(bucket.is_empty(0));
        assert!(bucket.is_empty(2_000));
        assert!(!bucket.is_empty(2_001));
    }

    #[test]
    fn a_clock_that_goes_back_refills_nothing() {
        let mut bucket = Bucket::new(10, 10, 1_000);
        bucket.take(10, 1_000);
        assert!(bucket.is_empty(0));
        assert!(bucket.is_empty(1_000));
    }
}
