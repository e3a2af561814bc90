//! The files of this room: small, private, replaced whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::MAX_STATE_FILE_BYTES;

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Writes a file that its owner alone can read. It is on disk, whole, before it takes the old one's
/// place: a crash leaves the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let unfinished = beside(path, ".new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // create_new follows no link that somebody laid there
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(directory)?.sync_all()
}

/// What a file of an earlier run says. `None` where there is none, or none that can be used: what
/// is in it can be learnt again, so that is no reason not to start. A damaged one is kept aside.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_STATE_FILE_BYTES).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "can't read; going on without it");
            return None;
        }
        Ok(_) => {}
    }
    match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            let aside = beside(path, ".damaged");
            tracing::warn!(path = %path.display(), %error, aside = %aside.display(),
                "damaged; going on without it, the file is kept aside");
            if let Err(error) = fs::rename(path, &aside) {
                tracing::warn!(%error, "can't move it aside");
            }
            None
        }
    }
}

/// [`replace`], in JSON. A failure is told and goes no further: the node works without.
pub(crate) fn write(path: &Path, value: &impl Serialize) {
    let written =
        serde_json::to_vec(value).map_err(io::Error::from).and_then(|bytes| replace(path, &bytes));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "can't write; tried again later");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_kept_aside_and_nothing_stops() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers.json");
        assert_eq!(read::<u32>(&path), None);
        write(&path, &7_u32);
        assert_eq!(read::<u32>(&path), Some(7));
        fs::write(&path, b"{").unwrap();
        assert_eq!(read::<u32>(&path), None);
        assert_eq!(fs::read(directory.path().join("peers.json.damaged")).unwrap(), b"{");
        write(&path, &8_u32);
        assert_eq!(read::<u32>(&path), Some(8));
    }
}
