//! `ashlar-bench`: measures and prints the table of docs/performance.md.

use std::{env, fs, path::PathBuf, process::ExitCode, time::Duration};

use ashlar_bench::{
    Outcome, calls, count,
    parts::{Bench, GROWTH, PARTS, Part, Scale},
    reorganise,
    report::{Machine, Report},
};
use clap::{Parser, Subcommand};

/// The node's, so that what runs in this process costs what it costs there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A ratio misses its target.
const EXIT_OVER: u8 = 2;

/// Measures how fast Ashlar is, beside what this machine can do at best.
#[derive(Debug, Parser)]
#[command(name = "ashlar-bench", version)]
struct Arguments {
    #[command(subcommand)]
    child: Option<Child>,
    /// Seconds instead of minutes: shows that the benchmark works, its figures say nothing.
    #[arg(long)]
    quick: bool,
    /// All parts: an hour.
    #[arg(long)]
    all: bool,
    /// Only these parts.
    #[arg(long, value_name = "PART", value_delimiter = ',', conflicts_with = "all", value_parser = PARTS.iter().map(|part| part.name).collect::<Vec<_>>())]
    only: Vec<String>,
    /// How costs grow instead: with coins, the chain's length, peers, the mempool. Up to an hour;
    /// with names, only these.
    #[arg(long, value_name = "PART", value_delimiter = ',', num_args = 0.., conflicts_with_all = ["all", "only"], value_parser = GROWTH.iter().map(|part| part.name).collect::<Vec<_>>())]
    growth: Option<Vec<String>>,
    /// Draws the curves of `--growth` as SVG into a directory.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Writes the table as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Blocks of the workload.
    #[arg(long, value_name = "N")]
    blocks: Option<usize>,
    /// Payments in each of them.
    #[arg(long, value_name = "N")]
    payments: Option<usize>,
    /// Runs whose median counts.
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,
    /// How deep the reorganisation goes.
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// For how long payments are submitted to three nodes.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Relayed blocks: transactions in each, and how many of them; may be repeated.
    #[arg(long, value_name = "TRANSACTIONS:BLOCKS", value_delimiter = ',', value_parser = relayed)]
    relay: Vec<(usize, usize)>,
    /// Headers of the node whose start is measured.
    #[arg(long, value_name = "N")]
    headers: Option<u32>,
    /// Coins that there are when blocks connect; may be repeated.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    coins: Vec<u64>,
    /// Where keys and choices come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where databases are made and removed again [default: the system's temporary directory].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What the benchmark starts by itself.
#[derive(Debug, Subcommand)]
enum Child {
    /// The reorganisation of the files in a directory, in a process of its own.
    #[command(hide = true)]
    Reorganise {
        /// Where they are.
        directory: PathBuf,
    },
    /// Goes one core path, for a tool that counts its instructions; without a name, lists them.
    #[command(hide = true)]
    Count {
        /// Which.
        name: Option<String>,
    },
    /// A server with one trivial method.
    #[command(hide = true)]
    SayHello,
}

fn relayed(text: &str) -> Outcome<(usize, usize)> {
    let (transactions, blocks) = text.split_once(':').ok_or("such as 1000:20")?;
    Ok((transactions.parse()?, blocks.parse()?))
}

impl Arguments {
    fn scale(&self) -> Scale {
        let scale = if self.quick { Scale::quick() } else { Scale::full() };
        Scale {
            blocks: self.blocks.unwrap_or(scale.blocks),
            payments_per_block: self.payments.unwrap_or(scale.payments_per_block),
            repeats: self.repeats.unwrap_or(scale.repeats),
            relay: if self.relay.is_empty() { scale.relay } else { self.relay.clone() },
            sustained: self.seconds.map_or(scale.sustained, Duration::from_secs),
            reorganise_blocks: self.depth.unwrap_or(scale.reorganise_blocks),
            start_headers: self.headers.unwrap_or(scale.start_headers),
            growth_coins: if self.coins.is_empty() {
                scale.growth_coins
            } else {
                self.coins.clone()
            },
            ..scale
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<ExitCode> {
    match &arguments.child {
        Some(Child::Reorganise { directory }) => {
            println!("{}", serde_json::to_string(&reorganise::run_alone(directory)?)?);
            return Ok(ExitCode::SUCCESS);
        }
        Some(Child::Count { name: None }) => {
            count::names().for_each(|name| println!("{name}"));
            return Ok(ExitCode::SUCCESS);
        }
        Some(Child::Count { name: Some(name) }) => {
            return count::run(name).map(|()| ExitCode::SUCCESS);
        }
        Some(Child::SayHello) => return calls::say_hello().map(|()| ExitCode::SUCCESS),
        None => {}
    }
    let directory = arguments.dir.clone().unwrap_or_else(env::temp_dir);
    let (machine, seed) = (Machine::here(), arguments.seed);
    let report =
        Report { machine, seed, is_quick: arguments.quick, rows: Vec::new(), plots: Vec::new() };
    let mut bench = Bench { scale: arguments.scale(), seed, directory: &directory, report };
    let mut code = ExitCode::SUCCESS;
    for Part { name, run, is_usual } in PARTS.iter().chain(GROWTH) {
        let is_growth = GROWTH.iter().any(|part| part.name == *name);
        let is_wanted = match (&arguments.growth, arguments.only.as_slice()) {
            (Some(only), _) => {
                is_growth && (only.is_empty() || only.iter().any(|only| only == name))
            }
            (None, []) => (arguments.all && !is_growth) || *is_usual,
            (None, only) => only.iter().any(|only| only == name),
        };
        if is_wanted && let Err(error) = run(&mut bench) {
            // What was measured is told all the same.
            eprintln!("error: {name}: {error}");
            code = ExitCode::FAILURE;
        }
    }
    print!("{}", bench.report);
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_string_pretty(&bench.report)?)?;
    }
    if let Some(directory) = &arguments.plots {
        fs::create_dir_all(directory)?;
        for plot in &bench.report.plots {
            fs::write(directory.join(format!("{}.svg", plot.name)), plot.to_svg())?;
        }
    }
    for (row, how) in bench.report.failures() {
        eprintln!("{how} its limit: {}", row.what);
        code = ExitCode::from(EXIT_OVER);
    }
    Ok(code)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
