//! Amounts of money in grains (PROTOCOL.md §1).

use core::fmt;

use crate::codec::{Decode, DecodeError, Encode, Reader};

/// A count of grains. Not bounded by the type: a decoded output may hold any `u64`, and the
/// rules refuse what is over [`Amount::MAX_MONEY`]. Arithmetic is checked or absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// 2^53 − 1: the largest amount, and the largest sum of amounts (§1).
    pub const MAX_MONEY: Self = Self((1 << 53) - 1);
    /// 1 ASH.
    pub const ASH: Self = Self(100_000_000);

    /// `grains` as an amount, whatever its size.
    pub const fn from_grains(grains: u64) -> Self {
        Self(grains)
    }

    /// The count of grains.
    pub const fn grains(self) -> u64 {
        self.0
    }

    /// Whether this is at most [`Amount::MAX_MONEY`].
    pub const fn is_in_range(self) -> bool {
        self.0 <= Self::MAX_MONEY.0
    }

    /// The sum where it is at most [`Amount::MAX_MONEY`].
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self).filter(|sum| sum.is_in_range())
    }

    /// The difference where it is not negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum of all where it, and so every running sum, is at most [`Amount::MAX_MONEY`].
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

impl fmt::Display for Amount {
    /// Whole grains.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Encode for Amount {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn encoded_len(&self) -> usize {
        8
    }
}

impl Decode for Amount {
    const MIN_LEN: usize = 8;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(reader).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sum_passes_max_money() {
        let one = Amount::from_grains(1);
        let almost = Amount::from_grains((1 << 53) - 2);
        assert_eq!(almost.checked_add(one), Some(Amount::MAX_MONEY));
        assert_eq!(Amount::MAX_MONEY.checked_add(one), None);
        assert_eq!(Amount::from_grains(u64::MAX).checked_add(one), None);
        assert_eq!(Amount::checked_sum([one, almost]), Some(Amount::MAX_MONEY));
        assert_eq!(Amount::checked_sum([one, almost, one]), None);
        assert_eq!(Amount::checked_sum([Amount::from_grains(u64::MAX)]), None);
        assert_eq!(one.checked_sub(almost), None);
        assert!(!Amount::from_grains(1 << 53).is_in_range());
    }
}
