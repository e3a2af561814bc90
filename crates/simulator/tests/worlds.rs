//! Whole worlds: what the simulator is for.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use ashlar_simulator::{
    Class, NodeId, Report, Scenario, Violation, World,
    faults::{End, Fault, FaultKind, Way},
    scenario::VillainPlan,
    villain::Kind,
};

/// The shortest world there is, in minutes.
const SHORT: u64 = 10;

/// Runs a world whose promises must all be kept; what it panics with tells the seed.
fn run(scenario: Scenario) -> Report {
    World::new(scenario, false).run().unwrap_or_else(|failure| panic!("{failure}"))
}

fn world(seed: u64, nodes: usize) -> Report {
    run(Scenario::draw(seed, Some(nodes), Some(SHORT)))
}

/// What must be alike in two runs of a seed.
fn fingerprint(report: &Report) -> impl PartialEq + std::fmt::Debug + use<> {
    (report.trace_hash, report.tip, report.commitment, report.supply, report.tally.events)
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let (first, second) = (world(1, 5), world(1, 5));
    assert_eq!(fingerprint(&first), fingerprint(&second));
    let other = world(2, 5);
    assert_ne!(first.trace_hash, other.trace_hash);
    assert_ne!(first.tip, other.tip);
}

#[test]
fn printing_changes_nothing() {
    let scenario = || Scenario::draw(3, Some(5), Some(SHORT));
    let silent = run(scenario());
    // The test harness keeps what is printed to itself.
    let printed = World::new(scenario(), true).run().unwrap();
    assert_eq!(fingerprint(&silent), fingerprint(&printed));
}

/// A block from the future made the least time of the next later than one node's clock accepts,
/// which handed out a template that it would have refused.
#[test]
fn world_1319_stays_mended() {
    run(Scenario::draw(1319, None, None));
}

/// All coins of its wallets were in some quarrel at the end, so none was left for the payment that
/// must be confirmed.
#[test]
fn world_1878_has_a_last_payment() {
    run(Scenario::draw(1878, None, None));
}

/// A fault from the third to the fifth minute.
fn fault(kind: FaultKind) -> Fault {
    Fault { from: Duration::from_secs(180), until: Duration::from_secs(300), kind }
}

/// Every third node is on the far side.
fn partition(nodes: usize, way: Way, silent: bool) -> FaultKind {
    FaultKind::Cut { far: (0..nodes).map(|node| node % 3 == 0).collect(), way, silent }
}

/// A drawn world with these faults instead of its own.
fn suffers(seed: u64, nodes: usize, kinds: Vec<FaultKind>) -> Report {
    let mut scenario = Scenario::draw(seed, Some(nodes), Some(SHORT));
    scenario.faults = kinds.into_iter().map(fault).collect();
    scenario.villains.clear();
    run(scenario)
}

/// ```text
///             ┌ a1 ── a2 ── a3            the near side, while the net is cut
/// genesis … ──┤
///             └ b1 ── b2 ── b3 ── b4 … ── all, after it healed
/// ```
#[test]
fn five_nodes_converge_after_a_partition() {
    let kind = || vec![partition(5, Way::Both, true)];
    let reports: Vec<_> = (10..14).map(|seed| suffers(seed, 5, kind())).collect();
    assert!(reports.iter().any(|report| report.tally.deepest_reorganisation > 1));
    assert!(reports.iter().all(|report| report.height > 20 && report.payments_confirmed > 0));
}

#[test]
fn twenty_nodes_converge_after_a_partition() {
    let kind = || vec![partition(20, Way::Both, false)];
    let reports: Vec<_> = (20..22).map(|seed| suffers(seed, 20, kind())).collect();
    assert!(reports.iter().any(|report| report.tally.reorganisations > 0));
    assert!(reports.iter().all(|report| report.payments_confirmed > 10));
}

#[test]
fn a_cut_that_nobody_is_told_of_and_one_that_breaks_connections() {
    for (way, silent) in [(Way::Both, false), (Way::Both, true), (Way::FromFar, true)] {
        let report = suffers(30, 7, vec![partition(7, way, silent)]);
        // Who is told nothing goes on asking over links that bring no answer.
        assert!(!silent || report.tally.requests_failed > 0);
    }
}

/// Whatever ends a process, it goes on from a state that it was in, and not from an older one
/// than it had told others.
#[test]
fn processes_that_end_in_every_way_go_on() {
    let ends = [End::Stopped, End::Killed, End::PowerCut { lost: 64 }, End::Wiped];
    for seed in 32..35 {
        let down = |(node, end)| FaultKind::Down { node: NodeId(node), end };
        let report = suffers(seed, 6, ends.into_iter().enumerate().map(down).collect());
        assert_eq!(report.tally.restarts, 4);
        assert!(report.height > 20);
    }
}

/// Each kind alone with five nodes that it knows: whatever it does, they stay on one valid chain,
/// do not blame one another, and confirm a payment when it is gone.
#[test]
fn villains_of_every_kind_are_withstood() {
    for (seed, kind) in (80..).zip(Kind::ALL) {
        let mut scenario = Scenario::draw(seed, Some(5), Some(SHORT));
        scenario.faults.clear();
        scenario.villains = vec![VillainPlan { kind, victims: (0..5).map(NodeId).collect() }];
        let report = run(scenario);
        assert!(report.tally.villain_messages > 10, "{kind:?}");
        let is_cut = !report.tally.offences.is_empty();
        let must_be_cut = matches!(kind, Kind::Mutator | Kind::InvalidMiner);
        assert!(is_cut || !must_be_cut, "{kind:?}");
    }
}

/// A node whose clock is behind refuses what comes, and takes it when its time has come; one
/// that stands still finds everything that it missed.
#[test]
fn wrong_clocks_and_pauses_are_got_over() {
    let clock = |node, by_ms| FaultKind::Clock { node: NodeId(node), by_ms };
    let pause = FaultKind::Pause { node: NodeId(2) };
    let kinds = || vec![clock(0, -3_600_000), clock(1, 60_000), pause.clone()];
    for seed in 36..39 {
        assert!(suffers(seed, 6, kinds()).height > 20);
    }
}

#[test]
fn a_node_that_comes_late_catches_up() {
    let seeds = (40..).map(|seed| Scenario::draw(seed, Some(6), Some(SHORT)));
    let scenario = seeds.into_iter().find(|scenario| scenario.late.is_some()).unwrap();
    let late = scenario.late.unwrap();
    let report = run(Scenario { villains: Vec::new(), ..scenario });
    assert!(report.height > 20, "{late:?} had nothing to catch up with");
}

#[test]
fn worlds_of_many_kinds_keep_all_promises() {
    for seed in 50..54 {
        run(Scenario::draw(seed, None, Some(SHORT)));
    }
}

/// A simulator that can't fail shows nothing: links that never heal must be noticed.
#[test]
fn a_partition_that_never_heals_is_a_broken_promise() {
    let mut scenario = Scenario::draw(60, Some(6), Some(SHORT));
    scenario.villains.clear();
    let until = scenario.timeline.end * 2;
    scenario.faults = vec![Fault { until, ..fault(partition(6, Way::Both, false)) }];
    let failure = World::new(scenario, false).run().unwrap_err();
    assert_eq!(failure.violation.class(), Class::Liveness);
    assert!(matches!(failure.violation, Violation::NotOneTip { .. }), "{failure}");
    assert!(!failure.recent.is_empty());
    let account = failure.to_string();
    for part in ["seed 60", "fault #0", "nodes at that moment", "n05", "last events", "--trace"] {
        assert!(account.contains(part), "{part} is missing:\n{account}");
    }
}
