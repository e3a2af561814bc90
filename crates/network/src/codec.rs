//! The framing of `/ashlar/<net>/sync/1` (PROTOCOL.md §12) on one stream: a request, its answer.
//!
//! Lengths are checked before anything is set aside for them, every frame has a deadline by its
//! size, and decoding happens on the connection's own task, never on the swarm's.

use std::{io, time::Duration};

use ashlar_primitives::wire::{self, tag};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use tokio::time::{Instant, timeout_at};

use crate::limits::{FRAME_BYTES_PER_SECOND, FRAME_FIRST_ALLOCATION, FRAME_TIMEOUT};

/// A request, on either side of the wire.
#[derive(Debug)]
pub(crate) enum SyncRequest {
    /// Ours, encoded.
    Frame(Vec<u8>),
    /// A peer's.
    Read(wire::Request),
    /// A peer's that is none. Told rather than failed, for a failed read reaches nobody who could
    /// hold it against the peer.
    Junk(String),
}

/// An answer, on either side of the wire.
#[derive(Debug)]
pub(crate) enum SyncAnswer {
    /// Ours, encoded.
    Frame(Vec<u8>),
    /// A peer's.
    Read(wire::Answer),
}

/// How long frames may take: so long to begin, and so long more for each
/// [`FRAME_BYTES_PER_SECOND`] begun.
#[derive(Clone, Copy, Debug)]
struct Pace {
    begin: Duration,
    each: Duration,
}

impl Pace {
    /// 10 s and a second for each 256 KiB (THREATS §6).
    const REAL: Self = Self { begin: FRAME_TIMEOUT, each: Duration::from_secs(1) };

    fn whole(self, bytes: usize) -> Duration {
        let parts = u32::try_from(bytes.div_ceil(FRAME_BYTES_PER_SECOND)).unwrap_or(u32::MAX);
        self.begin + self.each * parts
    }
}

/// Cloned for each stream, so that it can remember what was asked on it.
#[derive(Clone, Debug)]
pub(crate) struct SyncCodec {
    max_block_bytes: u32,
    pace: Pace,
    asked: Option<u8>,
}

impl SyncCodec {
    pub(crate) fn new(max_block_bytes: u32) -> Self {
        Self { max_block_bytes, pace: Pace::REAL, asked: None }
    }

    /// Longer than any exchange that keeps to the deadlines of its frames.
    pub(crate) fn exchange_timeout(&self) -> Duration {
        let answer = wire::Answer::max_payload(self.max_block_bytes);
        self.pace.begin + self.pace.whole(wire::MAX_REQUEST_BYTES) + self.pace.whole(answer)
    }

    /// The longest payload of the answer to a request with this tag, its tag byte included.
    fn max_answer(&self, asked: u8) -> usize {
        let list16 = |count: usize, item: usize| 1 + 2 + count * item;
        match asked {
            tag::STATUS => 1 + 32 + 32 + 4 + 32 + 4 + 2 + wire::MAX_AGENT_BYTES,
            tag::HEADERS => list16(wire::MAX_HEADERS, 80),
            tag::MEMPOOL => list16(wire::MAX_MEMPOOL_IDS, 32),
            tag::TRANSACTIONS => 1 + wire::MAX_TRANSACTIONS_BYTES,
            _ => wire::Answer::max_payload(self.max_block_bytes),
        }
    }
}

fn malformed(reason: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_string())
}

async fn before<T>(deadline: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(deadline, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Pace {
    /// The payload of one frame. `InvalidData` where its length is not in `1..=max`; what is set
    /// aside grows with what has come, so that a claimed length alone costs nothing.
    async fn read<T>(self, io: &mut T, max: usize) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let start = Instant::now();
        let mut prefix = [0; wire::LENGTH_PREFIX];
        before(start + self.begin, io.read_exact(&mut prefix)).await?;
        let length = u32::from_le_bytes(prefix) as usize;
        if length == 0 || length > max {
            return Err(malformed(format!("a frame of {length} bytes, at most {max} are allowed")));
        }
        let mut payload = Vec::with_capacity(length.min(FRAME_FIRST_ALLOCATION));
        let mut rest = io.take(length as u64);
        before(start + self.whole(length), rest.read_to_end(&mut payload)).await?;
        if payload.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(payload)
    }

    async fn write<T>(self, io: &mut T, frame: &[u8]) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        before(Instant::now() + self.whole(frame.len()), async {
            io.write_all(frame).await?;
            io.flush().await
        })
        .await
    }
}

impl request_response::Codec for SyncCodec {
    type Protocol = StreamProtocol;
    type Request = SyncRequest;
    type Response = SyncAnswer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<SyncRequest>
    where
        T: AsyncRead + Unpin + Send,
    {
        match self.pace.read(io, wire::MAX_REQUEST_BYTES).await {
            Ok(payload) => Ok(wire::Request::from_payload(&payload)
                .map_or_else(|error| SyncRequest::Junk(error.to_string()), SyncRequest::Read)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Ok(SyncRequest::Junk(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<SyncAnswer>
    where
        T: AsyncRead + Unpin + Send,
    {
        let asked = self.asked.ok_or_else(|| io::Error::other("nothing was asked"))?;
        let payload = self.pace.read(io, self.max_answer(asked)).await?;
        wire::Answer::from_payload(&payload, asked, self.max_block_bytes)
            .map(SyncAnswer::Read)
            .map_err(malformed)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: SyncRequest,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let SyncRequest::Frame(frame) = request else {
            return Err(io::Error::other("only an encoded request can be sent"));
        };
        self.asked = frame.get(wire::LENGTH_PREFIX).copied();
        self.pace.write(io, &frame).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: SyncAnswer,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let SyncAnswer::Frame(frame) = answer else {
            return Err(io::Error::other("only an encoded answer can be sent"));
        };
        self.pace.write(io, &frame).await
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;

    use super::*;

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/test");
    const MAX_BLOCK_BYTES: u32 = 4_000_000;

    fn frame(length: usize, payload: &[u8]) -> Cursor<Vec<u8>> {
        let mut bytes = (length as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(payload);
        Cursor::new(bytes)
    }

    fn codec_that(asked: u8) -> SyncCodec {
        SyncCodec { asked: Some(asked), ..SyncCodec::new(MAX_BLOCK_BYTES) }
    }

    async fn request_from(length: usize, payload: &[u8]) -> io::Result<SyncRequest> {
        SyncCodec::new(MAX_BLOCK_BYTES).read_request(&PROTOCOL, &mut frame(length, payload)).await
    }

    async fn answer_from(asked: u8, length: usize, payload: &[u8]) -> io::Error {
        codec_that(asked).read_response(&PROTOCOL, &mut frame(length, payload)).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_request_survives_the_wire() {
        let asked = wire::Request::Mempool;
        let mut bytes = Cursor::new(Vec::new());
        let mut codec = SyncCodec::new(MAX_BLOCK_BYTES);
        let sent = SyncRequest::Frame(asked.to_frame());
        codec.write_request(&PROTOCOL, &mut bytes, sent).await.unwrap();
        assert_eq!(codec.asked, Some(asked.tag()));
        bytes.set_position(0);
        let read = SyncCodec::new(MAX_BLOCK_BYTES).read_request(&PROTOCOL, &mut bytes).await;
        assert!(matches!(read, Ok(SyncRequest::Read(request)) if request == asked));
    }

    #[tokio::test]
    async fn an_answer_survives_the_wire() {
        let mut bytes = Cursor::new(Vec::new());
        let mut codec = codec_that(tag::MEMPOOL);
        let sent = SyncAnswer::Frame(wire::Answer::Mempool(Vec::new()).to_frame());
        codec.write_response(&PROTOCOL, &mut bytes, sent).await.unwrap();
        bytes.set_position(0);
        let read = codec.read_response(&PROTOCOL, &mut bytes).await;
        assert!(matches!(read, Ok(SyncAnswer::Read(wire::Answer::Mempool(ids))) if ids.is_empty()));
    }

    #[tokio::test]
    async fn lengths_are_judged_before_the_bytes() {
        let at_limit = request_from(wire::MAX_REQUEST_BYTES, &[]).await;
        assert_eq!(at_limit.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        for length in [0, wire::MAX_REQUEST_BYTES + 1, u32::MAX as usize] {
            assert!(matches!(request_from(length, &[]).await, Ok(SyncRequest::Junk(_))));
        }
        for asked in 0..=5 {
            let max = SyncCodec::new(MAX_BLOCK_BYTES).max_answer(asked);
            assert_eq!(answer_from(asked, max, &[]).await.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(answer_from(asked, max + 1, &[]).await.kind(), io::ErrorKind::InvalidData);
            assert!(max <= wire::Answer::max_payload(MAX_BLOCK_BYTES));
        }
    }

    #[test]
    fn a_claimed_length_alone_costs_little() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let max = SyncCodec::new(MAX_BLOCK_BYTES).max_answer(tag::BLOCKS);
        let read = || drop(runtime.block_on(answer_from(tag::BLOCKS, max, &[])));
        let cost = allocation_counter::measure(read).bytes_max;
        let most = FRAME_FIRST_ALLOCATION as u64 + (16 << 10);
        assert!((FRAME_FIRST_ALLOCATION as u64..most).contains(&cost), "{cost} bytes of {max}");
    }

    #[tokio::test]
    async fn what_does_not_decode_is_told_apart() {
        assert!(matches!(request_from(1, &[99]).await, Ok(SyncRequest::Junk(_))), "unknown tag");
        let cut_off = request_from(10, &[99]).await.unwrap_err();
        assert_eq!(cut_off.kind(), io::ErrorKind::UnexpectedEof);
        let other_tag = answer_from(tag::STATUS, 3, &[tag::MEMPOOL, 0, 0]).await;
        assert_eq!(other_tag.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn big_frames_have_more_time() {
        assert_eq!(Pace::REAL.whole(0).as_secs(), 10);
        assert_eq!(Pace::REAL.whole(1).as_secs(), 11);
        assert_eq!(Pace::REAL.whole(8 << 20).as_secs(), 10 + 32);
    }

    /// One byte each millisecond.
    struct Drip(std::pin::Pin<Box<tokio::time::Sleep>>);

    impl AsyncRead for Drip {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buffer: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::ready!(self.0.as_mut().poll(cx));
            self.0 = Box::pin(tokio::time::sleep(Duration::from_millis(1)));
            buffer[0] = 1;
            std::task::Poll::Ready(Ok(1))
        }
    }

    #[tokio::test]
    async fn a_dripping_peer_runs_out_of_time() {
        let begin = Duration::from_millis(100);
        let pace = Pace { begin, each: Duration::from_millis(1) };
        let mut codec = SyncCodec { max_block_bytes: 1 << 26, pace, asked: Some(tag::BLOCKS) };
        let mut drip = Drip(Box::pin(tokio::time::sleep(Duration::from_millis(1))));
        // a length of 0x01010101 after a few milliseconds, and then 17 MB at a byte each
        let error = codec.read_response(&PROTOCOL, &mut drip).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // and one that does not even begin
        let mut silent = Drip(Box::pin(tokio::time::sleep(Duration::from_secs(3_600))));
        let error = codec.read_response(&PROTOCOL, &mut silent).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
