//! What the operator chooses, and the limits that hold whatever he chooses.

use std::{net::SocketAddr, path::PathBuf};

use super::{tls::TlsFiles, token::Token};
use crate::{DEFAULT_PORT, client::UserPassword};

/// How the server listens and to whom it answers.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Loopback by default; any other address is refused without authentication.
    pub listen: SocketAddr,
    /// Written at start with a new secret, mode 0600, and removed at the end; `None`: no cookie.
    pub cookie_file: Option<PathBuf>,
    /// A fixed name and password that open the door too.
    pub user: Option<UserPassword>,
    /// Passwords of narrower scope, each for one purpose.
    pub tokens: Vec<Token>,
    /// Speaks TLS by these files to callers from other machines; this machine's own programs may
    /// use it or leave it.
    pub tls: Option<TlsFiles>,
    /// Names, beside `localhost`, `127.0.0.1`, `[::1]` and the address of `listen`, that a `Host`
    /// header may hold, without port.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may call (`https://explorer.example`); none by default.
    pub allowed_origins: Vec<String>,
    /// Shown by `getnetworkinfo`: `ashlar/0.1.0`.
    pub agent: String,
    /// Bounds, all with defaults.
    pub limits: Limits,
}

impl ServerConfig {
    /// Loopback on the default port, a cookie in this file, default limits.
    pub fn new(cookie_file: PathBuf) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)),
            cookie_file: Some(cookie_file),
            user: None,
            tokens: Vec::new(),
            tls: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            agent: concat!("ashlar/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: Limits::default(),
        }
    }
}

/// Bounds on what callers can make the server do. A request's body is bounded by the chain:
/// [`Limits::max_body_bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest answer, in bytes.
    pub max_response_bytes: u32,
    /// Most calls in one batch.
    pub max_batch_calls: u32,
    /// Requests being answered and WebSockets open at one time.
    pub max_connections: u32,
    /// The same for one caller: for each token, and for all who come by cookie or password.
    pub max_connections_per_caller: u32,
    /// Most subscriptions of all WebSockets.
    pub max_subscriptions_total: u32,
    /// Most subscriptions of one WebSocket.
    pub max_subscriptions: u32,
    /// Longest run of one call, in milliseconds; of one that works rather than looks up,
    /// [`Limits::long_call_ms`].
    pub call_timeout_ms: u64,
    /// How long a subscriber may keep an event waiting before it is cut off, in milliseconds.
    pub slow_subscriber_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_response_bytes: 64 * 1024 * 1024,
            max_batch_calls: 100,
            max_connections: 64,
            max_connections_per_caller: 32,
            max_subscriptions_total: 64,
            max_subscriptions: 16,
            call_timeout_ms: 10_000,
            slow_subscriber_ms: 5_000,
        }
    }
}

/// How many times as long as others the calls of [`crate::scope::is_long`] may run.
const LONG_CALL_FACTOR: u64 = 12;

impl Limits {
    /// Longest run of a call of [`crate::scope::is_long`], in milliseconds.
    pub const fn long_call_ms(&self) -> u64 {
        self.call_timeout_ms.saturating_mul(LONG_CALL_FACTOR)
    }

    /// Longest body of a request, in bytes: the largest block in hex, and 1 MiB for the rest.
    pub const fn max_body_bytes(max_block_bytes: u32) -> u32 {
        max_block_bytes.saturating_mul(2).saturating_add(1024 * 1024)
    }
}
