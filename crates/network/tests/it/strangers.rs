//! Nodes of different chains.

use crate::rig::{logged, node, until};

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_different_chains_part_and_both_say_why() {
    let ours = node(0x11, |_| {}).await;
    let theirs = node(0x22, |config| config.peers = vec![ours.address.clone()]).await;
    for (node, peer, net) in [(&ours, &theirs, "22222222"), (&theirs, &ours, "11111111")] {
        until("told of it", async || {
            logged(&[&format!("peer {} at", peer.identity), "is of another chain", net])
        })
        .await;
        until("parted", async || node.handle.disconnect(&peer.identity, 0).await.is_err()).await;
    }
    // and neither engine ever heard of it
    for node in [&ours, &theirs] {
        assert!(node.rest().is_empty(), "{:?}", node.rest());
    }
    // a node of the same chain is as welcome as ever
    let friend = crate::rig::node(0x11, |config| config.peers = vec![ours.address.clone()]).await;
    ours.peer(&friend).await;
}
