//! The wallet's file: a secret under a password, and in clear the addresses made from it.
//!
//! The key comes from the password by Argon2id, the secret (the entropy of a BIP-39 mnemonic) is
//! sealed by XChaCha20-Poly1305, and everything else in the file is sealed with it as associated
//! data: whoever changes a parameter, the chain or an address without the password is found out
//! at the next unlocking. Addresses are in clear so that a balance needs no password.

mod seal;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use ashlar_primitives::{
    Address, BlockId, Lock, PublicKey,
    keys::{ExtendedKey, KeyError, SecretKey},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use self::seal::{Cost, Secret};
use self::seal::{NONCE_LEN, SALT_LEN, SealKey};
use crate::files::replace;

const FORMAT: &str = "ashlar-wallet";
/// Version 1, without passphrases and watched addresses, is read too.
const VERSION: u32 = 2;
/// No wallet file is longer: 100,000 addresses fit several times over.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// The account of PROTOCOL.md §11 that this wallet uses.
const ACCOUNT: u32 = 0;

/// Which of the two rows of addresses of an account.
pub(crate) const RECEIVE: u32 = 0;
/// The row for change.
pub(crate) const CHANGE: u32 = 1;

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
    /// Addresses of others that are looked at. A file with these and nothing sealed is a
    /// watch-only wallet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    watched: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileContent {
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
    #[error("this wallet only watches: it has no keys")]
    WatchOnly,
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
    key: SealKey,
    secret: Secret,
    root: ExtendedKey,
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
        let content = serde_json::from_str(&text)
            .map_err(|error| KeystoreError::NotAWallet { path: path.to_owned(), error })?;
        Self::check(path, content)
    }

    fn check(path: &Path, content: FileContent) -> Result<Self, KeystoreError> {
        if content.open.format != FORMAT || !(1..=VERSION).contains(&content.open.version) {
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

    /// Whether there is nothing to sign with.
    pub(crate) fn is_watch_only(&self) -> bool {
        self.content.sealed.is_empty()
    }

    /// All addresses, oldest first; those that are only watched last.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, KeystoreError> {
        let own = self.keys().iter().map(|key| self.address(key));
        own.chain(self.watched()).collect()
    }

    fn watched(&self) -> impl Iterator<Item = Result<Address, KeystoreError>> {
        self.content.open.watched.iter().map(|text| {
            Address::parse(text, &self.chain().address_prefix)
                .map_err(|_| KeystoreError::Damaged { what: "a watched address" })
        })
    }

    /// The key of an address of this wallet's own.
    pub(crate) fn key_of(&self, lock: &Lock) -> Option<&OwnKey> {
        let public_key = PublicKey(lock.program);
        let text = (Lock::key(public_key) == *lock).then(|| public_key.to_string())?;
        self.keys().iter().find(|key| key.public_key == text)
    }

    /// Refuses where a file is.
    pub(crate) fn check_free(path: &Path) -> Result<(), KeystoreError> {
        match path.exists() {
            true => Err(KeystoreError::Exists { path: path.to_owned() }),
            false => Ok(()),
        }
    }

    /// What a backup keeps.
    pub(crate) const fn content(&self) -> &FileContent {
        &self.content
    }

    /// Writes what a backup kept; refuses to replace a file.
    pub(crate) fn put(path: &Path, content: FileContent) -> Result<(), KeystoreError> {
        Self::check_free(path)?;
        Self::check(path, content)?.write()
    }

    /// A wallet that only watches these addresses; refuses to replace a file.
    pub(crate) fn watch(
        path: &Path,
        chain: Chain,
        addresses: &[Address],
    ) -> Result<Self, KeystoreError> {
        Self::check_free(path)?;
        let mut open = Open::new(chain, Cost::LIGHT);
        open.watched = addresses.iter().map(ToString::to_string).collect();
        let content = FileContent { open, nonce: String::new(), sealed: String::new() };
        let keystore = Self { path: path.to_owned(), content };
        keystore.write()?;
        Ok(keystore)
    }

    fn write(&self) -> Result<(), KeystoreError> {
        let text = serde_json::to_string_pretty(&self.content)
            .map_err(|error| KeystoreError::NotAWallet { path: self.path.clone(), error })?;
        replace(&self.path, text.as_bytes())
            .map_err(|error| KeystoreError::Io { path: self.path.clone(), error })
    }

    pub(crate) fn address(&self, key: &OwnKey) -> Result<Address, KeystoreError> {
        let public_key: PublicKey =
            key.public_key.parse().map_err(|_| KeystoreError::Damaged { what: "a public key" })?;
        Address::new(&self.chain().address_prefix, Lock::key(public_key))
            .map_err(|_| KeystoreError::Damaged { what: "the address prefix" })
    }

    /// The newest address for receiving.
    pub(crate) fn receive_address(&self) -> Result<Address, KeystoreError> {
        let newest =
            self.keys().iter().filter(|key| key.change == RECEIVE).max_by_key(|key| key.index);
        match (newest, self.watched().last()) {
            (Some(newest), _) => self.address(newest),
            (None, Some(watched)) => watched,
            (None, None) => Err(KeystoreError::Damaged { what: "it has no address" }),
        }
    }

    /// Opens the seal, and so proves that nothing in the file was changed.
    pub(crate) fn unlock(self, password: &str) -> Result<Unlocked, KeystoreError> {
        if self.is_watch_only() {
            return Err(KeystoreError::WatchOnly);
        }
        let open = &self.content.open;
        let salt = decode::<SALT_LEN>(&open.salt, "the salt")?;
        let nonce = decode::<NONCE_LEN>(&self.content.nonce, "the nonce")?;
        let sealed = hex::decode(&self.content.sealed)
            .map_err(|_| KeystoreError::Damaged { what: "the sealed secret" })?;
        let key = SealKey::derive(password, &salt, open.cost)?;
        let secret = key.open(nonce, &sealed, &associated(open))?;
        let secret = Secret::from_bytes(&secret, open.version)?;
        let root = secret.root();
        Ok(Unlocked { keystore: self, key, secret, root })
    }
}

impl Open {
    fn new(chain: Chain, cost: Cost) -> Self {
        let (format, version) = (FORMAT.to_owned(), VERSION);
        let (keys, watched) = (Vec::new(), Vec::new());
        Self { format, version, chain, cost, salt: String::new(), keys, watched }
    }
}

impl Unlocked {
    /// A new wallet with its first address; refuses to replace a file.
    pub(crate) fn create(
        path: &Path,
        chain: Chain,
        secret: Secret,
        password: &str,
        cost: Cost,
    ) -> Result<Self, KeystoreError> {
        Keystore::check_free(path)?;
        let salt: [u8; SALT_LEN] = rand::random();
        let key = SealKey::derive(password, &salt, cost)?;
        let root = secret.root();
        let mut open = Open::new(chain, cost);
        open.salt = hex::encode(salt);
        let content = FileContent { open, nonce: String::new(), sealed: String::new() };
        let keystore = Keystore { path: path.to_owned(), content };
        let mut unlocked = Self { keystore, key, secret, root };
        unlocked.next_address(RECEIVE)?;
        Ok(unlocked)
    }

    /// Puts the secret under another password, under a fresh salt; [`Unlocked::save`] writes it.
    pub(crate) fn change_password(
        &mut self,
        password: &str,
        cost: Cost,
    ) -> Result<(), KeystoreError> {
        let salt: [u8; SALT_LEN] = rand::random();
        self.key = SealKey::derive(password, &salt, cost)?;
        let open = &mut self.keystore.content.open;
        (open.salt, open.cost) = (hex::encode(salt), cost);
        Ok(())
    }

    /// The cost of trying a password on this file.
    pub(crate) const fn cost(&self) -> Cost {
        self.keystore.content.open.cost
    }

    pub(crate) fn keystore(&self) -> &Keystore {
        &self.keystore
    }

    /// The words, and the passphrase that belongs to them.
    pub(crate) const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The key of an address of this wallet.
    pub(crate) fn secret_key(&self, change: u32, index: u32) -> Result<SecretKey, KeystoreError> {
        let path = ExtendedKey::wallet_path(ACCOUNT, change, index);
        Ok(self.root.derive(&path)?.secret_key())
    }

    /// Adds the next address of a row, without writing the file yet.
    pub(crate) fn next_address(&mut self, change: u32) -> Result<Address, KeystoreError> {
        let keys = &mut self.keystore.content.open.keys;
        let next = keys.iter().filter(|key| key.change == change).map(|key| key.index + 1).max();
        let index = next.unwrap_or(0);
        let path = ExtendedKey::wallet_path(ACCOUNT, change, index);
        let public_key = self.root.derive(&path)?.secret_key().public_key();
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
        content.open.version = VERSION;
        let sealed = self.key.seal(nonce, &self.secret.to_bytes(), &associated(&content.open))?;
        content.nonce = hex::encode(nonce);
        content.sealed = hex::encode(sealed);
        self.keystore.write()
    }
}

/// One encoding of what is sealed along: field by field in the order of the struct.
fn associated(open: &Open) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
    serde_json::to_vec(open).expect("strings and numbers serialise")
}

fn decode<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| KeystoreError::Damaged { what })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ashlar_primitives::keys::Mnemonic;
    use zeroize::Zeroizing;

    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret {
            mnemonic: Mnemonic::from_entropy(&[byte; 32]).unwrap(),
            passphrase: Zeroizing::default(),
        }
    }

    fn chain() -> Chain {
        Chain { name: "test".into(), id: "00".repeat(32), address_prefix: "ash".into() }
    }

    fn wallet(directory: &Path) -> PathBuf {
        let path = directory.join("wallet.json");
        let mut unlocked =
            Unlocked::create(&path, chain(), secret(0), "secret", Cost::LIGHT).unwrap();
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
        assert!(unlocked.secret().mnemonic.words().ends_with(" art"));
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
        let again = Unlocked::create(&path, chain(), secret(1), "secret", Cost::LIGHT);
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

    #[test]
    fn a_password_is_changed_and_a_passphrase_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wallet.json");
        let mut hidden = secret(0);
        hidden.passphrase = Zeroizing::new("TREZOR ü".to_owned());
        let mut unlocked = Unlocked::create(&path, chain(), hidden, "old", Cost::LIGHT).unwrap();
        let address = unlocked.keystore().receive_address().unwrap();
        assert!(!address.to_string().contains("qkf30urakm486r0w9vdl4cty34ksyyy7jw09vh6mj2546nk"));
        unlocked.save().unwrap();
        unlocked.change_password("new", Cost::LIGHT).unwrap();
        unlocked.save().unwrap();
        let opened = Keystore::read(&path).unwrap().unlock("old");
        assert!(matches!(opened, Err(KeystoreError::WrongPassword)));
        let mut opened = Keystore::read(&path).unwrap().unlock("new").unwrap();
        assert_eq!(*opened.secret().passphrase, "TREZOR ü");
        assert_eq!(opened.keystore().receive_address().unwrap(), address);
        // The same key again, so the same words and passphrase gave it.
        opened.keep(RECEIVE, 0);
        assert_eq!(opened.next_address(RECEIVE).unwrap(), address);
    }

    /// Version 1 sealed the entropy by itself.
    #[test]
    fn a_file_of_version_1_opens_and_is_written_as_version_2() {
        let directory = tempfile::tempdir().unwrap();
        let path = wallet(directory.path());
        let mut keystore = Keystore::read(&path).unwrap();
        let open = &mut keystore.content.open;
        open.version = 1;
        let salt = decode::<SALT_LEN>(&open.salt, "the salt").unwrap();
        let nonce = decode::<NONCE_LEN>(&keystore.content.nonce, "the nonce").unwrap();
        let key = SealKey::derive("secret", &salt, open.cost).unwrap();
        let sealed = key.seal(nonce, &[0; 32], &associated(&keystore.content.open)).unwrap();
        keystore.content.sealed = hex::encode(sealed);
        keystore.write().unwrap();
        let mut old = Keystore::read(&path).unwrap().unlock("secret").unwrap();
        assert!(old.secret().mnemonic.words().ends_with(" art"));
        old.save().unwrap();
        let new = Keystore::read(&path).unwrap();
        assert_eq!(new.content.open.version, 2);
        assert!(new.unlock("secret").unwrap().secret().passphrase.is_empty());
    }

    #[test]
    fn a_wallet_that_watches_has_addresses_and_no_keys() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("watch.json");
        let address = Keystore::read(&wallet(directory.path())).unwrap().receive_address().unwrap();
        Keystore::watch(&path, chain(), std::slice::from_ref(&address)).unwrap();
        let watched = Keystore::read(&path).unwrap();
        assert_eq!(watched.addresses().unwrap(), [address]);
        assert!(watched.is_watch_only() && watched.keys().is_empty());
        assert!(matches!(watched.unlock(""), Err(KeystoreError::WatchOnly)));
    }

    #[test]
    fn torn_and_foreign_files_are_refused_without_a_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = wallet(directory.path());
        let text = fs::read(&path).unwrap();
        for len in (0..text.len() - 1).step_by(7) {
            fs::write(&path, &text[..len]).unwrap();
            assert!(Keystore::read(&path).is_err(), "{len} bytes of it");
        }
        for place in 0..text.len() {
            let mut flipped = text.clone();
            flipped[place] ^= 1;
            fs::write(&path, flipped).unwrap();
            // What still reads is found out when it is unlocked, which costs too much here.
            drop(Keystore::read(&path));
        }
    }
}
