//! Peers that mean harm: on the raw port, and in our own protocols.

use std::{future::poll_fn, io, task::Poll, time::Duration};

use ashlar_engine::{Output, RequestFailure, RequestId};
use ashlar_primitives::wire;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, SwarmBuilder, Transport,
    core::{
        Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox},
        transport::{self, PortUse},
        upgrade::Version,
    },
    gossipsub, identify,
    identity::Keypair,
    noise,
    request_response::{self, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use crate::rig::{Node, Over, PATIENCE, chain, logged, node, over_both, until};

/// An honest exchange with a node that was just attacked.
async fn still_serves(victim: &Node) {
    // over the same transport, by a dial alone
    let friend = node(1, |config| config.peers = vec![victim.address.clone()]).await;
    let peer = friend.peer(victim).await;
    friend.handle.perform(Output::Request(RequestId(1), peer, wire::Request::Mempool));
    let friend_there = victim.peer(&friend).await;
    let id = loop {
        // the attacker's may still be among them
        let (id, from, _) = victim.request().await;
        if from == friend_there {
            break id;
        }
        victim.handle.perform(Output::Answer(id, None));
    };
    victim.handle.perform(Output::Answer(id, Some(wire::Answer::Mempool(Vec::new()))));
    assert_eq!(friend.outcome(RequestId(1)).await, Ok(wire::Answer::Mempool(Vec::new())));
    friend.handle.stop().await;
}

fn port_of(node: &Node) -> String {
    format!("127.0.0.1:{}", node.address.rsplit('/').next().unwrap())
}

// ---- the raw port

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_is_hung_up_on() {
    let victim = node(1, |_| {}).await;
    let multistream = b"\x13/multistream/1.0.0\n";
    let mut noise = multistream.to_vec();
    noise.extend_from_slice(b"\x07/noise\n");
    noise.extend_from_slice(&[0xff; 70_000]);
    let shapes: [(&str, Vec<u8>); 6] = [
        ("a request for a web page", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("zeros", vec![0; 1 << 20]),
        ("all ones: the longest lengths", vec![0xff; 1 << 20]),
        ("a protocol nobody has", [multistream.as_slice(), b"\x06/evil\n\n"].concat()),
        ("a handshake of rubbish", noise),
        ("a cut-off greeting", multistream[..5].to_vec()),
    ];
    for (what, bytes) in shapes {
        let mut socket = TcpStream::connect(port_of(&victim)).await.unwrap();
        // the node may hang up before it has read all
        let written = socket.write_all(&bytes).await;
        let half_closed = written.is_ok() && socket.shutdown().await.is_ok();
        let mut answer = Vec::new();
        let end = timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "{what}: still connected ({half_closed})");
        assert!(answer.len() < 4_096, "{what}: answered with {} bytes", answer.len());
    }
    still_serves(&victim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_fill_the_handshakes_only_for_a_while() {
    let victim = node(1, |_| {}).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(port_of(&victim)).await.unwrap());
    }
    // the friend's dials are refused until the first handshakes time out, and then one gets in
    still_serves(&victim).await;
    for mut socket in silent {
        let end = timeout(PATIENCE, socket.read(&mut [0; 1_024])).await;
        assert!(end.is_ok(), "a silent connection is never dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_says_who_it_is_is_let_go() {
    let victim = node(1, |_| {}).await;
    victim.stop_clock();
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p::swarm::dummy::Behaviour)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE * 10))
        .build();
    let identity = swarm.local_peer_id().to_string();
    swarm.dial(victim.address.parse::<Multiaddr>().unwrap()).unwrap();
    let connected = async {
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    };
    timeout(PATIENCE, connected).await.expect("it is let in");
    // while no time passes it may stay
    still_serves(&victim).await;
    until("it is let go", async || {
        // again, for the node may have counted from a moment after the last time
        victim.put_forward(15_000);
        let event = timeout(Duration::from_secs(1), swarm.select_next_some()).await;
        matches!(event, Ok(SwarmEvent::ConnectionClosed { .. }))
    })
    .await;
    let rest = victim.rest();
    assert!(!rest.iter().any(|input| input.contains(&identity)), "the engine never heard of it");
}

// ---- streams without a protocol

const GREETING: &[u8] = b"\x13/multistream/1.0.0\n";
const NOT_AVAILABLE: &[u8] = b"\x03na\n";

/// A connection below all protocols: these many streams, none of them told to the other side yet.
async fn streams(victim: &Node, count: usize) -> (Vec<SubstreamBox>, JoinHandle<()>) {
    let mut transport = tcp::tokio::Transport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&Keypair::generate_ed25519()).unwrap())
        .multiplex(yamux::Config::default());
    let dial = transport::DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let dialled = transport.dial(victim.address.parse().unwrap(), dial).unwrap();
    let (_, muxer) = timeout(PATIENCE, dialled).await.expect("it is let in").unwrap();
    let mut muxer = StreamMuxerBox::new(muxer);
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap());
    }
    // moves the bytes; whatever the node itself asks for is refused, so that it waits for nothing
    let task = tokio::spawn(async move {
        let broken = poll_fn(|cx| {
            while let Poll::Ready(next) = muxer.poll_inbound_unpin(cx) {
                match next {
                    Ok(mut stream) => drop(tokio::spawn(async move {
                        let refusals = [GREETING, &NOT_AVAILABLE.repeat(8)].concat();
                        stream.write_all(&refusals).await?;
                        stream.close().await
                    })),
                    Err(error) => return Poll::Ready(error),
                }
            }
            muxer.poll_unpin(cx).map(|event| event.expect_err("no address changes here"))
        });
        broken.await;
    });
    (streams, task)
}

/// Asks for something that no node speaks, after `greeting`, and is told so, after it too.
async fn asks_for_nothing(stream: &mut SubstreamBox, greeting: &[u8]) {
    stream.write_all(&[greeting, b"\x06/none\n"].concat()).await.unwrap();
    stream.flush().await.unwrap();
    is_refused(stream, greeting).await;
}

async fn is_refused(stream: &mut SubstreamBox, greeting: &[u8]) {
    let expected = [greeting, NOT_AVAILABLE].concat();
    let mut answer = vec![0; expected.len()];
    let read = timeout(PATIENCE, stream.read_exact(&mut answer)).await;
    read.expect("the node answers on this stream").expect("the stream stays");
    assert_eq!(answer, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_a_protocol_are_heard_up_to_a_number_and_the_next_waits() {
    const MAX_NEGOTIATING_STREAMS: usize = 32;
    let victim = node(1, |_| {}).await;
    // so that nobody is let go for not saying who it is
    victim.stop_clock();
    let (mut streams, task) = streams(&victim, MAX_NEGOTIATING_STREAMS + 1).await;
    let mut over = streams.pop().unwrap();
    for stream in &mut streams {
        asks_for_nothing(stream, GREETING).await;
    }
    over.write_all(&[GREETING, b"\x06/none\n"].concat()).await.unwrap();
    over.flush().await.unwrap();

    still_serves(&victim).await;
    // The connection keeps its order: the node has read of the stream too many before these.
    for stream in &mut streams {
        asks_for_nothing(stream, b"").await;
    }
    assert!(over.read(&mut [0]).now_or_never().is_none(), "it is neither heard nor refused");
    assert!(!task.is_finished(), "the connection stays");

    // it was its turn that it waited for
    drop(streams.pop());
    is_refused(&mut over, GREETING).await;
    for stream in &mut streams {
        asks_for_nothing(stream, b"").await;
    }
    still_serves(&victim).await;
    task.abort();
}

// ---- our own protocols

over_both!(
    undecodable_requests_are_counted_and_end_in_a_ban,
    undecodable_gossip_ends_in_a_ban,
    answers_are_measured_before_they_are_read,
    more_requests_than_allowed_are_refused_and_the_rest_is_served,
);

/// Writes what it is told, reads nothing.
#[derive(Clone, Default)]
struct Raw;

impl request_response::Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = vec![0; 5];
        io.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
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
        io.write_all(&bytes).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }
}

#[derive(NetworkBehaviour)]
struct Mask {
    identify: identify::Behaviour,
    sync: request_response::Behaviour<Raw>,
    gossip: gossipsub::Behaviour,
}

enum Order {
    Ask(Vec<u8>),
    Gossip { topic: String, data: Vec<u8> },
}

/// A peer that looks like a node of chain 1 and sends whatever bytes it is told to.
struct Hostile {
    identity: String,
    orders: mpsc::UnboundedSender<Order>,
    /// What happened to it, in words.
    news: mpsc::UnboundedReceiver<&'static str>,
    task: JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    /// Connects to `victim`; answers every request with `answer`.
    async fn connect(victim: &Node, answer: Vec<u8>) -> Self {
        let names = wire::Names::new(&chain(1));
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_quic()
            .with_behaviour(|key| {
                let mut gossip = gossipsub::Behaviour::new(
                    gossipsub::MessageAuthenticity::Anonymous,
                    gossipsub::ConfigBuilder::default()
                        .validation_mode(gossipsub::ValidationMode::Anonymous)
                        .max_transmit_size(1 << 20)
                        .message_id_fn(|message| {
                            gossipsub::MessageId::new(&wire::message_id(&message.data))
                        })
                        .build()
                        .unwrap(),
                )
                .unwrap();
                for topic in [&names.block, &names.tx] {
                    gossip.subscribe(&gossipsub::IdentTopic::new(topic)).unwrap();
                }
                let sync = StreamProtocol::try_from_owned(names.sync.clone()).unwrap();
                Mask {
                    identify: identify::Behaviour::new(identify::Config::new(
                        wire::IDENTIFY_PROTOCOL.into(),
                        key.public(),
                    )),
                    sync: request_response::Behaviour::new(
                        [(sync, ProtocolSupport::Full)],
                        request_response::Config::default(),
                    ),
                    gossip,
                }
            })
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE * 10))
            .build();
        let identity = swarm.local_peer_id().to_string();
        let victim_id: PeerId = victim.identity.parse().unwrap();
        let address: Multiaddr = victim.address.parse().unwrap();
        swarm.dial(DialOpts::peer_id(victim_id).addresses(vec![address]).build()).unwrap();

        let (orders, mut incoming) = mpsc::unbounded_channel();
        let (report, news) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                let word = tokio::select! {
                    order = incoming.recv() => {
                        match order {
                            Some(Order::Ask(bytes)) => {
                                swarm.behaviour_mut().sync.send_request(&victim_id, bytes);
                            }
                            Some(Order::Gossip { topic, data }) => {
                                let topic = gossipsub::IdentTopic::new(topic);
                                let sent = swarm.behaviour_mut().gossip.publish(topic, data);
                                report.send(if sent.is_ok() { "published" } else { "unheard" }).ok();
                            }
                            None => return,
                        }
                        continue;
                    }
                    event = swarm.select_next_some() => match event {
                        SwarmEvent::ConnectionEstablished { .. } => "connected",
                        SwarmEvent::ConnectionClosed { .. } => "closed",
                        SwarmEvent::Behaviour(MaskEvent::Sync(
                            request_response::Event::Message {
                                message: request_response::Message::Request { channel, .. }, ..
                            },
                        )) => {
                            swarm.behaviour_mut().sync.send_response(channel, answer.clone()).ok();
                            "asked"
                        }
                        SwarmEvent::Behaviour(MaskEvent::Sync(
                            request_response::Event::OutboundFailure { .. }
                            | request_response::Event::Message { .. },
                        )) => "answered or not",
                        _ => continue,
                    },
                };
                report.send(word).ok();
            }
        });
        let mut hostile = Self { identity, orders, news, task };
        hostile.until("connected").await;
        hostile
    }

    /// Fails if it takes longer than patience.
    async fn until(&mut self, word: &str) {
        let told = timeout(PATIENCE, async {
            while self.news.recv().await.expect("the task runs") != word {}
        });
        assert!(told.await.is_ok(), "not {word} in {PATIENCE:?}");
    }

    fn ask(&self, bytes: &[u8]) {
        self.orders.send(Order::Ask(bytes.to_vec())).ok().unwrap();
    }
}

fn frame(length: usize, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(length).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

async fn undecodable_requests_are_counted_and_end_in_a_ban(over: Over) {
    let victim = over.node(|_| {}).await;
    let mut hostile = Hostile::connect(&victim, Vec::new()).await;
    let peer = victim.connection(&hostile.identity).await.peer;
    for bytes in [
        frame(wire::MAX_REQUEST_BYTES + 1, &[0; 64]),
        frame(u32::MAX as usize, &[]),
        frame(1, &[200]),
    ] {
        hostile.ask(&bytes);
    }
    victim.gone(peer).await;
    hostile.until("closed").await;
    until("it is in the log", async || {
        logged(&[&hostile.identity, "cut a peer", "does not decode"])
    })
    .await;
    assert!(!victim.rest().iter().any(|input| input.contains("Request")), "no engine saw any");
    still_serves(&victim).await;
}

async fn undecodable_gossip_ends_in_a_ban(over: Over) {
    let victim = over.node(|_| {}).await;
    let mut hostile = Hostile::connect(&victim, Vec::new()).await;
    let peer = victim.connection(&hostile.identity).await.peer;
    let names = wire::Names::new(&chain(1));
    let mut sent = 0;
    let cut = async {
        victim.gone(peer).await;
    };
    tokio::pin!(cut);
    // until the subscriptions are known nobody hears it; more than enough is sent
    loop {
        let data = format!("rubbish {sent}").into_bytes();
        let topic = if sent % 2 == 0 { names.tx.clone() } else { names.block.clone() };
        hostile.orders.send(Order::Gossip { topic, data }).ok().unwrap();
        sent += 1;
        if timeout(Duration::from_millis(100), &mut cut).await.is_ok() {
            break;
        }
    }
    hostile.until("closed").await;
    assert!(!victim.rest().iter().any(|input| input.contains("Gossip")), "no engine saw any");
    still_serves(&victim).await;
}

async fn answers_are_measured_before_they_are_read(over: Over) {
    let victim = over.node(|_| {}).await;
    let limit = 1 + 2 + wire::MAX_MEMPOOL_IDS * 32;
    for (answer, failure) in [
        (frame(limit + 1, &[]), RequestFailure::Malformed),
        (frame(u32::MAX as usize, &[4; 100]), RequestFailure::Malformed),
        (frame(3, &[4, 9, 9]), RequestFailure::Malformed),
        (frame(3, &[1, 0, 0]), RequestFailure::Malformed),
        (frame(limit, &[4; 100]), RequestFailure::Closed),
        (Vec::new(), RequestFailure::Closed),
    ] {
        let mut hostile = Hostile::connect(&victim, answer).await;
        let peer = victim.connection(&hostile.identity).await.peer;
        victim.handle.perform(Output::Request(RequestId(1), peer, wire::Request::Mempool));
        assert_eq!(victim.outcome(RequestId(1)).await, Err(failure));
        hostile.until("asked").await;
    }
    still_serves(&victim).await;
}

async fn more_requests_than_allowed_are_refused_and_the_rest_is_served(over: Over) {
    let victim = over.node(|_| {}).await;
    let mut hostile = Hostile::connect(&victim, Vec::new()).await;
    victim.connection(&hostile.identity).await;
    for _ in 0..200 {
        hostile.ask(&wire::Request::Mempool.to_frame());
    }
    // eight wait for the engine; all others were refused by now or are as those are answered
    let mut served = 0;
    for _ in 0..8 {
        let (id, _, _) = victim.request().await;
        victim.handle.perform(Output::Answer(id, Some(wire::Answer::Mempool(Vec::new()))));
        served += 1;
    }
    for _ in 0..served {
        hostile.until("answered or not").await;
    }
    still_serves(&victim).await;
}
