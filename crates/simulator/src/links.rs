//! Connections between nodes: who is linked to whom, how long messages travel, what a cut does.
//!
//! A connection is a TCP stream: in each direction nothing overtakes and nothing is lost while it
//! lives. A cut link therefore only delays; what makes a cut felt is that requests time out, and
//! that in the end both sides give the connection up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ashlar_engine::{Peer, RequestId};
use ashlar_primitives::wire;
use rand::RngExt;

use crate::{
    mesh::GossipMessage,
    node::NodeId,
    random::{Purpose, Random, between, exponential, stream},
    scenario::{Partition, Scenario},
};

/// Something on its way from one end of a connection to the other.
#[derive(Debug)]
pub enum Message {
    /// Passed on or published.
    Gossip(Arc<GossipMessage>),
    /// A question, under the asker's number.
    Request(RequestId, wire::Request),
    /// The answer to the question of that number; `None`: refused.
    Answer(RequestId, Option<wire::Answer>),
}

/// Two nodes of which one keeps dialling the other.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Who dials.
    pub dialler: NodeId,
    /// Who is dialled.
    pub listener: NodeId,
    /// Every message takes at least so long, one way.
    latency: Duration,
}

/// A connection that neither end has given up.
#[derive(Debug)]
pub struct Connection {
    /// Which pair.
    pub pair: PairId,
    /// When the last message arrives at the dialler and at the listener.
    last_arrival: [Duration; 2],
    /// What arrived while the link was cut: sent again after it healed.
    held: Vec<(NodeId, Message)>,
}

/// The place of a pair in the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairId(pub usize);

/// All links of the world.
#[derive(Debug)]
pub struct Links {
    random: Random,
    jitter: Duration,
    pairs: Vec<Pair>,
    connections: BTreeMap<Peer, Connection>,
    next_connection: u64,
    partition: Partition,
    is_cut: bool,
}

impl Links {
    /// Chooses who dials whom, so that the whole is connected: every node but the first dials at
    /// least one that stands before it.
    pub fn new(scenario: &Scenario) -> Self {
        let mut random = stream(scenario.seed, Purpose::Links);
        let mut chosen = BTreeSet::new();
        for node in 1..scenario.nodes {
            chosen.insert((random.random_range(0..node), node));
        }
        let outbound = scenario.outbound.min(scenario.nodes - 1);
        for node in 0..scenario.nodes {
            for _ in 0..outbound {
                let other = random.random_range(0..scenario.nodes);
                if other != node {
                    chosen.insert((other.min(node), other.max(node)));
                }
            }
        }
        let (least, most) = (scenario.latency.least, scenario.latency.most);
        let pairs = chosen
            .into_iter()
            .map(|(a, b)| {
                let (dialler, listener) = if random.random() { (a, b) } else { (b, a) };
                let latency = between(&mut random, least, most);
                Pair { dialler: NodeId(dialler), listener: NodeId(listener), latency }
            })
            .collect();
        Self {
            random,
            jitter: scenario.latency.jitter,
            pairs,
            connections: BTreeMap::new(),
            next_connection: 1,
            partition: scenario.partition.clone(),
            is_cut: false,
        }
    }

    /// All pairs, in order.
    pub fn pair_ids(&self) -> impl Iterator<Item = PairId> + use<> {
        (0..self.pairs.len()).map(PairId)
    }

    /// One of them.
    ///
    /// # Panics
    /// On an id that [`Links::pair_ids`] did not give.
    pub fn pair(&self, id: PairId) -> Pair {
        self.pairs[id.0]
    }

    /// Whether nothing gets through between the two now.
    pub fn is_cut(&self, id: PairId) -> bool {
        self.is_cut && self.crosses(id)
    }

    /// Whether nothing got through at some moment since `since`, or does not now.
    pub fn was_cut_since(&self, id: PairId, since: Duration, now: Duration) -> bool {
        self.crosses(id) && since <= self.partition.until && now >= self.partition.from
    }

    fn crosses(&self, id: PairId) -> bool {
        let Pair { dialler, listener, .. } = self.pair(id);
        self.partition.far.get(dialler.0) != self.partition.far.get(listener.0)
    }

    /// A span drawn for the links' own affairs (back-offs, keep-alive).
    pub fn draw(&mut self, least: Duration, most: Duration) -> Duration {
        between(&mut self.random, least, most)
    }

    /// How long a message takes on a link now.
    pub fn one_way(&mut self, id: PairId) -> Duration {
        self.pair(id).latency + exponential(&mut self.random, self.jitter)
    }

    /// A new connection, which both ends call by the number that this returns.
    pub fn open(&mut self, pair: PairId, now: Duration) -> Peer {
        let peer = Peer(self.next_connection);
        self.next_connection += 1;
        let connection = Connection { pair, last_arrival: [now; 2], held: Vec::new() };
        self.connections.insert(peer, connection);
        peer
    }

    /// Gives a connection up; what was on its way is lost. `None`: it was given up before.
    pub fn close(&mut self, peer: Peer) -> Option<Pair> {
        let connection = self.connections.remove(&peer)?;
        Some(self.pair(connection.pair))
    }

    /// Which pair a living connection belongs to.
    pub fn pair_of(&self, peer: Peer) -> Option<PairId> {
        self.connections.get(&peer).map(|connection| connection.pair)
    }

    /// The node at the other end of a living connection.
    pub fn other_end(&self, peer: Peer, node: NodeId) -> Option<NodeId> {
        let Pair { dialler, listener, .. } = self.pair(self.pair_of(peer)?);
        Some(if node == dialler { listener } else { dialler })
    }

    /// When what is sent to `to` now arrives there: after everything that was sent before.
    /// `None`: the connection is no more.
    pub fn arrival(&mut self, peer: Peer, to: NodeId, now: Duration) -> Option<Duration> {
        let pair = self.pair_of(peer)?;
        let one_way = self.one_way(pair);
        let dialler = self.pair(pair).dialler;
        let [at_dialler, at_listener] = &mut self.connections.get_mut(&peer)?.last_arrival;
        let last = if to == dialler { at_dialler } else { at_listener };
        *last = (*last).max(now + one_way);
        Some(*last)
    }

    /// Keeps what can't arrive because the link is cut; lost where the connection is no more.
    pub fn hold(&mut self, peer: Peer, to: NodeId, message: Message) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.held.push((to, message));
        }
    }

    /// Cuts the links between the sides. Returns the connections that cross.
    pub fn cut(&mut self) -> Vec<Peer> {
        self.is_cut = true;
        let crossing = |pair| self.crosses(pair);
        let connections = self.connections.iter();
        connections.filter(|(_, c)| crossing(c.pair)).map(|(peer, _)| *peer).collect()
    }

    /// Mends them. Returns what was held, to be sent again in this order.
    pub fn heal(&mut self) -> Vec<(Peer, NodeId, Message)> {
        self.is_cut = false;
        let mut held = Vec::new();
        for (peer, connection) in &mut self.connections {
            held.extend(connection.held.drain(..).map(|(to, message)| (*peer, to, message)));
        }
        held
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn links() -> (Scenario, Links) {
        let scenario = Scenario::draw(3, Some(20), None);
        let links = Links::new(&scenario);
        (scenario, links)
    }

    #[test]
    fn every_node_reaches_every_other() {
        let (scenario, links) = links();
        let mut reached = BTreeSet::from([0]);
        for _ in 0..scenario.nodes {
            for id in links.pair_ids() {
                let Pair { dialler, listener, .. } = links.pair(id);
                if reached.contains(&dialler.0) || reached.contains(&listener.0) {
                    reached.extend([dialler.0, listener.0]);
                }
            }
        }
        assert_eq!(reached.len(), scenario.nodes);
    }

    #[test]
    fn nothing_overtakes_on_a_connection() {
        let (_, mut links) = links();
        let pair = PairId(0);
        let peer = links.open(pair, Duration::ZERO);
        let to = links.pair(pair).listener;
        let arrivals: Vec<_> = (0..200)
            .map(|millis| links.arrival(peer, to, Duration::from_millis(millis)).unwrap())
            .collect();
        assert!(arrivals.is_sorted());
        assert!(links.close(peer).is_some());
        assert_eq!(links.arrival(peer, to, Duration::from_secs(1)), None);
    }

    #[test]
    fn a_cut_separates_the_sides_and_only_them() {
        let (scenario, mut links) = links();
        let opened: Vec<_> =
            links.pair_ids().map(|pair| (links.open(pair, Duration::ZERO), pair)).collect();
        let crossing = links.cut();
        assert!(!crossing.is_empty());
        for (peer, pair) in &opened {
            let Pair { dialler, listener, .. } = links.pair(*pair);
            let crosses = scenario.partition.far[dialler.0] != scenario.partition.far[listener.0];
            assert_eq!(crossing.contains(peer), crosses);
            assert_eq!(links.is_cut(*pair), crosses);
        }
        let (peer, to) = (crossing[0], links.pair(links.pair_of(crossing[0]).unwrap()).dialler);
        links.hold(peer, to, Message::Answer(RequestId(1), None));
        links.hold(peer, to, Message::Answer(RequestId(2), None));
        let held = links.heal();
        assert!(matches!(
            held.as_slice(),
            [
                (_, _, Message::Answer(RequestId(1), None)),
                (_, _, Message::Answer(RequestId(2), None))
            ]
        ));
        assert!(opened.iter().all(|(_, pair)| !links.is_cut(*pair)));
    }
}
