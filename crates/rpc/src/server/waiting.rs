//! Single transactions that wait: what they hang together with, who spends what, what the operator
//! makes of them.

use std::collections::BTreeMap;

use ashlar_engine::{
    Call,
    call::{self, AnswerBody, MAX_CALL_ENTRIES, MempoolKin},
};
use ashlar_primitives::{OutPoint, Txid};

use super::{
    backend::Backend,
    context::{Context, tip_of, tip_of_answer, unexpected},
};
use crate::{
    error::RpcError,
    types::{
        InputDetail, MempoolEntry, MempoolEntryDetail, MempoolListing, MempoolResult,
        PrioritisedTransactions, SavedMempool, SpendingPrevout, Tip,
    },
};

/// An entry as callers see it.
pub(super) fn describe(entry: call::MempoolEntry) -> MempoolEntry {
    MempoolEntry {
        wtxid: entry.transaction.wtxid().into(),
        size: entry.transaction.size_bytes(),
        fee: entry.fee.grains(),
        modifiedfee: entry.weighed_fee().grains(),
        time: entry.entered_unix,
        sequence: entry.sequence,
        ancestorcount: entry.ancestor_count as u64,
        descendantcount: entry.descendant_count as u64,
        depends: entry.depends.into_iter().map(Into::into).collect(),
        spentby: entry.spent_by.into_iter().map(Into::into).collect(),
    }
}

async fn kin<B: Backend>(context: &Context<B>, txid: Txid) -> Result<(Tip, MempoolKin), RpcError> {
    let answer = context.call(Call::MempoolKin(txid)).await?;
    let at = tip_of_answer(&answer);
    match answer.body {
        AnswerBody::MempoolKin(Some(kin)) => Ok((at, kin)),
        AnswerBody::MempoolKin(None) => {
            Err(RpcError::NotFound { what: "waiting transaction", id: txid.to_string() })
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn entry<B: Backend>(
    context: &Context<B>,
    txid: Txid,
) -> Result<MempoolEntryDetail, RpcError> {
    let (at, MempoolKin { entry, ancestors, descendants }) = kin(context, txid).await?;
    // A cluster: a few dozen of sums that can't run over.
    let sum = |kin: &[call::MempoolEntry]| {
        kin.iter().chain([&entry]).fold((0_u64, 0_u64), |(bytes, fees), kin| {
            let size_bytes = u64::from(kin.transaction.size_bytes());
            (bytes.saturating_add(size_bytes), fees.saturating_add(kin.weighed_fee().grains()))
        })
    };
    let (ancestorsize, ancestorfees) = sum(&ancestors);
    let (descendantsize, descendantfees) = sum(&descendants);
    Ok(MempoolEntryDetail {
        at,
        ancestorsize,
        ancestorfees,
        descendantsize,
        descendantfees,
        entry: describe(entry),
    })
}

pub(super) async fn ancestors<B: Backend>(
    context: &Context<B>,
    txid: Txid,
    verbose: bool,
) -> Result<MempoolResult, RpcError> {
    let (at, kin) = kin(context, txid).await?;
    Ok(relatives(at, kin.ancestors, verbose))
}

pub(super) async fn descendants<B: Backend>(
    context: &Context<B>,
    txid: Txid,
    verbose: bool,
) -> Result<MempoolResult, RpcError> {
    let (at, kin) = kin(context, txid).await?;
    Ok(relatives(at, kin.descendants, verbose))
}

fn relatives(at: Tip, relatives: Vec<call::MempoolEntry>, verbose: bool) -> MempoolResult {
    if !verbose {
        let ids = relatives.iter().map(|entry| entry.transaction.txid().into());
        return MempoolResult::Ids(ids.collect());
    }
    let described = relatives.into_iter();
    let transactions: BTreeMap<_, _> =
        described.map(|entry| (entry.transaction.txid().into(), describe(entry))).collect();
    MempoolResult::Entries(MempoolListing { at, transactions, next: None })
}

pub(super) async fn spending<B: Backend>(
    context: &Context<B>,
    outputs: Vec<InputDetail>,
) -> Result<Vec<SpendingPrevout>, RpcError> {
    if outputs.len() > MAX_CALL_ENTRIES {
        return Err(RpcError::TooMany { what: "outputs", max: MAX_CALL_ENTRIES });
    }
    let outpoint = |output: &InputDetail| OutPoint { txid: output.txid.0, index: output.vout };
    let call = Call::MempoolSpenders(outputs.iter().map(outpoint).collect());
    let answer = context.call(call).await?;
    let at = tip_of_answer(&answer);
    let AnswerBody::MempoolSpenders(spenders) = answer.body else {
        return Err(unexpected(&answer.body));
    };
    let told = outputs.into_iter().zip(spenders).map(|(output, spender)| SpendingPrevout {
        at,
        txid: output.txid,
        vout: output.vout,
        spendingtxid: spender.map(Into::into),
    });
    Ok(told.collect())
}

pub(super) async fn prioritise<B: Backend>(
    context: &Context<B>,
    txid: Txid,
    dummy: Option<u64>,
    delta_grains: i64,
) -> Result<bool, RpcError> {
    if dummy.is_some_and(|dummy| dummy != 0) {
        let reason = "0 or null; what is added stands after it".to_owned();
        return Err(RpcError::InvalidParameter { name: "dummy", reason });
    }
    match context.call(Call::Prioritise { txid, delta_grains }).await?.body {
        AnswerBody::Priority(_) => Ok(true),
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn prioritised<B: Backend>(
    context: &Context<B>,
) -> Result<PrioritisedTransactions, RpcError> {
    let answer = context.call(Call::Priorities).await?;
    let at = tip_of_answer(&answer);
    let AnswerBody::Priorities(priorities) = answer.body else {
        return Err(unexpected(&answer.body));
    };
    let transactions = priorities.into_iter().map(|(txid, delta)| (txid.into(), delta)).collect();
    Ok(PrioritisedTransactions { at, transactions })
}

pub(super) async fn save<B: Backend>(context: &Context<B>) -> Result<SavedMempool, RpcError> {
    let at = tip_of(&context.view());
    let file = context.backend.save_mempool().await?;
    Ok(SavedMempool { at, filename: file.path, transactions: file.transactions })
}
