//! Random chains through the slow model and the ledger. The long form is
//! `cargo run --release -p ashlar-testkit --example model -- --chains N --seed S`.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, thread};

use ashlar_ledger::{RocksOptions, RocksStore};
use ashlar_testkit::generator::{Tally, run, run_on};

const SEED: u64 = 2_026;
const CHAINS: u64 = 300;

#[test]
fn the_model_and_the_ledger_agree_on_random_chains() {
    let half = |first: u64| {
        let mut total = Tally::default();
        for chain in (first..CHAINS).step_by(2) {
            total.add(&run(SEED, chain).unwrap_or_else(|difference| panic!("{difference}")));
        }
        total
    };
    let total = thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let mut total = half(0);
        total.add(&other.join().unwrap());
        total
    });
    println!("{total}");
    assert_eq!(total.chains, CHAINS);
    assert!(total.blocks >= 40 * CHAINS && total.forks >= 3 * CHAINS && total.least_deepest > 5);
    assert!(total.missing().is_empty(), "never reached: {:?}", total.missing());
}

#[test]
fn a_ledger_on_disk_agrees_too() {
    for chain in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let mut open = || RocksStore::open(folder.path(), &RocksOptions::small()).map(Arc::new);
        let told = run_on(SEED, CHAINS + chain, &mut open);
        told.unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[test]
fn the_same_chain_twice_is_the_same() {
    let count = |chain| format!("{:?}", run(SEED, chain).map_err(|_| "a difference"));
    assert_eq!(count(1), count(1));
    assert_ne!(count(1), count(2));
}
