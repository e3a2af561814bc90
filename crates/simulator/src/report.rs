//! What came of a run, for people.

use std::{collections::BTreeSet, fmt, time::Duration};

use ashlar_engine::Offence;
use ashlar_primitives::{Amount, BlockId, Commitment};

use crate::{invariants::Violation, node::NodeId, scenario::Scenario, trace::Entry};

/// What happened in a world, counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Events delivered.
    pub events: u64,
    /// Connections that came up.
    pub connections: u64,
    /// Gossip that was new to the node at which it arrived, so that it had to judge it.
    pub gossip_judged: u64,
    /// Gossip that the node had heard before.
    pub gossip_repeated: u64,
    /// Bytes of all gossip that arrived.
    pub gossip_bytes: u64,
    /// Processes that began again.
    pub restarts: u64,
    /// Nodes that stopped because their disk failed.
    pub stops: u64,
    /// Of those, whose disk came back as it was.
    pub mended: u64,
    /// Of those, whose data was damaged and made anew from the stored blocks.
    pub reindexed: u64,
    /// Of those, which had to begin with an empty disk.
    pub resynced: u64,
    /// Messages that villains sent.
    pub villain_messages: u64,
    /// The rules and policies for which something was refused.
    pub codes: BTreeSet<&'static str>,
    /// For what nodes cut peers.
    pub offences: BTreeSet<Offence>,
    /// Requests made.
    pub requests: u64,
    /// Requests that ended without an answer.
    pub requests_failed: u64,
    /// Jobs done.
    pub jobs: u64,
    /// Blocks that miners handed in.
    pub blocks_found: u64,
    /// Payments that a node took from a wallet.
    pub payments_accepted: u64,
    /// Accepted payments that still wait at the end.
    pub payments_waiting: u64,
    /// Accepted payments that were undone, with more others than one cluster holds, and dropped.
    pub payments_forgotten: u64,
    /// Payments that it did not take, for reasons that are nobody's fault.
    pub payments_refused: u64,
    /// Reorganisations that a node went through.
    pub reorganisations: u64,
    /// Blocks undone by the deepest of them.
    pub deepest_reorganisation: u32,
    /// From a block's first becoming a tip to its becoming another node's tip.
    pub spreading: Vec<Duration>,
}

impl Tally {
    /// The span that a share of all, in hundredths, does not exceed.
    fn spreading_percentile(&self, hundredths: usize) -> Duration {
        let mut sorted = self.spreading.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * hundredths / 100).min(sorted.len().saturating_sub(1));
        sorted.get(place).copied().unwrap_or_default()
    }
}

/// A world that kept all promises.
#[derive(Clone, Debug)]
pub struct Report {
    /// What kind of world it was.
    pub scenario: Scenario,
    /// The tip of all nodes.
    pub tip: BlockId,
    /// Its height.
    pub height: u32,
    /// To the coins at the end.
    pub commitment: Commitment,
    /// What they are worth.
    pub supply: Amount,
    /// All fees paid on the way.
    pub fees: Amount,
    /// Payments that ended confirmed, on all nodes.
    pub payments_confirmed: u64,
    /// Over every event.
    pub trace_hash: [u8; 32],
    /// What happened, counted.
    pub tally: Tally,
}

impl Report {
    /// The trace hash in hex.
    pub fn trace_hex(&self) -> String {
        self.trace_hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// One line.
    pub fn line(&self) -> String {
        let Scenario { seed, nodes, .. } = self.scenario;
        let Tally { events, blocks_found, deepest_reorganisation, payments_accepted, .. } =
            self.tally;
        format!(
            "seed {seed}: ok, {nodes} nodes, height {height} of {blocks_found} blocks found, \
             deepest reorganisation {deepest_reorganisation}, \
             {confirmed} of {payments_accepted} payments, {events} events, trace {trace:.16}",
            height = self.height,
            confirmed = self.payments_confirmed,
            trace = self.trace_hex(),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, tally, .. } = self;
        let mut row = |name: &str, value: String| writeln!(f, "{name:<16}{value}");
        row("seed", scenario.seed.to_string())?;
        row("world", describe(scenario))?;
        for villain in &scenario.villains {
            let knows = villain.victims.len();
            row("villain", format!("a {}, who knows {knows} nodes", villain.kind.name()))?;
        }
        for fault in &scenario.faults {
            row("fault", fault.to_string())?;
        }
        row("tip", format!("{} at height {}", self.tip, self.height))?;
        row("coins", format!("{} grains, {} paid in fees", self.supply, self.fees))?;
        row("commitment", self.commitment.to_string())?;
        let Tally { blocks_found, reorganisations, deepest_reorganisation, .. } = tally;
        row(
            "blocks",
            format!(
                "{blocks_found} found, {reorganisations} reorganisations, \
                 the deepest of {deepest_reorganisation}"
            ),
        )?;
        row(
            "spreading",
            format!(
                "half of the nodes' tips follow within {:.3?}, 95 % within {:.3?}",
                tally.spreading_percentile(50),
                tally.spreading_percentile(95)
            ),
        )?;
        row(
            "payments",
            format!(
                "{} accepted, {} confirmed everywhere, {} still wait, {} dropped by policy, \
                 {} not taken",
                tally.payments_accepted,
                self.payments_confirmed,
                tally.payments_waiting,
                tally.payments_forgotten,
                tally.payments_refused
            ),
        )?;
        row(
            "gossip",
            format!(
                "{} judged, {} heard again, {} bytes",
                tally.gossip_judged, tally.gossip_repeated, tally.gossip_bytes
            ),
        )?;
        row(
            "requests",
            format!("{} made, {} without an answer", tally.requests, tally.requests_failed),
        )?;
        row("connections", format!("{}, {} restarts", tally.connections, tally.restarts))?;
        row(
            "disks",
            format!(
                "{} nodes stopped, {} mended, {} reindexed, {} begun anew",
                tally.stops, tally.mended, tally.reindexed, tally.resynced
            ),
        )?;
        row("events", format!("{} delivered, {} jobs", tally.events, tally.jobs))?;
        row("trace", self.trace_hex())
    }
}

fn describe(scenario: &Scenario) -> String {
    let Scenario { nodes, chain, miners, wallets, timeline, .. } = scenario;
    format!(
        "{nodes} nodes, {} miners, {} wallets, a block each {:?}, {:?} long{}",
        miners.len(),
        wallets.len(),
        chain.block_interval,
        timeline.end,
        match scenario.late {
            Some(late) => format!(", {} joins after {:.0?}", late.node, late.at),
            None => String::new(),
        }
    )
}

/// A world that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// What kind of world it was; with the commit, its seed is the whole report.
    pub scenario: Scenario,
    /// When.
    pub at: Duration,
    /// Which promise.
    pub violation: Violation,
    /// Where each node stood, a line each.
    pub nodes: Vec<String>,
    /// What happened last, oldest first.
    pub recent: Vec<Entry>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, at, violation, nodes, recent } = self;
        writeln!(f, "seed {}: FAILED after {at:.6?}: {violation}", scenario.seed)?;
        writeln!(f, "world: {}", describe(scenario))?;
        for (number, villain) in scenario.villains.iter().enumerate() {
            let id = NodeId(scenario.nodes + number);
            writeln!(f, "villain: {id} is a {} of {:?}", villain.kind.name(), villain.victims)?;
        }
        for (number, fault) in scenario.faults.iter().enumerate() {
            let now = if fault.is_active(*at) { ", now" } else { "" };
            writeln!(f, "fault #{number}: {fault}{now}")?;
        }
        writeln!(f, "the nodes at that moment:")?;
        nodes.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "the last events:")?;
        recent.iter().try_for_each(|entry| writeln!(f, "{entry}"))?;
        writeln!(
            f,
            "all of it: ashlar-sim run --seed {} --trace, with the same options",
            scenario.seed
        )
    }
}

impl std::error::Error for Failure {}
