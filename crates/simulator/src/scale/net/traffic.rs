//! Messages: what waits for its sender's uplink, what is on its way, what arrives.

use std::{sync::Arc, time::Duration};

use ashlar_engine::{GossipData, Input, Peer, RequestFailure, RequestId};
use ashlar_primitives::wire;

use super::{Broken, Event, Net};
use crate::{
    mesh::GossipMessage,
    node::REQUEST_TIMEOUT,
    scale::{
        home::time_for,
        node::{Heard, Lane, LinkId, Message, MessageId, Outgoing},
        topology::link_of,
    },
};

/// Gossip that waited longer for its sender's uplink is dropped (the network's own patience).
const GOSSIP_PATIENCE: Duration = Duration::from_secs(5);
/// From so many bytes on a node tells its neighbours that it has a message, so that they need not
/// send it (gossipsub's IDONTWANT).
const IDONTWANT_BYTES: u64 = 1_000;
/// The network gives an answer a second more for each such part.
const BYTES_PER_SECOND_OF_PATIENCE: u64 = 262_144;

impl Net {
    pub(super) fn request(
        &mut self,
        node: usize,
        id: RequestId,
        peer: Peer,
        request: wire::Request,
    ) {
        let is_large = matches!(
            request,
            wire::Request::Blocks { .. }
                | wire::Request::BlockTransactions { .. }
                | wire::Request::Transactions { .. }
        );
        if matches!(request, wire::Request::BlockTransactions { .. }) {
            self.outcome.blocks_incomplete += 1;
        }
        let seconds = self.experiment.block_bytes / BYTES_PER_SECOND_OF_PATIENCE;
        let more = if is_large { Duration::from_secs(seconds) } else { Duration::ZERO };
        self.nodes[node].asked.insert(id, peer);
        let deadline = self.now + REQUEST_TIMEOUT + more;
        self.queue.push(deadline, Event::Deadline { node, request: id });
        let size_bytes = self.weight.request(&request);
        self.send(node, peer, Message::Request(id, Arc::new(request)), size_bytes);
    }

    pub(super) fn request_fails(
        &mut self,
        node: usize,
        request: RequestId,
        failure: RequestFailure,
    ) -> Result<(), Broken> {
        if self.nodes[node].asked.remove(&request).is_none() {
            return Ok(());
        }
        self.outcome.requests_failed += 1;
        self.feed(node, Input::RequestFailed(request, failure))
    }

    pub(super) fn publish(&mut self, node: usize, data: GossipData) -> Result<(), Broken> {
        let message = GossipMessage::new(data).map_err(Broken::Unreadable)?;
        let id = self.messages.len() as MessageId;
        self.messages.push(message);
        self.nodes[node].hears(id, None, self.now);
        // Its own go to everybody (gossipsub's flood publishing).
        let to: Vec<LinkId> = self.nodes[node].links.clone();
        self.spread(node, id, to);
        Ok(())
    }

    pub(super) fn spread(&mut self, node: usize, message: MessageId, mut to: Vec<LinkId>) {
        // Nobody is always the first to be told.
        let first = message as usize % to.len().max(1);
        to.rotate_left(first);
        let size_bytes = self.weight.gossip(&self.messages[message as usize]);
        for link in to {
            let peer = self.links[link].peer(link);
            self.send(node, peer, Message::Gossip(message), size_bytes);
        }
    }

    /// Puts a message into its lane; lost where the connection is no more.
    pub(super) fn send(&mut self, node: usize, peer: Peer, message: Message, size_bytes: u64) {
        let lane = match &message {
            Message::Gossip(id) => match &self.messages[*id as usize].data {
                GossipData::Block(_) => Lane::Blocks,
                GossipData::Transactions(_) => Lane::Transactions,
            },
            Message::Request(..) | Message::Answer(..) => Lane::Blocks,
        };
        let uplink = &mut self.nodes[node].uplinks[lane as usize];
        uplink.waiting.push_back(Outgoing { peer, message, size_bytes, since: self.now });
        if !uplink.is_busy {
            self.transmit(node, lane);
        }
    }

    /// The next message of a lane begins to leave.
    pub(super) fn transmit(&mut self, node: usize, lane: Lane) {
        self.nodes[node].uplinks[lane as usize].is_busy = false;
        while let Some(next) = self.nodes[node].uplinks[lane as usize].waiting.pop_front() {
            let id = link_of(next.peer);
            if self.is_wanted(node, &next) {
                let Outgoing { peer, message, size_bytes, .. } = next;
                let sender = &mut self.nodes[node];
                let shared = sender.uplinks[lane.other() as usize].is_busy;
                let rate = if shared { sender.home.upload / 2 } else { sender.home.upload };
                let left = self.now + time_for(size_bytes, rate);
                sender.sent_bytes += size_bytes;
                sender.uplinks[lane as usize].is_busy = true;
                self.queue.push(left, Event::Left { node, lane });
                let link = &mut self.links[id];
                let to = link.other(node);
                let home = self.nodes[to].home;
                let travels = home.travel(link.latency, size_bytes, &mut self.random);
                let at = link.arrive(to, lane, left + travels);
                self.queue.push(at, Event::Arrive { peer, to, message });
                return;
            }
        }
    }

    /// Whether it makes sense to send something now.
    pub(super) fn is_wanted(&mut self, node: usize, next: &Outgoing) -> bool {
        let id = link_of(next.peer);
        let link = &self.links[id];
        if !link.is_up || link.peer(id) != next.peer {
            return false;
        }
        let Message::Gossip(message) = next.message else { return true };
        if self.now > next.since + GOSSIP_PATIENCE {
            self.outcome.gossip_dropped += 1;
            return false;
        }
        let known = |heard: &Heard| heard.at + link.latency <= self.now;
        let has_it = self.nodes[link.other(node)].heard.get(&message).is_some_and(known);
        !(has_it && next.size_bytes >= IDONTWANT_BYTES)
    }

    pub(super) fn arrive(&mut self, peer: Peer, to: usize, message: Message) -> Result<(), Broken> {
        let id = link_of(peer);
        if !self.links[id].is_up || self.links[id].peer(id) != peer {
            return Ok(());
        }
        match message {
            Message::Gossip(message) => {
                if !self.nodes[to].hears(message, Some(id), self.now) {
                    return Ok(());
                }
                let ticket = self.nodes[to].issue_ticket(message, peer, self.now);
                let data = self.messages[message as usize].data.clone();
                self.feed(to, Input::Gossip(ticket, data))
            }
            Message::Request(theirs, request) => {
                let inbound = self.nodes[to].receive_request(peer, theirs);
                let request = Arc::unwrap_or_clone(request);
                self.feed(to, Input::Request(inbound, peer, request))
            }
            Message::Answer(request, Some(answer)) => {
                match self.nodes[to].asked.remove(&request) {
                    Some(_) => {
                        let answer = Arc::unwrap_or_clone(answer);
                        self.feed(to, Input::Response(request, answer))
                    }
                    // It came after its time.
                    None => Ok(()),
                }
            }
            Message::Answer(request, None) => {
                self.request_fails(to, request, RequestFailure::Closed)
            }
        }
    }
}
