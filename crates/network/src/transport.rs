//! How bytes reach a peer: TCP with Noise and Yamux, or QUIC, which brings both with it.
//!
//! TCP is always there. QUIC is built only where the operator named one of its addresses. Either
//! way a connection has [`MAX_STREAMS`] streams at most and a window for all of them together, and
//! its bytes are counted.

use std::{fs::File, io::Read, path::Path};

use futures::future::Either;
use libp2p::{
    PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    dns,
    identity::Keypair,
    noise,
    pnet::{PnetConfig, PreSharedKey},
    quic, tcp,
};

use crate::{
    NetworkError,
    limits::{
        HANDSHAKE_TIMEOUT, MAX_CONNECTION_WINDOW_BYTES, MAX_QUIC_STREAM_WINDOW_BYTES,
        MAX_SECRET_FILE_BYTES, MAX_STREAMS, QUIC_IDLE_TIMEOUT, QUIC_KEEP_ALIVE,
    },
    muxer::Yamux,
    traffic::{Counted, Meter},
};

/// Ready to dial and to listen: who is at the other end, and the streams to it.
pub(crate) type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// Names are resolved as the system says; where it says nothing (no resolv.conf), only names fail
/// to be dialled. Fails where the key can't sign for the handshake.
pub(crate) fn build(
    key: &Keypair,
    secret: Option<PreSharedKey>,
    with_quic: bool,
    meter: &Meter,
) -> Result<Connections, noise::Error> {
    let plain = || {
        let tcp = tcp(key, secret, meter.clone())?;
        Ok(if with_quic {
            let either = tcp.or_transport(quic(key, meter.clone()));
            either.map(|connection, _| connection.into_inner()).boxed()
        } else {
            tcp
        })
    };
    match dns::tokio::Transport::system(plain()?) {
        Ok(named) => Ok(named.boxed()),
        Err(error) => {
            tracing::warn!(%error, "no name resolution; peers can be dialled by IP address only");
            plain()
        }
    }
}

/// All of it enciphered once more in a closed network.
fn tcp(
    key: &Keypair,
    secret: Option<PreSharedKey>,
    meter: Meter,
) -> Result<Connections, noise::Error> {
    let noise = noise::Config::new(key)?;
    let sockets = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let sockets = sockets.and_then(move |socket, _| async move {
        match secret {
            Some(secret) => PnetConfig::new(secret).handshake(socket).await.map(Either::Left),
            None => Ok(Either::Right(socket)),
        }
    });
    Ok(sockets
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(Yamux::default())
        .timeout(HANDSHAKE_TIMEOUT)
        .map(move |(peer, muxer), _| {
            (peer, StreamMuxerBox::new(Counted::new(muxer, meter.of(peer))))
        })
        .boxed())
}

fn quic(key: &Keypair, meter: Meter) -> Connections {
    let mut config = quic::Config::new(key);
    config.handshake_timeout = HANDSHAKE_TIMEOUT;
    config.max_idle_timeout = u32::try_from(QUIC_IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config.max_concurrent_stream_limit = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
    config.max_stream_data = MAX_QUIC_STREAM_WINDOW_BYTES;
    config.max_connection_data = u32::try_from(MAX_CONNECTION_WINDOW_BYTES).unwrap_or(u32::MAX);
    quic::tokio::Transport::new(config)
        .map(move |(peer, muxer), _| {
            (peer, StreamMuxerBox::new(Counted::new(muxer, meter.of(peer))))
        })
        .boxed()
}

/// The secret of a closed network.
pub(crate) fn network_secret(path: &Path) -> Result<PreSharedKey, NetworkError> {
    let bad = |reason: String| NetworkError::NetworkSecret { path: path.to_owned(), reason };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SECRET_FILE_BYTES).read_to_string(&mut text))
        .map_err(|error| bad(error.to_string()))?;
    let digits = text.trim();
    let mut key = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return Err(bad("not 64 hex digits".into()));
    }
    for (byte, index) in key.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[index..index + 2], 16)
            .map_err(|_| bad("not 64 hex digits".into()))?;
    }
    Ok(PreSharedKey::new(key))
}
