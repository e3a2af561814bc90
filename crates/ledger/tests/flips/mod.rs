//! One flipped bit in a data directory: the right answer or a clean refusal, never other coins.
//!
//! Shared by the test `damage` and the example `flip`, which does the same for as long as one likes.

use std::{
    collections::BTreeMap,
    fs,
    ops::{Bound, ControlFlow},
    path::{Path, PathBuf},
    sync::Arc,
};

use ashlar_ledger::{
    Direction, Family, Ledger, Marker, Offered, OpenLedgerError, Read, RocksOptions, RocksStore,
    Settings, Store as _, StoreError,
    care::{
        CareError,
        reindex::{self, Begun},
    },
    store::Entry,
};
use ashlar_primitives::{BlockId, Encode as _};
use ashlar_testkit::builder::{Chain, GENESIS_TIME, Plan, Spend, genesis, key, lock, output};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Later than every block.
const NOW: u64 = GENESIS_TIME as u64 + 1_000_000;

/// Blocks of the announced tip's chain, and of the longer one that the test goes on to.
const STORED_BLOCKS: u64 = 40;
const ALL_BLOCKS: u64 = 44;

/// How often the database is closed and opened while it is made: each time its log becomes
/// tables, so that there are several; what comes after the last time stays in the log.
const BLOCKS_PER_SESSION: usize = 9;

/// Blocks that the test undoes at the end, to use what is stored for that.
const UNDONE_BLOCKS: u32 = 12;

/// A data directory, byte for byte, and what it is to hold.
pub(crate) struct Original {
    chain: Chain,
    /// The branch to the announced tip, then blocks that the directory does not know.
    branch: Vec<BlockId>,
    announced: BlockId,
    files: Vec<(PathBuf, Vec<u8>)>,
    entries: BTreeMap<Family, BTreeMap<Vec<u8>, Vec<u8>>>,
}

/// Which bit.
#[derive(Clone, Debug)]
pub(crate) struct Flip {
    pub(crate) file: PathBuf,
    pub(crate) offset: usize,
    pub(crate) bit: u8,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was there.
    Unharmed,
    /// The database went back, said so, and caught up.
    WentBack,
    /// Refused cleanly, and whole after the reindex that the message names.
    Mended,
    /// Refused cleanly, in these words, and beyond what is stored.
    Refused(String),
}

/// Blocks of many kinds: small ones, one whose body and one whose undo record fill a blob.
fn long_branch(chain: &mut Chain) -> Vec<BlockId> {
    let mut tip = chain.genesis_id();
    let mut branch = Vec::new();
    for number in 0..ALL_BLOCKS {
        let plan = match number % 8 {
            3 => Plan::of(vec![scatter(chain, &tip, 150)]),
            5 => Plan::of(vec![gather(chain, &tip)]),
            _ => Plan::of(vec![chain.pay(&tip, 1 + number % 3, lock(1), 500 + number, 10)]),
        };
        tip = chain.extend(&tip, Plan { pay_to: lock(1 + number % 3), ..plan }).id();
        branch.push(tip);
    }
    branch
}

/// One coin becomes many, in a body of some kilobytes.
fn scatter(chain: &Chain, tip: &BlockId, count: usize) -> ashlar_primitives::Transaction {
    let (outpoint, coin) = chain.spendable(tip, &lock(4))[0];
    let mut outputs = vec![output(lock(5), 10); count];
    let rest = coin.value.grains() - 10 * count as u64 - 10;
    outputs.push(output(lock(4), rest));
    let spend = Spend { inputs: vec![(outpoint, coin)], outputs, ..Spend::default() };
    spend.sign(&chain.genesis_id(), &[&key(4)])
}

/// Many coins become one, with an undo record of some kilobytes.
fn gather(chain: &Chain, tip: &BlockId) -> ashlar_primitives::Transaction {
    let inputs = chain.spendable(tip, &lock(5));
    let sum: u64 = inputs.iter().map(|(_, coin)| coin.value.grains()).sum();
    let spend = Spend { inputs, outputs: vec![output(lock(6), sum - 1)], ..Spend::default() };
    spend.sign(&chain.genesis_id(), &[&key(5)])
}

fn rocks(folder: &Path) -> Result<RocksStore, StoreError> {
    RocksStore::open(folder, &RocksOptions::small())
}

fn dump(store: &impl Read, family: Family) -> Result<Vec<Entry>, StoreError> {
    store.scan(family, (Bound::Unbounded, Bound::Unbounded), usize::MAX, Direction::Forward)
}

impl Original {
    /// Makes the directory in `folder`, which must be empty.
    pub(crate) fn make(folder: &Path) -> Self {
        let allocations: Vec<_> =
            (0..40).map(|number| (lock(1 + number % 4), 1_000_000 + number)).collect();
        let mut chain = Chain::new(genesis(&allocations));
        let branch = long_branch(&mut chain);
        let stored = &branch[..STORED_BLOCKS as usize];
        for session in stored.chunks(BLOCKS_PER_SESSION) {
            let store = Arc::new(rocks(folder).unwrap());
            let settings = Settings::default();
            let mut ledger = Ledger::open(store, chain.genesis(), settings).unwrap();
            for id in session {
                let bytes = chain.block(id).to_bytes();
                let offered = ledger.offer(&bytes, NOW, &mut rand::rng()).unwrap();
                assert_eq!(offered, Offered::Accepted);
            }
            // A side branch, as every long-lived node has.
            let parent = chain.block(session.last().unwrap()).header().parent;
            let side = chain.extend(&parent, Plan::default());
            ledger.offer(&side.to_bytes(), NOW, &mut rand::rng()).unwrap();
        }
        // Read as they are, before anything is opened again.
        let mut files: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap()))
            .collect();
        files.sort();
        let store = rocks(folder).unwrap();
        let entries = Family::ALL.map(|family| {
            (family, dump(&store, family).unwrap().into_iter().collect::<BTreeMap<_, _>>())
        });
        let announced = stored[stored.len() - 1];
        Self { chain, announced, branch, files, entries: entries.into() }
    }

    /// The files that hold anything, and their sizes.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, usize)> {
        let files = self.files.iter().filter(|(_, bytes)| !bytes.is_empty());
        files.map(|(path, bytes)| (path.as_path(), bytes.len()))
    }

    /// The bits that RocksDB itself would read for ever: the type of the second record of a log,
    /// which begins after a header of 7 bytes, the length of the payload among them, and that.
    pub(crate) fn endless(&self) -> impl Iterator<Item = Flip> {
        let logs = self.files.iter().filter(|(path, bytes)| {
            !bytes.is_empty() && matches!(kind_of(path).as_str(), "MANIFEST" | "log")
        });
        logs.map(|(path, bytes)| {
            let second = 7 + usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
            Flip { file: path.clone(), offset: second + 6, bit: 2 }
        })
    }

    /// A bit of a file, each kind of file as likely as any other.
    pub(crate) fn draw(&self, random: &mut StdRng) -> Flip {
        let mut kinds: BTreeMap<String, Vec<(&Path, usize)>> = BTreeMap::new();
        for (file, size) in self.files() {
            kinds.entry(kind_of(file)).or_default().push((file, size));
        }
        let kinds: Vec<_> = kinds.into_values().collect();
        let files = &kinds[random.random_range(0..kinds.len())];
        let (file, size) = files[random.random_range(0..files.len())];
        let (offset, bit) = (random.random_range(0..size), random.random_range(0..8));
        Flip { file: file.to_owned(), offset, bit }
    }

    /// Writes the directory with one bit flipped, uses everything in it, and judges the outcome.
    ///
    /// # Panics
    /// Where the ledger holds other coins than it should, condemns a valid block, lost the
    /// announced tip without a word, or refuses without naming a repair.
    pub(crate) fn suffer(&self, flip: &Flip) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in &self.files {
            let mut bytes = bytes.clone();
            if *path == flip.file {
                bytes[flip.offset] ^= 1 << flip.bit;
            }
            fs::write(folder.path().join(path), bytes).unwrap();
        }
        match self.use_all(folder.path()) {
            Ok(true) => Outcome::WentBack,
            Ok(false) => Outcome::Unharmed,
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("reindex") || text.contains("sync again"), "{text}");
                let mended =
                    self.reindex(folder.path()).and_then(|()| Ok(self.use_all(folder.path())?));
                match mended {
                    Ok(_) => Outcome::Mended,
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.contains("sync again"), "{text}");
                        Outcome::Refused(text)
                    }
                }
            }
        }
    }

    fn reindex(&self, folder: &Path) -> Result<(), CareError> {
        let genesis = self.chain.genesis();
        let options = RocksOptions::small();
        let mut watch = |_| ControlFlow::Continue(());
        let begin = || {
            let store = RocksStore::open_damaged(folder, &options)?;
            reindex::begin(&store, genesis)
        };
        while let Begun::Empty(families) = begin()? {
            RocksStore::discard(folder, &options, &families)?;
            let store = RocksStore::open_damaged(folder, &options)?;
            reindex::prepare(&store, genesis, &mut watch)?;
        }
        let (store, settings) = (Arc::new(rocks(folder)?), Settings::default());
        reindex::connect(&store, genesis, settings, &mut rand::rng(), &mut watch)?;
        Ok(())
    }

    /// Whether the database went back.
    fn use_all(&self, folder: &Path) -> Result<bool, StoreError> {
        let store = Arc::new(rocks(folder)?);
        let settings = Settings::default();
        let opened = Ledger::open(Arc::clone(&store), self.chain.genesis(), settings);
        let mut ledger = opened.map_err(|error| match error {
            OpenLedgerError::Store(error) => error,
            other => panic!("misread: {other}"),
        })?;
        let tip = ledger.view().tip().id;
        self.assert_coins(&ledger, &store, &tip)?;
        let went_back = !ledger.has_body(&self.announced)?;
        let is_marked = store.announced()? != Marker::Absent;
        assert!(!went_back || (is_marked && ledger.warning().is_some()), "lost without a word");
        for (family, entries) in &self.entries {
            for (key, value) in dump(&*store, *family)? {
                // All else depends on how far back one is; coins are judged for themselves.
                // (A reindex that found a body rotten may have gone up a side branch.)
                if matches!(family, Family::Blocks | Family::Undo)
                    && let Some(original) = entries.get(&key)
                {
                    assert_eq!(original, &value, "another value in {family:?}");
                }
            }
        }
        for id in self.chain.ids() {
            if let Some(header) = ledger.header(&id)? {
                assert_eq!(header.id(), id);
            }
            if let Some(block) = ledger.block(&id)? {
                assert_eq!(block, *self.chain.block(&id));
            }
        }
        for id in &self.branch {
            let bytes = self.chain.block(id).to_bytes();
            let offered = ledger.offer(&bytes, NOW, &mut rand::rng())?;
            assert!(!matches!(offered, Offered::Refused { .. }), "{offered:?}");
        }
        let last = *self.branch.last().unwrap();
        assert_eq!(ledger.view().tip().id, last);
        self.assert_coins(&ledger, &store, &last)?;

        // Down again, by what is stored for that, and up.
        let height = self.chain.state(&last).header.height - UNDONE_BLOCKS;
        let low = self.branch[usize::try_from(height).unwrap()];
        ledger.invalidate(&low)?;
        ledger.settle_down(&mut rand::rng())?;
        let tip = ledger.view().tip().id;
        self.assert_coins(&ledger, &store, &tip)?;
        ledger.reconsider(&low)?;
        ledger.settle_down(&mut rand::rng())?;
        self.assert_coins(&ledger, &store, &last)?;
        Ok(went_back)
    }

    fn assert_coins(
        &self,
        ledger: &Ledger<RocksStore>,
        store: &RocksStore,
        tip: &BlockId,
    ) -> Result<(), StoreError> {
        let expected = self.chain.coins(tip);
        let view = ledger.view();
        assert_eq!(view.utxo_commitment(), self.chain.state(tip).utxo.commitment());
        assert_eq!(view.tip(), &self.chain.state(tip).header);
        let stored = dump(store, Family::Coins)?;
        assert_eq!(stored.len(), expected.len(), "coins at {tip}");
        for ((_, value), coin) in stored.iter().zip(expected.values()) {
            assert_eq!(*value, coin.to_bytes(), "a coin at {tip}");
        }
        Ok(())
    }
}

/// Draws flips from a seed, after those that are known to be particular, and counts what came of
/// them, by kind of file.
pub(crate) fn suffer_many(
    original: &Original,
    flips: usize,
    seed: u64,
) -> BTreeMap<(String, &'static str), usize> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut counts = BTreeMap::new();
    let drawn = (0..flips).map(|_| original.draw(&mut random));
    for (number, flip) in original.endless().chain(drawn).enumerate() {
        let judged =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| original.suffer(&flip)));
        let Ok(outcome) = judged else { panic!("flip {number} of seed {seed}: {flip:?}") };
        let kind = match outcome {
            Outcome::Unharmed => "unharmed",
            Outcome::WentBack => "went back, warned, caught up",
            Outcome::Mended => "refused, mended by a reindex",
            Outcome::Refused(_) => "refused, to be restored or synced again",
        };
        *counts.entry((kind_of(&flip.file), kind)).or_insert(0) += 1;
    }
    counts
}

/// `000012.sst` → `sst`, `MANIFEST-000005` → `MANIFEST`, `LOG.old.17` → `LOG`.
pub(crate) fn kind_of(file: &Path) -> String {
    let name = file.to_string_lossy();
    match name.split_once('.') {
        Some((number, kind)) if number.parse::<u64>().is_ok() => kind.to_owned(),
        Some((kind, _)) => kind.to_owned(),
        None => name.split_once("-0").map_or(&*name, |(kind, _)| kind).to_owned(),
    }
}
