//! One seed, many independent generators, and the distributions drawn from them.
//!
//! Each subject has a stream of its own, so that one more draw about the links changes nothing
//! about the wallets. No floating-point number is involved: a logarithm that differs in its last
//! bit between two machines would make two worlds of one seed.

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};

/// The generator of everything here. It is cryptographic because signature batches need one that
/// is (their verdict does not depend on it).
pub type Random = rand_chacha::ChaCha20Rng;

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// What kind of world this is.
    Scenario = 1,
    /// Latencies, back-offs, who dials whom.
    Links = 2,
    /// What nodes are like: clocks, settings, the engines' own seeds.
    Nodes = 3,
    /// Coefficients of signature batches.
    Jobs = 4,
    /// When blocks are found.
    Miners = 5,
    /// Keys, amounts, when payments are made.
    Wallets = 6,
    /// All that villains do; each has a generator of its own.
    Villains = 7,
}

/// The stream of a seed for a purpose.
pub fn stream(seed: u64, purpose: Purpose) -> Random {
    let mut random = Random::seed_from_u64(seed);
    random.set_stream(purpose as u64);
    random
}

/// An exponentially distributed span: the time to the next event of a Poisson process whose
/// events are `mean` apart on average.
///
/// Von Neumann's method of 1951, exact and by comparisons alone: in a falling run of uniform
/// numbers `u1 ≥ u2 ≥ …`, the first is kept as the fraction where the run's length is odd;
/// otherwise the whole part grows by one and a new run begins.
pub fn exponential(random: &mut impl Rng, mean: Duration) -> Duration {
    let mut whole: u128 = 0;
    loop {
        let first: u32 = random.random();
        let (mut last, mut length) = (first, 1_u32);
        loop {
            let next: u32 = random.random();
            if next > last {
                break;
            }
            (last, length) = (next, length + 1);
        }
        if length % 2 == 1 {
            let in_means = (whole << 32) | u128::from(first);
            let nanos = (in_means * mean.as_nanos()) >> 32;
            return Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
        whole += 1;
    }
}

/// A span between two, microseconds apart, both included.
pub fn between(random: &mut impl Rng, least: Duration, most: Duration) -> Duration {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random.random_range(micros(least)..=micros(most)))
}

/// Whether something happens that does so once in `in_all` times.
pub fn once_in(random: &mut impl Rng, in_all: u32) -> bool {
    random.random_range(0..in_all) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 20_000;

    #[test]
    fn exponential_has_its_mean_and_its_tail() {
        let mut random = stream(7, Purpose::Miners);
        let mean = Duration::from_secs(10);
        let drawn: Vec<_> = (0..DRAWS).map(|_| exponential(&mut random, mean)).collect();
        let average = drawn.iter().sum::<Duration>() / DRAWS;
        // One standard error is 10 s / √20,000 = 71 ms; four are allowed.
        assert!(average.abs_diff(mean) < Duration::from_millis(283), "{average:?}");
        // P(x > mean) = 1/e = 36.79 %, standard error 0.34 %.
        let above = drawn.iter().filter(|span| **span > mean).count();
        assert!((7_085..7_632).contains(&above), "{above}");
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let draw = |purpose| stream(7, purpose).random::<u64>();
        assert_ne!(draw(Purpose::Links), draw(Purpose::Miners));
        assert_eq!(draw(Purpose::Links), draw(Purpose::Links));
    }
}
