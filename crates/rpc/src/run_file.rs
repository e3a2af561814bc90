//! How a program on the same machine finds a running node: by its data directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::client::Credentials;

/// The RPC server's cookie, in the data directory.
pub const COOKIE_FILE: &str = ".cookie";
/// What a running node says of itself, in the data directory.
pub const RUN_FILE: &str = "run.json";

/// Written by a node once it answers, removed when it stops cleanly. After a crash it may name a
/// node that is gone: whoever calls it finds out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// Its process id.
    pub pid: u32,
    /// `IP:PORT` of its RPC server.
    pub rpc: String,
    /// Its peer id.
    pub identity: String,
    /// Multiaddresses at which peers reach it, its peer id at the end.
    pub listening: Vec<String>,
}

/// Why no node is found in a data directory.
#[derive(Debug, Error)]
pub enum RunFileError {
    /// There is no file.
    #[error("no node runs on {datadir}; start it with `ashlar-node run`")]
    NotRunning {
        /// The data directory.
        datadir: PathBuf,
    },
    /// The file is there and can't be read.
    #[error("can't read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// The file is not what a node writes.
    #[error("{path} is damaged: {error}; start the node anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

impl RunFile {
    /// Reads the file of the node that runs on a data directory.
    pub fn read(datadir: &Path) -> Result<Self, RunFileError> {
        let path = datadir.join(RUN_FILE);
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => RunFileError::NotRunning { datadir: datadir.to_owned() },
            _ => RunFileError::Unreadable { path: path.clone(), error },
        })?;
        serde_json::from_slice(&text).map_err(|error| RunFileError::Damaged { path, error })
    }

    /// The cookie that goes with it.
    pub fn credentials(datadir: &Path) -> Credentials {
        Credentials::Cookie(datadir.join(COOKIE_FILE))
    }
}
