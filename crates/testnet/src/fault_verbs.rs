//! The verbs of trouble, as they are typed.

use std::{path::PathBuf, time::Duration};

use ashlar_processes::relay::{Bandwidth, Delay, Loss};
use clap::{Args, Subcommand};
use rand::RngExt as _;
use serde_json::json;

use crate::{
    chaos::{self, Chaos, ChaosError},
    cli::Out,
    client::Testnet,
    control::{ClockChange, Request, Status},
    error::TestnetError,
    file::NodeNumber,
    lines::{LineError, LineState, LinkChange, Sides},
};

/// Once down and up of a node that flaps, in milliseconds.
const FLAP_PERIOD_MS: u32 = 2_000;

/// What can go wrong, by wish.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultVerb {
    /// Part the nodes: `partition 1,2 / 3,4`. Nodes that are not named are a side of their own.
    Partition {
        /// The sides.
        #[arg(required = true)]
        sides: Vec<String>,
    },
    /// Join all that is cut. Slow lines stay slow.
    Heal,
    /// How the lines are.
    Links,
    /// Change the line between two nodes, both ways; without a change, show it.
    Link(LinkArguments),
    /// Move a node's clock: `clock 2 +1h`, `clock 2 -90s`, `clock 2 reset`.
    Clock {
        /// Which node.
        node: NodeNumber,
        /// By how much.
        #[arg(allow_hyphen_values = true)]
        change: String,
    },
    /// Let every write of a node's process fail, until it has ended and is started again.
    DiskFull {
        /// Which node.
        node: NodeNumber,
    },
    /// Take a node's lines down and up, again and again, its connections with them.
    Flap {
        /// Which node.
        node: NodeNumber,
        /// How often.
        #[arg(long, default_value_t = 5)]
        times: u32,
        /// Once down and up, in milliseconds.
        #[arg(long, default_value_t = FLAP_PERIOD_MS, value_name = "MS")]
        period: u32,
    },
}

/// `link A B …`.
#[derive(Debug, Args)]
pub(crate) struct LinkArguments {
    /// One end.
    from: NodeNumber,
    /// The other.
    to: NodeNumber,
    /// Every byte comes so much later, such as 200ms.
    #[arg(long)]
    latency: Option<Delay>,
    /// And at random up to so much later still, such as 50ms.
    #[arg(long)]
    jitter: Option<Delay>,
    /// Lost packets, such as 5%: on TCP they are stalls.
    #[arg(long)]
    loss: Option<Loss>,
    /// What it carries at most, such as 1mbit.
    #[arg(long)]
    bandwidth: Option<Bandwidth>,
    /// Cut it.
    #[arg(long, conflicts_with = "join")]
    cut: bool,
    /// Join it again.
    #[arg(long)]
    join: bool,
    /// First make it as it was at first: no delay, no loss, no bound.
    #[arg(long)]
    plain: bool,
    /// Only from the first to the second.
    #[arg(long)]
    one_way: bool,
}

/// Chaos, as it is typed.
#[derive(Debug, Args)]
pub(crate) struct ChaosArguments {
    /// How long faults go on.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) minutes: f64,
    /// What decides them; another one each time unless given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// The log of an earlier run, whose faults come again.
    #[arg(long, value_name = "LOG", conflicts_with_all = ["minutes", "seed"])]
    pub(crate) replay: Option<PathBuf>,
    /// Where the log goes [default: chaos.log in the testnet's folder].
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

impl FaultVerb {
    /// What the keeper is asked for.
    pub(crate) fn request(self) -> Result<Request, TestnetError> {
        Ok(match self {
            Self::Partition { sides } => Request::Partition { sides: Sides::parse(&sides)? },
            Self::Heal => Request::Heal,
            Self::Links => Request::Links,
            Self::Link(link) => link.request(),
            Self::Clock { node, change } => Request::Clock { node, change: clock_change(&change)? },
            Self::DiskFull { node } => Request::DiskFull { node },
            Self::Flap { node, times, period } => {
                Request::Flap { node, times, period_ms: period, wait: true }
            }
        })
    }
}

impl LinkArguments {
    fn request(self) -> Request {
        let Self { from, to, latency, jitter, loss, bandwidth, cut, join, plain, one_way } = self;
        let cut = (cut || join).then_some(cut);
        let change = LinkChange { plain, latency, jitter, loss, bandwidth, cut, one_way };
        Request::Link { from, to, change }
    }
}

/// `+1h`, `-90s`, `+500ms`, `+2d`, `reset`.
fn clock_change(text: &str) -> Result<ClockChange, LineError> {
    if text == "reset" {
        return Ok(ClockChange::Reset);
    }
    let wrong = || LineError::BadClock(text.to_owned());
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(wrong()),
    };
    let at = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = rest.split_at(at);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let ms = number.checked_mul(sign * unit_ms).ok_or_else(wrong)?;
    Ok(ClockChange::Move { ms })
}

/// Does it, and says how the lines are then.
pub(crate) fn run(verb: FaultVerb, net: &Testnet, out: &Out) -> Result<(), TestnetError> {
    let request = verb.request()?;
    match request {
        Request::Clock { .. } => {
            let unix_ms: u64 = net.ask(&request)?;
            out.say(&json!({ "unix_ms": unix_ms }), |_| {
                format!("its clock reads {} s after 1970\n", unix_ms / 1_000)
            });
        }
        Request::DiskFull { .. } | Request::Flap { .. } => {
            net.ask::<()>(&request)?;
            out.say(&json!({}), |_| String::new());
        }
        _ => out.say(&net.ask::<Vec<LineState>>(&request)?, |lines| show(lines)),
    }
    Ok(())
}

/// A line for each way that is cut or not plain; the two ways of a link in one where they are alike.
fn show(lines: &[LineState]) -> String {
    let is_back = |one: &LineState, other: &LineState| one.from == other.to && one.to == other.from;
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        let back = lines.iter().position(|other| is_back(line, other));
        let alike = back.filter(|back| {
            let back = &lines[*back];
            (back.is_cut, back.shape) == (line.is_cut, line.shape)
        });
        match alike {
            Some(back) if back < place => {}
            Some(_) => text += &format!("{} <-> {}: {}\n", line.to, line.from, line.what()),
            None => text += &format!("{line}\n"),
        }
    }
    text
}

/// What `wait` says.
pub(crate) fn one_tip(status: &Status) -> String {
    let answers: Vec<_> = status.nodes.iter().filter_map(|node| node.answers.as_ref()).collect();
    match answers.first() {
        Some(first) => {
            format!("{} nodes are on block {}, {}\n", answers.len(), first.height, first.tip.0)
        }
        None => "no node runs\n".to_owned(),
    }
}

/// Runs chaos, telling of it as it goes, and says what it came to.
pub(crate) fn chaos(
    arguments: ChaosArguments,
    net: &Testnet,
    out: &Out,
) -> Result<(), TestnetError> {
    let ChaosArguments { minutes, seed, replay, log } = arguments;
    let replay = replay.map(|path| chaos::rounds(&path)).transpose();
    let wanted = Chaos {
        seed: seed.unwrap_or_else(|| rand::rng().random_range(0..=u64::from(u32::MAX))),
        time: Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::MAX),
        replay: replay.map_err(ChaosError::from)?,
        log: log.unwrap_or_else(|| net.layout().folder().join("chaos.log")),
    };
    let json = out.json;
    let report = chaos::run(net, &wanted, &mut |line| {
        if !json {
            println!("{line}");
        }
    })?;
    out.say(&report, ToString::to_string);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_moved_as_people_say_it() {
        let moved = |ms| Ok(ClockChange::Move { ms });
        assert_eq!(clock_change("+1h"), moved(3_600_000));
        assert_eq!(clock_change("-90s"), moved(-90_000));
        assert_eq!(clock_change("+2d"), moved(172_800_000));
        assert_eq!(clock_change("-5ms"), moved(-5));
        assert_eq!(clock_change("reset"), Ok(ClockChange::Reset));
        for text in ["", "1h", "+h", "+1", "+1y", "+ 1h", "+99999999999999999999s", "é"] {
            assert!(clock_change(text).is_err(), "{text}");
        }
    }
}
