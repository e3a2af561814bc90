//! `ashlar-sim`: runs simulated worlds from seeds.

use std::{num::NonZeroUsize, ops::Range, path::PathBuf, process::ExitCode, time::Instant};

use ashlar_simulator::{
    Class, Scenario,
    scale::report,
    scripts::{SCRIPTS, Script},
    swarm::{Ending, Plan, run},
};
use clap::{Parser, Subcommand};

/// A promise was broken that must always hold.
const EXIT_SAFETY: u8 = 2;
/// Something that had to happen did not.
const EXIT_LIVENESS: u8 = 3;
/// A node's code panicked.
const EXIT_PANIC: u8 = 4;
/// The worlds did not reach enough of what they are to reach.
const EXIT_COVERAGE: u8 = 5;

/// Runs many Ashlar nodes in one deterministic world, in virtual time, from one seed.
#[derive(Debug, Parser)]
#[command(name = "ashlar-sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the world of one seed and prints what came of it.
    Run {
        /// The number that the world comes from.
        #[arg(long)]
        seed: u64,
        /// How many nodes, 5 to 50, instead of what the seed would choose.
        #[arg(long)]
        nodes: Option<usize>,
        /// How long, in virtual minutes, at least 10.
        #[arg(long)]
        minutes: Option<u64>,
        /// Prints every event.
        #[arg(long)]
        trace: bool,
    },
    /// Runs a scripted world and says whether what must come of it did; without a name, lists them.
    Scenario {
        /// Which.
        name: Option<String>,
        /// Shows what happens in it, with a diagram of the forks, and runs nothing.
        #[arg(long, requires = "name")]
        explain: bool,
        /// Prints every event.
        #[arg(long, requires = "name")]
        trace: bool,
    },
    /// Runs the worlds of many seeds, one line each, up to the first that fails; totals at the end.
    Swarm {
        /// From the first to before the second: `0..100`.
        #[arg(long, value_parser = parse_range)]
        seeds: Range<u64>,
        /// How many nodes, 5 to 50, instead of what each seed would choose.
        #[arg(long)]
        nodes: Option<usize>,
        /// How long, in virtual minutes, at least 10.
        #[arg(long)]
        minutes: Option<u64>,
        /// How many worlds side by side.
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// Runs each world twice: the same seed must give the same trace.
        #[arg(long)]
        twice: bool,
        /// Fails where fewer of the causes of refusal were reached, in percent.
        #[arg(long)]
        coverage: Option<u32>,
    },
    /// Runs nets of thousands of homes and writes how blocks spread in them: report.csv, report.md,
    /// spreading.svg.
    Report {
        /// The directory, made where it is not there.
        #[arg(long)]
        out: PathBuf,
        /// The number that the worlds come from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many nodes each world has.
        #[arg(long, default_value_t = 10_000)]
        nodes: usize,
        /// How many blocks are found in each world.
        #[arg(long, default_value_t = 15)]
        blocks: usize,
        /// How many worlds side by side; each takes the memory of its nodes.
        #[arg(long, default_value = "1")]
        threads: NonZeroUsize,
        /// Only the world of this number, from 0.
        #[arg(long)]
        only: Option<usize>,
    },
    /// Plants one bug after the other in all nodes; each must be found within these seeds.
    #[cfg(feature = "canaries")]
    Canaries {
        /// From the first to before the second.
        #[arg(long, value_parser = parse_range, default_value = "0..200")]
        seeds: Range<u64>,
        /// How long, in virtual minutes, at least 10.
        #[arg(long)]
        minutes: Option<u64>,
        /// How many worlds side by side.
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let usage = || "expected two numbers, such as 0..100, the second above the first".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(usage)?;
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| usage());
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err(usage()) } else { Ok(range) }
}

/// Plants one bug after the other; each must be found.
#[cfg(feature = "canaries")]
fn canaries(seeds: &Range<u64>, minutes: Option<u64>, threads: usize) -> ExitCode {
    for canary in ashlar_ledger::canary::Canary::ALL {
        canary.plant();
        let begun = Instant::now();
        let plan = Plan { seeds: seeds.clone(), nodes: None, minutes, threads, twice: false };
        let (_, bad) = plan.run(|_| ());
        let found = match bad {
            Some(Ending::Broken(failure)) => {
                format!("seed {}: {}", failure.scenario.seed, failure.violation)
            }
            Some(Ending::Panicked { seed }) => format!("seed {seed}: a panic"),
            Some(Ending::Differs { .. } | Ending::Kept(_)) | None => {
                println!("{canary:?}: NOT FOUND in {seeds:?}");
                return ExitCode::from(EXIT_COVERAGE);
            }
        };
        println!("{canary:?}: found in {:.1?}, {found}", begun.elapsed());
    }
    ExitCode::SUCCESS
}

/// Tells people of a bad end, and the exit code.
fn conclude(ending: Ending) -> ExitCode {
    match ending {
        Ending::Kept(_) => ExitCode::SUCCESS,
        Ending::Broken(failure) => {
            println!("{failure}");
            ExitCode::from(match failure.violation.class() {
                Class::Safety => EXIT_SAFETY,
                Class::Liveness => EXIT_LIVENESS,
            })
        }
        Ending::Panicked { seed } => {
            println!("seed {seed}: PANICKED; the message is above");
            ExitCode::from(EXIT_PANIC)
        }
        Ending::Differs { seed } => {
            println!("seed {seed}: DIFFERS; two runs of it were not the same");
            ExitCode::from(EXIT_SAFETY)
        }
    }
}

fn swarm(plan: &Plan, part: Option<u32>) -> ExitCode {
    let begun = Instant::now();
    let (totals, bad) = plan.run(|report| println!("{}", report.line()));
    if let Some(bad) = bad {
        return conclude(bad);
    }
    print!("{totals}");
    println!("all worlds kept all promises, in {:.1?}", begun.elapsed());
    match part.filter(|part| totals.codes_percent() < *part as usize) {
        Some(part) => {
            println!("fewer than {part} % of the causes of refusal were reached");
            ExitCode::from(EXIT_COVERAGE)
        }
        None => ExitCode::SUCCESS,
    }
}

/// One scripted world, or the list of them.
fn scenario(name: Option<&str>, explain: bool, trace: bool) -> ExitCode {
    let Some(name) = name else {
        for script in &SCRIPTS {
            println!("{:<28}{}", script.name, script.summary());
        }
        return ExitCode::SUCCESS;
    };
    let Some(script) = Script::named(name) else {
        eprintln!("there is no scenario {name}; `ashlar-sim scenario` lists them");
        return ExitCode::FAILURE;
    };
    if explain {
        print!("{}", script.explanation);
        return ExitCode::SUCCESS;
    }
    let ending = run((script.scenario)(), trace);
    let Ending::Kept(report) = ending else { return conclude(ending) };
    print!("{report}");
    match script.judge(&report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(missing) => {
            println!("{name}: {missing}");
            ExitCode::from(EXIT_SAFETY)
        }
    }
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { seed, nodes, minutes, trace } => {
            let begun = Instant::now();
            let ending = run(Scenario::draw(seed, nodes, minutes), trace);
            if let Ending::Kept(report) = &ending {
                print!("{report}");
                println!("{:<16}{:.3?}", "took", begun.elapsed());
            }
            conclude(ending)
        }
        Command::Scenario { name, explain, trace } => scenario(name.as_deref(), explain, trace),
        Command::Report { out, seed, nodes, blocks, threads, only } => {
            let options = report::Options { seed, nodes, blocks, threads, only };
            match report::write(&options, &out) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::from(EXIT_SAFETY)
                }
            }
        }
        #[cfg(feature = "canaries")]
        Command::Canaries { seeds, minutes, threads } => canaries(&seeds, minutes, threads),
        Command::Swarm { seeds, nodes, minutes, threads, twice, coverage } => {
            swarm(&Plan { seeds, nodes, minutes, threads, twice }, coverage)
        }
    }
}
