//! The way to a node: where it is, and TLS where it is on another machine.
//!
//! Trust comes from a file that the user names, never from the system's list of authorities: a
//! node's certificate is mostly its operator's own.

use core::{fmt, time::Duration};
use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::FutureExt as _;
use http::{HeaderValue, Uri, header};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use jsonrpsee_http_client::{
    HttpBackend, HttpRequest, HttpResponse, transport::Error as HttpError,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{
            CertificateDer, ServerName,
            pem::{self, PemObject as _},
        },
        version::TLS13,
    },
};
use tower::{Layer, Service};

/// How long a connection, and the TLS on it, may take to open.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Where HTTPS answers unless an address says otherwise.
const HTTPS_PORT: u16 = 443;

/// Why there is no way to a node.
#[derive(Debug, Error)]
pub enum WayError {
    /// TLS, and nothing to know the node by.
    #[error(
        "{address} speaks TLS: name the PEM file of its certificate, or of who signed it, with --rpc-ca"
    )]
    NoAuthority {
        /// As given.
        address: String,
    },
    /// The file is not there, or is no PEM.
    #[error("{path} is of no use as --rpc-ca: {error}; give a PEM file of certificates")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: pem::Error,
    },
    /// A file without a certificate that could vouch for a node.
    #[error("{path} holds no certificate; give the PEM file of the node's, or of who signed it")]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// The certificate is of a kind that vouches for nothing.
    #[error("a certificate in {path} is of no use: {error}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// The library's word.
        error: rustls::Error,
    },
    /// Not `HOST:PORT` nor a URL of HTTP.
    #[error(
        "{address} is no address of a node; give IP:PORT, http://HOST:PORT or https://HOST:PORT"
    )]
    BadAddress {
        /// As given.
        address: String,
    },
    /// A file for TLS, and an address that says not to use it.
    #[error(
        "{address} asks for no TLS, and --rpc-ca for it; write https://, or leave the file out"
    )]
    Contradiction {
        /// As given.
        address: String,
    },
}

/// Where a node is, and how it is known to be the right one. Cheap to clone.
#[derive(Clone)]
pub struct Way {
    /// `HOST:PORT`.
    authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Way({}, TLS: {})", self.authority, self.tls.is_some())
    }
}

/// What HTTP goes over.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

impl Way {
    /// To the node at `address`: `127.0.0.1:9332`, with or without `http://`, or with `https://`; a
    /// WebSocket's `ws://` and `wss://` mean the same.
    /// `authorities` is a PEM file of the certificates that the node's own is one of, or is signed
    /// by; with it an address that names no scheme means TLS.
    ///
    /// # Errors
    /// [`WayError`]; nothing is connected yet.
    pub fn new(address: &str, authorities: Option<&Path>) -> Result<Self, WayError> {
        let bad = || WayError::BadAddress { address: address.to_owned() };
        let text = match address.contains("://") {
            true => address.to_owned(),
            false if authorities.is_some() => format!("https://{address}"),
            false => format!("http://{address}"),
        };
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        let authority = |port| format!("{host}:{port}");
        match (uri.scheme_str(), authorities) {
            (Some("http" | "ws"), None) => {
                let port = uri.port_u16().unwrap_or(crate::DEFAULT_PORT);
                Ok(Self { authority: authority(port), tls: None })
            }
            (Some("http" | "ws"), Some(_)) => {
                Err(WayError::Contradiction { address: address.to_owned() })
            }
            (Some("https" | "wss"), None) => {
                Err(WayError::NoAuthority { address: address.to_owned() })
            }
            (Some("https" | "wss"), Some(file)) => {
                let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(name).map_err(|_| bad())?;
                let port = uri.port_u16().unwrap_or(HTTPS_PORT);
                Ok(Self { authority: authority(port), tls: Some((connector(file)?, name)) })
            }
            _ => Err(bad()),
        }
    }

    /// `HOST:PORT`, as it stands in a `Host` header.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Connects, with TLS where it is wanted.
    ///
    /// # Errors
    /// The system's, and of kind `InvalidData` where the node is not the one that the file vouches
    /// for.
    pub async fn open(&self) -> io::Result<Box<dyn Socket>> {
        time::timeout(CONNECT_TIMEOUT, async {
            let socket = TcpStream::connect(&self.authority).await?;
            socket.set_nodelay(true)?;
            Ok(match &self.tls {
                None => Box::new(socket) as Box<dyn Socket>,
                Some((tls, name)) => Box::new(tls.connect(name.clone(), socket).await?),
            })
        })
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// One request over a connection of its own: a program that speaks TLS is another machine's
    /// tool, and calls seldom.
    async fn send(self, mut request: HttpRequest) -> Result<HttpResponse<Incoming>, HttpError> {
        let failed = |error: Box<dyn core::error::Error + Send + Sync>| {
            HttpError::Http(jsonrpsee::core::http_helpers::HttpError::Stream(error))
        };
        let socket = self.open().await.map_err(|error| failed(error.into()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(|error| failed(error.into()))?;
        // It ends with the answer's body; what goes wrong the answer tells.
        tokio::spawn(connection.map(drop));
        let host = HeaderValue::try_from(&self.authority).map_err(|error| failed(error.into()))?;
        request.headers_mut().insert(header::HOST, host);
        *request.uri_mut() = Uri::from_static("/");
        sender.send_request(request).await.map_err(|error| failed(error.into()))
    }
}

/// TLS 1.3, and trust in what the file holds alone.
fn connector(file: &Path) -> Result<TlsConnector, WayError> {
    let unreadable = |error| WayError::Pem { path: file.to_owned(), error };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(WayError::NoCertificate { path: file.to_owned() });
    }
    let unfit = |error| WayError::Certificate { path: file.to_owned(), error };
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(unfit)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(unfit)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Sends what a client asks by a [`Way`]: through TLS, or as the library does by itself, which
/// keeps connections for the next call.
#[derive(Clone, Debug)]
pub struct Sender {
    plain: HttpBackend,
    way: Way,
}

impl Layer<HttpBackend> for Way {
    type Service = Sender;
    fn layer(&self, plain: HttpBackend) -> Sender {
        Sender { plain, way: self.clone() }
    }
}

impl Service<HttpRequest> for Sender {
    type Response = HttpResponse<Incoming>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, HttpError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        match self.way.tls {
            Some(_) => Poll::Ready(Ok(())),
            None => self.plain.poll_ready(context),
        }
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        match self.way.tls {
            Some(_) => self.way.clone().send(request).boxed(),
            None => self.plain.call(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_and_a_file_says_whom_to_trust() {
        let plain = |address: &str| Way::new(address, None).map(|way| way.authority);
        for (address, authority) in [
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
            ("[::1]:9000", "[::1]:9000"),
            ("http://node.example", "node.example:9332"),
            ("ws://node.example:1", "node.example:1"),
        ] {
            assert_eq!(plain(address).unwrap(), authority);
        }
        for address in ["https://node.example", "wss://node.example"] {
            assert!(matches!(plain(address), Err(WayError::NoAuthority { .. })));
        }
        for address in ["ftp://node.example", "", "http://", "a b"] {
            assert!(matches!(plain(address), Err(WayError::BadAddress { .. })), "{address}");
        }
        let missing = Path::new("no-such-file.pem");
        let with = |address| Way::new(address, Some(missing)).unwrap_err();
        assert!(matches!(with("http://a:1"), WayError::Contradiction { .. }));
        assert!(matches!(with("https://a:1"), WayError::Pem { .. }));
        assert!(matches!(with("a:1"), WayError::Pem { .. }), "TLS without saying so");
    }
}
