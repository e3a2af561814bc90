//! Everything made anew from stored bodies.
//!
//! ```text
//! begin    marked "resetting", the state gone: no ledger opens
//!          the families that follow from others are emptied
//! prepare  headers are judged again and linked; bodies that belong to no header are let go
//!          one batch: the genesis state, marked "connecting"
//! connect  the ordinary ledger connects what is stored; the mark goes
//! ```
//!
//! Up to that batch every part can be done again from its beginning, and is after a kill; from
//! there on the store is that of a node which is behind its bodies, whose steps are safe at any
//! instruction. A body leaves only when its bytes are no body of its header: then the node fetches
//! it again.
//!
//! Where a table of the bodies can't be read to its end, it has to go, or the next compaction would
//! stop the node; and nothing but its whole family can. So the good bodies are copied to where undo
//! records will be, which are made anew anyway:
//!
//! ```text
//! prepare  copies, marked "salvaged"
//! begin    the family of bodies is emptied
//! prepare  copies them back, marked "resetting" again, and goes on as ever
//! ```
//!
//! So [`begin`] says what is next, whatever ended in between.

use std::sync::Arc;

use ashlar_consensus::{Genesis, signature::Workers};
use ashlar_primitives::{BlockId, Encode as _};

use super::{
    CareError, Progress, Stage, Watch, check_owner, count,
    forest::{Forest, Known, Linked},
    go_on, history_start, open_stored,
    scan::Scan,
};
use crate::{
    keys::{self, meta},
    ledger::{Ledger, OpenLedgerError, Settings},
    open::genesis_batch,
    records::{HeaderRecord, INVALIDATED, IndexRecord, SCHEMA, schema_value, size_value},
    store::{Batch, Durability, Family, Read, Store, StoreError},
    tree::inherited_code,
};

/// What follows from headers and bodies.
pub const REBUILT: [Family; 7] = [
    // First the one without which no ledger opens.
    Family::Heights,
    Family::Coins,
    Family::Undo,
    Family::Tips,
    Family::Transactions,
    Family::LockCoins,
    Family::LockHistory,
];

/// How many bytes are written at once.
const BATCH_BYTES: usize = 4 << 20;

/// Between two looks at progress while headers are read.
const WATCH_HEADERS: u64 = 1_024;

/// `meta/reindex`.
const RESETTING: &[u8] = &[0];
const CONNECTING: &[u8] = &[1];
const SALVAGED: &[u8] = &[2];

/// How many lost bodies are listed; the others are counted.
const MAX_LISTED: usize = 100;

/// What [`begin`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// These families are to be emptied before [`prepare`], which does it itself where nobody did;
    /// a store on disk can do it without reading what may be damaged. Then to [`begin`] again.
    Empty(Vec<Family>),
    /// Nothing but [`connect`] is left to do: nothing may be emptied.
    GoesOn,
}

/// Bodies that can't be read, or are not their headers': gone, and fetched again by the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostBodies {
    /// How many.
    pub number: u64,
    /// The first hundred of them, with their heights as far as the headers tell.
    pub listed: Vec<(Option<u32>, BlockId)>,
}

impl LostBodies {
    fn add(&mut self, height: Option<u32>, id: BlockId) {
        self.number = self.number.saturating_add(1);
        if self.listed.len() < MAX_LISTED {
            self.listed.push((height, id));
        }
    }
}

/// What [`prepare`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Damaged bodies.
    pub lost: LostBodies,
    /// Whether a table of the bodies is torn: all others are copied, and to be copied back.
    pub is_torn: bool,
    /// Headers that were found in bodies alone.
    pub found_headers: u64,
    /// Headers that no way leads to from genesis by the rules; gone, their bodies kept.
    pub dropped_headers: u64,
}

/// What [`connect`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reindexed {
    /// Where the chain stands now.
    pub height: u32,
    /// The block there.
    pub tip: BlockId,
}

/// What an ordinary opening makes of a reindex: one that is connecting blocks is the ledger's own
/// work from here on.
pub(crate) fn leave_to_ledger(store: &impl Store) -> Result<(), OpenLedgerError> {
    match store.get(Family::Meta, meta::REINDEX)?.as_deref() {
        None => Ok(()),
        Some(CONNECTING) => Ok(unmark(store)?),
        Some(_) => Err(OpenLedgerError::Reindexing),
    }
}

/// Whether nothing but another reindex can use the store.
pub(super) fn is_resetting(store: &impl Read) -> Result<bool, StoreError> {
    let phase = store.get(Family::Meta, meta::REINDEX)?;
    Ok(phase.is_some_and(|phase| phase != CONNECTING))
}

fn mark(store: &impl Store, phase: &[u8]) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.put(Family::Meta, meta::REINDEX.to_vec(), phase.to_vec());
    store.commit(batch, Durability::Synced)
}

fn unmark(store: &impl Store) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.delete(Family::Meta, meta::REINDEX.to_vec());
    store.commit(batch, Durability::Synced)
}

/// Marks the store, so that nothing but a reindex opens it until it holds a chain again.
///
/// # Errors
/// [`CareError::Pruned`]; [`CareError::Open`] where the store is another chain's or release's.
pub fn begin(store: &impl Store, genesis: &Genesis) -> Result<Begun, CareError> {
    check_owner(store, genesis)?;
    let history_start = history_start(store)?;
    if history_start > 0 {
        return Err(CareError::Pruned { history_start });
    }
    match store.get(Family::Meta, meta::REINDEX)?.as_deref() {
        Some(CONNECTING) => return Ok(Begun::GoesOn),
        Some(SALVAGED) => return Ok(Begun::Empty(vec![Family::Blocks])),
        _ => {}
    }
    let mut batch = Batch::default();
    batch.put(Family::Meta, meta::REINDEX.to_vec(), RESETTING.to_vec());
    batch.put(Family::Meta, meta::SCHEMA.to_vec(), schema_value(SCHEMA));
    batch.put(Family::Meta, meta::CHAIN.to_vec(), keys::block(&genesis.params().chain_id));
    batch.put(Family::Meta, meta::INDEXES.to_vec(), IndexRecord::default().to_value());
    for gone in [meta::STATE, meta::INDEX_BUILD] {
        batch.delete(Family::Meta, gone.to_vec());
    }
    store.commit(batch, Durability::Synced)?;
    let mut families = REBUILT.to_vec();
    // Headers that can't be read are found again in the bodies.
    // Of what is noted beside them, all that counts was read above and is written again.
    for family in [Family::Headers, Family::Meta] {
        match Scan::new(store, family).try_for_each(|entry| entry.map(drop)) {
            Err(StoreError::Corrupt { .. }) => families.push(family),
            other => other?,
        }
    }
    Ok(Begun::Empty(families))
}

/// Makes headers and tips of a store that [`begin`] marked, and a ledger that stands at genesis.
///
/// # Errors
/// [`CareError::Interrupted`]: calling [`begin`] and this again goes on.
pub fn prepare(
    store: &impl Store,
    genesis: &Genesis,
    watch: &mut Watch<'_>,
) -> Result<Prepared, CareError> {
    if store.get(Family::Meta, meta::REINDEX)?.as_deref() == Some(SALVAGED) {
        put_back(store, watch)?;
    }
    for family in REBUILT {
        store.clear(family)?;
    }
    let mut prepared = Prepared::default();
    let mut out = Writer { store, batch: Batch::default(), bytes: 0 };
    let (mut known, last_arrival) = read_headers(store, genesis, &mut out, watch)?;
    let body_bytes = read_bodies(store, genesis, &mut known, &mut prepared, &mut out, watch)?;
    out.flush()?;
    if prepared.is_torn {
        salvage(store, &known, watch)?;
        return Ok(prepared);
    }
    let has_children = link(store, genesis, known, last_arrival, &mut prepared, &mut out, watch)?;
    out.flush()?;
    let mut batch = genesis_batch(genesis)?;
    let body_bytes = body_bytes.saturating_add(count(genesis.block().to_bytes().len()));
    batch.put(Family::Meta, meta::BODY_BYTES.to_vec(), size_value(body_bytes));
    batch.put(Family::Meta, meta::UNDO_BYTES.to_vec(), size_value(0));
    if has_children {
        batch.delete(Family::Tips, keys::block(&genesis.params().chain_id));
    }
    batch.put(Family::Meta, meta::REINDEX.to_vec(), CONNECTING.to_vec());
    store.commit(batch, Durability::Synced)?;
    Ok(prepared)
}

/// Connects what is stored of the best chain, once [`begin`] says that nothing else is left.
/// `workers` are `verify_signatures`'.
///
/// # Errors
/// [`CareError::Interrupted`]: calling [`begin`] and this again goes on.
pub fn connect<S: Store>(
    store: &Arc<S>,
    genesis: &Genesis,
    settings: Settings,
    workers: &mut impl Workers,
    watch: &mut Watch<'_>,
) -> Result<Reindexed, CareError> {
    let opened = Ledger::open_settled(Arc::clone(store), genesis, settings, watch);
    let mut ledger = opened.map_err(|error| match error {
        OpenLedgerError::Interrupted => CareError::Interrupted,
        other => other.into(),
    })?;
    let total = ledger.best_header().height.into();
    let settled = ledger.settle_watched(workers, &mut |height| {
        watch(Progress { stage: Stage::ConnectBlocks, done: height.into(), total })
    })?;
    ledger.flush()?;
    go_on(settled)?;
    unmark(&**store)?;
    let tip = ledger.view().tip().clone();
    Ok(Reindexed { height: tip.height, tip: tip.id })
}

/// Writes of any length in batches of a bounded one.
struct Writer<'a, S> {
    store: &'a S,
    batch: Batch,
    bytes: usize,
}

impl<S: Store> Writer<'_, S> {
    fn write(
        &mut self,
        family: Family,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.batch.writes.push((family, key, value));
        if self.bytes < BATCH_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        self.store.commit(std::mem::take(&mut self.batch), Durability::Later)
    }
}

/// Copies the good bodies to where undo records will be.
fn salvage<S: Store>(store: &S, known: &[Known], watch: &mut Watch<'_>) -> Result<(), CareError> {
    let mut out = Writer { store, batch: Batch::default(), bytes: 0 };
    let good = || known.iter().filter(|known| known.body_height.is_some());
    let total = count(good().count());
    for (done, known) in (1..).zip(good()) {
        let key = keys::block(&known.id);
        let body = store.get(Family::Blocks, &key)?;
        out.write(Family::Undo, key, body)?;
        go_on(watch(Progress { stage: Stage::CopyBodies, done, total }))?;
    }
    out.flush()?;
    Ok(mark(store, SALVAGED)?)
}

/// And back, into a family of bodies that holds nothing.
fn put_back<S: Store>(store: &S, watch: &mut Watch<'_>) -> Result<(), CareError> {
    store.clear(Family::Blocks)?;
    let mut out = Writer { store, batch: Batch::default(), bytes: 0 };
    for (done, entry) in (1..).zip(Scan::new(store, Family::Undo)) {
        let (key, body) = entry?;
        out.write(Family::Blocks, key, Some(body))?;
        go_on(watch(Progress { stage: Stage::CopyBodies, done, total: 0 }))?;
    }
    out.flush()?;
    Ok(mark(store, RESETTING)?)
}

/// Every header whose record is one, by id, and the last arrival; other records go.
fn read_headers<S: Store>(
    store: &S,
    genesis: &Genesis,
    out: &mut Writer<'_, S>,
    watch: &mut Watch<'_>,
) -> Result<(Vec<Known>, u64), CareError> {
    let mut known = Vec::new();
    let mut last_arrival = 1;
    for entry in Scan::new(store, Family::Headers) {
        let (key, value) = entry?;
        let id = keys::read_block_id(&key).ok();
        let record = HeaderRecord::from_value(&value).ok();
        match id.zip(record).filter(|(id, record)| record.header.id() == *id) {
            Some((id, _)) if id == genesis.params().chain_id => {}
            Some((id, record)) => {
                last_arrival = last_arrival.max(record.arrival);
                known.push(Known::new(id, record.header.parent));
                let done = count(known.len());
                if done.is_multiple_of(WATCH_HEADERS) {
                    go_on(watch(Progress { stage: Stage::ReadHeaders, done, total: 0 }))?;
                }
            }
            None => out.write(Family::Headers, key, None)?,
        }
    }
    Ok((known, last_arrival))
}

/// Finds out which headers have a body that is theirs, and headers that are known by their body
/// alone; how many bytes the bodies have that stay.
fn read_bodies<S: Store>(
    store: &S,
    genesis: &Genesis,
    known: &mut Vec<Known>,
    prepared: &mut Prepared,
    out: &mut Writer<'_, S>,
    watch: &mut Watch<'_>,
) -> Result<u64, CareError> {
    let params = genesis.params();
    let mut body_bytes: u64 = 0;
    let by_record = known.len();
    let mut done: u64 = 0;
    let mut judge = |key: Vec<u8>, value: Result<Vec<u8>, StoreError>| {
        done = done.saturating_add(1);
        go_on(watch(Progress { stage: Stage::ReadBodies, done, total: count(by_record) }))?;
        let Ok(id) = keys::read_block_id(&key) else { return Ok(()) };
        if id == params.chain_id {
            return Ok(());
        }
        match value.and_then(|value| open_stored(params, &id, &value)) {
            Ok(block) => {
                body_bytes = body_bytes.saturating_add(block.size_bytes().into());
                let header = *block.header();
                let place = known[..by_record].binary_search_by_key(&id, |known| known.id);
                let place = place.unwrap_or_else(|_| {
                    known.push(Known::new(id, header.parent));
                    known.len() - 1
                });
                known[place].body_height = Some(block.height());
                if place >= by_record {
                    prepared.found_headers = prepared.found_headers.saturating_add(1);
                    out.write(Family::Headers, key, Some(found(header).to_value()))?;
                }
            }
            Err(StoreError::Corrupt { .. }) => {
                let record = store.get(Family::Headers, &key)?;
                let record = record.and_then(|value| HeaderRecord::from_value(&value).ok());
                prepared.lost.add(record.map(|record| record.height), id);
                out.write(Family::Blocks, key, None)?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok::<_, CareError>(())
    };
    let mut last = None;
    let mut is_torn = false;
    for entry in Scan::new(store, Family::Blocks) {
        match entry {
            Ok((key, value)) => {
                last = Some(key.clone());
                judge(key, Ok(value))?;
            }
            // What lies beyond can still be asked for by name.
            Err(StoreError::Corrupt { .. }) => is_torn = true,
            Err(error) => return Err(error.into()),
        }
    }
    if is_torn {
        for (key, value) in bodies_by_name(store, last.as_deref()) {
            judge(key, value)?;
        }
        out.flush()?;
        // A rotten blob is read no more once its body is gone; a rotten table is.
        prepared.is_torn = match Scan::new(store, Family::Blocks).try_for_each(|e| e.map(drop)) {
            Err(StoreError::Corrupt { .. }) => true,
            other => other.map(|()| false)?,
        };
    }
    Ok(body_bytes)
}

type Named = (Vec<u8>, Result<Vec<u8>, StoreError>);

/// The bodies of stored headers after a key, each read by itself.
fn bodies_by_name<'a, S: Store>(
    store: &'a S,
    after: Option<&'a [u8]>,
) -> impl Iterator<Item = Named> + 'a {
    Scan::new(store, Family::Headers)
        .filter_map(Result::ok)
        .map(|(key, _)| key)
        .filter(move |key| after.is_none_or(|after| key.as_slice() > after))
        .filter_map(|key| {
            let value = store.get(Family::Blocks, &key).transpose()?;
            Some((key, value))
        })
}

/// The record of a header of which nothing else is known yet.
fn found(header: ashlar_primitives::Header) -> HeaderRecord {
    HeaderRecord {
        header,
        height: 0,
        work: ashlar_consensus::Work::ZERO,
        clock: 0,
        lag: 0,
        has_body: true,
        arrival: 0,
        failed: None,
    }
}

/// What children inherit.
#[derive(Clone, Copy)]
struct Inherited {
    is_whole: bool,
    failed: Option<&'static str>,
}

/// Writes every header's record as it follows from the rules, and the tips; answers whether
/// anything follows genesis.
fn link<S: Store>(
    store: &S,
    genesis: &Genesis,
    known: Vec<Known>,
    mut last_arrival: u64,
    prepared: &mut Prepared,
    out: &mut Writer<'_, S>,
    watch: &mut Watch<'_>,
) -> Result<bool, CareError> {
    let mut forest = Forest::new(known);
    let total = count(forest.len());
    let mut done: u64 = 0;
    let root = (&genesis.state().header, Inherited { is_whole: true, failed: None });
    let has_children = forest.visit(store, genesis.params(), root, |linked| {
        done = done.saturating_add(1);
        if done.is_multiple_of(WATCH_HEADERS) {
            go_on(watch(Progress { stage: Stage::JudgeHeaders, done, total }))?;
        }
        let key = keys::block(&linked.state.id);
        let record = rebuilt(&linked, &mut last_arrival);
        if record != linked.record {
            out.write(Family::Headers, key.clone(), Some(record.to_value()))?;
        }
        if linked.is_tip {
            out.write(Family::Tips, key, Some(Vec::new()))?;
        }
        Ok::<_, CareError>(Inherited { is_whole: record.arrival > 0, failed: record.failed })
    })?;
    for id in forest.unlinked() {
        prepared.dropped_headers = prepared.dropped_headers.saturating_add(1);
        out.write(Family::Headers, keys::block(id), None)?;
    }
    Ok(has_children)
}

/// What the ledger would have written of a header and what came after it.
fn rebuilt(linked: &Linked<Inherited>, last_arrival: &mut u64) -> HeaderRecord {
    let Linked { state, body_height, record, inherited, .. } = linked;
    let has_body = *body_height == Some(state.height);
    // A branch that came to nothing long ago was whole once and has given its bodies up.
    let was_let_go = record.arrival > 0 && !record.has_body && !has_body;
    let arrival = match inherited.is_whole && (has_body || was_let_go) {
        false => 0,
        true if record.arrival > 0 => record.arrival,
        true => {
            *last_arrival = last_arrival.saturating_add(1);
            *last_arrival
        }
    };
    let failed = match (inherited.failed, record.failed) {
        // A code of its own and no body: its bytes alone were wrong, whatever the coins.
        (_, Some(code)) if !has_body && code != inherited_code(code) => Some(code),
        (Some(parent), _) => Some(inherited_code(parent)),
        (None, Some(INVALIDATED)) => Some(INVALIDATED),
        // Judged on coins that may have been the damage: judged again.
        (None, _) => None,
    };
    HeaderRecord {
        header: record.header,
        height: state.height,
        work: state.work,
        clock: state.clock,
        lag: state.lag,
        has_body,
        arrival,
        failed,
    }
}
