//! Merkle trees and compact blocks.

use ashlar_primitives::{
    Amount, Block, BlockId, Coinbase, Commitment, Header, Lock, MerkleRoot, OutPoint, Output,
    Transaction, Txid, Wtxid,
    compact::{CompactBlock, Rebuild, rebuild},
    hash::double_sha256_pair,
    merkle::{block_merkle_root, merkle_root},
};

use crate::steer::Steer;

/// The root as PROTOCOL.md §4 puts it, one level on the other.
fn root_of(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => [0; 32],
        [only] => *only,
        _ => {
            let up = |pair: &[[u8; 32]]| match pair {
                [left, right] => double_sha256_pair(left, right),
                [odd, ..] => *odd,
                [] => unreachable!("chunks are not empty"),
            };
            root_of(&leaves.chunks(2).map(up).collect::<Vec<_>>())
        }
    }
}

/// The root is that of the obvious recursion, and no list passes for another by repeating or
/// dropping its end. 32 bytes a leaf.
pub fn merkle(data: &[u8]) {
    let leaves: Vec<[u8; 32]> = data.chunks(32).map(|leaf| Steer::new(leaf).array()).collect();
    if leaves.is_empty() {
        return;
    }
    let root = merkle_root(&leaves);
    assert_eq!(root.0, root_of(&leaves));
    for end in 0..leaves.len().min(8) {
        let mut longer = leaves.clone();
        longer.extend_from_slice(&leaves[leaves.len() - 1 - end..]);
        assert_ne!(merkle_root(&longer), root, "the end repeated");
    }
    if leaves.len() > 1 {
        assert_ne!(merkle_root(&leaves[..leaves.len() - 1]), root, "the end dropped");
    }
}

fn transaction(steer: &mut Steer<'_>) -> Transaction {
    let count = steer.below(3);
    let outpoint = |steer: &mut Steer<'_>| OutPoint {
        txid: Txid([steer.byte(); 32]),
        index: u16::from(steer.byte()),
    };
    let lock = Lock { version: steer.byte() % 3, program: [steer.byte(); 32] };
    Transaction {
        not_before: u32::from(steer.byte()),
        inputs: (0..count).map(|_| outpoint(steer)).collect(),
        outputs: vec![Output { value: Amount::from_grains(u64::from(steer.byte())), lock }; count],
        memo: vec![steer.byte(); usize::from(count == 2)],
        witnesses: Vec::new(),
    }
}

/// An honest compact block tells its block to whoever has the rest of it; a spoiled one, or a
/// wrong answer, never makes a block whose root is not the header's.
pub fn compact_block(data: &[u8]) {
    let mut steer = Steer::new(data);
    let count = steer.below(24);
    let mut transactions: Vec<Transaction> = Vec::new();
    for _ in 0..count {
        transactions.push(transaction(&mut steer));
    }
    let header = Header {
        version: 0x2000_0000,
        parent: BlockId::ZERO,
        merkle_root: MerkleRoot::ZERO,
        time: 1,
        bits: 2,
        nonce: steer.u32(),
    };
    let coinbase = Coinbase {
        version: 0,
        height: 1,
        utxo_commitment: Commitment::ZERO,
        outputs: Vec::new(),
        extra: steer.bytes(4),
    };
    let mut block = Block { header, coinbase, transactions };
    let Some(root) = block_merkle_root(&block) else { return };
    block.header.merkle_root = root;

    // What becomes of each transaction: prefilled, known to the receiver, or missing.
    let fates: Vec<u8> = (0..count).map(|_| steer.byte() % 3).collect();
    let of_fate = |fate: u8| {
        let all = (0_u32..).zip(block.transactions.iter().zip(&fates));
        all.filter(move |(_, (_, its))| **its == fate).map(|(index, (tx, _))| (index, tx.clone()))
    };
    let prefill: Vec<u32> = of_fate(0).map(|(index, _)| index).collect();
    let mut known: Vec<(Wtxid, Transaction)> = of_fate(1).map(|(_, tx)| (tx.wtxid(), tx)).collect();
    let (missing, received): (Vec<u32>, Vec<Transaction>) = of_fate(2).unzip();
    for _ in 0..steer.below(4) {
        let stranger = transaction(&mut steer);
        known.push((stranger.wtxid(), stranger));
    }
    let known = || known.iter().map(|(wtxid, tx)| (*wtxid, tx));
    let mut compact = CompactBlock::build(&block, steer.u64(), &prefill);

    // A transaction that stands twice has its short id twice: the whole block is fetched.
    let first = rebuild(&compact, known(), None);
    let told = rebuild(&compact, known(), Some(&received));
    match &first {
        Rebuild::Whole => {}
        Rebuild::Complete(whole) => assert_eq!(whole, &block),
        Rebuild::Ask(asked) => {
            // What is known by chance (the same transaction again) is not asked for.
            assert!(asked.iter().all(|index| missing.contains(index)));
            if *asked == missing {
                assert_eq!(told, Rebuild::Complete(block.clone()));
            }
        }
    }

    for _ in 0..=steer.below(3) {
        spoil(&mut steer, &mut compact);
    }
    for answer in [None, Some(received.as_slice())] {
        if let Rebuild::Complete(whole) = rebuild(&compact, known(), answer) {
            assert_eq!(block_merkle_root(&whole), Some(whole.header.merkle_root));
        }
    }
}

fn spoil(steer: &mut Steer<'_>, compact: &mut CompactBlock) {
    let ids = compact.short_ids.len();
    match steer.byte() % 6 {
        0 if ids > 0 => compact.short_ids[steer.below(ids)].0 = steer.array(),
        1 if ids > 1 => compact.short_ids[steer.below(ids)] = compact.short_ids[steer.below(ids)],
        2 if ids > 0 => drop(compact.short_ids.remove(steer.below(ids))),
        3 => compact.prefilled.push((steer.edge32(), transaction(steer))),
        4 => compact.salt ^= 1,
        _ => compact.coinbase.extra.push(steer.byte()),
    }
}
