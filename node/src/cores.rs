//! All cores: the threads that verify, and the jobs that wait for one.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use ashlar_consensus::signature::Workers;
use ashlar_engine::{Job, JobId, JobResult};
use rand::CryptoRng;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

/// The threads of the pool that it is called from, each with a generator of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores;

impl Workers for Cores {
    fn count(&self) -> usize {
        rayon::current_num_threads()
    }

    fn share<R: Send>(
        &mut self,
        pieces: usize,
        work: impl Fn(usize, &mut dyn CryptoRng) -> R + Sync,
    ) -> Vec<R> {
        // Each piece by itself: no thread keeps two while another waits.
        let pieces = (0..pieces).into_par_iter().with_max_len(1);
        pieces.map_init(rand::rng, |rng, piece| work(piece, rng)).collect()
    }

    fn join<A: Send, B: Send>(
        &mut self,
        beside: impl FnOnce() -> A + Send,
        work: impl FnOnce(&mut Self) -> B + Send,
    ) -> (A, B) {
        rayon::join(beside, || work(&mut Self))
    }
}

/// Jobs that wait. Bounded by what the engine has out.
#[derive(Debug, Default)]
struct Waiting {
    /// The chain stands still until it is done.
    block: VecDeque<(JobId, Job)>,
    rest: VecDeque<(JobId, Job)>,
}

impl Waiting {
    fn push(&mut self, id: JobId, job: Job) {
        let lane = match job {
            Job::VerifyBlock { .. } => &mut self.block,
            _ => &mut self.rest,
        };
        lane.push_back((id, job));
    }

    fn pop(&mut self) -> Option<(JobId, Job)> {
        self.block.pop_front().or_else(|| self.rest.pop_front())
    }
}

/// Runs the engine's jobs on all cores, in order but for one thing: the block that the chain waits
/// for comes before those that are opened ahead of it, so that they fill the gaps that it leaves.
#[derive(Debug)]
pub(crate) struct JobPool {
    pool: rayon::ThreadPool,
    waiting: Arc<Mutex<Waiting>>,
}

impl JobPool {
    /// One worker a core. A panic in a job aborts the process: its verdict would be missing for
    /// ever.
    pub(crate) fn new() -> io::Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|index| format!("job-{index}"))
            .start_handler(|_| crate::run::lower_priority())
            .build()
            .map_err(io::Error::other)?;
        Ok(Self { pool, waiting: Arc::default() })
    }

    /// Runs a job when its turn comes, and hands its result to `done` on the worker's thread.
    pub(crate) fn start(
        &self,
        id: JobId,
        job: Job,
        done: impl FnOnce(JobId, JobResult) + Send + 'static,
    ) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(id, job);
        let waiting = Arc::clone(&self.waiting);
        self.pool.spawn(move || {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            // There are as many turns as jobs: one is left for this turn.
            if let Some((id, job)) = next {
                done(id, job.run(&mut Cores));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use super::*;

    fn block() -> Job {
        let (checks, known) = (Vec::new(), BTreeSet::new());
        Job::VerifyBlock { checks, known, terms: Default::default() }
    }

    #[test]
    fn the_block_that_the_chain_waits_for_comes_first() {
        let mut waiting = Waiting::default();
        for id in 1..=3 {
            waiting.push(JobId(id), Job::CheckTransactions { transactions: Vec::new() });
        }
        let block = block();
        waiting.push(JobId(4), block);
        let order: VecDeque<u64> = std::iter::from_fn(|| waiting.pop()).map(|it| it.0.0).collect();
        assert_eq!(order, [4, 1, 2, 3]);
    }

    #[test]
    fn every_job_is_done_and_answered_in_kind() {
        let jobs = JobPool::new().unwrap();
        let (done, results) = std::sync::mpsc::channel();
        for id in 0..100 {
            let job = match id % 2 {
                0 => block(),
                _ => Job::CheckTransactions { transactions: Vec::new() },
            };
            let done = done.clone();
            jobs.start(JobId(id), job, move |id, result| done.send((id.0, result)).unwrap());
        }
        drop(done);
        let results: Vec<(u64, JobResult)> = results.iter().collect();
        for (id, result) in &results {
            match result {
                JobResult::VerifyBlock(Ok(_)) => assert_eq!(id % 2, 0),
                JobResult::CheckTransactions(judged) => assert!(judged.is_empty() && id % 2 == 1),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(results.into_iter().map(|it| it.0).collect::<BTreeSet<_>>().len(), 100);
    }

    #[test]
    fn pieces_are_shared_and_their_results_stay_in_order() {
        let pieces: Vec<usize> = Cores.share(100, |piece, _| piece * 2);
        assert_eq!(pieces, (0..100).map(|piece| piece * 2).collect::<Vec<_>>());
        assert!(Cores.count() > 0);
    }
}
