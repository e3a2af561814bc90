//! `signature.json`: Ed25519 by ZIP-215, one at a time (PROTOCOL.md §3).

use ashlar_consensus::signature::verify_one;
use ashlar_primitives::{PublicKey, Signature};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    json::{Hex, text},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    #[serde(deserialize_with = "text")]
    public_key: PublicKey,
    /// Of any length.
    message: Hex,
    #[serde(deserialize_with = "text")]
    signature: Signature,
    valid: bool,
}

impl Check for Case {
    fn check(&self) -> Verdict {
        let valid = verify_one(&self.public_key, &self.message.0, &self.signature);
        Failure::unless_equal("valid", &valid, &self.valid)
    }
}
