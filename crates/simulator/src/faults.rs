//! What goes wrong in a world, and when: drawn from the seed before the first event.
//!
//! A fault is a span and a kind. Who asks whether a link is cut or a node is down asks this list
//! and the time, so that no second account of the world's state can contradict it.

use std::{collections::BTreeSet, fmt, time::Duration};

use ashlar_ledger::Family;
use rand::{RngExt, seq::IndexedRandom};

use crate::{
    disk::DiskFault,
    node::NodeId,
    random::{Random, between, once_in},
};

/// The fewest kinds of faults in a world.
pub const MIN_KINDS: usize = 3;
/// The most kinds of faults in a world.
const MAX_KINDS: usize = 6;
/// How many faults of one kind, at most, but for those that come as a series.
const MAX_OF_A_KIND: usize = 3;
/// The commits that a power cut takes at most, of those that were never synced.
const MAX_LOST_COMMITS: usize = 64;

/// One thing that goes wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub from: Duration,
    /// When it is over.
    pub until: Duration,
    /// What it is.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Links between two sides carry nothing.
    Cut {
        /// For each node, whether it is on the far side.
        far: Vec<bool>,
        /// In which direction nothing gets through.
        way: Way,
        /// Whether packets vanish, so that each end must find out by itself, or connections
        /// break at once.
        silent: bool,
    },
    /// All that a node sends is late.
    Clog {
        /// Whose links.
        node: NodeId,
        /// By how much.
        delay: Duration,
    },
    /// A node's process is not there.
    Down {
        /// Which.
        node: NodeId,
        /// How it ends.
        end: End,
    },
    /// A node's process stands still, and goes on with what has waited.
    Pause {
        /// Which.
        node: NodeId,
    },
    /// A node's wall clock is wrong.
    Clock {
        /// Whose.
        node: NodeId,
        /// By how much.
        by_ms: i64,
    },
    /// A node's wall clock stands still.
    Frozen {
        /// Whose.
        node: NodeId,
    },
    /// A node's disk fails: where the node meets that, it stops with its reason, and begins again
    /// when its operator has done what there is to do.
    Disk {
        /// Whose.
        node: NodeId,
        /// How.
        fault: DiskFault,
    },
}

/// Which direction a cut stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// Nothing that the far side sends comes through; it hears everything.
    FromFar,
}

/// How a process ends, and what it finds when it begins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Told to stop: writes what it holds.
    Stopped,
    /// Killed: what was committed is there.
    Killed,
    /// Without power: up to so many of the newest commits are gone, of those not synced.
    PowerCut {
        /// At most.
        lost: usize,
    },
    /// Its disk is replaced by an empty one.
    Wiped,
}

/// The kinds that a seed chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Partition,
    Single,
    OneWay,
    Swizzle,
    Clog,
    Churn,
    Kill,
    PowerCut,
    Wipe,
    Pause,
    Clock,
    Frozen,
    Unreadable,
    Full,
    Damaged,
}

const PLANS: [Plan; 15] = [
    Plan::Partition,
    Plan::Single,
    Plan::OneWay,
    Plan::Swizzle,
    Plan::Clog,
    Plan::Churn,
    Plan::Kill,
    Plan::PowerCut,
    Plan::Wipe,
    Plan::Pause,
    Plan::Clock,
    Plan::Frozen,
    Plan::Unreadable,
    Plan::Full,
    Plan::Damaged,
];

impl Fault {
    /// Whether it lasts at `now`.
    pub fn is_active(&self, now: Duration) -> bool {
        (self.from..self.until).contains(&now)
    }

    /// Whether any of it was in a span.
    pub fn overlaps(&self, since: Duration, now: Duration) -> bool {
        self.from <= now && self.until >= since
    }

    /// Whether it stops what `from` sends to `to`.
    pub fn blocks(&self, from: NodeId, to: NodeId) -> bool {
        match &self.kind {
            FaultKind::Cut { far, way, .. } => {
                let [from, to] = [from, to].map(|node| far.get(node.0).copied().unwrap_or(false));
                from != to && (*way == Way::Both || from)
            }
            _ => false,
        }
    }

    /// Whether it can be felt between two nodes.
    pub fn is_felt(&self, a: NodeId, b: NodeId) -> bool {
        match &self.kind {
            FaultKind::Cut { .. } => self.blocks(a, b) || self.blocks(b, a),
            FaultKind::Clog { node, .. }
            | FaultKind::Down { node, .. }
            | FaultKind::Pause { node }
            | FaultKind::Clock { node, .. }
            | FaultKind::Frozen { node }
            | FaultKind::Disk { node, .. } => [a, b].contains(node),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FaultKind::Cut { far, way, silent } => {
                let count = far.iter().filter(|far| **far).count();
                let how = if *silent { "silently" } else { "connections broken" };
                let way = if *way == Way::FromFar { ", one way" } else { "" };
                write!(f, "{count} nodes cut off, {how}{way}")?;
            }
            FaultKind::Clog { node, delay } => write!(f, "{node} late by {delay:.0?}")?,
            FaultKind::Down { node, end } => write!(f, "{node} down, {end:?}")?,
            FaultKind::Pause { node } => write!(f, "{node} stands still")?,
            FaultKind::Clock { node, by_ms } => write!(f, "{node}'s clock off by {by_ms} ms")?,
            FaultKind::Frozen { node } => write!(f, "{node}'s clock stands still")?,
            FaultKind::Disk { node, fault } => write!(f, "{node}'s disk fails, {fault:?}")?,
        }
        write!(f, ", {:.0?} to {:.0?}", self.from, self.until)
    }
}

/// What a world of `nodes` suffers until `latest`: at least [`MIN_KINDS`] kinds of it. Headers up
/// to `max_future` ahead are acceptable in it.
pub fn draw(
    random: &mut Random,
    nodes: usize,
    latest: Duration,
    max_future: Duration,
) -> Vec<Fault> {
    let kinds = random.random_range(MIN_KINDS..=MAX_KINDS);
    let plans: Vec<Plan> = PLANS.sample(random, kinds).copied().collect();
    let mut drawing = Drawing { random, nodes, latest, max_future, faults: Vec::new() };
    for plan in plans {
        drawing.add(plan);
    }
    drawing.faults
}

struct Drawing<'a> {
    random: &'a mut Random,
    nodes: usize,
    latest: Duration,
    max_future: Duration,
    faults: Vec<Fault>,
}

impl Drawing<'_> {
    fn node(&mut self) -> NodeId {
        NodeId(self.random.random_range(0..self.nodes))
    }

    /// A span that begins when the chain has begun, and ends in time.
    fn span(&mut self, least: Duration, most: Duration) -> (Duration, Duration) {
        let from = between(self.random, self.latest / 10, self.latest * 3 / 4);
        let length = between(self.random, least, most);
        (from, (from + length).min(self.latest))
    }

    fn add(&mut self, plan: Plan) {
        let seconds = Duration::from_secs;
        let times = self.random.random_range(1..=MAX_OF_A_KIND);
        match plan {
            Plan::Partition => {
                let size = self.random.random_range(1..=self.nodes / 2);
                let far = self.side(size);
                let from = between(self.random, self.latest / 8, self.latest / 3);
                let until = between(self.random, from + seconds(20), self.latest);
                let silent = once_in(self.random, 2);
                self.cut((from, until), far, Way::Both, silent);
            }
            Plan::Single => {
                for _ in 0..times {
                    let far = self.side(1);
                    let span = self.span(seconds(5), seconds(180));
                    let silent = once_in(self.random, 2);
                    self.cut(span, far, Way::Both, silent);
                }
            }
            Plan::OneWay => {
                let size = self.random.random_range(1..=self.nodes / 2);
                let far = self.side(size);
                let span = self.span(seconds(5), seconds(180));
                self.cut(span, far, Way::FromFar, true);
            }
            Plan::Swizzle => self.swizzle(),
            Plan::Clog => {
                for _ in 0..times {
                    let node = self.node();
                    let delay = between(self.random, Duration::from_millis(500), seconds(5));
                    let span = self.span(seconds(10), seconds(180));
                    self.push(span, FaultKind::Clog { node, delay });
                }
            }
            Plan::Churn => self.down(times * 2, |_| End::Stopped),
            Plan::Kill => self.down(times, |_| End::Killed),
            Plan::PowerCut => self.down(times, |random| End::PowerCut {
                lost: random.random_range(0..=MAX_LOST_COMMITS),
            }),
            Plan::Wipe => self.down(1, |_| End::Wiped),
            Plan::Pause => {
                for _ in 0..times {
                    let node = self.node();
                    let span = self.span(seconds(2), seconds(120));
                    self.push(span, FaultKind::Pause { node });
                }
            }
            Plan::Clock => {
                for _ in 0..times {
                    let by_ms = self.clock_error();
                    let node = self.node();
                    let span = self.span(seconds(20), seconds(300));
                    self.push(span, FaultKind::Clock { node, by_ms });
                }
            }
            Plan::Frozen => {
                let node = self.node();
                let span = self.span(seconds(20), seconds(300));
                self.push(span, FaultKind::Frozen { node });
            }
            Plan::Unreadable => self.disk(times, |_| DiskFault::Unreadable),
            Plan::Full => self.disk(times, |_| DiskFault::Full),
            Plan::Damaged => self.disk(times, |random| {
                let family = *Family::ALL.choose(random).unwrap_or(&Family::Coins);
                DiskFault::Damaged { family, place: random.random_range(0..usize::MAX) }
            }),
        }
    }

    /// A side of so many nodes.
    fn side(&mut self, size: usize) -> Vec<bool> {
        let mut far = vec![false; self.nodes];
        for index in rand::seq::index::sample(self.random, self.nodes, size) {
            if let Some(side) = far.get_mut(index) {
                *side = true;
            }
        }
        far
    }

    /// Nodes are cut off one after the other, and come back in another order.
    fn swizzle(&mut self) {
        let size = self.random.random_range(2..=self.nodes / 2 + 1);
        let nodes = rand::seq::index::sample(self.random, self.nodes, size).into_vec();
        let middle = between(self.random, self.latest / 4, self.latest * 3 / 4);
        let spread = self.latest / 8;
        for node in nodes {
            let mut far = vec![false; self.nodes];
            if let Some(side) = far.get_mut(node) {
                *side = true;
            }
            let from = between(self.random, middle - spread, middle);
            let until = between(self.random, middle, middle + spread);
            let silent = once_in(self.random, 2);
            self.cut((from, until), far, Way::Both, silent);
        }
    }

    fn down(&mut self, times: usize, end: impl Fn(&mut Random) -> End) {
        for _ in 0..times {
            let node = self.node();
            let span = self.span(Duration::from_secs(1), Duration::from_secs(120));
            let end = end(self.random);
            self.push(span, FaultKind::Down { node, end });
        }
    }

    fn disk(&mut self, times: usize, fault: impl Fn(&mut Random) -> DiskFault) {
        for _ in 0..times {
            let node = self.node();
            let span = self.span(Duration::from_secs(20), Duration::from_secs(180));
            let fault = fault(self.random);
            self.push(span, FaultKind::Disk { node, fault });
        }
    }

    /// Behind by up to an hour; ahead by no more than what others forget in the time that is left
    /// for it, since a block from the future can be built on by whoever believes in it.
    fn clock_error(&mut self) -> i64 {
        const HOUR_MS: i64 = 3_600_000;
        if once_in(self.random, 2) {
            return -self.random.random_range(1_000..=HOUR_MS);
        }
        let most = i64::try_from(self.max_future.as_millis()).unwrap_or(HOUR_MS);
        self.random.random_range(1_000..=(most + 20_000).min(HOUR_MS))
    }

    fn cut(&mut self, span: (Duration, Duration), far: Vec<bool>, way: Way, silent: bool) {
        self.push(span, FaultKind::Cut { far, way, silent });
    }

    /// A node has one trouble with its process at a time.
    fn push(&mut self, (from, until): (Duration, Duration), kind: FaultKind) {
        let until = until.min(self.latest);
        let of_process = |kind: &FaultKind| match kind {
            FaultKind::Down { node, .. }
            | FaultKind::Pause { node }
            | FaultKind::Disk { node, .. } => Some(*node),
            _ => None,
        };
        let gap = Duration::from_secs(1);
        let clashes = |other: &Fault| {
            of_process(&kind).is_some()
                && of_process(&kind) == of_process(&other.kind)
                && other.overlaps(from.saturating_sub(gap), until + gap)
        };
        if from < until && !self.faults.iter().any(clashes) {
            self.faults.push(Fault { from, until, kind });
        }
    }
}

/// Which nodes' processes some fault ends.
pub fn nodes_down(faults: &[Fault]) -> BTreeSet<NodeId> {
    let down = |fault: &Fault| match fault.kind {
        FaultKind::Down { node, .. } | FaultKind::Disk { node, .. } => Some(node),
        _ => None,
    };
    faults.iter().filter_map(down).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    const LATEST: Duration = Duration::from_secs(600);

    fn drawn(seed: u64) -> Vec<Fault> {
        let random = &mut stream(seed, Purpose::Scenario);
        draw(random, 7, LATEST, Duration::from_secs(60))
    }

    #[test]
    fn faults_end_in_time_and_processes_have_one_at_a_time() {
        for seed in 0..300 {
            let faults = drawn(seed);
            assert!(faults.iter().all(|fault| fault.from < fault.until && fault.until <= LATEST));
            for (place, fault) in faults.iter().enumerate() {
                let FaultKind::Down { node, .. } = fault.kind else { continue };
                let others = faults.iter().enumerate().filter(|(other, _)| *other != place);
                let clash = others.filter(|(_, other)| other.overlaps(fault.from, fault.until));
                let mut kinds = clash.map(|(_, other)| &other.kind);
                assert!(kinds.all(|kind| match kind {
                    FaultKind::Down { node: other, .. }
                    | FaultKind::Pause { node: other }
                    | FaultKind::Disk { node: other, .. } => *other != node,
                    _ => true,
                }));
            }
        }
    }

    #[test]
    fn every_kind_is_drawn() {
        let names = (0..200).flat_map(drawn).map(|fault| match fault.kind {
            FaultKind::Cut { way: Way::FromFar, .. } => "one way",
            FaultKind::Cut { silent: true, .. } => "silent",
            FaultKind::Cut { .. } => "broken",
            FaultKind::Clog { .. } => "clog",
            FaultKind::Down { end: End::Stopped, .. } => "churn",
            FaultKind::Down { end: End::Killed, .. } => "kill",
            FaultKind::Down { end: End::PowerCut { .. }, .. } => "power",
            FaultKind::Down { end: End::Wiped, .. } => "wipe",
            FaultKind::Pause { .. } => "pause",
            FaultKind::Clock { by_ms, .. } if by_ms < 0 => "behind",
            FaultKind::Clock { .. } => "ahead",
            FaultKind::Frozen { .. } => "frozen",
            FaultKind::Disk { fault: DiskFault::Unreadable, .. } => "unreadable",
            FaultKind::Disk { fault: DiskFault::Full, .. } => "full",
            FaultKind::Disk { fault: DiskFault::Damaged { .. }, .. } => "damaged",
        });
        assert_eq!(names.collect::<BTreeSet<_>>().len(), 15);
    }

    #[test]
    fn one_way_stops_one_way() {
        let far = vec![true, false];
        let kind = FaultKind::Cut { far, way: Way::FromFar, silent: true };
        let cut = Fault { from: Duration::ZERO, until: LATEST, kind };
        assert!(cut.blocks(NodeId(0), NodeId(1)) && !cut.blocks(NodeId(1), NodeId(0)));
        assert!(cut.is_felt(NodeId(1), NodeId(0)) && !cut.is_felt(NodeId(1), NodeId(2)));
    }
}
