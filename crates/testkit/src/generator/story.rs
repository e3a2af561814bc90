//! The life of one generated chain, from genesis to the last comparison.

use ashlar_ledger::{Settings, Store};
use ashlar_primitives::{
    Amount, Block, BlockId, Coin, Decode as _, Encode as _, Header, Lock, OutPoint, Output, Txid,
};
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};

use super::{
    Random,
    pair::{AMPLE_HEADERS, Difference, Open, Pair},
    spoil,
    tally::Tally,
    world::{World, finish, one_of},
};
use crate::model::Code;

/// Valid blocks that a chain has at least, on all branches.
const LEAST_BLOCKS: u64 = 40;
/// Forks that a chain has at least.
const LEAST_FORKS: u64 = 3;
/// A chain has a reorganisation deeper than this.
const DEEP: u32 = 5;
/// Things that happen before a chain may end.
const LEAST_CHAPTERS: u32 = 12;
/// Share of chains whose ledger has few headers in memory: it learns of some failures late.
const FORGETFUL: f64 = 0.25;
/// A chain that has not got what it needs by then never will.
const MOST_CHAPTERS: u32 = 400;

/// One life.
struct Story<'a, S: Store> {
    random: Random,
    world: World,
    pair: Pair<'a, S>,
    locks: Vec<Lock>,
    /// Written, but their bodies were held back.
    late: Vec<BlockId>,
    /// What the operator took away and may give back.
    taken_away: Vec<BlockId>,
    is_forgetful: bool,
    told: &'a mut Vec<String>,
}

/// Lives through a chain; `told` says what happened.
pub(super) fn live<S: Store>(
    mut random: Random,
    open: &mut Open<'_, S>,
    told: &mut Vec<String>,
) -> Result<Tally, Difference> {
    let world = World::draw(&mut random);
    told.push(format!("{:?}", world.params()));
    let is_forgetful = random.random_bool(FORGETFUL);
    let settings = draw_settings(&mut random, is_forgetful);
    told.push(format!("{settings:?}"));
    let batches = Random::from_rng(&mut random);
    let pair = Pair::new(world.genesis.clone(), settings, open, batches)?;
    let locks = world.wallet.locks();
    let (late, taken_away) = (Vec::new(), Vec::new());
    let mut story = Story { random, world, pair, locks, late, taken_away, is_forgetful, told };
    for chapter in 0..MOST_CHAPTERS {
        story.chapter()?;
        let locks = &story.locks;
        story.pair.ask(locks)?;
        if chapter >= LEAST_CHAPTERS && story.has_enough() {
            return story.end();
        }
    }
    Err("the chain never got its blocks, forks and reorganisation".into())
}

/// Small where a node's are large, so that every bound is met. A forgetful ledger may have to read
/// most headers from its store.
fn draw_settings(random: &mut Random, is_forgetful: bool) -> Settings {
    Settings {
        transaction_index: random.random_bool(0.7),
        lock_index: random.random_bool(0.7),
        step_bytes: one_of(random, &[0, 1, 300, 3_000, 32 << 20]),
        headers_in_memory: match is_forgetful {
            true => one_of(random, &[0, 1, 4, AMPLE_HEADERS]),
            false => AMPLE_HEADERS,
        },
        body_cache_bytes: one_of(random, &[0, 1_000, 64 << 20]),
        moved_body_bytes: one_of(random, &[0, 1_000, 32 << 20]),
        ..Settings::default()
    }
}

impl<S: Store> Story<'_, S> {
    fn one_in(&mut self, all: u32) -> bool {
        self.random.random_range(0..all) == 0
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.told.push(what.into());
    }

    fn now(&self) -> u64 {
        self.world.now_seconds
    }

    fn best(&self) -> BlockId {
        self.pair.model.best()
    }

    fn header(&self, id: &BlockId) -> Header {
        self.world.at(id).link.header
    }

    /// So many blocks below the tip, or genesis.
    fn ancestor(&self, depth: u32) -> BlockId {
        let depth = usize::try_from(depth).expect("32 bits");
        let mut down = self.pair.model.path_down(&self.pair.model.best());
        down.nth(depth).map_or(self.world.params().chain_id, |(id, _)| id)
    }

    // --- what happens

    fn chapter(&mut self) -> Result<(), Difference> {
        match self.random.random_range(0..20) {
            0..=4 => {
                let count = self.random.random_range(1..=5);
                self.tell(format!("{count} more blocks"));
                let branch = self.write_branch(self.best(), count);
                self.deliver(&branch)
            }
            5..=6 => self.side_branch(),
            7 => self.deep_branch(),
            8 => self.rotten_branch(),
            9..=12 => self.spoiled_blocks(),
            13 => self.before_its_time(),
            14 => self.operator(),
            15 => self.late_bodies(),
            16 | 17 => self.transactions(),
            18 => self.again(),
            _ => {
                let settings = draw_settings(&mut self.random, self.is_forgetful);
                self.tell(format!("restart with {settings:?}"));
                self.pair.restart(settings)
            }
        }
    }

    /// Valid children, one on the other; lowest first.
    fn write_branch(&mut self, from: BlockId, count: u32) -> Vec<BlockId> {
        let mut tip = from;
        let write = |_| {
            tip = self.world.write(&mut self.random, &tip);
            tip
        };
        (0..count).map(write).collect()
    }

    fn side_branch(&mut self) -> Result<(), Difference> {
        let depth = self.random.random_range(1..=6);
        let from = self.ancestor(depth);
        let count = self.random.random_range(1..=depth + 1);
        self.tell(format!("a branch of {count} blocks, {depth} below the tip"));
        let branch = self.write_branch(from, count);
        self.deliver(&branch)
    }

    /// A branch that leaves the tip further back than [`DEEP`] and gets more work.
    fn deep_branch(&mut self) -> Result<(), Difference> {
        let depth = self.random.random_range(DEEP + 1..=DEEP + 7);
        let branch = self.outweigh(self.ancestor(depth));
        self.tell(format!("a heavier branch of {} blocks, {depth} below the tip", branch.len()));
        self.deliver(&branch)
    }

    /// Valid blocks on `from`, as many as it takes to have more work than the tip; at least one.
    fn outweigh(&mut self, from: BlockId) -> Vec<BlockId> {
        let work = self.pair.model.work(&self.best()).clone();
        let mut branch = self.write_branch(from, 1);
        while self.world.at(&branch[branch.len() - 1]).link.work <= work {
            let tip = branch[branch.len() - 1];
            branch.extend(self.write_branch(tip, 1));
        }
        branch
    }

    /// A heavier branch with an invalid block in it.
    fn rotten_branch(&mut self) -> Result<(), Difference> {
        let depth = self.random.random_range(1..=8);
        let from = self.ancestor(depth);
        let sound = self.random.random_range(0..=depth);
        let mut branch = self.write_branch(from, sound);
        let below = branch.last().copied().unwrap_or(from);
        let bad = self.spoiled(&below);
        let id = self.world.adopt(&bad);
        if self.world.written.contains_key(&id) {
            branch.push(id);
            branch.extend(self.write_branch(id, depth + 2));
        }
        self.tell(format!("a branch with a bad block {sound} above its fork, {depth} deep: {id}"));
        self.deliver(&branch)
    }

    fn spoiled(&mut self, parent: &BlockId) -> Block {
        let draft = self.world.draft(&mut self.random, parent);
        self.world.now_seconds = self.now().max(draft.block.header.time.into());
        if self.one_in(40) {
            let mut block = draft.block;
            block.transactions.push(spoil::of_64_bytes());
            return finish(block);
        }
        spoil::spoiled(&mut self.random, &self.world, draft)
    }

    /// Blocks that are wrong in one place, on the tip; some twice, some with a child.
    fn spoiled_blocks(&mut self) -> Result<(), Difference> {
        for _ in 0..self.random.random_range(1..=3) {
            let block = self.spoiled(&self.best());
            let id = self.world.adopt(&block);
            self.tell(format!("a spoiled block {id}"));
            let (bytes, now) = (block.to_bytes(), self.now());
            if self.one_in(3) {
                self.pair.parts(&bytes, now)?;
                self.pair.settle()?;
            }
            self.pair.offer(&bytes, now)?;
            if self.one_in(3) {
                self.pair.offer(&bytes, now)?;
            }
            if self.world.written.contains_key(&id) && self.one_in(2) {
                let branch = self.write_branch(id, 2);
                self.deliver(&branch)?;
            }
        }
        Ok(())
    }

    /// A block whose time has not come, a child of it, and both again when it has.
    fn before_its_time(&mut self) -> Result<(), Difference> {
        let best = self.best();
        let mut block = self.world.draft(&mut self.random, &best).block;
        let ahead = self.world.params().max_future_seconds + self.random.random_range(0..3);
        let time = u32::try_from(self.now()).expect("before 2106") + ahead;
        block.header.time = block.header.time.max(time);
        let link = &self.world.at(&block.header.parent).link;
        block.header.bits =
            crate::model::difficulty::required_bits(self.world.params(), link, block.header.time);
        let block = finish(block);
        let id = self.world.adopt(&block);
        self.tell(format!("a block {ahead} s ahead: {id}"));
        let (bytes, now) = (block.to_bytes(), self.now());
        self.pair.offer(&bytes, now)?;
        let child = self.world.write(&mut self.random, &id);
        let bytes_of_child = self.world.at(&child).bytes.clone();
        self.pair.offer(&bytes_of_child, now)?;
        self.deliver(&[id, child])
    }

    fn operator(&mut self) -> Result<(), Difference> {
        if let Some(id) = self.taken_away.pop()
            && self.one_in(2)
        {
            self.tell(format!("given back: {id}"));
            return self.pair.reconsider(&id);
        }
        let known: Vec<BlockId> = self.pair.model.entries().map(|(id, _)| *id).collect();
        let depth = self.random.random_range(0..8);
        let id = if self.one_in(2) {
            known[self.random.random_range(0..known.len())]
        } else {
            self.ancestor(depth)
        };
        self.tell(format!("taken away: {id}"));
        self.pair.invalidate(&id)?;
        if self.one_in(2) {
            let branch = self.write_branch(self.best(), 2);
            self.deliver(&branch)?;
        }
        if self.one_in(3) {
            self.taken_away.push(id);
            return Ok(());
        }
        self.tell(format!("given back: {id}"));
        self.pair.reconsider(&id)
    }

    /// Headers now; bodies whenever, in any order, some much later. Their branches may become the
    /// best meanwhile.
    fn late_bodies(&mut self) -> Result<(), Difference> {
        self.late.shuffle(&mut self.random);
        let kept = self.random.random_range(0..=self.late.len());
        let come = self.late.split_off(kept);
        self.tell(format!("{} late bodies", come.len()));
        for id in &come {
            let (bytes, now) = (self.world.at(id).bytes.clone(), self.now());
            self.pair.offer(&bytes, now)?;
        }
        if let Some(id) = come.iter().max_by_key(|id| self.world.at(id).link.height)
            && self.random.random_bool(0.5)
        {
            let branch = self.outweigh(*id);
            self.tell(format!("  and {} blocks on {id}", branch.len()));
            self.deliver(&branch)?;
        }
        let (depth, count) = (self.random.random_range(0..6), self.random.random_range(1..=4));
        let from = self.ancestor(depth);
        let branch = self.write_branch(from, count);
        self.tell(format!("{count} headers, {depth} below the tip"));
        let now = self.now();
        for id in &branch {
            let header = self.header(id);
            self.pair.header(&header, now)?;
        }
        self.late.extend(branch);
        self.pair.settle()
    }

    /// Something that came before.
    fn again(&mut self) -> Result<(), Difference> {
        let written: Vec<BlockId> = self.world.written.keys().copied().collect();
        let id = written[self.random.random_range(0..written.len())];
        self.tell(format!("once more: {id}"));
        let (bytes, now) = (self.world.at(&id).bytes.clone(), self.now());
        self.pair.offer(&bytes, now)?;
        Ok(())
    }

    /// Transactions on their own, spoiled or not, out of the tip's coins and two more that no chain
    /// has: together they are worth more than there is.
    fn transactions(&mut self) -> Result<(), Difference> {
        let best = self.best();
        let draft = self.world.draft(&mut self.random, &best);
        let mut coins = self.pair.model.coins(&best).clone();
        for byte in [1, 2] {
            let lock = self.locks[self.random.random_range(0..8)];
            let output = Output { value: Amount::MAX_MONEY, lock };
            let outpoint = OutPoint { txid: Txid([byte; 32]), index: 0 };
            coins.insert(outpoint, Coin { output, height: 0, is_coinbase: false });
        }
        let Self { random, world, .. } = self;
        let single: Vec<_> = draft.block.transactions.clone();
        let spoiled = spoil::spoiled_payment(random, world, draft.height, &coins, &draft.block);
        for transaction in single.iter().chain(&spoiled) {
            let mut bytes = transaction.to_bytes();
            self.pair.transaction(&bytes, &coins)?;
            let place = self.random.random_range(0..bytes.len());
            bytes[place] ^= 1 << self.random.random_range(0..8);
            self.pair.transaction(&bytes, &coins)?;
        }
        let total = [1, 2].map(|byte| OutPoint { txid: Txid([byte; 32]), index: 0 });
        if let Some(mut rich) = spoiled.or_else(|| single.first().cloned()) {
            rich.inputs = total.to_vec();
            self.pair.transaction(&rich.to_bytes(), &coins)?;
        }
        Ok(())
    }

    // --- how it comes

    /// Brings a branch to both, in one of the ways in which blocks come.
    fn deliver(&mut self, branch: &[BlockId]) -> Result<(), Difference> {
        let now = self.now();
        match self.random.random_range(0..6) {
            0 | 1 => {
                self.tell("  in order");
                for id in branch {
                    self.deliver_one(id)?;
                }
            }
            2 | 3 => {
                let settles = self.one_in(2);
                self.tell(format!("  headers first, settled after each body: {settles}"));
                for id in branch {
                    let header = self.header(id);
                    self.pair.header(&header, now)?;
                }
                let mut bodies = branch.to_vec();
                bodies.shuffle(&mut self.random);
                for id in bodies {
                    let bytes = self.world.at(&id).bytes.clone();
                    self.pair.parts(&bytes, now)?;
                    if settles {
                        self.pair.settle()?;
                    }
                }
                self.pair.settle()?;
            }
            _ => {
                self.tell("  in any order, what has no parent again");
                let mut left = branch.to_vec();
                while !left.is_empty() {
                    left.shuffle(&mut self.random);
                    let before = left.len();
                    let mut orphans = Vec::new();
                    for id in left {
                        if self.deliver_one(&id)? == Some("unknown-parent") {
                            orphans.push(id);
                        }
                    }
                    if orphans.len() == before {
                        break;
                    }
                    left = orphans;
                }
            }
        }
        Ok(())
    }

    /// A block, now and then changed on the way before it comes as it is, or twice.
    fn deliver_one(&mut self, id: &BlockId) -> Result<Option<Code>, Difference> {
        let (bytes, now) = (self.world.at(id).bytes.clone(), self.now());
        if self.one_in(6)
            && let Ok(block) = Block::from_bytes(&bytes)
        {
            let Self { random, world, .. } = self;
            let mutated = spoil::mutated(random, world, &bytes, &block);
            self.pair.offer(&mutated, now)?;
        }
        let verdict = self.pair.offer(&bytes, now)?;
        if self.one_in(10) {
            self.pair.offer(&bytes, now)?;
        }
        Ok(verdict)
    }

    // --- how it ends

    fn has_enough(&self) -> bool {
        let (blocks, forks) = self.count();
        blocks >= LEAST_BLOCKS && forks >= LEAST_FORKS && self.pair.tally.deepest > DEEP
    }

    /// Valid blocks that came, and blocks with more than one such child.
    fn count(&self) -> (u64, u64) {
        let model = &self.pair.model;
        let is_here = |id: &BlockId| {
            let came = model.entry(id).is_some_and(|entry| entry.body.is_some());
            came && self.world.written.get(id).is_some_and(|written| written.is_valid)
        };
        let here = || model.entries().map(|(id, _)| *id).filter(is_here);
        let mut parents: Vec<BlockId> = here().map(|id| self.header(&id).parent).collect();
        parents.sort_unstable();
        let forks = parents.chunk_by(|a, b| a == b).filter(|children| children.len() > 1).count();
        (here().count() as u64, forks as u64)
    }

    /// Everything that was held back comes, everything taken away is given back, and all is asked.
    fn end(mut self) -> Result<Tally, Difference> {
        self.tell("the end");
        let failed: Vec<BlockId> = self.taken_away.drain(..).collect();
        for id in failed {
            self.pair.reconsider(&id)?;
        }
        for id in std::mem::take(&mut self.late) {
            self.deliver_one(&id)?;
        }
        let settings = Settings { headers_in_memory: AMPLE_HEADERS, ..Settings::default() };
        self.pair.restart(settings)?;
        self.pair.ask_everything(&self.locks)?;
        let (_, forks) = self.count();
        for (id, entry) in self.pair.model.entries() {
            if let Some(block) = entry.body.as_ref().filter(|_| self.world.at(id).is_valid) {
                self.pair.tally.block(block);
            }
        }
        let mut tally = self.pair.tally;
        tally.chains = 1;
        tally.forks = forks;
        tally.least_deepest = tally.deepest;
        Ok(tally)
    }
}
