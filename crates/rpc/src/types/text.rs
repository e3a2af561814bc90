//! Values that travel as text.

use core::{fmt::Display, ops::Deref, str::FromStr};

use data_encoding::{DecodeError, HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A value that is written as its `Display` text and read back by `FromStr`: ids, keys,
/// commitments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<T>(pub T);

impl<T> From<T> for Text<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Text<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// Lower-case hex. Of a whole block this stands between finding it and telling of it, so that it is
/// made by a table, many times as fast as digit by digit.
pub fn to_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Reads hex in either case.
///
/// # Errors
/// Where a character is no digit, or the last one has no partner.
pub fn from_hex(text: &str) -> Result<Vec<u8>, DecodeError> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes())
}

/// Raw bytes, written as lower-case hex. Upper case is read too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl From<Vec<u8>> for Hex {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        from_hex(&text).map(Self).map_err(D::Error::custom)
    }
}

/// How much to tell: 0 the encoding, higher numbers more. `false` and `true` are read as 0 and
/// 1, as Bitcoin Core reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Verbosity(pub u8);

impl<'de> Deserialize<'de> for Verbosity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "verbosity is a small number, or true or false")]
        enum Given {
            Flag(bool),
            Level(u8),
        }
        Given::deserialize(deserializer).map(|given| match given {
            Given::Flag(flag) => Self(flag.into()),
            Given::Level(level) => Self(level),
        })
    }
}
