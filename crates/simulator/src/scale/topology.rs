//! Who is connected to whom, and over which connections gossip goes.

use std::{collections::BTreeSet, time::Duration};

use ashlar_engine::Peer;
use rand::{RngExt, seq::SliceRandom as _};

use super::{
    home::Home,
    node::{HomeNode, Lane, LinkId},
};
use crate::random::Random;

/// How many others each node dials.
const OUTBOUND: usize = 8;
/// Connections that a node takes in (the node's own default).
const MAX_INBOUND: usize = 117;
/// Gossipsub's `D`: up to so many mesh neighbours are taken at first.
const MESH_WANTED: usize = 8;
/// Below so many a node takes others (`D_low`).
const MESH_LOW: usize = 6;
/// Up to so many it lets others in (`D_high`).
const MESH_HIGH: usize = 12;

/// Two nodes of which one dials the other, and their connection.
#[derive(Debug)]
pub struct Link {
    /// Who dials, who is dialled.
    pub ends: [usize; 2],
    /// One way, before chance adds to it.
    pub latency: Duration,
    /// Counts connections: each has a number of its own.
    generation: u32,
    /// Whether there is one now.
    pub is_up: bool,
    /// When the last message of a lane arrives at an end: `[end][lane]`.
    last_arrival: [[Duration; 2]; 2],
}

impl Link {
    /// The number of its present connection, of which [`link_of`] is the inverse.
    pub fn peer(&self, id: LinkId) -> Peer {
        Peer((u64::from(self.generation) << 32) | id as u64)
    }

    /// A new connection.
    pub fn open(&mut self) {
        self.generation += 1;
        self.is_up = true;
    }

    /// The end that is not `node`.
    pub const fn other(&self, node: usize) -> usize {
        let [dialler, listener] = self.ends;
        if node == dialler { listener } else { dialler }
    }

    /// When what would come at `at` comes: nothing overtakes within a lane.
    pub fn arrive(&mut self, to: usize, lane: Lane, at: Duration) -> Duration {
        let end = usize::from(to == self.ends[1]);
        let last = &mut self.last_arrival[end][lane as usize];
        *last = (*last).max(at);
        *last
    }
}

/// The link that a connection belongs to.
pub const fn link_of(peer: Peer) -> LinkId {
    (peer.0 & 0xffff_ffff) as LinkId
}

/// Every node dials some that can be reached; the first of these nodes can.
pub fn dial(homes: &[Home], random: &mut Random) -> Vec<Link> {
    let reachable: Vec<usize> =
        (0..homes.len()).filter(|node| *node == 0 || homes[*node].is_reachable).collect();
    let mut inbound = vec![0; homes.len()];
    let mut links = Vec::new();
    let mut linked = BTreeSet::new();
    for node in 0..homes.len() {
        let mut dialled = 0;
        // In a small net there may be too few to dial.
        for _ in 0..OUTBOUND * 8 {
            let other = reachable[random.random_range(0..reachable.len())];
            let pair = (node.min(other), node.max(other));
            if other != node && inbound[other] < MAX_INBOUND && linked.insert(pair) {
                let latency = homes[node].latency(&homes[other]);
                inbound[other] += 1;
                dialled += 1;
                links.push(Link {
                    ends: [node, other],
                    latency,
                    generation: 0,
                    is_up: false,
                    last_arrival: [[Duration::ZERO; 2]; 2],
                });
            }
            if dialled == OUTBOUND {
                break;
            }
        }
    }
    links
}

/// Makes the mesh of a net: as gossipsub has it after its first heartbeats.
pub fn weave(nodes: &mut [HomeNode], links: &[Link], random: &mut Random) {
    let mut order: Vec<LinkId> = (0..links.len()).collect();
    order.shuffle(random);
    let degree = |nodes: &[HomeNode], node: usize| nodes[node].mesh.len();
    // First whoever has room, then whoever needs it, then whoever has nobody else.
    let may_graft: [fn(usize, usize) -> bool; 3] = [
        |a, b| a < MESH_WANTED && b < MESH_WANTED,
        |a, b| a.min(b) < MESH_LOW && a.max(b) < MESH_HIGH,
        |a, b| a.min(b) < MESH_LOW / 2,
    ];
    for may in may_graft {
        for link in &order {
            let [a, b] = links[*link].ends;
            if links[*link].is_up
                && !nodes[a].mesh.contains(link)
                && may(degree(nodes, a), degree(nodes, b))
            {
                nodes[a].mesh.push(*link);
                nodes[b].mesh.push(*link);
            }
        }
    }
}

/// Takes links that are down out of the mesh.
pub fn unravel(nodes: &mut [HomeNode], links: &[Link]) {
    for node in nodes {
        node.mesh.retain(|link| links[*link].is_up);
    }
}
