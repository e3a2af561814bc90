//! Yamux, with a window that is bounded for the connection as a whole (THREATS §0).
//!
//! libp2p's own wrapper of the `yamux` crate leaves that bound at a gigibyte and lets nobody change
//! it; this is the same wrapper with the bound set. On the wire nothing differs.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    io, iter,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use yamux::{Connection, ConnectionError, Mode};

use crate::limits::{MAX_CONNECTION_WINDOW_BYTES, MAX_STREAMS};

/// The upgrade of an enciphered connection to one of many streams.
#[derive(Clone, Debug)]
pub(crate) struct Yamux(yamux::Config);

impl Default for Yamux {
    fn default() -> Self {
        let mut config = yamux::Config::default();
        // In this order: the crate asserts that every stream has its 256 KiB.
        config.set_max_num_streams(MAX_STREAMS);
        config.set_max_connection_receive_window(Some(MAX_CONNECTION_WINDOW_BYTES));
        Self(config)
    }
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Muxer<C>, Infallible>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(Connection::new(socket, self.0, Mode::Server))))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Muxer<C>, Infallible>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(Connection::new(socket, self.0, Mode::Client))))
    }
}

/// One connection. Whoever polls it moves all its streams.
#[derive(Debug)]
pub(crate) struct Muxer<C> {
    connection: Connection<C>,
    /// Streams that the peer opened while nobody asked for one. Yamux moves bytes only while it is
    /// asked for the next stream, and that is asked for also when none is wanted yet.
    waiting: VecDeque<yamux::Stream>,
    /// Who wants the next one.
    wanting: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    const fn new(connection: Connection<C>) -> Self {
        Self { connection, waiting: VecDeque::new(), wanting: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        self.connection.poll_next_inbound(cx).map(|next| match next {
            Some(stream) => stream.map_err(broken),
            None => Err(broken(ConnectionError::Closed)),
        })
    }
}

fn broken(error: ConnectionError) -> io::Error {
    match error {
        ConnectionError::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = yamux::Stream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<yamux::Stream>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.poll_next(cx);
        if next.is_pending() {
            self.wanting = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<yamux::Stream>> {
        self.connection.poll_new_outbound(cx).map_err(broken)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_close(cx).map_err(broken)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let stream = std::task::ready!(self.poll_next(cx))?;
        // Those in the queue count as open: where it is full, yamux would not have given this one.
        if self.waiting.len() < MAX_STREAMS {
            self.waiting.push_back(stream);
            if let Some(waker) = self.wanting.take() {
                waker.wake();
            }
        }
        // There may be more; others have their turn before.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use futures::{AsyncWriteExt, future::join_all};
    use libp2p::tcp::tokio::TcpStream;
    use tokio::{net::TcpListener, time::timeout};

    use super::*;

    /// Both ends of a connection: ours, and one of a peer that keeps to no limits of its own.
    async fn pair() -> (Muxer<TcpStream>, Connection<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dial = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
        let (far, near) = tokio::join!(dial, listener.accept());
        let Ok(ours) = Yamux::default().upgrade_inbound(TcpStream(near.unwrap().0), "").await;
        let mut greedy = yamux::Config::default();
        greedy.set_read_after_close(true);
        (ours, Connection::new(TcpStream(far.unwrap()), greedy, Mode::Client))
    }

    /// Takes what comes and reads none of it, until the connection ends.
    async fn hoard(mut ours: Muxer<TcpStream>) -> io::Error {
        let mut streams = Vec::new();
        loop {
            let next = poll_fn(|cx| match Pin::new(&mut ours).poll_inbound(cx) {
                Poll::Pending => Pin::new(&mut ours).poll(cx).map_ok(|_| None),
                stream => stream.map_ok(Some),
            });
            match next.await {
                Ok(stream) => streams.extend(stream),
                Err(error) => return error,
            }
        }
    }

    async fn open(peer: &mut Connection<TcpStream>, count: usize) -> Vec<yamux::Stream> {
        let mut streams = Vec::new();
        for _ in 0..count {
            streams.push(poll_fn(|cx| peer.poll_new_outbound(cx)).await.unwrap());
        }
        streams
    }

    #[tokio::test]
    async fn a_peer_whose_data_nobody_reads_sends_a_window_and_no_more() {
        let (ours, mut peer) = pair().await;
        let ours = tokio::spawn(hoard(ours));
        let streams = open(&mut peer, MAX_STREAMS).await;
        let peer = tokio::spawn(async move {
            poll_fn(|cx| peer.poll_next_inbound(cx)).await.is_none_or(|next| next.is_err())
        });
        let sent = streams.into_iter().map(async |mut stream| {
            let mut sent = 0;
            // Where a write does not go on for so long, the window is used up.
            while let Ok(written) =
                timeout(Duration::from_secs(5), stream.write(&[7; 16 << 10])).await
            {
                sent += written.unwrap();
            }
            (sent, stream)
        });
        let sent = join_all(sent).await;
        let all: usize = sent.iter().map(|(sent, _)| sent).sum();
        assert_eq!(all, MAX_CONNECTION_WINDOW_BYTES, "all of it and no byte more");
        assert!(!ours.is_finished() && !peer.is_finished(), "which is within the rules");
    }

    #[tokio::test]
    async fn a_stream_too_many_ends_the_connection() {
        let (ours, mut peer) = pair().await;
        let ours = tokio::spawn(hoard(ours));
        let mut streams = open(&mut peer, MAX_STREAMS + 1).await;
        let peer = tokio::spawn(async move {
            while let Some(Ok(_)) = poll_fn(|cx| peer.poll_next_inbound(cx)).await {}
        });
        for stream in &mut streams {
            // a stream is told of with its first byte
            stream.write_all(&[1]).await.unwrap_or_default();
            stream.flush().await.unwrap_or_default();
        }
        timeout(Duration::from_secs(20), ours).await.expect("it ends").unwrap();
        timeout(Duration::from_secs(20), peer).await.expect("for both").unwrap();
    }
}
