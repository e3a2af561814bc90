//! Nodes in network namespaces of their own, where this machine lets them.

#![allow(clippy::unwrap_used, reason = "a step that fails is the test's failure")]

use ashlar_testnet::{Testnet, TestnetError};

#[test]
fn each_node_has_an_address_of_its_own() {
    let text = "nodes = 2\nnetns = true\n[mining]\nmode = \"manual\"\n";
    let net = match Testnet::start_with(text) {
        Ok(net) => net,
        // The keeper's word, or the end of its log where it could not begin.
        Err(error @ (TestnetError::Netns(_) | TestnetError::Keeper { .. })) => {
            assert!(error.to_string().contains("`ip "), "{error}");
            eprintln!("skipped: no namespaces here (not root?): {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let mined = net.mine(2, Some(2)).unwrap();
    net.wait_for_one_tip().unwrap();
    let overview = net.overview().unwrap();
    assert!(overview.nodes.iter().all(|node| node.rpc.contains("//198.18.")), "{overview:?}");
    let status = net.status().unwrap();
    assert!(status.nodes.iter().all(|node| {
        node.answers.as_ref().is_some_and(|answers| answers.tip == mined.blocks[1])
    }));
}
