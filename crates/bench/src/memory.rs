//! How much memory a node takes: after it copied a chain, and with nothing to do.

use std::{thread, time::Duration};

use ashlar_processes::Tips;

use crate::{
    Outcome,
    nodes::{Net, PATIENCE, flags},
    parts::Bench,
    payments::Payments,
    report::{Figure, Machine, Row},
};

const PART: &str = "memory";

const MEBIBYTE: f64 = 1_048_576.0;
/// What a node may hold after it copied the workload, default settings (docs/performance.md).
const SYNCED_TARGET: f64 = 400.0;
/// What a node of a fresh testnet may hold that has nothing to do.
const IDLE_TARGET: f64 = 60.0;
/// A node that just started still frees what starting took.
const REST: Duration = Duration::from_secs(5);

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let (blocks, count) = (bench.scale.memory_blocks, bench.scale.payments_per_block);
    eprintln!("{PART}: making {blocks} blocks of {count} payments");
    let net = Net::new(bench.scratch()?, &Payments::genesis_text(count))?;
    let default = ["--profile", "default"].map(str::to_owned);
    let source = net.start("source", &default)?;
    let (mut payments, lead) = Payments::new(bench.seed, count);
    source.submit(&lead)?;
    let mut tip = payments.state().header.clone();
    for _ in 0..blocks {
        source.submit([&payments.block(count)])?;
        tip = payments.state().header.clone();
    }
    let fresh = net.start("fresh", &[&default[..], &flags("--connect", [&source])].concat())?;
    let arrived = Tips::of([&fresh.process])?.arrivals(1, (tip.height, tip.id), PATIENCE);
    arrived.ok_or_else(|| format!("the fresh node stays behind:\n{}", fresh.process.log_tail()))?;
    let (resident, peak) = fresh.memory()?;
    let what = format!("resident memory after copying {blocks} blocks of {count} payments");
    let note = format!("highest {:.0} MiB", peak as f64 / MEBIBYTE);
    push(bench, what, note, resident, SYNCED_TARGET);
    drop((source, fresh));

    let idle = net.start("idle", &[])?;
    thread::sleep(REST);
    let (resident, _) = idle.memory()?;
    let note = format!("load {:.1}", Machine::here().load);
    let what = "resident memory of an idle node of a fresh testnet".to_owned();
    push(bench, what, note, resident, IDLE_TARGET);
    Ok(())
}

fn push(bench: &mut Bench<'_>, what: String, note: String, resident: u64, target: f64) {
    let row = Row::new(PART, what, Figure::new(resident as f64 / MEBIBYTE, "MiB"))
        .note(note)
        .against("target", Figure::new(target, "MiB"));
    bench.report.push(if bench.scale.is_judged { row.at_most(1.0) } else { row });
}
