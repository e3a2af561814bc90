//! Bodies on their way to the chain: kept in memory from their arrival until they connect.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::CheckedBlock;
use ashlar_primitives::BlockId;

/// A cache over the store: what it does not have is read back and opened again.
#[derive(Debug)]
pub(crate) struct BodyCache {
    blocks: BTreeMap<(u32, BlockId), Arc<CheckedBlock>>,
    bytes: usize,
    max_bytes: usize,
}

impl BodyCache {
    pub(crate) const fn new(max_bytes: usize) -> Self {
        Self { blocks: BTreeMap::new(), bytes: 0, max_bytes }
    }

    /// Over the bound, what the chain has passed leaves first (branches that came to nothing),
    /// then what it needs last.
    pub(crate) fn insert(&mut self, block: Arc<CheckedBlock>, live_height: u32) {
        self.bytes = self.bytes.saturating_add(size(&block));
        self.blocks.insert((block.height(), block.id()), block);
        while self.bytes > self.max_bytes {
            let passed = |entry: &(&(u32, BlockId), &Arc<CheckedBlock>)| entry.0.0 <= live_height;
            let leaving = match self.blocks.first_key_value().filter(passed) {
                Some(_) => self.blocks.pop_first(),
                None => self.blocks.pop_last(),
            };
            let Some((_, block)) = leaving else { break };
            self.bytes = self.bytes.saturating_sub(size(&block));
        }
    }

    pub(crate) fn get(&self, height: u32, id: &BlockId) -> Option<Arc<CheckedBlock>> {
        self.blocks.get(&(height, *id)).cloned()
    }

    /// It is connected, or failed.
    pub(crate) fn remove(&mut self, height: u32, id: &BlockId) {
        if let Some(block) = self.blocks.remove(&(height, *id)) {
            self.bytes = self.bytes.saturating_sub(size(&block));
        }
    }
}

/// The encoding's length stands for the memory that a block takes.
pub(crate) fn size(block: &CheckedBlock) -> usize {
    usize::try_from(block.size_bytes()).unwrap_or(usize::MAX)
}
