//! How many bytes each peer, and all of them, sent and took, counted where streams are made.
//!
//! Counted is what streams carry; enciphering and multiplexing come on top of it. The counters
//! belong to the peer while it is connected, whatever transport it came by.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    PeerId,
    core::muxing::{StreamMuxer, StreamMuxerEvent},
};

/// One peer's counters, or those of all.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    /// Where a peer's bytes are counted once more.
    all: Option<Arc<Self>>,
}

impl Traffic {
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    fn add_received(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(all) = &self.all {
            all.add_received(bytes);
        }
    }

    fn add_sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(all) = &self.all {
            all.add_sent(bytes);
        }
    }
}

/// The counters of all who are connected: the transport makes them, the swarm's task reads them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    peers: Arc<Mutex<BTreeMap<PeerId, Weak<Traffic>>>>,
    all: Arc<Traffic>,
}

impl Meter {
    /// The peer's counters: those of the connection that it has, or new ones.
    pub(crate) fn of(&self, peer: PeerId) -> Arc<Traffic> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(traffic) = peers.get(&peer).and_then(Weak::upgrade) {
            return traffic;
        }
        peers.retain(|_, traffic| traffic.strong_count() > 0);
        let traffic = Arc::new(Traffic { all: Some(Arc::clone(&self.all)), ..Traffic::default() });
        peers.insert(peer, Arc::downgrade(&traffic));
        traffic
    }

    /// All that was moved since the start, by those who left too.
    pub(crate) fn all(&self) -> &Traffic {
        &self.all
    }
}

/// A connection's muxer, or one of its streams, with the counters of its peer.
#[derive(Debug)]
pub(crate) struct Counted<T> {
    inner: T,
    traffic: Arc<Traffic>,
}

impl<T> Counted<T> {
    pub(crate) const fn new(inner: T, traffic: Arc<Traffic>) -> Self {
        Self { inner, traffic }
    }
}

impl<T: Unpin> Counted<T> {
    fn pinned(&mut self) -> Pin<&mut T> {
        Pin::new(&mut self.inner)
    }

    fn counted(&self, stream: Poll<Result<T::Substream, T::Error>>) -> Opened<T>
    where
        T: StreamMuxer,
    {
        stream.map_ok(|stream| Counted::new(stream, Arc::clone(&self.traffic)))
    }
}

type Opened<M> = Poll<Result<Counted<<M as StreamMuxer>::Substream>, <M as StreamMuxer>::Error>>;

impl<M> StreamMuxer for Counted<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
{
    type Substream = Counted<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Opened<M> {
        let stream = self.pinned().poll_inbound(cx);
        self.counted(stream)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Opened<M> {
        let stream = self.pinned().poll_outbound(cx);
        self.counted(stream)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.pinned().poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        self.pinned().poll(cx)
    }
}

/// Tells what was moved, if anything was.
fn count(moved: Poll<io::Result<usize>>, add: impl FnOnce(u64)) -> Poll<io::Result<usize>> {
    if let Poll::Ready(Ok(bytes)) = moved {
        add(bytes as u64);
    }
    moved
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let moved = self.pinned().poll_read(cx, buffer);
        count(moved, |bytes| self.traffic.add_received(bytes))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = self.pinned().poll_write(cx, buffer);
        count(moved, |bytes| self.traffic.add_sent(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = self.pinned().poll_write_vectored(cx, buffers);
        count(moved, |bytes| self.traffic.add_sent(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt, io::Cursor};

    use super::*;

    #[tokio::test]
    async fn what_was_moved_is_counted_for_the_peer_and_forgotten_with_it() {
        let (meter, peer) = (Meter::default(), PeerId::random());
        let traffic = meter.of(peer);
        let mut stream = Counted::new(Cursor::new(vec![7; 10]), meter.of(peer));
        stream.read_exact(&mut [0; 4]).await.unwrap();
        stream.write_all(&[1; 3]).await.unwrap();
        assert_eq!((traffic.received_bytes(), traffic.sent_bytes()), (4, 3));
        drop((stream, traffic));
        assert_eq!(meter.of(peer).received_bytes(), 0, "a new connection begins anew");
        for _ in 0..1_000 {
            meter.of(PeerId::random());
        }
        assert_eq!(meter.peers.lock().unwrap().len(), 1, "nothing is kept of those who left");
        let all = (meter.all().received_bytes(), meter.all().sent_bytes());
        assert_eq!(all, (4, 3), "but what they moved");
    }
}
