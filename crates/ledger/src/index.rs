//! The indexes that the operator may switch: transactions by txid, coins and history by lock.
//!
//! What a block adds to them follows from the block and the coins that it spends alone, so the
//! same rows are put when it connects, deleted when it disconnects, and made again from stored
//! blocks when an index is switched on.

use std::{collections::BTreeMap, ops::Bound};

use ashlar_consensus::{CheckedBlock, SpentCoins, UtxoDiff};
use ashlar_primitives::{Amount, Block, BlockId, Coin, Decode as _, Lock, OutPoint, Output, Txid};

use crate::{
    keys::{self, meta},
    records::{self, HistoryRecord, IndexRecord, TransactionRecord},
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
fn plain_rows(
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
    let mut made: BTreeMap<OutPoint, Output> = BTreeMap::new();
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

/// What one transaction did to each lock that it touches.
fn history(
    transaction: &Placed<'_>,
    height: u32,
    position: u32,
    spent: &SpentCoins,
    made: &mut BTreeMap<OutPoint, Output>,
    rows: &mut Vec<Row>,
) -> Result<(), StoreError> {
    let mut sums: BTreeMap<Lock, (Amount, Amount)> = BTreeMap::new();
    let over = || StoreError::corrupt("the amounts of a stored block are out of range");
    for outpoint in transaction.inputs {
        let output = match made.get(outpoint) {
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
    for (index, output) in (0_u16..=u16::MAX).zip(transaction.outputs) {
        made.insert(OutPoint { txid: transaction.txid, index }, *output);
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

/// The changes of `lock_coins` that a diff makes.
pub(crate) fn coin_rows(
    diff: &UtxoDiff,
) -> impl Iterator<Item = (Family, Vec<u8>, Option<Vec<u8>>)> + '_ {
    let key = |(outpoint, coin): (&OutPoint, &Coin)| keys::lock_coin(&coin.output.lock, outpoint);
    let spent = diff.spent.iter().map(move |entry| (Family::LockCoins, key(entry), None));
    let made = diff.created.iter().map(move |entry| (Family::LockCoins, key(entry), Some(vec![])));
    spent.chain(made)
}

/// Makes what is stored match the settings: an index that is off is dropped, one that is on but
/// not complete is built from stored blocks. A crash in between leaves the index marked as not
/// there, and the next start begins it anew.
pub(crate) fn reconcile(
    store: &impl Store,
    wanted: IndexRecord,
    tip: u32,
) -> Result<(), StoreError> {
    let stored = match store.get(Family::Meta, meta::INDEXES)? {
        Some(value) => IndexRecord::from_value(&value)?,
        None => IndexRecord::default(),
    };
    let kept = IndexRecord {
        transactions: stored.transactions && wanted.transactions,
        locks: stored.locks && wanted.locks,
    };
    if kept != stored {
        mark(store, kept)?;
    }
    if !kept.transactions {
        store.clear(Family::Transactions)?;
    }
    if !kept.locks {
        store.clear(Family::LockCoins)?;
        store.clear(Family::LockHistory)?;
    }
    let missing = IndexRecord {
        transactions: wanted.transactions && !kept.transactions,
        locks: wanted.locks && !kept.locks,
    };
    if missing != IndexRecord::default() {
        build(store, missing, tip)?;
        mark(store, wanted)?;
    }
    Ok(())
}

fn mark(store: &impl Store, indexes: IndexRecord) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.put(Family::Meta, meta::INDEXES.to_vec(), indexes.to_value());
    store.commit(batch, Durability::Synced)
}

fn build(store: &impl Store, missing: IndexRecord, tip: u32) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    for height in 0..=tip {
        let (block, spent) = stored_block(store, height)?;
        for (family, key, value) in plain_rows(&block, height, &spent, missing)? {
            batch.put(family, key, value);
        }
        if batch.size_bytes() >= BUILD_BATCH_BYTES {
            store.commit(std::mem::take(&mut batch), Durability::Later)?;
        }
    }
    store.commit(batch, Durability::Later)?;
    if missing.locks { build_lock_coins(store) } else { Ok(()) }
}

fn build_lock_coins(store: &impl Store) -> Result<(), StoreError> {
    let mut after = Bound::Unbounded;
    loop {
        let range = (after.as_ref().map(Vec::as_slice), Bound::Unbounded);
        let page = store.scan(Family::Coins, range, BUILD_READ_COINS, Direction::Forward)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Bound::Excluded(last.clone());
        let mut batch = Batch::default();
        for (key, value) in page {
            let outpoint = keys::read_coin(&key)?;
            let lock = records::read_coin(&value)?.output.lock;
            batch.put(Family::LockCoins, keys::lock_coin(&lock, &outpoint), vec![]);
        }
        store.commit(batch, Durability::Later)?;
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
