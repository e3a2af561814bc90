//! Why a transaction is not taken, with the stable codes of PROTOCOL.md §8 and §13.

use ashlar_consensus::TxError;
use thiserror::Error;

/// Why a transaction is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A rule of §8, for ever or for now.
    #[error(transparent)]
    Invalid(#[from] TxError),
    /// A policy of §13: nobody is punished.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// The policies of §13, in the order in which they are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// `tx-already-known`: it waits already, with this or another witness.
    #[error("waits in the mempool already")]
    AlreadyKnown,
    /// `tx-already-confirmed`
    #[error("confirmed already")]
    AlreadyConfirmed,
    /// `tx-not-relayable`
    #[error("{size_bytes} bytes, at most {max_bytes} are relayed; split it")]
    NotRelayable {
        /// Its whole encoding.
        size_bytes: u32,
        /// The setting.
        max_bytes: u32,
    },
    /// `tx-fee-too-low`
    #[error("pays {fee} grains, at least {required} are needed")]
    FeeTooLow {
        /// In grains.
        fee: u64,
        /// In grains, for its size.
        required: u64,
    },
    /// `tx-mempool-full`: under the rolling floor, or what would have to go first.
    #[error("the mempool is full; at least {required} grains are needed now, or wait")]
    MempoolFull {
        /// In grains, for its size, at this moment.
        required: u64,
    },
    /// `tx-conflict`
    #[error("spends what a waiting transaction spends, and may not replace it: {0}")]
    Conflict(ReplacementFault),
    /// `tx-cluster-too-large`
    #[error(
        "with it more than {max_transactions} unconfirmed transactions, or {max_bytes} bytes, \
         would hang together; wait for a block"
    )]
    ClusterTooLarge {
        /// The setting.
        max_transactions: usize,
        /// The setting.
        max_bytes: usize,
    },
}

/// Which rule of replacement is broken; all share the code `tx-conflict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplacementFault {
    /// It spends an unconfirmed output that those it conflicts with did not.
    #[error("input {input} spends another unconfirmed output")]
    NewUnconfirmedInput {
        /// Its index.
        input: usize,
    },
    /// Its feerate does not beat that of each transaction that it conflicts with directly.
    #[error("its feerate is not above that of each it conflicts with; at least {required} grains")]
    Feerate {
        /// In grains, for its size.
        required: u64,
    },
    /// Too many would go, descendants counted.
    #[error("more than {max} transactions would go")]
    TooMany {
        /// The setting.
        max: usize,
    },
    /// It spends from a transaction that would go.
    #[error("input {input} spends from a transaction that it would replace")]
    SpendsReplaced {
        /// Its index.
        input: usize,
    },
    /// It does not pay the fees of all that would go, and for its own bytes.
    #[error("pays {fee} grains, at least {required} are needed for what it replaces and its size")]
    Fee {
        /// In grains.
        fee: u64,
        /// In grains.
        required: u64,
    },
}

impl Refusal {
    /// The stable code of §8 or §13.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(error) => error.code(),
            Self::Policy(error) => error.code(),
        }
    }
}

impl PolicyError {
    /// The stable code of §13.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AlreadyKnown => "tx-already-known",
            Self::AlreadyConfirmed => "tx-already-confirmed",
            Self::NotRelayable { .. } => "tx-not-relayable",
            Self::FeeTooLow { .. } => "tx-fee-too-low",
            Self::MempoolFull { .. } => "tx-mempool-full",
            Self::Conflict(_) => "tx-conflict",
            Self::ClusterTooLarge { .. } => "tx-cluster-too-large",
        }
    }
}
