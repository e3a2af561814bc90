//! What an operator sees and decides: alarms, held reorganisations, metrics, peers.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::harness::{Net, Node, wait_for, wait_for_one_tip};

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
