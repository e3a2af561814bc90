//! Nodes that keep only the newest blocks: what they promise, serve and are asked for.

use ashlar_consensus::Work;
use ashlar_primitives::{
    BlockId, Encode as _,
    wire::{Answer, Request, Status},
};
use ashlar_testkit::builder::{Chain, genesis_with, lock};
use serde_json::json;

use super::world::{World, is_bodies, status_at};
use crate::{
    Notice,
    call::{Call, CallError, Warning},
};

/// Blocks every ten minutes: nodes keep 288.
fn slow_chain(blocks: usize) -> (Chain, BlockId) {
    let changes = [("block_interval", json!(600))];
    let mut chain = Chain::new(genesis_with(&[(lock(1), 1_000_000)], &changes));
    let tip = chain.extend_by(&chain.genesis_id(), blocks);
    (chain, tip)
}

/// After all blocks of these chains.
fn late_world() -> World {
    let mut world = World::new();
    world.now.unix_ms += 600 * 1_000 * 1_000;
    world
}

fn services(world: &World, node: usize) -> u32 {
    world.nodes[node].engine.services()
}

const BOTH: u32 = Status::ALL_BODIES | Status::RECENT_BODIES;

#[test]
fn a_pruned_node_serves_what_it_has_and_says_what_that_is() {
    let (chain, tip) = slow_chain(300);
    let blocks = chain.branch(&tip);
    let mut world = late_world();
    let node = world.add_pruned(chain.genesis());
    let hand = world.hand_at(node, &chain, &chain.genesis_id());
    world.feed(node, &blocks[..288]);
    assert_eq!(services(&world, node), BOTH);
    world.nodes[node].asked.clear();
    world.feed(node, &blocks[288..]);
    assert_eq!(world.nodes[node].engine.view.history().start, 13);
    assert_eq!(services(&world, node), Status::RECENT_BODIES);
    // Those connected were told as soon as it changed.
    let (_, told) = world.take_asked(
        node,
        |request| matches!(request, Request::Status(status) if status.services == Status::RECENT_BODIES),
    );
    let Request::Status(told) = told else { panic!("{told:?}") };
    assert_eq!(told.height, 289);

    let mut ask = |ids: Vec<BlockId>| match world.ask(node, hand, Request::Blocks { ids }) {
        Some(Answer::Blocks(found)) => found.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(vec![blocks[0].id()]), 0);
    assert_eq!(ask(vec![blocks[12].id(), blocks[13].id()]), 2);
    assert_eq!(ask(vec![blocks[299].id(), blocks[3].id()]), 1);

    let refused = world.call(node, Call::InvalidateBlock(blocks[11].id()));
    let error = CallError::Pruned { block: blocks[11].id(), history_start: 13 };
    assert_eq!(refused.unwrap_err(), error);
    assert_eq!(world.tip(node), tip);
}

#[test]
fn an_order_to_prune_is_answered_when_it_is_done() {
    let (chain, tip) = slow_chain(300);
    let mut world = late_world();
    let roomy = ashlar_ledger::Settings {
        prune_bytes: Some(u64::MAX),
        ..ashlar_ledger::Settings::default()
    };
    let node = world.add_kept(chain.genesis(), Work::ZERO, roomy);
    world.feed(node, &chain.branch(&tip));
    assert_eq!(world.nodes[node].engine.view.history().start, 0);
    world.call(node, Call::Prune { height: 5 }).unwrap();
    assert_eq!(world.nodes[node].engine.view.history().start, 5);
    world.call(node, Call::Prune { height: 300 }).unwrap();
    assert_eq!(world.nodes[node].engine.view.history().start, 13, "two days are kept");
    let full = world.add(chain.genesis());
    let refused = world.call(full, Call::Prune { height: 5 });
    assert_eq!(refused.unwrap_err(), CallError::NotPruning);
}

#[test]
fn a_fresh_node_takes_old_blocks_from_full_nodes_and_new_ones_from_all() {
    let (chain, tip) = slow_chain(320);
    let mut world = late_world();
    let pruned = world.add_pruned(chain.genesis());
    world.feed(pruned, &chain.branch(&tip));
    let fresh = world.add(chain.genesis());
    world.connect(fresh, pruned);
    world.advance(120_000);
    // It has all headers and no way to the first block, and says so.
    let status = world.sync_status(fresh);
    assert_eq!((status.best_header_height, status.syncing), (320, true));
    let lacking = Warning::OnlyPrunedPeers { height: 1 };
    assert_eq!(status.warnings, std::slice::from_ref(&lacking));
    let told = world.nodes[fresh].notices.iter();
    assert_eq!(told.filter(|notice| **notice == Notice::Lacking(lacking.clone())).count(), 1);
    let height = world.nodes[fresh].engine.view.tip().height;
    assert_eq!(height, 0);
    assert!(world.offences(fresh).is_empty() && world.offences(pruned).is_empty());

    let full = world.add(chain.genesis());
    world.feed(full, &chain.branch(&tip));
    world.connect(fresh, full);
    world.advance(120_000);
    assert_eq!(world.tip(fresh), tip);
    assert!(world.sync_status(fresh).warnings.is_empty());
    assert!(world.offences(fresh).is_empty());
}

#[test]
fn a_pruned_peer_is_asked_for_the_last_two_days_only() {
    let (chain, tip) = slow_chain(320);
    let mut world = late_world();
    let node = world.add(chain.genesis());
    let hand = world.hand(node);
    let (id, _) = world.take_asked(node, |request| matches!(request, Request::Status(_)));
    let status = Status { services: Status::RECENT_BODIES, ..status_at(&chain, &tip) };
    world.answer(node, id, Answer::Status(status));
    let (id, _) = world.take_asked(node, |request| matches!(request, Request::Headers { .. }));
    let headers = chain.branch(&tip).iter().map(|block| *block.header()).collect();
    world.answer(node, id, Answer::Headers(headers));
    world.advance(3_000);
    // Blocks are fetched from the lowest on, and this peer does not have that.
    assert!(!world.has_asked(node, is_bodies));
    // While catching up, a submitted block is answered when its step is written.
    for blocks in chain.branch(&tip)[..32].chunks(16) {
        for block in blocks {
            world.begin_call(node, Call::SubmitBlock(block.to_block().to_bytes()));
        }
        world.advance(3_000);
    }
    let (_, asked) = world.take_asked(node, is_bodies);
    let Request::Blocks { ids } = asked else { panic!("{asked:?}") };
    assert_eq!(ids[0], chain.branch(&tip)[32].id());
    assert!(world.offences(node).is_empty());
    world.lose(node, hand);
}
