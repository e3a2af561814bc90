//! Group 2 of PROTOCOL.md §8: the body, without state.

use std::collections::BTreeSet;

use ashlar_consensus::Params;
use ashlar_primitives::{
    Block, Coinbase, Decode as _, Encode, MerkleRoot, Output, Transaction, hash::double_sha256,
};

use super::Code;

/// 2^53 − 1 grains (§1).
pub const MAX_MONEY: u128 = (1 << 53) - 1;

/// The body that belongs to the header in front of it. What fails here says nothing about the id.
pub fn decode(params: &Params, bytes: &[u8]) -> Result<Block, Code> {
    let block = Block::from_bytes(bytes).map_err(|_| "malformed")?;
    if bytes.len() > usize::try_from(params.max_block_bytes).expect("32 bits") {
        return Err("block-too-large");
    }
    if merkle_root(&block) != Some(block.header.merkle_root) {
        return Err("bad-merkle-root");
    }
    Ok(block)
}

/// The root over coinbase id and wtxids (§4); none where a leaf has a 64-byte preimage.
pub fn merkle_root(block: &Block) -> Option<MerkleRoot> {
    let mut preimages = vec![block.coinbase.to_bytes()];
    preimages.extend(block.transactions.iter().map(Encode::to_bytes));
    if preimages.iter().any(|preimage| preimage.len() == 64) {
        return None;
    }
    let mut level: Vec<[u8; 32]> = preimages.iter().map(|bytes| double_sha256(bytes)).collect();
    while level.len() > 1 {
        let join = |pair: &[[u8; 32]]| match pair {
            [left, right] => double_sha256(&[*left, *right].concat()),
            odd => odd[0],
        };
        level = level.chunks(2).map(join).collect();
    }
    Some(MerkleRoot(level[0]))
}

/// The coinbase, then each transaction by itself.
pub fn check(height: u32, block: &Block) -> Result<(), Code> {
    check_coinbase(height, &block.coinbase)?;
    block.transactions.iter().try_for_each(check_transaction)
}

fn check_coinbase(height: u32, coinbase: &Coinbase) -> Result<(), Code> {
    let Coinbase { outputs, extra, .. } = coinbase;
    let holds = coinbase.version == 0
        && coinbase.height == height
        && (1..=1_024).contains(&outputs.len())
        && outputs.iter().all(|output| output.lock.version <= 1)
        && extra.len() <= 96
        && sum(outputs) <= MAX_MONEY;
    if holds { Ok(()) } else { Err("bad-coinbase") }
}

/// The stateless rules of a transaction (§3) in their order.
pub fn check_transaction(transaction: &Transaction) -> Result<(), Code> {
    let Transaction { inputs, outputs, memo, .. } = transaction;
    if inputs.is_empty() {
        return Err("tx-no-inputs");
    }
    if outputs.is_empty() {
        return Err("tx-no-outputs");
    }
    if transaction.to_bytes().len() > 100_000 {
        return Err("tx-too-large");
    }
    if inputs.iter().collect::<BTreeSet<_>>().len() < inputs.len() {
        return Err("tx-duplicate-input");
    }
    if outputs.iter().any(|output| output.value.grains() == 0) || sum(outputs) > MAX_MONEY {
        return Err("tx-bad-value");
    }
    if outputs.iter().any(|output| output.lock.version > 1) {
        return Err("tx-bad-lock-version");
    }
    if memo.len() > 256 {
        return Err("tx-memo-too-long");
    }
    Ok(())
}

/// Of grains. No single value is over the limit where the sum is not.
pub fn sum<'a>(outputs: impl IntoIterator<Item = &'a Output>) -> u128 {
    outputs.into_iter().map(|output| u128::from(output.value.grains())).sum()
}
