//! The chain goes through a file and comes back the same, each block judged.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use core::ops::ControlFlow;
use std::sync::Arc;

use ashlar_ledger::{
    Ledger, MemoryStore, Settings, Store,
    care::{self, CareError, ImportError, Imported, Progress},
    chain_file::{ChainFileError, Reader, Writer},
};
use ashlar_primitives::{BlockId, Encode as _};
use ashlar_testkit::builder::{Chain, Plan, lock};
use common::{world::*, *};

fn reader<'a>(chain: &Chain, file: &'a [u8]) -> Reader<&'a [u8]> {
    let params = chain.genesis().params();
    Reader::new(file, &params.chain_id, params.max_block_bytes).unwrap()
}

fn import<S: Store>(
    ledger: &mut Ledger<S>,
    chain: &Chain,
    file: &[u8],
    watch: &mut care::Watch<'_>,
) -> Result<Imported, ImportError> {
    care::import(ledger, &mut reader(chain, file), 0, NOW, &mut rand::rng(), watch)
}

#[test]
fn the_chain_goes_through_a_file() {
    let world = world();
    let file = export(&world.store, &world.chain);
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &world.chain, &Settings::default());
    let imported = import(&mut ledger, &world.chain, &file, &mut go_on).unwrap();
    assert_eq!(imported, Imported { new: 20, known: 0 });
    assert_view(&ledger, &world.chain, &world.tip);
    // Once more changes nothing.
    let again = import(&mut ledger, &world.chain, &file, &mut go_on).unwrap();
    assert_eq!(again, Imported { new: 0, known: 20 });
    drop(ledger);
    assert_is_replay(&*store, &world.chain, &world.tip, &Settings::default());
    assert_eq!(export(&*store, &world.chain), file);
}

#[test]
fn an_import_broken_off_anywhere_goes_on() {
    let world = world();
    let file = export(&world.store, &world.chain);
    let store = Arc::new(MemoryStore::new());
    let mut interruptions = 0;
    loop {
        let mut looks = 0;
        let mut watch = |_| {
            looks += 1;
            if looks > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut ledger = open(&store, &world.chain, &Settings::default());
        // Looks at what is known already are free, or no try would get beyond it.
        let known = ledger.view().tip().height;
        let mut patient = |progress: Progress| match progress.done <= known.into() {
            true => ControlFlow::Continue(()),
            false => watch(progress),
        };
        match import(&mut ledger, &world.chain, &file, &mut patient) {
            Ok(_) => break,
            Err(ImportError::Care(CareError::Interrupted)) => interruptions += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(interruptions > 3, "{interruptions}");
    assert_is_replay(&*store, &world.chain, &world.tip, &Settings::default());
}

#[test]
fn an_import_judges_each_block_and_keeps_what_is_good() {
    let world = world();
    let mut chain = rich_chain();
    let good = start(&mut chain, 5, 1);
    let pay = chain.pay(&good, 1, lock(2), 500, 10);
    let overpaying = chain.spoiled(&good, Plan::of(vec![pay]), |block| {
        block.coinbase.outputs[0].value = ashlar_primitives::Amount::from_grains(600_000_000);
    });
    let write = |last: &[u8]| {
        let mut writer = Writer::new(Vec::new(), &chain.genesis_id()).unwrap();
        for block in chain.branch(&good) {
            writer.push(&block.to_bytes()).unwrap();
        }
        writer.push(last).unwrap();
        writer.finish().unwrap()
    };
    let mut other_root = overpaying.to_bytes();
    other_root[100] ^= 1;
    let orphan = world.chain.block(&world.tip).to_bytes();
    for (last, expected) in [
        (overpaying.to_bytes(), "coinbase-overpays"),
        (orphan, "unknown-parent"),
        (vec![0; 90], "bad-version"),
    ] {
        let mut ledger = open(&Arc::new(MemoryStore::new()), &chain, &Settings::default());
        let error = import(&mut ledger, &chain, &write(&last), &mut go_on).unwrap_err();
        let ImportError::Refused { number: 6, code, .. } = error else { panic!("{error}") };
        assert_eq!(code, expected);
        assert_view(&ledger, &chain, &good);
    }
    // A file cut short: what was whole is in.
    let file = export(&world.store, &world.chain);
    let mut ledger = open(&Arc::new(MemoryStore::new()), &world.chain, &Settings::default());
    let error = import(&mut ledger, &world.chain, &file[..file.len() / 2], &mut go_on);
    assert!(matches!(error, Err(ImportError::File(ChainFileError::Truncated { .. }))));
    let mut ledger_goes_on = ledger;
    import(&mut ledger_goes_on, &world.chain, &file, &mut go_on).unwrap();
    assert_eq!(ledger_goes_on.view().tip().id, world.tip);
}

#[test]
fn an_import_assumes_signatures_only_below_a_block_of_the_file() {
    let world = world();
    let file = export(&world.store, &world.chain);
    let try_with = |named: BlockId| {
        let settings = Settings { assume_valid: Some(named), ..Settings::default() };
        let mut ledger = open(&Arc::new(MemoryStore::new()), &world.chain, &settings);
        let mut headers = reader(&world.chain, &file);
        care::import_headers(&mut ledger, &mut headers, 0, NOW, &mut go_on)?;
        import(&mut ledger, &world.chain, &file, &mut go_on)?;
        Ok::<_, ImportError>(ledger.view().tip().id)
    };
    assert_eq!(try_with(world.tip).unwrap(), world.tip);
    assert_eq!(try_with(world.chain.branch(&world.tip)[3].id()).unwrap(), world.tip);
    let error = try_with(BlockId([1; 32])).unwrap_err();
    assert!(matches!(error, ImportError::AssumedNotThere { .. }), "{error}");
}
