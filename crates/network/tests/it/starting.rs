//! Starting, stopping, and what can be wrong about it.

use std::{
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt,
    sync::Arc,
};

use ashlar_engine::{Output, Peer, RequestId};
use ashlar_network::{NetworkError, PeerTraffic};
use ashlar_primitives::{Wtxid, wire};
use tempfile::TempDir;

use crate::rig::{Node, Over, logged, node, node_in, until};

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
    for taken in [
        first.address.clone(),
        {
            // by another program, which does not share it
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
            std::mem::forget(listener);
            address
        },
        {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let port = socket.local_addr().unwrap().port();
            std::mem::forget(socket);
            format!("/ip4/127.0.0.1/udp/{port}/quic-v1")
        },
    ] {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_both_transports_meets_nodes_of_either() {
    let both = node(1, |config| config.listen = [Over::Tcp.listen(), Over::Quic.listen()].concat());
    let both = both.await;
    let listening = both.handle.info().await.unwrap().listening;
    let at = |over| {
        let found = listening.iter().find(|address| address.contains(over));
        found.cloned().unwrap_or_else(|| panic!("{over}: {listening:?}"))
    };
    for over in ["/tcp/", "/quic-v1"] {
        let peers = vec![at(over)];
        let one = node(1, |config| {
            config.listen.clear();
            config.peers = peers;
        })
        .await;
        let there = one.connection(&both.identity).await;
        assert!(there.address.contains(over), "{there:?}");
        assert!(both.connection(&one.identity).await.address.contains(over));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quic_is_spoken_where_it_was_asked_for_and_never_with_a_secret() {
    let plain = node(1, |_| {}).await;
    let quic = Over::Quic.node(|_| {}).await;
    let error = plain.handle.add_peer(&quic.address).await.unwrap_err();
    assert!(matches!(&error, NetworkError::QuicIsOff { address } if *address == quic.address));
    // the other way round they meet
    quic.handle.add_peer(&plain.address).await.unwrap();
    plain.peer(&quic).await;
    let said = quic.directory.path().join("secret");
    std::fs::write(&said, "a".repeat(64)).unwrap();
    for (listen, peers) in [(Over::Quic.listen(), vec![]), (vec![], vec![quic.address.clone()])] {
        let secret = said.clone();
        let refused = node_in(Arc::new(TempDir::new().unwrap()), 1, |config| {
            (config.listen, config.peers) = (listen, peers);
            config.network_secret_file = Some(secret);
        });
        let error = refused.await.err().expect("the secret is kept by TCP alone");
        assert!(matches!(error, NetworkError::QuicWithSecret { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_connection_moved_is_told() {
    for over in [Over::Tcp, Over::Quic] {
        let a = over.node(|_| {}).await;
        let b = over.node(|config| config.peers = vec![a.address.clone()]).await;
        let at_b = b.peer(&a).await;
        a.peer(&b).await;
        let before = traffic_of(&b, at_b).await;
        let payload = 200_000;
        b.handle.perform(Output::Request(RequestId(1), at_b, wire::Request::Mempool));
        let (id, _, _) = a.request().await;
        let ids = vec![Wtxid([7; 32]); payload / 32];
        a.handle.perform(Output::Answer(id, Some(wire::Answer::Mempool(ids))));
        b.outcome(RequestId(1)).await.unwrap();
        let after = traffic_of(&b, at_b).await;
        let received = after.bytes_received - before.bytes_received;
        assert!((payload as u64..payload as u64 + 10_000).contains(&received), "{after:?}");
        assert!(after.bytes_sent > before.bytes_sent && after.bytes_sent < 10_000, "{after:?}");
        assert!(after.gossip_score >= 0.0, "{after:?}");
        until("a round trip is measured", async || {
            traffic_of(&b, at_b).await.ping_ms.is_some_and(|ping_ms| ping_ms < 5_000)
        })
        .await;
        a.handle.stop().await;
        until("it is forgotten", async || b.handle.peers().await.is_empty()).await;
    }
}

async fn traffic_of(node: &Node, peer: Peer) -> PeerTraffic {
    let peers = node.handle.peers().await;
    *peers.iter().find(|traffic| traffic.peer == peer).expect("connected")
}
