//! A WebSocket that sends what it is told to, and reads only when told to: RFC 6455, just as much
//! as is needed here.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    doors::{AUTHORIZATION, upgrade},
    running::Running,
};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const LAST: u8 = 0x80;

pub(crate) struct RawWebSocket(TcpStream);

impl RawWebSocket {
    pub(crate) async fn open(running: &Running) -> Self {
        let (status, mut socket) =
            upgrade(&running.at(), &["Host: localhost", AUTHORIZATION]).await;
        assert_eq!(status, 101);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        Self(socket)
    }

    /// A message in one frame.
    pub(crate) async fn send(&mut self, text: &str) {
        self.frame(LAST | TEXT, text.len() as u64, text.as_bytes()).await;
    }

    /// A message in two frames.
    pub(crate) async fn send_in_parts(&mut self, text: &str) {
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        self.frame(TEXT, first.len() as u64, first).await;
        self.frame(LAST | CONTINUATION, second.len() as u64, second).await;
    }

    /// A frame that tells this length, whatever follows; masked with zeros.
    pub(crate) async fn frame(&mut self, first: u8, length: u64, payload: &[u8]) {
        let mut head = vec![first];
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..126), _) => head.push(0x80 | short),
            (_, Ok(medium)) => {
                head.push(0x80 | 126);
                head.extend(medium.to_be_bytes());
            }
            _ => {
                head.push(0x80 | 127);
                head.extend(length.to_be_bytes());
            }
        }
        head.extend([0; 4]);
        self.0.write_all(&head).await.unwrap();
        self.0.write_all(payload).await.unwrap();
    }

    /// The next message; `None` once the server has closed.
    pub(crate) async fn receive(&mut self) -> Option<Value> {
        loop {
            let kind = self.0.read_u8().await.ok()? & 0x0f;
            let length = match self.0.read_u8().await.ok()? {
                126 => self.0.read_u16().await.ok()?.into(),
                127 => self.0.read_u64().await.ok()?,
                short => short.into(),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            match kind {
                TEXT => return Some(serde_json::from_slice(&payload).unwrap()),
                CLOSE => return None,
                _ => {}
            }
        }
    }
}
