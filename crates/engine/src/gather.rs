//! Our own batches: what is new is gathered for a few milliseconds, or until a batch is full, and
//! published together (PROTOCOL.md §12), parents before children, because that is the order in
//! which they came in.

use std::{collections::VecDeque, sync::Arc};

use ashlar_consensus::CheckedTransaction;
use ashlar_ledger::Store;
use ashlar_primitives::{Transaction, wire};

use crate::{
    Engine,
    input::GossipData,
    limits::{GATHER_MS, GATHER_RETRY_MS, MAX_OUTGOING_BYTES},
    output::Output,
    timers::Timer,
};

/// A batch begins with its count.
const COUNT_BYTES: usize = size_of::<u16>();

/// Transactions to publish.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    waiting: VecDeque<Arc<CheckedTransaction>>,
    pub(crate) bytes: usize,
}

fn size_bytes(transaction: &CheckedTransaction) -> usize {
    usize::try_from(transaction.size_bytes()).unwrap_or(usize::MAX)
}

impl<S: Store> Engine<S> {
    /// Adds one to the next batch; a full one does not wait.
    pub(crate) fn gather(&mut self, transaction: Arc<CheckedTransaction>) {
        let mut bytes = self.gathered.bytes.saturating_add(size_bytes(&transaction));
        if bytes.saturating_add(COUNT_BYTES) > wire::MAX_BATCH_BYTES && !self.chain.is_syncing() {
            self.publish_gathered();
            bytes = size_bytes(&transaction);
        }
        if bytes > MAX_OUTGOING_BYTES {
            return;
        }
        self.gathered.bytes = bytes;
        self.gathered.waiting.push_back(transaction);
        let at_ms = self.now.monotonic_ms.saturating_add(GATHER_MS);
        self.timers.set_by(Timer::Gather, at_ms);
    }

    /// Publishes what was gathered, in as many batches as it takes.
    pub(crate) fn on_gather_timer(&mut self) {
        if self.chain.is_syncing() {
            let at_ms = self.now.monotonic_ms.saturating_add(GATHER_RETRY_MS);
            self.timers.set(Timer::Gather, at_ms);
            return;
        }
        self.publish_gathered();
    }

    fn publish_gathered(&mut self) {
        self.gathered.bytes = 0;
        let waiting = core::mem::take(&mut self.gathered.waiting);
        let mut batch: Vec<Transaction> = Vec::new();
        let mut bytes = COUNT_BYTES;
        for transaction in waiting {
            // What left the mempool meanwhile is no longer worth telling.
            if !self.mempool.contains_wtxid(&transaction.wtxid()) {
                continue;
            }
            let size_bytes = size_bytes(&transaction);
            if bytes.saturating_add(size_bytes) > wire::MAX_BATCH_BYTES {
                self.publish_batch(core::mem::take(&mut batch));
                bytes = COUNT_BYTES;
            }
            bytes = bytes.saturating_add(size_bytes);
            batch.push(transaction.transaction().clone());
        }
        self.publish_batch(batch);
    }

    fn publish_batch(&mut self, batch: Vec<Transaction>) {
        if !batch.is_empty() {
            self.out.push(Output::Publish(GossipData::Transactions(Arc::new(batch))));
        }
    }
}
