//! The one place where the node reads a clock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use ashlar_engine::Time;

/// Both clocks. With `--dev-clock` the wall clock can be made to stand at a chosen second.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    settable: bool,
    /// Seconds since 1970; 0 while the machine's clock is used.
    mock_seconds: AtomicU64,
}

/// The clock is the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotSettable;

impl Clock {
    pub(crate) fn new(settable: bool) -> Self {
        Self { start: Instant::now(), settable, mock_seconds: AtomicU64::new(0) }
    }

    /// Milliseconds since the node started; never goes back.
    pub(crate) fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn now(&self) -> Time {
        let mock = self.mock_seconds.load(Ordering::Relaxed);
        let unix_ms = if mock == 0 { machine_unix_ms() } else { mock.saturating_mul(1000) };
        Time { monotonic_ms: self.monotonic_ms(), unix_ms }
    }

    /// Stands the wall clock at a second, or with `None` (or 0, as Core has it) lets it run.
    pub(crate) fn set_mock(&self, unix_seconds: Option<u64>) -> Result<(), NotSettable> {
        if !self.settable {
            return Err(NotSettable);
        }
        self.mock_seconds.store(unix_seconds.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }
}

/// The machine's wall clock; a clock set before 1970 reads as 1970.
pub(crate) fn machine_unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mock_time_stands_still_until_it_is_taken_back() {
        let clock = Clock::new(true);
        clock.set_mock(Some(1_000)).unwrap();
        assert_eq!(clock.now().unix_ms, 1_000_000);
        clock.set_mock(None).unwrap();
        assert!(clock.now().unix_ms > 1_000_000);
    }

    #[test]
    fn the_machines_clock_cannot_be_set() {
        assert_eq!(Clock::new(false).set_mock(Some(1)), Err(NotSettable));
    }
}
