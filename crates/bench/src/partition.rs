//! How long a net of six nodes takes to heal that fell into halves, and that nothing is lost:
//!
//! ```text
//!        ┌─ 200 blocks with 20,000 payments      (nodes 0 to 2)
//! common ┤
//!        └─ 201 blocks, the first of them with a tenth of these payments      (nodes 3 to 5)
//! ```

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use ashlar_primitives::{Address, Block, BlockId, Decode as _, Encode as _, Txid};
use ashlar_processes::Tips;
use ashlar_testkit::builder;
use tempfile::TempDir;

use crate::{
    Outcome,
    maker::Made,
    nodes::{Net, Node, PATIENCE, flags, wait_until},
    parts::Bench,
    payments::Payments,
    report::{Figure, Machine, Row},
    timing::median_of,
};

const PART: &str = "partition";

/// Nodes in each half.
const HALF: usize = 3;
/// Of the losing blocks, one in so many has its payments in the winning branch as well.
const REPEATED: usize = 10;
/// Blocks that all that came back must fit.
const CONFIRMING_BLOCKS: usize = 20;
/// Within this a net must be whole again.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How far the halves go apart.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Blocks of the losing half; the other makes one more.
    pub blocks: usize,
    /// Payments in each of them.
    pub payments: usize,
}

impl Shape {
    /// What must heal within half a minute.
    pub const FULL: Self = Self { blocks: 200, payments: 100 };
    /// Seconds in all.
    pub const QUICK: Self = Self { blocks: 20, payments: 20 };
}

/// What it took, from the moment when the halves were to be connected again.
#[derive(Clone, Copy, Debug)]
pub struct Healed {
    /// Until all nodes were on the winning branch.
    pub one_chain: Duration,
    /// Until all that the losing branch alone had confirmed waited in each mempool of its half.
    pub returned: Duration,
    /// How many these were.
    pub payments: usize,
}

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let shape = bench.scale.partition;
    let runs = (0..bench.scale.repeats).map(|run| {
        eprintln!("{PART}: round {} of {}", run + 1, bench.scale.repeats);
        heal(bench.scratch()?, bench.seed + run as u64, shape)
    });
    let runs = runs.collect::<Outcome<Vec<_>>>()?;
    let time = |pick: fn(&Healed) -> Duration| {
        median_of(runs.iter().map(|healed| pick(healed).as_secs_f64()))
    };
    let what = format!(
        "six nodes, halves {} blocks apart: healed, {} payments back in mempools",
        shape.blocks, runs[0].payments
    );
    let (one_chain, load) = (time(|healed| healed.one_chain), Machine::here().load);
    let row = Row::new(PART, what, Figure::new(time(|healed| healed.returned), "s"))
        .note(format!("one chain after {one_chain:.1} s, load {load:.1}"))
        .against("bound", Figure::new(LIMIT.as_secs_f64(), "s"));
    bench.report.push(if bench.scale.is_judged { row.at_most(1.0) } else { row });
    Ok(())
}

/// Parts a net, lets both halves grow, joins them, and mines what came back.
///
/// # Errors
/// Where it does not heal, or a payment is lost.
pub fn heal(folder: TempDir, seed: u64, shape: Shape) -> Outcome<Healed> {
    let coins = shape.blocks * shape.payments;
    let (mut losing, lead) = Payments::new(seed, coins);
    let net = Net::new(folder, &Payments::genesis_text(coins))?;
    let mut nodes = Vec::new();
    for at in 0..2 * HALF {
        let others = &nodes[at / HALF * HALF..];
        nodes.push(net.start(&format!("node{at}"), &flags("--peer", others))?);
    }
    let (left, right) = nodes.split_at(HALF);
    let tips = Tips::of(nodes.iter().map(|node| &node.process))?;
    join(left, right)?;
    for node in &nodes {
        wait_until("the halves are connected", || Ok(node.rpc.connections()? >= HALF as u64))?;
    }
    let mut common = (0, losing.genesis().params().chain_id);
    for made in &lead {
        common = submit(&left[0], made)?;
    }
    arrived(&tips, &nodes, common)?;

    part(left, right)?;
    for node in &nodes {
        node.wait_connected(HALF as u64 - 1)?;
    }
    let mut winning = losing.clone();
    winning.diverge(1);
    let mut lost = BTreeSet::new();
    for number in 0..shape.blocks {
        let made = losing.block(shape.payments);
        send(&left[0], &made)?;
        submit(&left[0], &made)?;
        let won = if number < shape.blocks / REPEATED {
            winning.repeat(&made)
        } else {
            lost.extend(made.block.transactions().iter().map(|payment| payment.txid()));
            winning.block(0)
        };
        submit(&right[0], &won)?;
    }
    wait_for_tip(left, losing.state().header.id)?;
    let tip = submit(&right[0], &winning.block(0))?;
    wait_for_tip(right, tip.1)?;

    let start = Instant::now();
    join(left, right)?;
    arrived(&tips, &nodes, tip)?;
    let one_chain = start.elapsed();
    for node in left {
        wait_until("the payments are back", || Ok(node.rpc.mempool()?.size >= lost.len() as u64))?;
    }
    let returned = start.elapsed();
    for node in left {
        let waiting = node.rpc.waiting()?;
        let gone = lost.difference(&waiting).count();
        if gone > 0 {
            return Err(format!("{gone} of {} payments are lost", lost.len()).into());
        }
    }
    confirm(&nodes, &tips, tip, lost.clone())?;
    Ok(Healed { one_chain, returned, payments: lost.len() })
}

/// Connects the halves, node by node.
fn join(left: &[Node], right: &[Node]) -> Outcome<()> {
    for (one, other) in left.iter().zip(right) {
        other.rpc.clear_bans()?;
        other.rpc.connect_to(&one.rpc.peer_address)?;
    }
    Ok(())
}

/// Keeps the halves apart.
fn part(left: &[Node], right: &[Node]) -> Outcome<()> {
    for other in right {
        left.iter().try_for_each(|one| other.rpc.ban(&one.rpc.peer_address))?;
    }
    Ok(())
}

fn send(node: &Node, made: &Made) -> Outcome<()> {
    let encoded = made.block.to_block().transactions.into_iter();
    let encoded = encoded.map(|transaction| hex::encode(transaction.to_bytes()));
    Ok(node.rpc.send(encoded.collect())?)
}

/// Height and id of the block, which must be good.
fn submit(node: &Node, made: &Made) -> Outcome<(u32, BlockId)> {
    match node.rpc.submit(&made.block.to_bytes())? {
        None => Ok((made.block.height(), made.block.id())),
        Some(reason) => {
            let (height, log) = (made.block.height(), node.process.log_tail());
            Err(format!("block {height} of the workload is refused: {reason}\n{log}").into())
        }
    }
}

fn wait_for_tip(nodes: &[Node], tip: BlockId) -> Outcome<()> {
    for node in nodes {
        wait_until("a half is on its own tip", || Ok(node.rpc.info()?.at.tip.0 == tip))?;
    }
    Ok(())
}

fn arrived(tips: &Tips, nodes: &[Node], tip: (u32, BlockId)) -> Outcome<()> {
    if tips.arrivals(nodes.len(), tip, PATIENCE).is_some() {
        return Ok(());
    }
    let logs: Vec<_> = nodes.iter().map(|node| node.process.log_tail()).collect();
    Err(format!("the nodes are not on one chain:\n{}", logs.join("\n---\n")).into())
}

/// A node of the losing half mines until nothing waits there: all that was lost is confirmed then,
/// and all nodes agree.
fn confirm(
    nodes: &[Node],
    tips: &Tips,
    mut tip: (u32, BlockId),
    mut lost: BTreeSet<Txid>,
) -> Outcome<()> {
    let miner = &nodes[0].rpc;
    let address = Address::new(builder::PREFIX, builder::lock(0))?.to_string();
    for _ in 0..CONFIRMING_BLOCKS {
        for id in miner.generate(1, &address)? {
            tip = (tip.0 + 1, id);
            for payment in Block::from_bytes(&miner.block(id)?)?.transactions {
                lost.remove(&payment.txid());
            }
        }
        if lost.is_empty() {
            return arrived(tips, nodes, tip);
        }
    }
    Err(format!("{} payments are not confirmed after {CONFIRMING_BLOCKS} blocks", lost.len())
        .into())
}
