//! Who goes when more have come than may stay (THREATS N3): somebody that is easy to replace, never
//! one that is hard to imitate. After Bitcoin Core's rule: protected are a few of different
//! networks, the quickest, those who brought news last, and half of the rest by age; of the others
//! the youngest in the most crowded network goes.

use std::collections::BTreeMap;

use ashlar_engine::Direction;
use libp2p::PeerId;

use super::{
    Task,
    peers::{Connected, Standing},
};
use crate::{
    address::Group,
    limits::{
        MAX_INBOUND, PROTECTED_BLOCK_BRINGERS, PROTECTED_GROUPS, PROTECTED_QUICK,
        PROTECTED_TRANSACTION_BRINGERS,
    },
};

/// What counts of an inbound peer.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    peer: PeerId,
    /// Orders networks in a way that nobody outside can tell.
    group: Group,
    group_rank: u64,
    /// Round trip; not measured yet counts as slow.
    ping_ms: u64,
    block_ms: u64,
    transaction_ms: u64,
    since_ms: u64,
}

/// Whom to part with; `None`: all of them are protected.
fn choose(mut candidates: Vec<Candidate>) -> Option<PeerId> {
    // One each of some networks: an attacker can't know which, and would need all of them.
    let mut ranks: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        ranks.entry(candidate.group_rank).or_insert(index);
    }
    let mut first_of_groups: Vec<usize> = ranks.into_values().take(PROTECTED_GROUPS).collect();
    first_of_groups.sort_unstable();
    for index in first_of_groups.into_iter().rev() {
        candidates.remove(index);
    }
    protect(&mut candidates, PROTECTED_QUICK, |candidate| candidate.ping_ms);
    let newest = |ms: u64| u64::MAX - ms;
    protect(&mut candidates, PROTECTED_TRANSACTION_BRINGERS, |one| newest(one.transaction_ms));
    protect(&mut candidates, PROTECTED_BLOCK_BRINGERS, |one| newest(one.block_ms));
    let half = candidates.len() / 2;
    protect(&mut candidates, half, |candidate| candidate.since_ms);

    let mut crowds: BTreeMap<Group, (usize, u64, PeerId)> = BTreeMap::new();
    for candidate in candidates {
        let first = (0, candidate.since_ms, candidate.peer);
        let (size, youngest_ms, youngest) = crowds.entry(candidate.group).or_insert(first);
        *size += 1;
        if candidate.since_ms >= *youngest_ms {
            (*youngest_ms, *youngest) = (candidate.since_ms, candidate.peer);
        }
    }
    crowds
        .into_values()
        .max_by_key(|&(size, youngest_ms, _)| (size, youngest_ms))
        .map(|(.., peer)| peer)
}

/// Takes out the `count` with the smallest key.
fn protect(candidates: &mut Vec<Candidate>, count: usize, key: impl Fn(&Candidate) -> u64) {
    candidates.sort_by_key(key);
    candidates.drain(..count.min(candidates.len()));
}

impl Task {
    /// After somebody came: where that is one too many, one goes.
    pub(super) fn evict(&mut self) {
        let inbound = |peer: &Connected| peer.direction == Direction::Inbound;
        if self.peers.iter().filter(|(_, peer)| inbound(peer)).count() <= MAX_INBOUND {
            return;
        }
        let candidates = self
            .peers
            .iter()
            .filter(|(_, peer)| inbound(peer) && !peer.leaving)
            .map(|(&id, peer)| {
                let group = Group::of(&peer.address);
                Candidate {
                    peer: id,
                    group,
                    group_rank: self.dialler.book.rank(group),
                    ping_ms: peer.ping_ms.unwrap_or(u64::MAX),
                    block_ms: peer.block_ms,
                    transaction_ms: peer.transaction_ms,
                    // Who has not said who it is yet has earned nothing.
                    since_ms: match peer.standing {
                        Standing::Ours => peer.since_ms,
                        Standing::Unknown | Standing::Stranger { .. } => u64::MAX,
                    },
                }
            })
            .collect();
        if let Some(peer) = choose(candidates) {
            if let Some(connected) = self.peers.get_mut(&peer) {
                connected.leaving = true;
            }
            self.cut(&peer, "making room for others", None);
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::Multiaddr;

    use super::*;

    fn candidate(network: u8, since_ms: u64) -> Candidate {
        let address: Multiaddr = format!("/ip4/9.{network}.1.1/tcp/1").parse().unwrap();
        Candidate {
            peer: PeerId::random(),
            group: Group::of(&address),
            group_rank: u64::from(network),
            ping_ms: 100,
            block_ms: 0,
            transaction_ms: 0,
            since_ms,
        }
    }

    #[test]
    fn a_flood_from_one_network_pushes_out_its_own() {
        let honest: Vec<_> = (0..40).map(|network| candidate(network, 1_000)).collect();
        let mut all = honest.clone();
        for age in 0..75 {
            all.push(candidate(200, 2_000 + age));
        }
        let mut evicted = Vec::new();
        for newcomer in 0..500 {
            all.push(candidate(200, 3_000 + newcomer));
            let gone = choose(all.clone()).expect("somebody goes");
            all.retain(|one| one.peer != gone);
            evicted.push(gone);
        }
        assert!(honest.iter().all(|one| !evicted.contains(&one.peer)));
    }

    #[test]
    fn who_is_quick_or_brings_news_or_stayed_long_is_kept() {
        // All in one network, where crowding protects nobody.
        let mut all: Vec<_> = (0..100).map(|age| candidate(1, 1_000 + age)).collect();
        for one in &mut all[60..64] {
            one.ping_ms = 1;
        }
        for one in &mut all[70..74] {
            one.block_ms = 9_000;
        }
        for one in &mut all[80..84] {
            one.transaction_ms = 9_000;
        }
        let kept: Vec<_> = [&all[..20], &all[60..64], &all[70..74], &all[80..84]].concat();
        while let Some(gone) = choose(all.clone()) {
            assert!(kept.iter().all(|one| one.peer != gone), "{} are left", all.len());
            all.retain(|one| one.peer != gone);
            if all.len() <= 50 {
                break;
            }
        }
    }

    #[test]
    fn few_are_all_protected() {
        assert_eq!(choose((0..5).map(|network| candidate(network, 1)).collect()), None);
    }
}
