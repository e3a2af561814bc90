//! What can be wrong, in the order of the checks (PROTOCOL.md §8). One variant for each rule,
//! each with its stable code. These never turn into one another, and none means "we are broken".

use ashlar_primitives::DecodeError;
use thiserror::Error;

/// A header breaks a rule: for ever, for everyone. (`unknown-parent` and `time-too-new` are not
/// verdicts about a header and are asked beside the rules.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// `bad-version`
    #[error("version {version:#010x} does not match the required pattern")]
    BadVersion {
        /// As found.
        version: u32,
    },
    /// `invalid-parent`: an ancestor failed. Stands before the rules for time and work; only where
    /// those hold too is the id remembered as failed (§8).
    #[error("an ancestor is invalid")]
    InvalidParent,
    /// `time-too-old`
    #[error("time {time} is not after the median {median}")]
    TimeTooOld {
        /// The header's.
        time: u32,
        /// Of the blocks before.
        median: u32,
    },
    /// `bad-difficulty`
    #[error("bits {bits:08x}, required {required:08x}")]
    BadDifficulty {
        /// The header's.
        bits: u32,
        /// By §5.
        required: u32,
    },
    /// `high-hash`
    #[error("the id is above the target")]
    HighHash,
}

/// These *bytes* are not the body of that header. Says nothing about the block id (§8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// `malformed`
    #[error("does not decode: {0}")]
    Malformed(DecodeError),
    /// `block-too-large`
    #[error("{size_bytes} bytes, at most {max_bytes} allowed")]
    TooLarge {
        /// The whole encoding.
        size_bytes: u64,
        /// The chain's `max_block_bytes`.
        max_bytes: u32,
    },
    /// `bad-merkle-root`
    #[error("the body does not belong to the header")]
    BadMerkleRoot,
}

/// A block breaks a rule: for ever, for everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// `bad-coinbase`
    #[error("the coinbase breaks a rule: {0}")]
    BadCoinbase(CoinbaseFault),
    /// The code of the transaction's own rule.
    #[error("transaction {index}: {error}")]
    Transaction {
        /// Among the block's transactions.
        index: u32,
        /// Which rule.
        error: TxError,
    },
    /// `bad-utxo-commitment`
    #[error("the coinbase commits to another UTXO set than its parent left")]
    BadUtxoCommitment,
    /// `coinbase-overpays`
    #[error("the coinbase claims {claimed} grains, at most {allowed} allowed")]
    CoinbaseOverpays {
        /// Sum of its outputs.
        claimed: u64,
        /// Subsidy and fees.
        allowed: u64,
    },
}

/// Which rule of a coinbase (§4); all share the code `bad-coinbase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CoinbaseFault {
    /// Not version 0.
    #[error("unknown version")]
    Version,
    /// Not the block's height.
    #[error("wrong height")]
    Height,
    /// None, or more than 1,024.
    #[error("number of outputs")]
    OutputCount,
    /// Not a known lock.
    #[error("unknown lock version")]
    LockVersion,
    /// Over 96 bytes.
    #[error("extra too long")]
    ExtraTooLong,
    /// A value, or the sum, over `MAX_MONEY`.
    #[error("value out of range")]
    Value,
}

/// A transaction breaks a rule. Whether for ever or for now: [`TxError::is_permanent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TxError {
    /// `tx-malformed`
    #[error("does not decode: {0}")]
    Malformed(DecodeError),
    /// `tx-no-inputs`
    #[error("no inputs")]
    NoInputs,
    /// `tx-no-outputs`
    #[error("no outputs")]
    NoOutputs,
    /// `tx-too-large`
    #[error("{size_bytes} bytes")]
    TooLarge {
        /// Whole encoding.
        size_bytes: u64,
    },
    /// `tx-duplicate-input`
    #[error("an outpoint stands twice")]
    DuplicateInput,
    /// `tx-bad-value`
    #[error("an output value or their sum is out of range")]
    BadValue,
    /// `tx-bad-lock-version`
    #[error("unknown lock version")]
    BadLockVersion,
    /// `tx-memo-too-long`
    #[error("memo of {length} bytes")]
    MemoTooLong {
        /// Its length.
        length: usize,
    },
    /// `tx-not-yet-valid`
    #[error("not before height {not_before}")]
    NotYetValid {
        /// The transaction's field.
        not_before: u32,
    },
    /// `tx-missing-input`
    #[error("input {input} names no unspent coin")]
    MissingInput {
        /// Its index.
        input: u16,
    },
    /// `tx-immature-coinbase`
    #[error("input {input} spends a coinbase that matures at height {mature_at}")]
    ImmatureCoinbase {
        /// Its index.
        input: u16,
        /// Coin height plus maturity.
        mature_at: u64,
    },
    /// `tx-bad-input-sum`
    #[error("the inputs' sum is out of range")]
    BadInputSum,
    /// `tx-overspends`
    #[error("outputs of {outputs} grains from inputs of {inputs}")]
    Overspends {
        /// Sum.
        inputs: u64,
        /// Sum.
        outputs: u64,
    },
    /// `tx-bad-witness`
    #[error("witness {witness}: {fault}")]
    BadWitness {
        /// Its index (the count's, for a wrong count).
        witness: u16,
        /// What is wrong.
        fault: WitnessFault,
    },
    /// `tx-bad-signature`
    #[error("a signature of witness {witness} does not verify")]
    BadSignature {
        /// Its index.
        witness: u16,
    },
}

/// What is wrong with a witness; all share the code `tx-bad-witness`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WitnessFault {
    /// Not one for each distinct lock.
    #[error("wrong number of witnesses")]
    Count,
    /// Its kind is not the lock's version.
    #[error("wrong kind")]
    Kind,
    /// The tree's id is not the lock's program.
    #[error("another policy than the lock names")]
    PolicyId,
    /// Unsatisfied whatever the height.
    #[error("not satisfied")]
    Unsatisfied,
    /// Everything else holds, only an `after` or `older` does not yet: for now, not for ever.
    #[error("not satisfied at this height")]
    NotYet,
    /// Signatures or preimages that no node took.
    #[error("something is left over")]
    Leftovers,
}

impl HeaderError {
    /// The stable code of §8.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadVersion { .. } => "bad-version",
            Self::InvalidParent => "invalid-parent",
            Self::TimeTooOld { .. } => "time-too-old",
            Self::BadDifficulty { .. } => "bad-difficulty",
            Self::HighHash => "high-hash",
        }
    }
}

impl BodyError {
    /// The stable code of §8.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooLarge { .. } => "block-too-large",
            Self::BadMerkleRoot => "bad-merkle-root",
        }
    }
}

impl BlockError {
    /// The stable code of §8; a transaction's own for a transaction.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadCoinbase(_) => "bad-coinbase",
            Self::Transaction { error, .. } => error.code(),
            Self::BadUtxoCommitment => "bad-utxo-commitment",
            Self::CoinbaseOverpays { .. } => "coinbase-overpays",
        }
    }
}

impl TxError {
    /// The stable code of §8.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "tx-malformed",
            Self::NoInputs => "tx-no-inputs",
            Self::NoOutputs => "tx-no-outputs",
            Self::TooLarge { .. } => "tx-too-large",
            Self::DuplicateInput => "tx-duplicate-input",
            Self::BadValue => "tx-bad-value",
            Self::BadLockVersion => "tx-bad-lock-version",
            Self::MemoTooLong { .. } => "tx-memo-too-long",
            Self::NotYetValid { .. } => "tx-not-yet-valid",
            Self::MissingInput { .. } => "tx-missing-input",
            Self::ImmatureCoinbase { .. } => "tx-immature-coinbase",
            Self::BadInputSum => "tx-bad-input-sum",
            Self::Overspends { .. } => "tx-overspends",
            Self::BadWitness { .. } => "tx-bad-witness",
            Self::BadSignature { .. } => "tx-bad-signature",
        }
    }

    /// Whether the transaction is wrong for ever, whoever looks at it (§8, "for ever or for now").
    pub const fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::NotYetValid { .. }
                | Self::MissingInput { .. }
                | Self::ImmatureCoinbase { .. }
                | Self::BadInputSum
                | Self::Overspends { .. }
                | Self::BadWitness { fault: WitnessFault::NotYet, .. }
        )
    }
}

/// A rule: its error unless it holds.
pub(crate) fn require<E>(holds: bool, error: E) -> Result<(), E> {
    if holds { Ok(()) } else { Err(error) }
}

/// Why bytes did not become a [`crate::CheckedBlock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// About these bytes.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// About the block, for ever.
    #[error(transparent)]
    Block(#[from] BlockError),
}
