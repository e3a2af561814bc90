//! The memory that the pool says it needs is what the process really takes. A test binary of its
//! own, since it looks at the whole process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::{Params, check_transaction, verify_transactions};
use ashlar_mempool::{Limits, Mempool, Tip};
use ashlar_primitives::{
    Amount, BlockId, Coin, Lock, OutPoint, Output, Policy, Transaction, Txid, Witness,
};

fn params() -> Params {
    Params {
        chain_id: BlockId([7; 32]),
        name: "memory test".into(),
        address_prefix: "t".into(),
        time: 0,
        bits: 0x207f_ffff,
        pow_limit_bits: 0x207f_ffff,
        block_interval: 10,
        difficulty_half_life: 0,
        stall_relief_seconds: 0,
        max_future_seconds: 7_200,
        max_block_bytes: 1_000_000,
        coinbase_maturity: 5,
        initial_subsidy: Amount::ZERO,
        halving_interval: 1,
    }
}

/// A tree with something behind every pointer: two hidden branches and two that anyone satisfies.
fn policy() -> Policy {
    let hidden = Policy::Opaque(Policy::After(9).id());
    let free = vec![Policy::After(0), Policy::After(1)];
    let free = Policy::Threshold { k: 2, children: free };
    Policy::Threshold { k: 1, children: vec![hidden.clone(), free, hidden] }
}

/// Resident bytes of this process.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// Fills a pool with `count` transactions of so many inputs and outputs; the ratio of what the
/// process grew by to what the pool says, and the pool.
fn growth(count: usize, inputs: u16, outputs: usize) -> (f64, Mempool) {
    let lock = Lock::policy(policy().id());
    let each = Amount::from_grains(10_000_000);
    let coin = Coin { output: Output { value: each, lock }, height: 1, is_coinbase: false };
    let mut pool = Mempool::new(Arc::new(params()), Limits::default());
    let tip = Tip { id: BlockId::ZERO, next_height: 100 };
    let before = resident_bytes();
    for n in 0..count {
        // Ids all over the keys' range, as hashes are.
        let txid = Txid(ashlar_primitives::hash::double_sha256(&n.to_le_bytes()));
        let outpoints: Vec<OutPoint> = (0..inputs).map(|index| OutPoint { txid, index }).collect();
        let chain: BTreeMap<OutPoint, Coin> = outpoints.iter().map(|o| (*o, coin)).collect();
        let witness = Witness::Policy { policy: policy(), signatures: vec![], preimages: vec![] };
        let output = Output { value: Amount::from_grains(1 + n as u64), lock };
        let transaction = Transaction {
            not_before: 0,
            inputs: outpoints,
            outputs: vec![output; outputs],
            memo: vec![1; 20],
            witnesses: vec![witness],
        };
        let transaction = Arc::new(check_transaction(transaction).unwrap());
        let wtxid = transaction.wtxid();
        let verified = verify_transactions(&[(wtxid, vec![])], &mut rand::rng()).remove(0);
        pool.accept(&tip, transaction, &verified.unwrap(), &chain, false, 0).unwrap();
    }
    assert_eq!(pool.len(), count);
    let grown = resident_bytes() - before;
    (grown as f64 / pool.memory_bytes() as f64, pool)
}

#[test]
fn the_estimate_is_honest() {
    // All are kept, or the next would live in what the last one left to the allocator.
    let mut pools = Vec::new();
    for (count, inputs, outputs) in [(60_000, 1, 2), (10_000, 20, 2), (10_000, 1, 100)] {
        let (ratio, pool) = growth(count, inputs, outputs);
        pools.push(pool);
        println!("{count} of {inputs} inputs and {outputs} outputs: {ratio:.2} of the estimate");
        assert!((0.6..=1.1).contains(&ratio), "{ratio:.2} of the estimate");
    }
}
