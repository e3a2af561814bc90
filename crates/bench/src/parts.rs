//! The parts of the table, and how large their work is.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Outcome, accept, calls, connect, copy, growth, kinds, memory, mine, partition,
    payments::PAYMENT_BYTES, relay, reorganise, report::Report, rpc, start, sustained, sync, worst,
};

/// How large the work is.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Blocks of the workload.
    pub blocks: usize,
    /// Payments in each.
    pub payments_per_block: usize,
    /// Blocks of transactions of each other kind.
    pub kind_blocks: usize,
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
    /// Payments that a node takes into its mempool.
    pub accept_payments: usize,
    /// For how long payments are submitted to three nodes.
    pub sustained: Duration,
    /// Blocks relayed between two neighbours, and as many empty ones.
    pub neighbours_blocks: usize,
    /// Blocks of the chain about which calls are made.
    pub calls_blocks: usize,
    /// Blocks of the chain after whose copying memory is looked at.
    pub memory_blocks: usize,
    /// Headers that a mining kernel tries in a round, and rounds.
    pub mine_headers: u32,
    /// See [`Self::mine_headers`].
    pub mine_rounds: usize,
    /// Blocks, or headers, of a node that starts.
    pub start_headers: u32,
    /// Coins that there are when blocks connect, ascending.
    pub growth_coins: Vec<u64>,
    /// Lengths of chains that are copied.
    pub growth_chain: Vec<usize>,
    /// Neighbours of each node when a block is passed on.
    pub growth_peers: Vec<usize>,
    /// Transactions that wait in a mempool, ascending.
    pub growth_mempool: Vec<usize>,
    /// Blocks at each point where blocks are measured.
    pub growth_blocks: usize,
    /// Payments in each of those that travel.
    pub growth_payments: usize,
    /// Whether a ratio over its limit fails: too little work says nothing.
    pub is_judged: bool,
}

/// What fills a block of 4,000,000 bytes, but for its header, coinbase and counts.
const PAYMENTS_AT_THE_LIMIT: usize = (4_000_000 - 400) / PAYMENT_BYTES;

impl Scale {
    /// The benchmark itself: ten minutes, or an hour with all parts.
    pub fn full() -> Self {
        Self {
            blocks: 200,
            payments_per_block: 2_000,
            kind_blocks: 20,
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
            accept_payments: 60_000,
            sustained: Duration::from_secs(60),
            neighbours_blocks: 40,
            calls_blocks: 10,
            memory_blocks: 200,
            mine_headers: 1 << 21,
            mine_rounds: 9,
            start_headers: 1_000_000,
            growth_coins: vec![1_000_000, 10_000_000, 30_000_000],
            growth_chain: vec![100, 200, 400, 800],
            growth_peers: vec![1, 2, 4, 7],
            growth_mempool: vec![1_000, 10_000, 100_000, 300_000],
            growth_blocks: 20,
            growth_payments: 200,
            is_judged: true,
        }
    }

    /// Seconds: every line of code runs, no figure means anything.
    pub fn quick() -> Self {
        Self {
            blocks: 3,
            payments_per_block: 200,
            kind_blocks: 2,
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
            accept_payments: 2_000,
            sustained: Duration::from_secs(5),
            neighbours_blocks: 2,
            calls_blocks: 2,
            memory_blocks: 4,
            mine_headers: 1 << 12,
            mine_rounds: 1,
            start_headers: 100,
            growth_coins: vec![5_000, 10_000],
            growth_chain: vec![5, 10],
            growth_peers: vec![1, 2],
            growth_mempool: vec![100, 1_000],
            growth_blocks: 2,
            growth_payments: 20,
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

/// A part of the table.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// On the command line, and in each of its rows.
    pub name: &'static str,
    /// What measures it.
    pub run: fn(&mut Bench<'_>) -> Outcome<()>,
    /// Whether it is among the ten minutes that are measured unless the caller says otherwise.
    pub is_usual: bool,
}

const fn usual(name: &'static str, run: fn(&mut Bench<'_>) -> Outcome<()>) -> Part {
    Part { name, run, is_usual: true }
}

const fn further(name: &'static str, run: fn(&mut Bench<'_>) -> Outcome<()>) -> Part {
    Part { name, run, is_usual: false }
}

/// All parts, in the order of the table.
pub const PARTS: &[Part] = &[
    usual("connect", connect::run),
    usual("kinds", kinds::run),
    usual("copy", copy::run),
    usual("accept", accept::run),
    usual("sustained", sustained::run),
    usual("neighbours", relay::run_neighbours),
    usual("calls", calls::run),
    usual("memory", memory::run),
    usual("mine", mine::run),
    further("start", start::run),
    further("reorganise", reorganise::run),
    further("worst", worst::run),
    further("sync", sync::run),
    further("relay", relay::run),
    further("partition", partition::run),
    further("rpc", rpc::run),
];

/// How costs grow, apart from the table: up to an hour.
pub const GROWTH: &[Part] = &[
    further("growth-mempool", growth::mempool::run),
    further("growth-peers", growth::peers::run),
    further("growth-chain", growth::chain::run),
    further("growth-coins", growth::coins::run),
];
