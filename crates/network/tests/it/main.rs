//! Whole networks on loopback: real sockets, handshakes and streams, with a stub where the engine
//! would be.

#![allow(clippy::unwrap_used, reason = "tests")]

mod discovery;
mod exchange;
mod gossip;
mod hostile;
mod limits;
mod rig;
mod standing;
mod starting;
mod strangers;
