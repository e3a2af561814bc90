//! Which bodies are wanted, and what to do when they don't come.

use std::collections::VecDeque;

use ashlar_primitives::BlockId;

use crate::{
    ledger::Ledger,
    route::Aimed,
    store::{Store, StoreError},
};

impl<S: Store> Ledger<S> {
    /// Makes `ahead` lead to the best header.
    pub(crate) fn look_ahead(&mut self) -> Result<(), StoreError> {
        while let Some(best) = self.headers.tree.best_header().cloned() {
            let aimed =
                self.ahead.aim(best, |node| Ok(node.is_whole()), |id| self.headers.node(id))?;
            match aimed {
                // What is whole already is not ahead, so nothing on the way is hollow.
                Aimed::Clear | Aimed::Hollow { .. } => break,
                Aimed::Blocked { above, code } => self.headers.inherit(&above, code)?,
            }
        }
        while let Some(id) = self.ahead.first()
            && self.headers.node(&id)?.is_some_and(|node| node.is_whole())
        {
            self.ahead.pop_first();
        }
        Ok(())
    }

    /// Ids without body on the way from the published chain to `best_header`, lowest first.
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

    /// The same on the way to another header: none where it is not known or remembered as failed.
    /// Costs the length of the way.
    pub fn wanted_bodies_towards(
        &self,
        target: &BlockId,
        limit: usize,
    ) -> Result<Vec<(u32, BlockId)>, StoreError> {
        let mut wanted = VecDeque::new();
        let mut at = *target;
        while let Some(node) = self.headers.node(&at)?
            && !node.is_whole()
        {
            if node.failed.is_some() {
                return Ok(Vec::new());
            }
            if !node.has_body {
                wanted.push_front((node.state.height, at));
                wanted.truncate(limit);
            }
            at = node.header.parent;
        }
        Ok(wanted.into())
    }

    /// Whether the bodies on the way to `best_header` are withheld: nobody who says that they have
    /// them hands them out. Until they come a block is a step of its own, however far that header
    /// is ahead.
    pub const fn set_withheld(&mut self, is_withheld: bool) {
        self.is_withheld = is_withheld;
    }
}
