//! A copy of a data directory that is a data directory itself.
//!
//! The ledger is a checkpoint, consistent and synced whatever the node writes meanwhile: files
//! that never change are linked where the file system allows it, so that a copy on the same one
//! takes little time and room. The node's own identity, its password and its lock are not copied.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use ashlar_ledger::{Store, StoreError};
use thiserror::Error;

use crate::{
    config::CONFIG_FILE,
    datadir::{self, DatadirError, GENESIS_FILE, LEDGER_DIRECTORY},
};

/// While it is made, a backup's name ends so.
const PARTIAL: &str = "partial";

/// Why there is no backup.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    #[error("{path} is no absolute path: name the backup from the root, on the node's machine")]
    NotAbsolute { path: PathBuf },
    #[error("{path} exists already; name a directory that does not")]
    Exists { path: PathBuf },
    #[error("{path} is what an interrupted backup left; remove it and try again")]
    Remains { path: PathBuf },
    #[error("{path} has no name that a directory can have")]
    NoName { path: PathBuf },
    #[error("can't make the backup at {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Datadir(#[from] DatadirError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BackupError {
    /// Whether another path may do.
    pub(crate) const fn is_about_path(&self) -> bool {
        matches!(
            self,
            Self::NotAbsolute { .. }
                | Self::Exists { .. }
                | Self::Remains { .. }
                | Self::NoName { .. }
        )
    }
}

/// Copies the data directory `from`, whose ledger is `store`, to `to`, which must be absolute and
/// not exist. It appears there whole and synced, or not at all.
pub(crate) fn make(store: &impl Store, from: &Path, to: &Path) -> Result<(), BackupError> {
    if !to.is_absolute() {
        return Err(BackupError::NotAbsolute { path: to.to_owned() });
    }
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: to.to_owned() });
    }
    let (Some(parent), Some(name)) = (to.parent(), to.file_name()) else {
        return Err(BackupError::NoName { path: to.to_owned() });
    };
    let in_path = |path: &Path| {
        let path = path.to_owned();
        move |error| BackupError::Io { path, error }
    };
    let mut partial_name = name.to_owned();
    partial_name.push(".");
    partial_name.push(PARTIAL);
    let partial = parent.join(partial_name);
    DirBuilder::new().mode(0o700).create(&partial).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Remains { path: partial.clone() },
        _ => BackupError::Io { path: partial.clone(), error },
    })?;
    let filled = fill(store, from, &partial);
    if let Err(error) = filled {
        // What can't be removed now is named by the next try.
        drop(fs::remove_dir_all(&partial));
        return Err(error);
    }
    sync(&partial).map_err(in_path(&partial))?;
    fs::rename(&partial, to).map_err(in_path(to))?;
    sync(parent).map_err(in_path(parent))
}

fn fill(store: &impl Store, from: &Path, partial: &Path) -> Result<(), BackupError> {
    store.checkpoint(&partial.join(LEDGER_DIRECTORY))?;
    for name in [GENESIS_FILE, CONFIG_FILE] {
        let path = from.join(name);
        match fs::read(&path) {
            Ok(content) => datadir::write_atomically(&partial.join(name), &content)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(BackupError::Io { path, error }),
        }
    }
    Ok(())
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use ashlar_ledger::MemoryStore;

    use super::*;

    #[test]
    fn a_backup_whose_checkpoint_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("copy");
        for _ in 0..2 {
            // A store in memory has no files to link.
            let error = make(&MemoryStore::new(), folder.path(), &to).unwrap_err();
            assert!(matches!(error, BackupError::Store(_)), "{error}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}
