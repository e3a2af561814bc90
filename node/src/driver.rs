//! The engine's thread: takes an input, hands it to the engine, carries out what comes back.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ashlar_engine::{
    CallId, Engine, Event, Input, Job, JobId, Output, Outputs, call::SyncProgress, output::Notice,
};
use ashlar_ledger::{RocksStore, StoreError, View};
use ashlar_network::NetworkHandle;
use ashlar_rpc::server::ChainEvent;
use indicatif::HumanDuration;
use thiserror::Error;
use tokio::sync::{broadcast, oneshot, watch};
use tracing::{debug, info, warn};

use crate::{
    clock::Clock,
    cores::JobPool,
    disk::{DiskError, Watch},
    lanes::{Item, Lanes, ReplySender},
    metrics::Metrics,
};

/// Longest that the engine's thread sleeps: an idle node looks at its disk so often, and a jump of
/// the machine's clock does not matter.
const MAX_SLEEP_MS: u64 = 10_000;

/// Why the engine's thread ended by itself.
#[derive(Debug, Error)]
pub(crate) enum DriverError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("the engine's thread died; its last words are in the log above")]
    Died,
}

/// Everything that the engine's thread owns.
pub(crate) struct Driver {
    pub(crate) engine: Engine<RocksStore>,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) network: NetworkHandle,
    pub(crate) views: watch::Sender<Arc<View>>,
    pub(crate) events: broadcast::Sender<ChainEvent>,
    pub(crate) disk: Watch,
    pub(crate) metrics: Arc<Metrics>,
}

impl Driver {
    /// Starts the thread. The receiver tells how it ended; it ends well only after
    /// [`Lanes::stop`], and then the ledger is on disk.
    pub(crate) fn spawn(self) -> io::Result<oneshot::Receiver<Result<(), DriverError>>> {
        let (ended, receiver) = oneshot::channel();
        let jobs = JobPool::new()?;
        thread::Builder::new().name("engine".to_owned()).spawn(move || {
            let outcome = Running { driver: self, jobs, replies: BTreeMap::new(), calls: 0 }.run();
            // Nobody listens any more where the process is already ending for another reason.
            drop(ended.send(outcome));
        })?;
        Ok(receiver)
    }
}

struct Running {
    driver: Driver,
    jobs: JobPool,
    replies: BTreeMap<CallId, ReplySender>,
    calls: u64,
}

impl Drop for Running {
    /// However it ends: nobody waits for an engine that is gone.
    fn drop(&mut self) {
        self.driver.lanes.close();
    }
}

impl Running {
    fn run(mut self) -> Result<(), DriverError> {
        let mut outputs = Outputs::new();
        loop {
            if self.driver.lanes.lengths() == (0, 0) {
                self.driver.engine.rest();
            }
            let input = match self.driver.lanes.take(Some(self.sleep())) {
                None => Input::Tick,
                Some(Item::Input(input)) => input,
                Some(Item::Call(call, reply)) => {
                    let id = CallId(self.calls);
                    self.calls = self.calls.wrapping_add(1);
                    self.replies.insert(id, reply);
                    Input::Call(id, call)
                }
                Some(Item::Stop) => return Ok(self.driver.engine.close()?),
            };
            if let Err(low) = self.driver.disk.look() {
                self.driver.engine.close()?;
                return Err(low.into());
            }
            let began = Instant::now();
            let handled = self.driver.engine.handle(self.driver.clock.now(), input, &mut outputs);
            self.driver.metrics.note_input(began.elapsed());
            // What was decided before a fault of the disk may still be told.
            for output in outputs.drain(..) {
                self.perform(output);
            }
            handled?;
        }
    }

    /// Until the engine's next wake-up.
    fn sleep(&self) -> Duration {
        let now_ms = self.driver.clock.monotonic_ms();
        let until = self.driver.engine.next_wakeup();
        let sleep_ms = until.map_or(MAX_SLEEP_MS, |until| until.saturating_sub(now_ms));
        Duration::from_millis(sleep_ms.min(MAX_SLEEP_MS))
    }

    fn perform(&mut self, output: Output) {
        if let Output::Cut { offence, .. } = output {
            self.driver.metrics.note_cut(offence);
        }
        match output {
            Output::Request(..)
            | Output::Answer(..)
            | Output::Publish(_)
            | Output::Verdict(..)
            | Output::Cut { .. } => self.driver.network.perform(output),
            Output::Reply(id, reply) => {
                if let Some(sender) = self.replies.remove(&id) {
                    // A caller that went away needs no answer.
                    drop(sender.send(reply));
                }
            }
            Output::Job(id, job) => self.start(id, job),
            Output::Event(event) => self.tell(&event),
        }
    }

    fn start(&self, id: JobId, job: Job) {
        let lanes = Arc::clone(&self.driver.lanes);
        self.jobs.start(id, job, move |id, result| {
            if lanes.push_urgent(Item::Input(Input::JobDone(id, result))).is_err() {
                tracing::error!("the engine does not keep up: its urgent lane is full; stopping");
                lanes.stop();
            }
        });
    }

    fn tell(&self, event: &Event) {
        self.driver.metrics.note_event(event);
        match event {
            Event::Tip { view, disconnected, connected, .. } => {
                self.driver.views.send_replace(Arc::clone(view));
                let tip = view.tip();
                if connected.len() > 1 || !disconnected.is_empty() {
                    info!(height = tip.height, id = %tip.id, connected = connected.len(),
                        disconnected = disconnected.len(), "new tip");
                } else {
                    info!(height = tip.height, id = %tip.id, "new tip");
                }
            }
            Event::View(view) => {
                self.driver.views.send_replace(Arc::clone(view));
            }
            Event::TransactionAccepted { transaction, .. } => {
                debug!(txid = %transaction.txid(), "transaction accepted");
            }
            Event::TransactionsLeft(left) => {
                for departure in left.iter() {
                    debug!(txid = %departure.transaction.txid(), why = departure.why.name(),
                        "transaction left");
                }
            }
            Event::Notice(notice) => log_notice(notice),
        }
        if let Some(event) = ChainEvent::from_engine(event) {
            // An error only says that nobody is subscribed.
            drop(self.driver.events.send(event));
        }
    }
}

fn log_progress(progress: &SyncProgress) {
    let SyncProgress { height, target_height: target, milliblocks_per_second, seconds_left } =
        *progress;
    match milliblocks_per_second {
        Some(speed) => {
            let blocks_per_second = format!("{}.{}", speed / 1_000, speed % 1_000 / 100);
            let left = seconds_left.map(|seconds| HumanDuration(Duration::from_secs(seconds)));
            info!(height, target, blocks_per_second, left = left.map(display), "catching up");
        }
        None => info!(height, target, "catching up"),
    }
}

fn log_notice(notice: &Notice) {
    match notice {
        Notice::ClockBehind { header_time, now_seconds } => warn!(
            header_time,
            now_seconds,
            "a block's time is ahead of this machine's clock; check that the clock is right"
        ),
        Notice::BlockInvalid { id, code } => warn!(%id, code, "a block breaks the rules"),
        Notice::PeerOfOtherChain { peer, address, chain_id } => info!(
            peer = peer.0,
            address = address.as_str(),
            %chain_id,
            "peer is of another chain; parted"
        ),
        Notice::Reorganised { depth, old_tip, new_tip, is_deep: false } => {
            info!(depth, %old_tip, %new_tip, "the chain was reorganised");
        }
        Notice::Reorganised { depth, old_tip, new_tip, is_deep: true } => warn!(
            depth, %old_tip, %new_tip,
            "the chain was reorganised deeper than reorg.alarm; look at payments confirmed in the \
             blocks that were left"
        ),
        Notice::ReorganisationHeld { held, tip, height } => warn!(
            depth = held.depth, %tip, height, held_tip = %held.tip, held_height = held.height,
            "a branch with more work leaves the chain deeper than reorg.hold; this node stays, \
             others may not: to go over to it, ashlar-node rpc acceptreorg {}", held.tip
        ),
        Notice::Syncing(progress) => log_progress(progress),
        Notice::Lacking(warning) => warn!("{warning}"),
        Notice::Synced { height } => info!(height, "caught up"),
        Notice::TemplateRefused { code, txid } => tracing::error!(
            code,
            txid = txid.map(tracing::field::display),
            "a template failed its check and was not served; please report this"
        ),
    }
}
