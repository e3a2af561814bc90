//! Villains among the nodes: what they hear, what they do, and that they are gone in the end.

use std::time::Duration;

use ashlar_engine::{Peer, RequestId};

use super::{Event, World};
use crate::{
    links::Message,
    mesh::GossipMessage,
    node::NodeId,
    random::exponential,
    readable,
    scenario::EPOCH_SECONDS,
    trace::Subject,
    villain::{Act, Scene, Villain},
};

impl World {
    /// Whether somebody is no node.
    pub(super) fn is_villain(&self, id: NodeId) -> bool {
        id.0 >= self.nodes.len()
    }

    pub(super) fn schedule_villains(&mut self) {
        for index in 0..self.villains.len() {
            self.schedule_villain(index);
        }
        self.queue.push(self.scenario.timeline.truce, Event::Truce);
    }

    fn schedule_villain(&mut self, index: usize) {
        let interval = self.scenario.chain.block_interval;
        let Some(villain) = self.villains.get_mut(index) else { return };
        let pace = villain.kind.pace(interval);
        let wait = exponential(villain.random(), pace);
        self.queue.push(self.now + wait, Event::Villain(index));
    }

    /// It does what it is there for, and will again.
    pub(super) fn villain_acts(&mut self, index: usize) {
        if self.now < self.scenario.timeline.truce {
            self.with_villain(index, Villain::act);
            self.schedule_villain(index);
        }
    }

    /// Villains act no more, and nobody hears of them again.
    pub(super) fn truce(&mut self) {
        self.note(None, "truce", Subject::Number(self.villains.len() as u64));
        let peers: Vec<Peer> = self.villains.iter().flat_map(Villain::peers).collect();
        for peer in peers {
            self.close(peer, [self.now; 2]);
        }
    }

    pub(super) fn meets_villain(&mut self, id: NodeId, peer: Peer, other: NodeId) {
        self.with_villain_at(id, |villain, scene| villain.connected(peer, other, scene));
    }

    pub(super) fn leaves_villain(&mut self, id: NodeId, peer: Peer) {
        self.with_villain_at(id, |villain, _| {
            villain.gone(peer);
            Vec::new()
        });
    }

    /// What comes to a villain over a connection.
    pub(super) fn villain_hears(&mut self, id: NodeId, peer: Peer, message: &Message) {
        match message {
            Message::Gossip(message) => {
                if self.mesh.receive(id, message, peer, self.now) {
                    self.with_villain_at(id, |villain, _| villain.hears(&message.data));
                }
            }
            Message::Request(theirs, request) => {
                self.with_villain_at(id, |villain, scene| {
                    villain.asked(peer, *theirs, request, scene)
                });
            }
            // It wants to know nothing.
            Message::Answer(..) | Message::Unreadable(_) => {}
        }
    }

    fn with_villain_at(
        &mut self,
        NodeId(id): NodeId,
        does: impl FnOnce(&mut Villain, &mut Scene<'_>) -> Vec<Act>,
    ) {
        self.with_villain(id.saturating_sub(self.nodes.len()), does);
    }

    fn with_villain(
        &mut self,
        index: usize,
        does: impl FnOnce(&mut Villain, &mut Scene<'_>) -> Vec<Act>,
    ) {
        let views = self.nodes.iter().filter_map(crate::node::Node::view);
        let Some(public) = views.max_by_key(|view| view.tip().work).map(|view| view.tip().id)
        else {
            return;
        };
        let now = u32::try_from(self.now.as_secs()).unwrap_or(0);
        let future = self.scenario.chain.max_future_seconds();
        let mut scene = Scene {
            judge: &mut self.judge,
            public,
            now_seconds: EPOCH_SECONDS + now,
            max_future_seconds: u32::try_from(future).unwrap_or(0),
        };
        let Some(villain) = self.villains.get_mut(index) else { return };
        let id = villain.id;
        for act in does(villain, &mut scene) {
            self.villain_does(id, act);
        }
    }

    /// What nobody could read is not sent: a real node cuts who sends it, and sees nothing of it.
    fn villain_does(&mut self, id: NodeId, act: Act) {
        match act {
            Act::Ask(peer, request, what) => {
                if let Ok(size_bytes) = readable::request(&what) {
                    self.villain_sends(id, peer, Message::Request(request, what), size_bytes);
                }
            }
            Act::Tell(peer, request, answer) => self.villain_tells(id, peer, request, answer),
            Act::Publish(data) => {
                let Ok(message) = GossipMessage::new(data) else { return };
                self.note(Some(id), "villain gossips", Subject::Message(message.id));
                self.tally.villain_messages += 1;
                let to = self.mesh.publish(id, &message, self.now);
                self.spread(id, &message, to);
            }
        }
    }

    fn villain_tells(
        &mut self,
        id: NodeId,
        peer: Peer,
        request: RequestId,
        answer: Option<ashlar_primitives::wire::Answer>,
    ) {
        let max_block_bytes = self.scenario.chain.max_block_bytes;
        let size_bytes = match &answer {
            None => Ok(0),
            Some(answer) => readable::answer(answer, max_block_bytes),
        };
        match size_bytes {
            Ok(size_bytes) => {
                self.villain_sends(id, peer, Message::Answer(request, answer), size_bytes);
            }
            Err(_) => self.villain_sends(id, peer, Message::Unreadable(request), 0),
        }
    }

    fn villain_sends(&mut self, id: NodeId, peer: Peer, message: Message, size_bytes: usize) {
        self.tally.villain_messages += 1;
        if let Some(other) = self.links.other_end(peer, id) {
            self.send(peer, other, message, size_bytes);
        }
    }

    /// Between two attempts of somebody who may have been kept out: another address takes time.
    pub(super) const fn villain_returns() -> (Duration, Duration) {
        (Duration::from_secs(20), Duration::from_secs(120))
    }
}
