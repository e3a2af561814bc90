//! Indexes: what they answer, and that they can be switched.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use core::ops::ControlFlow;
use std::{collections::BTreeMap, sync::Arc};

use ashlar_ledger::{
    Family, Ledger, MemoryStore, OpenLedgerError, Settings, Store, View,
    care::{Progress, Stage},
    view::{ChainTip, Cursor, HistoryEntry, LocatedCoin, Page, QueryError, TipStatus},
};
use ashlar_primitives::{Amount, BlockId, Lock, OutPoint, Output, Txid};
use ashlar_testkit::builder::{Chain, Plan, Spend, key, lock, output};
use common::*;

fn off() -> Settings {
    Settings { transaction_index: false, lock_index: false, ..Settings::default() }
}

/// A chain with a reorganisation behind it, payments within blocks, and a spent-empty lock.
fn chain() -> (Chain, BlockId, BlockId) {
    let mut chain = rich_chain();
    let root = start(&mut chain, 6, 1);
    let side = extend_with_payments(&mut chain, &root, 3, 2);
    // Within one block: 1 pays 7, 7 pays 8 and itself, 8 pays 1.
    let first = chain.pay(&root, 1, lock(7), 5_000, 1);
    let spend = |txid, from: Output, outputs: Vec<Output>, by: u64, chain: &Chain| {
        let inputs = vec![(OutPoint { txid, index: 0 }, from)];
        Spend { inputs, outputs, ..Spend::default() }.sign(&chain.genesis_id(), &[&key(by)])
    };
    let second = spend(
        first.txid(),
        output(lock(7), 5_000),
        vec![output(lock(8), 1_000), output(lock(7), 3_999)],
        7,
        &chain,
    );
    let third = spend(second.txid(), output(lock(8), 1_000), vec![output(lock(1), 999)], 8, &chain);
    let tip = chain.extend(&root, Plan::of(vec![first, second, third])).id();
    let tip = extend_with_payments(&mut chain, &tip, 5, 4);
    (chain, side, tip)
}

/// Every answer of the indexes, taken straight from the blocks.
struct Truth {
    places: BTreeMap<Txid, (u32, u32)>,
    history: BTreeMap<Lock, Vec<HistoryEntry>>,
}

fn truth(chain: &Chain, tip: &BlockId) -> Truth {
    let mut truth = Truth { places: BTreeMap::new(), history: BTreeMap::new() };
    let mut outputs: BTreeMap<OutPoint, Output> = BTreeMap::new();
    let genesis = chain.genesis().block();
    let mut blocks = vec![(genesis.clone(), 0)];
    blocks.extend(chain.branch(tip).iter().map(|block| (block.to_block(), block.height())));
    for (block, height) in blocks {
        let mut all = vec![(block.coinbase.id().into(), vec![], block.coinbase.outputs)];
        all.extend(block.transactions.into_iter().map(|t| (t.txid(), t.inputs, t.outputs)));
        for (position, (txid, inputs, made)) in (0..).zip(all) {
            truth.places.insert(txid, (height, position));
            let mut sums: BTreeMap<Lock, (u64, u64)> = BTreeMap::new();
            for input in inputs {
                let spent = outputs[&input];
                sums.entry(spent.lock).or_default().1 += spent.value.grains();
            }
            for (index, output) in (0..).zip(made) {
                outputs.insert(OutPoint { txid, index }, output);
                sums.entry(output.lock).or_default().0 += output.value.grains();
            }
            for (lock, (received, spent)) in sums {
                truth.history.entry(lock).or_default().insert(
                    0,
                    HistoryEntry {
                        height,
                        position,
                        txid,
                        received: Amount::from_grains(received),
                        spent: Amount::from_grains(spent),
                        is_coinbase: position == 0,
                    },
                );
            }
        }
    }
    truth
}

/// All pages of a list, in pages of `limit`.
fn all<T>(limit: usize, page: impl Fn(Option<&Cursor>) -> Result<Page<T>, QueryError>) -> Vec<T> {
    let mut items = Vec::new();
    let mut next = None;
    loop {
        let page = page(next.as_ref()).unwrap();
        assert!(page.items.len() <= limit);
        items.extend(page.items);
        next = page.next;
        if next.is_none() {
            return items;
        }
    }
}

fn assert_indexes(view: &View, chain: &Chain, tip: &BlockId) {
    let truth = truth(chain, tip);
    for (txid, place) in &truth.places {
        assert_eq!(view.transaction_place(txid).unwrap(), Some(*place));
    }
    assert_eq!(view.transaction_place(&Txid([1; 32])).unwrap(), None);
    for number in 0..10 {
        let lock = lock(number);
        let expected: Vec<LocatedCoin> = chain
            .coins(tip)
            .iter()
            .filter(|(_, coin)| coin.output.lock == lock)
            .map(|(outpoint, coin)| LocatedCoin { outpoint: *outpoint, coin: *coin })
            .collect();
        for limit in [1, 3, 1_000] {
            assert_eq!(all(limit, |after| view.lock_coins(&lock, after, limit)), expected);
            let history = all(limit, |after| view.lock_history(&lock, after, limit));
            assert_eq!(history, truth.history.get(&lock).cloned().unwrap_or_default());
        }
    }
}

#[test]
fn answers_follow_the_chain_through_a_reorganisation() {
    let (chain, side, tip) = chain();
    let settings = Settings::default();
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &settings);
    assert_indexes(&ledger.view(), &chain, &chain.genesis_id());
    offer_branch(&mut ledger, &chain, &side);
    assert_indexes(&ledger.view(), &chain, &side);
    let before = ledger.view();
    offer_branch(&mut ledger, &chain, &tip);
    assert_indexes(&ledger.view(), &chain, &tip);
    assert_indexes(&before, &chain, &side);
}

#[test]
fn an_index_that_is_off_says_so() {
    let (chain, _, tip) = chain();
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &off());
    offer_branch(&mut ledger, &chain, &tip);
    let view = ledger.view();
    assert!(!view.transaction_index() && !view.lock_index());
    let index = |error| match error {
        QueryError::IndexOff { index } => index,
        QueryError::Store(error) => panic!("{error}"),
    };
    assert_eq!(index(view.transaction_place(&Txid([1; 32])).unwrap_err()), "transaction");
    assert_eq!(index(view.lock_coins(&lock(1), None, 1).unwrap_err()), "lock");
    assert_eq!(index(view.lock_history(&lock(1), None, 1).unwrap_err()), "lock");
}

#[test]
fn indexes_are_built_and_dropped_between_starts() {
    switch_indexes(&Arc::new(MemoryStore::new()));
}

#[cfg(feature = "rocksdb")]
#[test]
fn indexes_are_built_and_dropped_on_disk() {
    use ashlar_ledger::{RocksOptions, RocksStore};
    let folder = tempfile::tempdir().unwrap();
    switch_indexes(&Arc::new(RocksStore::open(folder.path(), &RocksOptions::small()).unwrap()));
}

fn switch_indexes<S: Store>(store: &Arc<S>) {
    let (chain, side, tip) = chain();
    let mut ledger = open(store, &chain, &off());
    offer_branch(&mut ledger, &chain, &side);
    offer_branch(&mut ledger, &chain, &tip);
    ledger.flush().unwrap();
    drop(ledger);
    let families = [Family::Transactions, Family::LockCoins, Family::LockHistory];
    assert!(families.iter().all(|family| dump(&**store, *family).is_empty()));

    // Each alone, both, each alone again: always as if it had been so from the start.
    for (transaction_index, lock_index) in
        [(true, false), (true, true), (false, true), (true, true), (false, false), (true, true)]
    {
        let settings = Settings { transaction_index, lock_index, ..Settings::default() };
        let ledger = open(store, &chain, &settings);
        assert_view(&ledger, &chain, &tip);
        assert_is_replay(&**store, &chain, &tip, &settings);
        if transaction_index && lock_index {
            assert_indexes(&ledger.view(), &chain, &tip);
        }
    }
    // And it goes on from there.
    let mut ledger = open(store, &chain, &Settings::default());
    let mut chain = chain;
    let more = extend_with_payments(&mut chain, &tip, 3, 5);
    offer_branch(&mut ledger, &chain, &more);
    assert_indexes(&ledger.view(), &chain, &more);
}

#[test]
fn a_build_that_was_cut_short_is_completed() {
    let (chain, _, tip) = chain();
    let built = Arc::new(Recorder::default());
    let mut ledger = open(&built, &chain, &off());
    offer_branch(&mut ledger, &chain, &tip);
    ledger.flush().unwrap();
    drop(ledger);
    let before = states(&built).len();
    drop(open(&built, &chain, &Settings::default()));
    let states = states(&built);
    assert!(states.len() > before + 2);
    for (state, _) in &states[before..] {
        let store = Arc::new(state.clone());
        let ledger = open(&store, &chain, &Settings::default());
        assert_indexes(&ledger.view(), &chain, &tip);
        assert_is_replay(&*store, &chain, &tip, &Settings::default());
    }
}

#[test]
fn a_build_that_was_broken_off_goes_on_where_it_was() {
    let (chain, _, tip) = chain();
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &chain, &off());
    offer_branch(&mut ledger, &chain, &tip);
    ledger.flush().unwrap();
    drop(ledger);
    let blocks = u64::from(chain.state(&tip).header.height) + 1;

    // One look, then away: each opening gets one block further, or one page of coins.
    let mut seen = Vec::new();
    loop {
        let mut watch = |progress: Progress| {
            seen.push((progress.stage, progress.done));
            ControlFlow::Break(())
        };
        let settings = Settings::default();
        let opened =
            Ledger::open_watched(Arc::clone(&store), chain.genesis(), settings, &mut watch);
        match opened {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, OpenLedgerError::Interrupted), "{error}"),
        }
    }
    let expected: Vec<_> = (1..=blocks).map(|done| (Stage::IndexBlocks, done)).collect();
    assert_eq!(seen[..seen.len() - 1], expected);
    assert_eq!(seen.last().unwrap().0, Stage::IndexCoins);
    assert_is_replay(&*store, &chain, &tip, &Settings::default());

    // What is begun and then no longer wanted leaves nothing.
    drop(open(&store, &chain, &off()));
    let mut away = |_| ControlFlow::Break(());
    let opened =
        Ledger::open_watched(Arc::clone(&store), chain.genesis(), Settings::default(), &mut away);
    assert!(opened.is_err());
    drop(open(&store, &chain, &off()));
    assert_is_replay(&*store, &chain, &tip, &off());
}

#[test]
fn foreign_cursors_are_harmless() {
    let (chain, _, tip) = chain();
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    offer_branch(&mut ledger, &chain, &tip);
    let view = ledger.view();
    for cursor in [vec![], vec![0; 3], vec![0xff; 200]] {
        let cursor = Cursor(cursor);
        for coin in view.lock_coins(&lock(1), Some(&cursor), 1_000).unwrap().items {
            assert_eq!(coin.coin.output.lock, lock(1));
        }
        view.lock_history(&lock(1), Some(&cursor), 1_000).unwrap();
    }
    assert!(view.lock_coins(&lock(1), None, 0).unwrap().items.is_empty());
}

#[test]
fn tips_have_their_status() {
    let (mut chain, side, tip) = chain();
    let unjudged = chain.extend_by(&chain.branch(&tip)[6].id(), 2);
    let headers_only = chain.extend_by(&side, 1);
    let bad = chain.spoiled(&tip, Plan::default(), |block| {
        block.coinbase.outputs[0].value = Amount::MAX_MONEY;
    });
    let bad_id = chain.adopt_unjudged(bad.clone()).id();
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    offer_branch(&mut ledger, &chain, &side);
    offer_branch(&mut ledger, &chain, &tip);
    offer_branch(&mut ledger, &chain, &unjudged);
    offer_bytes(&mut ledger, &bad);
    let header = *chain.block(&headers_only).header();
    ledger.accept_header(&header, NOW).unwrap().unwrap();
    // A view shows the branches as they were at its last change of tip.
    let next = chain.extend_by(&tip, 1);
    offer_branch(&mut ledger, &chain, &next);
    let tips = ledger.view().chain_tips().unwrap();
    let found = |id: &BlockId| tips.iter().find(|tip| tip.id == *id).cloned();
    let expected =
        |id, height, branch_len, status| Some(ChainTip { id, height, branch_len, status });
    assert_eq!(tips.len(), 4);
    assert_eq!(tips.first().cloned(), expected(next, 13, 0, TipStatus::Active));
    assert_eq!(found(&unjudged), expected(unjudged, 9, 2, TipStatus::ValidHeaders));
    assert_eq!(found(&headers_only), expected(headers_only, 10, 4, TipStatus::HeadersOnly));
    assert_eq!(found(&bad_id), expected(bad_id, 13, 1, TipStatus::Invalid));

    // A branch that was connected once is a valid fork.
    let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
    offer_branch(&mut ledger, &chain, &side);
    offer_branch(&mut ledger, &chain, &tip);
    let tips = ledger.view().chain_tips().unwrap();
    assert_eq!(tips[1], expected(side, 9, 3, TipStatus::ValidFork).unwrap());
}
