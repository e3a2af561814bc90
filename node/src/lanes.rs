//! The engine's two lanes of inputs.
//!
//! *Urgent*: peers coming and going, answers to our requests, announcements, submitted blocks,
//! finished jobs: bounded by what the engine itself has in flight. *Bulk*: transaction batches,
//! peers' requests, calls. Nobody who puts something in waits: a full bulk lane gives it back,
//! and only an RPC caller waits, for a place among the calls, outside this queue.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ashlar_engine::{Answer, Call, CallError, Input};
use tokio::sync::oneshot;

/// Urgent inputs waiting. Every connection, request in flight and job of the engine's tables at
/// their limits (docs/architecture.md, "Threads and channels") fits several times over.
pub(crate) const MAX_URGENT: usize = 16_384;
/// Bulk inputs from peers waiting.
pub(crate) const MAX_BULK: usize = 1_024;
/// Calls waiting or being answered; the places are handed out by the backend.
pub(crate) const MAX_CALLS: usize = 256;

/// Where a call's answer goes.
pub(crate) type ReplySender = oneshot::Sender<Result<Answer, CallError>>;

/// What the engine's thread takes out.
#[derive(Debug)]
pub(crate) enum Item {
    Input(Input),
    Call(Call, ReplySender),
    /// The node stops: nothing after it is handled.
    Stop,
}

#[derive(Debug, Default)]
struct Queues {
    urgent: VecDeque<Item>,
    bulk: VecDeque<Item>,
    /// Nobody takes anything out any more.
    is_closed: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    queues: Mutex<Queues>,
    ready: Condvar,
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing can panic while it holds the lock, so a poisoned queue is still whole.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an item on the urgent lane; gives it back where that is full.
    #[expect(clippy::result_large_err, reason = "what does not fit is given back")]
    pub(crate) fn push_urgent(&self, item: Item) -> Result<(), Item> {
        let mut queues = self.lock();
        if queues.is_closed {
            return Ok(());
        }
        if queues.urgent.len() >= MAX_URGENT {
            return Err(item);
        }
        queues.urgent.push_back(item);
        self.ready.notify_one();
        Ok(())
    }

    /// Puts an item on the bulk lane; gives it back where that is full. Calls have places of
    /// their own beyond what peers can fill.
    #[expect(clippy::result_large_err, reason = "what does not fit is given back")]
    pub(crate) fn push_bulk(&self, item: Item) -> Result<(), Item> {
        let mut queues = self.lock();
        if queues.is_closed {
            return Ok(());
        }
        let limit = match item {
            Item::Call(..) => MAX_BULK + MAX_CALLS,
            Item::Input(_) | Item::Stop => MAX_BULK,
        };
        if queues.bulk.len() >= limit {
            return Err(item);
        }
        queues.bulk.push_back(item);
        self.ready.notify_one();
        Ok(())
    }

    /// Stops the engine's thread, whatever is waiting.
    pub(crate) fn stop(&self) {
        self.lock().urgent.push_front(Item::Stop);
        self.ready.notify_one();
    }

    /// The engine's thread has ended: what waits and what still comes is dropped, which callers
    /// take for an answer.
    pub(crate) fn close(&self) {
        *self.lock() = Queues { is_closed: true, ..Queues::default() };
    }

    /// Items that wait: urgent, bulk.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let queues = self.lock();
        (queues.urgent.len(), queues.bulk.len())
    }

    /// The next item, urgent ones first; `None` where nothing came for so long.
    pub(crate) fn take(&self, timeout: Option<Duration>) -> Option<Item> {
        let is_empty = |queues: &mut Queues| queues.urgent.is_empty() && queues.bulk.is_empty();
        let queues = self.lock();
        let mut queues = match timeout {
            None => self.ready.wait_while(queues, is_empty).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                self.ready
                    .wait_timeout_while(queues, timeout, is_empty)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        queues.urgent.pop_front().or_else(|| queues.bulk.pop_front())
    }
}

impl ashlar_network::Inbox for Lanes {
    fn urgent(&self, input: Input) -> Result<(), Input> {
        self.push_urgent(Item::Input(input)).map_err(into_input)
    }

    fn bulk(&self, input: Input) -> Result<(), Input> {
        self.push_bulk(Item::Input(input)).map_err(into_input)
    }
}

fn into_input(item: Item) -> Input {
    match item {
        Item::Input(input) => input,
        Item::Call(..) | Item::Stop => Input::Tick,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_items_overtake_bulk_ones_and_stop_overtakes_all() {
        let lanes = Lanes::default();
        lanes.push_bulk(Item::Input(Input::Tick)).unwrap();
        lanes.push_urgent(Item::Input(Input::PeerGone(ashlar_engine::Peer(1)))).unwrap();
        lanes.stop();
        assert!(matches!(lanes.take(None), Some(Item::Stop)));
        assert!(matches!(lanes.take(None), Some(Item::Input(Input::PeerGone(_)))));
        assert!(matches!(lanes.take(None), Some(Item::Input(Input::Tick))));
        assert!(lanes.take(Some(Duration::ZERO)).is_none());
    }

    #[test]
    fn a_full_bulk_lane_gives_peers_inputs_back_but_still_takes_calls() {
        let lanes = Lanes::default();
        for _ in 0..MAX_BULK {
            lanes.push_bulk(Item::Input(Input::Tick)).unwrap();
        }
        assert!(lanes.push_bulk(Item::Input(Input::Tick)).is_err());
        for _ in 0..MAX_CALLS {
            lanes.push_bulk(Item::Call(Call::Peers, oneshot::channel().0)).unwrap();
        }
        assert!(lanes.push_bulk(Item::Call(Call::Peers, oneshot::channel().0)).is_err());
        lanes.push_urgent(Item::Input(Input::Tick)).unwrap();
    }

    #[test]
    fn callers_of_an_engine_that_ended_hear_of_it() {
        let lanes = Lanes::default();
        let call = || {
            let (reply, answer) = oneshot::channel();
            (Item::Call(Call::MempoolInfo, reply), answer)
        };
        let ((waiting, mut first), (late, mut second)) = (call(), call());
        lanes.push_bulk(waiting).unwrap();
        assert!(matches!(first.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        lanes.close();
        lanes.push_urgent(late).unwrap();
        for answer in [&mut first, &mut second] {
            assert!(matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        }
    }
}
