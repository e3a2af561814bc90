//! The straight road, for drivers without jobs: bytes in, verdict of PROTOCOL.md §8 out.

use core::ops::ControlFlow;
use std::collections::BTreeSet;
use std::sync::Arc;

use ashlar_consensus::{
    CheckedBlock, OpenError, Verified, Workers, open_body, signature::Place, verify_block,
};
use ashlar_primitives::{BlockId, Decode as _, Header};

use crate::{
    ledger::{Judged, Ledger, Move, WalkedBlock},
    store::{Store, StoreError},
};

/// The verdict on an offered block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is on the best chain now: the tip, or below it where it closed a gap.
    Accepted,
    /// Kept; the best chain is another.
    Side,
    /// Was kept already, or was pruned; nothing changed.
    Known,
    /// Not taken.
    Refused {
        /// Of PROTOCOL.md §8.
        code: &'static str,
    },
}

/// What became of a block's bytes before any move.
pub(crate) enum TakenIn {
    /// Was kept already.
    Known,
    /// Not taken, with a code of PROTOCOL.md §8.
    Refused { code: &'static str },
    /// Header and body are kept.
    Stored { id: BlockId, height: u32 },
}

/// What [`open_body`] said of the same bytes, for a block of this height.
pub(crate) struct OpenedAhead {
    pub(crate) height: u32,
    pub(crate) opened: Result<CheckedBlock, OpenError>,
}

impl<S: Store> Ledger<S> {
    /// All of the other moves in one: judges a block in the exact order of §8 (under 80 bytes
    /// `malformed`; `known`; what is remembered; then the groups 1, 2, 3), stores it and moves the
    /// tip as far as it goes, verifying signatures here and now. A header is kept only with its
    /// body, or when its block failed for ever: what says nothing about the id leaves no trace.
    ///
    /// Used by the vectors, by imports and by tests. `workers` are [`verify_block`]'.
    pub fn offer(
        &mut self,
        bytes: &[u8],
        now_seconds: u64,
        workers: &mut impl Workers,
    ) -> Result<Offered, StoreError> {
        let id = match self.take_in(bytes, now_seconds, None)? {
            TakenIn::Known => return Ok(Offered::Known),
            TakenIn::Refused { code } => return Ok(Offered::Refused { code }),
            TakenIn::Stored { id, .. } => id,
        };
        self.settle_down(workers)?;
        if let Some(code) = self.failed_code(&id)? {
            return Ok(Offered::Refused { code });
        }
        let is_live = self.is_descendant(&self.live.header.id, &id)?;
        Ok(if is_live { Offered::Accepted } else { Offered::Side })
    }

    /// [`Ledger::offer`] without any move: what can be said of a block before its turn comes. A body
    /// that was opened `ahead` is not opened again.
    pub(crate) fn take_in(
        &mut self,
        bytes: &[u8],
        now_seconds: u64,
        ahead: Option<OpenedAhead>,
    ) -> Result<TakenIn, StoreError> {
        let refused = |code| Ok(TakenIn::Refused { code });
        let header = bytes.get(..Header::LEN).map(Header::from_bytes);
        let Some(Ok(header)) = header else { return refused("malformed") };
        let (state, is_new) = match self.judge(&header, now_seconds)? {
            Judged::Known(node) if node.knows_body() => return Ok(TakenIn::Known),
            Judged::Known(node) => (node.state, false),
            Judged::New(state) => (state, true),
            Judged::Refused { refusal, remember } => {
                if let Some((state, code)) = remember {
                    self.insert_header(header, state, Some(code))?;
                }
                return refused(refusal.code());
            }
        };
        let (id, height) = (state.id, state.height);
        let opened = match ahead.filter(|ahead| ahead.height == height) {
            Some(ahead) => ahead.opened,
            None => open_body(&self.params, &header, height, bytes),
        };
        if is_new && !matches!(opened, Err(OpenError::Body(_))) {
            self.insert_header(header, state, None)?;
        }
        match opened {
            Err(OpenError::Body(error)) => return refused(error.code()),
            Err(OpenError::Block(error)) => {
                self.mark_invalid(&id, &error)?;
                return refused(error.code());
            }
            Ok(block) => {
                self.keep_body(Arc::new(block), |_| bytes.to_vec())?;
            }
        }
        Ok(TakenIn::Stored { id, height })
    }

    /// Makes every move there is, verifying signatures here and now. What is connected is on disk
    /// and published when this returns.
    pub fn settle_down(&mut self, workers: &mut impl Workers) -> Result<(), StoreError> {
        self.move_until(workers, |_| ControlFlow::Continue(())).map(drop)
    }

    /// [`Ledger::settle_down`], telling the live height after each move. Broken off, it leaves
    /// what was connected last to [`Ledger::flush`].
    pub(crate) fn settle_watched(
        &mut self,
        workers: &mut impl Workers,
        watch: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        self.move_until(workers, |ledger| watch(ledger.live.header.height))
    }

    /// Finishes a reorganisation that a crash interrupted, verifying signatures here and now: until
    /// what is published has the work that others were told of before. A driver does so before it
    /// serves anybody; there is nothing to do after any other stop.
    pub fn resume(&mut self, workers: &mut impl Workers) -> Result<(), StoreError> {
        if self.published.tip.work >= self.told {
            return Ok(());
        }
        let is_there = |ledger: &Self| match ledger.published.tip.work >= ledger.told {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let _reached = self.move_until(workers, is_there)?;
        // Whoever is served begins with the view as it is now: to them nothing moved.
        self.news = None;
        Ok(())
    }

    fn move_until(
        &mut self,
        workers: &mut impl Workers,
        watch: impl FnMut(&Self) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut underway = Underway::default();
        let flow = underway.go(self, workers, watch);
        underway.abandon(self);
        flow
    }

    /// Completes a block, and makes the next move.
    fn advance(&mut self, verified: Option<Verdict>) -> Result<Move, StoreError> {
        // Steps end by size alone: time does not pass here.
        const NOW_MS: u64 = 0;
        if let Some(Verdict { walked, signatures }) = verified {
            self.complete(walked, signatures, NOW_MS)?;
        }
        self.next_move(NOW_MS)
    }
}

/// A walked block, and what became of its signatures.
struct Verdict {
    walked: WalkedBlock,
    signatures: Result<Verified, Place>,
}

/// Where a driver without jobs is among the moves.
pub(crate) struct Underway {
    verified: Option<Verdict>,
    next: Move,
}

impl Default for Underway {
    fn default() -> Self {
        Self { verified: None, next: Move::Progress }
    }
}

impl Underway {
    /// Makes every move there is, asking `watch` after each whether to go on: `Continue` where none
    /// is left, and all is on disk and published. While the signatures of a block are verified, the
    /// one before it is completed and the one after it walked.
    pub(crate) fn go<S: Store>(
        &mut self,
        ledger: &mut Ledger<S>,
        workers: &mut impl Workers,
        mut watch: impl FnMut(&Ledger<S>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        loop {
            self.next = match std::mem::replace(&mut self.next, Move::Progress) {
                Move::Idle if self.verified.is_none() => {
                    ledger.finish()?;
                    return Ok(ControlFlow::Continue(()));
                }
                Move::Idle | Move::Progress => ledger.advance(self.verified.take())?,
                Move::Verify(walked) => {
                    let (checks, terms) = (walked.checks(), walked.terms());
                    let before = self.verified.take();
                    let (advanced, signatures) = workers.join(
                        || ledger.advance(before),
                        |workers| verify_block(checks, &BTreeSet::new(), &terms, workers),
                    );
                    drop(terms);
                    self.verified = Some(Verdict { walked, signatures });
                    advanced?
                }
            };
            if watch(ledger).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// What is out is walked again when somebody goes on.
    pub(crate) fn abandon<S: Store>(&mut self, ledger: &mut Ledger<S>) {
        *self = Self::default();
        ledger.out.clear();
    }
}
