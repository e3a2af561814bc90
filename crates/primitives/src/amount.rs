//! Amounts of money in grains (PROTOCOL.md §1), and as people write them: in ASH.

use core::{fmt, str::FromStr};

use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader};

/// Decimals of an amount in ASH: the last one counts grains.
const DECIMALS: usize = 8;

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

/// An amount as people type and read it: ASH with at most 8 decimals, without floats. Shown without
/// trailing zeros (`12.5`); read from `12`, `0.5`, `12.00000001`, never with a sign, an exponent, a
/// space or a separator, and never more than [`Amount::MAX_MONEY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ash(pub Amount);

/// Text that is not an amount in ASH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AshError {
    /// Not digits with at most one point between them.
    #[error("an amount is digits with at most one point: 12 or 0.5")]
    Form,
    /// Less than a grain would be left over.
    #[error("at most {DECIMALS} decimals: the smallest amount is 0.00000001 ASH")]
    TooPrecise,
    /// More than [`Amount::MAX_MONEY`].
    #[error("more than there can ever be")]
    TooLarge,
}

impl Ash {
    /// So many whole ASH. Like any amount not bounded by the type.
    pub const fn whole(ash: u32) -> Self {
        #[expect(clippy::as_conversions, reason = "every u32 is a u64; `From` is not const")]
        Self(Amount(Amount::ASH.0.saturating_mul(ash as u64)))
    }
}

impl FromStr for Ash {
    type Err = AshError;

    fn from_str(text: &str) -> Result<Self, AshError> {
        let (whole, decimals) = match text.split_once('.') {
            Some((_, "")) => return Err(AshError::Form),
            Some(parts) => parts,
            None => (text, ""),
        };
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(decimals) {
            return Err(AshError::Form);
        }
        if decimals.len() > DECIMALS {
            return Err(AshError::TooPrecise);
        }
        let grains = format!("{whole}{decimals:0<DECIMALS$}").parse();
        let amount = grains.map(Amount).map_err(|_| AshError::TooLarge)?;
        if amount.is_in_range() { Ok(Self(amount)) } else { Err(AshError::TooLarge) }
    }
}

impl fmt::Display for Ash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GRAINS: u64 = Amount::ASH.0;
        let grains = self.0.grains();
        write!(f, "{}", grains / GRAINS)?;
        match format!("{:0DECIMALS$}", grains % GRAINS).trim_end_matches('0') {
            "" => Ok(()),
            decimals => write!(f, ".{decimals}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_meant() {
        for (text, grains) in [
            ("0", 0),
            ("1", 100_000_000),
            ("0.00000001", 1),
            ("12.5", 1_250_000_000),
            ("90071992.54740991", Amount::MAX_MONEY.grains()),
        ] {
            let ash = Ash(Amount::from_grains(grains));
            assert_eq!((text.parse(), ash.to_string()), (Ok(ash), text.to_owned()));
        }
        assert_eq!("007.0".parse(), Ok(Ash::whole(7)));
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e8", "1,0", " 1", "1 ", "0x1", "1.2.3", "١"]
        {
            assert_eq!(text.parse::<Ash>(), Err(AshError::Form), "{text:?}");
        }
        assert_eq!("0.000000001".parse::<Ash>(), Err(AshError::TooPrecise));
        assert_eq!("90071992.54740992".parse::<Ash>(), Err(AshError::TooLarge));
        assert_eq!("99999999999999999999".parse::<Ash>(), Err(AshError::TooLarge));
    }

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
