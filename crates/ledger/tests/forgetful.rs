//! A ledger that keeps few headers in memory forgets nothing that matters: what happened to a
//! branch while it was away reaches it when it comes back.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use ashlar_ledger::{BodyStored, Ledger, MemoryStore, Settings};
use ashlar_primitives::{Amount, BlockId};
use ashlar_testkit::builder::{Chain, Plan, genesis_with};
use common::*;
use serde_json::json;

fn forgetful() -> Settings {
    Settings { headers_in_memory: 1, ..Settings::default() }
}

fn header(ledger: &mut Ledger<MemoryStore>, chain: &Chain, id: &BlockId) {
    ledger.accept_header(chain.block(id).header(), NOW).unwrap().unwrap();
}

fn body(ledger: &mut Ledger<MemoryStore>, chain: &Chain, id: &BlockId) {
    let stored = ledger.store_body(Arc::clone(chain.block(id))).unwrap();
    assert_eq!(stored, BodyStored::New);
    settle(ledger);
}

/// A light side branch that has headers alone, and what would make it the heaviest.
struct Gap {
    chain: Chain,
    main: BlockId,
    low: BlockId,
    high: BlockId,
    heavier: BlockId,
}

impl Gap {
    fn new() -> Self {
        let mut chain = rich_chain();
        let genesis = chain.genesis_id();
        let main = chain.extend_by(&genesis, 8);
        let low = chain.extend_by(&genesis, 1);
        let high = chain.extend_by(&low, 1);
        let heavier = chain.extend_by(&high, 10);
        Self { chain, main, low, high, heavier }
    }

    fn open(&self, store: &Arc<MemoryStore>) -> Ledger<MemoryStore> {
        let mut ledger = open(store, &self.chain, &forgetful());
        header(&mut ledger, &self.chain, &self.low);
        header(&mut ledger, &self.chain, &self.high);
        ledger
    }

    fn offer_heavier(&self, ledger: &mut Ledger<MemoryStore>) {
        for block in &self.chain.branch(&self.heavier)[2..] {
            offer(ledger, block);
        }
    }
}

/// The bodies of a light side branch come child first, with blocks of the best chain between them,
/// so that the child is out of memory when its parent's body closes the gap. The branch is whole
/// all the same, and wins once it is heavier.
#[test]
fn a_gap_that_was_closed_far_below_the_tip_is_closed() {
    for restarts in [false, true] {
        let gap = Gap::new();
        let Gap { chain, main, low, high, heavier } = &gap;
        let store = Arc::new(MemoryStore::new());
        let mut ledger = gap.open(&store);
        let mut blocks = chain.branch(main).into_iter();
        let mut grow = |ledger: &mut Ledger<MemoryStore>| {
            for block in blocks.by_ref().take(4) {
                offer(ledger, &block);
            }
        };
        grow(&mut ledger);
        body(&mut ledger, chain, high);
        grow(&mut ledger);
        body(&mut ledger, chain, low);
        assert_view(&ledger, chain, main);
        if restarts {
            ledger.flush().unwrap();
            drop(ledger);
            ledger = open(&store, chain, &forgetful());
        }
        gap.offer_heavier(&mut ledger);
        assert_view(&ledger, chain, heavier);
    }
}

/// The tip of a long branch is in memory and what lies below it is not; taken away and given back,
/// all of it is.
#[test]
fn an_operators_choice_reaches_all_that_descends_from_a_block() {
    let mut chain = rich_chain();
    let genesis = chain.genesis_id();
    let root = chain.extend_by(&genesis, 1);
    let fork = chain.extend_by(&root, 2);
    let bad =
        chain.spoiled(&fork, Plan::default(), |block| block.coinbase.utxo_commitment.0[0] ^= 1);
    let bad = chain.adopt_unjudged(bad).id();
    let above = chain.extend_unjudged(&bad);
    let main = chain.extend_by(&genesis, 9);

    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &forgetful());
    offer_branch(&mut ledger, &chain, &fork);
    offer(&mut ledger, chain.block(&bad));
    assert_eq!(ledger.failed_code(&bad).unwrap(), Some("bad-utxo-commitment"));
    offer_branch(&mut ledger, &chain, &main);
    // The failed block comes back into memory alone, with a child.
    ledger.accept_header(chain.block(&above).header(), NOW).unwrap().unwrap_err();
    settle(&mut ledger);

    ledger.invalidate(&root).unwrap();
    for id in [&root, &fork] {
        assert_eq!(ledger.failed_code(id).unwrap(), Some("invalidated"));
    }
    ledger.reconsider(&root).unwrap();
    for id in [&root, &fork, &bad, &above] {
        assert_eq!(ledger.failed_code(id).unwrap(), None);
    }
    settle(&mut ledger);
    assert_view(&ledger, &chain, &main);
}

/// The same with the body that closes the gap last of all: what waits for it is partly in memory,
/// with a hole below.
#[test]
fn a_body_that_closes_a_gap_far_below_reaches_all_that_waits_for_it() {
    let gap = Gap::new();
    let Gap { chain, main, low, high, heavier } = &gap;
    let mut ledger = gap.open(&Arc::new(MemoryStore::new()));
    body(&mut ledger, chain, high);
    offer_branch(&mut ledger, chain, main);
    gap.offer_heavier(&mut ledger);
    assert_view(&ledger, chain, main);
    body(&mut ledger, chain, low);
    assert_view(&ledger, chain, heavier);
}

/// An empty child that comes so many seconds after its parent.
fn child(chain: &mut Chain, parent: &BlockId, seconds: u32) -> BlockId {
    let time = Some(chain.state(parent).header.clock + seconds);
    chain.extend(parent, Plan { claim: Some(Amount::ZERO), time, ..Plan::default() }).id()
}

/// Under the tip lies a long chain of light blocks, beside it a short branch of heavy ones, far
/// below what is in memory. When the operator takes the tip away, the short branch is the best.
#[test]
fn what_is_best_without_the_tip_is_found_far_below_it() {
    for restarts in [false, true] {
        let moving = [("difficulty_half_life", json!(10)), ("initial_subsidy", json!(0))];
        let mut chain = Chain::new(genesis_with(&[], &moving));
        let genesis = chain.genesis_id();
        let heavy = (0..5).fold(genesis, |tip, _| child(&mut chain, &tip, 1));
        let mut tip = (0..10).fold(genesis, |tip, _| child(&mut chain, &tip, 20));
        while chain.state(&tip).header.work <= chain.state(&heavy).header.work {
            tip = child(&mut chain, &tip, 20);
        }

        let store = Arc::new(MemoryStore::new());
        let mut ledger = open(&store, &chain, &forgetful());
        offer_branch(&mut ledger, &chain, &heavy);
        offer_branch(&mut ledger, &chain, &tip);
        assert_eq!(ledger.view().tip().id, tip);
        ledger.invalidate(&tip).unwrap();
        if restarts {
            ledger.flush().unwrap();
            drop(ledger);
            ledger = open(&store, &chain, &forgetful());
        }
        settle(&mut ledger);
        assert_eq!(ledger.view().tip().id, heavy);
    }
}

/// A step that may hold nothing ends all the same, also where headers lead far ahead.
#[test]
fn a_step_of_no_bytes_is_not_written_for_ever() {
    let mut chain = rich_chain();
    let genesis = chain.genesis_id();
    let tip = chain.extend_by(&genesis, 30);
    let settings = Settings { step_bytes: 0, ..Settings::default() };
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &settings);
    for block in chain.branch(&tip) {
        header(&mut ledger, &chain, &block.id());
    }
    settle(&mut ledger);
    assert_view(&ledger, &chain, &genesis);
    offer_branch(&mut ledger, &chain, &tip);
    assert_view(&ledger, &chain, &tip);
}
