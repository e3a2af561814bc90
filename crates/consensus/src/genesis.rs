//! `genesis.json`: reading, checking, the block it stands for (PROTOCOL.md §7).

use core::{fmt, marker::PhantomData};

use ashlar_primitives::{
    Address, AddressError, Amount, Block, BlockId, Coinbase, Encode, Header, MerkleRoot, Output,
    codec::put_bytes16, hash::tagged_hash,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use thiserror::Error;

use crate::{
    accumulator::UtxoAccumulator,
    body::MAX_COINBASE_OUTPUTS,
    connect::{State, UtxoDiff},
    header::{HeaderState, RecentTimes, VERSION},
    params::Params,
    pow::Target,
    transaction::coins,
};

/// Why a text is not a genesis. For people: what is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GenesisError {
    /// Not JSON, a field missing, unknown or twice, or a value of another form.
    #[error("line {line}, column {column}: {problem}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What was found and what was expected.
        problem: String,
    },
    /// A field is out of its range.
    #[error("{field} must be {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// By §7.
        expected: &'static str,
    },
    /// An allocation pays to no address of this chain.
    #[error("allocation {index}: {error}")]
    AllocationAddress {
        /// From 0.
        index: usize,
        /// What is wrong with its address.
        error: AddressError,
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

impl From<serde_json::Error> for GenesisError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        // Its text ends with the place, which has fields of its own here.
        let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
        Self::Json { line: error.line(), column: error.column(), problem: problem.to_owned() }
    }
}

/// The file as it is written. The derived reader refuses unknown, missing and repeated fields; an
/// integer is read from digits alone, since JSON's other forms of a number are floats to it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    address_prefix: String,
    time: u32,
    bits: String,
    pow_limit_bits: String,
    block_interval: u32,
    difficulty_half_life: u32,
    stall_relief_seconds: u32,
    max_future_seconds: u32,
    max_block_bytes: u32,
    coinbase_maturity: u32,
    initial_subsidy: u64,
    halving_interval: u32,
    message: String,
    allocations: Vec<Object<Allocation>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Allocation {
    address: String,
    value: u64,
}

/// A `T` written as an object. Left to itself the derived reader would also take a list of the
/// fields in their order.
#[derive(Serialize)]
#[serde(transparent)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
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
    /// Reads and checks a `genesis.json`.
    pub fn parse(text: &str) -> Result<Self, GenesisError> {
        let Object::<Text>(text) = serde_json::from_str(text)?;
        let (bits, pow_limit_bits) = text.check()?;
        let outputs = text.outputs()?;
        let params_bytes = text.params_bytes(bits, pow_limit_bits);
        let utxo = UtxoAccumulator::empty();
        let coinbase = Coinbase {
            version: Coinbase::VERSION,
            height: 0,
            utxo_commitment: utxo.commitment(),
            outputs,
            extra: tagged_hash("ashlar/params", &params_bytes).to_vec(),
        };
        let header = Header {
            version: VERSION,
            parent: BlockId::ZERO,
            merkle_root: MerkleRoot(coinbase.id().0),
            time: text.time,
            bits,
            nonce: 0,
        };
        let params = text.into_params(header.id(), bits, pow_limit_bits);
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

impl Text {
    /// The rules of §7 but those for money; returns bits and limit.
    fn check(&self) -> Result<(u32, u32), GenesisError> {
        let lower_case = self.address_prefix.bytes().all(|letter| letter.is_ascii_lowercase());
        require("address_prefix", "1 to 16 lower-case letters", {
            lower_case && (1..=16).contains(&self.address_prefix.len())
        })?;
        require("name", "1 to 64 bytes of UTF-8", (1..=64).contains(&self.name.len()))?;
        require("message", "at most 1024 bytes of UTF-8", self.message.len() <= 1_024)?;
        let (bits, target) = parse_bits("bits", &self.bits)?;
        let (limit, limit_target) = parse_bits("pow_limit_bits", &self.pow_limit_bits)?;
        require("bits", "a target at most that of pow_limit_bits", target <= limit_target)?;
        require("block_interval", "at least 1", self.block_interval >= 1)?;
        require("max_block_bytes", "10000 to 32000000", {
            (10_000..=32_000_000).contains(&self.max_block_bytes)
        })?;
        require("halving_interval", "at least 1", self.halving_interval >= 1)?;
        let least_relief = u64::from(self.max_future_seconds)
            .saturating_mul(2)
            .saturating_add(u64::from(self.block_interval).saturating_mul(12));
        let relief = u64::from(self.stall_relief_seconds);
        require(
            "stall_relief_seconds",
            "0, or at least 2 max_future_seconds and 12 block_intervals",
            relief == 0 || relief >= least_relief,
        )?;
        Ok((bits, limit))
    }

    /// The allocations as outputs, within the rules for money.
    fn outputs(&self) -> Result<Vec<Output>, GenesisError> {
        let allocations = &self.allocations;
        require("allocations", "at most 1024", allocations.len() <= MAX_COINBASE_OUTPUTS)?;
        let mut outputs = Vec::with_capacity(allocations.len());
        let mut total: u128 = (0..64)
            .map(|halvings| u128::from(self.initial_subsidy >> halvings))
            .fold(0, u128::saturating_add)
            .saturating_mul(self.halving_interval.into());
        for (index, Object(Allocation { address, value })) in allocations.iter().enumerate() {
            let Address { lock, .. } = Address::parse(address, &self.address_prefix)
                .map_err(|error| GenesisError::AllocationAddress { index, error })?;
            require("value", "at least 1 in every allocation", *value >= 1)?;
            total = total.saturating_add((*value).into());
            outputs.push(Output { value: Amount::from_grains(*value), lock });
        }
        if total > Amount::MAX_MONEY.grains().into() {
            return Err(GenesisError::TooMuchMoney { total });
        }
        Ok(outputs)
    }

    fn params_bytes(&self, bits: u32, pow_limit_bits: u32) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes16(&mut out, self.name.as_bytes());
        put_bytes16(&mut out, self.address_prefix.as_bytes());
        self.time.encode(&mut out);
        bits.encode(&mut out);
        pow_limit_bits.encode(&mut out);
        self.block_interval.encode(&mut out);
        self.difficulty_half_life.encode(&mut out);
        self.stall_relief_seconds.encode(&mut out);
        self.max_future_seconds.encode(&mut out);
        self.max_block_bytes.encode(&mut out);
        self.coinbase_maturity.encode(&mut out);
        self.initial_subsidy.encode(&mut out);
        self.halving_interval.encode(&mut out);
        put_bytes16(&mut out, self.message.as_bytes());
        out
    }

    fn into_params(self, chain_id: BlockId, bits: u32, pow_limit_bits: u32) -> Params {
        Params {
            chain_id,
            name: self.name,
            address_prefix: self.address_prefix,
            time: self.time,
            bits,
            pow_limit_bits,
            block_interval: self.block_interval,
            difficulty_half_life: self.difficulty_half_life,
            stall_relief_seconds: self.stall_relief_seconds,
            max_future_seconds: self.max_future_seconds,
            max_block_bytes: self.max_block_bytes,
            coinbase_maturity: self.coinbase_maturity,
            initial_subsidy: Amount::from_grains(self.initial_subsidy),
            halving_interval: self.halving_interval,
        }
    }
}

fn require(field: &'static str, expected: &'static str, holds: bool) -> Result<(), GenesisError> {
    if holds { Ok(()) } else { Err(GenesisError::Field { field, expected }) }
}

fn parse_bits(field: &'static str, text: &str) -> Result<(u32, Target), GenesisError> {
    let digits = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    u32::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 8 && text.bytes().all(digits))
        .and_then(|bits| Some((bits, Target::from_bits(bits)?)))
        .filter(|(bits, target)| target.to_bits() == *bits)
        .ok_or(GenesisError::Field {
            field,
            expected: "8 lower-case hex digits that are the shortest form of a target",
        })
}

/// The same genesis with another `time`, in seconds since 1970: how a testnet gets a chain of its
/// own. Keeps every other value; the layout of the text is new. What is no genesis stays an error.
pub fn restamp(text: &str, time: u32) -> Result<String, GenesisError> {
    Genesis::parse(text)?;
    let Object::<Text>(genesis) = serde_json::from_str(text)?;
    let mut restamped = serde_json::to_string_pretty(&Text { time, ..genesis })?;
    restamped.push('\n');
    Ok(restamped)
}
