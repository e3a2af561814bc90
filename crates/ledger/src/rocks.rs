//! The store on disk: RocksDB, one column family for each [`Family`].
//!
//! One cache bounds memory: data blocks, indexes, filters and write buffers are all charged to
//! it. The log is one for all families, so that a batch is atomic across them, and recovery
//! after a crash keeps a prefix of the batches (`PointInTime`). Bodies and undo records lie in
//! blob files: compaction does not rewrite them. Every block of its files carries a checksum that
//! is compared when it is read; a log that is damaged ends there, which the marker of the announced
//! tip notices (`marker.rs`).

use std::{
    fs::{self, File, TryLockError},
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, ErrorKind, FlushOptions, IteratorMode, LogLevel, Options, ReadOptions,
    Snapshot, WriteBatch, WriteBufferManager, WriteOptions, checkpoint::Checkpoint,
};
use self_cell::self_cell;

use crate::{
    log_files,
    log_sync::{LogSync, SyncAhead},
    marker::MarkerFile,
    memory::is_empty_range,
    store::{
        Announced, Batch, Direction, Durability, Entry, Family, KeyRange, Marker, Read, Store,
        StoreError,
    },
};

/// How much memory and how many files the database may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// The one cache, write buffers included.
    pub cache_bytes: usize,
    /// All write buffers together; part of the cache.
    pub write_buffer_bytes: usize,
    /// All logs together: what a restart after a crash reads at most.
    pub max_log_bytes: u64,
    /// Open table files; blob files are counted too.
    pub max_open_files: i32,
    /// Threads that flush and compact.
    pub background_threads: i32,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 192 << 20,
            write_buffer_bytes: 64 << 20,
            max_log_bytes: 64 << 20,
            max_open_files: 512,
            background_threads: 2,
        }
    }
}

impl RocksOptions {
    /// For testnets of many nodes on one machine.
    pub fn small() -> Self {
        Self {
            cache_bytes: 16 << 20,
            write_buffer_bytes: 8 << 20,
            max_log_bytes: 16 << 20,
            max_open_files: 64,
            background_threads: 1,
        }
    }
}

/// Bits of bloom filter per key: one in a hundred absent keys costs a read.
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// Of a write buffer, what a filter of its keys takes: most coins that are asked for are not in it.
const BUFFER_FILTER_RATIO: f64 = 0.1;

/// Smaller values stay in the tables.
const MIN_BLOB_BYTES: u64 = 4_096;

/// After so many bytes a new blob file begins.
///
/// Blobs are never moved: bodies leave in the order in which they came, so that whole files
/// become garbage, and those RocksDB drops. (Its garbage collection would rewrite a quarter of
/// all bodies in each compaction, since their keys are hashes and every compaction meets them all.)
const BLOB_FILE_BYTES: u64 = 256 << 20;

/// Families of which pruning deletes.
const PRUNED: [Family; 4] =
    [Family::Blocks, Family::Undo, Family::Transactions, Family::LockHistory];

/// A table of a pruned family with more deletions than this is compacted soon. A node that
/// deletes a block for each that it stores stays below, and leaves it to ordinary compaction.
const COMPACT_DELETED_RATIO: f64 = 0.6;

/// RocksDB's own log of what it does: files kept, and bytes of each.
const INFO_LOG_FILES: usize = 2;
const INFO_LOG_BYTES: usize = 1 << 20;

/// Held for as long as the database is open, beside RocksDB's own lock, whose refusal says
/// nothing that a program can rely on.
const LOCK_FILE: &str = "ashlar.lock";

/// What a batch has for an entry beside its key and value, at most: tag, family, two lengths.
const ENTRY_BYTES: usize = 12;

/// Greater than every key.
const AFTER_ALL_KEYS: [u8; 128] = [0xff; 128];

/// An open database. Fields are dropped in order: the lock goes last.
struct Open {
    db: DB,
    log: LogSync,
    marker: MarkerFile,
    directory: PathBuf,
    _lock: File,
}

impl Open {
    fn sync(&self) -> Result<(), StoreError> {
        self.log.sync(|| self.db.flush_wal(true).map_err(doing("syncing")))
    }
}

/// The store on disk. Snapshots keep it open.
pub struct RocksStore {
    ahead: SyncAhead,
    open: Arc<Open>,
}

impl core::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "RocksStore({})", self.open.directory.display())
    }
}

impl RocksStore {
    /// Opens the database in `directory`, or makes a new one there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process, or this one, has it open;
    /// [`StoreError::Unopenable`] where there is a database that does not open.
    pub fn open(directory: &Path, options: &RocksOptions) -> Result<Self, StoreError> {
        Self::open_checked(directory, options, true)
    }

    /// For repair alone: a table that is missing, or a compaction that stumbles over a damaged one,
    /// is no obstacle to what does not need it.
    ///
    /// # Errors
    /// Those of [`RocksStore::open`].
    pub fn open_damaged(directory: &Path, options: &RocksOptions) -> Result<Self, StoreError> {
        Self::open_checked(directory, options, false)
    }

    fn open_checked(
        directory: &Path,
        options: &RocksOptions,
        is_paranoid: bool,
    ) -> Result<Self, StoreError> {
        let lock = lock(directory)?;
        let marker = MarkerFile::open(directory)?;
        refuse_damage(directory)?;
        let (mut common, families) = all_options(options);
        common.set_paranoid_checks(is_paranoid);
        let db = DB::open_cf_descriptors(&common, directory, families)
            .map_err(|error| unopenable(directory, error.to_string()))?;
        let (log, directory) = (LogSync::default(), directory.to_owned());
        let open = Arc::new(Open { db, log, marker, directory, _lock: lock });
        Ok(Self { ahead: SyncAhead::default(), open })
    }

    /// Empties families of a database that nobody has open, without reading what may be damaged
    /// in them: their files go, and the next opening makes them anew.
    ///
    /// # Errors
    /// Those of [`RocksStore::open`].
    pub fn discard(
        directory: &Path,
        options: &RocksOptions,
        families: &[Family],
    ) -> Result<(), StoreError> {
        let _lock = lock(directory)?;
        refuse_damage(directory)?;
        let (mut common, descriptors) = all_options(options);
        // Files that are damaged or missing are no obstacle: theirs are the ones to go.
        common.set_paranoid_checks(false);
        let mut db = DB::open_cf_descriptors(&common, directory, descriptors)
            .map_err(|error| unopenable(directory, error.to_string()))?;
        for family in families {
            db.drop_cf(family.name()).map_err(doing("emptying a family"))?;
        }
        Ok(())
    }
}

/// A database opened for reading alone: whatever is asked of it, its files stay as they are.
pub struct RocksReader {
    db: DB,
    _lock: File,
}

impl core::fmt::Debug for RocksReader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "RocksReader({})", self.db.path().display())
    }
}

impl RocksReader {
    /// Opens the database in `directory`, which must be there.
    ///
    /// # Errors
    /// Those of [`RocksStore::open`].
    pub fn open(directory: &Path, options: &RocksOptions) -> Result<Self, StoreError> {
        if !directory.join("CURRENT").exists() {
            return Err(unopenable(directory, "there is none".to_owned()));
        }
        let lock = lock(directory)?;
        refuse_damage(directory)?;
        let (common, families) = all_options(options);
        // The log may hold the newest steps; they are read, and stay in it.
        let db = DB::open_cf_descriptors_read_only(&common, directory, families, false)
            .map_err(|error| unopenable(directory, error.to_string()))?;
        Ok(Self { db, _lock: lock })
    }

    /// Grows with every write to this database: the same number, the same content.
    pub fn version(&self) -> u64 {
        self.db.latest_sequence_number()
    }
}

impl Read for RocksReader {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(&self.db, &ReadOptions::default(), family, key)
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        get_many(&self.db, &ReadOptions::default(), family, keys)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        scan(&self.db, ReadOptions::default(), family, range, limit, direction)
    }
}

/// Options of the database and of each of its families, with one cache for all.
fn all_options(options: &RocksOptions) -> (Options, Vec<ColumnFamilyDescriptor>) {
    let cache = Cache::new_lru_cache(options.cache_bytes);
    let common = common_options(options, &cache);
    let families = Family::ALL.map(|family| {
        ColumnFamilyDescriptor::new(family.name(), family_options(family, &common, &cache))
    });
    let default = ColumnFamilyDescriptor::new("default", common.clone());
    (common, families.into_iter().chain([default]).collect())
}

fn unopenable(directory: &Path, message: String) -> StoreError {
    StoreError::Unopenable { directory: directory.display().to_string(), message }
}

/// Refuses what RocksDB itself would not come to terms with: remains without the file that names
/// them, among which it would begin a new database, and logs that it would read for ever.
fn refuse_damage(directory: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| unopenable(directory, error.to_string());
    if let Some(path) = log_files::endless(directory).map_err(failed)? {
        return Err(unopenable(directory, format!("{} is damaged", path.display())));
    }
    if directory.join("CURRENT").exists() {
        return Ok(());
    }
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|kind| ["sst", "blob", "log"].iter().any(|k| kind == *k)) {
            let message = format!("there is {} and no CURRENT", path.display());
            return Err(unopenable(directory, message));
        }
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let failed = |error: std::io::Error| StoreError::Io {
        doing: "opening the data directory",
        message: format!("{}: {error}", directory.display()),
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(directory.join(LOCK_FILE))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::InUse { directory: directory.display().to_string() })
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn common_options(options: &RocksOptions, cache: &Cache) -> Options {
    let mut common = Options::default();
    common.create_if_missing(true);
    common.create_missing_column_families(true);
    common.set_paranoid_checks(true);
    common.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    common.set_track_and_verify_wals_in_manifest(true);
    common.set_max_total_wal_size(options.max_log_bytes);
    // Writers never wait for room: over the bound, the fullest buffer is flushed.
    let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
        options.write_buffer_bytes,
        false,
        cache.clone(),
    );
    common.set_write_buffer_manager(&buffers);
    common.set_write_buffer_size(options.write_buffer_bytes / 4);
    common.set_max_open_files(options.max_open_files);
    common.set_max_background_jobs(options.background_threads);
    common.set_keep_log_file_num(INFO_LOG_FILES);
    common.set_max_log_file_size(INFO_LOG_BYTES);
    common.set_log_level(LogLevel::Warn);
    common.set_compression_type(DBCompressionType::None);
    common
}

fn family_options(family: Family, common: &Options, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    let mut options = common.clone();
    options.set_block_based_table_factory(&table);
    match family {
        // Hashes and signatures: nothing to gain by compression.
        Family::Blocks | Family::Undo => {
            options.set_enable_blob_files(true);
            options.set_min_blob_size(MIN_BLOB_BYTES);
            options.set_blob_file_size(BLOB_FILE_BYTES);
        }
        Family::Headers | Family::LockCoins | Family::LockHistory => {
            options.set_compression_type(DBCompressionType::Lz4);
        }
        Family::Coins => {
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(BUFFER_FILTER_RATIO);
        }
        Family::Heights | Family::Tips | Family::Transactions | Family::Meta => {}
    }
    if PRUNED.contains(&family) {
        options.add_compact_on_deletion_collector_factory(0, 0, COMPACT_DELETED_RATIO);
    }
    options
}

/// What RocksDB says, in the store's own terms.
fn doing(doing: &'static str) -> impl Fn(rocksdb::Error) -> StoreError {
    move |error| match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt { what: format!("{doing}: {error}") },
        _ => StoreError::Io { doing, message: error.to_string() },
    }
}

fn handle(db: &DB, family: Family) -> Result<&ColumnFamily, StoreError> {
    db.cf_handle(family.name()).ok_or_else(|| {
        StoreError::corrupt(format_args!("the column family {} is missing", family.name()))
    })
}

fn get(
    db: &DB,
    options: &ReadOptions,
    family: Family,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let value = db.get_pinned_cf_opt(handle(db, family)?, key, options);
    Ok(value.map_err(doing("reading"))?.map(|value| value.to_vec()))
}

fn get_many(
    db: &DB,
    options: &ReadOptions,
    family: Family,
    keys: &[Vec<u8>],
) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let is_sorted = keys.is_sorted();
    db.batched_multi_get_cf_opt(handle(db, family)?, keys, is_sorted, options)
        .into_iter()
        .map(|value| Ok(value.map_err(doing("reading"))?.map(|value| value.to_vec())))
        .collect()
}

fn scan(
    db: &DB,
    mut options: ReadOptions,
    family: Family,
    range: KeyRange<'_>,
    limit: usize,
    direction: Direction,
) -> Result<Vec<Entry>, StoreError> {
    if is_empty_range(range) {
        return Ok(Vec::new());
    }
    // RocksDB takes the lower bound in and leaves the upper one out.
    let next = |key: &[u8]| [key, &[0]].concat();
    match range.0 {
        Bound::Included(start) => options.set_iterate_lower_bound(start),
        Bound::Excluded(start) => options.set_iterate_lower_bound(next(start)),
        Bound::Unbounded => {}
    }
    match range.1 {
        Bound::Included(end) => options.set_iterate_upper_bound(next(end)),
        Bound::Excluded(end) => options.set_iterate_upper_bound(end),
        Bound::Unbounded => {}
    }
    let mode = match direction {
        Direction::Forward => IteratorMode::Start,
        Direction::Backward => IteratorMode::End,
    };
    db.iterator_cf_opt(handle(db, family)?, options, mode)
        .take(limit)
        .map(|entry| {
            let (key, value) = entry.map_err(doing("reading"))?;
            Ok((key.into_vec(), value.into_vec()))
        })
        .collect()
}

impl Read for RocksStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(&self.open.db, &ReadOptions::default(), family, key)
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        get_many(&self.open.db, &ReadOptions::default(), family, keys)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        scan(&self.open.db, ReadOptions::default(), family, range, limit, direction)
    }
}

impl Store for RocksStore {
    fn snapshot(&self) -> Arc<dyn Read> {
        Arc::new(RocksSnapshot::new(Arc::clone(&self.open), |open| open.db.snapshot()))
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let db = &self.open.db;
        let handles = Family::ALL.map(|family| handle(db, family));
        let room = ENTRY_BYTES.saturating_mul(batch.writes.len());
        let mut writes = WriteBatch::with_capacity_bytes(batch.size_bytes().saturating_add(room));
        for (family, key, value) in &batch.writes {
            // `Family::ALL` lists the variants in order of declaration.
            let handle = *handles[*family as usize].as_ref().map_err(Clone::clone)?;
            match value {
                Some(value) => writes.put_cf(handle, key, value),
                None => writes.delete_cf(handle, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        db.write_opt(writes, &options).map_err(doing("writing"))?;
        self.open.log.note_write();
        Ok(())
    }

    fn writes_slowly(&self) -> bool {
        true
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.open.sync()
    }

    fn start_sync(&self) {
        let open = Arc::clone(&self.open);
        self.ahead.start(move || drop(open.sync()));
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StoreError> {
        let told = self.open.marker.tip();
        Checkpoint::new(&self.open.db)
            .and_then(|at| at.create_checkpoint(directory))
            .map_err(doing("making a checkpoint"))?;
        // A tip that was told, and whose step is still to be written: the copy goes there, too.
        match told {
            Marker::Tip(tip) => MarkerFile::open(directory)?.write(tip),
            Marker::Absent | Marker::Damaged => Ok(()),
        }
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        let db = &self.open.db;
        let mut options = FlushOptions::default();
        options.set_wait(false);
        // The deletions reach a table, which is then compacted in the background.
        for family in PRUNED {
            db.flush_cf_opt(handle(db, family)?, &options).map_err(doing("flushing"))?;
        }
        Ok(())
    }

    fn clear(&self, family: Family) -> Result<(), StoreError> {
        let all = (Bound::Unbounded, Bound::Unbounded);
        if self.scan(family, all, 1, Direction::Forward)?.is_empty() {
            return Ok(());
        }
        let db = &self.open.db;
        let handle = handle(db, family)?;
        let mut writes = WriteBatch::default();
        writes.delete_range_cf(handle, [].as_slice(), AFTER_ALL_KEYS.as_slice());
        db.write(writes).map_err(doing("clearing"))?;
        self.open.log.note_write();
        // Gives the room back now, not some day.
        db.compact_range_cf(handle, None::<&[u8]>, None::<&[u8]>);
        Ok(())
    }

    fn announce(&self, tip: Announced) -> Result<(), StoreError> {
        self.open.marker.write(tip)
    }

    fn announced(&self) -> Result<Marker, StoreError> {
        Ok(self.open.marker.tip())
    }
}

type BorrowedSnapshot<'a> = Snapshot<'a>;

self_cell!(
    /// A snapshot that keeps its database open.
    struct RocksSnapshot {
        owner: Arc<Open>,
        #[covariant]
        dependent: BorrowedSnapshot,
    }
);

impl RocksSnapshot {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(self.borrow_dependent());
        options
    }
}

impl Read for RocksSnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(&self.borrow_owner().db, &self.options(), family, key)
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        get_many(&self.borrow_owner().db, &self.options(), family, keys)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        scan(&self.borrow_owner().db, self.options(), family, range, limit, direction)
    }
}
