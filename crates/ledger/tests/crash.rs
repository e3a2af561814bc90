//! The store fails, or the process dies, at every call there is: what is left is whole, holds
//! what others were told of, and goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use ashlar_consensus::verify_signatures;
use ashlar_ledger::{
    Announced, Durability, Family, Ledger, Marker, MemoryStore, Move, Offered, OpenLedgerError,
    OpenWarning, Read as _, Settings, Store, StoreError,
};
use ashlar_primitives::{Amount, BlockId};
use ashlar_testkit::{
    builder::{Chain, Plan},
    faults::{Call, Effect, Fault, FaultyStore, Moment},
};
use common::*;

/// What a ledger goes through, from opening it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    FirstOpen,
    CatchingUp,
    AtTheTip,
    Reorganisation,
    InvalidBranch,
    IndexesOn,
    IndexesOff,
    Orders,
    Flush,
}

const SCENES: [Scene; 9] = [
    Scene::FirstOpen,
    Scene::CatchingUp,
    Scene::AtTheTip,
    Scene::Reorganisation,
    Scene::InvalidBranch,
    Scene::IndexesOn,
    Scene::IndexesOff,
    Scene::Orders,
    Scene::Flush,
];

/// Blocks, and where a scene begins and ends.
struct Play {
    scene: Scene,
    chain: Chain,
    settings: Settings,
    /// Where the ledger stands before the scene; `None`: nowhere, the store is empty.
    start: Option<BlockId>,
    /// Where it stands after it.
    end: BlockId,
    /// The other branch, or the block that is spoken of.
    other: BlockId,
    /// Remembered as failed at the end.
    failed: Vec<BlockId>,
    straight: RefCell<BTreeMap<BlockId, MemoryStore>>,
}

impl Play {
    fn new(scene: Scene) -> Self {
        let mut chain = rich_chain();
        let genesis = chain.genesis_id();
        let low = self::start(&mut chain, 3, 1);
        let mut failed = Vec::new();
        // Steps of one block, so that each is a write, except where large ones matter.
        let mut settings = Settings { step_bytes: 1, ..Settings::default() };
        let (start, end, other) = match scene {
            Scene::FirstOpen => (None, genesis, genesis),
            Scene::CatchingUp => {
                settings.step_bytes = 4_000;
                (Some(low), extend_with_payments(&mut chain, &low, 34, 2), genesis)
            }
            Scene::AtTheTip => (Some(low), extend_with_payments(&mut chain, &low, 4, 2), genesis),
            Scene::Reorganisation => {
                let short = extend_with_payments(&mut chain, &low, 4, 2);
                (Some(short), extend_with_payments(&mut chain, &low, 5, 3), short)
            }
            Scene::InvalidBranch => {
                let honest = extend_with_payments(&mut chain, &low, 3, 2);
                let before = extend_with_payments(&mut chain, &low, 2, 3);
                let bad = chain.spoiled(&before, Plan::default(), |block| {
                    block.coinbase.outputs[0].value = Amount::from_grains(600_000_000);
                });
                let bad = chain.adopt_unjudged(bad).id();
                let above = chain.extend_unjudged(&bad);
                let tip = chain.extend_unjudged(&above);
                failed = vec![bad, above, tip];
                (Some(honest), honest, tip)
            }
            Scene::IndexesOn | Scene::IndexesOff => {
                settings.transaction_index = scene == Scene::IndexesOn;
                settings.lock_index = settings.transaction_index;
                let tip = extend_with_payments(&mut chain, &low, 6, 2);
                (Some(tip), tip, genesis)
            }
            Scene::Orders => {
                let short = extend_with_payments(&mut chain, &low, 3, 2);
                let long = extend_with_payments(&mut chain, &low, 4, 3);
                (Some(long), long, short)
            }
            Scene::Flush => {
                let tip = extend_with_payments(&mut chain, &low, 30, 2);
                (Some(low), tip, genesis)
            }
        };
        let straight = RefCell::default();
        Self { scene, chain, settings, start, end, other, failed, straight }
    }

    /// The same, each block at the tip told of before its step is written.
    fn told_first(self) -> Self {
        Self { settings: Settings { tell_first: true, ..self.settings.clone() }, ..self }
    }

    /// The store in which the scene begins.
    fn stage(&self) -> MemoryStore {
        let Some(start) = self.start else { return MemoryStore::new() };
        let mut settings = self.settings.clone();
        match self.scene {
            Scene::IndexesOn => (settings.transaction_index, settings.lock_index) = (false, false),
            Scene::IndexesOff => (settings.transaction_index, settings.lock_index) = (true, true),
            _ => {}
        }
        let store = Arc::new(MemoryStore::new());
        let mut ledger = open(&store, &self.chain, &settings);
        offer_branch(&mut ledger, &self.chain, &start);
        ledger.flush().unwrap();
        drop(ledger);
        Arc::into_inner(store).unwrap()
    }

    /// Opens the ledger and plays the scene. `told`: the tip that was last published.
    fn play<S: Store>(&self, store: &Arc<S>, told: &mut Option<BlockId>) -> Result<(), StoreError> {
        let opened = Ledger::open(Arc::clone(store), self.chain.genesis(), self.settings.clone());
        let mut ledger = match opened {
            Ok(ledger) => ledger,
            Err(OpenLedgerError::Store(error)) => return Err(error),
            Err(error) => panic!("{error}"),
        };
        let played = self.act(&mut ledger, told);
        if played.is_err() {
            // Whatever is tried now: nothing more is done.
            assert!(ledger.flush().is_err());
            assert!(ledger.flush().is_err());
        }
        *told = Some(ledger.view().tip().id);
        played
    }

    fn act<S: Store>(
        &self,
        ledger: &mut Ledger<S>,
        told: &mut Option<BlockId>,
    ) -> Result<(), StoreError> {
        // As the node does before it serves anybody.
        self.settle(ledger, told)?;
        match self.scene {
            Scene::FirstOpen | Scene::IndexesOn | Scene::IndexesOff => {}
            Scene::AtTheTip => {
                for block in self.chain.branch(&self.end) {
                    let offered = ledger.offer(&block.to_bytes(), NOW, &mut rand::rng())?;
                    assert!(!matches!(offered, Offered::Refused { .. }), "{offered:?}");
                    *told = Some(ledger.view().tip().id);
                }
            }
            Scene::CatchingUp => {
                self.keep_headers(ledger, &self.end)?;
                for block in self.chain.branch(&self.end) {
                    ledger.store_body(block)?;
                    self.settle(ledger, told)?;
                }
            }
            Scene::Reorganisation => {
                self.keep(ledger, &self.end)?;
                self.settle(ledger, told)?;
            }
            Scene::InvalidBranch => {
                self.keep(ledger, &self.other)?;
                self.settle(ledger, told)?;
            }
            Scene::Orders => {
                self.keep(ledger, &self.other)?;
                let first = self.chain.branch(&self.end)[3].id();
                ledger.invalidate(&first)?;
                self.settle(ledger, told)?;
                assert_eq!(ledger.view().tip().id, self.other);
                ledger.reconsider(&first)?;
                self.settle(ledger, told)?;
            }
            Scene::Flush => {
                self.keep_headers(ledger, &self.end)?;
                for block in self.chain.branch(&self.end).into_iter().take(7) {
                    ledger.store_body(block)?;
                }
                ledger.flush()?;
                self.keep(ledger, &self.end)?;
                self.settle(ledger, told)?;
                ledger.flush()?;
            }
        }
        Ok(())
    }

    fn keep_headers<S: Store>(
        &self,
        ledger: &mut Ledger<S>,
        tip: &BlockId,
    ) -> Result<(), StoreError> {
        for block in self.chain.branch(tip) {
            match ledger.accept_header(block.header(), NOW)? {
                Ok(_) => {}
                Err(refusal) => {
                    assert!(self.failed.contains(&block.id()), "{refusal}");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn keep<S: Store>(&self, ledger: &mut Ledger<S>, tip: &BlockId) -> Result<(), StoreError> {
        self.keep_headers(ledger, tip)?;
        self.chain.branch(tip).into_iter().try_for_each(|b| ledger.store_body(b).map(drop))
    }

    /// Every move there is, noting what is published; as a driver makes them, with all that may be
    /// out at once.
    fn settle<S: Store>(
        &self,
        ledger: &mut Ledger<S>,
        told: &mut Option<BlockId>,
    ) -> Result<(), StoreError> {
        let mut out = VecDeque::new();
        loop {
            let next = ledger.next_move(0);
            *told = Some(ledger.view().tip().id);
            match next? {
                Move::Progress => {}
                Move::Verify(walked) => out.push_back(walked),
                Move::Idle => {
                    let Some(walked) = out.pop_front() else { return Ok(()) };
                    let verified =
                        verify_signatures(walked.checks(), &Default::default(), &mut rand::rng());
                    ledger.complete(walked, verified, 0)?;
                }
            }
        }
    }

    /// What a fault left: whole, with what was told, and able to go on.
    fn check<S: Store>(&self, left: S, told: Option<BlockId>, what: &dyn core::fmt::Debug) {
        let store = Arc::new(left);
        let mut ledger = open(&store, &self.chain, &self.settings);
        assert_eq!(ledger.warning(), None, "{what:?}");
        let tip = ledger.view().tip().id;
        assert_view(&ledger, &self.chain, &tip);
        self.assert_straight(&*store, &tip);

        let mut again = None;
        self.settle(&mut ledger, &mut again).unwrap();
        if let Some(told) = told {
            assert!(told == self.chain.genesis_id() || ledger.has_body(&told).unwrap());
            let work = |id| self.chain.state(&id).header.work;
            let is_there = work(ledger.view().tip().id) >= work(told);
            assert!(is_there || self.scene == Scene::Orders, "{what:?}: {told} is lost");
        }
        drop(ledger);

        self.play(&store, &mut again).unwrap();
        let mut ledger = open(&store, &self.chain, &self.settings);
        self.settle(&mut ledger, &mut again).unwrap();
        assert_view(&ledger, &self.chain, &self.end);
        self.assert_straight(&*store, &self.end);
        for id in self.chain.ids() {
            let is_failed = ledger.failed_code(&id).unwrap().is_some();
            assert_eq!(is_failed, self.failed.contains(&id), "{what:?}: {id}");
        }
        let height = self.chain.state(&self.end).header.height;
        let announced = Announced { height, id: self.end };
        assert_eq!(store.announced().unwrap(), Marker::Tip(announced));
    }

    /// Like [`assert_is_replay`], which makes the same store again each time.
    fn assert_straight(&self, store: &impl ashlar_ledger::Read, tip: &BlockId) {
        let mut straight = self.straight.borrow_mut();
        let straight = straight.entry(*tip).or_insert_with(|| {
            let straight = replay(&self.chain, tip, &self.settings);
            assert_is_replay(&straight, &self.chain, tip, &self.settings);
            straight
        });
        for family in DERIVED {
            assert_eq!(derived(store, family), derived(straight, family), "{}", family.name());
        }
    }

    /// How many calls the scene makes when nothing fails.
    fn count(&self, call: Call) -> usize {
        let store = Arc::new(FaultyStore::new(self.stage(), None));
        self.play(&store, &mut None).unwrap();
        store.calls(call)
    }

    /// The store and the last tip told after a scene that met `fault`.
    fn play_with(&self, fault: Fault) -> (MemoryStore, Option<BlockId>) {
        let store = Arc::new(FaultyStore::new(self.stage(), Some(fault)));
        let mut told = None;
        let played = self.play(&store, &mut told);
        assert!(played.is_err() && store.has_struck(), "{:?} {fault:?}", self.scene);
        assert_eq!(store.writes_after(), 0, "{fault:?}: written after a failure");
        (Arc::into_inner(store).unwrap().into_inner(), told)
    }
}

#[test]
fn every_write_may_fail_or_be_the_last() {
    let (mut writes, mut cuts) = (0, 0);
    let later = [Scene::AtTheTip, Scene::Reorganisation, Scene::Orders];
    let plays = SCENES.map(Play::new).into_iter();
    for play in plays.chain(later.map(|scene| Play::new(scene).told_first())) {
        let scene = play.scene;
        let count = play.count(Call::Write);
        for number in 1..=count {
            for moment in [Moment::Before, Moment::After] {
                for effect in [Effect::Fail, Effect::Kill] {
                    let fault = Fault { call: Call::Write, number, moment, effect };
                    let (left, told) = play.play_with(fault);
                    if effect == Effect::Fail {
                        continue; // It leaves what a kill does, and nothing is written after it.
                    }
                    for lost in 0..=left.unsynced() {
                        play.check(left.after_power_cut(lost), told, &(scene, fault, lost));
                        cuts += lost.min(1);
                    }
                }
            }
        }
        println!("{scene:?}: {count} writes");
        writes += count;
    }
    assert!(writes > 150 && cuts > 500, "{writes} writes, {cuts} cuts");
}

/// Where steps are written by a thread, the order of calls is not the same each time, nor their
/// number: whichever call is the last, what it leaves must do.
#[test]
fn every_write_beside_a_thread_may_be_the_last() {
    let mut kills = 0;
    for scene in [Scene::CatchingUp, Scene::Reorganisation, Scene::InvalidBranch, Scene::Flush] {
        let play = Play::new(scene);
        for moment in [Moment::Before, Moment::After] {
            for number in 1.. {
                let fault = Fault { call: Call::Write, number, moment, effect: Effect::Kill };
                let store = Arc::new(FaultyStore::new(play.stage(), Some(fault)).slow());
                let mut told = None;
                let played = play.play(&store, &mut told);
                assert_eq!(played.is_err(), store.has_struck(), "{scene:?} {fault:?}");
                if !store.has_struck() {
                    break;
                }
                let left = Arc::into_inner(store).unwrap().into_inner();
                for lost in [0, left.unsynced()] {
                    play.check(left.after_power_cut(lost), told, &(scene, fault, lost));
                }
                kills += 1;
            }
        }
    }
    assert!(kills > 60, "{kills} kills");
}

#[test]
fn a_read_that_fails_stops_everything_and_condemns_nothing() {
    for scene in SCENES {
        let play = Play::new(scene);
        let count = play.count(Call::Read);
        for number in (1..=count).step_by(1 + count / 150) {
            let (moment, effect) = (Moment::Before, Effect::Fail);
            let fault = Fault { call: Call::Read, number, moment, effect };
            let (left, told) = play.play_with(fault);
            play.check(left, told, &(scene, fault));
        }
    }
}

#[test]
fn what_a_reader_cannot_read_stops_the_ledger() {
    let play = Play::new(Scene::AtTheTip);
    let reads = {
        let store = Arc::new(FaultyStore::new(play.stage(), None));
        play.play(&store, &mut None).unwrap();
        store.calls(Call::Read)
    };
    let (moment, effect) = (Moment::Before, Effect::Fail);
    let fault = Fault { call: Call::Read, number: reads + 1, moment, effect };
    let store = Arc::new(FaultyStore::new(play.stage(), Some(fault)));
    let mut ledger = open(&store, &play.chain, &play.settings);
    play.act(&mut ledger, &mut None).unwrap();
    ledger.check_store().unwrap();
    assert!(ledger.view().block_id_at(0).is_err());
    assert!(matches!(ledger.check_store(), Err(StoreError::Io { .. })));
    assert!(ledger.view().block_id_at(0).is_err(), "also what could be read again");
    assert!(matches!(ledger.flush(), Err(StoreError::Io { .. })));
    assert_eq!(store.writes_after(), 0);
}

#[test]
fn no_tip_is_told_that_a_power_cut_could_take() {
    for scene in [Scene::CatchingUp, Scene::Reorganisation, Scene::Flush] {
        let play = Play::new(scene);
        let store = Arc::new(play.stage());
        let mut ledger = open(&store, &play.chain, &play.settings);
        play.keep_headers(&mut ledger, &play.end).unwrap();
        for block in play.chain.branch(&play.end) {
            ledger.store_body(block).unwrap();
            play.settle(&mut ledger, &mut None).unwrap();
            let left = Arc::new(store.after_power_cut(usize::MAX));
            let after = open(&left, &play.chain, &play.settings);
            let (told, kept) = (ledger.view(), after.view());
            assert!(kept.tip().work >= told.tip().work, "{scene:?}");
            assert!(after.is_descendant(&kept.tip().id, &told.tip().id).unwrap());
        }
    }
}

#[test]
fn a_database_that_went_back_is_told_and_catches_up() {
    let play = Play::new(Scene::AtTheTip);
    let store = Arc::new(play.stage());
    let old = MemoryStore::clone(&store);
    let branch = play.chain.branch(&play.end);
    let mut ledger = open(&store, &play.chain, &play.settings);
    offer_branch(&mut ledger, &play.chain, &play.end);
    let Marker::Tip(announced) = store.announced().unwrap() else { panic!("a tip was announced") };
    assert_eq!((announced.id, announced.height), (play.end, 7));

    // Everything since the stage is gone, but for the marker.
    old.announce(announced).unwrap();
    let old = Arc::new(old);
    let mut ledger = open(&old, &play.chain, &play.settings);
    let warning = ledger.warning().unwrap();
    assert_eq!(*warning, OpenWarning::WentBack { announced, found_height: 3 });
    let text = warning.to_string();
    assert!(text.contains(&play.end.to_string()) && text.contains("fetched again"), "{text}");
    offer_branch(&mut ledger, &play.chain, &play.end);
    drop(ledger);
    assert_eq!(open(&old, &play.chain, &play.settings).warning(), None);

    // Only the step of the last block is gone: its body leads there again.
    let before = Arc::new(play.stage());
    let mut ledger = open(&before, &play.chain, &play.settings);
    offer_branch(&mut ledger, &play.chain, &branch[5].id());
    ledger.accept_header(branch[6].header(), NOW).unwrap().unwrap();
    ledger.store_body(Arc::clone(&branch[6])).unwrap();
    drop(ledger);
    before.announce(announced).unwrap();
    let mut ledger = open(&before, &play.chain, &play.settings);
    assert_eq!(ledger.warning(), None);
    settle(&mut ledger);
    assert_view(&ledger, &play.chain, &play.end);
}

#[test]
fn an_interrupted_reorganisation_is_finished_before_anybody_is_served() {
    let play = Play::new(Scene::Reorganisation);
    let short = play.chain.state(&play.other).header.work;
    let mut resumed = 0;
    for number in 1..=play.count(Call::Write) {
        let (moment, effect) = (Moment::After, Effect::Kill);
        let fault = Fault { call: Call::Write, number, moment, effect };
        let store = Arc::new(play.play_with(fault).0);
        // Opened and killed again without a move: what was told is not forgotten.
        drop(open(&store, &play.chain, &play.settings));
        let mut ledger = open(&store, &play.chain, &play.settings);
        let is_half_way = ledger.view().tip().work < short;
        resumed += usize::from(is_half_way);
        while ledger.view().tip().id != play.end && is_half_way {
            let before = ledger.view();
            let next = ledger.next_move(0).unwrap();
            if let Move::Verify(walked) = next {
                let verified =
                    verify_signatures(walked.checks(), &Default::default(), &mut rand::rng());
                ledger.complete(walked, verified, 0).unwrap();
            }
            let view = ledger.view();
            assert!(view.sequence() == before.sequence() || view.tip().work > short);
        }
        let mut ledger = open(&store, &play.chain, &play.settings);
        ledger.resume(&mut rand::rng()).unwrap();
        assert!(ledger.view().tip().work >= short);
    }
    assert!(resumed >= 6, "only {resumed} crashes half-way");
}

#[test]
fn an_order_of_the_operator_is_on_disk_when_it_returns() {
    let play = Play::new(Scene::Orders);
    let store = Arc::new(play.stage());
    let mut ledger = open(&store, &play.chain, &play.settings);
    let first = play.chain.branch(&play.end)[3].id();
    let failed = |store: &MemoryStore| {
        let ledger =
            open(&Arc::new(store.after_power_cut(usize::MAX)), &play.chain, &play.settings);
        ledger.failed_code(&play.end).unwrap().is_some()
    };
    ledger.invalidate(&first).unwrap();
    assert!(failed(&store));
    ledger.reconsider(&play.end).unwrap();
    assert!(!failed(&store));
    // Of bodies alone a cut may take the newest.
    store_branch(&mut ledger, &play.chain, &play.other);
    let lost = store.after_power_cut(1);
    assert_eq!(lost.get(Family::Blocks, play.other.as_bytes()).unwrap(), None);
    store.commit(ashlar_ledger::Batch::default(), Durability::Synced).unwrap();
    assert_eq!(store.unsynced(), 0);
}

#[cfg(feature = "rocksdb")]
mod disk {
    use std::fs;

    use ashlar_ledger::{RocksOptions, RocksStore};

    use super::*;

    fn rocks(folder: &std::path::Path) -> RocksStore {
        RocksStore::open(folder, &RocksOptions::small()).unwrap()
    }

    /// The same on disk, for a part of the writes: what survives is what RocksDB reads back.
    #[test]
    fn writes_fail_on_disk_as_in_memory() {
        for scene in [Scene::FirstOpen, Scene::CatchingUp, Scene::Reorganisation, Scene::IndexesOn]
        {
            let play = Play::new(scene);
            let count = play.count(Call::Write);
            for number in (1..=count).step_by(1 + count / 5) {
                for moment in [Moment::Before, Moment::After] {
                    let folder = tempfile::tempdir().unwrap();
                    let disk = rocks(folder.path());
                    copy(&play.stage(), &disk);
                    let effect = Effect::Kill;
                    let fault = Fault { call: Call::Write, number, moment, effect };
                    let store = Arc::new(FaultyStore::new(disk, Some(fault)));
                    let mut told = None;
                    play.play(&store, &mut told).unwrap_err();
                    assert!(store.has_struck());
                    drop(store);
                    play.check(rocks(folder.path()), told, &(scene, fault));
                }
            }
        }
    }

    fn copy(from: &MemoryStore, to: &RocksStore) {
        let mut batch = ashlar_ledger::Batch::default();
        for family in Family::ALL {
            for (key, value) in dump(from, family) {
                batch.put(family, key, value);
            }
        }
        to.commit(batch, Durability::Synced).unwrap();
    }

    /// The disk fails while a copy is made, or the process dies at it: the ledger that is copied
    /// goes on in the same process, or in the next.
    #[test]
    fn a_backup_that_fails_stops_nothing() {
        let play = Play::new(Scene::AtTheTip);
        let branch = play.chain.branch(&play.end);
        let half = branch[5].id();
        for effect in [Effect::Fail, Effect::Kill] {
            for moment in [Moment::Before, Moment::After] {
                let folder = tempfile::tempdir().unwrap();
                let (at, to) = (folder.path().join("ledger"), folder.path().join("copy"));
                let disk = rocks(&at);
                copy(&play.stage(), &disk);
                let play_half = |store: Arc<FaultyStore<RocksStore>>| {
                    let mut ledger = open(&store, &play.chain, &play.settings);
                    offer_branch(&mut ledger, &play.chain, &half);
                    ledger
                };
                let calls = {
                    let store = Arc::new(FaultyStore::new(disk, None));
                    drop(play_half(Arc::clone(&store)));
                    let calls = store.calls(Call::Write);
                    drop(store);
                    fs::remove_dir_all(&at).unwrap();
                    calls
                };
                let disk = rocks(&at);
                copy(&play.stage(), &disk);
                let fault = Fault { call: Call::Write, number: calls + 1, moment, effect };
                let store = Arc::new(FaultyStore::new(disk, Some(fault)));
                let mut ledger = play_half(Arc::clone(&store));
                store.checkpoint(&to).unwrap_err();
                assert!(store.has_struck());
                assert_eq!(to.exists(), moment == Moment::After, "{fault:?}");
                ledger.check_store().unwrap();
                if effect == Effect::Fail {
                    offer_branch(&mut ledger, &play.chain, &play.end);
                    assert_view(&ledger, &play.chain, &play.end);
                    store.checkpoint(&folder.path().join("second")).unwrap();
                }
                drop((ledger, store));
                let copies = [("ledger", true), ("copy", moment == Moment::After)];
                for (name, _) in copies.into_iter().filter(|(_, is_there)| *is_there) {
                    play.check(rocks(&folder.path().join(name)), Some(half), &(name, fault));
                }
                if effect == Effect::Fail {
                    play.check(rocks(&folder.path().join("second")), Some(play.end), &fault);
                }
            }
        }
    }
}
