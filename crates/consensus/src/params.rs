//! The parameters that define a chain (PROTOCOL.md §7).

use ashlar_primitives::{Amount, BlockId};

use crate::pow::Target;

/// What every rule may ask of a chain. Made only from a checked genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// The genesis block's id.
    pub chain_id: BlockId,
    /// For people: 1 to 64 bytes.
    pub name: String,
    /// Of addresses: 1 to 16 lower-case letters.
    pub address_prefix: String,
    /// Of the genesis block, in seconds since 1970; `T0` of §5.
    pub time: u32,
    /// Of the genesis block; `bits0` of §5.
    pub bits: u32,
    /// The easiest target.
    pub pow_limit_bits: u32,
    /// Seconds that a block should take; `T` of §5.
    pub block_interval: u32,
    /// Seconds of lag that halve difficulty, `τ` of §5; 0: fixed difficulty.
    pub difficulty_half_life: u32,
    /// Seconds without a block that double the target, `S` of §5; 0: no relief.
    pub stall_relief_seconds: u32,
    /// How far ahead of a node's clock a block's time may be.
    pub max_future_seconds: u32,
    /// Of a block's whole encoding.
    pub max_block_bytes: u32,
    /// Blocks until a coinbase coin may be spent.
    pub coinbase_maturity: u32,
    /// What the first block may claim beside fees.
    pub initial_subsidy: Amount,
    /// Blocks between halvings of the subsidy; at least 1.
    pub halving_interval: u32,
}

impl Params {
    /// `initial_subsidy >> ((h − 1) / halving_interval)` (§4); 0 at height 0 and once the shift
    /// reaches 64.
    pub fn subsidy(&self, height: u32) -> Amount {
        let grains = height
            .checked_sub(1)
            .and_then(|mined_before| mined_before.checked_div(self.halving_interval))
            .and_then(|halvings| self.initial_subsidy.grains().checked_shr(halvings))
            .unwrap_or(0);
        Amount::from_grains(grains)
    }

    /// `target(bits0)` of §5: what difficulty is measured from.
    pub fn anchor_target(&self) -> Target {
        // No checked genesis has bits without a target; were there any, nothing easy may follow.
        Target::from_bits(self.bits).unwrap_or(Target::HARDEST)
    }

    /// `target(pow_limit_bits)` of §5: no required target is easier.
    pub fn limit_target(&self) -> Target {
        Target::from_bits(self.pow_limit_bits).unwrap_or(Target::HARDEST)
    }
}
