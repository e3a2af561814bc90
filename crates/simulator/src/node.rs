//! One engine, its clocks, and the promises that are open around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use ashlar_consensus::{Genesis, Work};
use ashlar_engine::{
    Call, CallId, Engine, InboundId, Input, Job, Outputs, Peer, RequestId, Settings, Table, Ticket,
    Time,
};
use ashlar_ledger::{Ledger, OpenLedgerError, OpenWarning, StoreError, View};
use rand::RngExt;

use crate::{
    disk::{Disk, DiskFault},
    faults::End,
    mesh::MessageId,
    people::Errand,
    random::{Random, once_in},
    scenario::EPOCH_SECONDS,
    trace::Subject,
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
/// How much faster or slower than the world's a node's clocks go, at most, in millionths.
const MAX_DRIFT_PPM: i64 = 100;
const MILLION: u64 = 1_000_000;

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

/// How a node whose disk failed can begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// All that it had is there.
    Mended,
    /// Its data was made anew from the stored blocks.
    Reindexed {
        /// Which can't be read any more, and are fetched again.
        lost_bodies: u64,
    },
    /// With an empty disk.
    Anew,
}

/// An engine and what its driver must remember of it.
#[derive(Debug)]
pub struct Node {
    /// Which.
    pub id: NodeId,
    disk: Disk,
    ledger_settings: ashlar_ledger::Settings,
    settings: Settings,
    /// `None` while its process is not there.
    engine: Option<Engine<Disk>>,
    /// Counts its processes: what was meant for an earlier one is lost.
    pub life: u32,
    clock_offset_ms: i64,
    drift_ppm: i64,
    /// What a fault adds to its wall clock.
    pub clock_error_ms: i64,
    /// Where its wall clock stands still, by its own monotonic clock.
    frozen_at_ms: Option<u64>,
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
    /// A node with an empty disk, not yet running. Its clocks and settings are drawn from `random`.
    pub fn new(id: NodeId, random: &mut Random) -> Self {
        Self {
            id,
            disk: Disk::default(),
            ledger_settings: draw_ledger_settings(random),
            settings: Settings {
                mempool: draw_mempool_limits(random),
                agent: "ashlar-sim".into(),
                minimum_work: Work::ZERO,
                reorg_alarm: ashlar_engine::DEFAULT_REORG_ALARM,
            },
            engine: None,
            life: 0,
            clock_offset_ms: random.random_range(-MAX_CLOCK_OFFSET_MS..=MAX_CLOCK_OFFSET_MS),
            drift_ppm: random.random_range(-MAX_DRIFT_PPM..=MAX_DRIFT_PPM),
            clock_error_ms: 0,
            frozen_at_ms: None,
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

    /// Begins as the real driver does: opens the store, and finishes what a crash interrupted.
    /// Returns what the ledger has to say about the store.
    pub fn start(
        &mut self,
        genesis: &Genesis,
        random: &mut Random,
    ) -> Result<Option<OpenWarning>, OpenLedgerError> {
        let settings = self.ledger_settings.clone();
        let mut ledger = Ledger::open(Arc::new(self.disk.clone()), genesis, settings)?;
        ledger.resume(random)?;
        let warning = ledger.warning().cloned();
        self.engine = Some(Engine::new(ledger, self.settings.clone(), random.random()));
        self.life += 1;
        Ok(warning)
    }

    /// Ends the process. What was open around it is gone.
    pub fn stop(&mut self, end: End) -> Result<(), StoreError> {
        if let Some(mut engine) = self.engine.take()
            && end == End::Stopped
        {
            engine.close()?;
        }
        match end {
            End::Stopped | End::Killed => {}
            End::PowerCut { lost } => self.disk = self.disk.after_power_cut(lost),
            End::Wiped => self.disk = Disk::default(),
        }
        self.wakes_at = None;
        self.peers.clear();
        self.tickets.clear();
        self.asked.clear();
        self.last_request = None;
        self.inbound.clear();
        self.calls.clear();
        self.busy_until = Duration::ZERO;
        Ok(())
    }

    /// Whether its process is there.
    pub const fn is_up(&self) -> bool {
        self.engine.is_some()
    }

    /// What readers of this node see now. `None`: it is not running.
    pub fn view(&self) -> Option<Arc<View>> {
        self.ledger().map(Ledger::view)
    }

    /// What it knows. `None`: it is not running.
    pub fn ledger(&self) -> Option<&Ledger<Disk>> {
        self.engine.as_ref().map(Engine::ledger)
    }

    /// How full its bounded tables are; nothing where it is not running.
    pub fn tables(&self) -> Vec<Table> {
        self.engine.as_ref().map(Engine::tables).unwrap_or_default()
    }

    /// Where it stands, in a line for people.
    pub fn account(&self) -> String {
        let Some(ledger) = self.ledger() else {
            return format!("{:<5}  down, {} processes so far", self.id, self.life);
        };
        let (view, best) = (ledger.view(), ledger.best_header());
        let (tip, ahead) = (view.tip(), best.height.saturating_sub(view.tip().height));
        let peers = self.peers.len();
        let better =
            if best.id == tip.id { String::new() } else { format!(", {ahead} headers more") };
        format!(
            "{:<5}  {} at height {}, {peers} peers{better}",
            self.id,
            Subject::Block(tip.id),
            tip.height
        )
    }

    /// Its bound on the mempool's memory.
    pub const fn mempool_limits(&self) -> &ashlar_mempool::Limits {
        &self.settings.mempool
    }

    /// Hands one input to the engine; lost where that is not running.
    pub fn handle(&mut self, now: Duration, input: Input) -> Result<Outputs, StoreError> {
        let time = self.clocks(now);
        let mut outputs = Outputs::new();
        if let Some(engine) = &mut self.engine {
            engine.handle(time, input, &mut outputs)?;
        }
        Ok(outputs)
    }

    /// When the engine wants its next tick, by the world's time: not before `now`.
    pub fn next_wakeup(&self, now: Duration) -> Option<Duration> {
        let at_ms = self.engine.as_ref()?.next_wakeup()?;
        let micros = u128::from(at_ms) * 1_000 * u128::from(MILLION);
        let micros = micros.div_ceil(u128::from(self.rate()));
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).max(now))
    }

    /// Microseconds of its clocks in a second of the world's.
    const fn rate(&self) -> u64 {
        MILLION.saturating_add_signed(self.drift_ppm)
    }

    fn monotonic_ms(&self, now: Duration) -> u64 {
        let micros = now.as_micros() * u128::from(self.rate()) / u128::from(MILLION);
        u64::try_from(micros / 1_000).unwrap_or(u64::MAX)
    }

    /// What this node's clocks show.
    pub fn clocks(&self, now: Duration) -> Time {
        let monotonic_ms = self.monotonic_ms(now);
        let epoch_ms = u64::from(EPOCH_SECONDS) * 1_000;
        let wrong_ms = self.clock_offset_ms + self.clock_error_ms;
        let shown_ms = epoch_ms + self.frozen_at_ms.unwrap_or(monotonic_ms);
        Time { monotonic_ms, unix_ms: shown_ms.saturating_add_signed(wrong_ms) }
    }

    /// Its wall clock stands still from now on, or goes on as if it never had.
    pub fn freeze_clock(&mut self, is_frozen: bool, now: Duration) {
        self.frozen_at_ms = is_frozen.then(|| self.monotonic_ms(now));
    }

    /// Its disk.
    pub const fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What its operator does while it is down, so that it can begin again.
    pub fn repair(&mut self, fault: DiskFault, genesis: &Genesis, random: &mut Random) -> Repair {
        if !matches!(fault, DiskFault::Damaged { .. }) {
            self.disk.recovers();
            return Repair::Mended;
        }
        match self.disk.reindex(genesis, self.ledger_settings.clone(), random) {
            Ok(lost_bodies) => Repair::Reindexed { lost_bodies },
            Err(_) => {
                self.disk = Disk::default();
                Repair::Anew
            }
        }
    }

    /// A ticket for a message that came from `source`.
    pub fn issue_ticket(&mut self, message: MessageId, source: Peer, now: Duration) -> Ticket {
        let id = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(id, message);
        // Whole milliseconds, so that the deadline does not come before the engine can see it.
        Ticket { id, source, deadline_ms: self.monotonic_ms(now + VERDICT_DEADLINE) }
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

/// Half of the nodes tell of a block before they write what it changes, as the real node does.
/// The other half write first, and keep so little in memory that a short chain already makes them
/// read from their stores and write in many steps. All must agree.
fn draw_ledger_settings(random: &mut Random) -> ashlar_ledger::Settings {
    let usual = ashlar_ledger::Settings { tell_first: true, ..ashlar_ledger::Settings::default() };
    if once_in(random, 2) {
        return usual;
    }
    ashlar_ledger::Settings {
        tell_first: false,
        step_bytes: random.random_range(1_000..=20_000),
        headers_in_memory: random.random_range(12..=40),
        body_cache_bytes: random.random_range(1_000..=20_000),
        ..usual
    }
}

/// One node in four has so small a mempool that it must choose.
fn draw_mempool_limits(random: &mut Random) -> ashlar_mempool::Limits {
    let usual = ashlar_mempool::Limits::default();
    match once_in(random, 4) {
        true => ashlar_mempool::Limits { max_bytes: random.random_range(20_000..=80_000), ..usual },
        false => usual,
    }
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
            Job::OpenBlock { block, .. } => times(PER_TRANSACTION, block.transactions.len()),
            Job::OpenParts { parts, .. } | Job::CheckTemplate { parts, .. } => {
                times(PER_TRANSACTION, parts.len())
            }
            Job::OpenBody { bytes, .. } => times(PER_TRANSACTION, bytes.len() / TRANSACTION_BYTES),
            Job::VerifyBlock { checks, .. } => times(PER_SIGNATURE, checks.len()),
            Job::VerifyTransactions { checks } => {
                times(PER_SIGNATURE, checks.iter().map(|(_, checks)| checks.len()).sum())
            }
            Job::CheckTransactions { transactions } => times(PER_TRANSACTION, transactions.len()),
        }
}
