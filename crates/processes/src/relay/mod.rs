//! Lines between nodes, in user space: a node dials the near end of a [`Link`], the relay dials
//! the node behind it and carries the bytes, each direction under a [`Shape`] and a cut of its own.
//!
//! What nodes say to one another is encrypted end to end; the relay sees bytes and time. A cut
//! drops nothing and closes nothing, as a pulled cable does neither: bytes wait, new connections
//! are not answered, and after the cut all goes on. A loss on TCP is a stall, so it is one here.
//! An idle link costs no time: nothing here ticks.

mod line;
mod shape;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use line::Line;
pub use shape::{Bandwidth, Delay, Loss, Shape, ShapeError};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Runtime,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::AbortHandle,
};

/// Connections of one link at a time; further ones wait unaccepted. Two nodes need one, and for a
/// moment a second while an old one times out.
const MAX_CONNECTIONS: usize = 16;
/// After a failed accept: it fails again at once for as long as there is no descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest that a connection which arrives during a cut is held, and that the far node may take to
/// answer: nodes give up a handshake sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Which way bytes go on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From who dials the link to the node behind it.
    Forth,
    /// From the node behind it to who dials.
    Back,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Forth, Self::Back];
}

/// Where a link leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To a node.
    At(SocketAddr),
    /// To a node that is being started: who dials waits a while, since nodes that are refused come
    /// back late.
    Soon,
    /// To none: who dials is hung up on, as by a machine whose node does not run.
    Nowhere,
}

/// Owns the threads that carry. Dropped, all its links end.
#[derive(Debug)]
pub struct Relay {
    runtime: Option<Runtime>,
}

impl Relay {
    /// One thread for all links.
    ///
    /// # Errors
    /// Where the machine has no thread left.
    pub fn start() -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("relay").enable_all().build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// A line that listens on `listen` (port 0 for any) and leads to `target`. `seed` decides what
    /// chance decides: which packets are late or lost.
    ///
    /// # Errors
    /// Where the port is not to be had.
    pub fn link(&self, listen: SocketAddr, target: Target, seed: u64) -> io::Result<Link> {
        let runtime = self.runtime.as_ref().expect("taken by drop alone");
        // Bound here, not in the task, so that who is told of the link can dial it at once.
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let _inside = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let ways = Arc::new(Ways {
            target: watch::channel(target).0,
            source: OnceLock::new(),
            lines: [Line::new(seed), Line::new(seed.wrapping_add(1))],
            round: watch::channel(0).0,
        });
        let task = runtime.spawn(accept(listener, Arc::clone(&ways))).abort_handle();
        Ok(Link { address, ways, task })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // In the background: its owner may itself be on a runtime, where waiting is forbidden.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One line. Dropped, it ends with its connections.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    ways: Arc<Ways>,
    task: AbortHandle,
}

/// What a link's tasks share.
#[derive(Debug)]
struct Ways {
    target: watch::Sender<Target>,
    /// The address to call from, where one was chosen.
    source: OnceLock<IpAddr>,
    /// In the order of [`Direction::ALL`].
    lines: [Line; 2],
    /// Counts the resets: the connections of earlier rounds end.
    round: watch::Sender<u64>,
}

impl Ways {
    fn line(&self, direction: Direction) -> &Line {
        match direction {
            Direction::Forth => &self.lines[0],
            Direction::Back => &self.lines[1],
        }
    }
}

impl Link {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The multiaddress of the peer behind it (`/ip4/IP/tcp/PORT/…`) with this line's near end in
    /// place of the peer's own; `None` where that is no address of TCP over IPv4.
    pub fn in_front_of(&self, peer: &str) -> Option<String> {
        socket_address(peer)?;
        let rest: Vec<&str> = peer.split('/').skip(5).collect();
        let near = format!("/ip4/{}/tcp/{}", self.address.ip(), self.address.port());
        Some([&[near.as_str()], &rest[..]].concat().join("/"))
    }

    /// Leads elsewhere from the next connection on.
    pub fn aim(&self, target: Target) {
        self.ways.target.send_replace(target);
    }

    /// Calls the node behind it from this address of the machine, from the next connection on; said
    /// once, it stays.
    pub fn call_from(&self, source: IpAddr) {
        self.ways.source.get_or_init(|| source);
    }

    /// What one direction does to its bytes from now on; what is on its way stays as it was.
    pub fn set_shape(&self, direction: Direction, shape: Shape) {
        self.ways.line(direction).set_shape(shape);
    }

    /// What one direction does.
    pub fn shape(&self, direction: Direction) -> Shape {
        self.ways.line(direction).state().shape
    }

    /// Cuts one direction, or joins it again.
    pub fn set_cut(&self, direction: Direction, is_cut: bool) {
        self.ways.line(direction).set_cut(is_cut);
    }

    /// Whether one direction is cut.
    pub fn is_cut(&self, direction: Direction) -> bool {
        self.ways.line(direction).state().is_cut
    }

    /// Ends the connections of this moment, as a router does that restarts.
    pub fn reset(&self) {
        self.ways.round.send_modify(|round| *round += 1);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        self.reset();
    }
}

/// The TCP address of a multiaddress `/ip4/IP/tcp/PORT/…`.
pub fn socket_address(peer: &str) -> Option<SocketAddr> {
    match *peer.split('/').collect::<Vec<_>>() {
        ["", "ip4", ip, "tcp", port, ..] => format!("{ip}:{port}").parse().ok(),
        _ => None,
    }
}

async fn accept(listener: TcpListener, ways: Arc<Ways>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((near, _)) => drop(tokio::spawn(serve(near, Arc::clone(&ways), place))),
            // No descriptor left, or who dialled is gone again: neither ends the line.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn call(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind((source, 0).into())?;
    socket.connect(address).await
}

/// One connection, until it ends on both sides or the link is reset.
async fn serve(near: TcpStream, ways: Arc<Ways>, _place: OwnedSemaphorePermit) {
    let mut round = ways.round.subscribe();
    let [forth, back] = &ways.lines;
    let connection = async {
        let reach = async {
            // No handshake of TCP comes about while either way is cut.
            forth.wait_joined().await;
            back.wait_joined().await;
            let mut targets = ways.target.subscribe();
            let target = targets.wait_for(|target| *target != Target::Soon).await;
            match target.map(|target| *target) {
                Ok(Target::At(address)) => call(address, ways.source.get().copied()).await,
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        };
        // A node that does not answer closes the near side too.
        let Ok(Ok(far)) = tokio::time::timeout(CONNECT_TIMEOUT, reach).await else { return };
        // Delays are the line's business alone.
        drop((near.set_nodelay(true), far.set_nodelay(true)));
        let (from_near, to_near) = near.into_split();
        let (from_far, to_far) = far.into_split();
        tokio::join!(forth.carry(from_near, to_far), back.carry(from_far, to_near));
    };
    tokio::select! {
        () = connection => {}
        _ = round.changed() => {}
    }
}

#[cfg(test)]
mod tests;
