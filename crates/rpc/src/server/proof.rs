//! Proofs that a block holds a transaction (PROTOCOL.md §4).

use ashlar_primitives::{
    BlockId, Coinbase, Decode as _, Encode as _, Header, Transaction, Txid,
    merkle::{block_leaves, leaf, merkle_branch, root_of_branch},
};

use super::{
    backend::Backend,
    burial::confirmed_work,
    chain::{locate, place_of},
    context::{Context, confirmations, tip_of},
    decoded::stored_header,
};
use crate::{
    error::RpcError,
    types::{Hex, MerkleProof, VerifiedProof},
};

pub(super) async fn make<B: Backend>(
    context: &Context<B>,
    txid: Txid,
    block: Option<BlockId>,
) -> Result<MerkleProof, RpcError> {
    context
        .read(move |view| {
            let (id, position) = match block {
                Some(id) => (id, None),
                None => {
                    let (id, position) = place_of(view, &txid)?;
                    (id, Some(position))
                }
            };
            let (stored, block, position) = locate(view, &txid, &id, position)?;
            let place = position as usize;
            let (Some(leaves), Some(hex)) = (
                block_leaves(&block),
                match place.checked_sub(1) {
                    None => Some(block.coinbase.to_bytes()),
                    Some(index) => block.transactions.get(index).map(|one| one.to_bytes()),
                },
            ) else {
                tracing::error!(%id, "a stored block has no merkle tree");
                return Err(RpcError::Internal);
            };
            let branch = merkle_branch(&leaves, place).unwrap_or_default();
            Ok(MerkleProof {
                at: tip_of(view),
                txid: txid.into(),
                hex: hex.into(),
                blockhash: id.into(),
                height: stored.height,
                header: stored.header.to_bytes().into(),
                position,
                leaves: u32::try_from(leaves.len()).unwrap_or(u32::MAX),
                branch: branch.into_iter().map(|node| Hex(node.to_vec())).collect(),
            })
        })
        .await
}

pub(super) async fn verify<B: Backend>(
    context: &Context<B>,
    proof: MerkleProof,
) -> Result<VerifiedProof, RpcError> {
    check(&proof).map_err(|reason| RpcError::BadProof { reason })?;
    context
        .read(move |view| {
            let id = proof.blockhash.0;
            let stored = stored_header(view, &id)?;
            let is_active = view.is_active(&id)?;
            Ok(VerifiedProof {
                at: tip_of(view),
                txid: proof.txid,
                blockhash: proof.blockhash,
                height: stored.height,
                confirmations: if is_active {
                    confirmations(view.tip().height, stored.height).into()
                } else {
                    -1
                },
                confirmed_work: if is_active { confirmed_work(view, &stored) } else { 0.0 },
            })
        })
        .await
}

/// Whether the encoding has that id, and leads to the root in a header of that id.
fn check(proof: &MerkleProof) -> Result<(), &'static str> {
    let bytes = &proof.hex.0;
    let id = match proof.position {
        0 => Coinbase::from_bytes(bytes).map(|coinbase| Txid::from(coinbase.id())),
        _ => Transaction::from_bytes(bytes).map(|transaction| transaction.txid()),
    };
    if id.map_err(|_| "its hex is not such an encoding")? != proof.txid.0 {
        return Err("its hex is another transaction's");
    }
    let header = Header::from_bytes(&proof.header.0).map_err(|_| "its header is not 80 bytes")?;
    if header.id() != proof.blockhash.0 {
        return Err("its header is another block's");
    }
    let branch: Option<Vec<[u8; 32]>> =
        proof.branch.iter().map(|node| node.0.as_slice().try_into().ok()).collect();
    let branch = branch.ok_or("an entry of its branch is not 32 bytes")?;
    let leaf = leaf(bytes).ok_or("its hex could pass for an inner node")?;
    let root = root_of_branch(leaf, proof.position as usize, proof.leaves as usize, &branch);
    if root != Some(header.merkle_root) {
        return Err("its branch does not lead to the header's merkle root");
    }
    Ok(())
}
