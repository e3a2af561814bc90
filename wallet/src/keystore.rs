//! The wallet's file: a secret under a password, and in clear the addresses made from it.
//!
//! The key comes from the password by Argon2id, the secret (the entropy of a BIP-39 mnemonic) is
//! sealed by XChaCha20-Poly1305, and everything else in the file is sealed with it as associated
//! data: whoever changes a parameter, the chain or an address without the password is found out
//! at the next unlocking. Addresses are in clear so that a balance needs no password.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use argon2::{Algorithm, Argon2, Params, Version};
use ashlar_primitives::{
    Address, BlockId, Lock, PublicKey,
    keys::{ExtendedKey, KeyError, Mnemonic, SecretKey},
};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

const FORMAT: &str = "ashlar-wallet";
const VERSION: u32 = 1;
const SALT_LEN: usize = 16;
const NONCE_LEN: usize = 24;
const KEY_LEN: usize = 32;
/// No wallet file is longer: 100,000 addresses fit several times over.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// The account of PROTOCOL.md §11 that this wallet uses.
const ACCOUNT: u32 = 0;

/// Which of the two rows of addresses of an account.
pub(crate) const RECEIVE: u32 = 0;
/// The row for change.
pub(crate) const CHANGE: u32 = 1;

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

    fn is_allowed(self) -> bool {
        let between = |value: u32, least: u32, most: u32| (least..=most).contains(&value);
        between(self.memory_kib, Self::LIGHT.memory_kib, Self::MOST.memory_kib)
            && between(self.passes, Self::LIGHT.passes, Self::MOST.passes)
            && between(self.lanes, Self::LIGHT.lanes, Self::MOST.lanes)
    }
}

/// The chain that a wallet is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chain {
    /// The genesis's name, for people.
    pub(crate) name: String,
    /// In hex, as shown.
    pub(crate) id: String,
    pub(crate) address_prefix: String,
}

impl Chain {
    pub(crate) fn block_id(&self) -> Result<BlockId, KeystoreError> {
        self.id.parse().map_err(|_| KeystoreError::Damaged { what: "the chain's id" })
    }
}

/// An address of this wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnKey {
    pub(crate) change: u32,
    pub(crate) index: u32,
    public_key: String,
}

/// Everything but the secret: sealed with it, but readable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    format: String,
    version: u32,
    chain: Chain,
    cost: Cost,
    salt: String,
    keys: Vec<OwnKey>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileContent {
    #[serde(flatten)]
    open: Open,
    nonce: String,
    sealed: String,
}

/// What can be wrong with a wallet's file.
#[derive(Debug, Error)]
pub(crate) enum KeystoreError {
    #[error("there is no wallet {path}; make one with `create` or `restore`")]
    Missing { path: PathBuf },
    #[error("{path} exists already; choose another --wallet, or move it away")]
    Exists { path: PathBuf },
    #[error("can't use {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path} is not a wallet: {error}")]
    NotAWallet { path: PathBuf, error: serde_json::Error },
    #[error("the wallet's file is of version {found}; this program knows {VERSION}")]
    OtherVersion { found: u32 },
    #[error(
        "the wallet's file asks for a key derivation outside the allowed bounds; it was tampered with"
    )]
    CostOutOfBounds,
    #[error("the wallet's file is damaged ({what}); restore it from the words")]
    Damaged { what: &'static str },
    #[error("wrong password, or the wallet's file was changed")]
    WrongPassword,
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A wallet as it is without its password.
#[derive(Debug)]
pub(crate) struct Keystore {
    path: PathBuf,
    content: FileContent,
}

/// A wallet with its secret: can sign and make addresses. Forgets all when dropped.
pub(crate) struct Unlocked {
    keystore: Keystore,
    key: Zeroizing<[u8; KEY_LEN]>,
    mnemonic: Mnemonic,
    account: ExtendedKey,
}

impl Keystore {
    /// Reads a wallet's file.
    pub(crate) fn read(path: &Path) -> Result<Self, KeystoreError> {
        let in_path = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => KeystoreError::Missing { path: path.to_owned() },
            _ => KeystoreError::Io { path: path.to_owned(), error },
        };
        let file = File::open(path).map_err(in_path)?;
        let text = io::read_to_string(io::Read::take(file, MAX_FILE_BYTES)).map_err(in_path)?;
        let content: FileContent = serde_json::from_str(&text)
            .map_err(|error| KeystoreError::NotAWallet { path: path.to_owned(), error })?;
        if content.open.format != FORMAT || content.open.version != VERSION {
            return Err(KeystoreError::OtherVersion { found: content.open.version });
        }
        if !content.open.cost.is_allowed() {
            return Err(KeystoreError::CostOutOfBounds);
        }
        Ok(Self { path: path.to_owned(), content })
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.content.open.chain
    }

    pub(crate) fn keys(&self) -> &[OwnKey] {
        &self.content.open.keys
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All addresses, oldest first.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, KeystoreError> {
        self.keys().iter().map(|key| self.address(key)).collect()
    }

    pub(crate) fn address(&self, key: &OwnKey) -> Result<Address, KeystoreError> {
        let public_key: PublicKey =
            key.public_key.parse().map_err(|_| KeystoreError::Damaged { what: "a public key" })?;
        Address::new(&self.chain().address_prefix, Lock::key(public_key))
            .map_err(|_| KeystoreError::Damaged { what: "the address prefix" })
    }

    /// The newest address for receiving.
    pub(crate) fn receive_address(&self) -> Result<Address, KeystoreError> {
        let newest = self
            .keys()
            .iter()
            .filter(|key| key.change == RECEIVE)
            .max_by_key(|key| key.index)
            .ok_or(KeystoreError::Damaged { what: "it has no address" })?;
        self.address(newest)
    }

    /// Opens the seal, and so proves that nothing in the file was changed.
    pub(crate) fn unlock(self, password: &str) -> Result<Unlocked, KeystoreError> {
        let open = &self.content.open;
        let salt = decode::<SALT_LEN>(&open.salt, "the salt")?;
        let nonce = decode::<NONCE_LEN>(&self.content.nonce, "the nonce")?;
        let sealed = hex::decode(&self.content.sealed)
            .map_err(|_| KeystoreError::Damaged { what: "the sealed secret" })?;
        let key = derive(password, &salt, open.cost)?;
        let entropy = XChaCha20Poly1305::new((&*key).into())
            .decrypt(&XNonce::from(nonce), Payload { msg: &sealed, aad: &associated(open) })
            .map(Zeroizing::new)
            .map_err(|_| KeystoreError::WrongPassword)?;
        let mnemonic = Mnemonic::from_entropy(&entropy)?;
        let account = ExtendedKey::master(mnemonic.seed("").as_bytes());
        Ok(Unlocked { keystore: self, key, mnemonic, account })
    }
}

impl Unlocked {
    /// A new wallet with its first address; refuses to replace a file.
    pub(crate) fn create(
        path: &Path,
        chain: Chain,
        mnemonic: Mnemonic,
        password: &str,
        cost: Cost,
    ) -> Result<Self, KeystoreError> {
        if path.exists() {
            return Err(KeystoreError::Exists { path: path.to_owned() });
        }
        let salt: [u8; SALT_LEN] = rand::random();
        let key = derive(password, &salt, cost)?;
        let account = ExtendedKey::master(mnemonic.seed("").as_bytes());
        let open = Open {
            format: FORMAT.to_owned(),
            version: VERSION,
            chain,
            cost,
            salt: hex::encode(salt),
            keys: Vec::new(),
        };
        let content = FileContent { open, nonce: String::new(), sealed: String::new() };
        let keystore = Keystore { path: path.to_owned(), content };
        let mut unlocked = Self { keystore, key, mnemonic, account };
        unlocked.next_address(RECEIVE)?;
        Ok(unlocked)
    }

    pub(crate) fn keystore(&self) -> &Keystore {
        &self.keystore
    }

    /// The words, to be shown once.
    pub(crate) fn words(&self) -> Zeroizing<String> {
        self.mnemonic.words()
    }

    /// The key of an address of this wallet.
    pub(crate) fn secret_key(&self, change: u32, index: u32) -> Result<SecretKey, KeystoreError> {
        let path = ExtendedKey::wallet_path(ACCOUNT, change, index);
        Ok(self.account.derive(&path)?.secret_key())
    }

    /// Adds the next address of a row, without writing the file yet.
    pub(crate) fn next_address(&mut self, change: u32) -> Result<Address, KeystoreError> {
        let keys = &mut self.keystore.content.open.keys;
        let next = keys.iter().filter(|key| key.change == change).map(|key| key.index + 1).max();
        let index = next.unwrap_or(0);
        let path = ExtendedKey::wallet_path(ACCOUNT, change, index);
        let public_key = self.account.derive(&path)?.secret_key().public_key();
        let key = OwnKey { change, index, public_key: public_key.to_string() };
        keys.push(key.clone());
        self.keystore.address(&key)
    }

    /// Forgets the newest addresses of a row beyond so many: what a scan made and nobody used.
    pub(crate) fn keep(&mut self, change: u32, count: u32) {
        let keys = &mut self.keystore.content.open.keys;
        keys.retain(|key| key.change != change || key.index < count);
    }

    /// Seals under a fresh nonce and replaces the file as a whole: after a crash the old or the
    /// new one is there.
    pub(crate) fn save(&mut self) -> Result<(), KeystoreError> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let content = &mut self.keystore.content;
        let entropy = self.mnemonic.entropy();
        let sealed = XChaCha20Poly1305::new((&*self.key).into())
            .encrypt(
                &XNonce::from(nonce),
                Payload { msg: &entropy, aad: &associated(&content.open) },
            )
            .map_err(|_| KeystoreError::Damaged { what: "it can't be sealed" })?;
        content.nonce = hex::encode(nonce);
        content.sealed = hex::encode(sealed);
        let text = serde_json::to_string_pretty(content).map_err(|error| {
            KeystoreError::NotAWallet { path: self.keystore.path.clone(), error }
        })?;
        replace(&self.keystore.path, text.as_bytes())
            .map_err(|error| KeystoreError::Io { path: self.keystore.path.clone(), error })
    }
}

/// One encoding of what is sealed along: field by field in the order of the struct.
fn associated(open: &Open) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
    serde_json::to_vec(open).expect("strings and numbers serialise")
}

fn derive(
    password: &str,
    salt: &[u8],
    cost: Cost,
) -> Result<Zeroizing<[u8; KEY_LEN]>, KeystoreError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_LEN))
        .map_err(|_| KeystoreError::CostOutOfBounds)?;
    let mut key = Zeroizing::new([0; KEY_LEN]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut *key)
        .map_err(|_| KeystoreError::CostOutOfBounds)?;
    Ok(key)
}

fn decode<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| KeystoreError::Damaged { what })?;
    Ok(bytes)
}

/// Writes a file as a whole, for its owner alone: after a crash the old or the new one is there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        Chain { name: "test".into(), id: "00".repeat(32), address_prefix: "ash".into() }
    }

    fn wallet(directory: &Path) -> PathBuf {
        let path = directory.join("wallet.json");
        let mnemonic = Mnemonic::from_entropy(&[0; 32]).unwrap();
        let mut unlocked =
            Unlocked::create(&path, chain(), mnemonic, "secret", Cost::LIGHT).unwrap();
        unlocked.save().unwrap();
        path
    }

    #[test]
    fn a_wallet_is_opened_by_its_password_alone_and_has_the_known_address() {
        let directory = tempfile::tempdir().unwrap();
        let path = wallet(directory.path());
        assert!(matches!(
            Keystore::read(&path).unwrap().unlock("Secret"),
            Err(KeystoreError::WrongPassword)
        ));
        let unlocked = Keystore::read(&path).unwrap().unlock("secret").unwrap();
        // The faucet of genesis.json, from the same words.
        assert_eq!(
            unlocked.keystore().receive_address().unwrap().to_string(),
            "ash1qkf30urakm486r0w9vdl4cty34ksyyy7jw09vh6mj2546nk7wj8vsagmf9p"
        );
        assert!(unlocked.words().ends_with(" art"));
    }

    #[test]
    fn a_changed_file_does_not_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = wallet(directory.path());
        let text = fs::read_to_string(&path).unwrap();
        let keystore = Keystore::read(&path).unwrap();
        let (key, salt) = (&keystore.content.open.keys[0].public_key, &keystore.content.open.salt);
        let changed = [
            text.replace(&key[..4], "ffff"),
            text.replace(&salt[..4], "0123"),
            text.replace("\"name\": \"test\"", "\"name\": \"tent\""),
            text.replace("\"address_prefix\": \"ash\"", "\"address_prefix\": \"bsh\""),
            text.replace("\"passes\": 3", "\"passes\": 4"),
        ];
        for text in changed {
            fs::write(&path, text).unwrap();
            let opened = Keystore::read(&path).unwrap().unlock("secret");
            assert!(matches!(opened, Err(KeystoreError::WrongPassword)));
        }
    }

    #[test]
    fn hostile_costs_are_refused_before_they_cost_anything() {
        let directory = tempfile::tempdir().unwrap();
        let path = wallet(directory.path());
        let text = fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("\"memory_kib\": 65536", "\"memory_kib\": 4294967295"),
            ("\"memory_kib\": 65536", "\"memory_kib\": 8"),
            ("\"passes\": 3", "\"passes\": 1"),
            ("\"passes\": 3", "\"passes\": 11"),
        ] {
            fs::write(&path, text.replace(from, to)).unwrap();
            assert!(matches!(Keystore::read(&path), Err(KeystoreError::CostOutOfBounds)), "{to}");
        }
    }

    #[test]
    fn a_wallet_is_never_replaced_by_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = wallet(directory.path());
        let mnemonic = Mnemonic::from_entropy(&[1; 32]).unwrap();
        let again = Unlocked::create(&path, chain(), mnemonic, "secret", Cost::LIGHT);
        assert!(matches!(again, Err(KeystoreError::Exists { .. })));
    }

    #[test]
    fn the_file_is_for_its_owner_alone_and_holds_no_words() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = wallet(directory.path());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(&path).unwrap().contains("abandon"));
    }
}
