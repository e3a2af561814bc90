//! Keys: BIP-39 mnemonics, SLIP-0010 derivation for Ed25519, signing (PROTOCOL.md §11).
//!
//! Every secret type is zeroised on drop, can't be compared or copied by accident, and shows
//! nothing in `Debug`.

use core::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::hash::{PublicKey, SigHash, Signature};

/// Why words are not a mnemonic, or a path not a path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// A mnemonic has 12, 15, 18, 21 or 24 words.
    #[error("a mnemonic has 12, 15, 18, 21 or 24 words, not {count}")]
    WordCount {
        /// How many there are.
        count: usize,
    },
    /// A word that BIP-39's English list does not have. It is not repeated here: it may be a
    /// secret in the wrong place.
    #[error("word {place} is not in the list of mnemonic words")]
    UnknownWord {
        /// Which word, from 1.
        place: usize,
    },
    /// All words are known, but they don't belong together.
    #[error("these words are not a mnemonic together: look for a wrong or misplaced word")]
    Checksum,
    /// Entropy of another length than BIP-39 knows.
    #[error("a mnemonic is made from 16, 20, 24, 28 or 32 bytes of entropy, not {bytes}")]
    EntropyLength {
        /// How many were given.
        bytes: usize,
    },
    /// Hardening takes the index's top bit.
    #[error("{index} is too large for a derivation index: at most 2147483647")]
    Index {
        /// The index given.
        index: u32,
    },
}

/// The seed that a mnemonic and a passphrase stand for.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 64]);

impl Seed {
    /// The secret bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

/// A BIP-39 mnemonic in English.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Mnemonic(bip39::Mnemonic);

impl Mnemonic {
    /// From 16 or 32 bytes (any BIP-39 length) of entropy of the caller's.
    ///
    /// # Errors
    /// [`KeyError::EntropyLength`].
    pub fn from_entropy(entropy: &[u8]) -> Result<Self, KeyError> {
        bip39::Mnemonic::from_entropy_in(bip39::Language::English, entropy)
            .map(Self)
            .map_err(|_| KeyError::EntropyLength { bytes: entropy.len() })
    }

    /// Reads words separated by white space, checks the checksum.
    ///
    /// # Errors
    /// The first reason why the words are not a mnemonic.
    pub fn parse(words: &str) -> Result<Self, KeyError> {
        bip39::Mnemonic::parse_in(bip39::Language::English, words).map(Self).map_err(|error| {
            match error {
                bip39::Error::BadWordCount(count) => KeyError::WordCount { count },
                bip39::Error::UnknownWord(index) => {
                    KeyError::UnknownWord { place: index.saturating_add(1) }
                }
                _ => KeyError::Checksum,
            }
        })
    }

    /// The words, space separated.
    pub fn words(&self) -> Zeroizing<String> {
        // Set aside once, so that no reallocation leaves a copy behind: the longest word of the
        // list has 8 letters.
        let mut words = Zeroizing::new(String::with_capacity(24 * 9));
        for word in self.0.words() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        words
    }

    /// The entropy that the words stand for.
    pub fn entropy(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_entropy())
    }

    /// The seed under a passphrase (may be empty).
    pub fn seed(&self, passphrase: &str) -> Seed {
        Seed(self.0.to_seed(passphrase))
    }
}

/// A node of the SLIP-0010 tree: a secret key and a chain code.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ExtendedKey {
    secret: [u8; 32],
    chain_code: [u8; 32],
}

impl ExtendedKey {
    /// The purpose of BIP-44.
    pub const PURPOSE: u32 = 44;
    /// The coin type of Ashlar.
    pub const COIN_TYPE: u32 = 9333;

    /// SLIP-0010 knows only hardened children for Ed25519.
    const HARDENED: u32 = 1 << 31;

    /// The master key of a seed of any length (SLIP-0010).
    pub fn master(seed: &[u8]) -> Self {
        Self::from_hmac(b"ed25519 seed", &[seed])
    }

    /// Derives along hardened indexes; each is given without the hardening bit.
    ///
    /// # Errors
    /// [`KeyError::Index`] for one of 2^31 or more.
    pub fn derive(&self, path: &[u32]) -> Result<Self, KeyError> {
        let start = Self { secret: self.secret, chain_code: self.chain_code };
        path.iter().try_fold(start, |parent, &index| {
            if index >= Self::HARDENED {
                return Err(KeyError::Index { index });
            }
            let index = (index | Self::HARDENED).to_be_bytes();
            Ok(Self::from_hmac(&parent.chain_code, &[&[0], &parent.secret, &index]))
        })
    }

    /// `m/44'/9333'/account'/change'/index'`.
    pub const fn wallet_path(account: u32, change: u32, index: u32) -> [u32; 5] {
        [Self::PURPOSE, Self::COIN_TYPE, account, change, index]
    }

    /// The signing key.
    pub fn secret_key(&self) -> SecretKey {
        SecretKey::from_bytes(&self.secret)
    }

    /// The half of this node that is no key, but as secret as one.
    pub const fn chain_code(&self) -> [u8; 32] {
        self.chain_code
    }

    /// HMAC-SHA512, its left half the secret and its right half the chain code.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    fn from_hmac(key: &[u8], message: &[&[u8]]) -> Self {
        let mut hmac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC has no wrong key length");
        for part in message {
            hmac.update(part);
        }
        let mut output = hmac.finalize().into_bytes();
        let mut node = Self { secret: [0; 32], chain_code: [0; 32] };
        let (left, right) = output.split_at(32);
        node.secret.copy_from_slice(left);
        node.chain_code.copy_from_slice(right);
        output.as_mut_slice().zeroize();
        node
    }
}

/// An Ed25519 secret key.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From 32 secret bytes.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The 32 secret bytes.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// RFC 8032 over the 32 bytes of the digest.
    pub fn sign(&self, digest: &SigHash) -> Signature {
        self.sign_bytes(digest.as_bytes())
    }

    /// RFC 8032 over any message.
    pub fn sign_bytes(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

/// Whether a signature under this key says that its owner signed: it is a point (else nothing ever
/// verifies, and what is paid to it is lost), and not of small order (else anyone signs under it).
/// No rule asks for it (PROTOCOL.md §3, ZIP-215): it is for those who are about to trust a key.
pub fn is_sound_key(key: &PublicKey) -> bool {
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| !key.is_weak())
}

// `SigningKey` wipes itself on drop.
impl ZeroizeOnDrop for SecretKey {}

macro_rules! silent_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            /// The name alone.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    )*};
}
silent_debug!(Seed, Mnemonic, ExtendedKey, SecretKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_entropy_come_back() {
        for len in [16, 20, 24, 28, 32] {
            let mnemonic = Mnemonic::from_entropy(&vec![0xa5; len]).unwrap();
            let again = Mnemonic::parse(&mnemonic.words()).unwrap();
            assert_eq!(*again.entropy(), vec![0xa5; len]);
        }
        assert_eq!(
            Mnemonic::from_entropy(&[0; 17]).unwrap_err(),
            KeyError::EntropyLength { bytes: 17 }
        );
    }

    #[test]
    fn a_wrong_word_is_named_by_its_place() {
        let error = Mnemonic::parse(&"zoo ".repeat(11).replacen("zoo", "zoom", 1)).unwrap_err();
        assert_eq!(error, KeyError::WordCount { count: 11 });
        let error = Mnemonic::parse(&"zoo ".repeat(12).replacen("zoo", "zoom", 1)).unwrap_err();
        assert_eq!(error, KeyError::UnknownWord { place: 1 });
        let error = Mnemonic::parse(&"zoo ".repeat(12)).unwrap_err();
        assert_eq!(error, KeyError::Checksum);
    }

    #[test]
    fn derivation_is_step_by_step_and_hardened() {
        let master = ExtendedKey::master(&[1; 16]);
        let path = ExtendedKey::wallet_path(0, 1, 7);
        let key = |node: ExtendedKey| node.secret_key().public_key();
        let steps = path
            .iter()
            .fold(master.derive(&[]).unwrap(), |node, &index| node.derive(&[index]).unwrap());
        assert_eq!(key(master.derive(&path).unwrap()), key(steps));
        let index = 1 << 31;
        assert_eq!(master.derive(&[0, index]).unwrap_err(), KeyError::Index { index });
    }

    #[test]
    fn keys_that_nobody_or_everybody_owns_are_not_sound() {
        assert!(is_sound_key(&SecretKey::from_bytes(&[7; 32]).public_key()));
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut no_point = [0; 32];
        no_point[0] = 2;
        for key in [identity, [0; 32], no_point] {
            assert!(!is_sound_key(&PublicKey(key)), "{key:?}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let mnemonic = Mnemonic::from_entropy(&[0; 16]).unwrap();
        let master = ExtendedKey::master(mnemonic.seed("").as_bytes());
        assert_eq!(format!("{mnemonic:?}"), "Mnemonic(secret)");
        assert_eq!(format!("{:?}", mnemonic.seed("")), "Seed(secret)");
        assert_eq!(format!("{master:?}"), "ExtendedKey(secret)");
        assert_eq!(format!("{:?}", master.secret_key()), "SecretKey(secret)");
    }
}
