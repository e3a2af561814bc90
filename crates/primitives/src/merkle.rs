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
        level = level.chunks(2).map(parent).collect();
    }
    MerkleRoot(level.first().copied().unwrap_or_default())
}

fn parent(pair: &[[u8; 32]]) -> [u8; 32] {
    match pair {
        [left, right] => double_sha256_pair(left, right),
        odd => odd.first().copied().unwrap_or_default(),
    }
}

/// What leads from the leaf at `index` to the root: its neighbour on each level that has one, from
/// the leaf up. `None` where there is no such leaf.
pub fn merkle_branch(leaves: &[[u8; 32]], index: usize) -> Option<Vec<[u8; 32]>> {
    leaves.get(index)?;
    let (mut level, mut index, mut branch) = (leaves.to_vec(), index, Vec::new());
    while level.len() > 1 {
        branch.extend(level.get(index ^ 1));
        level = level.chunks(2).map(parent).collect();
        index /= 2;
    }
    Some(branch)
}

/// The root of a tree of so many leaves, by the leaf at `index` and its [`merkle_branch`]. `None`
/// where the branch is not as long as such a tree's is.
pub fn root_of_branch(
    leaf: [u8; 32],
    index: usize,
    leaves: usize,
    branch: &[[u8; 32]],
) -> Option<MerkleRoot> {
    if index >= leaves {
        return None;
    }
    let (mut node, mut index, mut size) = (leaf, index, leaves);
    let mut branch = branch.iter();
    while size > 1 {
        if index ^ 1 < size {
            let neighbour = branch.next()?;
            node = if index.is_multiple_of(2) {
                double_sha256_pair(&node, neighbour)
            } else {
                double_sha256_pair(neighbour, &node)
            };
        }
        index /= 2;
        size = size.div_ceil(2);
    }
    branch.next().is_none().then_some(MerkleRoot(node))
}

/// The root that a block's header must carry; `None` where a leaf's preimage is 64 bytes long,
/// so that it could pass for an inner node: such a body has no root.
///
/// Encodes and hashes the whole body.
pub fn block_merkle_root(block: &Block) -> Option<MerkleRoot> {
    Some(merkle_root(&block_leaves(block)?))
}

/// The leaves of a block's tree: its coinbase's, then each transaction's. `None` as in
/// [`block_merkle_root`].
pub fn block_leaves(block: &Block) -> Option<Vec<[u8; 32]>> {
    iter::once(leaf(&block.coinbase.to_bytes()))
        .chain(block.transactions.iter().map(|transaction| leaf(&transaction.to_bytes())))
        .collect()
}

/// The leaf of an encoding; `None` for one of 64 bytes.
pub fn leaf(preimage: &[u8]) -> Option<[u8; 32]> {
    (preimage.len() != INNER_PREIMAGE_LEN).then(|| double_sha256(preimage))
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

    #[test]
    fn a_branch_leads_from_its_leaf_to_the_root_and_no_other_does() {
        for count in 1..=17_u8 {
            let leaves: Vec<_> = (0..count).map(|n| [n; 32]).collect();
            let (root, size) = (merkle_root(&leaves), leaves.len());
            assert_eq!(merkle_branch(&leaves, size), None);
            for (index, leaf) in leaves.iter().enumerate() {
                let branch = merkle_branch(&leaves, index).unwrap();
                assert_eq!(root_of_branch(*leaf, index, size, &branch), Some(root));
                assert_ne!(root_of_branch([99; 32], index, size, &branch), Some(root));
                if size > 1 {
                    assert_ne!(root_of_branch(*leaf, index ^ 1, size, &branch), Some(root));
                }
                let longer = [&branch[..], &[[7; 32]]].concat();
                assert_eq!(root_of_branch(*leaf, index, size, &longer), None);
                if let Some((_, shorter)) = branch.split_last() {
                    assert_eq!(root_of_branch(*leaf, index, size, shorter), None);
                }
            }
            assert_eq!(root_of_branch([0; 32], size, size, &[]), None);
        }
    }
}
