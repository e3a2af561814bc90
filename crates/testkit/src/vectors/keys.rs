//! `keys.json`: mnemonics, derivation, wallet paths and addresses (PROTOCOL.md §11).

use ashlar_primitives::{
    Address, Lock, PublicKey,
    keys::{ExtendedKey, Mnemonic, SecretKey},
};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    json::{Hex, text},
};

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Case {
    Mnemonic {
        entropy: Hex,
        mnemonic: String,
        passphrase: String,
        seed: Hex,
    },
    BadMnemonic {
        mnemonic: String,
    },
    Derivation {
        seed: Hex,
        path: Vec<u32>,
        secret: Hex,
        chain_code: Hex,
        #[serde(deserialize_with = "text")]
        public_key: PublicKey,
    },
    Wallet {
        mnemonic: String,
        passphrase: String,
        seed: Hex,
        path: String,
        secret: Hex,
        chain_code: Hex,
        #[serde(deserialize_with = "text")]
        public_key: PublicKey,
        prefix: String,
        address: String,
    },
}

impl Check for Case {
    fn check(&self) -> Verdict {
        match self {
            Self::Mnemonic { entropy, mnemonic, passphrase, seed } => {
                let made = Mnemonic::from_entropy(&entropy.0)?;
                Failure::unless_equal("words", &*made.words(), mnemonic)?;
                let read = Mnemonic::parse(mnemonic)?;
                Failure::unless_equal("entropy", &*read.entropy(), &entropy.0)?;
                check_seed(&read, passphrase, seed)
            }
            Self::BadMnemonic { mnemonic } => Failure::unless_refused(Mnemonic::parse(mnemonic)),
            Self::Derivation { seed, path, secret, chain_code, public_key } => {
                let key = ExtendedKey::master(&seed.0).derive(path)?;
                check_key(&key, secret, chain_code, public_key)
            }
            Self::Wallet {
                mnemonic,
                passphrase,
                seed,
                path,
                secret,
                chain_code,
                public_key,
                prefix,
                address,
            } => {
                let mnemonic = Mnemonic::parse(mnemonic)?;
                check_seed(&mnemonic, passphrase, seed)?;
                let path = parse_wallet_path(path)?;
                let key = ExtendedKey::master(&seed.0).derive(&path)?;
                check_key(&key, secret, chain_code, public_key)?;
                let shown = Address::new(prefix, Lock::key(*public_key))?.to_string();
                Failure::unless_equal("address", &shown, address)
            }
        }
    }
}

fn check_seed(mnemonic: &Mnemonic, passphrase: &str, seed: &Hex) -> Verdict {
    let got = Hex(mnemonic.seed(passphrase).as_bytes().to_vec());
    Failure::unless_equal("seed", &got, seed)
}

fn check_key(key: &ExtendedKey, secret: &Hex, chain_code: &Hex, public_key: &PublicKey) -> Verdict {
    let got = key.secret_key();
    Failure::unless_equal("secret", &Hex(got.to_bytes().to_vec()), secret)?;
    Failure::unless_equal("chain code", &Hex(key.chain_code().to_vec()), chain_code)?;
    Failure::unless_equal("public key", &got.public_key(), public_key)?;
    let again = SecretKey::from_bytes(&secret.array()?).public_key();
    Failure::unless_equal("public key of the secret", &again, public_key)
}

/// `m/44'/9333'/account'/change'/index'`.
fn parse_wallet_path(text: &str) -> Result<[u32; 5], Failure> {
    let indexes: Vec<u32> = text
        .strip_prefix("m/")
        .and_then(|steps| {
            steps.split('/').map(|step| step.strip_suffix('\'')?.parse().ok()).collect()
        })
        .unwrap_or_default();
    match *indexes {
        [44, 9333, account, change, index] => Ok(ExtendedKey::wallet_path(account, change, index)),
        _ => Err(Failure::new(format_args!("{text} is not a wallet's path"))),
    }
}
