//! Small text files that people pass around: read within a bound, written whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::files;

/// Why a file is of no use.
#[derive(Debug, Error)]
pub(crate) enum FileError {
    #[error("there is no {path}")]
    Missing { path: PathBuf },
    #[error("{path} exists already; choose another name, or move it away")]
    Exists { path: PathBuf },
    #[error("can't use {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path} is longer than such a file can be ({most_bytes} bytes)")]
    TooLong { path: PathBuf, most_bytes: u64 },
    #[error("{path} is no {what}: {error}")]
    Malformed { path: PathBuf, what: &'static str, error: serde_json::Error },
    #[error("this can't be written as JSON: {0}")]
    Unwritable(serde_json::Error),
}

impl FileError {
    fn of(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            _ => Self::Io { path, error },
        }
    }
}

/// The text of a file of at most so many bytes.
pub(crate) fn read(path: &Path, most_bytes: u64) -> Result<String, FileError> {
    let file = File::open(path).map_err(|error| FileError::of(path, error))?;
    let mut text = String::new();
    file.take(most_bytes.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|error| FileError::of(path, error))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > most_bytes {
        return Err(FileError::TooLong { path: path.to_owned(), most_bytes });
    }
    Ok(text)
}

/// The same, as JSON; `what` says in an error what it should have been.
pub(crate) fn read_json<T: DeserializeOwned>(
    path: &Path,
    most_bytes: u64,
    what: &'static str,
) -> Result<T, FileError> {
    let text = read(path, most_bytes)?;
    serde_json::from_str(&text).map_err(|error| FileError::Malformed {
        path: path.to_owned(),
        what,
        error,
    })
}

/// JSON as it is written to files.
pub(crate) fn to_text(content: &impl Serialize) -> Result<String, FileError> {
    let text = serde_json::to_string_pretty(content).map_err(FileError::Unwritable)?;
    Ok(text + "\n")
}

/// Replaces a file as a whole: after a crash the old or the new one is there.
pub(crate) fn replace_json(path: &Path, content: &impl Serialize) -> Result<(), FileError> {
    let text = to_text(content)?;
    files::replace(path, text.as_bytes()).map_err(|error| FileError::of(path, error))
}

/// Makes a file that is not there yet, for its owner alone.
pub(crate) fn create(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let mut options = fs::OpenOptions::new();
    let file = options.create_new(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .map_err(|error| FileError::of(path, error))
}
