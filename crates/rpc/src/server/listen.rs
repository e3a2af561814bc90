//! From the port to a connection's service.
//!
//! jsonrpsee's own loop bounds requests being answered, but not sockets, nor how long one may
//! take over its headers; so the loop is here, and HTTP/1.1 is all it speaks.
//!
//! Sockets are bounded, and those who hold them without ever showing a password keep nobody out:
//! where all places are taken, the oldest of them makes room.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use jsonrpsee::{
    core::BoxError,
    server::{HttpRequest, HttpResponse, StopHandle},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    pin,
    sync::Notify,
    time,
};
use tokio_rustls::TlsAcceptor;
use tower::{Service, ServiceExt as _};

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

/// Accepts until `stop`; `service` makes the service of one connection. With `tls`, what comes
/// from other machines is TLS; this machine's own programs may do without.
pub(super) async fn accept<S>(
    listener: TcpListener,
    max_connections: u32,
    tls: Option<TlsAcceptor>,
    stop: StopHandle,
    service: impl Fn() -> S,
) where
    S: Service<HttpRequest<Incoming>, Response = HttpResponse, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let sockets = Sockets::new((max_connections as usize).saturating_mul(SOCKETS_PER_CONNECTION));
    let stopped = stop.clone().shutdown();
    pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => return,
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
        let (stop, tls) = (stop.clone(), tls.clone());
        let admitted = place.admitted.clone();
        let service = service().map_request(move |mut request: HttpRequest<Incoming>| {
            request.extensions_mut().insert(admitted.clone());
            request
        });
        tokio::spawn(async move {
            let served = tokio::select! {
                served = open(socket, from, tls, service, stop) => served,
                () = place.cut.notified() => Ok(()),
            };
            if let Err(error) = served {
                tracing::debug!(%error, "an RPC connection ended");
            }
        });
    }
}

/// Finds out whether it is TLS, and serves it.
async fn open<S>(
    socket: TcpStream,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
    service: S,
    stop: StopHandle,
) -> Result<(), BoxError>
where
    S: Service<HttpRequest<Incoming>, Response = HttpResponse, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    socket.set_nodelay(true)?;
    let Some(tls) = tls else { return serve(socket, service, stop).await };
    if from.ip().to_canonical().is_loopback() {
        let mut first = [0];
        let read = time::timeout(HANDSHAKE_TIMEOUT, socket.peek(&mut first)).await??;
        if read > 0 && first != [TLS_HANDSHAKE] {
            return serve(socket, service, stop).await;
        }
    }
    let socket = time::timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await??;
    serve(socket, service, stop).await
}

async fn serve<S, I>(socket: I, service: S, stop: StopHandle) -> Result<(), BoxError>
where
    S: Service<HttpRequest<Incoming>, Response = HttpResponse, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service))
        .with_upgrades();
    pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.shutdown() => {
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
