//! Who uses the nodes: miners that find blocks, wallets that pay one another.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use ashlar_consensus::{CheckedTransaction, Target, check_transaction, transaction::sighash};
use ashlar_engine::{Call, call::Template};
use ashlar_ledger::{
    View,
    view::{LocatedCoin, QueryError},
};
use ashlar_primitives::{
    Amount, Block, Encode, Lock, OutPoint, Output, Signature, Transaction, Txid, Witness,
    keys::SecretKey,
};
use rand::{Rng, RngExt, seq::IndexedRandom};

use crate::{
    node::NodeId,
    random::{Purpose, Random, exponential, stream},
    scenario::Scenario,
};

/// How many of its coins a wallet looks at when it pays.
const COINS_CONSIDERED: usize = 200;
/// The feerates that wallets offer, in grains per byte.
const FEERATES: std::ops::RangeInclusive<u64> = 1..=10;
/// The feerate of the payment that must be confirmed everywhere.
const PROBE_FEERATE: u64 = 20;
/// Every target here is met once in 32 tries or more; so many fail once in e^-2,000.
const MAX_NONCES: u32 = 65_536;

/// Which miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinerId(pub usize);

/// Which wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletId(pub usize);

/// Why somebody called a node: what to do with the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A miner wants a block to work on.
    Template(MinerId),
    /// A miner has found one.
    Block(MinerId),
    /// A wallet pays.
    Payment(Txid),
    /// A wallet makes the payment that must be confirmed everywhere.
    Probe(Txid),
    /// A wallet asks what became of a payment that is not confirmed and still could be.
    Inquiry(Txid),
    /// The world looks at a node from outside.
    Audit,
}

/// A payment, signed.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The node at which its wallet lives, and hands it in.
    pub node: NodeId,
    /// What is handed in.
    pub transaction: Arc<CheckedTransaction>,
}

/// Somebody with a key.
struct Wallet {
    home: NodeId,
    key: SecretKey,
    lock: Lock,
    /// Never offered twice, so that nobody here ever contradicts himself: what a reorganisation
    /// undoes is the nodes' to bring back.
    offered: BTreeSet<OutPoint>,
}

/// All miners and wallets.
pub struct People {
    random: Random,
    mining: Random,
    wallets: Vec<Wallet>,
    miners: Vec<(NodeId, Duration)>,
    blocks_tried: u64,
    payment_interval: Duration,
}

impl fmt::Debug for People {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("People")
            .field("wallets", &self.wallets.len())
            .field("miners", &self.miners)
            .finish_non_exhaustive()
    }
}

impl People {
    /// The people of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let mut random = stream(scenario.seed, Purpose::Wallets);
        let wallets = scenario
            .wallets
            .iter()
            .map(|home| {
                let key = SecretKey::from_bytes(&random.random());
                let lock = Lock::key(key.public_key());
                Wallet { home: *home, key, lock, offered: BTreeSet::new() }
            })
            .collect();
        let power: u32 = scenario.miners.iter().map(|miner| miner.weight).sum();
        let miners = scenario
            .miners
            .iter()
            .map(|miner| (miner.node, scenario.chain.block_interval * power / miner.weight))
            .collect();
        Self {
            random,
            mining: stream(scenario.seed, Purpose::Miners),
            wallets,
            miners,
            blocks_tried: 0,
            payment_interval: scenario.payment_interval,
        }
    }

    /// The locks of all wallets.
    pub fn locks(&self) -> Vec<Lock> {
        self.wallets.iter().map(|wallet| wallet.lock).collect()
    }

    /// All miners.
    pub fn miner_ids(&self) -> impl Iterator<Item = MinerId> + use<> {
        (0..self.miners.len()).map(MinerId)
    }

    /// All wallets.
    pub fn wallet_ids(&self) -> impl Iterator<Item = WalletId> + use<> {
        (0..self.wallets.len()).map(WalletId)
    }

    /// The time until a miner finds its next block. It does not depend on how long it has
    /// searched, nor on the difficulty: hash power is taken to follow it.
    pub fn time_to_block(&mut self, MinerId(miner): MinerId) -> Duration {
        let mean = self.miners.get(miner).map_or(Duration::MAX, |(_, mean)| *mean);
        exponential(&mut self.mining, mean)
    }

    /// The time until a wallet pays again.
    pub fn time_to_payment(&mut self) -> Duration {
        exponential(&mut self.random, self.payment_interval)
    }

    /// Where a miner asks for a template, and how: it pays some wallet, its own or another's.
    pub fn ask_template(&mut self, MinerId(miner): MinerId) -> Option<(NodeId, Call)> {
        let (node, _) = self.miners.get(miner)?;
        let pay_to = self.wallets.choose(&mut self.random)?.lock;
        self.blocks_tried += 1;
        let mut extra = Vec::new();
        (miner as u64).encode(&mut extra);
        self.blocks_tried.encode(&mut extra);
        Some((*node, Call::Template { pay_to, extra }))
    }

    /// A payment of `payer` to some wallet, in coins that `view` shows. `None`: it has none that
    /// it could offer.
    pub fn pay(
        &mut self,
        WalletId(payer): WalletId,
        view: &View,
        is_probe: bool,
    ) -> Result<Option<Payment>, QueryError> {
        let Some(payee) = self.wallets.choose(&mut self.random).map(|wallet| wallet.lock) else {
            return Ok(None);
        };
        let feerate = if is_probe { PROBE_FEERATE } else { self.random.random_range(FEERATES) };
        let Some(wallet) = self.wallets.get_mut(payer) else { return Ok(None) };
        wallet.pay(view, payee, feerate, &mut self.random)
    }

    /// The node at which a wallet lives.
    pub fn home(&self, WalletId(wallet): WalletId) -> Option<NodeId> {
        self.wallets.get(wallet).map(|wallet| wallet.home)
    }
}

impl Wallet {
    fn pay(
        &mut self,
        view: &View,
        payee: Lock,
        feerate: u64,
        random: &mut impl Rng,
    ) -> Result<Option<Payment>, QueryError> {
        let mut coins = view.lock_coins(&self.lock, None, COINS_CONSIDERED)?.items;
        let next_height = u64::from(view.tip().height) + 1;
        let maturity = u64::from(view.params().coinbase_maturity);
        coins.retain(|LocatedCoin { outpoint, coin }| {
            let matures = u64::from(coin.height) + maturity;
            !self.offered.contains(outpoint) && (!coin.is_coinbase || next_height >= matures)
        });
        let count = random.random_range(1..=3);
        let chosen: Vec<_> = coins.sample(random, count).cloned().collect();
        let Some(transaction) = self.build(view, &chosen, payee, feerate, random) else {
            return Ok(None);
        };
        self.offered.extend(chosen.iter().map(|coin| coin.outpoint));
        Ok(Some(Payment { node: self.home, transaction: Arc::new(transaction) }))
    }

    /// Pays a random part of the coins, with change. `None`: they do not cover the fee.
    fn build(
        &self,
        view: &View,
        coins: &[LocatedCoin],
        payee: Lock,
        feerate: u64,
        random: &mut impl Rng,
    ) -> Option<CheckedTransaction> {
        let spent: Vec<Output> = coins.iter().map(|coin| coin.coin.output).collect();
        let total = Amount::checked_sum(spent.iter().map(|output| output.value))?;
        let to = |lock, grains| Output { value: Amount::from_grains(grains), lock };
        let mut transaction = Transaction {
            not_before: 0,
            inputs: coins.iter().map(|coin| coin.outpoint).collect(),
            outputs: vec![to(payee, 1), to(self.lock, 1)],
            memo: Vec::new(),
            witnesses: vec![Witness::Key { signature: Signature::ZERO }],
        };
        // Neither amounts nor signatures change the size.
        let fee = Amount::from_grains(feerate * transaction.encoded_len() as u64);
        let rest = total.checked_sub(fee)?.grains();
        if rest < 2 {
            return None;
        }
        let paid = random.random_range(1..rest);
        transaction.outputs = vec![to(payee, paid), to(self.lock, rest - paid)];
        let digest = sighash(&view.params().chain_id, &transaction.txid(), &spent);
        transaction.witnesses = vec![Witness::Key { signature: self.key.sign(&digest) }];
        check_transaction(transaction).ok()
    }
}

/// Searches the nonce that makes a template a block.
pub fn solve(template: &Template) -> Option<Block> {
    let mut block = template.block.clone();
    let target = Target::from_bits(block.header.bits)?;
    block.header.nonce = (0..MAX_NONCES).find(|nonce| {
        block.header.nonce = *nonce;
        target.is_met_by(&block.header.id())
    })?;
    Some(block)
}
