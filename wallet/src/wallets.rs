//! Where wallets lie: a folder of named ones, one of them the default.

use std::{
    env,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{cli::Arguments, failure::Kind, files, policy::book};

/// The file that names the default wallet.
const DEFAULT_FILE: &str = "default";
/// The default wallet's name where nobody chose one.
const FIRST_NAME: &str = "main";
const SUFFIX: &str = ".json";
/// The journal beside a wallet's file (see `journal`).
const JOURNAL_SUFFIX: &str = ".journal.json";
const MAX_NAME_BYTES: usize = 64;

/// Why a wallet is not found by its name.
#[derive(Debug, Error)]
pub(crate) enum WalletsError {
    #[error(
        "{name:?} is no name for a wallet: letters, digits, - and _, at most {MAX_NAME_BYTES} (a file's name ends in .json)"
    )]
    Name { name: String },
    #[error("nobody knows where wallets lie: give --wallets DIR, or set HOME")]
    NoHome,
    #[error("there is no wallet {name}; there are: {known}")]
    Unknown { name: String, known: String },
    #[error("can't use {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

impl WalletsError {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Name { .. } | Self::NoHome => Kind::Usage,
            Self::Unknown { .. } => Kind::Wallet,
            Self::Io { .. } => Kind::System,
        }
    }
}

/// The folder of named wallets. It need not exist before the first is made.
#[derive(Clone, Debug)]
pub(crate) struct Wallets {
    directory: PathBuf,
}

impl Wallets {
    /// The folder that the user names, or that of the user's data.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self, WalletsError> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let directory = match (given, set("XDG_DATA_HOME"), set("HOME")) {
            (Some(directory), ..) => directory.to_owned(),
            (None, Some(data), _) => PathBuf::from(data).join("ashlar/wallets"),
            (None, None, Some(home)) => PathBuf::from(home).join(".local/share/ashlar/wallets"),
            (None, None, None) => return Err(WalletsError::NoHome),
        };
        Ok(Self { directory })
    }

    /// The file of the wallet that a command is about.
    pub(crate) fn chosen(arguments: &Arguments) -> Result<PathBuf, WalletsError> {
        match &arguments.wallet {
            Some(file) if file.contains('/') || file.ends_with(SUFFIX) => Ok(PathBuf::from(file)),
            Some(name) => Self::find(arguments.wallets.as_deref())?.path(name),
            None => {
                let wallets = Self::find(arguments.wallets.as_deref())?;
                wallets.path(&wallets.default_name()?)
            }
        }
    }

    /// Where the wallet of this name lies, or would.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf, WalletsError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(fits) {
            return Err(WalletsError::Name { name: name.to_owned() });
        }
        Ok(self.directory.join(format!("{name}{SUFFIX}")))
    }

    /// All names, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>, WalletsError> {
        let in_directory = |error| WalletsError::Io { path: self.directory.clone(), error };
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(in_directory(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(in_directory)?.file_name();
            let name = name
                .to_str()
                .filter(|name| !name.ends_with(JOURNAL_SUFFIX) && !name.ends_with(book::SUFFIX));
            if let Some(name) = name.and_then(|name| name.strip_suffix(SUFFIX)) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The name that the user chose, or the only wallet's, or `main`.
    pub(crate) fn default_name(&self) -> Result<String, WalletsError> {
        let path = self.directory.join(DEFAULT_FILE);
        match fs::read_to_string(&path) {
            Ok(name) => Ok(name.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut names = self.names()?;
                let only = if names.len() == 1 { names.pop() } else { None };
                Ok(only.unwrap_or_else(|| FIRST_NAME.to_owned()))
            }
            Err(error) => Err(WalletsError::Io { path, error }),
        }
    }

    /// Makes a wallet that exists the default.
    pub(crate) fn set_default(&self, name: &str) -> Result<(), WalletsError> {
        self.path(name)?;
        let names = self.names()?;
        if !names.iter().any(|known| known == name) {
            return Err(WalletsError::Unknown { name: name.to_owned(), known: names.join(", ") });
        }
        let path = self.directory.join(DEFAULT_FILE);
        files::replace(&path, format!("{name}\n").as_bytes())
            .map_err(|error| WalletsError::Io { path, error })
    }
}

/// Makes the folder of a wallet to be, for its owner alone.
pub(crate) fn make_folder(wallet: &Path) -> Result<(), WalletsError> {
    let Some(folder) = wallet.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| WalletsError::Io { path: folder.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_chosen_one_or_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let wallets = Wallets::find(Some(&folder.path().join("made/later"))).unwrap();
        assert_eq!(wallets.names().unwrap(), Vec::<String>::new());
        assert_eq!(wallets.default_name().unwrap(), "main");
        let alice = wallets.path("alice").unwrap();
        make_folder(&alice).unwrap();
        fs::write(&alice, "").unwrap();
        fs::write(alice.with_file_name("alice.journal.json"), "").unwrap();
        fs::write(book::path_beside(&alice), "").unwrap();
        assert_eq!(wallets.default_name().unwrap(), "alice");
        fs::write(wallets.path("bob").unwrap(), "").unwrap();
        assert_eq!(wallets.names().unwrap(), ["alice", "bob"]);
        assert_eq!(wallets.default_name().unwrap(), "main");
        wallets.set_default("bob").unwrap();
        assert_eq!(wallets.default_name().unwrap(), "bob");
        assert!(matches!(wallets.set_default("carol"), Err(WalletsError::Unknown { .. })));
    }

    #[test]
    fn a_name_never_leads_out_of_the_folder() {
        let wallets = Wallets::find(Some(Path::new("/w"))).unwrap();
        for name in ["", "..", "a/b", "a.b", "ä", &"a".repeat(65)] {
            assert!(matches!(wallets.path(name), Err(WalletsError::Name { .. })), "{name}");
        }
        assert_eq!(wallets.path("a-B_9").unwrap(), Path::new("/w/a-B_9.json"));
    }
}
