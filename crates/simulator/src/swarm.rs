//! Many worlds, one after the other or side by side, and what came of all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    panic::AssertUnwindSafe,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use ashlar_engine::Offence;
use ashlar_testkit::generator::tally;

use crate::{
    report::{Failure, Report},
    scenario::Scenario,
    villain::Kind,
    world::World,
};

/// Of the codes of PROTOCOL.md §8 those that no world reaches: two are the test harness's own
/// words, transactions come decoded, and the input sum of the last takes more money than there is.
const OUT_OF_REACH: [&str; 4] = ["known", "invalidated", "tx-malformed", "tx-bad-input-sum"];
/// The mempool's (PROTOCOL.md §13).
const POLICY_CODES: [&str; 7] = [
    "tx-already-known",
    "tx-already-confirmed",
    "tx-not-relayable",
    "tx-fee-too-low",
    "tx-mempool-full",
    "tx-conflict",
    "tx-cluster-too-large",
];

/// Every rule and policy for which something can be refused in a world.
pub fn codes() -> impl Iterator<Item = &'static str> {
    let of_rules = tally::CODES.into_iter().filter(|code| !OUT_OF_REACH.contains(code));
    of_rules.chain(POLICY_CODES)
}

/// The lower ends of the histogram's bins, in blocks.
const BINS: [u32; 8] = [0, 1, 2, 3, 6, 11, 21, 51];

/// How a world ended.
#[derive(Debug)]
pub enum Ending {
    /// All promises were kept.
    Kept(Box<Report>),
    /// One was not.
    Broken(Box<Failure>),
    /// A node's code panicked; the message has gone to standard error.
    Panicked {
        /// Of the world.
        seed: u64,
    },
    /// Two runs of one seed were not the same.
    Differs {
        /// Of the world.
        seed: u64,
    },
}

/// Runs a world to its end.
pub fn run(scenario: Scenario, trace: bool) -> Ending {
    let seed = scenario.seed;
    let world = AssertUnwindSafe(|| World::new(scenario, trace).run());
    match std::panic::catch_unwind(world) {
        Ok(Ok(report)) => Ending::Kept(Box::new(report)),
        Ok(Err(failure)) => Ending::Broken(failure),
        Err(_) => Ending::Panicked { seed },
    }
}

/// Which worlds.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One world each.
    pub seeds: Range<u64>,
    /// Instead of what the seed would choose.
    pub nodes: Option<usize>,
    /// Instead of what the seed would choose.
    pub minutes: Option<u64>,
    /// Worlds side by side; each is one thread's.
    pub threads: usize,
    /// Each world twice: the same seed must give the same trace.
    pub twice: bool,
}

impl Plan {
    fn world(&self, seed: u64) -> Ending {
        let scenario = || Scenario::draw(seed, self.nodes, self.minutes);
        let first = run(scenario(), false);
        match (&first, self.twice) {
            (Ending::Kept(report), true) => match run(scenario(), false) {
                Ending::Kept(again) if again.trace_hash == report.trace_hash => first,
                _ => Ending::Differs { seed },
            },
            _ => first,
        }
    }

    /// Runs the worlds and hands each report to `tell`, in order of the seeds, up to the first
    /// world that does not end well: that one is returned.
    pub fn run(&self, mut tell: impl FnMut(&Report)) -> (Totals, Option<Ending>) {
        let next = AtomicU64::new(self.seeds.start);
        let (sender, endings) = mpsc::sync_channel(self.threads.max(1));
        let mut totals = Totals::default();
        let mut bad = None;
        thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end || sender.send((seed, self.world(seed))).is_err()
                        {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let (mut wanted, mut early) = (self.seeds.start, BTreeMap::new());
            for (seed, ending) in &endings {
                early.insert(seed, ending);
                while let Some(ending) = early.remove(&wanted) {
                    wanted += 1;
                    match ending {
                        Ending::Kept(report) if bad.is_none() => {
                            tell(&report);
                            totals.add(&report);
                        }
                        Ending::Kept(_) => {}
                        other if bad.is_none() => {
                            bad = Some(other);
                            next.store(self.seeds.end, Ordering::Relaxed);
                        }
                        _ => {}
                    }
                }
            }
        });
        (totals, bad)
    }
}

/// What happened in many worlds.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    worlds: u64,
    events: u64,
    blocks: u64,
    payments: u64,
    restarts: u64,
    stops: u64,
    faults: u64,
    reorganisations: u64,
    virtual_seconds: u64,
    villain_messages: u64,
    /// Worlds by their deepest reorganisation.
    deepest: BTreeMap<u32, u64>,
    villains: BTreeMap<Kind, u64>,
    codes: BTreeSet<&'static str>,
    offences: BTreeSet<Offence>,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        let Report { scenario, tally, .. } = report;
        self.worlds += 1;
        self.events += tally.events;
        self.blocks += tally.blocks_found;
        self.payments += report.payments_confirmed;
        self.restarts += tally.restarts;
        self.stops += tally.stops;
        self.faults += scenario.faults.len() as u64;
        self.reorganisations += tally.reorganisations;
        self.virtual_seconds += scenario.timeline.end.as_secs();
        self.villain_messages += tally.villain_messages;
        let below = BINS.iter().rev().find(|bin| **bin <= tally.deepest_reorganisation);
        *self.deepest.entry(below.copied().unwrap_or(0)).or_default() += 1;
        for villain in &scenario.villains {
            *self.villains.entry(villain.kind).or_default() += 1;
        }
        self.codes.extend(&tally.codes);
        self.offences.extend(&tally.offences);
    }

    /// The codes for which nothing was refused anywhere.
    pub fn codes_missing(&self) -> Vec<&'static str> {
        codes().filter(|code| !self.codes.contains(code)).collect()
    }

    /// How many of all were reached, in percent, rounded down.
    pub fn codes_percent(&self) -> usize {
        let all = codes().count();
        (all - self.codes_missing().len()) * 100 / all
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worlds, events, blocks, payments, restarts, faults, .. } = self;
        let hours = self.virtual_seconds / 3_600;
        writeln!(f, "{worlds} worlds, {hours} virtual hours, {events} events")?;
        writeln!(
            f,
            "{blocks} blocks, {payments} payments confirmed, {} reorganisations",
            self.reorganisations
        )?;
        writeln!(
            f,
            "{faults} faults, {restarts} restarts, {} stops for failing disks, \
             {} messages of villains",
            self.stops, self.villain_messages
        )?;
        for (kind, count) in &self.villains {
            writeln!(f, "{:<24}{count} times", kind.name())?;
        }
        writeln!(f, "deepest reorganisation of a world, in blocks:")?;
        for (place, bin) in BINS.iter().enumerate() {
            let count = self.deepest.get(bin).copied().unwrap_or(0);
            let to = BINS.get(place + 1).map_or("…".to_owned(), |next| (next - 1).to_string());
            let width = usize::try_from(count * 50 / worlds.max(&1)).unwrap_or(0);
            writeln!(f, "{bin:>5} – {to:<5}{count:>6}  {}", "#".repeat(width))?;
        }
        let missing = self.codes_missing();
        let (all, part) = (codes().count(), self.codes_percent());
        let reached = all - missing.len();
        writeln!(f, "{reached} of {all} causes of refusal reached, {part} %")?;
        if !missing.is_empty() {
            writeln!(f, "not reached: {}", missing.join(", "))?;
        }
        let offences: Vec<_> = self.offences.iter().map(|it| format!("{it:?}")).collect();
        writeln!(f, "peers were cut for {}: {}", offences.len(), offences.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(threads: usize) -> Plan {
        Plan { seeds: 70..74, nodes: Some(5), minutes: Some(10), threads, twice: false }
    }

    /// Worlds share nothing: how many run side by side changes none of them, nor their order.
    #[test]
    fn threads_change_nothing() {
        let hashes = |threads| {
            let mut hashes = Vec::new();
            let (totals, bad) = plan(threads).run(|report| hashes.push(report.trace_hash));
            assert!(bad.is_none(), "{bad:?}");
            assert_eq!(totals.worlds, 4);
            hashes
        };
        assert_eq!(hashes(1), hashes(2));
    }
}
