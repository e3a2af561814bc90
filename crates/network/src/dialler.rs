//! Whom to dial, where and when: the operator's peers for ever, others from an address book until
//! there are enough. Decides only; the swarm task dials.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use rand::{RngExt, seq::IteratorRandom};

use crate::{
    address::parse_dial,
    error::NetworkError,
    limits::{
        BOOK_BACKOFF_MS, BOOK_FAILURES, COLLISION_MS, KEPT_BACKOFF_MS, MAX_ADDRESSES_PER_PEER,
        MAX_BOOK, MAX_KEPT, MAX_PENDING_OUTBOUND, MAX_SHUNNED, SHUN_MS, STABLE_MS, WANTED_OUTBOUND,
    },
};

/// When to try again: doubling from the first wait to the longest, spread by half so that
/// nodes which lost each other together do not dial each other together for ever.
#[derive(Clone, Copy, Debug, Default)]
struct Backoff {
    failures: u32,
    next_ms: u64,
}

impl Backoff {
    fn failed(&mut self, now_ms: u64, (first, longest): (u64, u64)) {
        let wait = first.saturating_mul(1 << self.failures.min(20)).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.next_ms = now_ms + wait - rand::rng().random_range(0..=wait / 2);
    }

    /// After a connection that lasted so long.
    fn ended(&mut self, now_ms: u64, lasted_ms: u64, waits: (u64, u64)) {
        if lasted_ms >= STABLE_MS {
            self.failures = 0;
        }
        self.failed(now_ms, waits);
    }
}

/// A peer that the operator named.
#[derive(Debug)]
struct Kept {
    address: Multiaddr,
    /// Required of who answers.
    required: Option<PeerId>,
    /// Who answered last.
    answered: Option<PeerId>,
    /// It was this node: dialling it again is no use.
    is_self: bool,
    backoff: Backoff,
}

impl Kept {
    fn peer(&self) -> Option<PeerId> {
        self.required.or(self.answered)
    }
}

#[derive(Debug, Default)]
struct Entry {
    addresses: Vec<Multiaddr>,
    /// It was connected and identified itself once, at these addresses.
    proved: bool,
    backoff: Backoff,
}

/// Why a dial goes out, which decides what its failure means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The operator's peer at this address.
    Kept(Multiaddr),
    /// A peer from the book.
    Book(PeerId),
}

/// One dial to make.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) target: Target,
    pub(crate) peer: Option<PeerId>,
    /// Never empty.
    pub(crate) addresses: Vec<Multiaddr>,
}

/// What the swarm task knows when it asks for dials.
pub(crate) struct Surroundings<'a> {
    pub(crate) now_ms: u64,
    pub(crate) outbound: usize,
    pub(crate) is_connected: &'a dyn Fn(&PeerId) -> bool,
    pub(crate) is_banned: &'a dyn Fn(Option<&PeerId>, &Multiaddr) -> bool,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Dialler {
    local: PeerId,
    kept: Vec<Kept>,
    book: BTreeMap<PeerId, Entry>,
    /// Where rumours led to nobody, and until when to remember it.
    shunned: BTreeMap<Multiaddr, u64>,
    dialling: BTreeMap<ConnectionId, Target>,
}

impl Dialler {
    pub(crate) fn new(local: PeerId) -> Self {
        Self {
            local,
            kept: Vec::new(),
            book: BTreeMap::new(),
            shunned: BTreeMap::new(),
            dialling: BTreeMap::new(),
        }
    }

    /// Keeps dialling `text` from now on. Naming it twice changes nothing.
    pub(crate) fn keep(&mut self, text: &str) -> Result<(), NetworkError> {
        let (address, required) = parse_dial(text)?;
        if required == Some(self.local) {
            return Err(NetworkError::BadAddress {
                address: text.into(),
                purpose: "dial",
                reason: "it is this node itself".into(),
            });
        }
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.address == address) {
            kept.required = required.or(kept.required);
            kept.backoff = Backoff::default();
            return Ok(());
        }
        if self.kept.len() >= MAX_KEPT {
            return Err(NetworkError::TooManyPeers { max: MAX_KEPT });
        }
        let backoff = Backoff::default();
        self.kept.push(Kept { address, required, answered: None, is_self: false, backoff });
        Ok(())
    }

    /// Stops dialling it.
    pub(crate) fn forget(&mut self, text: &str) -> Result<(), NetworkError> {
        let (address, _) = parse_dial(text)?;
        let before = self.kept.len();
        self.kept.retain(|kept| kept.address != address);
        if self.kept.len() == before {
            return Err(NetworkError::NotKept { address: text.into() });
        }
        Ok(())
    }

    /// Takes what a third party told of `peer`: adds to what is known, never replaces what the peer
    /// said itself. True where the peer is new.
    pub(crate) fn rumour(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>) -> bool {
        addresses.retain(|address| !self.shunned.contains_key(address));
        if peer == self.local || addresses.is_empty() {
            return false;
        }
        let is_new = !self.book.contains_key(&peer);
        if is_new && !self.make_room() {
            return false;
        }
        let entry = self.book.entry(peer).or_default();
        if !entry.proved {
            for address in addresses {
                if entry.addresses.len() < MAX_ADDRESSES_PER_PEER
                    && !entry.addresses.contains(&address)
                {
                    entry.addresses.push(address);
                }
            }
        }
        is_new
    }

    /// Takes what a connected peer says of itself, in place of everything before.
    pub(crate) fn learn(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let addresses = &addresses[..addresses.len().min(MAX_ADDRESSES_PER_PEER)];
        if addresses.is_empty() {
            self.book.remove(&peer);
        } else if self.book.contains_key(&peer) || self.make_room() {
            let entry = self.book.entry(peer).or_default();
            entry.addresses = addresses.to_vec();
            entry.proved = true;
        }
    }

    /// True where one more fits. The unproved peer that failed most often goes first.
    fn make_room(&mut self) -> bool {
        if self.book.len() < MAX_BOOK {
            return true;
        }
        let worst = self
            .book
            .iter()
            .filter(|(_, entry)| !entry.proved)
            .max_by_key(|(_, entry)| entry.backoff.failures)
            .map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.book.remove(&peer).is_some())
    }

    /// A peer of another chain: out of the book, and a kept one is asked as seldom as can be.
    pub(crate) fn estrange(&mut self, peer: &PeerId, now_ms: u64) {
        self.book.remove(peer);
        for kept in self.kept.iter_mut().filter(|kept| kept.peer() == Some(*peer)) {
            kept.backoff.failures = u32::MAX;
            kept.backoff.failed(now_ms, KEPT_BACKOFF_MS);
        }
    }

    /// What to dial now. Each must be followed by [`Self::started`] or [`Self::failed`].
    pub(crate) fn due(&self, around: &Surroundings<'_>) -> Vec<Dial> {
        let mut room = MAX_PENDING_OUTBOUND.saturating_sub(self.dialling.len());
        let mut dials = Vec::new();
        for kept in self.kept.iter().filter(|kept| self.is_due(kept, around)).take(room) {
            dials.push(Dial {
                target: Target::Kept(kept.address.clone()),
                peer: kept.required,
                addresses: vec![kept.address.clone()],
            });
        }
        room -= dials.len();
        let busy = around.outbound + self.dialling.len() + dials.len();
        let wanted = WANTED_OUTBOUND.saturating_sub(busy).min(room);
        if wanted > 0 {
            let taken: BTreeSet<_> = dials.iter().filter_map(|dial| dial.peer).collect();
            dials.extend(self.book_dials(around, &taken, wanted));
        }
        dials
    }

    fn is_due(&self, kept: &Kept, around: &Surroundings<'_>) -> bool {
        let peer = kept.peer();
        !kept.is_self
            && kept.backoff.next_ms <= around.now_ms
            && !peer.is_some_and(|peer| self.is_taken(&peer, around))
            && !self.dialling.values().any(|dial| *dial == Target::Kept(kept.address.clone()))
            && !(around.is_banned)(peer.as_ref(), &kept.address)
    }

    fn is_taken(&self, peer: &PeerId, around: &Surroundings<'_>) -> bool {
        (around.is_connected)(peer)
            || self.dialling.values().any(|dial| *dial == Target::Book(*peer))
    }

    fn book_dials(
        &self,
        around: &Surroundings<'_>,
        taken: &BTreeSet<PeerId>,
        wanted: usize,
    ) -> Vec<Dial> {
        self.book
            .iter()
            .filter(|(peer, entry)| {
                entry.backoff.next_ms <= around.now_ms
                    && !taken.contains(*peer)
                    && !self.is_taken(peer, around)
            })
            .filter_map(|(peer, entry)| {
                let allowed = |address: &&Multiaddr| !(around.is_banned)(Some(peer), address);
                let addresses: Vec<_> = entry.addresses.iter().filter(allowed).cloned().collect();
                let dial = Dial { target: Target::Book(*peer), peer: Some(*peer), addresses };
                (!dial.addresses.is_empty()).then_some(dial)
            })
            .sample(&mut rand::rng(), wanted)
    }

    /// The dial is on its way under this number.
    pub(crate) fn started(&mut self, connection: ConnectionId, target: Target) {
        self.dialling.insert(connection, target);
    }

    /// It came up, and `peer` answered.
    pub(crate) fn connected(&mut self, connection: ConnectionId, peer: PeerId) {
        if let Some(target) = self.dialling.remove(&connection) {
            self.answered(&target, peer);
        }
    }

    /// `peer` is whom we find there: while it is connected, by whatever way, it is not dialled.
    pub(crate) fn answered(&mut self, target: &Target, peer: PeerId) {
        if let Target::Kept(address) = target
            && let Some(kept) = self.kept.iter_mut().find(|kept| kept.address == *address)
        {
            kept.answered = Some(peer);
        }
    }

    /// It did not. Returns what it was for.
    pub(crate) fn ended(&mut self, connection: ConnectionId) -> Option<Target> {
        self.dialling.remove(&connection)
    }

    /// A dial could not be made, or failed. Returns how often in a row. `nobody`: whom we wanted
    /// was not there; otherwise it was only the wrong moment.
    pub(crate) fn failed(&mut self, target: &Target, nobody: bool, now_ms: u64) -> u32 {
        match target {
            Target::Kept(address) => {
                let Some(kept) = self.kept.iter_mut().find(|kept| kept.address == *address) else {
                    return 0;
                };
                kept.backoff.failed(now_ms, KEPT_BACKOFF_MS);
                kept.backoff.failures
            }
            Target::Book(peer) => {
                let Some(entry) = self.book.get_mut(peer) else { return 0 };
                entry.backoff.failed(now_ms, BOOK_BACKOFF_MS);
                let (failures, proved) = (entry.backoff.failures, entry.proved);
                if failures >= BOOK_FAILURES || (nobody && !proved) {
                    let gone = self.book.remove(peer).unwrap_or_default();
                    if !proved {
                        self.shun(gone.addresses, now_ms);
                    }
                }
                failures
            }
        }
    }

    fn shun(&mut self, addresses: Vec<Multiaddr>, now_ms: u64) {
        for address in addresses {
            if self.shunned.len() < MAX_SHUNNED {
                self.shunned.insert(address, now_ms + SHUN_MS);
            }
        }
    }

    /// Believes again what it has not believed for long enough.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.shunned.retain(|_, end| *end > now_ms);
    }

    /// The address turned out to be this node's own.
    pub(crate) fn is_self(&mut self, target: &Target) {
        match target {
            Target::Kept(address) => {
                for kept in self.kept.iter_mut().filter(|kept| kept.address == *address) {
                    kept.is_self = true;
                }
            }
            Target::Book(peer) => {
                self.book.remove(peer);
            }
        }
    }

    /// The connection with `peer` ended after so long. `identified`: it had come to that; where it
    /// had not, both ends may have refused each other.
    pub(crate) fn disconnected(
        &mut self,
        peer: &PeerId,
        lasted_ms: u64,
        identified: bool,
        now_ms: u64,
    ) {
        let yields_ms = if !identified && self.local > *peer { COLLISION_MS } else { 0 };
        for kept in self.kept.iter_mut().filter(|kept| kept.peer() == Some(*peer)) {
            kept.backoff.ended(now_ms, lasted_ms, KEPT_BACKOFF_MS);
            kept.backoff.next_ms += yields_ms;
        }
        if let Some(entry) = self.book.get_mut(peer) {
            entry.backoff.ended(now_ms, lasted_ms, BOOK_BACKOFF_MS);
            entry.backoff.next_ms += yields_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = "/ip4/127.0.0.1/tcp/9333";

    fn dialler() -> Dialler {
        Dialler::new(PeerId::random())
    }

    fn at(port: u16) -> Vec<Multiaddr> {
        vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()]
    }

    fn due(dialler: &Dialler, now_ms: u64, outbound: usize, connected: &[PeerId]) -> Vec<Dial> {
        dialler.due(&Surroundings {
            now_ms,
            outbound,
            is_connected: &|peer| connected.contains(peer),
            is_banned: &|_, _| false,
        })
    }

    #[test]
    fn a_kept_peer_is_dialled_for_ever_and_ever_slower_up_to_a_limit() {
        let mut dialler = dialler();
        dialler.keep(KEPT).unwrap();
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..50 {
            let dial = due(&dialler, now, WANTED_OUTBOUND, &[]).pop().expect("due, whatever else");
            dialler.failed(&dial.target, true, now);
            let before = now;
            while due(&dialler, now, 0, &[]).is_empty() {
                now += 100;
            }
            waits.push(now - before);
        }
        assert!(waits[0] <= KEPT_BACKOFF_MS.0 && waits[0] >= KEPT_BACKOFF_MS.0 / 2, "{waits:?}");
        let longest = KEPT_BACKOFF_MS.1;
        assert!(waits[10..].iter().all(|wait| (longest / 2..=longest).contains(wait)), "{waits:?}");
    }

    #[test]
    fn a_connected_or_dialled_peer_is_not_dialled() {
        let mut dialler = dialler();
        dialler.keep(KEPT).unwrap();
        let connection = ConnectionId::new_unchecked(1);
        let dial = due(&dialler, 0, 0, &[]).pop().unwrap();
        dialler.started(connection, dial.target);
        assert!(due(&dialler, 0, 0, &[]).is_empty());
        let peer = PeerId::random();
        dialler.connected(connection, peer);
        assert!(due(&dialler, 0, 0, &[peer]).is_empty(), "its peer id was learned");
        dialler.disconnected(&peer, STABLE_MS, true, 1_000);
        assert_eq!(due(&dialler, 1_000 + KEPT_BACKOFF_MS.0, 0, &[]).len(), 1);
    }

    #[test]
    fn after_a_collision_the_greater_peer_id_waits_until_the_other_has_dialled() {
        let (mut one, mut other) = (dialler(), dialler());
        if one.local > other.local {
            std::mem::swap(&mut one, &mut other);
        }
        let (first, second) = (one.local, other.local);
        for (dialler, peer) in [(&mut one, second), (&mut other, first)] {
            dialler.keep(&format!("{KEPT}/p2p/{peer}")).unwrap();
            dialler.disconnected(&peer, 5, false, 0);
        }
        assert_eq!(due(&one, KEPT_BACKOFF_MS.0, 0, &[]).len(), 1);
        assert!(due(&other, KEPT_BACKOFF_MS.0, 0, &[]).is_empty());
        assert_eq!(due(&other, KEPT_BACKOFF_MS.0 + COLLISION_MS, 0, &[]).len(), 1);
    }

    #[test]
    fn the_book_fills_up_what_is_wanted_and_no_more() {
        let mut dialler = dialler();
        for port in 1..=20 {
            assert!(dialler.rumour(PeerId::random(), at(port)));
        }
        assert_eq!(due(&dialler, 0, 0, &[]).len(), WANTED_OUTBOUND);
        assert_eq!(due(&dialler, 0, WANTED_OUTBOUND - 1, &[]).len(), 1);
        assert!(due(&dialler, 0, WANTED_OUTBOUND, &[]).is_empty());
    }

    #[test]
    fn a_rumour_never_replaces_what_a_peer_said_itself() {
        let mut dialler = dialler();
        let peer = PeerId::random();
        dialler.rumour(peer, at(1));
        dialler.learn(peer, &at(2));
        dialler.rumour(peer, at(3));
        assert_eq!(due(&dialler, 0, 0, &[]).pop().unwrap().addresses, at(2));
    }

    #[test]
    fn a_peer_that_was_there_is_tried_for_long() {
        let mut dialler = dialler();
        let peer = PeerId::random();
        dialler.learn(peer, &at(1));
        for _ in 0..BOOK_FAILURES {
            assert!(dialler.book.contains_key(&peer));
            dialler.failed(&Target::Book(peer), true, 0);
        }
        assert!(dialler.book.is_empty() && dialler.shunned.is_empty());
    }

    #[test]
    fn a_false_rumour_costs_one_dial_under_whatever_name_it_comes_again() {
        let mut dialler = dialler();
        let peer = PeerId::random();
        dialler.rumour(peer, at(1));
        dialler.failed(&Target::Book(peer), false, 0);
        assert!(dialler.book.contains_key(&peer), "the wrong moment proves nothing");
        dialler.failed(&Target::Book(peer), true, 0);
        assert!(!dialler.rumour(PeerId::random(), at(1)));
        assert!(dialler.rumour(PeerId::random(), [at(1), at(2)].concat()), "what is new in it");
        dialler.learn(peer, &at(1));
        assert_eq!(dialler.book[&peer].addresses, at(1), "the peer itself is believed");
        dialler.expire(SHUN_MS);
        assert!(dialler.rumour(PeerId::random(), at(1)));
        for port in 1..=10_000 {
            let peer = PeerId::random();
            dialler.rumour(peer, at(port));
            dialler.failed(&Target::Book(peer), true, 0);
        }
        assert!(dialler.shunned.len() <= MAX_SHUNNED);
    }

    #[test]
    fn the_book_is_bounded_and_proved_peers_stay() {
        let mut dialler = dialler();
        let proved = PeerId::random();
        dialler.learn(proved, &at(1));
        for _ in 0..MAX_BOOK + 10 {
            dialler.rumour(PeerId::random(), at(2));
        }
        assert_eq!(dialler.book.len(), MAX_BOOK);
        assert!(dialler.book.contains_key(&proved));
        for port in 10..40 {
            dialler.rumour(PeerId::random(), at(port));
        }
        let peer = PeerId::random();
        for port in 10..40 {
            dialler.rumour(peer, at(port));
        }
        assert_eq!(dialler.book[&peer].addresses.len(), MAX_ADDRESSES_PER_PEER);
    }

    #[test]
    fn we_never_dial_ourselves_twice() {
        let mut dialler = dialler();
        let local = dialler.local;
        assert!(!dialler.rumour(local, at(1)));
        assert!(dialler.keep(&format!("{KEPT}/p2p/{local}")).is_err());
        dialler.keep(KEPT).unwrap();
        let dial = due(&dialler, 0, 0, &[]).pop().unwrap();
        dialler.is_self(&dial.target);
        assert!(due(&dialler, u64::MAX, 0, &[]).is_empty());
    }

    #[test]
    fn the_operators_list_is_bounded_and_can_be_shortened() {
        let mut dialler = dialler();
        for port in 1..=MAX_KEPT {
            dialler.keep(&format!("/ip4/127.0.0.1/tcp/{port}")).unwrap();
        }
        dialler.keep("/ip4/127.0.0.1/tcp/1").expect("already there");
        let over = dialler.keep("/ip4/127.0.0.2/tcp/1");
        assert!(matches!(over, Err(NetworkError::TooManyPeers { max: MAX_KEPT })));
        dialler.forget("/ip4/127.0.0.1/tcp/1").unwrap();
        let gone = dialler.forget("/ip4/127.0.0.1/tcp/1");
        assert!(matches!(gone, Err(NetworkError::NotKept { .. })));
        dialler.keep("/ip4/127.0.0.2/tcp/1").unwrap();
    }

    #[test]
    fn the_banned_are_not_dialled() {
        let mut dialler = dialler();
        dialler.keep(KEPT).unwrap();
        dialler.rumour(PeerId::random(), at(1));
        let dials = dialler.due(&Surroundings {
            now_ms: 0,
            outbound: 0,
            is_connected: &|_| false,
            is_banned: &|_, _| true,
        });
        assert!(dials.is_empty());
    }
}
