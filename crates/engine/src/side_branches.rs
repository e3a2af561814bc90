//! Branches beside the best header chain: what peers have while the best headers' bodies are
//! withheld.
//!
//! Work alone says where the chain should go, and anybody who once mined a heavier branch can keep
//! its bodies to himself. So a peer that has nothing to give on the way to the best header is asked
//! for its own chain, where that has more work than ours: fork choice then does what it always
//! does. And where the best header chain's next body does not come for a minute, the node no longer
//! takes itself to be behind because of it.

use std::collections::BTreeMap;

use ashlar_consensus::HeaderState;
use ashlar_ledger::{Store, StoreError};
use ashlar_primitives::{BlockId, wire::Status};

use crate::{
    Engine,
    download::lowest_body,
    input::Peer,
    limits::{BLOCKS_PER_PEER, ONLY_PRUNED_MS, WINDOW_BLOCKS, WITHHELD_MS},
};

/// What is wanted beside the best header chain. At most one list for each peer.
#[derive(Debug, Default)]
pub(crate) struct SideBranches {
    /// By the branch's highest header: the lowest of its blocks without a body.
    wanted: BTreeMap<BlockId, Vec<(u32, BlockId)>>,
    front: Option<Front>,
    lack: Option<Lack>,
}

/// The first missing body on the way to the best header.
#[derive(Clone, Copy, Debug)]
struct Front {
    id: BlockId,
    height: u32,
    /// Since when it is the first.
    since_ms: u64,
}

/// Why the next body on the way to the best header does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// All peers that know of it have deleted it.
    OnlyPruned,
    /// Those that should have it do not hand it out, or nobody has it.
    Withheld,
}

impl SideBranches {
    /// Headers, bodies or the tip changed: what is wanted is found anew.
    pub(crate) fn forget(&mut self) {
        self.wanted.clear();
    }

    /// Why the node does not get on.
    pub(crate) const fn lack(&self) -> Option<Lack> {
        self.lack
    }

    /// The first missing body on the way to the best header, and its height.
    pub(crate) fn front(&self) -> Option<(BlockId, u32)> {
        self.front.map(|front| (front.id, front.height))
    }
}

impl<S: Store> Engine<S> {
    /// Peers that are left idle are asked for their own chains, up to the height `highest`, `most`
    /// blocks at a time.
    pub(crate) fn schedule_side_branches(
        &mut self,
        highest: u32,
        most: usize,
    ) -> Result<(), StoreError> {
        for peer in self.idle_peers() {
            self.place_claim(peer)?;
            let Some(branch) = self.side_branch(peer, highest)? else { continue };
            let Some(state) = self.peers.get(peer) else { continue };
            let Some(claim) = &state.claim else { continue };
            let lowest = lowest_body(
                claim.services,
                claim.height.max(branch.height),
                self.params.block_interval,
            );
            let room = BLOCKS_PER_PEER.saturating_sub(state.blocks_in_flight).min(most);
            let mut ids = Vec::new();
            for &(height, id) in self.download.side.wanted.get(&branch.id).into_iter().flatten() {
                if ids.len() >= room || !(lowest..=highest).contains(&height) {
                    break;
                }
                if !self.is_on_its_way(&id) && !self.ledger.knows_body(&id)? {
                    ids.push((height, id));
                }
            }
            if !ids.is_empty() && self.can_ask(peer) {
                self.ask_bodies(peer, &ids, true);
            }
        }
        Ok(())
    }

    /// The end of a peer's chain where that leaves the best header chain within the window and has
    /// more work than the tip; what is wanted of it is in the list then.
    fn side_branch(&mut self, peer: Peer, highest: u32) -> Result<Option<HeaderState>, StoreError> {
        let Some(state) = self.peers.get(peer) else { return Ok(None) };
        let (Some(claim), Some(available)) = (&state.claim, state.available) else {
            return Ok(None);
        };
        if claim.services & (Status::ALL_BODIES | Status::RECENT_BODIES) == 0 {
            return Ok(None);
        }
        let Some(end) = self.ledger.header_state(&available)? else { return Ok(None) };
        if end.work <= self.view.tip().work {
            return Ok(None);
        }
        let fork_height = self.useful_range(peer)?.map_or(0, |(_, top)| top);
        if fork_height >= end.height || fork_height > highest {
            return Ok(None);
        }
        if !self.download.side.wanted.contains_key(&end.id) {
            let wanted = self.ledger.wanted_bodies_towards(&end.id, WINDOW_BLOCKS)?;
            self.download.side.wanted.insert(end.id, wanted);
        }
        Ok(Some(end))
    }

    /// Whether a peer should have the body of a block beside the best header chain.
    pub(crate) fn has_side_body(&self, peer: Peer, id: &BlockId) -> Result<bool, StoreError> {
        match self.peers.get(peer).and_then(|state| state.available) {
            Some(available) => self.ledger.is_descendant(&available, id),
            None => Ok(false),
        }
    }

    /// Looks whether the best header chain's next body is on its way at all.
    pub(crate) fn watch_front(&mut self) -> Result<(), StoreError> {
        let now_ms = self.now.monotonic_ms;
        let first = self.ledger.wanted_bodies(1)?.first().copied();
        let same = self.download.side.front.filter(|front| first == Some((front.height, front.id)));
        let lack = match same {
            Some(front) => self.find_lack(front, now_ms.saturating_sub(front.since_ms))?,
            None => {
                let new = first.map(|(height, id)| Front { id, height, since_ms: now_ms });
                self.download.side.front = new;
                None
            }
        };
        let before = core::mem::replace(&mut self.download.side.lack, lack);
        let is_withheld = lack == Some(Lack::Withheld);
        if (before == Some(Lack::Withheld)) != is_withheld {
            self.ledger.set_withheld(is_withheld);
            self.chain.note_moved();
        }
        Ok(())
    }

    fn find_lack(&mut self, front: Front, waited_ms: u64) -> Result<Option<Lack>, StoreError> {
        let peers: Vec<Peer> = self.peers.askable().map(|(peer, _)| peer).collect();
        // That nobody is there to ask says nothing.
        if peers.is_empty() || waited_ms < ONLY_PRUNED_MS {
            return Ok(None);
        }
        let (mut has_source, mut has_pruned) = (false, false);
        for peer in peers {
            self.place_claim(peer)?;
            match self.useful_range(peer)? {
                Some((lowest, top)) if (lowest..=top).contains(&front.height) => has_source = true,
                Some((_, top)) if front.height <= top => has_pruned = true,
                Some(_) | None => {}
            }
        }
        let is_withheld = waited_ms >= WITHHELD_MS;
        Ok(match has_pruned && !has_source {
            true => Some(Lack::OnlyPruned),
            false => is_withheld.then_some(Lack::Withheld),
        })
    }

    /// Where synchronisation goes: the best header, or while its bodies are withheld the best one
    /// of those that peers have.
    pub(crate) fn sync_target(&self) -> Result<HeaderState, StoreError> {
        let side = &self.download.side;
        let Some(front) = side.front.filter(|_| side.lack == Some(Lack::Withheld)) else {
            return Ok(self.ledger.best_header());
        };
        let mut best = self.view.tip().clone();
        for (_, state) in self.peers.askable() {
            let Some(available) = state.available else { continue };
            if self.ledger.failed_code(&available)?.is_none()
                && !self.ledger.is_descendant(&available, &front.id)?
                && let Some(end) = self.ledger.header_state(&available)?
                && end.work > best.work
            {
                best = end;
            }
        }
        Ok(best)
    }
}
