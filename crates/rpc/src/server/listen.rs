//! From the port to a connection's service.
//!
//! HTTP/1.1 is all that is spoken. Sockets are bounded, and those who hold them without ever showing a password keep nobody out:
//! where all places are taken, the oldest of them makes room.

use core::convert::Infallible;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::{
    io::{self, AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    pin,
    sync::{Notify, watch},
    time,
};
use tokio_rustls::TlsAcceptor;

use super::door::Door;

/// Sockets open for each connection that may be at work: the others are idle, or slow over their
/// headers.
const SOCKETS_PER_CONNECTION: usize = 4;
/// How long a socket may go without a whole set of headers, at first and between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take, and the first byte before it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept, which mostly means that the process has no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The first byte of a TLS connection (RFC 8446 §5.1, `handshake`); no HTTP method begins so.
const TLS_HANDSHAKE: u8 = 22;

/// What a request carries of its socket: whether anyone let in has called over it.
#[derive(Clone, Debug, Default)]
pub(super) struct Admitted(Arc<AtomicBool>);

impl Admitted {
    /// This socket is of someone who may come in: it keeps its place.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The sockets that are open, the oldest first.
#[derive(Debug)]
struct Sockets {
    max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    sockets: BTreeMap<u64, (Admitted, Arc<Notify>)>,
}

/// One socket's place, given back when it is dropped.
#[derive(Debug)]
struct Place {
    sockets: Arc<Sockets>,
    number: u64,
    admitted: Admitted,
    cut: Arc<Notify>,
}

impl Sockets {
    fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default() })
    }

    /// A place, if need be that of the oldest socket that showed no password yet; `None` where
    /// all have.
    fn place(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.sockets.len() >= self.max {
            let mut strangers = open.sockets.iter().filter(|(_, (admitted, _))| !admitted.get());
            let oldest = strangers.next().map(|(number, _)| *number)?;
            // Its task ends soon; its place is free now.
            if let Some((_, cut)) = open.sockets.remove(&oldest) {
                cut.notify_one();
            }
        }
        let number = open.next;
        open.next = number.saturating_add(1);
        let (admitted, cut) = (Admitted::default(), Arc::new(Notify::new()));
        open.sockets.insert(number, (admitted.clone(), Arc::clone(&cut)));
        Some(Place { sockets: Arc::clone(self), number, admitted, cut })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sockets.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.sockets.remove(&self.number);
    }
}

/// Waits until the server is told to stop, or nobody is left to tell it.
pub(super) async fn until_stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|is_stopped| *is_stopped).await);
}

/// Why a connection ended early.
#[derive(Debug, Error)]
enum Ended {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no TLS handshake in time")]
    Silent(#[from] time::error::Elapsed),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Accepts until `stop`. With `tls`, what comes from other machines is TLS; this machine's own
/// programs may do without.
pub(super) async fn accept(
    listener: TcpListener,
    max_connections: u32,
    tls: Option<TlsAcceptor>,
    door: Arc<Door>,
    mut stop: watch::Receiver<bool>,
) {
    let sockets = Sockets::new((max_connections as usize).saturating_mul(SOCKETS_PER_CONNECTION));
    loop {
        let accepted = tokio::select! {
            () = until_stopped(&mut stop) => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept an RPC connection");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = sockets.place() else {
            tracing::debug!(max = sockets.max, "too many RPC connections: one more was closed");
            continue;
        };
        let (stop, tls, door) = (stop.clone(), tls.clone(), Arc::clone(&door));
        let admitted = place.admitted.clone();
        tokio::spawn(async move {
            let served = tokio::select! {
                served = open(socket, from, tls, door, admitted, stop) => served,
                () = place.cut.notified() => Ok(()),
            };
            if let Err(error) = served {
                tracing::debug!(%error, "an RPC connection ended");
            }
        });
    }
}

/// Finds out whether it is TLS, and serves it.
async fn open(
    socket: TcpStream,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
    door: Arc<Door>,
    admitted: Admitted,
    stop: watch::Receiver<bool>,
) -> Result<(), Ended> {
    socket.set_nodelay(true)?;
    let Some(tls) = tls else { return serve(socket, door, admitted, stop).await };
    if from.ip().to_canonical().is_loopback() {
        let mut first = [0];
        let read = time::timeout(HANDSHAKE_TIMEOUT, socket.peek(&mut first)).await??;
        if read > 0 && first != [TLS_HANDSHAKE] {
            return serve(socket, door, admitted, stop).await;
        }
    }
    let socket = time::timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await??;
    serve(socket, door, admitted, stop).await
}

async fn serve<I>(
    socket: I,
    door: Arc<Door>,
    admitted: Admitted,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Ended>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stopping = stop.clone();
    let service = service_fn(move |request| {
        let (door, admitted, stop) = (Arc::clone(&door), admitted.clone(), stopping.clone());
        async move { Ok::<_, Infallible>(door.answer(request, &admitted, stop).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = until_stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    Ok(ended?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_gives_the_place_of_its_oldest_stranger_and_of_no_guest() {
        let sockets = Sockets::new(3);
        let mut places: Vec<Place> = (0..3).map(|_| sockets.place().unwrap()).collect();
        places[0].admitted.set();
        let fourth = sockets.place().unwrap();
        let open = |number| sockets.open.lock().unwrap().sockets.contains_key(&number);
        assert!(open(0) && !open(1) && open(2) && open(fourth.number));
        // That the one cut ends later takes no place from another.
        drop(places.remove(1));
        places[1].admitted.set();
        fourth.admitted.set();
        assert!(sockets.place().is_none(), "all are guests");
        drop(places.remove(0));
        assert!(sockets.place().is_some());
    }
}
