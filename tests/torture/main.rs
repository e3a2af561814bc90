//! `ashlar-torture`: the long form of the torture (see the library). Ends non-zero on any loss.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use ashlar_torture::{
    campaign::{Campaign, Feed, Setup},
    fault::{Strikes, missing_tracer},
    power::Disk,
    report::Tally,
    tree::Shape,
    verify::{Loss, MIN_FREE},
};
use clap::{Parser, ValueEnum};

/// Kills, starves and cuts off a real node, and compares it with a model after every restart.
#[derive(Debug, Parser)]
#[command(name = "ashlar-torture", version, max_term_width = 100)]
struct Arguments {
    /// Faults of each kind.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// What decides everything but the machine's own timing [default: the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// Only these kinds.
    #[arg(long, value_delimiter = ',', default_values_t = [Kind::Kill, Kind::Syscall, Kind::Errno, Kind::Power])]
    only: Vec<Kind>,
    /// The node's program [default: beside this one].
    #[arg(long)]
    node: Option<PathBuf>,
    /// Where files are kept meanwhile [default: the system's place for them].
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What is done to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// SIGKILL at random moments.
    Kill,
    /// SIGKILL at the N-th system call of a kind, for growing N.
    Syscall,
    /// ENOSPC and EIO from the N-th system call of a kind.
    Errno,
    /// Power cuts of the disk.
    Power,
}

impl core::fmt::Display for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let value = self.to_possible_value().expect("no kind is hidden");
        f.write_str(value.get_name())
    }
}

/// After so many the cause is wanted, not their number.
const MAX_LOSSES: u32 = 5;
/// Faults on one data directory, at most.
const CAMPAIGN_ROUNDS: u32 = 20;
/// Trees of the long form.
const SHAPE: Shape = Shape { blocks: 300, payments: 12, deepest: 48 };

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        now.as_secs()
    });
    let node = arguments.node.clone().unwrap_or_else(|| {
        let own = std::env::current_exe().expect("this program has a path");
        own.with_file_name("ashlar-node")
    });
    let folder = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("ashlar-torture-").tempdir_in(folder);
    let folder = folder.expect("a folder for files");
    let setup = Setup {
        folder: folder.path().to_owned(),
        flags: ["--min-free", MIN_FREE].map(str::to_owned).to_vec(),
        shape: SHAPE,
        node,
    };
    println!("torture: seed {seed}, {} rounds of each kind", arguments.rounds);
    let mut losses = 0;
    let mut summary = Vec::new();
    for kind in &arguments.only {
        match torture(*kind, &setup, seed, arguments.rounds) {
            Ok(tally) => {
                println!("{kind}: {tally}");
                losses += tally.losses;
                summary.push(format!("{kind:8} {tally}"));
            }
            Err(reason) => {
                println!("{kind}: skipped: {reason}");
                summary.push(format!("{kind:8} skipped: {reason}\n"));
            }
        }
    }
    println!("\nsummary of seed {seed}\n\n{}", summary.concat());
    if losses > 0 {
        println!("{losses} LOSSES; the files are kept in {}", folder.keep().display());
        return ExitCode::FAILURE;
    }
    println!("no losses");
    ExitCode::SUCCESS
}

fn torture(kind: Kind, setup: &Setup, seed: u64, rounds: u32) -> Result<Tally, String> {
    let disk = match kind {
        Kind::Power => Some(Disk::new(&setup.folder).map_err(|error| error.to_string())?),
        _ => None,
    };
    if matches!(kind, Kind::Syscall | Kind::Errno)
        && let Some(reason) = missing_tracer()
    {
        return Err(reason.to_owned());
    }
    let started = Instant::now();
    let mut strikes =
        if kind == Kind::Errno { Strikes::errors(seed) } else { Strikes::kills(seed) };
    let mut tally = Tally::default();
    for number in 0.. {
        if tally.rounds >= rounds || tally.losses >= MAX_LOSSES {
            break;
        }
        let feed = if number % 3 == 2 { Feed::Peer } else { Feed::Rpc };
        let seed = seed.wrapping_add(number);
        let campaign = Campaign::new(setup, feed, seed, disk.as_ref(), &mut tally);
        let outcome = campaign.and_then(|campaign| wage(campaign, kind, rounds, &mut strikes));
        if let Err(loss) = outcome {
            println!("LOSS ({kind}, campaign of seed {seed}, {feed:?}): {loss}");
            tally.losses += 1;
        }
    }
    tally.time = started.elapsed();
    Ok(tally)
}

fn wage(
    mut campaign: Campaign<'_>,
    kind: Kind,
    rounds: u32,
    strikes: &mut Strikes,
) -> Result<(), Loss> {
    let last = rounds.min(campaign.rounds() + CAMPAIGN_ROUNDS);
    while !campaign.is_over() && campaign.rounds() < last {
        match kind {
            Kind::Kill => campaign.kill()?,
            Kind::Power => campaign.cut()?,
            Kind::Syscall | Kind::Errno => {
                let strike = strikes.draw();
                let was_dealt = campaign.strike(strike).inspect_err(|_| println!("{strike:?}"))?;
                strikes.done(was_dealt);
            }
        }
    }
    campaign.finish()
}
