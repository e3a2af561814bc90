//! The rules of PROTOCOL.md §1–10: what is valid, for everyone, for ever.
//!
//! Pure functions over values: no storage, network, clock, logging, environment or threads.
//! Coins that a block spends are fetched by the caller *before* the rules run ([`SpentCoins`]),
//! so that a disk error can never be taken for "no such coin".
//!
//! Reading order: [`error`] is the table of contents (one variant for each rule, in the order of
//! the checks); [`header`], [`body`], [`transaction`], [`connect`] are the checks themselves.
//! A block goes `check_header` → `open_body` → `walk` → `verify_signatures` → `seal`, and what
//! each step returns is proof that the step was done.

pub mod accumulator;
pub mod body;
pub mod connect;
pub mod difficulty;
pub mod error;
pub mod genesis;
pub mod header;
pub mod params;
pub mod pow;
pub mod signature;
pub mod transaction;

pub use accumulator::UtxoAccumulator;
pub use body::{CheckedBlock, open_block, open_body};
pub use connect::{Pending, Signatures, SpentCoins, State, Transition, UtxoDiff, Walked, disconnect, walk};
pub use error::{BlockError, BodyError, HeaderError, OpenError, TxError};
pub use genesis::Genesis;
pub use header::{HeaderState, check_header};
pub use params::Params;
pub use pow::{Target, Work};
pub use signature::{SignatureCheck, Verified, VerifiedTransaction, verify_signatures, verify_transactions};
pub use transaction::{CheckedTransaction, check_transaction, judge_transaction, open_transaction};
