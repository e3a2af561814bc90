//! A deep reorganisation: how long it takes, how much memory it needs, and that readers never see
//! the way.
//!
//! It runs in a process of its own, started by [`run`], whose peak of resident memory is then that
//! of a ledger with the node's settings and of nothing else.

use std::{
    env, fs,
    fs::File,
    io::{BufReader, BufWriter},
    path::Path,
    process::Command,
    sync::Arc,
    time::Instant,
};

use ashlar_consensus::{Genesis, HeaderState, open_body};
use ashlar_ledger::{Store, chain_file};
use ashlar_primitives::{BlockId, Decode as _, Header};
use serde::{Deserialize, Serialize};

use crate::{
    Outcome,
    drive::{self, Driver, Trust, WINDOW_BLOCKS},
    maker::Made,
    parts::Bench,
    payments::Payments,
    report::{Figure, Row},
};

const PART: &str = "reorganise";

/// The memory that a reorganisation of any depth must do with, in MiB.
const MEMORY_LIMIT_MIB: f64 = 512.0;

/// Payments in each block: few, so that what is measured is the depth.
const PAYMENTS_PER_BLOCK: usize = 10;

/// Names of the files that the child reads.
const GENESIS_FILE: &str = "genesis.json";
const OLD_FILE: &str = "old.chain";
const NEW_FILE: &str = "new.chain";

/// What the child found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Connecting the branch that is left again.
    pub connect_seconds: f64,
    /// From the last body of the heavier branch to its tip synced and published.
    pub reorganise_seconds: f64,
    /// The highest resident memory of the process.
    pub peak_bytes: u64,
}

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let depth = bench.scale.reorganise_blocks;
    eprintln!("{PART}: making two branches of {depth} blocks");
    let scratch = bench.scratch()?;
    let path = |name| scratch.path().join(name);
    fs::write(path(GENESIS_FILE), Payments::genesis_text(PAYMENTS_PER_BLOCK))?;
    let (old, lead) = Payments::new(bench.seed, PAYMENTS_PER_BLOCK);
    let mut new = old.clone();
    new.diverge(1);
    write_branch(&path(OLD_FILE), &lead, old, depth)?;
    write_branch(&path(NEW_FILE), &lead, new, depth + 1)?;

    let child = Command::new(env::current_exe()?).arg("reorganise").arg(scratch.path()).output()?;
    if !child.status.success() {
        return Err(format!("the child: {}", String::from_utf8_lossy(&child.stderr)).into());
    }
    let found: Found = serde_json::from_slice(&child.stdout)?;
    let seconds = |value| Figure::new(value, "s");
    let row = Row::new(
        PART,
        format!("reorganisation, {depth} blocks deep"),
        seconds(found.reorganise_seconds),
    );
    let row = row.note(format!("{:.0} blocks/s", depth as f64 / found.reorganise_seconds));
    bench.report.push(row.against("connecting the old branch", seconds(found.connect_seconds)));
    let mib = Figure::new(found.peak_bytes as f64 / f64::from(1 << 20), "MiB");
    let row = Row::new(PART, "its process, highest resident memory", mib);
    let row = row.against("bound", Figure::new(MEMORY_LIMIT_MIB, "MiB"));
    bench.report.push(row.at_most(1.0));
    Ok(())
}

fn write_branch(path: &Path, lead: &[Made], mut branch: Payments, depth: usize) -> Outcome<()> {
    let out = BufWriter::new(File::create(path)?);
    let mut writer = chain_file::Writer::new(out, &branch.genesis().params().chain_id)?;
    for made in lead {
        writer.push(&made.block.to_bytes())?;
    }
    for _ in 0..depth {
        writer.push(&branch.block(PAYMENTS_PER_BLOCK).block.to_bytes())?;
    }
    writer.finish()?;
    Ok(())
}

/// The child's part, on the files in `directory`.
pub fn run_alone(directory: &Path) -> Outcome<Found> {
    let genesis = Genesis::parse(&fs::read_to_string(directory.join(GENESIS_FILE))?)?;
    let store = drive::store(&directory.join("ledger"))?;
    let mut driver = Driver::open(store, &genesis, drive::settings(true), Trust::Nothing)?;

    let start = Instant::now();
    let old = take_headers(&mut driver, &genesis, &directory.join(OLD_FILE))?;
    let mut waiting = 0;
    take_bodies(&mut driver, &genesis, &directory.join(OLD_FILE), |driver, _| {
        waiting += 1;
        if waiting % WINDOW_BLOCKS == 0 { driver.drive(|_| ()) } else { Ok(()) }
    })?;
    driver.drive(|_| ())?;
    let connect_seconds = start.elapsed().as_secs_f64();
    expect_tip(&driver, &old.id)?;

    // The heavier branch comes whole, and nothing moves before its last body is there.
    let new = take_headers(&mut driver, &genesis, &directory.join(NEW_FILE))?;
    let mut start = Instant::now();
    take_bodies(&mut driver, &genesis, &directory.join(NEW_FILE), |driver, id| {
        if id == new.id {
            start = Instant::now();
            let mut saw_the_way = false;
            driver.drive(|view| {
                let tip = view.tip();
                saw_the_way |= tip.id != old.id && tip.work <= old.work;
            })?;
            return if saw_the_way { Err("readers saw the way down".into()) } else { Ok(()) };
        }
        Ok(())
    })?;
    let reorganise_seconds = start.elapsed().as_secs_f64();
    expect_tip(&driver, &new.id)?;
    Ok(Found { connect_seconds, reorganise_seconds, peak_bytes: peak_resident_bytes()? })
}

fn expect_tip<S: Store>(driver: &Driver<S>, id: &BlockId) -> Outcome<()> {
    let tip = driver.view().tip().id;
    if tip == *id { Ok(()) } else { Err(format!("the tip is {tip}, not {id}").into()) }
}

fn reader(genesis: &Genesis, path: &Path) -> Outcome<chain_file::Reader<BufReader<File>>> {
    let params = genesis.params();
    let from = BufReader::new(File::open(path)?);
    Ok(chain_file::Reader::new(from, &params.chain_id, params.max_block_bytes)?)
}

/// Takes in all headers of a file that are not known yet; the state of the last one.
fn take_headers<S: Store>(
    driver: &mut Driver<S>,
    genesis: &Genesis,
    path: &Path,
) -> Outcome<HeaderState> {
    let mut reader = reader(genesis, path)?;
    let mut last = genesis.state().header.clone();
    while let Some(bytes) = reader.next_block()? {
        let header = Header::from_bytes(&bytes[..Header::LEN])?;
        last = driver.accept_header(&header)?;
    }
    Ok(last)
}

/// Opens and keeps all bodies of a file that are not kept yet, and tells `kept` of each.
fn take_bodies<S: Store>(
    driver: &mut Driver<S>,
    genesis: &Genesis,
    path: &Path,
    mut kept: impl FnMut(&mut Driver<S>, BlockId) -> Outcome<()>,
) -> Outcome<()> {
    let mut reader = reader(genesis, path)?;
    while let Some(bytes) = reader.next_block()? {
        let header = Header::from_bytes(&bytes[..Header::LEN])?;
        let id = header.id();
        let block = open_body(genesis.params(), &header, reader.blocks(), &bytes)?;
        driver.store_body(&Arc::new(block))?;
        kept(driver, id)?;
    }
    Ok(())
}

/// `VmHWM` of this process.
fn peak_resident_bytes() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.ok_or("this system does not tell VmHWM")?.trim().parse()?;
    Ok(kib << 10)
}
