//! The encoding of every type, held to PROTOCOL.md §1 over values and bytes that nobody chose.

#![allow(clippy::unwrap_used, reason = "tests")]

mod allocation;
mod compact;
mod limits;
mod round_trip;
mod strategies;
mod typos;
