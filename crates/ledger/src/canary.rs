//! Bugs planted on purpose, one at a time: the simulator must find each of them, or its silence
//! says nothing about the bugs that nobody planted.
//!
//! Only with the feature `canaries`, which no node is ever built with.

use core::sync::atomic::{AtomicU8, Ordering};

use ashlar_consensus::{Params, SpentCoins, Work};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Canary {
    /// A coinbase can be spent one block too early.
    Maturity = 1,
    /// Undoing a block forgets a coin that it spent.
    Undo = 2,
    /// What is wrong with the bytes of a body is held against the block.
    MutatedBody = 3,
    /// The best chain is the longest one.
    ForkChoice = 4,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Maturity, Self::Undo, Self::MutatedBody, Self::ForkChoice];

    /// Whether this is the one that is planted.
    pub fn is_planted(self) -> bool {
        PLANTED.load(Ordering::SeqCst) == self as u8
    }

    /// Plants it, in every ledger of this process that is opened from now on, instead of the one
    /// before.
    pub fn plant(self) {
        PLANTED.store(self as u8, Ordering::SeqCst);
    }
}

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// The rules with [`Canary::Maturity`].
pub(crate) fn hasty(params: Params) -> Params {
    let early = u32::from(Canary::Maturity.is_planted());
    Params { coinbase_maturity: params.coinbase_maturity.saturating_sub(early), ..params }
}

/// An undo record with [`Canary::Undo`].
pub(crate) fn forgetful(mut undo: SpentCoins) -> SpentCoins {
    if Canary::Undo.is_planted() {
        let kept = undo.coins.len().saturating_sub(1);
        undo.coins = undo.coins.into_iter().take(kept).collect();
    }
    undo
}

/// What a branch counts for with [`Canary::ForkChoice`].
pub(crate) fn counted(work: Work, height: u32) -> Work {
    if !Canary::ForkChoice.is_planted() {
        return work;
    }
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(height.to_le_bytes()) {
        *to = from;
    }
    Work::from_le_bytes(bytes)
}
