//! Random lives of a pool against a model that is slow and obvious: a map of transactions, and
//! every question answered by looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

use ashlar_consensus::{Params, judge_transaction};
use ashlar_mempool::{Entry, FLOOR_HALF_LIFE_MS, Limits, Refusal};
use ashlar_primitives::{Coin, Lock, OutPoint, Output, Txid};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::world::{Draft, Owner, Spend, Tx, World};

const STEPS: usize = 250;

/// The pool as anybody would write it down.
#[derive(Clone, Default)]
struct Model {
    waiting: BTreeMap<Txid, (Tx, u64)>,
    priorities: BTreeMap<Txid, i64>,
}

/// What the model knows of the chain.
struct Chain<'a> {
    params: &'a Params,
    coins: &'a BTreeMap<OutPoint, Coin>,
    next_height: u32,
}

impl<'a> Chain<'a> {
    fn of(world: &'a World) -> Self {
        let next_height = world.tip().next_height;
        Self { params: &world.params, coins: &world.coins, next_height }
    }
}

impl Model {
    fn inputs(tx: &Tx) -> BTreeSet<OutPoint> {
        tx.transaction().inputs.iter().copied().collect()
    }

    fn fee(&self, chain: &Chain<'_>, tx: &Tx) -> Result<u64, &'static str> {
        let coins: Vec<Option<Coin>> = tx
            .transaction()
            .inputs
            .iter()
            .map(|input| match self.waiting.get(&input.txid) {
                Some((parent, _)) => parent
                    .coins(chain.next_height)
                    .find(|(outpoint, _)| outpoint == input)
                    .map(|(_, coin)| coin),
                None => chain.coins.get(input).copied(),
            })
            .collect();
        judge_transaction(chain.params, chain.next_height, tx, &coins)
            .map(|judged| judged.fee.grains())
            .map_err(|error| error.code())
    }

    /// A fee with the operator's priority.
    fn weighed(&self, txid: &Txid, fee: u64) -> u64 {
        fee.saturating_add_signed(self.priorities.get(txid).copied().unwrap_or(0))
    }

    fn parents(&self, tx: &Tx) -> BTreeSet<Txid> {
        let makers = tx.transaction().inputs.iter().map(|input| input.txid);
        makers.filter(|maker| self.waiting.contains_key(maker)).collect()
    }

    fn children(&self, txid: &Txid) -> BTreeSet<Txid> {
        let spends = |tx: &Tx| tx.transaction().inputs.iter().any(|input| input.txid == *txid);
        let all = self.waiting.iter();
        all.filter(|(_, (tx, _))| spends(tx)).map(|(txid, _)| *txid).collect()
    }

    fn closure(start: BTreeSet<Txid>, next: impl Fn(&Txid) -> BTreeSet<Txid>) -> BTreeSet<Txid> {
        let mut found = start;
        loop {
            let more: BTreeSet<Txid> = found.iter().flat_map(&next).collect();
            let before = found.len();
            found.extend(more);
            if found.len() == before {
                return found;
            }
        }
    }

    fn ancestors(&self, txid: &Txid) -> BTreeSet<Txid> {
        Self::closure([*txid].into(), |txid| self.parents(&self.waiting[txid].0))
    }

    fn descendants(&self, start: BTreeSet<Txid>) -> BTreeSet<Txid> {
        Self::closure(start, |txid| self.children(txid))
    }

    fn cluster(&self, txid: &Txid) -> BTreeSet<Txid> {
        Self::closure([*txid].into(), |txid| {
            &self.parents(&self.waiting[txid].0) | &self.children(txid)
        })
    }

    /// PROTOCOL.md §13, sentence by sentence. Returns what is replaced.
    fn accept(
        &mut self,
        chain: &Chain<'_>,
        limits: &Limits,
        tx: &Tx,
        confirmed: bool,
    ) -> Result<BTreeSet<Txid>, &'static str> {
        let fee = match self.fee(chain, tx) {
            Err("tx-missing-input") if confirmed => Err("tx-already-confirmed"),
            judged => judged,
        }?;
        let size = u64::from(tx.size_bytes());
        if self.waiting.contains_key(&tx.txid()) {
            return Err("tx-already-known");
        }
        if confirmed {
            return Err("tx-already-confirmed");
        }
        if tx.size_bytes() > limits.max_relay_bytes {
            return Err("tx-not-relayable");
        }
        let counts_for = self.weighed(&tx.txid(), fee);
        if counts_for < size {
            return Err("tx-fee-too-low");
        }
        let replaced = self.replaced(limits, tx, counts_for, size).ok_or("tx-conflict")?;
        let mut after = self.clone();
        after.waiting.retain(|txid, _| !replaced.contains(txid));
        after.waiting.insert(tx.txid(), (tx.clone(), fee));
        let cluster = after.cluster(&tx.txid());
        let bytes: usize =
            cluster.iter().map(|txid| after.waiting[txid].0.size_bytes() as usize).sum();
        if cluster.len() > limits.max_cluster_transactions || bytes > limits.max_cluster_bytes {
            return Err("tx-cluster-too-large");
        }
        *self = after;
        Ok(replaced)
    }

    fn replaced(&self, limits: &Limits, tx: &Tx, fee: u64, size: u64) -> Option<BTreeSet<Txid>> {
        let inputs = Self::inputs(tx);
        let direct: BTreeSet<Txid> = self
            .waiting
            .iter()
            .filter(|(_, (other, _))| !Self::inputs(other).is_disjoint(&inputs))
            .map(|(txid, _)| *txid)
            .collect();
        if direct.is_empty() {
            return Some(direct);
        }
        // Beats the feerate of each.
        let beats = direct.iter().all(|txid| {
            let (other, other_fee) = &self.waiting[txid];
            let other_fee = self.weighed(txid, *other_fee);
            u128::from(fee) * u128::from(other.size_bytes())
                > u128::from(other_fee) * u128::from(size)
        });
        // Spends no unconfirmed output that they did not, nor one that goes.
        let theirs: BTreeSet<OutPoint> =
            direct.iter().flat_map(|txid| Self::inputs(&self.waiting[txid].0)).collect();
        let gone = self.descendants(direct);
        let nothing_new = inputs.iter().all(|input| {
            !self.waiting.contains_key(&input.txid)
                || (theirs.contains(input) && !gone.contains(&input.txid))
        });
        // Pays for all that goes and for itself.
        let theirs = gone.iter().map(|txid| self.weighed(txid, self.waiting[txid].1));
        let pays = fee >= theirs.sum::<u64>() + size;
        let few = gone.len() <= limits.max_evicted_by_replacement;
        (beats && nothing_new && pays && few).then_some(gone)
    }

    /// Drops what can't be confirmed any more, until nothing changes.
    fn settle(&mut self, chain: &Chain<'_>) {
        loop {
            let bad: Vec<Txid> = self
                .waiting
                .iter()
                .filter(|(_, (tx, _))| self.fee(chain, tx).is_err())
                .map(|(txid, _)| *txid)
                .collect();
            if bad.is_empty() {
                return;
            }
            for txid in bad {
                self.waiting.remove(&txid);
            }
        }
    }

    /// A priority lasts until its transaction is confirmed.
    fn confirm(&mut self, confirmed: &BTreeSet<Txid>) {
        self.remove(confirmed);
        self.priorities.retain(|txid, _| !confirmed.contains(txid));
    }

    fn remove(&mut self, gone: &BTreeSet<Txid>) {
        self.waiting.retain(|txid, _| !gone.contains(txid));
    }

    fn assert_is(&self, world: &World) {
        let pool = &world.pool;
        let fees: BTreeMap<Txid, u64> =
            pool.iter().map(|entry| (entry.transaction.txid(), entry.fee.grains())).collect();
        assert_eq!(fees, self.waiting.iter().map(|(txid, (_, fee))| (*txid, *fee)).collect());
        assert_eq!(pool.priorities(), &self.priorities);
        assert!(pool.chunk_feerates().is_sorted_by(|a, b| a >= b), "best first");
        assert_eq!(pool.len(), self.waiting.len());
        assert_eq!(pool.is_empty(), self.waiting.is_empty());
        assert_eq!(pool.total_fee().grains(), fees.values().sum::<u64>());
        let entries: Vec<&Entry> = pool.iter().collect();
        let size: usize = entries.iter().map(|e| e.transaction.size_bytes() as usize).sum();
        assert_eq!(pool.size_bytes(), size);
        let memory: usize = entries.iter().map(|entry| entry.memory_bytes()).sum();
        assert_eq!(pool.memory_bytes(), memory);
        assert!(memory <= pool.limits().max_bytes);
        let mut spent = BTreeSet::new();
        let chain = Chain::of(world);
        for entry in entries {
            let tx = &entry.transaction;
            let txid = tx.txid();
            assert_eq!(self.fee(&chain, tx), Ok(entry.fee.grains()), "valid on the present tip");
            for input in Self::inputs(tx) {
                assert!(spent.insert(input), "no two spend the same");
                assert_eq!(pool.spender(&input).unwrap().transaction.txid(), txid);
            }
            assert_eq!(pool.get_by_wtxid(&tx.wtxid()).unwrap().transaction.txid(), txid);
            assert_eq!(pool.parents(tx), self.parents(tx));
            assert_eq!(pool.children(&txid).collect::<BTreeSet<_>>(), self.children(&txid));
            let (ancestors, descendants) = (self.ancestors(&txid), self.descendants([txid].into()));
            assert_eq!(entry.ancestor_count, ancestors.len());
            assert_eq!(entry.descendant_count, descendants.len());
            assert_eq!(entry.weighed_fee().grains(), self.weighed(&txid, entry.fee.grains()));
            let with_itself = |kin: Vec<&Entry>| -> BTreeSet<Txid> {
                kin.iter().map(|kin| kin.transaction.txid()).chain([txid]).collect()
            };
            assert_eq!(with_itself(pool.ancestors(&txid)), ancestors);
            assert_eq!(with_itself(pool.descendants(&txid)), descendants);
            let cluster = self.cluster(&txid);
            assert!(cluster.len() <= pool.limits().max_cluster_transactions);
            let bytes: usize =
                cluster.iter().map(|txid| self.waiting[txid].0.size_bytes() as usize).sum();
            assert!(bytes <= pool.limits().max_cluster_bytes);
        }
        let mut seen = BTreeSet::new();
        for entry in pool.best_first() {
            assert!(self.parents(&entry.transaction).is_subset(&seen), "parents first");
            assert!(seen.insert(entry.transaction.txid()), "each once");
        }
        assert_eq!(seen.len(), self.waiting.len());
        let pages: Vec<u64> = pool.entered_after(0).map(|entry| entry.sequence).collect();
        assert!(pages.len() == seen.len() && pages.is_sorted());
    }
}

fn owners() -> Vec<(Lock, Owner)> {
    let after = (98..130).step_by(4).map(Owner::After);
    let older = [0, 1, 3].map(Owner::Older);
    let all = [Owner::Anyone, Owner::TwoWays].into_iter().chain(older).chain(after);
    all.map(|owner| (owner.lock(), owner)).collect()
}

/// One world, its model, and the dice.
struct Life {
    rng: StdRng,
    world: World,
    model: Model,
    owners: Vec<(Lock, Owner)>,
    /// All that was ever built: what comes again, and what conflicts.
    made: Vec<Tx>,
    codes: BTreeMap<&'static str, usize>,
}

impl Life {
    fn new(seed: u64, max_bytes: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let limits = Limits {
            max_bytes,
            max_cluster_transactions: *pick(&mut rng, &[3, 8, 64]),
            max_cluster_bytes: *pick(&mut rng, &[1_500, 100_000]),
            max_evicted_by_replacement: *pick(&mut rng, &[2, 5, 64]),
            max_relay_bytes: 900,
            expiry_ms: 100_000,
            ..Limits::default()
        };
        let mut world = World::new(limits);
        for n in 0..30 {
            let owner = if n % 5 == 0 { Owner::TwoWays } else { Owner::Anyone };
            world.coin_of(50_000, owner, n % 7 == 0);
        }
        let model = Model::default();
        Self { rng, world, model, owners: owners(), made: Vec::new(), codes: BTreeMap::new() }
    }

    fn spend(&self, outpoint: OutPoint, lock: Lock) -> Spend {
        let known = self.owners.iter().find(|(other, _)| *other == lock);
        (outpoint, known.map_or(Owner::Anyone, |(_, owner)| *owner))
    }

    /// Something to spend: what waiting transactions make, the chain's coins, what a waiting
    /// transaction spends already, or an output of long ago.
    fn any_spend(&mut self) -> (Spend, u64) {
        let waiting = self.model.waiting.values().map(|(tx, _)| tx);
        let mut outputs: Vec<(OutPoint, Output)> = match self.rng.random_range(0..100) {
            0..50 => waiting
                .flat_map(|tx| tx.coins(0))
                .filter(|(outpoint, _)| self.world.pool.spender(outpoint).is_none())
                .map(|(outpoint, coin)| (outpoint, coin.output))
                .collect(),
            50..60 => {
                let all: BTreeMap<OutPoint, Output> = waiting
                    .flat_map(|tx| tx.coins(0))
                    .chain(self.world.coins.iter().map(|(outpoint, coin)| (*outpoint, *coin)))
                    .map(|(outpoint, coin)| (outpoint, coin.output))
                    .collect();
                let spent = |outpoint: &OutPoint| self.world.pool.spender(outpoint).is_some();
                all.into_iter().filter(|(outpoint, _)| spent(outpoint)).collect()
            }
            60..65 => {
                let made = self.made.iter().flat_map(|tx| tx.coins(0));
                made.map(|(outpoint, coin)| (outpoint, coin.output)).collect()
            }
            _ => Vec::new(),
        };
        if outputs.is_empty() {
            let coins = self.world.coins.iter();
            outputs = coins.map(|(outpoint, coin)| (*outpoint, coin.output)).collect();
        }
        let (outpoint, output) = *pick(&mut self.rng, &outputs);
        (self.spend(outpoint, output.lock), output.value.grains())
    }

    fn draft(&mut self) -> Tx {
        if !self.made.is_empty() && self.rng.random_bool(0.05) {
            let made = self.made.clone();
            return pick(&mut self.rng, &made).clone();
        }
        let mut inputs: BTreeMap<OutPoint, (Owner, u64)> = BTreeMap::new();
        for _ in 0..*pick(&mut self.rng, &[1, 1, 1, 2, 3]) {
            let ((outpoint, owner), value) = self.any_spend();
            inputs.insert(outpoint, (owner, value));
        }
        let available: u64 = inputs.values().map(|(_, value)| value).sum();
        let fee = match self.rng.random_range(0..20) {
            0 => self.rng.random_range(0..150),
            1 => 0,
            2..8 => self.rng.random_range(100..10_000),
            _ => self.rng.random_range(100..1_000),
        };
        let count = *pick(&mut self.rng, &[1, 1, 2, 2, 3, 20]);
        let each = (available.saturating_sub(fee) / count).max(1);
        let height = self.world.height();
        let owner = |rng: &mut StdRng, owners: &[(Lock, Owner)]| match rng.random_range(0..6) {
            0 => pick(rng, owners).1,
            _ => Owner::Anyone,
        };
        let outputs: Vec<(u64, Owner)> =
            (0..count).map(|_| (each, owner(&mut self.rng, &self.owners))).collect();
        let tx = Draft {
            inputs: inputs.into_iter().map(|(outpoint, (owner, _))| (outpoint, owner)).collect(),
            outputs,
            not_before: match self.rng.random_range(0..8) {
                0 => self.rng.random_range(height - 2..height + 4),
                _ => 0,
            },
            memo: vec![7; self.rng.random_range(0..100)],
            second_way: self.rng.random_bool(0.5),
        }
        .build();
        self.made.push(tx.clone());
        tx
    }

    fn submit(&mut self) {
        let tx = self.draft();
        let confirmed = self.world.confirmed(&tx);
        let limits = self.world.pool.limits().clone();
        let mut model = self.model.clone();
        let expected = model.accept(&Chain::of(&self.world), &limits, &tx, confirmed);
        let answer = self.world.accept(&tx);
        let code = match (&expected, &answer) {
            (Ok(replaced), Ok(accepted)) => {
                let removed: BTreeSet<Txid> = accepted.removed.iter().map(|tx| tx.txid()).collect();
                assert!(removed.is_superset(replaced));
                let pushed_out = &removed - replaced;
                assert_eq!(model.descendants(pushed_out.clone()), pushed_out);
                assert!(!pushed_out.contains(&tx.txid()));
                model.remove(&pushed_out);
                self.model = model;
                if !pushed_out.is_empty() {
                    "pushed out"
                } else if !replaced.is_empty() {
                    "replaced"
                } else {
                    "accepted"
                }
            }
            (expected, Err(refusal)) => {
                if refusal.code() != "tx-mempool-full" {
                    assert_eq!(expected, &Err(refusal.code()));
                }
                refusal.code()
            }
            (expected, answer) => panic!("{expected:?}, but {answer:?}"),
        };
        *self.codes.entry(code).or_default() += 1;
    }

    /// Some of the pool's selection, perhaps with something in conflict with the pool before it.
    fn block(&mut self) -> Vec<Tx> {
        let max_bytes = self.rng.random_range(0..4_000);
        let mut selected: Vec<Tx> =
            self.world.pool.select(max_bytes).iter().map(|e| e.transaction.clone()).collect();
        if self.rng.random_bool(0.4) {
            let spent =
                |txs: &[Tx]| -> BTreeSet<OutPoint> { txs.iter().flat_map(Model::inputs).collect() };
            let coins: Vec<_> = self
                .world
                .coins
                .iter()
                .filter(|(outpoint, _)| !spent(&selected).contains(*outpoint))
                .map(|(outpoint, coin)| (*outpoint, *coin))
                .collect();
            let (outpoint, coin) = *pick(&mut self.rng, &coins);
            let spend = self.spend(outpoint, coin.output.lock);
            let rival = Draft::new(&[spend], &[(coin.output.value.grains(), Owner::Anyone)])
                .memo(&self.made.len().to_le_bytes())
                .build();
            let chain = Chain::of(&self.world);
            if Model::default().fee(&chain, &rival).is_ok() {
                self.made.push(rival.clone());
                selected.insert(0, rival);
            }
        }
        selected
    }

    fn mine(&mut self) {
        let block = self.block();
        let before: BTreeSet<Txid> = self.model.waiting.keys().copied().collect();
        let confirmed = block.iter().map(|tx| tx.txid()).collect();
        let removed = self.world.mine(&block);
        self.model.confirm(&confirmed);
        self.model.settle(&Chain::of(&self.world));
        let after: BTreeSet<Txid> = self.model.waiting.keys().copied().collect();
        let expected = &(&before - &after) - &confirmed;
        assert_eq!(removed.iter().map(|tx| tx.txid()).collect::<BTreeSet<_>>(), expected);
    }

    fn reorganise(&mut self) {
        let depth = self.rng.random_range(1..=4.min(self.world.history_len()));
        let length = self.rng.random_range(0..=depth + 1);
        // A few of what the pool or the old branch holds, in blocks that connect in any case: each
        // transaction alone, from coins that the fork has.
        let mut blocks = vec![Vec::new(); length];
        let mut spent = BTreeSet::new();
        let candidates = self.world.coins_below_the_last(depth);
        for block in &mut blocks {
            for tx in self.made.iter().rev().take(40) {
                let inputs = Model::inputs(tx);
                let chain = Chain {
                    params: &self.world.params,
                    coins: &candidates,
                    next_height: self.world.height() + 1 - depth as u32,
                };
                if self.rng.random_bool(0.1)
                    && inputs.is_disjoint(&spent)
                    && Model::default().fee(&chain, tx).is_ok()
                {
                    spent.extend(inputs);
                    block.push(tx.clone());
                }
            }
        }
        let confirmed: BTreeSet<Txid> = blocks.iter().flatten().map(|tx| tx.txid()).collect();
        let done = self.world.reorganise(depth, &blocks);
        self.model.confirm(&confirmed);
        let chain = Chain::of(&self.world);
        self.model.settle(&chain);
        assert_eq!(done.kept, self.model.waiting.keys().copied().collect());
        let limits = self.world.pool.limits().clone();
        let mut refused = Vec::new();
        for tx in &done.resubmitted {
            let confirmed = self.world.confirmed(tx);
            if let Err(code) = self.model.accept(&chain, &limits, tx, confirmed) {
                refused.push((tx.txid(), code));
            }
        }
        assert_eq!(done.refused, refused);
        *self.codes.entry("reorganised").or_default() += 1;
    }

    /// Of something that waits, or of what may come again.
    fn prioritise(&mut self) {
        let made = self.made.clone();
        let txid = pick(&mut self.rng, &made).txid();
        let delta = self.rng.random_range(-2_000..2_000);
        let sum = self.world.pool.prioritise(txid, delta).unwrap();
        let expected = self.model.priorities.get(&txid).copied().unwrap_or(0) + delta;
        assert_eq!(sum, expected);
        match sum {
            0 => self.model.priorities.remove(&txid),
            _ => self.model.priorities.insert(txid, sum),
        };
        *self.codes.entry("prioritised").or_default() += 1;
    }

    fn step(&mut self) {
        self.world.now_ms += self.rng.random_range(0..2_000);
        let before = (self.world.pool.sequence(), self.ids());
        match self.rng.random_range(0..100) {
            0..80 => self.submit(),
            80..90 => self.mine(),
            96..98 if !self.made.is_empty() => self.prioritise(),
            90..94 if self.world.history_len() > 0 => self.reorganise(),
            94..96 if !self.model.waiting.is_empty() => {
                let all: Vec<Txid> = self.ids().into_iter().collect();
                let txid = *pick(&mut self.rng, &all);
                let gone = self.model.descendants([txid].into());
                let removed = self.world.pool.remove(&txid);
                assert_eq!(removed.iter().map(|tx| tx.txid()).collect::<BTreeSet<_>>(), gone);
                self.model.remove(&gone);
            }
            _ => {
                let limit = self.world.pool.limits().expiry_ms;
                let now = self.world.now_ms;
                let entries = self.world.pool.iter();
                let old = entries.filter(|entry| now - entry.entered_ms > limit);
                let old = old.map(|entry| entry.transaction.txid()).collect();
                let gone = self.model.descendants(old);
                let removed = self.world.pool.expire(now);
                assert_eq!(removed.iter().map(|tx| tx.txid()).collect::<BTreeSet<_>>(), gone);
                self.model.remove(&gone);
            }
        }
        self.model.assert_is(&self.world);
        let max_bytes = self.rng.random_range(0..20_000);
        self.world.assert_template_connects(max_bytes);
        let after = (self.world.pool.sequence(), self.ids());
        assert!(after.0 > before.0 || after == before, "every change is told");
    }

    fn ids(&self) -> BTreeSet<Txid> {
        self.model.waiting.keys().copied().collect()
    }
}

fn pick<'a, T>(rng: &mut StdRng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

#[test]
fn the_pool_lives_like_the_model() {
    let mut codes: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in 0..30 {
        let mut life = Life::new(seed, usize::MAX);
        for _ in 0..STEPS {
            life.step();
        }
        for (code, count) in life.codes {
            *codes.entry(code).or_default() += count;
        }
    }
    // The dice must have tried everything, or the test above says little.
    for code in [
        "accepted",
        "replaced",
        "prioritised",
        "reorganised",
        "tx-not-yet-valid",
        "tx-missing-input",
        "tx-immature-coinbase",
        "tx-bad-witness",
        "tx-already-known",
        "tx-already-confirmed",
        "tx-not-relayable",
        "tx-fee-too-low",
        "tx-conflict",
        "tx-cluster-too-large",
    ] {
        assert!(codes.get(code).is_some_and(|count| *count >= 10), "{code}: {codes:?}");
    }
    assert!(!codes.contains_key("tx-mempool-full"));
}

#[test]
fn the_pool_lives_like_the_model_in_little_room() {
    let mut codes: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in 100..120 {
        let mut life = Life::new(seed, 20_000);
        for _ in 0..STEPS {
            // Reorganisations are left to the test above: what returns may find no room.
            life.world.now_ms += life.rng.random_range(0..FLOOR_HALF_LIFE_MS / 2);
            if life.rng.random_bool(0.95) {
                life.submit();
            } else {
                life.mine();
            }
            life.model.assert_is(&life.world);
            life.world.assert_template_connects(5_000);
        }
        for (code, count) in life.codes {
            *codes.entry(code).or_default() += count;
        }
    }
    for code in ["accepted", "replaced", "pushed out", "tx-mempool-full"] {
        assert!(codes.get(code).is_some_and(|count| *count >= 50), "{code}: {codes:?}");
    }
}

#[test]
fn the_same_life_twice_is_the_same() {
    let run = || {
        let mut life = Life::new(7, 30_000);
        for _ in 0..STEPS {
            life.world.now_ms += 1;
            life.submit();
        }
        let order: Vec<Txid> =
            life.world.pool.best_first().map(|entry| entry.transaction.txid()).collect();
        (order, life.world.pool.sequence(), life.codes)
    };
    let (first, second) = (run(), run());
    assert!(!first.0.is_empty());
    assert_eq!(first, second);
}

#[test]
fn refusals_of_both_kinds_show_their_codes() {
    let mut life = Life::new(3, usize::MAX);
    let (mut invalid, mut policy) = (0, 0);
    for _ in 0..STEPS {
        let tx = life.draft();
        match life.world.accept(&tx) {
            Err(Refusal::Invalid(error)) => {
                assert!(error.code().starts_with("tx-") && !error.is_permanent());
                invalid += 1;
            }
            Err(Refusal::Policy(_)) => policy += 1,
            Ok(_) => {}
        }
    }
    assert!(invalid > 0 && policy > 0);
}
