//! What passed through lately and may be needed again: to rebuild a compact block, to serve
//! a block that is passed on but not yet connected, to know what peers were told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use ashlar_consensus::{CheckedBlock, CheckedTransaction};
use ashlar_primitives::{BlockId, Wtxid};

use crate::limits::{RECENT_BLOCK_BYTES, RECENT_BLOCKS, RECENT_TRANSACTION_BYTES, RELAYED_IDS};

/// Bounded memories, oldest out first.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    pub(crate) blocks: VecDeque<Arc<CheckedBlock>>,
    block_bytes: usize,
    transactions: BTreeMap<Wtxid, Arc<CheckedTransaction>>,
    order: VecDeque<Wtxid>,
    pub(crate) transaction_bytes: usize,
    pub(crate) relayed: VecDeque<BlockId>,
}

fn size_bytes(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Recent {
    pub(crate) fn add_block(&mut self, block: Arc<CheckedBlock>) {
        if self.block(&block.id()).is_some() {
            return;
        }
        self.block_bytes = self.block_bytes.saturating_add(size_bytes(block.size_bytes()));
        self.blocks.push_back(block);
        // The newest is kept whatever its size: peers are about to ask for it.
        while self.blocks.len() > 1
            && (self.blocks.len() > RECENT_BLOCKS || self.block_bytes > RECENT_BLOCK_BYTES)
        {
            if let Some(oldest) = self.blocks.pop_front() {
                self.block_bytes = self.block_bytes.saturating_sub(size_bytes(oldest.size_bytes()));
            }
        }
    }

    pub(crate) fn block(&self, id: &BlockId) -> Option<&Arc<CheckedBlock>> {
        self.blocks.iter().find(|block| block.id() == *id)
    }

    /// Transactions of recent blocks: a block beside the tip holds many of them too.
    pub(crate) fn block_transactions(&self) -> impl Iterator<Item = &Arc<CheckedTransaction>> {
        self.blocks.iter().flat_map(|block| block.transactions())
    }

    /// A transaction left the mempool unconfirmed.
    pub(crate) fn add_transaction(&mut self, transaction: Arc<CheckedTransaction>) {
        let wtxid = transaction.wtxid();
        let bytes = size_bytes(transaction.size_bytes());
        if self.transactions.insert(wtxid, transaction).is_some() {
            return;
        }
        self.order.push_back(wtxid);
        self.transaction_bytes = self.transaction_bytes.saturating_add(bytes);
        while self.transaction_bytes > RECENT_TRANSACTION_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(oldest) = self.transactions.remove(&oldest) {
                self.transaction_bytes =
                    self.transaction_bytes.saturating_sub(size_bytes(oldest.size_bytes()));
            }
        }
    }

    pub(crate) fn transactions(&self) -> impl Iterator<Item = &Arc<CheckedTransaction>> {
        self.transactions.values()
    }

    pub(crate) fn has_transaction(&self, wtxid: &Wtxid) -> bool {
        self.transactions.contains_key(wtxid)
    }

    /// This block went out by gossip, by us or through us.
    pub(crate) fn note_relayed(&mut self, id: BlockId) {
        self.relayed.push_back(id);
        if self.relayed.len() > RELAYED_IDS {
            self.relayed.pop_front();
        }
    }

    pub(crate) fn was_relayed(&self, id: &BlockId) -> bool {
        self.relayed.contains(id)
    }
}
