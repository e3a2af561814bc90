//! Why a transaction no longer waits.

use std::sync::Arc;

use ashlar_consensus::CheckedTransaction;

/// Why a transaction left the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It is in a block of the published chain.
    Confirmed,
    /// A block spends one of its coins otherwise, or one of its ancestors'.
    Conflicting,
    /// Another that pays more spends one of its coins.
    Replaced,
    /// There was no room, and it paid least.
    PushedOut,
    /// It waited too long.
    Expired,
    /// A reorganisation took a coin away, or made it too young.
    Unconfirmable,
    /// A template did not pass with it.
    Refused,
}

impl Leaving {
    /// As RPC and logs write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Conflicting => "conflicting",
            Self::Replaced => "replaced",
            Self::PushedOut => "pushed-out",
            Self::Expired => "expired",
            Self::Unconfirmable => "unconfirmable",
            Self::Refused => "refused",
        }
    }
}

/// One that left.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Itself.
    pub transaction: Arc<CheckedTransaction>,
    /// Its [`crate::Entry::sequence`]: one that comes back has another.
    pub sequence: u64,
    /// What for.
    pub why: Leaving,
}
