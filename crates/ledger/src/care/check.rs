//! Everything stored compared with everything else, and nothing changed.
//!
//! Headers are judged again from genesis, heights and tips compared with them; the coins are
//! summed and compared with the committed state; then, as deep as asked, the newest blocks are
//! undone in memory, or all of them replayed, and what they spent and did to the indexes is
//! compared with what is stored. What can't be read is a finding like any other.
//!
//! What takes long keeps its place in a [`Bookmark`], which is consistent whenever the check tells
//! of its progress: what it says to be done was compared, and its findings are noted.

use core::fmt;
use std::collections::BTreeSet;

use ashlar_consensus::{Genesis, HeaderState, signature::Workers};
use ashlar_primitives::BlockId;

use super::{
    Bookmark, CareError, Progress, Stage, Watch,
    bookmark::Part,
    check_owner,
    coins::sum_coins,
    count,
    forest::{Forest, Known},
    go_on, history_start, open_stored, reindex,
    replay::{replay, undo},
    scan::Scan,
};
use crate::{
    headers::{header_state, read_record, stored_times},
    keys::{self, meta},
    ledger::OpenLedgerError,
    records::{HeaderRecord, IndexRecord, StateRecord},
    store::{Family, Read, StoreError},
    tree::inherited_code,
};

/// Most findings that a report lists; the others are counted.
pub const MAX_FINDINGS: usize = 100;

/// Between two looks at progress while headers and heights are read.
const WATCH_HEADERS: u64 = 1_024;

/// How many of the blocks are judged with their bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// So many newest ones, undone from the tip.
    Blocks(u32),
    /// All of them, replayed from genesis, signatures included; and bodies of other branches.
    Full,
}

/// What mends a damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// `ashlar-node reindex`: what is damaged follows from stored bodies, or is fetched again.
    Reindex,
    /// A backup, or a new synchronisation.
    Resync,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reindex => "run `ashlar-node reindex`",
            Self::Resync => "restore a backup, or remove the data directory and sync again",
        })
    }
}

impl Remedy {
    /// The inverse of `as u8`.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        [Self::Reindex, Self::Resync].into_iter().find(|remedy| *remedy as u8 == number)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where, and what.
    pub what: String,
    /// What to do about it.
    pub remedy: Remedy,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Height and block at which the state says that the chain stands, where it can be read.
    pub tip: Option<(u32, BlockId)>,
    /// Headers that were judged again.
    pub headers: u64,
    /// Coins that were summed.
    pub coins: u64,
    /// Blocks that were undone or replayed.
    pub blocks: u64,
    /// What is wrong, in the order of finding; up to [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub unlisted: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// The one thing to do about all of it; `None` where nothing is wrong.
    pub fn remedy(&self) -> Option<Remedy> {
        self.findings.iter().map(|finding| finding.remedy).max()
    }
}

/// What lets a check go on where another one was interrupted.
pub struct Bookmarks<'a> {
    /// Two stores of one version hold the same ([`crate::RocksReader::version`]).
    pub version: u64,
    /// Where the other one was; one that does not fit this check is passed over.
    pub from: Option<Bookmark>,
    /// Told often how far this one is; `true` the last time, when it is about to be interrupted.
    pub keep: &'a mut Keep<'a>,
}

impl fmt::Debug for Bookmarks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, from, .. } = self;
        f.debug_struct("Bookmarks").field("version", version).field("from", from).finish()
    }
}

/// Keeps a bookmark, or lets it pass.
pub type Keep<'a> = dyn FnMut(&Bookmark, bool) + 'a;

/// A check on its way.
pub(super) struct Check<'a, R> {
    pub(super) store: &'a R,
    pub(super) genesis: &'a Genesis,
    /// How far, and what the part that is done now found; the first part's findings are moved
    /// elsewhere when it is through.
    pub(super) at: Bookmark,
    /// What mends what is found.
    remedy: Remedy,
    watch: &'a mut Watch<'a>,
    keep: &'a mut Keep<'a>,
}

/// Compares everything from the beginning; changes nothing. `workers` are
/// `verify_signatures`'.
///
/// # Errors
/// [`CareError::Interrupted`]; [`CareError::Open`] where the store is another chain's or
/// release's; [`CareError::Pruned`] for [`Depth::Full`] on a pruned store; [`CareError::Store`]
/// where the disk fails. Damage is no error: it is in the [`Report`].
pub fn check(
    store: &impl Read,
    genesis: &Genesis,
    depth: Depth,
    workers: &mut impl Workers,
    watch: &mut Watch<'_>,
) -> Result<Report, CareError> {
    let mut keep = |_: &Bookmark, _: bool| {};
    let bookmarks = Bookmarks { version: 0, from: None, keep: &mut keep };
    check_on(store, genesis, depth, bookmarks, workers, watch)
}

/// [`check`], which goes on where one was interrupted and can itself be gone on with.
///
/// # Errors
/// Those of [`check`].
pub fn check_on(
    store: &impl Read,
    genesis: &Genesis,
    depth: Depth,
    bookmarks: Bookmarks<'_>,
    workers: &mut impl Workers,
    watch: &mut Watch<'_>,
) -> Result<Report, CareError> {
    check_owner(store, genesis)?;
    let history_start = history_start(store)?;
    if depth == Depth::Full && history_start > 0 {
        return Err(CareError::Pruned { history_start });
    }
    if reindex::is_resetting(store)? {
        return Err(OpenLedgerError::Reindexing.into());
    }
    // What a pruned store has lost can't be made anew from the bodies that are left.
    let remedy = if history_start > 0 { Remedy::Resync } else { Remedy::Reindex };
    let Bookmarks { version, from, keep } = bookmarks;
    let at = Bookmark::new(depth, version);
    let mut check = Check { store, genesis, at, remedy, watch, keep };

    // Also what newer tables hide: rot there waits for a compaction.
    let meta = Scan::new(store, Family::Meta).try_for_each(|entry| entry.map(drop));
    check.settle(meta.map_err(CareError::from))?;
    let claimed = check.headers(depth);
    let claimed = check.settle(claimed)?.unwrap_or_default();
    let state = check.state()?;
    let tip = match &state {
        Some(state) => {
            let tip = check.heights(state, history_start);
            check.settle(tip)?.flatten()
        }
        None => None,
    };
    let first = std::mem::take(&mut check.at.report);

    if let Some(from) = from.filter(|from| from.fits(depth, version).is_ok()) {
        check.at = from;
    }
    if depth == Depth::Full && check.at.enter(Part::Bodies) {
        let bodies = check.bodies(&claimed);
        check.settle(bodies)?;
    }
    if let Some(state) = &state
        && check.at.enter(Part::Coins)
    {
        let summed = sum_coins(&mut check, state);
        check.settle(summed)?;
    }
    if let Some((state, tip)) = state.zip(tip)
        && check.at.enter(Part::Blocks)
    {
        let indexes = check.indexes();
        let indexes = check.settle(indexes)?.unwrap_or_default();
        let judged = match depth {
            Depth::Blocks(blocks) => {
                let lowest = tip.height.saturating_sub(blocks).saturating_add(1);
                undo(&mut check, &state, &tip, lowest.max(history_start).max(1), indexes)
            }
            Depth::Full => replay(&mut check, &state, &tip, indexes, workers),
        };
        check.settle(judged)?;
    }
    Ok(first.followed_by(check.at.report))
}

impl Report {
    /// Of the first part, and of all that came after it.
    fn followed_by(mut self, later: Self) -> Self {
        let room = MAX_FINDINGS.saturating_sub(self.findings.len());
        let over = count(later.findings.len().saturating_sub(room));
        self.findings.extend(later.findings.into_iter().take(room));
        let unlisted = self.unlisted.saturating_add(later.unlisted).saturating_add(over);
        Self { coins: later.coins, blocks: later.blocks, unlisted, ..self }
    }
}

impl<R: Read> Check<'_, R> {
    /// Something is wrong.
    pub(super) fn found(&mut self, what: impl fmt::Display) {
        let report = &mut self.at.report;
        if report.findings.len() < MAX_FINDINGS {
            report.findings.push(Finding { what: what.to_string(), remedy: self.remedy });
        } else {
            report.unlisted = report.unlisted.saturating_add(1);
        }
    }

    /// Tells how far it is, and keeps the place where that can be gone on from.
    pub(super) fn tell(&mut self, stage: Stage, done: u64, total: u64) -> Result<(), CareError> {
        let flow = (self.watch)(Progress { stage, done, total });
        if self.at.part > Part::Headers {
            (self.keep)(&self.at, flow.is_break());
        }
        go_on(flow)
    }

    /// What can't be read is a finding; `None` then.
    pub(super) fn settle<T>(&mut self, part: Result<T, CareError>) -> Result<Option<T>, CareError> {
        match part {
            Ok(value) => Ok(Some(value)),
            Err(CareError::Store(StoreError::Corrupt { what })) => {
                self.found(what);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn state(&mut self) -> Result<Option<StateRecord>, CareError> {
        let state = self.store.get(Family::Meta, meta::STATE).and_then(|value| {
            let value = value.ok_or_else(|| StoreError::corrupt("the state record is missing"))?;
            StateRecord::from_value(&value)
        });
        self.settle(state.map_err(CareError::from))
    }

    /// Which indexes claim to be complete.
    fn indexes(&mut self) -> Result<IndexRecord, CareError> {
        let value = self.store.get(Family::Meta, meta::INDEXES)?;
        Ok(value.map(|value| IndexRecord::from_value(&value)).transpose()?.unwrap_or_default())
    }

    /// Records against the rules and each other, and tips; in full, the ids, in order, of headers
    /// that claim to have a body.
    fn headers(&mut self, depth: Depth) -> Result<Vec<BlockId>, CareError> {
        let mut known = Vec::new();
        let mut claimed = Vec::new();
        for entry in Scan::new(self.store, Family::Headers) {
            let (key, value) = entry?;
            let id = keys::read_block_id(&key)?;
            match HeaderRecord::from_value(&value) {
                Ok(record) if record.header.id() == id => {
                    if id != self.genesis.params().chain_id {
                        known.push(Known::new(id, record.header.parent));
                        if record.has_body && depth == Depth::Full {
                            claimed.push(id);
                        }
                    }
                }
                Ok(_) => self.found(format_args!("the record of header {id} holds another header")),
                Err(error) => self.found(error),
            }
            if count(known.len()).is_multiple_of(WATCH_HEADERS) {
                self.tell(Stage::ReadHeaders, count(known.len()), 0)?;
            }
        }
        self.tree(Forest::new(known))?;
        Ok(claimed)
    }

    /// Each stored body belongs to its header; each header that claims one has it.
    fn bodies(&mut self, claimed: &[BlockId]) -> Result<(), CareError> {
        let params = self.genesis.params();
        let total = count(claimed.len());
        let from =
            claimed.partition_point(|id| id.as_bytes().as_slice() <= self.at.last.as_slice());
        let mut done = count(from);
        let mut missing = claimed.iter().skip(from).peekable();
        for entry in Scan::after(self.store, Family::Blocks, &self.at.last.clone()) {
            let (key, value) = entry?;
            let id = keys::read_block_id(&key)?;
            while let Some(id) = missing.next_if(|claimed| **claimed < id) {
                self.found(format_args!("the body of block {id} is missing"));
            }
            missing.next_if_eq(&&id);
            if id != params.chain_id
                && let Err(error) = open_stored(params, &id, &value)
            {
                self.found(error_text(error)?);
            }
            done = done.saturating_add(1);
            self.at.last = key;
            self.tell(Stage::ReadBodies, done, total)?;
        }
        for id in missing {
            self.found(format_args!("the body of block {id} is missing"));
        }
        Ok(())
    }

    fn tree(&mut self, mut forest: Forest) -> Result<(), CareError> {
        let (store, genesis) = (self.store, self.genesis);
        let total = count(forest.len());
        let mut tips = BTreeSet::new();
        let root = (&genesis.state().header, (1, None));
        let has_children = forest.visit(store, genesis.params(), root, |linked| {
            let done = self.at.report.headers.saturating_add(1);
            self.at.report.headers = done;
            if done.is_multiple_of(WATCH_HEADERS) {
                self.tell(Stage::JudgeHeaders, done, total)?;
            }
            let (state, record) = (&linked.state, &linked.record);
            let (parent_arrival, parent_failed): (u64, Option<&'static str>) = linked.inherited;
            let id = state.id;
            if !agrees(state, record) {
                self.found(format_args!(
                    "the record of header {id} at height {} is not what the rules make of it",
                    state.height
                ));
            }
            if record.arrival > 0 && parent_arrival == 0 {
                self.found(format_args!("block {id} is said to be whole, and its parent is not"));
            }
            let is_pruned = record.arrival > 0;
            if parent_arrival > 0 && record.has_body && !is_pruned {
                self.found(format_args!("block {id} is whole, and said not to be"));
            }
            if parent_failed.is_some() && record.failed.is_none() {
                // Blocks above a failed one learn of it when they are looked at.
                let inherited = parent_failed.map(inherited_code);
                return Ok((record.arrival, inherited));
            }
            if linked.is_tip {
                tips.insert(id);
            }
            Ok::<_, CareError>((record.arrival, record.failed))
        })?;
        for id in forest.unlinked() {
            self.found(format_args!("no valid way leads from genesis to header {id}"));
        }
        if !has_children {
            tips.insert(genesis.params().chain_id);
        }
        self.tips(&tips)
    }

    fn tips(&mut self, tips: &BTreeSet<BlockId>) -> Result<(), CareError> {
        let mut stored = BTreeSet::new();
        for entry in Scan::new(self.store, Family::Tips) {
            stored.insert(keys::read_block_id(&entry?.0)?);
        }
        for id in stored.difference(tips) {
            self.found(format_args!("header {id} is listed as a tip, and is none"));
        }
        for id in tips.difference(&stored) {
            self.found(format_args!("header {id} is a tip, and is not listed as one"));
        }
        Ok(())
    }

    /// One block for each height up to the state's tip, each the child of the one below, with a
    /// body from the start of history on; the tip's header state.
    fn heights(
        &mut self,
        state: &StateRecord,
        history_start: u32,
    ) -> Result<Option<HeaderState>, CareError> {
        let lost = || StoreError::corrupt(format_args!("no header of the tip {}", state.tip));
        let tip = read_record(self.store, &state.tip)?.ok_or_else(lost)?;
        self.at.report.tip = Some((tip.height, state.tip));
        let mut expected: u32 = 0;
        let mut below = BlockId::ZERO;
        let mut is_chain = true;
        for entry in Scan::new(self.store, Family::Heights) {
            let (key, value) = entry?;
            let (height, id) = (keys::read_height(&key)?, keys::read_block_id(&value)?);
            if height > tip.height {
                self.found(format_args!("height {height} lies above the tip and has a block"));
                continue;
            }
            let record = read_record(self.store, &id)?;
            let is_child = record.as_ref().is_some_and(|r| r.header.parent == below);
            if height != expected || !is_child {
                self.found(format_args!("the chain breaks at height {expected}: no block there"));
                is_chain = false;
                break;
            }
            if height > 0
                && height >= history_start
                && record.is_some_and(|record| !record.has_body)
            {
                self.found(format_args!("block {id} at height {height} is said to have no body"));
            }
            if u64::from(height).is_multiple_of(WATCH_HEADERS) {
                self.tell(Stage::ReadHeights, height.into(), tip.height.into())?;
            }
            below = id;
            expected = height.saturating_add(1);
        }
        if !is_chain || below != state.tip || expected != tip.height.saturating_add(1) {
            self.found(format_args!("the heights do not lead to the tip {}", state.tip));
            return Ok(None);
        }
        let times = stored_times(self.store, &tip.header)?;
        Ok(Some(header_state(state.tip, &tip, times)))
    }
}

/// Damage in words; other errors stay errors.
pub(super) fn error_text(error: StoreError) -> Result<String, StoreError> {
    match error {
        StoreError::Corrupt { what } => Ok(what),
        other => Err(other),
    }
}

fn agrees(state: &HeaderState, record: &HeaderRecord) -> bool {
    (state.height, state.work, state.clock, state.lag)
        == (record.height, record.work, record.clock, record.lag)
}
