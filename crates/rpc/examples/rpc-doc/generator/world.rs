//! The world in which each example is called: a chain of a few blocks, made anew for each, so
//! that no example hangs on another and every answer is the same each time.

use std::collections::BTreeMap;

use ashlar_ledger::Settings;
use ashlar_primitives::Encode as _;
use ashlar_rpc::{Credentials, client::open_websocket};
use ashlar_testkit::builder::lock;
use jsonrpsee::core::{client::ClientT as _, params::ArrayParams};
use serde_json::Value;

use super::source::Source;
use crate::fake::{Fake, address};
use crate::running::{Running, start_with};

/// An example and what was answered.
pub(crate) struct Shown {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) result: Value,
}

/// How an example is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over {
    Http,
    WebSocket,
}

/// Calls the example of every method; an error is a panic.
pub(crate) fn call_all(source: &Source, over: Over) -> Vec<Shown> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut all = Vec::new();
        for (_, method) in source.methods() {
            all.push(call(&method.name, &method.example, over).await);
        }
        all
    })
}

async fn call(method: &str, example: &str, over: Over) -> Shown {
    let (running, names) = world().await;
    let mut text = example.to_owned();
    for (name, value) in &names {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    let params: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{method}: its example is no JSON array: {error}: {text}"));
    let given = params.as_array().unwrap().clone();
    let answer = match over {
        Over::Http => running.client().call(method, given).await.map_err(|error| error.to_string()),
        Over::WebSocket => {
            let cookie = Credentials::Cookie(running.cookie_file.clone());
            let client = open_websocket(&running.at(), &cookie).await.unwrap();
            let mut positional = ArrayParams::new();
            given.into_iter().for_each(|value| positional.insert(value).unwrap());
            client.request(method, positional).await.map_err(|error| error.to_string())
        }
    };
    let mut result = answer.unwrap_or_else(|error| panic!("{method} {text}: {error}"));
    if method == "rpc.discover" {
        // The document can't hold itself.
        let whole = result.as_object_mut().unwrap();
        whole.retain(|field, _| ["openrpc", "info", "servers"].contains(&field.as_str()));
    }
    Shown { method: method.to_owned(), params, result }
}

/// Key 1 has the genesis coin; block 2 holds a payment of its to key 2; another waits.
async fn world() -> (Running, BTreeMap<&'static str, String>) {
    let settings = Settings { prune_bytes: Some(1 << 30), ..Settings::default() };
    let running = start_with(Fake::with(settings), |_| ()).await;
    let node = &running.node;
    let client = running.client();
    let send = async |payment: &str| -> String {
        let sent = client.call("sendrawtransaction", vec![payment.into()]).await.unwrap();
        sent.as_str().unwrap().to_owned()
    };
    let mine = async || -> String {
        let params = vec![1.into(), address(3).into()];
        let mined = client.call("generatetoaddress", params).await.unwrap();
        mined[0].as_str().unwrap().to_owned()
    };
    mine().await;
    let payment = node.payment(lock(2), 300_000, 1_000);
    let txid = send(&payment).await;
    let block = mine().await;
    let tip = mine().await;
    let waiting_hex = node.payment(lock(2), 50_000, 500);
    let waiting = send(&waiting_hex).await;
    let template = serde_json::json!({ "address": address(4) });
    let template = client.call("getblocktemplate", vec![template]).await.unwrap();
    let bytes = hex::decode(template["block"].as_str().unwrap()).unwrap();
    let mut solved: ashlar_primitives::Block =
        ashlar_primitives::Decode::from_bytes(&bytes).unwrap();
    solved.header = ashlar_testkit::builder::solve(solved.header);
    let proof = client.call("getmerkleproof", vec![txid.clone().into()]).await.unwrap();
    let names = BTreeMap::from([
        ("proof", proof.to_string()),
        ("tip", tip),
        ("block", block),
        ("txid", txid),
        ("waiting", waiting),
        ("waiting_hex", waiting_hex),
        // Key 2's, which nobody has sent.
        ("payment", node.payment_by(2, lock(4), 10_000, 1_000)),
        ("new_block", hex::encode(solved.to_bytes())),
        ("address", address(1)),
        ("payee", address(2)),
        ("miner", address(3)),
    ]);
    (running, names)
}
