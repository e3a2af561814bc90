//! `genesis.json`: reading, checking, the block it stands for (PROTOCOL.md §7).

use ashlar_primitives::Block;
use thiserror::Error;

use crate::{connect::{State, UtxoDiff}, params::Params};

/// Why a text is not a genesis. For people: what is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GenesisError { /* variants with named fields, no Other(String) */ }

/// A checked genesis: parameters, block, and the state after it.
#[derive(Clone, Debug)]
pub struct Genesis { /* private: params, block, state, diff */ }

impl Genesis {
    /// Reads and checks a `genesis.json`.
    pub fn parse(text: &str) -> Result<Self, GenesisError> { todo!() }
    pub fn params(&self) -> &Params { todo!() }
    pub fn block(&self) -> &Block { todo!() }
    /// The state that judges a child of the genesis block.
    pub fn state(&self) -> &State { todo!() }
    /// The coins that the allocations make.
    pub fn diff(&self) -> &UtxoDiff { todo!() }
    /// The `params` bytes of §7.
    pub fn params_bytes(&self) -> Vec<u8> { todo!() }
}

/// The same text with another `time`: how a testnet gets a chain of its own. Keeps everything else.
pub fn restamp(text: &str, time: u32) -> Result<String, GenesisError> { todo!() }
