//! The testnet's clock: what all its nodes take for the time of day.
//!
//! It is a straight line: at a moment of the machine's clock it reads something, and from there it
//! runs at a speed. Every node is told the same line (the RPC method `clock`, and `clock.json` at
//! its start), so that all read the same to the millisecond, however late each heard of it. Only
//! the time of day is moved: timeouts, bans and intervals of the nodes run on as ever.

use core::{fmt, str::FromStr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ashlar_rpc::types::ClockSetting;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The speed of the machine's own clock.
const PERMILLE: u32 = 1_000;
/// Longest step forward at once, in milliseconds: a hundred years.
const MAX_STEP_MS: u64 = 100 * 365 * 86_400_000;
/// Most blocks that one step spreads: the bound of `generatetoaddress`.
pub const MAX_STEP_BLOCKS: u32 = 1_000;

/// What `time` changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeChange {
    /// It reads so, and runs on at its speed.
    Set(Moment),
    /// It goes forward at once.
    Advance {
        /// By so much, in milliseconds.
        step_ms: u64,
        /// With so many blocks on the way, spread evenly.
        blocks: u32,
    },
    /// It runs so fast.
    Speed(Speed),
    /// It is the machine's again.
    Real,
}

/// What the testnet's clock reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeNow {
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// How fast it runs, in thousandths of the machine's speed.
    pub speed_permille: u32,
    /// Whether it is simply the machine's.
    pub is_real: bool,
}

/// A time of day that a header can have, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

/// A speed, in thousandths of the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Speed(pub u32);

/// What is no time, or none that the clock can have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TimeError {
    /// Text that is no moment.
    #[error(
        "{text:?} is no time: write 2030-01-01T00:00:00Z, or seconds since 1970; headers hold \
         times up to 2106"
    )]
    Moment {
        /// As given.
        text: String,
    },
    /// Text that is no speed.
    #[error(
        "{text:?} is no speed: write how many times the usual one, 0 to 86400, such as 60 or 0.5"
    )]
    Speed {
        /// As given.
        text: String,
    },
    /// Too far.
    #[error("the clock can't go that far: headers hold times up to 2106")]
    Far,
    /// Too many blocks in one step.
    #[error("at most {MAX_STEP_BLOCKS} blocks in one step, not {blocks}")]
    Blocks {
        /// As asked for.
        blocks: u32,
    },
    /// The chain's blocks are worth something.
    #[error(
        "on this chain the nodes keep the machine's clock: a block takes too many hashes for a \
         development chain"
    )]
    NoDevelopment,
}

impl FromStr for Moment {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError::Moment { text: text.to_owned() };
        let unix_ms = match text.parse::<u64>() {
            Ok(seconds) => seconds.checked_mul(1_000),
            Err(_) => {
                let moment = humantime::parse_rfc3339_weak(text).map_err(|_| wrong())?;
                let since = moment.duration_since(UNIX_EPOCH).map_err(|_| wrong())?;
                u64::try_from(since.as_millis()).ok()
            }
        };
        let is_possible = |unix_ms: &u64| *unix_ms <= ClockSetting::MAX_UNIX_MS;
        unix_ms.filter(is_possible).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = UNIX_EPOCH + Duration::from_millis(self.0);
        humantime::format_rfc3339_seconds(moment).fmt(f)
    }
}

impl FromStr for Speed {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError::Speed { text: text.to_owned() };
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(part) || part.len() > 3 {
            return Err(wrong());
        }
        let permille: u32 = format!("{whole}{part:0<3}").parse().map_err(|_| wrong())?;
        let is_possible = permille <= ClockSetting::MAX_SPEED_PERMILLE;
        is_possible.then_some(Self(permille)).ok_or_else(wrong)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!(".{:03}", self.0 % PERMILLE);
        write!(f, "{}{}", self.0 / PERMILLE, fraction.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for TimeNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Moment(self.unix_ms))?;
        match (self.is_real, self.speed_permille) {
            (true, _) => f.write_str(", the machine's clock"),
            (_, 0) => f.write_str(", standing still"),
            (_, PERMILLE) => Ok(()),
            (_, speed) => write!(f, ", at {} times the machine's speed", Speed(speed)),
        }
    }
}

/// What the clock reads, of a line or, without one, of the machine.
pub(crate) fn read(clock: Option<ClockSetting>) -> TimeNow {
    let machine_ms = machine_unix_ms();
    TimeNow {
        unix_ms: clock.map_or(machine_ms, |clock| clock.read(machine_ms)),
        speed_permille: clock.map_or(PERMILLE, |clock| clock.speed_permille),
        is_real: clock.is_none(),
    }
}

/// The line after a change. Of a step it is where the step ends.
pub(crate) fn changed(
    clock: Option<ClockSetting>,
    change: TimeChange,
) -> Result<Option<ClockSetting>, TimeError> {
    let machine_ms = machine_unix_ms();
    let TimeNow { unix_ms, speed_permille, .. } = read(clock);
    let line = |unix_ms, speed_permille| {
        Some(ClockSetting { unix_ms, machine_ms: Some(machine_ms), speed_permille })
    };
    Ok(match change {
        TimeChange::Real => None,
        TimeChange::Speed(speed) => line(unix_ms, speed.0),
        TimeChange::Set(moment) => line(moment.0, speed_permille),
        TimeChange::Advance { step_ms, .. } => {
            let end_ms = unix_ms.checked_add(step_ms).filter(|_| step_ms <= MAX_STEP_MS);
            let end_ms = end_ms.filter(|end_ms| *end_ms <= ClockSetting::MAX_UNIX_MS);
            line(end_ms.ok_or(TimeError::Far)?, speed_permille)
        }
    })
}

/// The line of a node whose clock is wrong by so much.
pub(crate) fn shifted(clock: Option<ClockSetting>, offset_ms: i64) -> Option<ClockSetting> {
    if offset_ms == 0 {
        return clock;
    }
    let machine_ms = machine_unix_ms();
    let real = ClockSetting {
        unix_ms: machine_ms,
        machine_ms: Some(machine_ms),
        speed_permille: PERMILLE,
    };
    let line = clock.unwrap_or(real);
    Some(ClockSetting { unix_ms: line.unix_ms.saturating_add_signed(offset_ms), ..line })
}

/// How long the machine takes for so much of the testnet's time; `None` where it never comes,
/// since the clock stands.
pub(crate) fn machine_time(clock: Option<ClockSetting>, time: Duration) -> Option<Duration> {
    let speed = clock.map_or(PERMILLE, |clock| clock.speed_permille);
    let ns = (time.as_nanos() * u128::from(PERMILLE)).checked_div(speed.into())?;
    Some(Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)))
}

/// The machine's wall clock, milliseconds since 1970.
pub(crate) fn machine_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that stands.
#[cfg(test)]
pub(crate) fn standing_at(unix_ms: u64) -> ClockSetting {
    ClockSetting { unix_ms, machine_ms: Some(machine_unix_ms()), speed_permille: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_speeds_are_read_as_people_write_them() {
        let moment = |text: &str| text.parse::<Moment>().map(|moment| moment.0);
        assert_eq!(moment("2030-01-01T00:00:00Z"), Ok(1_893_456_000_000));
        assert_eq!(moment("1893456000"), Ok(1_893_456_000_000));
        for wrong in ["", "tomorrow", "-1", "4294967296", "2107-01-01T00:00:00Z"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Moment(1_893_456_000_000).to_string(), "2030-01-01T00:00:00Z");
        for (text, permille) in [("60", 60_000), ("0.5", 500), ("0", 0), ("1.25", 1_250)] {
            let speed: Speed = text.parse().unwrap();
            assert_eq!((speed.0, speed.to_string()), (permille, text.to_owned()));
        }
        for wrong in ["", "-1", "fast", "86401", "1.0001", "."] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_change_goes_on_from_what_was() {
        let standing = changed(None, TimeChange::Speed(Speed(0))).unwrap();
        let begun_ms = read(standing).unix_ms;
        let step = TimeChange::Advance { step_ms: 3_600_000, blocks: 0 };
        let later = changed(standing, step).unwrap();
        assert_eq!(read(later).unix_ms, begun_ms + 3_600_000);
        let set = changed(later, TimeChange::Set(Moment(7_000))).unwrap();
        assert_eq!((read(set).unix_ms, read(set).speed_permille), (7_000, 0));
        assert_eq!(changed(set, TimeChange::Real), Ok(None));
        let far = TimeChange::Advance { step_ms: u64::MAX, blocks: 0 };
        assert_eq!(changed(set, far), Err(TimeError::Far));
    }

    #[test]
    fn a_wrong_clock_is_wrong_by_the_same_whatever_the_speed() {
        let right = Some(standing_at(10_000));
        assert_eq!(read(shifted(right, -3_000)).unix_ms, 7_000);
        assert_eq!(shifted(right, 0), right);
        assert_eq!(shifted(None, 0), None);
        let ahead = read(shifted(None, 3_600_000)).unix_ms;
        assert!(ahead >= machine_unix_ms() + 3_590_000);
    }

    #[test]
    fn what_takes_ten_seconds_by_its_clock_takes_less_by_the_machines() {
        let ten = Duration::from_secs(10);
        let fast = ClockSetting { speed_permille: 100_000, ..standing_at(0) };
        assert_eq!(machine_time(Some(fast), ten), Some(Duration::from_millis(100)));
        assert_eq!(machine_time(None, ten), Some(ten));
        assert_eq!(machine_time(Some(standing_at(0)), ten), None);
    }
}
