//! Why the network can't start, or a command can't be done.

use std::{io, path::PathBuf};

/// One variant for each cause; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The network was stopped, or has ended for another reason.
    #[error("the network is stopped")]
    Stopped,
    /// Not a multiaddress that can be used for this.
    #[error("{address:?} is not an address to {purpose}: {reason}; use /ip4/192.0.2.1/tcp/9333")]
    BadAddress {
        /// As given.
        address: String,
        /// `listen on`, `dial`.
        purpose: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process listens there.
    #[error(
        "can't listen on {address}: the port is in use; stop the other process or choose another port"
    )]
    PortInUse {
        /// As given.
        address: String,
    },
    /// Listening failed for another reason.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// As given.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The identity key can't be read or written.
    #[error("can't use the identity key in {}: {source}", path.display())]
    KeyFile {
        /// Where it should be.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The identity key is there but is none.
    #[error("the identity key in {} is damaged; restore it from a copy, or move it away to get a new identity", path.display())]
    KeyDamaged {
        /// The file.
        path: PathBuf,
    },
    /// The identity key can't sign the handshake's key.
    #[error("the identity key in {} can't be used for the handshake; move it away to get a new identity", path.display())]
    KeyUnusable {
        /// The file.
        path: PathBuf,
    },
    /// QUIC was named together with a network secret.
    #[error(
        "{address:?} is a QUIC address, and a network with a secret speaks TCP only; use /tcp/PORT there, or no network secret"
    )]
    QuicWithSecret {
        /// As given.
        address: String,
    },
    /// A QUIC address came while none was in the configuration.
    #[error(
        "{address:?} is a QUIC address, and this node runs without QUIC; name a /udp/PORT/quic-v1 address in its configuration (listen or peers) and start it again"
    )]
    QuicIsOff {
        /// As given.
        address: String,
    },
    /// The file with the closed network's secret can't be used.
    #[error("can't use the network secret in {}: {reason}; write 64 hex digits there, the same on every node", path.display())]
    NetworkSecret {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a peer id.
    #[error("{text:?} is not a peer id: {reason}; `getnetworkinfo` of that node tells its own")]
    BadPeerId {
        /// As given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A DNS seed is no name.
    #[error("{name:?} is not a DNS name; a seed is named like seed.example.org")]
    BadSeed {
        /// As given.
        name: String,
    },
    /// There are too many DNS seeds.
    #[error("at most {max} DNS seeds are asked; name fewer")]
    TooManySeeds {
        /// The most that are asked.
        max: usize,
    },
    /// Multicast DNS was asked for and can't be had.
    #[error("can't start mDNS: {source}; switch it off or allow multicast")]
    Mdns {
        /// What the operating system said.
        source: io::Error,
    },
    /// There are enough kept peers.
    #[error("already keeping {max} peers; remove one first")]
    TooManyPeers {
        /// The most that are kept.
        max: usize,
    },
    /// No connection fits.
    #[error("{who:?} is not connected; give a connection number, a peer id or an address")]
    NotConnected {
        /// As given.
        who: String,
    },
    /// No such address is kept.
    #[error("{address:?} is not among the peers to keep")]
    NotKept {
        /// As given.
        address: String,
    },
    /// Nobody such can be kept out.
    #[error("{who:?} is no peer id and no IP address")]
    NotBannable {
        /// As given.
        who: String,
    },
    /// There is nothing to lift.
    #[error("{who:?} is not banned; listbanned shows who is")]
    NotBanned {
        /// As given.
        who: String,
    },
    /// The engine does not take what it must: it is ending or stuck.
    #[error("the engine takes no more input")]
    InboxFull,
    /// The swarm task did not keep up with what the engine wants: it is stuck.
    #[error("the network does not keep up with its commands")]
    CommandsFull,
}
