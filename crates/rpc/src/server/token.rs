//! Tokens: passwords that a program is given for one purpose, and that only their holder knows.
//!
//! A token is 32 random bytes, so its plain SHA-256 tells nothing of it and is quick to compare:
//! stretching is for words that people choose. The configuration keeps the hash alone.

use core::{fmt, str::FromStr};

use rand::{TryRng, rngs::SysRng};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use thiserror::Error;

use crate::scope::Scope;

/// What every token begins with, so that one that lies about is recognised for what it is.
const TOKEN_PREFIX: &str = "ashlar_";
/// Bytes of a token.
const TOKEN_BYTES: usize = 32;
/// What every written hash begins with.
const HASH_PREFIX: &str = "sha256:";
/// Most calls a second that a token may be given; more is no limit at all.
pub const MAX_CALLS_PER_SECOND: u32 = 1_000_000;

/// A token as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// For the log and for people: `explorer`.
    pub name: String,
    /// Of the token that the holder has.
    pub hash: TokenHash,
    /// What its holder may do.
    pub scopes: Vec<Scope>,
    /// Calls a second, in the long run; bursts of ten seconds' worth are let through. `None`: as
    /// many as there is room for.
    pub calls_per_second: Option<u32>,
}

/// The SHA-256 of a token, or of a name and password; written `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of what a caller shows.
    pub(super) fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Compares in a time that does not depend on where the first difference is.
    pub(super) fn matches(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HASH_PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// Not the hash of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the hash of a token is `sha256:` and 64 hex digits, as `ashlar-node token new` prints it")]
pub struct BadTokenHash;

impl FromStr for TokenHash {
    type Err = BadTokenHash;
    fn from_str(text: &str) -> Result<Self, BadTokenHash> {
        let digits = text.strip_prefix(HASH_PREFIX).ok_or(BadTokenHash)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| BadTokenHash)?;
        Ok(Self(bytes))
    }
}

/// Makes a token: its text, for the one who is to hold it, and its hash, for the configuration.
///
/// # Errors
/// The system has no randomness.
pub fn new_token() -> std::io::Result<(String, TokenHash)> {
    let mut bytes = [0; TOKEN_BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
    let text = format!("{TOKEN_PREFIX}{}", hex::encode(bytes));
    let hash = TokenHash::of(text.as_bytes());
    Ok((text, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written_and_knows_its_token_alone() {
        let (text, hash) = new_token().unwrap();
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!((text.len(), text.starts_with("ashlar_")), (7 + 64, true));
        assert!(bool::from(hash.matches(&TokenHash::of(text.as_bytes()))));
        let (other, _) = new_token().unwrap();
        assert!(!bool::from(hash.matches(&TokenHash::of(other.as_bytes()))));
        for bad in ["", "sha256:", "sha256:00", &hash.to_string()[7..], &format!("{hash}0")] {
            assert_eq!(bad.parse::<TokenHash>(), Err(BadTokenHash), "{bad}");
        }
        // SHA-256 of "abc", FIPS 180-4.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::of(b"abc").to_string(), abc);
    }
}
