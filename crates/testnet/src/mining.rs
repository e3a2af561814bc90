//! Who finds blocks, and when.
//!
//! On a chain of trivial proof of work a block costs nothing, and the rate is set by the keeper's
//! clock or by what waits; where proof of work is real, the keeper splits what it hashes between
//! the nodes (`keeper/mining.rs`).

use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::file::NodeNumber;

/// Longest time between two blocks of [`Mode::Interval`], in milliseconds: a day.
const MAX_INTERVAL_MS: u64 = 86_400_000;
/// Shortest: nodes must have time to agree.
const MIN_INTERVAL_MS: u64 = 10;
/// Most that one share may be.
const MAX_SHARE: u32 = 1_000_000;

/// `[mining]`, and what the verb `mining` changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mining {
    /// When.
    pub mode: Mode,
    /// Between two blocks of the mode `interval`, in milliseconds.
    pub interval_ms: u64,
    /// Who, and how often compared with the others; the first node alone unless given.
    pub miners: Vec<Share>,
    /// How much of one core the mode `hashrate` takes, in percent.
    pub cpu_percent: u8,
}

/// When blocks are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// By the clock.
    #[default]
    Interval,
    /// As soon as a transaction waits.
    OnTransaction,
    /// When proof of work is found, of which each miner does its share.
    Hashrate,
    /// When somebody asks.
    Manual,
}

/// A miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Which node.
    pub node: NodeNumber,
    /// Its part, against the other parts.
    pub share: u32,
}

/// Mining that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MiningError {
    /// Too fast or too slow.
    #[error("the time between blocks is {MIN_INTERVAL_MS} ms to a day, not {interval_ms} ms")]
    Interval {
        /// What was asked for.
        interval_ms: u64,
    },
    /// A share out of range.
    #[error("a miner's share is 1 to {MAX_SHARE}")]
    Share,
    /// A miner named twice.
    #[error("node {node} is there twice")]
    Twice {
        /// The node.
        node: NodeNumber,
    },
    /// No processor, or more than one core.
    #[error("cpu_percent is 1 to 100, of one core")]
    Cpu,
    /// Text that is no share.
    #[error("a share is NODE=PART, such as 1=3")]
    ShareText,
    /// Real proof of work where there is none.
    #[error(
        "on this chain every hash or two is a block; for the mode hashrate make a testnet with \
         [genesis] preset = \"work\""
    )]
    Trivial,
}

impl Default for Mining {
    fn default() -> Self {
        Self { mode: Mode::Interval, interval_ms: 2_000, miners: Vec::new(), cpu_percent: 10 }
    }
}

impl Mining {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), MiningError> {
        if !(MIN_INTERVAL_MS..=MAX_INTERVAL_MS).contains(&self.interval_ms) {
            return Err(MiningError::Interval { interval_ms: self.interval_ms });
        }
        if !(1..=100).contains(&self.cpu_percent) {
            return Err(MiningError::Cpu);
        }
        for (place, share) in self.miners.iter().enumerate() {
            if !(1..=MAX_SHARE).contains(&share.share) {
                return Err(MiningError::Share);
            }
            if self.miners.iter().take(place).any(|other| other.node == share.node) {
                return Err(MiningError::Twice { node: share.node });
            }
        }
        Ok(())
    }
}

impl FromStr for Share {
    type Err = MiningError;

    fn from_str(text: &str) -> Result<Self, MiningError> {
        let (node, share) = text.split_once('=').ok_or(MiningError::ShareText)?;
        let node = node.parse().map_err(|_| MiningError::ShareText)?;
        Ok(Self { node, share: share.parse().map_err(|_| MiningError::ShareText)? })
    }
}

impl fmt::Display for Mining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Mode::Interval => {
                let (seconds, ms) = (self.interval_ms / 1_000, self.interval_ms % 1_000);
                let fraction = format!(".{ms:03}");
                let fraction = fraction.trim_end_matches(['0', '.']);
                write!(f, "a block every {seconds}{fraction} s")?;
            }
            Mode::OnTransaction => write!(f, "a block as soon as a transaction waits")?,
            Mode::Hashrate => write!(f, "real proof of work on {} % of a core", self.cpu_percent)?,
            Mode::Manual => return write!(f, "blocks when asked for (`mine N`)"),
        }
        match &*self.miners {
            [] => write!(f, ", found by the first node"),
            [one] => write!(f, ", found by node {}", one.node),
            several => {
                let shares: Vec<String> =
                    several.iter().map(|one| format!("{}={}", one.node, one.share)).collect();
                write!(f, ", found by {}", shares.join(" "))
            }
        }
    }
}

/// Takes turns by shares: over any stretch each comes as often as its share says, give or take one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    /// What each is owed.
    owed: Vec<(NodeNumber, i64)>,
}

impl Turns {
    /// Whose turn it is among those that can; `None` among none.
    pub(crate) fn next(&mut self, able: &[Share]) -> Option<NodeNumber> {
        self.owed.retain(|(node, _)| able.iter().any(|share| share.node == *node));
        for share in able {
            match self.owed.iter_mut().find(|(node, _)| *node == share.node) {
                Some((_, owed)) => *owed += i64::from(share.share),
                None => self.owed.push((share.node, i64::from(share.share))),
            }
        }
        let whole: i64 = able.iter().map(|share| i64::from(share.share)).sum();
        let next = self.owed.iter_mut().max_by_key(|(node, owed)| (*owed, u16::MAX - node))?;
        next.1 -= whole;
        Some(next.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_shares() {
        let shares = ["1=3", "2=1", "5=2"].map(|text| text.parse::<Share>().unwrap());
        let mut turns = Turns::default();
        let order: Vec<_> = (0..600).map(|_| turns.next(&shares).unwrap()).collect();
        for share in &shares {
            let count = order.iter().filter(|node| **node == share.node).count();
            assert_eq!(count, 100 * share.share as usize);
        }
        // No miner has all its turns at once.
        assert!(order.windows(4).all(|four| four.iter().any(|node| *node != 1)));
        // One that can't is passed over, and owed nothing when it comes back.
        let able = &shares[..2];
        assert!((0..100).all(|_| turns.next(able) != Some(5)));
        assert_eq!(Turns::default().next(&[]), None);
    }

    #[test]
    fn mining_is_told_in_words() {
        let mut mining = Mining { interval_ms: 1_500, ..Mining::default() };
        assert_eq!(mining.to_string(), "a block every 1.5 s, found by the first node");
        mining = Mining { interval_ms: 10_000, miners: vec!["2=1".parse().unwrap()], ..mining };
        assert_eq!(mining.to_string(), "a block every 10 s, found by node 2");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!("1:3".parse::<Share>(), Err(MiningError::ShareText));
        let share = |node, share| Share { node, share };
        let base = Mining::default();
        let twice = Mining { miners: vec![share(1, 1), share(1, 2)], ..Mining::default() };
        assert_eq!(twice.check(), Err(MiningError::Twice { node: 1 }));
        let none = Mining { miners: vec![share(1, 0)], ..Mining::default() };
        assert_eq!(none.check(), Err(MiningError::Share));
        let fast = Mining { interval_ms: 1, ..base.clone() };
        assert!(matches!(fast.check(), Err(MiningError::Interval { .. })));
        assert_eq!(Mining { cpu_percent: 0, ..base }.check(), Err(MiningError::Cpu));
    }
}
