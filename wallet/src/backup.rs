//! A wallet in one file: what is sealed stays sealed, the journal and the policies go along.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    journal::{self, Journal},
    keystore::{self, Keystore},
    policy::book::{self, Book},
};

const FORMAT: &str = "ashlar-wallet-backup";
const VERSION: u32 = 1;
/// A keystore and a journal at their longest.
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// As it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Backup {
    format: String,
    version: u32,
    keystore: keystore::FileContent,
    journal: journal::Content,
    /// Without it coins of several owners could never be spent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policies: Option<book::FileContent>,
}

impl Backup {
    pub(crate) fn new(keystore: &Keystore, journal: &Journal, policies: &Book) -> Self {
        let is_empty = policies.watched().is_empty();
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            keystore: keystore.content().clone(),
            journal: journal.content().clone(),
            policies: (!is_empty).then(|| policies.content()),
        }
    }

    /// Into a new file, for its owner alone; never over another.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let unwritable =
            |error| Failure::Unwritable { what: "the backup", path: path.to_owned(), error };
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| unwritable(io::Error::other(error)))?;
        let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
        let mut file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::Occupied { path: path.to_owned() },
            _ => unwritable(error),
        })?;
        let mut write = || {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(unwritable)
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let unreadable = |error| Failure::Unreadable { path: path.to_owned(), error };
        let file = File::open(path).map_err(unreadable)?;
        let text = io::read_to_string(io::Read::take(file, MAX_FILE_BYTES)).map_err(unreadable)?;
        let no_backup = |error| Failure::NoBackup { path: path.to_owned(), error };
        let backup: Self = serde_json::from_str(&text).map_err(no_backup)?;
        if backup.format != FORMAT || backup.version != VERSION {
            let what = format!("format {} version {}", backup.format, backup.version);
            return Err(no_backup(serde::de::Error::custom(what)));
        }
        Ok(backup)
    }

    /// Puts all files in place, the journal first: a wallet without its journal could spend coins
    /// twice. Answers the number of payments.
    pub(crate) fn restore(self, wallet: &Path, journal: &mut Journal) -> Result<usize, Failure> {
        journal.set_content(self.journal);
        journal.save()?;
        if let Some(policies) = &self.policies {
            book::put(wallet, policies)?;
        }
        Keystore::put(wallet, self.keystore)?;
        Ok(journal.payments().len())
    }
}
