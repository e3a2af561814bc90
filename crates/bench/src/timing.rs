//! Clocks and medians.

use std::time::{Duration, Instant};

use crate::Outcome;

/// How long `work` takes, and what it made.
pub fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(Duration, T)> {
    let start = Instant::now();
    let made = work()?;
    Ok((start.elapsed(), made))
}

/// The median of `repeats` (at least one) runs, each of which tells its own time, so that what a
/// run prepares is not counted.
pub fn median(repeats: usize, mut run: impl FnMut() -> Outcome<Duration>) -> Outcome<Duration> {
    let mut times = (0..repeats.max(1)).map(|_| run()).collect::<Outcome<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// So many of something in that time, a second.
pub fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_counts() {
        let mut times = [9, 1, 5].into_iter().map(Duration::from_secs);
        let middle = median(3, || Ok(times.next().unwrap())).unwrap();
        assert_eq!(middle, Duration::from_secs(5));
        assert!((rate(10, middle) - 2.0).abs() < 1e-9);
    }
}
