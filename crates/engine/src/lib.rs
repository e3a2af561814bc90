//! The node's mind: a state machine whose only IO is the store handed in.
//!
//! `(now, Input) → Outputs`, one entry point, bounded work in each call. No tokio, libp2p,
//! RocksDB type, wall clock or entropy in here: the same code runs in `ashlar-node` and, by the
//! thousand, in `crates/simulator`.
//!
//! Reading order: [`input`], [`output`], [`call`] and [`job`] are everything that goes in and
//! out. Then one file for each thing that an engine does:
//!
//! - `peers` (handshake, scores), `requests` (what we asked), `serve` (what we are asked),
//!   `offence` (who is to blame for what);
//! - `headers` and `low_work` (where the chain should go), `download` and `side_branches` (bodies),
//!   `chain` (driving the ledger there, and what follows), `progress` (how fast);
//! - `relay_blocks`, `relay_transactions` with `batch`, `gather`, `orphans` and `reconcile` (what
//!   travels by gossip), `recent` (what passed through lately);
//! - `calls`, `mempool_calls`, `templates`, `fees` (what RPC, wallet and miner want), [`desk`]
//!   (what they see while the engine is busy), `reorganisation` (what operators are told of and
//!   decide).
//!
//! Every file adds methods to the one [`Engine`] and owns a state of its own; `limits` bounds
//! all of them. Nothing a map iterates decides anything but by its order, and chance comes from
//! one seeded generator: the same inputs give the same outputs.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::float_arithmetic,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod batch;
mod bucket;
pub mod call;
mod calls;
mod chain;
pub mod desk;
mod download;
mod fees;
mod gather;
mod headers;
pub mod input;
pub mod job;
mod jobs;
mod limits;
mod low_work;
mod mempool_calls;
mod offence;
mod orphans;
pub mod output;
mod peers;
mod progress;
mod recent;
mod reconcile;
mod relay_blocks;
mod relay_transactions;
mod reorganisation;
mod requests;
mod serve;
mod side_branches;
mod tables;
mod templates;
#[cfg(test)]
mod tests;
pub mod time;
mod timers;

use std::sync::Arc;

use ashlar_consensus::Params;
use ashlar_ledger::{Ledger, Store, StoreError, View};
use ashlar_mempool::Mempool;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

pub use ashlar_mempool::{Departure, Leaving};
pub use call::{Answer, Call, CallError, CallId, Warning};
pub use desk::Desk;
pub use input::{
    Direction, GossipData, InboundId, Input, Peer, PeerConnected, RequestFailure, RequestId, Ticket,
};
pub use job::{Job, JobId, JobResult};
pub use output::{Event, Notice, Offence, Output, Outputs, Verdict};
pub use tables::Table;
pub use time::Time;

use crate::{
    calls::Calls,
    chain::Chain,
    download::Download,
    fees::FeePicture,
    gather::Gathered,
    headers::Headers,
    jobs::Jobs,
    limits::{GOSSIP_SILENCE_MS, HOUSEKEEPING_MS, MEMPOOL_EXPIRY_MS, TIMERS_PER_TICK},
    orphans::Orphans,
    peers::Peers,
    progress::Progress,
    recent::Recent,
    relay_blocks::BlockRelay,
    relay_transactions::TransactionRelay,
    reorganisation::Reorganisations,
    requests::Requests,
    templates::Templates,
    timers::{Timer, Timers},
};

/// [`Settings::reorg_alarm`] unless the operator says otherwise: six confirmations are what payees
/// commonly wait for.
pub const DEFAULT_REORG_ALARM: u32 = 6;

/// What the operator chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Policy and size of the mempool.
    pub mempool: ashlar_mempool::Limits,
    /// Shown to peers: `ashlar/0.1.0`. At most 64 printable ASCII characters.
    pub agent: String,
    /// Below this a header branch is not stored, and a node is catching up.
    pub minimum_work: ashlar_consensus::Work,
    /// A reorganisation that disconnects more blocks than this is told as an alarm.
    pub reorg_alarm: u32,
}

/// One node.
pub struct Engine<S: Store> {
    ledger: Ledger<S>,
    /// What is published: peers, callers and the mempool go by it.
    view: Arc<View>,
    params: Arc<Params>,
    settings: Settings,
    mempool: Mempool,
    desk: Option<Arc<Desk>>,
    rng: ChaCha8Rng,
    now: Time,
    started: bool,
    out: Outputs,
    timers: Timers,
    jobs: Jobs,
    peers: Peers,
    requests: Requests,
    headers: Headers,
    download: Download,
    progress: Progress,
    chain: Chain,
    blocks: BlockRelay,
    transactions: TransactionRelay,
    gathered: Gathered,
    orphans: Orphans,
    /// Some exchange of mempools may begin or go on.
    reconcile_dirty: bool,
    recent: Recent,
    reorganisations: Reorganisations,
    templates: Templates,
    calls: Calls,
    fee_picture: FeePicture,
    mempool_expired_ms: u64,
}

impl<S: Store> core::fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (peers, mempool) = (self.peers.all.len(), self.mempool.len());
        write!(f, "Engine({:?}, {peers} peers, {mempool} waiting)", self.ledger)
    }
}

impl<S: Store> Engine<S> {
    /// `seed` feeds the engine's own generator (salts, choices of peers), nothing cryptographic.
    pub fn new(ledger: Ledger<S>, settings: Settings, seed: u64) -> Self {
        let params = ledger.params().clone();
        Self {
            view: ledger.view(),
            mempool: Mempool::new(params.clone(), settings.mempool.clone()),
            desk: None,
            ledger,
            params,
            settings,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: Time::default(),
            started: false,
            out: Outputs::new(),
            timers: Timers::default(),
            jobs: Jobs::default(),
            peers: Peers::default(),
            requests: Requests::default(),
            headers: Headers::default(),
            download: Download::default(),
            progress: Progress::default(),
            chain: Chain::default(),
            blocks: BlockRelay::default(),
            transactions: TransactionRelay::default(),
            gathered: Gathered::default(),
            orphans: Orphans::default(),
            reconcile_dirty: false,
            recent: Recent::default(),
            reorganisations: Reorganisations::default(),
            templates: Templates::default(),
            calls: Calls::default(),
            fee_picture: FeePicture::default(),
            mempool_expired_ms: 0,
        }
    }

    /// The only entry point; what is to be done is added to `out`. Bounded work: at most one move
    /// of the ledger and one batch of transactions; where more is to do, `next_wakeup` is now.
    ///
    /// # Errors
    /// *We* are broken: the driver stops the node with the message.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) -> Result<(), StoreError> {
        // What a reader of a view could not read ends the node as well, also an idle one.
        self.ledger.check_store()?;
        self.take_up();
        core::mem::swap(&mut self.out, out);
        let result = self.step(now, input);
        core::mem::swap(&mut self.out, out);
        result
    }

    fn step(&mut self, now: Time, input: Input) -> Result<(), StoreError> {
        // The clock never goes back, whatever a driver's rounding makes of it.
        let monotonic_ms = now.monotonic_ms.max(self.now.monotonic_ms);
        self.now = Time { monotonic_ms, ..now };
        if !core::mem::replace(&mut self.started, true) {
            self.start();
        }
        self.keep_announced()?;
        self.follow_tip()?;
        match input {
            Input::Tick => self.on_tick()?,
            Input::PeerConnected(connected) => self.on_connected(connected),
            Input::PeerGone(peer) => self.drop_peer(peer),
            Input::Gossip(ticket, data) => self.on_gossip(ticket, data)?,
            Input::Request(inbound, peer, request) => self.on_request(inbound, peer, request)?,
            Input::Response(id, answer) => self.on_response(id, answer)?,
            Input::RequestFailed(id, failure) => self.on_request_failed(id, failure),
            Input::Call(id, call) => self.on_call(id, call)?,
            Input::JobDone(id, result) => self.on_job(id, result)?,
        }
        if !self.chain.is_following() {
            self.pump_batches()?;
        }
        self.drive()?;
        self.update_syncing()?;
        self.schedule_headers()?;
        if self.chain.has_kept_all() {
            self.schedule_bodies()?;
        }
        self.schedule_reconciles();
        self.tell_departures();
        Ok(())
    }

    fn start(&mut self) {
        let now_ms = self.now.monotonic_ms;
        // After a crash the ledger may have something to finish.
        self.note_best_header();
        self.peers.block_gossip_ms = now_ms;
        self.timers.set(Timer::Poll, now_ms.saturating_add(GOSSIP_SILENCE_MS));
        self.timers.set(Timer::Housekeeping, now_ms.saturating_add(HOUSEKEEPING_MS));
    }

    /// A message without worth for this node is ignored before it costs anything.
    fn on_gossip(&mut self, ticket: Ticket, data: GossipData) -> Result<(), StoreError> {
        self.peers.note_seen(ticket.source, self.now.monotonic_ms);
        if ticket.deadline_ms <= self.now.monotonic_ms {
            self.verdict(ticket, Verdict::Ignore);
            return Ok(());
        }
        match data {
            GossipData::Block(compact) => self.on_gossiped_block(ticket, compact),
            GossipData::Transactions(transactions) => {
                self.on_gossiped_transactions(ticket, transactions);
                Ok(())
            }
        }
    }

    fn on_tick(&mut self) -> Result<(), StoreError> {
        for _ in 0..TIMERS_PER_TICK {
            let Some(timer) = self.timers.pop(self.now.monotonic_ms) else { break };
            match timer {
                Timer::BlockTicket(id) => self.on_block_ticket_timer(id),
                Timer::BatchTicket(id) => self.on_batch_ticket_timer(id),
                Timer::Request(id) => self.on_request_failed(id, RequestFailure::Timeout),
                Timer::Handshake(peer) => self.on_handshake_timer(peer),
                Timer::Gather => self.on_gather_timer(),
                Timer::Stall => self.on_stall_timer()?,
                Timer::HeadersSlow => self.on_headers_slow_timer()?,
                Timer::TooNew => self.on_too_new_timer(),
                Timer::Poll => self.on_poll_timer(),
                Timer::Housekeeping => self.on_housekeeping_timer()?,
            }
        }
        Ok(())
    }

    /// What has time: expiry, and whoever waits for a pause to end.
    fn on_housekeeping_timer(&mut self) -> Result<(), StoreError> {
        let now_ms = self.now.monotonic_ms;
        self.timers.set(Timer::Housekeeping, now_ms.saturating_add(HOUSEKEEPING_MS));
        self.orphans.expire(now_ms);
        if now_ms.saturating_sub(self.mempool_expired_ms) >= MEMPOOL_EXPIRY_MS {
            self.mempool_expired_ms = now_ms;
            for transaction in self.mempool.expire(now_ms) {
                self.recent.add_transaction(transaction);
            }
        }
        self.headers.dirty = true;
        self.download.dirty = true;
        self.reconcile_dirty = true;
        self.refresh_statuses();
        self.watch_front()?;
        self.watch_progress()
    }

    /// When to send `Tick`, on the monotonic clock; `None`: not until something else happens.
    pub fn next_wakeup(&self) -> Option<u64> {
        let now_ms = self.now.monotonic_ms;
        let drives = self.chain.may_move() || self.chain.is_following();
        if !self.started || drives || self.batches_are_ready() {
            return Some(now_ms);
        }
        let step_ms = self.ledger.next_wakeup().filter(|_| !self.chain.is_verifying());
        [self.timers.next_ms(), step_ms].into_iter().flatten().min()
    }

    /// Writes what is not yet on disk: the last call before the node stops.
    ///
    /// # Errors
    /// *We* are broken: what was not written is lost, and nothing else.
    pub fn close(&mut self) -> Result<(), StoreError> {
        self.keep_announced()?;
        self.ledger.flush()
    }

    /// For the driver's own views; the engine alone moves it.
    pub const fn ledger(&self) -> &Ledger<S> {
        &self.ledger
    }
}
