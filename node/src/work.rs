//! Work as people write it: 64 hex digits, as `getblockchaininfo` shows it.

use core::{fmt, str::FromStr};

use ashlar_consensus::Work;
use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;

/// The least work of a chain that this node takes for the real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MinimumWork(pub(crate) Work);

impl Default for MinimumWork {
    fn default() -> Self {
        Self(Work::ZERO)
    }
}

/// A text that is no work.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "{text:?} is no work; copy the 64 hex digits that `chainwork` of getblockchaininfo shows on a node that you trust"
)]
pub(crate) struct BadWork {
    text: String,
}

impl FromStr for MinimumWork {
    type Err = BadWork;

    fn from_str(text: &str) -> Result<Self, BadWork> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadWork { text: text.to_owned() })?;
        bytes.reverse();
        Ok(Self(Work::from_le_bytes(bytes)))
    }
}

impl fmt::Display for MinimumWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.to_be_bytes()))
    }
}

impl<'de> Deserialize<'de> for MinimumWork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_read_as_it_is_shown() {
        let text = format!("{}0102", "0".repeat(60));
        let work: MinimumWork = text.parse().unwrap();
        assert_eq!(work.0.to_le_bytes()[..3], [2, 1, 0]);
        assert_eq!(work.to_string(), text);
        assert_eq!("0".repeat(64).parse(), Ok(MinimumWork::default()));
        for wrong in ["", "0102", "0x01", &"g".repeat(64), &"0".repeat(66)] {
            assert!(wrong.parse::<MinimumWork>().is_err(), "{wrong}");
        }
    }
}
