//! Clocks and medians.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// What some work took.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// As a clock on the wall shows it.
    pub wall: Duration,
    /// Of processor time, all threads of this process together: nearly the same whatever else
    /// the machine does.
    pub processor: Duration,
}

impl core::ops::Add for Taken {
    type Output = Self;

    /// One after the other.
    fn add(self, other: Self) -> Self {
        let (wall, processor) = (self.wall + other.wall, self.processor + other.processor);
        Self { wall, processor }
    }
}

/// A running [`Taken`].
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    wall: Instant,
    processor: Duration,
}

impl Watch {
    /// From now on.
    pub fn start() -> Self {
        Self { wall: Instant::now(), processor: processor_time() }
    }

    /// Up to now.
    pub fn taken(&self) -> Taken {
        let processor = processor_time().saturating_sub(self.processor);
        Taken { wall: self.wall.elapsed(), processor }
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The median of `repeats` (at least one) runs by each clock. A run tells its own time, so that
/// what it prepares is not counted.
pub fn median(repeats: usize, mut run: impl FnMut() -> Outcome<Taken>) -> Outcome<Taken> {
    let runs = (0..repeats.max(1)).map(|_| run()).collect::<Outcome<Vec<_>>>()?;
    let by = |clock: fn(&Taken) -> Duration| {
        Duration::from_secs_f64(median_of(runs.iter().map(|taken| clock(taken).as_secs_f64())))
    };
    Ok(Taken { wall: by(|taken| taken.wall), processor: by(|taken| taken.processor) })
}

/// The middle one of some values.
///
/// # Panics
/// Of none.
pub fn median_of(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The smallest value that at least this part of all values is not above (nearest rank): of fewer
/// than a hundred, the 99th percentile is the largest.
///
/// # Panics
/// Of none.
pub fn percentile_of(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let rank = (values.len() as f64 * part).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_counts_by_each_clock() {
        let mut times = [(9, 1), (1, 3), (5, 2)].into_iter();
        let middle = median(3, || {
            let (wall, processor) = times.next().unwrap();
            let [wall, processor] = [wall, processor].map(Duration::from_secs);
            Ok(Taken { wall, processor })
        });
        let Taken { wall, processor } = middle.unwrap();
        assert_eq!((wall.as_secs(), processor.as_secs()), (5, 2));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred = || (1..=100).map(f64::from);
        assert_eq!(percentile_of(hundred(), 0.99), 99.0);
        assert_eq!(percentile_of(hundred(), 0.5), 50.0);
        assert_eq!(percentile_of(hundred().take(20), 0.99), 20.0);
        assert_eq!(percentile_of(hundred().take(1), 0.01), 1.0);
    }
}
