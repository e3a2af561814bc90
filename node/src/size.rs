//! Sizes as people write them: `1GiB`, `550MB`, `4096`.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;

/// Units and what they count, larger ones first; the binary ones are those that sizes are shown in.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

/// A text that is no size.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no size; write a number of bytes, or one with a unit: 500MB, 2GiB")]
pub(crate) struct BadSize {
    text: String,
}

impl FromStr for ByteSize {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let factor = if unit.is_empty() { Some(1) } else { factor.map(|(_, bytes)| *bytes) };
        number
            .parse::<u64>()
            .ok()
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| BadSize { text: text.to_owned() })
    }
}

impl fmt::Display for ByteSize {
    /// Rounded down to a whole number of the largest binary unit that leaves at least four.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_shown = |unit: &&(&str, u64)| {
            let (name, bytes) = **unit;
            name.contains('i')
                && (self.0 / bytes >= 4 || self.0 > 0 && self.0.is_multiple_of(bytes))
        };
        let (name, bytes) = UNITS.iter().find(is_shown).copied().unwrap_or(("B", 1));
        write!(f, "{} {name}", self.0 / bytes)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Within how much to keep blocks and undo records: a size, or `off`, which keeps all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prune(pub(crate) Option<ByteSize>);

impl FromStr for Prune {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        if text == "off" { Ok(Self(None)) } else { text.parse().map(|size| Self(Some(size))) }
    }
}

impl<'de> Deserialize<'de> for Prune {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        let bytes = |text: &str| text.parse::<ByteSize>().map(|size| size.0).ok();
        assert_eq!(bytes("1GiB"), Some(1 << 30));
        assert_eq!(bytes("500 mb"), Some(500_000_000));
        assert_eq!(bytes("4096"), Some(4_096));
        assert_eq!("off".parse(), Ok(Prune(None)));
        assert_eq!("2GB".parse(), Ok(Prune(Some(ByteSize(2_000_000_000)))));
        assert!("on".parse::<Prune>().is_err());
        assert_eq!(bytes("0"), Some(0));
        for wrong in ["", "GiB", "-1", "1.5GiB", "1 XB", "1GiB2", "99999999999TiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
        let shown = |bytes: u64| ByteSize(bytes).to_string();
        assert_eq!(shown(1 << 30), "1 GiB");
        assert_eq!(shown((1 << 30) + 5), "1024 MiB");
        assert_eq!(shown(256 << 20), "256 MiB");
        assert_eq!(shown(3), "3 B");
        assert_eq!(shown(0), "0 B");
    }
}
