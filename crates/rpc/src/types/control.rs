//! The node itself.

use serde::{Deserialize, Serialize};

/// How the wall clock of a node with a development clock runs: it reads `unix_ms` at a moment of
/// the machine's clock, and goes on from there at a speed of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSetting {
    /// What it reads at that moment, milliseconds since 1970.
    pub unix_ms: u64,
    /// That moment by the machine's clock, milliseconds since 1970; unless given, when the call
    /// arrives. Nodes of one machine that are told the same read the same, to the millisecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_ms: Option<u64>,
    /// Thousandths of the machine's speed, up to 86,400,000, a day in a second; at 0 it stands
    /// still.
    pub speed_permille: u32,
}

impl ClockSetting {
    /// The highest speed, in thousandths of the machine's: a day in a second.
    pub const MAX_SPEED_PERMILLE: u32 = 86_400_000;
    /// The last moment that a header's time can name, milliseconds since 1970 (PROTOCOL.md §4).
    pub const MAX_UNIX_MS: u64 = u32::MAX as u64 * 1_000;

    /// What the clock reads when the machine's reads `machine_ms`. Before the moment that it was
    /// set at it stands.
    pub fn read(&self, machine_ms: u64) -> u64 {
        let gone_ms = machine_ms.saturating_sub(self.machine_ms.unwrap_or(machine_ms));
        let run_ms = u128::from(gone_ms) * u128::from(self.speed_permille) / 1_000;
        let unix_ms = u128::from(self.unix_ms).saturating_add(run_ms);
        u64::try_from(unix_ms).unwrap_or(u64::MAX).min(Self::MAX_UNIX_MS)
    }
}

/// The answer of `clock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockInfo {
    /// What the node's wall clock reads, milliseconds since 1970.
    pub unix_ms: u64,
    /// How it was set; absent where it is the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<ClockSetting>,
}

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
