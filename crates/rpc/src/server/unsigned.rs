//! Transactions that callers make and look at: nothing of the chain but its address prefix is
//! needed.

use ashlar_consensus::check_transaction;
use ashlar_primitives::{Amount, Decode as _, Encode as _, OutPoint, Output, Transaction};

use super::{
    backend::Backend,
    context::{Context, parse_address},
    decoded::transaction_detail,
};
use crate::{
    error::RpcError,
    types::{Hex, InputDetail, Payees, TransactionDetail},
};

/// An encoding counts inputs, outputs and the bytes of a memo with 16 bits (PROTOCOL.md §3); what
/// the rules allow is less.
const MAX_ITEMS: usize = u16::MAX as usize;

pub(super) fn create<B: Backend>(
    context: &Context<B>,
    inputs: &[InputDetail],
    payees: Payees,
    not_before: Option<u32>,
    memo: Option<Hex>,
) -> Result<Hex, RpcError> {
    let view = context.view();
    let payees: Vec<(String, u64)> = match payees {
        Payees::Object(payees) => payees.into_iter().collect(),
        Payees::List(payees) => payees.into_iter().flatten().collect(),
    };
    let memo = memo.unwrap_or_default().0;
    for (what, count) in
        [("inputs", inputs.len()), ("outputs", payees.len()), ("bytes of memo", memo.len())]
    {
        if count > MAX_ITEMS {
            return Err(RpcError::TooMany { what, max: MAX_ITEMS });
        }
    }
    let output = |(address, grains): (String, u64)| -> Result<Output, RpcError> {
        let lock = parse_address(&address, &view.params().address_prefix)?;
        Ok(Output { value: Amount::from_grains(grains), lock })
    };
    let transaction = Transaction {
        not_before: not_before.unwrap_or(0),
        inputs: inputs
            .iter()
            .map(|input| OutPoint { txid: input.txid.0, index: input.vout })
            .collect(),
        outputs: payees.into_iter().map(output).collect::<Result<_, _>>()?,
        memo,
        witnesses: Vec::new(),
    };
    match check_transaction(transaction) {
        Ok(checked) => Ok(checked.transaction().to_bytes().into()),
        Err(error) => Err(RpcError::Refused { code: error.code(), reason: error.to_string() }),
    }
}

pub(super) fn decode<B: Backend>(
    context: &Context<B>,
    hexstring: &str,
) -> Result<TransactionDetail, RpcError> {
    let malformed = |reason: String| RpcError::Refused { code: "tx-malformed", reason };
    let bytes = hex::decode(hexstring).map_err(|_| malformed("not hex".to_owned()))?;
    let transaction =
        Transaction::from_bytes(&bytes).map_err(|error| malformed(error.to_string()))?;
    Ok(transaction_detail(&transaction, &context.view().params().address_prefix))
}
