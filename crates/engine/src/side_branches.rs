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
    limits::{BLOCKS_PER_PEER, WINDOW_BLOCKS, WITHHELD_MS},
};

/// What is wanted beside the best header chain. At most one list for each peer.
#[derive(Debug, Default)]
pub(crate) struct SideBranches {
    /// By the branch's highest header: the lowest of its blocks without a body.
    wanted: BTreeMap<BlockId, Vec<(u32, BlockId)>>,
    /// The first missing body on the way to the best header, and since when it is.
    front: Option<(BlockId, u64)>,
    is_withheld: bool,
}

impl SideBranches {
    /// Headers, bodies or the tip changed: what is wanted is found anew.
    pub(crate) fn forget(&mut self) {
        self.wanted.clear();
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
    pub(crate) fn watch_over_withheld(&mut self) -> Result<(), StoreError> {
        let now_ms = self.now.monotonic_ms;
        let first = self.ledger.wanted_bodies(1)?.first().map(|&(_, id)| id);
        let side = &mut self.download.side;
        let is_old = |since_ms: u64| now_ms.saturating_sub(since_ms) >= WITHHELD_MS;
        let is_withheld = match (first, side.front) {
            (Some(id), Some((front, since_ms))) if id == front => {
                // Nobody is there to ask: that says nothing.
                is_old(since_ms) && self.peers.askable().next().is_some()
            }
            (first, _) => {
                side.front = first.map(|id| (id, now_ms));
                false
            }
        };
        let side = &mut self.download.side;
        if core::mem::replace(&mut side.is_withheld, is_withheld) != is_withheld {
            self.ledger.set_withheld(is_withheld);
            self.chain.note_moved();
        }
        Ok(())
    }

    /// Where synchronisation goes: the best header, or while its bodies are withheld the best one
    /// of those that peers have.
    pub(crate) fn sync_target(&self) -> Result<HeaderState, StoreError> {
        let side = &self.download.side;
        let Some((front, _)) = side.front.filter(|_| side.is_withheld) else {
            return Ok(self.ledger.best_header());
        };
        let mut best = self.view.tip().clone();
        for (_, state) in self.peers.askable() {
            let Some(available) = state.available else { continue };
            if self.ledger.failed_code(&available)?.is_none()
                && !self.ledger.is_descendant(&available, &front)?
                && let Some(end) = self.ledger.header_state(&available)?
                && end.work > best.work
            {
                best = end;
            }
        }
        Ok(best)
    }
}
