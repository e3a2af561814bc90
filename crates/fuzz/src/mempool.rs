//! Lives of a mempool: whatever comes in, goes out or happens to the chain, what waits could be
//! mined, and no limit is passed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ashlar_consensus::{CheckedTransaction, check_transaction, verify_transactions};
use ashlar_mempool::{Limits, Mempool, Tip};
use ashlar_primitives::{
    Amount, BlockId, Coin, Lock, OutPoint, Output, Policy, Transaction, Txid, Witness,
};
use ashlar_testkit::builder::{Chain, Plan, genesis};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::steer::Steer;

/// Things that happen in one life at most.
const MAX_STEPS: usize = 96;
/// Of one block's transactions.
const BLOCK_BYTES: usize = 2_000;

/// What anybody may spend, so that no signature has to be made.
const ANYONE: Policy = Policy::After(0);

fn limits() -> Limits {
    Limits {
        max_bytes: 24_000,
        max_cluster_transactions: 6,
        max_cluster_bytes: 2_500,
        expiry_ms: 100_000,
        max_relay_bytes: 700,
        max_evicted_by_replacement: 4,
        ..Limits::default()
    }
}

struct Life {
    chain: Chain,
    tip: BlockId,
    pool: Mempool,
    now_ms: u64,
}

impl Life {
    fn new() -> Self {
        let allocations: Vec<(Lock, u64)> =
            (1..13).map(|number| (Lock::policy(ANYONE.id()), number * 1_000)).collect();
        let chain = Chain::new(genesis(&allocations));
        let params = Arc::new(chain.genesis().params().clone());
        let tip = chain.genesis_id();
        Self { chain, tip, pool: Mempool::new(params, limits()), now_ms: 1 }
    }

    fn mempool_tip(&self) -> Tip {
        Tip { id: self.tip, next_height: self.chain.state(&self.tip).header.height + 1 }
    }

    fn coins(&self, of: &[OutPoint]) -> BTreeMap<OutPoint, Coin> {
        let coins = self.chain.coins(&self.tip);
        of.iter().filter_map(|outpoint| Some((*outpoint, *coins.get(outpoint)?))).collect()
    }

    /// Everything that a transaction could name, in the chain and in the pool.
    fn outputs(&self) -> Vec<(OutPoint, u64)> {
        let chain = self.chain.coins(&self.tip).iter();
        let chain = chain.map(|(outpoint, coin)| (*outpoint, coin.output.value.grains()));
        let waiting = self.pool.iter().flat_map(|entry| entry.transaction.coins(0));
        chain.chain(waiting.map(|(at, coin)| (at, coin.output.value.grains()))).collect()
    }

    fn transaction(&self, steer: &mut Steer<'_>) -> Option<Arc<CheckedTransaction>> {
        let all = self.outputs();
        let inputs: BTreeMap<OutPoint, u64> =
            (0..=steer.below(3)).map(|_| *steer.pick(&all)).collect();
        let memo = vec![steer.byte(); steer.below(200)];
        let fee = u64::from(steer.byte()) * u64::try_from(1 + steer.below(16)).unwrap();
        let paid = inputs.values().sum::<u64>().checked_sub(fee)?;
        let count = u64::try_from(1 + steer.below(3)).unwrap();
        let output =
            Output { value: Amount::from_grains(paid / count), lock: Lock::policy(ANYONE.id()) };
        let transaction = Transaction {
            not_before: u32::from(steer.one_in(16)) * 3,
            inputs: inputs.into_keys().collect(),
            outputs: vec![output; usize::try_from(count).unwrap()],
            memo,
            witnesses: vec![Witness::Policy {
                policy: ANYONE,
                signatures: Vec::new(),
                preimages: Vec::new(),
            }],
        };
        check_transaction(transaction).ok().map(Arc::new)
    }

    fn confirmed(&self) -> BTreeSet<Txid> {
        let blocks = self.chain.branch(&self.tip);
        blocks.iter().flat_map(|block| block.transactions()).map(|tx| tx.txid()).collect()
    }

    /// A refusal changes nothing.
    fn submit(&mut self, transaction: Arc<CheckedTransaction>) {
        let wtxid = transaction.wtxid();
        let mut rng = StdRng::seed_from_u64(0);
        let verified = verify_transactions(&[(wtxid, Vec::new())], &mut rng).remove(0).unwrap();
        let tip = self.mempool_tip();
        let coins = self.coins(&self.pool.chain_inputs(&transaction));
        let confirmed = self.confirmed().contains(&transaction.txid());
        let now_ms = self.now_ms;
        let summary = |pool: &Mempool| (pool.len(), pool.size_bytes(), pool.total_fee());
        let before = summary(&self.pool);
        let tested = self.pool.test(&tip, &transaction, &coins, confirmed, now_ms);
        let accepted = self.pool.accept(&tip, transaction, &verified, &coins, confirmed, now_ms);
        match accepted {
            Ok(accepted) => {
                assert_eq!(tested.ok(), Some(accepted.fee));
                assert!(self.pool.get_by_wtxid(&wtxid).is_some());
            }
            Err(refusal) => {
                assert_eq!(summary(&self.pool), before, "{}", refusal.code());
                assert_eq!(tested.err().map(|error| error.code()), Some(refusal.code()));
            }
        }
    }

    /// What a miner would take makes a valid block.
    fn mine(&mut self) {
        let selected = self.pool.select(BLOCK_BYTES);
        let transactions: Vec<Transaction> =
            selected.iter().map(|entry| entry.transaction.transaction().clone()).collect();
        let bytes: usize = selected
            .iter()
            .map(|entry| usize::try_from(entry.transaction.size_bytes()).unwrap())
            .sum();
        assert!(bytes <= BLOCK_BYTES);
        let plan = Plan { pay_to: Lock::policy(ANYONE.id()), ..Plan::of(transactions) };
        let block = self.chain.extend(&self.tip, plan);
        self.tip = block.id();
        self.pool.block_connected(&block);
    }

    /// Another branch takes over, at most three blocks deep; what it undoes is submitted again.
    fn reorganise(&mut self, depth: usize) {
        let branch = self.chain.branch(&self.tip);
        let depth = depth.min(branch.len());
        let left = &branch[branch.len() - depth..];
        let fork = left.first().map_or(self.tip, |block| block.header().parent);
        let fork_height = self.chain.state(&fork).header.height;
        self.tip = self.chain.extend_by(&fork, depth + 1);
        let tip = self.mempool_tip();
        let coins = self.coins(&self.pool.inputs_above(fork_height));
        self.pool.revalidate(&tip, fork_height, &coins);
        for transaction in left.iter().flat_map(|block| block.transactions()) {
            self.submit(Arc::clone(transaction));
        }
    }

    fn step(&mut self, steer: &mut Steer<'_>) {
        match steer.byte() % 16 {
            0..=8 => {
                if let Some(transaction) = self.transaction(steer) {
                    self.submit(transaction);
                }
            }
            9 => {
                let txids: Vec<Txid> =
                    self.pool.iter().map(|entry| entry.transaction.txid()).collect();
                if !txids.is_empty() {
                    self.pool.remove(steer.pick(&txids));
                }
            }
            10 => {
                self.now_ms += u64::from(steer.byte()) * 500;
                self.pool.expire(self.now_ms);
            }
            11 | 12 => self.mine(),
            13 => self.reorganise(1 + steer.below(3)),
            14 => {
                let again: Vec<_> =
                    self.pool.iter().map(|entry| Arc::clone(&entry.transaction)).collect();
                if !again.is_empty() {
                    self.submit(Arc::clone(steer.pick(&again)));
                }
            }
            // A block that confirms something else with the same coins.
            _ => {
                if let Some(transaction) = self.transaction(steer) {
                    let plan = Plan::of(vec![transaction.transaction().clone()]);
                    let block = ashlar_testkit::builder::seal(self.chain.draft(&self.tip, plan));
                    if let Ok(block) = self.chain.adopt(block) {
                        self.tip = block.id();
                        self.pool.block_connected(&block);
                    }
                }
            }
        }
    }

    fn cluster(&self, txid: Txid) -> BTreeSet<Txid> {
        let mut found: BTreeSet<Txid> = [txid].into();
        let mut due = vec![txid];
        while let Some(txid) = due.pop() {
            let entry = self.pool.get(&txid).expect("relatives wait too");
            let relatives = self.pool.parents(&entry.transaction).into_iter();
            due.extend(
                relatives.chain(self.pool.children(&txid)).filter(|txid| found.insert(*txid)),
            );
        }
        found
    }

    fn check(&self) {
        let limits = limits();
        let chain = self.chain.coins(&self.tip);
        let (mut bytes, mut fees) = (0, 0);
        let mut spent = BTreeSet::new();
        for entry in self.pool.iter() {
            let transaction = entry.transaction.transaction();
            let txid = entry.transaction.txid();
            let mut available = 0;
            for input in &transaction.inputs {
                assert!(spent.insert(*input), "two spend {input:?}");
                let spender = self.pool.spender(input).map(|entry| entry.transaction.txid());
                assert_eq!(spender, Some(txid));
                let value = match self.pool.get(&input.txid) {
                    Some(parent) => {
                        parent.transaction.transaction().outputs[usize::from(input.index)].value
                    }
                    None => chain.get(input).expect("a coin that is there").output.value,
                };
                available += value.grains();
            }
            let paid: u64 = transaction.outputs.iter().map(|output| output.value.grains()).sum();
            assert_eq!(entry.fee.grains(), available - paid);
            bytes += usize::try_from(entry.transaction.size_bytes()).unwrap();
            fees += entry.fee.grains();
            let cluster = self.cluster(txid);
            assert!(cluster.len() <= limits.max_cluster_transactions);
            let size = |txid: &Txid| self.pool.get(txid).unwrap().transaction.size_bytes();
            let cluster_bytes: u32 = cluster.iter().map(size).sum();
            assert!(usize::try_from(cluster_bytes).unwrap() <= limits.max_cluster_bytes);
        }
        assert_eq!((self.pool.size_bytes(), self.pool.total_fee().grains()), (bytes, fees));
        assert!(self.pool.memory_bytes() <= limits.max_bytes);
        let mut earlier = BTreeSet::new();
        for entry in self.pool.best_first() {
            let parents = self.pool.parents(&entry.transaction);
            assert!(parents.is_subset(&earlier), "a child before its parent");
            assert!(earlier.insert(entry.transaction.txid()));
        }
        assert_eq!(earlier.len(), self.pool.len());
    }
}

/// After every step: inputs exist and none is spent twice, sums are right, no limit is passed, the
/// ranking is whole with parents first; at the end what a miner would take connects.
pub fn mempool(data: &[u8]) {
    let mut steer = Steer::new(data);
    let mut life = Life::new();
    for _ in 0..MAX_STEPS {
        if steer.is_done() {
            break;
        }
        life.step(&mut steer);
        life.check();
    }
    life.mine();
    life.check();
}
