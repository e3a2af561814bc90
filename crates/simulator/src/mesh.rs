//! A model of gossipsub: who passes what on to whom.
//!
//! It keeps what decides which node hears of a message from whom: a mesh of bounded degree over
//! the connections, the suppression of what was heard before, passing on only after an Accept,
//! and never back to who had it. Control messages (GRAFT, PRUNE) take no time. There is no lazy
//! gossip: what the mesh does not bring, engines must find out by asking.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use ashlar_engine::{GossipData, Peer};
use ashlar_primitives::wire;

use crate::{
    node::NodeId,
    readable::{self, Fault},
};

/// Below so many mesh neighbours a node takes another one (gossipsub's `D_low`).
pub const MESH_LOW: usize = 6;
/// Up to so many it lets others in (`D_high`).
pub const MESH_HIGH: usize = 12;
/// How long a message is known as heard before.
pub const SEEN_FOR: Duration = Duration::from_secs(120);

/// SHA-256 of the data (PROTOCOL.md §12).
pub type MessageId = [u8; 32];

/// Gossip on its way; every node that has it shares it.
#[derive(Debug)]
pub struct GossipMessage {
    /// The id by which it is known as heard.
    pub id: MessageId,
    /// What it says.
    pub data: GossipData,
    /// Length of its encoding.
    pub size_bytes: usize,
}

impl GossipMessage {
    /// What a node publishes; `Err`: no receiver could read it.
    pub fn new(data: GossipData) -> Result<Arc<Self>, Fault> {
        let bytes = readable::gossip(&data)?;
        Ok(Arc::new(Self { id: wire::message_id(&bytes), data, size_bytes: bytes.len() }))
    }
}

/// A message that a node has heard of.
struct Heard {
    message: Arc<GossipMessage>,
    /// From whom, and so to whom it must not be sent.
    from: BTreeSet<Peer>,
}

/// One node's part of the mesh.
#[derive(Default)]
struct Member {
    neighbours: BTreeSet<Peer>,
    heard: BTreeMap<MessageId, Heard>,
    /// In order of hearing, so that forgetting is cheap.
    order: VecDeque<(Duration, MessageId)>,
}

impl Member {
    /// Whether the message is new here. Either way `from` is known to have it.
    fn hears(&mut self, message: &Arc<GossipMessage>, from: Option<Peer>, now: Duration) -> bool {
        while let Some((at, id)) = self.order.front().copied() {
            if at + SEEN_FOR > now {
                break;
            }
            self.order.pop_front();
            self.heard.remove(&id);
        }
        if let Some(heard) = self.heard.get_mut(&message.id) {
            heard.from.extend(from);
            return false;
        }
        let heard = Heard { message: Arc::clone(message), from: from.into_iter().collect() };
        self.heard.insert(message.id, heard);
        self.order.push_back((now, message.id));
        true
    }
}

/// The whole mesh.
#[derive(Default)]
pub struct Mesh {
    members: BTreeMap<NodeId, Member>,
    connections: BTreeMap<Peer, [NodeId; 2]>,
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let degrees = self.members.iter().map(|(node, member)| (node, member.neighbours.len()));
        f.debug_map().entries(degrees).finish()
    }
}

impl Mesh {
    /// A connection is up: the two become neighbours where one needs another neighbour, or both
    /// have room.
    pub fn connected(&mut self, peer: Peer, ends: [NodeId; 2]) {
        self.connections.insert(peer, ends);
        let degrees = ends.map(|node| self.degree(node));
        let wanted = degrees.iter().any(|degree| *degree < MESH_LOW);
        if wanted || degrees.iter().all(|degree| *degree < MESH_HIGH) {
            self.graft(peer, ends);
        }
    }

    /// A connection is down; an end left with few neighbours takes others from its connections.
    pub fn disconnected(&mut self, peer: Peer) {
        let Some(ends) = self.connections.remove(&peer) else { return };
        for node in ends {
            if let Some(member) = self.members.get_mut(&node) {
                member.neighbours.remove(&peer);
            }
        }
        for node in ends {
            let candidates: Vec<_> = self
                .connections
                .iter()
                .filter(|(other, ends)| ends.contains(&node) && !self.is_neighbour(node, **other))
                .map(|(other, ends)| (*other, *ends))
                .collect();
            for (other, ends) in candidates {
                if self.degree(node) < MESH_LOW {
                    self.graft(other, ends);
                }
            }
        }
    }

    /// The node publishes a message of its own. Returns to whom it goes: all mesh neighbours, or
    /// nobody where it was heard before.
    pub fn publish(
        &mut self,
        node: NodeId,
        message: &Arc<GossipMessage>,
        now: Duration,
    ) -> Vec<Peer> {
        let member = self.members.entry(node).or_default();
        match member.hears(message, None, now) {
            true => member.neighbours.iter().copied().collect(),
            false => Vec::new(),
        }
    }

    /// A message arrives. `true`: it is new, so that the node must judge it.
    pub fn receive(
        &mut self,
        node: NodeId,
        message: &Arc<GossipMessage>,
        from: Peer,
        now: Duration,
    ) -> bool {
        self.members.entry(node).or_default().hears(message, Some(from), now)
    }

    /// The node accepted a message. Returns it, and to whom it is passed on: mesh neighbours who
    /// did not send it here themselves meanwhile. `None`: it was forgotten before.
    pub fn accept(&self, node: NodeId, id: &MessageId) -> Option<(Arc<GossipMessage>, Vec<Peer>)> {
        let member = self.members.get(&node)?;
        let heard = member.heard.get(id)?;
        let onward = member.neighbours.difference(&heard.from).copied().collect();
        Some((Arc::clone(&heard.message), onward))
    }

    fn degree(&self, node: NodeId) -> usize {
        self.members.get(&node).map_or(0, |member| member.neighbours.len())
    }

    fn is_neighbour(&self, node: NodeId, peer: Peer) -> bool {
        self.members.get(&node).is_some_and(|member| member.neighbours.contains(&peer))
    }

    fn graft(&mut self, peer: Peer, ends: [NodeId; 2]) {
        for node in ends {
            self.members.entry(node).or_default().neighbours.insert(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn message() -> Arc<GossipMessage> {
        let data = GossipData::Transactions(Arc::new(Vec::new()));
        Arc::new(GossipMessage { id: [1; 32], data, size_bytes: 2 })
    }

    /// Node 0 with connections 1, 2, 3 to the nodes 1, 2, 3.
    fn star() -> Mesh {
        let mut mesh = Mesh::default();
        for other in 1..=3 {
            mesh.connected(Peer(other as u64), [NodeId(0), NodeId(other)]);
        }
        mesh
    }

    #[test]
    fn passed_on_once_and_never_back() {
        let (mut mesh, message) = (star(), message());
        let now = Duration::from_secs(1);
        assert!(mesh.receive(NodeId(0), &message, Peer(1), now));
        // The same from another neighbour while the first is being judged.
        assert!(!mesh.receive(NodeId(0), &message, Peer(2), now));
        let (passed, onward) = mesh.accept(NodeId(0), &message.id).unwrap();
        assert_eq!((passed.id, onward), (message.id, vec![Peer(3)]));
        assert_eq!(mesh.publish(NodeId(0), &message, now), []);
        assert_eq!(mesh.publish(NodeId(1), &message, now), [Peer(1)]);
    }

    #[test]
    fn what_was_heard_is_forgotten_in_time() {
        let (mut mesh, message) = (star(), message());
        assert!(mesh.receive(NodeId(0), &message, Peer(1), Duration::ZERO));
        let before = SEEN_FOR - Duration::from_micros(1);
        assert!(!mesh.receive(NodeId(0), &message, Peer(1), before));
        assert!(mesh.receive(NodeId(0), &message, Peer(1), SEEN_FOR));
    }

    #[test]
    fn degrees_stay_between_the_bounds() {
        let mut mesh = Mesh::default();
        // Node 0 is dialled by 20 others which all know one another.
        let mut number = 0;
        for a in 0..=20 {
            for b in 0..a {
                number += 1;
                mesh.connected(Peer(number), [NodeId(a), NodeId(b)]);
            }
        }
        // Each of the last few joins by need, whatever the others have.
        assert!((0..=20).all(|node| mesh.degree(NodeId(node)) >= MESH_LOW));
        assert!(mesh.degree(NodeId(20)) <= MESH_HIGH);
        let neighbours: Vec<_> = mesh.members[&NodeId(20)].neighbours.iter().copied().collect();
        for peer in neighbours {
            mesh.disconnected(peer);
        }
        assert!(mesh.degree(NodeId(20)) >= MESH_LOW, "{mesh:?}");
    }
}
