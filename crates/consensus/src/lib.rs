//! The rules of PROTOCOL.md §1–10: what is valid, for everyone, for ever.
//!
//! Pure functions over values: no storage, network, clock, logging, environment or threads.
//! Coins that a block spends are fetched by the caller *before* the rules run ([`SpentCoins`]),
//! so that a disk error can never be taken for "no such coin". An `Err` of a rule means: wrong for
//! everyone who looks, and for ever, except where [`TxError::is_permanent`] says "for now".
//!
//! Reading order: [`error`] is the table of contents (one variant for each rule, in the order of
//! the checks); [`header`], [`body`], [`transaction`], [`witness`], [`connect`] are the checks
//! themselves; [`pow`], [`difficulty`], [`accumulator`] and [`signature`] the arithmetic beneath.
//! A chain begins with its [`genesis`]; [`genesis_file`] only reads it, and no rule is in there.
//! A block goes `check_header` → `open_body` → `walk` → `verify_signatures` → `seal`, and what
//! each step returns is proof that the step was done.

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

pub mod accumulator;
pub mod body;
pub mod connect;
pub mod difficulty;
pub mod error;
pub mod genesis;
pub mod genesis_file;
pub mod header;
pub mod params;
pub mod parts;
pub mod pow;
pub mod signature;
pub mod transaction;
pub mod witness;
pub mod workers;

pub use accumulator::UtxoAccumulator;
pub use body::{CheckedBlock, open_block, open_body, open_parts};
pub use connect::{
    ForeignProof, Pending, Signatures, SpentCoins, State, Transition, UtxoDiff, Walked,
    check_commitment, connect_block, disconnect, walk,
};
pub use error::{BlockError, BodyError, HeaderError, OpenError, TxError};
pub use genesis::Genesis;
pub use header::{HeaderState, JudgeError, RecentTimes, check_header, judge_header};
pub use params::Params;
pub use parts::Part;
pub use pow::{Target, Work};
pub use signature::{SignatureCheck, VerifiedTransaction, verify_signatures, verify_transactions};
pub use transaction::{CheckedTransaction, check_transaction, judge_transaction, open_transaction};
pub use workers::{Terms, Verified, Workers, verify_block};
