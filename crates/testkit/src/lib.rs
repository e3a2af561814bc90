//! What tests of several crates share. Only ever a dev-dependency (and the simulator's), and
//! never a part of the node: code here may panic, and may be slow where that makes it plain.
//!
//! [`builder`] makes chains: valid, forked, or wrong in one place.
//! [`faults`] is a store that fails at a chosen call.
//! [`generator`] makes random chains that drive model and ledger side by side.
//! [`model`] is the protocol again, slow and obvious: a second opinion on every verdict.
//! [`recorder`] is a store that remembers what was written to it.
//! [`rules`] breaks each rule of PROTOCOL.md §8 in a block of its own,
//! [`mutations`] changes the body under an honest header.
//! [`vectors`] holds the rooms to the cases that an independent implementation of PROTOCOL.md
//! made.

pub mod builder;
pub mod faults;
pub mod generator;
pub mod model;
pub mod mutations;
pub mod recorder;
pub mod rules;
pub mod vectors;
