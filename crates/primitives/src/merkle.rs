//! The merkle tree over a block's coinbase id and wtxids (PROTOCOL.md §4).
//!
//! It lives here and not with the rules because a rebuilt compact block is recognised by it.

use core::iter;

use crate::{
    block::Block,
    codec::Encode,
    hash::{MerkleRoot, double_sha256, double_sha256_pair},
};

/// Length in bytes of what an inner node hashes; no leaf may be as long (§4).
pub const INNER_PREIMAGE_LEN: usize = 64;

/// The root over leaves: neighbours are paired with `H(left ‖ right)`, an odd last node goes up
/// unchanged. `ZERO` for no leaves, which no block has.
pub fn merkle_root(leaves: &[[u8; 32]]) -> MerkleRoot {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => double_sha256_pair(left, right),
                odd => odd.first().copied().unwrap_or_default(),
            })
            .collect();
    }
    MerkleRoot(level.first().copied().unwrap_or_default())
}

/// The root that a block's header must carry; `None` where a leaf's preimage is 64 bytes long,
/// so that it could pass for an inner node: such a body has no root.
///
/// Encodes and hashes the whole body.
pub fn block_merkle_root(block: &Block) -> Option<MerkleRoot> {
    let leaves = iter::once(leaf(&block.coinbase))
        .chain(block.transactions.iter().map(leaf))
        .collect::<Option<Vec<_>>>()?;
    Some(merkle_root(&leaves))
}

fn leaf(value: &impl Encode) -> Option<[u8; 32]> {
    let preimage = value.to_bytes();
    (preimage.len() != INNER_PREIMAGE_LEN).then(|| double_sha256(&preimage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_last_node_goes_up_unchanged() {
        let [a, b, c] = [[1; 32], [2; 32], [3; 32]];
        let pair = |left: [u8; 32], right: [u8; 32]| double_sha256(&[left, right].concat());
        assert_eq!(merkle_root(&[]), MerkleRoot::ZERO);
        assert_eq!(merkle_root(&[a]).0, a);
        assert_eq!(merkle_root(&[a, b]).0, pair(a, b));
        assert_eq!(merkle_root(&[a, b, c]).0, pair(pair(a, b), c));
        assert_ne!(merkle_root(&[a, b, c]), merkle_root(&[a, b, c, c]), "no stretching");
    }
}
