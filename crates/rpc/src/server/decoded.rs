//! Blocks and transactions as the objects that people read.

use ashlar_consensus::Target;
use ashlar_ledger::{View, view::StoredHeader};
use ashlar_primitives::{Block, BlockId, Coinbase, Encode, Output, Transaction, Witness};

use super::{
    burial::confirmed_work,
    context::{confirmations, show_address, tip_of},
    past::Facts,
};
use crate::{
    error::RpcError,
    types::{
        BlockHeader, CoinbaseDetail, InputDetail, OutputDetail, TransactionDetail, WitnessDetail,
    },
};

/// A compact target as Bitcoin Core writes it.
pub(super) fn bits_text(bits: u32) -> String {
    format!("{bits:08x}")
}

/// The target that bits stand for, in full; zero for bits that stand for none, which only a
/// header that breaks a rule could hold.
pub(super) fn target_text(bits: u32) -> String {
    hex::encode(Target::from_bits(bits).map_or([0; 32], Target::to_be_bytes))
}

pub(super) fn header_detail(
    view: &View,
    id: &BlockId,
    stored: &StoredHeader,
) -> Result<BlockHeader, RpcError> {
    header_detail_with(view, id, stored, Facts::read(view, id, stored)?)
}

/// The same where a part of it is known already.
pub(super) fn header_detail_with(
    view: &View,
    id: &BlockId,
    stored: &StoredHeader,
    facts: Facts,
) -> Result<BlockHeader, RpcError> {
    let header = &stored.header;
    let active = view.block_id_at(stored.height)? == Some(*id);
    let genesis = stored.height == 0;
    let next = if active { view.block_id_at(stored.height.saturating_add(1))? } else { None };
    Ok(BlockHeader {
        at: tip_of(view),
        hash: (*id).into(),
        confirmations: if active {
            confirmations(view.tip().height, stored.height).into()
        } else {
            -1
        },
        height: stored.height,
        confirmed_work: if active { confirmed_work(view, stored) } else { 0.0 },
        version: header.version,
        version_hex: format!("{:08x}", header.version),
        merkleroot: header.merkle_root.into(),
        time: header.time,
        mediantime: facts.mediantime,
        nonce: header.nonce,
        bits: bits_text(header.bits),
        target: target_text(header.bits),
        chainwork: hex::encode(stored.work.to_be_bytes()),
        relieved: facts.is_relieved,
        invalid: stored.failed.map(str::to_owned),
        previousblockhash: (!genesis).then_some(header.parent.into()),
        nextblockhash: next.map(Into::into),
    })
}

pub(super) fn coinbase_detail(coinbase: &Coinbase, prefix: &str) -> CoinbaseDetail {
    CoinbaseDetail {
        txid: coinbase.id().into(),
        height: coinbase.height,
        utxo_commitment: coinbase.utxo_commitment.into(),
        vout: outputs(&coinbase.outputs, prefix),
        extra: coinbase.extra.clone().into(),
        hex: coinbase.to_bytes().into(),
    }
}

pub(super) fn transaction_detail(transaction: &Transaction, prefix: &str) -> TransactionDetail {
    let bytes = transaction.to_bytes();
    TransactionDetail {
        txid: transaction.txid().into(),
        wtxid: transaction.wtxid().into(),
        size: bytes.len() as u64,
        not_before: transaction.not_before,
        vin: transaction
            .inputs
            .iter()
            .map(|input| InputDetail { txid: input.txid.into(), vout: input.index })
            .collect(),
        vout: outputs(&transaction.outputs, prefix),
        memo: transaction.memo.clone().into(),
        witnesses: transaction.witnesses.iter().map(witness).collect(),
        hex: bytes.into(),
    }
}

fn outputs(outputs: &[Output], prefix: &str) -> Vec<OutputDetail> {
    // Decoding counts outputs with a u16, so the indexes never run out.
    (0..)
        .zip(outputs)
        .map(|(n, output)| OutputDetail {
            n,
            value: output.value.grains(),
            address: show_address(output.lock, prefix),
        })
        .collect()
}

fn witness(witness: &Witness) -> WitnessDetail {
    let kind = match witness {
        Witness::Key { .. } => "key",
        Witness::Policy { .. } => "policy",
    };
    WitnessDetail { kind: kind.to_owned(), hex: witness.to_bytes().into() }
}

/// The body of a known block; an error says why it is not here.
pub(super) fn body_of(view: &View, id: &BlockId, stored: &StoredHeader) -> Result<Block, RpcError> {
    match view.block(id)? {
        Some(block) => Ok(block),
        None => Err(missing_body(view, id, stored)?),
    }
}

/// Why the body of a known header is not here: pruned, or never come, or of a dead branch.
pub(super) fn missing_body(
    view: &View,
    id: &BlockId,
    stored: &StoredHeader,
) -> Result<RpcError, RpcError> {
    let id_text = id.to_string();
    let history_start = view.history().start;
    Ok(if stored.height < history_start && view.is_active(id)? {
        RpcError::Pruned { id: id_text, history_start }
    } else {
        RpcError::NotFound { what: "block body", id: id_text }
    })
}

/// A known header.
pub(super) fn stored_header(view: &View, id: &BlockId) -> Result<StoredHeader, RpcError> {
    view.header(id)?.ok_or_else(|| RpcError::NotFound { what: "block", id: id.to_string() })
}
