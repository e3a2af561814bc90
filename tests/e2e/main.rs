//! Whole processes: real `ashlar-node`s and `ashlar-wallet`s, real disks and sockets.
//!
//! The binaries are those of the same profile, built beforehand
//! (`cargo build --release --workspace --bins`). Blocks come from `generatetoaddress` on the
//! development genesis, except where mining itself is the point. Every wait is a bounded poll of
//! a condition.

#![allow(clippy::unwrap_used, reason = "a step that fails is the test's failure")]

mod harness;

mod assumed;
mod attacks;
mod care;
mod disk;
mod doors;
mod hostile;
mod interface;
mod mempool;
mod network;
mod operations;
mod partition;
mod payments;
mod policies;
mod proofs;
mod pruned;
mod refusals;
mod reorganisation;
mod restarts;
mod script;
mod subscribers;
mod torture;
mod wallet;
mod watching;
