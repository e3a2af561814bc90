//! How far `ashlar-node check` has come, beside the ledger that it does not write to.

use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use ashlar_ledger::care::{Bookmark, Depth};
use tracing::{info, warn};

use crate::datadir::{Datadir, write_atomically};

/// In the data directory, while a check is not through.
const FILE: &str = "check.progress";

/// Between two writes of it: what a check that is killed has to do again at most.
const KEEP_INTERVAL: Duration = Duration::from_secs(2);

/// The file of one data directory. That it can't be read or written is said, and ends nothing: a
/// check can do without.
#[derive(Debug)]
pub(crate) struct CheckFile {
    path: PathBuf,
    kept: Instant,
    is_told: bool,
}

impl CheckFile {
    pub(crate) fn new(directory: &Datadir) -> Self {
        Self { path: directory.path().join(FILE), kept: Instant::now(), is_told: false }
    }

    /// Where a check of this depth, of a ledger of this version, goes on.
    pub(crate) fn fitting(&self, depth: Depth, version: u64) -> Option<Bookmark> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(path = %self.path.display(), %error, "can't read how far a check had come");
                return None;
            }
        };
        let Some(kept) = Bookmark::from_bytes(&bytes) else {
            warn!(path = %self.path.display(), "damaged; the check begins anew");
            return None;
        };
        match kept.fits(depth, version) {
            Ok(()) => {
                info!("going on with the check that was interrupted");
                Some(kept)
            }
            Err(why) => {
                info!("{why}; this one begins anew");
                None
            }
        }
    }

    /// Writes it down now and then, and the last one always.
    pub(crate) fn keep(&mut self, at: &Bookmark, is_last: bool) {
        if !is_last && self.kept.elapsed() < KEEP_INTERVAL {
            return;
        }
        self.kept = Instant::now();
        if let Err(error) = write_atomically(&self.path, &at.to_bytes())
            && !self.is_told
        {
            self.is_told = true;
            warn!(%error, "can't write down how far the check is");
        }
    }

    /// The check is through.
    pub(crate) fn remove(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(path = %self.path.display(), %error, "can't be removed");
            }
            _ => {}
        }
    }
}
