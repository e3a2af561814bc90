//! Faults on request: lines cut and made slow, clocks that are wrong, disks without room.

use std::{sync::Arc, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::time::sleep;
use tracing::info;

use super::Keeper;
use crate::{
    control::ClockChange,
    error::TestnetError,
    file::NodeNumber,
    lines::{LineState, LinkChange, Sides},
};

/// Most that a node may flap at a time, in times.
const MAX_FLAPS: u32 = 1_000;
/// The longest and the shortest time between two changes of a node that flaps, in milliseconds.
const FLAP_MS: std::ops::RangeInclusive<u32> = 10..=60_000;

impl Keeper {
    /// Parts the net; what it looks like then.
    pub(super) fn partition(&self, sides: &Sides) -> Result<Vec<LineState>, TestnetError> {
        self.links.partition(sides)?;
        info!(%sides, "parted");
        self.state().sides = Some(sides.clone());
        self.remember_lines()
    }

    /// Joins all that was cut, and lets nodes flap no more.
    pub(super) fn heal(&self) -> Result<Vec<LineState>, TestnetError> {
        self.flaps.send_modify(|round| *round += 1);
        self.links.heal();
        self.state().sides = None;
        info!("healed");
        self.remember_lines()
    }

    /// Changes a line.
    pub(super) fn change_link(
        &self,
        from: NodeNumber,
        to: NodeNumber,
        change: &LinkChange,
    ) -> Result<Vec<LineState>, TestnetError> {
        self.links.change(from, to, change)?;
        info!(from, to, ?change, "line changed");
        let mut states = self.remember_lines()?;
        states.retain(|state| [(from, to), (to, from)].contains(&(state.from, state.to)));
        Ok(states)
    }

    /// Lines that are not as they were at first outlive the keeper.
    pub(super) fn remember_lines(&self) -> Result<Vec<LineState>, TestnetError> {
        let states = self.links.states();
        {
            let mut state = self.state();
            let links = &state.links;
            let is_changed = |line: &&LineState| {
                let ends = [(line.from, line.to), (line.to, line.from)];
                let record = links.iter().find(|link| ends.contains(&(link.from, link.to)));
                line.is_cut || record.is_none_or(|link| link.shape != line.shape)
            };
            let changed = states.iter().filter(is_changed).copied().collect();
            state.lines = changed;
        }
        self.save()?;
        Ok(states)
    }

    /// Takes a node's lines down and up again and again, its connections with them, until it is
    /// done or [`Self::heal`] ends it; where `wait` is set the answer comes then.
    pub(super) async fn flap(
        self: &Arc<Self>,
        number: NodeNumber,
        times: u32,
        period_ms: u32,
        wait: bool,
    ) -> Result<(), TestnetError> {
        if !(1..=MAX_FLAPS).contains(&times) || !FLAP_MS.contains(&period_ms) {
            return Err(TestnetError::Flap { times, period_ms });
        }
        self.links.isolate(number, true, true)?;
        info!(node = number, times, period_ms, "flaps");
        let keeper = Arc::clone(self);
        let mut rounds = self.flaps.subscribe();
        let flapping = tokio::spawn(async move {
            let half = Duration::from_millis(period_ms.into()) / 2;
            let flapping = async {
                for _ in 0..times {
                    // It has its lines: it had them a moment ago, and a removed node loses nothing.
                    drop(keeper.links.isolate(number, true, true));
                    sleep(half).await;
                    drop(keeper.links.isolate(number, false, false));
                    sleep(half).await;
                }
            };
            tokio::select! {
                () = flapping => {}
                _ = rounds.changed() => {}
            }
        });
        if wait {
            // It ends well or with the runtime.
            drop(flapping.await);
        }
        Ok(())
    }

    /// Moves a node's clock against the testnet's, or lets it be right again; what it reads then. It
    /// stays wrong over a restart.
    pub(super) async fn set_clock(
        &self,
        number: NodeNumber,
        change: ClockChange,
    ) -> Result<u64, TestnetError> {
        self.require_development()?;
        self.require(number)?;
        let offset_ms = {
            let mut state = self.state();
            let record = state.nodes.entry(number).or_default();
            record.clock_offset_ms = match change {
                ClockChange::Move { ms } => record.clock_offset_ms.saturating_add(ms),
                ClockChange::Reset => 0,
            };
            record.clock_offset_ms
        };
        self.save()?;
        self.tell_clock(number).await;
        info!(node = number, offset_ms, "clock set");
        Ok(self.time().unix_ms.saturating_add_signed(offset_ms))
    }

    /// From now on every write of the node that would make a file longer than 0 fails: its process
    /// may write no file at all (`RLIMIT_FSIZE`, getrlimit(2)). It can't be undone but by an end and
    /// a start, as a node ends anyway whose disk is full.
    pub(super) fn fill_disk(&self, number: NodeNumber) -> Result<(), TestnetError> {
        let process = self.require_process(number)?;
        let pid = i32::try_from(process.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(TestnetError::NodeDown { number })?;
        let limit = Rlimit { current: Some(0), maximum: Some(0) };
        prlimit(Some(pid), Resource::Fsize, limit)
            .map_err(|error| TestnetError::disk("the limit of its files")(error.into()))?;
        info!(node = number, "its disk is full");
        Ok(())
    }
}
