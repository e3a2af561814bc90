//! The cookie file: a secret that only who may read the data directory knows.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rand::{TryRng, rngs::SysRng};

use crate::client::UserPassword;

/// The name in every cookie, as in Bitcoin Core.
const COOKIE_USER: &str = "__cookie__";
/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A written cookie, removed by [`Cookie::remove`].
#[derive(Debug)]
pub(super) struct Cookie {
    path: PathBuf,
    pub(super) secret: UserPassword,
}

impl Cookie {
    /// Writes a new secret, mode 0600, in place of an older cookie. The file appears whole or
    /// not at all, and is never readable by others, not even for a moment. A symbolic link in
    /// its place is refused: whoever planted it means another file.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something that is not a plain file stands in its place; remove it",
            ));
        }
        let mut bytes = [0; SECRET_BYTES];
        SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
        let secret = UserPassword { user: COOKIE_USER.to_owned(), password: hex::encode(bytes) };
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let mut file = create_new(&temporary)?;
        write!(file, "{}:{}", secret.user, secret.password)?;
        fs::rename(&temporary, path)?;
        Ok(Self { path: path.to_owned(), secret })
    }

    /// Removes the file, if it is still this cookie: another node may have written its own.
    pub(super) fn remove(&self) {
        let ours = format!("{}:{}", self.secret.user, self.secret.password);
        let removed = match fs::read_to_string(&self.path) {
            Ok(text) if text == ours => fs::remove_file(&self.path),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "the RPC cookie was not removed");
        }
    }
}

/// A file that did not exist (`O_EXCL`, which follows no link); one that a crash left is removed.
fn create_new(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_its_owner_can_read_it_and_each_is_new() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".cookie");
        let first = Cookie::create(&path).unwrap();
        let second = Cookie::create(&path).unwrap();
        assert_ne!(first.secret, second.secret);
        assert_eq!(second.secret.password.len(), 2 * SECRET_BYTES);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // The first has no claim on the file any more.
        first.remove();
        assert!(path.exists());
        second.remove();
        assert!(!path.exists());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_planted_link_is_refused_and_its_target_untouched() {
        let directory = tempfile::tempdir().unwrap();
        let (target, path) = (directory.path().join("target"), directory.path().join(".cookie"));
        fs::write(&target, "precious").unwrap();
        symlink(&target, &path).unwrap();
        assert!(Cookie::create(&path).is_err());
        // A dangling one too, and one in the place of the temporary file is not followed.
        fs::remove_file(&path).unwrap();
        symlink(directory.path().join("nothing"), &path).unwrap();
        assert!(Cookie::create(&path).is_err());
        fs::remove_file(&path).unwrap();
        symlink(&target, directory.path().join(".cookie.new")).unwrap();
        Cookie::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }

    #[test]
    fn what_a_crash_left_does_not_stop_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".cookie");
        fs::write(directory.path().join(".cookie.new"), "half").unwrap();
        fs::write(&path, "stale").unwrap();
        let cookie = Cookie::create(&path).unwrap();
        assert!(fs::read_to_string(&path).unwrap().ends_with(&cookie.secret.password));
    }
}
