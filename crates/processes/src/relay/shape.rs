//! What a line does to what it carries, and how people write it: `200ms`, `5%`, `1mbit`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest delay that a line can have: beyond it every peer is given up anyway.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// All that is sent.
const MILLION: u32 = 1_000_000;

/// Why a text is no measure of a line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ShapeError {
    /// No time, or too long a one.
    #[error("{text:?} is no delay: write it like 200ms or 1.5s, up to 60s")]
    Delay {
        /// What was written.
        text: String,
    },
    /// No part of a whole.
    #[error("{text:?} is no loss: write it like 5% or 0.5%, below 100%")]
    Loss {
        /// What was written.
        text: String,
    },
    /// No rate, or one that carries nothing.
    #[error("{text:?} is no bandwidth: write it like 1mbit, 500kbit or 1gbit, at least 1kbit")]
    Bandwidth {
        /// What was written.
        text: String,
    },
}

/// What a line does in one direction. The default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// Every byte arrives so much later.
    pub latency: Delay,
    /// And at random up to so much later still. The order stays, as TCP keeps it.
    pub jitter: Delay,
    /// Packets that are lost: on TCP a stall until the sender sends again.
    pub loss: Loss,
    /// What the line carries at most, all its connections together; `None` for any rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Of each connection only so many bytes arrive, and it stays open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_after_bytes: Option<u64>,
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.latency != Delay::default() {
            words.push(format!("latency {}", self.latency));
        }
        if self.jitter != Delay::default() {
            words.push(format!("jitter {}", self.jitter));
        }
        if self.loss != Loss::default() {
            words.push(format!("loss {}", self.loss));
        }
        words.extend(self.bandwidth.map(|bandwidth| format!("bandwidth {bandwidth}")));
        words.extend(self.silent_after_bytes.map(|bytes| format!("silent after {bytes} bytes")));
        out.write_str(if words.is_empty() { "plain" } else { "" })?;
        out.write_str(&words.join(", "))
    }
}

/// A time of at most a minute, written `200ms`, `1.5s` or `250us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Delay(Duration);

impl Delay {
    /// From milliseconds, at most a minute of them.
    pub fn from_ms(ms: u32) -> Self {
        Self(Duration::from_millis(ms.into()).min(MAX_DELAY))
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// Lost packets of a million, written as per cent: `5%`, `0.5%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Loss(u32);

impl Loss {
    /// From whole per cent, below 100.
    pub fn from_percent(percent: u8) -> Self {
        Self((u32::from(percent) * (MILLION / 100)).min(MILLION - 1))
    }

    /// The chance that a packet is lost, below 1.
    pub fn chance(self) -> f64 {
        f64::from(self.0) / f64::from(MILLION)
    }
}

/// Bits in a second, at least a thousand, written `1mbit`, `500kbit`, `1.5gbit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// The least that a line can carry, in bits a second.
    const MIN_BITS: u64 = 1_000;

    /// From bytes a second; what is too slow becomes the slowest.
    pub fn from_bytes_per_second(bytes: u64) -> Self {
        Self(bytes.saturating_mul(8).max(Self::MIN_BITS))
    }

    /// Bytes in a second.
    pub const fn bytes_per_second(self) -> u64 {
        self.0 / 8
    }
}

/// A number that is neither negative nor endless, and the unit behind it.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    Some((number.parse().ok()?, unit.trim()))
}

/// The shortest of the ways to write a number of units.
fn write_in(
    out: &mut fmt::Formatter<'_>,
    amount: f64,
    units: &[(f64, &'static str)],
) -> fmt::Result {
    let fitting = units.iter().rev().find(|(size, _)| amount >= *size);
    let (size, name) = fitting.unwrap_or(&units[0]);
    write!(out, "{}{name}", amount / size)
}

impl FromStr for Delay {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Self, ShapeError> {
        let seconds = match number_and_unit(text.trim()) {
            Some((number, "us")) => number / 1e6,
            Some((number, "ms")) => number / 1e3,
            Some((number, "s")) => number,
            _ => f64::INFINITY,
        };
        let delay = Duration::try_from_secs_f64(seconds).ok().filter(|delay| *delay <= MAX_DELAY);
        delay.map(Self).ok_or_else(|| ShapeError::Delay { text: text.to_owned() })
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_micros() {
            0 => out.write_str("0ms"),
            micros if micros % 1_000 == 0 && micros < 1_000_000 => {
                write!(out, "{}ms", micros / 1_000)
            }
            micros if micros < 1_000 => write!(out, "{micros}us"),
            _ => write!(out, "{}s", self.0.as_secs_f64()),
        }
    }
}

impl FromStr for Loss {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Self, ShapeError> {
        let percent = match number_and_unit(text.trim()) {
            Some((number, "%")) => number,
            _ => f64::INFINITY,
        };
        if percent >= 100.0 {
            return Err(ShapeError::Loss { text: text.to_owned() });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 0, below 100"
        )]
        let per_million = (percent * f64::from(MILLION / 100)).round() as u32;
        Ok(Self(per_million.min(MILLION - 1)))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}%", f64::from(self.0) / f64::from(MILLION / 100))
    }
}

impl FromStr for Bandwidth {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Self, ShapeError> {
        let bits = match number_and_unit(text.trim()) {
            Some((number, "kbit")) => number * 1e3,
            Some((number, "mbit")) => number * 1e6,
            Some((number, "gbit")) => number * 1e9,
            _ => 0.0,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative, and what is too large becomes the largest"
        )]
        let bits = bits.round() as u64;
        let known = bits >= Self::MIN_BITS;
        known.then_some(Self(bits)).ok_or_else(|| ShapeError::Bandwidth { text: text.to_owned() })
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let bits = self.0 as f64;
        write_in(out, bits, &[(1e3, "kbit"), (1e6, "mbit"), (1e9, "gbit")])
    }
}

/// Text in and out, as `serde` wants it.
macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = ShapeError;

            fn try_from(text: String) -> Result<Self, ShapeError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(measure: $name) -> Self {
                measure.to_string()
            }
        }
    )*};
}
as_text!(Delay, Loss, Bandwidth);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_read_as_people_write_them_and_written_back() {
        for (text, delay) in
            [("200ms", 200_000), ("1.5s", 1_500_000), ("250us", 250), ("60s", 60_000_000)]
        {
            let read: Delay = text.parse().unwrap();
            assert_eq!(read.duration(), Duration::from_micros(delay), "{text}");
            assert_eq!(read.to_string(), text);
        }
        for text in ["5%", "0.5%", "0%", "99.9999%"] {
            assert_eq!(text.parse::<Loss>().unwrap().to_string(), text);
        }
        assert!((Loss::from_percent(5).chance() - 0.05).abs() < 1e-9);
        for (text, bytes) in [("1mbit", 125_000), ("500kbit", 62_500), ("1.5gbit", 187_500_000)] {
            let read: Bandwidth = text.parse().unwrap();
            assert_eq!(read.bytes_per_second(), bytes, "{text}");
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "5", "ms", "-1ms", "61s", "1e3ms", "nan%"] {
            let error = text.parse::<Delay>().unwrap_err();
            assert!(error.to_string().contains("like 200ms"), "{text}: {error}");
        }
        for text in ["100%", "5", "-1%", "x%"] {
            assert!(text.parse::<Loss>().unwrap_err().to_string().contains("like 5%"), "{text}");
        }
        for text in ["0mbit", "1", "1bit", "0.5kbit", "1 mb"] {
            let error = text.parse::<Bandwidth>().unwrap_err();
            assert!(error.to_string().contains("like 1mbit"), "{text}: {error}");
        }
    }

    #[test]
    fn a_shape_is_a_table_of_texts() {
        let shape = Shape {
            latency: Delay::from_ms(200),
            loss: Loss::from_percent(5),
            bandwidth: Some("1mbit".parse().unwrap()),
            ..Shape::default()
        };
        let text = serde_json::to_string(&shape).unwrap();
        assert_eq!(text, r#"{"latency":"200ms","jitter":"0ms","loss":"5%","bandwidth":"1mbit"}"#);
        assert_eq!(serde_json::from_str::<Shape>(&text).unwrap(), shape);
        assert!(serde_json::from_str::<Shape>(r#"{"lateness":"1s"}"#).is_err());
        assert_eq!(shape.to_string(), "latency 200ms, loss 5%, bandwidth 1mbit");
        assert_eq!(Shape::default().to_string(), "plain");
    }
}
