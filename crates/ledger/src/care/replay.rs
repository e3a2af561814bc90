//! Blocks undone or replayed in memory, in the memory of one block.
//!
//! A replay takes the coins that a block spends from its undo record, not from a set that it
//! would have to hold. That proves as much: the sums of PROTOCOL.md §6 are compared after each
//! block with what the next one commits to, and at the end with the stored coins, each of which
//! is there once; so every coin that was spent had been made before and was spent once.

use ashlar_consensus::{
    CheckedBlock, Genesis, HeaderState, Signatures, SpentCoins, State, UtxoDiff, check_header,
    connect::signature_error, disconnect, signature::Workers, verify_signatures, walk,
};
use ashlar_primitives::BlockId;
use std::collections::BTreeSet;

use super::{CareError, Stage, block_at, check::Check, coins::count_family, count, id_at};
use crate::{
    headers::{header_state, read_record, stored_times},
    index, keys,
    moves::{Way, totals_after},
    records::{self, IndexRecord, StateRecord, Totals},
    store::{Family, Read, StoreError},
};

/// What a block spent, as stored.
fn read_undo(store: &impl Read, id: &BlockId, height: u32) -> Result<SpentCoins, StoreError> {
    let value = store.get(Family::Undo, &keys::block(id))?;
    let lost = || {
        StoreError::corrupt(format_args!(
            "the undo record of block {id} at height {height} is missing"
        ))
    };
    records::read_undo(&value.ok_or_else(lost)?)
}

/// Undoes the blocks from the tip down to `lowest`, each against what it commits to.
pub(super) fn undo<R: Read>(
    check: &mut Check<'_, R>,
    state: &StateRecord,
    tip: &HeaderState,
    lowest: u32,
    indexes: IndexRecord,
) -> Result<(), CareError> {
    let params = check.genesis.params();
    let total = u64::from(tip.height.saturating_add(1).saturating_sub(lowest));
    if check.at.height == 0 {
        check.at.height = tip.height.saturating_add(1);
        check.at.utxo = state.utxo.clone();
    }
    for height in (lowest..check.at.height).rev() {
        let (id, block) = block_at(check.store, params, height)?;
        let spent = read_undo(check.store, &id, height)?;
        if !spent.coins.keys().eq(block.external_inputs()) {
            check.found(format_args!(
                "the undo record of block {id} at height {height} is another's"
            ));
            return Ok(());
        }
        let utxo = disconnect(&block, &spent).applied_to(&check.at.utxo);
        if utxo.commitment() != block.coinbase().utxo_commitment {
            check.found(format_args!(
                "undoing block {id} at height {height} does not give the coins that it commits to: its undo record or the state is damaged"
            ));
            return Ok(());
        }
        compare_rows(check, index::rows(&block, height, &spent, indexes)?, height)?;
        (check.at.height, check.at.utxo) = (height, utxo);
        let done = check.at.report.blocks.saturating_add(1);
        check.at.report.blocks = done;
        check.tell(Stage::UndoBlocks, done, total)?;
    }
    if lowest <= 1 && check.at.utxo != check.genesis.state().utxo {
        check.found("undoing all blocks does not give the coins of genesis");
    }
    Ok(())
}

/// Replays every block from genesis and compares where that ends with the state record.
pub(super) fn replay<R: Read>(
    check: &mut Check<'_, R>,
    stored: &StateRecord,
    tip: &HeaderState,
    indexes: IndexRecord,
    workers: &mut impl Workers,
) -> Result<(), CareError> {
    let mut state = if check.at.height == 0 {
        check.at.totals = genesis_totals(check.genesis)?;
        let rows = index::genesis_rows(check.genesis, indexes)?;
        check.at.rows = compare_rows(check, rows, 0)?;
        check.genesis.state().clone()
    } else {
        // Its header was judged by the rules a moment ago.
        let header = header_at(check.store, check.at.height)?;
        State { header, utxo: check.at.utxo.clone() }
    };
    for height in check.at.height.saturating_add(1)..=tip.height {
        let (id, block) = block_at(check.store, check.genesis.params(), height)?;
        let spent = read_undo(check.store, &id, height)?;
        let connected = connect(check, state, &block, &spent, workers);
        let Some((next, diff, claimed)) = check.settle(connected)? else { return Ok(()) };
        let totals = totals_after(check.at.totals, &diff, claimed, Way::Connect)?;
        let rows = index::rows(&block, height, &spent, indexes)?;
        let (transactions, history) = compare_rows(check, rows, height)?;
        state = next;
        let at = &mut check.at;
        (at.height, at.utxo, at.totals) = (height, state.utxo.clone(), totals);
        at.rows.0 = at.rows.0.saturating_add(transactions);
        at.rows.1 = at.rows.1.saturating_add(history);
        at.report.blocks = at.report.blocks.saturating_add(1);
        check.tell(Stage::ReplayBlocks, height.into(), tip.height.into())?;
    }
    let mut counted = Vec::new();
    for (family, name, is_on, expected) in [
        (Family::Transactions, "transaction", indexes.transactions, check.at.rows.0),
        (Family::LockHistory, "address", indexes.locks, check.at.rows.1),
    ] {
        if is_on {
            counted.push((name, count_family(check, family)?, expected));
        }
    }
    if state.utxo != stored.utxo {
        check.found(format_args!(
            "replaying the chain gives the coins {}, and the state says {}",
            state.utxo.commitment(),
            stored.utxo.commitment()
        ));
    }
    let totals = check.at.totals;
    if totals != stored.totals {
        check.found(format_args!(
            "replaying the chain counts {totals:?}, and the state says {:?}",
            stored.totals
        ));
    }
    for (name, found, expected) in counted {
        if found != expected {
            check.found(format_args!(
                "the {name} index has {found} entries, and the chain makes {expected}"
            ));
        }
    }
    Ok(())
}

/// The stored state of the best chain's header at a height.
fn header_at(store: &impl Read, height: u32) -> Result<HeaderState, StoreError> {
    let id = id_at(store, height)?;
    let lost = || StoreError::corrupt(format_args!("the header of block {id} is missing"));
    let record = read_record(store, &id)?.ok_or_else(lost)?;
    Ok(header_state(id, &record, stored_times(store, &record.header)?))
}

type Connected = (State, UtxoDiff, ashlar_primitives::Amount);

/// All rules of one block; a broken one is damage here, since the block was connected once.
fn connect<R: Read>(
    check: &Check<'_, R>,
    parent: State,
    block: &CheckedBlock,
    spent: &SpentCoins,
    workers: &mut impl Workers,
) -> Result<Connected, CareError> {
    let (id, height) = (block.id(), block.height());
    let broken = |code: &str| {
        CareError::from(StoreError::corrupt(format_args!(
            "block {id} at height {height} does not follow from what is stored below it: {code}"
        )))
    };
    let params = check.genesis.params();
    let header = check_header(&parent.header, params, block.header());
    let header = header.map_err(|error| broken(error.code()))?;
    let walked = walk(&parent, header, params, block, spent);
    let verified = verify_signatures(&walked.checks, &BTreeSet::new(), workers)
        .map_err(|place| broken(signature_error(place).code()))?;
    let pending = walked.outcome.map_err(|error| broken(error.code()))?;
    let transition = pending
        .seal(&parent, Signatures::Verified(verified))
        .map_err(|_| broken("the signatures of another block"))?;
    let claimed = transition.claimed();
    let (next, diff) = transition.into_parts();
    // A coin is made below the block that spends it, and the undo record holds nothing else.
    let is_exact = diff.spent == spent.coins && spent.coins.values().all(|c| c.height < height);
    if !is_exact {
        return Err(broken("its undo record holds other coins"));
    }
    Ok((next, diff, claimed))
}

fn genesis_totals(genesis: &Genesis) -> Result<Totals, StoreError> {
    let coins = &genesis.diff().created;
    let value = ashlar_primitives::Amount::checked_sum(coins.values().map(|c| c.output.value));
    let value = value.ok_or_else(|| StoreError::corrupt("the genesis allocations"))?;
    Ok(Totals { coins: count(coins.len()), value, ..Totals::default() })
}

/// Whether the indexes hold what a block makes of them; how many rows each has of it.
fn compare_rows<R: Read>(
    check: &mut Check<'_, R>,
    rows: Vec<index::Row>,
    height: u32,
) -> Result<(u64, u64), CareError> {
    let mut numbers = (0, 0);
    let mut is_told = false;
    for (family, key, value) in rows {
        match family {
            Family::Transactions => numbers.0 += 1,
            _ => numbers.1 += 1,
        }
        if !is_told && check.store.get(family, &key)?.as_ref() != Some(&value) {
            is_told = true;
            check.found(format_args!(
                "the index {} lacks an entry of the block at height {height}, or has another",
                family.name()
            ));
        }
    }
    Ok(numbers)
}
