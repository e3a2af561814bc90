//! `transactions.json`: transactions judged alone against given coins (PROTOCOL.md §3, §8).

use std::collections::{BTreeMap, BTreeSet};

use ashlar_consensus::{Params, TxError, judge_transaction, open_transaction, verify_signatures};
use ashlar_primitives::{Amount, BlockId, Coin, OutPoint};
use rand::{SeedableRng, rngs::StdRng};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    chain::params,
    json::{Hex, text},
    utxo::coin,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    transaction: Hex,
    #[serde(deserialize_with = "text")]
    chain_id: BlockId,
    /// Of the block that it would be in.
    height: u32,
    coinbase_maturity: u32,
    /// All that exist.
    coins: Vec<Hex>,
    /// `valid`, or a code of §8.
    result: String,
    /// Where valid.
    fee: Option<u64>,
    /// Where not: whether for ever.
    permanent: Option<bool>,
}

impl Check for Case {
    fn check(&self) -> Verdict {
        let coins = self.coins.iter().map(coin).collect::<Result<BTreeMap<_, _>, _>>()?;
        let params = Params {
            chain_id: self.chain_id,
            coinbase_maturity: self.coinbase_maturity,
            ..params()
        };
        let (result, fee, permanent) =
            match judge(&params, self.height, &self.transaction.0, &coins) {
                Ok(fee) => ("valid", Some(fee.grains()), None),
                Err(error) => (error.code(), None, Some(error.is_permanent())),
            };
        Failure::unless_equal("result", &result, &self.result.as_str())?;
        Failure::unless_equal("fee", &fee, &self.fee)?;
        Failure::unless_equal("permanent", &permanent, &self.permanent)
    }
}

/// All rules for one transaction, signatures included; its fee.
fn judge(
    params: &Params,
    height: u32,
    bytes: &[u8],
    coins: &BTreeMap<OutPoint, Coin>,
) -> Result<Amount, TxError> {
    let transaction = open_transaction(bytes)?;
    let inputs = &transaction.transaction().inputs;
    let spent: Vec<_> = inputs.iter().map(|input| coins.get(input).copied()).collect();
    let judged = judge_transaction(params, height, &transaction, &spent)?;
    // Which generator it is decides nothing.
    let mut rng = StdRng::seed_from_u64(0);
    verify_signatures(&judged.checks, &BTreeSet::new(), &mut rng)
        .map_err(|place| TxError::BadSignature { witness: place.witness })?;
    Ok(judged.fee)
}
