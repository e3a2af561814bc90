//! Who uses the nodes: miners that find blocks, wallets that pay one another.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use ashlar_consensus::{CheckedTransaction, check_transaction};
use ashlar_engine::{Call, call::Template};
use ashlar_ledger::{View, view::QueryError};
use ashlar_primitives::{Block, Encode, Lock, OutPoint, Transaction, Txid, keys::SecretKey};
use rand::{RngExt, seq::IndexedRandom};

use crate::{
    craft,
    node::NodeId,
    purse::{Opening, Owned, openings, spend},
    random::{Purpose, Random, exponential, once_in, stream},
    scenario::Scenario,
};

/// How many coins of a lock a wallet looks at when it pays.
const COINS_CONSIDERED: usize = 40;
/// The feerates that wallets offer, in grains per byte.
const FEERATES: std::ops::RangeInclusive<u64> = 1..=10;
/// The feerate of the payment that must be confirmed everywhere.
const PROBE_FEERATE: u64 = 20;
/// A replacement offers so many times the feerate of what it replaces.
const REPLACEMENT_FACTOR: u64 = 3;
/// So many outputs are more bytes than are relayed, and fewer than a transaction may have.
const UNRELAYABLE_OUTPUTS: u64 = 1_700;
/// Outputs to itself that a wallet remembers before they are confirmed.
const MAX_CHANGE: usize = 10;

/// After a payment a rush begins once in so many times.
const RUSH_ONCE_IN: u32 = 40;
/// Payments of a rush, at most.
const MAX_RUSH: u32 = 60;
/// In a rush people pay so many times as often.
const RUSH_FACTOR: u32 = 30;
/// More transactions that spend from one another than may wait in a mempool together.
const LONG_CHAIN: usize = 65;

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
    /// Somebody hands in a transaction with something wrong.
    Clumsy(Txid),
    /// Somebody hands in more transactions that hang together than may.
    Chain,
    /// Somebody hands in a block with something wrong; the rule that it breaks by the model.
    Spoiled(Option<&'static str>),
}

/// A payment, signed.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The node at which its wallet lives, and hands it in.
    pub node: NodeId,
    /// What is handed in.
    pub transaction: Arc<CheckedTransaction>,
    /// Whether it spends a coin that had to have an age.
    pub is_aged: bool,
}

/// Somebody with a key.
struct Wallet {
    home: NodeId,
    /// Each lock that its key opens, and how.
    locks: Vec<(Lock, Opening)>,
    key: SecretKey,
    /// Offered once, and again only by whoever means to: what a reorganisation undoes is the
    /// nodes' to bring back.
    offered: BTreeSet<OutPoint>,
    /// Its own outputs of payments that may not be confirmed yet, oldest first.
    change: VecDeque<Owned>,
    /// The last payment: its coins and its feerate.
    last: Option<(Vec<Owned>, u64)>,
}

/// How somebody pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// With confirmed coins.
    Plain,
    /// With an output of an earlier payment, confirmed or not.
    Chained,
    /// With the coins of the last payment, for a higher fee.
    Replacing,
    /// Twice with the same coins, at two nodes.
    Twice,
}

/// All miners and wallets.
pub struct People {
    random: Random,
    mining: Random,
    wallets: Vec<Wallet>,
    miners: Vec<(NodeId, Duration)>,
    blocks_tried: u64,
    payment_interval: Duration,
    /// Payments that a rush still brings.
    rush: u32,
    nodes: usize,
    /// Coins that more than one transaction tries to spend: which of them wins is nobody's fault.
    pub contested: BTreeSet<OutPoint>,
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
                Wallet {
                    home: *home,
                    locks: openings(&key),
                    key,
                    offered: BTreeSet::new(),
                    change: VecDeque::new(),
                    last: None,
                }
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
            rush: 0,
            nodes: scenario.nodes,
            contested: BTreeSet::new(),
        }
    }

    /// The first lock of each wallet, which the genesis block pays.
    pub fn first_locks(&self) -> Vec<Lock> {
        let first = |wallet: &Wallet| wallet.locks.first().map(|(lock, _)| *lock);
        self.wallets.iter().filter_map(first).collect()
    }

    /// All locks of all wallets.
    pub fn locks(&self) -> Vec<Lock> {
        let locks = self.wallets.iter().flat_map(|wallet| &wallet.locks);
        locks.map(|(lock, _)| *lock).collect()
    }

    /// Some lock of some wallet.
    fn draw_lock(&mut self) -> Option<Lock> {
        let wallet = self.wallets.choose(&mut self.random)?;
        wallet.locks.choose(&mut self.random).map(|(lock, _)| *lock)
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

    /// The time until a wallet pays again: now and then all want to at once, more than blocks and
    /// small mempools hold.
    pub fn time_to_payment(&mut self) -> Duration {
        if self.rush == 0 && once_in(&mut self.random, RUSH_ONCE_IN) {
            self.rush = self.random.random_range(1..=MAX_RUSH);
        }
        let interval = match self.rush {
            0 => self.payment_interval,
            _ => self.payment_interval / RUSH_FACTOR,
        };
        self.rush = self.rush.saturating_sub(1);
        exponential(&mut self.random, interval)
    }

    /// Where a miner asks for a template, and how: it pays some wallet, its own or another's.
    pub fn ask_template(&mut self, MinerId(miner): MinerId) -> Option<(NodeId, Call)> {
        let (node, _) = *self.miners.get(miner)?;
        let pay_to = self.draw_lock()?;
        self.blocks_tried += 1;
        let mut extra = Vec::new();
        (miner as u64).encode(&mut extra);
        self.blocks_tried.encode(&mut extra);
        Some((node, Call::Template { pay_to, extra }))
    }

    /// What `payer` pays to some wallet now, in coins that `view` shows or that it made itself:
    /// nothing, one payment, or two that contradict one another.
    pub fn pay(
        &mut self,
        WalletId(payer): WalletId,
        view: &View,
        is_probe: bool,
    ) -> Result<Vec<Payment>, QueryError> {
        let (Some(payee), Some(other)) = (self.draw_lock(), self.draw_lock()) else {
            return Ok(Vec::new());
        };
        let random = &mut self.random;
        let style = match random.random_range(0..10) {
            _ if is_probe => Style::Plain,
            0 | 1 => Style::Chained,
            2 => Style::Replacing,
            3 => Style::Twice,
            _ => Style::Plain,
        };
        let feerate = if is_probe { PROBE_FEERATE } else { random.random_range(FEERATES) };
        let Some(wallet) = self.wallets.get_mut(payer) else { return Ok(Vec::new()) };
        let (coins, feerate) = match (style, &wallet.last) {
            (Style::Replacing, Some((coins, feerate))) => {
                (coins.clone(), *feerate * REPLACEMENT_FACTOR)
            }
            (Style::Chained, _) => (wallet.change.pop_back().into_iter().collect(), feerate),
            _ => (wallet.choose(view, &self.contested, random)?, feerate),
        };
        let mut payments = Vec::new();
        let chain_id = &view.params().chain_id;
        let mut make = |to, home, feerate, random: &mut Random| {
            let made = spend(chain_id, &wallet.key, &coins, (to, 1), feerate, random);
            let made = made.and_then(|transaction| check_transaction(transaction).ok());
            let is_aged = coins.iter().any(|coin| coin.is_aged);
            payments.extend(made.map(|it| Payment {
                node: home,
                transaction: Arc::new(it),
                is_aged,
            }));
        };
        make(payee, wallet.home, feerate, random);
        if style == Style::Twice {
            let elsewhere = NodeId(random.random_range(0..self.nodes));
            make(other, elsewhere, feerate, random);
        }
        if style == Style::Twice || style == Style::Replacing {
            self.contested.extend(coins.iter().map(|coin| coin.outpoint));
        }
        wallet.offered.extend(coins.iter().map(|coin| coin.outpoint));
        if let [payment] = payments.as_slice() {
            wallet.remember(&payment.transaction);
            wallet.last = Some((coins, feerate));
        }
        Ok(payments)
    }

    /// A transaction of some wallet with something wrong, for any node: a coin that is not ripe
    /// yet, or one of the other rules broken. `None`: it has no coins.
    pub fn blunder(
        &mut self,
        WalletId(wallet): WalletId,
        view: &View,
    ) -> Result<Option<Transaction>, QueryError> {
        let Some(payee) = self.draw_lock() else { return Ok(None) };
        let random = &mut self.random;
        let Some(wallet) = self.wallets.get_mut(wallet) else { return Ok(None) };
        let hasty = once_in(random, 3);
        // Wrong for the mempool alone: worth nothing, or too large to be relayed.
        let (worthless, outputs) = match random.random_range(0..8) {
            0 => (true, 1),
            1 => (false, UNRELAYABLE_OUTPUTS),
            _ => (false, 1),
        };
        let coins = match hasty {
            true => wallet.unripe(view)?,
            false => wallet.choose(view, &BTreeSet::new(), random)?,
        };
        let feerate = if worthless { 0 } else { random.random_range(FEERATES) * 3 };
        let to = (payee, outputs);
        let made = spend(&view.params().chain_id, &wallet.key, &coins, to, feerate, random);
        let Some(mut transaction) = made else { return Ok(None) };
        self.contested.extend(transaction.inputs.iter().copied());
        if !hasty && !worthless && outputs == 1 {
            craft::spoil_transaction(&mut transaction, view.tip().height + 1, random);
        }
        Ok(Some(transaction))
    }

    /// A chain of unconfirmed transactions, each of which spends the one before, and one more than
    /// may wait together; with the node of its wallet. `None`: the wallet has no coin for it.
    pub fn long_chain(
        &mut self,
        WalletId(wallet): WalletId,
        view: &View,
    ) -> Result<Option<Vec<Arc<CheckedTransaction>>>, QueryError> {
        let random = &mut self.random;
        let Some(wallet) = self.wallets.get_mut(wallet) else { return Ok(None) };
        let Some((own, opening)) = wallet.locks.first().cloned() else { return Ok(None) };
        let coins = wallet.choose(view, &self.contested, random)?;
        let Some(mut last) = coins.into_iter().max_by_key(|coin| coin.output.value) else {
            return Ok(None);
        };
        let mut chain = Vec::new();
        while chain.len() < LONG_CHAIN {
            self.contested.insert(last.outpoint);
            let coins = [last];
            let feerate = *FEERATES.end();
            let chain_id = &view.params().chain_id;
            let made = spend(chain_id, &wallet.key, &coins, (own, 1), feerate, random);
            let made = made.and_then(|transaction| check_transaction(transaction).ok());
            let Some(made) = made else { return Ok(None) };
            let outputs = (0..).zip(&made.transaction().outputs);
            let Some((index, output)) = outputs.max_by_key(|(_, output)| output.value) else {
                return Ok(None);
            };
            let outpoint = OutPoint { txid: made.txid(), index };
            let opening = opening.clone();
            last = Owned { outpoint, output: *output, opening, is_aged: false };
            chain.push(Arc::new(made));
        }
        Ok(Some(chain))
    }

    /// Some wallet, and some node.
    pub fn draw_clumsy(&mut self) -> (WalletId, NodeId) {
        let wallet = WalletId(self.random.random_range(0..self.wallets.len()));
        (wallet, NodeId(self.random.random_range(0..self.nodes)))
    }

    /// What a clumsy miner does to its block, where it is clumsy now.
    pub fn draw_flaw(&mut self) -> Option<craft::Flaw> {
        use craft::Flaw;
        let flaws = [Flaw::Header, Flaw::Coinbase, Flaw::Transaction];
        flaws.choose(&mut self.random).copied().filter(|_| once_in(&mut self.random, 5))
    }

    /// For what people draw beside their own affairs.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The node at which a wallet lives.
    pub fn home(&self, WalletId(wallet): WalletId) -> Option<NodeId> {
        self.wallets.get(wallet).map(|wallet| wallet.home)
    }
}

impl Wallet {
    /// Confirmed coins that it can spend in the next block, with their heights and the locks
    fn coins(&self, view: &View, is_ripe: bool) -> Result<Vec<(u32, Owned)>, QueryError> {
        let next_height = view.tip().height + 1;
        let maturity = u64::from(view.params().coinbase_maturity);
        let mut owned = Vec::new();
        for (lock, opening) in &self.locks {
            for at in view.lock_coins(lock, None, COINS_CONSIDERED)?.items {
                let coin = at.coin;
                let matures = match coin.is_coinbase {
                    true => u64::from(coin.height) + maturity,
                    false => 0,
                };
                let opens = u64::from(coin.height) + u64::from(opening.blocks());
                let is_right = match is_ripe {
                    true => u64::from(next_height) >= matures.max(opens),
                    false => u64::from(next_height) < matures && opens < matures,
                };
                if is_right && !self.offered.contains(&at.outpoint) {
                    let (outpoint, output) = (at.outpoint, coin.output);
                    let is_aged = coin.is_coinbase || opening.blocks() > 0;
                    let opening = opening.clone();
                    owned.push((coin.height, Owned { outpoint, output, opening, is_aged }));
                }
            }
        }
        Ok(owned)
    }

    fn choose(
        &self,
        view: &View,
        but: &BTreeSet<OutPoint>,
        random: &mut Random,
    ) -> Result<Vec<Owned>, QueryError> {
        let coins = self.coins(view, true)?.into_iter().map(|(_, coin)| coin);
        let mut coins: Vec<Owned> = coins.collect();
        coins.retain(|coin| !but.contains(&coin.outpoint));
        let count = random.random_range(1..=3);
        Ok(coins.sample(random, count).cloned().collect())
    }

    /// The coinbase coin that lacks least of its age: one block, where there is such a one.
    fn unripe(&self, view: &View) -> Result<Vec<Owned>, QueryError> {
        let oldest = self.coins(view, false)?.into_iter().min_by_key(|(height, _)| *height);
        Ok(oldest.into_iter().map(|(_, coin)| coin).collect())
    }

    /// Its outputs of a payment can be spent at once where no age is asked of them.
    fn remember(&mut self, transaction: &CheckedTransaction) {
        let txid = transaction.txid();
        for (index, output) in (0..).zip(&transaction.transaction().outputs) {
            let own = self.locks.iter().find(|(lock, _)| *lock == output.lock);
            if let Some((_, opening)) = own.filter(|(_, opening)| opening.blocks() == 0) {
                let outpoint = OutPoint { txid, index };
                self.offered.insert(outpoint);
                let opening = opening.clone();
                self.change.push_back(Owned { outpoint, output: *output, opening, is_aged: false });
            }
        }
        // What is forgotten can be found again once it is confirmed.
        while self.change.len() > MAX_CHANGE
            && let Some(forgotten) = self.change.pop_front()
        {
            self.offered.remove(&forgotten.outpoint);
        }
    }
}

/// Searches the nonce that makes a template a block.
pub fn solve(template: &Template) -> Option<Block> {
    let mut block = template.block.clone();
    block.header = craft::solve(block.header, true)?;
    Some(block)
}
