//! One thing wrong: with a header, a body, a coinbase, a transaction, a witness. What code it
//! earns is for the model to say; the counts of a run show that all are reached.

use ashlar_primitives::{
    Amount, Block, Coin, Encode as _, Lock, OutPoint, Policy, Signature, Transaction, Txid, Witness,
};
use imbl::OrdMap;
use rand::{Rng as _, RngExt as _};

use super::{
    Random,
    wallet::{Payment, Way},
    world::{Draft, World, finish, solve},
};
use crate::{builder::output, model::body::MAX_MONEY};

const OVER_MAX_MONEY: u64 = 1 << 53;

fn changed_bit(random: &mut Random, bytes: &mut [u8]) {
    let place = random.random_range(0..bytes.len());
    bytes[place] ^= 1 << random.random_range(0..8);
}

/// A draft with something wrong in it, finished.
pub fn spoiled(random: &mut Random, world: &World, draft: Draft) -> Block {
    match random.random_range(0..10) {
        0 => spoiled_header(random, world, draft.block),
        1 => spoiled_coinbase(random, draft),
        _ => spoiled_transaction(random, world, draft),
    }
}

fn spoiled_header(random: &mut Random, world: &World, block: Block) -> Block {
    let mut block = finish(block);
    let header = &mut block.header;
    match random.random_range(0..5) {
        0 => header.version ^= 1 << random.random_range(0..13),
        1 => header.version ^= 0x2000_0000 << random.random_range(0..3_u8),
        2 => {
            let mut times = world.times_before(&header.parent);
            times.sort_unstable();
            header.time = times[times.len() / 2] - random.random_range(0..2);
        }
        3 => {
            header.bits = match random.random_range(0..4) {
                0 => header.bits - 1,
                1 => header.bits | 0x0080_0000,
                2 => 0,
                _ => 0x2100_ffff,
            };
        }
        _ => {
            *header = solve(*header, false);
            return block;
        }
    }
    block.header = solve(block.header, true);
    block
}

fn spoiled_coinbase(random: &mut Random, draft: Draft) -> Block {
    let Draft { mut block, fees, .. } = draft;
    let coinbase = &mut block.coinbase;
    match random.random_range(0..12) {
        0 => coinbase.version = 1,
        1 => coinbase.height += 1,
        2 => coinbase.outputs.clear(),
        3 => coinbase.outputs = vec![coinbase.outputs[0]; 1_025],
        4 => coinbase.outputs[0].lock.version = random.random_range(2..=255),
        5 => coinbase.extra = vec![7; 97],
        6 => coinbase.outputs[0].value = Amount::from_grains(OVER_MAX_MONEY),
        7 => coinbase.outputs = vec![output(coinbase.outputs[0].lock, OVER_MAX_MONEY / 2); 2],
        8 | 9 => changed_bit(random, &mut coinbase.utxo_commitment.0),
        // What the subsidy allows is not known here: so much is more than any.
        10 => {
            let all = u64::try_from(fees + MAX_MONEY / 2).expect("in range");
            coinbase.outputs[0].value = Amount::from_grains(all);
        }
        _ => {
            let value = coinbase.outputs[0].value.grains() + 1;
            coinbase.outputs[0].value = Amount::from_grains(value);
        }
    }
    finish(block)
}

/// One more transaction, good or wrong, at the end of a block.
fn spoiled_transaction(random: &mut Random, world: &World, draft: Draft) -> Block {
    let Draft { mut block, height, coins, .. } = draft;
    let transaction = spoiled_payment(random, world, height, &coins, &block);
    block.transactions.extend(transaction);
    finish(block)
}

/// A payment out of these coins with one thing wrong. `None` where there is none to be had.
pub fn spoiled_payment(
    random: &mut Random,
    world: &World,
    height: u32,
    coins: &OrdMap<OutPoint, Coin>,
    block: &Block,
) -> Option<Transaction> {
    let params = world.params();
    // A maturity of nothing now and then: the coin may be a young coinbase.
    let maturity = if random.random_bool(0.1) { 0 } else { params.coinbase_maturity };
    let mut payment = world.wallet.pay(random, height, maturity, coins)?;
    if random.random_bool(0.5) {
        spoil_body(random, &mut payment, height, block);
        return Some(payment.sign(&params.chain_id));
    }
    let mut transaction = payment.sign(&params.chain_id);
    if random.random_bool(0.15) {
        let mut other_chain = params.chain_id;
        changed_bit(random, &mut other_chain.0);
        transaction = payment.sign(&other_chain);
    } else if random.random_bool(0.15) {
        // A condition of the tree itself: as if the block were much higher.
        let later = world.wallet.pay(random, height + 30, maturity, coins)?;
        transaction = later.sign(&params.chain_id);
    } else {
        spoil_witness(random, &mut transaction, &payment);
    }
    Some(transaction)
}

fn spoil_body(random: &mut Random, payment: &mut Payment, height: u32, block: &Block) {
    let Transaction { not_before, inputs, outputs, memo, .. } = &mut payment.body;
    let nobody = Lock { version: 0, program: [1; 32] };
    match random.random_range(0..16) {
        0 => inputs.clear(),
        1 => outputs.clear(),
        2 => *outputs = vec![output(nobody, 1); 2_440],
        3 => inputs.push(inputs[0]),
        4 => outputs[0].value = Amount::ZERO,
        5 => outputs[0].value = Amount::from_grains(OVER_MAX_MONEY),
        6 => *outputs = vec![output(nobody, OVER_MAX_MONEY / 2); 2],
        7 => outputs[0].lock.version = random.random_range(2..=255),
        8 => *memo = vec![0; 257],
        9 => *not_before = height + random.random_range(1..3),
        10 => changed_bit(random, &mut inputs[0].txid.0),
        11 => inputs[0].index += 1,
        // The block's own coinbase, as far as it can be known.
        12 => inputs[0] = OutPoint { txid: Txid(block.coinbase.id().0), index: 0 },
        // What an earlier transaction of the block spent.
        13 if !block.transactions.is_empty() => inputs[0] = block.transactions[0].inputs[0],
        14 => {
            let spent: u64 = payment.spent.iter().map(|coin| coin.output.value.grains()).sum();
            *outputs = vec![output(nobody, spent + 1)];
        }
        _ => *outputs = vec![output(nobody, 1); 250],
    }
}

fn spoil_witness(random: &mut Random, transaction: &mut Transaction, payment: &Payment) {
    let witnesses = &mut transaction.witnesses;
    let place = random.random_range(0..witnesses.len());
    match random.random_range(0..14) {
        0 => drop(witnesses.pop()),
        1 => witnesses.push(witnesses[place].clone()),
        2 => witnesses.rotate_left(1),
        3 => {
            witnesses[place] = Witness::Key { signature: Signature([3; 64]) };
            return;
        }
        _ => {}
    }
    let from = place.min(witnesses.len());
    match (&mut witnesses[from..], &payment.ways[place]) {
        ([Witness::Key { signature }, ..], _) => changed_bit(random, &mut signature.0),
        ([Witness::Policy { policy, signatures, preimages }, ..], Way::Policy { tree, .. }) => {
            match random.random_range(0..8) {
                0 => drop(signatures.pop()),
                1 => signatures.push(Signature([4; 64])),
                2 => drop(preimages.pop()),
                3 => preimages.push([0; 32]),
                4 => preimages.iter_mut().for_each(|preimage| changed_bit(random, preimage)),
                5 => signatures.reverse(),
                6 => *policy = Policy::Threshold { k: 1, children: vec![tree.clone()] },
                _ => {
                    for signature in signatures {
                        changed_bit(random, &mut signature.0);
                    }
                }
            }
        }
        _ => {}
    }
}

/// Other bytes behind the same header: an honest block with its body changed on the way.
pub fn mutated(random: &mut Random, world: &World, bytes: &[u8], block: &Block) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match random.random_range(0..7) {
        0 => bytes.truncate(random.random_range(0..bytes.len())),
        1 => bytes.push(0),
        2 => changed_bit(random, &mut bytes[80..]),
        3 => random.fill_bytes(&mut bytes[80..]),
        4 => {
            let mut block = block.clone();
            match block.transactions.first_mut().and_then(|first| first.witnesses.first_mut()) {
                Some(Witness::Key { signature }) => changed_bit(random, &mut signature.0),
                _ => block.coinbase.extra.push(0),
            }
            bytes = block.to_bytes();
        }
        5 => {
            let mut block = block.clone();
            block.transactions.reverse();
            block.transactions.extend(block.transactions.first().cloned());
            bytes = block.to_bytes();
        }
        _ => {
            let mut block = block.clone();
            let most = usize::try_from(world.params().max_block_bytes).expect("32 bits");
            let padding = Transaction {
                not_before: 0,
                inputs: vec![],
                outputs: vec![],
                memo: vec![0; most.min(60_000)],
                witnesses: vec![],
            };
            let count = most / padding.memo.len() + 1;
            block.transactions.extend(std::iter::repeat_n(padding, count));
            bytes = block.to_bytes();
        }
    }
    bytes
}

/// A transaction whose leaf could pass for an inner node of the merkle tree: 64 bytes.
pub fn of_64_bytes() -> Transaction {
    Transaction {
        not_before: 0,
        inputs: vec![],
        outputs: vec![],
        memo: vec![0; 51],
        witnesses: vec![],
    }
}
