//! Subscriptions as their subscribers live them: killed and started again while the chain moves,
//! and none the wiser.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ashlar_primitives::{BlockId, Txid};
use ashlar_rpc::{
    ClientError, Credentials,
    client::open_websocket,
    prelude::*,
    types::{AddressEvent, Addresses, EventCursor, MempoolEvent, Text, TipEvent},
};
use ashlar_testkit::builder::lock;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::timeout;

use crate::fake::{Fake, address};
use crate::running::{Running, start, start_with, user};

const PATIENCE: Duration = Duration::from_secs(60);

async fn socket(
    running: &Running,
) -> impl ashlar_rpc::api::SubscriptionsClient + ashlar_rpc::api::ApiClient {
    open_websocket(&running.at(), &Credentials::Password(user())).await.unwrap()
}

/// What a subscriber to tips makes of them.
#[derive(Default)]
struct Follower {
    chain: Vec<BlockId>,
    cursor: Option<EventCursor>,
}

impl Follower {
    fn take(&mut self, event: &TipEvent) {
        for id in &event.disconnected {
            assert_eq!(self.chain.pop(), Some(id.0), "what leaves is the tip");
        }
        self.chain.extend(event.connected.iter().map(|id| id.0));
        if self.chain.is_empty() {
            self.chain.push(event.at.tip.0);
        }
        assert_eq!(self.chain.last(), Some(&event.at.tip.0));
        assert_eq!(self.chain.len(), event.at.tip_height as usize + 1);
        assert_eq!(event.cursor.block, event.at.tip);
        self.cursor = Some(event.cursor);
    }
}

/// 200 blocks and more, with reorganisations of up to six blocks, while subscribers to tips and to
/// addresses are killed after a few events each and begin again where they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_killed_at_random_sees_exactly_the_chains_history() {
    let running = start().await;
    let done = Arc::new(AtomicBool::new(false));
    let genesis = running.client().getbestblockhash().await.unwrap().0;
    let (node, ending) = (Arc::clone(&running.node), Arc::clone(&done));
    let mining = tokio::task::spawn_blocking(move || {
        let mut random = StdRng::seed_from_u64(200);
        let mut chain = vec![genesis];
        let mut reorganisations = 0;
        while chain.len() < 201 {
            let depth = random.random_range(1..7);
            if random.random_range(0..5) == 0 && chain.len() > depth {
                chain.truncate(chain.len() - depth);
                for _ in 0..=depth {
                    chain.push(node.mine_on(chain.last().copied()));
                }
                reorganisations += 1;
            } else {
                chain.push(node.mine_on(chain.last().copied()));
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..8)));
        }
        ending.store(true, Ordering::Relaxed);
        assert!(reorganisations > 10, "{reorganisations}");
        chain
    });

    let mut random = StdRng::seed_from_u64(201);
    let mut tips = Follower { chain: vec![genesis], cursor: None };
    let mut addressed = Follower { chain: vec![genesis], cursor: None };
    let genesis_cursor = EventCursor { block: genesis.into(), sequence: 0 };
    let mut lives = 0;
    let is_over = |follower: &Follower, tip: BlockId| {
        done.load(Ordering::Relaxed) && follower.chain.last() == Some(&tip)
    };
    loop {
        let tip = running.client().getbestblockhash().await.unwrap().0;
        if is_over(&tips, tip) && is_over(&addressed, tip) {
            break;
        }
        lives += 1;
        let client = socket(&running).await;
        let since = Some(tips.cursor.unwrap_or(genesis_cursor));
        let mut stream = client.subscribetips(since).await.unwrap();
        let since = Some(addressed.cursor.unwrap_or(genesis_cursor));
        let mut entries =
            client.subscribeaddresses(Addresses::One(address(0)), since).await.unwrap();
        for _ in 0..random.random_range(1..12) {
            let next = timeout(Duration::from_millis(200), stream.next()).await;
            let Ok(Some(event)) = next else { break };
            tips.take(&event.unwrap());
        }
        for _ in 0..random.random_range(1..12) {
            let next = timeout(Duration::from_millis(200), entries.next()).await;
            let Ok(Some(event)) = next else { break };
            let event: AddressEvent = event.unwrap();
            for id in &event.disconnected {
                assert_eq!(addressed.chain.pop(), Some(id.0));
            }
            // Every block pays its maker, and so names itself.
            addressed.chain.extend(event.confirmed.iter().map(|entry| entry.block.0));
            assert_eq!(addressed.chain.last(), Some(&event.at.tip.0));
            assert_eq!(addressed.chain.len(), event.at.tip_height as usize + 1);
            addressed.cursor = Some(event.cursor);
        }
        // The whole socket goes, with whatever was under way.
        drop(client);
    }
    let chain = mining.await.unwrap();
    assert_eq!(tips.chain, chain);
    assert_eq!(addressed.chain, chain);
    assert!(lives > 10, "{lives}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_from_any_known_block_and_from_no_other() {
    let running = start().await;
    let genesis = running.client().getbestblockhash().await.unwrap();
    let a = running.node.mine_on(None);
    let b = running.node.mine_on(Some(genesis.0));
    let c = running.node.mine_on(Some(b));
    let client = socket(&running).await;
    // From the branch that was left: back, and forward.
    let since = Some(EventCursor { block: a.into(), sequence: 77 });
    let mut tips = client.subscribetips(since).await.unwrap();
    let event = timeout(PATIENCE, tips.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(event.disconnected, [Text::from(a)]);
    assert_eq!(event.connected, [Text::from(b), Text::from(c)]);
    assert_eq!((event.cursor.sequence, event.alarm), (0, false));
    let d = running.node.mine_on(None);
    let event = timeout(PATIENCE, tips.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((event.connected, event.cursor.sequence), (vec![Text::from(d)], 1));
    let nowhere = Some(EventCursor { block: BlockId::ZERO.into(), sequence: 0 });
    let error = ClientError::from(client.subscribetips(nowhere).await.unwrap_err());
    assert_eq!(error.code(), Some("not-found"));
}

/// What a subscriber knows of the mempool.
#[derive(Default)]
struct Pool(BTreeSet<Txid>);

impl Pool {
    fn take(&mut self, event: &MempoolEvent) {
        if event.reset {
            self.0.clear();
        }
        for added in &event.added {
            assert!(self.0.insert(added.txid.0), "it was told already");
        }
        for removed in &event.removed {
            assert!(self.0.remove(&removed.txid.0), "it was never told");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mempool_stream_begins_with_a_list_and_tells_every_change() {
    let running = start().await;
    let first = running.client().sendrawtransaction(running.node.payment(lock(2), 5, 1)).await;
    let first = first.unwrap().0;
    let client = socket(&running).await;
    let since = Some(EventCursor { block: BlockId::ZERO.into(), sequence: 5 });
    for since in [None, since] {
        let mut stream = client.subscribemempool(since).await.unwrap();
        let event = timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
        let mut pool = Pool(BTreeSet::from([Txid::ZERO]));
        pool.take(&event);
        assert!(event.reset && !event.listing);
        assert_eq!(pool.0, BTreeSet::from([first]));
        assert_eq!((event.added[0].fee, event.cursor.sequence), (1, 0));
        stream.unsubscribe().await.unwrap();
    }
    let mut stream = client.subscribemempool(None).await.unwrap();
    let mut pool = Pool::default();
    let mut next = async || timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    pool.take(&next().await);
    let second = running.client().sendrawtransaction(running.node.payment(lock(3), 6, 2)).await;
    let second = second.unwrap().0;
    let event = next().await;
    pool.take(&event);
    assert_eq!((event.added[0].txid.0, event.added[0].fee), (second, 2));
    // A block with the first of them.
    let hexdata = running.node.block_of_waiting(1);
    assert_eq!(running.client().submitblock(hexdata).await.unwrap(), None);
    let event = next().await;
    pool.take(&event);
    assert_eq!((event.removed[0].txid.0, event.removed[0].reason.as_str()), (first, "confirmed"));
    assert_eq!(event.at.tip_height, 1, "on the tip that confirms it");
    assert_eq!(pool.0, BTreeSet::from([second]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_stream_tells_what_waits_what_is_confirmed_and_what_is_undone() {
    let running = start().await;
    let genesis = running.client().getbestblockhash().await.unwrap();
    let waiting = running.client().sendrawtransaction(running.node.payment(lock(2), 5, 1)).await;
    let waiting = waiting.unwrap().0;
    let client = socket(&running).await;
    let addresses = Addresses::Many(vec![address(2), address(1)]);
    let mut stream = client.subscribeaddresses(addresses.clone(), None).await.unwrap();
    let mut next = async || timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    let event = next().await;
    assert_eq!((event.at.tip, event.confirmed.len(), event.reset), (genesis, 0, false));
    // What waits: key 1 pays, key 2 is paid, in the order in which they were named.
    let event = next().await;
    assert!(event.reset);
    let told: Vec<_> =
        event.waiting.iter().map(|m| (m.address.clone(), m.txid.0, m.received, m.spent)).collect();
    let allocation = crate::fake::ALLOCATION;
    let (to, from) =
        ((address(2), waiting, 5, 0), (address(1), waiting, allocation - 6, allocation));
    assert_eq!(told, [to, from]);
    // A payment to somebody else is nobody's business; one to key 2 is told as it comes.
    let hexdata = running.node.block_of_waiting(1);
    assert_eq!(running.client().submitblock(hexdata).await.unwrap(), None);
    let event = next().await;
    let block = event.at.tip;
    assert_eq!(event.at.tip_height, 1);
    let told: Vec<_> = event
        .confirmed
        .iter()
        .map(|c| (c.movement.address.as_str(), c.movement.received, c.movement.spent, c.height))
        .collect();
    assert_eq!(told, [(&*address(2), 5, 0, 1), (&*address(1), allocation - 6, allocation, 1)]);
    assert!(event.confirmed.iter().all(|c| c.block == block && c.movement.txid.0 == waiting));
    let event = next().await;
    assert_eq!((event.left[0].txid.0, event.left[0].reason.as_str()), (waiting, "confirmed"));
    let second = running.client().sendrawtransaction(running.node.payment(lock(2), 7, 1)).await;
    let event = next().await;
    assert_eq!(event.waiting[0].txid, second.unwrap());
    assert!(!event.reset);
    // Another branch: the block is undone.
    let b = running.node.mine_on(Some(genesis.0));
    running.node.mine_on(Some(b));
    let event = next().await;
    assert_eq!((event.disconnected, event.confirmed.len()), (vec![block], 0));
    // Somebody who was away since then is told the same.
    let since = Some(EventCursor { block, sequence: 0 });
    let mut stream = client.subscribeaddresses(addresses.clone(), since).await.unwrap();
    let event = timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((event.disconnected, event.at.tip_height), (vec![block], 2));
    let since = Some(EventCursor { block: BlockId::ZERO.into(), sequence: 0 });
    let error = ClientError::from(client.subscribeaddresses(addresses, since).await.unwrap_err());
    assert_eq!(error.code(), Some("not-found"));
    let nobody = Addresses::One("devash1qqqq".into());
    let error = ClientError::from(client.subscribeaddresses(nobody, None).await.unwrap_err());
    assert_eq!(error.code(), Some("invalid-address"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_address_index_there_are_no_address_streams() {
    let settings = ashlar_ledger::Settings { lock_index: false, ..Default::default() };
    let running = start_with(Fake::with(settings), |_| ()).await;
    let client = socket(&running).await;
    let one = Addresses::One(address(1));
    let error = ClientError::from(client.subscribeaddresses(one, None).await.unwrap_err());
    assert_eq!(error.code(), Some("index-off"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_told_at_once_and_when_it_changes() {
    let running = start().await;
    running.node.syncing.store(true, Ordering::Relaxed);
    let client = socket(&running).await;
    let mut stream = client.subscribesync(None).await.unwrap();
    let mut next = async || timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    let event = next().await;
    assert!(event.initialblockdownload);
    let sync = event.sync.unwrap();
    assert_eq!((sync.target_height, sync.seconds_left), (1_002, Some(80)));
    running.node.syncing.store(false, Ordering::Relaxed);
    let event = next().await;
    assert_eq!((event.initialblockdownload, event.sync), (false, None));
    assert_eq!(event.cursor.sequence, 1);
    let tip = running.node.mine_on(None);
    let event = next().await;
    assert_eq!((event.at.tip.0, event.headers, event.cursor.sequence), (tip, 1, 2));
}
