//! How long a fresh node takes to copy the chain from eight peers, where all are good, and where
//! one of them falls silent and another drips.

use std::{
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use ashlar_ledger::Store as _;
use ashlar_primitives::BlockId;
use ashlar_processes::{
    Relay, Shape, Tips,
    relay::{self, Bandwidth, Direction, Target},
};

use crate::{
    Outcome,
    drive::{self, Driver, Trust, WINDOW_BLOCKS},
    nodes::{Net, Node},
    parts::Bench,
    payments::Payments,
    report::{Figure, Machine, Row},
    timing::median_of,
};

const PART: &str = "sync";

/// Peers of the fresh node.
const PEERS: usize = 8;
/// What the dripping peer gives: 1 kB/s.
const DRIP_BYTES_PER_SECOND: u64 = 1_000;
/// What the silent peer gives before it never says anything again: it is connected, has said who
/// it is and which tip it has, and is asked for headers and blocks.
const SILENT_AFTER_BYTES: u64 = 4_096;
/// The bad ones may cost so much (docs/performance.md).
const LIMIT: f64 = 1.3;
/// Longest that a copy may take.
const SYNC_PATIENCE: Duration = Duration::from_secs(900);

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let (blocks, per_block) = (bench.scale.sync_blocks, bench.scale.sync_payments);
    let net = Net::new(bench.scratch()?, &Payments::genesis_text(per_block))?;
    eprintln!("{PART}: making {blocks} blocks of {per_block} payments, and {PEERS} copies");
    let tip = make_chain(bench, net.path(), (blocks, per_block), PEERS)?;
    let peers = (0..PEERS).map(|at| net.start(&format!("peer{at}"), &[]));
    let peers = peers.collect::<Outcome<Vec<_>>>()?;

    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for round in 1..=bench.scale.repeats {
        eprintln!("{PART}: round {round} of {}", bench.scale.repeats);
        // Each is first in turn, so that a machine that gets busier favours neither.
        for is_good in [round % 2 == 1, round % 2 == 0] {
            if is_good {
                good.push(copied(&net, peers.iter().map(address), tip)?);
                eprintln!("  eight good peers: {:.1} s", good[good.len() - 1]);
            } else {
                bad.push(copied_from_bad(&net, &peers, tip)?);
                eprintln!("  a silent and a dripping one: {:.1} s", bad[bad.len() - 1]);
            }
        }
    }
    let ratio = median_of(bad.iter().zip(&good).map(|(bad, good)| bad / good));
    let (good, bad) = (median_of(good.into_iter()), median_of(bad.into_iter()));
    let what = format!("sync of {blocks} blocks from 6 good peers, a silent and a dripping one");
    let rate = (blocks * per_block) as f64 / bad;
    let row = Row::new(PART, what, Figure::new(bad, "s"))
        .note(format!("{rate:.0} payments/s, load {:.1}", Machine::here().load))
        .against_paired(format!("from {PEERS} good ones"), Figure::new(good, "s"), ratio);
    bench.report.push(if bench.scale.is_judged { row.at_most(LIMIT) } else { row });
    Ok(())
}

fn address(node: &Node) -> String {
    node.rpc.peer_address.clone()
}

/// [`copied`] where two of the peers are behind bad lines.
fn copied_from_bad(net: &Net, peers: &[Node], tip: (u32, BlockId)) -> Outcome<f64> {
    let dripping = Bandwidth::from_bytes_per_second(DRIP_BYTES_PER_SECOND);
    let shapes = [
        Shape { silent_after_bytes: Some(SILENT_AFTER_BYTES), ..Shape::default() },
        Shape { bandwidth: Some(dripping), ..Shape::default() },
    ];
    let (far, direct) = peers.split_at(shapes.len());
    let relay = Relay::start()?;
    let mut links = Vec::new();
    let mut addresses = Vec::new();
    for (peer, shape) in far.iter().zip(shapes) {
        let target = relay::socket_address(&address(peer)).ok_or("a peer without TCP")?;
        let link = relay.link((Ipv4Addr::LOCALHOST, 0).into(), Target::At(target), 0)?;
        link.set_shape(Direction::Back, shape);
        addresses.extend(link.in_front_of(&address(peer)));
        links.push(link);
    }
    copied(net, addresses.into_iter().chain(direct.iter().map(address)), tip)
}

/// A chain of so many blocks of so many payments, in the ledger of each of the peers (`peer0` …);
/// its tip.
pub(crate) fn make_chain(
    bench: &Bench<'_>,
    folder: &Path,
    (blocks, per_block): (usize, usize),
    peers: usize,
) -> Outcome<(u32, BlockId)> {
    let (mut payments, lead) = Payments::new(bench.seed, per_block);
    let source = bench.scratch()?;
    let store = drive::store(source.path())?;
    let settings = drive::settings(true);
    let genesis = payments.genesis().clone();
    let mut driver = Driver::open(store.clone(), &genesis, settings, Trust::Mempool)?;
    driver.connect(&lead.into_iter().map(|made| made.block).collect::<Vec<_>>())?;
    for window in (0..blocks).collect::<Vec<_>>().chunks(WINDOW_BLOCKS) {
        let made = window.iter().map(|_| payments.block(per_block).block);
        driver.connect(&made.collect::<Vec<_>>())?;
    }
    let view = driver.view();
    let tip = (view.tip().height, view.tip().id);
    drop((view, driver));
    for at in 0..peers {
        let datadir = folder.join(format!("peer{at}"));
        std::fs::create_dir(&datadir)?;
        store.checkpoint(&datadir.join("ledger"))?;
    }
    Ok(tip)
}

/// From the start of a fresh node to its tip being the peers', in seconds.
pub(crate) fn copied(
    net: &Net,
    peers: impl Iterator<Item = String>,
    tip: (u32, BlockId),
) -> Outcome<f64> {
    let flags: Vec<_> = peers.flat_map(|address| ["--connect".to_owned(), address]).collect();
    let start = Instant::now();
    let fresh = net.start("fresh", &flags)?;
    let arrived = Tips::of([&fresh.process])?.arrivals(1, tip, SYNC_PATIENCE);
    let arrived = arrived.ok_or_else(|| {
        format!("the fresh node did not reach the tip:\n{}", fresh.process.log_tail())
    })?;
    drop(fresh);
    std::fs::remove_dir_all(net.path().join("fresh"))?;
    Ok((arrived[0] - start).as_secs_f64())
}
