//! Unconfirmed transactions: what waits for a block, and which of it goes first (PROTOCOL.md §13).
//!
//! It must not know storage or peers: the caller brings the coins of the published tip. What is
//! *valid* is `ashlar_consensus`'s business, by the same functions as for blocks; this crate adds
//! *policy*, whose refusals punish nobody.
//!
//! **The invariant**: all transactions in the pool could be confirmed together on the present tip,
//! no two spend the same coin, and any selection, in the order given, connects. It holds between
//! all calls, except while the caller carries a reorganisation through (see below).
//!
//! **How it is held together.** Waiting transactions that spend from one another form *clusters* of
//! at most 64. Each cluster has an order in which it is best confirmed, cut into *chunks* of
//! falling feerate (`cluster.rs`). All chunks of all clusters stand in one ranking: a block is
//! filled from its top, room is made at its bottom. So every operation costs a logarithm of the
//! pool's size and work bounded by clusters, never a walk through the pool.
//!
//! **When the tip moves**, the caller, in one go:
//! 1. calls [`Mempool::block_connected`] for each block connected, upwards;
//! 2. after a reorganisation, looks [`Mempool::inputs_above`] the fork up at the new tip and calls
//!    [`Mempool::revalidate`] with the coins found;
//! 3. submits what the disconnected blocks held, lowest first, then what `revalidate` gave back,
//!    through [`Mempool::accept`], like anything new.
//!
//! Reading order: `limits.rs` and `error.rs` are the policy, `accept.rs` applies it, one rule of it
//! is `replacement.rs`, and `priority.rs` what the operator adds to it; `pool.rs` is what is kept,
//! `cluster.rs` its order, `selection.rs` and `tip.rs` its use.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::float_arithmetic,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod accept;
mod cluster;
mod entry;
mod error;
mod feerate;
mod floor;
mod leaving;
mod limits;
mod pool;
mod priority;
mod replacement;
mod selection;
mod tip;

pub use accept::{Accepted, Examined};
pub use entry::Entry;
pub use error::{PolicyError, Refusal, ReplacementFault};
pub use feerate::Feerate;
pub use floor::FLOOR_HALF_LIFE_MS;
pub use leaving::{Departure, Leaving};
pub use limits::{BLOCK_OVERHEAD_BYTES, INCREMENTAL_FEERATE, Limits, MAX_CLUSTER_TRANSACTIONS};
pub use pool::Mempool;
pub use priority::{MAX_PRIORITIES, PrioritiesFull};
pub use selection::{FULL_ENOUGH_BYTES, MAX_MISSES};
pub use tip::{MAX_EXPIRED_PER_CALL, Tip};
