//! How fast blocks connect, by how many coins there are: far more than the database's cache holds,
//! each block spending at random among all of them.

use std::{collections::BTreeSet, sync::Arc};

use ashlar_consensus::{Genesis, SpentCoins};
use ashlar_ledger::{RocksOptions, Store};
use ashlar_primitives::{Coin, Lock, OutPoint, Txid};
use ashlar_testkit::builder::{self, Spend};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use crate::{
    Outcome,
    drive::{self, Driver, Trust},
    maker::{Made, Maker, fund, genesis_text},
    nodes,
    parts::Bench,
    plot::{Curve, Plot},
    report::{Figure, Row},
    timing::median_of,
};

use super::push_curves;

const PART: &str = "growth-coins";

/// Coins that one transaction makes: it stays under the largest size.
const FAN_OUT: u64 = 2_400;
/// What each of them is worth: over the fee of a payment.
const GRAINS: u64 = 10_000;
const FEE_GRAINS: u64 = 200;
/// Blocks that only make coins are as large as any chain has them.
const MAX_BLOCK_BYTES: u32 = 32_000_000;
/// Transactions in each of those: 100 kB each.
const WIDE_PER_BLOCK: usize = 300;
/// All keys are one: nobody looks at signatures here, they were known before.
const KEY: u64 = 0;

/// A chain with as many coins as asked for, any of which can be found by its number.
struct Field {
    maker: Maker,
    lock: Lock,
    /// What is still to be fanned out.
    wide: Vec<(OutPoint, Coin)>,
    /// Each with [`FAN_OUT`] coins.
    made: Vec<(Txid, u32)>,
    spent: BTreeSet<u64>,
    random: ChaCha12Rng,
}

impl Field {
    fn new(seed: u64, coins: u64) -> Outcome<(Self, Vec<Made>)> {
        let wide = usize::try_from(coins.div_ceil(FAN_OUT))?;
        let grains = FAN_OUT * GRAINS + FEE_GRAINS;
        let genesis = Genesis::parse(&genesis_text(wide, grains, MAX_BLOCK_BYTES))?;
        let mut maker = Maker::new(genesis);
        let lock = builder::lock(KEY);
        let (blocks, wide) = fund(&mut maker, &vec![lock; wide], grains);
        let random = ChaCha12Rng::seed_from_u64(seed);
        Ok((Self { maker, lock, wide, made: Vec::new(), spent: BTreeSet::new(), random }, blocks))
    }

    /// How many there are: each payment spent one and made two.
    fn coins(&self) -> u64 {
        self.made.len() as u64 * FAN_OUT + self.spent.len() as u64
    }

    /// A block that makes coins, up to `most` in all.
    fn widen(&mut self, most: u64) -> Made {
        let missing = most.saturating_sub(self.coins()).div_ceil(FAN_OUT);
        let count = usize::try_from(missing).unwrap_or(usize::MAX).min(WIDE_PER_BLOCK);
        let chain_id = self.maker.params().chain_id;
        let key = builder::key(KEY);
        let mut spent = Vec::new();
        let mut transactions = Vec::new();
        for (outpoint, coin) in self.wide.drain(..count.min(self.wide.len())) {
            spent.push((outpoint, coin));
            let outputs = vec![builder::output(self.lock, GRAINS); FAN_OUT as usize];
            let inputs = vec![(outpoint, coin.output)];
            let spend = Spend { inputs, outputs, ..Spend::default() };
            transactions.push(spend.sign(&chain_id, &[&key]));
        }
        let made =
            self.maker.grow(transactions, &SpentCoins { coins: spent.into_iter().collect() });
        let height = made.block.height();
        self.made.extend(made.block.transactions().iter().map(|wide| (wide.txid(), height)));
        made
    }

    /// A block of payments, each of a coin anywhere.
    fn payments(&mut self, count: usize) -> Made {
        let chain_id = self.maker.params().chain_id;
        let key = builder::key(KEY);
        let mut spent = Vec::new();
        let mut transactions = Vec::new();
        while transactions.len() < count {
            let number = self.random.random_range(0..self.made.len() as u64 * FAN_OUT);
            if !self.spent.insert(number) {
                continue;
            }
            let (txid, height) = self.made[(number / FAN_OUT) as usize];
            let outpoint = OutPoint { txid, index: (number % FAN_OUT) as u16 };
            let output = builder::output(self.lock, GRAINS);
            spent.push((outpoint, Coin { output, height, is_coinbase: false }));
            let half = (GRAINS - FEE_GRAINS) / 2;
            let outputs = vec![builder::output(self.lock, half); 2];
            let spend = Spend { inputs: vec![(outpoint, output)], outputs, ..Spend::default() };
            transactions.push(spend.sign(&chain_id, &[&key]));
        }
        self.maker.grow(transactions, &SpentCoins { coins: spent.into_iter().collect() })
    }
}

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let (counts, blocks) = (bench.scale.growth_coins.clone(), bench.scale.growth_blocks);
    let per_block = bench.scale.payments_per_block;
    let most = counts.iter().copied().max().unwrap_or(1);
    let spent = (blocks * per_block * bench.scale.repeats * counts.len()) as u64;
    if counts.iter().any(|count| *count < 2 * spent) {
        return Err(format!("{spent} coins are spent: there must be twice as many").into());
    }
    let scratch = bench.scratch()?;
    let store = drive::store(scratch.path())?;
    let (mut field, lead) = Field::new(bench.seed, most)?;
    let settings = drive::settings(false);
    let mut driver =
        Driver::open(Arc::clone(&store), field.maker.genesis(), settings, Trust::Mempool)?;
    connect(&mut driver, lead)?;
    let mut points = Vec::new();
    for count in counts {
        eprintln!("{PART}: making {count} coins");
        while field.coins() < count {
            let made = field.widen(count);
            connect(&mut driver, vec![made])?;
        }
        // What was just made is in tables, not in the memory of the writer.
        store.reclaim()?;
        let mut rates = Vec::new();
        for _ in 0..bench.scale.repeats {
            let made = (0..blocks).map(|_| field.payments(per_block)).collect();
            let time = connect(&mut driver, made)?;
            rates.push((blocks * per_block) as f64 / time);
        }
        points.push((count as f64, median_of(rates.into_iter())));
        // All else that this process holds is small beside the database's cache.
        let (resident, _) = nodes::memory(std::process::id())?;
        let what = format!("{count} coins: resident memory of the process that connects");
        let figure = Figure::new(resident as f64 / f64::from(1 << 20), "MiB");
        bench.report.push(Row::new(PART, what, figure));
    }
    let cache = RocksOptions::default().cache_bytes >> 20;
    let title = format!("Connecting, signatures known, {cache} MiB of cache for the database");
    let curves = vec![Curve { name: "payments".to_owned(), points }];
    let plot = Plot { name: "coins", title, x: "coins", y: "payments/s", curves };
    push_curves(bench, PART, "payments/s", plot);
    Ok(())
}

/// Seconds.
fn connect<S: Store>(driver: &mut Driver<S>, made: Vec<Made>) -> Outcome<f64> {
    let blocks: Vec<_> = made.into_iter().map(|made| made.block).collect();
    Ok(driver.connect(&blocks)?.wall.as_secs_f64())
}
