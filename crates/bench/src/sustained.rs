//! Three nodes, payments submitted at one of them for a minute, blocks of up to 32 MB found by a
//! clock at another: how many a second are confirmed on all three.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use ashlar_primitives::Address;
use ashlar_processes::{Rpc, TipMoved, Tips};
use ashlar_testkit::builder;
use serde_json::json;

use crate::{
    Outcome,
    accept::SENT_AT_ONCE,
    http::KeepAlive,
    nodes::{Net, Node, PATIENCE, flags},
    parts::Bench,
    purse::{Purse, submission},
    report::{Figure, Machine, Row},
};

const PART: &str = "sustained";

const NODES: usize = 3;
/// What is to be confirmed on all of them (docs/performance.md).
const TARGET_PER_SECOND: f64 = 8_000.0;
/// Coins made beforehand, for each second: what the target needs, and some more.
pub const COINS_PER_SECOND: usize = 11_000;
const MAX_BLOCK_BYTES: u32 = 32_000_000;
/// From one block to the next.
const BLOCK_EVERY: Duration = Duration::from_secs(2);
/// Connections over which payments come.
const CONNECTIONS: usize = 2;
/// Payments that wait at the first node at most, three seconds' worth: who submits waits for the
/// net.
const MAX_WAITING: u64 = 24_000;
/// Between two looks at how many wait.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let window = bench.scale.sustained;
    let count = COINS_PER_SECOND * window.as_secs() as usize;
    eprintln!("{PART}: making {count} coins and as many payments");
    let mut purse = Purse::new(bench.seed, count, MAX_BLOCK_BYTES);
    let bodies: Vec<_> = purse.payments(count).chunks(SENT_AT_ONCE).map(submission).collect();
    let net = Net::new(bench.scratch()?, purse.genesis_text())?;
    let mut nodes: Vec<Node> = Vec::new();
    for at in 0..NODES {
        let default = ["--profile", "default"].map(str::to_owned);
        let peers = flags("--peer", &nodes);
        nodes.push(net.start(&format!("node{at}"), &[&default[..], &peers].concat())?);
    }
    for node in &nodes {
        node.wait_connected(NODES as u64 - 1)?;
    }
    let tips = Tips::of(nodes.iter().map(|node| &node.process))?;
    for made in purse.lead() {
        nodes[0].submit([made])?;
        let tip = (made.block.height(), made.block.id());
        tips.arrivals(NODES, tip, PATIENCE).ok_or("a block did not arrive everywhere")?;
    }
    let first_height = purse.lead().last().map_or(0, |made| made.block.height());
    let used = nodes.iter().map(Node::processor_time).collect::<Outcome<Vec<_>>>()?;

    eprintln!("{PART}: {} s of payments", window.as_secs());
    let Flood { start, sent, events } = flood(&nodes, &tips, first_height, &bodies, window)?;
    let used = nodes.iter().zip(used).map(|(node, before)| Ok(node.processor_time()? - before));
    let used = used.collect::<Outcome<Vec<_>>>()?;

    // The last block that all three had, and when the last of them had it.
    let heights = (0..NODES).map(|node| {
        events.iter().filter(|event| event.node == node).map(|event| event.height).max()
    });
    let height = heights.min().flatten().unwrap_or(first_height);
    let arrived = (0..NODES).filter_map(|node| {
        let there = |event: &&TipMoved| event.node == node && event.height >= height;
        events.iter().filter(there).map(|event| event.at).min()
    });
    let seconds = arrived.max().map_or(f64::NAN, |at| (at - start).as_secs_f64());
    let rpc = Rpc::connect(nodes[0].process.datadir()).ok_or("a node is gone")?;
    let confirmed = confirmed(&rpc, first_height + 1, height)?;
    let load = Machine::here().load;
    let each = |used: &Duration| format!("{:.0}", used.as_secs_f64() * 1e6 / confirmed as f64);
    let note = format!(
        "{} blocks, {confirmed} of {} payments in {seconds:.1} s, {} µs of processor time each on \
         the three, load {load:.1}",
        height - first_height,
        sent * SENT_AT_ONCE,
        used.iter().map(each).collect::<Vec<_>>().join(" + "),
    );
    let what = format!(
        "three nodes, {} s, a block every {} s: payments confirmed on all",
        window.as_secs(),
        BLOCK_EVERY.as_secs()
    );
    let row = Row::new(PART, what, Figure::new(confirmed as f64 / seconds, "payments/s"))
        .note(note)
        .against("target", Figure::new(TARGET_PER_SECOND, "payments/s"));
    bench.report.push(if bench.scale.is_judged { row.at_least(1.0) } else { row });
    Ok(())
}

/// What happened in the window.
struct Flood {
    start: Instant,
    /// Bodies.
    sent: usize,
    events: Vec<TipMoved>,
}

/// Submits at the first node and finds blocks at the last until the window is over.
fn flood(
    nodes: &[Node],
    tips: &Tips,
    first_height: u32,
    bodies: &[Vec<u8>],
    window: Duration,
) -> Outcome<Flood> {
    let (over, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let start = Instant::now();
    let end = start + window;
    let events = thread::scope(|scope| -> Outcome<Vec<TipMoved>> {
        let sending: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| send(&nodes[0], bodies, &next, &over)))
            .collect();
        let mining = scope.spawn(|| mine(&nodes[NODES - 1], start, &over));
        let events = watch(tips, first_height, end);
        over.store(true, Ordering::Release);
        for sending in sending {
            sending.join().map_err(|_| "a sending thread died")??;
        }
        mining.join().map_err(|_| "the mining thread died")??;
        events
    })?;
    Ok(Flood { start, sent: next.into_inner().min(bodies.len()), events })
}

/// All moves of tips up to the end; later ones too where not even one block came to all by then.
fn watch(tips: &Tips, first_height: u32, end: Instant) -> Outcome<Vec<TipMoved>> {
    let (mut events, mut reached) = (Vec::new(), [first_height; NODES]);
    loop {
        let is_enough = reached.iter().all(|height| *height > first_height);
        let left = end.saturating_duration_since(Instant::now());
        match tips.next(if is_enough { left } else { left.max(PATIENCE) }) {
            Some(event) if is_enough && event.at > end => return Ok(events),
            Some(event) => {
                reached[event.node] = event.height.max(reached[event.node]);
                events.push(event);
            }
            None if is_enough => return Ok(events),
            None => return Err("no block of payments came to all nodes".into()),
        }
    }
}

/// Sends one body after the other, but waits while too many wait.
fn send(node: &Node, bodies: &[Vec<u8>], next: &AtomicUsize, over: &AtomicBool) -> Outcome<()> {
    let rpc = Rpc::connect(node.process.datadir()).ok_or("the node is gone")?;
    let mut connection = KeepAlive::to(node)?;
    let (mut looked, mut is_full) = (Instant::now(), false);
    while !over.load(Ordering::Acquire) {
        if looked.elapsed() >= LOOK_EVERY {
            is_full = rpc.mempool()?.size > MAX_WAITING;
            looked = Instant::now();
        }
        if is_full {
            thread::sleep(LOOK_EVERY);
            continue;
        }
        match bodies.get(next.fetch_add(1, Ordering::AcqRel)) {
            Some(body) => drop(connection.post(body)?),
            None => thread::sleep(LOOK_EVERY),
        }
    }
    Ok(())
}

/// A block of what waits at each tick of the clock; where one takes longer, the next comes right
/// after.
fn mine(node: &Node, start: Instant, over: &AtomicBool) -> Outcome<()> {
    let rpc = Rpc::connect(node.process.datadir()).ok_or("the node is gone")?;
    let address = Address::new(builder::PREFIX, builder::lock(0))?.to_string();
    let mut due = start + BLOCK_EVERY;
    while !over.load(Ordering::Acquire) {
        if Instant::now() < due {
            thread::sleep(LOOK_EVERY.min(due.saturating_duration_since(Instant::now())));
            continue;
        }
        if rpc.mempool()?.size > 0 {
            rpc.generate(1, &address)?;
        }
        due = (due + BLOCK_EVERY).max(Instant::now());
    }
    Ok(())
}

/// Payments in the blocks of these heights.
fn confirmed(rpc: &Rpc, first: u32, last: u32) -> Outcome<u64> {
    let mut payments = 0;
    for height in first..=last {
        let id = rpc.id_at(height)?.to_string();
        let block = rpc.call("getblock", vec![json!(id), json!(1)])?;
        // The coinbase is counted.
        payments += block["nTx"].as_u64().unwrap_or(1) - 1;
    }
    Ok(payments)
}
