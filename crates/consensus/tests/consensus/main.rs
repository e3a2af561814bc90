//! The rules by tables (a valid thing, one change, the exact error), by properties, and by the
//! chain scenarios of the vectors.
#![allow(clippy::unwrap_used, reason = "tests")]

mod arithmetic;
mod blocks;
mod builder;
mod chains;
mod genesis;
mod headers;
mod signatures;
mod state;
mod transactions;
mod verdicts;
