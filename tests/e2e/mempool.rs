//! What waits, over restarts of all kinds.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Net, Node, Wallet, wait_for};

/// Pays a new wallet; the payment's id.
fn pay(faucet: &Wallet, node: &Node, to: &str) -> String {
    let sent = faucet.on(node, &["send", to, "1", "--yes"]);
    sent["txid"].as_str().unwrap().to_owned()
}

/// Pays once more, with the change of that payment.
fn pay_on(faucet: &Wallet, node: &Node, to: &str, first: &str) -> String {
    let made =
        node.call("decoderawtransaction", json!([node.call("getrawtransaction", json!([first]))]));
    let outputs = made["vout"].as_array().unwrap();
    let change = outputs.iter().position(|output| output["value"] != 100_000_000).unwrap();
    let coin = format!("{first}:{change}");
    let sent = faucet.on(node, &["send", to, "1", "--coin", &coin, "--yes"]);
    sent["txid"].as_str().unwrap().to_owned()
}

fn waiting(node: &Node) -> Value {
    wait_for("the last run's mempool was gone through", || {
        (node.call("getmempoolinfo", json!([]))["loaded"] == true).then_some(())
    });
    node.call("getrawmempool", json!([]))
}

#[test]
fn what_waits_and_its_priority_outlive_a_stop_and_are_mined() {
    let net = Net::new();
    let mut node = net.node(&[]);
    let (faucet, receiver) = (net.faucet(), net.wallet("receiver"));
    let first = pay(&faucet, &node, &receiver.address());
    let second = pay_on(&faucet, &node, &receiver.address(), &first);
    let ids = [first, second];
    node.call("prioritisetransaction", json!([ids[0], 0, 5_000]));
    let before = node.call("getmempoolentry", json!([ids[0]]));
    assert_eq!(before["spentby"], json!([ids[1]]), "{before}");
    assert_eq!(node.call("getmempoolancestors", json!([ids[1]])), json!([ids[0]]));
    assert_eq!(node.call("getmempooldescendants", json!([ids[0]])), json!([ids[1]]));
    let spent =
        node.call("decoderawtransaction", json!([node.call("getrawtransaction", json!([ids[1]]))]));
    let coin = &spent["vin"][0];
    let told = node.call("gettxspendingprevout", json!([[coin]]));
    assert_eq!(told[0]["spendingtxid"], json!(ids[1]), "{told}");

    node.stop();
    node.start(&[]);
    assert_eq!(waiting(&node), json!(ids));
    let after = node.call("getmempoolentry", json!([ids[0]]));
    for same in ["wtxid", "fee", "modifiedfee", "time", "descendantfees"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    // It is in the next template, and in a block; then its priority is over.
    let request = json!([{ "address": receiver.address() }]);
    let template = node.call("getblocktemplate", request);
    assert_eq!(template["transactions"].as_array().unwrap().len(), 2);
    node.generate(1, &net.wallet("miner").address());
    assert_eq!(receiver.balance(&node), 200_000_000);
    let left = node.call("getprioritisedtransactions", json!([]));
    assert_eq!(left["transactions"], json!({}));
    // What a restart finds in the file is confirmed by now, where the file is an older one.
    let file = node.datadir.join("mempool.dat");
    let old = fs::read(&file).unwrap();
    node.stop();
    fs::write(&file, old).unwrap();
    node.start(&[]);
    assert_eq!(waiting(&node), json!([]));
}

#[test]
fn a_killed_node_has_what_was_saved_and_a_damaged_file_is_set_aside() {
    let net = Net::new();
    let mut node = net.node(&[]);
    let (faucet, receiver) = (net.faucet(), net.wallet("receiver"));
    let id = pay(&faucet, &node, &receiver.address());
    waiting(&node);
    let saved = node.call("savemempool", json!([]));
    let file = node.datadir.join("mempool.dat");
    assert_eq!(saved["filename"], file.to_str().unwrap());
    assert_eq!(saved["transactions"], 1);
    node.kill();
    node.start(&[]);
    assert_eq!(waiting(&node), json!([id]));

    node.kill();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    node.start(&[]);
    assert_eq!(waiting(&node), json!([]));
    assert!(node.log().contains("its checksum is wrong"), "{}", node.log());
    assert_eq!(fs::read(node.datadir.join("mempool.damaged")).unwrap(), bytes, "kept for a look");
    // And the node goes on as ever.
    pay(&faucet, &node, &receiver.address());
    node.stop();
    assert!(file.exists());
}
