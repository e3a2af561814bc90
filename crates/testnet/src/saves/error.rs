//! Why nothing was saved, loaded, exported or imported, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{FORMAT, MAX_SAVES};
use crate::file::NodeNumber;

/// Why nothing was saved, loaded, exported or imported.
#[derive(Debug, Error)]
pub enum SaveError {
    /// Not a name for a folder.
    #[error("{name:?} is no name for a save: 1 to 32 lower-case letters, digits and dashes")]
    Name {
        /// As given.
        name: String,
    },
    /// The name is taken.
    #[error("there is a save {name} already")]
    Taken {
        /// The name.
        name: String,
    },
    /// There is none of that name.
    #[error("there is no save {name}")]
    Missing {
        /// The name.
        name: String,
        /// Those that there are.
        saves: Vec<String>,
    },
    /// There are too many.
    #[error("there are {MAX_SAVES} saves already; delete the folders of some")]
    TooMany,
    /// It is of another chain than the testnet's.
    #[error("the save {name} is of another chain than the testnet in {folder}")]
    OtherChain {
        /// The name.
        name: String,
        /// The testnet's folder.
        folder: PathBuf,
    },
    /// It was made by another version.
    #[error("the save {name} is of format {found}; this program knows {FORMAT}")]
    OtherFormat {
        /// The name.
        name: String,
        /// Its format.
        found: u32,
    },
    /// A node that stands still can't say what it has.
    #[error("node {number} is paused")]
    Paused {
        /// Which.
        number: NodeNumber,
    },
    /// Not what `export` writes.
    #[error("{file} is no exported testnet: {reason}")]
    BadFile {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk refused.
    #[error("{path}: {error}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
}

impl SaveError {
    pub(super) fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Disk { path, error }
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "bad-name",
            Self::Taken { .. } => "save-exists",
            Self::Missing { .. } => "no-such-save",
            Self::TooMany => "too-many-saves",
            Self::OtherChain { .. } => "other-chain",
            Self::OtherFormat { .. } => "other-format",
            Self::Paused { .. } => "node-paused",
            Self::BadFile { .. } => "bad-export",
            Self::Disk { .. } => "disk",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Taken { .. } => "choose another name, or delete its folder".to_owned(),
            Self::Missing { saves, .. } if saves.is_empty() => {
                "make one: scripts/testnet.sh save NAME".to_owned()
            }
            Self::Missing { saves, .. } => format!("there are: {}", saves.join(", ")),
            Self::OtherChain { .. } => {
                "import it into a folder of its own: scripts/testnet.sh --dir FOLDER import FILE"
                    .to_owned()
            }
            Self::Paused { number } => format!("let it go on: scripts/testnet.sh resume {number}"),
            _ => return None,
        })
    }
}
