//! The way from one block up to a descendant, kept while both ends move.

use std::collections::VecDeque;

use ashlar_primitives::BlockId;

use crate::{store::StoreError, tree::Node};

/// Ids in order of height, up to and including a target. Following the target as it grows costs
/// its growth, not its length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    ids: VecDeque<BlockId>,
    target: Option<BlockId>,
}

/// What [`Route::aim`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Aimed {
    /// The route leads to the target.
    Clear,
    /// A block on the way failed with this code while those above it were not in memory, so that
    /// they do not know yet: their ids, lowest first.
    Blocked { above: Vec<BlockId>, code: &'static str },
    /// The way leads through whole blocks whose bodies were deleted: the lowest of them and all
    /// above it, lowest first.
    Hollow { from: Vec<BlockId> },
}

impl Route {
    /// Makes the route lead to `target` from just above the first node, going down, at which
    /// `stop` holds; where it led to an ancestor of `target`, its beginning stays as it is.
    pub(crate) fn aim(
        &mut self,
        target: Node,
        stop: impl Fn(&Node) -> Result<bool, StoreError>,
        lookup: impl Fn(&BlockId) -> Result<Option<Node>, StoreError>,
    ) -> Result<Aimed, StoreError> {
        let target_id = target.state.id;
        let mut way_down = Vec::new();
        let mut hollow = 0;
        let mut node = target;
        while self.target != Some(node.state.id) && !stop(&node)? {
            way_down.push(node.state.id);
            if node.is_whole() && !node.has_body {
                hollow = way_down.len();
            }
            let child = node.state.id;
            node = lookup(&node.header.parent)?.ok_or_else(|| {
                StoreError::corrupt(format_args!("the header before {child} is missing"))
            })?;
            if let Some(code) = node.failed {
                way_down.reverse();
                return Ok(Aimed::Blocked { above: way_down, code });
            }
        }
        if hollow > 0 {
            way_down.truncate(hollow);
            way_down.reverse();
            return Ok(Aimed::Hollow { from: way_down });
        }
        if self.target != Some(node.state.id) {
            self.ids.clear();
        }
        self.ids.extend(way_down.into_iter().rev());
        self.target = Some(target_id);
        Ok(Aimed::Clear)
    }

    /// The lowest id.
    pub(crate) fn first(&self) -> Option<BlockId> {
        self.ids.front().copied()
    }

    /// The one so far above the lowest.
    pub(crate) fn get(&self, number: usize) -> Option<BlockId> {
        self.ids.get(number).copied()
    }

    /// The lowest one was reached.
    pub(crate) fn pop_first(&mut self) {
        self.ids.pop_front();
    }

    /// Lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &BlockId> {
        self.ids.iter()
    }
}
