//! Bodies in parallel, from all peers that have them (PROTOCOL.md §12, tag 2).
//!
//! A window slides over the best header chain above what is connected. Each peer has a few
//! blocks of it out; whoever keeps the lowest one waiting loses what it was asked for to others.
//! A body is opened by a job, kept by the ledger, and connected when its turn comes.
//!
//! A peer that has nothing of use there, and a chain of its own with more work than ours, is asked
//! for that (`side_branches`): who withholds the bodies of the best headers holds up nobody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ashlar_consensus::{CheckedBlock, OpenError};
use ashlar_ledger::{BodyStored, Store, StoreError};
use ashlar_primitives::{
    Block, BlockId,
    wire::{self, Request, Status},
};

use crate::{
    Engine,
    input::Peer,
    job::Job,
    jobs::JobPurpose,
    limits::{
        BLOCKS_PER_PEER, BLOCKS_PER_REQUEST, DOWNLOAD_PAUSE_MS, FIRST_STALL_MS,
        MAX_DOWNLOAD_PAUSE_MS, MAX_REQUESTS_PER_PEER, MAX_STALL_MS, MIN_STALL_MS, WINDOW_BLOCKS,
        WINDOW_BYTES,
    },
    offence::{Offence, unopened_block},
    output::Notice,
    peers::Useful,
    requests::Purpose,
    side_branches::SideBranches,
    timers::Timer,
};

/// A body that a peer was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    peer: Peer,
    height: u32,
    since_ms: u64,
    /// Not on the way to the best header.
    is_side: bool,
}

/// The window.
#[derive(Debug)]
pub(crate) struct Download {
    /// Something changed that may let something be asked.
    pub(crate) dirty: bool,
    /// What is wanted must be asked of the ledger again.
    pub(crate) stale: bool,
    /// Wanted, and nobody asked; lowest first.
    pub(crate) queue: BTreeSet<(u32, BlockId)>,
    /// Whether the ledger wants more than `queue` was told.
    wants_more: bool,
    pub(crate) in_flight: BTreeMap<BlockId, InFlight>,
    opening: BTreeSet<BlockId>,
    pub(crate) side: SideBranches,
    stall_ms: u64,
    /// A running mean of the sizes of bodies, to turn bytes into counts.
    mean_bytes: u64,
}

impl Default for Download {
    fn default() -> Self {
        Self {
            dirty: true,
            stale: true,
            queue: BTreeSet::new(),
            wants_more: false,
            in_flight: BTreeMap::new(),
            opening: BTreeSet::new(),
            side: SideBranches::default(),
            stall_ms: FIRST_STALL_MS,
            mean_bytes: 1_024,
        }
    }
}

impl Download {
    pub(crate) fn blocks_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether it is waiting for room, time or peers.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    fn note_size(&mut self, size_bytes: u32) {
        // Rises at once, falls slowly: what is reserved should rather be too much.
        let decayed = self.mean_bytes.saturating_mul(31).saturating_add(u64::from(size_bytes));
        self.mean_bytes = (decayed / 32).max(u64::from(size_bytes)).max(1_024);
    }

    /// How many blocks stand for so many bytes, within bounds.
    fn count_for(&self, bytes: u64, at_least: usize, at_most: usize) -> usize {
        let count = bytes.checked_div(self.mean_bytes).unwrap_or(u64::MAX);
        usize::try_from(count).unwrap_or(usize::MAX).clamp(at_least, at_most)
    }
}

/// The lowest height at which a peer with these services and this tip has bodies: its tip may have
/// moved on since it told us, and its oldest blocks with it.
pub(crate) const fn lowest_body(services: u32, tip_height: u32, block_interval: u32) -> u32 {
    if services & Status::ALL_BODIES != 0 {
        return 0;
    }
    let recent = Status::recent_blocks(block_interval);
    tip_height.saturating_add(1).saturating_sub(recent)
}

impl<S: Store> Engine<S> {
    /// Fills the peers' slots from the window.
    pub(crate) fn schedule_bodies(&mut self) -> Result<(), StoreError> {
        if !core::mem::take(&mut self.download.dirty) {
            return Ok(());
        }
        if self.download.stale || (self.download.queue.is_empty() && self.download.wants_more) {
            self.refill()?;
        }
        let window = self.download.count_for(WINDOW_BYTES, BLOCKS_PER_PEER, WINDOW_BLOCKS);
        let window = u32::try_from(window).unwrap_or(u32::MAX);
        let reached = self.view.tip().height.max(self.chain.connected_height);
        let highest = reached.saturating_add(window);
        let mut useful = BTreeMap::new();
        let idle = if self.download.queue.is_empty() { Vec::new() } else { self.idle_peers() };
        for peer in idle {
            self.place_claim(peer)?;
            if let Some(range) = self.useful_range(peer)? {
                useful.insert(peer, range);
            }
        }
        let answer_bytes = u64::try_from(wire::MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
        let most = self.download.count_for(answer_bytes, 1, BLOCKS_PER_REQUEST);
        // Where little is wanted it is spread over the peers.
        let share = self.download.queue.len().div_ceil(useful.len().max(1)).clamp(1, most);
        while let Some(&(height, _)) = self.download.queue.first() {
            // The one with the fewest blocks out; among equals the one connected first.
            let chosen = useful
                .iter()
                .filter(|(_, (lowest, top))| (*lowest..=*top).contains(&height))
                .filter_map(|(&peer, &range)| {
                    let state = self.peers.get(peer)?;
                    let room = BLOCKS_PER_PEER.saturating_sub(state.blocks_in_flight);
                    (room > 0 && self.can_ask(peer)).then_some((
                        state.blocks_in_flight,
                        peer,
                        range,
                        room,
                    ))
                })
                .min_by_key(|&(busy, peer, ..)| (busy, peer));
            let Some((_, peer, (_, top), room)) = chosen.filter(|_| height <= highest) else {
                break;
            };
            let ids: Vec<(u32, BlockId)> = self
                .download
                .queue
                .iter()
                .take(share.min(room))
                .take_while(|(height, _)| *height <= top.min(highest))
                .copied()
                .collect();
            if !self.ask_bodies(peer, &ids, false) {
                break;
            }
        }
        self.schedule_side_branches(highest, most)?;
        self.arm_stall_timer();
        Ok(())
    }

    fn refill(&mut self) -> Result<(), StoreError> {
        let wanted = self.ledger.wanted_bodies(WINDOW_BLOCKS)?;
        self.download.stale = false;
        self.download.side.forget();
        self.download.wants_more = wanted.len() >= WINDOW_BLOCKS;
        self.download.queue =
            wanted.into_iter().filter(|(_, id)| !self.is_on_its_way(id)).collect();
        Ok(())
    }

    /// Whether a body was asked for, or came and is being looked at.
    pub(crate) fn is_on_its_way(&self, id: &BlockId) -> bool {
        self.download.in_flight.contains_key(id)
            || self.download.opening.contains(id)
            || self.blocks.is_pending(id)
    }

    /// Peers that may be asked for bodies now.
    pub(crate) fn idle_peers(&self) -> Vec<Peer> {
        let now_ms = self.now.monotonic_ms;
        self.peers
            .askable()
            .filter(|(_, state)| {
                state.blocks_in_flight < BLOCKS_PER_PEER
                    && state.in_flight.len() < MAX_REQUESTS_PER_PEER
                    && state.download_paused_until_ms <= now_ms
            })
            .map(|(peer, _)| peer)
            .collect()
    }

    /// The heights of the best header chain at which a peer has bodies.
    pub(crate) fn useful_range(&mut self, peer: Peer) -> Result<Option<(u32, u32)>, StoreError> {
        let best_header = self.ledger.best_header();
        let Some(state) = self.peers.get(peer) else { return Ok(None) };
        let (Some(claim), Some(available)) = (&state.claim, state.available) else {
            return Ok(None);
        };
        let (services, claimed_height) = (claim.services, claim.height);
        if services & (Status::ALL_BODIES | Status::RECENT_BODIES) == 0 {
            return Ok(None);
        }
        let interval = self.params.block_interval;
        let lowest = |height: u32| lowest_body(services, claimed_height.max(height), interval);
        let cached = state
            .useful
            .filter(|useful| useful.best_header == best_header.id && useful.available == available);
        if let Some(useful) = cached {
            return Ok(Some((lowest(useful.height), useful.height)));
        }
        // Newest first, every one of the last ten: exact near the tip, careful far below.
        let mut common = None;
        for id in self.ledger.locator(&available)? {
            if self.ledger.is_descendant(&best_header.id, &id)? {
                common = self.ledger.header_state(&id)?;
                break;
            }
        }
        let Some(common) = common else { return Ok(None) };
        if let Some(state) = self.peers.get_mut(peer) {
            let best_header = best_header.id;
            state.useful = Some(Useful { best_header, available, height: common.height });
        }
        Ok(Some((lowest(common.height), common.height)))
    }

    pub(crate) fn ask_bodies(
        &mut self,
        peer: Peer,
        wanted: &[(u32, BlockId)],
        is_side: bool,
    ) -> bool {
        let ids: Vec<BlockId> = wanted.iter().map(|&(_, id)| id).collect();
        let purpose = Purpose::Bodies { ids: ids.clone() };
        if self.ask(peer, Request::Blocks { ids }, purpose).is_none() {
            return false;
        }
        let since_ms = self.now.monotonic_ms;
        for &(height, id) in wanted {
            self.download.queue.remove(&(height, id));
            self.download.in_flight.insert(id, InFlight { peer, height, since_ms, is_side });
        }
        if let Some(state) = self.peers.get_mut(peer) {
            state.blocks_in_flight = state.blocks_in_flight.saturating_add(wanted.len());
        }
        true
    }

    /// No longer waits for this body from this peer; whoever has it may be asked.
    fn release(&mut self, peer: Peer, id: &BlockId) {
        let waited = self.download.in_flight.get(id).copied().filter(|found| found.peer == peer);
        let Some(InFlight { height, is_side, .. }) = waited else { return };
        self.download.in_flight.remove(id);
        if !is_side {
            self.download.queue.insert((height, *id));
        }
        if let Some(state) = self.peers.get_mut(peer) {
            state.blocks_in_flight = state.blocks_in_flight.saturating_sub(1);
        }
    }

    pub(crate) fn on_bodies(
        &mut self,
        peer: Peer,
        ids: Vec<BlockId>,
        blocks: Vec<Block>,
    ) -> Result<(), StoreError> {
        let is_prefix = blocks.len() <= ids.len()
            && blocks.iter().zip(&ids).all(|(block, id)| block.header.id() == *id);
        if !is_prefix {
            self.on_bodies_lost(peer, &ids);
            self.penalise(peer, Offence::WrongAnswer);
            return Ok(());
        }
        let missing = ids.get(blocks.len()..).unwrap_or_default();
        if !blocks.is_empty()
            && let Some(state) = self.peers.get_mut(peer)
        {
            state.delivered_ms = self.now.monotonic_ms;
        }
        if blocks.is_empty() {
            // It has none after all: pruned, or on another chain by now.
            self.on_bodies_lost(peer, missing);
        } else {
            for id in missing {
                self.release(peer, id);
            }
        }
        self.download.dirty = true;
        for (block, id) in blocks.into_iter().zip(ids) {
            self.release(peer, &id);
            let Some(state) = self.ledger.header_state(&id)? else { continue };
            self.download.queue.remove(&(state.height, id));
            if self.download.opening.contains(&id) || self.ledger.knows_body(&id)? {
                continue;
            }
            self.download.opening.insert(id);
            let job = Job::OpenBlock {
                params: self.params.clone(),
                header: block.header,
                height: state.height,
                block,
            };
            self.start_job(JobPurpose::OpenDownloaded { id, peer }, job);
        }
        Ok(())
    }

    /// A peer did not deliver: others are asked, and it is left alone for a while.
    pub(crate) fn on_bodies_lost(&mut self, peer: Peer, ids: &[BlockId]) {
        for id in ids {
            self.release(peer, id);
        }
        self.pause_download(peer);
        self.download.dirty = true;
    }

    /// A peer is asked for no bodies for a while.
    pub(crate) fn pause_download(&mut self, peer: Peer) {
        self.pause_download_for(peer, DOWNLOAD_PAUSE_MS);
    }

    fn pause_download_for(&mut self, peer: Peer, pause_ms: u64) {
        let until_ms = self.now.monotonic_ms.saturating_add(pause_ms);
        if let Some(state) = self.peers.get_mut(peer) {
            state.download_paused_until_ms = state.download_paused_until_ms.max(until_ms);
        }
    }

    fn lowest_in_flight(&self) -> Option<InFlight> {
        self.download.in_flight.values().min_by_key(|in_flight| in_flight.height).copied()
    }

    fn arm_stall_timer(&mut self) {
        match self.lowest_in_flight() {
            Some(head) => {
                let at_ms = head.since_ms.saturating_add(self.download.stall_ms);
                self.timers.set(Timer::Stall, at_ms.max(self.now.monotonic_ms.saturating_add(1)));
            }
            None => self.timers.clear(Timer::Stall),
        }
    }

    /// The window's lowest block is late: what its peer was asked for is asked of others, and so
    /// is what others were asked for as long ago and have not begun to answer.
    pub(crate) fn on_stall_timer(&mut self) -> Result<(), StoreError> {
        let now_ms = self.now.monotonic_ms;
        let Some(head) = self.lowest_in_flight() else { return Ok(()) };
        self.download.dirty = true;
        if now_ms.saturating_sub(head.since_ms) < self.download.stall_ms {
            return Ok(());
        }
        let stall_ms = self.download.stall_ms;
        self.download.stall_ms = stall_ms.saturating_mul(2).min(MAX_STALL_MS);
        // By peer: the lowest of what it was asked for in vain.
        let mut late: BTreeMap<Peer, (BlockId, InFlight)> = BTreeMap::new();
        for (&id, &in_flight) in &self.download.in_flight {
            let delivered_ms = self.peers.get(in_flight.peer).map_or(0, |state| state.delivered_ms);
            let is_silent = delivered_ms < in_flight.since_ms || in_flight.peer == head.peer;
            if is_silent && now_ms.saturating_sub(in_flight.since_ms) >= stall_ms {
                let lowest = late.entry(in_flight.peer).or_insert((id, in_flight));
                if in_flight.height < lowest.1.height {
                    *lowest = (id, in_flight);
                }
            }
        }
        let stalling: BTreeSet<Peer> = late.keys().copied().collect();
        for (peer, (id, in_flight)) in late {
            if self.has_other_source(&id, in_flight, &stalling)? {
                self.on_stall(peer);
            }
        }
        Ok(())
    }

    /// A peer keeps others waiting: its slots are theirs, and it is left alone for longer each time.
    fn on_stall(&mut self, peer: Peer) {
        let asked = self.download.in_flight.iter().filter(|(_, in_flight)| in_flight.peer == peer);
        let ids: Vec<BlockId> = asked.map(|(&id, _)| id).collect();
        self.on_bodies_lost(peer, &ids);
        self.give_up_bodies(peer);
        if let Some(state) = self.peers.get_mut(peer) {
            let doublings = state.stalls.min(u64::BITS.saturating_sub(1));
            state.stalls = state.stalls.saturating_add(1);
            let pause_ms = DOWNLOAD_PAUSE_MS.saturating_mul(1 << doublings);
            self.pause_download_for(peer, pause_ms.min(MAX_DOWNLOAD_PAUSE_MS));
        }
        self.penalise(peer, Offence::Stalling);
    }

    fn has_other_source(
        &mut self,
        id: &BlockId,
        wanted: InFlight,
        stalling: &BTreeSet<Peer>,
    ) -> Result<bool, StoreError> {
        let now_ms = self.now.monotonic_ms;
        let others: Vec<Peer> = self
            .peers
            .askable()
            .filter(|&(peer, state)| {
                !stalling.contains(&peer) && state.download_paused_until_ms <= now_ms
            })
            .map(|(peer, _)| peer)
            .collect();
        for peer in others {
            let has = if wanted.is_side {
                self.has_side_body(peer, id)?
            } else {
                let range = self.useful_range(peer)?;
                range.is_some_and(|(lowest, top)| (lowest..=top).contains(&wanted.height))
            };
            if has {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A downloaded body was opened, or not.
    pub(crate) fn on_downloaded_opened(
        &mut self,
        id: BlockId,
        peer: Peer,
        result: Result<Arc<CheckedBlock>, OpenError>,
    ) -> Result<(), StoreError> {
        self.download.opening.remove(&id);
        self.download.dirty = true;
        match result {
            Ok(block) => {
                if let Some(state) = self.peers.get_mut(peer) {
                    state.stalls = 0;
                }
                self.download.note_size(block.size_bytes());
                let faster_ms = self.download.stall_ms.saturating_mul(7) / 8;
                self.download.stall_ms = faster_ms.max(MIN_STALL_MS);
                if self.keep_body(block)? {
                    self.peers.note_block(peer, self.now.monotonic_ms);
                }
            }
            Err(error) => self.blame_body(id, Some(peer), &error)?,
        }
        Ok(())
    }

    /// An opened body goes to the ledger. Whether it was not there before.
    pub(crate) fn keep_body(&mut self, block: Arc<CheckedBlock>) -> Result<bool, StoreError> {
        self.download.queue.remove(&(block.coinbase().height, block.id()));
        if !self.chain.is_syncing() {
            self.recent.add_block(block.clone());
        }
        let is_new = self.ledger.store_body(block)? == BodyStored::New;
        if is_new {
            self.chain.more = true;
        }
        Ok(is_new)
    }

    /// A body did not open: its sender pays. Bytes that are not the header's body say nothing
    /// about the id (PROTOCOL.md §8); a block that breaks a rule is remembered by it.
    pub(crate) fn blame_body(
        &mut self,
        id: BlockId,
        sender: Option<Peer>,
        error: &OpenError,
    ) -> Result<(), StoreError> {
        match error {
            #[cfg(feature = "canaries")]
            OpenError::Body(_) if ashlar_ledger::canary::Canary::MutatedBody.is_planted() => {
                self.ledger.mark_invalid(&id, &ashlar_consensus::BlockError::BadUtxoCommitment)?;
            }
            OpenError::Body(_) => {}
            OpenError::Block(error) => {
                self.ledger.mark_invalid(&id, error)?;
                self.notice(Notice::BlockInvalid { id, code: error.code() });
                self.note_best_header();
                self.chain.more = true;
            }
        }
        self.download.stale = true;
        self.download.dirty = true;
        if let Some(peer) = sender {
            self.penalise(peer, unopened_block(error));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_so_many_blocks_or_so_many_bytes() {
        let window = |mean_bytes| {
            let download = Download { mean_bytes, ..Download::default() };
            download.count_for(WINDOW_BYTES, BLOCKS_PER_PEER, WINDOW_BLOCKS)
        };
        let even = WINDOW_BYTES / WINDOW_BLOCKS as u64;
        assert_eq!([window(1), window(even), window(2 * even)], [1_024, 1_024, 512]);
        // As many as a peer may have out, however large they are.
        assert_eq!(window(WINDOW_BYTES), BLOCKS_PER_PEER);
    }
}
