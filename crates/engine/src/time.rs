//! The two clocks of a moment.

/// A moment, handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Never goes back: deadlines, ages, timeouts.
    pub monotonic_ms: u64,
    /// The wall clock, for header times and display only; may jump either way.
    pub unix_ms: u64,
}

impl Time {
    /// Whole seconds since 1970.
    pub const fn unix_seconds(self) -> u64 { self.unix_ms / 1000 }
}
