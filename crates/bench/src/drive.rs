//! Moves a ledger along a chain as the node does: one owner, signatures as a job on a pool.

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use ashlar_consensus::{
    CheckedBlock, Genesis, HeaderState, Verified, Workers, signature::Place, verify_block,
};
use ashlar_ledger::{
    BodyStored, Completed, Ledger, Move, RocksOptions, RocksStore, Settings, Store, View,
    WalkedBlock,
};
use ashlar_primitives::Header;
use rand::CryptoRng;
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};

use crate::{
    Outcome,
    timing::{Taken, Watch},
};

/// How many bodies wait for their turn while a chain is copied.
pub const WINDOW_BLOCKS: usize = 32;

/// What is known of signatures when a block is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nothing: all are verified.
    Nothing,
    /// Every transaction was verified before, in the mempool.
    Mempool,
}

/// The seconds of the wall clock.
pub fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The node's settings, with both indexes on or off.
pub fn settings(indexes: bool) -> Settings {
    Settings { transaction_index: indexes, lock_index: indexes, ..Settings::default() }
}

/// A new store on disk with the node's options.
pub fn store(directory: &Path) -> Outcome<Arc<RocksStore>> {
    Ok(Arc::new(RocksStore::open(directory, &RocksOptions::default())?))
}

/// All cores, as the node has them.
#[derive(Clone, Copy, Debug)]
pub struct Cores;

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

/// A ledger and what drives it.
#[derive(Debug)]
pub struct Driver<S: Store> {
    ledger: Ledger<S>,
    trust: Trust,
    pool: ThreadPool,
    started: Instant,
}

impl<S: Store> Driver<S> {
    /// Opens a ledger over a store.
    pub fn open(
        store: Arc<S>,
        genesis: &Genesis,
        settings: Settings,
        trust: Trust,
    ) -> Outcome<Self> {
        let ledger = Ledger::open(store, genesis, settings)?;
        let pool = ThreadPoolBuilder::new().build()?;
        Ok(Self { ledger, trust, pool, started: Instant::now() })
    }

    /// Writes what is known and not yet written: headers whose blocks never came.
    pub fn flush(&mut self) -> Outcome<()> {
        Ok(self.ledger.flush()?)
    }

    /// What readers see.
    pub fn view(&self) -> Arc<View> {
        self.ledger.view()
    }

    /// Takes in a header that must be good; its state.
    pub fn accept_header(&mut self, header: &Header) -> Outcome<HeaderState> {
        self.ledger.accept_header(header, now_seconds())??;
        let state = self.ledger.header_state(&header.id())?;
        Ok(state.ok_or("a header that was taken in is not there")?)
    }

    /// Keeps a body that must be wanted.
    pub fn store_body(&mut self, block: &Arc<CheckedBlock>) -> Outcome<()> {
        match self.ledger.store_body(Arc::clone(block))? {
            BodyStored::New | BodyStored::Known => Ok(()),
            BodyStored::Unwanted => Err("a body of the workload is not wanted".into()),
        }
    }

    /// Makes every move there is; `watch` sees the published view after each.
    pub fn drive(&mut self, mut watch: impl FnMut(&View)) -> Outcome<()> {
        // Blocks whose signatures are away, in order.
        let mut out = VecDeque::new();
        loop {
            let now_ms = self.now_ms();
            match self.ledger.next_move(now_ms)? {
                Move::Verify(mut walked) => {
                    let result = self.verify(&mut walked);
                    out.push_back((walked, result));
                }
                Move::Progress => {}
                Move::Idle => {
                    let Some((walked, result)) = out.pop_front() else { return Ok(()) };
                    let completed = self.ledger.complete(walked, result.recv()?, self.now_ms())?;
                    if completed != Completed::Connected {
                        return Err(format!("a block of the workload: {completed:?}").into());
                    }
                }
            }
            drop(self.ledger.take_published());
            watch(&self.ledger.view());
        }
    }

    /// Starts the job of a walked block.
    fn verify(&self, walked: &mut WalkedBlock) -> Receiver<Result<Verified, Place>> {
        let (checks, terms, trust) = (walked.take_checks(), walked.terms(), self.trust);
        let (done, result) = mpsc::channel();
        self.pool.spawn(move || {
            let known: BTreeSet<_> = match trust {
                Trust::Nothing => BTreeSet::new(),
                Trust::Mempool => checks.iter().map(|check| check.wtxid).collect(),
            };
            let verified = verify_block(&checks, &known, &terms, &mut Cores);
            drop(terms);
            // Nobody waits for it where the driver has failed.
            drop(done.send(verified));
        });
        result
    }

    /// [`Driver::go`], and the time it took.
    pub fn connect(&mut self, blocks: &[Arc<CheckedBlock>]) -> Outcome<Taken> {
        let watch = Watch::start();
        self.go(blocks)?;
        Ok(watch.taken())
    }

    /// Connects blocks whose headers are not known yet, in windows, as when a chain is copied, up to
    /// the last one synced and published. Reads no clock of processor time, which valgrind has none
    /// of.
    pub fn go(&mut self, blocks: &[Arc<CheckedBlock>]) -> Outcome<()> {
        for block in blocks {
            self.accept_header(block.header())?;
        }
        for window in blocks.chunks(WINDOW_BLOCKS) {
            for block in window {
                self.store_body(block)?;
            }
            self.drive(|_| ())?;
        }
        let tip = self.ledger.view().tip().id;
        match blocks.last() {
            Some(last) if last.id() != tip => Err(format!("the tip stayed at {tip}").into()),
            _ => Ok(()),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
