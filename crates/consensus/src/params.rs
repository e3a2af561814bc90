//! The parameters that define a chain (PROTOCOL.md §7).

use ashlar_primitives::{Amount, BlockId};

/// What every rule may ask of a chain. Made only from a checked genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    pub chain_id: BlockId,
    pub name: String,
    pub address_prefix: String,
    pub time: u32,
    pub bits: u32,
    pub pow_limit_bits: u32,
    /// Seconds.
    pub block_interval: u32,
    /// Seconds; 0: fixed difficulty.
    pub difficulty_half_life: u32,
    /// Seconds; 0: none.
    pub stall_relief_seconds: u32,
    pub max_future_seconds: u32,
    pub max_block_bytes: u32,
    /// Blocks.
    pub coinbase_maturity: u32,
    pub initial_subsidy: Amount,
    /// Blocks.
    pub halving_interval: u32,
}

impl Params {
    /// `initial_subsidy >> ((h − 1) / halving_interval)` (§4); 0 at height 0.
    pub fn subsidy(&self, height: u32) -> Amount { todo!() }
}
