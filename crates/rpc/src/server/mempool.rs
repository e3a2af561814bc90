//! Sending transactions, and what waits.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::{CheckedTransaction, open_transaction};
use ashlar_engine::{
    Answer, Call,
    call::{AnswerBody, MAX_CALL_ENTRIES, MAX_CALL_TRANSACTIONS, SubmittedTransaction},
};
use ashlar_primitives::{Txid, Wtxid};
use jsonrpsee::types::ErrorObjectOwned;
use tokio::task;

use super::{
    backend::Backend,
    context::{Context, page_limit, tip_of_answer, unexpected},
    waiting::describe,
};
use crate::{
    error::RpcError,
    types::{
        FeeEstimate, MempoolInfo, MempoolListing, MempoolResult, SubmitError, SubmitResult,
        SubmitResults, TestResult, Text, from_hex,
    },
};

/// Longest wait that a feerate can be asked for, in blocks.
const MAX_CONF_TARGET: u32 = 1_008;

/// A transaction that the engine may see, or why not.
type Opened = Result<Arc<CheckedTransaction>, RpcError>;

/// Decodes, and applies the rules that need no state, on the caller's own task: the engine sees
/// only what passes.
fn open(hexstring: &str) -> Opened {
    let Ok(bytes) = from_hex(hexstring) else {
        return Err(RpcError::Refused { code: "tx-malformed", reason: "not hex".to_owned() });
    };
    match open_transaction(&bytes) {
        Ok(transaction) => Ok(Arc::new(transaction)),
        Err(error) => Err(RpcError::Refused { code: error.code(), reason: error.to_string() }),
    }
}

/// The same for a list, which may take a while, on a thread of its own.
async fn open_all(hexstrings: Vec<String>) -> Result<Vec<Opened>, RpcError> {
    if hexstrings.len() > MAX_CALL_TRANSACTIONS {
        return Err(RpcError::TooMany { what: "transactions", max: MAX_CALL_TRANSACTIONS });
    }
    task::spawn_blocking(move || hexstrings.iter().map(|hexstring| open(hexstring)).collect())
        .await
        .map_err(|_| RpcError::Internal)
}

/// What the engine said of each transaction that it was shown, errors as callers see them.
type Judged = Result<SubmittedTransaction, RpcError>;

/// One engine call for all; the tip that it answered at and its verdicts, in order.
async fn judge<B: Backend>(
    context: &Context<B>,
    call: Call,
) -> Result<(crate::types::Tip, Vec<Judged>), RpcError> {
    let answer: Answer = context.call(call).await?;
    let at = tip_of_answer(&answer);
    let (AnswerBody::Submitted(results) | AnswerBody::Tested(results)) = answer.body else {
        return Err(unexpected(&answer.body));
    };
    let results = results.into_iter().map(|result| {
        result.map_err(|refusal| RpcError::Refused {
            code: refusal.code(),
            reason: refusal.to_string(),
        })
    });
    Ok((at, results.collect()))
}

/// Puts the engine's verdicts back among those that never reached it.
fn merge(opened: Vec<Opened>, judged: Vec<Judged>) -> Vec<(Option<Ids>, Judged)> {
    let mut judged = judged.into_iter();
    opened
        .into_iter()
        .map(|opened| match opened {
            Ok(transaction) => {
                let ids = (transaction.txid(), transaction.wtxid());
                (Some(ids), judged.next().unwrap_or(Err(RpcError::Internal)))
            }
            Err(error) => (None, Err(error)),
        })
        .collect()
}

type Ids = (Txid, Wtxid);

fn passed(opened: &[Opened]) -> Vec<Arc<CheckedTransaction>> {
    opened.iter().flatten().cloned().collect()
}

pub(super) async fn send<B: Backend>(
    context: &Context<B>,
    hexstring: &str,
) -> Result<Text<Txid>, RpcError> {
    let transaction = open(hexstring)?;
    let call = Call::SubmitTransactions(vec![Arc::clone(&transaction)]);
    let (_, judged) = judge(context, call).await?;
    match judged.into_iter().next() {
        Some(Ok(submitted)) => Ok(submitted.txid.into()),
        // As in Bitcoin Core, one that waits already, the very same, is no error.
        Some(Err(RpcError::Refused { code: "tx-already-known", .. }))
            if waits(context, &transaction).await? =>
        {
            Ok(transaction.txid().into())
        }
        Some(Err(error)) => Err(error),
        None => Err(RpcError::Internal),
    }
}

/// Whether this very transaction, witnesses included, is in the mempool.
async fn waits<B: Backend>(
    context: &Context<B>,
    transaction: &CheckedTransaction,
) -> Result<bool, RpcError> {
    let answer = context.call(Call::MempoolTransaction(transaction.txid())).await?;
    match answer.body {
        AnswerBody::MempoolTransaction(entry) => {
            Ok(entry.is_some_and(|entry| entry.transaction.wtxid() == transaction.wtxid()))
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn send_all<B: Backend>(
    context: &Context<B>,
    hexstrings: Vec<String>,
) -> Result<SubmitResults, RpcError> {
    let opened = open_all(hexstrings).await?;
    let (at, judged) = judge(context, Call::SubmitTransactions(passed(&opened))).await?;
    let results = merge(opened, judged).into_iter().map(|(ids, judged)| {
        let txid = ids.map(|(txid, _)| txid.into());
        match judged {
            Ok(submitted) => SubmitResult { txid, fee: Some(submitted.fee.grains()), error: None },
            Err(error) => SubmitResult { txid, fee: None, error: Some(submit_error(&error)) },
        }
    });
    Ok(SubmitResults { at, results: results.collect() })
}

fn submit_error(error: &RpcError) -> SubmitError {
    let object = ErrorObjectOwned::from(error);
    SubmitError { code: object.code(), message: object.message().to_owned(), data: error.into() }
}

pub(super) async fn test_all<B: Backend>(
    context: &Context<B>,
    rawtxs: Vec<String>,
) -> Result<Vec<TestResult>, RpcError> {
    let opened = open_all(rawtxs).await?;
    let (at, judged) = judge(context, Call::TestTransactions(passed(&opened))).await?;
    let results = merge(opened, judged).into_iter().map(|(ids, judged)| {
        let (txid, wtxid) = (ids.map(|ids| ids.0.into()), ids.map(|ids| ids.1.into()));
        let mut result = TestResult {
            at,
            txid,
            wtxid,
            allowed: judged.is_ok(),
            size: None,
            fee: None,
            reject_reason: None,
            reject_details: None,
        };
        match judged {
            Ok(accepted) => {
                result.size = Some(accepted.size_bytes);
                result.fee = Some(accepted.fee.grains());
            }
            Err(error) => {
                result.reject_reason = Some(error.code().to_owned());
                result.reject_details = Some(error.to_string());
            }
        }
        result
    });
    Ok(results.collect())
}

pub(super) async fn listing<B: Backend>(
    context: &Context<B>,
    verbose: bool,
    after: Option<u64>,
    limit: Option<usize>,
) -> Result<MempoolResult, RpcError> {
    let limit = page_limit(limit, MAX_CALL_ENTRIES)?;
    let answer = context.call(Call::MempoolPage { after, limit }).await?;
    let at = tip_of_answer(&answer);
    let AnswerBody::MempoolPage(entries) = answer.body else {
        return Err(unexpected(&answer.body));
    };
    if !verbose {
        let ids = entries.iter().map(|entry| entry.transaction.txid().into());
        return Ok(MempoolResult::Ids(ids.collect()));
    }
    // A full page may be the last one; the page after it is then empty.
    let full = entries.len() >= limit;
    let next = entries.last().filter(|_| full).map(|entry| entry.sequence);
    let transactions: BTreeMap<_, _> = entries
        .into_iter()
        .map(|entry| (entry.transaction.txid().into(), describe(entry)))
        .collect();
    Ok(MempoolResult::Entries(MempoolListing { at, transactions, next }))
}

pub(super) async fn info<B: Backend>(context: &Context<B>) -> Result<MempoolInfo, RpcError> {
    let answer = context.call(Call::MempoolInfo).await?;
    let at = tip_of_answer(&answer);
    let AnswerBody::MempoolInfo(info) = answer.body else {
        return Err(unexpected(&answer.body));
    };
    Ok(MempoolInfo {
        at,
        size: info.count as u64,
        bytes: info.size_bytes as u64,
        usage: info.memory_bytes as u64,
        maxmempool: info.max_bytes as u64,
        total_fee: info.total_fee.grains(),
        mempoolminfee: info.min_feerate_per_kb,
        orphans: info.orphans as u64,
        loaded: context.backend.is_mempool_loaded(),
    })
}

pub(super) async fn estimate_fee<B: Backend>(
    context: &Context<B>,
    target_blocks: u32,
) -> Result<FeeEstimate, RpcError> {
    if !(1..=MAX_CONF_TARGET).contains(&target_blocks) {
        return Err(RpcError::InvalidParameter {
            name: "conf_target",
            reason: format!("1 to {MAX_CONF_TARGET}"),
        });
    }
    let answer = context.call(Call::EstimateFee { target_blocks }).await?;
    let at = tip_of_answer(&answer);
    let AnswerBody::Fee(estimate) = answer.body else {
        return Err(unexpected(&answer.body));
    };
    Ok(FeeEstimate {
        at,
        feerate: estimate.feerate_per_kb,
        blocks: estimate.target_blocks,
        basis: estimate.basis.to_owned(),
        waiting_bytes: estimate.waiting_bytes,
    })
}
