//! One verdict, however it is reached: a block's signatures verified in one go or in parts, on one
//! thread or several, in any order, with any generator.

use std::{collections::BTreeSet, thread};

use ashlar_consensus::{
    BlockError, SignatureCheck, SpentCoins, connect::signature_error, connect_block,
    signature::Place, verify_signatures, walk,
};
use ashlar_primitives::{Amount, Coin, OutPoint, Transaction, Witness};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::builder::{Chain, Owner, output, payment};

const OWNERS: u8 = 4;

/// A chain with coins of several owners.
fn chain() -> Chain {
    let mut chain = Chain::new();
    for _ in 0..3 {
        chain.extend(&Owner::new(1), vec![], 0);
    }
    let mut first = chain.spendable(Owner::new(1).lock());
    let spent = vec![first.remove(0)];
    let outputs: Vec<_> =
        (0..40_u8).map(|number| output(10, Owner::new(1 + number % OWNERS).lock())).collect();
    let split = payment(&chain.params.chain_id, &Owner::new(1), &spent, outputs);
    chain.extend(&Owner::new(1), vec![split], 600);
    chain
}

/// Payments that each spend a coin or two of one owner, and sometimes the one before.
fn payments(chain: &Chain, random: &mut StdRng) -> Vec<Transaction> {
    let mut list: Vec<Transaction> = Vec::new();
    for seed in 1..=OWNERS {
        let owner = Owner::new(seed);
        let mut coins = chain.spendable(owner.lock());
        coins.retain(|(_, coin)| !coin.is_coinbase);
        while coins.len() > 1 && list.len() < 30 {
            let count = random.random_range(1..=2).min(coins.len());
            let mut spent: Vec<_> = coins.drain(..count).collect();
            if let Some(last) = list.last()
                && last.outputs[0].lock == owner.lock()
                && random.random()
            {
                let made = OutPoint { txid: last.txid(), index: 0 };
                let coin =
                    Coin { output: last.outputs[0], height: chain.height(), is_coinbase: false };
                spent.push((made, coin));
            }
            let sum: u64 = spent.iter().map(|(_, coin)| coin.output.value.grains()).sum();
            let outputs = vec![output(sum, owner.lock())];
            list.push(payment(&chain.params.chain_id, &owner, &spent, outputs));
        }
    }
    list
}

/// Breaks a transaction in one of many ways, none of which group 2 sees. A new txid takes the coins
/// of those that spend it, which is one more kind of fault.
fn spoil(transaction: &mut Transaction, way: usize) {
    match way % 7 {
        0 | 1 => {
            if let Some(Witness::Key { signature }) = transaction.witnesses.first_mut() {
                signature.0[way % 64] ^= 1;
            }
        }
        2 => transaction.witnesses.clear(),
        3 => transaction.not_before = u32::MAX,
        4 => transaction.inputs[0].index ^= 0x100,
        5 => {
            let value = transaction.outputs[0].value.grains();
            transaction.outputs[0].value = Amount::from_grains(value + 1);
        }
        _ => transaction.memo.push(1),
    }
}

/// Parts of the checks, verified by so many threads that each take the next part of theirs.
fn in_parts(checks: &[SignatureCheck], cuts: &[usize], threads: usize, seed: u64) -> Option<Place> {
    let mut edges: Vec<usize> = [0, checks.len()].into_iter().chain(cuts.iter().copied()).collect();
    edges.sort_unstable();
    let mut parts: Vec<&[SignatureCheck]> =
        edges.windows(2).map(|edge| &checks[edge[0]..edge[1]]).collect();
    // The last part first: the order in which parts are done decides nothing.
    parts.reverse();
    let verify = |number: usize| {
        let mut rng = StdRng::seed_from_u64(seed + u64::try_from(number).unwrap());
        let own = parts.iter().skip(number).step_by(threads);
        own.filter_map(|part| verify_signatures(part, &BTreeSet::new(), &mut rng).err()).min()
    };
    let verify = &verify;
    thread::scope(|scope| {
        let handles: Vec<_> =
            (0..threads).map(|number| scope.spawn(move || verify(number))).collect();
        handles.into_iter().filter_map(|handle| handle.join().unwrap()).min()
    })
}

#[test]
fn parallel_and_serial_report_the_same_first_error() {
    let chain = chain();
    let mut codes = BTreeSet::new();
    for seed in 0..150 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut transactions = payments(&chain, &mut random);
        assert!(transactions.len() > 10);
        for _ in 0..random.random_range(0..5) {
            let victim = random.random_range(0..transactions.len());
            spoil(&mut transactions[victim], random.random_range(0..64));
        }
        let overpaid = u64::from(random.random_range(0..4) == 0);
        let coinbase = chain.coinbase(&Owner::new(1), overpaid);
        let (next, block) = chain.checked(chain.block(coinbase, transactions));
        let coins: SpentCoins = chain.fetch(&block);
        let connect = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            let (parent, params) = (&chain.state, &chain.params);
            connect_block(parent, next.clone(), params, &block, &coins, &mut rng).map(drop)
        };
        let serial = connect(seed);
        codes.insert(serial.as_ref().map_or_else(BlockError::code, |()| "ok"));
        assert_eq!(connect(!seed), serial, "another generator");

        for threads in [1, 2, 3, 8] {
            let walked = walk(&chain.state, next.clone(), &chain.params, &block, &coins);
            let count = walked.checks.len();
            let cuts: Vec<usize> = (0..random.random_range(0..=count.min(9)))
                .map(|_| random.random_range(0..=count))
                .collect();
            let lowest = in_parts(&walked.checks, &cuts, threads, random.random());
            let parallel = match lowest {
                Some(place) => Err(signature_error(place)),
                None => walked.outcome.map(drop),
            };
            assert_eq!(parallel, serial, "seed {seed}, {threads} threads, cut at {cuts:?}");
        }
    }
    let expected = [
        "coinbase-overpays",
        "ok",
        "tx-bad-signature",
        "tx-bad-witness",
        "tx-missing-input",
        "tx-not-yet-valid",
        "tx-overspends",
    ];
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), expected);
}
