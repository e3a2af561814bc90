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

use super::{CareError, Stage, block_at, check::Check, coins::count_family, count};
use crate::{
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
    let mut utxo = state.utxo.clone();
    for height in (lowest..=tip.height).rev() {
        let (id, block) = block_at(check.store, params, height)?;
        let spent = read_undo(check.store, &id, height)?;
        if !spent.coins.keys().copied().eq(block.external_inputs()) {
            check.found(format_args!(
                "the undo record of block {id} at height {height} is another's"
            ));
            return Ok(());
        }
        utxo = disconnect(&block, &spent).applied_to(&utxo);
        if utxo.commitment() != block.coinbase().utxo_commitment {
            check.found(format_args!(
                "undoing block {id} at height {height} does not give the coins that it commits to: its undo record or the state is damaged"
            ));
            return Ok(());
        }
        compare_rows(check, index::rows(&block, height, &spent, indexes)?, height)?;
        check.report.blocks = check.report.blocks.saturating_add(1);
        check.tell(Stage::UndoBlocks, check.report.blocks, total)?;
    }
    if lowest <= 1 && utxo != check.genesis.state().utxo {
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
    let mut state = check.genesis.state().clone();
    let mut totals = genesis_totals(check.genesis)?;
    let rows = index::genesis_rows(check.genesis, indexes)?;
    let mut expected = compare_rows(check, rows, 0)?;
    for height in 1..=tip.height {
        let (id, block) = block_at(check.store, check.genesis.params(), height)?;
        let spent = read_undo(check.store, &id, height)?;
        let connected = connect(check, state, &block, &spent, workers);
        let Some((next, diff, claimed)) = check.settle(connected)? else { return Ok(()) };
        totals = totals_after(totals, &diff, claimed, Way::Connect)?;
        state = next;
        let rows = index::rows(&block, height, &spent, indexes)?;
        let (transactions, history) = compare_rows(check, rows, height)?;
        expected.0 = expected.0.saturating_add(transactions);
        expected.1 = expected.1.saturating_add(history);
        check.report.blocks = check.report.blocks.saturating_add(1);
        check.tell(Stage::ReplayBlocks, height.into(), tip.height.into())?;
    }
    if state.utxo != stored.utxo {
        check.found(format_args!(
            "replaying the chain gives the coins {}, and the state says {}",
            state.utxo.commitment(),
            stored.utxo.commitment()
        ));
    }
    if totals != stored.totals {
        check.found(format_args!(
            "replaying the chain counts {totals:?}, and the state says {:?}",
            stored.totals
        ));
    }
    let families = [
        (Family::Transactions, "transaction", indexes.transactions, expected.0),
        (Family::LockHistory, "address", indexes.locks, expected.1),
    ];
    for (family, name, is_on, expected) in families {
        if is_on {
            let found = count_family(check, family)?;
            if found != expected {
                check.found(format_args!(
                    "the {name} index has {found} entries, and the chain makes {expected}"
                ));
            }
        }
    }
    Ok(())
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
        .seal(Signatures::Verified(verified))
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
