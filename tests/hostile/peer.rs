//! One connection to a node, from the first byte on.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ashlar_primitives::{
    BlockId,
    wire::{self, Answer, Request, Status},
};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{core::upgrade::OutboundConnectionUpgrade as _, identity::Keypair, noise, tcp};
use tokio::{
    net::TcpSocket,
    sync::mpsc,
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    Pipe, protobuf, select,
    yamux::{self, Session, Stream},
};

const IDENTIFY: &str = "/ipfs/id/1.0.0";
const PING: &str = "/ipfs/ping/1.0.0";
const GOSSIP: &str = "/meshsub/1.2.0";
const NOISE: &str = "/noise";
/// Longest that a handshake or an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest answer that is read.
const MAX_BLOCK_BYTES: u32 = 32_000_000;
/// Between two bytes of a [`Reply::Drip`].
const DRIP: Duration = Duration::from_millis(50);

/// What becomes of a question of the node.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes, whatever they are, and the stream is closed.
    Bytes(Vec<u8>),
    /// Nothing, for as long as the connection stands.
    Silence,
    /// These bytes, one by one, slowly.
    Drip(Vec<u8>),
    /// The stream is reset.
    HangUp,
}

impl Reply {
    /// A whole and good answer.
    pub fn answer(answer: &Answer) -> Self {
        Self::Bytes(answer.to_frame())
    }
}

type Answerer = dyn Fn(&Request) -> Reply + Send + Sync;

/// How a peer behaves when the node turns to it.
#[derive(Clone)]
pub struct Manners {
    /// What identify says that it speaks; `None`: identify is not answered.
    protocols: Option<Vec<String>>,
    answer: Arc<Answerer>,
}

impl fmt::Debug for Manners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manners").field("protocols", &self.protocols).finish_non_exhaustive()
    }
}

impl Manners {
    /// Speaks what a node of this chain speaks, and answers like this.
    pub fn new(
        names: &wire::Names,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let protocols = [&names.sync, IDENTIFY, PING, GOSSIP].map(str::to_owned).to_vec();
        Self { protocols: Some(protocols), answer: Arc::new(answer) }
    }

    /// Never says what it speaks.
    pub fn nameless(self) -> Self {
        Self { protocols: None, ..self }
    }
}

/// What the node did on this connection, counted.
#[derive(Debug, Default)]
pub struct Heard {
    /// Requests, of any kind but status.
    pub requests: AtomicU64,
    /// Bytes of gossip.
    pub gossip_bytes: AtomicU64,
    /// Message ids that it asked for by IWANT.
    pub wanted: AtomicU64,
}

impl Heard {
    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// A connected peer; it hangs up when dropped.
#[derive(Debug)]
pub struct Peer {
    /// Its peer id.
    pub identity: String,
    /// See [`Heard`].
    pub heard: Arc<Heard>,
    /// The frames below everything.
    pub session: Session,
    names: wire::Names,
    serving: AbortHandle,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A socket before Yamux, bare or secured.
struct Socket<T>(T);

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for Socket<T> {
    async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }
}

/// A plain connection from an address of loopback's own net, 127.0.0.0/8.
///
/// # Errors
/// Where nobody accepts it.
pub async fn dial(target: SocketAddr, source: Ipv4Addr) -> io::Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    timeout(PATIENCE, socket.connect(target)).await?
}

impl Peer {
    /// Connects to `target` from `source`, with a new key, and does as `manners` say.
    ///
    /// # Errors
    /// Where the node hangs up on the handshake.
    pub async fn connect(
        target: SocketAddr,
        source: Ipv4Addr,
        chain_id: &BlockId,
        manners: Manners,
    ) -> io::Result<Self> {
        let key = Keypair::generate_ed25519();
        timeout(PATIENCE, Self::connect_as(&key, target, source, chain_id, manners)).await?
    }

    async fn connect_as(
        key: &Keypair,
        target: SocketAddr,
        source: Ipv4Addr,
        chain_id: &BlockId,
        manners: Manners,
    ) -> io::Result<Self> {
        let stream = dial(target, source).await?;
        stream.set_nodelay(true)?;
        let mut socket = Socket(tcp::tokio::TcpStream(stream));
        select::propose(&mut socket, NOISE).await?;
        let handshake = noise::Config::new(key).map_err(io::Error::other)?;
        let (_, secured) =
            handshake.upgrade_outbound(socket.0, NOISE).await.map_err(io::Error::other)?;
        let mut secured = Socket(secured);
        select::propose(&mut secured, yamux::PROTOCOL).await?;
        let (session, incoming) = Session::start(secured.0);
        let names = wire::Names::new(chain_id);
        let heard = Arc::<Heard>::default();
        let host = Arc::new(Host {
            identify: manners.protocols.as_deref().map(|protocols| {
                let public_key = key.public().encode_protobuf();
                protobuf::identify(&public_key, protocols, wire::IDENTIFY_PROTOCOL, "hostile")
            }),
            answer: manners.answer,
            sync: names.sync.clone(),
            heard: heard.clone(),
        });
        let serving = tokio::spawn(host.serve(incoming)).abort_handle();
        let identity = key.public().to_peer_id().to_string();
        Ok(Self { identity, heard, session, names, serving })
    }

    /// A stream on which both sides have agreed to speak this.
    ///
    /// # Errors
    /// Where the node does not, or hangs up.
    pub async fn open(&self, protocol: &str) -> io::Result<Stream> {
        let mut stream = self.session.open();
        timeout(PATIENCE, select::propose(&mut stream, protocol)).await??;
        Ok(stream)
    }

    /// A stream for one request.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_sync(&self) -> io::Result<Stream> {
        self.open(&self.names.sync).await
    }

    /// Sends bytes as a request and takes what comes back: empty where the node refuses.
    ///
    /// # Errors
    /// Where the connection ends or nothing happens for long.
    pub async fn ask_raw(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.open_sync().await?;
        timeout(PATIENCE, stream.send(bytes)).await??;
        stream.finish().await?;
        Ok(timeout(PATIENCE, stream.rest()).await?)
    }

    /// Asks as a node does.
    ///
    /// # Errors
    /// Where the node refuses, or its answer does not decode.
    pub async fn ask(&self, request: &Request) -> io::Result<Answer> {
        let frame = self.ask_raw(&request.to_frame()).await?;
        let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let payload = wire::split_frame(&frame, frame.len()).map_err(malformed)?;
        Answer::from_payload(payload, request.tag(), MAX_BLOCK_BYTES).map_err(malformed)
    }

    /// Tells who it is, as whoever dialled must; the node's own status.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn introduce(&self, status: Status) -> io::Result<Status> {
        match self.ask(&Request::Status(status)).await? {
            Answer::Status(status) => Ok(status),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Gossipsub's stream to the node, subscribed to both topics.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn gossip(&self) -> io::Result<Gossip> {
        let mut gossip = self.gossip_quietly().await?;
        let both = [&self.names.block, &self.names.tx]
            .map(|topic| protobuf::rpc::subscription(topic, true))
            .concat();
        gossip.send(&both).await?;
        Ok(gossip)
    }

    /// The same, and nothing said yet.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn gossip_quietly(&self) -> io::Result<Gossip> {
        let names = self.names.clone();
        Ok(Gossip { stream: self.open(GOSSIP).await?, names })
    }

    /// Whether the node hung up within the time.
    pub async fn is_gone_within(&self, patience: Duration) -> bool {
        timeout(patience, self.session.closed()).await.is_ok()
    }
}

/// A stream of gossip to the node.
#[derive(Debug)]
pub struct Gossip {
    stream: Stream,
    /// The topics and protocols of the chain.
    pub names: wire::Names,
}

impl Gossip {
    /// One RPC, its length before it.
    ///
    /// # Errors
    /// Where the node hung up.
    pub async fn send(&mut self, rpc: &[u8]) -> io::Result<()> {
        self.raw(&protobuf::delimited(rpc)).await
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// Where the node hung up.
    pub async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, self.stream.send(bytes)).await?
    }

    /// A compact block, or what is given for one.
    ///
    /// # Errors
    /// Where the node hung up.
    pub async fn block(&mut self, data: &[u8]) -> io::Result<()> {
        let topic = self.names.block.clone();
        self.send(&protobuf::rpc::publish(&topic, data)).await
    }

    /// A batch of transactions, or what is given for one.
    ///
    /// # Errors
    /// Where the node hung up.
    pub async fn transactions(&mut self, data: &[u8]) -> io::Result<()> {
        let topic = self.names.tx.clone();
        self.send(&protobuf::rpc::publish(&topic, data)).await
    }
}

/// The side of a peer that the node turns to.
struct Host {
    identify: Option<Vec<u8>>,
    answer: Arc<Answerer>,
    sync: String,
    heard: Arc<Heard>,
}

impl Host {
    async fn serve(self: Arc<Self>, mut incoming: mpsc::UnboundedReceiver<Stream>) {
        let mut streams = tokio::task::JoinSet::new();
        while let Some(stream) = incoming.recv().await {
            let host = self.clone();
            // a stream that fails is the node's to close
            streams.spawn(async move { host.serve_stream(stream).await.ok() });
        }
    }

    async fn serve_stream(&self, mut stream: Stream) -> io::Result<()> {
        let speaks = |name: &str| {
            name == PING
                || name == GOSSIP
                || name == self.sync
                || (name == IDENTIFY && self.identify.is_some())
        };
        let protocol = select::listen(&mut stream, speaks).await?;
        match protocol.as_str() {
            IDENTIFY => {
                let message = self.identify.as_deref().unwrap_or_default();
                stream.send(&protobuf::delimited(message)).await?;
                stream.finish().await?;
                stream.rest().await;
                Ok(())
            }
            PING => loop {
                let ball = stream.take(32).await?;
                stream.send(&ball).await?;
            },
            GOSSIP => loop {
                let length = select::read_varint(&mut stream).await?;
                let length = usize::try_from(length).map_err(io::Error::other)?;
                let rpc = stream.take(length).await?;
                self.note_gossip(&rpc);
            },
            _ => self.serve_request(stream).await,
        }
    }

    fn note_gossip(&self, rpc: &[u8]) {
        Heard::add(&self.heard.gossip_bytes, rpc.len());
        let controls = protobuf::fields(rpc).into_iter().filter(|(number, _)| *number == 3);
        for (_, control) in controls {
            let iwants = protobuf::fields(control).into_iter().filter(|(kind, _)| *kind == 2);
            for (_, iwant) in iwants {
                Heard::add(&self.heard.wanted, protobuf::fields(iwant).len());
            }
        }
    }

    async fn serve_request(&self, mut stream: Stream) -> io::Result<()> {
        let length = stream.take(wire::LENGTH_PREFIX).await?;
        let length = length.try_into().map(u32::from_le_bytes).expect("four bytes");
        let payload = stream.take(length as usize).await?;
        let request = Request::from_payload(&payload).map_err(io::Error::other)?;
        if !matches!(request, Request::Status(_)) {
            Heard::add(&self.heard.requests, 1);
        }
        match (self.answer)(&request) {
            Reply::Bytes(bytes) => {
                stream.send(&bytes).await?;
                stream.finish().await?;
                // until the node has read all and closes
                stream.rest().await;
                Ok(())
            }
            Reply::Silence => std::future::pending().await,
            Reply::Drip(bytes) => {
                for byte in bytes {
                    stream.send(&[byte]).await?;
                    sleep(DRIP).await;
                }
                stream.finish().await
            }
            Reply::HangUp => Ok(()),
        }
    }
}
