//! A net that nobody wired: every node is given one peer.

use std::collections::{BTreeMap, BTreeSet};

use crate::rig::{Node, node, until};

const NODES: usize = 10;
const NEIGHBOURS: usize = 4;

/// Whether everybody is reachable from everybody through mutual connections.
fn is_one_net(nodes: &[Node]) -> bool {
    let neighbours: BTreeMap<_, BTreeSet<_>> = nodes
        .iter()
        .map(|node| (node.identity.clone(), node.connected().into_iter().collect()))
        .collect();
    let mut reached = BTreeSet::new();
    let mut open = vec![nodes.first().expect("some nodes").identity.clone()];
    while let Some(identity) = open.pop() {
        if reached.insert(identity.clone()) {
            let mutual = |other: &&String| {
                neighbours.get(*other).is_some_and(|theirs| theirs.contains(&identity))
            };
            open.extend(neighbours[&identity].iter().filter(mutual).cloned());
        }
    }
    reached.len() == nodes.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_live_peer_is_enough_and_may_die() {
    let mut nodes = vec![node(1, |config| config.discovery = true).await];
    let seed = nodes[0].address.clone();
    for _ in 1..NODES {
        let peers = vec![seed.clone()];
        nodes.push(
            node(1, |config| {
                config.discovery = true;
                config.peers = peers;
            })
            .await,
        );
    }
    until("everybody has four neighbours", async || {
        nodes.iter().all(|node| node.connected().len() >= NEIGHBOURS)
    })
    .await;

    let first = nodes.remove(0);
    first.handle.stop().await;
    until("the rest is one net without it", async || {
        nodes.iter().all(|node| !node.connected().contains(&first.identity)) && is_one_net(&nodes)
    })
    .await;

    // and whoever comes now, by any of them, is soon well connected
    let door = nodes[3].address.clone();
    let late = node(1, |config| {
        config.discovery = true;
        config.peers = vec![door];
    })
    .await;
    until("the late one has four neighbours", async || late.connected().len() >= NEIGHBOURS).await;
}
