//! How fast a block that was found moves the tips of others: two neighbours, and five nodes, all
//! connected to each other and in a line; each a process of its own, all with warm mempools.

use std::{iter, time::Instant};

use ashlar_primitives::Encode as _;
use ashlar_processes::Tips;

use crate::{
    Outcome,
    maker::Made,
    nodes::{Net, Node, PATIENCE, flags, wait_until},
    parts::Bench,
    payments::Payments,
    report::{Figure, Machine, Row},
    timing::{median_of, percentile_of},
};

const PART: &str = "relay";

const NODES: usize = 5;
/// Transactions that `sendrawtransactions` takes.
const SENT_AT_ONCE: usize = 1_000;
/// Blocks of each size before the first that counts: gossip finds its mesh within a heartbeat.
const WARM_UP: usize = 3;

/// Who is connected to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Topology {
    /// Each to all, as `scripts/testnet.sh` makes it.
    Mesh,
    /// Each to the one before it; the block is found at one end.
    Line,
}

/// Payments in the blocks between neighbours.
const NEIGHBOURS_PAYMENTS: usize = 2_000;
/// What they may take beyond an empty block (docs/performance.md).
const NEIGHBOURS_TARGET_MS: f64 = 20.0;

/// Measures blocks between two neighbours.
pub fn run_neighbours(bench: &mut Bench<'_>) -> Outcome<()> {
    const PART: &str = "neighbours";
    let blocks = bench.scale.neighbours_blocks;
    let count = NEIGHBOURS_PAYMENTS.min(bench.scale.payments_per_block);
    eprintln!("{PART}: {blocks} blocks of {count} payments");
    let (mut payments, lead) = Payments::new(bench.seed, count);
    let net = Net::new(bench.scratch()?, &Payments::genesis_text(count))?;
    let default = ["--profile", "default"].map(str::to_owned);
    let one = net.start("one", &default)?;
    let other = net.start("other", &[&default[..], &flags("--connect", [&one])].concat())?;
    one.wait_connected(1)?;
    let nodes = [one, other];
    let tips = Tips::of(nodes.iter().map(|node| &node.process))?;
    for made in &lead {
        found(&nodes, &tips, made)?;
    }
    // Of blocks with payments and without, in turn: milliseconds at the finder, and next to it.
    let mut times = [(); 2].map(|()| (Vec::new(), Vec::new()));
    for number in 0..WARM_UP + blocks {
        for (count, (finder, neighbour)) in [count, 0].into_iter().zip(&mut times) {
            let made = payments.block(count);
            warm(&nodes, &made)?;
            let arrived = found(&nodes, &tips, &made)?;
            if number >= WARM_UP {
                finder.push(arrived[0]);
                neighbour.push(arrived[1]);
            }
        }
    }
    let median = |times: &[f64]| median_of(times.iter().copied());
    let [(full_finder, full), (empty_finder, empty)] = &times;
    let note = format!(
        "an empty one {:.1} ms; tip of the finder after {:.1} and {:.1} ms; 99th percentile {:.1} ms, \
         {blocks} blocks, load {:.1}",
        median(empty),
        median(full_finder),
        median(empty_finder),
        percentile_of(full.iter().copied(), 0.99),
        Machine::here().load
    );
    let what = format!("neighbours, {count} payments: found to tip");
    let target = format!("an empty block and {NEIGHBOURS_TARGET_MS} ms");
    let row = Row::new(PART, what, Figure::new(median(full), "ms"))
        .note(note)
        .against(target, Figure::new(median(empty) + NEIGHBOURS_TARGET_MS, "ms"));
    bench.report.push(if bench.scale.is_judged { row.at_most(1.0) } else { row });
    Ok(())
}

/// Measures nets of five.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let sizes = bench.scale.relay.clone();
    let most = sizes.iter().map(|(payments, _)| *payments).max().unwrap_or(1);
    eprintln!("{PART}: making {most} coins");
    let (payments, lead) = Payments::new(bench.seed, most);
    for shape in [Topology::Mesh, Topology::Line] {
        let net = Net::new(bench.scratch()?, &Payments::genesis_text(most))?;
        let nodes = start(&net, shape, NODES)?;
        let tips = Tips::of(nodes.iter().map(|node| &node.process))?;
        for made in &lead {
            found(&nodes, &tips, made)?;
        }
        let mut payments = payments.clone();
        for &(count, blocks) in &sizes {
            measure(bench, shape, (&nodes, &tips), &mut payments, (count, blocks))?;
        }
    }
    Ok(())
}

/// So many nodes, each connected to whom the shape says.
pub(crate) fn start(net: &Net, shape: Topology, count: usize) -> Outcome<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::new();
    for at in 0..count {
        let peers = match shape {
            Topology::Mesh => flags("--peer", &nodes),
            Topology::Line => flags("--connect", nodes.last()),
        };
        nodes.push(net.start(&format!("node{at}"), &peers)?);
    }
    for (at, node) in nodes.iter().enumerate() {
        node.wait_connected(match shape {
            Topology::Mesh => count as u64 - 1,
            Topology::Line if at == 0 || at == count - 1 => 1,
            Topology::Line => 2,
        })?;
    }
    Ok(nodes)
}

/// A row for blocks of one size.
fn measure(
    bench: &mut Bench<'_>,
    shape: Topology,
    (nodes, tips): (&[Node], &Tips),
    payments: &mut Payments,
    (count, blocks): (usize, usize),
) -> Outcome<()> {
    let what = match shape {
        Topology::Mesh => {
            format!("all connected, {count} transactions: found to tip on the farthest")
        }
        Topology::Line => format!("in a line, {count} transactions: found to tip on the farthest"),
    };
    eprintln!("{PART}: {what}, {blocks} blocks");
    let (mut first, mut farthest) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + blocks {
        let made = payments.block(count);
        warm(nodes, &made)?;
        let arrived = found(nodes, tips, &made)?;
        if number >= WARM_UP {
            first.push(arrived[0]);
            farthest.push(arrived.iter().copied().fold(0.0, f64::max));
        }
    }
    let high = percentile_of(farthest.iter().copied(), 0.99);
    let load = Machine::here().load;
    let row = Row::new(PART, what, Figure::new(median_of(farthest.into_iter()), "ms"))
        .note(format!("99th percentile {high:.1} ms, {blocks} blocks, load {load:.1}"))
        .against("on the node that found it", Figure::new(median_of(first.into_iter()), "ms"));
    bench.report.push(row);
    Ok(())
}

/// Sends a block's transactions to the first node, and waits until all have all.
pub(crate) fn warm(nodes: &[Node], made: &Made) -> Outcome<()> {
    let encoded = made.block.to_block().transactions.into_iter();
    let encoded: Vec<_> = encoded.map(|transaction| hex::encode(transaction.to_bytes())).collect();
    for chunk in encoded.chunks(SENT_AT_ONCE) {
        nodes[0].rpc.send(chunk.to_vec())?;
    }
    for node in nodes {
        wait_until(
            "each mempool has all",
            || Ok(node.rpc.mempool()?.size >= encoded.len() as u64),
        )?;
    }
    Ok(())
}

/// Submits a block to the first node; after how many milliseconds the tip of each moved.
pub(crate) fn found(nodes: &[Node], tips: &Tips, made: &Made) -> Outcome<Vec<f64>> {
    let (height, id) = (made.block.height(), made.block.id());
    let bytes = made.block.to_bytes();
    let start = Instant::now();
    if let Some(reason) = nodes[0].rpc.submit(&bytes)? {
        return Err(format!("a block of the workload is refused: {reason}").into());
    }
    let arrived = tips.arrivals(nodes.len(), (height, id), PATIENCE);
    let arrived = arrived.ok_or_else(|| {
        let logs = iter::once("a block did not arrive everywhere".to_owned());
        logs.chain(nodes.iter().map(|node| node.process.log_tail())).collect::<Vec<_>>().join("\n")
    })?;
    Ok(arrived.into_iter().map(|at| (at - start).as_secs_f64() * 1e3).collect())
}
