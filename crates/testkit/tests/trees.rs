//! Every tree of up to six blocks, in every order in which they can come: the ledger ends on the
//! branch with the most work, between equals on the one that was whole first (PROTOCOL.md §5).

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, sync::Arc, thread};

use ashlar_consensus::{CheckedBlock, Genesis, Work};
use ashlar_ledger::{Ledger, MemoryStore, Offered, Settings};
use ashlar_primitives::{Amount, BlockId};
use ashlar_testkit::builder::{Chain, Plan, genesis, genesis_with};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

const MOST_BLOCKS: usize = 6;

/// A tree: the parent of each block but genesis. 0 is genesis, block `i + 1` stands on `parents[i]`.
type Shape = Vec<usize>;

/// The same text for two trees exactly where one becomes the other by renaming blocks.
fn canonical(shape: &Shape, block: usize) -> String {
    let children = (0..shape.len()).filter(|child| shape[*child] == block);
    let mut below: Vec<String> = children.map(|child| canonical(shape, child + 1)).collect();
    below.sort();
    format!("({})", below.concat())
}

/// Every tree of so many blocks above genesis, once.
fn shapes(blocks: usize) -> Vec<Shape> {
    let mut assignments = vec![Shape::new()];
    for block in 0..blocks {
        let longer = assignments.iter().flat_map(|shape| {
            (0..=block).map(|parent| shape.iter().copied().chain([parent]).collect())
        });
        assignments = longer.collect();
    }
    let mut seen = BTreeSet::new();
    assignments.retain(|shape| seen.insert(canonical(shape, 0)));
    assignments
}

/// Every order of so many things.
fn orders(of: usize) -> Vec<Vec<usize>> {
    let Some(last) = of.checked_sub(1) else { return vec![Vec::new()] };
    let insert = |order: Vec<usize>| {
        (0..of).map(move |place| {
            let mut order = order.clone();
            order.insert(place, last);
            order
        })
    };
    orders(last).into_iter().flat_map(insert).collect()
}

/// What each block of a tree weighs.
#[derive(Clone, Copy)]
enum Weights {
    /// All the same, so that branches are often equal.
    Equal,
    /// A block that follows its parent at once doubles the work of what stands on it; which ones do
    /// is drawn, so that short branches win over long ones.
    Drawn(u64),
}

/// The blocks of a tree and the work up to each; genesis stands first.
struct Blocks {
    genesis: Genesis,
    blocks: Vec<Arc<CheckedBlock>>,
    works: Vec<Work>,
    ids: Vec<BlockId>,
}

fn blocks(shape: &Shape, weights: Weights) -> Blocks {
    let moving = [("difficulty_half_life", json!(10)), ("initial_subsidy", json!(0))];
    let (genesis, mut random) = match weights {
        Weights::Equal => (genesis(&[]), None),
        Weights::Drawn(seed) => {
            (genesis_with(&[], &moving), Some(rand_chacha::ChaCha8Rng::seed_from_u64(seed)))
        }
    };
    let mut chain = Chain::new(genesis.clone());
    let mut ids = vec![chain.genesis_id()];
    for parent in shape {
        let parent = ids[*parent];
        let mut plan = Plan { claim: Some(Amount::ZERO), ..Plan::default() };
        if let Some(random) = &mut random {
            let seconds = if random.random_bool(0.5) { 1 } else { 20 };
            plan.time = Some(chain.state(&parent).header.clock + seconds);
        }
        ids.push(chain.extend(&parent, plan).id());
    }
    Blocks {
        genesis,
        blocks: ids[1..].iter().map(|id| Arc::clone(chain.block(id))).collect(),
        works: ids.iter().map(|id| chain.state(id).header.work).collect(),
        ids,
    }
}

/// The tip that must stand after an arrival: the one before, unless something whole has more work.
struct Expected<'a> {
    shape: &'a Shape,
    blocks: &'a Blocks,
    came: BTreeSet<usize>,
    tip: usize,
}

impl Expected<'_> {
    fn is_whole(&self, block: usize) -> bool {
        block == 0 || (self.came.contains(&block) && self.is_whole(self.shape[block - 1]))
    }

    fn check(&mut self, arrived: usize, tip: BlockId, order: &[usize]) {
        self.came.insert(arrived);
        let works = &self.blocks.works;
        let whole: Vec<usize> =
            (0..self.blocks.ids.len()).filter(|block| self.is_whole(*block)).collect();
        let most = whole.iter().map(|block| works[*block]).max().unwrap();
        let is_expected = |block: &usize| match works[self.tip] == most {
            true => *block == self.tip,
            // Of blocks that became whole at one moment none was first.
            false => works[*block] == most,
        };
        let found =
            whole.iter().find(|block| self.blocks.ids[**block] == tip && is_expected(block));
        let found = found.unwrap_or_else(|| {
            panic!("{:?} in order {order:?}, block {arrived} came: tip {tip}", self.shape)
        });
        self.tip = *found;
    }
}

/// One order of arrival; the block that is the tip at its end. With `headers_first` bodies come in
/// that order, else whole blocks do, and what has no parent yet comes again once that has come.
fn arrive(shape: &Shape, blocks: &Blocks, order: &[usize], headers_first: bool) -> usize {
    let store = Arc::new(MemoryStore::new());
    let mut ledger = Ledger::open(store, &blocks.genesis, Settings::default()).unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let now = u64::from(u32::MAX);
    let mut expected = Expected { shape, blocks, came: BTreeSet::new(), tip: 0 };
    if headers_first {
        for block in &blocks.blocks {
            ledger.accept_header(block.header(), now).unwrap().unwrap();
        }
        for place in order {
            ledger.store_body(Arc::clone(&blocks.blocks[*place])).unwrap();
            ledger.settle_down(&mut random).unwrap();
            expected.check(place + 1, ledger.view().tip().id, order);
        }
        return expected.tip;
    }
    let mut waiting: Vec<usize> = Vec::new();
    for place in order {
        waiting.push(*place);
        let mut next = 0;
        while let Some(place) = waiting.get(next).copied() {
            let bytes = blocks.blocks[place].to_bytes();
            match ledger.offer(&bytes, now, &mut random).unwrap() {
                Offered::Refused { code } => {
                    assert_eq!(code, "unknown-parent");
                    next += 1;
                }
                _ => {
                    expected.check(place + 1, ledger.view().tip().id, order);
                    waiting.remove(next);
                    next = 0;
                }
            }
        }
    }
    assert!(waiting.is_empty(), "{shape:?} in order {order:?}");
    expected.tip
}

/// All orders of one tree; how many there were.
fn all_orders(shape: &Shape, weights: Weights, headers_first: bool) -> usize {
    let blocks = blocks(shape, weights);
    let most = *blocks.works.iter().max().unwrap();
    let best: Vec<usize> =
        (0..blocks.ids.len()).filter(|block| blocks.works[*block] == most).collect();
    let orders = orders(shape.len());
    for order in &orders {
        let tip = arrive(shape, &blocks, order, headers_first);
        assert!(best.contains(&tip), "{shape:?} in order {order:?}");
    }
    orders.len()
}

#[test]
fn every_tree_of_six_blocks_in_every_order_ends_on_the_same_tip() {
    let trees: Vec<Shape> = (1..=MOST_BLOCKS).flat_map(shapes).collect();
    // Rooted trees of 2 to 7 nodes.
    assert_eq!(trees.len(), 1 + 2 + 4 + 9 + 20 + 48);
    let half = |first: usize| {
        let mut runs = 0;
        for (number, shape) in trees.iter().enumerate().skip(first).step_by(2) {
            let drawn = Weights::Drawn(number as u64);
            runs += all_orders(shape, Weights::Equal, true);
            runs += all_orders(shape, drawn, true);
            runs += all_orders(shape, drawn, false);
        }
        runs
    };
    let runs = thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        half(0) + other.join().unwrap()
    });
    println!("{} trees, {runs} orders of arrival", trees.len());
    assert_eq!(runs, 3 * (1 + 2 * 2 + 4 * 6 + 9 * 24 + 20 * 120 + 48 * 720));
}
