//! Keeps what waits over a restart: loads it at the start, through the mempool's door like
//! anything new, and saves it at a clean stop, now and then, and on request.
//!
//! Until the file of the last run is loaded nothing is saved, so that a node that is stopped early
//! does not forget what it had not yet looked at.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ashlar_consensus::check_transaction;
use ashlar_engine::{
    Call, CallError,
    call::{AnswerBody, MAX_CALL_ENTRIES, MAX_CALL_TRANSACTIONS, MempoolEntry, Restored},
};
use ashlar_rpc::server::Backend as _;
use thiserror::Error;
use tokio::{sync::Mutex, task, time};
use tracing::{info, warn};

use crate::{
    backend::NodeBackend,
    datadir::DatadirError,
    mempool_file::{self, Saved},
};

/// In the data directory.
pub(crate) const MEMPOOL_FILE: &str = "mempool.dat";
/// What came within this time is all that a crash takes.
const SAVE_INTERVAL: Duration = Duration::from_secs(600);
/// Between two tries to hand transactions to an engine that is too busy.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// Tries for one batch; it is given up then, with a word in the log.
const MAX_TRIES: usize = 60;

/// Why nothing was saved.
#[derive(Debug, Error)]
pub(crate) enum KeepError {
    #[error("what waited in the last run is still being loaded")]
    Loading,
    #[error(transparent)]
    Engine(#[from] CallError),
    #[error("the engine answered another question")]
    OtherAnswer,
    #[error(transparent)]
    Write(#[from] DatadirError),
    #[error("the thread that writes it died")]
    Died,
}

/// The file, and how far it is.
#[derive(Debug)]
pub(crate) struct Keeper {
    path: PathBuf,
    is_loaded: AtomicBool,
    /// The checksum of what was written last; held while it is written.
    written: Mutex<Option<Vec<u8>>>,
}

impl Keeper {
    pub(crate) fn new(datadir: &Path) -> Self {
        let (is_loaded, written) = (AtomicBool::new(false), Mutex::new(None));
        Self { path: datadir.join(MEMPOOL_FILE), is_loaded, written }
    }

    /// Whether the file of the last run, if there was one, has been gone through.
    pub(crate) fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Loads, then saves now and then; ends where the engine has ended.
pub(crate) async fn keep(backend: Arc<NodeBackend>) {
    let keeper = backend.keeper();
    if load(&backend, keeper).await.is_err() {
        return;
    }
    keeper.is_loaded.store(true, Ordering::Release);
    loop {
        time::sleep(SAVE_INTERVAL).await;
        match save(&backend, false).await {
            Ok(_) => {}
            Err(KeepError::Engine(CallError::Stopping)) => return,
            Err(error) => warn!(%error, "what waits was not saved"),
        }
    }
}

/// Writes down what waits now; how many transactions. Where nothing changed since the last time,
/// nothing is written unless it `must`.
pub(crate) async fn save(backend: &NodeBackend, must: bool) -> Result<usize, KeepError> {
    let keeper = backend.keeper();
    if !keeper.is_loaded() {
        return Err(KeepError::Loading);
    }
    let mut written = keeper.written.lock().await;
    let saved = collect(backend).await?;
    let count = saved.transactions.len();
    let (chain_id, path) = (backend.view().params().chain_id, keeper.path.clone());
    let before = written.clone().filter(|_| !must);
    let checksum = task::spawn_blocking(move || -> Result<Vec<u8>, KeepError> {
        let bytes = mempool_file::encode(&chain_id, &saved);
        let checksum = mempool_file::checksum(&bytes).to_vec();
        if before.as_ref() != Some(&checksum) {
            mempool_file::write(&path, &bytes)?;
        }
        Ok(checksum)
    });
    *written = Some(checksum.await.map_err(|_| KeepError::Died)??);
    Ok(count)
}

/// All that waits, by pages, so that nobody waits for long.
async fn collect(backend: &NodeBackend) -> Result<Saved, KeepError> {
    let AnswerBody::Priorities(priorities) = backend.call(Call::Priorities).await?.body else {
        return Err(KeepError::OtherAnswer);
    };
    let mut entries: Vec<MempoolEntry> = Vec::new();
    loop {
        let after = entries.last().map(|entry| entry.sequence);
        let page = Call::MempoolPage { after, limit: MAX_CALL_ENTRIES };
        let AnswerBody::MempoolPage(page) = backend.call(page).await?.body else {
            return Err(KeepError::OtherAnswer);
        };
        let is_last = page.len() < MAX_CALL_ENTRIES;
        entries.extend(page);
        if is_last {
            break;
        }
    }
    // An ancestor has fewer ancestors, though after a reorganisation it may have come in later.
    entries.sort_by_key(|entry| (entry.ancestor_count, entry.sequence));
    let transactions = entries
        .into_iter()
        .map(|entry| (entry.entered_unix, entry.transaction.transaction().clone()))
        .collect();
    Ok(Saved { priorities, transactions })
}

/// Hands the file's transactions to the engine. An error means that the engine has ended.
async fn load(backend: &NodeBackend, keeper: &Keeper) -> Result<(), CallError> {
    let (path, chain_id) = (keeper.path.clone(), backend.view().params().chain_id);
    let read = task::spawn_blocking(move || mempool_file::read(&path, &chain_id)).await;
    let saved = match read {
        Ok(Ok(Some(saved))) => saved,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(damage)) => {
            set_aside(&keeper.path, &damage);
            return Ok(());
        }
        Err(_) => return Err(CallError::Stopping),
    };
    for (txid, delta_grains) in saved.priorities {
        match backend.call(Call::Prioritise { txid, delta_grains }).await {
            Err(CallError::Stopping) => return Err(CallError::Stopping),
            Err(error) => warn!(%txid, %error, "a priority of the last run is lost"),
            Ok(_) => {}
        }
    }
    let all = saved.transactions.len();
    let mut taken = 0;
    let mut rest = saved.transactions.into_iter();
    while rest.len() > 0 {
        let batch: Vec<_> = rest.by_ref().take(MAX_CALL_TRANSACTIONS).collect();
        taken += restore(backend, batch).await?;
    }
    info!(taken, gone = all - taken, "what waited in the last run was judged anew");
    Ok(())
}

fn set_aside(path: &Path, damage: &mempool_file::Damage) {
    match mempool_file::set_aside(path) {
        Ok(aside) => warn!(
            file = %path.display(), %damage, set_aside = %aside.display(),
            "what waited in the last run can't be loaded; peers still have it"
        ),
        Err(error) => warn!(
            file = %path.display(), %damage, %error,
            "what waited in the last run can't be loaded, and the file can't be renamed"
        ),
    }
}

type Waited = (u64, ashlar_primitives::Transaction);

/// How many of a batch were taken.
async fn restore(backend: &NodeBackend, batch: Vec<Waited>) -> Result<usize, CallError> {
    let now_ms = backend.unix_ms();
    let checked = task::spawn_blocking(move || {
        let checked = batch.into_iter().filter_map(|(since, transaction)| {
            let waited_ms = now_ms.saturating_sub(since.saturating_mul(1_000));
            let transaction = Arc::new(check_transaction(transaction).ok()?);
            Some(Restored { transaction, waited_ms })
        });
        checked.collect::<Vec<_>>()
    });
    let batch = checked.await.map_err(|_| CallError::Stopping)?;
    for _ in 0..MAX_TRIES {
        match backend.call(Call::RestoreTransactions(batch.clone())).await {
            Ok(answer) => {
                let AnswerBody::Submitted(results) = answer.body else { return Ok(0) };
                return Ok(results.iter().filter(|result| result.is_ok()).count());
            }
            Err(CallError::Overloaded) => time::sleep(BUSY_PAUSE).await,
            Err(error) => return Err(error),
        }
    }
    warn!(count = batch.len(), "waiting transactions of the last run are lost: the node is busy");
    Ok(0)
}
