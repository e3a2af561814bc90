//! Threads that share one piece of work and drop it the moment there is another.

use std::{
    fmt,
    panic::resume_unwind,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use ashlar_primitives::Header;

use crate::{
    meter::Meter,
    priority::lowest_thread_priority,
    space::{SPACE, scan},
};

/// Headers that a thread tries between two looks at whether there is other work: some
/// milliseconds. A whole number of batches makes a version.
pub const BATCH: u32 = 1 << 16;

/// A header to find a nonce for.
#[derive(Clone, Debug)]
pub struct Work {
    /// Comes back with a found header, so that the driver knows the block.
    pub id: u64,
    /// What is tried first; then other nonces, then other versions (`SPACE` headers in all).
    pub header: Header,
    /// A little-endian number as bytes, highest first: ids at or below it are found.
    pub target: [u8; 32],
}

/// A header that meets its target.
#[derive(Clone, Debug)]
pub struct Found {
    /// The id of the work.
    pub work: u64,
    /// The work's header with another nonce, perhaps another version.
    pub header: Header,
}

/// Mining threads, at the lowest priority, never in the rayon pool.
///
/// One piece of work gives at most one find: a second header would only be a rival of the first.
/// After it, and where all headers were tried, the threads sleep until there is other work.
pub struct Miner {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    meter: Mutex<Meter>,
}

/// What all threads see.
struct Shared {
    desk: Mutex<Desk>,
    /// Told when `desk` changes.
    changed: Condvar,
    /// That of the assignment on the desk: what a thread looks at without the lock.
    epoch: AtomicU64,
    hashes: AtomicU64,
    on_found: Box<dyn Fn(Found) + Send + Sync>,
}

struct Desk {
    assignment: Option<Arc<Assignment>>,
    stopping: bool,
    /// Threads that sleep.
    idle: usize,
}

/// Work that is being done.
struct Assignment {
    work: Work,
    epoch: u64,
    next_batch: AtomicU64,
    is_found: AtomicBool,
}

impl Miner {
    /// Starts `threads` threads, which sleep until there is work. `on_found` is called from one of
    /// them and must not block.
    ///
    /// # Panics
    /// Where the system refuses a thread.
    pub fn start(threads: usize, on_found: impl Fn(Found) + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            desk: Mutex::new(Desk { assignment: None, stopping: false, idle: 0 }),
            changed: Condvar::new(),
            epoch: AtomicU64::new(0),
            hashes: AtomicU64::new(0),
            on_found: Box::new(on_found),
        });
        let spawn = |number: usize| {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(format!("miner-{number}"));
            thread.spawn(move || shared.run()).expect("the system refuses a thread for mining")
        };
        let threads = (0..threads).map(spawn).collect();
        Self { shared, threads, meter: Mutex::new(Meter::new(Instant::now())) }
    }

    /// Replaces what is worked on, within some milliseconds; `None` pauses. What is found at this
    /// very moment may still be reported.
    pub fn set_work(&self, work: Option<Work>) {
        self.shared.assign(work, 0);
    }

    /// Hashes a second, over the last ten seconds or since it was last asked, whichever is longer.
    pub fn hash_rate(&self) -> u64 {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.rate(Instant::now(), self.shared.hashes.load(Relaxed))
    }

    /// Stops and joins the threads. When it returns nothing more is reported, and `on_found` is
    /// dropped. (Dropping the miner does the same.)
    ///
    /// # Panics
    /// Where `on_found` panicked, with the same.
    pub fn stop(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.shared.desk().stopping = true;
        // Sees to it that a thread in a batch looks at the desk.
        self.shared.assign(None, 0);
        // All of them first, so that none outlives the panic of another.
        let ends: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        if let Some(Err(panic)) = ends.into_iter().find(Result::is_err)
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.join();
    }
}

impl fmt::Debug for Miner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Miner").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        // No invariant spans the lock: what a panic of another thread left is still good.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assign(&self, work: Option<Work>, first_batch: u64) {
        let mut desk = self.desk();
        let epoch = self.epoch.load(Relaxed) + 1;
        desk.assignment = work.map(|work| {
            let (next_batch, is_found) = (AtomicU64::new(first_batch), AtomicBool::new(false));
            Arc::new(Assignment { work, epoch, next_batch, is_found })
        });
        self.epoch.store(epoch, Relaxed);
        drop(desk);
        self.changed.notify_all();
    }

    /// A thread's life.
    fn run(&self) {
        lowest_thread_priority();
        let mut done = 0;
        while let Some(assignment) = self.next_assignment(done) {
            done = assignment.epoch;
            self.work_on(&assignment);
        }
    }

    /// Sleeps until there is work other than that of the epoch `done`; `None`: stop.
    fn next_assignment(&self, done: u64) -> Option<Arc<Assignment>> {
        let mut desk = self.desk();
        desk.idle += 1;
        self.changed.notify_all();
        let is_new = |assignment: &Option<Arc<Assignment>>| {
            assignment.as_ref().is_some_and(|assignment| assignment.epoch != done)
        };
        let mut desk = self
            .changed
            .wait_while(desk, |desk| !desk.stopping && !is_new(&desk.assignment))
            .unwrap_or_else(PoisonError::into_inner);
        desk.idle -= 1;
        if desk.stopping { None } else { desk.assignment.clone() }
    }

    /// Tries batch after batch, until something is found, nothing is left, or there is other work.
    fn work_on(&self, assignment: &Assignment) {
        let Assignment { work, epoch, next_batch, is_found } = assignment;
        while self.epoch.load(Relaxed) == *epoch && !is_found.load(Relaxed) {
            let position = next_batch.fetch_add(1, Relaxed).saturating_mul(BATCH.into());
            if position >= SPACE {
                return;
            }
            let found = scan(&work.header, &work.target, position, BATCH);
            let tried = found.map_or(BATCH, |found| {
                found.nonce.wrapping_sub(work.header.nonce.wrapping_add(position as u32)) + 1
            });
            self.hashes.fetch_add(tried.into(), Relaxed);
            if let Some(header) = found
                && !is_found.swap(true, Relaxed)
            {
                (self.on_found)(Found { work: work.id, header });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, RecvError, channel};

    use ashlar_primitives::{BlockId, MerkleRoot};

    use super::*;
    use crate::space::tests::bitcoin_genesis;

    const ANY: [u8; 32] = [0xff; 32];
    const NONE: [u8; 32] = [0; 32];

    fn work(id: u64, target: [u8; 32]) -> Option<Work> {
        let header = Header {
            version: 0x2000_0000,
            parent: BlockId([id as u8; 32]),
            merkle_root: MerkleRoot::ZERO,
            time: 0,
            bits: 0,
            nonce: 0,
        };
        Some(Work { id, header, target })
    }

    fn miner(threads: usize) -> (Miner, Receiver<Found>) {
        let (sender, receiver) = channel();
        let miner = Miner::start(threads, move |found| sender.send(found).unwrap());
        (miner, receiver)
    }

    impl Miner {
        /// Returns when all threads sleep.
        fn wait_until_idle(&self) {
            let desk = self.shared.desk();
            let all = self.threads.len();
            drop(self.shared.changed.wait_while(desk, |desk| desk.idle < all).unwrap());
        }

        fn hashes(&self) -> u64 {
            self.shared.hashes.load(Relaxed)
        }
    }

    #[test]
    fn finds_bitcoins_genesis_with_several_threads() {
        let (genesis, target) = bitcoin_genesis();
        let start = genesis.nonce - 5 * BATCH - 77;
        let header = Header { nonce: start, ..genesis };
        let (miner, found) = miner(3);
        miner.set_work(Some(Work { id: 9, header, target }));
        let found = found.recv().unwrap();
        assert_eq!((found.work, found.header), (9, genesis));
        miner.stop();
    }

    #[test]
    fn one_piece_of_work_gives_one_find() {
        let (miner, found) = miner(4);
        for id in 0..50 {
            miner.set_work(work(id, ANY));
            assert_eq!(found.recv().unwrap().work, id);
        }
        miner.wait_until_idle();
        miner.stop();
        assert_eq!(found.iter().count(), 0);
    }

    #[test]
    fn work_is_replaced_at_once() {
        let (miner, found) = miner(2);
        // Nothing is ever found here; left to it, the threads would be busy for a month.
        miner.set_work(work(1, NONE));
        miner.set_work(work(2, ANY));
        assert_eq!(found.recv().unwrap().work, 2);
        miner.stop();
        assert_eq!(found.recv().unwrap_err(), RecvError);
    }

    #[test]
    fn no_work_is_a_pause() {
        let (miner, found) = miner(2);
        miner.wait_until_idle();
        assert_eq!(miner.hashes(), 0);
        miner.set_work(work(1, NONE));
        miner.set_work(None);
        miner.wait_until_idle();
        let hashes = miner.hashes();
        miner.wait_until_idle();
        assert_eq!(miner.hashes(), hashes, "asleep");
        miner.set_work(work(2, ANY));
        assert_eq!(found.recv().unwrap().work, 2);
        miner.wait_until_idle();
        assert!(miner.hashes() > hashes);
        miner.stop();
    }

    #[test]
    fn all_tried_is_a_pause() {
        let (miner, found) = miner(2);
        let last = SPACE / u64::from(BATCH) - 3;
        miner.shared.assign(work(1, NONE), last);
        // Asleep with work on the desk: nothing of it was left.
        while miner.hashes() < 3 * u64::from(BATCH) {
            miner.wait_until_idle();
        }
        miner.wait_until_idle();
        assert_eq!(miner.hashes(), 3 * u64::from(BATCH));
        miner.set_work(work(2, ANY));
        assert_eq!(found.recv().unwrap().work, 2);
        miner.stop();
    }

    #[test]
    fn stop_joins_in_every_state() {
        for work in [None, work(1, NONE), work(2, ANY)] {
            let (miner, found) = miner(2);
            miner.set_work(work);
            miner.stop();
            // Joined: the sender is dropped with the threads.
            assert!(found.iter().count() <= 1);
        }
        let (miner, found) = miner(0);
        miner.set_work(work(1, ANY));
        drop(miner);
        assert_eq!(found.recv().unwrap_err(), RecvError);
    }

    #[test]
    #[should_panic(expected = "no use")]
    fn a_panic_of_the_callback_is_not_lost() {
        let (sender, receiver) = channel();
        let miner = Miner::start(2, move |_| {
            sender.send(()).unwrap();
            panic!("no use");
        });
        miner.set_work(work(1, ANY));
        receiver.recv().unwrap();
        miner.stop();
    }

    #[test]
    fn the_hash_rate_counts_what_was_tried() {
        let before = Instant::now();
        let (miner, found) = miner(1);
        miner.set_work(work(1, ANY));
        found.recv().unwrap();
        miner.wait_until_idle();
        assert_eq!(miner.hashes(), 1, "what stood after the find was not tried");
        miner.shared.assign(work(2, NONE), SPACE / u64::from(BATCH) - 1);
        while miner.hashes() == 1 {
            miner.wait_until_idle();
        }
        assert_eq!(miner.hashes(), 1 + u64::from(BATCH));
        // The miner started later than this clock, and so can't have been slower.
        let rate = miner.hash_rate();
        let slowest = u128::from(miner.hashes()) * 1_000_000_000 / before.elapsed().as_nanos();
        assert!(u128::from(rate) >= slowest);
        miner.stop();
    }
}
