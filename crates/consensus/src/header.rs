//! Judging headers (PROTOCOL.md §4, §5, §8 group 1).

use ashlar_primitives::{BlockId, Header};
use thiserror::Error;

use crate::{
    difficulty,
    error::{HeaderError, require},
    params::Params,
    pow::{Target, Work},
};

/// Bits of a version that are fixed; the others are free for miners to roll (§4).
pub const VERSION_MASK: u32 = 0xe000_1fff;
/// What the fixed bits must be.
pub const VERSION: u32 = 0x2000_0000;
/// How many of the last blocks the median of times is taken over (§5).
pub const MEDIAN_SPAN: usize = 11;

/// The times of the last up to 11 blocks of a branch, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentTimes {
    /// Newest last; the front is unused while there are fewer than 11.
    times: [u32; MEDIAN_SPAN],
    count: usize,
}

impl RecentTimes {
    /// Of no block yet.
    pub const EMPTY: Self = Self { times: [0; MEDIAN_SPAN], count: 0 };

    /// Takes in the time of the next block; the eleventh-last is forgotten.
    pub fn push(&mut self, time: u32) {
        self.times.rotate_left(1);
        let [.., newest] = &mut self.times;
        *newest = time;
        self.count = self.count.saturating_add(1).min(MEDIAN_SPAN);
    }

    /// Oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> {
        self.times.into_iter().skip(MEDIAN_SPAN.saturating_sub(self.count))
    }

    /// The upper of the two middle ones where the count is even (§5); 0 of no block.
    pub fn median(&self) -> u32 {
        let mut sorted: Vec<u32> = self.iter().collect();
        sorted.sort_unstable();
        sorted.get(self.count / 2).copied().unwrap_or(0)
    }
}

impl FromIterator<u32> for RecentTimes {
    /// Oldest first; only the last 11 are kept.
    fn from_iter<I: IntoIterator<Item = u32>>(times: I) -> Self {
        times.into_iter().fold(Self::EMPTY, |mut recent, time| {
            recent.push(time);
            recent
        })
    }
}

/// All that judging a child header needs. Fields are plain so that storage can rebuild it from
/// stored headers; it is *not* proof of anything by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderState {
    /// The block's.
    pub id: BlockId,
    /// 0 for the genesis block.
    pub height: u32,
    /// The times of the last up to 11 blocks, this one's last.
    pub times: RecentTimes,
    /// Of the whole branch, the genesis block's included.
    pub work: Work,
    /// The highest time on the branch (§5).
    pub clock: u32,
    /// Seconds that the branch is behind schedule (§5).
    pub lag: i64,
}

impl HeaderState {
    /// The median of `times` (§5).
    pub fn median_time(&self) -> u32 {
        self.times.median()
    }

    /// Bits required of a child with this time.
    pub fn required_bits(&self, params: &Params, time: u32) -> u32 {
        difficulty::required_target(params, self.clock, self.lag, time).to_bits()
    }

    /// Bits of a child without stall relief: the normal difficulty.
    pub fn normal_bits(&self, params: &Params) -> u32 {
        difficulty::normal_target(params, self.lag).to_bits()
    }

    /// First time that a child may have: median + 1. Over `u32::MAX` where none can.
    pub fn min_time(&self) -> u64 {
        u64::from(self.median_time()).saturating_add(1)
    }

    /// The last second before the next step of relief for a child with `time` (§5, `maxtime`):
    /// up to it the required bits are the same. `None` where there is no such step.
    pub fn max_time(&self, params: &Params, time: u32) -> Option<u32> {
        let steps = difficulty::relief_steps(params, self.clock, time)?.checked_add(1)?;
        let until_step = params.stall_relief_seconds.checked_mul(steps)?;
        self.clock.checked_add(until_step)?.checked_sub(1)
    }
}

/// Why [`judge_header`] does not give a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JudgeError {
    /// A rule is broken, for ever.
    #[error(transparent)]
    Rule(#[from] HeaderError),
    /// `time-too-new`: no verdict about the header, which may be offered again later.
    #[error("time {time} is later than {latest}, the latest that this clock accepts now")]
    TooNew {
        /// The header's.
        time: u32,
        /// Now and `max_future_seconds`.
        latest: u64,
    },
}

/// PROTOCOL.md §4: `bad-version`, the one rule that stands before the question for the parent (§8).
pub fn check_version(header: &Header) -> Result<(), HeaderError> {
    let version = header.version;
    require(version & VERSION_MASK == VERSION, HeaderError::BadVersion { version })
}

/// Group 1 of §8 without parent lookup and clock: `parent` is the state of `header.parent`.
/// `Err` is for ever.
pub fn check_header(
    parent: &HeaderState,
    params: &Params,
    header: &Header,
) -> Result<HeaderState, HeaderError> {
    check_version(header)?;
    check_time(parent, header)?;
    check_work(parent, params, header)
}

/// [`check_header`] by a node whose clock says `now_seconds`: `time-too-new` has its place in the
/// order of §8, after `time-too-old` and before `bad-difficulty`.
pub fn judge_header(
    parent: &HeaderState,
    params: &Params,
    header: &Header,
    now_seconds: u64,
) -> Result<HeaderState, JudgeError> {
    check_version(header)?;
    check_time(parent, header)?;
    // PROTOCOL.md §5: time-too-new
    let (time, latest) = (header.time, latest_time(params, now_seconds));
    require(!is_too_new(params, header, now_seconds), JudgeError::TooNew { time, latest })?;
    Ok(check_work(parent, params, header)?)
}

/// Whether a header's time is still too far ahead of `now_seconds` (§5, `time-too-new`): asked
/// beside the rules; [`judge_header`] does it in order.
pub fn is_too_new(params: &Params, header: &Header, now_seconds: u64) -> bool {
    u64::from(header.time) > latest_time(params, now_seconds)
}

/// The latest time of a header that a clock at `now_seconds` accepts (§5).
pub fn latest_time(params: &Params, now_seconds: u64) -> u64 {
    now_seconds.saturating_add(params.max_future_seconds.into())
}

/// PROTOCOL.md §5: `time-too-old`
fn check_time(parent: &HeaderState, header: &Header) -> Result<(), HeaderError> {
    let (time, median) = (header.time, parent.median_time());
    require(time > median, HeaderError::TimeTooOld { time, median })
}

/// `bad-difficulty`, `high-hash`, and what follows for the children.
fn check_work(
    parent: &HeaderState,
    params: &Params,
    header: &Header,
) -> Result<HeaderState, HeaderError> {
    // PROTOCOL.md §5: bad-difficulty
    let (bits, required) = (header.bits, parent.required_bits(params, header.time));
    require(bits == required, HeaderError::BadDifficulty { bits, required })?;
    // PROTOCOL.md §5: high-hash. What the bits say, not the target before it was made compact, is
    // what the id must meet.
    let id = header.id();
    let target = Target::from_bits(bits).filter(|target| target.is_met_by(&id));
    let target = target.ok_or(HeaderError::HighHash)?;
    let mut times = parent.times;
    times.push(header.time);
    let (clock, lag) = difficulty::advance(params, parent.clock, parent.lag, header.time);
    Ok(HeaderState {
        id,
        // Times are u32 seconds and their median must rise: they run out before heights do, on
        // any chain that makes fewer than six blocks a second.
        height: parent.height.saturating_add(1),
        times,
        work: parent.work.saturating_add(target.work()),
        clock,
        lag,
    })
}
