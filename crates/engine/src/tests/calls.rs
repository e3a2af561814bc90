//! Calls: templates, submitted blocks, orders, the mempool's pages.

use std::{collections::VecDeque, sync::Arc};

use ashlar_primitives::{
    Amount, Block, BlockId, Encode, Header, Lock, OutPoint, compact::CompactBlock,
};
use ashlar_testkit::builder::{Chain, Plan, genesis, lock, output, seal, solve};

use super::world::{World, checked};
use crate::{
    Call, CallId, Event, GossipData, Input, Output, Outputs,
    call::{
        AnswerBody, BlockVerdict, CallError, InFlight, MAX_CALL_ENTRIES, MAX_CALL_TRANSACTIONS,
        Restored, Template,
    },
};

fn scene(blocks: usize) -> (World, Chain, BlockId, usize) {
    let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000), (lock(1), 1_000_000)]));
    let tip = chain.extend_by(&chain.genesis_id(), blocks);
    let mut world = World::new();
    let node = world.add(chain.genesis());
    world.feed(node, &chain.branch(&tip));
    (world, chain, tip, node)
}

fn template(world: &mut World, node: usize) -> std::sync::Arc<Template> {
    match world.call(node, Call::Template { pay_to: lock(5), extra: b"here".to_vec() }) {
        Ok(AnswerBody::Template(template)) => template,
        other => panic!("{other:?}"),
    }
}

fn mined(template: &Template) -> Block {
    Block { header: solve(template.block.header), ..template.block.clone() }
}

#[test]
fn templates_are_mined_and_hold_what_waits() {
    let (mut world, mut chain, mut tip, node) = scene(1);
    for round in 0..5_u64 {
        let payment = chain.pay(&tip, 1, lock(2), 100, 1_000 + round);
        assert_eq!(world.submit(node, std::slice::from_ref(&payment)), ["ok"]);
        let template = template(&mut world, node);
        assert_eq!(template.block.transactions, [payment]);
        assert_eq!(template.transaction_fees, [Amount::from_grains(1_000 + round)]);
        assert_eq!(template.fees.grains(), 1_000 + round);
        assert_eq!(template.height, chain.state(&tip).header.height + 1);
        assert_eq!(u64::from(template.block.header.time), world.now.unix_seconds());
        assert_eq!(template.block.coinbase.extra, b"here");
        let block = mined(&template);
        assert_eq!(chain.adopt(block.clone()).unwrap().id(), block.header.id());
        tip = block.header.id();
        assert_eq!(world.submit_block(node, &block), BlockVerdict::Accepted(tip));
        assert_eq!(world.tip(node), tip);
        world.advance(10_000);
    }
}

#[test]
fn a_template_lasts_a_second_and_then_until_something_better_comes() {
    let (mut world, chain, tip, node) = scene(1);
    let first = template(&mut world, node);
    let payment = chain.pay(&tip, 1, lock(2), 100, 1_000);
    world.submit(node, &[payment]);
    world.advance(500);
    assert!(template(&mut world, node).block.transactions.is_empty());
    world.advance(500);
    let second = template(&mut world, node);
    assert_eq!(second.block.transactions.len(), 1);
    assert!(second.mempool_sequence > first.mempool_sequence);
    // Its time goes on without it being made anew.
    world.advance(5_000);
    let third = template(&mut world, node);
    assert_eq!(third.mempool_sequence, second.mempool_sequence);
    assert_eq!(third.block.header.time, second.block.header.time + 5);
    assert_eq!(mined(&third).transactions, second.block.transactions);
}

#[test]
fn templates_for_several_callers_differ_in_their_coinbase_alone() {
    let (mut world, _, _, node) = scene(1);
    let ids = [5, 6, 7].map(|number| {
        world.begin_call(node, Call::Template { pay_to: lock(number), extra: Vec::new() })
    });
    world.pump();
    for (id, number) in ids.into_iter().zip([5, 6, 7]) {
        let Ok(AnswerBody::Template(template)) = world.reply(node, id) else { panic!("template") };
        assert_eq!(template.block.coinbase.outputs[0].lock, lock(number));
        let block = mined(&template);
        assert!(matches!(
            world.submit_block(node, &block),
            BlockVerdict::Accepted(_) | BlockVerdict::Side(_)
        ));
    }
}

/// One block from as far in the future as blocks may be is the median of two, so the next must be
/// later still.
#[test]
fn no_template_is_made_that_this_clock_would_refuse() {
    let (mut world, mut chain, genesis, node) = scene(0);
    let max_future = u64::from(chain.genesis().params().max_future_seconds);
    let latest = u32::try_from(world.now.unix_seconds() + max_future).unwrap();
    let plan = Plan { time: Some(latest), ..Plan::default() };
    let ahead = chain.extend(&genesis, plan).to_block();
    assert!(matches!(world.submit_block(node, &ahead), BlockVerdict::Accepted(_)));
    let ask = || Call::Template { pay_to: lock(5), extra: Vec::new() };
    let refused = world.call(node, ask()).unwrap_err();
    assert_eq!(refused, CallError::TipAhead { wait_seconds: 1 });
    world.advance(1_000);
    let block = mined(&template(&mut world, node));
    assert_eq!(block.header.time, latest + 1);
    assert!(matches!(world.submit_block(node, &block), BlockVerdict::Accepted(_)));
}

#[test]
fn what_no_coinbase_can_hold_is_refused() {
    let (mut world, _, _, node) = scene(0);
    let pay_to = Lock { version: 2, ..lock(1) };
    let answer = world.call(node, Call::Template { pay_to, extra: Vec::new() });
    assert_eq!(answer.unwrap_err(), CallError::UnknownLock { version: 2 });
    let answer = world.call(node, Call::Template { pay_to: lock(1), extra: vec![0; 97] });
    assert_eq!(answer.unwrap_err(), CallError::ExtraTooLong { length: 97, max: 96 });
    assert!(world.call(node, Call::Template { pay_to: lock(1), extra: vec![0; 96] }).is_ok());
}

#[test]
fn submitted_blocks_are_told_the_first_rule_that_they_break() {
    let (mut world, mut chain, tip, node) = scene(3);
    let code = |world: &mut World, block: &Block| match world.submit_block(node, block) {
        BlockVerdict::Refused { code, .. } => code,
        other => panic!("{other:?}"),
    };
    let good = chain.extend(&tip, Plan::default()).to_block();
    let child = chain.extend(&good.header.id(), Plan::default()).to_block();
    assert_eq!(code(&mut world, &child), "unknown-parent");
    let old = seal(Block { header: Header { time: 1, ..good.header }, ..good.clone() });
    assert_eq!(code(&mut world, &old), "time-too-old");
    let time = good.header.time + 200_000;
    let new = seal(Block { header: Header { time, ..good.header }, ..good.clone() });
    assert_eq!(code(&mut world, &new), "time-too-new");
    let mut wrong_body = good.clone();
    wrong_body.coinbase.extra.push(1);
    assert_eq!(code(&mut world, &wrong_body), "bad-merkle-root");
    let plan = Plan { claim: Some(Amount::from_grains(500_000_001)), ..Plan::default() };
    let greedy = seal(chain.draft(&tip, plan));
    assert_eq!(code(&mut world, &greedy), "coinbase-overpays");
    // Remembered, and told again from memory.
    assert_eq!(code(&mut world, &greedy), "coinbase-overpays");
    let many = chain.spoiled(&tip, Plan::default(), |block| {
        block.coinbase.outputs = vec![output(lock(1), 0); 1_025];
    });
    assert_eq!(code(&mut world, &many), "bad-coinbase");
    match world.call(node, Call::SubmitBlock(vec![0; 79])) {
        Ok(AnswerBody::Block(BlockVerdict::Refused { code, .. })) => assert_eq!(code, "malformed"),
        other => panic!("{other:?}"),
    }
    // After all that, the honest body of the id that came with a wrong one.
    let id = good.header.id();
    assert_eq!(world.submit_block(node, &good), BlockVerdict::Accepted(id));
    assert_eq!(world.submit_block(node, &good), BlockVerdict::Known(id));
    let side = chain.extend(&tip, Plan::default()).to_block();
    assert_eq!(world.submit_block(node, &side), BlockVerdict::Side(side.header.id()));
    assert_eq!(world.submit_block(node, &side), BlockVerdict::Known(side.header.id()));
}

#[test]
fn one_block_submitted_twice_at_once_has_one_verdict_for_both() {
    let (mut world, mut chain, tip, node) = scene(0);
    let block = chain.extend(&tip, Plan::default());
    let ids = [(); 2].map(|()| world.begin_call(node, Call::SubmitBlock(block.to_bytes())));
    world.pump();
    for id in ids {
        let Ok(AnswerBody::Block(verdict)) = world.reply(node, id) else { panic!("verdict") };
        assert_eq!(verdict, BlockVerdict::Accepted(block.id()));
    }
    assert_eq!(world.nodes[node].published.len(), 1);
}

#[test]
fn bodies_of_one_header_submitted_at_once_are_judged_each_for_itself() {
    let (mut world, mut chain, tip, node) = scene(0);
    let block = chain.extend(&tip, Plan::default());
    let honest = block.to_bytes();
    let mut changed = block.to_block();
    changed.coinbase.extra.push(1);
    let bodies = [[honest.clone(), vec![0]].concat(), honest, changed.to_bytes()];
    let ids = bodies.map(|bytes| world.begin_call(node, Call::SubmitBlock(bytes)));
    world.pump();
    let verdicts = ids.map(|id| match world.reply(node, id) {
        Ok(AnswerBody::Block(BlockVerdict::Refused { code, .. })) => code,
        Ok(AnswerBody::Block(BlockVerdict::Accepted(_))) => "accepted",
        other => panic!("{other:?}"),
    });
    assert_eq!(verdicts, ["malformed", "accepted", "bad-merkle-root"]);
    assert_eq!(world.tip(node), block.id());
}

#[test]
fn an_operator_takes_a_block_away_and_gives_it_back() {
    let (mut world, chain, tip, node) = scene(6);
    let branch = chain.branch(&tip);
    let done = |answer| assert!(matches!(answer, Ok(AnswerBody::Done)));
    done(world.call(node, Call::InvalidateBlock(branch[3].id())));
    assert_eq!(world.tip(node), branch[2].id());
    done(world.call(node, Call::ReconsiderBlock(branch[3].id())));
    assert_eq!(world.tip(node), tip);
    let unknown = world.call(node, Call::InvalidateBlock(BlockId([9; 32])));
    assert_eq!(unknown.unwrap_err(), CallError::NotFound);
    // Peers on the chain that was taken away are not at fault.
    done(world.call(node, Call::InvalidateBlock(branch[3].id())));
    let peer = world.hand_at(node, &chain, &tip);
    world.serve(node, &chain, &tip);
    assert_eq!(world.score(node, peer), Some(0));
    assert_eq!(world.tip(node), branch[2].id());
}

#[test]
fn the_mempool_is_told_page_by_page() {
    let (mut world, chain, tip, node) = scene(1);
    let one = chain.pay(&tip, 1, lock(2), 1_500_000, 1_000);
    assert_eq!(world.submit(node, std::slice::from_ref(&one)), ["ok"]);
    world.advance(60_000);
    let Ok(AnswerBody::MempoolInfo(info)) = world.call(node, Call::MempoolInfo) else { panic!() };
    assert_eq!((info.count, info.orphans), (1, 0));
    assert_eq!((info.total_fee.grains(), info.min_feerate_per_kb), (1_000, 1_000));
    let page = Call::MempoolPage { after: None, limit: 10 };
    let Ok(AnswerBody::MempoolPage(page)) = world.call(node, page) else { panic!() };
    assert_eq!(page.len(), 1);
    assert_eq!(page[0].entered_unix + 60, world.now.unix_seconds());
    let next = Call::MempoolPage { after: Some(page[0].sequence), limit: 10 };
    let Ok(AnswerBody::MempoolPage(next)) = world.call(node, next) else { panic!() };
    assert!(next.is_empty());
    let call = Call::MempoolTransaction(one.txid());
    let Ok(AnswerBody::MempoolTransaction(Some(found))) = world.call(node, call) else { panic!() };
    assert_eq!(found.transaction.wtxid(), one.wtxid());
    let free = OutPoint { txid: one.txid(), index: 0 };
    let call = Call::MempoolSpenders(vec![one.inputs[0], free]);
    let Ok(AnswerBody::MempoolSpenders(spenders)) = world.call(node, call) else { panic!() };
    assert_eq!(spenders, [Some(one.txid()), None]);
    let call = Call::EstimateFee { target_blocks: 1 };
    let Ok(AnswerBody::Fee(estimate)) = world.call(node, call) else { panic!() };
    assert_eq!((estimate.feerate_per_kb, estimate.target_blocks), (1_000, 1));
}

#[test]
fn a_transaction_is_told_with_its_kin() {
    let (mut world, mut chain, tip, node) = scene(1);
    let parent = chain.pay(&tip, 1, lock(2), 50_000, 1_000);
    let block = chain.extend(&tip, Plan { transactions: vec![parent.clone()], ..Plan::default() });
    // Of a chain that this node does not follow: there the child can be signed.
    let child = chain.pay(&block.id(), 2, lock(3), 40_000, 2_000);
    assert_eq!(world.submit(node, &[parent.clone(), child.clone()]), ["ok", "ok"]);
    let mut kin = |txid| match world.call(node, Call::MempoolKin(txid)) {
        Ok(AnswerBody::MempoolKin(kin)) => kin,
        other => panic!("{other:?}"),
    };
    let above = kin(parent.txid()).unwrap();
    assert_eq!((above.ancestors.len(), above.descendants.len()), (0, 1));
    assert_eq!(above.entry.spent_by, [child.txid()]);
    let below = kin(child.txid()).unwrap();
    assert_eq!((below.ancestors[0].fee.grains(), below.descendants.len()), (1_000, 0));
    assert_eq!(below.entry.depends, [parent.txid()]);
    assert!(kin(ashlar_primitives::Txid([0; 32])).is_none());
}

#[test]
fn a_priority_makes_a_better_template() {
    let (mut world, chain, tip, node) = scene(1);
    let payment = chain.pay(&tip, 1, lock(2), 100, 1_000);
    assert_eq!(world.submit(node, std::slice::from_ref(&payment)), ["ok"]);
    let before = template(&mut world, node).mempool_sequence;
    let call = Call::Prioritise { txid: payment.txid(), delta_grains: 500 };
    let Ok(AnswerBody::Priority(500)) = world.call(node, call) else { panic!() };
    let Ok(AnswerBody::Priorities(all)) = world.call(node, Call::Priorities) else { panic!() };
    assert_eq!(all, [(payment.txid(), 500)].into());
    world.advance(1_000);
    let template = template(&mut world, node);
    assert!(template.mempool_sequence > before);
    assert_eq!(template.fees.grains(), 1_000, "a block pays what is really paid");
}

#[test]
fn what_waited_before_a_restart_waits_again_and_is_told_to_nobody() {
    let (mut world, chain, tip, node) = scene(1);
    world.hand_at(node, &chain, &tip);
    let payment = chain.pay(&tip, 1, lock(2), 100, 1_000);
    let mut bad = payment.clone();
    bad.outputs[0].value = Amount::from_grains(99);
    let transactions = [&payment, &payment, &bad].map(checked);
    let restored = transactions.map(|transaction| Restored { transaction, waited_ms: 60_000 });
    let call = Call::RestoreTransactions(restored.to_vec());
    let Ok(AnswerBody::Submitted(results)) = world.call(node, call) else { panic!() };
    assert_eq!(super::world::codes(&results), ["ok", "tx-already-known", "tx-bad-signature"]);
    let page = Call::MempoolPage { after: None, limit: 10 };
    let Ok(AnswerBody::MempoolPage(page)) = world.call(node, page) else { panic!() };
    assert_eq!(page[0].entered_unix, world.now.unix_seconds() - 60);
    world.advance(5_000);
    let is_payment = |data: &GossipData| matches!(data, GossipData::Transactions(_));
    let published = &world.nodes[node].published;
    assert!(!published.iter().any(is_payment), "peers ask for what they lack");
}

#[test]
fn a_busy_engine_leaves_what_callers_ask_about_on_its_desk() {
    let (mut world, chain, tip, node) = scene(1);
    world.hand_at(node, &chain, &tip);
    let payment = chain.pay(&tip, 1, lock(2), 100, 1_000);
    assert_eq!(world.submit(node, std::slice::from_ref(&payment)), ["ok"]);
    let questions = [
        Call::MempoolInfo,
        Call::MempoolPage { after: None, limit: 10 },
        Call::MempoolTransaction(payment.txid()),
        Call::MempoolKin(payment.txid()),
        Call::MempoolSpenders(payment.inputs.clone()),
        Call::Priorities,
        Call::EstimateFee { target_blocks: 1 },
        Call::Peers,
        Call::SyncStatus,
    ];
    let engine = &mut world.nodes[node].engine;
    let desk = engine.desk();
    let ask = || questions.iter().map(|call| desk.answer(call)).collect::<Vec<_>>();
    assert!(ask().iter().all(Option::is_none), "one that is free answers itself");
    let busy = engine.aside(|_| Ok((ask(), desk.answer(&Call::SubmitBlock(Vec::new()))))).unwrap();
    assert!(busy.1.is_none(), "an order waits");
    for (call, answer) in questions.iter().zip(busy.0) {
        let answer = answer.unwrap();
        assert_eq!((answer.tip, answer.height), (tip, 1));
        let free = world.call(node, call.clone()).unwrap();
        assert_eq!(format!("{:?}", answer.body), format!("{free:?}"));
    }
    // A fault of the disk takes nothing away.
    let engine = &mut world.nodes[node].engine;
    let lost = || ashlar_ledger::StoreError::Unsupported { what: "a test" };
    assert!(engine.aside(|_| Err::<(), _>(lost())).is_err());
    assert!(world.waits(node, &payment));
}

#[test]
fn a_resting_engine_leaves_its_mempool_on_the_desk() {
    let (mut world, chain, tip, node) = scene(1);
    let payment = chain.pay(&tip, 1, lock(2), 100, 1_000);
    assert_eq!(world.submit(node, std::slice::from_ref(&payment)), ["ok"]);
    let engine = &mut world.nodes[node].engine;
    let desk = engine.desk();
    engine.rest();
    let question = Call::MempoolTransaction(payment.txid());
    let answer = desk.answer(&question).unwrap();
    assert_eq!((answer.tip, answer.height), (tip, 1));
    let others = [Call::Peers, Call::SyncStatus, Call::EstimateFee { target_blocks: 1 }];
    assert!(others.iter().all(|call| desk.answer(call).is_none()), "these the engine answers");
    let free = world.call(node, question.clone()).unwrap();
    assert_eq!(format!("{:?}", answer.body), format!("{free:?}"));
    assert!(desk.answer(&question).is_none(), "it was taken up again");
}

/// What nobody waits for comes after what others wait for, and nobody sees the state between.
#[test]
fn a_submitted_block_goes_out_then_its_tip_and_then_the_mempool_follows() {
    let (mut world, mut chain, tip, node) = scene(1);
    let payment = chain.pay(&tip, 1, lock(2), 100, 1_000);
    assert_eq!(world.submit(node, std::slice::from_ref(&payment)), ["ok"]);
    let block = chain.extend(&tip, Plan::of(vec![payment]));
    let (id, bytes) = (block.id(), block.to_bytes());
    let now = world.now;
    let engine = &mut world.nodes[node].engine;
    let desk = engine.desk();
    let mut inputs = VecDeque::from([Input::Call(CallId(u64::MAX), Call::SubmitBlock(bytes))]);
    let mut seen = Vec::new();
    while let Some(input) = inputs.pop_front() {
        let mut outputs = Outputs::new();
        engine.handle(now, input, &mut outputs).unwrap();
        engine.rest();
        for output in outputs {
            match output {
                Output::Job(id, job) => {
                    inputs.push_back(Input::JobDone(id, job.run(&mut rand::rng())));
                }
                Output::Publish(_) => seen.push("block"),
                Output::Event(Event::Tip { .. }) => {
                    seen.push("tip");
                    assert!(desk.answer(&Call::MempoolInfo).is_none(), "the old mempool is hidden");
                }
                Output::Reply(..) => seen.push("reply"),
                Output::Event(Event::TransactionsLeft(_)) => seen.push("mempool"),
                _ => {}
            }
        }
        if engine.ledger().knows_body(&id).unwrap() && !seen.contains(&"kept") {
            seen.push("kept");
        }
        let is_due = engine.next_wakeup().is_some_and(|at_ms| at_ms <= now.monotonic_ms);
        if inputs.is_empty() && is_due {
            inputs.push_back(Input::Tick);
        }
    }
    assert_eq!(seen, ["block", "kept", "tip", "reply", "mempool"]);
    let Some(AnswerBody::MempoolInfo(info)) = desk.answer(&Call::MempoolInfo).map(|it| it.body)
    else {
        panic!("a question that the desk answers");
    };
    assert_eq!(info.count, 0);
}

#[test]
fn lists_have_bounds() {
    let (mut world, chain, tip, node) = scene(1);
    let payment = checked(&chain.pay(&tip, 1, lock(2), 100, 1_000));
    let list = vec![payment; MAX_CALL_TRANSACTIONS + 1];
    let error = CallError::TooMany { max: MAX_CALL_TRANSACTIONS };
    for call in [Call::SubmitTransactions(list.clone()), Call::TestTransactions(list)] {
        assert_eq!(world.call(node, call).unwrap_err(), error);
    }
    let outpoint = OutPoint { txid: ashlar_primitives::Txid([0; 32]), index: 0 };
    let spenders = Call::MempoolSpenders(vec![outpoint; MAX_CALL_ENTRIES + 1]);
    let error = CallError::TooMany { max: MAX_CALL_ENTRIES };
    assert_eq!(world.call(node, spenders).unwrap_err(), error);
}

#[test]
fn peers_are_told_with_what_they_claim() {
    let (mut world, chain, tip, node) = scene(2);
    world.hand(node);
    world.hand_at(node, &chain, &tip);
    let Ok(AnswerBody::Peers(peers)) = world.call(node, Call::Peers) else { panic!() };
    let agents: Vec<Option<&str>> = peers.iter().map(|peer| peer.agent.as_deref()).collect();
    assert_eq!(agents, [None, Some("hand")]);
    let status = InFlight { status: 1, ..InFlight::default() };
    assert_eq!((peers[0].in_flight, peers[0].synced_headers), (status, None));
    assert_eq!((peers[1].height, peers[1].tip), (Some(2), Some(tip)));
    assert_eq!(peers[1].synced_headers, Some(2));
}

/// A hand tells a node of a block every five seconds, and the node the other.
#[test]
fn a_peer_that_only_receives_is_asked_where_it_is() {
    let (mut world, mut chain, mut tip, node) = scene(1);
    let hand = world.hand_at(node, &chain, &tip);
    let other = world.add(chain.genesis());
    world.feed(other, &chain.branch(&tip));
    let (other_at_node, _) = world.connect(node, other);
    for _ in 0..8 {
        let block = chain.extend(&tip, Plan::default()).to_block();
        tip = block.header.id();
        let compact = CompactBlock::build(&block, 7, &[]);
        world.tell(node, hand, GossipData::Block(Arc::new(compact)));
        world.advance(5_000);
    }
    assert_eq!((world.tip(node), world.tip(other)), (tip, tip));
    let Ok(AnswerBody::Peers(peers)) = world.call(node, Call::Peers) else { panic!() };
    let peer = peers.iter().find(|peer| peer.peer == other_at_node).unwrap();
    assert!(peer.height.unwrap() >= 6, "as of half a minute after they met: {peer:?}");
}

#[test]
fn submitted_blocks_and_waiting_templates_are_bounded() {
    let (mut world, mut chain, tip, node) = scene(1);
    world.held = Some(Vec::new());
    let blocks: Vec<_> = (0..17).map(|_| chain.extend(&tip, Plan::default())).collect();
    let submitted: Vec<_> = blocks
        .iter()
        .map(|block| world.begin_call(node, Call::SubmitBlock(block.to_bytes())))
        .collect();
    let templates: Vec<_> = (0..65)
        .map(|_| world.begin_call(node, Call::Template { pay_to: lock(5), extra: Vec::new() }))
        .collect();
    world.pump();
    world.run_jobs();
    let mut refused = |ids: Vec<_>| -> Vec<usize> {
        let replies = ids.into_iter().map(|id| world.reply(node, id)).enumerate();
        let overloaded = |reply: &_| *reply == Some(CallError::Overloaded);
        replies
            .filter(|(_, reply)| overloaded(&reply.as_ref().err().cloned()))
            .map(|r| r.0)
            .collect()
    };
    assert_eq!(refused(submitted), [16]);
    assert_eq!(refused(templates), [64]);
}
