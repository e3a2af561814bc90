//! `genesis.json`: how a genesis is written as text (PROTOCOL.md §7). A file format, strict about
//! its form; what the values must keep to is the business of [`crate::genesis`].

use core::{fmt, marker::PhantomData};

use ashlar_primitives::{Address, AddressError, Amount, BlockId, Output};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use thiserror::Error;

use crate::{
    genesis::{Genesis, GenesisFault},
    params::Params,
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
    /// A field for bits holds something else.
    #[error("{field} must be 8 lower-case hex digits")]
    BitsForm {
        /// Which.
        field: &'static str,
    },
    /// An allocation pays to no address of this chain.
    #[error("allocation {index}: {error}")]
    AllocationAddress {
        /// From 0.
        index: usize,
        /// What is wrong with its address.
        error: AddressError,
    },
    /// Well written, but no genesis.
    #[error(transparent)]
    Fault(#[from] GenesisFault),
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

impl Text {
    fn read(text: &str) -> Result<Self, GenesisError> {
        let Object(read) = serde_json::from_str(text)?;
        Ok(read)
    }

    /// The allocations as outputs, in order.
    fn outputs(&self) -> Result<Vec<Output>, GenesisError> {
        let read = |(index, Object(Allocation { address, value })): (_, &Object<_>)| {
            let Address { lock, .. } = Address::parse(address, &self.address_prefix)
                .map_err(|error| GenesisError::AllocationAddress { index, error })?;
            Ok(Output { value: Amount::from_grains(*value), lock })
        };
        self.allocations.iter().enumerate().map(read).collect()
    }

    /// The parameters, still without the chain's id.
    fn into_params(self) -> Result<Params, GenesisError> {
        Ok(Params {
            chain_id: BlockId::ZERO,
            bits: parse_bits("bits", &self.bits)?,
            pow_limit_bits: parse_bits("pow_limit_bits", &self.pow_limit_bits)?,
            name: self.name,
            address_prefix: self.address_prefix,
            time: self.time,
            block_interval: self.block_interval,
            difficulty_half_life: self.difficulty_half_life,
            stall_relief_seconds: self.stall_relief_seconds,
            max_future_seconds: self.max_future_seconds,
            max_block_bytes: self.max_block_bytes,
            coinbase_maturity: self.coinbase_maturity,
            initial_subsidy: Amount::from_grains(self.initial_subsidy),
            halving_interval: self.halving_interval,
        })
    }
}

fn parse_bits(field: &'static str, text: &str) -> Result<u32, GenesisError> {
    let is_digit = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    Some(text)
        .filter(|text| text.len() == 8 && text.bytes().all(is_digit))
        .and_then(|text| u32::from_str_radix(text, 16).ok())
        .ok_or(GenesisError::BitsForm { field })
}

impl Genesis {
    /// Reads and checks a `genesis.json`.
    pub fn parse(text: &str) -> Result<Self, GenesisError> {
        let mut text = Text::read(text)?;
        let outputs = text.outputs()?;
        let message = core::mem::take(&mut text.message);
        Ok(Self::new(text.into_params()?, &message, outputs)?)
    }
}

/// The same genesis with another `time`, in seconds since 1970: how a testnet gets a chain of its
/// own. Keeps every other value; the layout of the text is new. What is no genesis stays an error.
pub fn restamp(text: &str, time: u32) -> Result<String, GenesisError> {
    Genesis::parse(text)?;
    let mut restamped = serde_json::to_string_pretty(&Text { time, ..Text::read(text)? })?;
    restamped.push('\n');
    Ok(restamped)
}
