//! What the mempool's operations cost, by how much waits in it.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::{CheckedTransaction, check_transaction, verify_transactions};
use ashlar_mempool::{Limits, Mempool, Tip};
use ashlar_primitives::{Coin, Lock, OutPoint, Signature, Transaction, Txid, Witness};
use ashlar_testkit::builder;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use crate::{
    Outcome,
    parts::Bench,
    plot::{Curve, Plot},
    report::Row,
    timing::Watch,
};

use super::push_curves;

const PART: &str = "growth-mempool";

/// Operations of each kind that are timed together.
const OPERATIONS: usize = 1_000;
/// Bytes that are selected for a block: as many payments whatever waits.
const SELECTED_BYTES: usize = 100_000;
/// What a payment brings.
const GRAINS: u64 = 1_000_000;
/// What an operation may cost at the largest size beside the smallest: the growth of the logarithm,
/// so many times for caches that only the smaller pool fits.
const CACHES: f64 = 3.0;

/// A mempool of payments between strangers, and the coins that they spend.
#[derive(Debug)]
pub struct Pool {
    pool: Mempool,
    tip: Tip,
    random: ChaCha12Rng,
    lock: Lock,
    now_ms: u64,
}

/// A payment that waits nowhere yet.
#[derive(Debug)]
pub struct Newcomer {
    transaction: Arc<CheckedTransaction>,
    chain: BTreeMap<OutPoint, Coin>,
}

impl Pool {
    /// An empty one.
    pub fn new(seed: u64) -> Self {
        let params = Arc::new(builder::genesis(&[(builder::lock(0), GRAINS)]).params().clone());
        let tip = Tip { id: params.chain_id, next_height: 2 };
        let limits = Limits { max_bytes: usize::MAX, ..Limits::default() };
        let pool = Mempool::new(params, limits);
        let (random, lock) = (ChaCha12Rng::seed_from_u64(seed), builder::lock(0));
        Self { pool, tip, random, lock, now_ms: 0 }
    }

    /// Payments at random feerates. Nobody looks at their signatures here.
    pub fn newcomers(&mut self, count: usize) -> Outcome<Vec<Newcomer>> {
        let newcomer = |_| {
            let outpoint = OutPoint { txid: Txid(self.random.random()), index: 0 };
            let output = builder::output(self.lock, GRAINS);
            let fee = self.random.random_range(1_000..100_000);
            let transaction = check_transaction(Transaction {
                not_before: 0,
                inputs: vec![outpoint],
                outputs: vec![builder::output(self.lock, GRAINS - fee)],
                memo: Vec::new(),
                witnesses: vec![Witness::Key { signature: Signature([0; 64]) }],
            })?;
            let coin = Coin { output, height: 1, is_coinbase: false };
            Ok(Newcomer { transaction: Arc::new(transaction), chain: [(outpoint, coin)].into() })
        };
        (0..count).map(newcomer).collect()
    }

    /// Takes them in.
    pub fn accept(&mut self, newcomers: &[Newcomer]) -> Outcome<()> {
        for Newcomer { transaction, chain } in newcomers {
            let nothing = [(transaction.wtxid(), Vec::new())];
            let verified = verify_transactions(&nothing, &mut self.random);
            let verified = verified.into_iter().next().ok_or("no verdict")?;
            let verified = verified.map_err(|place| format!("a bad signature at {place:?}"))?;
            let transaction = Arc::clone(transaction);
            self.now_ms += 1;
            self.pool.accept(&self.tip, transaction, &verified, chain, false, self.now_ms)?;
        }
        Ok(())
    }

    fn select(&self) -> usize {
        self.pool.select(SELECTED_BYTES).len()
    }

    fn remove(&mut self, newcomers: &[Newcomer]) {
        for newcomer in newcomers {
            self.pool.remove(&newcomer.transaction.txid());
        }
        drop(self.pool.take_departures());
    }
}

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let mut pool = Pool::new(bench.seed);
    let sizes = bench.scale.growth_mempool.clone();
    let curve = |name: &str| Curve { name: name.to_owned(), points: Vec::new() };
    let mut curves = ["accept", "select a payment", "remove"].map(curve);
    for size in sizes {
        eprintln!("{PART}: {size} waiting");
        let missing = pool.newcomers(size.saturating_sub(pool.pool.len()))?;
        pool.accept(&missing)?;
        let each = OPERATIONS.min(size);
        // The best of a few: what else the machine does only ever adds.
        let mut best = [f64::MAX; 3];
        for _ in 0..bench.scale.repeats {
            let newcomers = pool.newcomers(each)?;
            let watch = Watch::start();
            pool.accept(&newcomers)?;
            let accepted = per(&watch, each);
            let watch = Watch::start();
            let selected = std::hint::black_box(pool.select());
            let selecting = per(&watch, selected.max(1));
            let watch = Watch::start();
            pool.remove(&newcomers);
            let times = [accepted, selecting, per(&watch, each)];
            for (best, time) in best.iter_mut().zip(times) {
                *best = best.min(time);
            }
        }
        for (curve, time) in curves.iter_mut().zip(best) {
            curve.points.push((size as f64, time));
        }
    }
    let title = "Mempool: processor time of an operation".to_owned();
    let plot = Plot { name: "mempool", title, x: "waiting", y: "µs", curves: curves.into() };
    let before = bench.report.rows.len();
    push_curves(bench, PART, "µs", plot);
    if bench.scale.is_judged {
        judge(&mut bench.report.rows[before..], &bench.scale.growth_mempool);
    }
    Ok(())
}

/// No worse than logarithmic, at each curve's end.
fn judge(rows: &mut [Row], sizes: &[usize]) {
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else { return };
    let logarithms = (*last as f64).ln() / (*first as f64).ln();
    for rows in rows.chunks_mut(sizes.len()) {
        if let Some(row) = rows.last_mut() {
            // To one digit, as it stands in the table.
            row.at_most = Some((CACHES * logarithms * 10.0).round() / 10.0);
        }
    }
}

/// Microseconds of processor time for each.
fn per(watch: &Watch, operations: usize) -> f64 {
    watch.taken().processor.as_secs_f64() * 1e6 / operations as f64
}
