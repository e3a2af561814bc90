//! Both sides of every bound of `limits.rs`: one table that names where each is tried, and the
//! tests of those that have no better place.

use std::{collections::BTreeSet, sync::Arc};

use ashlar_consensus::{CheckedBlock, CheckedTransaction, check_transaction};
use ashlar_primitives::{
    Block, BlockId, OutPoint, Output, Transaction, Txid,
    compact::CompactBlock,
    wire::{self, Request},
};
use ashlar_testkit::builder::{Chain, Plan, Spend, genesis, genesis_with, key, lock, output};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::world::{World, is_headers};
use crate::{
    Call, GossipData, Offence, Peer, Verdict,
    call::{AnswerBody, CallError},
    limits::{
        BLOCKS_PER_PEER, MAX_ORDERS, MAX_ORPHAN_BYTES, MAX_ORPHANS, MAX_OUTGOING_BYTES, MAX_PEERS,
        MAX_PENDING_BLOCKS, MAX_PENDING_BLOCKS_PER_PEER, MAX_REQUESTS, MAX_REQUESTS_PER_PEER,
        MEMPOOL_ANSWER_INTERVAL_MS, ORPHANS_PER_ROUND, PREFILL_BYTES, PRODUCTIVE_BYTES_PER_SECOND,
        RECENT_BLOCK_BYTES, RECENT_BLOCKS, RECENT_TRANSACTION_BYTES, RELAYED_IDS,
    },
    orphans::Orphans,
    recent::Recent,
    requests::Purpose,
};

/// Where a constant is tried on both sides.
enum Tried {
    /// By this test.
    By(&'static str),
    /// It is a time, a rate of our own or a choice: nothing grows by it.
    Pace,
    /// Nothing that a peer does can make it grow, because.
    Ours(&'static str),
}

use Tried::{By, Ours, Pace};

const TABLE: &[(&str, Tried)] = &[
    ("MAX_PEERS", By("the_engine_keeps_state_for_so_many_peers")),
    ("HANDSHAKE_TIMEOUT_MS", Pace),
    ("CUT_SCORE", By("what_offences_cost")),
    ("SCORE_DECAY_MS", Pace),
    ("MAX_TIMEOUTS", By("a_peer_that_never_answers_is_cut_and_not_banned")),
    ("BAN_MS", Pace),
    ("REQUEST_BURST", By("a_flood_of_questions_is_refused_before_it_costs_much")),
    ("REQUESTS_PER_SECOND", By("a_burst_and_then_the_rate")),
    ("MEMPOOL_ANSWER_INTERVAL_MS", By("a_mempool_is_told_now_and_then")),
    ("MAX_REQUESTS_PER_PEER", By("requests_in_flight_are_bounded_for_each_peer_and_in_all")),
    ("MAX_REQUESTS", By("requests_in_flight_are_bounded_for_each_peer_and_in_all")),
    ("SMALL_ANSWER_TIMEOUT_MS", Pace),
    ("HEADERS_TIMEOUT_MS", Pace),
    ("LARGE_ANSWER_TIMEOUT_MS", Pace),
    ("HEADERS_SLOW_MS", Pace),
    ("MAX_LEADERS", By("who_leads_along_a_poor_chain_is_joined_by_others")),
    ("LEAD_MS", Pace),
    ("MAX_LEAP", Pace),
    ("CLAIM_PAUSE_MS", Pace),
    ("GOSSIP_SILENCE_MS", Pace),
    ("POLLED_PEERS", By("in_the_silence_of_gossip_peers_are_asked_how_far_they_are")),
    ("STATUS_PUSH_INTERVAL_MS", Pace),
    ("STATUS_REFRESH_MS", By("a_peer_that_only_receives_is_asked_where_it_is")),
    ("LOW_WORK_BLOCKS", By("a_branch_below_the_bar_is_walked_twice_before_it_is_stored")),
    ("MAX_WALKS", By("floods_of_cheap_headers_cost_bounded_memory_and_no_disk")),
    ("COMMITMENT_PERIOD", By("a_second_pass_that_tells_another_branch_stores_nothing")),
    ("COMMITMENT_DEPTH", By("a_second_pass_that_tells_another_branch_stores_nothing")),
    ("MAX_COMMITMENTS", By("an_endless_branch_is_given_up_at_so_many_bits")),
    ("TOO_NEW_RETRY_MS", Pace),
    ("MAX_TOO_NEW_RETRY_MS", Pace),
    ("CLOCK_NOTICE_INTERVAL_MS", Pace),
    ("SYNC_LEAD_BLOCKS", By("nothing_is_relayed_while_catching_up")),
    ("SYNC_NOTICE_INTERVAL_MS", Pace),
    ("WINDOW_BLOCKS", By("bodies_are_asked_for_up_to_the_end_of_the_window_and_no_further")),
    ("WINDOW_BYTES", By("the_window_is_so_many_blocks_or_so_many_bytes")),
    ("BLOCKS_PER_PEER", By("blocks_asked_of_one_peer_are_bounded")),
    ("BLOCKS_PER_REQUEST", By("blocks_asked_of_one_peer_are_bounded")),
    ("FIRST_STALL_MS", Pace),
    ("MIN_STALL_MS", Pace),
    ("MAX_STALL_MS", Pace),
    ("DOWNLOAD_PAUSE_MS", Pace),
    ("MAX_DOWNLOAD_PAUSE_MS", Pace),
    ("ONLY_PRUNED_MS", Pace),
    ("SPEED_SAMPLES", Ours("the node's own clock fills it, once a second")),
    ("WITHHELD_MS", Pace),
    ("RELAY_DEPTH", By("a_branch_with_less_work_than_the_sixth_last_block_is_not_passed_on")),
    ("MAX_PENDING_BLOCKS", By("announced_blocks_under_way_are_bounded_in_all")),
    ("MAX_PENDING_BLOCKS_PER_PEER", By("announced_blocks_under_way_are_bounded_for_each_peer")),
    ("RECENT_BLOCKS", By("recent_blocks_are_bounded_and_the_newest_stays_whatever_its_size")),
    ("RECENT_BLOCK_BYTES", By("recent_blocks_are_bounded_and_the_newest_stays_whatever_its_size")),
    ("RECENT_TRANSACTION_BYTES", By("recent_transactions_and_ids_are_bounded")),
    ("PREFILL_BYTES", By("an_announcement_prefills_so_many_bytes")),
    ("RELAYED_IDS", By("recent_transactions_and_ids_are_bounded")),
    ("GATHER_MS", By("what_is_new_is_gathered_for_a_moment_and_a_full_batch_does_not_wait")),
    ("MAX_OUTGOING_BYTES", By("what_waits_to_be_published_while_catching_up_is_bounded")),
    ("GATHER_RETRY_MS", Pace),
    ("MAX_BATCHES", By("more_calls_than_there_is_room_for_are_refused")),
    ("MAX_PEER_BATCHES", By("batches_under_way_are_bounded_for_each_peer_and_callers_find_room")),
    (
        "MAX_BATCHES_PER_PEER",
        By("batches_under_way_are_bounded_for_each_peer_and_callers_find_room"),
    ),
    ("UNPRODUCTIVE_BYTES_PER_SECOND", By("what_brings_nothing_is_limited_for_each_peer")),
    ("UNPRODUCTIVE_BURST_BYTES", By("what_brings_nothing_is_limited_for_each_peer")),
    ("PRODUCTIVE_BYTES_PER_SECOND", By("what_brings_something_is_limited_for_each_peer_too")),
    ("MAX_ORPHANS", By("orphans_are_bounded_by_count_and_by_bytes")),
    ("MAX_ORPHAN_BYTES", By("orphans_are_bounded_by_count_and_by_bytes")),
    ("MAX_ORPHANS_PER_PEER", By("the_orphan_pool_is_bounded_and_forgets")),
    ("ORPHAN_EXPIRY_MS", By("the_orphan_pool_is_bounded_and_forgets")),
    ("ORPHANS_PER_ROUND", By("orphans_are_bounded_by_count_and_by_bytes")),
    ("MAX_RECONCILES", By("a_few_mempools_are_exchanged_at_a_time_and_nothing_is_asked_for_twice")),
    ("RECONCILE_INTERVAL_MS", By("an_orphan_makes_its_sender_name_the_parent")),
    ("FULL_TRANSACTIONS_ANSWER_BYTES", Pace),
    ("DEEP_REORG_WARNING_MS", By("a_reorganisation_deeper_than_the_alarm_is_an_alarm_for_a_day")),
    ("MAX_SUBMISSIONS", By("submitted_blocks_and_waiting_templates_are_bounded")),
    ("MAX_TEMPLATE_WAITERS", By("submitted_blocks_and_waiting_templates_are_bounded")),
    ("MAX_ORDERS", By("orders_that_wait_are_bounded")),
    ("TEMPLATE_REFRESH_MS", By("a_template_lasts_a_second_and_then_until_something_better_comes")),
    ("MAX_COINBASE_EXTRA_BYTES", By("what_no_coinbase_can_hold_is_refused")),
    ("TEMPLATE_OVERHEAD_BYTES", Pace),
    ("MAX_TEMPLATE_CULPRITS", Ours("filled by bugs of our own mempool alone")),
    ("FEE_PICTURE_MS", Pace),
    ("MAX_FEE_TARGET_BLOCKS", Pace),
    ("HOUSEKEEPING_MS", Pace),
    ("MEMPOOL_EXPIRY_MS", Pace),
    ("TIMERS_PER_TICK", Pace),
];

#[test]
fn every_bound_is_tried_on_both_sides_or_says_why_not() {
    let declared: BTreeSet<&str> = include_str!("../limits.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("pub(crate) const ")?.split(':').next())
        .collect();
    let listed: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, declared);
    let tests = [
        include_str!("bounds.rs"),
        include_str!("blocks.rs"),
        include_str!("calls.rs"),
        include_str!("catching_up.rs"),
        include_str!("hostile.rs"),
        include_str!("reorganisation.rs"),
        include_str!("sync.rs"),
        include_str!("transactions.rs"),
        include_str!("verdicts.rs"),
        include_str!("../bucket.rs"),
        include_str!("../download.rs"),
        include_str!("../low_work.rs"),
    ];
    for (name, tried) in TABLE {
        match tried {
            By(test) => {
                let declaration = format!("fn {test}() {{");
                assert!(tests.iter().any(|text| text.contains(&declaration)), "{name}: {test}");
            }
            Ours(reason) => assert!(!reason.is_empty(), "{name}"),
            Pace => {}
        }
    }
}

/// A chain whose key 1 has many coins, and a node at its tip.
struct Scene {
    world: World,
    chain: Chain,
    tip: BlockId,
    node: usize,
    coins: Vec<(OutPoint, Output)>,
}

const COIN: u64 = 10_000_000;

impl Scene {
    fn new(coins: usize, max_block_bytes: usize) -> Self {
        let changes = [("max_block_bytes", Value::from(max_block_bytes))];
        let mut chain = Chain::new(genesis_with(&vec![(lock(1), COIN); coins], &changes));
        let tip = chain.extend_by(&chain.genesis_id(), 2);
        let mut world = World::new();
        let node = world.add(chain.genesis());
        world.feed(node, &chain.branch(&tip));
        let coins = chain.spendable(&tip, &lock(1));
        Self { world, chain, tip, node, coins }
    }

    fn hand(&mut self) -> Peer {
        self.world.hand_at(self.node, &self.chain, &self.tip)
    }

    /// A payment of exactly so many bytes.
    fn payment(&self, coin: usize, size_bytes: usize) -> Transaction {
        let outputs = (size_bytes - 112) / 41;
        let spend = Spend {
            inputs: vec![self.coins[coin]],
            outputs: vec![output(lock(2), 1_000); outputs],
            memo: vec![0; size_bytes - 112 - 41 * outputs],
            ..Spend::default()
        };
        spend.sign(&self.chain.genesis_id(), &[&key(1)])
    }
}

#[test]
fn the_engine_keeps_state_for_so_many_peers() {
    let mut scene = Scene::new(1, 10_000);
    for _ in 0..MAX_PEERS {
        scene.world.hand(scene.node);
    }
    assert_eq!(scene.world.nodes[scene.node].cuts, []);
    let tables = scene.world.nodes[scene.node].engine.tables();
    let full: Vec<_> = tables.iter().filter(|table| table.found >= table.bound).collect();
    assert!(matches!(full[..], [table] if table.what == "peers"), "{full:?}");
    scene.world.hand(scene.node);
    assert_eq!(scene.world.offences(scene.node), [Offence::NoRoom]);
}

#[test]
fn a_mempool_is_told_now_and_then() {
    let mut scene = Scene::new(1, 10_000);
    let peer = scene.hand();
    let mut ask = || scene.world.ask(scene.node, peer, Request::Mempool).is_some();
    assert!(ask() && !ask());
    scene.world.advance(MEMPOOL_ANSWER_INTERVAL_MS - 1);
    assert!(scene.world.ask(scene.node, peer, Request::Mempool).is_none());
    scene.world.advance(1);
    assert!(scene.world.ask(scene.node, peer, Request::Mempool).is_some());
}

#[test]
fn requests_in_flight_are_bounded_for_each_peer_and_in_all() {
    let mut scene = Scene::new(1, 10_000);
    let peers: Vec<Peer> = (0..=MAX_REQUESTS / MAX_REQUESTS_PER_PEER)
        .map(|_| scene.world.hand_that_dialled(scene.node))
        .collect();
    let engine = &mut scene.world.nodes[scene.node].engine;
    let mut ask = |peer| engine.ask(peer, Request::Mempool, Purpose::MempoolIds).is_some();
    let (last, others) = peers.split_last().unwrap();
    for &peer in others {
        assert_eq!(
            (0..=MAX_REQUESTS_PER_PEER).filter(|_| ask(peer)).count(),
            MAX_REQUESTS_PER_PEER
        );
    }
    assert!(!ask(*last), "{MAX_REQUESTS} are out");
    // What keeps the node informed always finds room.
    let status = Request::Headers { locator: Vec::new(), stop: None };
    assert!(engine.ask(*last, status, Purpose::Headers).is_some());
}

#[test]
fn blocks_asked_of_one_peer_are_bounded() {
    let mut chain = Chain::new(genesis(&[(lock(1), COIN)]));
    let tip = chain.extend_by(&chain.genesis_id(), BLOCKS_PER_PEER * 2);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    world.hand_at(node, &chain, &tip);
    let (id, request) = world.take_asked(node, is_headers);
    world.answer(node, id, super::world::honest_answer(&chain, &tip, &request));
    let asked: Vec<usize> = world.nodes[node]
        .asked
        .iter()
        .filter_map(|(_, _, request)| match request {
            Request::Blocks { ids } => Some(ids.len()),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [crate::limits::BLOCKS_PER_REQUEST; 2]);
    assert_eq!(asked.iter().sum::<usize>(), BLOCKS_PER_PEER);
}

#[test]
fn announced_blocks_under_way_are_bounded_in_all() {
    let mut scene = Scene::new(1, 10_000);
    let pay = scene.payment(0, 200);
    let mut told = 0;
    for _ in 0..=MAX_PENDING_BLOCKS / MAX_PENDING_BLOCKS_PER_PEER {
        let peer = scene.hand();
        for _ in 0..MAX_PENDING_BLOCKS_PER_PEER {
            let block = scene.chain.extend(&scene.tip, Plan::of(vec![pay.clone()])).to_block();
            let data = GossipData::Block(Arc::new(CompactBlock::build(&block, 7, &[])));
            let verdict = scene.world.tell(scene.node, peer, data);
            assert_eq!(verdict, (told >= MAX_PENDING_BLOCKS).then_some(Verdict::Ignore));
            told += 1;
        }
    }
    scene.world.settle();
}

/// So many transactions beside the tip, as a block that keeps the rules of groups 1 and 2.
fn block_of(scene: &mut Scene, transactions: Vec<Transaction>) -> Arc<CheckedBlock> {
    let block =
        ashlar_testkit::builder::seal(scene.chain.draft(&scene.tip, Plan::of(transactions)));
    let header = block.header;
    let bytes = ashlar_primitives::Encode::to_bytes(&block);
    let params = scene.chain.genesis().params();
    Arc::new(ashlar_consensus::open_body(params, &header, 3, &bytes).unwrap())
}

#[test]
fn recent_blocks_are_bounded_and_the_newest_stays_whatever_its_size() {
    let mut scene = Scene::new(200, 20_000_000);
    let small: Vec<_> = (0..=RECENT_BLOCKS)
        .map(|coin| {
            let pay = scene.payment(coin, 200);
            block_of(&mut scene, vec![pay])
        })
        .collect();
    let mut recent = Recent::default();
    let has = |recent: &Recent, block: &CheckedBlock| recent.block(&block.id()).is_some();
    for block in &small[..RECENT_BLOCKS] {
        recent.add_block(block.clone());
    }
    assert!(has(&recent, &small[0]));
    recent.add_block(small[RECENT_BLOCKS].clone());
    assert!(!has(&recent, &small[0]) && has(&recent, &small[1]));

    // Two that fill the bytes exactly, and one more byte.
    let empty_bytes = block_of(&mut scene, Vec::new()).size_bytes() as usize;
    let filled = |scene: &mut Scene, from: usize, size_bytes: usize| {
        let (mut left, mut list) = (size_bytes - empty_bytes, Vec::new());
        for coin in from.. {
            let next = if left > 190_000 { 95_000 } else { left.min(95_000) };
            list.push(scene.payment(coin, next));
            left -= next;
            if left == 0 {
                break;
            }
        }
        block_of(scene, list)
    };
    for (more, stays) in [(0, true), (1, false)] {
        let mut recent = Recent::default();
        let first = filled(&mut scene, 0, RECENT_BLOCK_BYTES / 2);
        let second = filled(&mut scene, 1, RECENT_BLOCK_BYTES / 2 + more);
        recent.add_block(first.clone());
        recent.add_block(second.clone());
        assert_eq!((has(&recent, &first), has(&recent, &second)), (stays, true));
    }
    let mut recent = Recent::default();
    let huge = filled(&mut scene, 0, RECENT_BLOCK_BYTES + 1);
    recent.add_block(huge.clone());
    assert!(has(&recent, &huge));
}

fn checked(transaction: Transaction) -> Arc<CheckedTransaction> {
    Arc::new(check_transaction(transaction).unwrap())
}

#[test]
fn recent_transactions_and_ids_are_bounded() {
    let scene = Scene::new(90, 10_000);
    let mut recent = Recent::default();
    let size_bytes = RECENT_TRANSACTION_BYTES / 64;
    let all: Vec<_> = (0..65).map(|coin| checked(scene.payment(coin, size_bytes))).collect();
    for transaction in &all[..64] {
        recent.add_transaction(transaction.clone());
    }
    assert!(recent.has_transaction(&all[0].wtxid()));
    recent.add_transaction(all[64].clone());
    assert!(!recent.has_transaction(&all[0].wtxid()) && recent.has_transaction(&all[1].wtxid()));
    let id = |number: usize| BlockId([u8::try_from(number).unwrap(); 32]);
    for number in 0..RELAYED_IDS {
        recent.note_relayed(id(number));
    }
    assert!(recent.was_relayed(&id(0)));
    recent.note_relayed(id(RELAYED_IDS));
    assert!(!recent.was_relayed(&id(0)) && recent.was_relayed(&id(1)));
}

#[test]
fn an_announcement_prefills_so_many_bytes() {
    // Eight payments that nobody knows fill it exactly, or the eighth does not fit by one byte.
    for (more, prefilled) in [(0, 8), (1, 7)] {
        let mut scene = Scene::new(9, 400_000);
        let sizes = [PREFILL_BYTES / 8; 7].into_iter().chain([PREFILL_BYTES / 8 + more]);
        let payments: Vec<_> =
            sizes.enumerate().map(|(coin, size)| scene.payment(coin, size)).collect();
        let block: Block = scene.chain.extend(&scene.tip, Plan::of(payments)).to_block();
        scene.world.submit_block(scene.node, &block);
        let Some(GossipData::Block(compact)) = scene.world.nodes[scene.node].published.pop() else {
            panic!("an announcement")
        };
        assert_eq!((compact.prefilled.len(), compact.transaction_count()), (prefilled, 8));
    }
}

#[test]
fn what_waits_to_be_published_while_catching_up_is_bounded() {
    let mut scene = Scene::new(40, 400_000);
    let ahead = scene.chain.extend_by(&scene.tip, 40);
    scene.world.hand_at(scene.node, &scene.chain, &ahead);
    let (id, request) = scene.world.take_asked(scene.node, is_headers);
    let answer = super::world::honest_answer(&scene.chain, &ahead, &request);
    scene.world.answer(scene.node, id, answer);
    assert!(scene.world.sync_status(scene.node).syncing);
    // Thirty-two fill it exactly; the next one is left to the exchange of mempools.
    let payments: Vec<_> =
        (0..33).map(|coin| scene.payment(coin, MAX_OUTGOING_BYTES / 32)).collect();
    for payment in &payments {
        assert_eq!(scene.world.submit(scene.node, std::slice::from_ref(payment)), ["ok"]);
    }
    scene.world.serve(scene.node, &scene.chain, &ahead);
    scene.world.advance(2_000);
    let published: Vec<Transaction> = scene.world.nodes[scene.node]
        .published
        .iter()
        .filter_map(|data| match data {
            GossipData::Transactions(batch) => Some(batch.to_vec()),
            GossipData::Block(_) => None,
        })
        .flatten()
        .collect();
    assert!(published == payments[..32]);
}

#[test]
fn what_brings_something_is_limited_for_each_peer_too() {
    let count = usize::try_from(PRODUCTIVE_BYTES_PER_SECOND).unwrap() / wire::MAX_BATCH_BYTES;
    let mut scene = Scene::new(count + 10, 400_000);
    let (peer, other) = (scene.hand(), scene.hand());
    let size_bytes = 65_000;
    let mut told = 0_u64;
    let tell = |scene: &mut Scene, peer, coin| {
        let payment = scene.payment(coin, size_bytes);
        scene.world.tell(scene.node, peer, GossipData::Transactions(Arc::new(vec![payment])))
    };
    for coin in 0..count + 3 {
        let verdict = tell(&mut scene, peer, coin);
        let is_over = told >= PRODUCTIVE_BYTES_PER_SECOND;
        assert_eq!(
            verdict,
            Some(if is_over { Verdict::Ignore } else { Verdict::Accept }),
            "{coin}"
        );
        if !is_over {
            told += size_bytes as u64;
        }
    }
    assert!(told >= PRODUCTIVE_BYTES_PER_SECOND);
    assert_eq!(tell(&mut scene, other, count + 4), Some(Verdict::Accept));
    scene.world.advance(1_000);
    assert_eq!(tell(&mut scene, peer, count + 5), Some(Verdict::Accept));
}

#[test]
fn orphans_are_bounded_by_count_and_by_bytes() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let parent = Txid([7; 32]);
    let orphan = |number: usize, size_bytes: usize| {
        let outpoint = OutPoint { txid: parent, index: u16::try_from(number).unwrap() };
        let outputs = (size_bytes - 112) / 41;
        let spend = Spend {
            inputs: vec![(outpoint, output(lock(1), COIN))],
            outputs: vec![output(lock(2), 1); outputs],
            memo: vec![0; size_bytes - 112 - 41 * outputs],
            ..Spend::default()
        };
        checked(spend.sign(&BlockId([0; 32]), &[&key(1)]))
    };
    let mut orphans = Orphans::default();
    for number in 0..MAX_ORPHANS {
        orphans.insert(orphan(number, 200), Peer(number as u64), 0, rng);
    }
    assert_eq!(orphans.len(), MAX_ORPHANS);
    orphans.insert(orphan(MAX_ORPHANS, 200), Peer(1_000), 0, rng);
    assert_eq!(orphans.len(), MAX_ORPHANS);
    // Its parent wakes all of them; they are judged a few at a time.
    orphans.note_parent(&parent);
    assert_eq!(orphans.take_ready(ORPHANS_PER_ROUND).len(), ORPHANS_PER_ROUND);
    assert!(orphans.has_ready());

    let mut orphans = Orphans::default();
    for number in 0..8 {
        orphans.insert(orphan(number, MAX_ORPHAN_BYTES / 8), Peer(number as u64), 0, rng);
    }
    assert_eq!(orphans.len(), 8);
    orphans.insert(orphan(8, 200), Peer(8), 0, rng);
    assert_eq!(orphans.len(), 8, "one had to go");
}

#[test]
fn orders_that_wait_are_bounded() {
    let mut scene = Scene::new(2, 10_000);
    let pay = scene.payment(0, 200);
    let block = scene.chain.extend(&scene.tip, Plan::of(vec![pay]));
    // Orders are answered when the tip stands still, and a block's signatures are out.
    scene.world.held = Some(Vec::new());
    let bytes = ashlar_primitives::Encode::to_bytes(&block.to_block());
    scene.world.begin_call(scene.node, Call::SubmitBlock(bytes));
    scene.world.pump();
    let (_, open, job) = scene.world.held.as_mut().unwrap().pop().unwrap();
    let result = job.run(&mut rand::rng());
    scene.world.done(scene.node, open, result);
    let orders: Vec<_> = (0..=MAX_ORDERS)
        .map(|_| scene.world.begin_call(scene.node, Call::ReconsiderBlock(scene.tip)))
        .collect();
    scene.world.pump();
    scene.world.run_jobs();
    let mut replies = orders.into_iter().map(|id| scene.world.reply(scene.node, id));
    assert!(replies.by_ref().take(MAX_ORDERS).all(|r| matches!(r, Ok(AnswerBody::Done))));
    assert!(matches!(replies.next(), Some(Err(CallError::Overloaded))));
}
