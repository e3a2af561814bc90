//! Events over WebSocket, for quick and for slow readers.

use std::{sync::Arc, time::Duration};

use ashlar_primitives::{Amount, BlockId};
use ashlar_rpc::{Credentials, client::open_websocket, prelude::*, server::ChainEvent};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    fake::Fake,
    raw_socket::RawWebSocket,
    running::{Running, start, start_with},
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn websocket(
    running: &Running,
) -> impl ashlar_rpc::api::SubscriptionsClient + ashlar_rpc::api::ApiClient {
    open_websocket(&running.at(), &Credentials::Cookie(running.cookie_file.clone())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tips_are_told_in_order_with_what_left_and_what_joined() {
    let running = start().await;
    let genesis = running.client().getbestblockhash().await.unwrap();
    let client = websocket(&running).await;
    let mut tips = client.subscribetips(None).await.unwrap();
    let mut next = async || timeout(PATIENCE, tips.next()).await.unwrap().unwrap().unwrap();
    let first = next().await;
    assert_eq!((first.at.tip, first.at.tip_height), (genesis, 0));
    assert!(first.connected.is_empty() && first.disconnected.is_empty());

    let a = running.node.mine_on(None);
    let event = next().await;
    assert_eq!((event.at.tip.0, event.at.tip_height), (a, 1));
    assert_eq!((event.connected.len(), event.disconnected.len()), (1, 0));
    assert!(!event.alarm);
    // Two blocks beside it: the first is a side branch and no event, the second a reorganisation.
    let b = running.node.mine_on(Some(genesis.0));
    let c = running.node.mine_on(Some(b));
    let event = next().await;
    assert_eq!((event.at.tip.0, event.at.tip_height), (c, 2));
    let ids = |list: &[ashlar_rpc::types::Text<BlockId>]| -> Vec<BlockId> {
        list.iter().map(|id| id.0).collect()
    };
    assert_eq!(ids(&event.disconnected), [a]);
    assert!(event.alarm);
    assert_eq!(ids(&event.connected), [b, c]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seventeenth_subscription_of_one_connection_is_refused() {
    let running = start().await;
    let client = websocket(&running).await;
    let mut kept = Vec::new();
    for _ in 0..16 {
        kept.push(client.subscribetips(None).await.unwrap());
    }
    assert!(client.subscribetips(None).await.is_err());
    kept.pop().unwrap().unsubscribe().await.unwrap();
    // The place is free once the server's task has noticed.
    let again = async {
        while client.subscribetips(None).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_does_not_read_is_cut_off_with_the_reason_and_others_go_on() {
    let running = start_with(Fake::new(), |config| config.limits.slow_subscriber_ms = 300).await;
    let quick = websocket(&running).await;
    let mut tips = quick.subscribetips(None).await.unwrap();
    let mut slow = RawWebSocket::open(&running).await;
    slow.send(r#"{"jsonrpc":"2.0","id":1,"method":"subscribetips","params":[]}"#).await;
    assert!(slow.receive().await.unwrap()["result"].is_number());

    // Events of about a megabyte: the sockets' buffers, and the 64 messages that may wait, are
    // full after some. The quick reader takes each one before the next is sent.
    let ids: Arc<[BlockId]> = vec![BlockId::ZERO; 15_000].into();
    for sequence in 1_000..1_100 {
        running.node.send(ChainEvent::Tip {
            sequence,
            tip: BlockId::ZERO,
            height: 1,
            disconnected: Arc::clone(&ids),
            connected: Arc::default(),
            alarm: false,
        });
        // The first message of all names the tip of the beginning.
        while timeout(PATIENCE, tips.next()).await.unwrap().unwrap().unwrap().at.tip_height == 0 {}
    }
    // The server gave up on it, without a read of ours.
    running.until_listeners(|count| count <= 1).await;

    let mut events = 0;
    let reason = loop {
        let message = timeout(PATIENCE, slow.receive()).await.unwrap().unwrap();
        match &message["params"]["error"] {
            Value::Null => events += 1,
            error => break error.clone(),
        }
    };
    assert_eq!(reason["code"], "too-slow");
    assert!(events < 101, "not all were sent");
    // The connection itself lives, and can begin anew.
    slow.send(r#"{"jsonrpc":"2.0","id":2,"method":"subscribetips","params":[]}"#).await;
    assert!(timeout(PATIENCE, slow.receive()).await.unwrap().unwrap()["result"].is_number());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_the_events_overtake_is_cut_off() {
    let running = start().await;
    let mut slow = RawWebSocket::open(&running).await;
    slow.send(r#"{"jsonrpc":"2.0","id":1,"method":"subscribemempool","params":[]}"#).await;
    assert!(slow.receive().await.unwrap()["result"].is_number());
    // Far more than the sockets' buffers and the channel hold together, and nobody reads.
    let transaction = running.node.checked_payment();
    for sequence in 0..200_000 {
        let (transaction, spent) = (Arc::clone(&transaction), Arc::default());
        let fee = Amount::from_grains(1);
        running.node.send(ChainEvent::Transaction { transaction, fee, spent, sequence });
    }
    let reason = loop {
        let message = timeout(PATIENCE, slow.receive()).await.unwrap().unwrap();
        if !message["params"]["error"].is_null() {
            break message["params"]["error"]["code"].clone();
        }
    };
    assert_eq!(reason, "too-slow");
}
