//! Feerates as fractions: no rounding decides anything.

use core::cmp::Ordering;

use ashlar_primitives::Amount;

/// Grains for a number of bytes. Equal and ordered by value: 1 for 2 bytes is 2 for 4.
///
/// A size of 0 counts as 1, so that the order is total whatever a caller puts in.
#[derive(Clone, Copy, Debug)]
pub struct Feerate {
    /// What is paid.
    pub fee: Amount,
    /// For how many bytes.
    pub size_bytes: u64,
}

impl Feerate {
    /// Nothing for anything.
    pub const ZERO: Self = Self { fee: Amount::ZERO, size_bytes: 1 };

    /// `fee` for `size_bytes`.
    pub const fn new(fee: Amount, size_bytes: u64) -> Self {
        Self { fee, size_bytes }
    }

    /// The least fee in grains that is not below this feerate for `size_bytes`; at most `u64::MAX`.
    pub fn fee_for(self, size_bytes: u64) -> u64 {
        let product = u128::from(self.fee.grains()).saturating_mul(u128::from(size_bytes));
        u64::try_from(product.div_ceil(u128::from(self.size_bytes.max(1)))).unwrap_or(u64::MAX)
    }

    /// The least fee in grains that is above this feerate for `size_bytes`; at most `u64::MAX`.
    pub fn fee_above(self, size_bytes: u64) -> u64 {
        let product = u128::from(self.fee.grains()).saturating_mul(u128::from(size_bytes));
        let floor = product.checked_div(u128::from(self.size_bytes.max(1))).unwrap_or(0);
        u64::try_from(floor.saturating_add(1)).unwrap_or(u64::MAX)
    }

    /// Grains per 1,000 bytes, rounded up: for people and programs that want one number.
    pub fn per_kb(self) -> u64 {
        self.fee_for(1_000)
    }

    /// The feerate of both together.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            fee: Amount::from_grains(self.fee.grains().saturating_add(other.fee.grains())),
            size_bytes: self.size_bytes.saturating_add(other.size_bytes),
        }
    }

    /// What is left where `part` was counted in.
    pub(crate) fn without(self, part: Self) -> Self {
        Self {
            fee: Amount::from_grains(self.fee.grains().saturating_sub(part.fee.grains())),
            size_bytes: self.size_bytes.saturating_sub(part.size_bytes),
        }
    }
}

impl Ord for Feerate {
    fn cmp(&self, other: &Self) -> Ordering {
        // Each product of two u64 fits a u128: the comparison is exact.
        let cross = |rate: &Self, size_bytes: u64| {
            u128::from(rate.fee.grains()).saturating_mul(u128::from(size_bytes.max(1)))
        };
        cross(self, other.size_bytes).cmp(&cross(other, self.size_bytes))
    }
}

impl PartialOrd for Feerate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Feerate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Feerate {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(fee: u64, size_bytes: u64) -> Feerate {
        Feerate::new(Amount::from_grains(fee), size_bytes)
    }

    #[test]
    fn compares_by_value_without_rounding() {
        assert_eq!(rate(1, 2), rate(2, 4));
        assert!(rate(1, 3) < rate(334, 1_000));
        assert!(rate(333, 1_000) < rate(1, 3));
        // Two neighbours that a 64-bit float can't tell apart.
        assert!(rate((1 << 53) - 2, (1 << 53) - 1) < rate((1 << 53) - 1, 1 << 53));
        assert!(rate(u64::MAX, 1) > rate(u64::MAX - 1, 1));
        assert_eq!(rate(5, 0), rate(5, 1));
    }

    #[test]
    fn fee_for_is_the_least_that_is_not_below() {
        for (fee, size, asked) in [(1, 1, 180), (1, 3, 180), (1, 3, 181), (7, 1_000, 1), (0, 1, 9)]
        {
            let rate = rate(fee, size);
            let least = rate.fee_for(asked);
            assert!(Feerate::new(Amount::from_grains(least), asked) >= rate);
            let above = rate.fee_above(asked);
            assert!(Feerate::new(Amount::from_grains(above), asked) > rate);
            assert!(Feerate::new(Amount::from_grains(above - 1), asked) <= rate);
            if let Some(less) = least.checked_sub(1) {
                assert!(Feerate::new(Amount::from_grains(less), asked) < rate);
            }
        }
        assert_eq!(rate(u64::MAX, 1).fee_for(u64::MAX), u64::MAX);
        assert_eq!(rate(1, 1).per_kb(), 1_000);
    }
}
