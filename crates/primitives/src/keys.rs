//! Keys: BIP-39 mnemonics, SLIP-0010 derivation for Ed25519, signing (PROTOCOL.md §11).
//! Every secret type is zeroised on drop and has no revealing `Debug`.

use thiserror::Error;

use crate::hash::{PublicKey, SigHash, Signature};

/// Why words are not a mnemonic, or a path not a path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {}

/// The seed that a mnemonic and a passphrase stand for.
pub struct Seed([u8; 64]);

/// A BIP-39 mnemonic in English.
pub struct Mnemonic { /* bip39::Mnemonic inside */ }

impl Mnemonic {
    /// From 16 or 32 bytes (any BIP-39 length) of entropy of the caller's.
    pub fn from_entropy(entropy: &[u8]) -> Result<Self, KeyError> { todo!() }
    /// Reads words, checks the checksum.
    pub fn parse(words: &str) -> Result<Self, KeyError> { todo!() }
    /// The words, space separated.
    pub fn words(&self) -> zeroize::Zeroizing<String> { todo!() }
    /// The seed under a passphrase (may be empty).
    pub fn seed(&self, passphrase: &str) -> Seed { todo!() }
}

/// A node of the SLIP-0010 tree: a secret key and a chain code.
pub struct ExtendedKey { /* secret: [u8;32], chain_code: [u8;32] */ }

impl ExtendedKey {
    /// The master key of a seed of any length (SLIP-0010).
    pub fn master(seed: &[u8]) -> Self { todo!() }
    /// Derives along hardened indexes; each is given without the hardening bit.
    pub fn derive(&self, path: &[u32]) -> Result<Self, KeyError> { todo!() }
    /// `m/44'/9333'/account'/change'/index'`.
    pub fn wallet_path(account: u32, change: u32, index: u32) -> [u32; 5] { [44, 9333, account, change, index] }
    /// The signing key.
    pub fn secret_key(&self) -> SecretKey { todo!() }
    /// For vectors.
    pub fn chain_code(&self) -> [u8; 32] { todo!() }
}

/// An Ed25519 secret key.
pub struct SecretKey { /* ed25519_dalek::SigningKey */ }

impl SecretKey {
    /// From 32 secret bytes.
    pub fn from_bytes(secret: &[u8; 32]) -> Self { todo!() }
    /// The public half.
    pub fn public_key(&self) -> PublicKey { todo!() }
    /// RFC 8032 over the 32 bytes of the digest.
    pub fn sign(&self, digest: &SigHash) -> Signature { todo!() }
    /// RFC 8032 over any message.
    pub fn sign_bytes(&self, message: &[u8]) -> Signature { todo!() }
}
