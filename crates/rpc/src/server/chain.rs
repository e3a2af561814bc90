//! Questions about blocks and transactions: all from one view, except for what waits.

use std::sync::Arc;

use ashlar_engine::{
    Call,
    call::{AnswerBody, SyncProgress},
};
use ashlar_ledger::{
    View,
    view::{StoredHeader, TipStatus},
};
use ashlar_primitives::{Block, BlockId, Encode, OutPoint, Txid};

use super::{
    backend::Backend,
    burial::relief_warning,
    context::{Context, confirmations, show_address, tip_of, tip_of_answer, unexpected},
    decoded::{
        bits_text, body_of, coinbase_detail, header_detail, header_detail_with, missing_body,
        stored_header, target_text, transaction_detail,
    },
};
use crate::{
    error::RpcError,
    types::{
        BlockDetail, BlockHeaders, BlockResult, BlockSummary, BlockchainInfo, ChainTip,
        HeaderResult, RawTransactionResult, SyncInfo, Text, TransactionBody, TransactionStatus,
        TxOut,
    },
};

/// Most headers of one `getblockheaders`, as many as peers are sent.
const MAX_HEADERS: u32 = 2_000;

pub(super) async fn blockchain_info<B: Backend>(
    context: &Context<B>,
) -> Result<BlockchainInfo, RpcError> {
    let (view, answer) = context.call_at_view(Call::SyncStatus).await?;
    let AnswerBody::Sync(sync) = answer.body else { return Err(unexpected(&answer.body)) };
    let mut warnings = context.warnings_with(&sync);
    context
        .read_at(view, move |view| {
            warnings.extend(relief_warning(view)?);
            let (params, tip) = (view.params(), view.tip());
            let header = stored_header(view, &tip.id)?.header;
            Ok(BlockchainInfo {
                at: tip_of(view),
                chain: params.name.clone(),
                chain_id: params.chain_id.into(),
                address_prefix: params.address_prefix.clone(),
                blocks: tip.height,
                headers: sync.best_header_height.max(tip.height),
                bestblockhash: tip.id.into(),
                bits: bits_text(header.bits),
                target: target_text(header.bits),
                time: header.time,
                mediantime: tip.median_time(),
                initialblockdownload: sync.syncing,
                chainwork: hex::encode(tip.work.to_be_bytes()),
                coins: view.coin_count(),
                supply: view.coin_total().grains(),
                claimed: view.claimed_total().grains(),
                utxo_commitment: view.utxo_commitment().into(),
                next_subsidy: params.subsidy(tip.height.saturating_add(1)).grains(),
                coinbase_maturity: params.coinbase_maturity,
                block_interval: params.block_interval,
                max_block_bytes: params.max_block_bytes,
                transaction_index: view.transaction_index(),
                address_index: view.lock_index(),
                size_on_disk: view.history().bytes(),
                pruned: view.history().start > 0 || view.prune_bytes().is_some(),
                pruneheight: (view.history().start > 0).then_some(view.history().start),
                prune_target_size: view.prune_bytes(),
                sync: sync.progress.map(sync_info),
                warnings,
            })
        })
        .await
}

pub(super) fn sync_info(progress: SyncProgress) -> SyncInfo {
    // Exact up to 2^53, which no speed comes near.
    let per_second = |milliblocks: u64| milliblocks as f64 / 1_000.0;
    SyncInfo {
        height: progress.height,
        target_height: progress.target_height,
        blocks_per_second: progress.milliblocks_per_second.map(per_second),
        seconds_left: progress.seconds_left,
    }
}

pub(super) async fn block_id_at<B: Backend>(
    context: &Context<B>,
    height: u32,
) -> Result<Text<BlockId>, RpcError> {
    context
        .glance(move |view| match view.block_id_at(height)? {
            Some(id) => Ok(id.into()),
            None => Err(RpcError::InvalidParameter {
                name: "height",
                reason: format!("the tip is at {}", view.tip().height),
            }),
        })
        .await
}

pub(super) async fn block_header<B: Backend>(
    context: &Context<B>,
    id: BlockId,
    verbose: bool,
) -> Result<HeaderResult, RpcError> {
    let past = Arc::clone(&context.past);
    context
        .glance(move |view| {
            let stored = stored_header(view, &id)?;
            Ok(if verbose {
                let facts = past.facts(view, &id, &stored)?;
                HeaderResult::Detail(Box::new(header_detail_with(view, &id, &stored, facts)?))
            } else {
                HeaderResult::Raw(stored.header.to_bytes().into())
            })
        })
        .await
}

/// Headers of the best chain from a height on.
pub(super) async fn block_headers<B: Backend>(
    context: &Context<B>,
    start: u32,
    count: u32,
    verbose: bool,
) -> Result<BlockHeaders, RpcError> {
    if !(1..=MAX_HEADERS).contains(&count) {
        let reason = format!("1 to {MAX_HEADERS}");
        return Err(RpcError::InvalidParameter { name: "count", reason });
    }
    context
        .read(move |view| {
            let height = view.tip().height;
            if start > height {
                let reason = format!("the tip is at {height}");
                return Err(RpcError::InvalidParameter { name: "start", reason });
            }
            let last = height.min(start.saturating_add(count.saturating_sub(1)));
            let mut headers = Vec::new();
            for height in start..=last {
                let Some(id) = view.block_id_at(height)? else {
                    tracing::error!(height, "the best chain has no block below its tip");
                    return Err(RpcError::Internal);
                };
                let stored = stored_header(view, &id)?;
                headers.push(if verbose {
                    HeaderResult::Detail(Box::new(header_detail(view, &id, &stored)?))
                } else {
                    HeaderResult::Raw(stored.header.to_bytes().into())
                });
            }
            Ok(BlockHeaders { at: tip_of(view), start, headers })
        })
        .await
}

pub(super) async fn block<B: Backend>(
    context: &Context<B>,
    id: BlockId,
    verbosity: u8,
) -> Result<BlockResult, RpcError> {
    if verbosity > 2 {
        return Err(RpcError::InvalidParameter { name: "verbosity", reason: "0, 1 or 2".into() });
    }
    context
        .read(move |view| {
            let stored = stored_header(view, &id)?;
            if verbosity == 0 {
                return match view.block_bytes(&id)? {
                    Some(bytes) => Ok(BlockResult::Raw(bytes.into())),
                    None => Err(missing_body(view, &id, &stored)?),
                };
            }
            let block = body_of(view, &id, &stored)?;
            let prefix = &view.params().address_prefix;
            let header = header_detail(view, &id, &stored)?;
            let size = block.encoded_len() as u64;
            let transaction_count = block.transactions.len() as u64 + 1;
            let coinbase = coinbase_detail(&block.coinbase, prefix);
            Ok(if verbosity == 1 {
                let coinbase_id = Txid::from(coinbase.txid.0);
                let ids = block.transactions.iter().map(|transaction| transaction.txid());
                let tx = core::iter::once(coinbase_id).chain(ids).map(Into::into).collect();
                let summary = BlockSummary { header, size, transaction_count, coinbase, tx };
                BlockResult::Summary(Box::new(summary))
            } else {
                let details = block.transactions.iter();
                let tx = details.map(|detail| transaction_detail(detail, prefix)).collect();
                let detail = BlockDetail { header, size, transaction_count, coinbase, tx };
                BlockResult::Detail(Box::new(detail))
            })
        })
        .await
}

pub(super) async fn chain_tips<B: Backend>(
    context: &Context<B>,
) -> Result<Vec<ChainTip>, RpcError> {
    context
        .read(|view| {
            let tips = view.chain_tips()?;
            Ok(tips
                .into_iter()
                .map(|tip| ChainTip {
                    height: tip.height,
                    hash: tip.id.into(),
                    branchlen: tip.branch_len,
                    status: tip_status(tip.status).to_owned(),
                })
                .collect())
        })
        .await
}

fn tip_status(status: TipStatus) -> &'static str {
    match status {
        TipStatus::Active => "active",
        TipStatus::ValidFork => "valid-fork",
        TipStatus::ValidHeaders => "valid-headers",
        TipStatus::HeadersOnly => "headers-only",
        TipStatus::Invalid => "invalid",
        TipStatus::Held => "held",
    }
}

pub(super) async fn raw_transaction<B: Backend>(
    context: &Context<B>,
    txid: Txid,
    verbosity: u8,
    block: Option<BlockId>,
) -> Result<RawTransactionResult, RpcError> {
    if verbosity > 1 {
        return Err(RpcError::InvalidParameter { name: "verbosity", reason: "0 or 1".into() });
    }
    let status = transaction(context, txid, block).await?;
    Ok(if verbosity == 1 {
        RawTransactionResult::Detail(Box::new(status))
    } else {
        RawTransactionResult::Raw(match status.body {
            TransactionBody::Transaction(transaction) => transaction.hex,
            TransactionBody::Coinbase(coinbase) => coinbase.hex,
        })
    })
}

/// A transaction or coinbase, from where it stands: in the named block, or waiting, or by the
/// index.
pub(super) async fn transaction<B: Backend>(
    context: &Context<B>,
    txid: Txid,
    block: Option<BlockId>,
) -> Result<TransactionStatus, RpcError> {
    if let Some(id) = block {
        return context.read(move |view| in_block(view, &txid, &id, None)).await;
    }
    let (view, answer) = context.call_at_view(Call::MempoolTransaction(txid)).await?;
    let at = tip_of_answer(&answer);
    match answer.body {
        AnswerBody::MempoolTransaction(Some(entry)) => {
            let prefix = &view.params().address_prefix;
            let detail = transaction_detail(entry.transaction.transaction(), prefix);
            Ok(TransactionStatus {
                at,
                body: TransactionBody::Transaction(Box::new(detail)),
                confirmations: 0,
                blockhash: None,
                blockheight: None,
                blockindex: None,
                blocktime: None,
                fee: Some(entry.fee.grains()),
                time: Some(entry.entered_unix),
            })
        }
        AnswerBody::MempoolTransaction(None) => {
            context
                .read_at(view, move |view| {
                    let (id, index) = place_of(view, &txid)?;
                    in_block(view, &txid, &id, Some(index))
                })
                .await
        }
        other => Err(unexpected(&other)),
    }
}

/// The block and the place in it of a confirmed transaction or coinbase, by the index.
pub(super) fn place_of(view: &View, txid: &Txid) -> Result<(BlockId, u32), RpcError> {
    let (height, index) = view.transaction_place(txid)?.ok_or_else(|| not_kept(view, txid))?;
    let id = view.block_id_at(height)?.ok_or_else(|| not_found(txid))?;
    Ok((id, index))
}

/// A block and the place in it of a transaction or coinbase (0 is the coinbase), known or looked
/// for.
pub(super) fn locate(
    view: &View,
    txid: &Txid,
    id: &BlockId,
    index: Option<u32>,
) -> Result<(StoredHeader, Block, u32), RpcError> {
    let stored = stored_header(view, id)?;
    let block = body_of(view, id, &stored)?;
    let index = match index {
        Some(index) => index,
        None if Txid::from(block.coinbase.id()) == *txid => 0,
        None => (1..)
            .zip(&block.transactions)
            .find_map(|(index, transaction)| (transaction.txid() == *txid).then_some(index))
            .ok_or_else(|| not_found(txid))?,
    };
    Ok((stored, block, index))
}

/// From a block, at a known place or by looking through it.
fn in_block(
    view: &View,
    txid: &Txid,
    id: &BlockId,
    index: Option<u32>,
) -> Result<TransactionStatus, RpcError> {
    let (stored, block, index) = locate(view, txid, id, index)?;
    let prefix = &view.params().address_prefix;
    let body = match index.checked_sub(1) {
        None => TransactionBody::Coinbase(Box::new(coinbase_detail(&block.coinbase, prefix))),
        Some(place) => {
            let transaction =
                block.transactions.get(place as usize).ok_or_else(|| not_found(txid))?;
            TransactionBody::Transaction(Box::new(transaction_detail(transaction, prefix)))
        }
    };
    let active = view.is_active(id)?;
    Ok(TransactionStatus {
        at: tip_of(view),
        body,
        confirmations: if active { confirmations(view.tip().height, stored.height) } else { 0 },
        blockhash: Some((*id).into()),
        blockheight: Some(stored.height),
        blockindex: Some(index),
        blocktime: Some(stored.header.time),
        fee: None,
        time: None,
    })
}

/// Not in the index: on a pruned node it may have been.
fn not_kept(view: &View, txid: &Txid) -> RpcError {
    match view.history().start {
        0 => not_found(txid),
        history_start => {
            RpcError::NotKept { what: "transaction", id: txid.to_string(), history_start }
        }
    }
}

fn not_found(txid: &Txid) -> RpcError {
    RpcError::NotFound { what: "transaction", id: txid.to_string() }
}

pub(super) async fn tx_out<B: Backend>(
    context: &Context<B>,
    outpoint: OutPoint,
    include_mempool: bool,
) -> Result<Option<TxOut>, RpcError> {
    if !include_mempool {
        return context.glance(move |view| confirmed_coin(view, &outpoint)).await;
    }
    let (view, answer) = context.call_at_view(Call::MempoolSpenders(vec![outpoint])).await?;
    let AnswerBody::MempoolSpenders(spenders) = answer.body else {
        return Err(unexpected(&answer.body));
    };
    if spenders.into_iter().flatten().next().is_some() {
        return Ok(None);
    }
    let confirmed = context.glance_at(view, move |view| confirmed_coin(view, &outpoint)).await?;
    if confirmed.is_some() {
        return Ok(confirmed);
    }
    let (view, answer) = context.call_at_view(Call::MempoolTransaction(outpoint.txid)).await?;
    let AnswerBody::MempoolTransaction(entry) = answer.body else {
        return Err(unexpected(&answer.body));
    };
    Ok(entry.and_then(|entry| {
        let output = *entry.transaction.transaction().outputs.get(usize::from(outpoint.index))?;
        Some(TxOut {
            at: tip_of(&view),
            bestblock: view.tip().id.into(),
            confirmations: 0,
            value: output.value.grains(),
            address: show_address(output.lock, &view.params().address_prefix),
            coinbase: false,
            height: None,
        })
    }))
}

fn confirmed_coin(view: &View, outpoint: &OutPoint) -> Result<Option<TxOut>, RpcError> {
    Ok(view.coin(outpoint)?.map(|coin| TxOut {
        at: tip_of(view),
        bestblock: view.tip().id.into(),
        confirmations: confirmations(view.tip().height, coin.height),
        value: coin.output.value.grains(),
        address: show_address(coin.output.lock, &view.params().address_prefix),
        coinbase: coin.is_coinbase,
        height: Some(coin.height),
    }))
}
