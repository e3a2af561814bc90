//! The coin set against the state that the chain commits to.

use super::{CareError, Stage, check::Check, check::error_text, scan::Scan};
use crate::{
    keys::{self, meta},
    records::{self, IndexRecord, StateRecord, Totals},
    store::{Family, Read},
};

/// Between two looks at progress.
const WATCH_COINS: u64 = 512;

/// Sums all coins and compares sum, number and value with the state record, and the index by lock
/// with the coins.
pub(super) fn sum_coins<R: Read>(
    check: &mut Check<'_, R>,
    state: &StateRecord,
) -> Result<(), CareError> {
    let indexes = check.store.get(Family::Meta, meta::INDEXES)?;
    let indexes = indexes.map(|value| IndexRecord::from_value(&value)).transpose()?;
    let has_index = indexes.is_some_and(|indexes| indexes.locks);
    for entry in Scan::after(check.store, Family::Coins, &check.at.last.clone()) {
        let (key, bytes) = entry?;
        let outpoint = keys::read_coin(&key)?;
        check.at.last = key;
        let coin = match records::read_coin(&bytes) {
            Ok(coin) => coin,
            Err(error) => {
                let what = error_text(error)?;
                check.found(format_args!("coin {}:{}: {what}", outpoint.txid, outpoint.index));
                continue;
            }
        };
        check.at.utxo.add(&outpoint, &coin);
        let Totals { coins, value, .. } = &mut check.at.totals;
        *value = value.checked_add(coin.output.value).unwrap_or(*value);
        *coins = coins.saturating_add(1);
        let number = *coins;
        if has_index {
            let key = keys::lock_coin(&coin.output.lock, &outpoint);
            if check.store.get(Family::LockCoins, &key)?.is_none() {
                let txid = outpoint.txid;
                check.found(format_args!("the address index lacks coin {txid}:{}", outpoint.index));
            }
        }
        if number.is_multiple_of(WATCH_COINS) {
            check.tell(Stage::SumCoins, number, state.totals.coins)?;
        }
    }
    let rows = if has_index { Some(count_family(check, Family::LockCoins)?) } else { None };
    let Totals { coins: number, value, .. } = check.at.totals;
    let sum = check.at.utxo.commitment();
    check.at.report.coins = number;
    if check.at.utxo != state.utxo {
        check.found(format_args!(
            "the stored coins sum up to {sum}, and the state says {}: a coin is missing, too many, or another",
            state.utxo.commitment()
        ));
    }
    if (number, value) != (state.totals.coins, state.totals.value) {
        check.found(format_args!(
            "{number} coins worth {} grains are stored, and the state says {} worth {}",
            value.grains(),
            state.totals.coins,
            state.totals.value.grains()
        ));
    }
    if let Some(rows) = rows.filter(|rows| *rows != number) {
        check.found(format_args!("the address index names {rows} coins, and there are {number}"));
    }
    Ok(())
}

/// How many entries a family has.
pub(super) fn count_family<R: Read>(
    check: &mut Check<'_, R>,
    family: Family,
) -> Result<u64, CareError> {
    let mut rows: u64 = 0;
    for entry in Scan::new(check.store, family) {
        entry?;
        rows = rows.saturating_add(1);
        if rows.is_multiple_of(WATCH_COINS) {
            check.tell(Stage::CountIndexes, rows, 0)?;
        }
    }
    Ok(rows)
}
