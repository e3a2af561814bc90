//! CPU work that leaves the engine as pure data and comes back as a result.

use std::{collections::BTreeSet, sync::Arc};

use ashlar_consensus::{BlockError, CheckedBlock, CheckedTransaction, OpenError, Params, SignatureCheck, TxError, Verified, signature::{Place, VerifiedTransaction}};
use ashlar_primitives::{Block, Header, Transaction, Wtxid, compact::CompactBlock};

/// A job, numbered by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Owns its data; the same job gives the same result whatever runs it.
/// The implementer of the engine adds what it needs; `run` is the only way.
#[derive(Debug)]
pub enum Job {
    OpenBlock { params: Arc<Params>, header: Header, height: u32, block: Block },
    VerifyBlock { checks: Vec<SignatureCheck>, known: BTreeSet<Wtxid> },
    VerifyTransactions { checks: Vec<(Wtxid, Vec<SignatureCheck>)> },
    CheckTransactions { transactions: Vec<Transaction> },
}

#[derive(Debug)]
pub enum JobResult {
    OpenBlock(Result<Arc<CheckedBlock>, OpenError>),
    VerifyBlock(Result<Verified, Place>),
    VerifyTransactions(Vec<Result<VerifiedTransaction, Place>>),
    CheckTransactions(Vec<Result<CheckedTransaction, TxError>>),
}

impl Job {
    /// `rng` must be cryptographic and unpredictable to peers; it decides no verdict.
    pub fn run(self, rng: &mut impl rand::CryptoRng) -> JobResult { todo!() }
}
