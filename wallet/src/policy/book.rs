//! The policies that a wallet watches, in a file beside the wallet's own.
//!
//! Nothing in it is secret, but without the policy its coins can't be spent by anybody: it belongs
//! in every backup. The address beside each policy is there for people, and checked on reading.

use std::path::{Path, PathBuf};

use ashlar_primitives::{Address, Lock, Policy};
use serde::{Deserialize, Serialize};

use super::{PolicyError, check, terms::Terms};
use crate::{exchange, keystore::Chain};

/// Appended to the wallet's name.
pub(crate) const SUFFIX: &str = ".policies.json";
const FORMAT: &str = "ashlar-policies";
const VERSION: u32 = 1;
/// A policy of 64 nodes is under 8 kB of JSON.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
const MAX_POLICIES: usize = 1_000;
const MAX_LABEL_BYTES: usize = 64;

/// What stands in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileContent {
    format: String,
    version: u32,
    chain_id: String,
    policies: Vec<FileEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    label: String,
    address: String,
    policy: Terms,
}

/// A watched policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    pub(crate) label: String,
    pub(crate) address: Address,
    pub(crate) policy: Policy,
}

/// All of a wallet's.
#[derive(Debug)]
pub(crate) struct Book {
    path: PathBuf,
    chain: Chain,
    watched: Vec<Watched>,
}

impl Book {
    /// The book beside a wallet's file; empty where there is none yet.
    pub(crate) fn read(wallet: &Path, chain: &Chain) -> Result<Self, PolicyError> {
        let path = path_beside(wallet);
        let mut book = Self { path, chain: chain.clone(), watched: Vec::new() };
        if !book.path.exists() {
            return Ok(book);
        }
        let content: FileContent =
            exchange::read_json(&book.path, MAX_FILE_BYTES, "list of policies")?;
        let known = content.format == FORMAT && content.version == VERSION;
        if !known || content.chain_id != chain.id || content.policies.len() > MAX_POLICIES {
            return Err(PolicyError::OtherBook { path: book.path });
        }
        for entry in content.policies {
            let policy = check(entry.policy.policy(&chain.address_prefix)?)?;
            let address = book.address_of(&policy)?;
            if address.to_string() != entry.address {
                return Err(PolicyError::OtherAddress { path: book.path, label: entry.label });
            }
            book.watched.push(Watched { label: entry.label, address, policy });
        }
        Ok(book)
    }

    /// Watches a policy; `None` for a label that says which of them it is by number. The file is
    /// written before this returns. A policy that is watched already keeps its label.
    pub(crate) fn add(
        &mut self,
        label: Option<&str>,
        policy: Policy,
    ) -> Result<Watched, PolicyError> {
        let policy = check(policy)?;
        let address = self.address_of(&policy)?;
        if let Some(known) = self.watched.iter().find(|known| known.address == address) {
            return Ok(known.clone());
        }
        if self.watched.len() >= MAX_POLICIES {
            return Err(PolicyError::TooMany { most: MAX_POLICIES });
        }
        let label = match label {
            Some(label) => label.to_owned(),
            None => self.free_label(),
        };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if label.is_empty() || label.len() > MAX_LABEL_BYTES || !label.bytes().all(fits) {
            return Err(PolicyError::BadLabel { label, most: MAX_LABEL_BYTES });
        }
        if self.watched.iter().any(|known| known.label == label) {
            return Err(PolicyError::LabelTaken { label });
        }
        let watched = Watched { label, address, policy };
        self.watched.push(watched.clone());
        self.write()?;
        Ok(watched)
    }

    /// All of them, oldest first.
    pub(crate) fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// The policy of this label or address.
    pub(crate) fn find(&self, name: &str) -> Result<&Watched, PolicyError> {
        self.watched
            .iter()
            .find(|known| known.label == name || known.address.to_string() == name)
            .ok_or_else(|| PolicyError::Unknown { name: name.to_owned() })
    }

    fn free_label(&self) -> String {
        let taken = |label: &str| self.watched.iter().any(|known| known.label == label);
        let mut number = self.watched.len();
        loop {
            number += 1;
            let label = format!("policy{number}");
            if !taken(&label) {
                return label;
            }
        }
    }

    fn address_of(&self, policy: &Policy) -> Result<Address, PolicyError> {
        Address::new(&self.chain.address_prefix, Lock::policy(policy.id()))
            .map_err(|_| PolicyError::OtherBook { path: self.path.clone() })
    }

    fn write(&self) -> Result<(), PolicyError> {
        Ok(exchange::replace_json(&self.path, &self.content())?)
    }

    /// As it is written.
    pub(crate) fn content(&self) -> FileContent {
        let entry = |watched: &Watched| FileEntry {
            label: watched.label.clone(),
            address: watched.address.to_string(),
            policy: Terms::of(&watched.policy, &self.chain.address_prefix),
        };
        FileContent {
            format: FORMAT.to_owned(),
            version: VERSION,
            chain_id: self.chain.id.clone(),
            policies: self.watched.iter().map(entry).collect(),
        }
    }
}

/// Writes what a backup kept.
pub(crate) fn put(wallet: &Path, content: &FileContent) -> Result<(), PolicyError> {
    Ok(exchange::replace_json(&path_beside(wallet), content)?)
}

/// `alice.policies.json` beside `alice.json`.
pub(crate) fn path_beside(wallet: &Path) -> PathBuf {
    let name = wallet.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".json").unwrap_or(&name);
    wallet.with_file_name(format!("{name}{SUFFIX}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::policy::{multisig, tests::key};

    fn chain() -> Chain {
        Chain { name: "test".into(), id: "00".repeat(32), address_prefix: "ash".into() }
    }

    #[test]
    fn what_is_watched_is_found_again_by_label_and_address() {
        let folder = tempfile::tempdir().unwrap();
        let wallet = folder.path().join("alice.json");
        let mut book = Book::read(&wallet, &chain()).unwrap();
        let two = multisig(2, vec![key(1), key(2)]).unwrap();
        let watched = book.add(Some("us"), two.clone()).unwrap();
        assert_eq!(book.add(Some("again"), two.clone()).unwrap().label, "us");
        assert_eq!(book.add(None, Policy::Key(key(1))).unwrap().label, "policy2");
        let book = Book::read(&wallet, &chain()).unwrap();
        assert_eq!(book.watched().len(), 2);
        assert_eq!(book.find("us").unwrap(), &watched);
        assert_eq!(book.find(&watched.address.to_string()).unwrap().policy, two);
        assert!(matches!(book.find("them"), Err(PolicyError::Unknown { .. })));
        assert!(folder.path().join("alice.policies.json").exists());
        // As a backup keeps it and puts it back.
        let again = folder.path().join("again.json");
        put(&again, &book.content()).unwrap();
        assert_eq!(Book::read(&again, &chain()).unwrap().watched(), book.watched());
    }

    #[test]
    fn a_policy_and_its_address_belong_together() {
        let folder = tempfile::tempdir().unwrap();
        let wallet = folder.path().join("alice.json");
        let mut book = Book::read(&wallet, &chain()).unwrap();
        let one = book.add(Some("one"), Policy::Key(key(1))).unwrap().address.to_string();
        let two = book.add(Some("two"), Policy::Key(key(2))).unwrap().address.to_string();
        let label = book.add(Some("two"), Policy::Key(key(3)));
        assert!(matches!(label, Err(PolicyError::LabelTaken { .. })));
        for label in ["", "a b", "../x", &"a".repeat(65)] {
            let refused = book.add(Some(label), Policy::Key(key(3)));
            assert!(matches!(refused, Err(PolicyError::BadLabel { .. })), "{label}");
        }
        let path = path_beside(&wallet);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(&one, &two)).unwrap();
        let swapped = Book::read(&wallet, &chain());
        assert!(matches!(swapped, Err(PolicyError::OtherAddress { .. })));
        let other = Chain { id: "11".repeat(32), ..chain() };
        assert!(matches!(Book::read(&wallet, &other), Err(PolicyError::OtherBook { .. })));
    }
}
