//! Room on the disk: without some a node does not start, and it stops before there is none.
//!
//! A full disk breaks no promise (a step is written whole or not at all), but it ends the node in
//! the middle of things, and RocksDB needs room to tidy up. Two marks, one setting: the node
//! starts with `min_free` and stops, cleanly, at a quarter of it. A `reindex` or `import`, which
//! write as much, keep the same marks.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use thiserror::Error;
use tracing::warn;

use crate::size::ByteSize;

/// Free space that a start asks for unless configured otherwise.
pub(crate) const DEFAULT_MIN_FREE: ByteSize = ByteSize(1 << 30);
/// The node stops at this part of it.
const STOP_PART: u64 = 4;
/// How far apart a busy node looks: a step writes 32 MiB at most, and takes longer than this to
/// come about many times. An idle node looks each time that it wakes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Too little room, or nobody knows how much.
#[derive(Debug, Error)]
pub(crate) enum DiskError {
    #[error(
        "the disk of {path} has {free} free; a start asks for {wanted}. Make room, or lower --min-free (the node stops when a quarter of it is left)"
    )]
    NoRoomToStart { path: PathBuf, free: ByteSize, wanted: ByteSize },
    #[error(
        "the disk of {path} is nearly full: {free} free; stopped cleanly at {mark}. Make room, then start again"
    )]
    NearlyFull { path: PathBuf, free: ByteSize, mark: ByteSize },
    #[error("can't tell how much room the disk of {path} has: {error}")]
    Unknown { path: PathBuf, error: io::Error },
}

/// The marks of one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    path: PathBuf,
    min_free: ByteSize,
}

impl Room {
    /// `path`: something on the disk, that exists.
    pub(crate) fn new(path: &Path, min_free: ByteSize) -> Self {
        Self { path: path.to_owned(), min_free }
    }

    fn stop_mark(&self) -> ByteSize {
        ByteSize(self.min_free.0 / STOP_PART)
    }

    /// What this process could still write.
    fn free(&self) -> Result<ByteSize, DiskError> {
        let disk = rustix::fs::statvfs(&self.path)
            .map_err(|error| DiskError::Unknown { path: self.path.clone(), error: error.into() })?;
        Ok(ByteSize(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    /// The same as a number of bytes, for metrics; `None` where nobody knows.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        self.free().ok().map(|free| free.0)
    }

    /// Before the start.
    pub(crate) fn check_start(&self) -> Result<(), DiskError> {
        let free = self.free()?;
        if free < self.min_free {
            let (path, wanted) = (self.path.clone(), self.min_free);
            return Err(DiskError::NoRoomToStart { path, free, wanted });
        }
        Ok(())
    }

    /// While the node runs.
    fn check(&self) -> Result<(), DiskError> {
        let (free, mark) = (self.free()?, self.stop_mark());
        if free < mark {
            return Err(DiskError::NearlyFull { path: self.path.clone(), free, mark });
        }
        Ok(())
    }

    /// What the operator should know, while there is still time.
    pub(crate) fn warning(&self) -> Option<String> {
        let free = self.free().ok().filter(|free| *free < self.min_free)?;
        let (path, mark) = (self.path.display(), self.stop_mark());
        Some(format!("the disk of {path} has {free} free; the node stops at {mark}: make room"))
    }
}

/// Looks now and then.
#[derive(Debug)]
pub(crate) struct Watch {
    room: Room,
    looked: Option<Instant>,
    has_warned: bool,
}

impl Watch {
    pub(crate) const fn new(room: Room) -> Self {
        Self { room, looked: None, has_warned: false }
    }

    /// Cheap; to be called before anything that may write.
    pub(crate) fn look(&mut self) -> Result<(), DiskError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_INTERVAL) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        self.room.check()?;
        let warning = self.room.warning();
        if let Some(warning) = warning.as_ref().filter(|_| !self.has_warned) {
            warn!("{warning}");
        }
        self.has_warned = warning.is_some();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_kept() {
        let room = |min_free| Room::new(&std::env::temp_dir(), ByteSize(min_free));
        let free = room(0).free().unwrap().0;
        assert!(room(0).check_start().is_ok() && room(0).check().is_ok());
        assert!(room(0).warning().is_none());
        // Between the marks: no start, but no stop either.
        let between = room(free.saturating_mul(2));
        assert!(matches!(between.check_start(), Err(DiskError::NoRoomToStart { .. })));
        assert!(between.check().is_ok() && between.warning().is_some());
        let below = room(free.saturating_mul(16));
        assert!(matches!(below.check(), Err(DiskError::NearlyFull { .. })));
        assert!(matches!(Watch::new(below).look(), Err(DiskError::NearlyFull { .. })));
    }

    #[test]
    fn a_disk_that_does_not_answer_is_no_full_one() {
        let room = Room::new(Path::new("/nowhere/at/all"), DEFAULT_MIN_FREE);
        assert!(matches!(room.check_start(), Err(DiskError::Unknown { .. })));
        assert!(room.warning().is_none());
    }
}
