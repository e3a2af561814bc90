//! What the operator wants of reorganisations: the table `[reorg]` of the configuration.

use core::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;

/// The table.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReorgTable {
    /// More blocks than this are an alarm.
    pub(crate) alarm: Option<u32>,
    /// More blocks than this wait for the operator.
    pub(crate) hold: Option<Hold>,
}

/// How many blocks a reorganisation may disconnect without asking: a number, or `off`, any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hold(pub(crate) Option<u32>);

/// A text that is no depth.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no depth; write a number of blocks, or off")]
pub(crate) struct BadDepth {
    text: String,
}

impl FromStr for Hold {
    type Err = BadDepth;

    fn from_str(text: &str) -> Result<Self, BadDepth> {
        if text == "off" {
            return Ok(Self(None));
        }
        let depth = text.parse().map_err(|_| BadDepth { text: text.to_owned() })?;
        Ok(Self(Some(depth)))
    }
}

/// A number as TOML has it, or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Depth(u32),
    Text(String),
}

impl<'de> Deserialize<'de> for Hold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Depth(depth) => Ok(Self(Some(depth))),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_are_read_from_flags_and_tables() {
        assert_eq!("off".parse(), Ok(Hold(None)));
        assert_eq!("100".parse(), Ok(Hold(Some(100))));
        for wrong in ["", "-1", "on", "1.5"] {
            assert!(wrong.parse::<Hold>().is_err(), "{wrong}");
        }
        let table = |text| toml::from_str::<ReorgTable>(text);
        assert_eq!(table("hold = 100").unwrap().hold, Some(Hold(Some(100))));
        assert_eq!(table("hold = \"off\"").unwrap().hold, Some(Hold(None)));
        assert_eq!(table("alarm = 3").unwrap().alarm, Some(3));
        for wrong in ["hold = -1", "hold = true", "hold = \"deep\"", "depth = 1"] {
            assert!(table(wrong).is_err(), "{wrong}");
        }
    }
}
