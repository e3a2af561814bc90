//! What is done to a testnet, and when: decided by a seed alone, so that it can be done again.

use std::collections::BTreeSet;

use ashlar_processes::relay::{Bandwidth, Delay, Loss};
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};

use crate::{
    file::NodeNumber,
    lines::{LinkChange, Sides},
};

/// How long faults come and go in one round, in milliseconds.
const ROUND_MS: std::ops::RangeInclusive<u32> = 12_000..=20_000;
/// How long one lasts, in milliseconds.
const FAULT_MS: std::ops::RangeInclusive<u32> = 2_000..=9_000;
/// How many a round has.
const FAULTS: std::ops::RangeInclusive<usize> = 2..=5;
/// How far a clock goes wrong, in seconds, forwards or back: less than blocks may be ahead
/// (PROTOCOL.md §7, `max_future_seconds`, 7,200 unless a genesis says otherwise).
const CLOCK_SECONDS: std::ops::RangeInclusive<i64> = 60..=3_600;
/// Once up and down of a node that flaps, in milliseconds.
const FLAP_MS: u32 = 1_000;

/// What happens to nodes and lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// The sides can't hear each other.
    Partition {
        /// Which.
        sides: Sides,
    },
    /// A line is slow, late or lossy, or one way of it is cut.
    Link {
        /// Its first end.
        from: NodeNumber,
        /// Its second.
        to: NodeNumber,
        /// What is done to it.
        change: LinkChange,
    },
    /// A node's lines go down and up, its connections with them.
    Flap {
        /// Which node.
        node: NodeNumber,
    },
    /// `kill -9`, and a start when the time is over.
    Kill {
        /// Which node.
        node: NodeNumber,
    },
    /// A clean stop, and a start when the time is over.
    Stop {
        /// Which node.
        node: NodeNumber,
    },
    /// The process stands still.
    Pause {
        /// Which node.
        node: NodeNumber,
    },
    /// Every write fails, until the node is started again.
    DiskFull {
        /// Which node.
        node: NodeNumber,
    },
    /// The node's clock is wrong.
    Clock {
        /// Which node.
        node: NodeNumber,
        /// By so much; behind where below 0.
        seconds: i64,
    },
}

impl Fault {
    /// Its name, as the log has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Partition { .. } => "partition",
            Self::Link { .. } => "link",
            Self::Flap { .. } => "flap",
            Self::Kill { .. } => "kill",
            Self::Stop { .. } => "stop",
            Self::Pause { .. } => "pause",
            Self::DiskFull { .. } => "disk-full",
            Self::Clock { .. } => "clock",
        }
    }

    /// The node that does not answer while it lasts.
    pub const fn silences(&self) -> Option<NodeNumber> {
        match self {
            Self::Kill { node }
            | Self::Stop { node }
            | Self::Pause { node }
            | Self::DiskFull { node } => Some(*node),
            Self::Partition { .. } | Self::Link { .. } | Self::Flap { .. } | Self::Clock { .. } => {
                None
            }
        }
    }

    /// The node that loses with it what it had in memory alone.
    pub const fn forgets(&self) -> Option<NodeNumber> {
        match self {
            Self::Kill { node } | Self::DiskFull { node } => Some(*node),
            _ => None,
        }
    }
}

/// A fault with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// When it begins, in milliseconds of its round.
    pub at_ms: u32,
    /// How long it lasts, in milliseconds.
    pub for_ms: u32,
    /// What it is.
    #[serde(flatten)]
    pub fault: Fault,
}

/// Faults that come and go; after them all is healed, and what must hold is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// From 1 on.
    pub number: u32,
    /// After so many milliseconds no fault is left.
    pub lasts_ms: u32,
    /// In the order in which they begin.
    pub faults: Vec<Timed>,
}

/// What faults can be chosen from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// The nodes, in order. The last one's process is never ended: what grows in it over hours must
    /// have somewhere to show.
    pub nodes: Vec<NodeNumber>,
    /// The links.
    pub links: Vec<(NodeNumber, NodeNumber)>,
    /// Whether the nodes' clocks can be set.
    pub has_clocks: bool,
}

impl Round {
    /// The round of a seed. Of each node at most one fault at a time, and at most one that cuts
    /// lines: so each is undone without touching another.
    ///
    /// # Panics
    /// Where there are fewer than two nodes, or no link.
    pub fn of(seed: u64, number: u32, ground: &Ground) -> Self {
        assert!(ground.nodes.len() > 1 && !ground.links.is_empty(), "nothing to part");
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(number.into());
        let lasts_ms = random.random_range(ROUND_MS);
        let mut victims = ground.nodes.clone();
        victims.shuffle(&mut random);
        let mut links = ground.links.clone();
        links.shuffle(&mut random);
        let mut has_cut = false;
        let mut faults = Vec::new();
        for _ in 0..random.random_range(FAULTS) {
            // One node at least is left alone.
            let node = if victims.len() > 1 { victims.pop() } else { None };
            let fault = match random.random_range(0..10) {
                0..=2 if !has_cut => {
                    has_cut = true;
                    Some(cut(&mut random, ground, &mut links))
                }
                0..=4 => links.pop().map(|(from, to)| shape(&mut random, from, to)),
                kind => node.map(|node| hurt(&mut random, ground, kind, node)),
            };
            let Some(fault) = fault else { continue };
            has_cut |= matches!(fault, Fault::Flap { .. });
            let for_ms = random.random_range(FAULT_MS);
            let at_ms = random.random_range(0..=lasts_ms - for_ms);
            faults.push(Timed { at_ms, for_ms, fault });
        }
        // A flap joins lines as it ends: beside another cut it would heal that too.
        let cuts = |timed: &Timed| match &timed.fault {
            Fault::Partition { .. } | Fault::Flap { .. } => true,
            Fault::Link { change, .. } => change.cut.is_some(),
            _ => false,
        };
        let mut seen = false;
        faults.retain(|timed| !cuts(timed) || !std::mem::replace(&mut seen, true));
        faults.sort_by_key(|timed| timed.at_ms);
        Self { number, lasts_ms, faults }
    }
}

/// A partition in two, or one way of a line.
fn cut(
    random: &mut ChaCha12Rng,
    ground: &Ground,
    links: &mut Vec<(NodeNumber, NodeNumber)>,
) -> Fault {
    if random.random_bool(0.3)
        && let Some((one, other)) = links.pop()
    {
        let (from, to) = if random.random() { (one, other) } else { (other, one) };
        let change = LinkChange { cut: Some(true), one_way: true, ..LinkChange::default() };
        return Fault::Link { from, to, change };
    }
    let mut nodes = ground.nodes.clone();
    nodes.shuffle(random);
    let at = random.random_range(1..nodes.len());
    let (left, right) = nodes.split_at(at);
    let sides = [left, right].map(|side| side.iter().copied().collect::<BTreeSet<_>>());
    Fault::Partition { sides: Sides::new(sides.to_vec()).expect("two sides of distinct nodes") }
}

fn shape(random: &mut ChaCha12Rng, from: NodeNumber, to: NodeNumber) -> Fault {
    let mut change = LinkChange::default();
    match random.random_range(0..4) {
        0 => {
            change.latency = Some(Delay::from_ms(random.random_range(50..=800)));
            change.jitter = Some(Delay::from_ms(random.random_range(0..=200)));
        }
        1 => change.loss = Some(Loss::from_percent(random.random_range(1..=30))),
        2 => {
            let bytes = random.random_range(4_000..=60_000);
            change.bandwidth = Some(Bandwidth::from_bytes_per_second(bytes));
        }
        _ => {
            change.latency = Some(Delay::from_ms(200));
            change.loss = Some(Loss::from_percent(5));
            change.bandwidth = Some(Bandwidth::from_bytes_per_second(125_000));
        }
    }
    Fault::Link { from, to, change }
}

/// `kind` is 5 to 9.
fn hurt(random: &mut ChaCha12Rng, ground: &Ground, kind: u8, node: NodeNumber) -> Fault {
    let is_spared = ground.nodes.last() == Some(&node);
    match kind {
        5 | 6 if !is_spared => Fault::Kill { node },
        7 if !is_spared && random.random() => Fault::Stop { node },
        7 if !is_spared => Fault::DiskFull { node },
        8 if ground.has_clocks => {
            let seconds = random.random_range(CLOCK_SECONDS);
            Fault::Clock { node, seconds: if random.random() { seconds } else { -seconds } }
        }
        9 => Fault::Flap { node },
        _ => Fault::Pause { node },
    }
}

/// How often a node goes down and up that flaps for a time, and how long each takes, in
/// milliseconds.
pub(super) const fn flaps(for_ms: u32) -> (u32, u32) {
    let times = for_ms / FLAP_MS;
    (if times == 0 { 1 } else { times }, FLAP_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground() -> Ground {
        let links = (2..=5).flat_map(|to| (1..to).map(move |from| (to, from))).collect();
        Ground { nodes: (1..=5).collect(), links, has_clocks: true }
    }

    #[test]
    fn a_seed_decides_each_round_and_no_other_seed_the_same() {
        let rounds = |seed| (1..=40).map(move |number| Round::of(seed, number, &ground()));
        let (one, again, other): (Vec<_>, Vec<_>, Vec<_>) =
            (rounds(1).collect(), rounds(1).collect(), rounds(2).collect());
        assert_eq!(one, again);
        assert_ne!(one, other);
        for round in &one {
            let text = serde_json::to_string(round).unwrap();
            assert_eq!(&serde_json::from_str::<Round>(&text).unwrap(), round, "{text}");
        }
    }

    #[test]
    fn every_fault_comes_up_and_none_undoes_another() {
        let mut names = BTreeSet::new();
        for number in 1..=400 {
            let round = Round::of(7, number, &ground());
            let mut nodes = BTreeSet::new();
            let mut cuts = 0;
            for Timed { at_ms, for_ms, fault } in &round.faults {
                assert!(at_ms + for_ms <= round.lasts_ms, "{round:?}");
                names.insert(fault.name());
                if let Some(node) = fault.silences() {
                    assert!(nodes.insert(node), "two faults of one node: {round:?}");
                }
                if fault.forgets().is_some() || matches!(fault, Fault::Stop { .. }) {
                    assert_ne!(fault.silences(), Some(5), "the last one lives: {round:?}");
                }
                cuts += match fault {
                    Fault::Partition { .. } | Fault::Flap { .. } => 1,
                    Fault::Link { change, .. } => usize::from(change.cut.is_some()),
                    _ => 0,
                };
            }
            assert!(cuts <= 1 && nodes.len() < 5, "{round:?}");
        }
        let all = ["clock", "disk-full", "flap", "kill", "link", "partition", "pause", "stop"];
        assert_eq!(names.into_iter().collect::<Vec<_>>(), all);
    }
}
