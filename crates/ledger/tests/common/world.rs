//! A store that care is tried on.

use core::ops::ControlFlow;
use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

use ashlar_ledger::{
    Ledger, MemoryStore, Read, Settings,
    care::{self, Progress},
};
use ashlar_primitives::BlockId;
use ashlar_testkit::builder::{Chain, Plan, lock};

use super::*;

/// Whoever is in no hurry.
pub(crate) fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A store with everything in it that a node meets: payments, a branch that was the best once, a
/// light branch, a heavier one that failed in its middle, one that the operator took away, and
/// headers without bodies.
pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) store: MemoryStore,
    pub(crate) tip: BlockId,
    pub(crate) abandoned: BlockId,
    pub(crate) taken: BlockId,
}

pub(crate) fn world() -> World {
    let mut chain = rich_chain();
    let fork = start(&mut chain, 6, 1);
    let abandoned = extend_with_payments(&mut chain, &fork, 3, 2);
    let light = extend_with_payments(&mut chain, &fork, 1, 3);
    let tip = extend_with_payments(&mut chain, &fork, 14, 4);
    let taken = extend_with_payments(&mut chain, &tip, 2, 5);
    let bodiless = extend_with_payments(&mut chain, &tip, 1, 6);
    let pay = chain.pay(&fork, 1, lock(2), 500, 10);
    let bad = chain.spoiled(&fork, Plan::of(vec![pay]), |block| {
        block.coinbase.utxo_commitment = ashlar_primitives::Commitment([9; 32]);
    });
    let bad_id = bad.header.id();
    chain.adopt_unjudged(bad);
    let mut heavier = bad_id;
    for _ in 0..20 {
        heavier = chain.extend_unjudged(&heavier);
    }

    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &Settings::default());
    for branch in [&abandoned, &light, &tip] {
        offer_branch(&mut ledger, &chain, branch);
    }
    store_branch(&mut ledger, &chain, &heavier);
    settle(&mut ledger);
    assert_eq!(ledger.failed_code(&bad_id).unwrap(), Some("bad-utxo-commitment"));
    offer_branch_ignoring(&mut ledger, &chain, &taken);
    let first = chain.block(&taken).header().parent;
    ledger.invalidate(&first).unwrap();
    settle(&mut ledger);
    ledger.accept_header(chain.block(&bodiless).header(), NOW).unwrap().unwrap();
    ledger.flush().unwrap();
    assert_eq!(ledger.view().tip().id, tip);
    drop(ledger);
    World { chain, store: Arc::into_inner(store).unwrap(), tip, abandoned, taken }
}

pub(crate) fn offer_branch_ignoring(
    ledger: &mut Ledger<MemoryStore>,
    chain: &Chain,
    tip: &BlockId,
) {
    for block in chain.branch(tip) {
        offer(ledger, &block);
    }
}

/// The chain file of a store's best chain.
pub(crate) fn export(store: &impl Read, chain: &Chain) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    care::export(store, chain.genesis(), &file, &mut go_on).unwrap();
    content(&mut file)
}

/// All of a file.
pub(crate) fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}
