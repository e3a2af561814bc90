//! The merkle tree over a block's coinbase id and wtxids (PROTOCOL.md §4).
//!
//! It lives here and not with the rules because a rebuilt compact block is recognised by it.

use crate::{block::Block, hash::MerkleRoot};

/// The root over leaves: neighbours are paired with `H(left ‖ right)`, an odd last node goes up
/// unchanged. `ZERO` for no leaves, which no block has.
pub fn merkle_root(leaves: &[[u8; 32]]) -> MerkleRoot {
    todo!()
}

/// The root that a block's header must carry; `None` where a leaf's preimage is 64 bytes long,
/// so that it could pass for an inner node: such a body has no root.
pub fn block_merkle_root(block: &Block) -> Option<MerkleRoot> {
    todo!()
}
