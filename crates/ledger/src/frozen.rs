//! A full step on its way to the disk, while the next one fills.
//!
//! Only on the way up, with more blocks to come, and only over a store that takes its time
//! ([`Store::writes_slowly`]): there the batch is put together and written by a thread of its own.
//! Nobody is told of its tip before it is synced, and the next step is written after it, so that
//! what a crash leaves is what it would leave without the thread. A node that prunes does without:
//! it deletes between two steps, when nothing is on its way.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use ashlar_consensus::HeaderState;
use ashlar_primitives::Commitment;

use crate::{
    keys::meta,
    ledger::Ledger,
    moved::Moved,
    prune::History,
    records::{self, Totals},
    store::{Batch, Durability, Family, Store, StoreError},
};

/// How long a frozen step may be out before the ledger waits for it, in milliseconds.
pub(crate) const FROZEN_MS: u64 = 250;

/// All that a view says of a tip beside its store.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) tip: HeaderState,
    pub(crate) utxo_commitment: Commitment,
    pub(crate) totals: Totals,
    pub(crate) history: History,
}

/// The step that is being written. Dropped, it waits for its thread.
#[derive(Debug)]
pub(crate) struct Frozen {
    writer: Option<JoinHandle<Result<(), StoreError>>>,
    /// After the step.
    standing: Standing,
    /// From the tip published before to its own.
    moved: Moved,
    begun_ms: u64,
}

impl Frozen {
    /// When the ledger waits for it at the latest.
    pub(crate) const fn due_ms(&self) -> u64 {
        self.begun_ms.saturating_add(FROZEN_MS)
    }

    fn is_written(&self) -> bool {
        self.writer.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn wait(&mut self) -> Result<(), StoreError> {
        match self.writer.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(written)) => written,
            Some(Err(_)) => Err(failed("its thread died")),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // Whoever opens the store again finds it whole. An error has blown the fuse already.
        drop(self.wait());
    }
}

fn failed(message: &str) -> StoreError {
    StoreError::Io { doing: "writing a step", message: message.to_owned() }
}

impl<S: Store> Ledger<S> {
    /// Whether a full step goes to a thread.
    pub(crate) fn may_freeze(&self) -> bool {
        let is_upward = self.moved.disconnected.is_empty();
        is_upward && self.settings.prune_bytes.is_none() && self.store.writes_slowly()
    }

    /// Hands the step to a thread, after the one before it was written and told of.
    pub(crate) fn freeze(&mut self, now_ms: u64) -> Result<(), StoreError> {
        self.publish_frozen()?;
        // What is known of headers goes on changing: their records are written in order, here.
        self.write_headers(Batch::default())?;
        let full = self.step.freeze();
        let indexes = self.settings.indexes();
        let state = self.state_record().to_value();
        let undo_bytes = records::size_value(self.history.undo_bytes);
        let store = Arc::clone(&self.store);
        let write = move || {
            let mut batch = full.to_batch(indexes)?;
            batch.put(Family::Meta, meta::STATE.to_vec(), state);
            batch.put(Family::Meta, meta::UNDO_BYTES.to_vec(), undo_bytes);
            // Apart: bodies that come meanwhile are written beside a sync, and after a synced write.
            store.commit(batch, Durability::Later)?;
            store.sync()
        };
        let writer = thread::Builder::new().name("ledger-writer".to_owned()).spawn(write);
        let writer = writer.map_err(|error| failed(&error.to_string()))?;
        let nothing = Moved::new(self.settings.moved_body_bytes);
        self.frozen = Some(Frozen {
            writer: Some(writer),
            standing: self.standing(),
            moved: std::mem::replace(&mut self.moved, nothing),
            begun_ms: now_ms,
        });
        self.prune();
        Ok(())
    }

    /// Tells of the frozen step, if it is written, or has been out for long; whether there was one.
    pub(crate) fn settle_frozen(&mut self, now_ms: u64) -> Result<bool, StoreError> {
        let is_ready = |frozen: &Frozen| frozen.is_written() || now_ms >= frozen.due_ms();
        match self.frozen.as_ref().is_some_and(is_ready) {
            true => self.publish_frozen(),
            false => Ok(false),
        }
    }

    /// Waits for the frozen step, and tells of it by itself; whether there was one.
    pub(crate) fn publish_frozen(&mut self) -> Result<bool, StoreError> {
        let Some(mut frozen) = self.frozen.take() else { return Ok(false) };
        frozen.wait()?;
        self.step.thaw();
        let nothing = Moved::new(self.settings.moved_body_bytes);
        let moved = std::mem::replace(&mut frozen.moved, nothing);
        let later = self.publish_as(frozen.standing.clone(), self.store.snapshot(), moved)?;
        self.join_moved(later);
        Ok(true)
    }

    /// Waits for the frozen step, and tells of it with what comes next.
    pub(crate) fn thaw(&mut self) -> Result<(), StoreError> {
        let Some(mut frozen) = self.frozen.take() else { return Ok(()) };
        frozen.wait()?;
        self.step.thaw();
        let nothing = Moved::new(self.settings.moved_body_bytes);
        let moved = std::mem::replace(&mut frozen.moved, nothing);
        self.join_moved(Some(moved));
        Ok(())
    }

    /// What was not told comes before what has moved since.
    fn join_moved(&mut self, earlier: Option<Moved>) {
        let Some(earlier) = earlier else { return };
        let nothing = Moved::new(self.settings.moved_body_bytes);
        let later = std::mem::replace(&mut self.moved, nothing);
        self.moved = earlier.then(later);
    }
}
