//! Connections, and how a cut ends some of them.

use std::time::Duration;

use ashlar_engine::{Direction, Input, Peer, PeerConnected, RequestFailure, RequestId};

use super::{Broken, Event, Net};
use crate::{
    random::between,
    scale::{
        node::LinkId,
        topology::{unravel, weave},
    },
};

/// After a cut has healed, dialled nodes are found again within this time.
const REDIAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

impl Net {
    pub(super) fn open(&mut self, id: LinkId) -> Result<(), Broken> {
        let link = &mut self.links[id];
        if link.is_up {
            return Ok(());
        }
        link.open();
        let (peer, [dialler, listener]) = (link.peer(id), link.ends);
        for (node, other, direction) in
            [(dialler, listener, Direction::Outbound), (listener, dialler, Direction::Inbound)]
        {
            let connected = PeerConnected {
                peer,
                direction,
                address: format!("/n/{other}"),
                identity: String::new(),
            };
            self.feed(node, Input::PeerConnected(connected))?;
        }
        Ok(())
    }

    pub(super) fn close(&mut self, id: LinkId) {
        let link = &mut self.links[id];
        if !link.is_up {
            return;
        }
        link.is_up = false;
        let peer = link.peer(id);
        for node in link.ends {
            self.nodes[node].mesh.retain(|other| *other != id);
            self.queue.push(self.now, Event::Gone { node, peer });
        }
        if !self.crosses(id) || !self.is_cut {
            self.redial(id);
        }
    }

    pub(super) fn redial(&mut self, id: LinkId) {
        let wait = between(&mut self.random, REDIAL.0, REDIAL.1);
        self.queue.push(self.now + wait, Event::Dial(id));
    }

    pub(super) fn gone(&mut self, node: usize, peer: Peer) -> Result<(), Broken> {
        let asked = &self.nodes[node].asked;
        let unanswered: Vec<RequestId> =
            asked.iter().filter(|(_, of)| **of == peer).map(|(id, _)| *id).collect();
        for request in unanswered {
            self.request_fails(node, request, RequestFailure::Closed)?;
        }
        self.feed(node, Input::PeerGone(peer))
    }

    pub(super) fn crosses(&self, id: LinkId) -> bool {
        let [a, b] = self.links[id].ends;
        self.far.contains(&a) != self.far.contains(&b)
    }

    pub(super) fn cut(&mut self) {
        self.is_cut = true;
        let crossing: Vec<LinkId> =
            (0..self.links.len()).filter(|link| self.crosses(*link)).collect();
        for link in crossing {
            self.close(link);
        }
        unravel(&mut self.nodes, &self.links);
        weave(&mut self.nodes, &self.links, &mut self.random);
    }

    pub(super) fn heal(&mut self) {
        self.is_cut = false;
        let crossing: Vec<LinkId> =
            (0..self.links.len()).filter(|link| self.crosses(*link)).collect();
        for link in crossing {
            self.redial(link);
        }
        self.queue.push(self.now + REDIAL.1 / 4, Event::Weave);
        self.queue.push(self.now + REDIAL.1, Event::Weave);
    }
}
