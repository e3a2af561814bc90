//! Amounts as people write them: ASH with at most 8 decimals, without floats.

use core::{fmt, str::FromStr};

use ashlar_primitives::Amount;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

const DECIMALS: usize = 8;

/// An amount of at most what there can ever be, written as ASH: `12`, `0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coins(Amount);

/// Text that is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "an amount is ASH with at most 8 decimals, such as 12 or 0.5, and no more than there can be"
)]
pub struct CoinsError;

impl Coins {
    /// Whole ASH, as many as a constant needs.
    pub(crate) const fn of_ash(ash: u32) -> Self {
        Self(Amount::from_grains(ash as u64 * Amount::ASH.grains()))
    }

    /// The amount.
    pub const fn amount(self) -> Amount {
        self.0
    }
}

impl FromStr for Coins {
    type Err = CoinsError;

    fn from_str(text: &str) -> Result<Self, CoinsError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(decimals) || decimals.len() > DECIMALS {
            return Err(CoinsError);
        }
        let grains = format!("{whole}{decimals:0<DECIMALS$}").parse().map_err(|_| CoinsError)?;
        Some(Amount::from_grains(grains)).filter(|a| a.is_in_range()).map(Self).ok_or(CoinsError)
    }
}

impl fmt::Display for Coins {
    /// Without trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (grains, ash) = (self.0.grains(), Amount::ASH.grains());
        let decimals = format!("{:0DECIMALS$}", grains % ash);
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{}", grains / ash),
            decimals => write!(f, "{}.{decimals}", grains / ash),
        }
    }
}

impl Serialize for Coins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Coins {
    /// A text; floats are not exact enough for money.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        for (text, grains) in [("12", 1_200_000_000), ("0.5", 50_000_000), ("0.00000001", 1)] {
            let coins: Coins = text.parse().unwrap();
            assert_eq!((coins.amount().grains(), coins.to_string()), (grains, text.to_owned()));
        }
        for wrong in ["", ".5", "5.", "-1", "1e3", "0.000000001", "90071993", "1 000"] {
            assert_eq!(wrong.parse::<Coins>(), Err(CoinsError), "{wrong}");
        }
    }
}
