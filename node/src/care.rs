//! `check`, `reindex`, `export`, `import`, `backup`: commands on a stopped node.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use ashlar_consensus::Genesis;
use ashlar_ledger::{
    Ledger, RocksReader, RocksStore, StoreError,
    care::{
        self, Depth, Imported, Remedy, Report,
        reindex::{self, Begun, REBUILT},
    },
    chain_file::{self, Reader},
};
use ashlar_primitives::BlockId;
use clap::Args;
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    Failure, backup,
    clock::machine_unix_ms,
    config::{Config, LedgerArguments, RunArguments},
    cores::Cores,
    datadir::Datadir,
    logging,
    progress::{Display, Interrupt},
    run,
};

/// How many of the newest blocks a check undoes unless told otherwise.
const DEFAULT_DEPTH: u32 = 1_000;

/// While it is written, an exported file's name ends so.
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
    #[error(
        "the chain stands, but a table of its bodies is damaged for good: `ashlar-node export` it and `import` it into a fresh data directory, or remove the ledger's directory and sync again"
    )]
    Torn,
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
}

/// Compares everything stored; an error where something is wrong.
pub(crate) fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    let opened = Opened::open_existing(&arguments.place)?;
    let depth = if arguments.full { Depth::Full } else { Depth::Blocks(arguments.depth) };
    let store = opened.reader()?;
    let mut display = opened.display();
    let mut watch = |progress| display.watch(progress);
    let report = care::check(&store, &opened.genesis, depth, &mut Cores, &mut watch)?;
    drop(display);
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
    let store = match opened.store() {
        Err(StoreError::Unopenable { message, .. }) => {
            warn!(message, "the database does not open; emptying what follows from bodies");
            RocksStore::discard(&ledger, &options, &REBUILT)?;
            opened.store()?
        }
        store => store?,
    };
    let begun = reindex::begin(&store, &opened.genesis)?;
    let store = match begun {
        Begun::GoesOn => {
            info!("going on with the reindex that was interrupted");
            store
        }
        Begun::Empty(families) => {
            drop(store);
            RocksStore::discard(&ledger, &options, &families)?;
            opened.store()?
        }
    };
    let settings = run::ledger_settings(&opened.config);
    let mut display = opened.display();
    let done =
        reindex::run(&Arc::new(store), &opened.genesis, settings, &mut Cores, &mut |progress| {
            display.watch(progress)
        })?;
    drop(display);
    println!("tip       {} at height {}", done.tip, done.height);
    if done.found_headers > 0 {
        println!("headers   {} found again in bodies", done.found_headers);
    }
    if done.dropped_headers > 0 {
        println!("headers   {} dropped: no valid way leads to them", done.dropped_headers);
    }
    if done.lost_bodies > 0 {
        println!("bodies    {} damaged; the node fetches them again", done.lost_bodies);
    }
    if done.is_torn { Err(PlaceError::Torn.into()) } else { Ok(()) }
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
    let exported = write_export(&opened, &store, &partial);
    if exported.is_err() {
        // Exporting again writes over it anyway.
        drop(fs::remove_file(&partial));
    }
    let exported = exported?;
    fs::rename(&partial, to).and_then(|()| sync_parent(to)).map_err(in_path(to))?;
    println!("exported  {} blocks, up to {}", exported.blocks, exported.tip);
    println!("file      {}", to.display());
    Ok(())
}

fn write_export(
    opened: &Opened,
    store: &RocksReader,
    partial: &Path,
) -> Result<care::Exported, Failure> {
    let file = File::create(partial).map_err(in_path(partial))?;
    let mut out = BufWriter::with_capacity(FILE_BUFFER_BYTES, file);
    let mut display = opened.display();
    let exported =
        care::export(store, &opened.genesis, &mut out, &mut |progress| display.watch(progress))?;
    let file = out.into_inner().map_err(|error| in_path(partial)(error.into_error()))?;
    file.sync_all().map_err(in_path(partial))?;
    Ok(exported)
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
    let mut file = File::open(&arguments.file).map_err(in_path(&arguments.file))?;
    let total_blocks = chain_file::claimed_blocks(&mut file).map_err(in_path(&arguments.file))?;
    let opened = Opened::open(&arguments.place)?;
    let mut settings = run::ledger_settings(&opened.config);
    if let Some(id) = arguments.assume_valid {
        warn!(%id, "signatures of this block and its ancestors are assumed good, as told");
        settings.assume_valid = Some(id);
    }
    let mut display = opened.display();
    let mut watch = |progress| display.watch(progress);
    let store = Arc::new(opened.store()?);
    let mut ledger = Ledger::open_watched(store, &opened.genesis, settings, &mut watch)?;
    let params = Arc::clone(ledger.params());
    let reader = |file: &File| -> Result<_, Failure> {
        let mut file = file.try_clone().map_err(in_path(&arguments.file))?;
        file.seek(SeekFrom::Start(0)).map_err(in_path(&arguments.file))?;
        let buffered = BufReader::with_capacity(FILE_BUFFER_BYTES, file);
        Ok(Reader::new(buffered, &params.chain_id, params.max_block_bytes)?)
    };
    let now_seconds = machine_unix_ms() / 1_000;
    if arguments.assume_valid.is_some() {
        let mut headers = reader(&file)?;
        let total = total_blocks;
        care::import_headers(&mut ledger, &mut headers, total, now_seconds, &mut watch)?;
    }
    let Imported { new, known } = care::import(
        &mut ledger,
        &mut reader(&file)?,
        total_blocks,
        now_seconds,
        &mut Cores,
        &mut watch,
    )?;
    drop(display);
    let view = ledger.view();
    println!("imported  {new} blocks, {known} were known");
    println!("tip       {} at height {}", view.tip().id, view.tip().height);
    Ok(())
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
