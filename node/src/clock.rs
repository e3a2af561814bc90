//! The one place where the node reads a clock.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use ashlar_engine::Time;
use ashlar_rpc::types::{ClockInfo, ClockSetting};
use thiserror::Error;

use crate::datadir::CLOCK_FILE;

/// Both clocks. The monotonic one is always the machine's. With `--dev-clock` the wall clock can be
/// set and run at another speed.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    settable: bool,
    /// With its moment; `None` while the machine's clock is used.
    setting: RwLock<Option<ClockSetting>>,
}

/// The clock is the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotSettable;

/// A file that should say how the clock runs from the start on.
#[derive(Debug, Error)]
pub(crate) enum ClockFileError {
    #[error("can't read the clock's setting {path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path} is no setting of a clock: {error}; remove it")]
    Malformed { path: PathBuf, error: serde_json::Error },
}

impl Clock {
    /// The machine's, or where it is `settable` as `clock.json` of the data directory says, which
    /// has the form that the RPC method `clock` takes.
    pub(crate) fn open(settable: bool, datadir: &Path) -> Result<Self, ClockFileError> {
        let setting = if settable { read_setting(&datadir.join(CLOCK_FILE))? } else { None };
        let setting = RwLock::new(setting.map(starting_now));
        Ok(Self { start: Instant::now(), settable, setting })
    }

    /// Milliseconds since the node started; never goes back.
    pub(crate) fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn now(&self) -> Time {
        Time { monotonic_ms: self.monotonic_ms(), unix_ms: self.info().unix_ms }
    }

    /// What the wall clock reads, and how it was set.
    pub(crate) fn info(&self) -> ClockInfo {
        let setting = *self.setting.read().unwrap_or_else(PoisonError::into_inner);
        let machine_ms = machine_unix_ms();
        let unix_ms = setting.map_or(machine_ms, |setting| setting.read(machine_ms));
        ClockInfo { unix_ms, setting }
    }

    /// Lets the wall clock run so from now on, or with `None` as the machine's does.
    pub(crate) fn set(&self, setting: Option<ClockSetting>) -> Result<(), NotSettable> {
        if !self.settable {
            return Err(NotSettable);
        }
        let setting = setting.map(starting_now);
        *self.setting.write().unwrap_or_else(PoisonError::into_inner) = setting;
        Ok(())
    }
}

/// A setting without a moment begins now.
fn starting_now(setting: ClockSetting) -> ClockSetting {
    ClockSetting { machine_ms: setting.machine_ms.or(Some(machine_unix_ms())), ..setting }
}

fn read_setting(path: &Path) -> Result<Option<ClockSetting>, ClockFileError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ClockFileError::Unreadable { path: path.to_owned(), error }),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| ClockFileError::Malformed { path: path.to_owned(), error })
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

    const HOUR_MS: u64 = 3_600_000;

    fn setting(speed_permille: u32) -> ClockSetting {
        ClockSetting { unix_ms: 1_000, machine_ms: Some(500), speed_permille }
    }

    #[test]
    fn a_setting_is_a_straight_line_from_its_moment_on() {
        assert_eq!(setting(0).read(HOUR_MS), 1_000);
        assert_eq!(setting(1_000).read(2_500), 3_000);
        assert_eq!(setting(60_000).read(1_500), 61_000);
        assert_eq!(setting(1_000).read(0), 1_000);
        let fastest = setting(ClockSetting::MAX_SPEED_PERMILLE);
        assert_eq!(fastest.read(u64::MAX), ClockSetting::MAX_UNIX_MS);
    }

    #[test]
    fn it_stands_runs_and_is_the_machines_again() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::open(true, folder.path()).unwrap();
        clock.set(Some(setting(0))).unwrap();
        assert_eq!(clock.now().unix_ms, 1_000);
        let monotonic_ms = clock.monotonic_ms();
        // A moment that is not given is that of the call.
        let ahead_ms = machine_unix_ms() + HOUR_MS;
        let ahead = ClockSetting { unix_ms: ahead_ms, machine_ms: None, speed_permille: 1_000 };
        clock.set(Some(ahead)).unwrap();
        assert!((ahead_ms..ahead_ms + HOUR_MS).contains(&clock.now().unix_ms));
        assert!(clock.monotonic_ms() < monotonic_ms + HOUR_MS);
        clock.set(None).unwrap();
        assert!((1_001..ahead_ms).contains(&clock.now().unix_ms));
    }

    #[test]
    fn the_machines_clock_cannot_be_set() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CLOCK_FILE), "no setting").unwrap();
        let clock = Clock::open(false, folder.path()).unwrap();
        assert_eq!(clock.set(Some(setting(0))), Err(NotSettable));
    }

    #[test]
    fn a_start_begins_with_the_clock_of_the_data_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CLOCK_FILE);
        fs::write(&path, serde_json::to_vec(&setting(0)).unwrap()).unwrap();
        assert_eq!(Clock::open(true, folder.path()).unwrap().now().unix_ms, 1_000);
        fs::write(&path, "{\"unix_ms\":1,\"speed_permille\":0,\"more\":1}").unwrap();
        let error = Clock::open(true, folder.path()).unwrap_err();
        assert!(error.to_string().contains("more"), "{error}");
    }
}
