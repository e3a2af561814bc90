//! Yamux by hand: frames, and a session that keeps the rules unless told otherwise.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::AbortHandle,
};

use crate::Pipe;

/// The protocol's name.
pub const PROTOCOL: &str = "/yamux/1.0.0";
/// What each side of a stream may send before it is told to go on.
pub const WINDOW_BYTES: usize = 256 * 1_024;
/// Payload of one frame of ours.
const MAX_BODY_BYTES: usize = 16 * 1_024;
/// Frames that wait for the socket; who sends more waits.
const OUTBOX_FRAMES: usize = 64;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes of a stream.
    Data = 0,
    /// So many more may be sent.
    Window = 1,
    /// Are you there?
    Ping = 2,
    /// The session ends.
    GoAway = 3,
}

/// The first frame of a stream.
pub const SYN: u16 = 1;
/// The answer to it.
pub const ACK: u16 = 2;
/// The last frame in this direction.
pub const FIN: u16 = 4;
/// The stream ends at once.
pub const RST: u16 = 8;

/// A frame's bytes. `length` is what the header says, whatever `body` holds.
pub fn frame(kind: Kind, flags: u16, stream: u32, length: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, kind as u8];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(stream.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn data(flags: u16, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a body is at most a window");
    frame(Kind::Data, flags, stream, length, body)
}

/// How a session hears of one of its streams.
#[derive(Debug)]
struct Sink {
    /// `None` when the other side has sent its last.
    inbox: Option<mpsc::UnboundedSender<Vec<u8>>>,
    credit: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    outbox: mpsc::Sender<Vec<u8>>,
    streams: Mutex<BTreeMap<u32, Sink>>,
    next: AtomicU32,
    reads: watch::Sender<bool>,
    closed: watch::Sender<bool>,
}

/// One connection after its handshake. It ends when dropped.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Session {
    /// Over a secured connection that this side dialled; streams that the other side opens come
    /// out of the receiver.
    pub fn start<T>(socket: T) -> (Self, mpsc::UnboundedReceiver<Stream>)
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (mut reader, mut writer) = socket.split();
        let (outbox, mut queue) = mpsc::channel::<Vec<u8>>(OUTBOX_FRAMES);
        let (opened, incoming) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            outbox,
            streams: Mutex::default(),
            next: AtomicU32::new(1),
            reads: watch::Sender::new(true),
            closed: watch::Sender::new(false),
        });
        let writes = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Some(bytes) = queue.recv().await {
                    let sent = async {
                        writer.write_all(&bytes).await?;
                        while let Ok(bytes) = queue.try_recv() {
                            writer.write_all(&bytes).await?;
                        }
                        writer.flush().await
                    };
                    if sent.await.is_err() {
                        break;
                    }
                }
                shared.end();
            }
        });
        let reads = tokio::spawn({
            let shared = shared.clone();
            async move {
                let ended: io::Result<()> = async {
                    loop {
                        shared.reads.subscribe().wait_for(|reads| *reads).await.ok();
                        shared.read_frame(&mut reader, &opened).await?;
                    }
                }
                .await;
                drop(ended);
                shared.end();
            }
        });
        let tasks = vec![writes.abort_handle(), reads.abort_handle()];
        (Self { shared, tasks }, incoming)
    }

    /// A new stream; the other side hears of it with the first bytes.
    pub fn open(&self) -> Stream {
        let id = self.shared.next.fetch_add(2, Ordering::Relaxed);
        self.shared.stream(id, SYN)
    }

    /// Bytes as they are, between frames or in place of them.
    ///
    /// # Errors
    /// Where the connection is closed.
    pub async fn raw(&self, bytes: Vec<u8>) -> io::Result<()> {
        self.shared.write(bytes).await
    }

    /// A stream's number that was not used yet.
    pub fn next_id(&self) -> u32 {
        self.shared.next.fetch_add(2, Ordering::Relaxed)
    }

    /// Whether anything is read from the socket from now on.
    pub fn set_reading(&self, reads: bool) {
        self.shared.reads.send_replace(reads);
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        *self.shared.closed.borrow()
    }

    /// When it is over.
    pub async fn closed(&self) {
        self.shared.closed.subscribe().wait_for(|closed| *closed).await.ok();
    }
}

impl Shared {
    fn end(&self) {
        self.closed.send_replace(true);
        for sink in std::mem::take(&mut *self.streams.lock().unwrap()).into_values() {
            sink.credit.close();
        }
    }

    async fn write(&self, bytes: Vec<u8>) -> io::Result<()> {
        if *self.closed.borrow() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut closed = self.closed.subscribe();
        tokio::select! {
            sent = self.outbox.send(bytes) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            _ = closed.wait_for(|closed| *closed) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn stream(self: &Arc<Self>, id: u32, flags: u16) -> Stream {
        let (inbox, incoming) = mpsc::unbounded_channel();
        let credit = Arc::new(Semaphore::new(WINDOW_BYTES));
        let sink = Sink { inbox: Some(inbox), credit: credit.clone() };
        self.streams.lock().unwrap().insert(id, sink);
        Stream { id, flags, shared: self.clone(), credit, incoming, unread: Vec::new() }
    }

    async fn read_frame<T>(
        self: &Arc<Self>,
        reader: &mut T,
        opened: &mpsc::UnboundedSender<Stream>,
    ) -> io::Result<()>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut header = [0; 12];
        reader.read_exact(&mut header).await?;
        let [_, kind, flags @ .., s0, s1, s2, s3, l0, l1, l2, l3] = header;
        let flags = u16::from_be_bytes(flags);
        let id = u32::from_be_bytes([s0, s1, s2, s3]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        match kind {
            0 => {
                let mut body = vec![0; length as usize];
                reader.read_exact(&mut body).await?;
                self.note_flags(id, flags, opened).await?;
                if length > 0 {
                    let inbox = self.streams.lock().unwrap().get(&id).and_then(|s| s.inbox.clone());
                    if inbox.is_some_and(|inbox| inbox.send(body).is_ok()) {
                        self.write(frame(Kind::Window, 0, id, length, &[])).await?;
                    }
                }
                self.note_end(id, flags);
            }
            1 => {
                self.note_flags(id, flags, opened).await?;
                if let Some(sink) = self.streams.lock().unwrap().get(&id) {
                    sink.credit.add_permits(length as usize);
                }
                self.note_end(id, flags);
            }
            2 if flags & SYN != 0 => {
                self.write(frame(Kind::Ping, ACK, 0, length, &[])).await?;
            }
            2 => {}
            _ => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        Ok(())
    }

    async fn note_flags(
        self: &Arc<Self>,
        id: u32,
        flags: u16,
        opened: &mpsc::UnboundedSender<Stream>,
    ) -> io::Result<()> {
        if flags & SYN != 0 {
            opened.send(self.stream(id, 0)).ok();
            self.write(frame(Kind::Window, ACK, id, 0, &[])).await?;
        }
        Ok(())
    }

    fn note_end(&self, id: u32, flags: u16) {
        let mut streams = self.streams.lock().unwrap();
        if flags & RST != 0 {
            if let Some(sink) = streams.remove(&id) {
                sink.credit.close();
            }
        } else if flags & FIN != 0
            && let Some(sink) = streams.get_mut(&id)
        {
            sink.inbox = None;
        }
    }
}

/// One stream of a session.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    /// Of its next frame.
    flags: u16,
    shared: Arc<Shared>,
    credit: Arc<Semaphore>,
    incoming: mpsc::UnboundedReceiver<Vec<u8>>,
    unread: Vec<u8>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.streams.lock().unwrap().remove(&self.id);
        // a full outbox: the other side learns of it when the connection ends
        self.shared.outbox.try_send(frame(Kind::Data, RST, self.id, 0, &[])).ok();
    }
}

impl Stream {
    /// Its number in frames.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Nothing more comes in this direction.
    ///
    /// # Errors
    /// Where the connection is closed.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.shared.write(frame(Kind::Data, FIN, self.id, 0, &[])).await
    }

    /// All that comes until the other side has sent its last.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.unread);
        while let Some(bytes) = self.incoming.recv().await {
            rest.extend(bytes);
        }
        rest
    }
}

impl Pipe for Stream {
    async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            let more = self.incoming.recv().await.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.unread.extend(more);
        }
        let rest = self.unread.split_off(count);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(MAX_BODY_BYTES) {
            let count = u32::try_from(part.len()).expect("a chunk is small");
            let permit = self.credit.acquire_many(count).await;
            permit.map_err(|_| io::ErrorKind::BrokenPipe)?.forget();
            let flags = std::mem::take(&mut self.flags);
            self.shared.write(data(flags, self.id, part)).await?;
        }
        Ok(())
    }
}
