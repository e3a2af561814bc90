//! Blocks and chains, counted.

use std::collections::BTreeMap;

use ashlar_consensus::SpentCoins;
use ashlar_ledger::View;
use ashlar_primitives::{Block, BlockId, Encode as _, OutPoint, Transaction};

use super::{
    backend::Backend,
    context::{Context, tip_of},
    decoded::{body_of, stored_header},
};
use crate::{
    error::RpcError,
    types::{BlockName, BlockStats, ChainTxStats, TxOutSetInfo},
};

/// Most blocks that one call counts the transactions of.
const MAX_COUNTED_BLOCKS: u32 = 1_000;
/// How many are counted unless the caller says otherwise: a day of ten-minute blocks.
const COUNTED_BLOCKS: u32 = 144;
/// Of the bytes of a block, in hundredths: where `feerate_percentiles` are taken.
const PERCENTILES: [u64; 5] = [10, 25, 50, 75, 90];

/// The id that a caller named.
pub(super) fn named_block(view: &View, name: BlockName) -> Result<BlockId, RpcError> {
    match name {
        BlockName::Hash(id) => Ok(id.0),
        BlockName::Height(height) => {
            view.block_id_at(height)?.ok_or_else(|| RpcError::InvalidParameter {
                name: "hash_or_height",
                reason: format!("the tip is at {}", view.tip().height),
            })
        }
    }
}

pub(super) async fn block_stats<B: Backend>(
    context: &Context<B>,
    name: BlockName,
) -> Result<BlockStats, RpcError> {
    context
        .read(move |view| {
            let id = named_block(view, name)?;
            let stored = stored_header(view, &id)?;
            let block = body_of(view, &id, &stored)?;
            let spent = view.spent_coins(&id)?;
            let mediantime =
                view.header_state(&id)?.map_or(stored.header.time, |state| state.median_time());
            let transactions = &block.transactions;
            let mut sizes: Vec<u64> = transactions.iter().map(size_bytes).collect();
            sizes.sort_unstable();
            let ins = sum(transactions.iter().map(|one| one.inputs.len() as u64));
            let coinbase = &block.coinbase.outputs;
            let outs = sum(transactions.iter().map(|one| one.outputs.len() as u64))
                .saturating_add(coinbase.len() as u64);
            // A coinbase's output of nothing is no coin (PROTOCOL.md §6).
            let empty = coinbase.iter().filter(|output| output.value.grains() == 0).count() as u64;
            let rates = spent.map(|spent| fees(&block, &spent)).transpose()?;
            let fees = rates.map(FeeStats::of);
            Ok(BlockStats {
                at: tip_of(view),
                blockhash: id.into(),
                height: stored.height,
                time: stored.header.time,
                mediantime,
                txs: (transactions.len() as u64).saturating_add(1),
                ins,
                outs,
                utxo_increase: difference(outs.saturating_sub(empty), ins),
                total_size: block.encoded_len() as u64,
                mintxsize: sizes.first().copied().unwrap_or(0),
                maxtxsize: sizes.last().copied().unwrap_or(0),
                avgtxsize: average(sum(sizes.iter().copied()), sizes.len()),
                mediantxsize: middle(&sizes),
                total_out: sum(transactions.iter().flat_map(paid)),
                subsidy: view.params().subsidy(stored.height).grains(),
                claimed: sum(coinbase.iter().map(|output| output.value.grains())),
                totalfee: fees.as_ref().map(|fees| fees.total),
                minfee: fees.as_ref().map(|fees| fees.min),
                maxfee: fees.as_ref().map(|fees| fees.max),
                avgfee: fees.as_ref().map(|fees| fees.average),
                medianfee: fees.as_ref().map(|fees| fees.median),
                minfeerate: fees.as_ref().map(|fees| fees.min_rate),
                maxfeerate: fees.as_ref().map(|fees| fees.max_rate),
                avgfeerate: fees.as_ref().map(|fees| fees.average_rate),
                feerate_percentiles: fees.map(|fees| fees.percentiles),
            })
        })
        .await
}

fn size_bytes(transaction: &Transaction) -> u64 {
    transaction.encoded_len() as u64
}

fn paid(transaction: &Transaction) -> impl Iterator<Item = u64> + '_ {
    transaction.outputs.iter().map(|output| output.value.grains())
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

fn average(sum: u64, count: usize) -> u64 {
    sum.checked_div(count as u64).unwrap_or(0)
}

/// Of a sorted list; the lower of two in the middle.
fn middle(sorted: &[u64]) -> u64 {
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

fn difference(more: u64, less: u64) -> i64 {
    i64::try_from(i128::from(more) - i128::from(less)).unwrap_or(i64::MAX)
}

/// Size and fee of each transaction.
fn fees(block: &Block, spent: &SpentCoins) -> Result<Vec<(u64, u64)>, RpcError> {
    let mut made = BTreeMap::new();
    let mut all = Vec::with_capacity(block.transactions.len());
    for transaction in &block.transactions {
        let mut brought = 0_u64;
        for input in &transaction.inputs {
            let known = spent.coins.get(input).map(|coin| coin.output.value.grains());
            let Some(value) = known.or_else(|| made.get(input).copied()) else {
                tracing::error!(?input, "the undo record of a block lacks a coin");
                return Err(RpcError::Internal);
            };
            brought = brought.saturating_add(value);
        }
        let txid = transaction.txid();
        for (index, value) in (0_u16..).zip(paid(transaction)) {
            made.insert(OutPoint { txid, index }, value);
        }
        all.push((size_bytes(transaction), brought.saturating_sub(sum(paid(transaction)))));
    }
    Ok(all)
}

#[derive(Debug, PartialEq, Eq)]
struct FeeStats {
    total: u64,
    min: u64,
    max: u64,
    average: u64,
    median: u64,
    min_rate: u64,
    max_rate: u64,
    average_rate: u64,
    percentiles: Vec<u64>,
}

impl FeeStats {
    /// Of sizes in bytes and fees in grains.
    fn of(all: Vec<(u64, u64)>) -> Self {
        let mut fees: Vec<u64> = all.iter().map(|(_, fee)| *fee).collect();
        fees.sort_unstable();
        let mut rates: Vec<(u64, u64)> =
            all.iter().map(|(size, fee)| (rate(*fee, *size), *size)).collect();
        rates.sort_unstable();
        let (total, bytes) = (sum(fees.iter().copied()), sum(all.iter().map(|(size, _)| *size)));
        let percentile = |hundredths: u64| {
            let mut passed = 0_u64;
            let found = rates.iter().find(|(_, size)| {
                passed = passed.saturating_add(*size);
                passed.saturating_mul(100) >= bytes.saturating_mul(hundredths)
            });
            found.map_or(0, |(rate, _)| *rate)
        };
        Self {
            total,
            min: fees.first().copied().unwrap_or(0),
            max: fees.last().copied().unwrap_or(0),
            average: average(total, fees.len()),
            median: middle(&fees),
            min_rate: rates.first().map_or(0, |(rate, _)| *rate),
            max_rate: rates.last().map_or(0, |(rate, _)| *rate),
            average_rate: rate(total, bytes),
            percentiles: PERCENTILES.map(percentile).to_vec(),
        }
    }
}

/// Grains for 1,000 bytes.
fn rate(fee: u64, size: u64) -> u64 {
    let rate = (u128::from(fee) * 1_000).checked_div(u128::from(size)).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

pub(super) async fn chain_tx_stats<B: Backend>(
    context: &Context<B>,
    nblocks: Option<u32>,
    last: Option<BlockId>,
) -> Result<ChainTxStats, RpcError> {
    if let Some(count) = nblocks
        && count > MAX_COUNTED_BLOCKS
    {
        return Err(RpcError::TooMany { what: "blocks", max: MAX_COUNTED_BLOCKS as usize });
    }
    context
        .read(move |view| {
            let last = last.unwrap_or(view.tip().id);
            let stored = stored_header(view, &last)?;
            if !view.is_active(&last)? {
                let id = last.to_string();
                return Err(RpcError::NotFound { what: "block on the best chain", id });
            }
            let kept = stored.height.saturating_sub(view.history().start.saturating_sub(1));
            let count = match nblocks {
                Some(count) if count > stored.height => {
                    return Err(RpcError::InvalidParameter {
                        name: "nblocks",
                        reason: format!("there are {} blocks above genesis", stored.height),
                    });
                }
                Some(count) => count,
                None => COUNTED_BLOCKS.min(kept),
            };
            let (mut id, mut header, mut transactions) = (last, stored.clone(), 0_u64);
            for _ in 0..count {
                let block = body_of(view, &id, &header)?;
                let here = (block.transactions.len() as u64).saturating_add(1);
                transactions = transactions.saturating_add(here);
                id = header.header.parent;
                header = stored_header(view, &id)?;
            }
            let interval = stored.header.time.saturating_sub(header.header.time);
            Ok(ChainTxStats {
                at: tip_of(view),
                time: stored.header.time,
                window_final_block_hash: last.into(),
                window_final_block_height: stored.height,
                window_block_count: count,
                window_tx_count: transactions,
                window_interval: interval,
                // Exact up to 2^53, which no count comes near.
                txrate: (interval > 0).then(|| transactions as f64 / f64::from(interval)),
            })
        })
        .await
}

pub(super) fn tx_out_set_info(view: &View) -> TxOutSetInfo {
    TxOutSetInfo {
        at: tip_of(view),
        height: view.tip().height,
        bestblock: view.tip().id.into(),
        txouts: view.coin_count(),
        total_amount: view.coin_total().grains(),
        utxo_commitment: view.utxo_commitment().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_counted_by_transaction_and_percentiles_by_bytes() {
        // 1, 2 and 8 grains a byte; the last is as large as the others together.
        let stats = FeeStats::of(vec![(100, 200), (100, 100), (200, 1_600)]);
        assert_eq!((stats.total, stats.min, stats.max), (1_900, 100, 1_600));
        assert_eq!((stats.average, stats.median), (633, 200));
        assert_eq!((stats.min_rate, stats.max_rate, stats.average_rate), (1_000, 8_000, 4_750));
        assert_eq!(stats.percentiles, [1_000, 1_000, 2_000, 8_000, 8_000]);
        let none = FeeStats::of(Vec::new());
        assert_eq!((none.total, none.median, none.percentiles), (0, 0, vec![0; 5]));
    }

    #[test]
    fn the_middle_of_two_is_the_lower_and_of_none_is_nothing() {
        assert_eq!((middle(&[]), middle(&[5]), middle(&[1, 9]), middle(&[1, 2, 9])), (0, 5, 1, 2));
        assert_eq!((difference(3, 5), difference(u64::MAX, 0)), (-2, i64::MAX));
    }
}
