//! Clients that were made for Bitcoin nodes, old and new.

use std::process::{Command, Stdio};

use ashlar_rpc::prelude::*;
use serde_json::{Value, json};

use crate::{
    doors::{AUTHORIZATION, request},
    running::{Running, start},
};

/// As a program of 2010 sends it: no `jsonrpc`, `text/plain`.
async fn old(running: &Running, body: &Value) -> (u16, Value) {
    let head = ["POST / HTTP/1.1", "Content-Type: text/plain;", "Host: 127.0.0.1", AUTHORIZATION];
    let (status, answer) = request(&running.at(), &head, &body.to_string()).await;
    (status, serde_json::from_str(&answer).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_json_rpc_1_are_answered_in_their_dialect() {
    let running = start().await;
    let tip = running.client().getbestblockhash().await.unwrap().to_string();
    let told = |mut answer: Value| {
        answer["tip"] = json!(tip);
        answer["tip_height"] = json!(0);
        answer
    };
    for (call, status, answer) in [
        (
            json!({ "method": "getblockhash", "params": [0], "id": "a" }),
            200,
            json!({ "result": tip, "error": null, "id": "a" }),
        ),
        (
            json!({ "version": "1.1", "method": "getblockcount", "params": [], "id": 7 }),
            200,
            json!({ "result": 0, "error": null, "id": 7 }),
        ),
        (
            json!({ "jsonrpc": "1.0", "id": "curltest", "method": "getblockcount", "params": [] }),
            200,
            json!({ "result": 0, "error": null, "id": "curltest" }),
        ),
        (
            json!({ "method": "getblockcount" }),
            200,
            json!({ "result": 0, "error": null, "id": null }),
        ),
        // A result of null is a result.
        (
            json!({ "method": "addnode", "params": ["/ip4/127.0.0.1/tcp/1"], "id": [1] }),
            200,
            json!({ "result": null, "error": null, "id": [1] }),
        ),
    ] {
        assert_eq!(old(&running, &call).await, (status, told(answer)), "{call}");
    }
    for (call, status, number) in [
        (json!({ "method": "getblockhash", "params": [9], "id": 1 }), 500, -8),
        (json!({ "method": "getblokhash", "params": [], "id": 1 }), 404, -32_601),
        (json!({ "method": 5, "params": [], "id": 1 }), 400, -32_600),
    ] {
        let (found, answer) = old(&running, &call).await;
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(number)), "{call}");
        assert_eq!((&answer["result"], &answer["id"]), (&Value::Null, &json!(1)));
        assert!(answer.get("jsonrpc").is_none());
    }
    // A batch of both dialects: each call has its own, and the new one's notification has none.
    let batch = json!([
        { "method": "getblockcount", "id": 1 },
        { "jsonrpc": "2.0", "method": "getblockcount", "id": 2 },
        { "jsonrpc": "2.0", "method": "getblockcount" },
        { "method": "getblockhash", "params": [9], "id": 3 },
    ]);
    let (status, answer) = old(&running, &batch).await;
    assert_eq!(status, 200);
    assert_eq!(answer[0], told(json!({ "result": 0, "error": null, "id": 1 })));
    assert_eq!(answer[1], told(json!({ "jsonrpc": "2.0", "id": 2, "result": 0 })));
    assert_eq!((&answer[2]["error"]["code"], &answer[2]["id"]), (&json!(-8), &json!(3)));
    assert_eq!(answer.as_array().unwrap().len(), 3);
    // Nor does the old dialect open a way round the bound on batches.
    let many = Value::from(vec![json!({ "method": "getblockcount", "id": 1 }); 101]);
    assert_eq!(old(&running, &many).await.1["error"]["code"], -32_010);
}

/// THREATS.md §4, R4: what a page can make a browser send without asking first is no call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_is_taken_from_programs_alone() {
    let running = start().await;
    let body = r#"{"method":"getblockcount","id":1}"#;
    for (headers, status) in [
        (vec!["Content-Type: text/plain", AUTHORIZATION], 200),
        // `bitcoin-cli` of those days says nothing.
        (vec![AUTHORIZATION], 200),
        (vec!["Content-Type: text/plain"], 401),
        (vec!["Content-Type: text/plain", AUTHORIZATION, "Origin: null"], 403),
        (vec!["Content-Type: text/plain", AUTHORIZATION, "Origin: https://explorer.example"], 415),
        (vec!["Content-Type: application/x-www-form-urlencoded", AUTHORIZATION], 415),
        (vec!["Content-Type: multipart/form-data; boundary=x", AUTHORIZATION], 415),
    ] {
        let mut head = vec!["POST / HTTP/1.1", "Host: localhost"];
        head.extend(&headers);
        assert_eq!(request(&running.at(), &head, body).await.0, status, "{headers:?}");
    }
}

/// `jsonrpc`, on which `bitcoincore-rpc` and `corepc-client` stand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_library_of_rust_bitcoin_works() {
    let running = start().await;
    let at = running.at();
    let genesis = running.client().getbestblockhash().await.unwrap().to_string();
    let asked = tokio::task::spawn_blocking(move || {
        let transport = jsonrpc::simple_http::SimpleHttpTransport::builder()
            .url(&at)
            .unwrap()
            .auth("user", Some("pass"))
            .build();
        let client = jsonrpc::Client::with_transport(transport);
        let count: u32 = client.call("getblockcount", None).unwrap();
        let params = jsonrpc::arg([0]);
        let id: String = client.call("getblockhash", Some(&params)).unwrap();
        let bad = jsonrpc::arg([9]);
        let error = client.call::<String>("getblockhash", Some(&bad)).unwrap_err();
        let jsonrpc::Error::Rpc(error) = error else { panic!("{error}") };
        let requests =
            [client.build_request("getblockcount", None), client.build_request("uptime2", None)];
        let batch = client.send_batch(&requests).unwrap();
        let second = batch[1].clone().unwrap().result::<u32>().is_err();
        (count, id, error.code, batch[0].clone().unwrap().result::<u32>().unwrap(), second)
    });
    assert_eq!(asked.await.unwrap(), (0, genesis, -8, 0, true));
}

/// The very line of Bitcoin's old help texts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_as_in_the_help_texts_of_bitcoin_works() {
    let running = start().await;
    let url = format!("http://{}/", running.at());
    let asked = tokio::task::spawn_blocking(move || {
        Command::new("curl")
            .args(["--silent", "--user", "user:pass", "--data-binary"])
            .arg(r#"{"jsonrpc": "1.0", "id":"curltest", "method": "getblockcount", "params": [] }"#)
            .args(["-H", "content-type: text/plain;", &url])
            .stdin(Stdio::null())
            .output()
            .expect("curl is installed")
    });
    let output = asked.await.unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["result"], &answer["id"]), (&json!(0), &json!("curltest")));
    assert_eq!(answer.get("error"), Some(&Value::Null), "it is there, as they look for it");
}
