//! Wallets that everybody may open: their words follow from their names.
//!
//! A testnet's coins are worth nothing, and a test that can count on the words of `alice` needs no
//! set-up. The faucet keeps the words that it always had, 32 zero bytes.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use ashlar_primitives::{
    Address, Lock,
    keys::{ExtendedKey, Mnemonic},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{error::TestnetError, programs::Programs};

/// The wallet that gives away.
pub const FAUCET: &str = "faucet";
/// The wallet that blocks pay.
pub const MINER: &str = "miner";
/// Of every wallet of a testnet.
pub const PASSWORD: &str = "testnet";

/// What keeps these words apart from all others that are made of a hash.
const DOMAIN: &[u8] = b"ashlar-testnet wallet ";

/// A wallet by its name, on a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownWallet {
    /// Its name.
    pub name: String,
    /// Its 24 words (BIP-39).
    pub words: String,
    /// Its first address.
    pub address: String,
}

impl KnownWallet {
    /// The wallet of a name, on the chain whose addresses begin with `prefix`.
    pub fn of(name: &str, prefix: &str) -> Self {
        let entropy: [u8; 32] = match name {
            FAUCET => [0; 32],
            _ => Sha256::new().chain_update(DOMAIN).chain_update(name).finalize().into(),
        };
        let words = Mnemonic::from_entropy(&entropy).expect("32 bytes make 24 words");
        let key = ExtendedKey::master(words.seed("").as_bytes())
            .derive(&ExtendedKey::wallet_path(0, 0, 0))
            .expect("small indexes");
        let lock = Lock::key(key.secret_key().public_key());
        let address = Address::new(prefix, lock).expect("a genesis has a prefix that may be one");
        Self {
            name: name.to_owned(),
            words: words.words().to_string(),
            address: address.to_string(),
        }
    }

    /// Makes its file, where there is none: when it is used first, since a password's key takes a
    /// while.
    ///
    /// # Errors
    /// Where the wallet's program does not make it.
    pub(crate) fn make(
        &self,
        programs: &Programs,
        file: &Path,
        genesis: &Path,
    ) -> Result<(), TestnetError> {
        if file.exists() {
            return Ok(());
        }
        let mut command = Command::new(&programs.wallet);
        command
            .arg("--wallet")
            .arg(file)
            .args(["restore", "--light-kdf", "--genesis"])
            .arg(genesis);
        command.env("ASHLAR_WALLET_MNEMONIC", &self.words).env("ASHLAR_WALLET_PASSWORD", PASSWORD);
        let output = command.stdin(Stdio::null()).output();
        let output = output
            .map_err(|error| TestnetError::Program { program: programs.wallet.clone(), error })?;
        // Somebody else may have been faster.
        if output.status.success() || file.exists() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(TestnetError::Wallet { name: self.name.clone(), words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_enough_to_have_the_words() {
        let faucet = KnownWallet::of(FAUCET, "ash");
        assert!(faucet.words.starts_with("abandon abandon") && faucet.words.ends_with(" art"));
        // As the project's genesis file has it.
        let genesis = include_str!("../../../genesis.json");
        assert!(genesis.contains(&faucet.address), "{}", faucet.address);
        let alice = KnownWallet::of("alice", "test");
        assert_eq!(alice, KnownWallet::of("alice", "test"));
        assert_ne!(alice.words, KnownWallet::of("bob", "test").words);
        assert_eq!(alice.words.split(' ').count(), 24);
    }
}
