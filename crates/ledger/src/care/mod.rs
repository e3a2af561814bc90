//! Repair and care: what an operator does to a store that no node runs on.
//!
//! Everything here takes long on a long chain, so everything reports where it is and asks whether
//! to go on; what was interrupted, by that answer or by a kill, is taken up again by the next
//! call. Nothing here knows terminals, signals or paths but those it is given.

use core::{fmt, ops::ControlFlow};

/// What is being done, in the words of a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Blocks into the indexes that are not yet complete.
    IndexBlocks,
    /// Coins into the index by lock.
    IndexCoins,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IndexBlocks => "indexing blocks",
            Self::IndexCoins => "indexing coins",
        })
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// In units of the stage (blocks, coins).
    pub done: u64,
    /// As many as are known to be there; 0 where nobody counted.
    pub total: u64,
}

/// Told of progress often; `Break` interrupts, and what was done so far is kept.
pub type Watch<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;
