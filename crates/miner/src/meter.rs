//! How fast it goes: hashes counted by all threads, divided by time when somebody asks.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The rate is over at least this time, once there is so much of it.
const WINDOW: Duration = Duration::from_secs(10);
/// Most readings kept: whoever asks more often gets a rate over a little less than the window.
const MAX_READINGS: usize = 64;

/// Readings of a counter that only rises.
#[derive(Debug)]
pub(crate) struct Meter {
    readings: VecDeque<(Instant, u64)>,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { readings: VecDeque::from([(now, 0)]) }
    }

    /// The counter stands at `total`: its rise a second since the newest reading that is at least
    /// [`WINDOW`] old, or the oldest there is.
    pub(crate) fn rate(&mut self, now: Instant, total: u64) -> u64 {
        // The second is old enough: the first is of no more use.
        while self.readings.len() > MAX_READINGS
            || self.readings.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= WINDOW)
        {
            self.readings.pop_front();
        }
        self.readings.push_back((now, total));
        let Some((then, counted)) = self.readings.front() else { return 0 };
        let hashes = u128::from(total.saturating_sub(*counted)) * 1_000_000_000;
        let rate = hashes.checked_div(now.duration_since(*then).as_nanos()).unwrap_or(0);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_the_last_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::new(start);
        assert_eq!(meter.rate(start, 0), 0, "no time has passed");
        assert_eq!(meter.rate(at(2), 2_000), 1_000);
        assert_eq!(meter.rate(at(4), 6_000), 1_500, "since the start");
        assert_eq!(meter.rate(at(14), 6_000), 0, "since second 4");
        assert_eq!(meter.rate(at(100), 6_000 + 86 * 50), 50, "since second 14");
    }

    #[test]
    fn asking_often_keeps_a_bounded_number_of_readings() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for step in 1..10_000_u64 {
            let rate = meter.rate(start + Duration::from_millis(step), step * 7);
            assert_eq!(rate, 7_000);
            assert!(meter.readings.len() <= MAX_READINGS + 1);
        }
    }
}
