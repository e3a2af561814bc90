//! Scripted worlds: for each kind of trouble one that has it and nothing else, and what must come
//! of it. `ashlar-sim scenario` lists them, `ashlar-sim scenario NAME --explain` shows the diagram.
//!
//! All that must always hold is asserted here too, as in every world; [`Script::judge`] says
//! what else this trouble must have led to, and fails where the trouble did not come.

use std::time::Duration;

use ashlar_engine::Offence;
use ashlar_ledger::Family;

use crate::{
    disk::DiskFault,
    faults::{End, Fault, FaultKind, Way},
    node::NodeId,
    report::Report,
    scenario::{Chain, Hashpower, LinkQuality, Scenario, VillainPlan},
    villain::Kind,
};

/// How long a scripted world is, in minutes.
const MINUTES: u64 = 12;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// By which it is called.
    pub name: &'static str,
    /// What happens, with a diagram of the forks, and what must come out.
    pub explanation: &'static str,
    /// The world.
    pub scenario: fn() -> Scenario,
    expect: fn(&Report) -> Result<(), &'static str>,
}

/// Makes a script of the functions and the explanation of one name.
macro_rules! script {
    ($name:literal, $scenario:ident, $expect:expr) => {
        Script {
            name: $name,
            explanation: include_str!(concat!("scripts/", $name, ".md")),
            scenario: $scenario,
            expect: $expect,
        }
    };
}

/// All of them.
pub const SCRIPTS: [Script; 13] = [
    script!("partition", partition, |report| {
        undone(report, 5)?;
        only_silence(report)
    }),
    script!("selfish-miner", selfish_miner, |report| {
        undone(report, 2)?;
        nobody_cut(report)
    }),
    script!("majority-rewrite", majority_rewrite, |report| {
        undone(report, 4)?;
        nobody_cut(report)
    }),
    script!("withheld-bodies", withheld_bodies, |report| {
        harassed(report)?;
        grown(report)?;
        ensure(report.tally.deepest_reorganisation <= 2, "a tip was moved")?;
        ensure(report.tally.requests_failed > 0, "nobody asked for what was announced")
    }),
    script!("eclipse", eclipse, |report| {
        harassed(report)?;
        undone(report, 3)
    }),
    script!("stale-tip", stale_tip, |report| {
        harassed(report)?;
        grown(report)?;
        ensure(report.tally.deepest_reorganisation <= 2, "a tip was moved")
    }),
    script!("mutated-body", mutated_body, |report| {
        grown(report)?;
        cut_for(report, &[Offence::InvalidBody, Offence::InvalidCompact])
    }),
    script!("time-player", time_player, |report| {
        harassed(report)?;
        grown(report)?;
        // Its long branches begin a dozen blocks below the tip and more.
        ensure(report.tally.deepest_reorganisation < 12, "a long and light branch has won")
    }),
    script!("low-work-flood", low_work_flood, |report| {
        harassed(report)?;
        grown(report)?;
        ensure(report.tally.deepest_reorganisation <= 2, "a tip was moved")
    }),
    script!("invalid-branch", invalid_branch, |report| {
        harassed(report)?;
        grown(report)?;
        cut_for(report, &[Offence::InvalidBlock])
    }),
    script!("transaction-flood", transaction_flood, |report| {
        grown(report)?;
        cut_for(report, &[Offence::InvalidTransaction])
    }),
    script!("crash-in-a-reorganisation", crash_in_a_reorganisation, |report| {
        undone(report, 3)?;
        ensure(report.tally.restarts == 4, "not every node of the weaker half crashed")
    }),
    script!("failing-disks", failing_disks, |report| {
        ensure(report.tally.stops >= 3, "nodes went on with failing disks")?;
        ensure(report.tally.mended == 2, "a disk with its data did not come back as it was")?;
        ensure(report.tally.reindexed == 2, "damaged data was not made anew from blocks")?;
        grown(report)
    }),
];

impl Script {
    /// The script of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCRIPTS.iter().find(|script| script.name == name)
    }

    /// The first sentence of the explanation.
    pub fn summary(&self) -> String {
        let paragraph = self.explanation.split("\n\n").next().unwrap_or_default();
        paragraph.replace('\n', " ")
    }

    /// Whether what came out of its world, which kept all promises, is what must.
    ///
    /// # Errors
    /// What did not come out.
    pub fn judge(&self, report: &Report) -> Result<(), &'static str> {
        (self.expect)(report)
    }
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn undone(report: &Report, blocks: u32) -> Result<(), &'static str> {
    let is_deep = report.tally.deepest_reorganisation >= blocks;
    ensure(is_deep, "no reorganisation was as deep as it must be")
}

/// Half of the blocks that there was time for, at least, are on the chain, and payments in them.
fn grown(report: &Report) -> Result<(), &'static str> {
    let blocks = report.scenario.timeline.end.as_secs() / CHAIN.block_interval.as_secs();
    ensure(u64::from(report.height) > blocks / 2, "the chain did not grow")?;
    ensure(report.payments_confirmed > 20, "payments were not confirmed")
}

fn harassed(report: &Report) -> Result<(), &'static str> {
    ensure(report.tally.villain_messages > 10, "nobody did any harm")
}

fn nobody_cut(report: &Report) -> Result<(), &'static str> {
    harassed(report)?;
    ensure(report.tally.offences.is_empty(), "somebody was cut who breaks no rule")
}

fn only_silence(report: &Report) -> Result<(), &'static str> {
    let silence =
        [Offence::NoStatus, Offence::Unresponsive, Offence::WithheldBlock, Offence::Stalling];
    let mut offences = report.tally.offences.iter();
    ensure(offences.all(|it| silence.contains(it)), "somebody was cut for more than silence")
}

fn cut_for(report: &Report, offences: &[Offence]) -> Result<(), &'static str> {
    let is_cut = offences.iter().any(|offence| report.tally.offences.contains(offence));
    ensure(is_cut, "who did it was not cut for it")
}

/// The chain of all scripts, but where one says otherwise.
const CHAIN: Chain = Chain {
    block_interval: Duration::from_secs(6),
    difficulty_half_life: 0,
    max_block_bytes: 100_000,
    coinbase_maturity: 5,
    halving_interval: 100,
};

/// A world in which nothing goes wrong: quick links, a miner at each of four nodes.
fn calm(seed: u64, nodes: usize) -> Scenario {
    let millis = Duration::from_millis;
    let drawn = Scenario::draw(seed, Some(nodes), Some(MINUTES));
    Scenario {
        chain: CHAIN,
        links: LinkQuality {
            least: millis(5),
            most: millis(80),
            jitter: millis(5),
            loss_per_mille: 0,
            reorder_per_mille: 0,
            repeat_per_mille: 0,
            uplink_least: 5_000_000,
            uplink_most: 5_000_000,
        },
        outbound: 4,
        miners: [(0, 2), (1, 3), (2, 3), (4, 2)]
            .map(|(node, weight)| Hashpower { node: NodeId(node), weight })
            .to_vec(),
        wallets: (0..4).map(NodeId).collect(),
        payment_interval: Duration::from_secs(10),
        faults: Vec::new(),
        villains: Vec::new(),
        late: None,
        timeline: crate::scenario::Timeline::of(drawn.timeline.end, CHAIN.block_interval),
        ..drawn
    }
}

/// From one second to another.
fn fault(from: u64, until: u64, kind: FaultKind) -> Fault {
    Fault { from: Duration::from_secs(from), until: Duration::from_secs(until), kind }
}

fn cut(from: u64, until: u64, far: Vec<bool>) -> Fault {
    fault(from, until, FaultKind::Cut { far, way: Way::Both, silent: true })
}

/// Five nodes, all known to somebody who does harm.
fn harmed(seed: u64, kind: Kind) -> Scenario {
    let victims = (0..5).map(NodeId).collect();
    Scenario { villains: vec![VillainPlan { kind, victims }], ..calm(seed, 5) }
}

#[doc = include_str!("scripts/partition.md")]
pub fn partition() -> Scenario {
    let far = (0..6).map(|node| node % 3 == 0).collect();
    Scenario { faults: vec![cut(180, 420, far)], ..calm(20, 6) }
}

#[doc = include_str!("scripts/selfish-miner.md")]
pub fn selfish_miner() -> Scenario {
    harmed(30, Kind::SelfishMiner)
}

#[doc = include_str!("scripts/majority-rewrite.md")]
pub fn majority_rewrite() -> Scenario {
    harmed(3, Kind::Rewriter)
}

#[doc = include_str!("scripts/withheld-bodies.md")]
pub fn withheld_bodies() -> Scenario {
    harmed(4, Kind::Withholder)
}

#[doc = include_str!("scripts/eclipse.md")]
pub fn eclipse() -> Scenario {
    let (nodes, victim, ring) = (6, NodeId(5), 6);
    let far = (0..=ring).map(|place| place == victim.0 || place == ring).collect();
    Scenario {
        faults: vec![cut(120, 480, far)],
        villains: vec![VillainPlan { kind: Kind::EclipseRing, victims: vec![victim] }],
        ..calm(5, nodes)
    }
}

#[doc = include_str!("scripts/stale-tip.md")]
pub fn stale_tip() -> Scenario {
    harmed(6, Kind::StaleTipLiar)
}

#[doc = include_str!("scripts/mutated-body.md")]
pub fn mutated_body() -> Scenario {
    harmed(7, Kind::Mutator)
}

#[doc = include_str!("scripts/time-player.md")]
pub fn time_player() -> Scenario {
    let mut scenario = harmed(8, Kind::TimestampPlayer);
    scenario.chain.difficulty_half_life = 1_800;
    scenario
}

#[doc = include_str!("scripts/low-work-flood.md")]
pub fn low_work_flood() -> Scenario {
    harmed(9, Kind::LowWorkFlooder)
}

#[doc = include_str!("scripts/invalid-branch.md")]
pub fn invalid_branch() -> Scenario {
    harmed(10, Kind::InvalidMiner)
}

#[doc = include_str!("scripts/transaction-flood.md")]
pub fn transaction_flood() -> Scenario {
    harmed(11, Kind::TransactionFlooder)
}

#[doc = include_str!("scripts/crash-in-a-reorganisation.md")]
pub fn crash_in_a_reorganisation() -> Scenario {
    const HEALS: u64 = 420;
    let calm = calm(12, 8);
    let far = (0..8).map(|node| node >= 4).collect();
    let mut faults = vec![cut(180, HEALS, far)];
    faults.extend((4..8).zip(1..).map(|(node, later)| {
        let kind = FaultKind::Down { node: NodeId(node), end: End::PowerCut { lost: usize::MAX } };
        fault(HEALS + 2 * later, HEALS + 2 * later + 20, kind)
    }));
    Scenario { faults, ..calm }
}

#[doc = include_str!("scripts/failing-disks.md")]
pub fn failing_disks() -> Scenario {
    let damaged = |family| DiskFault::Damaged { family, place: 40 };
    let kinds =
        [DiskFault::Full, DiskFault::Unreadable, damaged(Family::Coins), damaged(Family::Blocks)];
    let faults = (1..).zip(kinds).map(|(node, kind)| {
        let from = 60 + 100 * node;
        let node = NodeId(usize::try_from(node).unwrap_or_default());
        fault(from, from + 90, FaultKind::Disk { node, fault: kind })
    });
    Scenario { faults: faults.collect(), ..calm(21, 6) }
}
