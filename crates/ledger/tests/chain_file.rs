//! The chain goes through a file and comes back the same, each block judged.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use core::ops::ControlFlow;
use std::{fs::File, io::Write as _, sync::Arc};

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

/// A file that holds these bytes.
fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn an_export_broken_off_anywhere_goes_on() {
    let world = world();
    let whole = export(&world.store, &world.chain);
    let mut file = tempfile::tempfile().unwrap();
    // Each try writes one block more.
    for number in 1..=20 {
        let mut watch = |progress: Progress| match progress.done < number {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let error = care::export(&world.store, world.chain.genesis(), &file, &mut watch);
        assert!(matches!(error, Err(CareError::Interrupted)));
        let begun = content(&mut file);
        assert_eq!(begun, whole[..begun.len()]);
        let mut reader = reader(&world.chain, &begun);
        for _ in 0..number {
            assert!(reader.next_block().unwrap().is_some());
        }
        assert_eq!(reader.place().bytes(), begun.len() as u64);
    }
    let done = care::export(&world.store, world.chain.genesis(), &file, &mut go_on).unwrap();
    assert_eq!((done.blocks, done.kept, done.tip), (20, 20, world.tip));
    assert_eq!(content(&mut file), whole);
}

#[test]
fn an_export_keeps_what_is_whole_and_on_the_chain_and_nothing_else() {
    let world = world();
    let whole = export(&world.store, &world.chain);
    let kept = |bytes: &[u8]| {
        let mut file = file_of(bytes);
        let done = care::export(&world.store, world.chain.genesis(), &file, &mut go_on).unwrap();
        assert_eq!(content(&mut file), whole);
        done.kept
    };
    // Killed anywhere.
    for cut in (0..whole.len()).step_by(97) {
        let mut reader = Reader::new(
            &whole[..cut],
            &world.chain.genesis_id(),
            world.chain.genesis().params().max_block_bytes,
        );
        let mut blocks = 0;
        while let Ok(Ok(Some(_))) = reader.as_mut().map(Reader::next_block) {
            blocks += 1;
        }
        assert_eq!(kept(&whole[..cut]), blocks);
    }
    // Finished, and not yet given its name; or with more behind it.
    assert_eq!(kept(&whole), 20);
    assert_eq!(kept(&[whole.as_slice(), &[1; 999]].concat()), 20);
    // A power cut left zeros where the middle was.
    let mut torn = whole.clone();
    torn[whole.len() / 2..].fill(0);
    let middle = kept(&torn);
    assert!((5..15).contains(&middle), "{middle}");
    // Another chain's, or none at all.
    let other = rich_chain_of_its_own();
    assert_eq!(kept(&b"something else".repeat(99)), 0);
    assert_eq!(kept(&other), 0);
    // The chain has left the branch that was exported.
    let mut abandoned = Writer::new(Vec::new(), &world.chain.genesis_id()).unwrap();
    let branch = world.chain.branch(&world.abandoned);
    for block in &branch {
        abandoned.push(&block.to_bytes()).unwrap();
    }
    let best = world.chain.branch(&world.tip);
    let common = best.iter().zip(&branch).take_while(|(a, b)| a.id() == b.id()).count();
    assert!(common < branch.len());
    assert_eq!(kept(&abandoned.finish().unwrap()), u32::try_from(common).unwrap());
}

/// The file of a chain with another genesis.
fn rich_chain_of_its_own() -> Vec<u8> {
    let mut chain = Chain::new(ashlar_testkit::builder::genesis(&[(lock(1), 5)]));
    let tip = chain.extend_by(&chain.genesis_id(), 3);
    let mut writer = Writer::new(Vec::new(), &chain.genesis_id()).unwrap();
    for block in chain.branch(&tip) {
        writer.push(&block.to_bytes()).unwrap();
    }
    writer.finish().unwrap()
}
