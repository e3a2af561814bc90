//! Values of every type, within the limits of their encoding.

use std::collections::BTreeMap;

use ashlar_primitives::{
    Amount, Block, BlockId, Coin, Coinbase, Commitment, Header, Lock, MerkleRoot, OutPoint, Output,
    Policy, PolicyId, PublicKey, Signature, Transaction, Txid, Witness, Wtxid,
    compact::{CompactBlock, ShortId},
    wire::{Answer, Request, Status},
};
use proptest::{
    array::{uniform6, uniform32},
    collection::vec,
    prelude::*,
};

/// Spread over all sizes, the ends included.
fn any_u32() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), 0..300_u32, Just(u32::MAX)]
}

pub(crate) fn block_id() -> impl Strategy<Value = BlockId> {
    uniform32(any::<u8>()).prop_map(BlockId)
}

pub(crate) fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![any::<u64>(), 0..3_u64, Just(u64::MAX)].prop_map(Amount::from_grains)
}

pub(crate) fn public_key() -> impl Strategy<Value = PublicKey> {
    uniform32(any::<u8>()).prop_map(PublicKey)
}

pub(crate) fn short_id() -> impl Strategy<Value = ShortId> {
    uniform6(any::<u8>()).prop_map(ShortId)
}

fn wtxid() -> impl Strategy<Value = Wtxid> {
    uniform32(any::<u8>()).prop_map(Wtxid)
}

pub(crate) fn signature() -> impl Strategy<Value = Signature> {
    (uniform32(any::<u8>()), uniform32(any::<u8>())).prop_map(|(r, s)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&r);
        bytes[32..].copy_from_slice(&s);
        Signature(bytes)
    })
}

pub(crate) fn lock() -> impl Strategy<Value = Lock> {
    (any::<u8>(), uniform32(any::<u8>())).prop_map(|(version, program)| Lock { version, program })
}

pub(crate) fn output() -> impl Strategy<Value = Output> {
    (amount(), lock()).prop_map(|(value, lock)| Output { value, lock })
}

pub(crate) fn outpoint() -> impl Strategy<Value = OutPoint> {
    (uniform32(any::<u8>()), any::<u16>())
        .prop_map(|(txid, index)| OutPoint { txid: Txid(txid), index })
}

pub(crate) fn coin() -> impl Strategy<Value = Coin> {
    (output(), any_u32(), any::<bool>()).prop_map(|(output, height, is_coinbase)| Coin {
        output,
        height,
        is_coinbase,
    })
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let leaf = || {
        prop_oneof![
            uniform32(any::<u8>()).prop_map(|key| Policy::Key(PublicKey(key))),
            uniform32(any::<u8>()).prop_map(Policy::Hash),
            any_u32().prop_map(Policy::After),
            any_u32().prop_map(Policy::Older),
        ]
    };
    let hidden = uniform32(any::<u8>()).prop_map(|id| Policy::Opaque(PolicyId(id)));
    let node = prop_oneof![4 => leaf(), 1 => hidden];
    let tree = node.prop_recursive(7, 40, 5, |child| {
        (vec(child, 1..=5), any::<prop::sample::Index>()).prop_map(|(children, k)| {
            let k = k.index(children.len()) + 1;
            Policy::Threshold { k: u8::try_from(k).unwrap(), children }
        })
    });
    (tree, leaf()).prop_map(|(tree, leaf)| if tree.validate().is_ok() { tree } else { leaf })
}

pub(crate) fn witness() -> impl Strategy<Value = Witness> {
    prop_oneof![
        signature().prop_map(|signature| Witness::Key { signature }),
        (policy(), vec(signature(), 0..3), vec(uniform32(any::<u8>()), 0..3)).prop_map(
            |(policy, signatures, preimages)| Witness::Policy { policy, signatures, preimages }
        ),
    ]
}

pub(crate) fn transaction() -> impl Strategy<Value = Transaction> {
    let memo = vec(any::<u8>(), 0..40);
    (any_u32(), vec(outpoint(), 0..4), vec(output(), 0..4), memo, vec(witness(), 0..3)).prop_map(
        |(not_before, inputs, outputs, memo, witnesses)| Transaction {
            not_before,
            inputs,
            outputs,
            memo,
            witnesses,
        },
    )
}

pub(crate) fn header() -> impl Strategy<Value = Header> {
    let numbers = (any_u32(), any_u32(), any_u32(), any_u32());
    (block_id(), uniform32(any::<u8>()), numbers).prop_map(
        |(parent, merkle_root, (version, time, bits, nonce))| Header {
            version,
            parent,
            merkle_root: MerkleRoot(merkle_root),
            time,
            bits,
            nonce,
        },
    )
}

pub(crate) fn coinbase() -> impl Strategy<Value = Coinbase> {
    let extra = vec(any::<u8>(), 0..96);
    (any::<u8>(), any_u32(), uniform32(any::<u8>()), vec(output(), 0..3), extra).prop_map(
        |(version, height, commitment, outputs, extra)| Coinbase {
            version,
            height,
            utxo_commitment: Commitment(commitment),
            outputs,
            extra,
        },
    )
}

pub(crate) fn block() -> impl Strategy<Value = Block> {
    (header(), coinbase(), vec(transaction(), 0..5))
        .prop_map(|(header, coinbase, transactions)| Block { header, coinbase, transactions })
}

pub(crate) fn compact_block() -> impl Strategy<Value = CompactBlock> {
    let short_ids = vec(short_id(), 0..6);
    let prefilled = vec((any::<prop::sample::Index>(), transaction()), 0..3);
    (header(), coinbase(), any::<u64>(), short_ids, prefilled).prop_map(
        |(header, coinbase, salt, short_ids, prefilled)| {
            let count = short_ids.len() + prefilled.len();
            let at = |index: &prop::sample::Index| u32::try_from(index.index(count)).unwrap();
            let by_index: BTreeMap<u32, Transaction> =
                prefilled.iter().map(|(index, tx)| (at(index), tx.clone())).collect();
            // Where two fell on one index there is one transaction fewer to count.
            let mut prefilled: Vec<_> = by_index.into_iter().collect();
            let beyond = |index: u32, all: usize| usize::try_from(index).unwrap() >= all;
            while prefilled
                .last()
                .is_some_and(|(index, _)| beyond(*index, short_ids.len() + prefilled.len()))
            {
                prefilled.pop();
            }
            CompactBlock { header, coinbase, salt, short_ids, prefilled }
        },
    )
}

pub(crate) fn status() -> impl Strategy<Value = Status> {
    let agent = vec(0x20_u8..=0x7e, 0..=64).prop_map(|agent| String::from_utf8(agent).unwrap());
    let work = uniform32(any::<u8>());
    (block_id(), block_id(), any_u32(), work, any_u32(), agent).prop_map(
        |(chain_id, tip, height, work, services, agent)| Status {
            chain_id,
            tip,
            height,
            work,
            services,
            agent,
        },
    )
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let indexes = prop::collection::btree_set(any_u32(), 0..20);
    prop_oneof![
        status().prop_map(Request::Status),
        (vec(block_id(), 0..=64), prop::option::of(block_id()))
            .prop_map(|(locator, stop)| Request::Headers { locator, stop }),
        vec(block_id(), 0..=64).prop_map(|ids| Request::Blocks { ids }),
        (block_id(), indexes).prop_map(|(id, indexes)| Request::BlockTransactions {
            id,
            indexes: indexes.into_iter().collect()
        }),
        Just(Request::Mempool),
        vec(wtxid(), 0..20).prop_map(|wtxids| Request::Transactions { wtxids }),
    ]
}

pub(crate) fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        status().prop_map(Answer::Status),
        vec(header(), 0..10).prop_map(Answer::Headers),
        vec(block(), 0..3).prop_map(Answer::Blocks),
        vec(transaction(), 0..4).prop_map(Answer::BlockTransactions),
        vec(wtxid(), 0..20).prop_map(Answer::Mempool),
        vec(transaction(), 0..4).prop_map(Answer::Transactions),
    ]
}
