//! Drives the slow model and the ledger through random chains and compares them after each step:
//! `model --chains N --seed S`. Prints counts and chains per second. `--chain K` lives through one
//! chain again and tells its story. Exit code 1 where the two differ, or where a long run did not
//! reach every code and every kind of policy.

use std::{env, process::ExitCode, sync::Arc, time::Instant};

use ashlar_ledger::{RocksOptions, RocksStore};
use ashlar_testkit::generator::{self, Disagreement, Tally};

/// From this many chains on a run must have reached everything.
const COMPLETE_CHAINS: u64 = 300;
/// One chain of so many has its ledger on a disk.
const DISK_SHARE: u64 = 250;
/// Chains between two lines of progress.
const PROGRESS_CHAINS: u64 = 1_000;

const USAGE: &str = "usage: model [--chains N] [--seed S] [--chain K]";

fn main() -> ExitCode {
    let (mut chains, mut seed, mut only) = (1_000, 1, None);
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let Some(Ok(value)) = arguments.next().map(|value| value.parse::<u64>()) else {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        };
        match name.as_str() {
            "--chains" => chains = value,
            "--seed" => seed = value,
            "--chain" => only = Some(value),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let numbers = only.map_or(0..chains, |chain| chain..chain + 1);
    let (started, mut total) = (Instant::now(), Tally::default());
    for chain in numbers {
        match live(seed, chain) {
            Ok(tally) => total.add(&tally),
            Err(disagreement) => {
                println!("seed {seed}, chain {chain}: model and ledger differ\n{disagreement}");
                return ExitCode::FAILURE;
            }
        }
        if total.chains % PROGRESS_CHAINS == 0 {
            println!("{} chains after {} s", total.chains, started.elapsed().as_secs());
        }
    }
    let elapsed = started.elapsed().as_secs_f64();
    print!("seed {seed}: {total}");
    println!("{:.1} chains/s, {elapsed:.1} s", total.chains as f64 / elapsed);
    let missing = total.missing();
    if only.is_none() && chains >= COMPLETE_CHAINS && !missing.is_empty() {
        println!("never reached: {missing:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// One chain, its ledger in memory or on a disk.
fn live(seed: u64, chain: u64) -> Result<Tally, Box<Disagreement>> {
    if chain % DISK_SHARE != DISK_SHARE - 1 {
        return generator::run(seed, chain);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut open = || RocksStore::open(folder.path(), &RocksOptions::small()).map(Arc::new);
    let mut tally = generator::run_on(seed, chain, &mut open)?;
    tally.on_disk = 1;
    Ok(tally)
}
