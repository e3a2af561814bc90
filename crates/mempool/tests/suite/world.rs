//! A chain and a mempool on top of it: what an engine would do, in a few lines, and with the real
//! rules. Coins are held in a plain map.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ashlar_consensus::{
    CheckedBlock, CheckedTransaction, HeaderState, Params, SpentCoins, State, UtxoAccumulator,
    UtxoDiff, Work, check_transaction, connect::connect_block, open_block,
    signature::VerifiedTransaction, verify_transactions,
};
use ashlar_mempool::{Accepted, Limits, Mempool, Refusal, Tip};
use ashlar_primitives::{
    Amount, Block, BlockId, Coin, Coinbase, Header, Lock, MerkleRoot, OutPoint, Output, Policy,
    Transaction, Txid, Witness, merkle::block_merkle_root,
};

pub(crate) type Tx = Arc<CheckedTransaction>;

/// Of the chains in these tests.
pub(crate) const MATURITY: u32 = 5;
pub(crate) const SUBSIDY: u64 = 1_000_000;
/// Height of the first tip: room for reorganisations below every coin of the start.
const START_HEIGHT: u32 = 100;

pub(crate) fn params() -> Params {
    Params {
        chain_id: BlockId([7; 32]),
        name: "mempool test".into(),
        address_prefix: "t".into(),
        time: 1_800_000_000,
        bits: 0x207f_ffff,
        pow_limit_bits: 0x207f_ffff,
        block_interval: 10,
        difficulty_half_life: 0,
        stall_relief_seconds: 0,
        max_future_seconds: 7_200,
        max_block_bytes: 1_000_000,
        coinbase_maturity: MATURITY,
        initial_subsidy: Amount::from_grains(SUBSIDY),
        halving_interval: 1_000_000,
    }
}

/// Locks that need no signature, so that a test can spend anything; and two that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Anybody, at any time.
    Anyone,
    /// Anybody, in one of two ways: two witnesses for one lock.
    TwoWays,
    /// Anybody, so many blocks after the coin was confirmed.
    Older(u32),
    /// Anybody, from a height on.
    After(u32),
}

impl Owner {
    fn ways() -> [Policy; 2] {
        [Policy::After(0), Policy::After(1)]
    }

    pub(crate) fn policy(self, second_way: bool) -> Policy {
        match self {
            Self::Anyone => Policy::After(0),
            Self::Older(blocks) => Policy::Older(blocks),
            Self::After(height) => Policy::After(height),
            Self::TwoWays => {
                let [first, second] = Self::ways();
                let children = if second_way {
                    vec![Policy::Opaque(first.id()), second]
                } else {
                    vec![first, Policy::Opaque(second.id())]
                };
                Policy::Threshold { k: 1, children }
            }
        }
    }

    pub(crate) fn lock(self) -> Lock {
        Lock::policy(self.policy(false).id())
    }
}

/// What a transaction spends: an outpoint and how it is spent.
pub(crate) type Spend = (OutPoint, Owner);

/// A transaction in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) inputs: Vec<Spend>,
    pub(crate) outputs: Vec<(u64, Owner)>,
    pub(crate) not_before: u32,
    pub(crate) memo: Vec<u8>,
    pub(crate) second_way: bool,
}

impl Draft {
    pub(crate) fn new(inputs: &[Spend], outputs: &[(u64, Owner)]) -> Self {
        Self { inputs: inputs.to_vec(), outputs: outputs.to_vec(), ..Self::default() }
    }

    /// Tells drafts apart that are otherwise the same, and makes them larger.
    pub(crate) fn memo(mut self, memo: &[u8]) -> Self {
        self.memo = memo.to_vec();
        self
    }

    pub(crate) fn build(&self) -> Tx {
        let mut witnesses = Vec::new();
        let mut seen = BTreeSet::new();
        for (_, owner) in &self.inputs {
            if seen.insert(owner.lock()) {
                witnesses.push(Witness::Policy {
                    policy: owner.policy(self.second_way),
                    signatures: vec![],
                    preimages: vec![],
                });
            }
        }
        let output = |(value, owner): &(u64, Owner)| Output {
            value: Amount::from_grains(*value),
            lock: owner.lock(),
        };
        let transaction = Transaction {
            not_before: self.not_before,
            inputs: self.inputs.iter().map(|(outpoint, _)| *outpoint).collect(),
            outputs: self.outputs.iter().map(output).collect(),
            memo: self.memo.clone(),
            witnesses,
        };
        Arc::new(check_transaction(transaction).unwrap())
    }
}

/// The output `index` of `tx`, spendable by anyone.
pub(crate) fn output(tx: &Tx, index: u16) -> Spend {
    (OutPoint { txid: tx.txid(), index }, Owner::Anyone)
}

pub(crate) fn verified(tx: &Tx) -> VerifiedTransaction {
    verify_transactions(&[(tx.wtxid(), vec![])], &mut rand::rng()).remove(0).unwrap()
}

/// A connected block and how to undo it.
struct Connected {
    block: Arc<CheckedBlock>,
    diff: UtxoDiff,
    before: State,
}

pub(crate) struct World {
    pub(crate) params: Arc<Params>,
    pub(crate) pool: Mempool,
    pub(crate) coins: BTreeMap<OutPoint, Coin>,
    pub(crate) now_ms: u64,
    state: State,
    history: Vec<Connected>,
    blocks_made: u32,
}

impl World {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::with_params(params(), limits)
    }

    pub(crate) fn with_params(params: Params, limits: Limits) -> Self {
        let params = Arc::new(params);
        let state = State {
            header: HeaderState {
                id: BlockId([1; 32]),
                height: START_HEIGHT,
                times: [params.time].into_iter().collect(),
                work: Work::ZERO,
                clock: params.time,
                lag: 0,
            },
            utxo: UtxoAccumulator::empty(),
        };
        let pool = Mempool::new(Arc::clone(&params), limits);
        Self {
            params,
            pool,
            coins: BTreeMap::new(),
            now_ms: 1_000_000,
            state,
            history: Vec::new(),
            blocks_made: 0,
        }
    }

    pub(crate) fn tip(&self) -> Tip {
        Tip { id: self.state.header.id, next_height: self.state.header.height + 1 }
    }

    pub(crate) fn height(&self) -> u32 {
        self.state.header.height
    }

    /// A confirmed coin out of nothing, below every fork that a test can reach.
    pub(crate) fn coin(&mut self, value: u64) -> Spend {
        self.coin_of(value, Owner::Anyone, false)
    }

    pub(crate) fn coin_of(&mut self, value: u64, owner: Owner, is_coinbase: bool) -> Spend {
        let mut txid = [0xc0; 32];
        txid[..8].copy_from_slice(&(self.coins.len() as u64).to_le_bytes());
        txid[8..12].copy_from_slice(&self.blocks_made.to_le_bytes());
        let outpoint = OutPoint { txid: Txid(txid), index: 0 };
        let output = Output { value: Amount::from_grains(value), lock: owner.lock() };
        let height = if is_coinbase { self.height() } else { START_HEIGHT - 50 };
        let coin = Coin { output, height, is_coinbase };
        assert!(self.coins.insert(outpoint, coin).is_none());
        self.state.utxo.add(&outpoint, &coin);
        (outpoint, owner)
    }

    /// The coins among `wanted`, as a ledger would answer.
    pub(crate) fn found(&self, wanted: &[OutPoint]) -> BTreeMap<OutPoint, Coin> {
        wanted.iter().filter_map(|outpoint| Some((*outpoint, *self.coins.get(outpoint)?))).collect()
    }

    /// Without an index: an output of it is an unspent coin.
    pub(crate) fn confirmed(&self, tx: &Tx) -> bool {
        tx.coins(0).any(|(outpoint, _)| self.coins.contains_key(&outpoint))
    }

    pub(crate) fn test(&self, tx: &Tx) -> Result<u64, Refusal> {
        let chain = self.found(&self.pool.chain_inputs(tx));
        let fee = self.pool.test(&self.tip(), tx, &chain, self.confirmed(tx), self.now_ms);
        fee.map(Amount::grains)
    }

    /// Tests, then accepts: both must say the same, and a refusal must change nothing.
    pub(crate) fn accept(&mut self, tx: &Tx) -> Result<Accepted, Refusal> {
        let tested = self.test(tx);
        let before = self.pool.sequence();
        let chain = self.found(&self.pool.chain_inputs(tx));
        let (tip, confirmed) = (self.tip(), self.confirmed(tx));
        let accepted =
            self.pool.accept(&tip, Arc::clone(tx), &verified(tx), &chain, confirmed, self.now_ms);
        match (&tested, &accepted) {
            (Ok(fee), Ok(accepted)) => {
                assert_eq!(*fee, accepted.fee.grains());
                assert!(self.pool.sequence() > before);
                assert_eq!(self.pool.get_by_wtxid(&tx.wtxid()).unwrap().transaction, *tx);
            }
            (Err(tested), Err(refused)) => {
                assert_eq!(tested, refused);
                assert_eq!(self.pool.sequence(), before);
            }
            _ => panic!("test says {tested:?}, accept {accepted:?}"),
        }
        accepted
    }

    /// The code of a refusal.
    pub(crate) fn refusal(&mut self, tx: &Tx) -> &'static str {
        self.accept(tx).expect_err("it must be refused").code()
    }

    /// A block of these transactions on the present tip, by all rules.
    pub(crate) fn block(&mut self, transactions: &[Tx]) -> Arc<CheckedBlock> {
        self.block_claiming(transactions, SUBSIDY)
    }

    fn block_claiming(&mut self, transactions: &[Tx], grains: u64) -> Arc<CheckedBlock> {
        self.blocks_made += 1;
        let claim = Output { value: Amount::from_grains(grains), lock: Owner::Anyone.lock() };
        let mut block = Block {
            header: Header {
                version: 0x2000_0000,
                parent: self.state.header.id,
                merkle_root: MerkleRoot::ZERO,
                time: self.params.time,
                bits: self.params.bits,
                nonce: 0,
            },
            coinbase: Coinbase {
                version: 0,
                height: self.height() + 1,
                utxo_commitment: self.state.utxo.commitment(),
                outputs: vec![claim],
                extra: self.blocks_made.to_le_bytes().to_vec(),
            },
            transactions: transactions.iter().map(|tx| tx.transaction().clone()).collect(),
        };
        block.header.merkle_root = block_merkle_root(&block).unwrap();
        let header = block.header;
        Arc::new(open_block(&self.params, &header, self.height() + 1, block).unwrap())
    }

    fn judge(&self, block: &CheckedBlock) -> (State, UtxoDiff) {
        let next =
            HeaderState { id: block.id(), height: block.height(), ..self.state.header.clone() };
        let coins = SpentCoins { coins: self.found(block.external_inputs()).into_iter().collect() };
        connect_block(&self.state, next, &self.params, block, &coins, &mut rand::rng())
            .expect("the block must connect")
            .into_parts()
    }

    /// Whether the pool's selection makes a block that connects.
    pub(crate) fn assert_template_connects(&mut self, max_bytes: usize) {
        let selected: Vec<Tx> = self
            .pool
            .select(max_bytes)
            .into_iter()
            .map(|entry| Arc::clone(&entry.transaction))
            .collect();
        let size: usize = selected.iter().map(|tx| tx.size_bytes() as usize).sum();
        assert!(size <= max_bytes);
        // Claims every grain that the pool says there is: one less in truth, and it overpays.
        let fees: u64 =
            selected.iter().map(|tx| self.pool.get(&tx.txid()).unwrap().fee.grains()).sum();
        let block = self.block_claiming(&selected, SUBSIDY + fees);
        self.judge(&block);
    }

    /// Connects a block to the chain alone.
    fn extend(&mut self, block: Arc<CheckedBlock>) {
        let (next, diff) = self.judge(&block);
        for outpoint in diff.spent.keys() {
            self.coins.remove(outpoint).unwrap();
        }
        self.coins.extend(diff.created.clone());
        let before = std::mem::replace(&mut self.state, next);
        self.history.push(Connected { block, diff, before });
    }

    /// Mines these, and tells the pool. Returns what the pool dropped as conflicting.
    pub(crate) fn mine(&mut self, transactions: &[Tx]) -> Vec<Tx> {
        let block = self.block(transactions);
        self.extend(Arc::clone(&block));
        self.pool.block_connected(&block)
    }

    /// Takes the newest block off the chain alone. Returns what it held.
    pub(crate) fn undo_without_pool(&mut self) -> Vec<Tx> {
        let Connected { block, diff, before } = self.history.pop().unwrap();
        for outpoint in diff.created.keys() {
            self.coins.remove(outpoint).unwrap();
        }
        self.coins.extend(diff.spent);
        self.state = before;
        block.transactions().to_vec()
    }

    /// Undoes `depth` blocks and connects others, then carries the pool over as its documentation
    /// says. Returns what came back and could not stay.
    pub(crate) fn reorganise(&mut self, depth: usize, blocks: &[Vec<Tx>]) -> Reorganised {
        let mut returning = Vec::new();
        for _ in 0..depth {
            returning.splice(0..0, self.undo_without_pool());
        }
        let fork_height = self.height();
        for transactions in blocks {
            self.mine(transactions);
        }
        let chain = self.found(&self.pool.inputs_above(fork_height));
        let tip = self.tip();
        let dropped = self.pool.revalidate(&tip, fork_height, &chain);
        let kept: BTreeSet<Txid> = self.pool.iter().map(|entry| entry.transaction.txid()).collect();
        let resubmitted: Vec<Tx> = returning.into_iter().chain(dropped.iter().cloned()).collect();
        let mut refused = Vec::new();
        for tx in &resubmitted {
            if let Err(refusal) = self.accept(tx) {
                refused.push((tx.txid(), refusal.code()));
            }
        }
        Reorganised { kept, dropped, resubmitted, refused }
    }

    /// The coins there were before the last `depth` blocks.
    pub(crate) fn coins_below_the_last(&self, depth: usize) -> BTreeMap<OutPoint, Coin> {
        let mut coins = self.coins.clone();
        for Connected { diff, .. } in self.history.iter().rev().take(depth) {
            coins.retain(|outpoint, _| !diff.created.contains_key(outpoint));
            coins.extend(diff.spent.clone());
        }
        coins
    }

    pub(crate) fn history_len(&self) -> usize {
        self.history.len()
    }
}

/// What a reorganisation did to the pool.
pub(crate) struct Reorganised {
    /// After `revalidate`, before anything came back.
    pub(crate) kept: BTreeSet<Txid>,
    pub(crate) dropped: Vec<Tx>,
    /// What the old blocks held, then what was dropped, in the order in which it was tried.
    pub(crate) resubmitted: Vec<Tx>,
    pub(crate) refused: Vec<(Txid, &'static str)>,
}
