//! How long callers of a node wait while blocks at the size limit connect, one right after the
//! other, beside the same node at rest.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ashlar_primitives::Address;
use ashlar_processes::Rpc;
use ashlar_testkit::builder;
use serde_json::{Value, json};

use crate::{
    Outcome,
    maker::Made,
    nodes::Net,
    parts::Bench,
    payments::Payments,
    report::{Figure, Machine, Row},
    timing::{median_of, percentile_of},
};

const PART: &str = "rpc";

/// What the median may grow by (docs/performance.md).
const LIMIT: f64 = 3.0;
/// Between the ends of one call and the next: so many moments are looked at, quiet or not.
const PACE: Duration = Duration::from_millis(5);

/// Whom a question is answered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A view of the chain, which no block holds up.
    Chain,
    /// The engine, which connects the blocks.
    Live,
}

/// A call that explorers, wallets and monitors make all day.
#[derive(Debug)]
struct Question {
    source: Source,
    method: &'static str,
    params: Value,
}

/// About one transaction of the workload.
fn questions(made: &Made) -> Vec<Question> {
    let transaction = &made.block.transactions()[0];
    let txid = transaction.txid().to_string();
    let lock = transaction.transaction().outputs[0].lock;
    let address = Address::new(builder::PREFIX, lock).expect("a known lock").to_string();
    let id = made.block.id().to_string();
    let question = |source, method, params| Question { source, method, params };
    vec![
        question(Source::Chain, "getblockcount", json!([])),
        question(Source::Chain, "getblockheader", json!([id])),
        question(Source::Chain, "gettxout", json!([txid, 1, false])),
        question(Source::Chain, "getrawtransaction", json!([txid, 1, id])),
        question(Source::Chain, "getaddressbalance", json!([address])),
        question(Source::Live, "getblockchaininfo", json!([])),
        question(Source::Live, "getmempoolinfo", json!([])),
        question(Source::Live, "gettxout", json!([txid, 1, true])),
        question(Source::Live, "estimatesmartfee", json!([6])),
        question(Source::Live, "getpeerinfo", json!([])),
    ]
}

/// How long each call took, in milliseconds.
type Waits = Vec<(Source, f64)>;

/// Asks in turn until there is enough.
fn ask(rpc: &Rpc, questions: &[Question], mut enough: impl FnMut(usize) -> bool) -> Outcome<Waits> {
    let mut waits = Vec::new();
    for Question { source, method, params } in questions.iter().cycle() {
        let params = params.as_array().cloned().unwrap_or_default();
        let start = Instant::now();
        rpc.call(method, params)?;
        waits.push((*source, start.elapsed().as_secs_f64() * 1e3));
        if enough(waits.len()) {
            break;
        }
        thread::sleep(PACE);
    }
    Ok(waits)
}

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let (blocks, count) = (bench.scale.rpc_blocks, bench.scale.rpc_payments);
    eprintln!("{PART}: making {blocks} blocks of {count} payments");
    let (mut payments, lead) = Payments::new(bench.seed, count);
    let first = payments.block(count);
    let made: Vec<Vec<u8>> = (0..blocks).map(|_| payments.block(count).block.to_bytes()).collect();
    let net = Net::new(bench.scratch()?, &Payments::genesis_text(count))?;
    let node = net.start("node", &[])?;
    for made in lead.iter().chain([&first]) {
        submit(&node.rpc, &made.block.to_bytes())?;
    }
    let questions = questions(&first);
    let calls = bench.scale.rpc_calls;
    // Once for what is slow the first time only.
    ask(&node.rpc, &questions, |done| done >= questions.len())?;
    let idle = ask(&node.rpc, &questions, |done| done >= calls)?;
    let (busy, connecting) =
        while_connecting(&node.rpc, node.process.datadir(), &questions, &made)?;

    let of = |waits: &Waits, source: Option<Source>| -> Vec<f64> {
        let asked = waits.iter().filter(|(from, _)| source.is_none_or(|source| source == *from));
        asked.map(|(_, wait)| *wait).collect()
    };
    let load = Machine::here().load;
    for (what, source) in [
        ("all calls", None),
        ("about the chain", Some(Source::Chain)),
        ("about live state", Some(Source::Live)),
    ] {
        let (idle, busy) = (of(&idle, source), of(&busy, source));
        let bytes = made.last().map_or(0, Vec::len);
        let what = format!("{what}, while blocks of {bytes} bytes connect: median");
        let high = percentile_of(busy.iter().copied(), 0.99);
        let note = format!(
            "99th percentile {high:.1} ms, {} calls, {blocks} blocks in {:.1} s, load {load:.1}",
            busy.len(),
            connecting.as_secs_f64()
        );
        let rest = Figure::new(median_of(idle.into_iter()), "ms");
        let row = Row::new(PART, what, Figure::new(median_of(busy.into_iter()), "ms"));
        let row = row.note(note).against("at rest", rest);
        bench.report.push(if bench.scale.is_judged { row.at_most(LIMIT) } else { row });
    }
    Ok(())
}

/// Asks while another caller submits the blocks; how long they took.
fn while_connecting(
    rpc: &Rpc,
    datadir: &std::path::Path,
    questions: &[Question],
    blocks: &[Vec<u8>],
) -> Outcome<(Waits, Duration)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let submitting = scope.spawn(|| {
            let start = Instant::now();
            let all = || -> Outcome<()> {
                let rpc = Rpc::connect(datadir).ok_or("the node is gone")?;
                blocks.iter().try_for_each(|block| submit(&rpc, block))
            };
            let all = all();
            done.store(true, Ordering::Release);
            all.map(|()| start.elapsed())
        });
        let waits =
            ask(rpc, questions, |asked| done.load(Ordering::Acquire) && asked >= questions.len());
        let connecting = submitting.join().map_err(|_| "the submitting thread died")??;
        Ok((waits?, connecting))
    })
}

fn submit(rpc: &Rpc, block: &[u8]) -> Outcome<()> {
    match rpc.submit(block)? {
        None => Ok(()),
        Some(reason) => Err(format!("a block of the workload is refused: {reason}").into()),
    }
}
