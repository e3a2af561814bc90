//! How a secret is put under a password: Argon2id makes a key of it, XChaCha20-Poly1305 seals.

use argon2::{Algorithm, Argon2, Params, Version};
use ashlar_primitives::keys::{ExtendedKey, Mnemonic};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeystoreError;

/// Bytes of the salt, drawn anew with each password.
pub(super) const SALT_LEN: usize = 16;
/// Bytes of the nonce, drawn anew with each sealing.
pub(super) const NONCE_LEN: usize = 24;
/// Bytes of the key that a password gives.
const KEY_LEN: usize = 32;

/// The cost of trying one password. Bounded on reading, so that a file can neither be made cheap
/// to break nor dear to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// For people's wallets.
    pub(crate) const STRONG: Self = Self { memory_kib: 256 * 1024, passes: 3, lanes: 1 };
    /// The lowest allowed: for testnets.
    pub(crate) const LIGHT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    const MOST: Self = Self { memory_kib: 1024 * 1024, passes: 10, lanes: 4 };

    pub(super) fn is_allowed(self) -> bool {
        let between = |value: u32, least: u32, most: u32| (least..=most).contains(&value);
        between(self.memory_kib, Self::LIGHT.memory_kib, Self::MOST.memory_kib)
            && between(self.passes, Self::LIGHT.passes, Self::MOST.passes)
            && between(self.lanes, Self::LIGHT.lanes, Self::MOST.lanes)
    }
}

/// What a password gives. Wiped when dropped.
pub(super) struct SealKey(Zeroizing<[u8; KEY_LEN]>);

impl SealKey {
    /// Takes as long as `cost` says.
    pub(super) fn derive(password: &str, salt: &[u8], cost: Cost) -> Result<Self, KeystoreError> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_LEN))
            .map_err(|_| KeystoreError::CostOutOfBounds)?;
        let mut key = Zeroizing::new([0; KEY_LEN]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password.as_bytes(), salt, &mut *key)
            .map_err(|_| KeystoreError::CostOutOfBounds)?;
        Ok(Self(key))
    }

    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        secret: &[u8],
        along: &[u8],
    ) -> Result<Vec<u8>, KeystoreError> {
        XChaCha20Poly1305::new((&*self.0).into())
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: along })
            .map_err(|_| KeystoreError::Damaged { what: "it can't be sealed" })
    }

    /// Fails where the key is wrong, or one bit of what was sealed or stands along was changed.
    pub(super) fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        sealed: &[u8],
        along: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        XChaCha20Poly1305::new((&*self.0).into())
            .decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad: along })
            .map(Zeroizing::new)
            .map_err(|_| KeystoreError::WrongPassword)
    }
}

/// What a wallet keeps secret: words, and the passphrase that belongs to them (BIP-39).
pub(crate) struct Secret {
    pub(crate) mnemonic: Mnemonic,
    /// Often empty.
    pub(crate) passphrase: Zeroizing<String>,
}

impl Secret {
    /// Length of the entropy, the entropy, the passphrase.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let entropy = self.mnemonic.entropy();
        let mut bytes =
            Zeroizing::new(Vec::with_capacity(1 + entropy.len() + self.passphrase.len()));
        bytes.push(u8::try_from(entropy.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(&entropy);
        bytes.extend_from_slice(self.passphrase.as_bytes());
        bytes
    }

    /// The reverse; `version` is the file's. Version 1 held the entropy alone.
    pub(super) fn from_bytes(bytes: &[u8], version: u32) -> Result<Self, KeystoreError> {
        let damaged = KeystoreError::Damaged { what: "what was sealed" };
        let (entropy, passphrase) = match (version, bytes.split_first()) {
            (1, _) => (bytes, &[][..]),
            (_, Some((len, rest))) => match rest.split_at_checked(usize::from(*len)) {
                Some(parts) => parts,
                None => return Err(damaged),
            },
            (_, None) => return Err(damaged),
        };
        let passphrase = str::from_utf8(passphrase).map_err(|_| damaged)?;
        Ok(Self {
            mnemonic: Mnemonic::from_entropy(entropy)?,
            passphrase: Zeroizing::new(passphrase.to_owned()),
        })
    }

    /// The root of all keys of the wallet (SLIP-0010).
    pub(super) fn root(&self) -> ExtendedKey {
        ExtendedKey::master(self.mnemonic.seed(&self.passphrase).as_bytes())
    }
}
