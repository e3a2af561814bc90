//! Which bodies are wanted, and what to do when they don't come.

use ashlar_primitives::BlockId;

use crate::{
    ahead::Blocked,
    headers::NEAR_BLOCKS,
    ledger::Ledger,
    milestones::Place,
    store::{Store, StoreError},
};

impl<S: Store> Ledger<S> {
    /// Makes `ahead` lead to the best header, from the first block that is not whole on.
    pub(crate) fn look_ahead(&mut self) -> Result<(), StoreError> {
        while let Some(best) = self.headers.tree.best_header().cloned() {
            if let Some(Blocked { above, code }) = self.ahead.aim(&best, &mut self.headers)? {
                self.headers.inherit(&above, code)?;
            } else if !self.pass_whole()? {
                break;
            }
        }
        Ok(())
    }

    /// Lets go of what is whole at the beginning of the way; whether there was any.
    fn pass_whole(&mut self) -> Result<bool, StoreError> {
        let mut has_passed = false;
        while let Some(id) = self.ahead.first() {
            // Its gap may have been closed while it was not in memory.
            self.headers.wake(&id)?;
            if !self.headers.node(&id)?.is_some_and(|node| node.is_whole()) {
                break;
            }
            self.ahead.pop_first();
            has_passed = true;
        }
        Ok(has_passed)
    }

    /// Ids without body on the way from the published chain to `best_header`, lowest first: up to
    /// `limit`, and to some thousands of blocks above the first.
    pub fn wanted_bodies(&self, limit: usize) -> Result<Vec<(u32, BlockId)>, StoreError> {
        let mut wanted = Vec::new();
        for id in self.ahead.iter() {
            if wanted.len() == limit {
                break;
            }
            if let Some(node) = self.headers.node(id)?
                && !node.has_body
            {
                wanted.push((node.state.height, *id));
            }
        }
        Ok(wanted)
    }

    /// The same on the way to another header: none where it is not known, or where it or a block on
    /// the way that is looked at is remembered as failed.
    pub fn wanted_bodies_towards(
        &self,
        target: &BlockId,
        limit: usize,
    ) -> Result<Vec<(u32, BlockId)>, StoreError> {
        let mut wanted = Vec::new();
        let Some(node) = self.headers.node(target)? else { return Ok(wanted) };
        if node.failed.is_some() || node.is_whole() {
            return Ok(wanted);
        }
        let end = Place { id: *target, height: node.state.height };
        let mut from = self.headers.first_open(end)?.height.saturating_sub(1);
        while from < end.height && wanted.len() < limit {
            for (Place { id, height }, link) in self.headers.way(end, from, NEAR_BLOCKS)? {
                if link.failed.is_some() {
                    return Ok(Vec::new());
                }
                if !link.has_body {
                    wanted.push((height, id));
                }
            }
            from = from.saturating_add(NEAR_BLOCKS);
        }
        wanted.truncate(limit);
        Ok(wanted)
    }

    /// Whether the bodies on the way to `best_header` are withheld: nobody who says that they have
    /// them hands them out. Until they come a block is a step of its own, however far that header
    /// is ahead.
    pub const fn set_withheld(&mut self, is_withheld: bool) {
        self.is_withheld = is_withheld;
    }
}
