//! Where the address book gets its rumours from: peers (Kademlia), the same link (mDNS), DNS seeds.

use libp2p::{Multiaddr, PeerId};

use super::Task;
use crate::{
    address::Scope,
    discovery::Found,
    limits::{IDLE_LOOKUP_MS, LOOKUP_MS, MAX_NEIGHBOURS, SEED_NEED, WANTED_OUTBOUND},
    seeds::Told,
};

/// When to ask connected peers for further ones.
#[derive(Debug)]
pub(super) struct Lookups {
    next_ms: u64,
    wait_ms: u64,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { next_ms: 0, wait_ms: LOOKUP_MS.0 }
    }
}

impl Lookups {
    /// Something new turned up, or somebody left.
    pub(super) fn hurry(&mut self, now_ms: u64) {
        self.wait_ms = LOOKUP_MS.0;
        self.next_ms = self.next_ms.min(now_ms + self.wait_ms);
    }

    fn is_due(&mut self, now_ms: u64, has_enough: bool) -> bool {
        if now_ms < self.next_ms {
            return false;
        }
        if has_enough {
            self.next_ms = now_ms + IDLE_LOOKUP_MS;
        } else {
            self.next_ms = now_ms + self.wait_ms;
            self.wait_ms = (self.wait_ms * 2).min(LOOKUP_MS.1);
        }
        true
    }
}

/// Whether there are more on this link than mDNS may know of.
const fn is_crowd(neighbours: usize) -> bool {
    neighbours > MAX_NEIGHBOURS
}

impl Task {
    pub(super) fn look_up(&mut self, now: u64) {
        let has_enough = self.peers.outbound() >= WANTED_OUTBOUND;
        if self.peers.is_empty() || !self.lookups.is_due(now, has_enough) {
            return;
        }
        if let Some(discovery) = self.swarm.behaviour_mut().discovery.as_mut() {
            discovery.look_up();
        }
    }

    pub(super) fn on_found(&mut self, found: Found) {
        let Some(scope) = self.peers.widest_scope() else { return };
        let told = found.addresses.iter();
        let told = told.filter_map(|address| self.carriers.dialable(address, scope)).collect();
        if self.dialler.book.rumour(found.peer, told) {
            self.lookups.hurry(self.now());
        }
    }

    /// Others on the same link. libp2p's mDNS keeps whatever anybody there claims for as long as it
    /// claims, so it ends where there are more than may be.
    pub(super) fn on_neighbours(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        for (peer, address) in found {
            let told = self.carriers.dialable(&address, Scope::Private);
            self.dialler.book.rumour(peer, told.into_iter().collect());
        }
        let mdns = &mut self.swarm.behaviour_mut().mdns;
        if mdns.as_ref().is_some_and(|mdns| is_crowd(mdns.discovered_nodes().len())) {
            *mdns = None.into();
            tracing::warn!(
                "more than {MAX_NEIGHBOURS} peers on this link; mDNS is off until the next start"
            );
        }
    }

    pub(super) fn ask_seeds(&mut self, now: u64) {
        let lacks_peers = self.peers.outbound() < SEED_NEED;
        let knows_nobody = self.dialler.knows_nobody();
        if self.seeds.is_due(now, lacks_peers, knows_nobody) {
            self.seeds.ask();
        }
    }

    /// The operator's own seeds may name the operator's own network.
    pub(super) fn on_seeds(&mut self, told: Told) {
        for (peer, addresses) in told {
            let addresses = addresses.iter();
            let addresses =
                addresses.filter_map(|address| self.carriers.dialable(address, Scope::Private));
            self.dialler.book.rumour(peer, addresses.collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_room_for_so_many() {
        assert!(!is_crowd(MAX_NEIGHBOURS) && is_crowd(MAX_NEIGHBOURS + 1));
    }

    #[test]
    fn lookups_slow_down_until_there_is_news() {
        let mut lookups = Lookups::default();
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert!(lookups.is_due(now, false) && !lookups.is_due(now, false));
            waits.push(lookups.next_ms - now);
            now = lookups.next_ms;
        }
        assert_eq!((waits[0], waits[7]), LOOKUP_MS);
        assert!(lookups.is_due(now, true) && lookups.next_ms == now + IDLE_LOOKUP_MS);
        lookups.hurry(now);
        assert_eq!(lookups.next_ms, now + LOOKUP_MS.0);
    }
}
