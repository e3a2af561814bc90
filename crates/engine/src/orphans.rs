//! Transactions whose parents are missing: a small pool, fair between peers (THREATS.md P7).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ashlar_consensus::CheckedTransaction;
use ashlar_primitives::{Txid, Wtxid};
use rand::{Rng, RngExt as _};

use crate::{
    input::Peer,
    limits::{MAX_ORPHAN_BYTES, MAX_ORPHANS, MAX_ORPHANS_PER_PEER, ORPHAN_EXPIRY_MS},
};

/// A transaction that waits for a parent.
#[derive(Clone, Debug)]
pub(crate) struct Orphan {
    pub(crate) transaction: Arc<CheckedTransaction>,
    /// Who sent it, and answers for it.
    pub(crate) peer: Peer,
    expires_ms: u64,
}

impl Orphan {
    fn size_bytes(&self) -> usize {
        usize::try_from(self.transaction.size_bytes()).unwrap_or(usize::MAX)
    }

    fn parents(&self) -> BTreeSet<Txid> {
        self.transaction.transaction().inputs.iter().map(|input| input.txid).collect()
    }
}

/// The pool, and those of it whose parent has come.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    all: BTreeMap<Wtxid, Orphan>,
    by_parent: BTreeMap<Txid, BTreeSet<Wtxid>>,
    ready: BTreeSet<Wtxid>,
    pub(crate) bytes: usize,
}

impl Orphans {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn contains(&self, wtxid: &Wtxid) -> bool {
        self.all.contains_key(wtxid)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<CheckedTransaction>> {
        self.all.values().map(|orphan| &orphan.transaction)
    }

    /// Keeps one. Where a peer has too many, one of its own makes room; where all have, one of
    /// the peer with the most. Which one is left to chance, so that no sender can choose it.
    pub(crate) fn insert(
        &mut self,
        transaction: Arc<CheckedTransaction>,
        peer: Peer,
        now_ms: u64,
        rng: &mut impl Rng,
    ) {
        let wtxid = transaction.wtxid();
        let expires_ms = now_ms.saturating_add(ORPHAN_EXPIRY_MS);
        let orphan = Orphan { transaction, peer, expires_ms };
        if self.contains(&wtxid) || orphan.size_bytes() > MAX_ORPHAN_BYTES {
            return;
        }
        if self.of(peer).len() >= MAX_ORPHANS_PER_PEER {
            self.evict_one_of(peer, rng);
        }
        let size_bytes = orphan.size_bytes();
        while self.all.len() >= MAX_ORPHANS
            || self.bytes.saturating_add(size_bytes) > MAX_ORPHAN_BYTES
        {
            let Some(worst) = self.worst_peer() else { break };
            self.evict_one_of(worst, rng);
        }
        for parent in orphan.parents() {
            self.by_parent.entry(parent).or_default().insert(wtxid);
        }
        self.bytes = self.bytes.saturating_add(size_bytes);
        self.all.insert(wtxid, orphan);
    }

    fn of(&self, peer: Peer) -> Vec<Wtxid> {
        self.all.iter().filter(|(_, orphan)| orphan.peer == peer).map(|(&wtxid, _)| wtxid).collect()
    }

    /// The peer whose orphans take the most room.
    fn worst_peer(&self) -> Option<Peer> {
        let mut bytes: BTreeMap<Peer, usize> = BTreeMap::new();
        for orphan in self.all.values() {
            let sum = bytes.entry(orphan.peer).or_default();
            *sum = sum.saturating_add(orphan.size_bytes());
        }
        bytes.into_iter().max_by_key(|&(_, bytes)| bytes).map(|(peer, _)| peer)
    }

    fn evict_one_of(&mut self, peer: Peer, rng: &mut impl Rng) {
        let mut candidates = self.of(peer);
        if !candidates.is_empty() {
            let chosen = rng.random_range(0..candidates.len());
            self.remove(&candidates.swap_remove(chosen));
        }
    }

    pub(crate) fn remove(&mut self, wtxid: &Wtxid) -> Option<Orphan> {
        let orphan = self.all.remove(wtxid)?;
        self.ready.remove(wtxid);
        self.bytes = self.bytes.saturating_sub(orphan.size_bytes());
        for parent in orphan.parents() {
            if let Some(children) = self.by_parent.get_mut(&parent) {
                children.remove(wtxid);
                if children.is_empty() {
                    self.by_parent.remove(&parent);
                }
            }
        }
        Some(orphan)
    }

    pub(crate) fn remove_peer(&mut self, peer: Peer) {
        for wtxid in self.of(peer) {
            self.remove(&wtxid);
        }
    }

    pub(crate) fn expire(&mut self, now_ms: u64) {
        let expired: Vec<Wtxid> = self
            .all
            .iter()
            .filter(|(_, orphan)| orphan.expires_ms <= now_ms)
            .map(|(&wtxid, _)| wtxid)
            .collect();
        for wtxid in expired {
            self.remove(&wtxid);
        }
    }

    /// A transaction is there now: its waiting children can be judged.
    pub(crate) fn note_parent(&mut self, txid: &Txid) {
        if let Some(children) = self.by_parent.get(txid) {
            self.ready.extend(children);
        }
    }

    /// Takes up to `limit` of those whose parent came.
    pub(crate) fn take_ready(&mut self, limit: usize) -> Vec<Orphan> {
        let ready: Vec<Wtxid> = self.ready.iter().take(limit).copied().collect();
        ready.iter().filter_map(|wtxid| self.remove(wtxid)).collect()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}
