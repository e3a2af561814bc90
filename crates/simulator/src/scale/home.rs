//! What the nodes of a large net sit on: home connections.
//!
//! All of this is assumption, and the results are worth what it is worth. Latencies are of the
//! order of what public measurements of round trips between regions show; bandwidths are those
//! that households buy. docs/simulation.md states the tables.

use std::time::Duration;

use rand::RngExt;

use crate::random::{Random, between, exponential};

/// Bytes a second in a megabit a second.
const MEGABIT: u64 = 125_000;
/// Access lines by share in hundredths: upload and download in megabits a second.
const LINES: [(u32, u64, u64); 5] =
    [(10, 2, 20), (30, 10, 100), (30, 20, 200), (20, 50, 300), (10, 500, 500)];
/// Nodes by region, in hundredths: North America, Europe, Asia, South America, Oceania.
const REGIONS: [u32; 5] = [30, 40, 20, 7, 3];
/// One way between the regions' networks, in milliseconds.
const BETWEEN_REGIONS: [[u64; 5]; 5] = [
    [18, 48, 85, 70, 80],
    [48, 12, 90, 95, 130],
    [85, 90, 35, 145, 60],
    [70, 95, 145, 20, 140],
    [80, 130, 60, 140, 12],
];
/// What the line to the house adds, one way: fibre at the least, old copper at the most.
const ACCESS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(15));
/// Average of what chance adds to each message.
const JITTER: Duration = Duration::from_millis(4);
/// Homes that can be dialled from outside, in hundredths.
const REACHABLE: u32 = 25;
/// What a connection sends before the first acknowledgement, after a pause (RFC 6928).
const FIRST_WINDOW_BYTES: u64 = 14_600;

/// Where a node lives.
#[derive(Clone, Copy, Debug)]
pub struct Home {
    region: usize,
    /// Bytes a second.
    pub upload: u64,
    /// Bytes a second.
    pub download: u64,
    /// One way.
    access: Duration,
    /// Whether others can dial it.
    pub is_reachable: bool,
}

/// The place in a table of hundredths.
fn pick(random: &mut Random, shares: impl Iterator<Item = u32>) -> usize {
    let mut left = random.random_range(0..100);
    for (place, share) in shares.enumerate() {
        if left < share {
            return place;
        }
        left -= share;
    }
    0
}

impl Home {
    /// A home drawn from the tables.
    pub fn draw(random: &mut Random) -> Self {
        let line = pick(random, LINES.iter().map(|(share, ..)| *share));
        let (_, upload, download) = LINES[line];
        Self {
            region: pick(random, REGIONS.into_iter()),
            upload: upload * MEGABIT,
            download: download * MEGABIT,
            access: between(random, ACCESS.0, ACCESS.1),
            is_reachable: random.random_range(0..100) < REACHABLE,
        }
    }

    /// How long a small message travels to another home, before chance adds to it.
    pub fn latency(&self, other: &Self) -> Duration {
        let way = Duration::from_millis(BETWEEN_REGIONS[self.region][other.region]);
        self.access + way + other.access
    }

    /// From a message's last byte leaving its sender to all of it being here: the way, the window
    /// that has to open for what is large, the download.
    pub fn travel(&self, latency: Duration, size_bytes: u64, random: &mut Random) -> Duration {
        let windows = size_bytes / FIRST_WINDOW_BYTES + 1;
        let waits = latency * 2 * windows.ilog2();
        latency + waits + time_for(size_bytes, self.download) + exponential(random, JITTER)
    }
}

/// How long so many bytes take at so many a second.
pub fn time_for(size_bytes: u64, bytes_per_second: u64) -> Duration {
    Duration::from_micros(size_bytes.saturating_mul(1_000_000) / bytes_per_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn tables_are_whole_and_even() {
        assert_eq!(LINES.iter().map(|(share, ..)| share).sum::<u32>(), 100);
        assert_eq!(REGIONS.iter().sum::<u32>(), 100);
        for (a, row) in BETWEEN_REGIONS.iter().enumerate() {
            for (b, millis) in row.iter().enumerate() {
                assert_eq!(*millis, BETWEEN_REGIONS[b][a]);
            }
        }
    }

    #[test]
    fn large_messages_wait_for_their_window() {
        let random = &mut stream(1, Purpose::Links);
        let mut home = Home::draw(random);
        home.download = u64::MAX;
        let latency = Duration::from_secs(1);
        let mut travel = |size| home.travel(latency, size, random).as_secs();
        assert_eq!((travel(100), travel(14_600), travel(45_000)), (1, 3, 5));
    }
}
