//! Bodies: bytes → a block that belongs to its header and keeps the stateless rules (§8 group 2).

use std::sync::Arc;

use ashlar_primitives::{Block, BlockId, CoinbaseId, Header};

use crate::{error::OpenError, params::Params, transaction::CheckedTransaction};

/// A block whose body belongs to its header and keeps group 2. Ids and sizes are computed once.
/// Private fields: to hold one is the proof. Cheap to share (`Arc` it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBlock { /* header, id, coinbase, coinbase_id, transactions: Vec<Arc<CheckedTransaction>>, size_bytes */ }

impl CheckedBlock {
    pub fn id(&self) -> BlockId { todo!() }
    pub fn header(&self) -> &Header { todo!() }
    pub fn coinbase(&self) -> &ashlar_primitives::Coinbase { todo!() }
    pub fn coinbase_id(&self) -> CoinbaseId { todo!() }
    pub fn transactions(&self) -> &[Arc<CheckedTransaction>] { todo!() }
    pub fn size_bytes(&self) -> u32 { todo!() }
    pub fn to_bytes(&self) -> Vec<u8> { todo!() }
    pub fn to_block(&self) -> Block { todo!() }
    /// For blocks that this node stored after opening them: skips nothing that could matter if
    /// the stored bytes had changed — it decodes and checks the merkle root again.
    /// The outpoints spent from outside the block, sorted and without repeats: what to prefetch.
    pub fn external_inputs(&self) -> Vec<ashlar_primitives::OutPoint> { todo!() }
}

/// `bytes` is the whole block, header included. `height` is the one that the coinbase must hold
/// (parent's + 1). The header must already be judged; the bytes must start with it.
pub fn open_body(params: &Params, header: &Header, height: u32, bytes: &[u8]) -> Result<CheckedBlock, OpenError> { todo!() }

/// The same for a block that is decoded already.
pub fn open_block(params: &Params, header: &Header, height: u32, block: Block) -> Result<CheckedBlock, OpenError> { todo!() }
