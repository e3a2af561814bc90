//! Who is connected.

use std::collections::BTreeMap;

use ashlar_engine::{Direction, Peer};
use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

use crate::{
    address::{Scope, scope_of},
    limits::SIMULTANEOUS_MS,
};

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) direction: Direction,
    /// Of the other end, without `/p2p`.
    pub(super) address: Multiaddr,
    pub(super) since_ms: u64,
    /// It is surplus, and closed then.
    pub(super) closes_at_ms: Option<u64>,
}

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

/// One peer id, over one connection or, for a moment, two.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) number: Peer,
    /// Never empty; the first is the oldest.
    pub(super) links: Vec<Link>,
    pub(super) standing: Standing,
    /// The engine knows of it.
    pub(super) announced: bool,
    /// Our identity reached it.
    pub(super) identity_sent: bool,
    /// Undecodable messages so far.
    pub(super) junk: u32,
    pub(super) since_ms: u64,
}

impl Connected {
    fn first(&self) -> &Link {
        self.links.first().expect("a peer is removed with its last link")
    }

    /// How it first connected.
    pub(super) fn direction(&self) -> Direction {
        self.first().direction
    }

    /// Where its first connection leads.
    pub(super) fn address(&self) -> &Multiaddr {
        &self.first().address
    }

    pub(super) fn link(&self, id: ConnectionId) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id)
    }

    /// Of two connections, the one to close. Both ends must choose the same. Where both dialled at
    /// once, the smaller peer id's dial stays; otherwise the newer stays: its dialler would not
    /// have dialled if it still had the older.
    fn surplus(local: &PeerId, remote: &PeerId, older: &Link, newer: &Link) -> ConnectionId {
        let apart_ms = newer.since_ms.saturating_sub(older.since_ms);
        if older.direction == newer.direction || apart_ms > SIMULTANEOUS_MS {
            return older.id;
        }
        let stays = if local < remote { Direction::Outbound } else { Direction::Inbound };
        if older.direction == stays { newer.id } else { older.id }
    }
}

/// All of them, by peer id and by number.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_id: BTreeMap<PeerId, Connected>,
    by_number: BTreeMap<Peer, PeerId>,
    last_number: u64,
}

impl Peers {
    /// Takes a new connection. If the peer had one, one of the two is marked to close at
    /// `surplus_closes_at_ms`.
    pub(super) fn insert(
        &mut self,
        local: &PeerId,
        peer: PeerId,
        link: Link,
        surplus_closes_at_ms: u64,
    ) {
        let now_ms = link.since_ms;
        let Some(connected) = self.by_id.get_mut(&peer) else {
            self.last_number += 1;
            let number = Peer(self.last_number);
            self.by_number.insert(number, peer);
            self.by_id.insert(
                peer,
                Connected {
                    number,
                    links: vec![link],
                    standing: Standing::Unknown,
                    announced: false,
                    identity_sent: false,
                    junk: 0,
                    since_ms: now_ms,
                },
            );
            return;
        };
        if let Some(older) = connected.links.iter().find(|link| link.closes_at_ms.is_none()) {
            let surplus = Connected::surplus(local, &peer, older, &link);
            connected.links.push(link);
            for link in connected.links.iter_mut().filter(|link| link.id == surplus) {
                link.closes_at_ms = Some(surplus_closes_at_ms);
            }
        } else {
            connected.links.push(link);
        }
    }

    /// Takes a closed connection away; with the last one, the peer, which is returned.
    pub(super) fn remove(&mut self, peer: &PeerId, id: ConnectionId) -> Option<Connected> {
        let connected = self.by_id.get_mut(peer)?;
        // the last link stays in what is returned, for the log
        if connected.links.len() > 1 {
            connected.links.retain(|link| link.id != id);
            // whatever was surplus beside it is all that is left
            if let [last] = connected.links.as_mut_slice() {
                last.closes_at_ms = None;
            }
            return None;
        }
        self.by_number.remove(&connected.number);
        self.by_id.remove(peer)
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

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Peers that we dialled.
    pub(super) fn outbound(&self) -> usize {
        self.by_id.values().filter(|peer| peer.direction() == Direction::Outbound).count()
    }

    /// The most local place that anybody is connected from: what a rumour may name at most.
    pub(super) fn widest_scope(&self) -> Option<Scope> {
        let links = self.by_id.values().flat_map(|peer| &peer.links);
        links.map(|link| teller_scope(&link.address)).max()
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

    fn link(id: usize, direction: Direction, since_ms: u64) -> Link {
        Link {
            id: ConnectionId::new_unchecked(id),
            direction,
            address: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            since_ms,
            closes_at_ms: None,
        }
    }

    fn mirrored(direction: Direction) -> Direction {
        match direction {
            Direction::Inbound => Direction::Outbound,
            Direction::Outbound => Direction::Inbound,
        }
    }

    #[test]
    fn both_ends_close_the_same_of_two_connections() {
        use Direction::{Inbound, Outbound};
        let (a, b) = (PeerId::random(), PeerId::random());
        for (first, second) in
            [(Inbound, Inbound), (Inbound, Outbound), (Outbound, Inbound), (Outbound, Outbound)]
        {
            for apart_ms in [0, 5, SIMULTANEOUS_MS + 1] {
                let seen_by_a = (link(1, first, 0), link(2, second, apart_ms));
                let seen_by_b = (link(1, mirrored(first), 0), link(2, mirrored(second), apart_ms));
                let closed_by_a = Connected::surplus(&a, &b, &seen_by_a.0, &seen_by_a.1);
                let closed_by_b = Connected::surplus(&b, &a, &seen_by_b.0, &seen_by_b.1);
                assert_eq!(closed_by_a, closed_by_b, "{first:?} {second:?} {apart_ms}");
                if first != second && apart_ms <= SIMULTANEOUS_MS {
                    // one end may see them come up the other way round
                    let swapped = Connected::surplus(&b, &a, &seen_by_b.1, &seen_by_b.0);
                    assert_eq!(closed_by_a, swapped, "{first:?} {second:?} {apart_ms}");
                }
            }
        }
    }

    #[test]
    fn a_peer_keeps_its_number_while_any_connection_lasts() {
        let (local, peer) = (PeerId::random(), PeerId::random());
        let mut peers = Peers::default();
        peers.insert(&local, peer, link(1, Direction::Inbound, 0), 50);
        let number = peers.get(&peer).unwrap().number;
        peers.insert(&local, peer, link(2, Direction::Inbound, 5), 50);
        let marked = |peers: &Peers| {
            let links = &peers.get(&peer).unwrap().links;
            links.iter().filter(|link| link.closes_at_ms.is_some()).count()
        };
        assert_eq!(marked(&peers), 1);
        assert!(peers.remove(&peer, ConnectionId::new_unchecked(2)).is_none());
        assert_eq!(marked(&peers), 0, "the one that is left is not closed");
        assert_eq!(peers.id_of(number), Some(peer));
        let gone = peers.remove(&peer, ConnectionId::new_unchecked(1)).unwrap();
        assert_eq!(gone.number, number);
        assert_eq!(peers.id_of(number), None);
        peers.insert(&local, peer, link(3, Direction::Inbound, 9), 50);
        assert_ne!(peers.get(&peer).unwrap().number, number, "a number is never used twice");
    }
}
