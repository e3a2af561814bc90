//! The data directory: made, locked, and what stands in it beside the ledger.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ashlar_rpc::run_file::{COOKIE_FILE, RUN_FILE};
use thiserror::Error;

/// The genesis file of the chain whose data this is.
pub(crate) const GENESIS_FILE: &str = "genesis.json";
/// How the clock runs from the start on, on a node with a development clock.
pub(crate) const CLOCK_FILE: &str = "clock.json";
pub(crate) const LOCK_FILE: &str = "LOCK";
pub(crate) const KEY_FILE: &str = "node.key";
pub(crate) const LEDGER_DIRECTORY: &str = "ledger";

/// A data directory that can't be used.
#[derive(Debug, Error)]
pub(crate) enum DatadirError {
    #[error(
        "the data directory {path} is in use by another ashlar-node; stop it, or choose another --datadir"
    )]
    InUse { path: PathBuf },
    #[error("can't use {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

/// A data directory that this process alone uses.
#[derive(Debug)]
pub(crate) struct Datadir {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Datadir {
    /// Makes the directory where it is missing (for its owner alone) and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, DatadirError> {
        make(path)?;
        let lock_file = path.join(LOCK_FILE);
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_file)
            .map_err(|error| DatadirError::Io { path: lock_file.clone(), error })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DatadirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(DatadirError::Io { path: lock_file, error }),
        }
    }

    /// Whether a node has ever kept its chain in `path`.
    pub(crate) fn has_ledger(path: &Path) -> bool {
        path.join(LEDGER_DIRECTORY).is_dir()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn genesis_file(&self) -> PathBuf {
        self.path.join(GENESIS_FILE)
    }

    pub(crate) fn cookie_file(&self) -> PathBuf {
        self.path.join(COOKIE_FILE)
    }

    pub(crate) fn run_file(&self) -> PathBuf {
        self.path.join(RUN_FILE)
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.path.join(KEY_FILE)
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.path.join(LEDGER_DIRECTORY)
    }
}

/// Makes a directory, and those above it, readable by its owner alone.
pub(crate) fn make(path: &Path) -> Result<(), DatadirError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| DatadirError::Io { path: path.to_owned(), error })
}

/// Replaces a file as a whole: whoever reads it, also after a crash, sees the old or the new.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), DatadirError> {
    let in_path = |error| DatadirError::Io { path: path.to_owned(), error };
    let temporary = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(in_path)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(in_path)?;
    fs::rename(&temporary, path).map_err(in_path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(in_path)
}
