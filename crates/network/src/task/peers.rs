//! Who is connected.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_engine::{Direction, Peer};
use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

use crate::{
    address::{Scope, scope_of},
    traffic::Traffic,
    upload::Bucket,
};

/// What we know of a peer's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not said.
    Unknown,
    /// It speaks our protocols.
    Ours,
    /// It does not, and goes as soon as it had the chance to learn the same of us.
    Stranger { until_ms: u64 },
}

/// One peer, one connection.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) number: Peer,
    pub(super) connection: ConnectionId,
    pub(super) direction: Direction,
    /// Of the other end, without `/p2p`.
    pub(super) address: Multiaddr,
    pub(super) since_ms: u64,
    pub(super) standing: Standing,
    /// The engine knows of it.
    pub(super) announced: bool,
    /// Undecodable messages so far.
    pub(super) junk: u32,
    /// Gossip that it did not take, and since when that is counted.
    pub(super) failed: (usize, u64),
    /// The last look found that gossipsub no longer listens to it.
    pub(super) is_graylisted: bool,
    /// It was dialled to see whether it is there; the engine never hears of it.
    pub(super) feeler: bool,
    /// It is being closed.
    pub(super) leaving: bool,
    /// What it sent and took.
    pub(super) traffic: Arc<Traffic>,
    /// What it may still download.
    pub(super) upload: Bucket,
    /// Its last round trip.
    pub(super) ping_ms: Option<u64>,
    /// When a block of its gossip was passed on last; 0: never.
    pub(super) block_ms: u64,
    /// The same of transactions.
    pub(super) transaction_ms: u64,
}

/// All of them, by peer id and by number.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_id: BTreeMap<PeerId, Connected>,
    by_number: BTreeMap<Peer, PeerId>,
    last_number: u64,
}

impl Peers {
    /// Takes a new connection with a peer that had none: the gate sees to that.
    pub(super) fn insert(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        direction: Direction,
        address: Multiaddr,
        traffic: Arc<Traffic>,
        now_ms: u64,
    ) {
        self.last_number += 1;
        let number = Peer(self.last_number);
        self.by_number.insert(number, peer);
        self.by_id.insert(
            peer,
            Connected {
                number,
                connection,
                direction,
                address,
                since_ms: now_ms,
                standing: Standing::Unknown,
                announced: false,
                junk: 0,
                failed: (0, now_ms),
                is_graylisted: false,
                feeler: false,
                leaving: false,
                traffic,
                upload: Bucket::of_peer(),
                ping_ms: None,
                block_ms: 0,
                transaction_ms: 0,
            },
        );
    }

    /// Takes a closed connection away.
    pub(super) fn remove(&mut self, peer: &PeerId, connection: ConnectionId) -> Option<Connected> {
        if self.by_id.get(peer)?.connection != connection {
            return None;
        }
        let gone = self.by_id.remove(peer)?;
        self.by_number.remove(&gone.number);
        Some(gone)
    }

    pub(super) fn get(&self, peer: &PeerId) -> Option<&Connected> {
        self.by_id.get(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Connected> {
        self.by_id.get_mut(peer)
    }

    pub(super) fn id_of(&self, number: Peer) -> Option<PeerId> {
        self.by_number.get(&number).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Connected)> {
        self.by_id.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&PeerId, &mut Connected)> {
        self.by_id.iter_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Peers that we dialled.
    pub(super) fn outbound(&self) -> usize {
        self.dialled().count()
    }

    /// Those, feelers left out.
    pub(super) fn dialled(&self) -> impl Iterator<Item = (&PeerId, &Connected)> {
        self.iter().filter(|(_, peer)| peer.direction == Direction::Outbound && !peer.feeler)
    }

    /// The most local place that anybody is connected from: what a rumour may name at most.
    pub(super) fn widest_scope(&self) -> Option<Scope> {
        self.by_id.values().map(|peer| teller_scope(&peer.address)).max()
    }
}

/// What the peer at this address may name. A name that the operator gave us to dial may well lead
/// into the operator's own network.
pub(super) fn teller_scope(address: &Multiaddr) -> Scope {
    match address.ip_addr() {
        Some(_) => scope_of(address).unwrap_or(Scope::Global),
        None => Scope::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_used_twice() {
        let peer = PeerId::random();
        let at: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let mut peers = Peers::default();
        let connection = ConnectionId::new_unchecked;
        peers.insert(peer, connection(1), Direction::Inbound, at.clone(), Arc::default(), 0);
        let number = peers.get(&peer).unwrap().number;
        assert!(peers.remove(&peer, connection(2)).is_none(), "not this one");
        assert_eq!(peers.remove(&peer, connection(1)).unwrap().number, number);
        assert_eq!(peers.id_of(number), None);
        peers.insert(peer, connection(3), Direction::Inbound, at, Arc::default(), 9);
        assert_ne!(peers.get(&peer).unwrap().number, number);
    }
}
