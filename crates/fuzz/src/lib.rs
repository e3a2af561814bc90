//! What fuzzing runs: each target a plain function of bytes that panics where an invariant breaks.
//!
//! Two things feed them. `fuzz/` links each into libFuzzer, which is led by coverage
//! (`scripts/fuzz.sh`); [`driver`] mutates the same corpus from a seed on stable Rust, which is
//! what CI runs. A target must be a function of its bytes alone: no clock, no entropy that decides
//! anything, nothing kept between two calls but what is the same every time.
//!
//! Never a part of the node: code here panics, that is its job. It must not know disks, sockets
//! or libp2p, so that it builds in a minute with every instruction counted.
//!
//! Reading order: [`TARGETS`] is the table; [`steer`] turns bytes into choices; every other
//! module is a group of targets, each target's own comment says what it holds to.

#![allow(clippy::unwrap_used, reason = "a target fails by panicking")]

pub mod addresses;
pub mod blocks;
pub mod decoders;
pub mod difficulty;
pub mod driver;
pub mod genesis_files;
pub mod mempool;
pub mod policies;
pub mod rebuilding;
pub mod records;
pub mod seeds;
pub mod session;
pub mod signatures;
pub mod steer;

/// Something to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Of the binary in `fuzz/fuzz_targets`, and of the folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics where an invariant breaks.
    pub run: fn(&[u8]),
    /// How often the driver runs it in CI: about a second and a half.
    pub ci_executions: u64,
}

/// Most bytes of an input that are worth trying.
pub const MAX_LEN: usize = 4_096;

/// All of them; `fuzz/README.md` says what each holds to.
pub const TARGETS: &[Target] = &[
    target("decode_value", decoders::value, 40_000),
    target("decode_message", decoders::message, 40_000),
    target("compact_block", rebuilding::compact_block, 10_000),
    target("merkle", rebuilding::merkle, 20_000),
    target("policy", policies::policy, 20_000),
    target("address", addresses::address, 20_000),
    target("genesis_file", genesis_files::genesis_file, 10_000),
    target("difficulty", difficulty::difficulty, 10_000),
    target("connect_block", blocks::connect_block, 400),
    target("signatures", signatures::signatures, 400),
    target("mempool", mempool::mempool, 800),
    target("ledger_record", records::record, 40_000),
    target("chain_file", records::chain_file, 20_000),
    target("damaged_store", records::damaged_store, 1_000),
    target("p2p_session", session::p2p_session, 400),
];

const fn target(name: &'static str, run: fn(&[u8]), ci_executions: u64) -> Target {
    Target { name, run, ci_executions }
}

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs the target of this name: what a binary of `fuzz/fuzz_targets` does.
///
/// # Panics
/// Where an invariant breaks, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    (find(name).expect("a target of this name").run)(data);
}
