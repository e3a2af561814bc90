//! The parts of the table, and how large their work is.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{
    Outcome, connect, partition, payments::PAYMENT_BYTES, relay, reorganise, report::Report, rpc,
    sync, worst,
};

/// How large the work is.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Blocks of the workload.
    pub blocks: usize,
    /// Payments in each.
    pub payments_per_block: usize,
    /// Runs whose median counts.
    pub repeats: usize,
    /// How deep the reorganisation goes.
    pub reorganise_blocks: usize,
    /// Size of the largest block of the worst cases, in bytes.
    pub worst_block_bytes: u32,
    /// Blocks that a fresh node copies.
    pub sync_blocks: usize,
    /// Payments in each of them.
    pub sync_payments: usize,
    /// Blocks that are relayed: transactions in each, and how many of them.
    pub relay: Vec<(usize, usize)>,
    /// What two halves of a net do while they are parted.
    pub partition: partition::Shape,
    /// Blocks that connect while calls are timed.
    pub rpc_blocks: usize,
    /// Payments in each of them.
    pub rpc_payments: usize,
    /// Calls that are timed at rest.
    pub rpc_calls: usize,
    /// Whether a ratio over its limit fails: too little work says nothing.
    pub is_judged: bool,
}

/// What fills a block of 4,000,000 bytes, but for its header, coinbase and counts.
const PAYMENTS_AT_THE_LIMIT: usize = (4_000_000 - 400) / PAYMENT_BYTES;

impl Scale {
    /// The benchmark itself: half an hour.
    pub fn full() -> Self {
        Self {
            blocks: 50,
            payments_per_block: 2_000,
            repeats: 3,
            reorganise_blocks: 5_000,
            worst_block_bytes: 4_000_000,
            sync_blocks: 300,
            sync_payments: 1_000,
            relay: vec![(1, 100), (1_000, 100), (10_000, 20)],
            partition: partition::Shape::FULL,
            rpc_blocks: 30,
            rpc_payments: PAYMENTS_AT_THE_LIMIT,
            rpc_calls: 2_000,
            is_judged: true,
        }
    }

    /// Seconds: every line of code runs, no figure means anything.
    pub fn quick() -> Self {
        Self {
            blocks: 3,
            payments_per_block: 200,
            repeats: 1,
            reorganise_blocks: 60,
            worst_block_bytes: 420_000,
            sync_blocks: 40,
            sync_payments: 50,
            relay: vec![(1, 2), (20, 2), (200, 2)],
            partition: partition::Shape::QUICK,
            rpc_blocks: 3,
            rpc_payments: 200,
            rpc_calls: 100,
            is_judged: false,
        }
    }
}

/// What every part is given.
#[derive(Debug)]
pub struct Bench<'a> {
    /// How large.
    pub scale: Scale,
    /// Where all chance comes from.
    pub seed: u64,
    /// Where databases and files are made, and removed again.
    pub directory: &'a Path,
    /// Where the rows go.
    pub report: Report,
}

impl Bench<'_> {
    /// A directory of its own that goes away with the value.
    pub fn scratch(&self) -> Outcome<TempDir> {
        Ok(tempfile::Builder::new().prefix("ashlar-bench-").tempdir_in(self.directory)?)
    }

    /// A path in a scratch directory at which nothing is yet.
    pub fn nothing_at(scratch: &TempDir) -> PathBuf {
        scratch.path().join("ledger")
    }
}

/// A part of the table: its name on the command line, and what measures it.
pub type Part = (&'static str, fn(&mut Bench<'_>) -> Outcome<()>);

/// All parts, in the order of the table.
pub const PARTS: &[Part] = &[
    ("connect", connect::run),
    ("reorganise", reorganise::run),
    ("worst", worst::run),
    ("sync", sync::run),
    ("relay", relay::run),
    ("partition", partition::run),
    ("rpc", rpc::run),
];
