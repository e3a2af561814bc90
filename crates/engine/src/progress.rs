//! How fast the chain is caught up with, and what keeps it from that.

use std::collections::VecDeque;

use ashlar_ledger::{Store, StoreError};

use crate::{
    Engine,
    call::{SyncProgress, Warning},
    limits::{SPEED_SAMPLES, SYNC_NOTICE_INTERVAL_MS},
    output::Notice,
    side_branches::Lack,
};

/// Where the tip was lately.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Once a second while catching up: when, and at which height.
    samples: VecDeque<(u64, u32)>,
    noticed_ms: u64,
    lack: Option<Lack>,
}

impl Progress {
    /// Thousandths of blocks a second over the samples; `None` before there are two.
    fn milliblocks_per_second(&self) -> Option<u64> {
        let (&(from_ms, from), &(to_ms, to)) = self.samples.front().zip(self.samples.back())?;
        let blocks = u64::from(to.saturating_sub(from));
        blocks.saturating_mul(1_000_000).checked_div(to_ms.saturating_sub(from_ms))
    }
}

impl<S: Store> Engine<S> {
    /// How far catching up is.
    pub(crate) fn sync_progress(&self) -> Result<SyncProgress, StoreError> {
        let height = self.view.tip().height;
        let target_height = self.sync_target()?.height.max(height);
        let milliblocks_per_second = self.progress.milliblocks_per_second();
        let missing = u64::from(target_height.saturating_sub(height)).saturating_mul(1_000);
        let seconds_left = milliblocks_per_second.and_then(|speed| missing.checked_div(speed));
        Ok(SyncProgress { height, target_height, milliblocks_per_second, seconds_left })
    }

    /// Once a second: measures, and says every ten seconds how far it is, and at once what is
    /// lacking.
    pub(crate) fn watch_progress(&mut self) -> Result<(), StoreError> {
        let now_ms = self.now.monotonic_ms;
        let progress = &mut self.progress;
        if self.chain.is_syncing() {
            progress.samples.push_back((now_ms, self.view.tip().height));
            if progress.samples.len() > SPEED_SAMPLES {
                progress.samples.pop_front();
            }
            if now_ms.saturating_sub(progress.noticed_ms) >= SYNC_NOTICE_INTERVAL_MS {
                self.notice_progress()?;
            }
        } else {
            progress.samples.clear();
        }
        let lack = self.download.side.lack();
        if core::mem::replace(&mut self.progress.lack, lack) != lack
            && let Some(warning) = self.lack_warning()
        {
            self.notice(Notice::Lacking(warning));
        }
        Ok(())
    }

    /// Says how far it is.
    pub(crate) fn notice_progress(&mut self) -> Result<(), StoreError> {
        self.progress.noticed_ms = self.now.monotonic_ms;
        let progress = self.sync_progress()?;
        self.notice(Notice::Syncing(progress));
        Ok(())
    }

    /// What keeps the node from catching up, for people.
    pub(crate) fn lack_warning(&self) -> Option<Warning> {
        let (id, height) = self.download.side.front()?;
        Some(match self.progress.lack? {
            Lack::OnlyPruned => Warning::OnlyPrunedPeers { height },
            Lack::Withheld => Warning::BodiesWithheld { id, height },
        })
    }
}
