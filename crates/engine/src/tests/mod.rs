//! The engine driven by hand: a few of them with instant links, jobs run at once, and peers whose
//! every message a test writes itself.
#![allow(clippy::unwrap_used, reason = "tests")]

mod blocks;
mod bounds;
mod calls;
mod catching_up;
mod hostile;
mod limits;
mod mutated;
mod pruned;
mod reorganisation;
mod sync;
mod transactions;
mod verdicts;
mod world;
