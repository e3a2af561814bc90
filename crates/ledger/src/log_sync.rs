//! When the database's log must be synced: not again where nothing was written since, and ahead of
//! whoever will wait for it where that is known.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::store::StoreError;

/// What was written to a log, and how much of it is on disk.
#[derive(Debug)]
pub(crate) struct LogSync {
    writes: AtomicU64,
    synced: Mutex<Synced>,
}

#[derive(Debug)]
struct Synced {
    writes: u64,
    /// A sync that failed leaves open what is on disk: none after it can say.
    failed: Option<StoreError>,
}

impl Default for LogSync {
    /// Of a log that was just opened: what it holds already may not be on disk.
    fn default() -> Self {
        let synced = Mutex::new(Synced { writes: 0, failed: None });
        Self { writes: AtomicU64::new(1), synced }
    }
}

impl LogSync {
    /// Something was written.
    pub(crate) fn note_write(&self) {
        self.writes.fetch_add(1, Ordering::Release);
    }

    /// What was noted before is on disk when this returns: `flush` puts it there.
    pub(crate) fn sync(
        &self,
        flush: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = &synced.failed {
            return Err(failed.clone());
        }
        let writes = self.writes.load(Ordering::Acquire);
        if synced.writes == writes {
            return Ok(());
        }
        let flushed = flush();
        match &flushed {
            Ok(()) => synced.writes = writes,
            Err(error) => synced.failed = Some(error.clone()),
        }
        flushed
    }
}

/// The thread that syncs ahead. It has ended when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct SyncAhead(Mutex<Option<JoinHandle<()>>>);

impl SyncAhead {
    /// Starts `sync`, unless one is under way or no thread is to be had: then it is done where it
    /// is waited for.
    pub(crate) fn start(&self, sync: impl FnOnce() + Send + 'static) {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_none_or(JoinHandle::is_finished) {
            *thread = thread::Builder::new().name("log-sync".to_owned()).spawn(sync).ok();
        }
    }
}

impl Drop for SyncAhead {
    fn drop(&mut self) {
        let thread = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // What went wrong is told to whoever syncs next.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    const NEVER: fn() -> Result<(), StoreError> = || panic!("there is nothing to sync");

    #[test]
    fn it_is_synced_once_for_what_was_written() {
        let log = LogSync::default();
        let flushed = std::cell::Cell::new(0);
        let flush = || {
            flushed.set(flushed.get() + 1);
            Ok(())
        };
        log.sync(flush).unwrap();
        log.sync(NEVER).unwrap();
        log.note_write();
        log.note_write();
        // What is written while it is being synced waits for the next.
        log.sync(|| {
            log.note_write();
            flush()
        })
        .unwrap();
        log.sync(flush).unwrap();
        log.sync(NEVER).unwrap();
        assert_eq!(flushed.get(), 3);
    }

    #[test]
    fn a_sync_that_failed_is_not_forgotten() {
        let log = LogSync::default();
        let failed = StoreError::Io { doing: "syncing", message: "gone".to_owned() };
        assert!(log.sync(|| Err(failed)).is_err());
        log.note_write();
        assert!(log.sync(NEVER).is_err());
    }

    #[test]
    fn who_waits_finds_it_done_ahead() {
        let (log, ahead) = (Arc::new(LogSync::default()), SyncAhead::default());
        let (began, has_begun) = mpsc::channel();
        let (may_end, end) = mpsc::channel();
        let its = Arc::clone(&log);
        ahead.start(move || {
            its.sync(|| {
                began.send(()).unwrap();
                end.recv().unwrap();
                Ok(())
            })
            .unwrap();
        });
        has_begun.recv().unwrap();
        // One at a time.
        ahead.start(|| panic!("one is under way"));
        may_end.send(()).unwrap();
        log.sync(NEVER).unwrap();
    }
}
