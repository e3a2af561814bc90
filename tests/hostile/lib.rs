//! A peer that can do what no honest node does.
//!
//! It speaks the node's protocols by hand, so that every byte is its own: [`yamux`] frames over
//! Noise, [`select`] to agree on a protocol, [`protobuf`] for identify and gossipsub, and the
//! frames of PROTOCOL.md §12. Only Noise itself is libp2p's, for a handshake that is wrong gets
//! nowhere. [`Peer`] is one connection; what it answers to the node's own questions is its
//! [`Manners`]. By default it behaves, and an attack changes one thing.
//!
//! It must not know rules, storage or the node's code: blocks and transactions are the caller's.
//! For tests alone; the attacks are in `tests/e2e/attacks`.
//!
//! Read [`peer`] first.

#![allow(clippy::unwrap_used, reason = "a lock that is poisoned is a test that failed")]

pub mod peer;
pub mod protobuf;
pub mod select;
pub mod yamux;

pub use peer::{Manners, Peer, Reply};

use std::future::Future;

/// Where bytes come from and go to: a socket before the handshake, a stream after it.
pub trait Pipe: Send {
    /// The next `count` bytes.
    ///
    /// # Errors
    /// Where the other side closed before they came.
    fn take(&mut self, count: usize) -> impl Future<Output = std::io::Result<Vec<u8>>> + Send;

    /// Sends all of it, at the other side's pace.
    ///
    /// # Errors
    /// Where the other side closed.
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = std::io::Result<()>> + Send;
}
