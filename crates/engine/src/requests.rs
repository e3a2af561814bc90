//! What we asked of peers and have not heard back.

use std::collections::BTreeMap;

use ashlar_ledger::{Store, StoreError};
use ashlar_primitives::{
    BlockId, Wtxid,
    wire::{Answer, Request},
};

use crate::{
    Engine,
    call::InFlight,
    input::{Peer, RequestFailure, RequestId},
    limits::{
        HEADERS_TIMEOUT_MS, LARGE_ANSWER_TIMEOUT_MS, MAX_REQUESTS, MAX_REQUESTS_PER_PEER,
        MAX_TIMEOUTS, SMALL_ANSWER_TIMEOUT_MS,
    },
    offence::{Offence, request_failure},
    output::Output,
    timers::Timer,
};

/// Why something was asked: where its answer goes.
#[derive(Debug)]
pub(crate) enum Purpose {
    Status,
    Headers,
    /// For the download window.
    Bodies {
        ids: Vec<BlockId>,
    },
    /// What a compact block lacks.
    BlockTransactions {
        id: BlockId,
    },
    /// A compact block that could not be rebuilt.
    WholeBlock {
        id: BlockId,
    },
    MempoolIds,
    Transactions {
        wtxids: Vec<Wtxid>,
    },
}

impl Purpose {
    const fn timeout_ms(&self) -> u64 {
        match self {
            Self::Status => SMALL_ANSWER_TIMEOUT_MS,
            Self::Headers => HEADERS_TIMEOUT_MS,
            Self::MempoolIds
            | Self::Bodies { .. }
            | Self::BlockTransactions { .. }
            | Self::WholeBlock { .. }
            | Self::Transactions { .. } => LARGE_ANSWER_TIMEOUT_MS,
        }
    }

    /// Whether it counts against the bound over all peers: what keeps the node informed does not.
    const fn is_limited(&self) -> bool {
        !matches!(self, Self::Status | Self::Headers)
    }
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) peer: Peer,
    pub(crate) purpose: Purpose,
    /// Counts against the bound over all peers.
    is_counted: bool,
}

/// All requests in flight.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    last: u64,
    pending: BTreeMap<RequestId, Pending>,
    pub(crate) limited: usize,
}

impl Requests {
    /// What of these is in flight, by kind.
    pub(crate) fn by_kind<'a>(&self, ids: impl IntoIterator<Item = &'a RequestId>) -> InFlight {
        let mut kinds = InFlight::default();
        for pending in ids.into_iter().filter_map(|id| self.pending.get(id)) {
            let (count, more) = match &pending.purpose {
                Purpose::Status => (&mut kinds.status, 1),
                Purpose::Headers => (&mut kinds.headers, 1),
                Purpose::Bodies { ids } => (&mut kinds.blocks, ids.len()),
                Purpose::WholeBlock { .. } => (&mut kinds.blocks, 1),
                Purpose::BlockTransactions { .. } => (&mut kinds.block_transactions, 1),
                Purpose::MempoolIds | Purpose::Transactions { .. } => (&mut kinds.transactions, 1),
            };
            *count = count.saturating_add(more);
        }
        kinds
    }

    pub(crate) fn remove(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        if pending.is_counted {
            self.limited = self.limited.saturating_sub(1);
        }
        Some(pending)
    }

    /// The number of requests of which others wait for room.
    #[cfg(test)]
    pub(crate) const fn limited(&self) -> usize {
        self.limited
    }
}

impl<S: Store> Engine<S> {
    /// Whether a peer may be asked something more.
    pub(crate) fn can_ask(&self, peer: Peer) -> bool {
        self.requests.limited < MAX_REQUESTS
            && self
                .peers
                .get(peer)
                .is_some_and(|state| state.in_flight.len() < MAX_REQUESTS_PER_PEER)
    }

    /// Asks; `None` where a bound forbids it or the peer is gone.
    pub(crate) fn ask(
        &mut self,
        peer: Peer,
        request: Request,
        purpose: Purpose,
    ) -> Option<RequestId> {
        let limited = purpose.is_limited();
        let state = self.peers.get_mut(peer)?;
        if state.in_flight.len() >= MAX_REQUESTS_PER_PEER
            || (limited && self.requests.limited >= MAX_REQUESTS)
        {
            return None;
        }
        self.requests.last = self.requests.last.saturating_add(1);
        let id = RequestId(self.requests.last);
        state.in_flight.insert(id);
        if limited {
            self.requests.limited = self.requests.limited.saturating_add(1);
        }
        let deadline_ms = self.now.monotonic_ms.saturating_add(purpose.timeout_ms());
        self.timers.set(Timer::Request(id), deadline_ms);
        self.requests.pending.insert(id, Pending { peer, purpose, is_counted: limited });
        self.out.push(Output::Request(id, peer, request));
        Some(id)
    }

    /// A peer's answers with bodies are no longer waited for: others are asked, in its place among
    /// all requests. It keeps its own places until it answers or its time is over.
    pub(crate) fn give_up_bodies(&mut self, peer: Peer) {
        let Some(state) = self.peers.get(peer) else { return };
        for id in &state.in_flight {
            if let Some(pending) = self.requests.pending.get_mut(id)
                && matches!(pending.purpose, Purpose::Bodies { .. })
                && core::mem::take(&mut pending.is_counted)
            {
                self.requests.limited = self.requests.limited.saturating_sub(1);
            }
        }
    }

    fn take_request(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.requests.remove(id)?;
        self.timers.clear(Timer::Request(id));
        if let Some(state) = self.peers.get_mut(pending.peer) {
            state.in_flight.remove(&id);
        }
        Some(pending)
    }

    pub(crate) fn on_response(&mut self, id: RequestId, answer: Answer) -> Result<(), StoreError> {
        // What is not known any more was given up; a late answer is nobody's fault.
        let Some(pending) = self.take_request(id) else { return Ok(()) };
        let peer = pending.peer;
        let now_ms = self.now.monotonic_ms;
        if let Some(state) = self.peers.get_mut(peer) {
            state.timeouts = 0;
            state.seen_ms = now_ms;
        }
        match (pending.purpose, answer) {
            (Purpose::Status, Answer::Status(status)) => self.on_status(peer, status, true),
            (Purpose::Headers, Answer::Headers(headers)) => self.on_headers(peer, &headers),
            (Purpose::Bodies { ids }, Answer::Blocks(blocks)) => self.on_bodies(peer, ids, blocks),
            (Purpose::BlockTransactions { id }, Answer::BlockTransactions(transactions)) => {
                self.on_block_transactions(id, &transactions);
                Ok(())
            }
            (Purpose::WholeBlock { id }, Answer::Blocks(blocks)) => {
                self.on_whole_block(id, blocks);
                Ok(())
            }
            (Purpose::MempoolIds, Answer::Mempool(wtxids)) => {
                self.on_mempool_ids(peer, wtxids);
                Ok(())
            }
            (Purpose::Transactions { wtxids }, Answer::Transactions(transactions)) => {
                self.on_transactions(peer, wtxids, transactions);
                Ok(())
            }
            (purpose, _) => {
                self.on_request_lost(peer, purpose);
                self.penalise(peer, Offence::WrongAnswer);
                Ok(())
            }
        }
    }

    pub(crate) fn on_request_failed(&mut self, id: RequestId, failure: RequestFailure) {
        let Some(pending) = self.take_request(id) else { return };
        let peer = pending.peer;
        let offence = match failure {
            RequestFailure::Timeout => self.count_timeout(peer),
            RequestFailure::Closed | RequestFailure::Malformed => request_failure(failure),
        };
        self.on_request_lost(peer, pending.purpose);
        if let Some(offence) = offence {
            self.penalise(peer, offence);
        }
    }

    fn count_timeout(&mut self, peer: Peer) -> Option<Offence> {
        let state = self.peers.get_mut(peer)?;
        state.timeouts = state.timeouts.saturating_add(1);
        (state.timeouts >= MAX_TIMEOUTS).then_some(Offence::Unresponsive)
    }

    /// There will be no answer: whoever waits for it looks elsewhere.
    pub(crate) fn on_request_lost(&mut self, peer: Peer, purpose: Purpose) {
        match purpose {
            Purpose::Status => {
                if self.peers.get(peer).is_some_and(|state| !state.may_ask) {
                    self.cut(peer, Offence::NoStatus);
                }
            }
            Purpose::Headers => self.on_headers_lost(peer),
            Purpose::Bodies { ids } => self.on_bodies_lost(peer, &ids),
            Purpose::BlockTransactions { id } | Purpose::WholeBlock { id } => {
                self.give_up_block(id);
            }
            Purpose::MempoolIds | Purpose::Transactions { .. } => self.on_reconcile_lost(peer),
        }
    }
}
