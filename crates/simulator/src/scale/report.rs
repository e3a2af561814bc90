//! The whole report: runs the worlds, writes the files.

use std::{
    fs, io,
    num::NonZeroUsize,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use thiserror::Error;

use super::{Broken, Figures, plan, plot, run_all, table};

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where chance comes from.
    pub seed: u64,
    /// Nodes of each world.
    pub nodes: usize,
    /// Blocks found in each world without a cut.
    pub blocks: usize,
    /// Worlds side by side. Each takes the memory of its nodes.
    pub threads: NonZeroUsize,
    /// Only the world of this number, from 0.
    pub only: Option<usize>,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A world came to no end.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A file can't be written.
    #[error("{path}: {source}; choose a directory that can be written to")]
    Write {
        /// Which.
        path: String,
        /// In the words of the system.
        source: io::Error,
    },
    /// There is no such world.
    #[error("there is no world {number}; they are numbered from 0 to {last}")]
    NoWorld {
        /// As given.
        number: usize,
        /// The highest.
        last: usize,
    },
}

/// Runs the worlds and writes `report.csv`, `report.md` and `spreading.svg` into a directory.
pub fn write(options: &Options, directory: &Path) -> Result<(), ReportError> {
    let begun = Instant::now();
    let mut worlds = plan(options.seed, options.nodes, options.blocks);
    if let Some(number) = options.only {
        let last = worlds.len() - 1;
        let world = worlds.get(number).cloned();
        worlds = vec![world.ok_or(ReportError::NoWorld { number, last })?];
    }
    let written = Mutex::new(Vec::new());
    let all = run_all(&worlds, options.threads, |figures| {
        println!("{}, after {:.0?}", table::line(figures), begun.elapsed());
        // What is done is there even if the rest is never finished.
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        written.push(figures.clone());
        if let Err(error) = save_all(directory, &written, &footing(options, begun)) {
            println!("{error}");
        }
    })?;
    let footing = footing(options, begun);
    print!("{footing}");
    save_all(directory, &all, &footing)
}

/// What the run cost so far.
fn footing(options: &Options, begun: Instant) -> String {
    let memory = match peak_memory_bytes() {
        Some(bytes) => format!("{:.2} GiB at the most", bytes as f64 / f64::from(1 << 30)),
        None => "as much memory as this system does not tell".to_owned(),
    };
    let Options { nodes, seed, threads, .. } = options;
    format!(
        "{nodes} nodes in each world, seed {seed}, {threads} worlds side by side: {:.0?} and \
         {memory}.\n",
        begun.elapsed(),
    )
}

fn save_all(directory: &Path, all: &[Figures], footing: &str) -> Result<(), ReportError> {
    save(directory, "report.csv", &table::csv(all))?;
    save(directory, "report.md", &table::markdown(all, footing))?;
    save(directory, "spreading.svg", &plot::spreading(all))
}

fn save(directory: &Path, name: &str, text: &str) -> Result<(), ReportError> {
    let path = directory.join(name);
    let fail = |source| ReportError::Write { path: path.display().to_string(), source };
    fs::create_dir_all(directory).map_err(fail)?;
    fs::write(&path, text).map_err(fail)
}

/// The most memory that this process had, where the system tells.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}
