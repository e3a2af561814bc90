//! Ten thousand nodes in one world: how blocks spread over home connections.
//!
//! The engines are the same as everywhere; what differs is how much of their work is shared.
//! Small worlds ([`crate::world`]) look for bugs and share nothing; this one looks for what the
//! protocol's parameters do to a large net, and is honest by other means: every hundredth node
//! computes everything for itself on a store of its own, and must agree with the others.
//!
//! Reading order: [`home`] and [`topology`] (the assumed net), [`filler`] (blocks that count as
//! large), [`memo`] and [`store`] (what is shared), [`node`], [`net`] (the loop), [`figures`],
//! [`table`], [`plot`] and [`report`]. What came out of it is in docs/simulation.md.

pub mod figures;
pub mod filler;
pub mod home;
pub mod memo;
pub mod net;
pub mod node;
pub mod plot;
pub mod report;
pub mod store;
pub mod table;
pub mod topology;

use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub use self::{figures::Figures, net::Broken};

/// Fillers that are handed in between two blocks, on average.
pub const FILLERS_PER_BLOCK: usize = 4;

/// A part of the net that is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Of the nodes, and of the hash power.
    pub percent: usize,
    /// From when.
    pub from: Duration,
    /// Until when.
    pub until: Duration,
}

/// One world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Where its chance comes from.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// Between two blocks, on average.
    pub interval: Duration,
    /// Declared size of a block, on average.
    pub block_bytes: u64,
    /// How many blocks are found.
    pub blocks: usize,
    /// What is cut off.
    pub cut: Option<Cut>,
}

impl Experiment {
    /// So many nodes, seconds between blocks, bytes in each.
    pub const fn of(nodes: usize, interval_seconds: u64, block_bytes: u64) -> Self {
        let interval = Duration::from_secs(interval_seconds);
        Self { seed: 1, nodes, interval, block_bytes, blocks: 20, cut: None }
    }
}

/// Interval in seconds and size in bytes of the worlds of a report.
const GRID: [(u64, u64); 6] = [
    (10, 1_000_000),
    (10, 100_000),
    (10, 4_000_000),
    (2, 200_000),
    (5, 1_000_000),
    (30, 4_000_000),
];
/// The cut of a report: this share of the nodes, from and until this second.
const CUT: (usize, u64, u64) = (30, 60, 300);
/// Its blocks: seconds between them, bytes in each, and how many: those of two minutes more.
const CUT_BLOCKS: (u64, u64, usize) = (10, 100_000, 42);

/// The worlds of a report: one of the protocol's usual blocks, the cut, the rest of the grid.
pub fn plan(seed: u64, nodes: usize, blocks: usize) -> Vec<Experiment> {
    let mut worlds: Vec<_> = (0..)
        .zip(GRID)
        .map(|(number, (interval, bytes))| Experiment {
            seed: seed + number,
            blocks,
            ..Experiment::of(nodes, interval, bytes)
        })
        .collect();
    let (percent, from, until) = CUT;
    let [from, until] = [from, until].map(Duration::from_secs);
    let (interval, bytes, blocks) = CUT_BLOCKS;
    let cut = Some(Cut { percent, from, until });
    worlds.insert(1, Experiment { seed, blocks, cut, ..Experiment::of(nodes, interval, bytes) });
    worlds
}

/// Runs worlds side by side on so many threads; the results in the order of the worlds, whatever
/// their number. `done` is told of each as it ends.
pub fn run_all(
    worlds: &[Experiment],
    threads: NonZeroUsize,
    done: impl Fn(&Figures) + Sync,
) -> Result<Vec<Figures>, Broken> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                while let Some((place, world)) = {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    worlds.get(place).map(|world| (place, world))
                } {
                    let outcome = net::Net::new(world).and_then(net::Net::run);
                    let figures = outcome.map(|outcome| Figures::new(world.clone(), outcome));
                    if let Ok(figures) = &figures {
                        done(figures);
                    }
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((place, figures));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, figures)| figures).collect()
}
