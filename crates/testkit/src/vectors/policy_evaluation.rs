//! Whether a policy is satisfied, signatures included: what the `evaluation` cases of
//! `policy.json` ask (PROTOCOL.md §2).

use ashlar_consensus::{signature::verify_one, witness::satisfy};

use super::{Failure, policy::Spend};

/// `satisfied`, `tx-bad-witness` or `tx-bad-signature`.
pub(super) fn evaluate(spend: &Spend) -> Result<&'static str, Failure> {
    let Spend { policy, height, coin_heights, digest, signatures, preimages } = spend;
    let youngest =
        *coin_heights.iter().max().ok_or_else(|| Failure::new("no coin is under the lock"))?;
    let Ok(signed) = satisfy(policy, *height, youngest, signatures, preimages) else {
        return Ok("tx-bad-witness");
    };
    let is_good = |(key, signature): &_| verify_one(key, digest.as_bytes(), signature);
    Ok(if signed.iter().all(is_good) { "satisfied" } else { "tx-bad-signature" })
}
