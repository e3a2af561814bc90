//! One ordered list of everything that waits for a time.

use std::collections::{BTreeMap, BTreeSet};

use ashlar_primitives::BlockId;

use crate::{
    batch::BatchId,
    input::{Peer, RequestId},
};

/// What happens when its time comes. Each exists at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A gossiped block's ticket.
    BlockTicket(BlockId),
    /// A gossiped batch's ticket.
    BatchTicket(BatchId),
    /// A request of ours.
    Request(RequestId),
    /// A peer's first status.
    Handshake(Peer),
    /// The gathered batch.
    Gather,
    /// The window's lowest block.
    Stall,
    /// The peer that leads the header sync.
    HeadersSlow,
    /// Headers that were too new.
    TooNew,
    /// Silence of gossip.
    Poll,
    /// Everything that has time.
    Housekeeping,
}

/// Timers by time, each replaced where it is set again.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(u64, Timer)>,
    at_ms: BTreeMap<Timer, u64>,
}

impl Timers {
    /// Sets a timer, or moves it.
    pub(crate) fn set(&mut self, timer: Timer, at_ms: u64) {
        self.clear(timer);
        self.due.insert((at_ms, timer));
        self.at_ms.insert(timer, at_ms);
    }

    /// Sets a timer unless it is set for an earlier time already.
    pub(crate) fn set_by(&mut self, timer: Timer, at_ms: u64) {
        if self.at_ms.get(&timer).is_none_or(|&before| at_ms < before) {
            self.set(timer, at_ms);
        }
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        if let Some(at_ms) = self.at_ms.remove(&timer) {
            self.due.remove(&(at_ms, timer));
        }
    }

    /// Takes the next one whose time has come.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<Timer> {
        let &(at_ms, timer) = self.due.first()?;
        if at_ms > now_ms {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }

    /// When the next one is due.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|&(at_ms, _)| at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_of_time_and_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Poll, 30);
        timers.set(Timer::Stall, 10);
        timers.set(Timer::Gather, 20);
        timers.set(Timer::Stall, 25);
        timers.set_by(Timer::Gather, 40);
        assert_eq!(timers.next_ms(), Some(20));
        assert_eq!(timers.pop(19), None);
        assert_eq!(timers.pop(30), Some(Timer::Gather));
        assert_eq!(timers.pop(30), Some(Timer::Stall));
        timers.clear(Timer::Poll);
        assert_eq!(timers.pop(30), None);
        assert_eq!(timers.next_ms(), None);
    }
}
