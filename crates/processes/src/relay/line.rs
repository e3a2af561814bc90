//! One direction of a link: when each portion of bytes leaves and when it arrives.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::Shape;

/// Carried in one go where nothing holds it back, in bytes: an initial window of TCP, about.
const PORTION_BYTES: usize = 16 * 1_024;
/// Portions of one connection on their way at a time: 4 MiB.
const MAX_ON_THE_WAY: usize = 256;
/// A slow line's portions are so small that this many pass in a second: it drips, and does not
/// gush now and then.
const PORTIONS_PER_SECOND: u64 = 10;
/// What a packet carries, in bytes: Ethernet's 1,500 without the headers.
const PACKET_BYTES: usize = 1_448;
/// The soonest that a sender sends again what was lost (Linux, RFC 6298 with its lower minimum).
const MIN_RETRANSMIT: Duration = Duration::from_millis(200);
/// A packet lost so many times in a row is let through: the wait doubles each time.
const MAX_LOSSES: u32 = 6;

/// What is set from outside.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineState {
    pub(super) shape: Shape,
    pub(super) is_cut: bool,
}

/// Bytes and when they are there.
struct Portion {
    bytes: Vec<u8>,
    due: Instant,
}

/// One direction, of all the link's connections.
#[derive(Debug)]
pub(super) struct Line {
    state: watch::Sender<LineState>,
    pacer: Mutex<Pacer>,
}

impl Line {
    pub(super) fn new(seed: u64) -> Self {
        let pacer = Pacer { free_at: Instant::now(), chance: StdRng::seed_from_u64(seed) };
        Self { state: watch::channel(LineState::default()).0, pacer: Mutex::new(pacer) }
    }

    pub(super) fn state(&self) -> LineState {
        *self.state.borrow()
    }

    pub(super) fn set_shape(&self, shape: Shape) {
        self.state.send_modify(|state| state.shape = shape);
    }

    pub(super) fn set_cut(&self, is_cut: bool) {
        self.state.send_modify(|state| state.is_cut = is_cut);
    }

    /// Returns at once where it is not cut.
    pub(super) async fn wait_joined(&self) {
        // An error says that nobody can cut it any more.
        drop(self.state.subscribe().wait_for(|state| !state.is_cut).await);
    }

    /// Carries until the near side ends, and then tells the far side; or until the far side fails.
    pub(super) async fn carry(&self, from: OwnedReadHalf, to: OwnedWriteHalf) {
        let (queue, arrivals) = mpsc::channel(MAX_ON_THE_WAY);
        let mut deliver = std::pin::pin!(self.deliver(arrivals, to));
        tokio::select! {
            () = self.take(from, queue) => deliver.await,
            () = &mut deliver => {}
        }
    }

    async fn take(&self, mut from: OwnedReadHalf, queue: mpsc::Sender<Portion>) {
        let mut buffer = vec![0; PORTION_BYTES];
        let mut carried = 0_u64;
        let mut last_due = Instant::now();
        loop {
            let portion = portion_bytes(&self.state().shape);
            let Ok(count @ 1..) = from.read(&mut buffer[..portion]).await else { return };
            let shape = self.state().shape;
            let passage = self.pacer.lock().unwrap_or_else(PoisonError::into_inner).pass(
                Instant::now(),
                count,
                &shape,
            );
            // What a slow line does not take yet stays with who sends it.
            sleep_until(passage.leaves).await;
            last_due = last_due.max(passage.arrives);
            let passed = shape.silent_after_bytes.map_or(count, |limit| {
                usize::try_from(limit.saturating_sub(carried)).map_or(count, |left| left.min(count))
            });
            carried = carried.saturating_add(count as u64);
            let portion = Portion { bytes: buffer[..passed].to_vec(), due: last_due };
            if queue.send(portion).await.is_err() {
                return;
            }
        }
    }

    async fn deliver(&self, mut arrivals: mpsc::Receiver<Portion>, mut to: OwnedWriteHalf) {
        while let Some(portion) = arrivals.recv().await {
            sleep_until(portion.due).await;
            self.wait_joined().await;
            if to.write_all(&portion.bytes).await.is_err() {
                return;
            }
        }
        self.wait_joined().await;
        // It may be closed already.
        drop(to.shutdown().await);
    }
}

/// How much a line takes in one go.
fn portion_bytes(shape: &Shape) -> usize {
    let Some(bandwidth) = shape.bandwidth else { return PORTION_BYTES };
    let slow = bandwidth.bytes_per_second() / PORTIONS_PER_SECOND;
    usize::try_from(slow).unwrap_or(PORTION_BYTES).clamp(1, PORTION_BYTES)
}

/// When a portion has left the near end, and when it is at the far one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Passage {
    leaves: Instant,
    arrives: Instant,
}

/// Decides passages: pure, but for the chance that it was seeded with.
#[derive(Debug)]
struct Pacer {
    /// When the line has carried all that it was given.
    free_at: Instant,
    chance: StdRng,
}

impl Pacer {
    fn pass(&mut self, now: Instant, bytes: usize, shape: &Shape) -> Passage {
        let leaves = match shape.bandwidth {
            Some(bandwidth) => {
                #[expect(clippy::cast_precision_loss, reason = "a portion is small")]
                let seconds = bytes as f64 / bandwidth.bytes_per_second().max(1) as f64;
                self.free_at = self.free_at.max(now) + Duration::from_secs_f64(seconds);
                self.free_at
            }
            None => now,
        };
        let jitter = shape.jitter.duration();
        let late = if jitter.is_zero() {
            Duration::ZERO
        } else {
            jitter.mul_f64(self.chance.random_range(0.0..=1.0))
        };
        let arrives = leaves + shape.latency.duration() + late + self.stall(bytes, shape);
        Passage { leaves, arrives }
    }

    /// Packets of one portion that are lost are sent again together, after a time-out that doubles
    /// while they are lost again.
    fn stall(&mut self, bytes: usize, shape: &Shape) -> Duration {
        let chance = shape.loss.chance();
        if chance <= 0.0 {
            return Duration::ZERO;
        }
        let packets = i32::try_from(bytes.div_ceil(PACKET_BYTES)).unwrap_or(i32::MAX);
        let mut lost = 1.0 - (1.0 - chance).powi(packets);
        let mut wait = MIN_RETRANSMIT.max(2 * shape.latency.duration());
        let mut stall = Duration::ZERO;
        for _ in 0..MAX_LOSSES {
            if self.chance.random_range(0.0..1.0) >= lost {
                break;
            }
            stall += wait;
            wait *= 2;
            lost = chance;
        }
        stall
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::{Bandwidth, Delay, Loss};

    fn pacer(now: Instant) -> Pacer {
        Pacer { free_at: now, chance: StdRng::seed_from_u64(7) }
    }

    #[test]
    fn a_plain_line_takes_no_time() {
        let now = Instant::now();
        let passage = pacer(now).pass(now, 1_000, &Shape::default());
        assert_eq!(passage, Passage { leaves: now, arrives: now });
    }

    #[test]
    fn a_slow_line_carries_one_portion_after_the_other() {
        let now = Instant::now();
        let bandwidth = Some(Bandwidth::from_bytes_per_second(1_000));
        let shape = Shape { bandwidth, latency: Delay::from_ms(50), ..Shape::default() };
        let mut pacer = pacer(now);
        assert_eq!(portion_bytes(&shape), 100);
        for number in 1..=10_u32 {
            let passage = pacer.pass(now, 100, &shape);
            assert_eq!(passage.leaves - now, number * Duration::from_millis(100));
            assert_eq!(passage.arrives - passage.leaves, Duration::from_millis(50));
        }
        let later = now + Duration::from_secs(60);
        let rested = pacer.pass(later, 100, &shape);
        assert_eq!(rested.leaves - later, Duration::from_millis(100), "rest is not saved up");
    }

    #[test]
    fn jitter_and_loss_follow_their_measure_and_their_seed() {
        let now = Instant::now();
        let shape =
            Shape { jitter: Delay::from_ms(10), loss: Loss::from_percent(5), ..Shape::default() };
        let run = || {
            let mut pacer = pacer(now);
            (0..10_000).map(|_| pacer.pass(now, 1_000, &shape).arrives - now).collect::<Vec<_>>()
        };
        let delays = run();
        assert_eq!(delays, run(), "the same seed, the same line");
        let stalled = delays.iter().filter(|delay| **delay >= MIN_RETRANSMIT).count();
        assert!((400..600).contains(&stalled), "{stalled} of 10,000 at 5%");
        let late = delays.iter().filter(|delay| **delay < MIN_RETRANSMIT);
        let (mut count, mut sum) = (0_u32, Duration::ZERO);
        for delay in late {
            assert!(*delay <= Duration::from_millis(10));
            (count, sum) = (count + 1, sum + *delay);
        }
        let mean_us = (sum / count).as_micros();
        assert!((4_500..5_500).contains(&mean_us), "{mean_us} us");
    }
}
