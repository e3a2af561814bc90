//! Attacks in gossipsub's own language.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use ashlar_hostile::{
    Peer,
    peer::Gossip,
    protobuf::{self, rpc},
};
use ashlar_primitives::wire;
use tokio::time::sleep;

use super::arena::Arena;

/// Ids in one RPC: as many as the node lets anybody send it at once.
const IDS: u64 = 100;

/// Message ids that were never any message's.
fn ids(first: u64, count: u64) -> Vec<[u8; 32]> {
    (first..first + count).map(|number| wire::message_id(&number.to_le_bytes())).collect()
}

/// Sends RPC after RPC until there are no more or the node hangs up.
fn sends(arena: &mut Arena, rpcs: impl Iterator<Item = Vec<u8>>) -> Vec<Peer> {
    let peer = arena.honest();
    arena.runtime.block_on(async {
        let mut gossip = peer.gossip().await.unwrap();
        send_all(&mut gossip, rpcs).await;
    });
    vec![peer]
}

async fn send_all(gossip: &mut Gossip, rpcs: impl Iterator<Item = Vec<u8>>) {
    for rpc in rpcs {
        if gossip.send(&rpc).await.is_err() {
            return;
        }
    }
}

pub(crate) fn garbled(arena: &mut Arena) -> Vec<Peer> {
    let names = arena.names();
    // What was said before is a duplicate, and nobody's fault: each round has words of its own.
    let first = arena.chain.ids().count() as u64 * 20;
    let rpcs = (first..first + 20).map(move |number| {
        let topic = if number % 2 == 0 { &names.block } else { &names.tx };
        rpc::publish(topic, &number.to_le_bytes())
    });
    sends(arena, rpcs)
}

pub(crate) fn oversized(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.honest();
    arena.runtime.block_on(async {
        let mut gossip = peer.gossip().await.unwrap();
        let mut bytes = protobuf::varint(8 << 20);
        bytes.resize(200_000, 0);
        gossip.raw(&bytes).await.unwrap();
        // only the stream of gossip is closed; another may be opened, once
        if let Ok(mut gossip) = peer.gossip_quietly().await {
            gossip.raw(&protobuf::varint(u64::MAX)).await.ok();
        }
    });
    vec![peer]
}

pub(crate) fn signed(arena: &mut Arena) -> Vec<Peer> {
    let names = arena.names();
    sends(arena, (0..20u64).map(move |number| rpc::publish_signed(&names.tx, b"hello", number)))
}

/// 10,000 ids a second, none of which it ever sends.
pub(crate) fn ihave(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.honest();
    let names = arena.names();
    let start = Instant::now();
    arena.runtime.block_on(async {
        let mut gossip = peer.gossip().await.unwrap();
        for round in 0..20 {
            let rpcs =
                (0..10).map(|part| rpc::ihave(&names.tx, &ids((round * 10 + part) * IDS, IDS)));
            send_all(&mut gossip, rpcs).await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    // a heartbeat is a second
    let heartbeats = start.elapsed().as_secs() + 2;
    let wanted = peer.heard.wanted.load(Ordering::Relaxed);
    assert!(wanted <= heartbeats * IDS, "asked for {wanted} ids in {heartbeats} heartbeats");
    vec![peer]
}

pub(crate) fn iwant(arena: &mut Arena) -> Vec<Peer> {
    sends(arena, (0..2_000).map(|round| rpc::iwant(&ids(round * IDS, IDS))))
}

pub(crate) fn graft(arena: &mut Arena) -> Vec<Peer> {
    let names = arena.names();
    let rpcs = (0..5_000).flat_map(move |_| {
        [rpc::graft(&names.block), rpc::prune(&names.block, u64::MAX), rpc::graft(&names.tx)]
    });
    sends(arena, rpcs)
}

pub(crate) fn topics(arena: &mut Arena) -> Vec<Peer> {
    let rpcs = (0..4_000).map(|round| {
        let topics = (0..25).map(|number| format!("/nobody/{round}/{number}"));
        topics
            .flat_map(|topic| [rpc::subscription(&topic, true), rpc::graft(&topic)].concat())
            .collect()
    });
    sends(arena, rpcs)
}

pub(crate) fn idontwant(arena: &mut Arena) -> Vec<Peer> {
    sends(arena, (0..1_000).map(|round| rpc::idontwant(&ids(round * IDS, IDS))))
}
