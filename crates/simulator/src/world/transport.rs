//! Connections and what travels over them.

use std::{sync::Arc, time::Duration};

use ashlar_engine::{Direction, GossipData, Input, Peer, PeerConnected, RequestFailure, RequestId};
use ashlar_primitives::wire;

use super::{Event, World};
use crate::{
    invariants::Violation,
    links::{Held, Message, Pair, PairId},
    mesh::GossipMessage,
    node::{NodeId, VERDICT_DEADLINE},
    trace::Subject,
};

/// All nodes but a late one begin to dial within this time.
const FIRST_DIALS: Duration = Duration::from_secs(2);
/// Between two attempts of a dialler.
const REDIAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// After so long without a sign of life an end gives a connection up (pings each 30 s, answered
/// within 60 s).
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(90));
/// After a ticket's deadline, before its missing verdict is reported: the engine's clock counts
/// whole milliseconds.
const DEADLINE_SLACK: Duration = Duration::from_millis(2);

/// What a request is, in a trace.
pub(super) const fn request_kind(request: &wire::Request) -> &'static str {
    match request {
        wire::Request::Status(_) => "asked for status",
        wire::Request::Headers { .. } => "asked for headers",
        wire::Request::Blocks { .. } => "asked for blocks",
        wire::Request::BlockTransactions { .. } => "asked for block txs",
        wire::Request::Mempool => "asked for mempool",
        wire::Request::Transactions { .. } => "asked for txs",
    }
}

/// What an answer is, in a trace.
pub(super) const fn answer_kind(answer: &wire::Answer) -> &'static str {
    match answer {
        wire::Answer::Status(_) => "status",
        wire::Answer::Headers(_) => "headers",
        wire::Answer::Blocks(_) => "blocks",
        wire::Answer::BlockTransactions(_) => "block txs",
        wire::Answer::Mempool(_) => "mempool",
        wire::Answer::Transactions(_) => "txs",
    }
}

impl World {
    pub(super) fn schedule_first_dials(&mut self) {
        for pair in self.links.pair_ids() {
            let Pair { dialler, .. } = self.links.pair(pair);
            let start = self.scenario.start_of(dialler);
            let at = start + self.links.draw(Duration::ZERO, FIRST_DIALS);
            self.queue.push(at, Event::Dial(pair));
        }
    }

    fn redial(&mut self, pair: PairId, at: Duration) {
        let is_villain = self.is_villain(self.links.pair(pair).dialler);
        let (least, most) = if is_villain { Self::villain_returns() } else { REDIAL };
        let wait = self.links.draw(least, most);
        self.queue.push(at + wait, Event::Dial(pair));
    }

    pub(super) fn dial(&mut self, id: PairId) {
        let Pair { dialler, listener, .. } = self.links.pair(id);
        if self.links.is_cut(id, self.now) || !self.is_there(dialler) || !self.is_there(listener) {
            return self.redial(id, self.now);
        }
        // TCP and Noise: the dialler knows who is there after one and a half round trips.
        let handshakes = self.links.one_way(id) * 3;
        self.queue.push(self.now + handshakes, Event::Open(id));
    }

    pub(super) fn open(&mut self, id: PairId) -> Result<(), Violation> {
        let Pair { dialler, listener, .. } = self.links.pair(id);
        if self.links.is_cut(id, self.now) || !self.is_there(dialler) || !self.is_there(listener) {
            self.redial(id, self.now);
            return Ok(());
        }
        let peer = self.links.open(id, self.now);
        self.mesh.connected(peer, [dialler, listener]);
        self.tally.connections += 1;
        let ends =
            [(dialler, listener, Direction::Outbound), (listener, dialler, Direction::Inbound)];
        for (node, other, direction) in ends {
            if self.is_villain(node) {
                self.meets_villain(node, peer, other);
                continue;
            }
            self.node(node).peers.insert(peer);
            let connected = PeerConnected {
                peer,
                direction,
                address: format!("/ip4/10.0.0.{}/tcp/9333", other.0),
                identity: format!("simulated-{other}"),
            };
            let entry = ("connected", Subject::Number(peer.0));
            self.feed(node, entry, Input::PeerConnected(connected))?;
        }
        Ok(())
    }

    /// The keep-alive of a connection: it ends where its link is cut or an end stands still.
    pub(super) fn give_up(&mut self, peer: Peer) {
        let Some(pair) = self.links.pair_of(peer) else { return };
        let Pair { dialler, listener, .. } = self.links.pair(pair);
        let is_silent = self.links.is_cut(pair, self.now)
            || !self.is_there(dialler)
            || !self.is_there(listener);
        if is_silent {
            let (least, most) = REDIAL;
            let later = self.links.draw(least, most);
            self.close(peer, [self.now, self.now + later]);
        }
    }

    /// Schedules the keep-alive of a connection that has fallen silent.
    pub(super) fn fall_silent(&mut self, peer: Peer) {
        let wait = self.draw_keep_alive();
        self.queue.push(self.now + wait, Event::GiveUp(peer));
    }

    pub(super) fn draw_keep_alive(&mut self) -> Duration {
        let (least, most) = KEEP_ALIVE;
        self.links.draw(least, most)
    }

    /// Ends a connection: its dialler and its listener learn of it at these times.
    pub(super) fn close(&mut self, peer: Peer, [at_dialler, at_listener]: [Duration; 2]) {
        let Some(id) = self.links.pair_of(peer) else { return };
        let Some(Pair { dialler, listener, .. }) = self.links.close(peer) else { return };
        self.mesh.disconnected(peer);
        self.queue.push(at_dialler, Event::Gone { node: dialler, peer });
        self.queue.push(at_listener, Event::Gone { node: listener, peer });
        self.redial(id, at_dialler.max(at_listener));
    }

    pub(super) fn gone(&mut self, node: NodeId, peer: Peer) -> Result<(), Violation> {
        if self.is_villain(node) {
            self.leaves_villain(node, peer);
            return Ok(());
        }
        if !self.node(node).peers.remove(&peer) {
            return Ok(());
        }
        for request in self.node(node).unanswered(peer) {
            self.request_fails(node, request, RequestFailure::Closed)?;
        }
        self.feed(node, ("gone", Subject::Number(peer.0)), Input::PeerGone(peer))
    }

    /// Puts a message on its way; lost where the connection is no more.
    pub(super) fn send(&mut self, peer: Peer, to: NodeId, message: Message, size_bytes: usize) {
        if let Some(at) = self.links.arrival(peer, to, (&message, size_bytes), self.now) {
            self.queue.push(at, Event::Arrive { peer, to, message, size_bytes });
        }
    }

    /// Sends a gossip message to some of a node's neighbours.
    pub(super) fn spread(&mut self, from: NodeId, message: &Arc<GossipMessage>, to: Vec<Peer>) {
        for peer in to {
            if let Some(other) = self.links.other_end(peer, from) {
                let size_bytes = message.size_bytes;
                self.send(peer, other, Message::Gossip(Arc::clone(message)), size_bytes);
            }
        }
    }

    pub(super) fn arrive(
        &mut self,
        peer: Peer,
        to: NodeId,
        message: Message,
        size_bytes: usize,
    ) -> Result<(), Violation> {
        if self.links.pair_of(peer).is_none() {
            return Ok(());
        }
        if self.links.is_withheld(peer, to, self.now) {
            self.links.hold(Held { peer, to, message, size_bytes });
            return Ok(());
        }
        if self.is_villain(to) {
            self.villain_hears(to, peer, &message);
            return Ok(());
        }
        if !self.node(to).peers.contains(&peer) {
            return Ok(());
        }
        match message {
            Message::Gossip(message) => self.hear(peer, to, &message),
            Message::Request(theirs, request) => {
                let inbound = self.node(to).receive_request(peer, theirs);
                let entry = (request_kind(&request), Subject::Number(inbound.0));
                self.feed(to, entry, Input::Request(inbound, peer, request))
            }
            Message::Answer(request, Some(answer)) => {
                if self.node(to).conclude(request).is_none() {
                    // It came after its time.
                    return Ok(());
                }
                let entry = (answer_kind(&answer), Subject::Number(request.0));
                self.feed(to, entry, Input::Response(request, answer))
            }
            Message::Answer(request, None) => {
                self.request_fails(to, request, RequestFailure::Closed)
            }
            Message::Unreadable(request) => {
                self.request_fails(to, request, RequestFailure::Malformed)
            }
        }
    }

    fn hear(
        &mut self,
        peer: Peer,
        node: NodeId,
        message: &Arc<GossipMessage>,
    ) -> Result<(), Violation> {
        let now = self.now;
        self.tally.gossip_bytes += message.size_bytes as u64;
        if !self.mesh.receive(node, message, peer, now) {
            self.tally.gossip_repeated += 1;
            if !self.links.repeats() {
                return Ok(());
            }
        }
        self.tally.gossip_judged += 1;
        let ticket = self.node(node).issue_ticket(message.id, peer, now);
        let deadline = now + VERDICT_DEADLINE + DEADLINE_SLACK;
        self.queue.push(deadline, Event::TicketDeadline { node, ticket: ticket.id });
        let kind = match &message.data {
            GossipData::Block(_) => "heard block",
            GossipData::Transactions(_) => "heard txs",
        };
        let entry = (kind, Subject::Message(message.id));
        self.feed(node, entry, Input::Gossip(ticket, message.data.clone()))
    }

    /// A request ends without an answer, unless it ended before.
    pub(super) fn request_fails(
        &mut self,
        node: NodeId,
        request: RequestId,
        failure: RequestFailure,
    ) -> Result<(), Violation> {
        if self.node(node).conclude(request).is_none() {
            return Ok(());
        }
        self.tally.requests_failed += 1;
        let entry = ("request failed", Subject::Number(request.0));
        self.feed(node, entry, Input::RequestFailed(request, failure))
    }

    /// Between honest nodes only trouble excuses a missing answer.
    pub(super) fn request_deadline(
        &mut self,
        node: NodeId,
        request: RequestId,
    ) -> Result<(), Violation> {
        let now = self.now;
        let Some(asked) = self.node(node).asked(request) else { return Ok(()) };
        if let Some(other) = self.links.other_end(asked.peer, node) {
            let pair = self.links.pair_of(asked.peer);
            let is_excused = pair.is_some_and(|pair| self.links.was_troubled(pair, asked.at, now));
            if !is_excused && !self.is_villain(other) {
                return Err(Violation::NoAnswer { node, other, request: request.0 });
            }
        }
        self.request_fails(node, request, RequestFailure::Timeout)
    }
}
