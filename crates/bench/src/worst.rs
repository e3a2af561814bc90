//! Valid blocks that cost the most: each shape at a quarter, a half and the whole of
//! `max_block_bytes`. Where twice the size takes much more than twice the time, a miner has found a
//! way to make every other node wait.
//!
//! Times are of the processor, RocksDB's own threads included, so that other work on the machine
//! does not pass for a miner's finding.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use ashlar_consensus::{
    CheckedBlock, Signatures, SpentCoins, check_header, open_body, verify_signatures, walk,
};
use ashlar_ledger::Store as _;

use crate::{
    Outcome,
    drive::{self, Driver, Trust},
    parts::Bench,
    report::{Figure, Row},
    shapes::{Case, Shape},
    timing::{Taken, Watch, median},
};

const PART: &str = "worst";

/// Over this, doubling the size costs more than it may: 2 for what is linear, some for trees and
/// caches that grow with it, the rest for a machine that others use too.
const DOUBLING_LIMIT: f64 = 2.6;

/// How often a pair of sizes is measured anew, with more runs, before its ratio counts as over.
const ATTEMPTS: usize = 3;

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    for (shape, name) in Shape::ALL {
        eprintln!("{PART}: making blocks of {name}");
        let case = Case::new(shape, bench.seed, bench.scale.worst_block_bytes)?;
        let funded = bench.scratch()?;
        let ledger = Bench::nothing_at(&funded);
        fund_ledger(bench, &case, &ledger)?;

        let times = |at: &Bench<'_>| {
            let what = format!("{name}: rules");
            let mut rows = doublings(at, &case, &what, |block| rules(&case, block))?;
            let what = format!("{name}: connect");
            let connect = |block: &CheckedBlock| connected(at, &case, &ledger, block);
            rows.extend(doublings(at, &case, &what, connect)?);
            Outcome::Ok(rows)
        };
        times(bench)?.into_iter().for_each(|row| bench.report.push(row));
    }
    Ok(())
}

/// A row for each size, against the size before it.
fn doublings(
    bench: &Bench<'_>,
    case: &Case,
    what: &str,
    time: impl Fn(&CheckedBlock) -> Outcome<Taken>,
) -> Outcome<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut repeats = bench.scale.repeats;
    for attempt in 1..=ATTEMPTS {
        rows.clear();
        let mut before: Option<Figure> = None;
        for block in &case.blocks {
            let taken = median(repeats, || time(block))?;
            let figure = Figure::new(taken.processor.as_secs_f64() * 1e3, "ms");
            let what = format!("{what}, {} kB", block.size_bytes() / 1_000);
            let wall = taken.wall.as_secs_f64() * 1e3;
            let mut row = Row::new(PART, what, figure.clone()).note(format!("wall {wall:.0} ms"));
            if let Some(before) = before.replace(figure) {
                row = row.against("half the size", before);
                row = if bench.scale.is_judged { row.at_most(DOUBLING_LIMIT) } else { row };
            }
            rows.push(row);
        }
        if attempt == ATTEMPTS || !rows.iter().any(|row| row.miss().is_some()) {
            break;
        }
        repeats += bench.scale.repeats;
    }
    Ok(rows)
}

/// All that consensus does with the bytes of a block, on one core, its coins in memory.
fn rules(case: &Case, block: &CheckedBlock) -> Outcome<Taken> {
    let bytes = block.to_bytes();
    let params = case.genesis.params();
    let header = *block.header();
    let watch = Watch::start();
    let next = check_header(&case.parent.header, params, &header)?;
    let block = open_body(params, &header, next.height, &bytes)?;
    let external = block.external_inputs().iter().copied();
    let coins = external.filter_map(|at| Some((at, *case.coins.get(&at)?))).collect();
    let walked = walk(&case.parent, next, params, &block, &SpentCoins { coins });
    let verified = verify_signatures(&walked.checks, &BTreeSet::new(), &mut rand::rng());
    let verified = verified.map_err(|place| format!("a bad signature at {place:?}"))?;
    let transition = walked.outcome?.seal(&case.parent, Signatures::Verified(verified))?;
    let taken = watch.taken();
    drop((transition, block));
    Ok(taken)
}

/// A ledger at the parent of a case's blocks, everything in its tables.
fn fund_ledger(bench: &Bench<'_>, case: &Case, ledger: &Path) -> Outcome<()> {
    let scratch = bench.scratch()?;
    let store = drive::store(scratch.path())?;
    let settings = drive::settings(true);
    let mut driver = Driver::open(Arc::clone(&store), &case.genesis, settings, Trust::Nothing)?;
    driver.connect(&case.lead)?;
    Ok(store.checkpoint(ledger)?)
}

/// From the bytes of a block to the tip synced and published, both indexes on, on a copy of the
/// funded ledger.
fn connected(
    bench: &Bench<'_>,
    case: &Case,
    funded: &Path,
    block: &CheckedBlock,
) -> Outcome<Taken> {
    let scratch = bench.scratch()?;
    let copy = Bench::nothing_at(&scratch);
    // Tables are linked, not copied.
    drive::store(funded)?.checkpoint(&copy)?;
    let settings = drive::settings(true);
    let mut driver = Driver::open(drive::store(&copy)?, &case.genesis, settings, Trust::Nothing)?;
    let bytes = block.to_bytes();
    let watch = Watch::start();
    let opened = open_body(case.genesis.params(), block.header(), block.height(), &bytes)?;
    driver.connect(&[Arc::new(opened)])?;
    Ok(watch.taken())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small, but of every shape: valid by all rules, and of the sizes that they say.
    #[test]
    fn the_blocks_are_valid_and_double() {
        for (shape, name) in Shape::ALL {
            let case = Case::new(shape, 1, 402_000).unwrap();
            for block in &case.blocks {
                rules(&case, block).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            let sizes: Vec<_> = case.blocks.iter().map(|block| block.size_bytes()).collect();
            assert!(sizes[2] > 390_000 && sizes[2] <= 402_000, "{name}: {sizes:?}");
            for pair in sizes.windows(2) {
                let ratio = f64::from(pair[1]) / f64::from(pair[0]);
                assert!((1.99..=2.0).contains(&ratio), "{name}: {sizes:?}");
            }
        }
    }
}
