//! The way from a block to the tip of a view: back to the fork, then forward.

use ashlar_ledger::View;
use ashlar_primitives::BlockId;

use crate::{
    error::RpcError,
    types::{Text, Tip},
};

/// Most blocks that one event names in each direction.
pub(super) const MAX_STEP_BLOCKS: usize = 1_000;

/// A way that is still to be told.
#[derive(Debug)]
pub(super) struct Path {
    /// Blocks to leave, from the old tip down, with their heights.
    left: Vec<(BlockId, u32)>,
    /// Where both branches meet, and how far the new one was told.
    at: (BlockId, u32),
    started: bool,
}

/// A piece of it: where it leads, what leaves and what joins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at: Tip,
    pub(super) disconnected: Vec<Text<BlockId>>,
    pub(super) connected: Vec<Text<BlockId>>,
}

impl Path {
    /// From any block that the view knows.
    pub(super) fn new(view: &View, from: &BlockId) -> Result<Self, RpcError> {
        let unknown = |id: &BlockId| RpcError::NotFound { what: "block", id: id.to_string() };
        let mut left = Vec::new();
        let mut id = *from;
        loop {
            let stored = view.header(&id)?.ok_or_else(|| unknown(&id))?;
            if view.block_id_at(stored.height)? == Some(id) {
                return Ok(Self { left, at: (id, stored.height), started: false });
            }
            left.push((id, stored.height));
            id = stored.header.parent;
        }
    }

    /// The height of the highest block that both branches have.
    pub(super) fn fork_height(&self) -> u32 {
        self.at.1
    }

    /// The next piece on the view that it was found in; `None` at the end. There is one even where
    /// there is no way to go.
    pub(super) fn next(&mut self, view: &View) -> Result<Option<Step>, RpcError> {
        let tip = view.tip();
        if self.started && self.left.is_empty() && self.at.1 >= tip.height {
            return Ok(None);
        }
        self.started = true;
        let rest = self.left.split_off(self.left.len().min(MAX_STEP_BLOCKS));
        let leaving = core::mem::replace(&mut self.left, rest);
        let disconnected = leaving.into_iter().map(|(id, _)| id.into()).collect();
        if let Some((id, height)) = self.left.first() {
            let at = Tip { tip: (*id).into(), tip_height: *height };
            return Ok(Some(Step { at, disconnected, connected: Vec::new() }));
        }
        let mut connected = Vec::new();
        while self.at.1 < tip.height && connected.len() < MAX_STEP_BLOCKS {
            let height = self.at.1.saturating_add(1);
            let id = view.block_id_at(height)?.ok_or(RpcError::Internal)?;
            self.at = (id, height);
            connected.push(id.into());
        }
        let at = Tip { tip: self.at.0.into(), tip_height: self.at.1 };
        Ok(Some(Step { at, disconnected, connected }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ashlar_ledger::{Ledger, MemoryStore, Settings};
    use ashlar_testkit::builder::{Chain, GENESIS_TIME, Plan, genesis};

    use super::*;

    #[test]
    fn the_way_is_told_in_pieces_that_lead_from_block_to_block() {
        let genesis = genesis(&[]);
        let mut chain = Chain::new(genesis.clone());
        let mut ledger =
            Ledger::open(Arc::new(MemoryStore::new()), &genesis, Settings::default()).unwrap();
        let mut grow = |from: BlockId, count: usize| {
            let mut branch = vec![from];
            for _ in 0..count {
                let block = chain.extend(branch.last().unwrap(), Plan::default());
                branch.push(block.id());
                let now = u64::from(GENESIS_TIME) + 100_000_000;
                ledger.offer(&block.to_bytes(), now, &mut rand::rng()).unwrap();
            }
            branch
        };
        let origin = genesis.params().chain_id;
        let old = grow(origin, 2_100);
        let new = grow(origin, 2_200);
        let view = ledger.view();
        assert_eq!(view.tip().id, new[2_200]);

        let mut path = Path::new(&view, &old[2_100]).unwrap();
        assert_eq!(path.fork_height(), 0);
        let mut chain: Vec<BlockId> = old;
        let mut pieces = Vec::new();
        while let Some(step) = path.next(&view).unwrap() {
            for id in &step.disconnected {
                assert_eq!(chain.pop(), Some(id.0));
            }
            chain.extend(step.connected.iter().map(|id| id.0));
            assert_eq!(chain.last(), Some(&step.at.tip.0));
            assert_eq!(chain.len(), step.at.tip_height as usize + 1);
            pieces.push((step.disconnected.len(), step.connected.len()));
        }
        assert_eq!(chain, new);
        assert_eq!(pieces, [(1_000, 0), (1_000, 0), (100, 1_000), (0, 1_000), (0, 200)]);

        // From the tip itself there is one piece, of nothing.
        let mut path = Path::new(&view, &new[2_200]).unwrap();
        let step = path.next(&view).unwrap().unwrap();
        assert_eq!((step.disconnected.len(), step.connected.len()), (0, 0));
        assert_eq!((step.at.tip.0, path.next(&view).unwrap()), (new[2_200], None));
        let unknown = Path::new(&view, &BlockId::ZERO).unwrap_err();
        assert!(matches!(unknown, RpcError::NotFound { .. }));
    }
}
