//! Kademlia, disarmed: a source of addresses and nothing more (PROTOCOL.md §12, THREATS N4).
//!
//! It never dials. Whom a query would dial next, and at which addresses, is handed out as
//! [`Found`]; the query is told that the dial failed and goes on with the peers that are connected.
//! It stores no records, and its routing table takes only peers that we identified.

use std::{
    fmt,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{Endpoint, transport::PortUse},
    kad::{self, store::MemoryStore},
    swarm::{
        ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};

use crate::limits::{LOOKUP_TIMEOUT, MAX_ADDRESSES_PER_PEER};

type Kademlia = kad::Behaviour<MemoryStore>;

/// A peer that some connected peer told us of; nothing of it is proved.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<Multiaddr>,
}

/// See the module's text.
pub(crate) struct Discovery {
    kademlia: Kademlia,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").finish_non_exhaustive()
    }
}

impl Discovery {
    pub(crate) fn new(local: PeerId, protocol: StreamProtocol) -> Self {
        let mut config = kad::Config::new(protocol);
        config
            .set_query_timeout(LOOKUP_TIMEOUT)
            .set_record_filtering(kad::StoreInserts::FilterBoth)
            .set_kbucket_inserts(kad::BucketInserts::Manual)
            .set_caching(kad::Caching::Disabled)
            .set_periodic_bootstrap_interval(None)
            .set_replication_interval(None)
            .set_publication_interval(None)
            .set_provider_publication_interval(None);
        let mut kademlia = Kademlia::with_config(local, MemoryStore::new(local), config);
        kademlia.set_mode(Some(kad::Mode::Server));
        Self { kademlia }
    }

    /// Others may now hear of this peer from us, at these addresses and no others. Only for peers
    /// that we identified, at addresses that they gave themselves.
    pub(crate) fn introduce(&mut self, peer: &PeerId, addresses: &[Multiaddr]) {
        let known = self.kademlia.kbucket(*peer).is_some_and(|bucket| {
            bucket.iter().any(|entry| {
                entry.node.key.preimage() == peer && is_same(entry.node.value.iter(), addresses)
            })
        });
        if known {
            return;
        }
        // a peer that says something else each time would otherwise make its entry grow
        self.kademlia.remove_peer(peer);
        for address in addresses.iter().take(MAX_ADDRESSES_PER_PEER) {
            self.kademlia.add_address(peer, address.clone());
        }
    }

    /// Others shall no longer hear of this peer from us.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.kademlia.remove_peer(peer);
    }

    /// Asks connected peers whom they know, unless a look-up is going on.
    pub(crate) fn look_up(&mut self) {
        if self.kademlia.iter_queries().next().is_none() {
            self.kademlia.get_closest_peers(PeerId::random());
        }
    }

    /// What a dial of Kademlia's own would have used.
    fn addresses_of(&mut self, connection: ConnectionId, peer: PeerId) -> Vec<Multiaddr> {
        self.kademlia
            .handle_pending_outbound_connection(connection, Some(peer), &[], Endpoint::Dialer)
            .unwrap_or_default()
    }
}

/// Whether Kademlia's addresses, which end in `/p2p`, are these.
fn is_same<'a>(known: impl Iterator<Item = &'a Multiaddr>, addresses: &[Multiaddr]) -> bool {
    let mut known: Vec<_> = known.collect();
    known.len() == addresses.len().min(MAX_ADDRESSES_PER_PEER)
        && addresses.iter().take(MAX_ADDRESSES_PER_PEER).all(|address| {
            let index = known.iter().position(|other| other.starts_with(address));
            index.map(|index| known.swap_remove(index)).is_some()
        })
}

impl NetworkBehaviour for Discovery {
    type ConnectionHandler = <Kademlia as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Found;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.kademlia.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kademlia.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kademlia
            .handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.kademlia.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.kademlia.on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match std::task::ready!(self.kademlia.poll(cx)) {
                ToSwarm::Dial { opts } => {
                    let Some(peer) = opts.get_peer_id() else { continue };
                    let addresses = self.addresses_of(opts.connection_id(), peer);
                    self.kademlia.on_swarm_event(FromSwarm::DialFailure(DialFailure {
                        peer_id: Some(peer),
                        error: &DialError::Aborted,
                        connection_id: opts.connection_id(),
                    }));
                    if !addresses.is_empty() {
                        return Poll::Ready(ToSwarm::GenerateEvent(Found { peer, addresses }));
                    }
                }
                // the state of a query or of the routing table: nobody here needs it
                ToSwarm::GenerateEvent(_) => {}
                other => {
                    return Poll::Ready(
                        other.map_out(|_| unreachable!("events are dropped above")),
                    );
                }
            }
        }
    }
}
