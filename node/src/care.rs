//! `check`, `reindex`, `export`, `import`, `backup`: commands on a stopped node.

use std::{
    fs::{self, File},
    io::{self, BufReader, Seek as _, SeekFrom},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use ashlar_consensus::Genesis;
use ashlar_ledger::{
    Ledger, RocksReader, RocksStore, Settings, StoreError,
    care::{
        self, Bookmark, Bookmarks, Depth, Imported, Progress, Remedy, Report,
        reindex::{self, Begun, LostBodies},
    },
    chain_file::{self, Reader},
};
use ashlar_primitives::BlockId;
use clap::Args;
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    Failure, backup,
    check_file::CheckFile,
    clock::machine_unix_ms,
    config::{Config, LedgerArguments, RunArguments},
    cores::Cores,
    datadir::Datadir,
    disk::{DiskError, Room, Watch},
    logging,
    progress::{Display, Interrupt},
    run,
};

/// How many of the newest blocks a check undoes unless told otherwise.
const DEFAULT_DEPTH: u32 = 1_000;

/// While it is written, an exported file's name ends so; one that was left is gone on with.
const PARTIAL: &str = "partial";

/// Bytes of the file that are read or written at once.
const FILE_BUFFER_BYTES: usize = 1 << 20;

#[derive(Clone, Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    place: LedgerArguments,
    /// Undo so many of the newest blocks in memory.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_DEPTH)]
    depth: u32,
    /// Replay every block from genesis, signatures included.
    #[arg(long, conflicts_with = "depth")]
    full: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ReindexArguments {
    #[command(flatten)]
    place: LedgerArguments,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    place: LedgerArguments,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Replace the file where it exists.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    place: LedgerArguments,
    /// What `export` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Take the signatures of this block and its ancestors for good; every other rule is judged.
    #[arg(long, value_name = "BLOCK ID")]
    assume_valid: Option<BlockId>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BackupArguments {
    #[command(flatten)]
    place: LedgerArguments,
    /// The directory to make.
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

#[derive(Debug, Error)]
enum PlaceError {
    #[error("there is no ledger in {datadir}; name the data directory of a node with --datadir")]
    NoLedger { datadir: PathBuf },
    #[error("{path} exists already; name another file, or replace it with --force")]
    FileExists { path: PathBuf },
    #[error("can't use {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("the data directory is damaged ({findings} findings): {remedy}")]
    Damaged { findings: u64, remedy: Remedy },
}

/// A stopped node's directory, held by this process.
struct Opened {
    config: Config,
    directory: Datadir,
    genesis: Genesis,
    interrupt: Interrupt,
}

impl Opened {
    fn open(place: &LedgerArguments) -> Result<Self, Failure> {
        let config = Config::load(&RunArguments::from(place))?;
        logging::start(&config)?;
        let interrupt = Interrupt::listen()?;
        let directory = Datadir::open(&config.datadir)?;
        let genesis = run::read_genesis(&config, &directory)?;
        Ok(Self { config, directory, genesis, interrupt })
    }

    /// The same, where a ledger must be there.
    fn open_existing(place: &LedgerArguments) -> Result<Self, Failure> {
        if !Datadir::has_ledger(&place.datadir) {
            return Err(PlaceError::NoLedger { datadir: place.datadir.clone() }.into());
        }
        Self::open(place)
    }

    fn reader(&self) -> Result<RocksReader, StoreError> {
        RocksReader::open(&self.directory.ledger(), &run::rocks_options(&self.config))
    }

    fn store(&self) -> Result<RocksStore, StoreError> {
        RocksStore::open(&self.directory.ledger(), &run::rocks_options(&self.config))
    }

    fn display(&self) -> Display {
        Display::new(self.interrupt.clone())
    }

    fn room(&self) -> Room {
        Room::new(&self.config.datadir, self.config.min_free)
    }

    fn writing(&self) -> Writing {
        Writing { display: self.display(), disk: Watch::new(self.room()), full: None }
    }
}

/// Long work that fills the disk: shown, and broken off where it can be taken up again when there
/// is no more room.
struct Writing {
    display: Display,
    disk: Watch,
    full: Option<DiskError>,
}

impl Writing {
    fn watch(&mut self, progress: Progress) -> ControlFlow<()> {
        match self.disk.look() {
            Ok(()) => self.display.watch(progress),
            Err(error) => {
                self.full = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// What became of the work, with the reason why it was broken off.
    fn end<T, E: Into<Failure>>(self, worked: Result<T, E>) -> Result<T, Failure> {
        match (worked, self.full) {
            (Err(_), Some(full)) => Err(full.into()),
            (worked, _) => worked.map_err(Into::into),
        }
    }
}

/// Compares everything stored; an error where something is wrong.
pub(crate) fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    let opened = Opened::open_existing(&arguments.place)?;
    let depth = if arguments.full { Depth::Full } else { Depth::Blocks(arguments.depth) };
    let store = opened.reader()?;
    let mut display = opened.display();
    let mut watch = |progress| display.watch(progress);
    let version = store.version();
    let mut file = CheckFile::new(&opened.directory);
    let from = file.fitting(depth, version);
    let mut keep = |at: &Bookmark, is_last: bool| file.keep(at, is_last);
    let bookmarks = Bookmarks { version, from, keep: &mut keep };
    let (genesis, cores) = (&opened.genesis, &mut Cores);
    let report = care::check_on(&store, genesis, depth, bookmarks, cores, &mut watch)?;
    drop(display);
    file.remove();
    print_report(&report, depth);
    match report.remedy() {
        None => Ok(()),
        Some(remedy) => {
            let listed = u64::try_from(report.findings.len()).unwrap_or(u64::MAX);
            let findings = listed.saturating_add(report.unlisted);
            Err(PlaceError::Damaged { findings, remedy }.into())
        }
    }
}

fn print_report(report: &Report, depth: Depth) {
    if let Some((height, id)) = report.tip {
        println!("tip       {id} at height {height}");
    }
    println!("headers   {} judged", report.headers);
    println!("coins     {} summed", report.coins);
    let how = if depth == Depth::Full { "replayed" } else { "undone" };
    println!("blocks    {} {how}", report.blocks);
    for finding in &report.findings {
        println!("damaged   {}", finding.what);
        println!("          {}", finding.remedy);
    }
    if report.unlisted > 0 {
        println!("damaged   and {} findings more", report.unlisted);
    }
    if report.is_sound() {
        println!("result    sound");
    }
}

/// Makes everything anew from stored bodies.
pub(crate) fn reindex(arguments: &ReindexArguments) -> Result<(), Failure> {
    let opened = Opened::open_existing(&arguments.place)?;
    let ledger = opened.directory.ledger();
    let options = run::rocks_options(&opened.config);
    let genesis = &opened.genesis;
    opened.room().check_start()?;
    let mut prepared = None;
    let begin = || {
        let store = RocksStore::open_damaged(&ledger, &options)?;
        reindex::begin(&store, genesis)
    };
    while let Begun::Empty(families) = begin()? {
        let mut writing = opened.writing();
        RocksStore::discard(&ledger, &options, &families)?;
        let store = RocksStore::open_damaged(&ledger, &options)?;
        let done = reindex::prepare(&store, genesis, &mut |progress| writing.watch(progress));
        let done = writing.end(done)?;
        print_lost(&done.lost);
        if done.is_torn {
            println!("bodies    copied out of a table that is damaged");
        }
        prepared = Some(done);
    }
    if prepared.is_none() {
        info!("going on with the reindex that was interrupted");
    }
    let mut writing = opened.writing();
    let mut watch = |progress| writing.watch(progress);
    let (store, settings) = (Arc::new(opened.store()?), run::ledger_settings(&opened.config));
    let done = reindex::connect(&store, genesis, settings, &mut Cores, &mut watch);
    let done = writing.end(done)?;
    println!("tip       {} at height {}", done.tip, done.height);
    let Some(prepared) = prepared else { return Ok(()) };
    if prepared.found_headers > 0 {
        println!("headers   {} found again in bodies", prepared.found_headers);
    }
    if prepared.dropped_headers > 0 {
        println!("headers   {} dropped: no valid way leads to them", prepared.dropped_headers);
    }
    Ok(())
}

fn print_lost(lost: &LostBodies) {
    if lost.number == 0 {
        return;
    }
    println!("bodies    {} damaged and dropped; the node fetches them again", lost.number);
    for (height, id) in &lost.listed {
        let height = height.map_or_else(|| "unknown height".to_owned(), |h| format!("height {h}"));
        println!("          {id} at {height}");
    }
}

/// Writes the best chain to a file, which appears whole or not at all.
pub(crate) fn export(arguments: &ExportArguments) -> Result<(), Failure> {
    let to = &arguments.to;
    if !arguments.force && to.symlink_metadata().is_ok() {
        return Err(PlaceError::FileExists { path: to.clone() }.into());
    }
    let opened = Opened::open_existing(&arguments.place)?;
    let store = opened.reader()?;
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(PARTIAL);
    let partial = to.with_file_name(name);
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(&partial);
    let file = file.map_err(in_path(&partial))?;
    let mut display = opened.display();
    let exported =
        care::export(&store, &opened.genesis, &file, &mut |progress| display.watch(progress))?;
    drop(display);
    fs::rename(&partial, to).and_then(|()| sync_parent(to)).map_err(in_path(to))?;
    println!("exported  {} blocks, up to {}", exported.blocks, exported.tip);
    if exported.kept > 0 {
        println!("kept      {} of them from an export that was interrupted", exported.kept);
    }
    println!("file      {}", to.display());
    Ok(())
}

fn in_path(path: &Path) -> impl Fn(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |error| PlaceError::Io { path: path.clone(), error }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Takes in a file that `export` wrote, each block judged as from a peer.
pub(crate) fn import(arguments: &ImportArguments) -> Result<(), Failure> {
    // Before anything is made for it.
    drop(File::open(&arguments.file).map_err(in_path(&arguments.file))?);
    let opened = Opened::open(&arguments.place)?;
    opened.room().check_start()?;
    let mut settings = run::ledger_settings(&opened.config);
    // What the configuration names need not be in this file.
    settings.assume_valid = arguments.assume_valid;
    if let Some(id) = arguments.assume_valid {
        warn!(%id, "signatures of this block and its ancestors are assumed good, as told");
    }
    let mut writing = opened.writing();
    let mut watch = |progress| writing.watch(progress);
    let store = Arc::new(opened.store()?);
    let ledger = import_into(store, &opened.genesis, settings, &arguments.file, &mut watch);
    let (ledger, Imported { new, known }) = writing.end(ledger)?;
    let view = ledger.view();
    println!("imported  {new} blocks, {known} were known");
    println!("tip       {} at height {}", view.tip().id, view.tip().height);
    Ok(())
}

/// Opens the ledger and reads the file, twice where signatures are assumed good: its headers first.
fn import_into(
    store: Arc<RocksStore>,
    genesis: &Genesis,
    settings: Settings,
    path: &Path,
    watch: &mut care::Watch<'_>,
) -> Result<(Ledger<RocksStore>, Imported), Failure> {
    let is_assumed = settings.assume_valid.is_some();
    let mut file = File::open(path).map_err(in_path(path))?;
    let total = chain_file::claimed_blocks(&mut file).map_err(in_path(path))?;
    let mut ledger = Ledger::open_watched(store, genesis, settings, watch)?;
    let params = Arc::clone(ledger.params());
    let reader = || -> Result<_, Failure> {
        let mut file = file.try_clone().map_err(in_path(path))?;
        file.seek(SeekFrom::Start(0)).map_err(in_path(path))?;
        let buffered = BufReader::with_capacity(FILE_BUFFER_BYTES, file);
        Ok(Reader::new(buffered, &params.chain_id, params.max_block_bytes)?)
    };
    let now_seconds = machine_unix_ms() / 1_000;
    if is_assumed {
        care::import_headers(&mut ledger, &mut reader()?, total, now_seconds, watch)?;
    }
    let cores = &mut Cores;
    let imported = care::import(&mut ledger, &mut reader()?, total, now_seconds, cores, watch)?;
    Ok((ledger, imported))
}

/// Copies the data directory; of a running node, the RPC method `backup` does.
pub(crate) fn backup(arguments: &BackupArguments) -> Result<(), Failure> {
    let to = std::path::absolute(&arguments.to).map_err(in_path(&arguments.to))?;
    let opened = Opened::open_existing(&arguments.place)?;
    let store = opened.store()?;
    backup::make(&store, &opened.config.datadir, &to)?;
    println!("backup    {}", to.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use ashlar_ledger::care::Stage;

    use super::*;
    use crate::size::ByteSize;

    #[test]
    fn work_without_room_is_broken_off_and_says_why() {
        let writing = |min_free| {
            let room = Room::new(&std::env::temp_dir(), ByteSize(min_free));
            let display = Display::new(Interrupt::default());
            Writing { display, disk: Watch::new(room), full: None }
        };
        let progress = Progress { stage: Stage::ImportBlocks, done: 1, total: 2 };
        let interrupted = || Err::<(), _>(care::CareError::Interrupted);
        let mut roomy = writing(0);
        assert!(roomy.watch(progress).is_continue());
        assert!(roomy.end(interrupted()).unwrap_err().to_string().contains("interrupted"));
        let mut full = writing(u64::MAX);
        assert!(full.watch(progress).is_break());
        assert!(full.end(interrupted()).unwrap_err().to_string().contains("nearly full"));
    }
}
