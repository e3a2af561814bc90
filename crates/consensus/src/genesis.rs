//! What a genesis must keep to, and the block that it stands for (PROTOCOL.md §7). How it is
//! written as text is the business of [`crate::genesis_file`].

use ashlar_primitives::{
    Amount, Block, BlockId, Coinbase, Encode, Header, MerkleRoot, Output, codec::put_bytes16,
    hash::tagged_hash,
};
use thiserror::Error;

use crate::{
    accumulator::UtxoAccumulator,
    body::MAX_COINBASE_OUTPUTS,
    connect::{State, UtxoDiff},
    error::require,
    header::{HeaderState, RecentTimes, VERSION},
    params::Params,
    pow::Target,
    transaction::coins,
};

/// Which value of a genesis breaks a rule of §7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GenesisFault {
    /// A field is out of its range.
    #[error("{field} must be {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// By §7.
        expected: &'static str,
    },
    /// `initial_subsidy`, `halving_interval` and `allocations` make more than `MAX_MONEY`.
    #[error(
        "allocations and all subsidies come to {total} grains, at most {} allowed",
        Amount::MAX_MONEY
    )]
    TooMuchMoney {
        /// Together.
        total: u128,
    },
}

/// A checked genesis: parameters, block, and the state after it.
#[derive(Clone, Debug)]
pub struct Genesis {
    params: Params,
    params_bytes: Vec<u8>,
    block: Block,
    state: State,
    diff: UtxoDiff,
}

impl Genesis {
    /// Checks the values and makes the block. `params.chain_id` is not looked at: it is found here.
    pub(crate) fn new(
        mut params: Params,
        message: &str,
        allocations: Vec<Output>,
    ) -> Result<Self, GenesisFault> {
        check(&params, message, &allocations)?;
        let params_bytes = params_bytes(&params, message);
        let utxo = UtxoAccumulator::empty();
        let coinbase = Coinbase {
            version: Coinbase::VERSION,
            height: 0,
            utxo_commitment: utxo.commitment(),
            outputs: allocations,
            extra: tagged_hash("ashlar/params", &params_bytes).to_vec(),
        };
        let header = Header {
            version: VERSION,
            parent: BlockId::ZERO,
            merkle_root: MerkleRoot(coinbase.id().0),
            time: params.time,
            bits: params.bits,
            nonce: 0,
        };
        params.chain_id = header.id();
        // Coins of height 0 are no coinbase coins and mature at once.
        let created = coins(coinbase.id().into(), &coinbase.outputs, 0, false).collect();
        let diff = UtxoDiff { created, ..UtxoDiff::default() };
        let state = State {
            header: HeaderState {
                id: params.chain_id,
                height: 0,
                times: [params.time].into_iter().collect::<RecentTimes>(),
                work: params.anchor_target().work(),
                clock: params.time,
                lag: 0,
            },
            utxo: diff.applied_to(&utxo),
        };
        let block = Block { header, coinbase, transactions: Vec::new() };
        Ok(Self { params, params_bytes, block, state, diff })
    }

    /// What the chain's rules ask of it.
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// The genesis block: valid by definition.
    pub const fn block(&self) -> &Block {
        &self.block
    }

    /// The state that judges a child of the genesis block.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The coins that the allocations make.
    pub const fn diff(&self) -> &UtxoDiff {
        &self.diff
    }

    /// The `params` bytes of §7.
    pub fn params_bytes(&self) -> &[u8] {
        &self.params_bytes
    }
}

/// The rules of §7.
fn check(params: &Params, message: &str, allocations: &[Output]) -> Result<(), GenesisFault> {
    let check = |field, expected, holds| require(holds, GenesisFault::Field { field, expected });
    let prefix = params.address_prefix.as_bytes();
    let is_lower_case = prefix.iter().all(u8::is_ascii_lowercase);
    let is_prefix = is_lower_case && (1..=16).contains(&prefix.len());
    check("address_prefix", "1 to 16 lower-case letters", is_prefix)?;
    check("name", "1 to 64 bytes of UTF-8", (1..=64).contains(&params.name.len()))?;
    check("message", "at most 1024 bytes of UTF-8", message.len() <= 1_024)?;
    for (field, bits) in [("bits", params.bits), ("pow_limit_bits", params.pow_limit_bits)] {
        let is_shortest = Target::from_bits(bits).is_some_and(|target| target.to_bits() == bits);
        check(field, "the shortest form of a target", is_shortest)?;
    }
    let is_within_limit = params.anchor_target() <= params.limit_target();
    check("bits", "a target at most that of pow_limit_bits", is_within_limit)?;
    check("block_interval", "at least 1", params.block_interval >= 1)?;
    let is_block_size = (10_000..=32_000_000).contains(&params.max_block_bytes);
    check("max_block_bytes", "10000 to 32000000", is_block_size)?;
    check("halving_interval", "at least 1", params.halving_interval >= 1)?;
    let least_relief = u64::from(params.max_future_seconds)
        .saturating_mul(2)
        .saturating_add(u64::from(params.block_interval).saturating_mul(12));
    let relief = u64::from(params.stall_relief_seconds);
    let expected = "0, or at least 2 max_future_seconds and 12 block_intervals";
    check("stall_relief_seconds", expected, relief == 0 || relief >= least_relief)?;
    check("allocations", "at most 1024", allocations.len() <= MAX_COINBASE_OUTPUTS)?;
    let none_zero = allocations.iter().all(|output| output.value > Amount::ZERO);
    check("value", "at least 1 in every allocation", none_zero)?;
    // Everything that there will ever be.
    let subsidies = (0..64)
        .map(|halvings| u128::from(params.initial_subsidy.grains() >> halvings))
        .fold(0, u128::saturating_add)
        .saturating_mul(params.halving_interval.into());
    let total = allocations
        .iter()
        .map(|output| u128::from(output.value.grains()))
        .fold(subsidies, u128::saturating_add);
    require(total <= Amount::MAX_MONEY.grains().into(), GenesisFault::TooMuchMoney { total })
}

/// `params` of §7: what the genesis coinbase commits to.
fn params_bytes(params: &Params, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes16(&mut out, params.name.as_bytes());
    put_bytes16(&mut out, params.address_prefix.as_bytes());
    params.time.encode(&mut out);
    params.bits.encode(&mut out);
    params.pow_limit_bits.encode(&mut out);
    params.block_interval.encode(&mut out);
    params.difficulty_half_life.encode(&mut out);
    params.stall_relief_seconds.encode(&mut out);
    params.max_future_seconds.encode(&mut out);
    params.max_block_bytes.encode(&mut out);
    params.coinbase_maturity.encode(&mut out);
    params.initial_subsidy.encode(&mut out);
    params.halving_interval.encode(&mut out);
    put_bytes16(&mut out, message.as_bytes());
    out
}
