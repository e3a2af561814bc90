//! A block whose signatures the operator takes for good: its id, or `off`.

use core::{fmt, str::FromStr};

use ashlar_primitives::BlockId;
use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;

/// Signatures of this block and its ancestors are not verified; every other rule is judged
/// ([`ashlar_ledger::Settings::assume_valid`]). `None`: all signatures are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AssumeValid(pub(crate) Option<BlockId>);

/// A text that is no block id.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "{text:?} is no block id; copy the 64 hex digits that `getblockhash` shows on a node that you trust, or write off"
)]
pub(crate) struct BadBlockId {
    text: String,
}

impl FromStr for AssumeValid {
    type Err = BadBlockId;

    fn from_str(text: &str) -> Result<Self, BadBlockId> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|id| Self(Some(id))).map_err(|_| BadBlockId { text: text.to_owned() })
    }
}

impl fmt::Display for AssumeValid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => id.fmt(f),
            None => f.write_str("off"),
        }
    }
}

impl<'de> Deserialize<'de> for AssumeValid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        let text = format!("{}01", "0".repeat(62));
        let named: AssumeValid = text.parse().unwrap();
        assert_eq!(named.to_string(), text);
        assert_eq!("off".parse(), Ok(AssumeValid::default()));
        assert_eq!(AssumeValid::default().to_string(), "off");
        for wrong in ["", "0102", "on", &"g".repeat(64), &"0".repeat(66)] {
            assert!(wrong.parse::<AssumeValid>().is_err(), "{wrong}");
        }
    }
}
