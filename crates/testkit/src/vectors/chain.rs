//! A chain for cases that say only some of its parameters, and compact bits.

use std::fmt;

use ashlar_consensus::Params;
use ashlar_primitives::{Amount, BlockId};
use serde::Deserialize;

use super::json::bits;

/// Parameters of which a case overwrites those that it is about.
pub(super) fn params() -> Params {
    Params {
        chain_id: BlockId::ZERO,
        name: "vectors".into(),
        address_prefix: "vash".into(),
        time: 1_700_000_000,
        bits: 0x207f_ffff,
        pow_limit_bits: 0x207f_ffff,
        block_interval: 600,
        difficulty_half_life: 0,
        stall_relief_seconds: 0,
        max_future_seconds: 7_200,
        max_block_bytes: 1_000_000,
        coinbase_maturity: 100,
        initial_subsidy: Amount::ZERO,
        halving_interval: 1,
    }
}

/// Compact bits, where a wrapper is needed: in lists and options.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Bits(#[serde(deserialize_with = "bits")] pub(super) u32);

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
