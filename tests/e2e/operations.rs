//! What an operator sees and decides: alarms, held reorganisations, metrics, peers.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use serde_json::{Value, json};

use crate::harness::{Net, Node, binary, dev_genesis, wait_for, wait_for_one_tip};

/// The text of one scrape.
fn scrape(node: &Node) -> String {
    let at = node.rpc_address();
    let mut socket = TcpStream::connect(&at).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

fn metric(node: &Node, name: &str) -> Option<u64> {
    let text = scrape(node);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok())
}

fn held_tip(node: &Node) -> Option<String> {
    let tips = node.call("getchaintips", json!([]));
    let held = tips.as_array().unwrap().iter().find(|tip| tip["status"] == "held")?;
    held["hash"].as_str().map(str::to_owned)
}

/// ```text
///        ┌─ a1 … a3          (a, which asks before it undoes more than two blocks)
/// common ┤
///        └─ b1 … b5          (b: more work)
/// ```
#[test]
fn a_deep_reorganisation_waits_for_the_operator_and_is_an_alarm() {
    let net = Net::new();
    let options = ["--discovery", "false", "--reorg-hold", "2", "--reorg-alarm", "2"];
    let mut a = net.node_with(&[], &options);
    let b = net.node_with(&[], &["--discovery", "false"]);
    let (miner_a, miner_b) = (net.wallet("a").address(), net.wallet("b").address());
    let common = a.generate(4, &miner_a);
    let own = a.generate(3, &miner_a);
    for id in &common {
        let block = a.call("getblock", json!([id, 0]));
        assert_eq!(b.call("submitblock", json!([block])), Value::Null);
    }
    let others = b.generate(5, &miner_b);
    let other_tip = others.last().unwrap();

    b.call("addnode", json!([a.address(), "add"]));
    let held = wait_for("the other branch is held back", || held_tip(&a));
    assert_eq!((&held, &a.tip()), (other_tip, own.last().unwrap()));
    assert_eq!(metric(&a, "ashlar_reorganisations_held_total"), Some(1));
    assert_eq!(metric(&a, "ashlar_tip_height"), Some(7));

    // Its operator may take the time of a restart to think.
    a.stop();
    a.start(&[&b]);
    assert_eq!(a.tip(), *own.last().unwrap());
    let told = a.warnings().concat();
    assert!(told.contains(&format!("acceptreorg {other_tip}")), "{told}");
    a.call("acceptreorg", json!([other_tip]));
    assert_eq!(&wait_for_one_tip(&[&a, &b]), other_tip);
    let told = a.warnings().concat();
    assert!(told.contains("disconnected 3 blocks") && !told.contains("acceptreorg"), "{told}");
    let counted = |name: &str| metric(&a, name).unwrap();
    assert_eq!(counted("ashlar_reorganisations_total"), 1);
    assert_eq!(counted("ashlar_reorganisation_alarms_total"), 1);
    assert_eq!(counted("ashlar_reorganisation_depth_max"), 3);

    // Whether the last body of its branch came before that was held or after is chance.
    b.generate(1, &miner_b);
    wait_for_one_tip(&[&a, &b]);
    let peer = wait_for("they have talked since", || {
        let peers = a.call("getpeerinfo", json!([]));
        let peer = peers[0].clone();
        (peer["bytesrecv"].as_u64()? > 0 && peer["last_block"].is_u64()).then_some(peer)
    });
    assert!(peer["bytessent"].as_u64().unwrap() > 0, "{peer}");
    assert_eq!(peer["synced_headers"], 10, "{peer}");
}

/// What is logged is chosen while the node runs.
#[test]
fn the_log_is_turned_up_and_down_again() {
    let net = Net::new();
    let mut node = net.node(&[]);
    let (faucet, to) = (net.faucet(), net.wallet("payee").address());
    let pay =
        || faucet.on(&node, &["send", &to, "1", "--yes"])["txid"].as_str().unwrap().to_owned();
    let before = node.call("logging", json!([]))["filter"].as_str().unwrap().to_owned();
    let quiet = pay();
    let louder = format!("{before},ashlar_node=debug");
    assert_eq!(node.call("logging", json!([louder]))["filter"], louder);
    let loud = pay();
    let told = |node: &Node, txid: &str| {
        let log = node.log();
        let mut lines = log.lines().filter(|line| line.contains("transaction accepted"));
        lines.any(|line| line.contains(txid))
    };
    wait_for("the payment is in the log", || told(&node, &loud).then_some(()));
    assert_eq!(node.call("logging", json!([before]))["filter"], before);
    let hushed = pay();
    let error = node.try_call("logging", json!(["ashlar=very loud"])).unwrap_err();
    assert_eq!(error.code(), Some("invalid-parameter"), "{error}");
    assert_eq!(node.call("logging", json!([]))["filter"], before);
    node.stop();
    assert!(!told(&node, &quiet) && !told(&node, &hushed), "{}", node.log());
}

/// A chain whose first block comes long after its genesis block, so that its difficulty is relieved.
#[test]
fn relieved_blocks_are_marked_and_told_while_they_are_new() {
    let net = Net::new();
    let text = fs::read_to_string(dev_genesis()).unwrap();
    let mut genesis: Value = serde_json::from_str(&text).unwrap();
    genesis["bits"] = json!("1f7fffff");
    genesis["difficulty_half_life"] = json!(3_600);
    genesis["max_future_seconds"] = json!(600);
    genesis["stall_relief_seconds"] = json!(1_320);
    let path = net.path("genesis-stalled.json");
    fs::write(&path, genesis.to_string()).unwrap();
    let node = net.node_on(&path, &[], &[]);
    let wallet = crate::harness::Wallet { file: net.path("miner.json") };
    wallet.run(&["create", "--light-kdf", "--genesis", path.to_str().unwrap()]);
    let miner = wallet.address();
    let ids = node.generate(2, &miner);
    let marks = |id: &str| {
        let block = node.call("getblock", json!([id]));
        let header = node.call("getblockheader", json!([id]));
        assert_eq!(block["relieved"], header["relieved"]);
        (block["relieved"].as_bool().unwrap(), block["confirmed_work"].as_f64().unwrap())
    };
    let (first, second) = (marks(&ids[0]), marks(&ids[1]));
    assert_eq!((first.0, second.0), (true, false));
    // The eased block adds next to nothing to what buries it.
    assert!(first.1 - second.1 < 0.1, "{first:?} {second:?}");
    let told = || node.warnings().concat().contains("stall relief");
    assert!(told(), "{:?}", node.warnings());
    let status = Command::new(binary("ashlar-node"))
        .args(["status", "--once", "--datadir"])
        .arg(&node.datadir)
        .output()
        .unwrap();
    let page = String::from_utf8(status.stdout).unwrap();
    let marked: Vec<&str> = page.lines().filter(|line| line.ends_with("· relieved")).collect();
    assert!(marked.len() == 1 && marked[0].contains(&ids[0][..16]), "{page}");
    assert!(page.contains("H/s") && !page.contains("  H/s"), "{page}");
    // Twenty blocks later nobody need know.
    node.generate(18, &miner);
    assert!(told());
    node.generate(1, &miner);
    assert!(!told(), "{:?}", node.warnings());
}
