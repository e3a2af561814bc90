//! The beginning of the way from the chain to the best header: which bodies are wanted next.
//!
//! Headers can be a million ahead of their blocks. Only the next few thousand ids are kept, and
//! followed upwards as their blocks become whole.

use std::collections::VecDeque;

use ashlar_primitives::BlockId;

use crate::{
    headers::Headers,
    milestones::Place,
    store::{Store, StoreError},
    tree::Node,
};

/// Where fewer are left, the way is followed further: by as many.
const FEW_BLOCKS: usize = 2_048;
const FURTHER_BLOCKS: u32 = 2_048;

/// Ids in order of height, from the first block that is not whole on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead {
    ids: VecDeque<BlockId>,
    /// The last of `ids`, or where it was.
    top: Option<Place>,
    /// Where the way leads.
    target: Option<BlockId>,
}

/// A block on the way failed with this code while those above it were not in memory, so that they
/// do not know yet: ids of such, lowest first, which lead to the best header in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) above: Vec<BlockId>,
    pub(crate) code: &'static str,
}

impl Ahead {
    /// Makes the way lead to `best`. Following it as it grows costs its growth.
    pub(crate) fn aim<S: Store>(
        &mut self,
        best: &Node,
        headers: &mut Headers<S>,
    ) -> Result<Option<Blocked>, StoreError> {
        let end = Place { id: best.state.id, height: best.state.height };
        if best.is_whole() {
            *self = Self { target: Some(end.id), ..Self::default() };
            return Ok(None);
        }
        if self.target != Some(end.id) {
            if !self.leads_to(best, end, headers)? {
                self.begin(end, headers)?;
            }
            self.target = Some(end.id);
        }
        let blocked = self.follow(end, headers)?;
        if blocked.is_some() {
            // From the beginning, once the best header knows.
            *self = Self::default();
        }
        Ok(blocked)
    }

    /// At the last whole block below `end`.
    fn begin<S: Store>(&mut self, end: Place, headers: &mut Headers<S>) -> Result<(), StoreError> {
        let first = headers.first_open(end)?;
        let whole = headers.link(first)?.parent;
        // The chain may have to go there, whatever else of the branch is in memory.
        headers.load(&whole)?;
        self.ids.clear();
        self.top = Some(Place { id: whole, height: first.height.saturating_sub(1) });
        Ok(())
    }

    fn leads_to<S: Store>(
        &self,
        best: &Node,
        end: Place,
        headers: &Headers<S>,
    ) -> Result<bool, StoreError> {
        let Some(top) = self.top.filter(|top| top.height <= end.height) else { return Ok(false) };
        let is_next = self.target == Some(best.header.parent);
        Ok(is_next || headers.ancestor(end, top.height)? == top)
    }

    /// Goes on towards `end` where few ids are left.
    fn follow<S: Store>(
        &mut self,
        end: Place,
        headers: &mut Headers<S>,
    ) -> Result<Option<Blocked>, StoreError> {
        let Some(top) = self.top.filter(|top| *top != end) else { return Ok(None) };
        if self.ids.len() >= FEW_BLOCKS {
            return Ok(None);
        }
        let mut above = Vec::new();
        let mut code = headers.link(top)?.failed;
        for (place, link) in headers.way(end, top.height, FURTHER_BLOCKS)? {
            if link.failed.is_some() {
                code = link.failed;
                above.clear();
            } else {
                above.push(place);
            }
        }
        if let Some(code) = code {
            let mut above: Vec<_> = above.iter().map(|place| place.id).collect();
            above.push(headers.lowest_in_memory(&end.id));
            return Ok(Some(Blocked { above, code }));
        }
        for place in above {
            headers.load(&place.id)?;
            self.ids.push_back(place.id);
            self.top = Some(place);
        }
        Ok(None)
    }

    /// The lowest id.
    pub(crate) fn first(&self) -> Option<BlockId> {
        self.ids.front().copied()
    }

    /// The lowest one is whole.
    pub(crate) fn pop_first(&mut self) {
        self.ids.pop_front();
    }

    /// Lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &BlockId> {
        self.ids.iter()
    }

    /// The height up to which the way is known.
    pub(crate) fn top_height(&self) -> Option<u32> {
        Some(self.top?.height)
    }
}
