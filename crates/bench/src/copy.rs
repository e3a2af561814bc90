//! How fast a fresh node copies a chain from one other on the same machine, beside how fast the same
//! blocks connect from memory: both processes share the cores.

use crate::{
    Outcome,
    connect::connected,
    drive::{self, Driver, Trust},
    nodes::Net,
    parts::Bench,
    payments::Payments,
    report::{Figure, Row},
    sync::copied,
    timing::median_of,
    workload::Workload,
};

const PART: &str = "copy";

/// The part of the connect rate that a copy is to reach.
const TARGET: f64 = 0.6;

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let workload = Workload::of_payments(bench)?;
    let genesis_text = Payments::genesis_text(bench.scale.payments_per_block);
    let net = Net::new(bench.scratch()?, &genesis_text)?;
    let source = bench.scratch()?;
    let store = drive::store(source.path())?;
    let settings = drive::settings(true);
    let mut driver = Driver::open(store.clone(), &workload.genesis, settings, Trust::Mempool)?;
    driver.connect(&workload.lead)?;
    driver.connect(&workload.blocks)?;
    let tip = (driver.view().tip().height, driver.view().tip().id);
    drop(driver);
    std::fs::create_dir(net.path().join("peer"))?;
    ashlar_ledger::Store::checkpoint(&*store, &net.path().join("peer").join("ledger"))?;
    let peer = net.start("peer", &[])?;
    let (mut copies, mut connects) = (Vec::new(), Vec::new());
    for round in 1..=bench.scale.repeats {
        eprintln!("{PART}: round {round} of {}", bench.scale.repeats);
        let from = peer.rpc.peer_address.clone();
        copies.push(copied(&net, std::iter::once(from), tip)?);
        connects.push(connected(bench, &workload, true, Trust::Nothing)?.wall.as_secs_f64());
    }
    let ratio = median_of(copies.iter().zip(&connects).map(|(copy, connect)| connect / copy));
    let rate = |seconds: Vec<f64>| {
        let seconds = median_of(seconds.into_iter());
        Figure::new(workload.payments as f64 / seconds, "payments/s")
    };
    let row = Row::new(PART, "a fresh node copies the chain, both indexes", rate(copies))
        .note("from the start of its process".to_owned())
        .against_paired("connect, all signatures, both indexes", rate(connects), ratio);
    bench.report.push(if bench.scale.is_judged { row.at_least(TARGET) } else { row });
    Ok(())
}
