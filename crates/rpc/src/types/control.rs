//! The node itself.

use serde::{Deserialize, Serialize};

/// The answer of `logging`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFilter {
    /// What is written to the log now.
    pub filter: String,
}

/// The answer of `getmemoryinfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryInfo {
    /// Bytes of memory that the process holds now, as the system counts them.
    pub resident: u64,
    /// The most that it ever held.
    pub resident_peak: u64,
    /// Of that, for waiting transactions.
    pub mempool: u64,
    /// The most that those may take.
    pub mempool_max: u64,
}
