//! The rolling floor: what a full pool asks for, fading once nothing is pushed out any more.

use ashlar_primitives::Amount;

use crate::{feerate::Feerate, limits::INCREMENTAL_FEERATE};

/// The floor halves in this time (PROTOCOL.md §13): 12 hours.
pub const FLOOR_HALF_LIFE_MS: u64 = 12 * 60 * 60 * 1_000;

const BYTES_PER_KB: u64 = 1_000;

/// A feerate that jumps up when something is pushed out for room, and halves every 12 hours.
///
/// Between two halvings it falls along a straight line, which needs integers only and stays within
/// 7 % of the exponential.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floor {
    /// Grains per 1,000 bytes at `since_ms`. An amount for a smallest transaction still fits.
    per_kb: u64,
    since_ms: u64,
}

impl Floor {
    /// The floor at `now_ms`; a time before the last rise counts as that rise's.
    pub(crate) fn at(&self, now_ms: u64) -> Feerate {
        Feerate::new(Amount::from_grains(self.per_kb_at(now_ms)), BYTES_PER_KB)
    }

    /// Something of this feerate was pushed out: what is no better by [`INCREMENTAL_FEERATE`] need
    /// not come. Never lowers the floor.
    pub(crate) fn raise(&mut self, pushed_out: Feerate, now_ms: u64) {
        let per_kb = pushed_out.per_kb().saturating_add(INCREMENTAL_FEERATE.per_kb());
        if per_kb > self.per_kb_at(now_ms) {
            *self = Self { per_kb, since_ms: now_ms };
        }
    }

    fn per_kb_at(&self, now_ms: u64) -> u64 {
        let elapsed_ms = now_ms.saturating_sub(self.since_ms);
        let halvings = u32::try_from(elapsed_ms / FLOOR_HALF_LIFE_MS).unwrap_or(u32::MAX);
        let halved = self.per_kb.checked_shr(halvings).unwrap_or(0);
        // From all of it, at a halving, down to half of it just before the next.
        let rest_ms = u128::from(elapsed_ms % FLOOR_HALF_LIFE_MS);
        let whole = u128::from(FLOOR_HALF_LIFE_MS).saturating_mul(2);
        let faded = u128::from(halved).saturating_mul(whole.saturating_sub(rest_ms));
        faded.checked_div(whole).and_then(|faded| u64::try_from(faded).ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(fee: u64, size_bytes: u64) -> Feerate {
        Feerate::new(Amount::from_grains(fee), size_bytes)
    }

    #[test]
    fn rises_above_what_was_pushed_out_and_halves() {
        let mut floor = Floor::default();
        assert_eq!(floor.at(0), Feerate::ZERO);
        let t0 = 5_000;
        floor.raise(rate(9, 1), t0);
        assert_eq!(floor.at(t0), rate(10, 1));
        assert_eq!(floor.at(0), rate(10, 1), "a clock that went back fades nothing");
        assert_eq!(floor.at(t0 + FLOOR_HALF_LIFE_MS / 2), rate(7_500, 1_000));
        assert_eq!(floor.at(t0 + FLOOR_HALF_LIFE_MS), rate(5, 1));
        assert_eq!(floor.at(t0 + 2 * FLOOR_HALF_LIFE_MS), rate(2_500, 1_000));
        assert_eq!(floor.at(t0 + 64 * FLOOR_HALF_LIFE_MS), Feerate::ZERO);
        assert_eq!(floor.at(u64::MAX), Feerate::ZERO);
    }

    #[test]
    fn never_rises_by_itself() {
        let mut floor = Floor::default();
        floor.raise(rate(12_345, 7), 0);
        let mut before = floor.at(0);
        for step in 1..2_000 {
            let now = floor.at(step * (FLOOR_HALF_LIFE_MS / 50 + 1));
            assert!(now <= before);
            before = now;
        }
    }

    #[test]
    fn what_is_worse_does_not_lower_it() {
        let mut floor = Floor::default();
        floor.raise(rate(100, 1), 0);
        floor.raise(rate(3, 1), 1);
        assert!(floor.at(1) > rate(100, 1));
        // Faded under the new one, it jumps again, and fades from there.
        let later = 10 * FLOOR_HALF_LIFE_MS;
        floor.raise(rate(3, 1), later);
        assert_eq!(floor.at(later), rate(4, 1));
        assert_eq!(floor.at(later + FLOOR_HALF_LIFE_MS), rate(2, 1));
    }

    #[test]
    fn rounds_up_so_that_what_was_pushed_out_stays_out() {
        let mut floor = Floor::default();
        floor.raise(rate(1, 3), 0);
        assert!(floor.at(0) > rate(4, 3));
        floor.raise(rate((1 << 53) - 1, 150), 0);
        assert!(floor.at(0) > rate((1 << 53) - 1, 150));
    }
}
