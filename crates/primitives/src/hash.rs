//! Hash functions and the 32- and 64-byte newtypes (PROTOCOL.md §1).
//!
//! Ids are shown as hex of the *reversed* bytes, as in Bitcoin; keys, signatures, policy ids,
//! commitments and digests as plain hex.

use core::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader};

/// `H(m)`: SHA-256 of SHA-256 (§1).
pub fn double_sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(message)).into()
}

/// `H(left ‖ right)`: an inner node of a merkle tree (§4).
pub fn double_sha256_pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(Sha256::new().chain_update(left).chain_update(right).finalize()).into()
}

/// SHA-256 once: preimages of policies (§2), message ids (§12).
pub fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// `TH(tag, m)`: SHA-256(SHA-256(tag) ‖ SHA-256(tag) ‖ m) (§1).
pub fn tagged_hash(tag: &str, message: &[u8]) -> [u8; 32] {
    let tag = Sha256::digest(tag.as_bytes());
    Sha256::new().chain_update(tag).chain_update(tag).chain_update(message).finalize().into()
}

/// [`tagged_hash`] under a tag that is used again and again: the block that it makes is hashed
/// once.
#[derive(Debug)]
pub struct Tag {
    name: &'static str,
    midstate: OnceLock<Sha256>,
}

impl Tag {
    /// By its name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, midstate: OnceLock::new() }
    }

    /// `TH(tag, m)`, the message in parts that follow each other.
    pub fn hash(&self, message: &[&[u8]]) -> [u8; 32] {
        let midstate = self.midstate.get_or_init(|| {
            let name = Sha256::digest(self.name.as_bytes());
            Sha256::new().chain_update(name).chain_update(name)
        });
        let mut hasher = midstate.clone();
        for part in message {
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

/// Text that is not the hex form of a fixed-width value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected {expected} lower-case hex digits")]
pub struct ParseHexError {
    /// How many digits the type has.
    pub expected: usize,
}

macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal, $order:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// All bytes zero.
            pub const ZERO: Self = Self([0; $len]);

            /// The bytes in the order of the encoding.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl Ord for $name {
            /// By bytes. The first word nearly always decides, without a call.
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                let word = |it: &Self| it.0.first_chunk().copied().map(u64::from_be_bytes);
                word(self).cmp(&word(other)).then_with(|| self.0.cmp(&other.0))
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Hash for $name {
            /// One write: all are of one length.
            #[inline]
            fn hash<H: Hasher>(&self, hasher: &mut H) {
                hasher.write(&self.0);
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
            fn encoded_len(&self) -> usize {
                $len
            }
        }

        impl Decode for $name {
            const MIN_LEN: usize = $len;
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self(reader.array()?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut bytes = self.0;
                if bytes_newtype!(@is_reversed $order) {
                    bytes.reverse();
                }
                f.write_str(&hex::encode(bytes))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = ParseHexError;
            /// Lower-case hex only, exactly as `Display` writes it.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let error = ParseHexError { expected: $len * 2 };
                let mut bytes = [0; $len];
                if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Err(error);
                }
                hex::decode_to_slice(text, &mut bytes).map_err(|_| error)?;
                if bytes_newtype!(@is_reversed $order) {
                    bytes.reverse();
                }
                Ok(Self(bytes))
            }
        }
    };
    (@is_reversed reversed) => { true };
    (@is_reversed plain) => { false };
}

bytes_newtype!(
    /// `H(header)`; also, as a little-endian number, what proof of work is measured on (§4, §5).
    BlockId, 32, reversed
);
bytes_newtype!(
    /// `H(body)` of a transaction, or a coinbase id where an outpoint names a coinbase (§3, §9).
    Txid, 32, reversed
);
bytes_newtype!(
    /// `H(transaction)`, signatures included: the merkle leaf (§3, §4).
    Wtxid, 32, reversed
);
bytes_newtype!(
    /// `H(coinbase)`: the first merkle leaf, and the txid of the coinbase's coins (§4).
    CoinbaseId, 32, reversed
);
bytes_newtype!(
    /// The root over a block's coinbase id and wtxids (§4).
    MerkleRoot, 32, reversed
);
bytes_newtype!(
    /// An Ed25519 public key as given, not checked to be a point (§2).
    PublicKey, 32, plain
);
bytes_newtype!(
    /// An Ed25519 signature as given (§3).
    Signature, 64, plain
);
bytes_newtype!(
    /// The id of a policy, the program of a lock of version 1 (§2).
    PolicyId, 32, plain
);
bytes_newtype!(
    /// The commitment to a UTXO set (§6).
    Commitment, 32, plain
);
bytes_newtype!(
    /// The digest that all signatures of a transaction sign (§3).
    SigHash, 32, plain
);

impl From<CoinbaseId> for Txid {
    /// The outpoints of a coinbase's coins name it by its id (§9).
    fn from(id: CoinbaseId) -> Self {
        Self(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shown_reversed_and_keys_are_not() {
        let mut bytes = [0; 32];
        bytes[0] = 0xab;
        let plain = format!("ab{}", "0".repeat(62));
        let reversed = format!("{}ab", "0".repeat(62));
        assert_eq!(BlockId(bytes).to_string(), reversed);
        assert_eq!(PublicKey(bytes).to_string(), plain);
        assert_eq!(reversed.parse(), Ok(BlockId(bytes)));
        assert_eq!(plain.parse(), Ok(PublicKey(bytes)));
    }

    #[test]
    fn a_kept_tag_hashes_as_one_that_is_not() {
        let tag = Tag::new("ashlar/sighash");
        for message in [&b""[..], b"one", &[7; 200]] {
            let (front, back) = message.split_at(message.len() / 2);
            assert_eq!(tag.hash(&[front, back]), tagged_hash("ashlar/sighash", message));
            assert_eq!(tag.hash(&[message]), tagged_hash("ashlar/sighash", message));
        }
    }

    #[test]
    fn only_what_display_writes_is_read() {
        let error = ParseHexError { expected: 64 };
        let short = "0".repeat(62);
        for text in
            ["", &short, &format!("{short}0"), &format!("{short}000"), &format!("{short}AB")]
        {
            assert_eq!(text.parse::<Txid>(), Err(error), "{text}");
        }
        assert_eq!(format!("{short}g0").parse::<Txid>(), Err(error));
        assert_eq!(format!("{}é", "0".repeat(62)).parse::<Txid>(), Err(error));
    }

    #[test]
    fn double_sha256_of_nothing_is_the_known_one_and_pairs_are_joined() {
        let empty = "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456";
        assert_eq!(hex::encode(double_sha256(b"")), empty);
        assert_eq!(
            double_sha256_pair(&[1; 32], &[2; 32]),
            double_sha256(&[[1; 32], [2; 32]].concat())
        );
    }
}
