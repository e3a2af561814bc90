//! Who is kept out, and until when. Bounded, in memory.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId};

use crate::{address::Origin, limits::MAX_BANS};

/// A peer id costs nothing, an address something: a ban is on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Peer(PeerId),
    Origin(Origin),
}

/// When [`MAX_BANS`] is reached, the ban that ends first makes room.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    ends: BTreeMap<Subject, u64>,
    by_end: BTreeSet<(u64, Subject)>,
}

impl Bans {
    /// Until `until_ms`, or until a ban that already stands, whichever is later. Addresses of this
    /// machine are never banned: all local peers share them.
    pub(crate) fn ban(&mut self, peer: PeerId, address: &Multiaddr, until_ms: u64) {
        self.insert(Subject::Peer(peer), until_ms);
        if let Some(origin) = Origin::of(address) {
            self.insert(Subject::Origin(origin), until_ms);
        }
    }

    fn insert(&mut self, subject: Subject, until_ms: u64) {
        if let Some(&stands) = self.ends.get(&subject) {
            if stands >= until_ms {
                return;
            }
            self.by_end.remove(&(stands, subject));
        } else if self.ends.len() >= MAX_BANS
            && let Some((_, first)) = self.by_end.pop_first()
        {
            self.ends.remove(&first);
        }
        self.ends.insert(subject, until_ms);
        self.by_end.insert((until_ms, subject));
    }

    /// Whether this peer is kept out now.
    pub(crate) fn has_peer(&self, peer: &PeerId, now_ms: u64) -> bool {
        self.has(Subject::Peer(*peer), now_ms)
    }

    /// Whether whoever comes from there is kept out now.
    pub(crate) fn has_address(&self, address: &Multiaddr, now_ms: u64) -> bool {
        Origin::of(address).is_some_and(|origin| self.has(Subject::Origin(origin), now_ms))
    }

    fn has(&self, subject: Subject, now_ms: u64) -> bool {
        self.ends.get(&subject).is_some_and(|&end| now_ms < end)
    }

    /// Forgets what is over.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some(&(end, subject)) = self.by_end.first()
            && end <= now_ms
        {
            self.by_end.pop_first();
            self.ends.remove(&subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn both_the_peer_and_its_address_are_out_until_the_end() {
        let mut bans = Bans::default();
        let (peer, address) = (PeerId::random(), at("/ip4/8.8.8.8/tcp/5"));
        bans.ban(peer, &address, 100);
        assert!(bans.has_peer(&peer, 99) && !bans.has_peer(&peer, 100));
        assert!(bans.has_address(&at("/ip4/8.8.8.8/tcp/6"), 99));
        assert!(bans.has_address(&at("/ip6/::ffff:8.8.8.8/tcp/6"), 99), "the mapped form too");
        assert!(!bans.has_address(&address, 100));
        bans.ban(peer, &address, 50);
        assert!(bans.has_peer(&peer, 99), "a shorter ban does not shorten");
        bans.expire(100);
        assert!(bans.ends.is_empty() && bans.by_end.is_empty());
    }

    #[test]
    fn this_machine_is_never_out() {
        let mut bans = Bans::default();
        let local = at("/ip4/127.0.0.1/tcp/5");
        bans.ban(PeerId::random(), &local, 100);
        assert!(!bans.has_address(&local, 1));
    }

    #[test]
    fn the_table_is_bounded_and_the_first_to_end_goes() {
        let mut bans = Bans::default();
        let local = at("/ip4/127.0.0.1/tcp/5");
        let first = PeerId::random();
        bans.ban(first, &local, 10);
        for _ in 0..MAX_BANS - 1 {
            bans.ban(PeerId::random(), &local, 20);
        }
        assert!(bans.has_peer(&first, 5), "at the limit");
        bans.ban(PeerId::random(), &local, 20);
        assert!(!bans.has_peer(&first, 5), "over it");
        assert_eq!((bans.ends.len(), bans.by_end.len()), (MAX_BANS, MAX_BANS));
    }
}
