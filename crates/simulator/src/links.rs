//! Connections between nodes: who is linked to whom, how long messages travel, what a cut does.
//!
//! A connection is a TCP stream: nothing is lost while it lives, and gossip does not overtake
//! gossip. Requests and answers have streams of their own inside it, and may. A lost packet or a
//! cut link therefore only delays; what makes a cut felt is that requests time out, and that in
//! the end both sides give the connection up. What a node sends leaves over one uplink.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ashlar_engine::{Peer, RequestId};
use ashlar_primitives::wire;
use rand::RngExt;

use crate::{
    faults::{Fault, FaultKind},
    mesh::GossipMessage,
    node::NodeId,
    random::{Purpose, Random, between, exponential, stream},
    scenario::{LinkQuality, Scenario},
};

/// The first wait before a lost packet is sent again; it doubles.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// A packet is lost so often in a row at most.
const MAX_LOSSES: u32 = 4;
/// Who has so much waiting for its uplink is late, and nobody wonders.
const CONGESTION: Duration = Duration::from_secs(1);

/// Something on its way from one end of a connection to the other.
#[derive(Debug)]
pub enum Message {
    /// Passed on or published.
    Gossip(Arc<GossipMessage>),
    /// A question, under the asker's number.
    Request(RequestId, wire::Request),
    /// The answer to the question of that number; `None`: refused.
    Answer(RequestId, Option<wire::Answer>),
    /// An answer that no receiver can read: from nobody honest.
    Unreadable(RequestId),
}

/// A message that could not arrive because the link was cut.
#[derive(Debug)]
pub struct Held {
    /// Over which connection.
    pub peer: Peer,
    /// For whom.
    pub to: NodeId,
    /// What.
    pub message: Message,
    /// Length of its encoding.
    pub size_bytes: usize,
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
    held: Vec<Held>,
}

/// The place of a pair in the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairId(pub usize);

/// All links of the world.
#[derive(Debug)]
pub struct Links {
    random: Random,
    quality: LinkQuality,
    pairs: Vec<Pair>,
    connections: BTreeMap<Peer, Connection>,
    next_connection: u64,
    faults: Vec<Fault>,
    uplinks: Vec<Uplink>,
}

/// What a node can send.
#[derive(Clone, Copy, Debug)]
struct Uplink {
    bytes_per_second: u64,
    /// When what waits has left.
    free_at: Duration,
    /// When so much waited last that it was late.
    congested_at: Option<Duration>,
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
        // Nobody depends on a villain: they come in addition.
        for (index, villain) in scenario.villains.iter().enumerate() {
            for victim in &villain.victims {
                chosen.insert((victim.0, scenario.nodes + index));
            }
        }
        let quality = scenario.links;
        let (least, most) = (quality.least, quality.most);
        let pairs = chosen
            .into_iter()
            .map(|(a, b)| {
                let is_villain = b >= scenario.nodes;
                let (dialler, listener) = match is_villain || random.random() {
                    true => (b, a),
                    false => (a, b),
                };
                let latency = between(&mut random, least, most);
                Pair { dialler: NodeId(dialler), listener: NodeId(listener), latency }
            })
            .collect();
        let uplinks = (0..scenario.nodes + scenario.villains.len())
            .map(|_| Uplink {
                bytes_per_second: random.random_range(quality.uplink_least..=quality.uplink_most),
                free_at: Duration::ZERO,
                congested_at: None,
            })
            .collect();
        Self {
            random,
            quality,
            pairs,
            connections: BTreeMap::new(),
            next_connection: 1,
            faults: scenario.faults.clone(),
            uplinks,
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

    /// Whether nothing gets through from one end to the other, or back.
    pub fn is_cut(&self, id: PairId, now: Duration) -> bool {
        let Pair { dialler, listener, .. } = self.pair(id);
        self.is_blocked(dialler, listener, now) || self.is_blocked(listener, dialler, now)
    }

    /// Whether nothing gets through in one direction.
    fn is_blocked(&self, from: NodeId, to: NodeId, now: Duration) -> bool {
        self.faults.iter().any(|fault| fault.is_active(now) && fault.blocks(from, to))
    }

    /// Whether what came over a connection to `to` can't arrive now.
    pub fn is_withheld(&self, peer: Peer, to: NodeId, now: Duration) -> bool {
        self.other_end(peer, to).is_some_and(|from| self.is_blocked(from, to, now))
    }

    /// Whether something was wrong between the two ends at some moment since `since`, so that
    /// neither can be blamed for silence.
    pub fn was_troubled(&self, id: PairId, since: Duration, now: Duration) -> bool {
        let Pair { dialler, listener, .. } = self.pair(id);
        let is_late = |node: NodeId| {
            let at = self.uplinks.get(node.0).and_then(|uplink| uplink.congested_at);
            at.is_some_and(|at| at >= since)
        };
        let mut faults = self.faults.iter().filter(|fault| fault.overlaps(since, now));
        is_late(dialler) || is_late(listener) || faults.any(|it| it.is_felt(dialler, listener))
    }

    /// A span drawn for the links' own affairs (back-offs, keep-alive).
    pub fn draw(&mut self, least: Duration, most: Duration) -> Duration {
        between(&mut self.random, least, most)
    }

    /// How long a small message takes on a link now.
    pub fn one_way(&mut self, id: PairId) -> Duration {
        let mut time = self.pair(id).latency + exponential(&mut self.random, self.quality.jitter);
        let mut wait = RETRANSMISSION;
        for _ in 0..MAX_LOSSES {
            if !self.happens(self.quality.loss_per_mille) {
                break;
            }
            time += wait;
            wait *= 2;
        }
        time
    }

    /// Whether something happens that does so in so many cases of a thousand.
    fn happens(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.random.random_range(0..1_000) < per_mille
    }

    /// Whether a node is given gossip again that it has heard before.
    pub fn repeats(&mut self) -> bool {
        self.happens(self.quality.repeat_per_mille)
    }

    /// How long something waits for its sender's uplink, and takes to leave.
    fn leave(&mut self, from: NodeId, size_bytes: usize, now: Duration) -> Duration {
        let clogs = self.faults.iter().filter(|fault| fault.is_active(now));
        let late = clogs.filter_map(|fault| match fault.kind {
            FaultKind::Clog { node, delay } if node == from => Some(delay),
            _ => None,
        });
        let late: Duration = late.sum();
        let Some(uplink) = self.uplinks.get_mut(from.0) else { return late };
        let micros = (size_bytes as u64).saturating_mul(1_000_000) / uplink.bytes_per_second;
        uplink.free_at = uplink.free_at.max(now) + Duration::from_micros(micros);
        let wait = uplink.free_at - now;
        if wait > CONGESTION {
            uplink.congested_at = Some(uplink.free_at);
        }
        late + wait
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

    /// When what is sent to `to` now arrives there: gossip after everything that was sent before,
    /// the rest usually. `None`: the connection is no more.
    pub fn arrival(
        &mut self,
        peer: Peer,
        to: NodeId,
        (message, size_bytes): (&Message, usize),
        now: Duration,
    ) -> Option<Duration> {
        let pair = self.pair_of(peer)?;
        let Pair { dialler, listener, .. } = self.pair(pair);
        let from = if to == dialler { listener } else { dialler };
        let at = now + self.leave(from, size_bytes, now) + self.one_way(pair);
        let overtakes =
            !matches!(message, Message::Gossip(_)) && self.happens(self.quality.reorder_per_mille);
        let [at_dialler, at_listener] = &mut self.connections.get_mut(&peer)?.last_arrival;
        let last = if to == dialler { at_dialler } else { at_listener };
        if overtakes {
            return Some(at);
        }
        *last = (*last).max(at);
        Some(*last)
    }

    /// Keeps what can't arrive because the link is cut; lost where the connection is no more.
    pub fn hold(&mut self, held: Held) {
        if let Some(connection) = self.connections.get_mut(&held.peer) {
            connection.held.push(held);
        }
    }

    /// What was held on links that are not cut now, to be sent again in this order.
    pub fn release(&mut self, now: Duration) -> Vec<Held> {
        let mut free = Vec::new();
        let peers: Vec<Peer> = self.connections.keys().copied().collect();
        for peer in peers {
            let Some(connection) = self.connections.get_mut(&peer) else { continue };
            let waiting = std::mem::take(&mut connection.held);
            for held in waiting {
                match self.is_withheld(peer, held.to, now) {
                    true => self.hold(held),
                    false => free.push(held),
                }
            }
        }
        free
    }

    /// The living connections that a fault can be felt on.
    pub fn touched_by(&self, fault: &Fault) -> Vec<Peer> {
        let touched = |connection: &&Connection| {
            let Pair { dialler, listener, .. } = self.pair(connection.pair);
            fault.is_felt(dialler, listener)
        };
        let connections = self.connections.iter();
        connections.filter(|(_, it)| touched(it)).map(|(peer, _)| *peer).collect()
    }

    /// The living connections of a node.
    pub fn of(&self, node: NodeId) -> Vec<Peer> {
        let is_of = |connection: &&Connection| {
            let Pair { dialler, listener, .. } = self.pair(connection.pair);
            [dialler, listener].contains(&node)
        };
        let connections = self.connections.iter();
        connections.filter(|(_, it)| is_of(it)).map(|(peer, _)| *peer).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::faults::Way;

    const LATE: Duration = Duration::from_secs(50);

    /// Links of twenty nodes of which the first four are cut off from second 10 to second 20.
    fn links() -> (Scenario, Links) {
        let mut scenario = Scenario::draw(3, Some(20), None);
        let far = (0..20).map(|node| node < 4).collect();
        let kind = FaultKind::Cut { far, way: Way::Both, silent: true };
        let [from, until] = [10, 20].map(Duration::from_secs);
        scenario.faults = vec![Fault { from, until, kind }];
        scenario.villains.clear();
        scenario.links.reorder_per_mille = 0;
        let links = Links::new(&scenario);
        (scenario, links)
    }

    fn refusal(number: u64) -> Message {
        Message::Answer(RequestId(number), None)
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
    fn nothing_overtakes_where_nothing_may() {
        let (_, mut links) = links();
        let pair = PairId(0);
        let peer = links.open(pair, Duration::ZERO);
        let to = links.pair(pair).listener;
        let mut arrive =
            |at| links.arrival(peer, to, (&refusal(1), 100), Duration::from_millis(at));
        let arrivals: Vec<_> = (0..200).map(|millis| arrive(millis).unwrap()).collect();
        assert!(arrivals.is_sorted());
        assert!(links.close(peer).is_some());
        assert_eq!(links.arrival(peer, to, (&refusal(1), 100), LATE), None);
    }

    #[test]
    fn an_uplink_carries_so_much_a_second() {
        let (_, mut links) = links();
        let pair = PairId(0);
        let peer = links.open(pair, Duration::ZERO);
        let Pair { dialler, listener, .. } = links.pair(pair);
        links.uplinks[dialler.0].bytes_per_second = 1_000;
        let arrives = links.arrival(peer, listener, (&refusal(1), 5_000), Duration::ZERO);
        assert!(arrives.unwrap() >= Duration::from_secs(5));
        assert!(links.was_troubled(pair, Duration::ZERO, Duration::from_secs(1)));
    }

    #[test]
    fn a_cut_separates_the_sides_and_only_them() {
        let (scenario, mut links) = links();
        let opened: Vec<_> =
            links.pair_ids().map(|pair| (links.open(pair, Duration::ZERO), pair)).collect();
        let crossing = links.touched_by(&scenario.faults[0]);
        assert!(!crossing.is_empty());
        let now = Duration::from_secs(15);
        for (peer, pair) in &opened {
            let Pair { dialler, listener, .. } = links.pair(*pair);
            let crosses = (dialler.0 < 4) != (listener.0 < 4);
            assert_eq!(crossing.contains(peer), crosses);
            assert_eq!(links.is_cut(*pair, now), crosses);
            assert!(!links.is_cut(*pair, LATE));
        }
        let (peer, to) = (crossing[0], links.pair(links.pair_of(crossing[0]).unwrap()).dialler);
        for number in [1, 2] {
            links.hold(Held { peer, to, message: refusal(number), size_bytes: 9 });
        }
        assert!(links.release(now).is_empty());
        let held = links.release(LATE).into_iter().map(|held| match held.message {
            Message::Answer(number, None) => number.0,
            _ => 0,
        });
        assert_eq!(held.collect::<Vec<_>>(), [1, 2]);
    }
}
