//! Whom to dial, where and when: the operator's peers for ever, others from the address book until
//! there are enough, and now and then a rumour, to prove it. Decides only; the swarm task dials.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use rand::RngExt;

use crate::{
    address::{Group, parse_dial},
    backoff::Backoff,
    book::{Book, Candidate},
    error::NetworkError,
    limits::{
        COLLISION_MS, FEELER_MS, KEPT_BACKOFF_MS, MAX_KEPT, MAX_PENDING_OUTBOUND, WANTED_OUTBOUND,
    },
};

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

/// Why a dial goes out, which decides what its failure means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The operator's peer at this address.
    Kept(Multiaddr),
    /// A peer from the book.
    Book(PeerId),
    /// A rumour from the book, to see whether it is true; the connection ends once that is known.
    Feeler(PeerId),
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
    /// Whether a connection that we made leads into this network.
    pub(crate) has_group: &'a dyn Fn(Group) -> bool,
    pub(crate) is_banned: &'a dyn Fn(Option<&PeerId>, &Multiaddr) -> bool,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Dialler {
    local: PeerId,
    kept: Vec<Kept>,
    pub(crate) book: Book,
    /// Whether peers that nobody named may be dialled.
    uses_book: bool,
    next_feeler_ms: u64,
    dialling: BTreeMap<ConnectionId, Target>,
}

impl Dialler {
    /// `uses_book`: peers that the operator did not name are dialled too.
    pub(crate) fn new(local: PeerId, book: Book, uses_book: bool) -> Self {
        Self {
            local,
            kept: Vec::new(),
            book,
            uses_book,
            next_feeler_ms: 0,
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

    /// Whether there is no one to dial.
    pub(crate) fn knows_nobody(&self) -> bool {
        self.kept.is_empty() && self.book.is_empty()
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

    /// A peer of another chain: out of the book, and a kept one is asked as seldom as can be.
    pub(crate) fn estrange(&mut self, peer: &PeerId, now_ms: u64) {
        self.book.remove(peer);
        for kept in self.kept.iter_mut().filter(|kept| kept.peer() == Some(*peer)) {
            kept.backoff.failures = u32::MAX;
            kept.backoff.failed(now_ms, KEPT_BACKOFF_MS);
        }
    }

    /// What to dial now. Each must be followed by [`Self::started`] or [`Self::failed`].
    pub(crate) fn due(&mut self, around: &Surroundings<'_>) -> Vec<Dial> {
        let mut room = MAX_PENDING_OUTBOUND.saturating_sub(self.dialling.len());
        let mut dials = Vec::new();
        for kept in self.kept.iter().filter(|kept| self.is_due(kept, around)).take(room) {
            dials.push(Dial {
                target: Target::Kept(kept.address.clone()),
                peer: kept.required,
                addresses: vec![kept.address.clone()],
            });
        }
        if !self.uses_book {
            return dials;
        }
        room -= dials.len();
        let busy = around.outbound + self.dialling.len() + dials.len();
        let wanted = WANTED_OUTBOUND.saturating_sub(busy).min(room);
        let taken: Vec<PeerId> = dials.iter().filter_map(|dial| dial.peer).collect();
        let may_dial = |peer: &PeerId, address: &Multiaddr| {
            !taken.contains(peer)
                && !self.is_taken(peer, around)
                && !(around.is_banned)(Some(peer), address)
        };
        let dial = |target: fn(PeerId) -> Target, Candidate { peer, addresses }| Dial {
            target: target(peer),
            peer: Some(peer),
            addresses,
        };
        if wanted > 0 {
            let chosen = self.book.choose(wanted, around.now_ms, around.has_group, may_dial);
            dials.extend(chosen.into_iter().map(|chosen| dial(Target::Book, chosen)));
        } else if room > 0 && around.now_ms >= self.next_feeler_ms {
            let feeler = self.book.choose_rumour(around.now_ms, may_dial);
            dials.extend(feeler.map(|chosen| dial(Target::Feeler, chosen)));
            // Spread, so that nobody can tell when the next one comes.
            let wait_ms = rand::rng().random_range(FEELER_MS / 2..=FEELER_MS + FEELER_MS / 2);
            self.next_feeler_ms = around.now_ms + wait_ms;
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
            || self
                .dialling
                .values()
                .any(|dial| *dial == Target::Book(*peer) || *dial == Target::Feeler(*peer))
    }

    /// The dial is on its way under this number.
    pub(crate) fn started(&mut self, connection: ConnectionId, target: Target) {
        self.dialling.insert(connection, target);
    }

    /// It came up, and `peer` answered. True where that is all we wanted to know.
    pub(crate) fn connected(&mut self, connection: ConnectionId, peer: PeerId) -> bool {
        let Some(target) = self.dialling.remove(&connection) else { return false };
        self.answered(&target, peer);
        matches!(target, Target::Feeler(_))
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
            Target::Book(peer) | Target::Feeler(peer) => self.book.failed(peer, nobody, now_ms),
        }
    }

    /// The address turned out to be this node's own.
    pub(crate) fn is_self(&mut self, target: &Target) {
        match target {
            Target::Kept(address) => {
                for kept in self.kept.iter_mut().filter(|kept| kept.address == *address) {
                    kept.is_self = true;
                }
            }
            Target::Book(peer) | Target::Feeler(peer) => self.book.remove(peer),
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
        self.book.disconnected(peer, lasted_ms, yields_ms, now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::STABLE_MS;

    const KEPT: &str = "/ip4/127.0.0.1/tcp/9333";

    fn dialler() -> Dialler {
        let local = PeerId::random();
        Dialler::new(local, Book::new(local), true)
    }

    fn at(port: u16) -> Vec<Multiaddr> {
        vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()]
    }

    fn due(dialler: &mut Dialler, now_ms: u64, outbound: usize, connected: &[PeerId]) -> Vec<Dial> {
        dialler.due(&Surroundings {
            now_ms,
            outbound,
            is_connected: &|peer| connected.contains(peer),
            has_group: &|_| false,
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
            let dial =
                due(&mut dialler, now, WANTED_OUTBOUND, &[]).pop().expect("due, whatever else");
            dialler.failed(&dial.target, true, now);
            let before = now;
            while due(&mut dialler, now, 0, &[]).is_empty() {
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
        let dial = due(&mut dialler, 0, 0, &[]).pop().unwrap();
        dialler.started(connection, dial.target);
        assert!(due(&mut dialler, 0, 0, &[]).is_empty());
        let peer = PeerId::random();
        dialler.connected(connection, peer);
        assert!(due(&mut dialler, 0, 0, &[peer]).is_empty(), "its peer id was learned");
        dialler.disconnected(&peer, STABLE_MS, true, 1_000);
        assert_eq!(due(&mut dialler, 1_000 + KEPT_BACKOFF_MS.0, 0, &[]).len(), 1);
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
        assert_eq!(due(&mut one, KEPT_BACKOFF_MS.0, 0, &[]).len(), 1);
        assert!(due(&mut other, KEPT_BACKOFF_MS.0, 0, &[]).is_empty());
        assert_eq!(due(&mut other, KEPT_BACKOFF_MS.0 + COLLISION_MS, 0, &[]).len(), 1);
    }

    #[test]
    fn the_book_fills_up_what_is_wanted_and_no_more() {
        let mut dialler = dialler();
        for port in 1..=20 {
            assert!(dialler.book.rumour(PeerId::random(), at(port)));
        }
        assert_eq!(due(&mut dialler, 0, 0, &[]).len(), WANTED_OUTBOUND);
        assert_eq!(due(&mut dialler, 0, WANTED_OUTBOUND - 1, &[]).len(), 1);
        let more = due(&mut dialler, 0, WANTED_OUTBOUND, &[]);
        assert!(more.iter().all(|dial| matches!(dial.target, Target::Feeler(_))), "{more:?}");
    }

    #[test]
    fn we_never_dial_ourselves_twice() {
        let mut dialler = dialler();
        let local = dialler.local;
        assert!(!dialler.book.rumour(local, at(1)));
        assert!(dialler.keep(&format!("{KEPT}/p2p/{local}")).is_err());
        dialler.keep(KEPT).unwrap();
        let dial = due(&mut dialler, 0, 0, &[]).pop().unwrap();
        dialler.is_self(&dial.target);
        assert!(due(&mut dialler, u64::MAX, 0, &[]).is_empty());
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
    fn so_many_dials_go_on_at_one_time_and_no_more() {
        let mut dialler = dialler();
        for port in 1..=100 {
            dialler.keep(&format!("/ip4/127.0.0.1/tcp/{port}")).unwrap();
        }
        let dials = due(&mut dialler, 0, 0, &[]);
        assert_eq!(dials.len(), MAX_PENDING_OUTBOUND);
        for (id, dial) in (1..).zip(dials) {
            dialler.started(ConnectionId::new_unchecked(id), dial.target);
        }
        assert!(due(&mut dialler, 0, 0, &[]).is_empty());
        dialler.ended(ConnectionId::new_unchecked(1)).expect("under way");
        assert_eq!(due(&mut dialler, 0, 0, &[]).len(), 1);
    }

    #[test]
    fn the_banned_are_not_dialled() {
        let mut dialler = dialler();
        dialler.keep(KEPT).unwrap();
        dialler.book.rumour(PeerId::random(), at(1));
        let dials = dialler.due(&Surroundings {
            now_ms: 0,
            outbound: 0,
            is_connected: &|_| false,
            has_group: &|_| false,
            is_banned: &|_, _| true,
        });
        assert!(dials.is_empty());
    }

    #[test]
    fn when_there_are_enough_a_rumour_is_proved_now_and_then() {
        let mut dialler = dialler();
        let (proved, rumour) = (PeerId::random(), PeerId::random());
        dialler.book.learn(proved, &at(1), 1);
        dialler.book.rumour(rumour, at(2));
        let dial = due(&mut dialler, 0, WANTED_OUTBOUND, &[]).pop().expect("a feeler");
        assert_eq!(dial.target, Target::Feeler(rumour));
        let connection = ConnectionId::new_unchecked(1);
        dialler.started(connection, dial.target);
        assert!(due(&mut dialler, FEELER_MS / 2 - 1, WANTED_OUTBOUND, &[]).is_empty());
        assert!(dialler.connected(connection, rumour), "that is all we wanted to know");
        dialler.book.learn(rumour, &at(2), 1);
        assert!(due(&mut dialler, 2 * FEELER_MS, WANTED_OUTBOUND, &[]).is_empty());
    }

    #[test]
    fn without_the_book_only_the_operators_peers_are_dialled() {
        let local = PeerId::random();
        let mut dialler = Dialler::new(local, Book::new(local), false);
        dialler.book.rumour(PeerId::random(), at(1));
        dialler.keep(KEPT).unwrap();
        let dials = due(&mut dialler, 0, 0, &[]);
        assert!(matches!(dials[..], [Dial { target: Target::Kept(_), .. }]), "{dials:?}");
    }
}
