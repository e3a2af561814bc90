//! Compact block relay: verdicts, what is asked, what is kept.

use std::sync::Arc;

use ashlar_primitives::{
    Block, BlockId, OutPoint, Transaction,
    compact::CompactBlock,
    wire::{Answer, Request},
};
use ashlar_testkit::builder::{Chain, Plan, Spend, genesis, key, lock, output, solve};

use super::world::{TICKET_MS, World, honest_answer};
use crate::{GossipData, Offence, Peer, RequestFailure, Verdict};

fn compact(block: &Block, salt: u64) -> GossipData {
    GossipData::Block(Arc::new(CompactBlock::build(block, salt, &[])))
}

/// A node at the tip of a chain of ten blocks, and a peer in the test's hand.
struct Scene {
    world: World,
    chain: Chain,
    tip: BlockId,
    node: usize,
    peer: Peer,
}

impl Scene {
    fn new() -> Self {
        let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000), (lock(2), 1_000_000)]));
        let tip = chain.extend_by(&chain.genesis_id(), 10);
        let mut world = World::new();
        let node = world.add(chain.genesis());
        world.feed(node, &chain.branch(&tip));
        let peer = world.hand_at(node, &chain, &tip);
        Self { world, chain, tip, node, peer }
    }

    fn tell(&mut self, data: GossipData) -> Option<Verdict> {
        self.world.tell(self.node, self.peer, data)
    }

    fn pay(&self, grains: u64) -> Transaction {
        self.chain.pay(&self.tip, 1, lock(3), grains, 1_000)
    }

    /// A valid block on the tip with a payment that nobody knows.
    fn block(&mut self) -> Block {
        let pay = self.pay(500);
        self.chain.extend(&self.tip.clone(), Plan::of(vec![pay])).to_block()
    }

    fn take(&mut self, like: impl Fn(&Request) -> bool) -> crate::RequestId {
        self.world.take_asked(self.node, like).0
    }

    fn asks_for_all(&self) -> bool {
        self.world.has_asked(self.node, |request| matches!(request, Request::Blocks { .. }))
    }

    fn answer(&mut self, id: crate::RequestId, answer: Answer) {
        self.world.answer(self.node, id, answer);
    }

    fn verdict(&self) -> Option<Verdict> {
        self.world.nodes[self.node].verdicts.values().next_back().copied()
    }

    fn is_there(&self, id: &BlockId) -> bool {
        self.world.nodes[self.node].engine.ledger().has_body(id).unwrap()
    }

    fn failed(&self, id: &BlockId) -> Option<&'static str> {
        self.world.nodes[self.node].engine.ledger().failed_code(id).unwrap()
    }
}

fn is_missing(request: &Request) -> bool {
    matches!(request, Request::BlockTransactions { .. })
}

fn is_whole(request: &Request) -> bool {
    matches!(request, Request::Blocks { .. })
}

#[test]
fn a_block_travels_from_hop_to_hop_and_only_its_first_node_publishes_it() {
    let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000)]));
    let mut world = World::new();
    let nodes = [(); 4].map(|()| world.add(chain.genesis()));
    for pair in nodes.windows(2) {
        world.connect(pair[0], pair[1]);
    }
    let mut tip = chain.genesis_id();
    for round in 0..5_u64 {
        let pay = chain.pay(&tip, 1, lock(2), 100 + round, 500);
        // Known to all, or to nobody before the block holds it.
        if round % 2 == 0 {
            assert_eq!(world.submit(nodes[0], std::slice::from_ref(&pay)), ["ok"]);
            world.advance(100);
            assert!(world.waits(nodes[3], &pay));
        }
        let block = chain.extend(&tip, Plan::of(vec![pay.clone()]));
        tip = block.id();
        let miner = nodes[usize::try_from(round).unwrap() % 4];
        world.submit_block(miner, &block.to_block());
        for node in nodes {
            assert_eq!(world.tip(node), tip);
            assert!(!world.waits(node, &pay));
            assert!(world.offences(node).is_empty());
        }
    }
    let blocks = |node: usize| {
        let published = world.nodes[node].published.iter();
        published.filter(|data| matches!(data, GossipData::Block(_))).count()
    };
    assert_eq!(nodes.map(blocks).iter().sum::<usize>(), 5);
    world.settle();
}

#[test]
fn what_is_missing_is_asked_of_the_sender() {
    let mut scene = Scene::new();
    let block = scene.block();
    assert_eq!(scene.tell(compact(&block, 7)), None);
    let (id, request) = scene.world.take_asked(scene.node, is_missing);
    assert_eq!(request, Request::BlockTransactions { id: block.header.id(), indexes: vec![0] });
    scene.answer(id, Answer::BlockTransactions(block.transactions.clone()));
    assert_eq!(scene.verdict(), Some(Verdict::Accept));
    assert_eq!(scene.world.tip(scene.node), block.header.id());
    assert!(!scene.asks_for_all());
    // The same block told anew brings nothing.
    assert_eq!(scene.tell(compact(&block, 8)), Some(Verdict::Ignore));
    scene.world.settle();
}

#[test]
fn a_transaction_of_the_mempool_is_not_asked_for() {
    let mut scene = Scene::new();
    let block = scene.block();
    assert_eq!(scene.world.submit(scene.node, &block.transactions), ["ok"]);
    assert_eq!(scene.tell(compact(&block, 7)), Some(Verdict::Accept));
    assert_eq!(scene.world.tip(scene.node), block.header.id());
}

#[test]
fn a_block_beside_the_tip_is_rebuilt_from_the_tips_transactions() {
    let mut scene = Scene::new();
    let block = scene.block();
    let beside = scene.chain.extend(&scene.tip.clone(), Plan::of(block.transactions.clone()));
    scene.world.submit_block(scene.node, &block);
    // As much work as the best chain's last six: passed on, though it changes nothing here.
    assert_eq!(scene.tell(compact(&beside.to_block(), 7)), Some(Verdict::Accept));
    assert_eq!(scene.world.tip(scene.node), block.header.id());
    assert!(scene.is_there(&beside.id()));
}

#[test]
fn an_orphan_is_not_asked_for() {
    let mut scene = Scene::new();
    let parent = scene.pay(500);
    let coin = (OutPoint { txid: parent.txid(), index: 0 }, parent.outputs[0]);
    let outputs = vec![output(lock(4), 100)];
    let child = Spend { inputs: vec![coin], outputs, ..Spend::default() }
        .sign(&scene.chain.genesis_id(), &[&key(3)]);
    let batch = GossipData::Transactions(Arc::new(vec![child.clone()]));
    assert_eq!(scene.tell(batch), Some(Verdict::Ignore));
    let block = scene.chain.extend(&scene.tip.clone(), Plan::of(vec![parent, child])).to_block();
    assert_eq!(scene.tell(compact(&block, 7)), None);
    let (id, request) = scene.world.take_asked(scene.node, is_missing);
    assert_eq!(request, Request::BlockTransactions { id: block.header.id(), indexes: vec![0] });
    scene.answer(id, Answer::BlockTransactions(block.transactions[..1].to_vec()));
    assert_eq!(scene.verdict(), Some(Verdict::Accept));
}

#[test]
fn what_was_evicted_lately_is_not_asked_for() {
    let mut scene = Scene::new();
    let block = scene.block();
    assert_eq!(scene.world.submit(scene.node, &block.transactions), ["ok"]);
    // Replaced by what pays more for the same coin.
    let replacement = scene.chain.pay(&scene.tip, 1, lock(3), 499, 50_000);
    assert_eq!(scene.world.submit(scene.node, &[replacement]), ["ok"]);
    assert!(!scene.world.waits(scene.node, &block.transactions[0]));
    assert_eq!(scene.tell(compact(&block, 7)), Some(Verdict::Accept));
    assert_eq!(scene.world.tip(scene.node), block.header.id());
}

#[test]
fn what_is_on_its_way_into_the_mempool_is_not_asked_for() {
    let mut scene = Scene::new();
    let block = scene.block();
    scene.world.held = Some(Vec::new());
    let batch = GossipData::Transactions(Arc::new(block.transactions.clone()));
    assert_eq!(scene.tell(batch), None);
    let (_, id, job) = scene.world.held.as_mut().unwrap().pop().unwrap();
    let result = job.run(&mut rand::rng());
    scene.world.done(scene.node, id, result);
    // Its signatures are out.
    assert!(!scene.world.waits(scene.node, &block.transactions[0]));
    assert_eq!(scene.tell(compact(&block, 7)), None);
    assert!(!scene.world.has_asked(scene.node, |request| is_missing(request) || is_whole(request)));
    scene.world.run_jobs();
    assert_eq!(scene.world.tip(scene.node), block.header.id());
}

#[test]
fn a_wrong_number_of_transactions_leads_to_the_whole_block_and_blames_nobody() {
    for wrong in [Vec::new(), vec![0, 0]] {
        let mut scene = Scene::new();
        let block = scene.block();
        scene.tell(compact(&block, 7));
        let id = scene.take(is_missing);
        let wrong = wrong.iter().map(|&index: &usize| block.transactions[index].clone());
        scene.answer(id, Answer::BlockTransactions(wrong.collect()));
        let id = scene.take(is_whole);
        scene.answer(id, Answer::Blocks(vec![block.clone()]));
        assert_eq!(scene.verdict(), Some(Verdict::Accept));
        assert_eq!(scene.world.tip(scene.node), block.header.id());
        assert_eq!(scene.world.score(scene.node, scene.peer), Some(0));
    }
}

#[test]
fn wrong_transactions_lead_to_the_whole_block_and_blame_nobody() {
    let mut scene = Scene::new();
    let block = scene.block();
    let other = scene.pay(501);
    scene.tell(compact(&block, 7));
    let id = scene.take(is_missing);
    scene.answer(id, Answer::BlockTransactions(vec![other]));
    let id = scene.take(is_whole);
    scene.answer(id, Answer::Blocks(vec![block]));
    assert_eq!(scene.verdict(), Some(Verdict::Accept));
    assert_eq!(scene.world.score(scene.node, scene.peer), Some(0));
}

#[test]
fn a_bare_announcement_is_fetched() {
    let mut scene = Scene::new();
    let block = scene.block();
    let bare = CompactBlock::announcement(&block, 9);
    assert_eq!(scene.tell(GossipData::Block(Arc::new(bare))), None);
    let id = scene.take(is_whole);
    scene.answer(id, Answer::Blocks(vec![block]));
    assert_eq!(scene.verdict(), Some(Verdict::Accept));
}

#[test]
fn junk_around_an_honest_header_dies_here_and_the_block_does_not() {
    let mut scene = Scene::new();
    let block = scene.block();
    let mut junk = CompactBlock::build(&block, 7, &[0]);
    junk.coinbase.extra = b"junk".to_vec();
    assert_eq!(scene.tell(GossipData::Block(Arc::new(junk))), None);
    let id = scene.take(is_whole);
    scene.answer(id, Answer::Blocks(vec![block.clone()]));
    assert_eq!(scene.verdict(), Some(Verdict::Reject));
    assert_eq!(scene.world.offences(scene.node), [Offence::InvalidCompact]);
    // The id is not to blame: an honest peer brings it.
    assert_eq!(scene.failed(&block.header.id()), None);
    let tip = block.header.id();
    scene.world.hand_at(scene.node, &scene.chain, &tip);
    scene.world.serve(scene.node, &scene.chain, &tip);
    assert_eq!(scene.world.tip(scene.node), tip);
}

#[test]
fn another_block_than_asked_is_no_answer() {
    let mut scene = Scene::new();
    let block = scene.block();
    let other = scene.block();
    scene.tell(GossipData::Block(Arc::new(CompactBlock::announcement(&block, 9))));
    let id = scene.take(is_whole);
    scene.answer(id, Answer::Blocks(vec![other]));
    assert_eq!(scene.verdict(), Some(Verdict::Ignore));
    assert_eq!(scene.world.offences(scene.node), [Offence::WrongAnswer]);
}

#[test]
fn a_block_that_only_its_state_condemns_is_passed_on_and_its_sender_is_not_blamed() {
    let mut scene = Scene::new();
    let bad = scene.chain.spoiled(&scene.tip, Plan::default(), |block| {
        block.coinbase.outputs = vec![output(lock(9), 500_000_001)];
    });
    let id = bad.header.id();
    assert_eq!(scene.tell(compact(&bad, 7)), Some(Verdict::Accept));
    assert_eq!(scene.failed(&id), Some("coinbase-overpays"));
    assert_eq!(scene.world.tip(scene.node), scene.tip);
    assert_eq!(scene.world.score(scene.node, scene.peer), Some(0));
    // A child of it is nobody's fault either.
    let child = Block {
        header: solve(ashlar_primitives::Header {
            parent: id,
            time: bad.header.time + 10,
            ..bad.header
        }),
        ..bad
    };
    assert_eq!(scene.tell(compact(&child, 7)), Some(Verdict::Ignore));
    assert_eq!(scene.world.score(scene.node, scene.peer), Some(0));
}

#[test]
fn an_unknown_parent_is_looked_for_where_the_block_came_from() {
    let mut scene = Scene::new();
    let parent = scene.block().header.id();
    let block = scene.chain.extend(&parent, Plan::default());
    assert_eq!(scene.tell(compact(&block.to_block(), 7)), Some(Verdict::Ignore));
    let id = block.id();
    scene.world.serve(scene.node, &scene.chain, &id);
    assert_eq!(scene.world.tip(scene.node), id);
}

#[test]
fn a_branch_with_less_work_than_the_sixth_last_block_is_not_passed_on() {
    let mut scene = Scene::new();
    let branch = scene.chain.branch(&scene.tip);
    // On the fifth block, at height 6: five of ten blocks have more work than the sixth-last.
    let level = scene.chain.extend(&branch[3].id(), Plan::default());
    let below = scene.chain.extend(&branch[2].id(), Plan::default());
    assert_eq!((level.height(), below.height()), (5, 4));
    assert_eq!(scene.tell(compact(&level.to_block(), 7)), Some(Verdict::Accept));
    assert_eq!(scene.tell(compact(&below.to_block(), 7)), Some(Verdict::Ignore));
    assert!(!scene.is_there(&below.id()));
}

#[test]
fn at_its_deadline_a_ticket_is_ignored_and_the_block_still_comes() {
    let mut scene = Scene::new();
    let block = scene.block();
    assert_eq!(scene.tell(compact(&block, 7)), None);
    let id = scene.take(is_missing);
    scene.world.advance(TICKET_MS - 1);
    assert_eq!(scene.verdict(), None);
    scene.world.advance(1);
    assert_eq!(scene.verdict(), Some(Verdict::Ignore));
    scene.answer(id, Answer::BlockTransactions(block.transactions.clone()));
    assert_eq!(scene.world.tip(scene.node), block.header.id());
    scene.world.settle();
}

#[test]
fn a_sender_that_withholds_costs_time_and_no_block() {
    // It fails to answer, has nothing, or is gone.
    for case in 0..3 {
        let mut scene = Scene::new();
        let block = scene.block();
        scene.tell(compact(&block, 7));
        let id = scene.take(is_missing);
        match case {
            0 => scene.world.fail(scene.node, id, RequestFailure::Timeout),
            1 => {
                scene.answer(id, Answer::BlockTransactions(Vec::new()));
                let id = scene.take(is_whole);
                scene.answer(id, Answer::Blocks(Vec::new()));
                assert_eq!(scene.world.score(scene.node, scene.peer), Some(20));
            }
            _ => scene.world.lose(scene.node, scene.peer),
        }
        assert_eq!(scene.verdict(), Some(Verdict::Ignore));
        let tip = block.header.id();
        scene.world.nodes[scene.node].asked.clear();
        scene.world.hand_at(scene.node, &scene.chain, &tip);
        scene.world.serve(scene.node, &scene.chain, &tip);
        assert_eq!(scene.world.tip(scene.node), tip, "case {case}");
        scene.world.settle();
    }
}

#[test]
fn colliding_short_ids_lead_to_the_whole_block() {
    let mut scene = Scene::new();
    let block = scene.block();
    let mut collided = CompactBlock::build(&block, 7, &[]);
    collided.short_ids.push(collided.short_ids[0]);
    assert_eq!(scene.tell(GossipData::Block(Arc::new(collided))), None);
    assert!(scene.asks_for_all());
    assert_eq!(scene.world.score(scene.node, scene.peer), Some(0));
}

#[test]
fn a_block_that_was_passed_on_can_be_had_before_it_is_connected() {
    // Its parent's body is missing, so that it can't be connected.
    let mut scene = Scene::new();
    let parent = scene.block().header.id();
    let block = scene.chain.extend(&parent, Plan::default());
    let (node, peer) = (scene.node, scene.peer);
    let genesis = scene.chain.genesis_id();
    scene.tell(compact(&block.to_block(), 7));
    let (id, request) =
        scene.world.take_asked(node, |request| matches!(request, Request::Headers { .. }));
    scene.answer(id, honest_answer(&scene.chain, &block.id(), &request));
    assert_eq!(scene.tell(compact(&block.to_block(), 8)), Some(Verdict::Accept));
    assert_ne!(scene.world.tip(node), block.id());
    let ids = vec![block.id(), parent];
    let answer = scene.world.ask(node, peer, Request::Blocks { ids });
    assert_eq!(answer, Some(Answer::Blocks(vec![block.to_block()])));
    let ids = vec![genesis];
    let answer = scene.world.ask(node, peer, Request::Blocks { ids });
    assert!(matches!(answer, Some(Answer::Blocks(blocks)) if blocks.len() == 1));
}

#[test]
fn block_transactions_are_served_near_the_tip_alone() {
    let mut scene = Scene::new();
    let block = scene.block();
    scene.world.submit_block(scene.node, &block);
    let id = block.header.id();
    let (node, peer) = (scene.node, scene.peer);
    let mut ask =
        |id, indexes| scene.world.ask(node, peer, Request::BlockTransactions { id, indexes });
    let all = Answer::BlockTransactions(block.transactions.clone());
    assert_eq!(ask(id, vec![0]), Some(all));
    assert_eq!(ask(id, vec![1]), None);
    let none = Answer::BlockTransactions(Vec::new());
    assert_eq!(ask(BlockId([1; 32]), vec![0]), Some(none.clone()));
    let tip = scene.chain.extend_by(&id, 11);
    scene.world.feed(scene.node, &scene.chain.branch(&tip)[11..]);
    let answer = scene.world.ask(
        scene.node,
        scene.peer,
        Request::BlockTransactions { id, indexes: vec![0] },
    );
    assert_eq!(answer, Some(none));
}

#[test]
fn announced_blocks_under_way_are_bounded_for_each_peer() {
    let mut scene = Scene::new();
    let blocks: Vec<Block> = (0..5).map(|_| scene.block()).collect();
    for block in &blocks[..4] {
        assert_eq!(scene.tell(compact(block, 7)), None);
    }
    assert_eq!(scene.tell(compact(&blocks[4], 7)), Some(Verdict::Ignore));
    // Another peer's are not crowded out by them.
    let other = scene.world.hand_at(scene.node, &scene.chain, &scene.tip);
    assert_eq!(scene.world.tell(scene.node, other, compact(&blocks[4], 8)), None);
    scene.world.settle();
}
