//! `difficulty.json`: clock, lag and required difficulty, and the median of times (PROTOCOL.md §5).

use ashlar_consensus::{
    Params, RecentTimes, Target,
    difficulty::{advance, asert, required_target},
};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    chain::{Bits, params},
    json::bits,
};

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Case {
    Step(Step),
    Sequence(Sequence),
    Generic(Generic),
    Median(Median),
}

/// A block: its time, its clock and lag, and the bits that it needs itself.
#[derive(Debug, Deserialize)]
struct Row(u32, u32, i64, Bits);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parent {
    clock: u32,
    lag: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    parent: Parent,
    /// Each on its own.
    children: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    time: u32,
    #[serde(deserialize_with = "bits")]
    bits: u32,
    #[serde(deserialize_with = "bits")]
    pow_limit_bits: u32,
    block_interval: u32,
    difficulty_half_life: u32,
    stall_relief_seconds: u32,
    steps: Vec<Family>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sequence {
    time: u32,
    #[serde(deserialize_with = "bits")]
    bits: u32,
    #[serde(deserialize_with = "bits")]
    pow_limit_bits: u32,
    block_interval: u32,
    difficulty_half_life: u32,
    stall_relief_seconds: u32,
    /// Each the child of the one before, the first of the genesis block.
    blocks: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generic {
    anchor_height: u64,
    anchor_parent_time: u64,
    #[serde(deserialize_with = "bits")]
    anchor_bits: u32,
    block_interval: u32,
    difficulty_half_life: u32,
    #[serde(deserialize_with = "bits")]
    pow_limit_bits: u32,
    blocks: Vec<GenericRow>,
}

/// Height, time, lag, bits.
#[derive(Debug, Deserialize)]
struct GenericRow(u64, u64, i64, Bits);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Median {
    times: Vec<u32>,
    median: u32,
}

impl Check for Case {
    fn check(&self) -> Verdict {
        match self {
            Self::Step(case) => case.check(),
            Self::Sequence(case) => case.check(),
            Self::Generic(case) => case.check(),
            Self::Median(case) => {
                let times: RecentTimes = case.times.iter().copied().collect();
                Failure::unless_equal("median", &times.median(), &case.median)
            }
        }
    }
}

impl Row {
    fn check(&self, params: &Params, parent: &Parent) -> Verdict {
        let Self(time, clock, lag, bits) = self;
        let required = Bits(required_target(params, parent.clock, parent.lag, *time).to_bits());
        Failure::unless_equal("bits", &required, bits)?;
        let advanced = advance(params, parent.clock, parent.lag, *time);
        Failure::unless_equal("clock and lag", &advanced, &(*clock, *lag))
    }
}

impl Step {
    fn check(&self) -> Verdict {
        let params = Params {
            time: self.time,
            bits: self.bits,
            pow_limit_bits: self.pow_limit_bits,
            block_interval: self.block_interval,
            difficulty_half_life: self.difficulty_half_life,
            stall_relief_seconds: self.stall_relief_seconds,
            ..params()
        };
        self.steps.iter().try_for_each(|family| {
            family.children.iter().try_for_each(|row| row.check(&params, &family.parent))
        })
    }
}

impl Sequence {
    fn check(&self) -> Verdict {
        let params = Params {
            time: self.time,
            bits: self.bits,
            pow_limit_bits: self.pow_limit_bits,
            block_interval: self.block_interval,
            difficulty_half_life: self.difficulty_half_life,
            stall_relief_seconds: self.stall_relief_seconds,
            ..params()
        };
        let mut parent = Parent { clock: self.time, lag: 0 };
        for row in &self.blocks {
            row.check(&params, &parent)?;
            parent = Parent { clock: row.1, lag: row.2 };
        }
        Ok(())
    }
}

impl Generic {
    fn check(&self) -> Verdict {
        let target = |bits| {
            Target::from_bits(bits).ok_or_else(|| Failure::new("bits that stand for no target"))
        };
        let (anchor, limit) = (target(self.anchor_bits)?, target(self.pow_limit_bits)?);
        for GenericRow(height, time, lag, bits) in &self.blocks {
            let blocks = i128::from(*height) - i128::from(self.anchor_height) + 1;
            let elapsed = i128::from(*time) - i128::from(self.anchor_parent_time);
            let schedule = i128::from(self.block_interval) * blocks;
            Failure::unless_equal("lag", &(elapsed - schedule), &i128::from(*lag))?;
            let required = Bits(asert(anchor, limit, self.difficulty_half_life, *lag).to_bits());
            Failure::unless_equal("bits", &required, bits)?;
        }
        Ok(())
    }
}
