//! The indexes that the operator may switch: transactions by txid, coins and history by lock.
//!
//! What a block adds to them follows from the block and the coins that it spends alone, so the
//! same rows are put when it connects, deleted when it disconnects, and made again from stored
//! blocks when an index is switched on.

use core::ops::{Bound, ControlFlow};
use std::collections::{BTreeMap, HashMap};

use ashlar_consensus::{CheckedBlock, Genesis, SpentCoins};
use ashlar_primitives::{
    Amount, Block, BlockId, Coin, CoinList, Decode as _, Lock, OutPoint, Output, Txid,
};

use crate::{
    care::{Progress, Stage, Watch},
    keys::{self, meta},
    records::{self, HistoryRecord, IndexBuildRecord, IndexRecord, TransactionRecord},
    store::{Batch, Direction, Durability, Family, Read, Store, StoreError},
};

/// How many bytes of rows a rebuild writes at once.
const BUILD_BATCH_BYTES: usize = 8 << 20;

/// How many coins a rebuild reads at once.
const BUILD_READ_COINS: usize = 16_384;

/// A row of an index.
pub(crate) type Row = (Family, Vec<u8>, Vec<u8>);

/// A transaction, or the coinbase, as the indexes see it.
struct Placed<'a> {
    txid: Txid,
    inputs: &'a [OutPoint],
    outputs: &'a [Output],
}

/// The rows of `transactions` and `lock_history` that a block makes.
pub(crate) fn rows(
    block: &CheckedBlock,
    height: u32,
    spent: &SpentCoins,
    indexes: IndexRecord,
) -> Result<Vec<Row>, StoreError> {
    let coinbase = Placed {
        txid: block.coinbase_id().into(),
        inputs: &[],
        outputs: &block.coinbase().outputs,
    };
    let transactions = block.transactions().iter().map(|checked| {
        let transaction = checked.transaction();
        Placed { txid: checked.txid(), inputs: &transaction.inputs, outputs: &transaction.outputs }
    });
    placed_rows(std::iter::once(coinbase).chain(transactions), height, spent, indexes)
}

/// [`rows`] of a block that is decoded and no more.
pub(crate) fn plain_rows(
    block: &Block,
    height: u32,
    spent: &SpentCoins,
    indexes: IndexRecord,
) -> Result<Vec<Row>, StoreError> {
    let coinbase =
        Placed { txid: block.coinbase.id().into(), inputs: &[], outputs: &block.coinbase.outputs };
    let transactions = block.transactions.iter().map(|transaction| Placed {
        txid: transaction.txid(),
        inputs: &transaction.inputs,
        outputs: &transaction.outputs,
    });
    placed_rows(std::iter::once(coinbase).chain(transactions), height, spent, indexes)
}

fn placed_rows<'a>(
    placed: impl Iterator<Item = Placed<'a>>,
    height: u32,
    spent: &SpentCoins,
    indexes: IndexRecord,
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    let mut made = HashMap::new();
    for (position, transaction) in (0_u32..).zip(placed) {
        if indexes.transactions {
            let place = TransactionRecord { height, position };
            let key = keys::transaction(&transaction.txid);
            rows.push((Family::Transactions, key, place.to_value()));
        }
        if indexes.locks {
            history(&transaction, height, position, spent, &mut made, &mut rows)?;
        }
    }
    Ok(rows)
}

/// [`rows`] of the genesis block.
pub(crate) fn genesis_rows(
    genesis: &Genesis,
    indexes: IndexRecord,
) -> Result<Vec<Row>, StoreError> {
    plain_rows(genesis.block(), 0, &SpentCoins::default(), indexes)
}

/// What one transaction did to each lock that it touches.
fn history<'a>(
    transaction: &Placed<'a>,
    height: u32,
    position: u32,
    spent: &SpentCoins,
    made: &mut HashMap<Txid, &'a [Output]>,
    rows: &mut Vec<Row>,
) -> Result<(), StoreError> {
    let mut sums: BTreeMap<Lock, (Amount, Amount)> = BTreeMap::new();
    let over = || StoreError::corrupt("the amounts of a stored block are out of range");
    for outpoint in transaction.inputs {
        let inside = made.get(&outpoint.txid);
        let output = match inside.and_then(|outputs| outputs.get(usize::from(outpoint.index))) {
            Some(output) => *output,
            None => spent.coins.get(outpoint).map(|coin| coin.output).ok_or_else(|| {
                StoreError::corrupt(format_args!(
                    "the undo record at height {height} lacks a coin of {}",
                    outpoint.txid
                ))
            })?,
        };
        let (_, sum) = sums.entry(output.lock).or_default();
        *sum = sum.checked_add(output.value).ok_or_else(over)?;
    }
    made.insert(transaction.txid, transaction.outputs);
    for output in transaction.outputs {
        // A coinbase output of no value makes no coin, so nothing happened to its lock.
        if output.value > Amount::ZERO {
            let (sum, _) = sums.entry(output.lock).or_default();
            *sum = sum.checked_add(output.value).ok_or_else(over)?;
        }
    }
    for (lock, (received, spent)) in sums {
        let record = HistoryRecord { txid: transaction.txid, received, spent };
        let key = keys::lock_history(&lock, height, position);
        rows.push((Family::LockHistory, key, record.to_value()));
    }
    Ok(())
}

/// The changes of `lock_coins` where coins go and come.
pub(crate) fn coin_rows<'a>(
    spent: &'a CoinList,
    created: &'a CoinList,
) -> impl Iterator<Item = (Family, Vec<u8>, Option<Vec<u8>>)> + 'a {
    let key = |(outpoint, coin): (&OutPoint, &Coin)| keys::lock_coin(&coin.output.lock, outpoint);
    let spent = spent.iter().map(move |entry| (Family::LockCoins, key(entry), None));
    let made = created.iter().map(move |entry| (Family::LockCoins, key(entry), Some(vec![])));
    spent.chain(made)
}

/// Makes what is stored match the settings: an index that is off is dropped, one that is on but
/// not complete is built from stored blocks. What was built when `watch` broke it off, or a crash
/// did, is taken up by the next call; until then the index is marked as not there.
pub(crate) fn reconcile(
    store: &impl Store,
    wanted: IndexRecord,
    tip: u32,
    watch: &mut Watch<'_>,
) -> Result<ControlFlow<()>, StoreError> {
    let stored = stored(store)?;
    let kept = IndexRecord {
        transactions: stored.transactions && wanted.transactions,
        locks: stored.locks && wanted.locks,
    };
    let missing = IndexRecord {
        transactions: wanted.transactions && !kept.transactions,
        locks: wanted.locks && !kept.locks,
    };
    let begun = store.get(Family::Meta, meta::INDEX_BUILD)?;
    let begun = begun.map(|value| IndexBuildRecord::from_value(&value)).transpose()?;
    let is_nothing_missing = missing == IndexRecord::default();
    let build = match begun {
        // Since then no block moved: a store with an index that is wanted and not complete has
        // no other way past this place than to complete it.
        Some(build) if build.indexes == missing && kept == stored && !is_nothing_missing => build,
        begun => {
            // From here on neither is trusted, so that what is left of it can be cleared.
            if kept != stored || begun.is_some() {
                mark(store, kept)?;
            }
            if !kept.transactions {
                store.clear(Family::Transactions)?;
            }
            if !kept.locks {
                store.clear(Family::LockCoins)?;
                store.clear(Family::LockHistory)?;
            }
            IndexBuildRecord { indexes: missing, ..IndexBuildRecord::default() }
        }
    };
    if is_nothing_missing {
        return Ok(ControlFlow::Continue(()));
    }
    let built = build_rows(store, build, tip, watch)?;
    if built.is_continue() {
        mark(store, wanted)?;
    }
    Ok(built)
}

/// Which indexes are complete.
pub(crate) fn stored(store: &impl Store) -> Result<IndexRecord, StoreError> {
    match store.get(Family::Meta, meta::INDEXES)? {
        Some(value) => IndexRecord::from_value(&value),
        None => Ok(IndexRecord::default()),
    }
}

/// These are complete, and no build goes on.
fn mark(store: &impl Store, indexes: IndexRecord) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.put(Family::Meta, meta::INDEXES.to_vec(), indexes.to_value());
    batch.delete(Family::Meta, meta::INDEX_BUILD.to_vec());
    store.commit(batch, Durability::Synced)
}

/// Rows, and in the same batch how far they go.
fn commit_build(
    store: &impl Store,
    mut rows: Batch,
    build: &IndexBuildRecord,
) -> Result<(), StoreError> {
    rows.put(Family::Meta, meta::INDEX_BUILD.to_vec(), build.to_value());
    store.commit(rows, Durability::Later)
}

fn build_rows(
    store: &impl Store,
    mut build: IndexBuildRecord,
    tip: u32,
    watch: &mut Watch<'_>,
) -> Result<ControlFlow<()>, StoreError> {
    let mut batch = Batch::default();
    while build.next_height <= tip {
        let height = build.next_height;
        let (block, spent) = stored_block(store, height)?;
        for (family, key, value) in plain_rows(&block, height, &spent, build.indexes)? {
            batch.put(family, key, value);
        }
        build.next_height = height.saturating_add(1);
        let (done, total) = (build.next_height.into(), u64::from(tip).saturating_add(1));
        let flow = watch(Progress { stage: Stage::IndexBlocks, done, total });
        if flow.is_break() || batch.size_bytes() >= BUILD_BATCH_BYTES {
            commit_build(store, std::mem::take(&mut batch), &build)?;
        }
        if flow.is_break() {
            return Ok(flow);
        }
    }
    commit_build(store, batch, &build)?;
    if build.indexes.locks {
        return build_lock_coins(store, build, watch);
    }
    Ok(ControlFlow::Continue(()))
}

fn build_lock_coins(
    store: &impl Store,
    mut build: IndexBuildRecord,
    watch: &mut Watch<'_>,
) -> Result<ControlFlow<()>, StoreError> {
    let mut done: u64 = 0;
    loop {
        // No coin's key is empty, so that this begins before the first.
        let range = (Bound::Excluded(build.last_coin.as_slice()), Bound::Unbounded);
        let page = store.scan(Family::Coins, range, BUILD_READ_COINS, Direction::Forward)?;
        let Some((last, _)) = page.last() else { return Ok(ControlFlow::Continue(())) };
        build.last_coin.clone_from(last);
        done = done.saturating_add(u64::try_from(page.len()).unwrap_or(0));
        let mut batch = Batch::default();
        for (key, value) in page {
            let outpoint = keys::read_coin(&key)?;
            let lock = records::read_coin(&value)?.output.lock;
            batch.put(Family::LockCoins, keys::lock_coin(&lock, &outpoint), vec![]);
        }
        commit_build(store, batch, &build)?;
        let flow = watch(Progress { stage: Stage::IndexCoins, done, total: 0 });
        if flow.is_break() {
            return Ok(flow);
        }
    }
}

/// A block of the best chain and what it spent.
fn stored_block(store: &impl Read, height: u32) -> Result<(Block, SpentCoins), StoreError> {
    let gone = |what| StoreError::corrupt(format_args!("{what} at height {height} is missing"));
    let id = store.get(Family::Heights, &keys::height(height))?;
    let id: BlockId = keys::read_block_id(&id.ok_or_else(|| gone("the block id"))?)?;
    let key = keys::block(&id);
    let bytes = store.get(Family::Blocks, &key)?.ok_or_else(|| gone("the block"))?;
    let block = Block::from_bytes(&bytes)
        .map_err(|error| StoreError::corrupt(format_args!("block {id}: {error}")))?;
    // The genesis block spends nothing and has no undo record.
    let spent = match store.get(Family::Undo, &key)? {
        Some(value) => records::read_undo(&value)?,
        None if height == 0 => SpentCoins::default(),
        None => return Err(gone("the undo record")),
    };
    Ok((block, spent))
}
