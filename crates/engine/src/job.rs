//! CPU work that leaves the engine as pure data and comes back as a result.

use std::{collections::BTreeSet, sync::Arc};

use ashlar_consensus::{
    CheckedBlock, CheckedTransaction, OpenError, Params, Part, SignatureCheck, SpentCoins, State,
    Terms, TxError, Verified, Workers, check_transaction, open_block, open_body, open_parts,
    signature::{Place, VerifiedTransaction, verify_transactions},
    verify_block, walk,
};
use ashlar_primitives::{Block, Coinbase, Header, Transaction, Wtxid};

/// A job, numbered by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Owns its data; the same job gives the same result whatever runs it, and when.
#[derive(Debug)]
pub enum Job {
    /// Group 2 of PROTOCOL.md §8 for a body that a peer sent.
    OpenBlock {
        /// The chain's.
        params: Arc<Params>,
        /// Already judged.
        header: Header,
        /// The one that the coinbase must hold.
        height: u32,
        /// As decoded from the wire.
        block: Block,
    },
    /// The same for a block put together from what was at hand: where the parts do not give the
    /// header's root, the body is wrong and says nothing about the block.
    OpenParts {
        /// The chain's.
        params: Arc<Params>,
        /// Already judged.
        header: Header,
        /// The one that the coinbase must hold.
        height: u32,
        /// As it was announced.
        coinbase: Coinbase,
        /// In block order.
        parts: Vec<Part>,
    },
    /// The same from bytes, for a block that a caller submits.
    OpenBody {
        /// The chain's.
        params: Arc<Params>,
        /// Already judged.
        header: Header,
        /// The one that the coinbase must hold.
        height: u32,
        /// The whole block, header included.
        bytes: Vec<u8>,
    },
    /// The signatures of a block that was walked.
    VerifyBlock {
        /// All of them, in order.
        checks: Vec<SignatureCheck>,
        /// Transactions whose signatures verified when they entered the mempool.
        known: BTreeSet<Wtxid>,
        /// Of the same walk: summed beside them.
        terms: Terms,
    },
    /// The signatures of transactions on their own.
    VerifyTransactions {
        /// For each transaction.
        checks: Vec<(Wtxid, Vec<SignatureCheck>)>,
    },
    /// The stateless rules.
    CheckTransactions {
        /// As decoded from the wire.
        transactions: Vec<Transaction>,
    },
    /// All rules but proof of work and signatures (these verified when the transactions entered
    /// the mempool), on a template before it is served.
    CheckTemplate {
        /// The chain's.
        params: Arc<Params>,
        /// The published tip's.
        parent: Box<State>,
        /// The template's; its root is that of the parts.
        header: Header,
        /// The template's.
        coinbase: Coinbase,
        /// In block order.
        parts: Vec<Part>,
        /// What it spends from outside itself.
        coins: SpentCoins,
    },
}

/// What a job found: the variant of its name.
#[derive(Debug)]
pub enum JobResult {
    /// Of `OpenBlock`, `OpenParts` and `OpenBody`.
    OpenBlock(Result<Arc<CheckedBlock>, OpenError>),
    /// The lowest place whose signature fails, or the proof that none does.
    VerifyBlock(Result<Verified, Place>),
    /// For each transaction.
    VerifyTransactions(Vec<Result<VerifiedTransaction, Place>>),
    /// For each transaction.
    CheckTransactions(Vec<Result<CheckedTransaction, TxError>>),
    /// The first rule that the template breaks.
    CheckTemplate(Result<(), OpenError>),
}

impl Job {
    /// Runs it, on any thread; a block's signatures are shared among `workers`. Who they are and
    /// how many decides no result.
    pub fn run(self, workers: &mut impl Workers) -> JobResult {
        match self {
            Self::OpenBlock { params, header, height, block } => {
                JobResult::OpenBlock(open_block(&params, &header, height, block).map(Arc::new))
            }
            Self::OpenParts { params, header, height, coinbase, parts } => {
                let opened = open_parts(&params, &header, height, coinbase, parts);
                JobResult::OpenBlock(opened.map(Arc::new))
            }
            Self::OpenBody { params, header, height, bytes } => {
                JobResult::OpenBlock(open_body(&params, &header, height, &bytes).map(Arc::new))
            }
            Self::VerifyBlock { checks, known, terms } => {
                JobResult::VerifyBlock(verify_block(&checks, &known, &terms, workers))
            }
            Self::VerifyTransactions { checks } => {
                let mut verified = workers.share(1, |_, rng| verify_transactions(&checks, rng));
                JobResult::VerifyTransactions(verified.pop().unwrap_or_default())
            }
            Self::CheckTransactions { transactions } => JobResult::CheckTransactions(
                transactions.into_iter().map(check_transaction).collect(),
            ),
            Self::CheckTemplate { params, parent, header, coinbase, parts, coins } => {
                let height = parent.header.height.saturating_add(1);
                let checked = open_parts(&params, &header, height, coinbase, parts)
                    .and_then(|block| check_template(&params, &parent, &block, &coins));
                JobResult::CheckTemplate(checked)
            }
        }
    }
}

/// Walks a template as if it had been found. Of the next header's state only what can be known
/// before mining is real: the height.
fn check_template(
    params: &Params,
    parent: &State,
    block: &CheckedBlock,
    coins: &SpentCoins,
) -> Result<(), OpenError> {
    let mut next = parent.header.clone();
    next.height = block.height();
    walk(parent, next, params, block, coins).outcome.map(drop).map_err(OpenError::from)
}
