//! The tree over the store: what is in memory comes from there, the rest from disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, Range},
    sync::Arc,
};

use ashlar_consensus::{HeaderState, RecentTimes, Work, header::MEDIAN_SPAN};
use ashlar_primitives::{BlockId, Header};

use crate::{
    keys,
    milestones::{self, Place, ShortCuts, far_height, height_before, is_milestone},
    records::HeaderRecord,
    store::{Batch, Direction, Family, Read, Store, StoreError},
    tree::{Node, Tree, inherited_code},
};

/// How many headers one read asks for.
const READ_HEADERS: usize = 1_024;

/// How many branch tips one read asks for.
const READ_TIPS: usize = 1_024;

/// Blocks of a long branch that come into memory from its first one that is not whole on: bodies
/// are fetched in that order, and some of these may be here already.
pub(crate) const NEAR_BLOCKS: u32 = 4_096;

/// Every header that is known, in memory or on disk, and what has changed since it was written.
#[derive(Debug)]
pub(crate) struct Headers<S> {
    store: Arc<S>,
    pub(crate) tree: Tree,
    /// Changed in memory, not yet written.
    dirty: BTreeSet<BlockId>,
    /// Whether an id is a branch tip, where that is not yet written.
    tips: BTreeMap<BlockId, bool>,
    /// Of milestones, not yet written.
    short_cuts: BTreeMap<BlockId, ShortCuts>,
}

/// What a way down a branch asks of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) parent: BlockId,
    pub(crate) is_whole: bool,
    pub(crate) has_body: bool,
    pub(crate) failed: Option<&'static str>,
}

impl<S: Store> Headers<S> {
    pub(crate) fn new(store: Arc<S>) -> Self {
        Self {
            store,
            tree: Tree::default(),
            dirty: BTreeSet::new(),
            tips: BTreeMap::new(),
            short_cuts: BTreeMap::new(),
        }
    }

    /// The node of an id, wherever it is.
    pub(crate) fn node(&self, id: &BlockId) -> Result<Option<Node>, StoreError> {
        match self.tree.get(id) {
            Some(node) => Ok(Some(node.clone())),
            None => self.stored(id),
        }
    }

    fn stored(&self, id: &BlockId) -> Result<Option<Node>, StoreError> {
        let Some(record) = read_record(&*self.store, id)? else { return Ok(None) };
        let times = self.times(&record)?;
        Ok(Some(to_node(*id, &record, times)))
    }

    /// Of a stored header, from its ancestors.
    fn times(&self, record: &HeaderRecord) -> Result<RecentTimes, StoreError> {
        match self.tree.get(&record.header.parent) {
            Some(parent) => {
                let mut times = parent.state.times;
                times.push(record.header.time);
                Ok(times)
            }
            None => stored_times(&*self.store, &record.header),
        }
    }

    /// Brings a node into memory, so that it can be changed. `false` where there is none.
    pub(crate) fn load(&mut self, id: &BlockId) -> Result<bool, StoreError> {
        if self.tree.get(id).is_some() {
            return Ok(true);
        }
        let Some(node) = self.stored(id)? else { return Ok(false) };
        self.tree.insert(node);
        Ok(true)
    }

    // --- ways down

    /// A block that must be known, at the height that it must have.
    pub(crate) fn link(&self, place: Place) -> Result<Link, StoreError> {
        let Place { id, height } = place;
        let (found, link) = match self.tree.get(&id) {
            Some(node) => {
                let (is_whole, has_body) = (node.is_whole(), node.has_body);
                let link =
                    Link { parent: node.header.parent, is_whole, has_body, failed: node.failed };
                (node.state.height, link)
            }
            None => {
                let record = read_record(&*self.store, &id)?.ok_or_else(|| missing(&id))?;
                let HeaderRecord { has_body, failed, .. } = record;
                let is_whole = record.arrival > 0;
                (record.height, Link { parent: record.header.parent, is_whole, has_body, failed })
            }
        };
        if found == height {
            Ok(link)
        } else {
            Err(StoreError::corrupt(format_args!("block {id} is at height {found}, not {height}")))
        }
    }

    /// [`milestones::lower`].
    pub(crate) fn lower(
        &self,
        at: Place,
        may: impl FnMut(Place) -> Result<bool, StoreError>,
    ) -> Result<Place, StoreError> {
        let cuts = match self.short_cuts.get(&at.id) {
            Some(cuts) => Some(*cuts),
            None => milestones::read(&*self.store, at)?,
        };
        milestones::lower(at, cuts, || Ok(self.link(at)?.parent), may)
    }

    /// The ancestor at a height that is not above.
    pub(crate) fn ancestor(&self, from: Place, height: u32) -> Result<Place, StoreError> {
        let mut at = from;
        while at.height > height {
            at = self.lower(at, |place| Ok(place.height >= height))?;
        }
        Ok(at)
    }

    /// The lowest block that is not whole, on the way down from one that is not.
    pub(crate) fn first_open(&self, from: Place) -> Result<Place, StoreError> {
        self.lowest(from, |link| !link.is_whole)
    }

    /// The lowest block of which something holds that holds of `from` and never again once it ceases
    /// to on the way down.
    fn lowest(&self, from: Place, holds: impl Fn(Link) -> bool) -> Result<Place, StoreError> {
        let mut at = from;
        loop {
            let next = self.lower(at, |place| Ok(holds(self.link(place)?)))?;
            if !holds(self.link(next)?) {
                return Ok(at);
            }
            at = next;
        }
    }

    /// The way from above the height `from` up to `end`, or its first `most` blocks: lowest first.
    pub(crate) fn way(
        &self,
        end: Place,
        from: u32,
        most: u32,
    ) -> Result<Vec<(Place, Link)>, StoreError> {
        let mut at = self.ancestor(end, end.height.min(from.saturating_add(most)))?;
        let mut way = Vec::new();
        while at.height > from {
            let link = self.link(at)?;
            way.push((at, link));
            at = Place { id: link.parent, height: at.height.saturating_sub(1) };
        }
        way.reverse();
        Ok(way)
    }

    /// The lowest block that can be reached from `end`, which is in memory, by blocks that are too
    /// and are not known to have failed.
    pub(crate) fn lowest_in_memory(&self, end: &BlockId) -> BlockId {
        let mut lowest = *end;
        while let Some(node) = self.tree.get(&lowest)
            && self.tree.get(&node.header.parent).is_some_and(|node| node.failed.is_none())
        {
            lowest = node.header.parent;
        }
        lowest
    }

    /// Those of a new header, where its height is a milestone's.
    fn new_short_cuts(&self, node: &Node) -> Result<Option<ShortCuts>, StoreError> {
        let height = node.state.height;
        if !is_milestone(height) {
            return Ok(None);
        }
        let parent = Place { id: node.header.parent, height: height.saturating_sub(1) };
        let before = self.ancestor(parent, height_before(height))?;
        let far = self.ancestor(before, far_height(height))?;
        Ok(Some(ShortCuts { far: far.id, before: before.id }))
    }

    // --- changes

    /// Puts a new header in, whose parent must be known.
    pub(crate) fn insert(&mut self, node: Node) -> Result<(), StoreError> {
        let id = node.state.id;
        if let Some(cuts) = self.new_short_cuts(&node)? {
            self.short_cuts.insert(id, cuts);
        }
        // A tip that was never written needs no deletion: of a long chain these would pile up in the
        // store, and every look at the tips would step over them.
        if self.tips.get(&node.header.parent) == Some(&true) {
            self.tips.remove(&node.header.parent);
        } else {
            self.tips.insert(node.header.parent, false);
        }
        self.tips.insert(id, true);
        self.tree.insert(node);
        self.dirty.insert(id);
        Ok(())
    }

    /// See [`Tree::receive_body`].
    pub(crate) fn receive_body(&mut self, id: &BlockId) -> Result<(), StoreError> {
        self.load(id)?;
        let Some(parent) = self.tree.get(id).map(|node| node.header.parent) else { return Ok(()) };
        let parent_is_whole = self.close_gap(&parent)?;
        self.dirty.extend(self.tree.receive_body(id, parent_is_whole));
        Ok(())
    }

    /// Whether a block is whole. Where its gap was closed while it was not in memory, nobody could
    /// tell it: then it is told now, with those below it. Where the gap is open all the way down to
    /// it comes into memory, so that the body that closes it finds them.
    fn close_gap(&mut self, id: &BlockId) -> Result<bool, StoreError> {
        let mut waiting = Vec::new();
        let mut at = *id;
        while let Some(node) = self.node(&at)?
            && !node.is_whole()
        {
            waiting.push(at);
            if !node.has_body {
                waiting.iter().try_for_each(|id| self.load(id).map(drop))?;
                return Ok(false);
            }
            at = node.header.parent;
        }
        waiting.iter().rev().try_for_each(|id| self.wake(id))?;
        Ok(true)
    }

    /// Brings a block into memory and tells it that it is whole, where it has a body and its parent
    /// is.
    pub(crate) fn wake(&mut self, id: &BlockId) -> Result<(), StoreError> {
        self.load(id)?;
        self.notice_whole(id)
    }

    /// Tells a block in memory that it is whole, where it has a body and its parent is.
    fn notice_whole(&mut self, id: &BlockId) -> Result<(), StoreError> {
        let waits = self.tree.get(id).filter(|node| node.has_body && !node.is_whole());
        if let Some(parent) = waits.map(|node| node.header.parent)
            && self.node(&parent)?.is_some_and(|parent| parent.is_whole())
        {
            self.dirty.extend(self.tree.receive_body(id, true));
        }
        Ok(())
    }

    /// The body is deleted by `batch`, which then says so.
    pub(crate) fn drop_body(&mut self, id: &BlockId, batch: &mut Batch) -> Result<(), StoreError> {
        let mut node = self.node(id)?.ok_or_else(|| missing(id))?;
        node.has_body = false;
        batch.put(Family::Headers, keys::block(id), node.to_record().to_value());
        self.tree.drop_body(id);
        Ok(())
    }

    /// See [`Tree::reopen`]: `branch` is the lowest block without body and all above it on the
    /// way to a tip, lowest first.
    pub(crate) fn reopen(&mut self, branch: &[BlockId]) -> Result<(), StoreError> {
        for id in branch {
            self.load(id)?;
        }
        if let Some(lowest) = branch.first() {
            self.dirty.extend(self.tree.reopen(lowest));
        }
        Ok(())
    }

    /// See [`Tree::fail`]. An id that is not known is left alone. What it leaves as the end of its
    /// branch comes into memory, where it may be the best of what is left.
    pub(crate) fn fail(&mut self, id: &BlockId, code: &'static str) -> Result<(), StoreError> {
        if let Some(node) = self.node(id)? {
            self.load(&node.header.parent)?;
        }
        self.pass_on(id, code)
    }

    fn pass_on(&mut self, id: &BlockId, code: &'static str) -> Result<(), StoreError> {
        self.load(id)?;
        self.dirty.extend(self.tree.fail(id, code));
        Ok(())
    }

    /// The blocks above a failed one learn of it: they were not in memory when it failed.
    pub(crate) fn inherit(
        &mut self,
        above: &[BlockId],
        code: &'static str,
    ) -> Result<(), StoreError> {
        above.iter().try_for_each(|id| self.pass_on(id, inherited_code(code)))
    }

    /// See [`Tree::forgive`]. What lies above must be in memory ([`Self::load_above`]).
    pub(crate) fn forgive(&mut self, id: &BlockId) -> Result<(), StoreError> {
        self.load(id)?;
        self.dirty.extend(self.tree.forgive(id));
        Ok(())
    }

    /// How many headers are not yet written.
    pub(crate) fn unwritten(&self) -> usize {
        self.dirty.len()
    }

    /// Adds what is not yet written to a batch that is about to be committed.
    pub(crate) fn write(&mut self, batch: &mut Batch) {
        for id in std::mem::take(&mut self.dirty) {
            if let Some(node) = self.tree.get(&id) {
                batch.put(Family::Headers, keys::block(&id), node.to_record().to_value());
            }
        }
        for (id, is_tip) in std::mem::take(&mut self.tips) {
            if is_tip {
                batch.put(Family::Tips, keys::block(&id), Vec::new());
            } else {
                batch.delete(Family::Tips, keys::block(&id));
            }
        }
        for (id, cuts) in std::mem::take(&mut self.short_cuts) {
            batch.put(Family::Meta, keys::milestone(&id), cuts.to_value());
        }
    }

    /// Keeps in memory only what `Tree::prune` keeps; nothing that is not yet written leaves.
    pub(crate) fn prune(&mut self, live: &BlockId, floor: u32, middle: Range<u32>) {
        if self.dirty.is_empty() && self.tips.is_empty() {
            self.tree.prune(live, floor, middle);
        }
    }

    /// The work of what has not failed of the chain of `live`: what another branch must have more
    /// of to matter. Less than the chain's own where an operator took its end away.
    pub(crate) fn standing_work(&self, live: &HeaderState) -> Result<Work, StoreError> {
        let mut at = live.id;
        while let Some(node) = self.node(&at)? {
            if node.failed.is_none() {
                return Ok(node.state.work);
            }
            at = node.header.parent;
        }
        Ok(live.work)
    }

    /// Brings into memory the last `depth` blocks of the chain of `live`, down to the height `floor`,
    /// and of every stored branch that goes on above `floor` or has more than `work`; of such a branch
    /// also those from where it is not whole on, [`NEAR_BLOCKS`] of them. All of it must be written.
    pub(crate) fn load_above(
        &mut self,
        live: &HeaderState,
        floor: u32,
        work: Work,
        depth: u32,
    ) -> Result<(), StoreError> {
        self.load_chain(floor.max(live.height.saturating_sub(depth)), live.height)?;
        let mut loading =
            Loading { live_height: live.height, floor, work, depth, seen: BTreeSet::new() };
        let mut after = Bound::Unbounded;
        loop {
            let range = (after.as_ref().map(Vec::as_slice), Bound::Unbounded);
            let page = self.store.scan(Family::Tips, range, READ_TIPS, Direction::Forward)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Bound::Excluded(last.clone());
            for (key, _) in page {
                self.load_branch(&keys::read_block_id(&key)?, &mut loading)?;
            }
        }
    }

    /// The best chain's headers of these heights.
    fn load_chain(&mut self, floor: u32, tip: u32) -> Result<(), StoreError> {
        let mut from = floor;
        while from <= tip {
            let (low, high) = (keys::height(from), keys::height(tip));
            let range = (Bound::Included(low.as_slice()), Bound::Included(high.as_slice()));
            let page = self.store.scan(Family::Heights, range, READ_HEADERS, Direction::Forward)?;
            if page.is_empty() {
                return Err(StoreError::corrupt(format_args!("no block at height {from}")));
            }
            let (heights, keys): (Vec<_>, Vec<_>) = page.into_iter().unzip();
            let values = self.store.get_many(Family::Headers, &keys)?;
            for ((height, id), value) in heights.iter().zip(&keys).zip(values) {
                let (height, id) = (keys::read_height(height)?, keys::read_block_id(id)?);
                let record = value.map(|value| record_of(&id, &value)).transpose()?;
                let record = record.filter(|_| height == from).ok_or_else(|| {
                    StoreError::corrupt(format_args!("no block at height {from}"))
                })?;
                self.take_in(id, &record)?;
                from = from.saturating_add(1);
            }
        }
        Ok(())
    }

    /// A stored header comes into memory, if it is not there.
    fn take_in(&mut self, id: BlockId, record: &HeaderRecord) -> Result<(), StoreError> {
        if self.tree.get(&id).is_none() {
            let times = self.times(record)?;
            self.tree.insert(to_node(id, record, times));
        }
        Ok(())
    }

    /// What of the branch of a stored tip is to be in memory, down to what was seen of other
    /// branches or to the best chain. That some of it is in memory says nothing about what lies
    /// below: nodes are brought there one by one too.
    fn load_branch(&mut self, tip: &BlockId, loading: &mut Loading) -> Result<(), StoreError> {
        let record = read_record(&*self.store, tip)?.ok_or_else(|| missing(tip))?;
        if record.height < loading.floor && record.work <= loading.work {
            return Ok(());
        }
        let end = Place { id: *tip, height: record.height };
        self.load_end(end, loading)?;
        if record.failed.is_some() {
            // What is left of the branch has an end of its own.
            let failed = self.lowest(end, |link| link.failed.is_some())?;
            let height = failed.height.saturating_sub(1);
            self.load_end(Place { id: self.link(failed)?.parent, height }, loading)?;
        }
        Ok(())
    }

    fn load_end(&mut self, end: Place, loading: &mut Loading) -> Result<(), StoreError> {
        let mut branch = Vec::new();
        let last = end.height.saturating_sub(loading.depth);
        if let Some(below) = self.read_down(end, last, loading, &mut branch)?
            && !self.link(below)?.is_whole
        {
            let first = self.first_open(below)?;
            let near = below.height.min(first.height.saturating_add(NEAR_BLOCKS));
            // With the last whole one, to which the chain may have to go.
            let whole = first.height.saturating_sub(1);
            self.read_down(self.ancestor(below, near)?, whole, loading, &mut branch)?;
        }
        for (id, record) in branch.iter().rev() {
            self.take_in(*id, record)?;
            self.notice_whole(id)?;
        }
        Ok(())
    }

    /// Reads a branch from `from` down to the height `last`; the block below that, where neither
    /// the best chain nor what was seen came first.
    fn read_down(
        &self,
        from: Place,
        last: u32,
        loading: &mut Loading,
        branch: &mut Vec<(BlockId, HeaderRecord)>,
    ) -> Result<Option<Place>, StoreError> {
        let mut at = from;
        loop {
            let Place { id, height } = at;
            let is_chain = height <= loading.live_height && self.is_stored_chain(&id, height)?;
            if is_chain || loading.seen.contains(&id) {
                return Ok(None);
            }
            if height < last {
                return Ok(Some(at));
            }
            let record = read_record(&*self.store, &id)?.ok_or_else(|| missing(&id))?;
            at = Place { id: record.header.parent, height: height.saturating_sub(1) };
            loading.seen.insert(id);
            branch.push((id, record));
        }
    }

    fn is_stored_chain(&self, id: &BlockId, height: u32) -> Result<bool, StoreError> {
        let stored = self.store.get(Family::Heights, &keys::height(height))?;
        Ok(stored.as_deref() == Some(id.as_bytes().as_slice()))
    }
}

/// What comes into memory when a ledger is opened, and what has.
struct Loading {
    live_height: u32,
    floor: u32,
    work: Work,
    depth: u32,
    seen: BTreeSet<BlockId>,
}

fn to_node(id: BlockId, record: &HeaderRecord, times: RecentTimes) -> Node {
    Node {
        header: record.header,
        state: header_state(id, record, times),
        has_body: record.has_body,
        arrival: record.arrival,
        failed: record.failed,
    }
}

/// A stored header's state.
pub(crate) const fn header_state(
    id: BlockId,
    record: &HeaderRecord,
    times: RecentTimes,
) -> HeaderState {
    HeaderState {
        id,
        height: record.height,
        times,
        work: record.work,
        clock: record.clock,
        lag: record.lag,
    }
}

/// A header's record.
pub(crate) fn read_record(
    store: &(impl Read + ?Sized),
    id: &BlockId,
) -> Result<Option<HeaderRecord>, StoreError> {
    let value = store.get(Family::Headers, &keys::block(id))?;
    value.map(|value| record_of(id, &value)).transpose()
}

/// The record under an id. That it holds this id's header and no other's is checked here, so that a
/// walk from parent to parent ends whatever a disk gives back: hashes make no circles.
pub(crate) fn record_of(id: &BlockId, value: &[u8]) -> Result<HeaderRecord, StoreError> {
    let record = HeaderRecord::from_value(value)?;
    if record.header.id() == *id {
        Ok(record)
    } else {
        Err(StoreError::corrupt(format_args!("the header stored for block {id} is another's")))
    }
}

/// The times of a header and up to ten ancestors, all read from `store`.
pub(crate) fn stored_times(
    store: &(impl Read + ?Sized),
    header: &Header,
) -> Result<RecentTimes, StoreError> {
    let mut newest_first = vec![header.time];
    let mut parent = header.parent;
    while newest_first.len() < MEDIAN_SPAN && parent != BlockId::ZERO {
        let record = read_record(store, &parent)?.ok_or_else(|| missing(&parent))?;
        newest_first.push(record.header.time);
        parent = record.header.parent;
    }
    Ok(newest_first.into_iter().rev().collect())
}

/// A header that must be stored is not.
pub(crate) fn missing(id: &BlockId) -> StoreError {
    StoreError::corrupt(format_args!("the header {id} is missing"))
}
