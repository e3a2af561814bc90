//! Requests, answers and gossip between honest nodes.

use std::{sync::atomic::Ordering, time::Duration};

use ashlar_engine::{
    Direction, InboundId, Input, Offence, Output, PeerConnected, RequestFailure, RequestId, Verdict,
};
use ashlar_primitives::{BlockId, wire};
use tokio::time::{Instant, timeout};

use crate::rig::{Node, Over, PATIENCE, log, over_both, transaction, until};

over_both!(
    a_request_is_answered_or_refused,
    a_request_that_can_not_be_sent_fails_at_once,
    who_downloads_without_end_waits_and_keeps_nobody_else_waiting,
    a_full_lane_refuses_requests_and_ignores_gossip,
    gossip_passes_a_third_only_when_it_accepts,
    verdicts_that_are_due_are_bounded_in_number_and_time,
    two_nodes_that_dial_each_other_at_once_are_connected_once_and_well,
    a_cut_peer_stays_out_as_long_as_it_is_banned,
    a_peer_is_disconnected_by_number_identity_or_address_and_comes_back,
);

async fn pair(over: Over) -> (Node, Node) {
    let listener = over.node(|_| {}).await;
    let dialler = over.node(|config| config.peers = vec![listener.address.clone()]).await;
    (dialler, listener)
}

fn ids(count: u8) -> wire::Answer {
    wire::Answer::Mempool((0..count).map(|byte| ashlar_primitives::Wtxid([byte; 32])).collect())
}

async fn a_request_is_answered_or_refused(over: Over) {
    let (a, b) = pair(over).await;
    let at_a = a.connection(&b.identity).await;
    let at_b = b.connection(&a.identity).await;
    assert_eq!((at_a.direction, at_b.direction), (Direction::Outbound, Direction::Inbound));
    assert!(b.address.starts_with(&at_a.address), "{} {}", b.address, at_a.address);

    let ask = |id, request| a.handle.perform(Output::Request(RequestId(id), at_a.peer, request));
    ask(1, wire::Request::Mempool);
    let (id, from, request) = b.request().await;
    assert_eq!((from, request), (at_b.peer, wire::Request::Mempool));
    b.handle.perform(Output::Answer(id, Some(ids(3))));
    assert_eq!(a.outcome(RequestId(1)).await, Ok(ids(3)));

    ask(2, wire::Request::Blocks { ids: vec![BlockId([9; 32])] });
    let (id, _, request) = b.request().await;
    assert_eq!(request, wire::Request::Blocks { ids: vec![BlockId([9; 32])] });
    b.handle.perform(Output::Answer(id, None));
    assert_eq!(a.outcome(RequestId(2)).await, Err(RequestFailure::Closed));

    // an answer of another kind is the answerer's fault
    ask(3, wire::Request::Mempool);
    let (id, _, _) = b.request().await;
    b.handle.perform(Output::Answer(id, Some(wire::Answer::Headers(Vec::new()))));
    assert_eq!(a.outcome(RequestId(3)).await, Err(RequestFailure::Malformed));

    // nothing happens on answers to nothing
    b.handle.perform(Output::Answer(InboundId(999), Some(ids(1))));
    ask(4, wire::Request::Mempool);
    let (id, _, _) = b.request().await;
    b.handle.perform(Output::Answer(id, Some(ids(0))));
    assert_eq!(a.outcome(RequestId(4)).await, Ok(ids(0)));
}

async fn a_request_that_can_not_be_sent_fails_at_once(over: Over) {
    let (a, b) = pair(over).await;
    let nobody = ashlar_engine::Peer(77);
    a.handle.perform(Output::Request(RequestId(1), nobody, wire::Request::Mempool));
    assert_eq!(a.outcome(RequestId(1)).await, Err(RequestFailure::Closed));

    // eight in flight to a peer, and a ninth does not wait behind them
    let peer = a.peer(&b).await;
    for id in 10..19 {
        a.handle.perform(Output::Request(RequestId(id), peer, wire::Request::Mempool));
    }
    assert_eq!(a.outcome(RequestId(18)).await, Err(RequestFailure::Closed));
    for id in 10..18 {
        let (inbound, _, _) = b.request().await;
        b.handle.perform(Output::Answer(inbound, Some(ids(1))));
        assert_eq!(a.outcome(RequestId(id)).await, Ok(ids(1)));
    }
}

async fn who_downloads_without_end_waits_and_keeps_nobody_else_waiting(over: Over) {
    const BURST_BYTES: usize = 64 << 20;
    let (leecher, server) = pair(over).await;
    let other = over.node(|config| config.peers = vec![server.address.clone()]).await;
    let (at_leecher, at_other) = (leecher.peer(&server).await, other.peer(&server).await);
    server.peer(&other).await;
    server.stop_clock();

    let ask = async |node: &Node, peer, id, request, answer: wire::Answer| {
        node.handle.perform(Output::Request(RequestId(id), peer, request));
        let (inbound, _, _) = server.request().await;
        server.handle.perform(Output::Answer(inbound, Some(answer)));
    };
    let long = wire::Answer::Mempool(vec![ashlar_primitives::Wtxid([7; 32]); 10_000]);
    let answers = BURST_BYTES.div_ceil(long.to_frame().len()) as u64;
    for id in 0..answers {
        ask(&leecher, at_leecher, id, wire::Request::Mempool, long.clone()).await;
        assert_eq!(leecher.outcome(RequestId(id)).await, Ok(long.clone()));
    }
    ask(&leecher, at_leecher, 1_000, wire::Request::Mempool, long.clone()).await;
    // While that one waits, another is served, and so is whoever lacks a part of a new block.
    ask(&other, at_other, 1, wire::Request::Mempool, ids(1)).await;
    assert_eq!(other.outcome(RequestId(1)).await, Ok(ids(1)));
    let missing = wire::Request::BlockTransactions { id: BlockId([9; 32]), indexes: vec![1] };
    let found = wire::Answer::BlockTransactions(vec![transaction("found")]);
    ask(&leecher, at_leecher, 1_001, missing, found.clone()).await;
    assert_eq!(leecher.outcome(RequestId(1_001)).await, Ok(found));
    let rest = leecher.rest();
    assert!(!rest.iter().any(|input| input.contains("Response")), "it did not wait");

    server.start_clock();
    assert_eq!(leecher.outcome(RequestId(1_000)).await, Ok(long));
}

async fn a_full_lane_refuses_requests_and_ignores_gossip(over: Over) {
    let (a, b) = pair(over).await;
    let peer = a.peer(&b).await;
    warm_up(&a, &[&b]).await;
    b.inbox.bulk_is_full.store(true, Ordering::SeqCst);
    a.handle.perform(Output::Request(RequestId(1), peer, wire::Request::Mempool));
    assert_eq!(a.outcome(RequestId(1)).await, Err(RequestFailure::Closed));
    a.publish(vec![transaction("while the lane is full")]);
    until("the batch was refused", async || {
        b.inbox.refused.lock().unwrap().iter().any(|input| matches!(input, Input::Gossip(..)))
    })
    .await;
    b.inbox.bulk_is_full.store(false, Ordering::SeqCst);
    a.publish(vec![transaction("after it")]);
    let (ticket, batch) = b.batch().await;
    assert_eq!(batch.first().unwrap().memo, b"after it");
    b.handle.perform(Output::Verdict(ticket, Verdict::Accept));
    assert_eq!(b.connected(), std::slice::from_ref(&a.identity), "nobody is to blame");
}

/// Publishes from `from` until all of `to` had something, accepting on the way: from then on the
/// subscriptions are known.
async fn warm_up(from: &Node, to: &[&Node]) {
    let mut count = 0;
    let mut seen = vec![false; to.len()];
    let deadline = Instant::now() + PATIENCE;
    while seen.contains(&false) {
        assert!(Instant::now() < deadline, "gossip does not come through: {seen:?}\n{}", log());
        count += 1;
        // the same words from another node would be the same message
        from.publish(vec![transaction(&format!("warm-up {count} of {}", from.identity))]);
        for (node, seen) in to.iter().zip(&mut seen) {
            let waited = tokio::time::timeout(Duration::from_millis(200), node.batch()).await;
            if let Ok((ticket, _)) = waited {
                node.handle.perform(Output::Verdict(ticket, Verdict::Accept));
                *seen = true;
            }
        }
    }
}

/// The next batch that is not of the warm-up, which goes on by itself.
async fn next_batch(node: &Node) -> (ashlar_engine::Ticket, Vec<u8>) {
    loop {
        let (ticket, batch) = node.batch().await;
        let memo = batch.first().unwrap().memo.clone();
        if memo.starts_with(b"warm-up") {
            node.handle.perform(Output::Verdict(ticket, Verdict::Accept));
        } else {
            return (ticket, memo);
        }
    }
}

async fn gossip_passes_a_third_only_when_it_accepts(over: Over) {
    let middle = over.node(|_| {}).await;
    let first = over.node(|config| config.peers = vec![middle.address.clone()]).await;
    let last = over.node(|config| config.peers = vec![middle.address.clone()]).await;
    let source = middle.peer(&first).await;
    middle.peer(&last).await;
    warm_up(&first, &[&middle, &last]).await;

    for (memo, verdict) in
        [("ignored", Verdict::Ignore), ("rejected", Verdict::Reject), ("accepted", Verdict::Accept)]
    {
        first.publish(vec![transaction(memo)]);
        let (ticket, seen) = next_batch(&middle).await;
        assert_eq!((seen.as_slice(), ticket.source), (memo.as_bytes(), source));
        middle.handle.perform(Output::Verdict(ticket, verdict));
    }
    // verdicts were carried out in order: had the others been passed on, they would be here first
    let (ticket, seen) = next_batch(&last).await;
    assert_eq!(seen, b"accepted");
    last.handle.perform(Output::Verdict(ticket, Verdict::Accept));
    assert_eq!(first.connected().len() + last.connected().len(), 2);
}

async fn verdicts_that_are_due_are_bounded_in_number_and_time(over: Over) {
    const MAX_TICKETS: usize = 1_024;
    let (a, b) = pair(over).await;
    a.peer(&b).await;
    warm_up(&a, &[&b]).await;
    b.stop_clock();
    // a warm-up's last batch may still come; its ticket counts
    let mut tickets = Vec::new();
    let mut published = 0;
    while tickets.len() < MAX_TICKETS || published < MAX_TICKETS + 64 {
        for _ in 0..64 {
            published += 1;
            a.publish(vec![transaction(&format!("{published} of {}", a.identity))]);
        }
        while let Ok((ticket, _)) = timeout(Duration::from_millis(500), b.batch()).await {
            tickets.push(ticket);
        }
    }
    assert_eq!(tickets.len(), MAX_TICKETS, "{published} were sent");
    // what is over is ignored: there is room again for what comes later
    b.put_forward(9_000);
    let mut late = 0;
    until("later ones are heard", async || {
        late += 1;
        a.publish(vec![transaction(&format!("{late} later of {}", a.identity))]);
        timeout(Duration::from_millis(200), b.batch()).await.is_ok()
    })
    .await;
    for ticket in tickets {
        // nobody is harmed by a verdict that comes too late
        b.handle.perform(Output::Verdict(ticket, Verdict::Accept));
    }
    assert_eq!(b.connected(), std::slice::from_ref(&a.identity));
}

async fn two_nodes_that_dial_each_other_at_once_are_connected_once_and_well(over: Over) {
    // the race has several ends; each round may take another
    for _ in 0..6 {
        let (a, b) = (over.node(|_| {}).await, over.node(|_| {}).await);
        let (dialled, also) =
            tokio::join!(a.handle.add_peer(&b.address), b.handle.add_peer(&a.address));
        dialled.unwrap();
        also.unwrap();
        let (b_at_a, a_at_b) = (a.peer(&b).await, b.peer(&a).await);

        // it is the same connection for both, and carries everything both ways
        for (id, from, peer, to) in [(1, &a, b_at_a, &b), (2, &b, a_at_b, &a)] {
            from.handle.perform(Output::Request(RequestId(id), peer, wire::Request::Mempool));
            let (inbound, _, _) = to.request().await;
            to.handle.perform(Output::Answer(inbound, Some(ids(1))));
            assert_eq!(from.outcome(RequestId(id)).await, Ok(ids(1)));
        }
        warm_up(&a, &[&b]).await;
        warm_up(&b, &[&a]).await;
        for node in [&a, &b] {
            let rest = node.rest();
            assert!(!rest.iter().any(|input| input.starts_with("Peer")), "{rest:?}\n{}", log());
            assert_eq!(node.handle.info().await.unwrap().connections, 1);
        }
        tokio::join!(a.handle.stop(), b.handle.stop());
    }
}

async fn a_cut_peer_stays_out_as_long_as_it_is_banned(over: Over) {
    const BAN_MS: u64 = 4_000;
    let (a, b) = pair(over).await;
    let (b_at_a, a_at_b) = (a.peer(&b).await, b.peer(&a).await);
    let cut = Instant::now();
    b.handle.perform(Output::Cut {
        peer: a_at_b,
        offence: Offence::WrongAnswer,
        reason: "made up\nin a test".into(),
        ban_ms: Some(BAN_MS),
    });
    a.gone(b_at_a).await;
    b.gone(a_at_b).await;
    let again = b.peer(&a).await;
    assert!(cut.elapsed() >= Duration::from_millis(BAN_MS), "back after {:?}", cut.elapsed());
    assert_ne!(again, a_at_b, "numbers are not used twice");
    assert_ne!(a.peer(&b).await, b_at_a);
    assert!(!log().contains("up\nin"), "a reason can't break a log line");
}

async fn a_peer_is_disconnected_by_number_identity_or_address_and_comes_back(over: Over) {
    let (a, b) = pair(over).await;
    let by_number = |at_a: &PeerConnected| at_a.peer.0.to_string();
    let by_identity = |at_a: &PeerConnected| at_a.identity.clone();
    // As the list of peers shows it: where the peer was the one to dial, that is another port
    // than the one it listens on.
    let by_address = |at_a: &PeerConnected| at_a.address.clone();
    let names: [&dyn Fn(&PeerConnected) -> String; 3] = [&by_number, &by_identity, &by_address];
    for name in names {
        let at_a = a.connection(&b.identity).await;
        a.handle.disconnect(&name(&at_a), 0).await.unwrap();
        a.gone(at_a.peer).await;
    }
    // For a while, where the operator wants that; until then it can be called back.
    let at_a = a.connection(&b.identity).await;
    a.handle.disconnect(&by_identity(&at_a), 3_600).await.unwrap();
    a.gone(at_a.peer).await;
    let bans = a.handle.bans().await.unwrap();
    assert_eq!((bans.len(), bans[0].who.as_str()), (1, b.identity.as_str()));
    a.handle.unban(&b.identity).await.unwrap();
    a.peer(&b).await;
    let error = a.handle.disconnect("nobody", 0).await.unwrap_err().to_string();
    assert!(error.contains("\"nobody\""), "{error}");
    a.handle.remove_peer(&b.address).await.unwrap();
    assert!(a.handle.remove_peer(&b.address).await.is_err(), "no longer kept");
}
