//! The swarm: transport, and what runs on each connection.

use std::time::Duration;

use ashlar_primitives::wire;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    dns, identify,
    identity::Keypair,
    mdns, noise, ping,
    request_response::{self, ProtocolSupport},
    swarm::{self, NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, yamux,
};

use crate::{
    Clock, Config, NetworkError,
    codec::SyncCodec,
    discovery::Discovery,
    gate::Gate,
    gossip::{self, Gossip},
    limits::{
        HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, MAX_NEGOTIATING_STREAMS, MAX_REQUESTS_PER_PEER,
        MAX_STREAMS, PING_INTERVAL, PING_TIMEOUT,
    },
};

/// What runs on each connection. The gate stands first: what it refuses costs the others nothing.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    /// Bans and connection limits.
    pub(crate) gate: Gate,
    /// What the other end speaks, and where it can be dialled.
    pub(crate) identify: identify::Behaviour,
    /// Whether the other end is still there.
    pub(crate) ping: ping::Behaviour,
    /// Compact blocks and transaction batches.
    pub(crate) gossip: Gossip,
    /// Status, headers, bodies, mempool.
    pub(crate) sync: request_response::Behaviour<SyncCodec>,
    /// Further peers by way of those connected.
    pub(crate) discovery: Toggle<Discovery>,
    /// Further peers on the same link.
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
}

/// Ready to listen and to dial. Must be called on a tokio runtime.
pub(crate) fn build(
    config: &Config,
    key: &Keypair,
    names: &wire::Names,
    now_ms: Clock,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let local = key.public().to_peer_id();
    let behaviour = Behaviour {
        gate: Gate::new(now_ms),
        identify: identify::Behaviour::new(
            identify::Config::new(wire::IDENTIFY_PROTOCOL.into(), key.public())
                .with_agent_version(config.agent.clone())
                .with_push_listen_addr_updates(true)
                // the address book is ours, not identify's
                .with_cache_size(0),
        ),
        ping: ping::Behaviour::new(
            ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT),
        ),
        gossip: gossip::gossip(names),
        sync: sync(config.max_block_bytes, names),
        discovery: config.discovery.then(|| Discovery::new(local, protocol(&names.kad))).into(),
        mdns: mdns(config, local)?.into(),
    };
    let transport =
        transport(key).map_err(|_| NetworkError::KeyUnusable { path: config.key_file.clone() })?;
    let swarm_config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        .with_max_negotiating_inbound_streams(MAX_NEGOTIATING_STREAMS);
    Ok(Swarm::new(transport, behaviour, local, swarm_config))
}

fn protocol(name: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(name.into()).expect("every name of the protocol begins with /")
}

fn sync(max_block_bytes: u32, names: &wire::Names) -> request_response::Behaviour<SyncCodec> {
    let codec = SyncCodec::new(max_block_bytes);
    let config = request_response::Config::default()
        .with_request_timeout(codec.exchange_timeout())
        .with_max_concurrent_streams(2 * MAX_REQUESTS_PER_PEER);
    let protocols = [(protocol(&names.sync), ProtocolSupport::Full)];
    request_response::Behaviour::with_codec(codec, protocols, config)
}

fn mdns(config: &Config, local: PeerId) -> Result<Option<mdns::tokio::Behaviour>, NetworkError> {
    if !config.mdns {
        return Ok(None);
    }
    let query = mdns::Config { query_interval: Duration::from_secs(60), ..mdns::Config::default() };
    mdns::tokio::Behaviour::new(query, local)
        .map(Some)
        .map_err(|source| NetworkError::Mdns { source })
}

/// TCP, Noise, Yamux. Names are resolved as the system says; where it says nothing (no
/// resolv.conf), only names fail to be dialled.
fn transport(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    match dns::tokio::Transport::system(tcp()) {
        Ok(named) => secure(named, key),
        Err(error) => {
            tracing::warn!(%error, "no name resolution; peers can be dialled by IP address only");
            secure(tcp(), key)
        }
    }
}

fn secure<T>(transport: T, key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error>
where
    T: Transport<Output = tcp::tokio::TcpStream> + Send + Unpin + 'static,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
    T::Error: Send + Sync + 'static,
{
    let mut streams = yamux::Config::default();
    streams.set_max_num_streams(MAX_STREAMS);
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(streams)
        .timeout(HANDSHAKE_TIMEOUT)
        .boxed())
}

/// The peer's address as this end of the connection sees it.
pub(crate) fn remote_address(endpoint: &libp2p::core::ConnectedPoint) -> Multiaddr {
    let mut address = endpoint.get_remote_address().clone();
    if let Some(libp2p::multiaddr::Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}
