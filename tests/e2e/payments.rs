//! A wallet pays another through different nodes, and both see it confirmed.

use serde_json::json;

use crate::harness::{Net, wait_for, wait_for_one_tip};

/// 12.5 ASH in grains.
const PAID: u64 = 1_250_000_000;

/// ```text
/// faucet ── node A ── node B ── node C ── receiver
/// ```
#[test]
fn a_payment_through_one_node_is_confirmed_on_another_and_in_both_wallets() {
    let net = Net::new();
    let a = net.node(&[]);
    let b = net.node(&[&a]);
    let c = net.node(&[&b]);
    let (faucet, receiver) = (net.faucet(), net.wallet("receiver"));
    let miner = net.wallet("miner").address();
    let before = faucet.balance(&a);

    let sent = faucet.on(&a, &["send", &receiver.address(), "12.5", "--yes"]);
    let txid = sent["txid"].as_str().unwrap().to_owned();
    let fee = sent["fee"].as_u64().unwrap();
    assert!(fee > 0);
    wait_for("the payment waits on node C", || {
        c.call("getrawmempool", json!([])).to_string().contains(&txid).then_some(())
    });

    c.generate(1, &miner);
    wait_for_one_tip(&[&a, &b, &c]);
    assert_eq!(receiver.balance(&c), PAID);
    assert_eq!(faucet.balance(&a), before - PAID - fee);
    for (wallet, node) in [(&faucet, &a), (&receiver, &c)] {
        let history = wallet.on(node, &["history"]);
        assert!(history.to_string().contains(&txid), "{history}");
    }
    let found = b.call("gettransaction", json!([txid]));
    assert_eq!(found["confirmations"], 1, "{found}");
    for node in [&a, &b, &c] {
        assert_eq!(node.call("getmempoolinfo", json!([]))["size"], 0);
    }
}

/// Payments of payments: the receiver spends what it was paid before that is confirmed on a
/// node that heard of both only through the other.
#[test]
fn the_receiver_pays_on_through_another_node() {
    let net = Net::new();
    let a = net.node(&[]);
    let b = net.node(&[&a]);
    let (faucet, receiver, last) = (net.faucet(), net.wallet("receiver"), net.wallet("last"));
    let miner = net.wallet("miner").address();

    faucet.on(&a, &["send", &receiver.address(), "3", "--yes"]);
    wait_for("the payment waits on node B", || {
        (b.call("getmempoolinfo", json!([]))["size"] == 1).then_some(())
    });
    b.generate(1, &miner);
    wait_for_one_tip(&[&a, &b]);
    receiver.on(&b, &["send", &last.address(), "1", "--yes"]);
    wait_for("the second payment waits on node A", || {
        (a.call("getmempoolinfo", json!([]))["size"] == 1).then_some(())
    });
    a.generate(1, &miner);
    wait_for_one_tip(&[&a, &b]);
    assert_eq!(last.balance(&b), 100_000_000);
}

/// A wallet lost and made again from its words finds what it was paid and its change.
#[test]
fn a_wallet_restored_from_its_words_has_the_same_coins() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, other) = (net.faucet(), net.wallet("other"));
    let miner = net.wallet("miner").address();
    for _ in 0..3 {
        faucet.on(&node, &["send", &other.address(), "1.5", "--yes"]);
        node.generate(1, &miner);
    }
    let again = net.restored_faucet(&node);
    assert_eq!(again.balance(&node), faucet.balance(&node));
    let lines =
        |wallet: &crate::harness::Wallet| wallet.on(&node, &["history"]).as_array().unwrap().len();
    // Three payments; the allocations of the genesis are no transactions' doing.
    assert!(lines(&again) >= 3, "{}", again.on(&node, &["history"]));
    assert_eq!(lines(&again), lines(&faucet));
    let status = again.on(&node, &["status"]);
    assert_eq!(status["node"]["height"], 3, "{status}");
    // It goes on paying, from its change.
    again.on(&node, &["send", &other.address(), "2", "--yes"]);
    node.generate(1, &miner);
    assert_eq!(other.balance(&node), 650_000_000);
}
