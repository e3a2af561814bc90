//! Policies as people write them: JSON, one object for each node of the tree (PROTOCOL.md §2).
//!
//! ```json
//! {"threshold": {"k": 2, "of": [{"key": "ash1q…"}, {"after": 1000}]}}
//! ```
//!
//! A key is written as the address of that key alone, whose checksum finds a mistyped letter, and
//! read as that or as 64 hex digits.

use ashlar_primitives::{Address, Lock, Policy, PolicyId, PublicKey};
use serde::{Deserialize, Serialize};

use super::PolicyError;

/// A node of the tree and what is below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Terms {
    /// A branch of which only the id is known.
    Opaque(String),
    /// A signature by this key.
    Key(String),
    /// A preimage of this SHA-256 digest.
    Hash(String),
    /// From this height on.
    After(u32),
    /// So many blocks after the coin.
    Older(u32),
    /// All of `k` of these.
    Threshold(Threshold),
}

/// `k` of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Threshold {
    k: u8,
    of: Vec<Terms>,
}

impl Terms {
    /// How a policy is written on the chain with this address prefix.
    pub(crate) fn of(policy: &Policy, prefix: &str) -> Self {
        match policy {
            Policy::Opaque(id) => Self::Opaque(id.to_string()),
            Policy::Key(key) => Self::Key(key_text(key, prefix)),
            Policy::Hash(digest) => Self::Hash(hex::encode(digest)),
            Policy::After(height) => Self::After(*height),
            Policy::Older(blocks) => Self::Older(*blocks),
            Policy::Threshold { k, children } => {
                let of = children.iter().map(|child| Self::of(child, prefix)).collect();
                Self::Threshold(Threshold { k: *k, of })
            }
        }
    }

    /// The policy that is written here, with the limits of PROTOCOL.md §2 kept.
    ///
    /// # Errors
    /// What is no key, digest or id, or which limit is passed.
    pub(crate) fn policy(&self, prefix: &str) -> Result<Policy, PolicyError> {
        let policy = self.node(prefix)?;
        policy.validate().map_err(PolicyError::Limits)?;
        Ok(policy)
    }

    /// serde_json bounds the depth of what was read, and so this recursion.
    fn node(&self, prefix: &str) -> Result<Policy, PolicyError> {
        Ok(match self {
            Self::Opaque(id) => Policy::Opaque(
                id.parse::<PolicyId>().map_err(|_| PolicyError::NotAnId { text: id.clone() })?,
            ),
            Self::Key(key) => Policy::Key(parse_key(key, prefix)?),
            Self::Hash(digest) => Policy::Hash(parse_digest(digest)?),
            Self::After(height) => Policy::After(*height),
            Self::Older(blocks) => Policy::Older(*blocks),
            Self::Threshold(Threshold { k, of }) => {
                let children =
                    of.iter().map(|child| child.node(prefix)).collect::<Result<_, _>>()?;
                Policy::Threshold { k: *k, children }
            }
        })
    }
}

/// A key as it is shown: the address that one signature by it spends.
pub(crate) fn key_text(key: &PublicKey, prefix: &str) -> String {
    Address::new(prefix, Lock::key(*key))
        .map_or_else(|_| key.to_string(), |address| address.to_string())
}

/// Reads a key: the address of a single owner, or 64 hex digits.
///
/// # Errors
/// Where it is neither, or a key that nobody or everybody can sign for.
pub(crate) fn parse_key(text: &str, prefix: &str) -> Result<PublicKey, PolicyError> {
    let key = match text.parse::<PublicKey>() {
        Ok(key) => key,
        Err(_) => match Address::parse(text, prefix) {
            Ok(Address { lock: Lock { version: Lock::KEY, program }, .. }) => PublicKey(program),
            Ok(_) => return Err(PolicyError::AddressOfAPolicy { text: text.to_owned() }),
            Err(error) => return Err(PolicyError::NotAKey { text: text.to_owned(), error }),
        },
    };
    if !ashlar_primitives::keys::is_sound_key(&key) {
        return Err(PolicyError::UnsoundKey { text: text.to_owned() });
    }
    Ok(key)
}

/// Reads a SHA-256 digest.
///
/// # Errors
/// Where it is not 64 hex digits.
pub(crate) fn parse_digest(text: &str) -> Result<[u8; 32], PolicyError> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest)
        .map_err(|_| PolicyError::NotADigest { text: text.to_owned() })?;
    Ok(digest)
}
