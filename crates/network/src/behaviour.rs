//! The swarm, and what runs on each connection.

use std::{collections::BTreeSet, time::Duration};

use ashlar_primitives::wire;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, identify,
    identity::Keypair,
    mdns, ping,
    request_response::{self, ProtocolSupport},
    swarm::{self, NetworkBehaviour, behaviour::toggle::Toggle},
};

use crate::{
    Clocks, Config, NetworkError,
    bans::Bans,
    codec::SyncCodec,
    discovery::Discovery,
    gate::Gate,
    gossip::{self, Gossip},
    limits::{
        IDLE_TIMEOUT, MAX_NEGOTIATING_STREAMS, MAX_REQUESTS_PER_PEER, PING_INTERVAL, PING_TIMEOUT,
    },
    traffic::Meter,
    transport::{self, network_secret},
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
    clocks: &Clocks,
    bans: Bans,
    meter: &Meter,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let local = key.public().to_peer_id();
    let behaviour = Behaviour {
        gate: Gate::new(
            clocks.monotonic_ms.clone(),
            bans,
            config.exempts_loopback,
            allowed_peers(config, local)?,
        ),
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
    let secret = config.network_secret_file.as_deref().map(network_secret).transpose()?;
    let transport = transport::build(key, secret, config.carriers().quic, meter)
        .map_err(|_| NetworkError::KeyUnusable { path: config.key_file.clone() })?;
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

/// `None`: anybody.
pub(crate) fn allowed_peers(
    config: &Config,
    local: PeerId,
) -> Result<Option<BTreeSet<PeerId>>, NetworkError> {
    if config.allowed_peers.is_empty() {
        return Ok(None);
    }
    let allowed = config.allowed_peers.iter().map(|text| {
        text.parse().map_err(|error: libp2p::identity::ParseError| NetworkError::BadPeerId {
            text: text.clone(),
            reason: error.to_string(),
        })
    });
    // One list for all nodes names this one too.
    let others: Result<BTreeSet<PeerId>, _> = allowed.collect();
    Ok(Some(others?.into_iter().filter(|peer| *peer != local).collect()))
}

/// The peer's address as this end of the connection sees it.
pub(crate) fn remote_address(endpoint: &libp2p::core::ConnectedPoint) -> Multiaddr {
    let mut address = endpoint.get_remote_address().clone();
    if let Some(libp2p::multiaddr::Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}
