//! `sighash.json`: what signatures sign (PROTOCOL.md §3).

use ashlar_consensus::transaction::sighash;
use ashlar_primitives::{BlockId, Decode, Output, SigHash, Transaction, Txid, hash::double_sha256};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    json::{Hex, text},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    #[serde(deserialize_with = "text")]
    chain_id: BlockId,
    transaction: Hex,
    /// The outputs spent, in input order.
    spent: Vec<Hex>,
    #[serde(deserialize_with = "text")]
    txid: Txid,
    spent_hash: Hex,
    #[serde(deserialize_with = "text")]
    digest: SigHash,
}

impl Check for Case {
    fn check(&self) -> Verdict {
        let joined: Vec<u8> = self.spent.iter().flat_map(|output| output.0.clone()).collect();
        let spent_hash = Hex(double_sha256(&joined).to_vec());
        Failure::unless_equal("spent hash", &spent_hash, &self.spent_hash)?;
        let txid = Transaction::from_bytes(&self.transaction.0)?.txid();
        Failure::unless_equal("txid", &txid, &self.txid)?;
        let spent = self
            .spent
            .iter()
            .map(|output| Output::from_bytes(&output.0))
            .collect::<Result<Vec<_>, _>>()?;
        Failure::unless_equal("digest", &sighash(&self.chain_id, &txid, &spent), &self.digest)
    }
}
