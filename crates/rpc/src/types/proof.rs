//! That a block holds a transaction.

use ashlar_primitives::{BlockId, Txid};
use serde::{Deserialize, Serialize};

use super::{
    chain::Tip,
    text::{Hex, Text},
};

/// The answer of `getmerkleproof`. To check it: the double SHA-256 of `hex` is the leaf (an
/// encoding of 64 bytes is none); from there up, [`ashlar_primitives::merkle::root_of_branch`]
/// gives the merkle root that stands in `header`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MerkleProof {
    /// When this was made.
    #[serde(flatten)]
    pub at: Tip,
    /// What is proved to be there.
    pub txid: Text<Txid>,
    /// Its encoding, witnesses included: what the tree holds the hash of.
    pub hex: Hex,
    /// The block.
    pub blockhash: Text<BlockId>,
    /// Its height.
    pub height: u32,
    /// Its 80 bytes.
    pub header: Hex,
    /// The leaf's place; the coinbase is 0.
    pub position: u32,
    /// Leaves of the tree.
    pub leaves: u32,
    /// From the leaf up, 32 bytes each, plain hex; a node without a neighbour needs none.
    pub branch: Vec<Hex>,
}

/// The answer of `verifymerkleproof`: the proof is right, and this is where its block stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifiedProof {
    /// When this was true.
    #[serde(flatten)]
    pub at: Tip,
    /// What is in the block.
    pub txid: Text<Txid>,
    /// The block.
    pub blockhash: Text<BlockId>,
    /// Its height.
    pub height: u32,
    /// Blocks from its own up to the tip; −1 off the best chain.
    pub confirmations: i64,
    /// The work that buries it, in blocks of normal difficulty; 0 off the best chain.
    pub confirmed_work: f64,
}
