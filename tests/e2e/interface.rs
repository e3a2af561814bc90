//! The interface of a real node, from the outside: what its document lists, it answers.

use serde_json::{Value, json};

use crate::harness::Net;

fn code(error: &ashlar_rpc::ClientError) -> &str {
    error.code().unwrap_or("none")
}

#[test]
fn a_node_answers_what_its_document_lists() {
    let net = Net::new();
    let mut node = net.node_with(&[], &["--discovery", "false"]);
    let miner = net.wallet("miner").address();
    let ids = node.generate(12, &miner);

    let document = node.call("rpc.discover", json!([]));
    let methods = document["methods"].as_array().unwrap();
    let mut called = 0;
    for method in methods {
        let needs_none =
            method["params"].as_array().unwrap().iter().all(|p| p["required"] == false);
        let is_told = method["tags"][0]["name"] == "Subscriptions";
        if method["x-scope"] == "read" && needs_none && !is_told {
            node.call(method["name"].as_str().unwrap(), json!([]));
            called += 1;
        }
    }
    assert!(called >= 19, "{called} of {} methods", methods.len());

    let block = node.call("getblock", json!([ids[4]]));
    assert_eq!((&block["height"], &block["confirmations"]), (&json!(5), &json!(8)));
    assert_eq!(block["confirmed_work"], json!(8.0));
    let proof = node.call("getmerkleproof", json!([block["tx"][0]]));
    let verified = node.call("verifymerkleproof", json!([proof]));
    assert_eq!((&verified["height"], &verified["confirmations"]), (&json!(5), &json!(8)));
    let stats = node.call("getblockstats", json!([5]));
    assert_eq!(stats["blockhash"], json!(ids[4]));
    let scanned = node.call("scantxoutset", json!([miner]));
    assert_eq!(scanned["unspents"].as_array().unwrap().len(), 12);
    let headers = node.call("getblockheaders", json!([1, 12]));
    assert_eq!(headers["headers"].as_array().unwrap().len(), 12);
    let verified = node.call("verifychain", json!([12]));
    assert_eq!((&verified["sound"], &verified["blocks"]), (&json!(true), &json!(12)));
    assert!(node.call("getmemoryinfo", json!([]))["resident"].as_u64().unwrap() > 1 << 20);
    let filter = "info,ashlar_network=debug";
    assert_eq!(node.call("logging", json!([filter]))["filter"], json!(filter));
    assert_eq!(node.call("waitforblockheight", json!([13, 100]))["tip_height"], json!(12));
    let refused = node.try_call("pruneblockchain", json!([5])).unwrap_err();
    assert_eq!(code(&refused), "not-pruning");

    // An order outlives a restart, and is taken back.
    assert_eq!(node.call("invalidateblock", json!([ids[9]]))["tip"], json!(ids[8]));
    node.stop();
    node.start(&[]);
    assert_eq!(node.tip(), ids[8]);
    assert_eq!(node.call("reconsiderblock", json!([ids[9]]))["tip"], json!(ids[11]));
    assert_eq!(node.call("getblockcount", json!([])), json!(12));
    assert_ne!(node.call("uptime", json!([])), Value::Null);
}
