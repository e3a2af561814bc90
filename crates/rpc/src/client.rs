//! Calling a node.
//!
//! ```no_run
//! # async fn show() -> Result<(), ashlar_rpc::client::ClientError> {
//! use ashlar_rpc::{Client, Credentials, prelude::*};
//!
//! let cookie = Credentials::Cookie("/var/lib/ashlar/.cookie".into());
//! let node = Client::connect("127.0.0.1:9332", &cookie)?;
//! println!("{} blocks", node.getblockcount().await?);
//! # Ok(())
//! # }
//! ```
//!
//! The methods are those of [`crate::api`], through [`crate::prelude`]; their errors turn into
//! [`ClientError`] by `?`.

mod way;

use core::{fmt, ops::Deref, time::Duration};
use std::{fs, io, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jsonrpsee::{
    client_transport::ws::WsHandshakeError,
    core::client::{ClientT, Error as TransportError},
};
use jsonrpsee_http_client::{
    HeaderMap, HeaderValue, HttpClient, RpcLogger, RpcService, transport::Error as HttpError,
};
use jsonrpsee_ws_client::{WsClient, WsClientBuilder};
use serde_json::Value;
use thiserror::Error;
use tower::ServiceBuilder;

use crate::error::ErrorData;
use way::CONNECT_TIMEOUT;
pub use way::{Sender, Socket, Way, WayError};

/// Longer than the longest call, `generatetoaddress`, may run on the server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(150);
/// Longest request, in bytes: the server's own bound for the largest block that a chain can allow.
const MAX_REQUEST_BYTES: u32 = 2 * 32_000_000 + 1024 * 1024;
/// Longest answer, in bytes: the server's own bound.
const MAX_RESPONSE_BYTES: u32 = 64 * 1024 * 1024;

/// A name and a password, as `Authorization: Basic` carries them. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct UserPassword {
    /// Without a colon.
    pub user: String,
    /// Any text.
    pub password: String,
}

impl UserPassword {
    /// Reads `user:password`; `None` without a colon.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, password) = text.split_once(':')?;
        Some(Self { user: user.to_owned(), password: password.to_owned() })
    }

    /// What stands after `Basic ` in the header.
    pub(crate) fn token(&self) -> String {
        BASE64.encode(format!("{}:{}", self.user, self.password))
    }
}

impl fmt::Debug for UserPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserPassword({}:…)", self.user)
    }
}

/// How to show a node that one may call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The file that the node writes anew at each start.
    Cookie(PathBuf),
    /// What the node was configured with.
    Password(UserPassword),
    /// For a node that asks for nothing.
    None,
}

impl Credentials {
    fn headers(&self) -> Result<HeaderMap, ClientError> {
        let user_password = match self {
            Self::Cookie(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|error| ClientError::Cookie { path: path.clone(), error })?;
                UserPassword::parse(text.trim_end()).ok_or_else(|| ClientError::Cookie {
                    path: path.clone(),
                    error: io::Error::new(io::ErrorKind::InvalidData, "not a cookie"),
                })?
            }
            Self::Password(user_password) => user_password.clone(),
            Self::None => return Ok(HeaderMap::new()),
        };
        let mut value = HeaderValue::try_from(format!("Basic {}", user_password.token()))
            .expect("base64 is made of characters that a header may hold");
        value.set_sensitive(true);
        Ok(HeaderMap::from_iter([(
            "authorization".parse().expect("a header name in lower case"),
            value,
        )]))
    }
}

/// Why a call brought nothing.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The cookie can't be read.
    #[error(
        "can't read the RPC cookie {path}: {error}; is the node running, on this data directory?"
    )]
    Cookie {
        /// Where it should be.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// There is no such way to a node.
    #[error(transparent)]
    Way(#[from] WayError),
    /// The node answered with an error: see [`crate::error::RpcError`].
    #[error("{message}{}", hint_suffix(.data))]
    Call {
        /// Bitcoin Core's number.
        number: i32,
        /// For people.
        message: String,
        /// The stable code and the hint, where the node gave them.
        data: Option<Box<ErrorData>>,
    },
    /// The node does not know this cookie or password.
    #[error("the node refuses the name and password; the cookie is new at each start of the node")]
    Unauthorised,
    /// Something on that port answered, but not with JSON-RPC.
    #[error("the server answered with HTTP status {status}")]
    Status {
        /// HTTP's.
        status: u16,
    },
    /// No answer in time.
    #[error("the node did not answer in time")]
    TimedOut,
    /// Nobody answers there.
    #[error("can't reach the node: {reason}; is it running?")]
    Unreachable {
        /// The system's word.
        reason: String,
    },
    /// The answer is not what the method promises: another version of the node, or another
    /// program.
    #[error("the node's answer can't be understood: {reason}")]
    BadAnswer {
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// The stable code, where the node gave one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Call { data, .. } => data.as_ref().map(|data| data.code.as_str()),
            _ => None,
        }
    }
}

fn hint_suffix(data: &Option<Box<ErrorData>>) -> String {
    data.as_ref()
        .and_then(|data| data.hint.as_ref())
        .map(|hint| format!(" ({hint})"))
        .unwrap_or_default()
}

impl From<TransportError> for ClientError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Call(object) => Self::Call {
                number: object.code(),
                message: object.message().to_owned(),
                data: object.data().and_then(|data| serde_json::from_str(data.get()).ok()),
            },
            TransportError::RequestTimeout => Self::TimedOut,
            TransportError::ParseError(error) => Self::BadAnswer { reason: error.to_string() },
            TransportError::Transport(error) => match rejected_with(error.as_ref()) {
                Some(401) => Self::Unauthorised,
                Some(status) => Self::Status { status },
                None => Self::Unreachable { reason: with_causes(error.as_ref()) },
            },
            other => Self::Unreachable { reason: with_causes(&other) },
        }
    }
}

/// The HTTP status with which a server refused a call or a WebSocket.
fn rejected_with(error: &(dyn std::error::Error + 'static)) -> Option<u16> {
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(HttpError::Rejected { status_code }), _)
        | (_, Some(WsHandshakeError::Rejected { status_code })) => Some(*status_code),
        _ => None,
    }
}

/// An error and what it comes from: hyper says "client error (Connect)" and hides the rest.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let word = error.to_string();
        if !text.contains(&word) {
            text = format!("{text}: {word}");
        }
        cause = error.source();
    }
    text
}

/// A client over HTTP. Cheap to clone. It keeps the cookie that it read when it was made: after
/// the node starts anew, make another.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
}

/// The library's client, whose requests go by a [`Way`].
type Http = HttpClient<RpcLogger<RpcService<Sender>>>;

impl Client {
    /// Prepares to call the node at `address` (`127.0.0.1:9332`, with or without `http://`).
    /// The first call connects. Needs a Tokio runtime.
    pub fn connect(address: &str, credentials: &Credentials) -> Result<Self, ClientError> {
        Self::connect_by(Way::new(address, None)?, credentials)
    }

    /// The same by a way that may have TLS.
    pub fn connect_by(way: Way, credentials: &Credentials) -> Result<Self, ClientError> {
        let target = format!("http://{}", way.authority());
        let http = HttpClient::builder()
            .set_http_middleware(ServiceBuilder::new().layer(way))
            .set_headers(credentials.headers()?)
            .max_request_size(MAX_REQUEST_BYTES)
            .max_response_size(MAX_RESPONSE_BYTES)
            .request_timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build(target)?;
        Ok(Self { http })
    }

    /// Any method with any parameters, by position: for command lines.
    pub async fn call(&self, method: &str, params: Vec<Value>) -> Result<Value, ClientError> {
        Ok(self.http.request(method, params).await?)
    }
}

impl Deref for Client {
    type Target = Http;
    fn deref(&self) -> &Http {
        &self.http
    }
}

/// Opens a WebSocket to the node at `address` (`127.0.0.1:9332`, with or without `ws://`): methods as
/// over HTTP, and what [`crate::api`] has to subscribe to.
pub async fn open_websocket(
    address: &str,
    credentials: &Credentials,
) -> Result<WsClient, ClientError> {
    open_websocket_by(&Way::new(address, None)?, credentials).await
}

/// The same by a way that may have TLS.
pub async fn open_websocket_by(
    way: &Way,
    credentials: &Credentials,
) -> Result<WsClient, ClientError> {
    let unreachable = |error: io::Error| ClientError::Unreachable { reason: error.to_string() };
    let socket = way.open().await.map_err(unreachable)?;
    Ok(WsClientBuilder::default()
        .set_headers(credentials.headers()?)
        .max_request_size(MAX_REQUEST_BYTES)
        .max_response_size(MAX_RESPONSE_BYTES)
        .request_timeout(REQUEST_TIMEOUT)
        .connection_timeout(CONNECT_TIMEOUT)
        // The socket has its TLS: what goes over it is the same in either case.
        .build_with_stream(format!("ws://{}", way.authority()), socket)
        .await?)
}
