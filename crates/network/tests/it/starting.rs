//! Starting, stopping, and what can be wrong about it.

use std::{net::TcpListener, os::unix::fs::PermissionsExt, sync::Arc};

use ashlar_network::NetworkError;
use tempfile::TempDir;

use crate::rig::{logged, node, node_in, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_kept_and_a_port_is_free_after_a_stop() {
    let first = node(1, |_| {}).await;
    let other = node(1, |config| config.peers = vec![first.address.clone()]).await;
    let seen = other.peer(&first).await;
    first.handle.stop().await;
    assert!(matches!(first.task.await.unwrap(), NetworkError::Stopped));
    assert!(first.handle.info().await.is_none());
    assert!(matches!(
        first.handle.add_peer("/ip4/127.0.0.1/tcp/1").await,
        Err(NetworkError::Stopped)
    ));
    first.handle.stop().await;
    other.gone(seen).await;

    let key = first.directory.path().join("node.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again =
        node_in(first.directory.clone(), 1, |config| config.listen = vec![first.address.clone()])
            .await
            .unwrap();
    assert_eq!((&again.identity, &again.address), (&first.identity, &first.address));
    other.peer(&again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let first = node(1, |_| {}).await;
    for taken in [first.address.clone(), {
        // by another program, which does not share it
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        std::mem::forget(listener);
        address
    }] {
        let directory = Arc::new(TempDir::new().unwrap());
        let result = node_in(directory, 1, |config| config.listen = vec![taken.clone()]).await;
        let error = result.err().expect("the port is taken");
        assert!(matches!(&error, NetworkError::PortInUse { address } if *address == taken));
        assert!(error.to_string().contains(&taken), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_mistypes_is_quoted() {
    for (listen, peer, word) in [
        ("127.0.0.1:9333", "/ip4/127.0.0.1/tcp/9333", "127.0.0.1:9333"),
        ("/ip4/127.0.0.1/tcp/0", "seed.example", "seed.example"),
        ("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0"),
    ] {
        let directory = Arc::new(TempDir::new().unwrap());
        let result = node_in(directory, 1, |config| {
            config.listen = vec![listen.into()];
            config.peers = vec![peer.into()];
        })
        .await;
        let error = result.err().expect("one of them is wrong");
        assert!(matches!(error, NetworkError::BadAddress { .. }));
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_stops_the_start() {
    let directory = Arc::new(TempDir::new().unwrap());
    std::fs::write(directory.path().join("node.key"), "not a key").unwrap();
    let error = node_in(directory, 1, |_| {}).await.err().expect("no key, no start");
    assert!(error.to_string().contains("node.key is damaged"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_connect_to_itself() {
    let a = node(1, |_| {}).await;
    a.handle.add_peer(&a.address).await.unwrap();
    until("told of it", async || logged(&[&a.address, "the node's own"])).await;
    assert!(a.connected().is_empty());
    let own = format!("{}/p2p/{}", a.address, a.identity);
    let error = a.handle.add_peer(&own).await.unwrap_err();
    assert!(error.to_string().contains("this node itself"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_peer_that_is_not_up_yet_is_reached_when_it_is() {
    let early = node(1, |_| {}).await;
    early.handle.stop().await;
    let waiting = node(1, |config| config.peers = vec![early.address.clone()]).await;
    until("told of it", async || logged(&[&early.address, "can't reach a configured peer"])).await;
    let late =
        node_in(early.directory.clone(), 1, |config| config.listen = vec![early.address.clone()])
            .await
            .unwrap();
    waiting.peer(&late).await;
    assert_eq!(waiting.handle.info().await.unwrap().outbound, 1);
    until("inbound", async || late.handle.info().await.unwrap().inbound == 1).await;
}
