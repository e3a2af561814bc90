//! Processes that end, by will or by force, and what is there afterwards.

use serde_json::json;

use crate::harness::{Net, wait_for, wait_for_one_tip};

/// ```text
/// A ── B ── C      B is killed while blocks arrive; A and C go on; B comes back and catches up
///  └────────┘
/// ```
#[test]
fn a_node_killed_while_blocks_arrive_comes_back_and_catches_up() {
    let net = Net::new();
    let a = net.node(&[]);
    let mut b = net.node(&[&a]);
    let c = net.node(&[&a, &b]);
    let miner = net.wallet("miner").address();
    a.generate(5, &miner);
    wait_for_one_tip(&[&a, &b, &c]);

    std::thread::scope(|scope| {
        let mining = scope.spawn(|| a.generate(60, &miner));
        wait_for("blocks arrive at B", || (b.height() > 10).then_some(()));
        b.kill();
        mining.join().unwrap();
    });
    let tip = wait_for_one_tip(&[&a, &c]);
    assert_eq!(c.height(), 65);

    b.start(&[&a]);
    wait_for("B has caught up", || (b.tip() == tip).then_some(()));
    let of = |node: &crate::harness::Node| {
        node.call("getblockchaininfo", json!([]))["utxo_commitment"].clone()
    };
    assert_eq!(of(&a), of(&b));
}

#[test]
fn every_process_restarted_from_disk_comes_back_with_the_same_tip() {
    let net = Net::new();
    let mut a = net.node(&[]);
    let mut b = net.node(&[&a]);
    let miner = net.wallet("miner").address();
    a.generate(30, &miner);
    let tip = wait_for_one_tip(&[&a, &b]);
    let info = a.call("getblockchaininfo", json!([]));
    a.stop();
    b.kill();
    a.start(&[]);
    b.start(&[]);
    assert_eq!((a.tip(), b.tip()), (tip.clone(), tip));
    let again = a.call("getblockchaininfo", json!([]));
    assert_eq!(info["utxo_commitment"], again["utxo_commitment"]);
    // And the chain goes on from there.
    a.generate(1, &miner);
    assert_eq!(a.height(), 31);
}

#[test]
fn signals_and_the_stop_method_end_a_node_cleanly() {
    let net = Net::new();
    for how in ["INT", "TERM"] {
        let mut node = net.node(&[]);
        crate::harness::signal(node.pid(), how);
        wait_for("the node ends", || (!node.is_running()).then_some(()));
        assert!(node.log().contains("stopped"), "{how}: {}", node.log());
        assert!(!node.datadir.join("run.json").exists());
        assert!(!node.datadir.join(".cookie").exists());
    }
    // From its first words on, also while it is not ready yet.
    for said in ["starting", "ledger opened", "listening on", "ready"] {
        let mut node = net.unready_node();
        wait_for("the node has begun", || node.log().contains(said).then_some(()));
        crate::harness::signal(node.pid(), "TERM");
        let status = node.wait();
        assert!(status.success(), "{said}: {status}\n{}", node.log());
        assert!(node.log().contains("stopped"), "{said}: {}", node.log());
        assert!(!node.datadir.join("run.json").exists());
    }
    let mut node = net.node(&[]);
    node.call("stop", json!([]));
    wait_for("the node ends", || (!node.is_running()).then_some(()));
    assert!(node.log().contains("stopped"), "{}", node.log());
}
