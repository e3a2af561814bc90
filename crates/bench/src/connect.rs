//! How fast blocks of payments become the chain: connected from memory, imported from a chain file,
//! with and without signatures and indexes, beside what the cryptography and the disk allow.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use ashlar_consensus::{CheckedBlock, Genesis};
use ashlar_ledger::{Ledger, Offered, chain_file};

use crate::{
    Outcome, bounds,
    drive::{self, Driver, Trust},
    maker::Made,
    parts::Bench,
    payments::Payments,
    recorder::Recorder,
    report::{Figure, Row},
    timing::{median, rate},
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

    fn row(&self, what: impl Into<String>, time: Duration) -> Row {
        let blocks = rate(self.blocks.len(), time);
        let row = Row::new(PART, what, Figure::new(rate(self.payments, time), UNIT));
        row.note(format!("{blocks:.1} blocks/s"))
    }
}

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let workload = Workload::new(bench);
    let files = bench.scratch()?;
    let file = files.path().join("workload.chain");
    workload.write(&file)?;
    let repeats = bench.scale.repeats;

    let checks: Vec<_> = workload.made.iter().flat_map(|made| made.checks.clone()).collect();
    let verify = median(repeats, || Ok(bounds::verify_in_batches(&checks)))?;
    let hash = median(repeats, || Ok(bounds::hash(&workload.made)))?;
    let accumulate = median(repeats, || Ok(bounds::accumulate(&workload.made)))?;
    bench.report.push(workload.row("bound: signatures in batches of 1,024, all cores", verify));
    bench.report.push(workload.row("bound: txids, wtxids, merkle roots, all cores", hash));
    bench.report.push(workload.row("bound: accumulator, all cores", accumulate));

    for indexes in [false, true] {
        let with = if indexes { "both indexes" } else { "no indexes" };
        let write = median(repeats, || written_alone(bench, &workload, indexes))?;
        bench.report.push(workload.row(format!("bound: database writes alone, {with}"), write));
        let signatures = ("signatures alone", Figure::new(rate(workload.payments, verify), UNIT));
        let rest = Figure::new(rate(workload.payments, hash + accumulate + write), UNIT);
        let rest = ("hashes + accumulator + writes", rest);

        for (trust, told, (peer, figure)) in [
            (Trust::Nothing, "all signatures", &signatures),
            (Trust::Mempool, "signatures known from the mempool", &rest),
        ] {
            let time = median(repeats, || connected(bench, &workload, indexes, trust))?;
            let row = workload.row(format!("connect, {told}, {with}"), time);
            bench.report.push(row.against(*peer, figure.clone()));
        }
        let time = median(repeats, || imported(bench, &workload, indexes, &file))?;
        let row = workload.row(format!("import, all signatures, {with}"), time);
        bench.report.push(row.against(signatures.0, signatures.1));
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

/// The same entries as [`connected`] commits, in the same batches, and nothing else.
fn written_alone(bench: &Bench<'_>, workload: &Workload, indexes: bool) -> Outcome<Duration> {
    let scratch = bench.scratch()?;
    let recorder = Arc::new(Recorder::new(drive::store(scratch.path())?));
    let settings = drive::settings(indexes);
    let mut driver =
        Driver::open(Arc::clone(&recorder), &workload.genesis, settings, Trust::Mempool)?;
    driver.connect(&workload.lead)?;
    recorder.take();
    driver.connect(&workload.blocks)?;
    let commits = recorder.take();
    drop((driver, recorder));
    bounds::write(bench.scratch()?.path(), commits)
}

/// From the chain file, each block read, decoded, opened and judged as from a peer.
fn imported(
    bench: &Bench<'_>,
    workload: &Workload,
    indexes: bool,
    file: &Path,
) -> Outcome<Duration> {
    let scratch = bench.scratch()?;
    let store = drive::store(scratch.path())?;
    let mut ledger = Ledger::open(store, &workload.genesis, drive::settings(indexes))?;
    let params = workload.genesis.params();
    let from = BufReader::new(File::open(file)?);
    let mut reader = chain_file::Reader::new(from, &params.chain_id, params.max_block_bytes)?;
    let mut start = Instant::now();
    let mut height = 0;
    while let Some(bytes) = reader.next_block()? {
        if height == workload.lead.len() {
            start = Instant::now();
        }
        let offered = ledger.offer(&bytes, drive::now_seconds(), &mut rand::rng())?;
        if offered != Offered::Accepted {
            return Err(format!("a block of the workload: {offered:?}").into());
        }
        height += 1;
    }
    Ok(start.elapsed())
}
