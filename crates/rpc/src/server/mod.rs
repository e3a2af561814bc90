//! The server: HTTP and WebSocket on one port, over a [`Backend`].
//!
//! A driver implements [`Backend`] and calls [`start_server`]:
//!
//! ```ignore
//! let config = ServerConfig { listen, ..ServerConfig::new(datadir.join(".cookie")) };
//! let server = start_server(config, Arc::new(backend)).await?;
//! println!("RPC on {}", server.local_addr());
//! // … until the node ends:
//! server.stop().await;
//! ```

mod backend;
mod config;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use thiserror::Error;

pub use backend::{Backend, BackendError, ChainEvent, EVENT_CAPACITY, MiningState, NetworkState};
pub use config::{Limits, ServerConfig};

/// Why the server can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address is taken, or not this machine's.
    #[error("can't listen for RPC on {address}: {error}; choose another with --rpc-listen")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// An address that others can reach, and no lock on the door.
    #[error(
        "refusing to listen for RPC on {address} without authentication: anyone who reaches it \
         could stop this node; turn the cookie on, set a user and password, or listen on 127.0.0.1"
    )]
    OpenDoor {
        /// As configured.
        address: SocketAddr,
    },
    /// The cookie can't be written.
    #[error("can't write the RPC cookie {path}: {error}")]
    Cookie {
        /// Where it should be.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
}

/// A running server. Dropping it does not stop it; [`ServerHandle::stop`] does.
#[derive(Debug)]
pub struct ServerHandle {
    local_addr: SocketAddr,
}

impl ServerHandle {
    /// Where it listens; of use where the port was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Refuses new calls, gives those that run up to five seconds, removes the cookie.
    pub async fn stop(self) {
        todo!()
    }

    /// Ends when the server's task has ended, which before `stop` only a fault can cause: the
    /// driver supervises it.
    pub async fn stopped(&self) {
        todo!()
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
    todo!()
}
