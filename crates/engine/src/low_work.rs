//! Branches below the work bar, walked without being stored (PROTOCOL.md §12, THREATS.md P1).
//!
//! The first pass only adds up work: judging a header needs nothing but its parent's state, so
//! that a branch of any length is walked in the memory of one state, and of one salted bit for
//! every 32nd header. Where the work reaches the bar the branch is asked for once more, and
//! a header is stored when the 64 bits after it came out the same: the peer can't have
//! swapped the branch for a cheaper one.

use std::collections::VecDeque;

use ashlar_consensus::{HeaderError, HeaderState, Params, Work, check_header};
use ashlar_primitives::{BlockId, Header, hash::tagged_hash};

use crate::limits::{COMMITMENT_DEPTH, COMMITMENT_PERIOD, MAX_COMMITMENTS};

/// A walk along one peer's branch.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The stored header that the branch leaves from.
    fork: HeaderState,
    salt: u64,
    commitments: VecDeque<bool>,
    /// In the second pass: checked, not yet stored.
    buffer: Option<VecDeque<Header>>,
    /// Where the present pass is.
    tip: HeaderState,
    count: u64,
}

/// What a batch of headers did.
#[derive(Debug)]
pub(crate) struct Step {
    /// To be stored, in order.
    pub(crate) release: Vec<Header>,
    pub(crate) next: Next,
}

/// How a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask for what follows.
    More,
    /// The bar is reached: ask from the fork on, for the second pass.
    Again,
    /// All that was walked is released; from here it is an ordinary sync.
    Done,
    /// Another branch than in the first pass, or an endless one.
    GiveUp,
}

impl Walk {
    pub(crate) fn new(fork: HeaderState, salt: u64) -> Self {
        let tip = fork.clone();
        Self { fork, salt, commitments: VecDeque::new(), buffer: None, tip, count: 0 }
    }

    pub(crate) const fn fork(&self) -> BlockId {
        self.fork.id
    }

    /// The newest header walked in this pass, where there is one.
    pub(crate) fn position(&self) -> Option<BlockId> {
        (self.count > 0).then_some(self.tip.id)
    }

    /// Whether the first pass has come to this height, and has less than this work.
    pub(crate) fn refutes(&self, height: u32, work: Work) -> bool {
        self.buffer.is_none() && self.tip.height >= height && self.tip.work < work
    }

    /// Bits remembered and headers held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.commitments.len(), self.buffer.as_ref().map_or(0, VecDeque::len))
    }

    /// Whether a list that starts with `first` goes on where the walk is.
    pub(crate) fn follows(&self, first: &Header) -> bool {
        first.parent == self.tip.id
    }

    fn bit(&self, id: &BlockId) -> bool {
        let mut message = self.salt.to_le_bytes().to_vec();
        message.extend_from_slice(id.as_bytes());
        let [first, ..] = tagged_hash("ashlar/low-work", &message);
        first & 1 == 1
    }

    /// Walks a batch of headers, each the parent of the next.
    pub(crate) fn step(
        &mut self,
        params: &Params,
        headers: &[Header],
        bar: Work,
    ) -> Result<Step, HeaderError> {
        let mut release = Vec::new();
        for header in headers {
            self.tip = check_header(&self.tip, params, header)?;
            self.count = self.count.saturating_add(1);
            let is_committed = self.count.is_multiple_of(COMMITMENT_PERIOD);
            let bit = is_committed.then(|| self.bit(&self.tip.id));
            match (&mut self.buffer, bit) {
                (None, Some(bit)) => self.commitments.push_back(bit),
                (None, None) => {}
                (Some(buffer), bit) => {
                    let remembered = bit.and_then(|_| self.commitments.pop_front());
                    // The branch may have grown beyond the first pass's end, which had the work.
                    let is_beyond = remembered.is_none() && self.tip.work >= bar;
                    if remembered != bit && !is_beyond {
                        return Ok(Step { release: Vec::new(), next: Next::GiveUp });
                    }
                    buffer.push_back(*header);
                    if buffer.len() > COMMITMENT_DEPTH {
                        release.extend(buffer.pop_front());
                    }
                }
            }
        }
        let reached = self.tip.work >= bar;
        let next = match &mut self.buffer {
            None if reached => {
                self.buffer = Some(VecDeque::new());
                self.tip = self.fork.clone();
                self.count = 0;
                Next::Again
            }
            None if self.commitments.len() >= MAX_COMMITMENTS => Next::GiveUp,
            Some(buffer) if reached => {
                release.extend(buffer.drain(..));
                Next::Done
            }
            None | Some(_) => Next::More,
        };
        Ok(Step { release, next })
    }
}

#[cfg(test)]
mod tests {
    use ashlar_testkit::builder::{Chain, genesis, lock};

    use super::*;

    /// No test tells 33 million headers: all bits but the last few are put there.
    #[test]
    fn an_endless_branch_is_given_up_at_so_many_bits() {
        let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000)]));
        let period = usize::try_from(COMMITMENT_PERIOD).unwrap();
        let tip = chain.extend_by(&chain.genesis_id(), 2 * period);
        let branch = chain.branch(&tip);
        let headers: Vec<Header> = branch.iter().map(|block| *block.header()).collect();
        let params = chain.genesis().params();
        let bar = chain.state(&tip).header.work.saturating_mul(2);
        let mut walk = Walk::new(chain.state(&chain.genesis_id()).header.clone(), 7);
        walk.commitments = vec![false; MAX_COMMITMENTS - 2].into();
        let (first, second) = headers.split_at(period);
        assert_eq!(walk.step(params, first, bar).unwrap().next, Next::More);
        let last = walk.step(params, second, bar).unwrap();
        assert_eq!((last.next, last.release.len()), (Next::GiveUp, 0));
        assert_eq!(walk.held(), (MAX_COMMITMENTS, 0));
    }
}
