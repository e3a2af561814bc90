//! Data directories as releases wrote them (`tests/fixtures/schema-N`) open, hold what they held,
//! and go on. The example `fixture` makes the one of a new schema.
#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ashlar_consensus::Genesis;
use ashlar_ledger::{
    Ledger, Offered, RocksOptions, RocksStore, Settings, records::SCHEMA, view::TipStatus,
};
use ashlar_primitives::BlockId;
use ashlar_testkit::builder::{Chain, GENESIS_TIME, Plan, lock};

const NOW: u64 = GENESIS_TIME as u64 + 1_000_000;

fn fixture(schema: u32) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(format!("tests/fixtures/schema-{schema}"))
}

#[test]
fn every_schema_that_was_ever_released_opens() {
    assert!(fixture(SCHEMA).is_dir(), "make one: see the example `fixture`");
    for schema in 1..=SCHEMA {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(fixture(schema).join("ledger")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        opens(&fixture(schema), folder.path());
    }
}

fn opens(fixture: &Path, ledger: &Path) {
    let expected = fs::read_to_string(fixture.join("expected.txt")).unwrap();
    let line = |name: &str| {
        let value = expected.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_else(|| panic!("{name} in expected.txt")).trim().to_owned()
    };
    let genesis = fs::read_to_string(fixture.join("genesis.json")).unwrap();
    let genesis = Genesis::parse(&genesis).unwrap();
    let open = || {
        let store = Arc::new(RocksStore::open(ledger, &RocksOptions::small()).unwrap());
        Ledger::open(store, &genesis, Settings::default()).unwrap()
    };
    let mut opened = open();
    assert_eq!(opened.warning(), None);
    let view = opened.view();
    assert_eq!(view.tip().id.to_string(), line("tip"));
    assert_eq!(view.tip().height.to_string(), line("height"));
    assert_eq!(view.utxo_commitment().to_string(), line("commitment"));
    assert_eq!(view.coin_count().to_string(), line("coins"));

    // The chain that is stored, judged again from its bodies, gives the coins that are stored.
    let mut chain = Chain::new(genesis.clone());
    for height in 1..=view.tip().height {
        let id = view.block_id_at(height).unwrap().unwrap();
        let block = view.block(&id).unwrap().unwrap();
        assert!(view.transaction_place(&block.coinbase.id().into()).unwrap().is_some());
        chain.adopt(block).unwrap();
    }
    let tip = view.tip().id;
    assert_coins(&opened, &chain, &tip);

    // What lies beside the chain: a branch that was valid, one that failed, a header alone.
    let tips = view.chain_tips().unwrap();
    for status in [TipStatus::Active, TipStatus::ValidFork, TipStatus::Invalid] {
        assert!(tips.iter().any(|tip| tip.status == status), "{status:?}: {tips:?}");
    }
    let wanted = opened.wanted_bodies(9).unwrap();
    assert_eq!(wanted.len(), 1, "{wanted:?}");

    // Down to the fork by the stored undo records, up again, and on.
    let first = view.block_id_at(3).unwrap().unwrap();
    opened.invalidate(&first).unwrap();
    opened.settle_down(&mut rand::rng()).unwrap();
    let low = opened.view().tip().id;
    assert_eq!(chain.state(&low).header.height, 2);
    assert_coins(&opened, &chain, &low);
    opened.reconsider(&first).unwrap();
    let pay = chain.pay(&tip, 1, lock(2), 400, 10);
    let next = chain.extend(&tip, Plan::of(vec![pay]));
    let next_two = [next.id(), chain.extend(&next.id(), Plan::default()).id()];
    for id in next_two {
        let offered = opened.offer(&chain.block(&id).to_bytes(), NOW, &mut rand::rng()).unwrap();
        assert_eq!(offered, Offered::Accepted);
    }
    assert_coins(&opened, &chain, &next_two[1]);
    drop((view, opened));
    assert_coins(&open(), &chain, &next_two[1]);
}

/// The coins after `tip`, as the builder has them, and under each lock.
fn assert_coins(ledger: &Ledger<RocksStore>, chain: &Chain, tip: &BlockId) {
    let view = ledger.view();
    assert_eq!(view.tip().id, *tip);
    let coins = chain.coins(tip);
    assert_eq!(view.coin_count(), coins.len() as u64);
    let outpoints: Vec<_> = coins.keys().copied().collect();
    let expected: Vec<_> = coins.values().copied().map(Some).collect();
    assert_eq!(view.coins(&outpoints).unwrap(), expected);
    assert_eq!(view.utxo_commitment(), chain.state(tip).utxo.commitment());
    for owner in (1..=3).map(lock) {
        let page = view.lock_coins(&owner, None, 999).unwrap();
        let owned = coins.iter().filter(|(_, coin)| coin.output.lock == owner);
        assert!(page.items.iter().map(|item| &item.outpoint).eq(owned.map(|(at, _)| at)));
    }
}
