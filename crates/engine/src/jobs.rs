//! Which job is out for what.

use std::collections::BTreeMap;

use ashlar_ledger::{Store, StoreError};
use ashlar_primitives::BlockId;

use crate::{
    Engine,
    batch::BatchId,
    call::CallId,
    input::Peer,
    job::{Job, JobId, JobResult},
    output::Output,
};

/// Where a job's result goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum JobPurpose {
    /// A body of the download window.
    OpenDownloaded {
        id: BlockId,
        peer: Peer,
    },
    /// A block that came by gossip, put together from its compact form.
    OpenRebuilt {
        id: BlockId,
    },
    /// A block that came by gossip, and then whole.
    OpenGossiped {
        id: BlockId,
    },
    /// A block that a caller submitted.
    OpenSubmitted {
        id: BlockId,
        call: CallId,
    },
    /// A block that the ledger is connecting.
    VerifyBlock {
        id: BlockId,
    },
    CheckBatch(BatchId),
    VerifyBatch(BatchId),
    CheckTemplate,
}

/// All jobs that are out. Bounded by what starts them: bodies in flight, pending blocks,
/// submissions, batches, one template, two blocks.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    last: u64,
    out: BTreeMap<JobId, JobPurpose>,
}

impl<S: Store> Engine<S> {
    pub(crate) fn start_job(&mut self, purpose: JobPurpose, job: Job) {
        self.jobs.last = self.jobs.last.saturating_add(1);
        let id = JobId(self.jobs.last);
        self.jobs.out.insert(id, purpose);
        self.out.push(Output::Job(id, job));
    }

    pub(crate) fn on_job(&mut self, id: JobId, result: JobResult) -> Result<(), StoreError> {
        let Some(purpose) = self.jobs.out.remove(&id) else { return Ok(()) };
        match (purpose, result) {
            (JobPurpose::OpenDownloaded { id, peer }, JobResult::OpenBlock(result)) => {
                self.on_downloaded_opened(id, peer, result)
            }
            (JobPurpose::OpenRebuilt { id }, JobResult::OpenBlock(result)) => {
                self.on_rebuilt_opened(id, result)
            }
            (JobPurpose::OpenGossiped { id }, JobResult::OpenBlock(result)) => {
                self.on_gossiped_opened(id, result)
            }
            (JobPurpose::OpenSubmitted { id, call }, JobResult::OpenBlock(result)) => {
                self.on_submitted_opened(id, call, result)
            }
            (JobPurpose::VerifyBlock { id }, JobResult::VerifyBlock(result)) => {
                self.on_block_verified(id, result)
            }
            (JobPurpose::CheckBatch(batch), JobResult::CheckTransactions(results)) => {
                self.on_batch_checked(batch, results);
                Ok(())
            }
            (JobPurpose::VerifyBatch(batch), JobResult::VerifyTransactions(results)) => {
                self.on_batch_verified(batch, results);
                Ok(())
            }
            (JobPurpose::CheckTemplate, JobResult::CheckTemplate(result)) => {
                self.on_template_checked(result)
            }
            // `Job::run` answers in kind; a driver that mixes up ids has broken its contract, and
            // there is nothing to do with such a result.
            _ => Ok(()),
        }
    }
}
