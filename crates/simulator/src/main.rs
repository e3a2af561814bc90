//! `ashlar-sim`: runs simulated worlds from seeds.

use std::{ops::Range, panic::AssertUnwindSafe, process::ExitCode, time::Instant};

use ashlar_simulator::{Class, Failure, Report, Scenario, World};
use clap::{Parser, Subcommand};

/// A promise was broken that must always hold.
const EXIT_SAFETY: u8 = 2;
/// Something that had to happen did not.
const EXIT_LIVENESS: u8 = 3;
/// A node's code panicked.
const EXIT_PANIC: u8 = 4;

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
    /// Runs the worlds of many seeds, one line each, up to the first that fails.
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
    },
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let usage = || "expected two numbers, such as 0..100, the second above the first".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(usage)?;
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| usage());
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err(usage()) } else { Ok(range) }
}

/// How a world ended.
enum Ending {
    Kept(Box<Report>),
    Broken(Box<Failure>),
    Panicked { seed: u64 },
}

/// Runs a world. A panic's own message has gone to standard error when this returns.
fn run(scenario: Scenario, trace: bool) -> Ending {
    let seed = scenario.seed;
    let world = AssertUnwindSafe(|| World::new(scenario, trace).run());
    match std::panic::catch_unwind(world) {
        Ok(Ok(report)) => Ending::Kept(Box::new(report)),
        Ok(Err(failure)) => Ending::Broken(failure),
        Err(_) => Ending::Panicked { seed },
    }
}

impl Ending {
    /// Tells people of a bad end, and the exit code.
    fn conclude(self) -> ExitCode {
        match self {
            Self::Kept(_) => ExitCode::SUCCESS,
            Self::Broken(failure) => {
                println!("{failure}");
                ExitCode::from(match failure.violation.class() {
                    Class::Safety => EXIT_SAFETY,
                    Class::Liveness => EXIT_LIVENESS,
                })
            }
            Self::Panicked { seed } => {
                println!("seed {seed}: PANICKED; the message is above");
                ExitCode::from(EXIT_PANIC)
            }
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
            ending.conclude()
        }
        Command::Swarm { seeds, nodes, minutes } => {
            let (begun, count) = (Instant::now(), seeds.end - seeds.start);
            for seed in seeds {
                match run(Scenario::draw(seed, nodes, minutes), false) {
                    Ending::Kept(report) => println!("{}", report.line()),
                    ending => return ending.conclude(),
                }
            }
            println!("{count} worlds kept all promises, in {:.1?}", begun.elapsed());
            ExitCode::SUCCESS
        }
    }
}
