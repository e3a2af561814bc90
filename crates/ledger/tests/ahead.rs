//! Blocks that are walked while the one before them is out, and steps that a thread writes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use ashlar_consensus::{BlockError, TxError, verify_signatures};
use ashlar_ledger::{Completed, Ledger, MemoryStore, Move, Settings, Store, WalkedBlock};
use ashlar_primitives::{Amount, Block, BlockId, Commitment, Signature, Witness};
use ashlar_testkit::{
    builder::{Chain, Plan, lock},
    faults::FaultyStore,
};
use common::*;

fn walked<S: Store>(ledger: &mut Ledger<S>) -> WalkedBlock {
    match ledger.next_move(0).unwrap() {
        Move::Verify(walked) => walked,
        other => panic!("{other:?} instead of a block to verify"),
    }
}

fn complete<S: Store>(ledger: &mut Ledger<S>, walked: WalkedBlock) -> Completed {
    let verified = verify_signatures(walked.checks(), &Default::default(), &mut rand::rng());
    ledger.complete(walked, verified, 0).unwrap()
}

/// A ledger that holds a good block and `above`, a child of it, both whole and both walked.
fn both_out(
    chain: &mut Chain,
    good: &BlockId,
    above: Block,
) -> (Ledger<MemoryStore>, WalkedBlock, WalkedBlock) {
    let above = chain.adopt_unjudged(above).id();
    let mut ledger = open(&Arc::new(MemoryStore::new()), chain, &Settings::default());
    store_branch(&mut ledger, chain, &above);
    let (first, second) = (walked(&mut ledger), walked(&mut ledger));
    assert_eq!((first.id(), second.id()), (*good, above));
    (ledger, first, second)
}

fn forge(block: &mut Block) {
    for witness in block.transactions.iter_mut().flat_map(|it| &mut it.witnesses) {
        if let Witness::Key { signature, .. } = witness {
            *signature = Signature([1; 64]);
        }
    }
}

/// What becomes of a spoiled block that is walked while its parent is out.
fn verdict_ahead(spend_twice: bool, spoil: impl FnOnce(&mut Block)) -> Completed {
    let mut chain = rich_chain();
    let genesis = chain.genesis_id();
    let pay = chain.pay(&genesis, 1, lock(7), 5_000, 10);
    let good = chain.extend(&genesis, Plan::of(vec![pay.clone()])).id();
    // Spends what its parent made, or what its parent spent.
    let next = match spend_twice {
        true => pay,
        false => chain.pay(&good, 7, lock(2), 1_000, 10),
    };
    let block = chain.spoiled(&good, Plan::of(vec![next]), spoil);
    let (mut ledger, first, second) = both_out(&mut chain, &good, block);
    assert_eq!(complete(&mut ledger, first), Completed::Connected);
    let verdict = complete(&mut ledger, second);
    settle(&mut ledger);
    if verdict != Completed::Connected {
        assert_view(&ledger, &chain, &good);
    }
    verdict
}

#[test]
fn a_block_walked_ahead_gets_the_verdict_that_it_would_get_in_its_turn() {
    assert_eq!(verdict_ahead(false, |_| ()), Completed::Connected);

    let wrong_commitment = |block: &mut Block| block.coinbase.utxo_commitment = Commitment([7; 32]);
    let expected = Completed::Invalid(BlockError::BadUtxoCommitment);
    assert_eq!(verdict_ahead(false, wrong_commitment), expected);
    // It stands before all other faults, those of signatures too.
    let all_wrong = |block: &mut Block| {
        wrong_commitment(block);
        forge(block);
    };
    assert_eq!(verdict_ahead(false, all_wrong), expected);
    let twice_and_wrong = |block: &mut Block| wrong_commitment(block);
    assert_eq!(verdict_ahead(true, twice_and_wrong), expected);

    let error = TxError::BadSignature { witness: 0 };
    let expected = Completed::Invalid(BlockError::Transaction { index: 0, error });
    assert_eq!(verdict_ahead(false, forge), expected);

    let verdict = verdict_ahead(true, |_| ());
    let Completed::Invalid(error) = verdict else { panic!("{verdict:?}") };
    assert_eq!(error.code(), "tx-missing-input");

    let greedy =
        |block: &mut Block| block.coinbase.outputs[0].value = Amount::from_grains(900_000_000);
    let verdict = verdict_ahead(false, greedy);
    let Completed::Invalid(error) = verdict else { panic!("{verdict:?}") };
    assert_eq!(error.code(), "coinbase-overpays");
}

#[test]
fn what_stands_on_an_invalid_block_is_dropped_and_the_ledger_goes_on() {
    let mut chain = rich_chain();
    let genesis = chain.genesis_id();
    let pay = chain.pay(&genesis, 1, lock(2), 500, 10);
    let bad = chain.spoiled(&genesis, Plan::of(vec![pay]), forge);
    let bad = chain.adopt_unjudged(bad).id();
    let above = chain.extend_unjudged(&bad);
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    store_branch(&mut ledger, &chain, &above);
    let (first, second) = (walked(&mut ledger), walked(&mut ledger));
    assert!(matches!(complete(&mut ledger, first), Completed::Invalid(_)));
    // Its signatures come back later, when others are out already.
    let good = start(&mut chain, 2, 1);
    store_branch(&mut ledger, &chain, &good);
    let (third, fourth) = (walked(&mut ledger), walked(&mut ledger));
    assert_eq!(complete(&mut ledger, second), Completed::Dropped);
    assert_eq!(complete(&mut ledger, third), Completed::Connected);
    assert_eq!(complete(&mut ledger, fourth), Completed::Connected);
    assert_view(&ledger, &chain, &good);
    assert_eq!(ledger.failed_code(&above).unwrap(), Some("invalid-parent"));
}

#[test]
fn blocks_completed_out_of_their_order_are_walked_again() {
    let mut chain = rich_chain();
    let tip = start(&mut chain, 3, 1);
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    store_branch(&mut ledger, &chain, &tip);
    let (first, second) = (walked(&mut ledger), walked(&mut ledger));
    assert_eq!(complete(&mut ledger, second), Completed::Dropped);
    assert_eq!(complete(&mut ledger, first), Completed::Dropped);
    settle_all(&mut ledger);
    assert_view(&ledger, &chain, &tip);
}

/// As a driver whose jobs are lost with what was out.
fn settle_all<S: Store>(ledger: &mut Ledger<S>) {
    loop {
        match ledger.next_move(0).unwrap() {
            Move::Idle => return,
            Move::Progress => {}
            Move::Verify(walked) => {
                complete(ledger, walked);
            }
        }
    }
}

#[test]
fn steps_that_a_thread_writes_leave_what_others_do() {
    let mut chain = rich_chain();
    let low = start(&mut chain, 40, 1);
    let tip = extend_with_payments(&mut chain, &low, 60, 2);
    let other = extend_with_payments(&mut chain, &low, 61, 3);
    // A thread for each block or two, and one for many.
    for step_bytes in [1, 2_000, 30_000] {
        let settings = Settings { step_bytes, ..Settings::default() };
        let store = Arc::new(FaultyStore::new(MemoryStore::new(), None).slow());
        let mut ledger = open(&store, &chain, &settings);
        for end in [tip, other] {
            store_branch(&mut ledger, &chain, &end);
            let mut published = ledger.view().tip().height;
            let mut told = 0;
            loop {
                let next = ledger.next_move(0).unwrap();
                told += usize::from(ledger.view().tip().height != published);
                published = ledger.view().tip().height;
                // What readers see is whole at every moment.
                let view = ledger.view();
                let best = view.block_id_at(published).unwrap();
                assert_eq!(best, Some(view.tip().id));
                match next {
                    Move::Idle => break,
                    Move::Progress => {}
                    Move::Verify(walked) => {
                        assert_eq!(complete(&mut ledger, walked), Completed::Connected);
                    }
                }
            }
            // Of a reorganisation its end alone is told.
            assert!(told > 1 || step_bytes > 2_000 || end == other, "{told} views");
            assert_view(&ledger, &chain, &end);
        }
        drop(ledger);
        assert_is_replay(&*store, &chain, &other, &settings);
    }
}
