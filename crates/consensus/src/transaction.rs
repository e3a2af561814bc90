//! Judging one transaction: the same functions serve block, mempool and template (§3, §8).

use ashlar_primitives::{Amount, BlockId, Coin, OutPoint, Transaction, Txid, Wtxid};

use crate::{error::TxError, signature::SignatureCheck, params::Params};

/// A transaction that keeps the stateless rules. Private fields: to hold one is the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTransaction { /* transaction, txid, wtxid, size_bytes */ }

impl CheckedTransaction {
    pub fn transaction(&self) -> &Transaction { todo!() }
    pub fn txid(&self) -> Txid { todo!() }
    pub fn wtxid(&self) -> Wtxid { todo!() }
    pub fn size_bytes(&self) -> u32 { todo!() }
}

/// The stateless rules, in order.
pub fn check_transaction(transaction: Transaction) -> Result<CheckedTransaction, TxError> { todo!() }

/// Decodes (`tx-malformed`) and checks.
pub fn open_transaction(bytes: &[u8]) -> Result<CheckedTransaction, TxError> { todo!() }

/// What a transaction's contextual rules found.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Inputs less outputs.
    pub fee: Amount,
    /// All that must still verify, in order; the place is the witness index.
    pub checks: Vec<SignatureCheck>,
}

/// The contextual rules at `height`, in order, without verifying signatures. `coins` are those
/// that the inputs name, in input order; `None` where there is no such unspent coin.
/// A `BadWitness{NotYet}` is returned as error too, but note §8: an unsatisfied time condition
/// beside a wrong signature is for now.
pub fn judge_transaction(
    params: &Params,
    height: u32,
    transaction: &CheckedTransaction,
    coins: &[Option<Coin>],
) -> Result<Judged, TxError> { todo!() }

/// The digest that all signatures sign (§3). `spent` in input order.
pub fn sighash(chain_id: &BlockId, txid: &Txid, spent: &[ashlar_primitives::Output]) -> ashlar_primitives::SigHash { todo!() }
