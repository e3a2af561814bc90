//! What is held against nobody, and under which circumstances: all excuses of the invariants that
//! are more than a set of nodes, in one place, so that each can be tested from both sides.

use std::time::Duration;

use ashlar_consensus::{TxError, error::WitnessFault};
use ashlar_engine::Offence;
use ashlar_mempool::{PolicyError, Refusal};

use crate::{
    disk::DiskFault,
    faults::{End, FaultKind},
    node::NodeId,
    scenario::Scenario,
};

/// Not a verdict: the clock is behind.
pub const TOO_NEW: &str = "time-too-new";
/// Not a verdict: the parent may come.
pub const UNKNOWN_PARENT: &str = "unknown-parent";
/// Of what stands on a failed block.
pub const INVALID_PARENT: &str = "invalid-parent";
/// Of bytes that are no block.
pub const MALFORMED: &str = "malformed";

/// What has gone wrong in a world so far that can make a node refuse a good block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Some node's clock was wrong or stood still: its own blocks, or others', seem to be from the
    /// future, and so may the chain for as long as those stand.
    pub clocks_were_wrong: bool,
    /// This node lost its chain with its disk.
    pub was_wiped: bool,
}

impl Circumstances {
    /// Those of a node at a time.
    pub fn of(scenario: &Scenario, node: NodeId, now: Duration) -> Self {
        let mut circumstances = Self::default();
        for fault in scenario.faults.iter().filter(|fault| fault.from <= now) {
            match fault.kind {
                FaultKind::Clock { .. } | FaultKind::Frozen { .. } => {
                    circumstances.clocks_were_wrong = true;
                }
                FaultKind::Down { node: of, end: End::Wiped }
                | FaultKind::Disk { node: of, fault: DiskFault::Damaged { .. } }
                    if of == node =>
                {
                    circumstances.was_wiped = true;
                }
                _ => {}
            }
        }
        circumstances
    }

    /// Why a node may refuse a block that keeps the rules: it is from the future by its clock, or
    /// its disk was lost between template and block.
    pub fn excuse_refusal(self, code: &str) -> bool {
        match code {
            TOO_NEW => self.clocks_were_wrong,
            UNKNOWN_PARENT => self.was_wiped,
            _ => false,
        }
    }

    /// Why a node may give another reason than the model's to refuse a block that breaks a rule.
    pub fn excuse_other_reason(self, code: &str, model: Option<&str>) -> bool {
        match (code, model) {
            // Headers are judged before bodies, and this node may be behind.
            (TOO_NEW | UNKNOWN_PARENT, Some(MALFORMED)) => true,
            // It may have been down or still when the parent was handed in.
            (UNKNOWN_PARENT, Some(INVALID_PARENT)) => true,
            _ => self.excuse_refusal(code),
        }
    }
}

/// What only silence can have been: an honest node is silent while links or processes fail.
pub const fn is_silence(offence: Offence) -> bool {
    matches!(
        offence,
        Offence::NoStatus | Offence::Unresponsive | Offence::WithheldBlock | Offence::Stalling
    )
}

/// Why a node may refuse a payment that its wallet saw the coins of. Between that and the verdict
/// a reorganisation may have undone them, or made them too young again: a lower tip can be the
/// better one. Else the mempool has no room, or has one of the two already.
pub const fn is_nobodys_fault(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Invalid(
            TxError::MissingInput { .. }
                | TxError::ImmatureCoinbase { .. }
                | TxError::BadWitness { fault: WitnessFault::NotYet, .. }
        ) | Refusal::Policy(
            PolicyError::ClusterTooLarge { .. }
                | PolicyError::MempoolFull { .. }
                | PolicyError::Conflict(_)
                | PolicyError::AlreadyKnown
                | PolicyError::AlreadyConfirmed
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Fault;

    const NONE: Circumstances = Circumstances { clocks_were_wrong: false, was_wiped: false };
    const CLOCKS: Circumstances = Circumstances { clocks_were_wrong: true, ..NONE };
    const WIPED: Circumstances = Circumstances { was_wiped: true, ..NONE };
    const BOTH: Circumstances = Circumstances { was_wiped: true, ..CLOCKS };

    #[test]
    fn circumstances_begin_with_their_fault_and_are_of_its_node() {
        let seconds = Duration::from_secs;
        let fault = |kind| Fault { from: seconds(10), until: seconds(20), kind };
        let kinds = [
            FaultKind::Clock { node: NodeId(1), by_ms: -1 },
            FaultKind::Frozen { node: NodeId(1) },
            FaultKind::Down { node: NodeId(1), end: End::Wiped },
            FaultKind::Disk {
                node: NodeId(1),
                fault: DiskFault::Damaged { family: ashlar_ledger::Family::Coins, place: 0 },
            },
            FaultKind::Down { node: NodeId(1), end: End::Killed },
            FaultKind::Disk { node: NodeId(1), fault: DiskFault::Full },
            FaultKind::Pause { node: NodeId(1) },
        ];
        // At once for the node, at once for another.
        let expected = [
            (CLOCKS, CLOCKS),
            (CLOCKS, CLOCKS),
            (WIPED, NONE),
            (WIPED, NONE),
            (NONE, NONE),
            (NONE, NONE),
            (NONE, NONE),
        ];
        for (kind, (own, others)) in kinds.into_iter().zip(expected) {
            let mut scenario = Scenario::draw(1, Some(5), Some(10));
            scenario.faults = vec![fault(kind.clone())];
            let at = |node, second| Circumstances::of(&scenario, NodeId(node), seconds(second));
            assert_eq!(at(1, 9), NONE, "{kind:?}");
            for second in [10, 19, 500] {
                assert_eq!((at(1, second), at(2, second)), (own, others), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_good_block_is_refused_for_the_clock_or_a_lost_chain_and_nothing_else() {
        for (code, excused) in [
            (TOO_NEW, [false, true, false, true]),
            (UNKNOWN_PARENT, [false, false, true, true]),
            ("time-too-old", [false; 4]),
            (INVALID_PARENT, [false; 4]),
            ("bad-utxo-commitment", [false; 4]),
        ] {
            let all = [NONE, CLOCKS, WIPED, BOTH];
            assert_eq!(all.map(|it| it.excuse_refusal(code)), excused, "{code}");
        }
    }

    #[test]
    fn another_reason_than_the_models_is_one_of_three() {
        let all =
            |code, model| [NONE, CLOCKS, WIPED, BOTH].map(|it| it.excuse_other_reason(code, model));
        assert_eq!(all(TOO_NEW, Some(MALFORMED)), [true; 4]);
        assert_eq!(all(UNKNOWN_PARENT, Some(MALFORMED)), [true; 4]);
        assert_eq!(all(UNKNOWN_PARENT, Some(INVALID_PARENT)), [true; 4]);
        assert_eq!(all(TOO_NEW, Some(INVALID_PARENT)), [false, true, false, true]);
        assert_eq!(all(TOO_NEW, Some("bad-coinbase")), [false, true, false, true]);
        assert_eq!(all(UNKNOWN_PARENT, Some("bad-coinbase")), [false, false, true, true]);
        assert_eq!(all(UNKNOWN_PARENT, None), [false, false, true, true]);
        assert_eq!(all("bad-merkle-root", Some(MALFORMED)), [false; 4]);
        assert_eq!(all("tx-missing-input", Some("bad-utxo-commitment")), [false; 4]);
        assert_eq!(all(MALFORMED, None), [false; 4]);
    }

    #[test]
    fn a_payment_is_refused_for_what_others_did_and_nothing_else() {
        let excused = [
            Refusal::Invalid(TxError::MissingInput { input: 0 }),
            Refusal::Invalid(TxError::ImmatureCoinbase { input: 0, mature_at: 9 }),
            Refusal::Invalid(TxError::BadWitness { witness: 0, fault: WitnessFault::NotYet }),
            Refusal::Policy(PolicyError::AlreadyKnown),
            Refusal::Policy(PolicyError::AlreadyConfirmed),
            Refusal::Policy(PolicyError::MempoolFull { required: 1 }),
            Refusal::Policy(PolicyError::ClusterTooLarge { max_transactions: 1, max_bytes: 1 }),
        ];
        assert!(excused.iter().all(is_nobodys_fault));
        let unsatisfied = WitnessFault::Unsatisfied;
        let blamed = [
            Refusal::Invalid(TxError::NotYetValid { not_before: 9 }),
            Refusal::Invalid(TxError::Overspends { inputs: 1, outputs: 2 }),
            Refusal::Invalid(TxError::BadWitness { witness: 0, fault: unsatisfied }),
            Refusal::Invalid(TxError::BadSignature { witness: 0 }),
            Refusal::Policy(PolicyError::NotRelayable { size_bytes: 2, max_bytes: 1 }),
            Refusal::Policy(PolicyError::FeeTooLow { fee: 1, required: 2 }),
        ];
        assert!(!blamed.iter().any(is_nobodys_fault));
    }

    #[test]
    fn silence_is_four_offences() {
        for silence in
            [Offence::NoStatus, Offence::Unresponsive, Offence::WithheldBlock, Offence::Stalling]
        {
            assert!(is_silence(silence));
        }
        for speech in [
            Offence::BadStatus,
            Offence::InvalidHeader,
            Offence::InvalidChain,
            Offence::InvalidBody,
            Offence::InvalidBlock,
            Offence::InvalidCompact,
            Offence::InvalidTransaction,
            Offence::WrongAnswer,
        ] {
            assert!(!is_silence(speech), "{speech:?}");
        }
    }
}
