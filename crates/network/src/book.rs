//! The address book: whom we could dial, and how much of it is proved (THREATS N1).
//!
//! Two tables. *New* holds rumours; *tried* holds peers that were connected and said themselves
//! where they are. Each is made of small buckets, and the bucket of a peer follows from a secret
//! and from the network that its address belongs to: whoever owns one network can fill a few
//! buckets of each table, and nobody can tell which. A choice draws the table first, then a
//! bucket, then a peer in it, so that a crowded network is not chosen more often than others.
//!
//! It outlives the process in one file, with the peers to come back to first.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hasher,
};

use libp2p::{Multiaddr, PeerId};
use rand::{Rng, RngExt, seq::IteratorRandom};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::{
    address::Group,
    backoff::Backoff,
    limits::{
        ANCHORS, BOOK_BACKOFF_MS, BOOK_FAILURES, BUCKET_PEERS, MAX_ADDRESSES_PER_PEER, MAX_SHUNNED,
        NEW_BUCKETS, NEW_BUCKETS_PER_GROUP, SHUN_MS, TRIED_BUCKETS, TRIED_BUCKETS_PER_GROUP,
    },
};

/// How much of a peer is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Somebody named it.
    New,
    /// It was connected, and its addresses are its own words.
    Tried,
}

impl Table {
    const fn buckets(self) -> u64 {
        match self {
            Self::New => NEW_BUCKETS,
            Self::Tried => TRIED_BUCKETS,
        }
    }

    const fn buckets_per_group(self) -> u64 {
        match self {
            Self::New => NEW_BUCKETS_PER_GROUP,
            Self::Tried => TRIED_BUCKETS_PER_GROUP,
        }
    }
}

type Bucket = (Table, u64);

#[derive(Debug)]
struct Entry {
    /// Never empty; the first one's network decides the bucket.
    addresses: Vec<Multiaddr>,
    bucket: Bucket,
    /// When it was connected last, seconds since 1970; 0: never.
    seen_seconds: u64,
    backoff: Backoff,
}

/// A peer that could be dialled now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) peer: PeerId,
    /// Never empty.
    pub(crate) addresses: Vec<Multiaddr>,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Book {
    local: PeerId,
    key: [u8; 16],
    entries: BTreeMap<PeerId, Entry>,
    buckets: BTreeMap<Bucket, BTreeSet<PeerId>>,
    /// Peers of the last run that were good company: dialled before all others.
    anchors: Vec<PeerId>,
    /// Where rumours led to nobody, and until when to remember it.
    shunned: BTreeMap<Multiaddr, u64>,
}

impl Book {
    pub(crate) fn new(local: PeerId) -> Self {
        let mut key = [0; 16];
        rand::rng().fill_bytes(&mut key);
        Self {
            local,
            key,
            entries: BTreeMap::new(),
            buckets: BTreeMap::new(),
            anchors: Vec::new(),
            shunned: BTreeMap::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(crate) fn table_of(&self, peer: &PeerId) -> Option<Table> {
        self.entries.get(peer).map(|entry| entry.bucket.0)
    }

    fn hash(&self, table: Table, group: Group, what: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u8(match table {
            Table::New => 0,
            Table::Tried => 1,
        });
        hasher.write(&group.to_bytes());
        hasher.write(what);
        hasher.finish()
    }

    /// Where a peer belongs. A network has few buckets, and a peer one of them.
    fn bucket(&self, table: Table, peer: &PeerId, addresses: &[Multiaddr]) -> Bucket {
        let group = addresses.first().map_or(Group::UNKNOWN, Group::of);
        let number = self.hash(table, group, &peer.to_bytes()) % table.buckets_per_group();
        (table, self.hash(table, group, &number.to_le_bytes()) % table.buckets())
    }

    /// An order of networks that nobody outside can tell.
    pub(crate) fn rank(&self, group: Group) -> u64 {
        self.hash(Table::Tried, group, b"rank")
    }

    /// Takes what a third party told of `peer`: adds to what is known, never replaces what the peer
    /// said itself. True where the peer is new.
    pub(crate) fn rumour(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>) -> bool {
        addresses.retain(|address| !self.shunned.contains_key(address));
        addresses.truncate(MAX_ADDRESSES_PER_PEER);
        if peer == self.local || addresses.is_empty() {
            return false;
        }
        match self.entries.get_mut(&peer) {
            None => self.insert(peer, addresses, Table::New),
            Some(entry) => {
                if entry.bucket.0 == Table::New {
                    for address in addresses {
                        if entry.addresses.len() < MAX_ADDRESSES_PER_PEER
                            && !entry.addresses.contains(&address)
                        {
                            entry.addresses.push(address);
                        }
                    }
                }
                false
            }
        }
    }

    /// Takes what a connected peer says of itself, in place of everything before.
    pub(crate) fn learn(&mut self, peer: PeerId, addresses: &[Multiaddr], now_seconds: u64) {
        let backoff = self.forget(&peer).map(|entry| entry.backoff);
        let addresses = &addresses[..addresses.len().min(MAX_ADDRESSES_PER_PEER)];
        if !addresses.is_empty()
            && self.insert(peer, addresses.to_vec(), Table::Tried)
            && let Some(entry) = self.entries.get_mut(&peer)
        {
            entry.seen_seconds = now_seconds;
            entry.backoff = backoff.unwrap_or_default();
        }
    }

    /// False where there is no room.
    fn insert(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, table: Table) -> bool {
        let bucket = self.bucket(table, &peer, &addresses);
        if !self.make_room(bucket) {
            return false;
        }
        self.buckets.entry(bucket).or_default().insert(peer);
        let backoff = Backoff::default();
        self.entries.insert(peer, Entry { addresses, bucket, seen_seconds: 0, backoff });
        true
    }

    /// In a full bucket the peer that failed most often gives way. Among rumours that nobody tried
    /// yet, those who came first stay; of tried peers, the one not seen for longest becomes a
    /// rumour again.
    fn make_room(&mut self, bucket: Bucket) -> bool {
        let Some(peers) = self.buckets.get(&bucket).filter(|peers| peers.len() >= BUCKET_PEERS)
        else {
            return true;
        };
        let known = peers.iter().filter_map(|peer| Some((peer, self.entries.get(peer)?)));
        let worst = known
            .max_by_key(|(_, entry)| (entry.backoff.failures, u64::MAX - entry.seen_seconds))
            .map(|(peer, entry)| (*peer, entry.backoff.failures));
        let Some((worst, failures)) = worst else { return true };
        match bucket.0 {
            Table::New => failures > 0 && self.forget(&worst).is_some(),
            Table::Tried => {
                if let Some(entry) = self.forget(&worst) {
                    self.insert(worst, entry.addresses, Table::New);
                }
                true
            }
        }
    }

    /// Takes a peer out.
    fn forget(&mut self, peer: &PeerId) -> Option<Entry> {
        let entry = self.entries.remove(peer)?;
        if let Some(peers) = self.buckets.get_mut(&entry.bucket) {
            peers.remove(peer);
            if peers.is_empty() {
                self.buckets.remove(&entry.bucket);
            }
        }
        Some(entry)
    }

    /// A peer of another chain, or ourselves.
    pub(crate) fn remove(&mut self, peer: &PeerId) {
        self.forget(peer);
    }

    /// At most `wanted` peers whose time has come, whom `may_dial` leaves addresses. Anchors first;
    /// then networks that `has_group` does not know yet; others only where these do not suffice.
    pub(crate) fn choose(
        &self,
        wanted: usize,
        now_ms: u64,
        mut has_group: impl FnMut(Group) -> bool,
        may_dial: impl Fn(&PeerId, &Multiaddr) -> bool,
    ) -> Vec<Candidate> {
        let mut candidates = self.candidates(now_ms, None, may_dial);
        let mut chosen = Vec::new();
        for anchor in &self.anchors {
            if chosen.len() < wanted
                && let Some(candidate) = take(&mut candidates, anchor)
            {
                chosen.push(candidate);
            }
        }
        let mut groups: BTreeSet<Group> = chosen.iter().map(Candidate::group).collect();
        let mut rng = rand::rng();
        for only_new_groups in [true, false] {
            while chosen.len() < wanted {
                let peer = draw(&candidates, &mut rng, |candidate| {
                    let group = candidate.group();
                    !only_new_groups || !(groups.contains(&group) || has_group(group))
                });
                let Some(candidate) = peer.and_then(|peer| take(&mut candidates, &peer)) else {
                    break;
                };
                groups.insert(candidate.group());
                chosen.push(candidate);
            }
        }
        chosen
    }

    /// A rumour to prove, though nobody is needed (a feeler).
    pub(crate) fn choose_rumour(
        &self,
        now_ms: u64,
        may_dial: impl Fn(&PeerId, &Multiaddr) -> bool,
    ) -> Option<Candidate> {
        let mut candidates = self.candidates(now_ms, Some(Table::New), may_dial);
        let peer = draw(&candidates, &mut rand::rng(), |_| true)?;
        take(&mut candidates, &peer)
    }

    fn candidates(
        &self,
        now_ms: u64,
        table: Option<Table>,
        may_dial: impl Fn(&PeerId, &Multiaddr) -> bool,
    ) -> BTreeMap<Bucket, Vec<Candidate>> {
        let mut candidates: BTreeMap<Bucket, Vec<Candidate>> = BTreeMap::new();
        for (&peer, entry) in &self.entries {
            if entry.backoff.next_ms > now_ms || table.is_some_and(|table| table != entry.bucket.0)
            {
                continue;
            }
            let allowed = |address: &&Multiaddr| may_dial(&peer, address);
            let addresses: Vec<_> = entry.addresses.iter().filter(allowed).cloned().collect();
            if !addresses.is_empty() {
                candidates.entry(entry.bucket).or_default().push(Candidate { peer, addresses });
            }
        }
        candidates
    }

    /// A dial failed. Returns how often in a row. `nobody`: whom we wanted was not there; otherwise
    /// it was only the wrong moment.
    pub(crate) fn failed(&mut self, peer: &PeerId, nobody: bool, now_ms: u64) -> u32 {
        let Some(entry) = self.entries.get_mut(peer) else { return 0 };
        entry.backoff.failed(now_ms, BOOK_BACKOFF_MS);
        let (failures, table) = (entry.backoff.failures, entry.bucket.0);
        let is_rumour = table == Table::New;
        if (failures >= BOOK_FAILURES || (nobody && is_rumour))
            && let Some(gone) = self.forget(peer)
            && is_rumour
        {
            for address in gone.addresses {
                if self.shunned.len() < MAX_SHUNNED {
                    self.shunned.insert(address, now_ms + SHUN_MS);
                }
            }
        }
        failures
    }

    /// A connection ended; `yields_ms` more than usual are waited.
    pub(crate) fn disconnected(
        &mut self,
        peer: &PeerId,
        lasted_ms: u64,
        yields_ms: u64,
        now_ms: u64,
    ) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.backoff.ended(now_ms, lasted_ms, BOOK_BACKOFF_MS);
            entry.backoff.next_ms += yields_ms;
        }
    }

    /// Believes again what it has not believed for long enough.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.shunned.retain(|_, end| *end > now_ms);
    }

    // ---- on disk

    /// What is kept over a restart. `company`: who is connected and was dialled, best first.
    pub(crate) fn to_file(&self, company: &[PeerId]) -> BookFile {
        BookFile {
            version: BOOK_VERSION,
            key: u128::from_le_bytes(self.key),
            anchors: company.iter().take(ANCHORS).map(ToString::to_string).collect(),
            peers: self
                .entries
                .iter()
                .map(|(peer, entry)| KnownPeer {
                    id: peer.to_string(),
                    addresses: entry.addresses.clone(),
                    tried: entry.bucket.0 == Table::Tried,
                    seen: entry.seen_seconds,
                })
                .collect(),
        }
    }

    /// The book of an earlier run. What does not parse in it is left out.
    pub(crate) fn from_file(local: PeerId, file: BookFile) -> Self {
        let mut book = Self { key: file.key.to_le_bytes(), ..Self::new(local) };
        for known in file.peers {
            let Ok(peer) = known.id.parse() else { continue };
            if known.tried {
                book.learn(peer, &known.addresses, known.seen);
            } else {
                book.rumour(peer, known.addresses);
            }
        }
        book.anchors = file.anchors.iter().filter_map(|id| id.parse().ok()).take(ANCHORS).collect();
        book
    }
}

impl Candidate {
    fn group(&self) -> Group {
        self.addresses.first().map_or(Group::UNKNOWN, Group::of)
    }
}

/// The table by a coin, then a bucket, then a peer.
fn draw(
    candidates: &BTreeMap<Bucket, Vec<Candidate>>,
    rng: &mut impl Rng,
    mut fits: impl FnMut(&Candidate) -> bool,
) -> Option<PeerId> {
    let mut fitting: BTreeMap<Bucket, Vec<PeerId>> = BTreeMap::new();
    for (&bucket, peers) in candidates {
        let peers: Vec<_> =
            peers.iter().filter(|candidate| fits(candidate)).map(|fit| fit.peer).collect();
        if !peers.is_empty() {
            fitting.insert(bucket, peers);
        }
    }
    let has = |table| fitting.keys().any(|bucket| bucket.0 == table);
    let table = match (has(Table::New), has(Table::Tried)) {
        (true, true) if rng.random_bool(0.5) => Table::New,
        (_, true) => Table::Tried,
        (true, false) => Table::New,
        (false, false) => return None,
    };
    let buckets = fitting.iter().filter(|(bucket, _)| bucket.0 == table).map(|(_, peers)| peers);
    buckets.choose(rng)?.iter().choose(rng).copied()
}

fn take(candidates: &mut BTreeMap<Bucket, Vec<Candidate>>, peer: &PeerId) -> Option<Candidate> {
    candidates.values_mut().find_map(|peers| {
        let index = peers.iter().position(|candidate| candidate.peer == *peer)?;
        Some(peers.swap_remove(index))
    })
}

/// Which layout of `peers.json` this is.
pub(crate) const BOOK_VERSION: u32 = 1;

/// `peers.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BookFile {
    pub(crate) version: u32,
    /// Of the buckets.
    #[serde(with = "hex_key")]
    key: u128,
    anchors: Vec<String>,
    peers: Vec<KnownPeer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KnownPeer {
    id: String,
    addresses: Vec<Multiaddr>,
    tried: bool,
    /// Seconds since 1970.
    seen: u64,
}

/// JSON has no numbers of 128 bits.
mod hex_key {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{key:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        u128::from_str_radix(&String::deserialize(from)?, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> Book {
        Book::new(PeerId::random())
    }

    fn at(a: u8, b: u8, port: u16) -> Vec<Multiaddr> {
        vec![format!("/ip4/{a}.{b}.1.1/tcp/{port}").parse().unwrap()]
    }

    fn choose(book: &Book, wanted: usize) -> Vec<Candidate> {
        book.choose(wanted, 0, |_| false, |_, _| true)
    }

    #[test]
    fn a_rumour_never_replaces_what_a_peer_said_itself() {
        let mut book = book();
        let peer = PeerId::random();
        assert!(book.rumour(peer, at(1, 1, 1)));
        assert_eq!(book.table_of(&peer), Some(Table::New));
        book.learn(peer, &at(1, 1, 2), 5);
        assert_eq!(book.table_of(&peer), Some(Table::Tried));
        assert!(!book.rumour(peer, at(1, 1, 3)));
        assert_eq!(choose(&book, 9), [Candidate { peer, addresses: at(1, 1, 2) }]);
    }

    #[test]
    fn a_peer_that_was_there_is_tried_for_long() {
        let mut book = book();
        let peer = PeerId::random();
        book.learn(peer, &at(1, 1, 1), 5);
        for _ in 0..BOOK_FAILURES {
            assert!(book.entries.contains_key(&peer));
            book.failed(&peer, true, 0);
        }
        assert!(book.entries.is_empty() && book.buckets.is_empty() && book.shunned.is_empty());
    }

    #[test]
    fn a_false_rumour_costs_one_dial_under_whatever_name_it_comes_again() {
        let mut book = book();
        let peer = PeerId::random();
        book.rumour(peer, at(1, 1, 1));
        book.failed(&peer, false, 0);
        assert!(book.entries.contains_key(&peer), "the wrong moment proves nothing");
        book.failed(&peer, true, 0);
        assert!(!book.rumour(PeerId::random(), at(1, 1, 1)));
        let both = [at(1, 1, 1), at(1, 1, 2)].concat();
        assert!(book.rumour(PeerId::random(), both), "what is new in it");
        book.learn(peer, &at(1, 1, 1), 5);
        assert_eq!(book.entries[&peer].addresses, at(1, 1, 1), "the peer itself is believed");
        book.expire(SHUN_MS);
        assert!(book.rumour(PeerId::random(), at(1, 1, 1)));
        for port in 1..=5_000 {
            let peer = PeerId::random();
            book.rumour(peer, at(1, 1, port));
            book.failed(&peer, true, 0);
        }
        assert!(book.shunned.len() <= MAX_SHUNNED);
    }

    #[test]
    fn one_network_fills_a_few_buckets_and_leaves_room_for_all_others() {
        let mut book = book();
        let attacker = |port| at(66, 66, port);
        for port in 1..=4_000 {
            book.rumour(PeerId::random(), attacker(port));
        }
        let held = usize::try_from(NEW_BUCKETS_PER_GROUP).unwrap() * BUCKET_PEERS;
        assert!(book.len() <= held, "{} of {held}", book.len());
        for port in 1..=4_000 {
            book.learn(PeerId::random(), &attacker(port), u64::from(port));
        }
        let tried = usize::try_from(TRIED_BUCKETS_PER_GROUP).unwrap() * BUCKET_PEERS;
        assert!(book.len() <= held + tried, "{}", book.len());
        let mut others = 0;
        for network in 0..100 {
            others += usize::from(book.rumour(PeerId::random(), at(7, network, 1)));
        }
        // Some of them may share a bucket that is full by now, and most do not.
        assert!(others > 70, "{others} of 100 honest networks found room");
        for port in 0..50 {
            for network in 0..=255 {
                book.rumour(PeerId::random(), at(200, network, port));
            }
        }
        let most = usize::try_from(NEW_BUCKETS + TRIED_BUCKETS).unwrap() * BUCKET_PEERS;
        assert!(book.len() <= most);
    }

    #[test]
    fn choices_go_to_as_many_networks_as_there_are() {
        let mut book = book();
        for port in 1..=200 {
            book.rumour(PeerId::random(), at(66, 66, port));
        }
        for network in 0..5 {
            book.rumour(PeerId::random(), at(7, network, 1));
        }
        let chosen = choose(&book, 8);
        let groups: BTreeSet<_> = chosen.iter().map(Candidate::group).collect();
        assert_eq!((chosen.len(), groups.len()), (8, 6));
        let known = Group::of(&at(7, 0, 9)[0]);
        let chosen = book.choose(5, 0, |group| group == known, |_, _| true);
        assert!(chosen.iter().all(|candidate| candidate.group() != known));
    }

    #[test]
    fn a_full_bucket_of_tried_peers_keeps_those_seen_last() {
        let mut book = book();
        let peers: Vec<_> = (0..4_000_u64).map(|_| PeerId::random()).collect();
        for (seen, peer) in (1..).zip(&peers) {
            book.learn(*peer, &at(9, 9, 9), seen);
        }
        for peer in peers.iter().rev().take(20) {
            assert_eq!(book.table_of(peer), Some(Table::Tried));
        }
    }

    #[test]
    fn the_book_comes_back_from_its_file_with_its_anchors() {
        let mut book = book();
        let (tried, rumour) = (PeerId::random(), PeerId::random());
        book.learn(tried, &at(1, 1, 1), 77);
        book.rumour(rumour, at(2, 2, 2));
        for port in 1..50 {
            book.rumour(PeerId::random(), at(3, 3, port));
        }
        let text = serde_json::to_string(&book.to_file(&[rumour])).unwrap();
        let again = Book::from_file(book.local, serde_json::from_str(&text).unwrap());
        assert_eq!(again.key, book.key);
        assert_eq!(again.buckets, book.buckets);
        assert_eq!(again.entries[&tried].seen_seconds, 77);
        for _ in 0..20 {
            assert_eq!(choose(&again, 1)[0].peer, rumour, "the anchor goes first");
        }
        assert!(again.choose_rumour(0, |_, _| true).is_some_and(|feeler| feeler.peer != tried));
    }
}
