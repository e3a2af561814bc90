//! The excuses of a world, each from both sides: what it excuses, and what is next to that.
#![allow(clippy::unwrap_used, reason = "tests")]

use ashlar_engine::{Answer, Offence, Output, Verdict, call::AnswerBody};
use ashlar_ledger::StoreError;

use super::*;
use crate::{
    disk::DiskFault,
    faults::{End, Fault, FaultKind},
    scenario::VillainPlan,
    villain::Kind,
};

/// A node of honest peers, and what goes wrong with it from the first minute to the second.
const NODE: NodeId = NodeId(1);
const FROM: Duration = Duration::from_secs(60);
const UNTIL: Duration = Duration::from_secs(120);

impl World {
    /// Five nodes that have mined and talked until `now`, and a villain who knows them.
    fn at(now: Duration, faults: Vec<FaultKind>) -> Self {
        let mut scenario = Scenario::draw(7, Some(5), Some(10));
        let fault = |kind| Fault { from: FROM, until: UNTIL, kind };
        scenario.faults = faults.into_iter().map(fault).collect();
        scenario.villains =
            vec![VillainPlan { kind: Kind::SelfishMiner, victims: (0..5).map(NodeId).collect() }];
        scenario.late = None;
        let mut world = Self::new(scenario, false);
        while let Some((at, event)) = world.queue.pop() {
            if at > now {
                break;
            }
            world.now = at;
            world.deliver(event).or_else(|violation| world.stops(violation)).unwrap();
        }
        world.now = now;
        world
    }

    /// A connection of the node to an honest one, or to the villain.
    fn peer(&self, villain: bool) -> Peer {
        let mut peers = self.nodes[NODE.0].peers.iter().copied();
        let other = |peer| self.links.other_end(peer, NODE).unwrap();
        peers.find(|peer| self.is_villain(other(*peer)) == villain).unwrap()
    }

    fn cut(&mut self, villain: bool, offence: Offence) -> Result<(), Violation> {
        let peer = self.peer(villain);
        self.perform(NODE, Output::Cut { peer, offence, reason: String::new(), ban_ms: None })
    }
}

fn full() -> StoreError {
    StoreError::Io { doing: "writing", message: "no space left on device".into() }
}

fn clog(node: NodeId) -> Vec<FaultKind> {
    vec![FaultKind::Clog { node, delay: Duration::from_millis(600) }]
}

#[test]
fn an_honest_peer_may_be_cut_for_silence_within_a_minute_of_trouble() {
    let second = Duration::from_secs(1);
    // Nothing was ever wrong.
    let mut world = World::at(UNTIL, Vec::new());
    let violation = world.cut(false, Offence::Unresponsive).unwrap_err();
    assert!(matches!(violation, Violation::HonestPeerCut { .. }), "{violation}");
    world.cut(true, Offence::Unresponsive).unwrap();
    // Something was, at this node, up to a minute ago.
    let late = UNTIL + Duration::from_secs(60);
    World::at(late, clog(NODE)).cut(false, Offence::Unresponsive).unwrap();
    let too_late = World::at(late + second, clog(NODE)).cut(false, Offence::Unresponsive);
    assert!(matches!(too_late, Err(Violation::HonestPeerCut { .. })));
    // Trouble excuses no more than silence.
    let blamed = World::at(late, clog(NODE)).cut(false, Offence::InvalidBlock);
    assert!(matches!(blamed, Err(Violation::HonestPeerCut { .. })));
    // Nor does the trouble of somebody else.
    let mut world = World::at(late, Vec::new());
    let other = world.links.other_end(world.peer(false), NODE).unwrap();
    let third = (0..5).map(NodeId).find(|it| ![NODE, other].contains(it)).unwrap();
    world = World::at(late, clog(third));
    let peers = world.nodes[NODE.0].peers.clone();
    let to_other = |peer: &&Peer| world.links.other_end(**peer, NODE) == Some(other);
    let peer = *peers.iter().find(to_other).unwrap();
    assert!(!world.was_troubled_lately(peer));
}

#[test]
fn only_a_villains_message_may_be_rejected() {
    let mut world = World::at(UNTIL, Vec::new());
    for (villain, is_excused) in [(true, true), (false, false)] {
        let (peer, now) = (world.peer(villain), world.now);
        let ticket = world.node(NODE).issue_ticket([1; 32], peer, now);
        let verdict = world.perform(NODE, Output::Verdict(ticket, Verdict::Reject));
        assert_eq!(verdict.is_ok(), is_excused);
    }
}

#[test]
fn an_answer_may_be_missing_where_something_was_wrong_since_it_was_asked() {
    for (faults, asked_at, is_excused) in [
        (Vec::new(), UNTIL, false),
        (clog(NODE), UNTIL, true),
        (clog(NODE), UNTIL + Duration::from_millis(1), false),
    ] {
        let mut world = World::at(UNTIL + Duration::from_secs(10), faults);
        let (peer, id) = (world.peer(false), RequestId(u64::MAX));
        assert!(world.node(NODE).ask(id, peer, asked_at));
        let ended = world.request_deadline(NODE, id);
        let is_blamed = matches!(ended, Err(Violation::NoAnswer { .. }));
        assert_eq!((ended.is_ok(), is_blamed), (is_excused, !is_excused));
    }
}

/// A payment that a node took may be gone where its mempool may have lost it.
#[test]
fn only_a_forgetful_node_may_forget_a_payment() {
    let mut world = World::at(UNTIL, Vec::new());
    for is_forgetful in [true, false] {
        world.forgetful = is_forgetful.then_some(NODE).into_iter().collect();
        let errand = Errand::Inquiry(Txid::ZERO);
        let (call, _) = world.node(NODE).call(errand, Call::MempoolTransaction(Txid::ZERO));
        let view = world.node(NODE).view().unwrap();
        let (tip, height) = (view.tip().id, view.tip().height);
        let body = AnswerBody::MempoolTransaction(None);
        let reply = world.perform(NODE, Output::Reply(call, Ok(Answer { tip, height, body })));
        let is_blamed = matches!(reply, Err(Violation::PaymentForgotten { .. }));
        assert_eq!(is_blamed, !is_forgetful);
    }
    // Who goes down or has a small mempool is, and after too much was undone at once who was there.
    let down = FaultKind::Down { node: NODE, end: End::Killed };
    assert!(World::at(Duration::ZERO, vec![down]).forgetful.contains(&NODE));
    let disk = FaultKind::Disk { node: NODE, fault: DiskFault::Full };
    assert!(World::at(Duration::ZERO, vec![disk]).forgetful.contains(&NODE));
    let usual = ashlar_mempool::Limits::default().max_bytes;
    let world = World::at(Duration::ZERO, vec![FaultKind::Pause { node: NODE }]);
    for node in &world.nodes {
        let is_small = node.mempool_limits().max_bytes < usual;
        assert_eq!(world.forgetful.contains(&node.id), is_small);
    }
}

#[test]
fn an_error_of_storage_is_excused_by_a_failing_disk_of_its_kind_and_while_it_fails() {
    let disk = |fault| vec![FaultKind::Disk { node: NODE, fault }];
    let during = UNTIL - Duration::from_millis(1);
    let error = |node, error| Violation::Store { node, error };
    // A node that has stopped already by then is no less excused.
    let mut world = World::at(during, disk(DiskFault::Full));
    world.stops(error(NODE, full())).unwrap();
    assert!(!world.node(NODE).is_up() && world.tally.stops > 0);
    let corrupt = StoreError::Corrupt { what: String::new() };
    let mut world = World::at(during, disk(DiskFault::Full));
    assert!(world.stops(error(NODE, corrupt)).is_err(), "another kind");
    assert!(world.stops(error(NodeId(2), full())).is_err(), "another node");
    let mut world = World::at(UNTIL, disk(DiskFault::Full));
    assert!(world.stops(error(NODE, full())).is_err(), "it has recovered");
    let mut world = World::at(during, Vec::new());
    assert!(world.stops(error(NODE, full())).is_err(), "nothing was wrong");
    assert!(world.stops(Violation::NoProbe).is_err());
}

/// With an empty disk a node may begin below what it had announced, and only then.
#[test]
fn only_a_lost_disk_excuses_less_work() {
    for has_less in [true, false] {
        let mut world = World::at(UNTIL, Vec::new());
        assert!(world.node(NODE).view().unwrap().tip().height > 0);
        world.close_all(NODE, End::Wiped);
        world.node(NODE).stop(End::Wiped).unwrap();
        let begun = world.comes_up(NODE, has_less);
        let is_blamed = matches!(begun, Err(Violation::FellBack { .. }));
        assert_eq!((begun.is_ok(), is_blamed), (has_less, !has_less));
    }
}
