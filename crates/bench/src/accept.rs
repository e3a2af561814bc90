//! How many payments a second a node takes into its mempool by `sendrawtransactions`.

use std::{
    thread,
    time::{Duration, Instant},
};

use ashlar_processes::Rpc;

use crate::{
    Outcome,
    http::KeepAlive,
    nodes::{Net, Node},
    parts::Bench,
    purse::{Purse, submission},
    report::{Figure, Machine, Row},
    timing::median_of,
};

const PART: &str = "accept";

/// Transactions in one call.
pub const SENT_AT_ONCE: usize = 500;
/// What a node is to take (docs/performance.md).
const TARGET_PER_SECOND: f64 = 20_000.0;
/// Connections over which they come: one call is decoded while another is verified.
const CONNECTIONS: usize = 4;
/// Blocks are not what is measured.
const MAX_BLOCK_BYTES: u32 = 4_000_000;

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let (count, repeats) = (bench.scale.accept_payments, bench.scale.repeats);
    eprintln!("{PART}: making {count} coins and {repeats} times as many payments");
    let mut purse = Purse::new(bench.seed, count, MAX_BLOCK_BYTES);
    let bodies: Vec<_> = purse.payments(count).chunks(SENT_AT_ONCE).map(submission).collect();
    let (mut rates, mut processor) = (Vec::new(), Vec::new());
    for round in 1..=repeats {
        let net = Net::new(bench.scratch()?, purse.genesis_text())?;
        let node = net.start("node", &["--profile", "default"].map(str::to_owned))?;
        node.submit(purse.lead())?;
        let (wall, used) = submit_all(&node, &bodies)?;
        rates.push(count as f64 / wall.as_secs_f64());
        processor.push(used.as_secs_f64() * 1e6 / count as f64);
        // The connection that submitted the blocks may have been idle for too long.
        let rpc = Rpc::connect(node.process.datadir()).ok_or("the node is gone")?;
        let waiting = rpc.mempool()?;
        if waiting.size != count as u64 {
            return Err(format!("{} of {count} payments were taken", waiting.size).into());
        }
        eprintln!("  round {round}: {:.0} payments/s", rates[rates.len() - 1]);
    }
    let cores = bench.report.machine.cores;
    let note = format!(
        "{:.0} µs of processor time each, all {cores} cores, load {:.1}",
        median_of(processor.into_iter()),
        Machine::here().load
    );
    let what = format!("mempool: payments taken by sendrawtransactions of {SENT_AT_ONCE}");
    let row = Row::new(PART, what, Figure::new(median_of(rates.into_iter()), "payments/s"))
        .note(note)
        .against("target", Figure::new(TARGET_PER_SECOND, "payments/s"));
    bench.report.push(if bench.scale.is_judged { row.at_least(1.0) } else { row });
    Ok(())
}

/// Sends all over several connections at once; how long it took, and how long the node worked.
fn submit_all(node: &Node, bodies: &[Vec<u8>]) -> Outcome<(Duration, Duration)> {
    let used = node.processor_time()?;
    let start = Instant::now();
    thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|first| {
                scope.spawn(move || -> Outcome<()> {
                    let mut connection = KeepAlive::to(node)?;
                    for body in bodies.iter().skip(first).step_by(CONNECTIONS) {
                        connection.post(body)?;
                    }
                    Ok(())
                })
            })
            .collect();
        senders
            .into_iter()
            .try_for_each(|sender| sender.join().map_err(|_| "a sending thread died")?)
    })?;
    Ok((start.elapsed(), node.processor_time()?.saturating_sub(used)))
}
