//! Transactions: batches, verdicts, orphans, exchange of mempools, reorganisation.

use std::{slice::from_ref, sync::Arc};

use ashlar_primitives::{
    Amount, BlockId, Lock, OutPoint, Output, Signature, Transaction, Witness,
    wire::{self, Answer, Request},
};
use ashlar_testkit::builder::{Chain, Plan, Spend, genesis, key, lock, output};

use super::world::World;
use crate::{
    Call, GossipData, Offence, Peer, Verdict,
    call::AnswerBody,
    limits::{GATHER_MS, MAX_RECONCILES},
};

/// A node on a chain where key 1 owns many coins, and a peer in the test's hand.
struct Scene {
    world: World,
    chain: Chain,
    tip: BlockId,
    node: usize,
    peer: Peer,
    coins: Vec<(OutPoint, Output)>,
}

const COIN: u64 = 1_000_000;

impl Scene {
    fn new() -> Self {
        let mut chain = Chain::new(genesis(&vec![(lock(1), COIN); 200]));
        let tip = chain.extend_by(&chain.genesis_id(), 2);
        let mut world = World::new();
        let node = world.add(chain.genesis());
        world.feed(node, &chain.branch(&tip));
        let peer = world.hand_at(node, &chain, &tip);
        let coins = chain.spendable(&tip, &lock(1));
        // The exchange on a new outbound connection.
        world.serve(node, &chain, &tip);
        Self { world, chain, tip, node, peer, coins }
    }

    /// Spends the coin of this number.
    fn spend(&self, coin: usize, fee: u64) -> Transaction {
        pay(&self.chain, self.coins[coin], COIN - fee)
    }

    fn tell(&mut self, transactions: &[Transaction]) -> Option<Verdict> {
        self.world.tell(self.node, self.peer, batch(transactions))
    }

    fn waits(&self, transaction: &Transaction) -> bool {
        self.world.waits(self.node, transaction)
    }

    /// What the node published, batch by batch.
    fn published(&self) -> Vec<Vec<Transaction>> {
        let published = self.world.nodes[self.node].published.iter();
        published
            .filter_map(|data| match data {
                GossipData::Transactions(batch) => Some(batch.to_vec()),
                GossipData::Block(_) => None,
            })
            .collect()
    }
}

fn batch(transactions: &[Transaction]) -> GossipData {
    GossipData::Transactions(Arc::new(transactions.to_vec()))
}

/// From a coin of key 1 to key 1.
fn pay(chain: &Chain, coin: (OutPoint, Output), grains: u64) -> Transaction {
    let outputs = vec![output(lock(1), grains)];
    let spend = Spend { inputs: vec![coin], outputs, ..Spend::default() };
    spend.sign(&chain.genesis_id(), &[&key(1)])
}

/// Spends the only output of another.
fn child(chain: &Chain, parent: &Transaction, fee: u64) -> Transaction {
    let made = parent.outputs[0];
    let coin = (OutPoint { txid: parent.txid(), index: 0 }, made);
    pay(chain, coin, made.value.grains() - fee)
}

fn with_bad_signature(mut transaction: Transaction) -> Transaction {
    transaction.witnesses = vec![Witness::Key { signature: Signature([1; 64]) }];
    transaction
}

#[test]
fn a_payment_travels_over_several_hops() {
    let chain = Chain::new(genesis(&[(lock(1), COIN)]));
    let mut world = World::new();
    let nodes = [(); 4].map(|()| world.add(chain.genesis()));
    for pair in nodes.windows(2) {
        world.connect(pair[0], pair[1]);
    }
    let payment = chain.pay(&chain.genesis_id(), 1, lock(2), 1_000, 500);
    assert_eq!(world.submit(nodes[1], std::slice::from_ref(&payment)), ["ok"]);
    assert!(!world.waits(nodes[0], &payment));
    world.advance(20);
    for node in nodes {
        assert!(world.waits(node, &payment));
        // It fills its batch: each passes that on and makes none of its own.
        let batches = usize::from(node == nodes[1]);
        assert_eq!(world.nodes[node].published.len(), batches);
    }
    world.settle();
}

#[test]
fn parents_and_children_come_in_one_batch() {
    let mut scene = Scene::new();
    let parent = scene.spend(0, 500);
    let child = child(&scene.chain, &parent, 500);
    assert_eq!(scene.tell(&[parent.clone(), child.clone()]), Some(Verdict::Accept));
    assert!(scene.waits(&parent) && scene.waits(&child));
}

#[test]
fn a_batch_is_passed_on_if_half_of_it_is_new() {
    let mut scene = Scene::new();
    let known: Vec<Transaction> = (0..3).map(|coin| scene.spend(coin, 500)).collect();
    assert_eq!(scene.world.submit(scene.node, &known), ["ok", "ok", "ok"]);
    scene.world.advance(100);
    let published = scene.published().len();
    let [one, two] = [scene.spend(3, 500), scene.spend(4, 500)];
    // One of three is too little: it joins our own next batch.
    let mixed = [known[0].clone(), known[1].clone(), one.clone()];
    assert_eq!(scene.tell(&mixed), Some(Verdict::Ignore));
    assert!(scene.waits(&one));
    scene.world.advance(100);
    assert_eq!(scene.published()[published..], [vec![one.clone()]]);
    // Half is enough, and then it is not published again.
    assert_eq!(scene.tell(&[known[2].clone(), two.clone()]), Some(Verdict::Accept));
    scene.world.advance(100);
    assert_eq!(scene.published().len(), published + 1);
    // Nothing new at all.
    assert_eq!(scene.tell(&[one, two]), Some(Verdict::Ignore));
}

#[test]
fn a_refusal_by_policy_is_nobodys_fault() {
    let mut scene = Scene::new();
    let [good, cheap] = [scene.spend(0, 500), scene.spend(1, 1)];
    assert_eq!(scene.tell(from_ref(&cheap)), Some(Verdict::Ignore));
    // Checked to the end, so that it may travel in company.
    assert_eq!(scene.tell(&[good.clone(), cheap.clone()]), Some(Verdict::Accept));
    assert!(scene.waits(&good) && !scene.waits(&cheap));
    assert_eq!(scene.world.score(scene.node, scene.peer), Some(0));
}

#[test]
fn a_batch_with_something_wrong_for_ever_is_rejected_whole() {
    let mut scene = Scene::new();
    let good = scene.spend(0, 500);
    let bad = with_bad_signature(scene.spend(1, 500));
    let empty = Transaction { outputs: Vec::new(), ..scene.spend(2, 500) };
    let mut foreign = scene.spend(3, 500);
    foreign.witnesses.clear();
    for (count, wrong) in [bad, empty, foreign].into_iter().enumerate() {
        assert_eq!(scene.tell(&[good.clone(), wrong]), Some(Verdict::Reject));
        assert!(!scene.waits(&good));
        let is_cut = count == 2;
        assert_eq!(scene.world.offences(scene.node).len(), usize::from(is_cut));
    }
    assert_eq!(scene.world.offences(scene.node), [Offence::InvalidTransaction]);
}

#[test]
fn a_bad_copy_does_not_keep_the_good_one_out() {
    let mut scene = Scene::new();
    let good = scene.spend(0, 500);
    assert_eq!(scene.tell(&[with_bad_signature(good.clone())]), Some(Verdict::Reject));
    assert_eq!(scene.tell(from_ref(&good)), Some(Verdict::Accept));
    assert!(scene.waits(&good));
}

#[test]
fn what_is_for_now_is_ignored() {
    let mut scene = Scene::new();
    let coin = scene.coins[0];
    let outputs = vec![output(lock(1), COIN - 500)];
    let early = Spend { inputs: vec![coin], outputs, not_before: 50, ..Spend::default() };
    let early = early.sign(&scene.chain.genesis_id(), &[&key(1)]);
    assert_eq!(scene.tell(&[early]), Some(Verdict::Ignore));
    // Beside it, what is new stays, but is not passed on with something unjudged.
    assert_eq!(scene.world.score(scene.node, scene.peer), Some(0));
}

#[test]
fn an_orphan_makes_its_sender_name_the_parent() {
    let mut scene = Scene::new();
    let parent = scene.spend(0, 500);
    let middle = child(&scene.chain, &parent, 500);
    let last = child(&scene.chain, &middle, 500);
    // Not before the interval since the exchange on connecting has passed.
    assert_eq!(scene.tell(from_ref(&last)), Some(Verdict::Ignore));
    assert!(!scene.world.has_asked(scene.node, |request| *request == Request::Mempool));
    scene.world.advance(10_000);
    let (id, _) = scene.world.take_asked(scene.node, |request| *request == Request::Mempool);
    // Best feerate first: not parents first. The orphan itself is not asked for.
    let wtxids = vec![middle.wtxid(), last.wtxid(), parent.wtxid()];
    scene.world.answer(scene.node, id, Answer::Mempool(wtxids));
    let wanted = Request::Transactions { wtxids: vec![middle.wtxid(), parent.wtxid()] };
    let (id, _) = scene.world.take_asked(scene.node, |request| *request == wanted);
    let transactions = vec![middle.clone(), parent.clone()];
    scene.world.answer(scene.node, id, Answer::Transactions(transactions));
    for transaction in [&parent, &middle, &last] {
        assert!(scene.waits(transaction));
    }
    // All three go on in one batch, parents first.
    scene.world.advance(100);
    assert_eq!(scene.published(), [vec![parent, middle, last]]);
}

#[test]
fn an_orphan_whose_parent_is_confirmed_meanwhile_is_taken() {
    let mut scene = Scene::new();
    let parent = scene.spend(0, 500);
    let orphan = child(&scene.chain, &parent, 500);
    assert_eq!(scene.tell(from_ref(&orphan)), Some(Verdict::Ignore));
    let block = scene.chain.extend(&scene.tip.clone(), Plan::of(vec![parent]));
    scene.world.submit_block(scene.node, &block.to_block());
    assert!(scene.waits(&orphan));
}

#[test]
fn the_orphan_pool_is_bounded_and_forgets() {
    let mut scene = Scene::new();
    let orphan = |scene: &Scene, coin: usize| child(&scene.chain, &scene.spend(coin, 500), 500);
    let many: Vec<Transaction> = (0..30).map(|coin| orphan(&scene, coin)).collect();
    assert_eq!(scene.tell(&many), Some(Verdict::Ignore));
    assert_eq!(scene.world.nodes[scene.node].engine.orphans.len(), 10);
    // Another peer's orphan finds room beside them.
    let other = scene.world.hand_at(scene.node, &scene.chain, &scene.tip);
    let honest = orphan(&scene, 50);
    scene.world.tell(scene.node, other, batch(from_ref(&honest)));
    assert!(scene.world.nodes[scene.node].engine.orphans.contains(&honest.wtxid()));
    assert_eq!(scene.world.nodes[scene.node].engine.orphans.len(), 11);
    scene.world.lose(scene.node, scene.peer);
    assert_eq!(scene.world.nodes[scene.node].engine.orphans.len(), 1);
    scene.world.advance(301_000);
    assert_eq!(scene.world.nodes[scene.node].engine.orphans.len(), 0);
}

#[test]
fn an_answer_with_what_was_not_asked_for_is_wrong() {
    let mut scene = Scene::new();
    let [asked, other] = [scene.spend(0, 500), scene.spend(1, 500)];
    let peer = scene.world.hand_at(scene.node, &scene.chain, &scene.tip);
    let (id, _) = scene.world.take_asked(scene.node, |request| *request == Request::Mempool);
    scene.world.answer(scene.node, id, Answer::Mempool(vec![asked.wtxid()]));
    let is_transactions = |request: &Request| matches!(request, Request::Transactions { .. });
    let (id, _) = scene.world.take_asked(scene.node, is_transactions);
    scene.world.answer(scene.node, id, Answer::Transactions(vec![other.clone()]));
    assert_eq!(scene.world.offences(scene.node), [Offence::WrongAnswer]);
    assert_eq!(scene.world.nodes[scene.node].cuts[0].peer, peer);
    assert!(!scene.waits(&other));
}

#[test]
fn mempools_are_exchanged_on_a_new_connection_both_ways() {
    for dials in [true, false] {
        let mut scene = Scene::new();
        let [ours, theirs] = [0..100, 100..200]
            .map(|coins| coins.map(|coin| scene.spend(coin, 500)).collect::<Vec<_>>());
        scene.world.submit(scene.node, &ours);
        let fresh = scene.world.add(scene.chain.genesis());
        let blocks = scene.chain.branch(&scene.tip);
        scene.world.feed(fresh, &blocks);
        scene.world.submit(fresh, &theirs);
        // What was published before they met is not published again.
        scene.world.advance(1_000);
        if dials {
            scene.world.connect(fresh, scene.node);
        } else {
            scene.world.connect(scene.node, fresh);
        }
        scene.world.advance(2_000);
        for transaction in ours.iter().chain(&theirs) {
            assert!(scene.world.waits(fresh, transaction) && scene.waits(transaction));
        }
    }
}

#[test]
fn a_few_mempools_are_exchanged_at_a_time_and_nothing_is_asked_for_twice() {
    let mut scene = Scene::new();
    let is_ids = |request: &Request| *request == Request::Mempool;
    let peers: Vec<Peer> =
        (0..6).map(|_| scene.world.hand_at(scene.node, &scene.chain, &scene.tip)).collect();
    let asked = |scene: &Scene| {
        let asked = scene.world.nodes[scene.node].asked.iter();
        asked.filter(|(_, _, request)| is_ids(request)).count()
    };
    assert_eq!((peers.len(), asked(&scene)), (6, MAX_RECONCILES));
    // All have the same; the first that is asked for it brings it.
    let payment = scene.spend(0, 500);
    let answer = Answer::Mempool(vec![payment.wtxid()]);
    let (id, _) = scene.world.take_asked(scene.node, is_ids);
    scene.world.answer(scene.node, id, answer.clone());
    let is_transactions = |request: &Request| matches!(request, Request::Transactions { .. });
    let (id, _) = scene.world.take_asked(scene.node, is_transactions);
    scene.world.answer(scene.node, id, Answer::Transactions(vec![payment.clone()]));
    assert!(scene.waits(&payment));
    for _ in 1..6 {
        let (id, _) = scene.world.take_asked(scene.node, is_ids);
        scene.world.answer(scene.node, id, answer.clone());
    }
    assert!(!scene.world.has_asked(scene.node, is_transactions));
    assert!(!scene.world.has_asked(scene.node, is_ids));
}

#[test]
fn what_is_new_is_gathered_for_a_moment_and_a_full_batch_does_not_wait() {
    let mut scene = Scene::new();
    assert_eq!(scene.world.submit(scene.node, &[scene.spend(0, 500)]), ["ok"]);
    scene.world.advance(GATHER_MS - 1);
    assert_eq!(scene.world.submit(scene.node, &[scene.spend(1, 500)]), ["ok"]);
    assert_eq!(scene.published().len(), 0);
    scene.world.advance(1);
    assert_eq!(scene.published().iter().map(Vec::len).collect::<Vec<_>>(), [2]);
    let long: Vec<Transaction> = (2..190)
        .map(|coin| {
            let inputs = vec![scene.coins[coin]];
            let outputs = vec![Output { lock: lock(2), value: Amount::from_grains(COIN - 900) }];
            let spend = Spend { inputs, outputs, memo: vec![0; 256], ..Spend::default() };
            spend.sign(&scene.chain.genesis_id(), &[&key(1)])
        })
        .collect();
    scene.world.submit(scene.node, &long);
    assert_eq!(scene.published().len(), 2, "one of them at once");
    scene.world.advance(GATHER_MS);
    let published = scene.published();
    assert_eq!(published[1..].concat(), long);
    for batch in &published {
        assert!(wire::encode_batch(batch).len() <= wire::MAX_BATCH_BYTES);
    }
}

#[test]
fn what_brings_nothing_is_limited_for_each_peer() {
    let mut scene = Scene::new();
    let known: Vec<Transaction> = (0..100).map(|coin| scene.spend(coin, 500)).collect();
    scene.world.submit(scene.node, &known);
    let flooded = |scene: &mut Scene, salt: usize| {
        // The same transactions in ever other orders.
        let mut told = known.clone();
        told.rotate_left(salt % 100);
        told.swap(0, 1 + salt / 100);
        scene.tell(&told)
    };
    for salt in 0..100 {
        assert_eq!(flooded(&mut scene, salt), Some(Verdict::Ignore));
    }
    // 1 MiB of them is used up: not even good ones come through for the moment.
    let fresh = scene.spend(150, 500);
    assert_eq!(scene.tell(from_ref(&fresh)), Some(Verdict::Ignore));
    assert!(!scene.waits(&fresh));
    let other = scene.world.hand_at(scene.node, &scene.chain, &scene.tip);
    let another = scene.spend(151, 500);
    let verdict = scene.world.tell(scene.node, other, batch(&[another]));
    assert_eq!(verdict, Some(Verdict::Accept));
    scene.world.advance(30_000);
    let later = scene.spend(152, 500);
    assert_eq!(scene.tell(&[later]), Some(Verdict::Accept));
    assert_eq!(scene.world.score(scene.node, scene.peer), Some(0));
}

#[test]
fn nothing_is_relayed_while_catching_up() {
    let mut scene = Scene::new();
    let ahead = scene.chain.extend_by(&scene.tip, 40);
    let other = scene.world.hand_at(scene.node, &scene.chain, &ahead);
    let (id, request) =
        scene.world.take_asked(scene.node, |request| matches!(request, Request::Headers { .. }));
    let answer = super::world::honest_answer(&scene.chain, &ahead, &request);
    scene.world.answer(scene.node, id, answer);
    assert!(scene.world.sync_status(scene.node).syncing);
    let payment = scene.spend(0, 500);
    assert_eq!(scene.tell(from_ref(&payment)), Some(Verdict::Ignore));
    assert!(!scene.waits(&payment));
    // What our own caller brings waits for the end of it.
    assert_eq!(scene.world.submit(scene.node, from_ref(&payment)), ["ok"]);
    scene.world.advance(1_000);
    assert!(scene.published().is_empty());
    let _: Peer = other;
    scene.world.serve(scene.node, &scene.chain, &ahead);
    assert_eq!(scene.world.tip(scene.node), ahead);
    scene.world.advance(1_000);
    assert_eq!(scene.published(), [vec![payment]]);
}

#[test]
fn a_ticket_that_has_run_out_is_ignored_at_once() {
    let mut scene = Scene::new();
    let payment = scene.spend(0, 500);
    let deadline_ms = scene.world.now.monotonic_ms;
    let ticket = crate::Ticket { id: 77_777, source: scene.peer, deadline_ms };
    let mut out = Vec::new();
    let input = crate::Input::Gossip(ticket, batch(&[payment]));
    let now = scene.world.now;
    scene.world.nodes[scene.node].engine.handle(now, input, &mut out).unwrap();
    assert!(matches!(out[0], crate::Output::Verdict(_, Verdict::Ignore)));
}

#[test]
fn a_reorganisation_brings_transactions_back() {
    let mut scene = Scene::new();
    let tip = scene.tip;
    let [kept, lost] = [scene.spend(0, 500), scene.spend(1, 500)];
    let grandchild = child(&scene.chain, &lost, 500);
    let one = scene.chain.extend(&tip, Plan::of(vec![kept.clone(), lost.clone()]));
    let two = scene.chain.extend(&one.id(), Plan::of(vec![grandchild.clone()]));
    let waiting = child(&scene.chain, &grandchild, 500);
    scene.world.feed(scene.node, &[one, two]);
    assert_eq!(scene.world.submit(scene.node, from_ref(&waiting)), ["ok"]);
    // The other branch confirms one of them, and spends the other's coin.
    let double = pay(&scene.chain, scene.coins[2], COIN - 700);
    let mut other = scene.chain.extend(&tip, Plan::of(vec![kept.clone(), double])).id();
    other = scene.chain.extend_by(&other, 2);
    let blocks = scene.chain.branch(&other);
    scene.world.feed(scene.node, &blocks[2..]);
    assert_eq!(scene.world.tip(scene.node), other);
    assert!(!scene.waits(&kept));
    for transaction in [&lost, &grandchild, &waiting] {
        assert!(scene.waits(transaction));
    }
}

#[test]
fn submitted_and_tested_in_one_list() {
    let mut scene = Scene::new();
    let parent = scene.spend(0, 500);
    let next = child(&scene.chain, &parent, 500);
    let list = [parent.clone(), next, with_bad_signature(scene.spend(1, 500))];
    let checked = list.iter().map(super::world::checked).collect();
    let tested = scene.world.call(scene.node, Call::TestTransactions(checked));
    let Ok(AnswerBody::Tested(results)) = tested else { panic!("tested") };
    assert_eq!(super::world::codes(&results), ["ok", "ok", "tx-bad-signature"]);
    assert!(!scene.waits(&parent));
    assert_eq!(scene.world.submit(scene.node, &list), ["ok", "ok", "tx-bad-signature"]);
    assert_eq!(
        scene.world.submit(scene.node, &list),
        ["tx-already-known", "tx-already-known", "tx-bad-signature"]
    );
    let outputs = vec![Output { lock: Lock { version: 1, program: [7; 32] }, ..parent.outputs[0] }];
    let conflict = Spend { inputs: vec![scene.coins[0]], outputs, ..Spend::default() };
    let conflict = conflict.sign(&scene.chain.genesis_id(), &[&key(1)]);
    assert_eq!(scene.world.submit(scene.node, &[conflict]), ["tx-conflict"]);
    let block = scene.chain.extend(&scene.tip.clone(), Plan::of(vec![parent.clone()]));
    scene.world.submit_block(scene.node, &block.to_block());
    assert_eq!(scene.world.submit(scene.node, &[parent]), ["tx-already-confirmed"]);
    let nowhere = child(&scene.chain, &scene.spend(9, 500), 500);
    assert_eq!(scene.world.submit(scene.node, &[nowhere]), ["tx-missing-input"]);
}

#[test]
fn batches_are_judged_and_accepted_in_order_of_arrival_whatever_jobs_do() {
    let mut scene = Scene::new();
    scene.world.held = Some(Vec::new());
    let parent = scene.spend(0, 500);
    let middle = child(&scene.chain, &parent, 500);
    let last = child(&scene.chain, &middle, 500);
    for transaction in [&parent, &middle, &last] {
        // The next batch comes before anything of this one was checked.
        assert_eq!(scene.tell(from_ref(transaction)), None);
    }
    scene.world.run_jobs();
    for transaction in [&parent, &middle, &last] {
        assert!(scene.waits(transaction));
    }
    let verdicts: Vec<Verdict> = scene.world.nodes[scene.node].verdicts.values().copied().collect();
    assert_eq!(verdicts, [Verdict::Accept; 3]);
    assert_eq!(scene.world.nodes[scene.node].engine.orphans.len(), 0);
}

#[test]
fn a_late_verdict_is_ignore_and_the_batch_is_judged_all_the_same() {
    let mut scene = Scene::new();
    scene.world.held = Some(Vec::new());
    let payment = scene.spend(0, 500);
    assert_eq!(scene.tell(from_ref(&payment)), None);
    scene.world.settle();
    let verdicts: Vec<Verdict> = scene.world.nodes[scene.node].verdicts.values().copied().collect();
    assert_eq!(verdicts, [Verdict::Ignore]);
    scene.world.run_jobs();
    assert!(scene.waits(&payment));
    // Nobody passed it on, so that our own batch must.
    scene.world.advance(100);
    assert_eq!(scene.published(), [vec![payment]]);
}

#[test]
fn batches_under_way_are_bounded_for_each_peer_and_callers_find_room() {
    let mut scene = Scene::new();
    scene.world.held = Some(Vec::new());
    let peers: Vec<Peer> =
        (0..4).map(|_| scene.world.hand_at(scene.node, &scene.chain, &scene.tip)).collect();
    let mut ignored = 0;
    for (number, peer) in (0..140).zip(peers.iter().cycle()) {
        let payment = scene.spend(number, 500);
        let verdict = scene.world.tell(scene.node, *peer, batch(&[payment]));
        ignored += usize::from(verdict == Some(Verdict::Ignore));
    }
    // Of all peers 96 at a time, of one of them 32 at most.
    assert_eq!(ignored, 44);
    let call = Call::SubmitTransactions(vec![super::world::checked(&scene.spend(150, 500))]);
    let id = scene.world.begin_call(scene.node, call);
    scene.world.pump();
    scene.world.run_jobs();
    let reply = scene.world.reply(scene.node, id);
    assert!(matches!(reply, Ok(AnswerBody::Submitted(results)) if results[0].is_ok()));
    scene.world.held = None;
    let mut scene = Scene::new();
    scene.world.held = Some(Vec::new());
    for number in 0..36 {
        let payment = scene.spend(number, 500);
        let verdict = scene.tell(from_ref(&payment));
        assert_eq!(verdict.is_some(), number >= 32);
    }
}

#[test]
fn more_calls_than_there_is_room_for_are_refused() {
    let mut scene = Scene::new();
    scene.world.held = Some(Vec::new());
    let calls: Vec<_> = (0..134)
        .map(|number| {
            let payment = super::world::checked(&scene.spend(number, 500));
            scene.world.begin_call(scene.node, Call::SubmitTransactions(vec![payment]))
        })
        .collect();
    scene.world.pump();
    scene.world.run_jobs();
    let replies = calls.into_iter().map(|id| scene.world.reply(scene.node, id));
    let refused = replies.filter(|reply| reply.is_err()).count();
    assert_eq!(refused, 134 - 128);
}

#[test]
fn while_a_blocks_signatures_are_away_everything_else_goes_on() {
    let mut scene = Scene::new();
    let payment = scene.spend(0, 500);
    let block = scene.chain.extend(&scene.tip.clone(), Plan::of(vec![payment]));
    scene.world.held = Some(Vec::new());
    let call = Call::SubmitBlock(block.to_bytes());
    let id = scene.world.begin_call(scene.node, call);
    scene.world.pump();
    let (_, open, job) = scene.world.held.as_mut().unwrap().pop().unwrap();
    let result = job.run(&mut rand::rng());
    scene.world.done(scene.node, open, result);
    // The block is walked, its signatures are out.
    assert_eq!(scene.world.held.as_ref().unwrap().len(), 1);
    assert_eq!(scene.world.tip(scene.node), scene.tip);
    let request = Request::Blocks { ids: vec![scene.tip] };
    let answer = scene.world.ask(scene.node, scene.peer, request);
    assert!(matches!(answer, Some(Answer::Blocks(blocks)) if blocks.len() == 1));
    assert_eq!(scene.world.sync_status(scene.node).height, 2);
    let Ok(AnswerBody::MempoolInfo(_)) = scene.world.call(scene.node, Call::MempoolInfo) else {
        panic!("an answer at once");
    };
    scene.world.run_jobs();
    assert_eq!(scene.world.tip(scene.node), block.id());
    assert!(matches!(scene.world.reply(scene.node, id), Ok(AnswerBody::Block(_))));
}
