//! From the port to a connection's service.
//!
//! jsonrpsee's own loop bounds requests being answered, but not sockets, nor how long one may
//! take over its headers; so the loop is here, and HTTP/1.1 is all it speaks.

use std::{sync::Arc, time::Duration};

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
    net::{TcpListener, TcpStream},
    pin,
    sync::Semaphore,
    time,
};
use tower::Service;

/// Sockets open for each connection that may be at work: the others are idle, or slow over their
/// headers, and must not keep those with a password out.
const SOCKETS_PER_CONNECTION: usize = 4;
/// How long a socket may go without a whole set of headers, at first and between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a failed accept, which mostly means that the process has no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until `stop`; `service` makes the service of one connection.
pub(super) async fn accept<S>(
    listener: TcpListener,
    max_connections: u32,
    stop: StopHandle,
    service: impl Fn() -> S,
) where
    S: Service<HttpRequest<Incoming>, Response = HttpResponse, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let max_sockets = (max_connections as usize).saturating_mul(SOCKETS_PER_CONNECTION);
    let sockets = Arc::new(Semaphore::new(max_sockets));
    let stopped = stop.clone().shutdown();
    pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "can't accept an RPC connection");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&sockets).try_acquire_owned() else {
            tracing::debug!(max_sockets, "too many RPC connections: one more was closed");
            continue;
        };
        let (stop, service) = (stop.clone(), service());
        tokio::spawn(async move {
            serve(socket, service, stop).await;
            drop(place);
        });
    }
}

async fn serve<S>(socket: TcpStream, service: S, stop: StopHandle)
where
    S: Service<HttpRequest<Incoming>, Response = HttpResponse, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "an RPC connection ended at once");
        return;
    }
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
    if let Err(error) = ended {
        tracing::debug!(%error, "an RPC connection ended");
    }
}
