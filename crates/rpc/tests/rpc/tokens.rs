//! Tokens: who may call what, how often, and how much at once.

use std::{fs, path::Path};

use ashlar_rpc::{
    Client, ClientError, Credentials, UserPassword,
    prelude::*,
    scope::{Scope, scope_of},
    server::{Token, new_token},
};
use serde_json::{Value, json};

use crate::{
    doors::{request, upgrade},
    fake::Fake,
    running::{Running, start_with},
};

/// A server that knows one token, and that token.
async fn with_token(scopes: &[Scope], calls_per_second: Option<u32>) -> (Running, String) {
    let (text, hash) = new_token().unwrap();
    let token = Token { name: "test".into(), hash, scopes: scopes.to_vec(), calls_per_second };
    let running = start_with(Fake::new(), |config| config.tokens = vec![token]).await;
    (running, text)
}

fn call(method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [] })
}

async fn post(running: &Running, token: &str, body: &Value) -> Value {
    let authorization = format!("Authorization: Bearer {token}");
    let head =
        ["POST / HTTP/1.1", "Content-Type: application/json", "Host: localhost", &authorization];
    let (_, answer) = request(&running.at(), &head, &body.to_string()).await;
    serde_json::from_str(&answer).unwrap()
}

/// The names of all methods, as the traits declare them.
pub(crate) fn all_methods() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut names = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let declared = text.split("#[method(name = \"").skip(1);
        names.extend(declared.map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    names.sort();
    names
}

/// THREATS.md §4, R8: each method is closed to each token that is not for it. `stop` is among
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_is_closed_to_every_scope_but_its_own_and_admin() {
    let names = all_methods();
    assert!(names.len() > 30 && names.contains(&"stop".to_owned()));
    for scope in [Scope::Read, Scope::WalletBroadcast, Scope::Mine] {
        let (running, token) = with_token(&[scope], None).await;
        for name in &names {
            let needed = scope_of(name).unwrap();
            if scope.allows(needed) {
                continue;
            }
            let answer = post(&running, &token, &call(name)).await;
            assert_eq!(answer["error"]["data"]["code"], "forbidden", "{scope}: {name}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains(needed.name()), "{message}");
        }
        // What it is for is answered, by HTTP, WebSocket and batch alike.
        let batch = json!([call("stop"), call("getblockcount"), call("nonsense")]);
        let answer = post(&running, &token, &batch).await;
        assert_eq!(answer[0]["error"]["data"]["code"], "forbidden");
        assert_eq!(answer[1]["result"] == 0, scope == Scope::Read);
        assert_eq!(answer[2]["error"]["data"]["code"], "unknown-method");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_has_the_scope_of_its_token_and_clients_take_tokens_as_passwords() {
    let (running, token) = with_token(&[Scope::Read], None).await;
    let password = UserPassword { user: "whatever".into(), password: token };
    let credentials = Credentials::Password(password);
    let socket = ashlar_rpc::client::open_websocket(&running.at(), &credentials).await.unwrap();
    assert_eq!(socket.getblockcount().await.unwrap(), 0);
    let error = ClientError::from(socket.stop().await.unwrap_err());
    assert_eq!(error.code(), Some("forbidden"));
    let client = Client::connect(&running.at(), &credentials).unwrap();
    let error = ClientError::from(client.clearbanned().await.unwrap_err());
    assert_eq!(error.code(), Some("forbidden"));
    assert!(error.to_string().contains("token new"), "the hint says how: {error}");
    // The operator goes in beside it.
    assert_eq!(running.client().listbanned().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_made_its_calls_is_told_when_to_come_back_and_others_go_on() {
    let (running, token) = with_token(&[Scope::Read], Some(1)).await;
    let batch = Value::from(vec![call("getblockcount"); 11]);
    let answers = post(&running, &token, &batch).await;
    let refused = &answers[10]["error"];
    assert!((0..10).all(|place| answers[place]["result"] == 0), "ten seconds' worth: {answers}");
    assert_eq!(
        (&refused["code"], &refused["data"]["code"]),
        (&json!(-32_005), &json!("rate-limited"))
    );
    let wait_ms = refused["data"]["retry_after_ms"].as_u64().unwrap();
    assert!((1..=1_001).contains(&wait_ms), "{wait_ms}");
    assert_eq!(running.client().getblockcount().await.unwrap(), 0);
    tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
    assert_eq!(post(&running, &token, &call("getblockcount")).await["result"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_caller_can_not_take_all_places() {
    let (text, hash) = new_token().unwrap();
    let token =
        Token { name: "greedy".into(), hash, scopes: vec![Scope::Read], calls_per_second: None };
    let running = start_with(Fake::new(), |config| {
        config.tokens = vec![token];
        config.limits.max_connections_per_caller = 3;
    })
    .await;
    let authorization = format!("Authorization: Bearer {text}");
    let head = ["Host: localhost", &authorization];
    let mut open = Vec::new();
    for _ in 0..3 {
        let (status, socket) = upgrade(&running.at(), &head).await;
        assert_eq!(status, 101);
        open.push(socket);
    }
    assert_eq!(upgrade(&running.at(), &head).await.0, 429);
    let post = ["POST / HTTP/1.1", "Content-Type: application/json", head[0], head[1]];
    let (status, body) = request(&running.at(), &post, &call("getblockcount").to_string()).await;
    assert!(status == 429 && body.contains("too-many-at-once"), "{status} {body}");
    assert_eq!(running.client().getblockcount().await.unwrap(), 0);
    // A WebSocket that closes gives its place back.
    open.clear();
    let again = async {
        while upgrade(&running.at(), &head).await.0 != 101 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), again).await.unwrap();
}
