//! Our own addresses.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use futures::StreamExt;
use libp2p::{Multiaddr, TransportError, swarm::SwarmEvent};
use tokio::time::{Instant, timeout_at};

use super::Task;
use crate::{
    NetworkError,
    address::{Carrier, parse_listen},
    behaviour::BehaviourEvent,
    limits::START_TIMEOUT,
    log::printable,
};

fn failed(address: &str, source: io::Error) -> NetworkError {
    let address = address.to_owned();
    match source.kind() {
        io::ErrorKind::AddrInUse => NetworkError::PortInUse { address },
        _ => NetworkError::Listen { address, source },
    }
}

/// Where to look whether an address is taken. libp2p's IPv6 sockets leave IPv4 alone, a plain one
/// at `::` would not, and would find our own IPv4 listener.
fn probe(socket: SocketAddr) -> SocketAddr {
    match socket {
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), v6.port())
        }
        other => other,
    }
}

/// Reads an address to listen on and finds out whether its port is free: libp2p shares listening
/// ports (SO_REUSEPORT), so a second node of the same user would silently take half of our
/// connections; a plain socket finds the port taken.
pub(crate) fn claim(text: &str) -> Result<Multiaddr, NetworkError> {
    let (address, carrier, socket) = parse_listen(text)?;
    match carrier {
        Carrier::Tcp => TcpListener::bind(probe(socket)).map(drop),
        Carrier::Quic => UdpSocket::bind(probe(socket)).map(drop),
    }
    .map_err(|source| failed(text, source))?;
    Ok(address)
}

impl Task {
    /// Returns when every listener has an address.
    pub(crate) async fn listen(&mut self, addresses: &[String]) -> Result<(), NetworkError> {
        let deadline = Instant::now() + START_TIMEOUT;
        for text in addresses {
            let address = claim(text)?;
            let before = self.swarm.listeners().count();
            self.swarm.listen_on(address).map_err(|error| match error {
                TransportError::Other(source) => failed(text, source),
                error @ TransportError::MultiaddrNotSupported(_) => {
                    failed(text, io::Error::other(error))
                }
            })?;
            while self.swarm.listeners().count() == before {
                let event = timeout_at(deadline, self.swarm.select_next_some())
                    .await
                    .map_err(|_| failed(text, io::ErrorKind::TimedOut.into()))?;
                self.on_swarm_event(event)?;
            }
        }
        Ok(())
    }

    pub(super) fn on_listener_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!("listening on {address}/p2p/{}", self.local);
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                tracing::info!(%address, "no longer listening there");
            }
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                tracing::warn!(%error, "a listener closed");
            }
            SwarmEvent::ListenerError { error, .. } => {
                if let Some(left_out) = self.budgets.listener.take(self.now()) {
                    tracing::warn!(
                        left_out,
                        "a listener failed: {}",
                        printable(&error.to_string())
                    );
                }
            }
            _ => {}
        }
    }
}
