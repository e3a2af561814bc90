//! Compact blocks between a sender and a receiver that has a part of the block.

use std::collections::BTreeMap;

use ashlar_primitives::{
    Block, Transaction, Wtxid,
    compact::{CompactBlock, Rebuild, ShortIdKey, rebuild},
    merkle::block_merkle_root,
    wire::MAX_BLOCK_TRANSACTION_INDEXES,
};
use proptest::{collection::vec, prelude::*};

use crate::strategies;

/// A block whose header has its own merkle root and whose transactions are distinct.
fn sealed_block() -> impl Strategy<Value = Block> {
    strategies::block().prop_filter_map("has a root", |mut block| {
        for (number, transaction) in (0..).zip(&mut block.transactions) {
            transaction.not_before = number;
        }
        block.header.merkle_root = block_merkle_root(&block)?;
        Some(block)
    })
}

fn keyed(transactions: &[Transaction]) -> impl Iterator<Item = (Wtxid, &Transaction)> {
    transactions.iter().map(|transaction| (transaction.wtxid(), transaction))
}

proptest! {
    #![proptest_config(crate::round_trip::config())]

    #[test]
    fn what_is_missing_is_asked_for_and_completes_the_block(
        block in sealed_block(),
        salt: u64,
        fates in vec(0..3_u8, 5),
        others in vec(strategies::transaction(), 0..4),
    ) {
        let of_fate = |fate: u8| (0_u32..)
            .zip(block.transactions.iter().zip(&fates))
            .filter(move |(_, (_, its))| **its == fate)
            .map(|(index, (transaction, _))| (index, transaction.clone()));
        let prefill: Vec<u32> = of_fate(0).map(|(index, _)| index).collect();
        let (missing, received): (Vec<_>, Vec<_>) = of_fate(1).unzip();
        let mut known: BTreeMap<_, _> = of_fate(2).map(|(_, tx)| (tx.wtxid(), tx)).collect();
        known.extend(others.iter().map(|tx| (tx.wtxid(), tx.clone())));
        let known = || known.iter().map(|(wtxid, tx)| (*wtxid, tx));

        let compact = CompactBlock::build(&block, salt, &prefill);
        prop_assert_eq!(compact.transaction_count(), block.transactions.len());
        let complete = Rebuild::Complete(block.clone());
        if missing.is_empty() {
            prop_assert_eq!(rebuild(&compact, known(), None), complete);
        } else {
            prop_assert_eq!(rebuild(&compact, known(), None), Rebuild::Ask(missing.clone()));
            prop_assert_eq!(rebuild(&compact, known(), Some(&received)), complete);
            prop_assert_eq!(rebuild(&compact, known(), Some(&received[1..])), Rebuild::Whole);
        }
        // The same in two steps, with the mempool gone in between.
        let partial: ashlar_primitives::compact::Partial = compact.match_known(known()).unwrap();
        prop_assert_eq!(partial.missing(), missing);
        prop_assert_eq!(partial.complete(received), Some(block));
    }
}

fn numbered(number: u32) -> Transaction {
    Transaction {
        not_before: number,
        inputs: vec![],
        outputs: vec![],
        memo: vec![],
        witnesses: vec![],
    }
}

fn block_of(count: usize) -> Block {
    let mut block = Block {
        header: ashlar_primitives::Header {
            version: 0x2000_0000,
            parent: ashlar_primitives::BlockId::ZERO,
            merkle_root: ashlar_primitives::MerkleRoot::ZERO,
            time: 0,
            bits: 0,
            nonce: 0,
        },
        coinbase: ashlar_primitives::Coinbase {
            version: 0,
            height: 1,
            utxo_commitment: ashlar_primitives::Commitment::ZERO,
            outputs: vec![],
            extra: vec![],
        },
        transactions: (0..).take(count).map(numbered).collect(),
    };
    block.header.merkle_root = block_merkle_root(&block).unwrap();
    block
}

#[test]
fn who_lacks_too_many_fetches_the_whole_block() {
    let block = block_of(MAX_BLOCK_TRANSACTION_INDEXES + 1);
    let compact = CompactBlock::build(&block, 7, &[]);
    assert_eq!(rebuild(&compact, [], None), Rebuild::Whole);
    let Rebuild::Ask(missing) = rebuild(&compact, keyed(&block.transactions[..1]), None) else {
        panic!("one fewer may be asked for");
    };
    assert_eq!(missing.len(), MAX_BLOCK_TRANSACTION_INDEXES);
}

#[test]
fn the_same_transaction_told_twice_is_no_collision() {
    let block = block_of(2);
    let compact = CompactBlock::build(&block, 7, &[]);
    let twice: Vec<_> = block.transactions.iter().chain(&block.transactions).cloned().collect();
    assert_eq!(rebuild(&compact, keyed(&twice), None), Rebuild::Complete(block));
}

#[test]
fn a_collision_costs_the_whole_block_and_nothing_else() {
    let block = block_of(3);
    let mut compact = CompactBlock::build(&block, 7, &[]);
    compact.short_ids[0] = compact.short_ids[1];
    assert_eq!(rebuild(&compact, keyed(&block.transactions), None), Rebuild::Whole);
}

#[test]
fn salt_and_header_are_in_the_key() {
    let block = block_of(1);
    let other = block_of(2);
    let wtxid = block.transactions[0].wtxid();
    let id = |block: &Block, salt| ShortIdKey::new(&block.header, salt).short_id(&wtxid);
    assert_ne!(id(&block, 1), id(&block, 2));
    assert_ne!(id(&block, 1), id(&other, 1));
}

#[test]
fn indexes_that_a_block_does_not_have_are_not_prefilled() {
    let block = block_of(2);
    let compact = CompactBlock::build(&block, 7, &[1, 2, 9]);
    assert_eq!(compact.prefilled, [(1, block.transactions[1].clone())]);
    assert_eq!(compact.short_ids.len(), 1);
}
