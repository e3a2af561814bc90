//! The shapes of blocks that cost the most, and such blocks with the chain under them.

use std::{collections::BTreeSet, sync::Arc};

use ashlar_consensus::{
    CheckedBlock, Genesis, SpentCoins, State,
    transaction::{MAX_TRANSACTION_BYTES, sighash},
};
use ashlar_primitives::{
    BlockId, Coin, CoinList, Encode as _, Lock, OutPoint, Output, Policy, Transaction, Witness,
    keys::SecretKey,
};
use ashlar_testkit::builder;
use rayon::prelude::*;

use crate::{
    Outcome,
    maker::{Maker, fund, genesis_text},
    payments,
};

/// Value of each coin that is spent: enough for the most outputs of one transaction.
const COIN_GRAINS: u64 = 10_000;

/// Bytes of a block that are not transactions: header, count, coinbase of one output.
const BLOCK_OVERHEAD_BYTES: usize = 84 + 90;

/// Bytes of a transaction without inputs, outputs and witnesses.
const TRANSACTION_OVERHEAD_BYTES: usize = 13;

/// Bytes of a witness for a key.
const KEY_WITNESS_BYTES: usize = 65;

/// What opens a coin.
enum Owner {
    Key(SecretKey),
    Policy(Policy),
}

impl Owner {
    fn lock(&self) -> Lock {
        match self {
            Self::Key(key) => Lock::key(key.public_key()),
            Self::Policy(policy) => Lock::policy(policy.id()),
        }
    }
}

/// What a transaction of a worst block is like. All of a shape weigh the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As many inputs as fit, one owner for each transaction.
    Inputs,
    /// As many outputs as fit.
    Outputs,
    /// One owner of everything in the block spends and receives.
    OneOwner,
    /// As many inputs as fit, each with an owner and a signature of its own.
    DistinctKeys,
    /// As many inputs as fit, each under a policy of its own, as large and deep as policies are,
    /// that needs no signature: the most hashes for a byte.
    Policies,
    /// Small transactions, each of which spends what the one before it made.
    Chain,
}

impl Shape {
    /// Every shape, and its name in the table.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Inputs, "all inputs"),
        (Self::Outputs, "all outputs"),
        (Self::OneOwner, "one owner"),
        (Self::DistinctKeys, "distinct keys"),
        (Self::Policies, "deepest policies"),
        (Self::Chain, "chain of spends"),
    ];

    /// Inputs and outputs of one transaction, and the bytes of its witnesses.
    fn form(self) -> Form {
        let room = MAX_TRANSACTION_BYTES as usize - TRANSACTION_OVERHEAD_BYTES;
        let (input, output, key) = (OutPoint::LEN, Output::LEN, KEY_WITNESS_BYTES);
        match self {
            Self::Inputs => Form::new((room - output - key) / input, 1, key),
            Self::Outputs => Form::new(1, (room - input - key) / output, key),
            Self::OneOwner => {
                let both = (room - key) / (input + output);
                Form::new(both, both, key)
            }
            Self::DistinctKeys => {
                let inputs = (room - output) / (input + key);
                Form::new(inputs, 1, inputs * key)
            }
            Self::Policies => {
                let witness = witness_bytes(&deep_policy(0));
                let inputs = (room - output) / (input + witness);
                Form::new(inputs, 1, inputs * witness)
            }
            Self::Chain => Form::new(1, 1, key),
        }
    }

    /// Who owns input `number` of the block's, where a block has so many transactions. Inputs of
    /// one transaction are `transactions` apart, so that its coins lie far from each other.
    fn owner(self, seed: u64, number: usize, transactions: usize) -> Owner {
        let key = |number| Owner::Key(payments::key(seed, number as u64));
        match self {
            Self::Inputs => key(number % transactions),
            Self::OneOwner => key(0),
            Self::Outputs | Self::DistinctKeys | Self::Chain => key(number),
            Self::Policies => Owner::Policy(deep_policy(number)),
        }
    }
}

/// What all transactions of a shape have in common.
#[derive(Clone, Copy, Debug)]
struct Form {
    inputs: usize,
    outputs: usize,
    bytes: usize,
}

impl Form {
    const fn new(inputs: usize, outputs: usize, witness_bytes: usize) -> Self {
        let items = inputs * OutPoint::LEN + outputs * Output::LEN;
        Self { inputs, outputs, bytes: TRANSACTION_OVERHEAD_BYTES + items + witness_bytes }
    }

    /// How many fit a block: a multiple of four, so that a half and a quarter are exact.
    const fn count(self, max_block_bytes: u32) -> usize {
        (max_block_bytes as usize - BLOCK_OVERHEAD_BYTES) / self.bytes / 4 * 4
    }
}

/// A policy of 64 nodes, 8 deep, in the fewest bytes: nine chains of single-child thresholds. No
/// two numbers below 3^9 give the same.
fn deep_policy(number: usize) -> Policy {
    const CHAINS: u32 = 9;
    let children = (0..CHAINS)
        .map(|place| {
            let digit = number / 3_usize.pow(place) % 3;
            let leaf = Policy::After(u32::try_from(digit).expect("0, 1 or 2"));
            let thresholds = Policy::MAX_DEPTH - 2;
            (0..thresholds).fold(leaf, |child, _| Policy::Threshold { k: 1, children: vec![child] })
        })
        .collect();
    let policy = Policy::Threshold { k: CHAINS as u8, children };
    debug_assert!(policy.validate().is_ok());
    policy
}

fn witness_bytes(policy: &Policy) -> usize {
    let policy = policy.clone();
    Witness::Policy { policy, signatures: Vec::new(), preimages: Vec::new() }.encoded_len()
}

/// The chain under the worst blocks of a shape, and these.
#[derive(Debug)]
pub struct Case {
    /// What the chain begins with.
    pub genesis: Genesis,
    /// The blocks that make the coins.
    pub lead: Vec<Arc<CheckedBlock>>,
    /// What the last of them left.
    pub parent: State,
    /// At a quarter, a half and the whole of the size, each on the same parent.
    pub blocks: Vec<Arc<CheckedBlock>>,
    /// All that they spend.
    pub coins: CoinList,
}

impl Case {
    /// Blocks of one shape on a chain with this limit. Everything follows from the seed.
    pub fn new(shape: Shape, seed: u64, max_block_bytes: u32) -> Outcome<Self> {
        let form = shape.form();
        let count = form.count(max_block_bytes);
        let owned = if shape == Shape::Chain { 1 } else { count * form.inputs };
        let owners: Vec<_> =
            (0..owned.max(count)).into_par_iter().map(|n| shape.owner(seed, n, count)).collect();
        let locks: Vec<_> = owners[..owned].par_iter().map(Owner::lock).collect();
        let genesis = Genesis::parse(&genesis_text(owned, COIN_GRAINS, max_block_bytes))?;
        let mut maker = Maker::new(genesis.clone());
        let (mut lead, coins) = fund(&mut maker, &locks, COIN_GRAINS);
        // Policies ask for a height of up to 2.
        while maker.next_height() < 3 {
            lead.push(maker.grow(Vec::new(), &SpentCoins::default()));
        }
        let chain_id = genesis.params().chain_id;
        let transactions = match shape {
            Shape::Chain => chain_of_spends(&chain_id, &owners, coins[0], count),
            _ => (0..count)
                .into_par_iter()
                .map(|number| spend(shape, &chain_id, &owners, &coins, number, count))
                .collect(),
        };
        let coins = coins.into_iter().collect();
        let spent = SpentCoins { coins };
        let blocks =
            [4, 2, 1].map(|part| maker.child(transactions[..count / part].to_vec(), &spent).block);
        Ok(Self {
            genesis,
            lead: lead.into_iter().map(|made| made.block).collect(),
            parent: maker.state().clone(),
            blocks: blocks.into(),
            coins: spent.coins,
        })
    }
}

/// Transaction `number` of `count`.
fn spend(
    shape: Shape,
    chain_id: &BlockId,
    owners: &[Owner],
    coins: &[(OutPoint, Coin)],
    number: usize,
    count: usize,
) -> Transaction {
    let form = shape.form();
    let chosen: Vec<_> = (0..form.inputs).map(|input| input * count + number).collect();
    let spent: Vec<_> = chosen.iter().map(|place| coins[*place]).collect();
    let to = owners[chosen[0]].lock();
    let grains = COIN_GRAINS * form.inputs as u64 / form.outputs as u64;
    let transaction = Transaction {
        not_before: 0,
        inputs: spent.iter().map(|(outpoint, _)| *outpoint).collect(),
        outputs: vec![builder::output(to, grains); form.outputs],
        memo: Vec::new(),
        witnesses: Vec::new(),
    };
    let owners = chosen.iter().map(|place| &owners[*place]);
    let outputs: Vec<_> = spent.iter().map(|(_, coin)| coin.output).collect();
    sign(transaction, chain_id, &outputs, owners)
}

/// `count` transactions, the first of which spends `coin`, each other one the output of the one
/// before it.
fn chain_of_spends(
    chain_id: &BlockId,
    owners: &[Owner],
    coin: (OutPoint, Coin),
    count: usize,
) -> Vec<Transaction> {
    let (mut outpoint, coin) = coin;
    let mut spent = coin.output;
    let mut unsigned = Vec::with_capacity(count);
    for number in 0..count {
        let to = owners[(number + 1) % owners.len()].lock();
        let output = builder::output(to, COIN_GRAINS);
        let transaction = Transaction {
            not_before: 0,
            inputs: vec![outpoint],
            outputs: vec![output],
            memo: Vec::new(),
            witnesses: Vec::new(),
        };
        outpoint = OutPoint { txid: transaction.txid(), index: 0 };
        unsigned.push((transaction, spent, &owners[number]));
        spent = output;
    }
    unsigned
        .into_par_iter()
        .map(|(transaction, spent, owner)| {
            sign(transaction, chain_id, &[spent], std::iter::once(owner))
        })
        .collect()
}

fn sign<'a>(
    mut transaction: Transaction,
    chain_id: &BlockId,
    spent: &[Output],
    owners: impl Iterator<Item = &'a Owner>,
) -> Transaction {
    let digest = sighash(chain_id, &transaction.txid(), spent);
    let mut seen = BTreeSet::new();
    for (owner, output) in owners.zip(spent) {
        if seen.insert(output.lock) {
            transaction.witnesses.push(match owner {
                Owner::Key(key) => Witness::Key { signature: key.sign(&digest) },
                Owner::Policy(policy) => Witness::Policy {
                    policy: policy.clone(),
                    signatures: Vec::new(),
                    preimages: Vec::new(),
                },
            });
        }
    }
    transaction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_as_large_as_they_get() {
        let policy = deep_policy(12_345);
        fn nodes(policy: &Policy) -> usize {
            match policy {
                Policy::Threshold { children, .. } => 1 + children.iter().map(nodes).sum::<usize>(),
                _ => 1,
            }
        }
        assert_eq!(nodes(&policy), Policy::MAX_NODES);
        assert_ne!(policy.id(), deep_policy(12_346).id());
        assert!(Shape::Policies.form().count(4_000_000) * Shape::Policies.form().inputs <= 19_683);
    }
}
