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

/// Every value of an error: `next` matches each variant and names the one after it, so that
/// a variant which is in no table does not compile.
fn every<E>(first: E, next: fn(&E) -> Option<E>) -> Vec<E> {
    core::iter::successors(Some(first), next).collect()
}

/// `InvalidParent` is judged apart: it says nothing of the header itself.
fn header_rules() -> Vec<HeaderError> {
    use HeaderError as E;
    every(E::BadVersion { version: 0 }, |error| match error {
        E::BadVersion { .. } => Some(E::TimeTooOld { time: 0, median: 1 }),
        E::TimeTooOld { .. } => Some(E::BadDifficulty { bits: 0, required: 1 }),
        E::BadDifficulty { .. } => Some(E::HighHash),
        E::HighHash | E::InvalidParent => None,
    })
}

fn body_errors() -> Vec<BodyError> {
    use BodyError as E;
    every(E::Malformed(DecodeError::Truncated), |error| match error {
        E::Malformed(_) => Some(E::TooLarge { size_bytes: 2, max_bytes: 1 }),
        E::TooLarge { .. } => Some(E::BadMerkleRoot),
        E::BadMerkleRoot => None,
    })
}

fn block_errors() -> Vec<BlockError> {
    use BlockError as E;
    every(E::BadCoinbase(CoinbaseFault::Height), |error| match error {
        E::BadCoinbase(_) => Some(E::Transaction { index: 0, error: TxError::NoInputs }),
        E::Transaction { .. } => Some(E::BadUtxoCommitment),
        E::BadUtxoCommitment => Some(E::CoinbaseOverpays { claimed: 2, allowed: 1 }),
        E::CoinbaseOverpays { .. } => None,
    })
}

fn witness_faults() -> Vec<WitnessFault> {
    use WitnessFault as F;
    every(F::Count, |fault| match fault {
        F::Count => Some(F::Kind),
        F::Kind => Some(F::PolicyId),
        F::PolicyId => Some(F::Unsatisfied),
        F::Unsatisfied => Some(F::NotYet),
        F::NotYet => Some(F::Leftovers),
        F::Leftovers => None,
    })
}

/// `BadWitness` with one fault; [`witness_faults`] has the others.
fn transaction_errors() -> Vec<TxError> {
    use TxError as E;
    every(E::Malformed(DecodeError::Truncated), |error| match error {
        E::Malformed(_) => Some(E::NoInputs),
        E::NoInputs => Some(E::NoOutputs),
        E::NoOutputs => Some(E::TooLarge { size_bytes: 100_001 }),
        E::TooLarge { .. } => Some(E::DuplicateInput),
        E::DuplicateInput => Some(E::BadValue),
        E::BadValue => Some(E::BadLockVersion),
        E::BadLockVersion => Some(E::MemoTooLong { length: 257 }),
        E::MemoTooLong { .. } => Some(E::NotYetValid { not_before: 9 }),
        E::NotYetValid { .. } => Some(E::MissingInput { input: 0 }),
        E::MissingInput { .. } => Some(E::ImmatureCoinbase { input: 0, mature_at: 9 }),
        E::ImmatureCoinbase { .. } => Some(E::BadInputSum),
        E::BadInputSum => Some(E::Overspends { inputs: 1, outputs: 2 }),
        E::Overspends { .. } => Some(E::BadWitness { witness: 0, fault: WitnessFault::Count }),
        E::BadWitness { .. } => Some(E::BadSignature { witness: 0 }),
        E::BadSignature { .. } => None,
    })
}

fn policies() -> Vec<PolicyError> {
    use PolicyError as E;
    every(E::AlreadyKnown, |error| match error {
        E::AlreadyKnown => Some(E::AlreadyConfirmed),
        E::AlreadyConfirmed => Some(E::NotRelayable { size_bytes: 2, max_bytes: 1 }),
        E::NotRelayable { .. } => Some(E::FeeTooLow { fee: 1, required: 2 }),
        E::FeeTooLow { .. } => Some(E::MempoolFull { required: 1 }),
        E::MempoolFull { .. } => Some(E::Conflict(ReplacementFault::TooMany { max: 1 })),
        E::Conflict(_) => Some(E::ClusterTooLarge { max_transactions: 1, max_bytes: 1 }),
        E::ClusterTooLarge { .. } => None,
    })
}

fn offences() -> Vec<Offence> {
    use Offence as O;
    every(O::OtherChain, |offence| match offence {
        O::OtherChain => Some(O::BadStatus),
        O::BadStatus => Some(O::NoStatus),
        O::NoStatus => Some(O::Unresponsive),
        O::Unresponsive => Some(O::NoRoom),
        O::NoRoom => Some(O::RequestBeforeStatus),
        O::RequestBeforeStatus => Some(O::TooManyRequests),
        O::TooManyRequests => Some(O::InvalidHeader),
        O::InvalidHeader => Some(O::InvalidChain),
        O::InvalidChain => Some(O::RefusedChain),
        O::RefusedChain => Some(O::InvalidBody),
        O::InvalidBody => Some(O::InvalidBlock),
        O::InvalidBlock => Some(O::InvalidCompact),
        O::InvalidCompact => Some(O::InvalidTransaction),
        O::InvalidTransaction => Some(O::MalformedAnswer),
        O::MalformedAnswer => Some(O::WrongAnswer),
        O::WrongAnswer => Some(O::WithheldBlock),
        O::WithheldBlock => Some(O::Stalling),
        O::Stalling => None,
    })
}

#[test]
fn headers() {
    for error in header_rules() {
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
    for error in body_errors() {
        assert_eq!(unopened_block(&error.into()), Offence::InvalidBody);
        assert_eq!(open_error_code(&error.into()), error.code());
    }
    for error in block_errors() {
        assert_eq!(unopened_block(&OpenError::Block(error)), Offence::InvalidBlock);
        assert_eq!(open_error_code(&OpenError::Block(error)), error.code());
    }
}

#[test]
fn transactions() {
    let witness = |fault| TxError::BadWitness { witness: 0, fault };
    let mut errors: Vec<TxError> = witness_faults()
        .into_iter()
        .filter(|fault| *fault != WitnessFault::Count)
        .map(witness)
        .collect();
    errors.extend(transaction_errors());
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
    for policy in policies() {
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
    use Offence as O;
    for offence in offences() {
        let (points, ban_ms) = match offence {
            O::OtherChain | O::NoStatus | O::Unresponsive | O::NoRoom => (CUT_SCORE, None),
            O::BadStatus
            | O::InvalidHeader
            | O::InvalidChain
            | O::InvalidBody
            | O::InvalidBlock
            | O::InvalidCompact
            | O::MalformedAnswer
            | O::WrongAnswer => (CUT_SCORE, Some(BAN_MS)),
            O::InvalidTransaction => (34, Some(BAN_MS)),
            O::RefusedChain | O::RequestBeforeStatus | O::WithheldBlock => (20, None),
            O::Stalling => (2, None),
            O::TooManyRequests => (1, None),
        };
        let penalty = offence.penalty();
        assert_eq!((penalty.points, penalty.ban_ms), (points, ban_ms), "{offence:?}");
        assert!(!offence.reason().is_empty());
    }
    assert_eq!(Judgement::reject(Offence::InvalidBlock).verdict, Verdict::Reject);
}
