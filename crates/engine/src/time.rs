//! The two clocks of a moment.

/// A moment, handed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Never goes back: deadlines, ages, timeouts.
    pub monotonic_ms: u64,
    /// The wall clock, for header times and display only; may jump either way.
    pub unix_ms: u64,
}

impl Time {
    /// Whole seconds since 1970.
    pub const fn unix_seconds(self) -> u64 {
        self.unix_ms / 1000
    }

    /// The wall clock's reading at an earlier monotonic moment, in seconds, as far as the two
    /// clocks ran alike since.
    pub const fn unix_seconds_at(self, monotonic_ms: u64) -> u64 {
        let age_ms = self.monotonic_ms.saturating_sub(monotonic_ms);
        self.unix_ms.saturating_sub(age_ms) / 1000
    }
}
