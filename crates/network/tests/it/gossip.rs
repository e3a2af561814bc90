//! Peers that abuse gossipsub itself: its control messages, written by hand (THREATS G6 … G13).

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ashlar_engine::Verdict;
use ashlar_primitives::wire;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, StreamProtocol, SwarmBuilder, identify, noise,
    request_response::{self, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::rig::{Node, chain, logged, node, transaction, until};

// ---- gossipsub's protobuf, as far as it is needed here

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// A field with a length before it.
fn field(number: usize, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len()), bytes.to_vec()].concat()
}

fn rpc(fields: &[Vec<u8>]) -> Vec<u8> {
    let fields = fields.concat();
    [varint(fields.len()), fields].concat()
}

fn subscribe(topic: &str) -> Vec<u8> {
    field(1, &[&[1 << 3, 1][..], &field(2, topic.as_bytes())].concat())
}

fn publish(topic: &str, data: &[u8]) -> Vec<u8> {
    field(2, &[field(2, data), field(4, topic.as_bytes())].concat())
}

fn control(action: usize, fields: &[Vec<u8>]) -> Vec<u8> {
    field(3, &field(action, &fields.concat()))
}

fn ihave(topic: &str, ids: &[Vec<u8>]) -> Vec<u8> {
    let ids = ids.iter().flat_map(|id| field(2, id)).collect();
    control(1, &[field(1, topic.as_bytes()), ids])
}

fn iwant(ids: &[Vec<u8>]) -> Vec<u8> {
    control(2, &[ids.iter().flat_map(|id| field(1, id)).collect()])
}

fn graft(topic: &str) -> Vec<u8> {
    control(3, &[field(1, topic.as_bytes())])
}

fn prune(topic: &str, backoff_seconds: u64) -> Vec<u8> {
    let backoff = varint(usize::try_from(backoff_seconds).unwrap());
    control(4, &[field(1, topic.as_bytes()), vec![3 << 3], backoff])
}

fn idontwant(ids: &[Vec<u8>]) -> Vec<u8> {
    control(5, &[ids.iter().flat_map(|id| field(1, id)).collect()])
}

fn fresh_ids(count: u64, salt: u64) -> Vec<Vec<u8>> {
    let id = |number: u64| {
        let parts =
            [[0xa5; 16].to_vec(), salt.to_be_bytes().to_vec(), number.to_be_bytes().to_vec()];
        parts.concat()
    };
    (0..count).map(id).collect()
}

// ---- the peer

/// Writes whole streams of RPCs and sees each of them to its end; keeps what it hears, if it reads
/// at all.
#[derive(Clone)]
struct Wire {
    heard: Arc<Mutex<Vec<u8>>>,
    /// How many of its streams the other side has closed.
    ended: Arc<AtomicUsize>,
    reads: bool,
}

impl request_response::Codec for Wire {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        if !self.reads {
            return std::future::pending().await;
        }
        let mut buffer = [0; 8_192];
        loop {
            let length = io.read(&mut buffer).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.heard.lock().unwrap().extend_from_slice(&buffer[..length]);
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut nothing = Vec::new();
        let end = io.read_to_end(&mut nothing).await;
        self.ended.fetch_add(1, Ordering::SeqCst);
        end.map(|_| nothing)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await?;
        io.flush().await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        _: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Ok(())
    }
}

#[derive(NetworkBehaviour)]
struct Mask {
    identify: identify::Behaviour,
    gossip: request_response::Behaviour<Wire>,
    /// Only named, so that it passes for a node of the chain.
    sync: request_response::Behaviour<Wire>,
}

struct Gossiper {
    identity: String,
    heard: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicUsize>,
    streams: mpsc::UnboundedSender<Vec<u8>>,
    task: JoinHandle<()>,
}

impl Drop for Gossiper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gossiper {
    /// Connects to `victim`, and again whenever it is cut.
    async fn connect(victim: &Node, reads: bool) -> Self {
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let ended = Arc::<AtomicUsize>::default();
        let wire = Wire { heard: heard.clone(), ended: ended.clone(), reads };
        let names = wire::Names::new(&chain(1));
        let sync = StreamProtocol::try_from_owned(names.sync.clone()).unwrap();
        let patient =
            request_response::Config::default().with_request_timeout(Duration::from_secs(3_600));
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|key| Mask {
                identify: identify::Behaviour::new(identify::Config::new(
                    wire::IDENTIFY_PROTOCOL.into(),
                    key.public(),
                )),
                gossip: request_response::Behaviour::with_codec(
                    wire.clone(),
                    [(StreamProtocol::new("/meshsub/1.2.0"), ProtocolSupport::Full)],
                    patient.clone(),
                ),
                sync: request_response::Behaviour::with_codec(
                    wire.clone(),
                    [(sync, ProtocolSupport::Full)],
                    patient.clone(),
                ),
            })
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(3_600))
            })
            .build();
        let identity = swarm.local_peer_id().to_string();
        let address: Multiaddr = victim.address.parse().unwrap();
        let victim_id = victim.identity.parse().unwrap();
        swarm.dial(address).unwrap();
        let (streams, mut incoming) = mpsc::unbounded_channel::<Vec<u8>>();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    stream = incoming.recv() => match stream {
                        Some(bytes) => {
                            swarm.behaviour_mut().gossip.send_request(&victim_id, bytes);
                        }
                        None => return,
                    },
                    event = swarm.select_next_some() => {
                        if let SwarmEvent::ConnectionClosed { .. } = event {
                            return;
                        }
                    }
                }
            }
        });
        victim.connection(&identity).await;
        Self { identity, heard, ended, streams, task }
    }

    /// Sends these on a stream of their own.
    fn send(&self, rpcs: &[Vec<u8>]) {
        self.streams.send(rpcs.concat()).unwrap();
    }

    /// The same, until the other side has read them to the end or given the stream up.
    async fn send_to_the_end(&self, rpcs: &[Vec<u8>]) {
        let before = self.ended.load(Ordering::SeqCst);
        self.send(rpcs);
        until("the stream ends", async || self.ended.load(Ordering::SeqCst) > before).await;
    }

    /// How often these bytes came so far.
    fn heard(&self, bytes: &[u8]) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.windows(bytes.len()).filter(|window| *window == bytes).count()
    }
}

fn names() -> wire::Names {
    wire::Names::new(&chain(1))
}

/// The node serves others as before: a batch from a friend is heard, and one goes out to it.
async fn still_gossips(victim: &Node) {
    let friend = node(1, |config| config.peers = vec![victim.address.clone()]).await;
    friend.peer(victim).await;
    for (from, to) in [(&friend, victim), (victim, &friend)] {
        let mut count = 0;
        until("a batch comes through", async || {
            count += 1;
            from.publish(vec![transaction(&format!("{count} from {}", from.identity))]);
            let next = tokio::time::timeout(Duration::from_millis(200), to.batch());
            match next.await {
                Ok((ticket, _)) => {
                    to.handle.perform(ashlar_engine::Output::Verdict(ticket, Verdict::Accept));
                    true
                }
                Err(_) => false,
            }
        })
        .await;
    }
    let connected = victim.connected();
    assert!(connected.contains(&friend.identity), "an honest peer pays for nobody");
    friend.handle.stop().await;
}

/// It is cut off, for a reason that is in the log.
async fn is_cut(victim: &Node, gossiper: &Gossiper, reason: &str) {
    until("it is cut off", async || !victim.connected().contains(&gossiper.identity)).await;
    assert!(logged(&[&gossiper.identity, "cut a peer", reason]), "{}", crate::rig::log());
}

// ---- G6, G7

#[tokio::test(flavor = "multi_thread")]
async fn promises_without_end_are_asked_for_within_limits_and_broken_ones_end_in_a_cut() {
    const IDS: u64 = 100;
    let victim = node(1, |_| {}).await;
    let liar = Gossiper::connect(&victim, true).await;
    let topic = names().tx;
    let mut stream = vec![rpc(&[subscribe(&topic)])];
    for round in 0..100 {
        stream.push(rpc(&[ihave(&topic, &fresh_ids(IDS, round))]));
    }
    liar.send(&stream);
    is_cut(&victim, &liar, "misbehaves in gossip").await;
    // Each id that it was asked for has the salt's marker; all came within a heartbeat or two.
    let asked = liar.heard(&[0xa5; 16]);
    assert!((1..=3 * usize::try_from(IDS).unwrap()).contains(&asked), "asked for {asked} ids");
    still_gossips(&victim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_is_sent_a_few_times_however_often_it_is_asked_for() {
    let victim = node(1, |_| {}).await;
    let greedy = Gossiper::connect(&victim, true).await;
    let topic = names().tx;
    greedy.send(&[rpc(&[subscribe(&topic)])]);
    let words = format!("asked for again and again by {}", greedy.identity);
    let batch = vec![transaction(&words)];
    // until the subscription is known nobody hears it; a message can be published once
    let mut decoy = 0;
    until("the subscription is known", async || {
        decoy += 1;
        victim.publish(vec![transaction(&format!("{decoy}. decoy for {}", greedy.identity))]);
        greedy.heard(b". decoy for") > 0
    })
    .await;
    victim.publish(batch.clone());
    until("it is published", async || greedy.heard(words.as_bytes()) == 1).await;
    let id = wire::message_id(&wire::encode_batch(&batch)).to_vec();
    greedy.send(&vec![rpc(&[iwant(&[id])]); 1_000]);
    // What is published after the questions were read comes after their answers.
    until("it is sent again", async || greedy.heard(words.as_bytes()) >= 3).await;
    victim.publish(vec![transaction("the end of it")]);
    until("the end is heard", async || greedy.heard(b"the end of it") == 1).await;
    assert_eq!(greedy.heard(words.as_bytes()), 3, "published, and two retransmissions");
    still_gossips(&victim).await;
}

// ---- G10

#[tokio::test(flavor = "multi_thread")]
async fn who_grafts_before_its_time_again_and_again_is_cut() {
    let victim = node(1, |_| {}).await;
    let pushy = Gossiper::connect(&victim, true).await;
    let topic = names().tx;
    let mut stream = vec![rpc(&[subscribe(&topic)]), rpc(&[graft(&topic)])];
    for _ in 0..500 {
        stream.push(rpc(&[prune(&topic, 60)]));
        stream.push(rpc(&[graft(&topic)]));
    }
    pushy.send(&stream);
    is_cut(&victim, &pushy, "misbehaves in gossip").await;
    still_gossips(&victim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backoff_of_ages_harms_nobody() {
    let victim = node(1, |_| {}).await;
    let odd = Gossiper::connect(&victim, true).await;
    let topic = names().block;
    odd.send(&[
        rpc(&[subscribe(&topic), graft(&topic)]),
        rpc(&[prune(&topic, u64::MAX)]),
        rpc(&[prune(&topic, u64::MAX / 1_000)]),
        rpc(&[prune("/never/joined", u64::MAX)]),
    ]);
    still_gossips(&victim).await;
    // what it asked for is looked at in heartbeats, one a second: three go over it
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    still_gossips(&victim).await;
}

// ---- G11

#[tokio::test(flavor = "multi_thread")]
async fn foreign_topics_are_not_kept_and_ours_still_work() {
    let victim = node(1, |_| {}).await;
    let flood = Gossiper::connect(&victim, true).await;
    let topic = names().tx;
    let mut stream = Vec::new();
    for number in 0..100_000_u32 {
        let foreign = format!("/foreign/{number}");
        stream.push(rpc(&[subscribe(&foreign), graft(&foreign), prune(&foreign, 60)]));
    }
    stream.push(rpc(&[subscribe(&topic)]));
    flood.send(&stream);
    let mut count = 0;
    until("the flood is read to its end", async || {
        count += 1;
        victim.publish(vec![transaction(&format!("{count}. after the flood"))]);
        flood.heard(b". after the flood") > 0
    })
    .await;
    assert_eq!(flood.heard(b"/foreign/"), 0, "nothing is said of topics that are not ours");
    still_gossips(&victim).await;
}

// ---- G12

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_cut_and_keeps_nobody_waiting() {
    let victim = node(1, |_| {}).await;
    let deaf = Gossiper::connect(&victim, false).await;
    deaf.send(&[rpc(&[subscribe(&names().tx)])]);
    // more than its window and its queue take, until it is known and cut
    let mut count = 0;
    until("it is cut off", async || {
        for _ in 0..100 {
            count += 1;
            let filler = "x".repeat(20_000);
            victim.publish(vec![transaction(&format!("{count} {filler} {}", deaf.identity))]);
        }
        !victim.connected().contains(&deaf.identity)
    })
    .await;
    is_cut(&victim, &deaf, "does not take what we send").await;
    still_gossips(&victim).await;
}

// ---- G13

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_does_not_want_is_forgotten_where_it_is_too_much() {
    let victim = node(1, |_| {}).await;
    let flood = Gossiper::connect(&victim, true).await;
    let topic = names().tx;
    let mut stream = Vec::new();
    for round in 0..1_000 {
        stream.push(rpc(&[idontwant(&fresh_ids(100, round))]));
    }
    stream.push(rpc(&[subscribe(&topic)]));
    flood.send(&stream);
    let mut count = 0;
    until("the flood is read to its end", async || {
        count += 1;
        victim.publish(vec![transaction(&format!("{count}. after not wanting"))]);
        flood.heard(b". after not wanting") > 0
    })
    .await;
    still_gossips(&victim).await;

    // a list longer than a control message may be is no message at all
    let over = Gossiper::connect(&victim, true).await;
    over.send(&[rpc(&[idontwant(&fresh_ids(121, 1))]), rpc(&[subscribe(&topic)])]);
    still_gossips(&victim).await;
    assert_eq!(over.heard(b"from"), 0, "nothing after it on that stream was read");
}

// ---- messages of one RPC

/// An RPC of batches that no other RPC's equal, and what they say.
fn batches(count: usize, name: &str) -> (Vec<u8>, Vec<String>) {
    let memos: Vec<_> = (0..count).map(|number| format!("{number} of {name}")).collect();
    let batch = |memo: &String| {
        publish(&names().tx, &wire::encode_batch(std::slice::from_ref(&transaction(memo))))
    };
    (rpc(&memos.iter().map(batch).collect::<Vec<_>>()), memos)
}

/// What the next batches say, as the engine is told of them.
async fn memos(victim: &Node, count: usize) -> Vec<String> {
    let mut memos = Vec::new();
    for _ in 0..count {
        let (ticket, batch) = victim.batch().await;
        victim.handle.perform(ashlar_engine::Output::Verdict(ticket, Verdict::Accept));
        memos.extend(batch.iter().map(|one| String::from_utf8(one.memo.clone()).unwrap()));
    }
    memos
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpc_with_a_message_too_many_is_not_read_nor_is_what_follows_it_on_its_stream() {
    const MAX_MESSAGES_PER_RPC: usize = 64;
    let victim = node(1, |_| {}).await;
    let bulky = Gossiper::connect(&victim, true).await;

    let (full, told) = batches(MAX_MESSAGES_PER_RPC, "a full one");
    bulky.send_to_the_end(&[full]).await;
    assert_eq!(memos(&victim, MAX_MESSAGES_PER_RPC).await, told, "all of it, in its order");

    let (before, mut told) = batches(1, "the stream before");
    let (over, _) = batches(MAX_MESSAGES_PER_RPC + 1, "one too full");
    let (behind, _) = batches(1, "the stream behind");
    bulky.send_to_the_end(&[before, over, behind]).await;
    // what one connection brings is told in its order: this comes after all of that stream
    let (afresh, last) = batches(1, "another stream");
    bulky.send(&[afresh]);
    told.extend(last);
    assert_eq!(memos(&victim, 2).await, told, "none of what was too many, and nothing behind it");

    assert!(!victim.rest().iter().any(|input| input.contains("Gossip")), "nor later");
    assert!(victim.connected().contains(&bulky.identity), "the stream ends, not the connection");
    still_gossips(&victim).await;
}
