//! Who is to blame for what, and what it costs: one exhaustive `match` from every error to an
//! offence and a verdict, and one from every offence to points.
//!
//! Two rules decide every line. Only what is wrong for everyone is anybody's fault: a peer may
//! have another tip, another clock, another mempool. And only who had to know is at fault: blocks
//! are passed on before they are connected (PROTOCOL.md §12), so that who gossips a block answers
//! for groups 1 and 2 of §8, and who calls it part of its own chain for all of them.

use ashlar_consensus::{
    BlockError, BodyError, HeaderError, OpenError, TxError, error::WitnessFault,
};
use ashlar_ledger::{HeaderRefusal, records::is_operators};
use ashlar_mempool::{PolicyError, Refusal};

use crate::{
    input::RequestFailure,
    limits::{BAN_MS, CUT_SCORE},
    output::Verdict,
};

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// Its status names another chain.
    OtherChain,
    /// Its status contradicts itself.
    BadStatus,
    /// No status in time.
    NoStatus,
    /// Request after request without an answer.
    Unresponsive,
    /// Nothing wrong with it: the engine has no room.
    NoRoom,
    /// Asked for something before it asked for status.
    RequestBeforeStatus,
    /// Asks more often than any sync needs.
    TooManyRequests,
    /// Sent a header that breaks a rule.
    InvalidHeader,
    /// Calls a chain its own that holds a block which this node just found invalid.
    InvalidChain,
    /// Offers headers on a block that this node found invalid before.
    RefusedChain,
    /// Sent bytes that are not the body of the header they came with.
    InvalidBody,
    /// Sent a block that is wrong whatever the state before it.
    InvalidBlock,
    /// Gossiped a compact block that does not tell the block of its header.
    InvalidCompact,
    /// Sent a transaction that is wrong for ever.
    InvalidTransaction,
    /// Its answer does not decode or breaks a limit.
    MalformedAnswer,
    /// Its answer is not an answer to what was asked.
    WrongAnswer,
    /// Gossiped a block and does not hand it out.
    WithheldBlock,
    /// Kept the lowest block of the window waiting.
    Stalling,
}

/// What an offence costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Penalty {
    /// Added to the peer's score; [`CUT_SCORE`] cuts at once.
    pub(crate) points: u32,
    /// How long a peer is kept out that is cut for this.
    pub(crate) ban_ms: Option<u64>,
}

impl Offence {
    /// Points, and the ban where points reach the limit.
    pub(crate) const fn penalty(self) -> Penalty {
        let (points, ban_ms) = match self {
            // Not wrong, only not for us: it may dial again.
            Self::OtherChain | Self::NoStatus | Self::Unresponsive | Self::NoRoom => {
                (CUT_SCORE, None)
            }
            // What no honest node can do, for it checks before it sends.
            Self::BadStatus
            | Self::InvalidHeader
            | Self::InvalidChain
            | Self::InvalidBody
            | Self::InvalidBlock
            | Self::InvalidCompact
            | Self::MalformedAnswer
            | Self::WrongAnswer => (CUT_SCORE, Some(BAN_MS)),
            // Three and it is gone (THREATS.md C19).
            Self::InvalidTransaction => (34, Some(BAN_MS)),
            // What a broken link or a full machine can look like.
            Self::WithheldBlock | Self::RequestBeforeStatus | Self::RefusedChain => (20, None),
            Self::TooManyRequests => (1, None),
            Self::Stalling => (2, None),
        };
        Penalty { points, ban_ms }
    }

    /// For the log and for `getpeerinfo`'s readers.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::OtherChain => "it is on another chain",
            Self::BadStatus => "its status contradicts itself",
            Self::NoStatus => "it did not tell its status in time",
            Self::Unresponsive => "it does not answer",
            Self::NoRoom => "there is no room for more peers",
            Self::RequestBeforeStatus => "it asked before it told its status",
            Self::TooManyRequests => "it asks too much",
            Self::InvalidHeader => "it sent a header that breaks a rule",
            Self::InvalidChain => "its chain holds an invalid block",
            Self::RefusedChain => "its chain holds a block that was refused before",
            Self::InvalidBody => "it sent a body that does not belong to its header",
            Self::InvalidBlock => "it sent an invalid block",
            Self::InvalidCompact => "it gossiped a compact block that does not tell its block",
            Self::InvalidTransaction => "it sent a transaction that is wrong for ever",
            Self::MalformedAnswer => "its answer does not decode or breaks a limit",
            Self::WrongAnswer => "its answer is not what was asked for",
            Self::WithheldBlock => "it gossiped a block and does not hand it out",
            Self::Stalling => "it kept the sync waiting",
        }
    }
}

/// A verdict on gossip, and the offence of who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) offence: Option<Offence>,
}

impl Judgement {
    /// Nobody's fault.
    pub(crate) const IGNORE: Self = Self { verdict: Verdict::Ignore, offence: None };

    /// Wrong for everyone.
    pub(crate) const fn reject(offence: Offence) -> Self {
        Self { verdict: Verdict::Reject, offence: Some(offence) }
    }
}

/// On a gossiped block whose header is refused.
pub(crate) const fn gossiped_header(refusal: &HeaderRefusal) -> Judgement {
    match refusal {
        HeaderRefusal::Rule(error) => match error {
            HeaderError::BadVersion { .. }
            | HeaderError::TimeTooOld { .. }
            | HeaderError::BadDifficulty { .. }
            | HeaderError::HighHash => Judgement::reject(Offence::InvalidHeader),
            // Who passed it on may not have connected the parent yet.
            HeaderError::InvalidParent => Judgement::IGNORE,
        },
        HeaderRefusal::UnknownParent | HeaderRefusal::TooNew | HeaderRefusal::Failed { .. } => {
            Judgement::IGNORE
        }
    }
}

/// On a header in an answer: its sender calls the chain its own, connected and published.
pub(crate) fn answered_header(refusal: &HeaderRefusal) -> Option<Offence> {
    match refusal {
        HeaderRefusal::Rule(error) => Some(match error {
            HeaderError::BadVersion { .. }
            | HeaderError::TimeTooOld { .. }
            | HeaderError::BadDifficulty { .. }
            | HeaderError::HighHash => Offence::InvalidHeader,
            HeaderError::InvalidParent => Offence::RefusedChain,
        }),
        // Our operator's doing.
        HeaderRefusal::Failed { code } if is_operators(code) => None,
        HeaderRefusal::Failed { .. } => Some(Offence::RefusedChain),
        // The answer did not start after any entry of the locator.
        HeaderRefusal::UnknownParent => Some(Offence::WrongAnswer),
        HeaderRefusal::TooNew => None,
    }
}

/// On who sent a body that does not open.
pub(crate) const fn unopened_block(error: &OpenError) -> Offence {
    match error {
        OpenError::Body(error) => match error {
            BodyError::Malformed(_) | BodyError::TooLarge { .. } | BodyError::BadMerkleRoot => {
                Offence::InvalidBody
            }
        },
        OpenError::Block(error) => match error {
            BlockError::BadCoinbase(_)
            | BlockError::Transaction { .. }
            | BlockError::BadUtxoCommitment
            | BlockError::CoinbaseOverpays { .. } => Offence::InvalidBlock,
        },
    }
}

/// The code of PROTOCOL.md §8 for a block that does not open.
pub(crate) const fn open_error_code(error: &OpenError) -> &'static str {
    match error {
        OpenError::Body(error) => error.code(),
        OpenError::Block(error) => error.code(),
    }
}

/// On who sent a transaction that breaks a rule (§8, "for ever or for now").
pub(crate) const fn transaction_error(error: &TxError) -> Judgement {
    match error {
        TxError::Malformed(_)
        | TxError::NoInputs
        | TxError::NoOutputs
        | TxError::TooLarge { .. }
        | TxError::DuplicateInput
        | TxError::BadValue
        | TxError::BadLockVersion
        | TxError::MemoTooLong { .. }
        | TxError::BadSignature { .. } => Judgement::reject(Offence::InvalidTransaction),
        TxError::BadWitness { fault, .. } => match fault {
            WitnessFault::Count
            | WitnessFault::Kind
            | WitnessFault::PolicyId
            | WitnessFault::Unsatisfied
            | WitnessFault::Leftovers => Judgement::reject(Offence::InvalidTransaction),
            WitnessFault::NotYet => Judgement::IGNORE,
        },
        TxError::NotYetValid { .. }
        | TxError::MissingInput { .. }
        | TxError::ImmatureCoinbase { .. }
        | TxError::BadInputSum
        | TxError::Overspends { .. } => Judgement::IGNORE,
    }
}

/// On who sent a transaction that the mempool does not take: policy is nobody's fault (§13).
pub(crate) const fn transaction_refusal(refusal: &Refusal) -> Judgement {
    match refusal {
        Refusal::Invalid(error) => transaction_error(error),
        Refusal::Policy(error) => match error {
            PolicyError::AlreadyKnown
            | PolicyError::AlreadyConfirmed
            | PolicyError::NotRelayable { .. }
            | PolicyError::FeeTooLow { .. }
            | PolicyError::MempoolFull { .. }
            | PolicyError::Conflict(_)
            | PolicyError::ClusterTooLarge { .. } => Judgement::IGNORE,
        },
    }
}

/// On a peer that did not answer. Silence is counted, not punished (`MAX_TIMEOUTS`).
pub(crate) const fn request_failure(failure: RequestFailure) -> Option<Offence> {
    match failure {
        RequestFailure::Malformed => Some(Offence::MalformedAnswer),
        RequestFailure::Timeout | RequestFailure::Closed => None,
    }
}
