//! Two minutes of random faults and payments on five real nodes.

#![allow(clippy::unwrap_used, reason = "a step that fails is the test's failure")]

use std::time::Duration;

use ashlar_testnet::{
    Testnet,
    chaos::{self, Chaos},
};

#[test]
fn two_minutes_of_chaos_break_no_promise() {
    let net = Testnet::start(5).unwrap();
    // Beside the testnet's folder, which goes with it: what failed is to be replayed.
    let log = std::env::temp_dir().join(format!("ashlar-chaos-{}.log", std::process::id()));
    let wanted = Chaos { seed: 8, time: Duration::from_secs(120), replay: None, log: log.clone() };
    let report = chaos::run(&net, &wanted, &mut |line| eprintln!("{line}"));
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    eprintln!("{report}");
    std::fs::remove_file(log).unwrap();
    assert!(report.rounds > 1 && report.faults.values().sum::<u64>() > 3, "{report:?}");
    assert!(report.payments.acknowledged > 20 && report.blocks > 20, "{report:?}");
    assert_eq!(report.payments.acknowledged, report.payments.confirmed);
}
