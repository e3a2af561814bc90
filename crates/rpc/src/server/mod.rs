//! The server: HTTP and WebSocket on one port, over a [`Backend`].
//!
//! A driver implements [`Backend`] and calls [`start_server`]:
//!
//! ```text
//! let config = ServerConfig { listen, ..ServerConfig::new(datadir.join(".cookie")) };
//! let server = start_server(config, Arc::new(backend)).await?;
//! tracing::info!("RPC on {}", server.local_addr());
//! // … until the node ends:
//! server.stop().await;
//! ```
//!
//! `GET /metrics`, `/healthy` and `/ready` are answered at the door (`probes`).
//!
//! A request goes `listen` (sockets, bounded; `tls`) → `door` (`auth`: Host, Origin, password or
//! `token`; sizes; from here on it may be a `websocket`) → `calls` (`envelope`, `dialect`; `caller`:
//! scope and rate; time, panics, `made_at`) → `handlers` → the room of its subject (`chain`, `past`,
//! `stats`, `proof`, `scan`, `orders`, `address`, `watched`, `mempool`, `waiting`, `unsigned`, `mining`,
//! `network`, `control`), which reads a view or makes engine calls through `context`.

mod address;
mod auth;
mod backend;
mod burial;
mod caller;
mod calls;
mod chain;
mod config;
mod context;
mod control;
mod cookie;
mod decoded;
mod dialect;
mod door;
mod envelope;
mod handlers;
mod listen;
mod made_at;
mod mempool;
mod mining;
mod network;
mod orders;
mod past;
mod probes;
mod proof;
mod scan;
mod stats;
mod subscriptions;
mod tls;
mod token;
mod unsigned;
mod waiting;
mod watched;
mod websocket;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use thiserror::Error;
use tokio::{net::TcpListener, sync::watch, time};

pub use backend::{
    Backend, BackendError, ChainEvent, EVENT_CAPACITY, Health, MemoryState, MempoolFile,
    MiningState, NetworkState, PeerTraffic,
};
pub use config::{Limits, ServerConfig};
pub use tls::{TlsError, TlsFiles};
pub use token::{BadTokenHash, MAX_CALLS_PER_SECOND, Token, TokenHash, new_token};

use auth::Doors;
use calls::Calls;
use context::Context;
use cookie::Cookie;
use door::Door;
use probes::Probes;

/// How long calls that run may take to end when the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Why the server can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address is taken, or not this machine's.
    #[error("can't listen for RPC on {address}: {error}; choose another address or port")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// An address that others can reach, and no lock on the door.
    #[error(
        "refusing to listen for RPC on {address} without authentication: whoever reaches it could \
         stop this node; turn the cookie on, set a password or a token, or listen on 127.0.0.1"
    )]
    OpenDoor {
        /// As configured.
        address: SocketAddr,
    },
    /// The files for TLS are of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The cookie can't be written.
    #[error("can't write the RPC cookie {path}: {error}")]
    Cookie {
        /// Where it should be.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
}

/// A running server. Dropping it stops the server at once and leaves the cookie behind:
/// [`ServerHandle::stop`] does it properly.
#[derive(Debug)]
pub struct ServerHandle {
    local_addr: SocketAddr,
    /// Every connection holds a receiver.
    stop: watch::Sender<bool>,
    cookie: Option<Cookie>,
    /// Its sender lives as long as connections are accepted.
    accepting: watch::Receiver<()>,
}

impl ServerHandle {
    /// Where it listens; of use where the port was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Refuses new calls, gives those that run up to five seconds, removes the cookie.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if time::timeout(STOP_PATIENCE, self.stop.closed()).await.is_err() {
            tracing::warn!("RPC calls still ran when the server stopped");
        }
        if let Some(cookie) = &self.cookie {
            cookie.remove();
        }
    }

    /// Ends when no connection is accepted any more, which before `stop` only a fault can cause:
    /// the driver supervises it.
    pub async fn stopped(&self) {
        let mut accepting = self.accepting.clone();
        // Nothing is ever sent: the only change is that the sender is gone.
        while accepting.changed().await.is_ok() {}
    }
}

/// Listens, writes the cookie, serves until [`ServerHandle::stop`]. Runs on the current Tokio
/// runtime, which needs timers, IO and threads for blocking reads.
///
/// The port is taken before the cookie is written, so that a second node on one data directory
/// can't replace the first one's cookie.
pub async fn start_server<B: Backend>(
    config: ServerConfig,
    backend: Arc<B>,
) -> Result<ServerHandle, StartError> {
    let address = config.listen;
    let open = config.cookie_file.is_none() && config.user.is_none() && config.tokens.is_empty();
    if open && !address.ip().is_loopback() {
        return Err(StartError::OpenDoor { address });
    }
    let tls = config.tls.as_ref().map(TlsFiles::acceptor).transpose()?;
    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "RPC is open to other machines without TLS: whoever is on the \
            way reads passwords and answers; give a certificate, or listen on 127.0.0.1");
    }
    let listening = |error| StartError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(listening)?;
    let local_addr = listener.local_addr().map_err(listening)?;
    let cookie = match &config.cookie_file {
        Some(path) => Some(
            Cookie::create(path)
                .map_err(|error| StartError::Cookie { path: path.clone(), error })?,
        ),
        None => None,
    };
    let users = cookie.iter().map(|cookie| cookie.secret.clone()).chain(config.user.clone());
    let limits = &config.limits;
    let doors = Doors::new(
        users,
        &config.tokens,
        limits.max_connections_per_caller,
        address.ip(),
        &config.allowed_hosts,
        &config.allowed_origins,
    );
    let max_block_bytes = backend.view().params().max_block_bytes;
    let max_body_bytes = Limits::max_body_bytes(max_block_bytes);
    let probes = Probes::new(&backend, Duration::from_millis(limits.call_timeout_ms));
    let (noted, looking) = (Arc::clone(&backend), Arc::clone(&backend));
    let calls = Calls {
        methods: handlers::methods(Arc::new(Context::new(backend, &config))),
        limits: limits.clone(),
        note_call: Arc::new(move |method, is_ok, took| noted.note_call(method, is_ok, took)),
        current_tip: Arc::new(move || context::published(&looking.view())),
        connections: AtomicUsize::new(0),
    };
    let door = Arc::new(Door::new(doors, calls, probes, max_body_bytes));

    let (stop, stopping) = watch::channel(false);
    let (alive, accepting) = watch::channel(());
    let max_connections = limits.max_connections;
    tokio::spawn(async move {
        listen::accept(listener, max_connections, tls, door, stopping).await;
        drop(alive);
    });
    Ok(ServerHandle { local_addr, stop, cookie, accepting })
}
