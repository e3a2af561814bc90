//! The tip goes where the work is, and back where it was wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use ashlar_consensus::BlockError;
use ashlar_ledger::{
    BodyStored, Completed, HeaderAccepted, HeaderRefusal, Ledger, MemoryStore, Move, Offered,
    Settings, Store, records::INVALIDATED,
};
use ashlar_primitives::{Amount, BlockId, OutPoint, Txid};
use ashlar_testkit::builder::{Chain, Plan, lock};
use common::*;

/// One branch of 51 blocks, one of 52, both with payments of the same coins, from a fork at 2.
fn two_branches() -> (Chain, BlockId, BlockId) {
    let mut chain = rich_chain();
    let fork = start(&mut chain, 2, 1);
    let short = extend_with_payments(&mut chain, &fork, 49, 2);
    let long = extend_with_payments(&mut chain, &fork, 50, 3);
    (chain, short, long)
}

/// A reorganisation 49 blocks deep, and what it leaves behind in the store.
fn reorganise_deep<S: Store>(store: &Arc<S>) -> Chain {
    let (chain, short, long) = two_branches();
    let settings = Settings::default();
    let mut ledger = open(store, &chain, &settings);
    offer_branch(&mut ledger, &chain, &short);
    assert_view(&ledger, &chain, &short);
    assert_eq!(ledger.take_published().unwrap().connected.len(), 51);

    offer_branch(&mut ledger, &chain, &long);
    assert_view(&ledger, &chain, &long);
    let moved = ledger.take_published().unwrap();
    let ids = |blocks: &[ashlar_ledger::MovedBlock]| -> Vec<BlockId> {
        blocks.iter().map(|block| block.id).collect()
    };
    let branch = |tip| -> Vec<BlockId> {
        chain.branch(tip).iter().map(|block| block.id()).skip(2).collect()
    };
    let mut down = branch(&short);
    down.reverse();
    assert_eq!(ids(&moved.disconnected), down);
    assert_eq!(ids(&moved.connected), branch(&long));
    assert!(moved.connected.iter().all(|block| block.body.is_some()));
    assert!(ledger.take_published().is_none());
    drop(ledger);
    assert_is_replay(&**store, &chain, &long, &settings);
    chain
}

#[test]
fn fifty_deep_in_memory() {
    reorganise_deep(&Arc::new(MemoryStore::new()));
}

#[cfg(feature = "rocksdb")]
#[test]
fn fifty_deep_on_disk_is_the_same() {
    use ashlar_ledger::{Family, RocksOptions, RocksStore};
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RocksStore::open(folder.path(), &RocksOptions::small()).unwrap());
    let memory = Arc::new(MemoryStore::new());
    reorganise_deep(&disk);
    reorganise_deep(&memory);
    for family in Family::ALL {
        assert_eq!(dump(&*disk, family), dump(&*memory, family), "{}", family.name());
    }
}

#[test]
fn readers_never_see_the_way_down() {
    let (chain, short, long) = two_branches();
    // Steps so small that every block is committed on its own.
    let settings = Settings { step_bytes: 1, ..Settings::default() };
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &settings);
    offer_branch(&mut ledger, &chain, &short);
    let before = ledger.view();
    store_branch(&mut ledger, &chain, &long);
    let mut work = before.tip().work;
    loop {
        match ledger.next_move(0).unwrap() {
            Move::Idle => break,
            Move::Progress => {}
            Move::Verify(walked) => {
                let verified = verify(&walked);
                assert_eq!(ledger.complete(walked, verified, 0).unwrap(), Completed::Connected);
            }
        }
        let view = ledger.view();
        assert!(view.tip().id == before.tip().id || view.tip().work > work);
        work = view.tip().work.max(work);
    }
    assert_eq!(ledger.view().tip().id, long);
    // The old view still answers as it did.
    assert_eq!(before.block_id_at(51).unwrap(), Some(short));
    assert!(before.is_active(&short).unwrap() && !ledger.view().is_active(&short).unwrap());
}

fn verify(
    walked: &ashlar_ledger::WalkedBlock,
) -> Result<ashlar_consensus::Verified, ashlar_consensus::signature::Place> {
    ashlar_consensus::verify_signatures(walked.checks(), &Default::default(), &mut rand::rng())
}

/// A heavier branch, beside an honest one, of which the block at `bad` (from 1) claims too much.
fn invalid_branch(honest_len: usize, bad: usize, length: usize) {
    let mut chain = rich_chain();
    let root = start(&mut chain, 3, 1);
    let honest = extend_with_payments(&mut chain, &root, honest_len as u64, 2);
    let before_bad = extend_with_payments(&mut chain, &root, bad as u64 - 1, 3);
    let spoiled = chain.spoiled(&before_bad, Plan::default(), |block| {
        block.coinbase.outputs[0].value = Amount::from_grains(600_000_000);
    });
    let bad_id = chain.adopt_unjudged(spoiled).id();
    let tip = (bad..length).fold(bad_id, |tip, _| chain.extend_unjudged(&tip));

    let settings = Settings { step_bytes: 1, ..Settings::default() };
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings);
    offer_branch(&mut ledger, &chain, &honest);
    ledger.take_published().unwrap();
    store_branch(&mut ledger, &chain, &tip);

    let (mut invalid, mut judged, mut best_height) = (0, 0, 0);
    loop {
        match ledger.next_move(0).unwrap() {
            Move::Idle => break,
            Move::Progress => {}
            Move::Verify(walked) => {
                let verified = verify(&walked);
                judged += usize::from(walked.id() == bad_id);
                match ledger.complete(walked, verified, 0).unwrap() {
                    Completed::Connected => {}
                    Completed::Invalid(error) => {
                        assert!(matches!(error, BlockError::CoinbaseOverpays { .. }));
                        invalid += 1;
                    }
                    Completed::Dropped => panic!("nobody took it away"),
                }
            }
        }
        best_height = best_height.max(ledger.view().tip().height);
    }
    assert_eq!((judged, invalid), (1, 1), "the bad block is judged once");
    assert_eq!(ledger.failed_code(&bad_id).unwrap(), Some("coinbase-overpays"));
    if tip != bad_id {
        assert_eq!(ledger.failed_code(&tip).unwrap(), Some("invalid-parent"));
    }
    // The valid beginning of the branch stays where it has more work.
    let expected = if bad - 1 > honest_len { before_bad } else { honest };
    assert_view(&ledger, &chain, &expected);
    assert_eq!(best_height, chain.state(&expected).header.height);
    assert_is_replay(&*store, &chain, &expected, &settings);
    // It stays failed after a restart, and so does a new child.
    ledger.flush().unwrap();
    drop(ledger);
    let mut ledger = open(&store, &chain, &settings);
    let child = chain.extend_unjudged(&tip);
    assert_eq!(
        offer(&mut ledger, chain.block(&child)),
        Offered::Refused { code: "invalid-parent" }
    );
    assert_eq!(
        offer(&mut ledger, chain.block(&bad_id)),
        Offered::Refused { code: "coinbase-overpays" }
    );
}

#[test]
fn an_invalid_block_in_a_heavier_branch_leads_back() {
    invalid_branch(2, 1, 3);
    invalid_branch(2, 2, 6);
    invalid_branch(2, 3, 3);
    invalid_branch(2, 5, 20);
}

#[test]
fn an_invalid_block_far_up_a_heavier_branch_leads_back() {
    // The branch is judged from the fork on, its good beginning lighter than the honest chain; in
    // the last one heavier, so that it stays.
    for (honest, bad) in [(600, 1), (600, 50), (600, 500), (60, 500)] {
        invalid_branch(honest, bad, 610);
    }
}

#[test]
fn orders_reach_a_thousand_blocks_down() {
    let mut chain = rich_chain();
    let root = start(&mut chain, 3, 1);
    let main = chain.extend_by(&root, 1_000);
    let side = chain.extend_by(&root, 990);
    let settings = Settings { headers_in_memory: 100, ..Settings::default() };
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings);
    store_branch(&mut ledger, &chain, &main);
    settle(&mut ledger);
    store_branch(&mut ledger, &chain, &side);
    settle(&mut ledger);
    assert_view(&ledger, &chain, &main);
    ledger.take_published().unwrap();

    let first = chain.branch(&main)[3].id();
    ledger.invalidate(&first).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &side);
    let moved = ledger.take_published().unwrap();
    assert_eq!((moved.disconnected.len(), moved.connected.len()), (1_000, 990));
    ledger.reconsider(&first).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &main);
    let moved = ledger.take_published().unwrap();
    assert_eq!((moved.disconnected.len(), moved.connected.len()), (990, 1_000));
}

#[test]
fn a_bad_signature_is_found_in_its_place() {
    let mut chain = rich_chain();
    let tip = chain.genesis_id();
    let good = chain.pay(&tip, 1, lock(2), 500, 1);
    let mut bad = chain.pay(&tip, 2, lock(3), 500, 1);
    bad.witnesses = good.witnesses.clone();
    let block = chain.spoiled(&tip, Plan::of(vec![good, bad]), |_| {});
    let id = chain.adopt_unjudged(block.clone()).id();
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    assert_eq!(offer_bytes(&mut ledger, &block), Offered::Refused { code: "tx-bad-signature" });
    assert_eq!(ledger.failed_code(&id).unwrap(), Some("tx-bad-signature"));
    assert_view(&ledger, &chain, &tip);
}

#[test]
fn equals_stay_with_the_first_also_after_a_restart() {
    let mut chain = rich_chain();
    let root = chain.extend_by(&chain.genesis_id(), 2);
    let one = extend_with_payments(&mut chain, &root, 2, 1);
    let other = extend_with_payments(&mut chain, &root, 2, 2);
    // Both orders: no order of ids may pass for one of arrival.
    for (first, second) in [(one, other), (other, one)] {
        let mut chain = chain.clone();
        let store = Arc::new(MemoryStore::new());
        let settings = Settings::default();
        let mut ledger = open(&store, &chain, &settings);
        offer_branch(&mut ledger, &chain, &first);
        offer_branch(&mut ledger, &chain, &second);
        assert_view(&ledger, &chain, &first);
        for _ in 0..3 {
            ledger.flush().unwrap();
            drop(ledger);
            ledger = open(&store, &chain, &settings);
            settle(&mut ledger);
            assert_view(&ledger, &chain, &first);
        }
        // Between two others the earlier one wins, too, and one more block decides.
        let third = chain.extend_by(&root, 2);
        offer_branch(&mut ledger, &chain, &third);
        ledger.invalidate(&first).unwrap();
        settle(&mut ledger);
        assert_view(&ledger, &chain, &second);
        let decided = chain.extend_by(&third, 1);
        offer_branch(&mut ledger, &chain, &decided);
        assert_view(&ledger, &chain, &decided);
    }
}

#[test]
fn the_operator_takes_away_and_gives_back() {
    let (chain, short, long) = two_branches();
    let settings = Settings { step_bytes: 1, ..Settings::default() };
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &settings);
    offer_branch(&mut ledger, &chain, &short);
    offer_branch(&mut ledger, &chain, &long);
    assert_view(&ledger, &chain, &long);
    let branch = chain.branch(&long);
    let (fork, taken) = (branch[1].id(), branch[10].id());

    ledger.take_published();
    ledger.invalidate(&taken).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &short);
    assert_eq!(ledger.failed_code(&long).unwrap(), Some(INVALIDATED));
    let moved = ledger.take_published().unwrap();
    assert_eq!(moved.disconnected.len(), 50);
    assert_eq!(moved.connected.len(), 49);
    assert_is_replay(&*store, &chain, &short, &settings);

    // Nobody is at fault for a child of what the operator took away.
    let mut more = chain.clone();
    let child = more.extend_by(&long, 1);
    let header = *more.block(&child).header();
    assert_eq!(
        ledger.accept_header(&header, NOW).unwrap(),
        Err(HeaderRefusal::Failed { code: INVALIDATED })
    );
    ledger.invalidate(&fork).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &branch[0].id());

    ledger.flush().unwrap();
    drop(ledger);
    let mut ledger = open(&store, &chain, &settings);
    settle(&mut ledger);
    assert_view(&ledger, &chain, &branch[0].id());
    ledger.reconsider(&short).unwrap();
    settle(&mut ledger);
    // All that descends from the lowest failed block came back with it.
    assert_view(&ledger, &chain, &long);
    assert_is_replay(&*store, &chain, &long, &settings);
    // Genesis and strangers are left alone.
    ledger.invalidate(&chain.genesis_id()).unwrap();
    ledger.invalidate(&BlockId([7; 32])).unwrap();
    settle(&mut ledger);
    assert_view(&ledger, &chain, &long);
}

#[test]
fn a_block_taken_away_while_its_signatures_are_out_is_dropped() {
    let mut chain = rich_chain();
    let tip = start(&mut chain, 3, 1);
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    store_branch(&mut ledger, &chain, &tip);
    let Move::Verify(mut walked) = ledger.next_move(0).unwrap() else { panic!("one to verify") };
    let Move::Verify(next) = ledger.next_move(0).unwrap() else { panic!("one ahead") };
    assert!(matches!(ledger.next_move(0).unwrap(), Move::Idle), "two at a time");
    let verified = verify(&walked);
    assert!(!walked.take_checks().is_empty() && walked.checks().is_empty());
    ledger.invalidate(&walked.id()).unwrap();
    assert_eq!(ledger.complete(walked, verified, 0).unwrap(), Completed::Dropped);
    let verified = verify(&next);
    assert_eq!(ledger.complete(next, verified, 0).unwrap(), Completed::Dropped);
    settle(&mut ledger);
    assert_view(&ledger, &chain, &chain.genesis_id());
}

#[test]
fn the_proof_of_another_block_connects_nothing() {
    let mut chain = rich_chain();
    let tip = start(&mut chain, 1, 1);
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    store_branch(&mut ledger, &chain, &tip);
    let Move::Verify(walked) = ledger.next_move(0).unwrap() else { panic!("one to verify") };
    let nothing = ashlar_consensus::verify_signatures(&[], &Default::default(), &mut rand::rng());
    assert_eq!(ledger.complete(walked, nothing, 0).unwrap(), Completed::Dropped);
    settle(&mut ledger);
    assert_view(&ledger, &chain, &tip);
}

#[test]
fn bodies_come_in_any_order_and_headers_first() {
    let (chain, _, long) = two_branches();
    let branch = chain.branch(&long);
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    for block in &branch {
        let accepted = ledger.accept_header(block.header(), NOW).unwrap();
        assert_eq!(accepted, Ok(HeaderAccepted::New));
    }
    assert_eq!(ledger.best_header().id, long);
    assert_eq!(ledger.accept_header(branch[3].header(), NOW).unwrap(), Ok(HeaderAccepted::Known));
    let all: Vec<(u32, BlockId)> =
        branch.iter().map(|block| (block.height(), block.id())).collect();
    assert_eq!(ledger.wanted_bodies(usize::MAX).unwrap(), all);
    assert_eq!(ledger.wanted_bodies(5).unwrap(), all[..5]);

    for block in branch.iter().skip(1).step_by(2) {
        assert_eq!(ledger.store_body(Arc::clone(block)).unwrap(), BodyStored::New);
        assert_eq!(ledger.store_body(Arc::clone(block)).unwrap(), BodyStored::Known);
    }
    settle(&mut ledger);
    assert_view(&ledger, &chain, &chain.genesis_id());
    let odd: Vec<_> = all.iter().copied().step_by(2).collect();
    assert_eq!(ledger.wanted_bodies(usize::MAX).unwrap(), odd);
    for block in branch.iter().step_by(2).rev() {
        ledger.store_body(Arc::clone(block)).unwrap();
    }
    assert!(ledger.wanted_bodies(usize::MAX).unwrap().is_empty());
    settle(&mut ledger);
    assert_view(&ledger, &chain, &long);

    let mut stranger = rich_chain();
    let lone = stranger.extend_by(&stranger.genesis_id(), 2);
    let body = Arc::clone(stranger.block(&lone));
    assert_eq!(ledger.store_body(Arc::clone(&body)).unwrap(), BodyStored::Unwanted);
    assert_eq!(
        ledger.accept_header(body.header(), NOW).unwrap(),
        Err(HeaderRefusal::UnknownParent)
    );
}

#[test]
fn catching_up_writes_large_steps_and_the_tip_each_block() {
    let mut chain = rich_chain();
    let tip = start(&mut chain, 60, 1);
    let store = Arc::new(Recorder::default());
    let mut ledger = open(&store, &chain, &Settings::default());
    for block in chain.branch(&tip) {
        ledger.accept_header(block.header(), NOW).unwrap().unwrap();
    }
    let commits = |store: &Recorder| states(store).len();
    let mut synced_from = None;
    for (number, block) in chain.branch(&tip).into_iter().enumerate() {
        ledger.store_body(block).unwrap();
        let before = commits(&store);
        drive(&mut ledger, 100);
        let step = commits(&store) - before;
        let ahead = 60 - (number + 1);
        if ahead > 24 {
            assert_eq!(step, 0, "block {number} waits");
            assert_eq!(ledger.next_wakeup(), Some(2_100));
        } else {
            assert_eq!(step, 1, "block {number} is written at once");
            assert_eq!(states(&store).last().unwrap().1, ashlar_ledger::Durability::Synced);
            synced_from.get_or_insert(number);
            assert_eq!(ledger.next_wakeup(), None);
        }
    }
    assert_eq!(synced_from, Some(35));
    assert_view(&ledger, &chain, &tip);

    // A step that is old enough is written though more is to come.
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    for block in chain.branch(&tip) {
        ledger.accept_header(block.header(), NOW).unwrap().unwrap();
    }
    ledger.store_body(Arc::clone(&chain.branch(&tip)[0])).unwrap();
    drive(&mut ledger, 5_000);
    assert_eq!(ledger.view().tip().height, 0);
    drive(&mut ledger, 6_999);
    assert_eq!(ledger.view().tip().height, 0);
    drive(&mut ledger, 7_000);
    assert_eq!(ledger.view().tip().height, 1);
}

/// All moves at one moment.
fn drive<S: Store>(ledger: &mut Ledger<S>, now_ms: u64) {
    loop {
        match ledger.next_move(now_ms).unwrap() {
            Move::Idle => return,
            Move::Progress => {}
            Move::Verify(walked) => {
                let verified = verify(&walked);
                ledger.complete(walked, verified, now_ms).unwrap();
            }
        }
    }
}

#[test]
fn long_moves_are_told_by_id_and_their_bodies_read_from_the_store() {
    let (chain, short, long) = two_branches();
    let branch = chain.branch(&short);
    // Room for the bodies of three blocks.
    let moved_body_bytes =
        branch[..3].iter().map(|block| usize::try_from(block.size_bytes()).unwrap()).sum();
    let settings = Settings { moved_body_bytes, ..Settings::default() };
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &settings);
    offer_branch(&mut ledger, &chain, &short);
    offer_branch(&mut ledger, &chain, &long);
    // Nobody took the first move: both are one.
    let moved = ledger.take_published().unwrap();
    assert!(moved.disconnected.is_empty());
    assert_eq!(moved.connected.len(), 52);
    assert!(moved.connected.iter().any(|block| block.body.is_none()));
    for (moved, block) in moved.connected.iter().zip(chain.branch(&long)) {
        assert_eq!((moved.id, moved.height), (block.id(), block.height()));
        assert!(moved.body.as_ref().is_none_or(|body| *body == block));
        assert_eq!(ledger.block(&moved.id).unwrap(), Some(block));
    }
    assert_eq!(ledger.block(&chain.genesis_id()).unwrap(), None);
    assert_eq!(ledger.block(&BlockId([9; 32])).unwrap(), None);
}

#[test]
fn coins_are_answered_in_the_order_of_the_question() {
    let mut chain = rich_chain();
    let genesis = chain.genesis_id();
    let pay = chain.pay(&genesis, 1, lock(2), 500, 1);
    let tip = chain.extend(&genesis, Plan::of(vec![pay.clone()])).id();
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    offer_branch(&mut ledger, &chain, &tip);
    let made = OutPoint { txid: pay.txid(), index: 1 };
    let absent = OutPoint { txid: Txid([0xff; 32]), index: 0 };
    let view = ledger.view();
    let asked = [made, absent, pay.inputs[0], made];
    let coins = view.coins(&asked).unwrap();
    let expected: Vec<_> = asked.iter().map(|at| chain.coins(&tip).get(at).copied()).collect();
    assert_eq!(coins, expected);
    assert!(coins[0].is_some() && coins[1].is_none() && coins[2].is_none());
    assert_eq!(view.coin(&made).unwrap(), coins[0]);
}

#[test]
fn headers_are_refused_by_rule() {
    let mut chain = rich_chain();
    let tip = chain.extend_by(&chain.genesis_id(), 12);
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    offer_branch(&mut ledger, &chain, &tip);
    let plan = |time| Plan { time: Some(time), ..Plan::default() };
    let code = |ledger: &mut Ledger<MemoryStore>, header| {
        ledger.accept_header(&header, NOW).unwrap().unwrap_err().code()
    };
    let late = chain.spoiled(&tip, plan(NOW as u32 + 7_201), |_| {}).header;
    assert_eq!(code(&mut ledger, late), "time-too-new");
    let old = chain.spoiled(&tip, plan(chain.genesis().params().time), |_| {}).header;
    assert_eq!(code(&mut ledger, old), "time-too-old");
    let version = chain.spoiled(&tip, Plan::default(), |block| block.header.version = 1).header;
    assert_eq!(code(&mut ledger, version), "bad-version");
    let orphan = chain.spoiled(&tip, Plan::default(), |block| {
        block.header.parent = BlockId([1; 32]);
    });
    assert_eq!(code(&mut ledger, orphan.header), "unknown-parent");
    // What was only too early is taken when its time has come.
    assert_eq!(ledger.accept_header(&late, NOW + 1).unwrap(), Ok(HeaderAccepted::New));
}
