//! Peers that mean no good: they are cut, and nobody else notices.

use ashlar_primitives::{
    BlockId, Header, Transaction,
    wire::{Answer, Request},
};
use ashlar_testkit::builder::{Chain, Plan, genesis, lock, output};

use super::world::{Cut, World, honest_answer, is_bodies, is_headers};
use crate::{Notice, Offence, limits::BAN_MS};

fn scene(blocks: usize) -> (World, Chain, BlockId, usize) {
    let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000)]));
    let tip = chain.extend_by(&chain.genesis_id(), blocks);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    (world, chain, tip, node)
}

/// After the culprit is gone, an honest peer brings the node to the tip.
fn recovers(world: &mut World, node: usize, chain: &Chain, tip: &BlockId) {
    world.nodes[node].asked.clear();
    world.hand_at(node, chain, tip);
    world.serve(node, chain, tip);
    assert_eq!(world.tip(node), *tip);
}

#[test]
fn a_header_that_breaks_a_rule_cuts_and_bans() {
    let (mut world, mut chain, tip, node) = scene(3);
    let good = chain.extend(&tip, Plan::default());
    let bad = Header { bits: 0x207f_fffe, ..*good.header() };
    let peer = world.hand_at(node, &chain, &good.id());
    let (id, request) = world.take_asked(node, is_headers);
    let Answer::Headers(mut headers) = honest_answer(&chain, &tip, &request) else { panic!() };
    headers.push(ashlar_testkit::builder::solve(bad));
    world.answer(node, id, Answer::Headers(headers));
    let cut = Cut { peer, offence: Offence::InvalidHeader, ban_ms: Some(BAN_MS) };
    assert_eq!(world.nodes[node].cuts, [cut]);
    recovers(&mut world, node, &chain, &good.id());
}

#[test]
fn headers_that_hang_together_with_nothing_are_no_answer() {
    let (mut world, mut chain, tip, node) = scene(3);
    let branch = chain.branch(&tip);
    let gap = vec![*branch[0].header(), *branch[2].header()];
    let nowhere = vec![*branch[1].header()];
    for headers in [gap, nowhere] {
        world.hand_at(node, &chain, &tip);
        let (id, _) = world.take_asked(node, is_headers);
        world.answer(node, id, Answer::Headers(headers));
        assert_eq!(world.offences(node).last(), Some(&Offence::WrongAnswer));
    }
    let tip = chain.extend(&tip, Plan::default()).id();
    recovers(&mut world, node, &chain, &tip);
}

#[test]
fn bodies_that_are_no_prefix_of_what_was_asked_are_no_answer() {
    let (mut world, chain, tip, node) = scene(4);
    world.hand_at(node, &chain, &tip);
    let (id, request) = world.take_asked(node, is_headers);
    world.answer(node, id, honest_answer(&chain, &tip, &request));
    let (id, request) = world.take_asked(node, is_bodies);
    let Answer::Blocks(mut blocks) = honest_answer(&chain, &tip, &request) else { panic!() };
    blocks.swap(0, 1);
    world.answer(node, id, Answer::Blocks(blocks));
    assert_eq!(world.offences(node), [Offence::WrongAnswer]);
    recovers(&mut world, node, &chain, &tip);
}

#[test]
fn a_prefix_is_enough_and_the_rest_is_asked_again() {
    let (mut world, chain, tip, node) = scene(4);
    world.hand_at(node, &chain, &tip);
    let (id, request) = world.take_asked(node, is_headers);
    world.answer(node, id, honest_answer(&chain, &tip, &request));
    let (id, request) = world.take_asked(node, is_bodies);
    let Answer::Blocks(mut blocks) = honest_answer(&chain, &tip, &request) else { panic!() };
    blocks.truncate(1);
    world.answer(node, id, Answer::Blocks(blocks));
    world.serve(node, &chain, &tip);
    assert_eq!(world.tip(node), tip);
    assert!(world.offences(node).is_empty());
}

#[test]
fn an_invalid_block_deep_in_a_longer_chain_leaves_the_honest_one() {
    let (mut world, mut chain, fork, node) = scene(5);
    let honest = chain.extend_by(&fork, 3);
    let bad = chain.spoiled(&fork, Plan::default(), |block| {
        block.coinbase.outputs = vec![output(lock(9), 600_000_000)];
    });
    let bad = chain.adopt_unjudged(bad).id();
    let mut longer = bad;
    for _ in 0..6 {
        longer = chain.extend_unjudged(&longer);
    }
    let liar = world.hand_at(node, &chain, &longer);
    world.serve(node, &chain, &longer);
    assert_eq!(world.tip(node), fork);
    let cut = Cut { peer: liar, offence: Offence::InvalidChain, ban_ms: Some(BAN_MS) };
    assert_eq!(world.nodes[node].cuts, [cut]);
    let code = "coinbase-overpays";
    assert!(world.nodes[node].notices.contains(&Notice::BlockInvalid { id: bad, code }));
    recovers(&mut world, node, &chain, &honest);
    // Whoever comes with it again is not followed.
    let other = world.hand_at(node, &chain, &longer);
    world.serve(node, &chain, &longer);
    assert_eq!(world.tip(node), honest);
    assert!(world.score(node, other).is_none_or(|score| score <= 20));
}

#[test]
fn an_answer_of_another_kind_is_wrong() {
    let (mut world, chain, tip, node) = scene(2);
    world.hand_at(node, &chain, &tip);
    let (id, _) = world.take_asked(node, is_headers);
    world.answer(node, id, Answer::Transactions(Vec::<Transaction>::new()));
    assert_eq!(world.offences(node), [Offence::WrongAnswer]);
    recovers(&mut world, node, &chain, &tip);
}

#[test]
fn a_peer_that_never_answers_is_cut_and_not_banned() {
    let (mut world, chain, tip, node) = scene(2);
    let peer = world.hand_at(node, &chain, &tip);
    world.advance(240_000);
    let cut = Cut { peer, offence: Offence::Unresponsive, ban_ms: None };
    assert_eq!(world.nodes[node].cuts, [cut]);
    recovers(&mut world, node, &chain, &tip);
}

#[test]
fn a_flood_of_questions_is_refused_before_it_costs_much() {
    let (mut world, chain, tip, node) = scene(2);
    world.feed(node, &chain.branch(&tip));
    let peer = world.hand_at(node, &chain, &tip);
    let other = world.hand_at(node, &chain, &tip);
    let mut refused = 0;
    for _ in 0..10_050 {
        let ids = vec![BlockId([1; 32])];
        refused += usize::from(world.ask(node, peer, Request::Blocks { ids }).is_none());
    }
    assert_eq!(refused, 50);
    assert_eq!(world.score(node, peer), Some(50));
    let ids = vec![tip];
    assert!(world.ask(node, other, Request::Blocks { ids }).is_some());
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let (mut chain, mut world) = (Chain::new(genesis(&[(lock(1), 1_000_000)])), World::new());
        let nodes = [(); 3].map(|()| world.add(chain.genesis()));
        world.connect(nodes[0], nodes[1]);
        world.connect(nodes[1], nodes[2]);
        let mut tip = chain.genesis_id();
        for round in 0..6_usize {
            let payment = chain.pay(&tip, 1, lock(2), 100, 1_000);
            world.submit(nodes[round % 3], std::slice::from_ref(&payment));
            world.advance(1_000);
            let block = chain.extend(&tip, Plan::of(vec![payment]));
            tip = block.id();
            world.submit_block(nodes[(round + 1) % 3], &block.to_block());
            world.advance(9_000);
        }
        world.trace
    };
    let (first, second) = (run(), run());
    assert!(first.len() > 100);
    assert_eq!(first, second);
}
