//! What callers can't make the server do.

use std::{sync::atomic::Ordering, time::Duration};

use ashlar_rpc::{ClientError, prelude::*, server::Limits};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::{
    doors::{AUTHORIZATION, request},
    fake::Fake,
    running::{Running, start, start_with},
};

async fn post(running: &Running, body: &str) -> (u16, Value) {
    let head =
        ["POST / HTTP/1.1", "Content-Type: application/json", "Host: localhost", AUTHORIZATION];
    let (status, body) = request(&running.at(), &head, body).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn call(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_100_is_answered_and_one_of_101_is_not() {
    let running = start().await;
    let batch = |calls| Value::from(vec![call("getblockcount", json!([])); calls]).to_string();
    let (_, answer) = post(&running, &batch(100)).await;
    assert_eq!(answer.as_array().unwrap().len(), 100);
    assert!(answer.as_array().unwrap().iter().all(|one| one["result"] == 0));
    let (_, answer) = post(&running, &batch(101)).await;
    assert_eq!(answer["error"]["code"], -32_010);
    assert_eq!(answer["error"]["data"]["code"], "batch-too-long");
    // A batch of faults, a notification and a call: each has its own answer, or none.
    let mixed = json!([1, call("nonsense", json!([])), { "jsonrpc": "2.0", "method": "stop" },
        call("getblockcount", json!([]))]);
    let (_, answer) = post(&running, &mixed.to_string()).await;
    let codes: Vec<_> = answer
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["error"]["data"]["code"].as_str().unwrap_or("none"))
        .collect();
    assert_eq!(codes, ["not-a-call", "unknown-method", "none"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_at_the_limit_is_read_and_one_over_it_is_not() {
    let running = start().await;
    let max = Limits::max_body_bytes(4_000_000) as usize;
    let sized = |length: usize| {
        let mut body = call("getblockcount", json!([])).to_string();
        body.extend(std::iter::repeat_n(' ', length - body.len()));
        body
    };
    let (status, answer) = post(&running, &sized(max)).await;
    assert_eq!((status, &answer["result"]), (200, &json!(0)));
    // Refused by its length, before any of it is read.
    let mut socket = TcpStream::connect(running.at()).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nContent-Type: application/json\r\nHost: localhost\r\n\
         {AUTHORIZATION}\r\nContent-Length: {}\r\n\r\n",
        max + 1
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let length = socket.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("body-too-long") && answer.contains("hint"), "{answer}");
    // And where no length is given, when it is passed.
    let mut socket = TcpStream::connect(running.at()).await.unwrap();
    let head = head.replace(&format!("Content-Length: {}", max + 1), "Transfer-Encoding: chunked");
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("100000\r\n{}\r\n", "[".repeat(0x10_0000));
    for _ in 0..=max / 0x10_0000 {
        // The server may have closed before the last one.
        if socket.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let ended = socket.read_to_end(&mut answer).await;
    assert!(ended.is_err() || !answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    assert_eq!(running.client().getblockcount().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_answered_with_what_is_wrong() {
    let running = start().await;
    for (body, number, code) in [
        ("".to_owned(), -32_700, "not-json"),
        ("nonsense".to_owned(), -32_700, "not-json"),
        ("[".repeat(10_000), -32_700, "not-json"),
        ("{\"jsonrpc\":".to_owned(), -32_700, "not-json"),
        ("{}".to_owned(), -32_600, "not-a-call"),
        (json!({ "jsonrpc": "2.0", "id": 1, "method": 5 }).to_string(), -32_600, "not-a-call"),
        ("[]".to_owned(), -32_600, "empty-batch"),
        (call("subscribetips", json!([])).to_string(), -32_600, "needs-websocket"),
        (call("getblock", json!("[[[")).to_string(), -8, "invalid-parameter"),
        (call("getblokc", json!([])).to_string(), -32_601, "unknown-method"),
        (call("getblockhash", json!([])).to_string(), -8, "invalid-parameter"),
        (call("getblockhash", json!([-1])).to_string(), -8, "invalid-parameter"),
        (call("getblockhash", json!([1e300])).to_string(), -8, "invalid-parameter"),
        (call("getblockhash", json!([7])).to_string(), -8, "invalid-parameter"),
        (call("getblockheader", json!(["zz"])).to_string(), -8, "invalid-parameter"),
        (call("getblockheader", json!(["00".repeat(32)])).to_string(), -5, "not-found"),
        (
            call("getblocktemplate", json!([{ "address": "x", "adress": 1 }])).to_string(),
            -8,
            "invalid-parameter",
        ),
        (
            call("addnode", json!(["/ip4/127.0.0.1/tcp/1", "onetry"])).to_string(),
            -8,
            "invalid-parameter",
        ),
    ] {
        let (_, answer) = post(&running, &body).await;
        let short: String = body.chars().take(80).collect();
        assert_eq!(answer["error"]["code"], number, "{short}: {answer}");
        assert_eq!(answer["error"]["data"]["code"], code, "{short}");
        assert!(answer["error"]["data"]["hint"].is_string(), "{short}");
    }
    // An error of a call that looked at the chain tells its tip, too.
    let unknown = call("getblockheader", json!(["00".repeat(32)])).to_string();
    let (_, answer) = post(&running, &unknown).await;
    let tip = running.client().getbestblockhash().await.unwrap();
    let data = &answer["error"]["data"];
    assert_eq!((&data["tip"], &data["tip_height"]), (&json!(tip), &json!(0)));
    // Who wants no answer gets an empty one.
    let notification = r#"{"jsonrpc":"2.0","method":"getblockcount"}"#;
    assert_eq!(post(&running, notification).await, (204, Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_costs_its_call_and_nothing_else() {
    let running = start().await;
    running.node.broken.store(true, Ordering::Relaxed);
    let batch = json!([call("getmininginfo", json!([])), call("getblockcount", json!([]))]);
    let (_, answer) = post(&running, &batch.to_string()).await;
    assert_eq!(answer[0]["error"]["data"]["code"], "internal");
    assert_eq!(answer[1]["result"], 0);
    running.node.broken.store(false, Ordering::Relaxed);
    assert_eq!(running.client().getmininginfo().await.unwrap().threads, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_gets_no_answer_ends_in_time_and_so_does_its_batch() {
    let running = start_with(Fake::new(), |config| config.limits.call_timeout_ms = 200).await;
    running.node.stuck.store(true, Ordering::Relaxed);
    let error = ClientError::from(running.client().getmempoolinfo().await.unwrap_err());
    assert_eq!(error.code(), Some("timed-out"));
    let batch = Value::from(vec![call("getmempoolinfo", json!([])); 50]).to_string();
    let started = Instant::now();
    let (_, answer) = post(&running, &batch).await;
    assert!(started.elapsed() < Duration::from_secs(5), "not 50 times as long as one");
    let answers = answer.as_array().unwrap();
    assert!(answers.iter().all(|one| one["error"]["data"]["code"] == "timed-out"));
    running.node.stuck.store(false, Ordering::Relaxed);
    assert_eq!(running.client().getmempoolinfo().await.unwrap().size, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_say_nothing_do_not_keep_others_out() {
    let running = start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut socket = TcpStream::connect(running.at()).await.unwrap();
        socket.write_all(b"POST / HTTP/1.1\r\nHost: local").await.unwrap();
        silent.push(socket);
    }
    assert_eq!(running.client().getblockcount().await.unwrap(), 0);
}
