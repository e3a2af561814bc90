//! Who listens to a running node, dies, and begins again.

use std::{
    fs,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ashlar_primitives::BlockId;
use ashlar_rpc::{
    Credentials,
    client::open_websocket,
    prelude::*,
    types::{Addresses, EventCursor},
};
use ashlar_testkit::builder::{Chain, Plan, genesis_text, genesis_with, lock};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::time::timeout;

use crate::harness::{Net, Node};

/// The height at which the race ends.
const BLOCKS: usize = 200;
/// A subscriber waits so long for one more event before it dies.
const LULL: Duration = Duration::from_millis(200);

/// Feeds the node blocks up to height 200, with reorganisations of up to six of them; the chain
/// that came out.
fn feed(node: &Node, chain: &mut Chain) -> Vec<BlockId> {
    let mut random = StdRng::seed_from_u64(6);
    let mut best = vec![chain.genesis_id()];
    let mut reorganisations = 0;
    while best.len() <= BLOCKS {
        let depth = random.random_range(1..7);
        let leaves = random.random_range(0..6) == 0 && best.len() > depth;
        if leaves {
            best.truncate(best.len() - depth);
            reorganisations += 1;
        }
        for _ in 0..=if leaves { depth } else { 0 } {
            let block = chain.extend(best.last().unwrap(), Plan::default());
            node.call("submitblock", json!([hex::encode(block.to_bytes())]));
            best.push(block.id());
        }
    }
    assert!(reorganisations >= 10, "{reorganisations}");
    best
}

/// What a subscriber has pieced together.
struct Follower {
    chain: Vec<BlockId>,
    cursor: EventCursor,
}

impl Follower {
    fn new(genesis: BlockId) -> Self {
        let cursor = EventCursor { block: genesis.into(), sequence: 0 };
        Self { chain: vec![genesis], cursor }
    }

    fn step(
        &mut self,
        disconnected: impl Iterator<Item = BlockId>,
        connected: impl Iterator<Item = BlockId>,
        cursor: EventCursor,
    ) {
        for id in disconnected {
            assert_eq!(self.chain.pop(), Some(id), "what leaves is the tip");
        }
        self.chain.extend(connected);
        assert_eq!(self.chain.last(), Some(&cursor.block.0));
        self.cursor = cursor;
    }
}

#[test]
fn a_subscriber_killed_at_random_pieces_the_chains_history_together() {
    let net = Net::new();
    let genesis = net.path("genesis.json");
    fs::write(&genesis, genesis_text(&[], &[])).unwrap();
    let mut chain = Chain::new(genesis_with(&[], &[]));
    let origin = chain.genesis_id();
    let node = net.node_on(&genesis, &[], &[]);
    let miner = node.call("getblockchaininfo", json!([]))["address_prefix"].clone();
    let prefix = miner.as_str().unwrap();
    let miner = ashlar_primitives::Address::new(prefix, lock(0)).unwrap().to_string();

    let (at, cookie) = (node.rpc_address(), Credentials::Cookie(node.datadir.join(".cookie")));
    let last = Arc::new(OnceLock::new());
    let wanted = Arc::clone(&last);
    let listening = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut random = StdRng::seed_from_u64(7);
            let (mut tips, mut paid) = (Follower::new(origin), Follower::new(origin));
            let mut lives = 0;
            let is_there = |follower: &Follower| wanted.get() == follower.chain.last();
            while !is_there(&tips) || !is_there(&paid) {
                let most = random.random_range(1..12);
                lives += 1;
                let socket = open_websocket(&at, &cookie).await.unwrap();
                let mut stream = socket.subscribetips(Some(tips.cursor)).await.unwrap();
                for _ in 0..most {
                    let Ok(Some(event)) = timeout(LULL, stream.next()).await else { break };
                    let event = event.unwrap();
                    let (left, joined) = (event.disconnected.iter(), event.connected.iter());
                    tips.step(left.map(|id| id.0), joined.map(|id| id.0), event.cursor);
                }
                let of_miner = Addresses::One(miner.clone());
                let mut stream =
                    socket.subscribeaddresses(of_miner, Some(paid.cursor)).await.unwrap();
                for _ in 0..most {
                    let Ok(Some(event)) = timeout(LULL, stream.next()).await else { break };
                    let event = event.unwrap();
                    // Every block pays its maker, and so names itself.
                    let (left, joined) = (event.disconnected.iter(), event.confirmed.iter());
                    paid.step(left.map(|id| id.0), joined.map(|c| c.block.0), event.cursor);
                }
            }
            (tips.chain, paid.chain, lives)
        })
    });
    let history = feed(&node, &mut chain);
    last.set(*history.last().unwrap()).unwrap();
    let (tips, paid, lives) = listening.join().unwrap();
    assert_eq!(node.tip(), history.last().unwrap().to_string());
    assert_eq!(tips, history);
    assert_eq!(paid, history);
    assert!(lives > 2, "{lives}");
}
