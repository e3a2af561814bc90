//! What readers see: one consistent picture of a published tip.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use ashlar_consensus::{HeaderState, Params, SpentCoins, State, Work};
use ashlar_primitives::{
    Amount, Block, BlockId, Coin, Commitment, Decode as _, Encode as _, Header, Lock, OutPoint,
    Txid,
};

use crate::{
    headers::{header_state, missing, read_record, record_of, stored_times},
    keys,
    milestones::{self, Place},
    prune::History,
    records::{self, HeaderRecord, HistoryRecord, IndexRecord, Totals, TransactionRecord},
    store::{Direction, Entry, Family, Read, StoreError},
};

/// Most branches that [`View::chain_tips`] tells. Each cost the work of a block.
pub const MAX_CHAIN_TIPS: usize = 10_000;

/// A published tip and a snapshot of the store under it. Cheap to share by `Arc`, readable from
/// any thread; it keeps its answers however the chain goes on. Headers and bodies of other
/// branches are seen as they were when the view was made.
#[derive(Clone)]
pub struct View {
    pub(crate) params: Arc<Params>,
    pub(crate) snapshot: Arc<dyn Read>,
    pub(crate) tip: HeaderState,
    pub(crate) sequence: u64,
    pub(crate) utxo_commitment: Commitment,
    pub(crate) totals: Totals,
    pub(crate) indexes: IndexRecord,
    pub(crate) history: History,
    pub(crate) prune_bytes: Option<u64>,
}

/// A header with what the tree knows of it.
#[derive(Clone, Debug)]
pub struct StoredHeader {
    /// As mined.
    pub header: Header,
    /// 0 for the genesis block.
    pub height: u32,
    /// Of the whole branch, the genesis block's included.
    pub work: Work,
    /// The highest time on the branch (PROTOCOL.md §5).
    pub clock: u32,
    /// Seconds that the branch is behind schedule (§5).
    pub lag: i64,
    /// The code with which the block is remembered as failed.
    pub failed: Option<&'static str>,
    /// Whether the body is stored.
    pub has_body: bool,
}

/// A tip of a branch, as `getchaintips` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainTip {
    /// The last header of the branch.
    pub id: BlockId,
    /// Its height.
    pub height: u32,
    /// Blocks since the branch left the published chain; 0 for the published tip.
    pub branch_len: u32,
    /// How far the branch was judged.
    pub status: TipStatus,
}

/// As Bitcoin Core names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TipStatus {
    /// The published tip.
    Active,
    /// Was connected once, and valid.
    ValidFork,
    /// All bodies are here, not judged with state.
    ValidHeaders,
    /// Bodies are missing.
    HeadersOnly,
    /// It or an ancestor failed.
    Invalid,
    /// It waits for the operator ([`crate::Settings::reorg_hold`]).
    Held,
}

/// A coin with where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedCoin {
    /// Its name.
    pub outpoint: OutPoint,
    /// Itself.
    pub coin: Coin,
}

/// One line of a lock's history: what one transaction did to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Of the block.
    pub height: u32,
    /// In the block: 0 is the coinbase, the transactions follow from 1.
    pub position: u32,
    /// The transaction, or coinbase.
    pub txid: Txid,
    /// Sum of its outputs to the lock.
    pub received: Amount,
    /// Sum of the lock's coins that it spends.
    pub spent: Amount,
    /// Whether it is the block's coinbase (or the allocations of the genesis block).
    pub is_coinbase: bool,
}

/// Opaque place in a paged list: where the last page ended. Any bytes are harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// A page and where the next one starts, where there is one.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Give it to ask for the next page; `None` at the end.
    pub next: Option<Cursor>,
}

/// A question that this node can't answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Switched off by the operator (`index-off`).
    #[error("the {index} index is off; start the node with it on")]
    IndexOff {
        /// `transaction` or `lock`.
        index: &'static str,
    },
    /// We are broken.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl View {
    /// The chain's.
    pub const fn params(&self) -> &Arc<Params> {
        &self.params
    }
    /// The published tip.
    pub const fn tip(&self) -> &HeaderState {
        &self.tip
    }
    /// Rises by one with each published view of a run.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }
    /// Of the set after the tip (PROTOCOL.md §6).
    pub const fn utxo_commitment(&self) -> Commitment {
        self.utxo_commitment
    }
    /// All that judging a child of the tip needs, its coins apart: what a template is checked
    /// against.
    pub fn state(&self) -> Result<State, StoreError> {
        let lost = || StoreError::corrupt("the state record is missing");
        let value = self.snapshot.get(Family::Meta, keys::meta::STATE)?.ok_or_else(lost)?;
        let record = records::StateRecord::from_value(&value)?;
        Ok(State { header: self.tip.clone(), utxo: record.utxo })
    }
    /// Unspent coins.
    pub const fn coin_count(&self) -> u64 {
        self.totals.coins
    }
    /// Sum of all coins.
    pub const fn coin_total(&self) -> Amount {
        self.totals.value
    }
    /// Everything that coinbases of this chain ever claimed, allocations not counted.
    pub const fn claimed_total(&self) -> Amount {
        self.totals.claimed
    }
    /// Whether [`View::transaction_place`] can answer.
    pub const fn transaction_index(&self) -> bool {
        self.indexes.transactions
    }
    /// Whether [`View::lock_coins`] and [`View::lock_history`] can answer.
    pub const fn lock_index(&self) -> bool {
        self.indexes.locks
    }

    /// How much of the past this node keeps. Below [`History::start`] there are no bodies, no
    /// history of locks and no places of transactions, those of the genesis block apart.
    pub const fn history(&self) -> History {
        self.history
    }
    /// The budget for bodies and undo records, in bytes; `None`: all are kept from now on.
    pub const fn prune_bytes(&self) -> Option<u64> {
        self.prune_bytes
    }

    /// The block of the published chain at a height; `None` above the tip.
    pub fn block_id_at(&self, height: u32) -> Result<Option<BlockId>, StoreError> {
        let value = self.snapshot.get(Family::Heights, &keys::height(height))?;
        value.map(|value| keys::read_block_id(&value)).transpose()
    }

    fn record(&self, id: &BlockId) -> Result<Option<HeaderRecord>, StoreError> {
        read_record(&*self.snapshot, id)
    }

    /// A header on any stored branch.
    pub fn header(&self, id: &BlockId) -> Result<Option<StoredHeader>, StoreError> {
        Ok(self.record(id)?.map(|record| StoredHeader {
            header: record.header,
            height: record.height,
            work: record.work,
            clock: record.clock,
            lag: record.lag,
            failed: record.failed,
            has_body: record.has_body,
        }))
    }

    /// Whether the block is on the published chain.
    pub fn is_active(&self, id: &BlockId) -> Result<bool, StoreError> {
        match self.record(id)? {
            Some(record) => Ok(self.block_id_at(record.height)? == Some(*id)),
            None => Ok(false),
        }
    }

    /// A block on any stored branch; `None` where the body is not here.
    pub fn block(&self, id: &BlockId) -> Result<Option<Block>, StoreError> {
        let Some(bytes) = self.block_bytes(id)? else { return Ok(None) };
        let block = Block::from_bytes(&bytes)
            .map_err(|error| StoreError::corrupt(format_args!("block {id}: {error}")))?;
        Ok(Some(block))
    }

    /// The encoding of [`View::block`].
    pub fn block_bytes(&self, id: &BlockId) -> Result<Option<Vec<u8>>, StoreError> {
        self.snapshot.get(Family::Blocks, &keys::block(id))
    }

    /// Of the header `id`, on any stored branch: for difficulty and median time queries.
    pub fn header_state(&self, id: &BlockId) -> Result<Option<HeaderState>, StoreError> {
        let Some(record) = self.record(id)? else { return Ok(None) };
        let times = stored_times(&*self.snapshot, &record.header)?;
        Ok(Some(header_state(*id, &record, times)))
    }

    /// The unspent coin of that name.
    pub fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, StoreError> {
        let value = self.snapshot.get(Family::Coins, &keys::coin(outpoint))?;
        value.map(|value| records::read_coin(&value)).transpose()
    }

    /// In the order of `outpoints`, which may be any, with repeats.
    pub fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Option<Coin>>, StoreError> {
        let mut sorted = outpoints.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let asked: Vec<Vec<u8>> = sorted.iter().map(keys::coin).collect();
        let found = self.snapshot.get_many(Family::Coins, &asked)?;
        let found = found
            .into_iter()
            .map(|value| value.map(|value| records::read_coin(&value)).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let place = |outpoint| {
            let place = sorted.binary_search(outpoint).ok()?;
            found.get(place).copied().flatten()
        };
        Ok(outpoints.iter().map(place).collect())
    }

    /// What a block spent from outside itself; `None` where that is not kept: it never was
    /// connected, was pruned, or is the genesis block.
    pub fn spent_coins(&self, id: &BlockId) -> Result<Option<SpentCoins>, StoreError> {
        let value = self.snapshot.get(Family::Undo, &keys::block(id))?;
        value.map(|value| records::read_undo(&value)).transpose()
    }

    /// All unspent coins, by outpoint, whatever locks them.
    pub fn all_coins(
        &self,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<LocatedCoin>, StoreError> {
        let start = after.map_or(Bound::Unbounded, |Cursor(key)| Bound::Excluded(key.as_slice()));
        let range = (start, Bound::Unbounded);
        // One more than asked for tells whether there is a next page.
        let limit_and_one = limit.saturating_add(1);
        let mut entries =
            self.snapshot.scan(Family::Coins, range, limit_and_one, Direction::Forward)?;
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        let mut items = Vec::with_capacity(entries.len());
        for (key, value) in &entries {
            let (outpoint, coin) = (keys::read_coin(key)?, records::read_coin(value)?);
            items.push(LocatedCoin { outpoint, coin });
        }
        let next = entries.pop().filter(|_| has_more).map(|(key, _)| Cursor(key));
        Ok(Page { items, next })
    }

    /// Where a confirmed transaction (or coinbase) stands: height and position (0 is the coinbase).
    pub fn transaction_place(&self, txid: &Txid) -> Result<Option<(u32, u32)>, QueryError> {
        if !self.transaction_index() {
            return Err(QueryError::IndexOff { index: "transaction" });
        }
        let value = self.snapshot.get(Family::Transactions, &keys::transaction(txid))?;
        let place = value.map(|value| TransactionRecord::from_value(&value)).transpose()?;
        Ok(place.map(|place| (place.height, place.position)))
    }

    /// The unspent coins under a lock, by outpoint.
    pub fn lock_coins(
        &self,
        lock: &Lock,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<LocatedCoin>, QueryError> {
        let (entries, next) =
            self.lock_page(Family::LockCoins, lock, after, limit, Direction::Forward)?;
        let mut outpoints = Vec::with_capacity(entries.len());
        for (suffix, _) in entries {
            outpoints.push(keys::read_coin(&suffix)?);
        }
        let mut items = Vec::with_capacity(outpoints.len());
        for (outpoint, coin) in outpoints.iter().zip(self.coins(&outpoints)?) {
            let coin = coin.ok_or_else(|| {
                StoreError::corrupt(format_args!(
                    "the lock index names a coin of {} that is not there",
                    outpoint.txid
                ))
            })?;
            items.push(LocatedCoin { outpoint: *outpoint, coin });
        }
        Ok(Page { items, next })
    }

    /// What happened to a lock, newest first.
    pub fn lock_history(
        &self,
        lock: &Lock,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, QueryError> {
        let (entries, next) =
            self.lock_page(Family::LockHistory, lock, after, limit, Direction::Backward)?;
        let mut items = Vec::with_capacity(entries.len());
        for (suffix, value) in entries {
            let (height, position) = keys::read_history_place(&suffix)?;
            let HistoryRecord { txid, received, spent } = HistoryRecord::from_value(&value)?;
            let is_coinbase = position == 0;
            items.push(HistoryEntry { height, position, txid, received, spent, is_coinbase });
        }
        Ok(Page { items, next })
    }

    /// Entries under a lock, their keys without it. A cursor is such a key, so that no cursor
    /// leads out of the lock's own entries.
    fn lock_page(
        &self,
        family: Family,
        lock: &Lock,
        after: Option<&Cursor>,
        limit: usize,
        direction: Direction,
    ) -> Result<(Vec<Entry>, Option<Cursor>), QueryError> {
        if !self.lock_index() {
            return Err(QueryError::IndexOff { index: "lock" });
        }
        let prefix = lock.to_bytes();
        let mut start = Bound::Included(prefix.clone());
        let mut end = keys::prefix_end(&prefix);
        if let Some(Cursor(suffix)) = after {
            let seen = Bound::Excluded([prefix.as_slice(), suffix.as_slice()].concat());
            match direction {
                Direction::Forward => start = seen,
                Direction::Backward => end = seen,
            }
        }
        let range = (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
        // One more than asked for tells whether there is a next page.
        let mut entries = self.snapshot.scan(family, range, limit.saturating_add(1), direction)?;
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        for (key, _) in &mut entries {
            key.drain(..prefix.len().min(key.len()));
        }
        let next = entries.last().filter(|_| has_more).map(|(suffix, _)| Cursor(suffix.clone()));
        Ok((entries, next))
    }

    /// Every branch, the published one first, then by id, up to [`MAX_CHAIN_TIPS`].
    pub fn chain_tips(&self) -> Result<Vec<ChainTip>, StoreError> {
        let mut tips = vec![ChainTip {
            id: self.tip.id,
            height: self.tip.height,
            branch_len: 0,
            status: TipStatus::Active,
        }];
        let all = (Bound::Unbounded, Bound::Unbounded);
        let stored = self.snapshot.scan(Family::Tips, all, MAX_CHAIN_TIPS, Direction::Forward)?;
        for (key, _) in stored {
            let id = keys::read_block_id(&key)?;
            if id != self.tip.id {
                tips.push(self.side_tip(id)?);
            }
        }
        Ok(tips)
    }

    fn side_tip(&self, id: BlockId) -> Result<ChainTip, StoreError> {
        let tip = self.record(&id)?.ok_or_else(|| missing(&id))?;
        let status = if tip.failed == Some(records::HELD) {
            TipStatus::Held
        } else if tip.failed.is_some() {
            TipStatus::Invalid
        } else if tip.arrival == 0 || !tip.has_body {
            TipStatus::HeadersOnly
        } else if self.snapshot.get(Family::Undo, &keys::block(&id))?.is_some() {
            TipStatus::ValidFork
        } else {
            TipStatus::ValidHeaders
        };
        let is_beside = |place: Place| Ok(self.block_id_at(place.height)? != Some(place.id));
        let mut at = Place { id, height: tip.height };
        while is_beside(at)? {
            let parent = || Ok(self.record(&at.id)?.ok_or_else(|| missing(&at.id))?.header.parent);
            at = milestones::lower(at, milestones::read(&*self.snapshot, at)?, parent, is_beside)?;
        }
        let branch_len = tip.height.saturating_sub(at.height);
        Ok(ChainTip { id, height: tip.height, branch_len, status })
    }

    /// PROTOCOL.md §12 tag 1: up to `limit` headers in chain order after the first entry of
    /// `locator` on this chain (after genesis if none is), up to and including `stop`.
    pub fn headers_after(
        &self,
        locator: &[BlockId],
        stop: Option<&BlockId>,
        limit: usize,
    ) -> Result<Vec<Header>, StoreError> {
        let mut from = 0;
        for id in locator {
            if let Some(record) = self.record(id)?
                && self.block_id_at(record.height)? == Some(*id)
            {
                from = record.height;
                break;
            }
        }
        let start = keys::height(from);
        let range = (Bound::Excluded(start.as_slice()), Bound::Unbounded);
        let mut ids = Vec::new();
        for (_, id) in self.snapshot.scan(Family::Heights, range, limit, Direction::Forward)? {
            ids.push(keys::read_block_id(&id)?);
            if stop == ids.last() {
                break;
            }
        }
        self.headers(&ids)
    }

    /// Stored headers in the order of `ids`, in one read.
    fn headers(&self, ids: &[BlockId]) -> Result<Vec<Header>, StoreError> {
        let mut sorted: Vec<Vec<u8>> = ids.iter().map(keys::block).collect();
        sorted.sort_unstable();
        let mut found = BTreeMap::new();
        let values = self.snapshot.get_many(Family::Headers, &sorted)?;
        for (id, value) in sorted.into_iter().zip(values) {
            let id = keys::read_block_id(&id)?;
            let value = value.ok_or_else(|| missing(&id))?;
            found.insert(id, record_of(&id, &value)?.header);
        }
        Ok(ids.iter().filter_map(|id| found.get(id).copied()).collect())
    }
}

impl core::fmt::Debug for View {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "View({} at {})", self.tip.id, self.tip.height)
    }
}
