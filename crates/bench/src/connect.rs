//! How fast blocks of payments become the chain: connected from memory, imported from a chain file,
//! with and without signatures and indexes, beside what the cryptography and the disk allow.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use ashlar_consensus::{CheckedBlock, Genesis};
use ashlar_ledger::{Batch, Durability, Ledger, Settings, care, chain_file};
use ashlar_testkit::recorder::{Recorder, Written};

use crate::{
    Outcome, bounds,
    drive::{self, Cores, Driver, Trust},
    maker::Made,
    parts::Bench,
    payments::Payments,
    report::{Figure, Row},
    timing::median_of,
};

const PART: &str = "connect";
const UNIT: &str = "payments/s";

/// The chain that everything here is measured on.
#[derive(Debug)]
struct Workload {
    genesis: Genesis,
    /// The blocks that make the first coins, never timed.
    lead: Vec<Arc<CheckedBlock>>,
    /// The blocks of payments.
    made: Vec<Made>,
    blocks: Vec<Arc<CheckedBlock>>,
    payments: usize,
}

impl Workload {
    fn new(bench: &Bench<'_>) -> Self {
        let per_block = bench.scale.payments_per_block;
        eprintln!("{PART}: making {} blocks of {per_block} payments", bench.scale.blocks);
        let (mut payments, lead) = Payments::new(bench.seed, per_block);
        let made: Vec<_> = (0..bench.scale.blocks).map(|_| payments.block(per_block)).collect();
        let blocks = made.iter().map(|made| Arc::clone(&made.block)).collect();
        Self {
            genesis: payments.genesis().clone(),
            lead: lead.into_iter().map(|made| made.block).collect(),
            blocks,
            payments: made.len() * per_block,
            made,
        }
    }

    fn write(&self, path: &Path) -> Outcome<()> {
        let out = BufWriter::new(File::create(path)?);
        let mut writer = chain_file::Writer::new(out, &self.genesis.params().chain_id)?;
        for block in self.lead.iter().chain(&self.blocks) {
            writer.push(&block.to_bytes())?;
        }
        writer.finish()?;
        Ok(())
    }
}

/// The times of one round: each path beside its bounds, so that a machine that others use too
/// slows down all of them alike.
#[derive(Debug)]
struct Round {
    verify: Duration,
    hash: Duration,
    accumulate: Duration,
    /// With no index, with both.
    paths: [Paths; 2],
}

#[derive(Debug)]
struct Paths {
    write: Duration,
    connect_all: Duration,
    connect_known: Duration,
    import_all: Duration,
    import_assumed: Duration,
}

impl Round {
    fn measure(
        bench: &Bench<'_>,
        workload: &Workload,
        file: &Path,
        commits: &[Commits; 2],
    ) -> Outcome<Self> {
        let checks: Vec<_> = workload.made.iter().flat_map(|made| made.checks.clone()).collect();
        let paths = |indexes: bool| {
            let commits = commits[usize::from(indexes)].clone();
            Outcome::Ok(Paths {
                write: bounds::write(bench.scratch()?.path(), commits)?,
                connect_all: connected(bench, workload, indexes, Trust::Nothing)?,
                connect_known: connected(bench, workload, indexes, Trust::Mempool)?,
                import_all: imported(bench, workload, indexes, file, false)?,
                import_assumed: imported(bench, workload, indexes, file, true)?,
            })
        };
        Ok(Self {
            verify: bounds::verify_in_batches(&checks),
            hash: bounds::hash(&workload.made),
            accumulate: bounds::accumulate(&workload.made),
            paths: [paths(false)?, paths(true)?],
        })
    }
}

/// A time of a round.
type Pick = fn(&Round, usize) -> Duration;

/// All paths: name, time, name of the bound, its time.
const PATHS: [(&str, Pick, &str, Pick); 4] = [
    ("connect, all signatures", |r, i| r.paths[i].connect_all, "signatures alone", |r, _| r.verify),
    ("connect, signatures known", |r, i| r.paths[i].connect_known, NO_SIGNATURES, no_signatures),
    ("import, all signatures", |r, i| r.paths[i].import_all, "signatures alone", |r, _| r.verify),
    ("import, assumed valid", |r, i| r.paths[i].import_assumed, NO_SIGNATURES, no_signatures),
];

const NO_SIGNATURES: &str = "hashes + accumulator + writes";

fn no_signatures(round: &Round, indexes: usize) -> Duration {
    round.hash + round.accumulate + round.paths[indexes].write
}

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let workload = Workload::new(bench);
    let files = bench.scratch()?;
    let file = files.path().join("workload.chain");
    workload.write(&file)?;
    let commits = [recorded(bench, &workload, false)?, recorded(bench, &workload, true)?];
    let rounds = (1..=bench.scale.repeats)
        .map(|round| {
            eprintln!("{PART}: round {round} of {}", bench.scale.repeats);
            Round::measure(bench, &workload, &file, &commits)
        })
        .collect::<Outcome<Vec<_>>>()?;

    let time = |pick: Pick, indexes| {
        median_of(rounds.iter().map(|round| pick(round, indexes).as_secs_f64()))
    };
    let per_second = |seconds: f64| Figure::new(workload.payments as f64 / seconds, UNIT);
    let row = |what: String, seconds: f64| {
        let blocks = workload.blocks.len() as f64 / seconds;
        Row::new(PART, what, per_second(seconds)).note(format!("{blocks:.1} blocks/s"))
    };
    let alone: [(&str, Pick); 3] = [
        ("bound: signatures in batches of 1,024, all cores", |r, _| r.verify),
        ("bound: txids, wtxids, merkle roots, all cores", |r, _| r.hash),
        ("bound: accumulator, all cores", |r, _| r.accumulate),
    ];
    for (what, pick) in alone {
        bench.report.push(row(what.to_owned(), time(pick, 0)));
    }
    for (indexes, with) in ["no indexes", "both indexes"].into_iter().enumerate() {
        let write = time(|round, indexes| round.paths[indexes].write, indexes);
        bench.report.push(row(format!("bound: database writes alone, {with}"), write));
        for (what, pick, peer, bound) in PATHS {
            let ratios = rounds.iter().map(|round| {
                bound(round, indexes).as_secs_f64() / pick(round, indexes).as_secs_f64()
            });
            let row = row(format!("{what}, {with}"), time(pick, indexes));
            let bound = per_second(time(bound, indexes));
            bench.report.push(row.against_paired(peer, bound, median_of(ratios)));
        }
    }
    Ok(())
}

/// From opened blocks in memory to the last one synced and published.
fn connected(
    bench: &Bench<'_>,
    workload: &Workload,
    indexes: bool,
    trust: Trust,
) -> Outcome<Duration> {
    let scratch = bench.scratch()?;
    let store = drive::store(scratch.path())?;
    let mut driver = Driver::open(store, &workload.genesis, drive::settings(indexes), trust)?;
    driver.connect(&workload.lead)?;
    driver.connect(&workload.blocks)
}

/// What was committed, in order.
type Commits = Vec<(Batch, Durability)>;

/// What [`connected`] commits.
fn recorded(bench: &Bench<'_>, workload: &Workload, indexes: bool) -> Outcome<Commits> {
    let scratch = bench.scratch()?;
    let recorder = Arc::new(Recorder::new(drive::store(scratch.path())?));
    let settings = drive::settings(indexes);
    let mut driver =
        Driver::open(Arc::clone(&recorder), &workload.genesis, settings, Trust::Mempool)?;
    driver.connect(&workload.lead)?;
    recorder.take();
    driver.connect(&workload.blocks)?;
    let written = recorder.take().into_iter();
    Ok(written
        .filter_map(|written| match written {
            Written::Commit(batch, durability) => Some((batch, durability)),
            Written::Sync | Written::Announce(_) => None,
        })
        .collect())
}

/// The chain file as `ashlar-node import` takes it in; `assumed`: with the signatures up to the
/// last block assumed good, which takes its headers beforehand. The blocks that make the first
/// coins are among what is timed: a few transactions.
fn imported(
    bench: &Bench<'_>,
    workload: &Workload,
    indexes: bool,
    file: &Path,
    assumed: bool,
) -> Outcome<Duration> {
    let scratch = bench.scratch()?;
    let store = drive::store(scratch.path())?;
    let last = workload.blocks.last().map(|block| block.id());
    let assume_valid = last.filter(|_| assumed);
    let settings = Settings { assume_valid, ..drive::settings(indexes) };
    let mut ledger = Ledger::open(store, &workload.genesis, settings)?;
    let params = workload.genesis.params();
    let open = || {
        let from = BufReader::new(File::open(file)?);
        Outcome::Ok(chain_file::Reader::new(from, &params.chain_id, params.max_block_bytes)?)
    };
    let total = u32::try_from(workload.lead.len() + workload.blocks.len())?;
    let (now, mut on) = (drive::now_seconds(), |_| ControlFlow::Continue(()));
    let start = Instant::now();
    care::import_headers(&mut ledger, &mut open()?, total, now, &mut on)?;
    let imported = care::import(&mut ledger, &mut open()?, total, now, &mut Cores, &mut on)?;
    let time = start.elapsed();
    if imported.new != total || Some(ledger.view().tip().id) != last {
        return Err(format!("of {total} blocks {} were imported", imported.new).into());
    }
    Ok(time)
}
