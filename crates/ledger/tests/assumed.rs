//! Signatures that the operator takes for good, and nothing else that is.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use ashlar_ledger::{MemoryStore, Offered, Settings};
use ashlar_primitives::{Block, BlockId, Signature, Witness};
use ashlar_testkit::builder::{Chain, Plan, lock};
use common::*;

/// Every signature of a block replaced by one that is nobody's.
fn forge(block: &mut Block) {
    for transaction in &mut block.transactions {
        for witness in &mut transaction.witnesses {
            if let Witness::Key { signature, .. } = witness {
                *signature = Signature([1; 64]);
            }
        }
    }
}

/// A chain of `start`'s kind, its last block's signatures forged, and a good tip below.
fn forged() -> (Chain, BlockId, BlockId) {
    let mut chain = rich_chain();
    let below = start(&mut chain, 5, 1);
    let pay = chain.pay(&below, 1, lock(2), 500, 10);
    let block = chain.spoiled(&below, Plan::of(vec![pay]), forge);
    let top = block.header.id();
    chain.adopt_unjudged(block);
    (chain, below, top)
}

fn open_assuming(chain: &Chain, named: Option<BlockId>) -> ashlar_ledger::Ledger<MemoryStore> {
    let settings = Settings { assume_valid: named, ..Settings::default() };
    open(&Arc::new(MemoryStore::new()), chain, &settings)
}

#[test]
fn signatures_are_assumed_up_to_the_named_block_once_its_header_is_known() {
    let (chain, below, top) = forged();
    for (named, accepted) in [(None, false), (Some(below), false), (Some(top), true)] {
        let mut ledger = open_assuming(&chain, named);
        offer_branch(&mut ledger, &chain, &below);
        let offered = offer(&mut ledger, chain.block(&top));
        let expected = match accepted {
            true => Offered::Accepted,
            false => Offered::Refused { code: "tx-bad-signature" },
        };
        assert_eq!(offered, expected, "{named:?}");
    }
    // A name that nobody has heard of covers nothing.
    let mut ledger = open_assuming(&chain, Some(BlockId([9; 32])));
    offer_branch(&mut ledger, &chain, &below);
    assert!(matches!(offer(&mut ledger, chain.block(&top)), Offered::Refused { .. }));
}

#[test]
fn every_other_rule_is_judged() {
    let mut chain = rich_chain();
    let below = start(&mut chain, 3, 1);
    let pay = chain.pay(&below, 1, lock(2), 500, 10);
    let block = chain.spoiled(&below, Plan::of(vec![pay]), |block| {
        block.coinbase.outputs[0].value =
            ashlar_primitives::Amount::from_grains(500_000_011 + 1_000);
    });
    let id = block.header.id();
    let mut ledger = open_assuming(&chain, Some(id));
    offer_branch(&mut ledger, &chain, &below);
    let offered = offer_bytes(&mut ledger, &block);
    assert_eq!(offered, Offered::Refused { code: "coinbase-overpays" });
    assert_eq!(ledger.view().tip().id, below);
}
