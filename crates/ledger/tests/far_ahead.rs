//! Headers far ahead of their blocks: most of them stay on disk, and all that the ledger says and
//! does is as if they were in memory.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{collections::BTreeSet, sync::Arc};

use ashlar_ledger::{BodyStored, HeaderRefusal, Ledger, MemoryStore, Settings, view::TipStatus};
use ashlar_primitives::BlockId;
use ashlar_testkit::builder::{Chain, Plan};
use common::*;

/// Of the best branch's end.
const HELD: u32 = 100;
/// Twice as many as come into memory with the blocks that are next.
const LENGTH: usize = 9_000;
/// What may be in memory: blocks that are next, the end, and what came since memory was tidied.
const MOST_HELD: usize = 4_096 + 2_000 + 2_048;

fn settings() -> Settings {
    Settings { headers_in_memory: HELD, ..Settings::default() }
}

/// A ledger that has heard of all headers of a branch, in order.
fn heard(chain: &Chain, tip: &BlockId) -> (Arc<MemoryStore>, Ledger<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, chain, &settings());
    for block in chain.branch(tip) {
        ledger.accept_header(block.header(), NOW).unwrap().unwrap();
        assert!(ledger.headers_held() <= MOST_HELD);
    }
    (store, ledger)
}

fn reopened(
    store: &Arc<MemoryStore>,
    chain: &Chain,
    mut ledger: Ledger<MemoryStore>,
) -> Ledger<MemoryStore> {
    ledger.flush().unwrap();
    drop(ledger);
    let ledger = open(store, chain, &settings());
    assert!(ledger.headers_held() <= MOST_HELD, "{}", ledger.headers_held());
    ledger
}

fn body(ledger: &mut Ledger<MemoryStore>, chain: &Chain, id: &BlockId) {
    let stored = ledger.store_body(Arc::clone(chain.block(id))).unwrap();
    assert_eq!(stored, BodyStored::New, "{}", chain.block(id).height());
    settle(ledger);
}

/// Of a branch from above genesis, those of these heights.
fn at(branch: &[BlockId], heights: impl IntoIterator<Item = usize>) -> Vec<(u32, BlockId)> {
    heights.into_iter().map(|height| (height as u32, branch[height - 1])).collect()
}

fn ids(chain: &Chain, tip: &BlockId) -> Vec<BlockId> {
    chain.branch(tip).iter().map(|block| block.id()).collect()
}

#[test]
fn a_chain_is_followed_that_is_mostly_on_disk() {
    let mut chain = rich_chain();
    let genesis = chain.genesis_id();
    let tip = chain.extend_by(&genesis, LENGTH);
    let way = ids(&chain, &tip);
    let fork = way[4_999];
    let side = chain.extend_by(&fork, 2);

    let (store, mut ledger) = heard(&chain, &tip);
    for block in &chain.branch(&side)[5_000..] {
        ledger.accept_header(block.header(), NOW).unwrap().unwrap();
    }
    for restarts in [false, true] {
        if restarts {
            ledger = reopened(&store, &chain, ledger);
        }
        assert_eq!(ledger.best_header().id, tip);
        assert_eq!(ledger.wanted_bodies(1_024).unwrap(), at(&way, 1..=1_024));
        assert_eq!(ledger.wanted_bodies_towards(&side, 9).unwrap(), at(&way, 1..=9));
        for (block, ancestor, is_descendant) in
            [(tip, way[6_789], true), (tip, side, false), (side, fork, true), (side, tip, false)]
        {
            assert_eq!(ledger.is_descendant(&block, &ancestor).unwrap(), is_descendant);
        }
        // The newest ones follow each other; then the gaps double.
        let locator = ledger.locator(&tip).unwrap();
        assert!(locator[..11].iter().eq(way.iter().rev().take(11)));
        assert_eq!(locator[11..14], [way[LENGTH - 13], way[LENGTH - 17], way[LENGTH - 25]]);
        assert_eq!(*locator.last().unwrap(), genesis);
        // What readers are told of branches is of what is stored.
        ledger.flush().unwrap();
    }
    // Bodies come in any order: the next ones but for the first, some far up, the end.
    for height in (2..=10).chain([3_000, 6_000, LENGTH]) {
        body(&mut ledger, &chain, &way[height - 1]);
    }
    ledger = reopened(&store, &chain, ledger);
    assert_view(&ledger, &chain, &genesis);
    let tips = ledger.view().chain_tips().unwrap();
    let of = |id| tips.iter().find(|tip| tip.id == id).unwrap();
    assert_eq!((of(tip).branch_len, of(tip).status), (LENGTH as u32, TipStatus::HeadersOnly));
    assert_eq!((of(side).branch_len, of(side).status), (5_002, TipStatus::HeadersOnly));

    body(&mut ledger, &chain, &way[0]);
    assert_eq!(ledger.view().tip().id, way[9]);
    assert_eq!(ledger.wanted_bodies(2).unwrap(), at(&way, [11, 12]));
    let known = BTreeSet::from([3_000, 6_000, LENGTH]);
    for height in (11..=LENGTH).filter(|height| !known.contains(height)) {
        if height == 4_000 {
            ledger = reopened(&store, &chain, ledger);
        }
        body(&mut ledger, &chain, &way[height - 1]);
    }
    assert_eq!(ledger.view().tip().id, tip);
    assert!(ledger.wanted_bodies(1).unwrap().is_empty());
    assert!(ledger.headers_held() <= MOST_HELD);
}

/// Far below the end lies a block that is wrong. What was in memory of its descendants fails with
/// it; what was not does when it is met.
#[test]
fn a_block_that_fails_far_below_the_end_takes_the_branch_out_of_the_choice() {
    let mut chain = rich_chain();
    let genesis = chain.genesis_id();
    let good = chain.extend_by(&genesis, 20);
    let bad =
        chain.spoiled(&good, Plan::default(), |block| block.coinbase.utxo_commitment.0[0] ^= 1);
    let bad = chain.adopt_unjudged(bad).id();
    let end = (0..LENGTH).fold(bad, |tip, _| chain.extend_unjudged(&tip));
    let (store, mut ledger) = heard(&chain, &end);
    for id in ids(&chain, &bad) {
        body(&mut ledger, &chain, &id);
    }
    assert_eq!(ledger.failed_code(&bad).unwrap(), Some("bad-utxo-commitment"));
    let middle = ids(&chain, &end)[6_000];
    for restarts in [false, true] {
        if restarts {
            ledger = reopened(&store, &chain, ledger);
        }
        assert_view(&ledger, &chain, &good);
        assert_eq!(ledger.best_header().id, good);
        assert_eq!(ledger.failed_code(&end).unwrap(), Some("invalid-parent"));
        let on_top = chain.extend_unjudged(&end);
        let refused = ledger.accept_header(chain.block(&on_top).header(), NOW).unwrap();
        assert!(matches!(refused, Err(HeaderRefusal::Rule(_) | HeaderRefusal::Failed { .. })));
        // A branch from a block that was not in memory leads nowhere either.
        let beside = (0..3).fold(middle, |tip, _| chain.extend_unjudged(&tip));
        for block in &chain.branch(&beside)[6_001..] {
            drop(ledger.accept_header(block.header(), NOW).unwrap());
        }
        assert_eq!(ledger.best_header().id, good);
        assert!(ledger.wanted_bodies(9).unwrap().is_empty());
    }
    let next = chain.extend_by(&good, 1);
    offer(&mut ledger, chain.block(&next));
    assert_view(&ledger, &chain, &next);
}

/// The operator's word reaches what is not in memory, both ways.
#[test]
fn an_operators_word_reaches_far_below_the_end() {
    let mut chain = rich_chain();
    let genesis = chain.genesis_id();
    let tip = chain.extend_by(&genesis, LENGTH);
    let way = ids(&chain, &tip);
    let (store, mut ledger) = heard(&chain, &tip);
    ledger.invalidate(&way[6_000]).unwrap();
    for restarts in [false, true] {
        if restarts {
            ledger = reopened(&store, &chain, ledger);
        }
        assert_eq!(ledger.best_header().id, way[5_999]);
        assert_eq!(ledger.failed_code(&way[7_000]).unwrap(), Some("invalidated"));
        assert_eq!(ledger.wanted_bodies(3).unwrap(), at(&way, 1..=3));
    }
    ledger.reconsider(&tip).unwrap();
    ledger = reopened(&store, &chain, ledger);
    assert_eq!(ledger.best_header().id, tip);
    assert_eq!(ledger.failed_code(&way[7_000]).unwrap(), None);
}
