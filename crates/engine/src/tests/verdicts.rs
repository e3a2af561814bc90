//! The tables of `offence`: every error, what it is answered with, whom it costs what.

use ashlar_consensus::{
    BlockError, BodyError, HeaderError, OpenError, TxError,
    error::{CoinbaseFault, WitnessFault},
};
use ashlar_ledger::{
    HeaderRefusal,
    records::{HELD, INVALIDATED},
};
use ashlar_mempool::{PolicyError, Refusal, ReplacementFault};
use ashlar_primitives::DecodeError;

use crate::{
    Offence, RequestFailure, Verdict,
    limits::{BAN_MS, CUT_SCORE},
    offence::{
        Judgement, answered_header, gossiped_header, open_error_code, request_failure,
        transaction_refusal, unopened_block,
    },
};

const HEADER_RULES: [HeaderError; 4] = [
    HeaderError::BadVersion { version: 0 },
    HeaderError::TimeTooOld { time: 0, median: 1 },
    HeaderError::BadDifficulty { bits: 0, required: 1 },
    HeaderError::HighHash,
];

#[test]
fn headers() {
    for error in HEADER_RULES {
        let refusal = HeaderRefusal::Rule(error);
        assert_eq!(gossiped_header(&refusal), Judgement::reject(Offence::InvalidHeader));
        assert_eq!(answered_header(&refusal), Some(Offence::InvalidHeader));
    }
    // Passed on in good faith before the parent was connected; but not called one's own.
    let of_failed = [
        HeaderRefusal::Rule(HeaderError::InvalidParent),
        HeaderRefusal::Failed { code: "bad-coinbase" },
    ];
    for refusal in of_failed {
        assert_eq!(gossiped_header(&refusal), Judgement::IGNORE);
        assert_eq!(answered_header(&refusal), Some(Offence::RefusedChain));
    }
    for code in [INVALIDATED, HELD] {
        let operators = HeaderRefusal::Failed { code };
        assert_eq!(gossiped_header(&operators), Judgement::IGNORE);
        assert_eq!(answered_header(&operators), None);
    }
    assert_eq!(gossiped_header(&HeaderRefusal::TooNew), Judgement::IGNORE);
    assert_eq!(answered_header(&HeaderRefusal::TooNew), None);
    assert_eq!(gossiped_header(&HeaderRefusal::UnknownParent), Judgement::IGNORE);
    assert_eq!(answered_header(&HeaderRefusal::UnknownParent), Some(Offence::WrongAnswer));
}

#[test]
fn blocks() {
    let bytes = [
        BodyError::Malformed(DecodeError::Truncated),
        BodyError::TooLarge { size_bytes: 2, max_bytes: 1 },
        BodyError::BadMerkleRoot,
    ];
    for error in bytes {
        assert_eq!(unopened_block(&error.into()), Offence::InvalidBody);
        assert_eq!(open_error_code(&error.into()), error.code());
    }
    let rules = [
        BlockError::BadCoinbase(CoinbaseFault::Height),
        BlockError::Transaction { index: 0, error: TxError::NoInputs },
        BlockError::BadUtxoCommitment,
        BlockError::CoinbaseOverpays { claimed: 2, allowed: 1 },
    ];
    for error in rules {
        assert_eq!(unopened_block(&OpenError::Block(error)), Offence::InvalidBlock);
        assert_eq!(open_error_code(&OpenError::Block(error)), error.code());
    }
}

#[test]
fn transactions() {
    let witness = |fault| TxError::BadWitness { witness: 0, fault };
    let errors = [
        TxError::Malformed(DecodeError::Truncated),
        TxError::NoInputs,
        TxError::NoOutputs,
        TxError::TooLarge { size_bytes: 100_001 },
        TxError::DuplicateInput,
        TxError::BadValue,
        TxError::BadLockVersion,
        TxError::MemoTooLong { length: 257 },
        TxError::NotYetValid { not_before: 9 },
        TxError::MissingInput { input: 0 },
        TxError::ImmatureCoinbase { input: 0, mature_at: 9 },
        TxError::BadInputSum,
        TxError::Overspends { inputs: 1, outputs: 2 },
        witness(WitnessFault::Count),
        witness(WitnessFault::Kind),
        witness(WitnessFault::PolicyId),
        witness(WitnessFault::Unsatisfied),
        witness(WitnessFault::NotYet),
        witness(WitnessFault::Leftovers),
        TxError::BadSignature { witness: 0 },
    ];
    let mut rejected = 0;
    for error in errors {
        let judgement = transaction_refusal(&error.into());
        if error.is_permanent() {
            assert_eq!(judgement, Judgement::reject(Offence::InvalidTransaction), "{error}");
            rejected += 1;
        } else {
            assert_eq!(judgement, Judgement::IGNORE, "{error}");
        }
    }
    assert_eq!(rejected, 14);
}

#[test]
fn policy_costs_nobody_anything() {
    let policies = [
        PolicyError::AlreadyKnown,
        PolicyError::AlreadyConfirmed,
        PolicyError::NotRelayable { size_bytes: 2, max_bytes: 1 },
        PolicyError::FeeTooLow { fee: 1, required: 2 },
        PolicyError::MempoolFull { required: 1 },
        PolicyError::Conflict(ReplacementFault::TooMany { max: 1 }),
        PolicyError::ClusterTooLarge { max_transactions: 1, max_bytes: 1 },
    ];
    for policy in policies {
        assert_eq!(transaction_refusal(&Refusal::Policy(policy)), Judgement::IGNORE);
    }
}

#[test]
fn silence_is_not_malice() {
    assert_eq!(request_failure(RequestFailure::Timeout), None);
    assert_eq!(request_failure(RequestFailure::Closed), None);
    assert_eq!(request_failure(RequestFailure::Malformed), Some(Offence::MalformedAnswer));
}

#[test]
fn what_offences_cost() {
    let cuts_and_bans = [
        Offence::BadStatus,
        Offence::InvalidHeader,
        Offence::InvalidChain,
        Offence::InvalidBody,
        Offence::InvalidBlock,
        Offence::InvalidCompact,
        Offence::MalformedAnswer,
        Offence::WrongAnswer,
    ];
    for offence in cuts_and_bans {
        let penalty = offence.penalty();
        assert_eq!((penalty.points, penalty.ban_ms), (CUT_SCORE, Some(BAN_MS)), "{offence:?}");
    }
    let cuts = [Offence::OtherChain, Offence::NoStatus, Offence::Unresponsive, Offence::NoRoom];
    for offence in cuts {
        let penalty = offence.penalty();
        assert_eq!((penalty.points, penalty.ban_ms), (CUT_SCORE, None), "{offence:?}");
    }
    let adds_up = [
        Offence::RefusedChain,
        Offence::RequestBeforeStatus,
        Offence::TooManyRequests,
        Offence::InvalidTransaction,
        Offence::WithheldBlock,
        Offence::Stalling,
    ];
    for offence in adds_up {
        assert!((1..CUT_SCORE).contains(&offence.penalty().points), "{offence:?}");
        assert!(!offence.reason().is_empty());
    }
    assert_eq!(Judgement::reject(Offence::InvalidBlock).verdict, Verdict::Reject);
}
