//! Catching up among peers that withhold, dawdle and flood.

use std::ops::Bound;

use ashlar_consensus::{Genesis, HeaderState, Work, check_header};
use ashlar_ledger::{Direction::Forward, Family, Read as _};
use ashlar_primitives::{
    BlockId, Header, MerkleRoot,
    wire::{self, Answer, Request, Status},
};
use ashlar_testkit::builder::{Chain, genesis, lock, solve};

use super::world::{World, chain_of, honest_answer, is_bodies, is_headers, status_at};
use crate::{
    Notice, Peer, RequestId,
    call::Warning,
    limits::{MAX_WALKS, WINDOW_BLOCKS},
};

/// What was asked of one peer, and is like this.
fn take_asked_of(
    world: &mut World,
    node: usize,
    peer: Peer,
    like: impl Fn(&Request) -> bool,
) -> Option<(RequestId, Request)> {
    let asked = &mut world.nodes[node].asked;
    let at = asked.iter().position(|(_, of, request)| *of == peer && like(request))?;
    asked.remove(at).map(|(id, _, request)| (id, request))
}

/// The lowest bodies stay out, everybody else delivers at once, and time stands still.
#[test]
fn bodies_are_asked_for_up_to_the_end_of_the_window_and_no_further() {
    let (chain, tip) = chain_of(WINDOW_BLOCKS + 40);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    let slow = world.hand_at(node, &chain, &tip);
    let quick = world.hand_at(node, &chain, &tip);
    let (id, request) = world.take_asked(node, is_headers);
    world.answer(node, id, honest_answer(&chain, &tip, &request));
    let heights = |request: &Request| -> Vec<u32> {
        let Request::Blocks { ids } = request else { panic!("{request:?}") };
        ids.iter().map(|id| chain.block(id).coinbase().height).collect()
    };
    let mut kept = take_asked_of(&mut world, node, slow, is_bodies).unwrap();
    let mut highest = 0;
    loop {
        while let Some((id, request)) = take_asked_of(&mut world, node, quick, is_bodies) {
            highest = highest.max(*heights(&request).last().unwrap());
            world.answer(node, id, honest_answer(&chain, &tip, &request));
        }
        // Of what the slow one was asked for since, the lowest is kept back.
        let Some(next) = take_asked_of(&mut world, node, slow, is_bodies) else { break };
        let mut given = next;
        if heights(&given.1) < heights(&kept.1) {
            core::mem::swap(&mut given, &mut kept);
        }
        highest = highest.max(*heights(&given.1).last().unwrap());
        world.answer(node, given.0, honest_answer(&chain, &tip, &given.1));
    }
    assert_eq!((heights(&kept.1)[0], highest as usize), (1, WINDOW_BLOCKS));
    let (id, request) = kept;
    world.answer(node, id, honest_answer(&chain, &tip, &request));
    for peer in [slow, quick].repeat(20) {
        while let Some((id, request)) = take_asked_of(&mut world, node, peer, is_bodies) {
            world.answer(node, id, honest_answer(&chain, &tip, &request));
        }
    }
    world.advance(3_000);
    assert_eq!(world.tip(node), tip);
}

// --- withheld bodies

/// A peer tells the headers of a heavier branch and hands out nothing: with silence, or saying each
/// time that it has none.
fn withhold(says_none: bool) {
    let (mut chain, fork) = chain_of(10);
    let mut lighter = chain.extend_by(&fork, 3);
    let heavier = chain.extend_by(&fork, 60);
    let mut world = World::new();
    let (fresh, honest) = (world.add(chain.genesis()), world.add(chain.genesis()));
    world.feed(honest, &chain.branch(&lighter));
    let miser = world.hand_at(fresh, &chain, &heavier);
    let (id, request) = world.take_asked(fresh, is_headers);
    world.answer(fresh, id, honest_answer(&chain, &heavier, &request));
    assert_eq!(world.sync_status(fresh).best_header_height, 70);
    world.connect(fresh, honest);
    let seconds = |world: &mut World, count: usize| {
        for _ in 0..count {
            while says_none && let Some((id, _)) = take_asked_of(world, fresh, miser, is_bodies) {
                world.answer(fresh, id, Answer::Blocks(Vec::new()));
            }
            world.advance(1_000);
        }
    };
    seconds(&mut world, 10);
    assert_eq!(world.tip(fresh), lighter, "the chain that can be had");
    // It goes on with that chain, whatever else is promised.
    for _ in 0..3 {
        lighter = chain.extend_by(&lighter, 1);
        world.feed(honest, &[chain.block(&lighter).clone()]);
        seconds(&mut world, 12);
        assert_eq!(world.tip(fresh), lighter);
    }
    // After a minute it says no longer that it is behind.
    seconds(&mut world, 60);
    let status = world.sync_status(fresh);
    assert!(!status.syncing && status.best_header_height == 70);
    let withheld = Warning::BodiesWithheld { id: chain.branch(&heavier)[10].id(), height: 11 };
    assert_eq!(status.warnings, std::slice::from_ref(&withheld));
    assert!(world.nodes[fresh].notices.contains(&Notice::Lacking(withheld)));
    // When somebody hands out the heavier branch, that is the chain.
    world.nodes[fresh].asked.clear();
    let generous = world.hand_at(fresh, &chain, &heavier);
    for _ in 0..30 {
        while let Some((id, request)) = take_asked_of(&mut world, fresh, generous, |_| true) {
            world.answer(fresh, id, honest_answer(&chain, &heavier, &request));
        }
        world.advance(1_000);
    }
    assert_eq!(world.tip(fresh), heavier);
    let status = world.sync_status(fresh);
    assert!(!status.syncing && status.warnings.is_empty());
}

#[test]
fn silence_about_a_heavier_branch_holds_nobody_up() {
    withhold(false);
}

#[test]
fn a_heavier_branch_that_nobody_has_holds_nobody_up() {
    withhold(true);
}

// --- slow peers

#[test]
fn many_silent_peers_take_all_slots_and_lose_them_together() {
    let (chain, tip) = chain_of(700);
    let mut world = World::new();
    let (fresh, good) = (world.add(chain.genesis()), world.add(chain.genesis()));
    world.feed(good, &chain.branch(&tip));
    for _ in 0..40 {
        world.hand_at(fresh, &chain, &tip);
    }
    let (id, request) = world.take_asked(fresh, is_headers);
    world.answer(fresh, id, honest_answer(&chain, &tip, &request));
    world.connect(fresh, good);
    assert_eq!(world.nodes[fresh].engine.requests.limited(), 64, "no slot is left");
    world.advance(1_999);
    assert!(world.nodes[fresh].engine.view.tip().height < 100);
    world.advance(1_001);
    assert_eq!(world.tip(fresh), tip);
    assert!(world.offences(fresh).is_empty(), "slow is not wrong");
}

#[test]
fn who_stalls_again_is_left_alone_for_longer() {
    let (mut chain, mut tip) = chain_of(40);
    let mut world = World::new();
    let (fresh, good) = (world.add(chain.genesis()), world.add(chain.genesis()));
    world.feed(good, &chain.branch(&tip));
    world.connect(fresh, good);
    let far = chain.extend_by(&tip, 500);
    let slow = world.hand_at(fresh, &chain, &far);
    let mut asked_ms = Vec::new();
    let start_ms = world.now.monotonic_ms;
    for _ in 0..60 {
        // The good one has always a little more, which the slow one is asked for as well.
        let more = chain.branch(&far);
        let height = chain.state(&tip).header.height;
        tip = more[usize::try_from(height).unwrap() + 7].id();
        let (id, request) = match take_asked_of(&mut world, fresh, slow, is_headers) {
            Some(asked) => asked,
            None => {
                world.feed(good, &more[usize::try_from(height).unwrap()..][..8]);
                world.advance(1_000);
                if take_asked_of(&mut world, fresh, slow, is_bodies).is_some() {
                    let now_ms = world.now.monotonic_ms - start_ms;
                    // Two requests together are one.
                    if asked_ms.last().is_none_or(|last_ms| now_ms - last_ms > 2_000) {
                        asked_ms.push(now_ms);
                    }
                }
                continue;
            }
        };
        world.answer(fresh, id, honest_answer(&chain, &far, &request));
        tip = more[usize::try_from(height).unwrap() - 1].id();
    }
    let pauses: Vec<u64> = asked_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.is_sorted() && pauses.iter().all(|&pause| pause >= 10_000), "{asked_ms:?}");
    assert!((3..=4).contains(&asked_ms.len()), "{asked_ms:?}");
}

// --- headers

/// A peer that claims all the work in the world and tells one cheap header after the other.
struct Flooder {
    peer: Peer,
    tip: HeaderState,
    root: MerkleRoot,
    told: usize,
}

impl Flooder {
    fn new(world: &mut World, node: usize, genesis: &Genesis, number: u8) -> Self {
        let peer = world.hand(node);
        let (id, _) = take_asked_of(world, node, peer, |_| true).unwrap();
        let status = Status {
            chain_id: genesis.params().chain_id,
            tip: BlockId([number; 32]),
            height: 1_000_000,
            work: [0x70; 32],
            services: Status::ALL_BODIES,
            agent: "flood".into(),
        };
        world.answer(node, id, Answer::Status(status));
        let tip = genesis.state().header.clone();
        Self { peer, tip, root: MerkleRoot([number; 32]), told: 0 }
    }

    fn headers(&mut self, genesis: &Genesis, count: usize) -> Vec<Header> {
        let params = genesis.params();
        let headers: Vec<Header> = (0..count)
            .map(|_| {
                let time = u32::try_from(self.tip.min_time()).unwrap();
                let header = solve(Header {
                    version: 0x2000_0000,
                    parent: self.tip.id,
                    merkle_root: self.root,
                    time,
                    bits: self.tip.required_bits(params, time),
                    nonce: 0,
                });
                self.tip = check_header(&self.tip, params, &header).unwrap();
                header
            })
            .collect();
        self.told += count;
        headers
    }

    /// Answers where it is asked for headers.
    fn answer(&mut self, world: &mut World, node: usize, genesis: &Genesis, count: usize) -> bool {
        let Some((id, _)) = take_asked_of(world, node, self.peer, is_headers) else { return false };
        let headers = self.headers(genesis, count);
        world.answer(node, id, Answer::Headers(headers));
        true
    }
}

/// More work than any flood here has.
fn far_bar(chain: &Chain, tip: &BlockId) -> Work {
    chain.state(tip).header.work
}

#[test]
fn floods_of_cheap_headers_cost_bounded_memory_and_no_disk() {
    const FLOODERS: u8 = 8;
    const HEADERS: usize = 100_000;
    let chain = Chain::new(genesis(&[(lock(1), 1_000_000)]));
    let mut world = World::new();
    world.now.unix_ms += 1_000_000_000;
    let mut high = [0; 32];
    high[31] = 1;
    let node = world.add_with(chain.genesis(), Work::from_le_bytes(high));
    let mut flooders: Vec<Flooder> = (1..=FLOODERS)
        .map(|number| Flooder::new(&mut world, node, chain.genesis(), number))
        .collect();
    let mut firsts = Vec::new();
    while flooders.iter().any(|flooder| flooder.told < HEADERS) {
        let mut answered = false;
        for flooder in &mut flooders {
            if flooder.told >= HEADERS {
                // Enough of this one.
                while let Some((id, _)) = take_asked_of(&mut world, node, flooder.peer, is_headers)
                {
                    world.answer(node, id, Answer::Headers(Vec::new()));
                }
                continue;
            }
            answered |= flooder.answer(&mut world, node, chain.genesis(), wire::MAX_HEADERS);
            if flooder.told == wire::MAX_HEADERS {
                firsts.push(flooder.tip.id);
            }
            let engine = &world.nodes[node].engine;
            assert!(engine.headers.leaders() <= MAX_WALKS);
            let walks: Vec<(usize, usize)> =
                engine.peers.all.values().filter_map(|state| state.headers.held()).collect();
            assert!(walks.len() <= MAX_WALKS);
            // A bit, kept as a byte, for each 32 headers; none of the headers.
            assert!(walks.iter().all(|&(bits, headers)| bits <= HEADERS / 32 && headers == 0));
        }
        if !answered {
            world.advance(1_000);
        }
    }
    assert_eq!(firsts.len(), usize::from(FLOODERS));
    for id in firsts {
        assert!(world.nodes[node].engine.ledger().header_state(&id).unwrap().is_none());
    }
    let engine = &mut world.nodes[node].engine;
    engine.close().unwrap();
    let all = (Bound::Unbounded, Bound::Unbounded);
    let stored = world.nodes[node].store.scan(Family::Headers, all, 10, Forward).unwrap();
    assert_eq!(stored.len(), 1, "the genesis block's");
    assert_eq!(world.sync_status(node).best_header_height, 0);
}

#[test]
fn who_leads_along_a_poor_chain_is_joined_by_others() {
    let (chain, tip) = chain_of(4_100);
    let mut world = World::new();
    world.now.unix_ms += 1_000_000_000;
    let node = world.add_with(chain.genesis(), far_bar(&chain, &tip));
    let mut liars: Vec<Flooder> =
        (1..=2).map(|number| Flooder::new(&mut world, node, chain.genesis(), number)).collect();
    let honest = world.hand_at(node, &chain, &tip);
    let mut seconds = 0;
    while world.tip(node) != tip && seconds < 60 {
        seconds += 1;
        // A batch a second each: enough to lead for ever.
        for liar in &mut liars {
            liar.answer(&mut world, node, chain.genesis(), wire::MAX_HEADERS);
        }
        while let Some((id, request)) = take_asked_of(&mut world, node, honest, |_| true) {
            world.answer(node, id, honest_answer(&chain, &tip, &request));
        }
        world.advance(1_000);
    }
    assert_eq!(world.tip(node), tip);
    assert!(seconds <= 10, "{seconds}");
}

#[test]
fn a_leader_that_repeats_itself_leads_no_longer() {
    let (chain, tip) = chain_of(2_001);
    let mut world = World::new();
    world.now.unix_ms += 1_000_000_000;
    let node = world.add(chain.genesis());
    let lie = Status { work: [0x70; 32], ..status_at(&chain, &tip) };
    let parrot = world.hand(node);
    let (id, _) = take_asked_of(&mut world, node, parrot, |_| true).unwrap();
    world.answer(node, id, Answer::Status(lie));
    let branch = chain.branch(&tip);
    let batch: Vec<Header> = branch[..2_000].iter().map(|block| *block.header()).collect();
    let mut times = 0;
    while let Some((id, _)) = take_asked_of(&mut world, node, parrot, is_headers) {
        world.answer(node, id, Answer::Headers(batch.clone()));
        times += 1;
        assert!(times < 10, "asked again and again");
    }
    assert_eq!(times, 2);
}

// --- going on

#[test]
fn a_sync_goes_on_where_it_was_after_a_restart() {
    let (chain, tip) = chain_of(100);
    let ids: Vec<BlockId> = chain.branch(&tip).iter().map(|block| block.id()).collect();
    let mut world = World::new();
    let node = world.add(chain.genesis());
    let peer = world.hand_at(node, &chain, &tip);
    let (id, request) = world.take_asked(node, is_headers);
    world.answer(node, id, honest_answer(&chain, &tip, &request));
    for _ in 0..5 {
        let (id, request) = take_asked_of(&mut world, node, peer, is_bodies).unwrap();
        world.answer(node, id, honest_answer(&chain, &tip, &request));
    }
    assert_eq!(world.sync_status(node).best_header_height, 100);
    world.restart(node, chain.genesis());
    assert_eq!(world.sync_status(node).best_header_height, 100);
    world.hand_at(node, &chain, &tip);
    assert!(!world.has_asked(node, is_headers), "all headers are there");
    let (id, request) = world.take_asked(node, is_bodies);
    let Request::Blocks { ids: wanted } = &request else { panic!("{request:?}") };
    assert_eq!(ids.iter().position(|id| *id == wanted[0]), Some(40));
    world.answer(node, id, honest_answer(&chain, &tip, &request));
    world.serve(node, &chain, &tip);
    world.advance(3_000);
    assert_eq!(world.tip(node), tip);
    assert!(matches!(world.nodes[node].notices.last(), Some(Notice::Synced { .. })));
}

// --- what is told

#[test]
fn how_far_it_is_and_how_fast_is_told_every_ten_seconds() {
    let (chain, tip) = chain_of(400);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    let peer = world.hand_at(node, &chain, &tip);
    let (id, request) = world.take_asked(node, is_headers);
    world.answer(node, id, honest_answer(&chain, &tip, &request));
    // Eight blocks a second.
    for _ in 0..41 {
        world.advance(1_000);
        let (id, request) = take_asked_of(&mut world, node, peer, is_bodies).unwrap();
        world.answer(node, id, honest_answer(&chain, &tip, &request));
    }
    let progress = world.sync_status(node).progress.expect("it is catching up");
    assert_eq!(progress.target_height, 400);
    // Steps of two seconds are published, so the measure is off by one of them at most.
    let speed = progress.milliblocks_per_second.unwrap();
    assert!((7_500..=8_500).contains(&speed), "{progress:?}");
    let left = u64::from(400 - progress.height) * 1_000 / speed;
    assert_eq!(progress.seconds_left, Some(left));
    let told = |notice: &&Notice| matches!(notice, Notice::Syncing(_));
    assert_eq!(world.nodes[node].notices.iter().filter(told).count(), 5, "at 0, 10, 20, 30, 40 s");
    world.serve(node, &chain, &tip);
    world.advance(3_000);
    assert_eq!(world.tip(node), tip);
    assert_eq!(world.sync_status(node).progress, None);
}
