//! One engine, its clocks, and the promises that are open around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use ashlar_consensus::{Genesis, Work};
use ashlar_engine::{
    Call, CallId, Engine, InboundId, Input, Job, Outputs, Peer, RequestId, Settings, Ticket, Time,
};
use ashlar_ledger::{Ledger, MemoryStore, StoreError, View};
use rand::RngExt;

use crate::{
    mesh::MessageId,
    people::Errand,
    random::{Random, once_in},
    scenario::EPOCH_SECONDS,
};

/// After so long a verdict on gossip is worth nothing (the network's own deadline).
pub const VERDICT_DEADLINE: Duration = Duration::from_secs(8);
/// After so long without an answer a request has failed.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests in flight to one peer that the network carries (THREATS.md §6).
pub const MAX_REQUESTS_PER_PEER: usize = 8;
/// After so long a call must have had its reply.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// How far a node's wall clock is off, at most, either way.
const MAX_CLOCK_OFFSET_MS: i64 = 10_000;

/// A node's number in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("n{:02}", self.0))
    }
}

/// A request of ours that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Whom.
    pub peer: Peer,
    /// When.
    pub at: Duration,
}

/// An engine and what its driver must remember of it.
#[derive(Debug)]
pub struct Node {
    /// Which.
    pub id: NodeId,
    engine: Engine<MemoryStore>,
    clock_offset_ms: i64,
    /// When the wake-up that counts comes; wake-ups scheduled for another time are stale.
    pub wakes_at: Option<Duration>,
    /// Connections whose beginning the engine was told, and not yet their end.
    pub peers: BTreeSet<Peer>,
    tickets: BTreeMap<u64, MessageId>,
    next_ticket: u64,
    asked: BTreeMap<RequestId, Asked>,
    last_request: Option<RequestId>,
    inbound: BTreeMap<u64, (Peer, RequestId)>,
    next_inbound: u64,
    calls: BTreeMap<CallId, Errand>,
    next_call: u64,
    /// When the last job that left will be done.
    busy_until: Duration,
}

impl Node {
    /// A node with nothing but the genesis block. Its clock, its ledger's settings and the seed
    /// of its engine are drawn from `random`.
    ///
    /// # Panics
    /// Where a ledger can't be opened on an empty memory store: nothing in a world can go on then.
    pub fn new(id: NodeId, genesis: &Genesis, random: &mut Random) -> Self {
        let store = Arc::new(MemoryStore::default());
        let ledger = Ledger::open(store, genesis, draw_ledger_settings(random))
            .expect("a new store in memory opens");
        let settings = Settings {
            mempool: ashlar_mempool::Limits::default(),
            agent: "ashlar-sim".into(),
            minimum_work: Work::ZERO,
            reorg_alarm: ashlar_engine::DEFAULT_REORG_ALARM,
        };
        Self {
            id,
            engine: Engine::new(ledger, settings, random.random()),
            clock_offset_ms: random.random_range(-MAX_CLOCK_OFFSET_MS..=MAX_CLOCK_OFFSET_MS),
            wakes_at: None,
            peers: BTreeSet::new(),
            tickets: BTreeMap::new(),
            next_ticket: 1,
            asked: BTreeMap::new(),
            last_request: None,
            inbound: BTreeMap::new(),
            next_inbound: 1,
            calls: BTreeMap::new(),
            next_call: 1,
            busy_until: Duration::ZERO,
        }
    }

    /// What readers of this node see now.
    pub fn view(&self) -> Arc<View> {
        self.engine.ledger().view()
    }

    /// The header that its engine wants to be at.
    pub fn best_header(&self) -> ashlar_primitives::BlockId {
        self.engine.ledger().best_header().id
    }

    /// Hands one input to the engine.
    pub fn handle(&mut self, now: Duration, input: Input) -> Result<Outputs, StoreError> {
        let mut outputs = Outputs::new();
        self.engine.handle(self.clocks(now), input, &mut outputs)?;
        Ok(outputs)
    }

    /// When the engine wants its next tick: not before `now`.
    pub fn next_wakeup(&self, now: Duration) -> Option<Duration> {
        self.engine.next_wakeup().map(|at_ms| Duration::from_millis(at_ms).max(now))
    }

    /// What this node's clocks show.
    fn clocks(&self, now: Duration) -> Time {
        let monotonic_ms = millis(now);
        let epoch_ms = u64::from(EPOCH_SECONDS) * 1_000;
        Time {
            monotonic_ms,
            unix_ms: (epoch_ms + monotonic_ms).saturating_add_signed(self.clock_offset_ms),
        }
    }

    /// A ticket for a message that came from `source`.
    pub fn issue_ticket(&mut self, message: MessageId, source: Peer, now: Duration) -> Ticket {
        let id = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(id, message);
        // Whole milliseconds, so that the deadline does not come before the engine can see it.
        Ticket { id, source, deadline_ms: millis(now + VERDICT_DEADLINE) }
    }

    /// The message of a ticket that has its verdict now. `None`: it had one before.
    pub fn settle_ticket(&mut self, ticket: &Ticket) -> Option<MessageId> {
        self.tickets.remove(&ticket.id)
    }

    /// Whether a ticket waits for its verdict.
    pub fn ticket_is_open(&self, id: u64) -> bool {
        self.tickets.contains_key(&id)
    }

    /// Remembers a request. `false`: its number is not above all before it.
    pub fn ask(&mut self, id: RequestId, peer: Peer, at: Duration) -> bool {
        let is_new = self.last_request.is_none_or(|last| id > last);
        self.last_request = Some(id);
        self.asked.insert(id, Asked { peer, at });
        is_new
    }

    /// The request ends: with an answer or without. `None`: it has ended before.
    pub fn conclude(&mut self, id: RequestId) -> Option<Asked> {
        self.asked.remove(&id)
    }

    /// A request that has no answer yet.
    pub fn asked(&self, id: RequestId) -> Option<Asked> {
        self.asked.get(&id).copied()
    }

    /// How many requests to a peer have no answer.
    pub fn in_flight(&self, peer: Peer) -> usize {
        self.asked.values().filter(|asked| asked.peer == peer).count()
    }

    /// The requests to a peer that have no answer, in order.
    pub fn unanswered(&self, peer: Peer) -> Vec<RequestId> {
        self.asked.iter().filter(|(_, asked)| asked.peer == peer).map(|(id, _)| *id).collect()
    }

    /// A number for a request that came over a connection, under the asker's own number.
    pub fn receive_request(&mut self, peer: Peer, theirs: RequestId) -> InboundId {
        let id = self.next_inbound;
        self.next_inbound += 1;
        self.inbound.insert(id, (peer, theirs));
        InboundId(id)
    }

    /// Where an answer goes. `None`: it was given before, or nobody asked.
    pub fn answer(&mut self, id: &InboundId) -> Option<(Peer, RequestId)> {
        self.inbound.remove(&id.0)
    }

    /// Makes a call on an errand.
    pub fn call(&mut self, errand: Errand, call: Call) -> (CallId, Input) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.calls.insert(id, errand);
        (id, Input::Call(id, call))
    }

    /// The errand of a call that has its reply now. `None`: it had one before.
    pub fn reply(&mut self, id: CallId) -> Option<Errand> {
        self.calls.remove(&id)
    }

    /// Whether a call waits for its reply.
    pub fn call_is_open(&self, id: CallId) -> bool {
        self.calls.contains_key(&id)
    }

    /// When a job that leaves now is done: one core, one job after the other, so that results
    /// come back in order of id.
    pub fn schedule_job(&mut self, job: &Job, now: Duration) -> Duration {
        self.busy_until = self.busy_until.max(now) + virtual_cost(job);
        self.busy_until
    }
}

/// Half of the nodes keep so little in memory that a short chain already makes them read from
/// their stores and write in many steps. They must agree with the others.
fn draw_ledger_settings(random: &mut Random) -> ashlar_ledger::Settings {
    let usual = ashlar_ledger::Settings::default();
    if once_in(random, 2) {
        return usual;
    }
    ashlar_ledger::Settings {
        step_bytes: random.random_range(1_000..=20_000),
        headers_in_memory: random.random_range(12..=40),
        body_cache_bytes: random.random_range(1_000..=20_000),
        ..usual
    }
}

/// Whole milliseconds.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What a job costs in virtual time, of the order of what it costs a small machine.
fn virtual_cost(job: &Job) -> Duration {
    const OVERHEAD: Duration = Duration::from_micros(50);
    const PER_SIGNATURE: Duration = Duration::from_micros(12);
    const PER_TRANSACTION: Duration = Duration::from_micros(2);
    /// Of a usual one, with one input and two outputs.
    const TRANSACTION_BYTES: usize = 194;
    let times = |cost: Duration, count: usize| cost * u32::try_from(count).unwrap_or(u32::MAX);
    OVERHEAD
        + match job {
            Job::OpenBlock { block, .. } | Job::CheckTemplate { block, .. } => {
                times(PER_TRANSACTION, block.transactions.len())
            }
            Job::OpenBody { bytes, .. } => times(PER_TRANSACTION, bytes.len() / TRANSACTION_BYTES),
            Job::VerifyBlock { checks, .. } => times(PER_SIGNATURE, checks.len()),
            Job::VerifyTransactions { checks } => {
                times(PER_SIGNATURE, checks.iter().map(|(_, checks)| checks.len()).sum())
            }
            Job::CheckTransactions { transactions } => times(PER_TRANSACTION, transactions.len()),
        }
}
