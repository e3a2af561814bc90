//! Handshake, headers, bodies.

use ashlar_consensus::HeaderState;
use ashlar_primitives::{
    BlockId,
    wire::{Answer, Request, Status},
};
use ashlar_testkit::builder::{Chain, Plan, genesis, genesis_with, lock};
use serde_json::json;

use super::world::{World, chain_of, honest_answer, is_bodies, is_headers, status_at};
use crate::{Job, Notice, Offence, RequestFailure, call::SyncProgress};

fn has_header(world: &World, node: usize, id: &BlockId) -> bool {
    let state: Option<HeaderState> = world.nodes[node].engine.ledger().header_state(id).unwrap();
    state.is_some()
}

#[test]
fn a_fresh_node_copies_the_chain() {
    let (chain, tip) = chain_of(100);
    let mut world = World::new();
    let full = world.add(chain.genesis());
    world.feed(full, &chain.branch(&tip));
    assert_eq!(world.tip(full), tip);
    let fresh = world.add(chain.genesis());
    world.connect(fresh, full);
    assert_eq!(world.tip(fresh), tip);
    let notices = &world.nodes[fresh].notices;
    let first = SyncProgress {
        height: 0,
        target_height: 100,
        milliblocks_per_second: None,
        seconds_left: None,
    };
    assert_eq!(notices.first(), Some(&Notice::Syncing(first)));
    assert!(matches!(notices.last(), Some(Notice::Synced { .. })), "{notices:?}");
    assert!(world.offences(fresh).is_empty() && world.offences(full).is_empty());
    let status = world.sync_status(fresh);
    assert!(!status.syncing && status.blocks_in_flight == 0 && status.peers == 1);
}

#[test]
fn signatures_that_come_back_out_of_order_connect_blocks_in_order() {
    let (chain, tip) = chain_of(60);
    let mut world = World::new();
    let full = world.add(chain.genesis());
    world.feed(full, &chain.branch(&tip));
    let fresh = world.add(chain.genesis());
    world.held = Some(Vec::new());
    world.connect(fresh, full);
    let mut most = 0;
    // The job that came last is done first.
    while let Some((node, id, job)) = world.held.as_mut().and_then(Vec::pop) {
        let others = world.held.iter().flatten().map(|(_, _, job)| job);
        let verifies = |job: &Job| matches!(job, Job::VerifyBlock { .. });
        most = most.max(others.chain([&job]).filter(|job| verifies(job)).count());
        let result = job.run(&mut rand::rng());
        world.done(node, id, result);
    }
    assert_eq!(most, 2, "blocks verified at once");
    assert_eq!(world.tip(fresh), tip);
    assert!(world.offences(fresh).is_empty());
}

#[test]
fn the_listener_is_told_of_more_work_and_copies_it_too() {
    let (chain, tip) = chain_of(5);
    let mut world = World::new();
    let (fresh, full) = (world.add(chain.genesis()), world.add(chain.genesis()));
    world.feed(full, &chain.branch(&tip));
    world.connect(full, fresh);
    assert_eq!(world.tip(fresh), tip);
}

#[test]
fn a_chain_passes_through_a_node_that_had_to_copy_it_itself() {
    let (chain, tip) = chain_of(60);
    let mut world = World::new();
    let [full, middle, last] = [(); 3].map(|()| world.add(chain.genesis()));
    world.feed(full, &chain.branch(&tip));
    world.connect(last, middle);
    world.connect(middle, full);
    assert_eq!(world.tip(middle), tip);
    // What does not travel by gossip travels by status: pushed, or asked for in the silence.
    world.advance(10_000);
    assert_eq!(world.tip(last), tip);
}

#[test]
fn two_branches_meet_on_the_one_with_more_work() {
    let (mut chain, fork) = chain_of(30);
    let long = chain.extend_by(&fork, 9);
    let short = chain.extend_by(&fork, 7);
    let mut world = World::new();
    let (a, b) = (world.add(chain.genesis()), world.add(chain.genesis()));
    world.feed(a, &chain.branch(&short));
    world.feed(b, &chain.branch(&long));
    world.connect(a, b);
    assert_eq!((world.tip(a), world.tip(b)), (long, long));
    let (disconnected, connected) = world.nodes[a].tips.last().unwrap();
    assert_eq!((disconnected.len(), connected.len()), (7, 9));
    assert!(world.nodes[a].notices.contains(&Notice::Reorganised {
        depth: 7,
        old_tip: short,
        new_tip: long,
        is_deep: true,
    }));
}

#[test]
fn a_peer_of_another_chain_is_cut_and_not_banned() {
    let (chain, _) = chain_of(0);
    let other = genesis_with(&[(lock(1), 1_000_000)], &[("message", json!("another"))]);
    let mut world = World::new();
    let (a, b) = (world.add(chain.genesis()), world.add(&other));
    let (peer, _) = world.connect(a, b);
    for node in [a, b] {
        let [cut] = world.nodes[node].cuts.as_slice() else { panic!("one cut each") };
        assert_eq!((cut.offence, cut.ban_ms), (Offence::OtherChain, None));
    }
    let chain_id = other.params().chain_id;
    let notice = &world.nodes[a].notices[0];
    let address = format!("/test/{}", peer.0);
    assert_eq!(*notice, Notice::PeerOfOtherChain { peer, address, chain_id });
}

#[test]
fn nothing_is_answered_before_status() {
    let (chain, _) = chain_of(3);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    // The listener waits for the dialler's question.
    let peer = world.hand_that_dialled(node);
    assert!(world.nodes[node].asked.is_empty());
    assert_eq!(world.ask(node, peer, Request::Mempool), None);
    assert_eq!(world.score(node, peer), Some(20));
    let status = status_at(&chain, &chain.genesis_id());
    let answer = world.ask(node, peer, Request::Status(status));
    assert!(matches!(answer, Some(Answer::Status(_))));
    assert_eq!(world.ask(node, peer, Request::Mempool), Some(Answer::Mempool(Vec::new())));
    // Who never answers our own question, which follows at once, is cut.
    assert!(world.has_asked(node, |request| matches!(request, Request::Status(_))));
    world.advance(20_000);
    assert_eq!(world.offences(node), [Offence::NoStatus]);
}

#[test]
fn a_status_that_contradicts_itself_is_not_believed() {
    let (chain, tip) = chain_of(3);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    world.hand(node);
    let (id, _) = world.take_asked(node, |request| matches!(request, Request::Status(_)));
    let status = Status { height: 0, ..status_at(&chain, &tip) };
    world.answer(node, id, Answer::Status(status));
    assert_eq!(world.offences(node), [Offence::BadStatus]);
}

#[test]
fn bodies_are_asked_of_another_when_one_is_silent() {
    let (chain, tip) = chain_of(40);
    let mut world = World::new();
    let [silent, good, fresh] = [(); 3].map(|()| world.add(chain.genesis()));
    for node in [silent, good] {
        world.feed(node, &chain.branch(&tip));
    }
    world.mute.insert(silent);
    world.connect(fresh, silent);
    assert_eq!(world.tip(fresh), chain.genesis_id());
    world.connect(fresh, good);
    // What the silent one was asked for stays with it for a second, for the other one is fast.
    world.advance(900);
    assert_ne!(world.tip(fresh), tip);
    world.advance(100);
    assert_eq!(world.tip(fresh), tip);
    assert!(world.offences(fresh).is_empty());
}

#[test]
fn what_a_lost_peer_was_asked_for_is_asked_of_another() {
    let (chain, tip) = chain_of(12);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    let first = world.hand_at(node, &chain, &tip);
    let (id, request) = world.take_asked(node, is_headers);
    world.answer(node, id, honest_answer(&chain, &tip, &request));
    assert!(world.has_asked(node, is_bodies));
    world.nodes[node].asked.clear();
    let second = world.hand_at(node, &chain, &tip);
    assert_eq!(world.sync_status(node).blocks_in_flight, 12);
    world.lose(node, first);
    assert!(
        world.nodes[node]
            .asked
            .iter()
            .any(|(_, peer, request)| { *peer == second && is_bodies(request) })
    );
    world.serve(node, &chain, &tip);
    assert_eq!(world.tip(node), tip);
}

#[test]
fn a_failed_request_is_made_elsewhere() {
    let (chain, tip) = chain_of(3);
    for failure in [RequestFailure::Timeout, RequestFailure::Closed, RequestFailure::Malformed] {
        let mut world = World::new();
        let node = world.add(chain.genesis());
        let first = world.hand_at(node, &chain, &tip);
        let (id, _) = world.take_asked(node, is_headers);
        world.hand_at(node, &chain, &tip);
        world.fail(node, id, failure);
        world.serve(node, &chain, &tip);
        assert_eq!(world.tip(node), tip, "{failure:?}");
        let is_cut = world.nodes[node].cuts.iter().any(|cut| cut.peer == first);
        assert_eq!(is_cut, failure == RequestFailure::Malformed);
    }
}

#[test]
fn a_liar_about_work_holds_nobody_up() {
    let (chain, tip) = chain_of(8);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    world.hand(node);
    let (id, _) = world.take_asked(node, |request| matches!(request, Request::Status(_)));
    let lie = Status { work: [0x7f; 32], ..status_at(&chain, &tip) };
    world.answer(node, id, Answer::Status(lie));
    // It leads, for it claims the most; it has nothing, and the next one leads.
    let (id, _) = world.take_asked(node, is_headers);
    world.answer(node, id, Answer::Headers(Vec::new()));
    world.hand_at(node, &chain, &tip);
    world.serve(node, &chain, &tip);
    assert_eq!(world.tip(node), tip);
}

#[test]
fn a_silent_leader_is_joined_by_another() {
    let (chain, tip) = chain_of(8);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    world.hand_at(node, &chain, &tip);
    let (silent, _) = world.take_asked(node, is_headers);
    world.hand_at(node, &chain, &tip);
    assert!(!world.has_asked(node, is_headers));
    world.advance(3_000);
    world.serve(node, &chain, &tip);
    assert_eq!(world.tip(node), tip);
    // An answer that comes after all does no harm.
    world.answer(node, silent, Answer::Headers(Vec::new()));
    assert!(world.offences(node).is_empty());
}

#[test]
fn headers_from_the_future_are_nobodys_fault_and_come_again() {
    let mut chain = Chain::new(genesis(&[]));
    // The world's clock stands 100,000 s after the genesis block; 7,200 s ahead are allowed.
    let time = chain.genesis().params().time + 110_000;
    let near = chain.extend_by(&chain.genesis_id(), 2);
    let far = chain.extend(&near, Plan { time: Some(time), ..Plan::default() }).id();
    let mut world = World::new();
    let node = world.add(chain.genesis());
    world.hand_at(node, &chain, &far);
    world.serve(node, &chain, &far);
    assert_eq!(world.tip(node), near);
    let behind = |notice: &&Notice| matches!(notice, Notice::ClockBehind { .. });
    assert_eq!(world.nodes[node].notices.iter().filter(behind).count(), 1);
    for _ in 0..290 {
        world.advance(10_000);
        world.serve(node, &chain, &far);
    }
    assert_eq!(world.tip(node), far);
    assert!(world.offences(node).is_empty());
}

#[test]
fn a_branch_below_the_bar_is_walked_twice_before_it_is_stored() {
    let (chain, tip) = chain_of(4_500);
    let branch = chain.branch(&tip);
    let bar = chain.state(&branch[4_200].id()).header.work;
    let mut world = World::new();
    let (full, fresh) = (world.add(chain.genesis()), world.add_with(chain.genesis(), bar));
    world.feed(full, &branch);
    world.connect(fresh, full);
    assert_eq!(world.tip(fresh), tip);

    // One that never reaches it is never stored.
    let low = world.add_with(chain.genesis(), bar);
    let short = branch[4_100].id();
    world.hand_at(low, &chain, &short);
    world.serve(low, &chain, &short);
    assert!(!has_header(&world, low, &branch[0].id()));
    assert!(world.offences(low).is_empty());
}

#[test]
fn a_second_pass_that_tells_another_branch_stores_nothing() {
    let (mut chain, tip) = chain_of(2_400);
    let bar = chain.state(&tip).header.work;
    let other = chain.extend_by(&chain.genesis_id(), 2_400);
    let mut world = World::new();
    let node = world.add_with(chain.genesis(), bar);
    world.hand_at(node, &chain, &tip);
    let mut answered = 0;
    while world.has_asked(node, is_headers) {
        let (id, request) = world.take_asked(node, is_headers);
        // Two answers make a pass.
        let told = if answered < 2 { tip } else { other };
        answered += 1;
        world.answer(node, id, honest_answer(&chain, &told, &request));
    }
    assert_eq!(answered, 3);
    for branch in [tip, other] {
        assert!(!has_header(&world, node, &chain.branch(&branch)[0].id()));
    }
}

#[test]
fn in_the_silence_of_gossip_peers_are_asked_how_far_they_are() {
    let (chain, tip) = chain_of(3);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    for _ in 0..5 {
        world.hand_at(node, &chain, &chain.genesis_id());
    }
    world.nodes[node].asked.clear();
    world.advance(8_000);
    let is_status = |request: &Request| matches!(request, Request::Status(_));
    assert!(!world.has_asked(node, is_status));
    world.advance(2_000);
    let asked = world.nodes[node].asked.iter().filter(|(_, _, request)| is_status(request));
    assert_eq!(asked.count(), 2);
    world.serve(node, &chain, &tip);
    assert_eq!(world.tip(node), tip);
}

#[test]
fn below_the_minimum_work_a_node_is_catching_up() {
    let (chain, tip) = chain_of(10);
    let branch = chain.branch(&tip);
    let enough = chain.state(&branch[7].id()).header.work;
    let mut world = World::new();
    let node = world.add_with(chain.genesis(), enough);
    world.advance(1);
    assert!(world.sync_status(node).syncing, "it has nothing, and nobody told it of anything");
    let peer = world.hand_at(node, &chain, &branch[6].id());
    world.serve(node, &chain, &branch[6].id());
    assert_eq!(world.tip(node), chain.genesis_id(), "a chain with too little is not its chain");
    world.lose(node, peer);
    world.hand_at(node, &chain, &tip);
    world.serve(node, &chain, &tip);
    assert_eq!(world.tip(node), tip);
    assert!(!world.sync_status(node).syncing);
    assert!(matches!(world.nodes[node].notices.last(), Some(Notice::Synced { .. })));
}
