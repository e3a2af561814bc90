//! What all handlers stand on: one way to read a view, one way to ask the engine.

use std::sync::Arc;

use ashlar_engine::{
    Answer, Call, CallError,
    call::{AnswerBody, MAX_PRIORITIES, SyncStatus},
};
use ashlar_ledger::{StoreError, View, view::QueryError};
use ashlar_primitives::{Address, Encode, Lock};
use tokio::{
    runtime,
    sync::{Mutex, Semaphore},
    task,
};

use super::{
    backend::Backend,
    backend::BackendError,
    burial::relief_warning,
    config::ServerConfig,
    made_at::{carried, seen, stated},
    past::Past,
};
use crate::{error::RpcError, types::Tip};

/// Reads of the store at one time: more would only wait for the same disk, and each holds a
/// thread.
const MAX_READERS: usize = 8;

/// Reads of a few keys that run where they are asked for, at one time and at most: as many as leave
/// one of the runtime's threads free, so that a slow disk never stops everything else.
const MAX_GLANCES: usize = 4;

/// Callers that wait for a better template at one time: each holds one of the server's connections
/// for up to a minute, and most are to be left for others.
const MAX_LONG_POLLS: usize = 16;

/// How often a call is made again because the tip moved between the engine's answer and the view.
pub(super) const MAX_TIP_RETRIES: usize = 8;

/// Shared by all connections.
pub(super) struct Context<B> {
    pub(super) backend: Arc<B>,
    pub(super) agent: String,
    pub(super) slow_subscriber_ms: u64,
    /// How long the calls of [`crate::scope::is_long`] may run.
    pub(super) long_call_ms: u64,
    /// One `generatetoaddress` at a time: two would only make siblings of each other's blocks.
    pub(super) generating: Mutex<()>,
    /// Places for those who wait for a better template.
    pub(super) polls: Semaphore,
    readers: Arc<Semaphore>,
    glances: Semaphore,
    /// Of blocks that were asked about.
    pub(super) past: Arc<Past>,
    pub(super) max_subscriptions: usize,
    pub(super) subscriptions: Arc<Semaphore>,
}

impl<B: Backend> Context<B> {
    pub(super) fn new(backend: Arc<B>, config: &ServerConfig) -> Self {
        let max_subscriptions = config.limits.max_subscriptions_total as usize;
        let threads = runtime::Handle::current().metrics().num_workers();
        Self {
            backend,
            agent: config.agent.clone(),
            slow_subscriber_ms: config.limits.slow_subscriber_ms,
            long_call_ms: config.limits.long_call_ms(),
            generating: Mutex::new(()),
            polls: Semaphore::new(MAX_LONG_POLLS),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            glances: Semaphore::new(threads.saturating_sub(1).min(MAX_GLANCES)),
            past: Arc::default(),
            max_subscriptions,
            subscriptions: Arc::new(Semaphore::new(max_subscriptions)),
        }
    }

    pub(super) fn view(&self) -> Arc<View> {
        let view = self.backend.view();
        seen(published(&view));
        view
    }

    /// Runs `read` on the published view.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        self.read_at(self.view(), read).await
    }

    /// Runs a `read` of a few keys on a view, right here where that leaves a thread to everybody
    /// else: to hand it to another thread and to be woken again takes longer than such a read.
    pub(super) async fn glance_at<T: Send + 'static>(
        &self,
        view: Arc<View>,
        read: impl FnOnce(&View) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        match self.glances.try_acquire() {
            Ok(_place) => read(&view),
            Err(_) => self.read_at(view, read).await,
        }
    }

    /// The same on the published view.
    pub(super) async fn glance<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        self.glance_at(self.view(), read).await
    }

    /// Runs `read` on a view, on a thread that may wait for the disk. A caller that gave up does
    /// not free its place before the read has ended, so that the bound holds.
    pub(super) async fn read_at<T: Send + 'static>(
        &self,
        view: Arc<View>,
        read: impl FnOnce(&View) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let place = Arc::clone(&self.readers).acquire_owned().await;
        task::spawn_blocking(carried(move || {
            let _place = place;
            read(&view)
        }))
        .await
        .unwrap_or_else(|error| {
            tracing::error!(%error, "an RPC read panicked");
            Err(RpcError::Internal)
        })
    }

    pub(super) async fn call(&self, call: Call) -> Result<Answer, RpcError> {
        let answer = self.backend.call(call).await?;
        seen(answered(&answer));
        Ok(answer)
    }

    /// The engine's answer and the view of the very tip that it was made at, for answers that
    /// take from both.
    pub(super) async fn call_at_view(&self, call: Call) -> Result<(Arc<View>, Answer), RpcError> {
        for _ in 0..MAX_TIP_RETRIES {
            let answer = self.call(call.clone()).await?;
            let view = self.view();
            if view.tip().id == answer.tip {
                return Ok((view, answer));
            }
        }
        Err(RpcError::Overloaded)
    }

    /// What an operator should know now: of the node, then of the chain.
    pub(super) async fn warnings(&self) -> Result<Vec<String>, RpcError> {
        let answer = self.call(Call::SyncStatus).await?;
        let AnswerBody::Sync(sync) = answer.body else { return Err(unexpected(&answer.body)) };
        let mut warnings = self.warnings_with(&sync);
        warnings.extend(self.read(relief_warning).await?);
        Ok(warnings)
    }

    /// The same but for relief, from an answer at hand.
    pub(super) fn warnings_with(&self, sync: &SyncStatus) -> Vec<String> {
        let chain = sync.warnings.iter().map(ToString::to_string);
        self.backend.warnings().into_iter().chain(chain).collect()
    }

    /// The lock that an address of this chain stands for.
    pub(super) fn lock(&self, address: &str) -> Result<Lock, RpcError> {
        parse_address(address, &self.view().params().address_prefix)
    }
}

pub(super) fn parse_address(address: &str, prefix: &str) -> Result<Lock, RpcError> {
    match Address::parse(address, prefix) {
        Ok(address) => Ok(address.lock),
        Err(error) => {
            Err(RpcError::InvalidAddress { address: address.to_owned(), reason: error.to_string() })
        }
    }
}

/// How a chain writes a lock. One of an unknown version, which no stored block or waiting
/// transaction has, would show as the hex of its encoding.
pub(super) fn show_address(lock: Lock, prefix: &str) -> String {
    match Address::new(prefix, lock) {
        Ok(address) => address.to_string(),
        Err(_) => hex::encode(lock.to_bytes()),
    }
}

/// The tip that a view stands for, outside of a call.
pub(super) fn published(view: &View) -> Tip {
    Tip { tip: view.tip().id.into(), tip_height: view.tip().height }
}

fn answered(answer: &Answer) -> Tip {
    Tip { tip: answer.tip.into(), tip_height: answer.height }
}

/// The tip that a view stands for, which is the call's answer's from now on.
pub(super) fn tip_of(view: &View) -> Tip {
    let tip = published(view);
    stated(tip);
    tip
}

/// The tip that the engine answered at, which is the call's answer's from now on.
pub(super) fn tip_of_answer(answer: &Answer) -> Tip {
    let tip = answered(answer);
    stated(tip);
    tip
}

/// Blocks from `height` up to the tip, both counted.
pub(super) fn confirmations(tip_height: u32, height: u32) -> u32 {
    tip_height.saturating_sub(height).saturating_add(1)
}

/// A page of at most `max`, which is also what is meant where nothing is said.
pub(super) fn page_limit(limit: Option<usize>, max: usize) -> Result<usize, RpcError> {
    match limit.unwrap_or(max) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(RpcError::InvalidParameter { name: "limit", reason: format!("1 to {max}") }),
    }
}

/// The engine answered another question than it was asked: a fault of ours.
pub(super) fn unexpected(answer: &AnswerBody) -> RpcError {
    tracing::error!(?answer, "the engine answered another question than it was asked");
    RpcError::Internal
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        // The message may name paths: it is for the log alone.
        tracing::error!(%error, "a read for RPC failed");
        Self::Internal
    }
}

impl From<QueryError> for RpcError {
    fn from(error: QueryError) -> Self {
        match error {
            // Users ask by address; the ledger answers by lock.
            QueryError::IndexOff { index: "lock" } => Self::IndexOff { index: "address" },
            QueryError::IndexOff { index } => Self::IndexOff { index },
            QueryError::Store(error) => error.into(),
        }
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Overloaded => Self::Overloaded,
            CallError::Stopping => Self::Stopping,
            CallError::NotFound => Self::NotFound { what: "block", id: "as given".to_owned() },
            CallError::Pruned { block, history_start } => {
                Self::Pruned { id: block.to_string(), history_start }
            }
            CallError::NotHeld { block } => Self::NotHeld { id: block.to_string() },
            CallError::NotPruning => Self::NotPruning,
            CallError::TooMany { max } => Self::TooMany { what: "items", max },
            CallError::UnknownLock { .. } => {
                Self::InvalidParameter { name: "address", reason: error.to_string() }
            }
            CallError::ExtraTooLong { .. } => {
                Self::InvalidParameter { name: "extra", reason: error.to_string() }
            }
            CallError::PrioritiesFull => Self::PrioritiesFull { max: MAX_PRIORITIES },
            CallError::TipAhead { wait_seconds } => Self::TipAhead { wait_seconds },
            CallError::NoTemplate { .. } => {
                tracing::error!(%error, "a template failed");
                Self::Internal
            }
        }
    }
}

impl From<BackendError> for RpcError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::BadAddress { address, reason } => {
                Self::BadPeerAddress { address, reason }
            }
            BackendError::NotConnected { who } => Self::NotConnected { who },
            BackendError::NotBannable { reason } => {
                Self::InvalidParameter { name: "subnet", reason }
            }
            BackendError::NotBanned { who } => Self::NotBanned { who },
            BackendError::BadDirectory { reason } => {
                Self::InvalidParameter { name: "directory", reason }
            }
            BackendError::NoGenesis { reason } => {
                tracing::error!(reason, "the genesis file can't be read");
                Self::Internal
            }
            BackendError::BackupFailed { reason } => Self::BackupFailed { reason },
            BackendError::BadLogFilter { .. } => {
                Self::InvalidParameter { name: "filter", reason: error.to_string() }
            }
            BackendError::MempoolLoading => Self::MempoolLoading,
            BackendError::SaveFailed { reason } => Self::SaveFailed { reason },
            BackendError::RealClock => Self::RealClock,
            BackendError::Stopping => Self::Stopping,
        }
    }
}
