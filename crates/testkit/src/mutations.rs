//! Changed bodies under an honest header: they say nothing about the block's id (PROTOCOL.md §8).

use ashlar_primitives::{Block, Encode as _, Header};

use crate::builder::{lock, output};

/// Another body under an honest block's header.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    /// For people.
    pub name: &'static str,
    /// From the honest block to the bytes sent in its place.
    pub bytes: fn(&Block) -> Vec<u8>,
    /// With which they are refused.
    pub code: &'static str,
}

/// In place of the valid block of [`crate::rules::Attempt`]. Whoever brings these bodies, the
/// honest block must still connect (§8; CVE-2012-2459, CVE-2024-52921).
pub const MUTATIONS: &[Mutation] = &[
    Mutation { name: "nothing but the header", bytes: |it| it.header.to_bytes(), code: MALFORMED },
    Mutation {
        name: "a byte more",
        bytes: |it| [it.to_bytes(), vec![0]].concat(),
        code: MALFORMED,
    },
    Mutation {
        name: "a byte less",
        bytes: |it| it.to_bytes().split_last().expect("a block").1.to_vec(),
        code: MALFORMED,
    },
    Mutation {
        name: "a transaction more than there is",
        bytes: |it| {
            let mut bytes = it.to_bytes();
            let count = Header::LEN + it.coinbase.encoded_len();
            bytes[count] += 1;
            bytes
        },
        code: MALFORMED,
    },
    Mutation {
        name: "too large",
        bytes: |it| changed(it, |it| it.coinbase.outputs.extend([output(lock(0), 0); 4_000])),
        code: "block-too-large",
    },
    Mutation {
        name: "the last transaction twice",
        bytes: |it| changed(it, |it| it.transactions.push(it.transactions[4].clone())),
        code: WRONG_ROOT,
    },
    Mutation {
        name: "all transactions twice",
        bytes: |it| changed(it, |it| it.transactions.extend(it.transactions.clone())),
        code: WRONG_ROOT,
    },
    Mutation {
        name: "two swapped",
        bytes: |it| changed(it, |it| it.transactions.swap(2, 3)),
        code: WRONG_ROOT,
    },
    Mutation {
        name: "the last one dropped",
        bytes: |it| changed(it, |it| drop(it.transactions.pop())),
        code: WRONG_ROOT,
    },
    Mutation {
        name: "all dropped",
        bytes: |it| changed(it, |it| it.transactions.clear()),
        code: WRONG_ROOT,
    },
    Mutation {
        name: "another witness",
        bytes: |it| {
            changed(it, |it| it.transactions[4].witnesses = it.transactions[1].witnesses.clone())
        },
        code: WRONG_ROOT,
    },
    Mutation {
        name: "another output",
        bytes: |it| changed(it, |it| it.transactions[0].outputs[0].lock = lock(9)),
        code: WRONG_ROOT,
    },
    Mutation {
        name: "a transaction that breaks a rule",
        bytes: |it| changed(it, |it| it.transactions[0].inputs.clear()),
        code: WRONG_ROOT,
    },
    Mutation {
        name: "another extra",
        bytes: |it| changed(it, |it| it.coinbase.extra.push(0)),
        code: WRONG_ROOT,
    },
    Mutation {
        name: "a coinbase that breaks a rule",
        bytes: |it| changed(it, |it| it.coinbase.height += 1),
        code: WRONG_ROOT,
    },
];

const MALFORMED: &str = "malformed";
const WRONG_ROOT: &str = "bad-merkle-root";

fn changed(block: &Block, change: fn(&mut Block)) -> Vec<u8> {
    let mut block = block.clone();
    change(&mut block);
    block.to_bytes()
}
