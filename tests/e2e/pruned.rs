//! A node that keeps only the newest blocks, beside one that keeps all.

use std::{fs, path::PathBuf};

use ashlar_rpc::client::ClientError;
use serde_json::{Value, json};

use crate::harness::{Net, Node, dev_genesis, run_command, wait_for, wait_for_one_tip};

/// The development genesis with blocks every ten minutes, of which every node keeps 288.
fn slow_genesis(net: &Net) -> PathBuf {
    let text = fs::read_to_string(dev_genesis()).unwrap();
    let mut genesis: Value = serde_json::from_str(&text).unwrap();
    genesis["block_interval"] = json!(600);
    let path = net.path("genesis-slow.json");
    fs::write(&path, genesis.to_string()).unwrap();
    path
}

fn info(node: &Node) -> Value {
    node.call("getblockchaininfo", json!([]))
}

/// The stable code and the message with which a call is refused.
fn refusal(node: &Node, method: &str, params: Value) -> (String, String) {
    let error = node.try_call(method, params).unwrap_err();
    let ClientError::Call { message, data, .. } = error else { panic!("{error}") };
    (data.map(|data| data.code).unwrap_or_default(), message)
}

fn pruned_to(node: &Node, height: u64) -> Value {
    wait_for("old blocks are pruned", || {
        let info = info(node);
        (info["pruneheight"].as_u64() == Some(height)).then_some(info)
    })
}

#[test]
fn a_pruned_node_keeps_two_days_and_says_what_is_gone() {
    let net = Net::new();
    let genesis = slow_genesis(&net);
    let mut full = net.node_on(&genesis, &[], &[]);
    let mut pruned = net.node_on(&genesis, &[&full], &["--prune", "0"]);
    let miner = net.wallet("miner").address();
    let ids = full.generate(320, &miner);
    wait_for_one_tip(&[&full, &pruned]);
    let whole = info(&full);
    let kept = pruned_to(&pruned, 33);
    assert_eq!((&whole["pruned"], &whole["pruneheight"]), (&json!(false), &Value::Null));
    assert_eq!((&kept["pruned"], &kept["prune_target_size"]), (&json!(true), &json!(0)));
    assert_eq!(kept["utxo_commitment"], whole["utxo_commitment"]);
    let size = |info: &Value| info["size_on_disk"].as_u64().unwrap();
    assert!(size(&kept) < size(&whole) && size(&kept) > size(&whole) / 2);

    // What is gone, and what is here.
    let (gone, here) = (&ids[31], &ids[32]);
    let (code, text) = refusal(&pruned, "getblock", json!([gone, 0]));
    assert!(code == "pruned" && text.contains("block 33"), "{text}");
    assert_eq!(pruned.call("getblock", json!([here, 0])), full.call("getblock", json!([here, 0])));
    let header =
        |node: &Node| node.call("getblockheader", json!([gone, true]))["merkleroot"].clone();
    assert_eq!(header(&pruned), header(&full));
    let coinbase = |id: &str| full.call("getblock", json!([id, 1]))["tx"][0].clone();
    for (method, params) in [
        ("getrawtransaction", json!([coinbase(gone)])),
        ("gettransaction", json!([coinbase(gone)])),
    ] {
        let (code, text) = refusal(&pruned, method, params);
        assert!(code == "not-found" && text.contains("from block 33 on"), "{method}: {text}");
    }
    let (code, text) = refusal(&pruned, "getrawtransaction", json!([coinbase(gone), 0, gone]));
    assert!(code == "pruned", "{text}");
    pruned.call("getrawtransaction", json!([coinbase(here)]));
    let history = pruned.call("getaddresshistory", json!([[miner]]));
    assert_eq!(history["history_start"], 33);
    let heights: Vec<u64> = history["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["height"].as_u64().unwrap())
        .collect();
    assert_eq!((heights.first(), heights.last(), heights.len()), (Some(&320), Some(&33), 288));
    assert_eq!(full.call("getaddresshistory", json!([[miner]]))["history_start"], 0);

    // Peers are told, and a fresh one gets its first blocks from the full node alone.
    let services = wait_for("the full node was told", || {
        full.call("getpeerinfo", json!([]))[0]["services"]
            .as_u64()
            .filter(|services| *services == 2)
    });
    assert_eq!(services, 2);
    let fresh = net.node_on(&genesis, &[&pruned], &["--discovery", "false"]);
    wait_for("the fresh node has the headers", || {
        (info(&fresh)["headers"].as_u64() == Some(320)).then_some(())
    });
    assert_eq!(fresh.height(), 0);
    fresh.call("addnode", json!([full.address(), "add"]));
    wait_for_one_tip(&[&fresh, &full]);

    // It goes on after a restart, and follows a branch that leaves within what it keeps.
    pruned.stop();
    pruned.start(&[]);
    let same = info(&pruned);
    assert_eq!((&same["pruneheight"], &same["size_on_disk"]), (&json!(33), &kept["size_on_disk"]));
    drop(fresh);
    full.stop();
    pruned.generate(3, &miner);
    let left = pruned.tip();
    pruned_to(&pruned, 36);
    pruned.stop();
    full.start(&[]);
    // The same miner would find the same blocks.
    full.generate(5, &net.wallet("other").address());
    pruned.start(&[&full]);
    wait_for_one_tip(&[&full, &pruned]);
    pruned_to(&pruned, 38);
    let left = pruned.call("getblockheader", json!([left, true]));
    assert_eq!((&left["confirmations"], &left["invalid"]), (&json!(-1), &Value::Null));
    pruned.stop();

    // Without the setting it deletes no more, and what is gone stays gone.
    pruned.flags.clear();
    pruned.start(&[]);
    let freed = &pruned;
    assert!(freed.log().contains("stay gone"), "{}", freed.log());
    freed.generate(3, &miner);
    let info = info(freed);
    assert_eq!((&info["pruned"], &info["pruneheight"]), (&json!(true), &json!(38)));
    assert_eq!(info["prune_target_size"], Value::Null);
}

#[test]
fn a_longer_branch_from_below_ends_a_pruned_node_with_the_way_out() {
    let net = Net::new();
    let genesis = slow_genesis(&net);
    let miner = net.wallet("miner").address();
    let alone = ["--discovery", "false"];
    let mut pruned = net.node_on(&genesis, &[], &["--prune", "1MB", alone[0], alone[1]]);
    pruned.generate(300, &miner);
    assert_eq!(info(&pruned)["pruneheight"], Value::Null, "a megabyte holds them all");
    // By order it gives up what is named, and never the newest of two days.
    let early: Vec<Value> =
        [4, 5].map(|height| pruned.call("getblockhash", json!([height]))).into();
    assert_eq!(pruned.call("pruneblockchain", json!([5]))["pruneheight"], 5);
    let (code, text) = refusal(&pruned, "getblock", json!([early[0]]));
    assert!(code == "pruned" && text.contains("block 5"), "{text}");
    pruned.call("getblock", json!([early[1]]));
    assert_eq!(pruned.call("pruneblockchain", json!([300]))["pruneheight"], 13);
    assert_eq!(info(&pruned)["pruneheight"], 13);
    let (code, text) = refusal(&pruned, "pruneblockchain", json!([301]));
    assert!(code == "invalid-parameter", "{text}");
    pruned.stop();
    let other = net.node_on(&genesis, &[], &alone);
    other.generate(310, &net.wallet("other").address());
    let (code, text) = refusal(&other, "pruneblockchain", json!([1]));
    assert!(code == "not-pruning", "{text}");

    let command = || {
        let mut command = run_command(&pruned.datadir);
        command.args(["--prune", "20kB", "--peer", &other.address()]);
        command.args(alone);
        command
    };
    // The second start meets the branch in its own store.
    for _ in 0..2 {
        let output = command().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("leaves this chain at block 0"), "{said}");
        assert!(said.contains("keeps blocks from 13 on") && said.contains("sync again"), "{said}");
    }
    // A size that is none.
    let output = run_command(&pruned.datadir).args(["--prune", "2 parsecs"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no size"), "{said}");
}
