//! How long a node with a long history takes from its start to serving, and how long the first
//! questions about the whole chain take: of a chain of blocks, and of as many headers whose blocks
//! are still to come, as a node has that was stopped early in its first synchronisation.

use std::{fs, time::Instant};

use ashlar_consensus::SpentCoins;
use ashlar_ledger::{Ledger, Store as _};
use ashlar_primitives::BlockId;

use crate::{
    Outcome,
    drive::{self, Driver, Trust},
    maker::{Maker, genesis_text},
    nodes::Net,
    parts::Bench,
    report::{Figure, Machine, Row},
    timing::median_of,
};

const PART: &str = "start";

/// Until RPC is served.
const SERVING_TARGET_S: f64 = 1.0;
/// What the first of each question may take.
const FIRST_TARGET_MS: f64 = 50.0;
/// Blocks that are made before they are connected: bounds memory.
const CHUNK: u32 = 2_000;
const MAX_BLOCK_BYTES: u32 = 4_000_000;
/// Where a node looks for its ledger in its directory.
const LEDGER: &str = "ledger";

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let count = bench.scale.start_headers;
    let text = genesis_text(1, 1_000, MAX_BLOCK_BYTES);
    let net = Net::new(bench.scratch()?, &text)?;
    let genesis = ashlar_consensus::Genesis::parse(&text)?;
    for name in [BLOCKS, HEADERS] {
        fs::create_dir(net.path().join(name))?;
    }
    eprintln!("{PART}: making a chain of {count} blocks, and its headers alone");
    let tip = make(&net, Maker::new(genesis.clone()), count)?;
    for name in [BLOCKS, HEADERS] {
        let (mut serving, mut tips, mut locator) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.scale.repeats {
            let begun = Instant::now();
            let node = net.start(name, &[])?;
            serving.push(begun.elapsed().as_secs_f64());
            let asked = Instant::now();
            let answer = node.rpc.tips()?;
            tips.push(milliseconds(asked));
            if answer.is_empty() {
                return Err("a node without tips".into());
            }
            drop(node);
            locator.push(first_locator(&net, &genesis, name, tip)?);
        }
        let load = Machine::here().load;
        let row = |what, values: Vec<f64>, target, unit| {
            let what = format!("{count} {name}: {what}");
            let row = Row::new(PART, what, Figure::new(median_of(values.into_iter()), unit))
                .note(format!("load {load:.1}"))
                .against("target", Figure::new(target, unit));
            if bench.scale.is_judged { row.at_most(1.0) } else { row }
        };
        let rows = [
            row("start of the process to serving RPC", serving, SERVING_TARGET_S, "s"),
            row("first getchaintips", tips, FIRST_TARGET_MS, "ms"),
            row("first locator", locator, FIRST_TARGET_MS, "ms"),
        ];
        rows.into_iter().for_each(|row| bench.report.push(row));
    }
    Ok(())
}

/// The node that connected all, and the one that only heard of it.
const BLOCKS: &str = "blocks";
const HEADERS: &str = "headers ahead of their blocks";

/// Both ledgers; the highest block.
fn make(net: &Net, mut maker: Maker, count: u32) -> Outcome<BlockId> {
    let open = |name: &str| {
        let store = drive::store(&net.path().join(name).join(LEDGER))?;
        Driver::open(store, maker.genesis(), drive::settings(true), Trust::Mempool)
    };
    let (mut whole, mut ahead) = (open(BLOCKS)?, open(HEADERS)?);
    let mut made = 0;
    while made < count {
        let blocks: Vec<_> = (made..count.min(made + CHUNK))
            .map(|_| maker.grow(Vec::new(), &SpentCoins::default()).block)
            .collect();
        for block in &blocks {
            ahead.accept_header(block.header())?;
        }
        whole.connect(&blocks)?;
        made += CHUNK;
        if made % (50 * CHUNK) == 0 {
            eprintln!("  {made}");
        }
    }
    ahead.flush()?;
    Ok(maker.state().header.id)
}

/// The first locator of a ledger just opened, in milliseconds.
fn first_locator(
    net: &Net,
    genesis: &ashlar_consensus::Genesis,
    name: &str,
    tip: BlockId,
) -> Outcome<f64> {
    let store = drive::store(&net.path().join(name).join(LEDGER))?;
    let ledger = Ledger::open(store.clone(), genesis, drive::settings(true))?;
    let asked = Instant::now();
    let ids = ledger.locator(&tip)?;
    let time = milliseconds(asked);
    if ids.is_empty() {
        return Err("the tip has no locator".into());
    }
    store.sync()?;
    Ok(time)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
