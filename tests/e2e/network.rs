//! Nets that part, heal and grow.

use serde_json::json;

use crate::harness::{Net, Node, wait_for, wait_for_one_tip};

fn connections(node: &Node) -> u64 {
    node.call("getnetworkinfo", json!([]))["connections"].as_u64().unwrap()
}

/// ```text
///        ┌─ a1 … a3          (miner A's side)
/// common ┤
///        └─ b1 … b5          (miner B's side: more work, everybody ends here)
/// ```
#[test]
fn two_miners_parted_and_joined_again_end_on_one_chain() {
    let net = Net::new();
    let alone = ["--discovery", "false"];
    let a = net.node_with(&[], &alone);
    let b = net.node_with(&[], &alone);
    let (miner_a, miner_b) = (net.wallet("a").address(), net.wallet("b").address());
    b.call("addnode", json!([a.address(), "add"]));
    wait_for("they are connected", || (connections(&b) == 1).then_some(()));
    a.generate(4, &miner_a);
    let common = wait_for_one_tip(&[&a, &b]);

    b.call("addnode", json!([a.address(), "remove"]));
    let peer = b.call("getpeerinfo", json!([]))[0]["id"].clone();
    b.call("disconnectnode", json!([peer.to_string()]));
    wait_for("they are parted", || (connections(&a) == 0 && connections(&b) == 0).then_some(()));
    let lost = a.generate(3, &miner_a);
    let won = b.generate(5, &miner_b);
    assert_eq!((a.height(), b.height()), (7, 9));

    b.call("addnode", json!([a.address(), "add"]));
    assert_eq!(&wait_for_one_tip(&[&a, &b]), won.last().unwrap());
    assert_eq!(a.height(), 9);
    let header = a.call("getblockheader", json!([lost[0]]));
    assert_eq!(header["confirmations"], -1, "{header}");
    let tips = a.call("getchaintips", json!([]));
    assert!(
        tips.as_array().unwrap().iter().any(|tip| {
            tip["hash"] == json!(lost.last().unwrap()) && tip["status"] == "valid-fork"
        }),
        "{tips}"
    );
    assert!(a.call("getblockheader", json!([common]))["confirmations"].as_i64().unwrap() > 0);
}

#[test]
fn a_fresh_node_joins_and_copies_everything() {
    let net = Net::new();
    let a = net.node(&[]);
    let b = net.node(&[&a]);
    let miner = net.wallet("miner").address();
    a.generate(200, &miner);
    wait_for_one_tip(&[&a, &b]);
    let fresh = net.node(&[&b]);
    wait_for_one_tip(&[&a, &b, &fresh]);
    let info = |node: &Node| node.call("getblockchaininfo", json!([]));
    assert_eq!(info(&a)["utxo_commitment"], info(&fresh)["utxo_commitment"]);
    let block = |node: &Node| {
        let id = node.call("getblockhash", json!([137]));
        node.call("getblock", json!([id, 0]))
    };
    assert_eq!(block(&a), block(&fresh));
}

/// Two nodes that mine for real, at the same time, on a real difficulty.
#[test]
fn two_real_miners_agree() {
    let net = Net::new();
    let (one, two) = (net.wallet("one").address(), net.wallet("two").address());
    let a = net.node_with(&[], &["--mine", &one]);
    let b = net.node_with(&[&a], &["--mine", &two]);
    wait_for("they have mined on each other's blocks", || {
        (a.height() > 20 && b.height() > 20).then_some(())
    });
    // On a trivial target there is always a race at the top; below it they must agree.
    wait_for("the chains agree but for the newest blocks", || {
        let height = a.height().min(b.height()).saturating_sub(6);
        let at = |node: &Node| node.call("getblockhash", json!([height]));
        (height > 10 && at(&a) == at(&b)).then_some(())
    });
}

#[test]
fn nodes_meet_over_quic_where_they_listen_for_it() {
    let net = Net::new();
    let flags = ["--discovery", "false", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"];
    let a = net.node_with(&[], &flags);
    let b = net.node_with(&[], &flags);
    let miner = net.wallet("miner").address();
    a.generate(120, &miner);
    b.call("addnode", json!([a.address_with("/quic-v1"), "add"]));
    wait_for_one_tip(&[&a, &b]);
    let peer = b.call("getpeerinfo", json!([]))[0].clone();
    assert!(peer["addr"].as_str().unwrap().contains("/quic-v1"), "{peer}");
    // and blocks travel by gossip, both ways
    a.generate(1, &miner);
    wait_for_one_tip(&[&a, &b]);
    b.generate(1, &miner);
    wait_for_one_tip(&[&a, &b]);
    assert_eq!((a.height(), connections(&a)), (122, 1));
}
