//! How fast blocks of payments become the chain: connected from memory, imported from a chain file,
//! with and without signatures and indexes, beside what the cryptography and the disk allow.

use std::{fs::File, io::BufReader, ops::ControlFlow, sync::Arc, time::Duration};

use ashlar_ledger::{Batch, Durability, Ledger, Settings, care, chain_file};
use ashlar_testkit::recorder::{Recorder, Written};

use crate::{
    Outcome, bounds,
    drive::{self, Cores, Driver, Trust},
    parts::Bench,
    report::{Figure, Row},
    timing::{Taken, Watch, median_of},
    workload::Workload,
};

const PART: &str = "connect";
const UNIT: &str = "payments/s";

/// The times of one round: each path beside its bounds, so that a machine that others use too
/// slows down all of them alike.
#[derive(Debug)]
struct Round {
    verify: Taken,
    hash: Taken,
    accumulate: Taken,
    /// With no index, with both.
    paths: [Paths; 2],
}

#[derive(Debug)]
struct Paths {
    write: Taken,
    connect_all: Taken,
    connect_known: Taken,
    /// In the first round alone: nothing is asked of it.
    import_all: Option<Taken>,
    import_assumed: Taken,
}

impl Round {
    fn measure(
        bench: &Bench<'_>,
        workload: &Workload,
        commits: &[Commits; 2],
        is_first: bool,
    ) -> Outcome<Self> {
        let checks: Vec<_> = workload.made.iter().flat_map(|made| made.checks.clone()).collect();
        let paths = |indexes: bool| {
            let commits = commits[usize::from(indexes)].clone();
            Outcome::Ok(Paths {
                write: bounds::write(bench.scratch()?.path(), commits)?,
                connect_all: connected(bench, workload, indexes, Trust::Nothing)?,
                connect_known: connected(bench, workload, indexes, Trust::Mempool)?,
                import_all: is_first
                    .then(|| imported(bench, workload, indexes, false))
                    .transpose()?,
                import_assumed: imported(bench, workload, indexes, true)?,
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

/// A time of a round, where that has it.
type Pick = fn(&Round, usize) -> Option<Taken>;

/// All paths: name, time, name of the bound, its time.
const PATHS: [(&str, Pick, &str, Pick); 4] = [
    ("connect, all signatures", |r, i| Some(r.paths[i].connect_all), ALL_SIGNATURES, verify),
    ("connect, signatures known", |r, i| Some(r.paths[i].connect_known), NO_SIGNATURES, others),
    ("import, all signatures", |r, i| r.paths[i].import_all, ALL_SIGNATURES, verify),
    ("import, assumed valid", |r, i| Some(r.paths[i].import_assumed), NO_SIGNATURES, others),
];

/// What each of [`PATHS`] is to reach, with no index and with both.
const TARGETS: [[Option<f64>; 2]; 4] =
    [[Some(0.40), Some(0.30)], [Some(0.6), None], [None, None], [Some(0.7), None]];

const ALL_SIGNATURES: &str = "signatures alone";
const NO_SIGNATURES: &str = "hashes + accumulator + writes";

const fn verify(round: &Round, _: usize) -> Option<Taken> {
    Some(round.verify)
}

fn others(round: &Round, indexes: usize) -> Option<Taken> {
    Some(round.hash + round.accumulate + round.paths[indexes].write)
}

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let workload = Workload::of_payments(bench)?;
    let commits = [recorded(bench, &workload, false)?, recorded(bench, &workload, true)?];
    let rounds = (1..=bench.scale.repeats)
        .map(|round| {
            eprintln!("{PART}: round {round} of {}", bench.scale.repeats);
            Round::measure(bench, &workload, &commits, round == 1)
        })
        .collect::<Outcome<Vec<_>>>()?;

    let by = |clock: fn(Taken) -> Duration, pick: Pick, indexes| {
        let times = rounds.iter().filter_map(|round| pick(round, indexes));
        median_of(times.map(|taken| clock(taken).as_secs_f64()))
    };
    let time = |pick, indexes| by(|taken| taken.wall, pick, indexes);
    let per_second = |seconds: f64| Figure::new(workload.payments as f64 / seconds, UNIT);
    let row = |what: String, pick: Pick, indexes| {
        let micros = by(|taken| taken.processor, pick, indexes) * 1e6 / workload.payments as f64;
        let figure = per_second(time(pick, indexes));
        Row::new(PART, what, figure).note(format!("{micros:.2} µs of processor each"))
    };
    let alone: [(&str, Pick); 3] = [
        ("bound: signatures in batches of 1,024, all cores", verify),
        ("bound: txids, wtxids, merkle roots, all cores", |r, _| Some(r.hash)),
        ("bound: accumulator, all cores", |r, _| Some(r.accumulate)),
    ];
    for (what, pick) in alone {
        bench.report.push(row(what.to_owned(), pick, 0));
    }
    for (indexes, with) in ["no indexes", "both indexes"].into_iter().enumerate() {
        let write: Pick = |round, indexes| Some(round.paths[indexes].write);
        bench.report.push(row(format!("bound: database writes alone, {with}"), write, indexes));
        for ((what, pick, peer, bound), targets) in PATHS.into_iter().zip(TARGETS) {
            let ratios = rounds.iter().filter_map(|round| {
                let wall = |pick: Pick| Some(pick(round, indexes)?.wall.as_secs_f64());
                Some(wall(bound)? / wall(pick)?)
            });
            let row = row(format!("{what}, {with}"), pick, indexes);
            let bound = per_second(time(bound, indexes));
            let row = row.against_paired(peer, bound, median_of(ratios));
            let target = targets[indexes].filter(|_| bench.scale.is_judged);
            bench.report.push(match target {
                Some(target) => row.at_least(target),
                None => row,
            });
        }
    }
    Ok(())
}

/// From opened blocks in memory to the last one synced and published.
pub(crate) fn connected(
    bench: &Bench<'_>,
    workload: &Workload,
    indexes: bool,
    trust: Trust,
) -> Outcome<Taken> {
    let scratch = bench.scratch()?;
    let store = drive::store(scratch.path())?;
    let mut driver = Driver::open(store, &workload.genesis, drive::settings(indexes), trust)?;
    driver.connect(&workload.lead)?;
    driver.connect(&workload.blocks)
}

/// What was committed, in order.
pub(crate) type Commits = Vec<(Batch, Durability)>;

/// What [`connected`] commits.
pub(crate) fn recorded(bench: &Bench<'_>, workload: &Workload, indexes: bool) -> Outcome<Commits> {
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
    assumed: bool,
) -> Outcome<Taken> {
    let scratch = bench.scratch()?;
    let store = drive::store(scratch.path())?;
    let last = workload.blocks.last().map(|block| block.id());
    let assume_valid = last.filter(|_| assumed);
    let settings = Settings { assume_valid, ..drive::settings(indexes) };
    let mut ledger = Ledger::open(store, &workload.genesis, settings)?;
    let params = workload.genesis.params();
    let open = || {
        let from = BufReader::new(File::open(&workload.file)?);
        Outcome::Ok(chain_file::Reader::new(from, &params.chain_id, params.max_block_bytes)?)
    };
    let total = u32::try_from(workload.lead.len() + workload.blocks.len())?;
    let (now, mut on) = (drive::now_seconds(), |_| ControlFlow::Continue(()));
    let watch = Watch::start();
    care::import_headers(&mut ledger, &mut open()?, total, now, &mut on)?;
    let imported = care::import(&mut ledger, &mut open()?, total, now, &mut Cores, &mut on)?;
    let time = watch.taken();
    if imported.new != total || Some(ledger.view().tip().id) != last {
        return Err(format!("of {total} blocks {} were imported", imported.new).into());
    }
    Ok(time)
}
