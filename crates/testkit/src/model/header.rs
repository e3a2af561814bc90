//! Group 1 of PROTOCOL.md §8: the header.

use ashlar_consensus::Params;
use ashlar_primitives::{Block, Header};
use num_bigint::BigUint;

use super::{Code, block_id, difficulty};

/// A header with what §5 derives from its branch.
#[derive(Clone, Debug)]
pub struct Link {
    /// As it came.
    pub header: Header,
    /// 0 for genesis.
    pub height: u32,
    /// The highest time on the branch.
    pub clock: u32,
    /// The seconds that the branch is behind schedule.
    pub lag: i64,
    /// Of the whole branch.
    pub work: BigUint,
}

impl Link {
    /// The genesis block's.
    pub fn genesis(params: &Params, block: &Block) -> Self {
        let target = difficulty::target(params.bits).expect("the bits of a genesis are valid");
        let header = block.header;
        Self { header, height: 0, clock: params.time, lag: 0, work: difficulty::work(&target) }
    }
}

/// `bad-version`: the only rule that asks for no parent.
pub fn check_version(header: &Header) -> Result<(), Code> {
    if header.version & 0xe000_1fff == 0x2000_0000 { Ok(()) } else { Err("bad-version") }
}

/// The rules for time and work of a child of `parent`; `times` are those of the up to 11 blocks
/// before it.
pub fn check(
    params: &Params,
    parent: &Link,
    mut times: Vec<u32>,
    header: &Header,
    now_seconds: u64,
) -> Result<Link, Code> {
    times.sort_unstable();
    let median = times[times.len() / 2];
    if header.time <= median {
        return Err("time-too-old");
    }
    if u64::from(header.time) > now_seconds + u64::from(params.max_future_seconds) {
        return Err("time-too-new");
    }
    if header.bits != difficulty::required_bits(params, parent, header.time) {
        return Err("bad-difficulty");
    }
    let target = difficulty::target(header.bits).expect("required bits are valid");
    if !difficulty::is_met(&target, &block_id(header)) {
        return Err("high-hash");
    }
    Ok(Link {
        header: *header,
        height: parent.height + 1,
        clock: parent.clock + difficulty::gap(parent, header.time),
        lag: difficulty::lag(params, parent, header.time),
        work: difficulty::add_work(&parent.work, difficulty::work(&target)),
    })
}
