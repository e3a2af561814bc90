//! TLS for callers from other machines, by a certificate and a key in files.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use thiserror::Error;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject as _},
        },
        version::TLS13,
    },
};

/// Permission bits that let others than owner and group at a file.
const OTHERS: u32 = 0o007;

/// The files, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those that it is signed by.
    pub certificate: PathBuf,
    /// Its private key, PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Why the files are of no use.
#[derive(Debug, Error)]
pub enum TlsError {
    /// One is not there, or is not what it should be.
    #[error("{path} is of no use for TLS: {error}; give PEM files of a certificate and its key")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: pem::Error,
    },
    /// The certificate's file holds none.
    #[error("{path} holds no certificate; give a PEM file with the server's first")]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// Everybody on this machine can read the key.
    #[error("the TLS key {path} is open to others; run chmod 600 on it")]
    OpenKey {
        /// Which.
        path: PathBuf,
    },
    /// The key's file can't be looked at.
    #[error("can't read the TLS key {path}: {error}")]
    Key {
        /// Which.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// They do not belong together, or are of a kind that is no longer safe.
    #[error("the certificate {certificate} and the key {key} are of no use together: {error}")]
    Unfit {
        /// The one.
        certificate: PathBuf,
        /// The other.
        key: PathBuf,
        /// The library's word.
        error: rustls::Error,
    },
}

impl TlsFiles {
    /// TLS 1.3, and nothing older.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let unreadable = |path: &PathBuf| {
            let path = path.clone();
            move |error| TlsError::Pem { path, error }
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(unreadable(&self.certificate))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: self.certificate.clone() });
        }
        let mode = fs::metadata(&self.key)
            .map_err(|error| TlsError::Key { path: self.key.clone(), error })?
            .permissions()
            .mode();
        if mode & OTHERS != 0 {
            return Err(TlsError::OpenKey { path: self.key.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(unreadable(&self.key))?;
        let unfit = |error| TlsError::Unfit {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            error,
        };
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(unfit)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unfit)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
