//! What a node remembers of others, and who may come at all.

use std::fs;

use ashlar_engine::{Offence, Output};
use ashlar_network::NetworkError;

use crate::rig::{Node, logged, node, node_in, until};

/// Stops a node and starts it again from its directory, with nobody to dial by name.
async fn again(node: Node, adjust: impl FnOnce(&mut ashlar_network::Config)) -> Node {
    node.handle.stop().await;
    node_in(node.directory.clone(), 1, adjust).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_to_whom_it_knew_with_nobody_named() {
    let listener = node(1, |_| {}).await;
    let address = listener.address.clone();
    let dialler = node(1, |config| config.peers = vec![address]).await;
    dialler.peer(&listener).await;
    let dialler = again(dialler, |_| {}).await;
    dialler.peer(&listener).await;

    // unless it is to know only those that are named
    let before = dialler.identity.clone();
    let alone = again(dialler, |config| config.named_peers_only = true).await;
    assert_eq!(alone.identity, before);
    listener.peer(&alone).await;
    until("the listener's side is gone", async || listener.connected().is_empty()).await;
    assert!(alone.connected().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_outlives_a_restart_and_is_lifted_by_hand() {
    let listener = node(1, |_| {}).await;
    let address = listener.address.clone();
    let rude = node(1, |config| config.peers = vec![address]).await;
    let peer = listener.peer(&rude).await;
    listener.handle.perform(Output::Cut {
        peer,
        offence: Offence::WrongAnswer,
        reason: "made up".into(),
        ban_ms: Some(3_600_000),
    });
    listener.gone(peer).await;
    let bans = listener.handle.bans().await.unwrap();
    assert_eq!(bans.len(), 1, "loopback itself is exempt here: {bans:?}");
    assert_eq!(bans[0].who, rude.identity);
    assert!(bans[0].reason.contains("made up"), "{bans:?}");
    assert!((3_590..=3_601).contains(&(bans[0].until - bans[0].since)), "{bans:?}");

    let port = listener.address.clone();
    let listener = again(listener, |config| config.listen = vec![port]).await;
    assert_eq!(listener.handle.bans().await.unwrap(), bans, "after a restart too");
    until("the banned one was refused again", async || {
        logged(&["inbound connection refused", "banned"])
    })
    .await;
    assert!(listener.connected().is_empty());
    listener.handle.unban(&rude.identity).await.unwrap();
    listener.peer(&rude).await;

    // the operator's own
    assert!(matches!(
        listener.handle.unban(&rude.identity).await,
        Err(NetworkError::NotBanned { .. })
    ));
    listener.handle.ban(&rude.identity, 60, "by hand").await.unwrap();
    until("it is hung up on", async || listener.connected().is_empty()).await;
    listener.handle.ban("192.0.2.7", 60, "").await.unwrap();
    assert_eq!(listener.handle.clear_bans().await.unwrap(), 2);
    listener.peer(&rude).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_net_lets_in_those_on_its_list() {
    let friend = node(1, |_| {}).await;
    let allowed = vec![friend.identity.clone()];
    let closed = node(1, |config| config.allowed_peers = allowed).await;
    let stranger = node(1, |_| {}).await;
    stranger.handle.add_peer(&closed.address).await.unwrap();
    until("the stranger is refused", async || {
        logged(&["inbound connection refused", "not among the allowed peers"])
    })
    .await;
    friend.handle.add_peer(&closed.address).await.unwrap();
    closed.peer(&friend).await;
    assert_eq!(closed.connected().join(" "), friend.identity);

    let bad = node_in(friend.directory.clone(), 1, |config| {
        config.allowed_peers = vec!["somebody".into()];
    });
    assert!(matches!(bad.await, Err(NetworkError::BadPeerId { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_secret_shuts_everybody_else_out() {
    let files = tempfile::tempdir().unwrap();
    let secret = |name: &str, digit: &str| {
        let path = files.path().join(name);
        fs::write(&path, format!("{}\n", digit.repeat(64))).unwrap();
        path
    };
    let (ours, theirs) = (secret("ours", "a"), secret("theirs", "b"));
    let listener = node(1, |config| config.network_secret_file = Some(ours.clone())).await;
    for other in [Some(theirs), None] {
        let address = listener.address.clone();
        let stranger = node(1, |config| {
            config.network_secret_file = other;
            config.peers = vec![address];
        })
        .await;
        until("the stranger fails", async || {
            logged(&["can't reach a configured peer", &listener.address])
        })
        .await;
        assert!(stranger.connected().is_empty());
    }
    let address = listener.address.clone();
    let member = node(1, |config| {
        config.network_secret_file = Some(ours);
        config.peers = vec![address];
    })
    .await;
    listener.peer(&member).await;
    assert_eq!(listener.connected().join(" "), member.identity);

    let short = files.path().join("short");
    fs::write(&short, "abc").unwrap();
    let bad = node_in(member.directory.clone(), 1, |config| {
        config.network_secret_file = Some(short);
    });
    assert!(matches!(bad.await, Err(NetworkError::NetworkSecret { .. })));
}
