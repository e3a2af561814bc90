//! Judging headers (PROTOCOL.md §4, §5, §8 group 1).

use ashlar_primitives::{BlockId, Header};

use crate::{error::HeaderError, params::Params, pow::Work};

/// All that judging a child header needs. Fields are plain so that storage can rebuild it from
/// stored headers; it is *not* proof of anything by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderState {
    pub id: BlockId,
    pub height: u32,
    /// The times of the last up to 11 blocks, this one's last.
    pub times: Vec<u32>, // implementer may choose an inline array type
    /// Of the whole branch, the genesis block's included.
    pub work: Work,
    /// §5.
    pub clock: u32,
    /// §5.
    pub lag: i64,
}

impl HeaderState {
    /// The median of `times` (§5, upper of the two middle ones).
    pub fn median_time(&self) -> u32 { todo!() }
    /// Bits required of a child with this time.
    pub fn required_bits(&self, params: &Params, time: u32) -> u32 { todo!() }
    /// Bits without stall relief: the normal difficulty of a child.
    pub fn normal_bits(&self, params: &Params) -> u32 { todo!() }
    /// First time that a child may have: median + 1.
    pub fn min_time(&self) -> u64 { todo!() }
    /// The last second before the required bits of a child with `time` change by relief; `None`
    /// where they never do.
    pub fn max_time(&self, params: &Params, time: u32) -> Option<u32> { todo!() }
}

/// Group 1 of §8 without parent lookup and clock. `Err` is for ever.
pub fn check_header(parent: &HeaderState, params: &Params, header: &Header) -> Result<HeaderState, HeaderError> { todo!() }

/// Whether a header's time is still too far ahead of `now_seconds` (§5, `time-too-new`): asked beside the rules.
/// In the order of §8 it stands after `time-too-old` and before `bad-difficulty`; `judge_header` does it in order.
pub fn is_too_new(params: &Params, header: &Header, now_seconds: u64) -> bool { todo!() }
