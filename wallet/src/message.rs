//! Signed messages: proof that who wrote a text has the key of an address.
//!
//! What is signed is `TH("ashlar/message", lock ‖ text)` (`TH` as in PROTOCOL.md §1), so that no
//! message can pass for a transaction, nor a transaction's signature for a message.

use ashlar_consensus::signature::verify_one;
use ashlar_primitives::{
    Address, Encode, Lock, PublicKey, SigHash, Signature,
    hash::tagged_hash,
    keys::{SecretKey, is_sound_key},
};
use thiserror::Error;

const TAG: &str = "ashlar/message";

/// Why a message proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum MessageError {
    #[error("the address is one of a policy; a message is signed by the owner of a single key")]
    NotAKey,
    #[error("anybody can sign for this address: its key is no proper one")]
    UnsoundKey,
    #[error("a signature has 128 lower-case hex digits, as `sign-message` prints it")]
    NotASignature,
    #[error("the signature is not by this address over this message: one of them was changed")]
    Wrong,
}

/// Signs a text for the address of this key.
pub(crate) fn sign(key: &SecretKey, text: &[u8]) -> Signature {
    key.sign(&digest(Lock::key(key.public_key()), text))
}

/// Whether the owner of an address signed a text.
pub(crate) fn verify(address: &Address, text: &[u8], signature: &str) -> Result<(), MessageError> {
    let key = PublicKey(address.lock.program);
    if address.lock.version != Lock::KEY {
        return Err(MessageError::NotAKey);
    }
    if !is_sound_key(&key) {
        return Err(MessageError::UnsoundKey);
    }
    let signature: Signature = signature.parse().map_err(|_| MessageError::NotASignature)?;
    if verify_one(&key, digest(address.lock, text).as_bytes(), &signature) {
        Ok(())
    } else {
        Err(MessageError::Wrong)
    }
}

fn digest(lock: Lock, text: &[u8]) -> SigHash {
    let mut message = lock.to_bytes();
    message.extend_from_slice(text);
    SigHash(tagged_hash(TAG, &message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(lock: Lock) -> Address {
        Address::new("ash", lock).unwrap()
    }

    #[test]
    fn only_the_owner_and_only_this_text() {
        let key = SecretKey::from_bytes(&[7; 32]);
        let own = address(Lock::key(key.public_key()));
        let signature = sign(&key, b"I was here").to_string();
        assert_eq!(verify(&own, b"I was here", &signature), Ok(()));
        assert_eq!(verify(&own, b"I was here.", &signature), Err(MessageError::Wrong));
        let other = address(Lock::key(SecretKey::from_bytes(&[8; 32]).public_key()));
        assert_eq!(verify(&other, b"I was here", &signature), Err(MessageError::Wrong));
        for text in ["", "zz", &signature[2..], &signature.to_uppercase()] {
            assert_eq!(verify(&own, b"I was here", text), Err(MessageError::NotASignature));
        }
    }

    #[test]
    fn a_key_that_everybody_has_proves_nothing() {
        // R the identity and s zero: by ZIP-215 good for every message under a key of small order.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut forged = [0; 64];
        forged[0] = 1;
        let lock = Lock::key(PublicKey(identity));
        let digest = digest(lock, b"anything");
        assert!(verify_one(&PublicKey(identity), digest.as_bytes(), &Signature(forged)));
        let forged = Signature(forged).to_string();
        assert_eq!(verify(&address(lock), b"anything", &forged), Err(MessageError::UnsoundKey));
        let policy = address(Lock { version: Lock::POLICY, program: [3; 32] });
        assert_eq!(verify(&policy, b"anything", &forged), Err(MessageError::NotAKey));
    }
}
