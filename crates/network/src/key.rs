//! The node's identity: an Ed25519 key that outlives restarts.

use std::{
    fs::{File, Permissions},
    io::{self, ErrorKind, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use libp2p::identity::Keypair;

use crate::{error::NetworkError, files};

/// Longer than any Ed25519 key in libp2p's protobuf encoding (68 bytes).
const MAX_KEY_BYTES: u64 = 256;

/// Reads the key, or makes one where there is none. A new key is on disk, whole and readable by its
/// owner alone, before it is used: a crash leaves either no file or a good one.
pub(crate) fn load_or_create(path: &Path) -> Result<Keypair, NetworkError> {
    let failed = |source| NetworkError::KeyFile { path: path.to_owned(), source };
    match File::open(path) {
        Ok(file) => load(file, path),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = Keypair::generate_ed25519();
            create(&key, path).map_err(failed)?;
            tracing::info!(path = %path.display(), identity = %key.public().to_peer_id(), "made a new identity");
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

fn load(file: File, path: &Path) -> Result<Keypair, NetworkError> {
    let failed = |source| NetworkError::KeyFile { path: path.to_owned(), source };
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the identity key was readable by others; made it private");
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    }
    let mut bytes = Vec::new();
    file.take(MAX_KEY_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Keypair::from_protobuf_encoding(&bytes)
        .map_err(|_| NetworkError::KeyDamaged { path: path.to_owned() })
}

fn create(key: &Keypair, path: &Path) -> io::Result<()> {
    let bytes = key.to_protobuf_encoding().map_err(io::Error::other)?;
    files::replace(path, &bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        let first = load_or_create(&path).unwrap();
        let again = load_or_create(&path).unwrap();
        assert_eq!(first.public(), again.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_half_written_key_of_a_crash_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        fs::write(path.with_extension("key.new"), b"half").unwrap();
        load_or_create(&path).unwrap();
        assert!(!path.with_extension("key.new").exists());
    }

    #[test]
    fn an_open_key_is_made_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        load_or_create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        let mut bytes = Keypair::generate_ed25519().to_protobuf_encoding().unwrap();
        bytes.truncate(40);
        fs::write(&path, &bytes).unwrap();
        let error = load_or_create(&path).unwrap_err();
        assert!(matches!(error, NetworkError::KeyDamaged { .. }));
        assert!(error.to_string().contains("restore it"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing").join("node.key");
        let error = load_or_create(&path).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }
}
