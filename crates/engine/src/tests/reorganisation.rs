//! What operators are told of reorganisations, and what they decide.

use ashlar_primitives::BlockId;
use ashlar_testkit::builder::{Chain, genesis, lock};

use super::world::World;
use crate::{
    Call, DEFAULT_REORG_ALARM, Notice, Warning,
    call::{AnswerBody, CallError, ReorganisationCounts},
    limits::DEEP_REORG_WARNING_MS,
};

const DEEP: usize = DEFAULT_REORG_ALARM as usize + 1;

/// A chain of `3 + depth` blocks, and one with a block more from the same fork.
fn branches(depth: usize) -> (Chain, BlockId, BlockId) {
    let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000)]));
    let fork = chain.extend_by(&chain.genesis_id(), 3);
    let first = chain.extend_by(&fork, depth);
    let heavier = chain.extend_by(&fork, depth + 1);
    (chain, first, heavier)
}

#[test]
fn a_reorganisation_deeper_than_the_alarm_is_an_alarm_for_a_day() {
    for (depth, is_deep) in [(DEEP - 1, false), (DEEP, true)] {
        let (chain, old_tip, new_tip) = branches(depth);
        let mut world = World::new();
        let node = world.add(chain.genesis());
        world.feed(node, &chain.branch(&old_tip));
        assert_eq!(world.sync_status(node).reorganisations, ReorganisationCounts::default());
        world.feed(node, &chain.branch(&new_tip)[3..]);
        let depth = u32::try_from(depth).unwrap();
        let told = Notice::Reorganised { depth, old_tip, new_tip, is_deep };
        assert!(world.nodes[node].notices.contains(&told));
        assert_eq!(world.nodes[node].deep_tips, usize::from(is_deep));
        let status = world.sync_status(node);
        let alarms = u64::from(is_deep);
        let counts = ReorganisationCounts { count: 1, deepest: depth, alarms, held: 0 };
        assert_eq!(status.reorganisations, counts);
        let unix_seconds = world.now.unix_seconds();
        let warning = Warning::DeepReorganisation { depth, old_tip, new_tip, unix_seconds };
        assert_eq!(status.warnings, if is_deep { vec![warning] } else { vec![] });
        world.advance(DEEP_REORG_WARNING_MS);
        assert_eq!(world.sync_status(node).warnings, []);
        assert_eq!(world.sync_status(node).reorganisations, counts);
    }
}

#[test]
fn a_held_reorganisation_waits_for_the_operator_and_the_node_goes_on() {
    let (mut chain, first, heavier) = branches(5);
    let mut world = World::new();
    let node = world.add_holding(chain.genesis(), 4);
    world.feed(node, &chain.branch(&first));
    let peer = world.hand_at(node, &chain, &heavier);
    world.serve(node, &chain, &heavier);
    assert_eq!(world.tip(node), first);
    let held = |notice: &Notice| matches!(notice, Notice::ReorganisationHeld { held, .. } if held.tip == heavier);
    assert_eq!(world.nodes[node].notices.iter().filter(|notice| held(notice)).count(), 1);
    let status = world.sync_status(node);
    assert!(!status.syncing);
    let warning = Warning::ReorganisationHeld {
        tip: first,
        height: 8,
        held_tip: heavier,
        held_height: 9,
        depth: 5,
    };
    assert_eq!(status.warnings, std::slice::from_ref(&warning));
    let text = warning.to_string();
    for part in [first.to_string(), format!("acceptreorg {heavier}")] {
        assert!(text.contains(&part), "{text}");
    }
    assert_eq!(status.reorganisations.held, 1);

    // The other chain grows, which is nobody's fault; nothing of it is followed.
    let longer = chain.extend_by(&heavier, 2);
    let other = world.hand_at(node, &chain, &longer);
    world.serve(node, &chain, &longer);
    world.advance(60_000);
    world.serve(node, &chain, &longer);
    assert_eq!(world.tip(node), first);
    assert_eq!([peer, other].map(|peer| world.score(node, peer)), [Some(0), Some(0)]);
    // Its own chain goes on, and is mined on.
    let own = chain.extend_by(&first, 1);
    world.feed(node, &chain.branch(&own)[8..]);
    assert_eq!(world.tip(node), own);

    // Neither a block of its own chain nor an unknown one is anything to go over to.
    let accept = Call::AcceptReorganisation;
    assert_eq!(world.call(node, accept(own)).unwrap_err(), CallError::NotHeld { block: own });
    let nobodys = BlockId([9; 32]);
    assert_eq!(world.call(node, accept(nobodys)).unwrap_err(), CallError::NotFound);
    let id = world.begin_call(node, accept(heavier));
    world.pump();
    world.serve(node, &chain, &longer);
    assert!(matches!(world.reply(node, id), Ok(AnswerBody::Done)));
    // What was not yet known of it is fetched now.
    world.advance(60_000);
    world.serve(node, &chain, &longer);
    assert_eq!(world.tip(node), longer);
    assert_eq!(world.sync_status(node).reorganisations.count, 1);
    assert_eq!(world.nodes[node].cuts, []);
}
