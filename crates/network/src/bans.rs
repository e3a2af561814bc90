//! Who is kept out, and until when. Bounded; outlives the process in one file.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use crate::{
    NetworkError,
    address::Origin,
    limits::{MAX_BAN_REASON, MAX_BAN_SECONDS, MAX_BANS},
};

/// A peer id costs nothing, an address something: a ban is on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Peer(PeerId),
    Origin(Origin),
}

impl Subject {
    /// A peer id, an IP address or the multiaddress of one. What is said of one IPv6 address holds
    /// for its /64.
    fn parse(text: &str) -> Result<Self, NetworkError> {
        if let Ok(peer) = text.parse() {
            return Ok(Self::Peer(peer));
        }
        let ip = text.strip_suffix("/64").unwrap_or(text).parse::<IpAddr>().ok();
        let address = ip.map(Multiaddr::from).or_else(|| text.parse().ok());
        let origin = address.as_ref().and_then(Origin::of);
        origin.map(Self::Origin).ok_or_else(|| NetworkError::NotBannable { who: text.into() })
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Origin(origin) => origin.fmt(f),
        }
    }
}

/// One ban, for people and for the file of bans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// A peer id, an IPv4 address or an IPv6 /64.
    pub who: String,
    /// Since when, seconds since 1970.
    pub since: u64,
    /// Until when, seconds since 1970.
    pub until: u64,
    /// What for.
    pub reason: String,
}

#[derive(Clone, Debug)]
struct Terms {
    /// On the monotonic clock: setting the wall clock lifts no ban.
    end_ms: u64,
    since_seconds: u64,
    reason: String,
}

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now_ms: u64,
    pub(crate) unix_seconds: u64,
}

/// When [`MAX_BANS`] is reached, the ban that ends first makes room.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    terms: BTreeMap<Subject, Terms>,
    by_end: BTreeSet<(u64, Subject)>,
    /// Something changed since the last [`Self::take_file`].
    changed: bool,
}

impl Bans {
    /// For so long, or until a ban that already stands ends, whichever is later.
    /// `origin`: where it came from, if that is to be out too.
    pub(crate) fn ban(
        &mut self,
        peer: PeerId,
        origin: Option<Origin>,
        ban_ms: u64,
        reason: &str,
        moment: Moment,
    ) {
        let origin = origin.map(Subject::Origin);
        for subject in std::iter::once(Subject::Peer(peer)).chain(origin) {
            let end_ms = moment.now_ms.saturating_add(ban_ms);
            if self.terms.get(&subject).is_none_or(|stands| stands.end_ms < end_ms) {
                self.insert(subject, ban_ms, reason, moment.unix_seconds, moment);
            }
        }
    }

    /// The operator's: takes the place of a ban that stands. At most ten years.
    pub(crate) fn set(
        &mut self,
        who: &str,
        seconds: u64,
        reason: &str,
        moment: Moment,
    ) -> Result<(), NetworkError> {
        let subject = Subject::parse(who)?;
        let ban_ms = seconds.min(MAX_BAN_SECONDS).saturating_mul(1_000);
        self.insert(subject, ban_ms, reason, moment.unix_seconds, moment);
        Ok(())
    }

    fn insert(
        &mut self,
        subject: Subject,
        ban_ms: u64,
        reason: &str,
        since_seconds: u64,
        moment: Moment,
    ) {
        self.changed = true;
        if !self.remove(&subject)
            && self.terms.len() >= MAX_BANS
            && let Some((_, first)) = self.by_end.pop_first()
        {
            self.terms.remove(&first);
        }
        let end_ms = moment.now_ms.saturating_add(ban_ms);
        let reason = reason.chars().take(MAX_BAN_REASON).collect();
        self.terms.insert(subject, Terms { end_ms, since_seconds, reason });
        self.by_end.insert((end_ms, subject));
    }

    fn remove(&mut self, subject: &Subject) -> bool {
        let Some(terms) = self.terms.remove(subject) else { return false };
        self.by_end.remove(&(terms.end_ms, *subject));
        true
    }

    /// Lets a peer or an address in again.
    pub(crate) fn lift(&mut self, who: &str) -> Result<(), NetworkError> {
        if !self.remove(&Subject::parse(who)?) {
            return Err(NetworkError::NotBanned { who: who.into() });
        }
        self.changed = true;
        Ok(())
    }

    /// Lets a peer in again that is out for this reason, and for no other. Whether it was.
    pub(crate) fn pardon(&mut self, peer: PeerId, reason: &str) -> bool {
        let subject = Subject::Peer(peer);
        let is_meant = self.terms.get(&subject).is_some_and(|terms| terms.reason == reason);
        self.changed |= is_meant;
        is_meant && self.remove(&subject)
    }

    /// Lets everybody in again. How many bans stood.
    pub(crate) fn clear(&mut self) -> usize {
        self.changed |= !self.terms.is_empty();
        self.by_end.clear();
        std::mem::take(&mut self.terms).len()
    }

    /// Whether this peer is kept out now.
    pub(crate) fn has_peer(&self, peer: &PeerId, now_ms: u64) -> bool {
        self.has(Subject::Peer(*peer), now_ms)
    }

    /// Whether whoever comes from there is kept out now.
    pub(crate) fn has_origin(&self, origin: Option<Origin>, now_ms: u64) -> bool {
        origin.is_some_and(|origin| self.has(Subject::Origin(origin), now_ms))
    }

    fn has(&self, subject: Subject, now_ms: u64) -> bool {
        self.terms.get(&subject).is_some_and(|terms| now_ms < terms.end_ms)
    }

    /// Forgets what is over.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some(&(end, subject)) = self.by_end.first()
            && end <= now_ms
        {
            self.remove(&subject);
        }
    }

    /// All that stand, the one that ends first first.
    pub(crate) fn list(&self, moment: Moment) -> Vec<Ban> {
        let bans = self.by_end.iter().filter_map(|(end_ms, subject)| {
            let terms = self.terms.get(subject)?;
            let left_ms = end_ms.checked_sub(moment.now_ms).filter(|left_ms| *left_ms > 0)?;
            Some(Ban {
                who: subject.to_string(),
                since: terms.since_seconds,
                until: moment.unix_seconds.saturating_add(left_ms.div_ceil(1_000)),
                reason: terms.reason.clone(),
            })
        });
        bans.collect()
    }

    // ---- on disk

    /// What is to be written, where something changed since this was asked last.
    pub(crate) fn take_file(&mut self, moment: Moment) -> Option<BanFile> {
        std::mem::take(&mut self.changed)
            .then(|| BanFile { version: BAN_VERSION, bans: self.list(moment) })
    }

    /// The bans of an earlier run that are not over.
    pub(crate) fn from_file(file: BanFile, moment: Moment) -> Self {
        let mut bans = Self::default();
        for ban in file.bans {
            // A wall clock that was wrong then or is wrong now makes no ban eternal.
            let left = ban.until.saturating_sub(moment.unix_seconds).min(MAX_BAN_SECONDS);
            if let Ok(subject) = Subject::parse(&ban.who)
                && left > 0
            {
                bans.insert(subject, left.saturating_mul(1_000), &ban.reason, ban.since, moment);
            }
        }
        bans.changed = false;
        bans
    }
}

/// Which layout of `bans.json` this is.
pub(crate) const BAN_VERSION: u32 = 1;

/// `bans.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BanFile {
    pub(crate) version: u32,
    bans: Vec<Ban>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment { now_ms: 0, unix_seconds: 1_700_000_000 };

    fn at(text: &str) -> Option<Origin> {
        Origin::of(&text.parse().unwrap())
    }

    #[test]
    fn both_the_peer_and_its_address_are_out_until_the_end() {
        let mut bans = Bans::default();
        let (peer, origin) = (PeerId::random(), at("/ip4/8.8.8.8/tcp/5"));
        bans.ban(peer, origin, 100, "test", START);
        assert!(bans.has_peer(&peer, 99) && !bans.has_peer(&peer, 100));
        assert!(bans.has_origin(at("/ip4/8.8.8.8/tcp/6"), 99));
        assert!(bans.has_origin(at("/ip6/::ffff:8.8.8.8/tcp/6"), 99), "the mapped form too");
        assert!(!bans.has_origin(origin, 100));
        bans.ban(peer, origin, 50, "test", START);
        assert!(bans.has_peer(&peer, 99), "a shorter ban does not shorten");
        bans.expire(100);
        assert!(bans.terms.is_empty() && bans.by_end.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_the_first_to_end_goes() {
        let mut bans = Bans::default();
        let first = PeerId::random();
        bans.ban(first, None, 10, "test", START);
        for _ in 0..MAX_BANS - 1 {
            bans.ban(PeerId::random(), None, 20, "test", START);
        }
        assert!(bans.has_peer(&first, 5), "at the limit");
        bans.ban(PeerId::random(), None, 20, "test", START);
        assert!(!bans.has_peer(&first, 5), "over it");
        assert_eq!((bans.terms.len(), bans.by_end.len()), (MAX_BANS, MAX_BANS));
    }

    #[test]
    fn the_operator_sets_lists_and_lifts() {
        let mut bans = Bans::default();
        let peer = PeerId::random().to_string();
        bans.set(&peer, 10, "rude", START).unwrap();
        bans.set("192.0.2.1", 20, "", START).unwrap();
        bans.set("2001:db8::1", 30, "", START).unwrap();
        bans.set("/ip4/192.0.2.1/tcp/5", 5, "shorter now", START).unwrap();
        let list = bans.list(START);
        let told: Vec<_> =
            list.iter().map(|ban| (ban.who.as_str(), ban.until - START.unix_seconds)).collect();
        assert_eq!(told, [("192.0.2.1", 5), (peer.as_str(), 10), ("2001:db8::/64", 30)]);
        assert_eq!(list[1].reason, "rude");
        bans.set("192.0.2.3", 40, &"ä".repeat(MAX_BAN_REASON + 1), START).unwrap();
        assert_eq!(bans.list(START)[3].reason, "ä".repeat(MAX_BAN_REASON));
        bans.lift("192.0.2.3").unwrap();
        bans.lift("2001:db8::77").expect("the same /64");
        bans.lift("2001:db8::/64").expect_err("lifted");
        assert!(bans.set("8.8.8", 1, "", START).is_err());
        assert_eq!((bans.clear(), bans.clear()), (2, 0));
        bans.set("192.0.2.1", u64::MAX, "", START).unwrap();
        assert_eq!(bans.list(START)[0].until, START.unix_seconds + MAX_BAN_SECONDS);
    }

    #[test]
    fn bans_come_back_from_their_file_and_end_when_they_would_have() {
        let mut bans = Bans::default();
        let peer = PeerId::random();
        assert!(bans.take_file(START).is_none(), "nothing to write");
        bans.ban(peer, at("/ip4/8.8.8.8/tcp/5"), 100_000, "made up", START);
        let text = serde_json::to_string(&bans.take_file(START).unwrap()).unwrap();
        assert!(bans.take_file(START).is_none(), "written");

        // An hour's uptime of the machine, and 40 s after the ban.
        let later = Moment { now_ms: 3_600_000, unix_seconds: START.unix_seconds + 40 };
        let again = Bans::from_file(serde_json::from_str(&text).unwrap(), later);
        assert!(again.has_peer(&peer, later.now_ms + 59_999));
        assert!(!again.has_peer(&peer, later.now_ms + 60_000));
        assert_eq!(again.list(later)[0].reason, "made up");
        let much_later = Moment { unix_seconds: START.unix_seconds + 100, ..later };
        assert!(Bans::from_file(serde_json::from_str(&text).unwrap(), much_later).terms.is_empty());
    }
}
