//! Messages over a WebSocket: what is wrong with them is told as over HTTP, and costs nobody the
//! connection.

use std::{sync::atomic::Ordering, time::Duration};

use ashlar_rpc::{prelude::*, server::Limits};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    doors::{AUTHORIZATION, request},
    fake::{Fake, address},
    raw_socket::RawWebSocket,
    running::{Running, start, start_with},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn call(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

async fn next(socket: &mut RawWebSocket) -> Value {
    timeout(PATIENCE, socket.receive()).await.unwrap().expect("it is open")
}

/// A good call is answered: the messages before it did no harm.
async fn goes_on(socket: &mut RawWebSocket) {
    socket.send(&call("getblockcount", json!([])).to_string()).await;
    assert_eq!(next(socket).await["result"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_answered_with_what_is_wrong_and_the_socket_lives() {
    let running = start().await;
    let mut socket = RawWebSocket::open(&running).await;
    let many = Value::from(vec![call("getblockcount", json!([])); 101]).to_string();
    for (text, number, code) in [
        ("nonsense".to_owned(), -32_700, "not-json"),
        (String::new(), -32_700, "not-json"),
        ("{\"jsonrpc\":".to_owned(), -32_700, "not-json"),
        ("[1,".to_owned(), -32_700, "not-json"),
        ("[".repeat(10_000), -32_700, "not-json"),
        ("{}".to_owned(), -32_600, "not-a-call"),
        // The old dialect is older than WebSockets.
        (json!({ "method": "getblockcount", "id": 1 }).to_string(), -32_600, "not-a-call"),
        ("[]".to_owned(), -32_600, "empty-batch"),
        (many, -32_010, "batch-too-long"),
        (call("getblokc", json!([])).to_string(), -32_601, "unknown-method"),
        (call("getblockhash", json!([])).to_string(), -8, "invalid-parameter"),
        (call("subscribetips", json!([7])).to_string(), -8, "invalid-parameter"),
        (call("subscribeaddresses", json!([])).to_string(), -8, "invalid-parameter"),
        (call("subscribeaddresses", json!(["x"])).to_string(), -5, "invalid-address"),
    ] {
        socket.send(&text).await;
        let answer = next(&mut socket).await;
        let short: String = text.chars().take(80).collect();
        assert_eq!(answer["error"]["code"], number, "{short}: {answer}");
        assert_eq!(answer["error"]["data"]["code"], code, "{short}");
        assert!(answer["error"]["data"]["hint"].is_string(), "{short}");
        goes_on(&mut socket).await;
    }
    // Who wants no answer gets none.
    socket.send(r#"{"jsonrpc":"2.0","method":"getblockcount"}"#).await;
    goes_on(&mut socket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_long_is_told_so() {
    let running = start().await;
    let max = Limits::max_body_bytes(4_000_000) as usize;
    let sized = |length: usize| {
        let mut text = call("getblockcount", json!([])).to_string();
        text.extend(std::iter::repeat_n(' ', length - text.len()));
        text
    };
    let mut socket = RawWebSocket::open(&running).await;
    socket.send(&sized(max)).await;
    assert_eq!(next(&mut socket).await["result"], 0);
    let too_long = |answer: Value| {
        assert_eq!(answer["error"]["code"], -32_007, "{answer}");
        assert_eq!(answer["error"]["data"]["code"], "body-too-long");
        assert!(answer["error"]["data"]["hint"].is_string());
    };
    socket.send(&sized(max + 1)).await;
    too_long(next(&mut socket).await);
    socket.send_in_parts(&sized(max + 1)).await;
    too_long(next(&mut socket).await);
    goes_on(&mut socket).await;
    // A length that nobody reads to its end is the last word.
    socket.frame(0x81, 1 << 40, b"").await;
    too_long(next(&mut socket).await);
    assert_eq!(timeout(PATIENCE, socket.receive()).await.unwrap(), None);
}

/// R10 of a subscription: its answer tells a tip as every other, and its first event the one from
/// which it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_tells_its_tip_with_its_answer_and_with_its_first_event() {
    let running = start().await;
    let tip = running.client().getbestblockhash().await.unwrap().to_string();
    for (method, params) in [
        ("subscribetips", json!([])),
        ("subscribemempool", json!([])),
        ("subscribeaddresses", json!([address(1)])),
        ("subscribesync", json!([])),
    ] {
        let mut socket = RawWebSocket::open(&running).await;
        socket.send(&call(method, params).to_string()).await;
        let answer = next(&mut socket).await;
        assert!(answer["result"].is_number(), "{method}: {answer}");
        assert_eq!((&answer["tip"], &answer["tip_height"]), (&json!(tip), &json!(0)));
        let event = next(&mut socket).await;
        assert_eq!(event["params"]["subscription"], answer["result"], "{method}: {event}");
        let told = &event["params"]["result"];
        assert_eq!((&told["tip"], &told["tip_height"]), (&json!(tip), &json!(0)), "{method}");
        assert_eq!(told["cursor"]["sequence"], 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_may_subscribe_and_its_events_follow_its_answer() {
    let running = start().await;
    let mut socket = RawWebSocket::open(&running).await;
    let batch = json!([call("subscribetips", json!([])), 5, call("getblockcount", json!([]))]);
    socket.send(&batch.to_string()).await;
    let answers = next(&mut socket).await;
    assert_eq!(answers.as_array().map(Vec::len), Some(3), "{answers}");
    assert_eq!(answers[1]["error"]["data"]["code"], "not-a-call");
    assert_eq!(answers[2]["result"], 0);
    let event = next(&mut socket).await;
    assert_eq!(event["params"]["subscription"], answers[0]["result"]);
}

/// More calls at once than are worked on at one time: the others wait, and none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_side_by_side_are_all_answered() {
    let running = start_with(Fake::new(), |config| config.limits.call_timeout_ms = 2_000).await;
    let mut socket = RawWebSocket::open(&running).await;
    running.node.stuck.store(true, Ordering::Relaxed);
    for id in 0..500 {
        // Some hang until their time is over.
        let method = if id % 10 == 0 { "getmempoolinfo" } else { "getblockcount" };
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": [] });
        socket.send(&call.to_string()).await;
    }
    let mut answered = Vec::new();
    for _ in 0..500 {
        answered.push(next(&mut socket).await["id"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..500).collect::<Vec<_>>());
}

async fn refused_handshake(running: &Running, headers: &[&str]) -> (u16, Value) {
    let mut head = vec!["GET / HTTP/1.1", "Host: localhost", AUTHORIZATION, "Upgrade: websocket"];
    head.extend(headers);
    // `request` says `Connection: close` too, which does not hinder an upgrade.
    head.push("Connection: Upgrade");
    let (status, body) = request(&running.at(), &head, "").await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_of_another_kind_is_told_what_is_wrong() {
    let running = start().await;
    for headers in [
        vec![],
        vec!["Sec-WebSocket-Version: 13"],
        vec!["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"],
        vec!["Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="],
    ] {
        let (status, body) = refused_handshake(&running, &headers).await;
        assert_eq!(status, 400, "{headers:?}: {body}");
        assert_eq!(body["error"]["data"]["code"], "bad-handshake", "{headers:?}");
    }
}
