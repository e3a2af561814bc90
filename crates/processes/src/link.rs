//! A bad line: bytes between a node and a peer, carried by this process at a pace of its own.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::Runtime,
};

/// Between two portions of a dripping line.
const DRIP: Duration = Duration::from_millis(100);
/// Carried in one go where nothing holds it back, in bytes.
const CHUNK_BYTES: usize = 64 * 1_024;

/// How bytes come from the far side. What goes there is never held back.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Ever so slowly.
    BytesPerSecond(usize),
    /// As they are, but after so many nothing more, and the connection stays open.
    SilentAfter(usize),
}

/// Takes connections and leads each to one address. Dropped, all end.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Link {
    /// A line to the TCP port of a peer's multiaddress (`/ip4/127.0.0.1/tcp/PORT/…`).
    ///
    /// # Errors
    /// Where the address is not such a one, or no port is to be had.
    pub fn to(peer: &str, pace: Pace) -> io::Result<Self> {
        let target = socket_address(peer)
            .ok_or_else(|| io::Error::other(format!("{peer} is no TCP address of IPv4")))?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        runtime.spawn(serve(listener, target, pace));
        Ok(Self { address, _runtime: runtime })
    }

    /// The peer's multiaddress with this line's port.
    pub fn in_front_of(&self, peer: &str) -> String {
        let mut parts: Vec<&str> = peer.split('/').collect();
        let port = self.address.port().to_string();
        if let Some(part) = parts.get_mut(4) {
            *part = &port;
        }
        parts.join("/")
    }
}

fn socket_address(peer: &str) -> Option<SocketAddr> {
    match *peer.split('/').collect::<Vec<_>>() {
        ["", "ip4", ip, "tcp", port, ..] => format!("{ip}:{port}").parse().ok(),
        _ => None,
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, pace: Pace) {
    while let Ok((near, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A peer that is gone closes the near side too.
            let Ok(far) = TcpStream::connect(target).await else { return };
            let (from_near, to_near) = near.into_split();
            let (from_far, to_far) = far.into_split();
            tokio::join!(
                carry(from_near, to_far, Pace::SilentAfter(usize::MAX)),
                carry(from_far, to_near, pace),
            );
        });
    }
}

/// Carries until one side ends.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, pace: Pace) {
    let portion = match pace {
        Pace::BytesPerSecond(bytes) => (bytes / 10).max(1),
        Pace::SilentAfter(_) => CHUNK_BYTES,
    };
    let mut buffer = vec![0; portion];
    let mut carried = 0_usize;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let passed = match pace {
            Pace::BytesPerSecond(_) => {
                tokio::time::sleep(DRIP).await;
                count
            }
            Pace::SilentAfter(limit) => count.min(limit.saturating_sub(carried)),
        };
        carried = carried.saturating_add(count);
        if to.write_all(&buffer[..passed]).await.is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
        thread,
        time::Instant,
    };

    use super::*;

    /// A peer that says so many bytes to whoever connects, a line to it, and what arrives within
    /// half a second.
    fn arrives(said: usize, pace: Pace) -> usize {
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("/ip4/127.0.0.1/tcp/{}/p2p/x", peer.local_addr().unwrap().port());
        let talk = thread::spawn(move || {
            let (mut stream, _) = peer.accept().unwrap();
            stream.write_all(&vec![7; said]).unwrap();
            // Open until the other side is gone.
            stream.read(&mut [0]).unwrap_or(0)
        });
        let link = Link::to(&at, pace).unwrap();
        let near = socket_address(&link.in_front_of(&at)).unwrap();
        assert_ne!(near.port().to_string(), at.split('/').nth(4).unwrap());
        let mut stream = TcpStream::connect(near).unwrap();
        let deadline = Instant::now() + Duration::from_millis(500);
        let mut arrived = 0;
        let mut buffer = [0; 4_096];
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            match stream.read(&mut buffer) {
                Ok(count) => arrived += count,
                Err(_) => break,
            }
        }
        drop(stream);
        talk.join().unwrap();
        arrived
    }

    #[test]
    fn bytes_drip_or_stop() {
        assert_eq!(arrives(10_000, Pace::SilentAfter(usize::MAX)), 10_000);
        assert_eq!(arrives(10_000, Pace::SilentAfter(1_234)), 1_234);
        let dripped = arrives(10_000, Pace::BytesPerSecond(1_000));
        assert!((1..=600).contains(&dripped), "{dripped}");
    }
}
