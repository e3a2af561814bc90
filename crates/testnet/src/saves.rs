//! Saved testnets: `saves/NAME` in the testnet's folder.
//!
//! ```text
//! save.json       when, by which clock, who ran, on which tip
//! network.toml  genesis.json  state.json  wallets/
//! node1/ …        data directories
//! ```
//!
//! The files of a database that never change again, nearly all of its bytes, are links to the same
//! bytes wherever they are: in the node's directory, in each save, in the node's directory again
//! once one is loaded. So to save and to load takes the same moment whatever the length of the
//! chain, and room only for what differs. What is exported is one tar file with the same content.

mod error;

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, BufReader, BufWriter, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use ashlar_primitives::BlockId;
use ashlar_rpc::types::Text;
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, HeaderMode};

use crate::{
    clock::machine_unix_ms,
    error::TestnetError,
    file::NodeNumber,
    layout::{Layout, State, remove_folder},
};

pub use error::SaveError;

/// The form of `save.json` and what lies beside it.
const FORMAT: u32 = 1;
const ABOUT: &str = "save.json";
const LEDGER: &str = "ledger";
const WALLETS: &str = "wallets";
/// What a save or an import is called until it is whole.
const PARTIAL: &str = ".partial";
/// Files beside the nodes that belong to a save.
const NET_FILES: [&str; 3] = ["network.toml", "genesis.json", "state.json"];
/// Files in a data directory that are about one run of a node, or are written anew for each.
const NOT_SAVED: [&str; 6] = ["LOCK", ".cookie", "run.json", "pid", "log", "clock.json"];
/// Endings of a database's files that are written once (RocksDB: tables and blobs).
const NEVER_CHANGED: [&str; 2] = ["sst", "blob"];
/// Most saves of one testnet.
pub const MAX_SAVES: usize = 1_000;
/// Most files in what is imported.
const MAX_FILES: usize = 200_000;
/// Most bytes in what is imported: 64 GiB.
const MAX_IMPORT_BYTES: u64 = 64 << 30;
/// Longest `save.json` and the other small files that are read whole, in bytes.
const MAX_SMALL_BYTES: u64 = 16 << 20;

/// What is known of a save.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Save {
    /// The form of what was saved.
    pub format: u32,
    /// Its name.
    pub name: String,
    /// When it was made by the machine's clock, milliseconds since 1970.
    pub saved_ms: u64,
    /// What the testnet's clock read then.
    pub clock_ms: u64,
    /// The nodes, each with its tip where it ran.
    pub nodes: BTreeMap<NodeNumber, Option<SavedTip>>,
}

/// Where a node was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedTip {
    /// The height of its tip; its ledger may hold a later one.
    pub height: u32,
    /// Its tip.
    pub tip: Text<BlockId>,
}

impl Save {
    /// Of one that is made now.
    pub(crate) fn new(name: &str, clock_ms: u64) -> Self {
        let saved_ms = machine_unix_ms();
        Self { format: FORMAT, name: name.to_owned(), saved_ms, clock_ms, nodes: BTreeMap::new() }
    }

    /// The highest tip.
    pub fn height(&self) -> u32 {
        self.nodes.values().flatten().map(|tip| tip.height).max().unwrap_or(0)
    }
}

/// The saves of a testnet.
#[derive(Clone, Debug)]
pub struct Saves<'a> {
    layout: &'a Layout,
}

/// A save that is being made. Dropped before it is finished, nothing of it stays.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    whole: PathBuf,
}

impl<'a> Saves<'a> {
    /// Of the testnet in this folder.
    pub const fn of(layout: &'a Layout) -> Self {
        Self { layout }
    }

    fn folder(&self) -> PathBuf {
        self.layout.folder().join("saves")
    }

    /// All that there are, by name; what is damaged is left out.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn list(&self) -> Result<Vec<Save>, SaveError> {
        let folder = self.folder();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(SaveError::Disk { path: folder, error }),
        };
        let mut saves: Vec<Save> = entries
            .filter_map(|entry| read_about(&entry.ok()?.path()).ok())
            .take(MAX_SAVES)
            .collect();
        saves.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(saves)
    }

    /// What is known of one, and its folder.
    fn find(&self, name: &str) -> Result<(Save, PathBuf), SaveError> {
        check_name(name)?;
        let path = self.folder().join(name);
        if !path.join(ABOUT).exists() {
            let saves = self.list()?.into_iter().map(|save| save.name).collect();
            return Err(SaveError::Missing { name: name.to_owned(), saves });
        }
        Ok((read_about(&path)?, path))
    }

    /// Whether a save could be put in the testnet's place.
    pub(crate) fn check(&self, name: &str) -> Result<(Save, PathBuf), TestnetError> {
        let (about, path) = self.find(name)?;
        if about.format != FORMAT {
            let (name, found) = (about.name, about.format);
            return Err(SaveError::OtherFormat { name, found }.into());
        }
        let genesis = self.layout.genesis();
        if genesis.exists() && small_file(&genesis)? != small_file(&path.join("genesis.json"))? {
            let (name, folder) = (about.name, self.layout.folder().to_owned());
            return Err(SaveError::OtherChain { name, folder }.into());
        }
        Ok((about, path))
    }

    /// Begins one.
    pub(crate) fn begin(&self, name: &str) -> Result<Partial, SaveError> {
        check_name(name)?;
        let folder = self.folder();
        let whole = folder.join(name);
        if whole.exists() {
            return Err(SaveError::Taken { name: name.to_owned() });
        }
        if self.list()?.len() >= MAX_SAVES {
            return Err(SaveError::TooMany);
        }
        let path = folder.join(format!("{name}{PARTIAL}"));
        clear(&path)?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(SaveError::disk(&path))?;
        Ok(Partial { path, whole })
    }

    /// Puts a save in the place of what the testnet is now: its state, wallets and nodes, which
    /// must not run. Logs stay. Answers the state, its clock set so that it goes on from where it
    /// was, and what is known of the save.
    ///
    /// # Errors
    /// Where there is no such save, or it is of another chain; then nothing was changed. Where the
    /// disk refuses half-way, loading it again is the way on.
    pub fn restore(&self, name: &str) -> Result<(State, Save), TestnetError> {
        let (about, path) = self.check(name)?;
        let mut state: State = {
            let path = path.join("state.json");
            serde_json::from_slice(&small_file(&path)?)
                .map_err(|error| TestnetError::Damaged { path, reason: error.to_string() })?
        };
        if let Some(clock) = &mut state.clock {
            (clock.unix_ms, clock.machine_ms) = (about.clock_ms, Some(machine_unix_ms()));
        }
        for number in self.nodes_there()? {
            let directory = self.layout.node(number);
            if about.nodes.contains_key(&number) {
                empty_node(&directory)?;
            } else {
                clear(&directory)?;
            }
        }
        for number in about.nodes.keys() {
            copy_node(&path.join(format!("node{number}")), &self.layout.node(*number))?;
        }
        let wallets = self.layout.folder().join(WALLETS);
        clear(&wallets)?;
        fs::create_dir_all(&wallets).map_err(SaveError::disk(&wallets))?;
        // A file that was exported holds no empty folders.
        if path.join(WALLETS).is_dir() {
            copy_files(&path.join(WALLETS), &wallets, |_| true)?;
        }
        for file in NET_FILES.iter().filter(|file| **file != "state.json") {
            let to = self.layout.folder().join(file);
            fs::copy(path.join(file), &to).map_err(SaveError::disk(&to))?;
        }
        self.layout.save(&state)?;
        Ok((state, about))
    }

    /// The numbers of the nodes that have a directory.
    fn nodes_there(&self) -> Result<Vec<NodeNumber>, SaveError> {
        let folder = self.layout.folder();
        let entries = fs::read_dir(folder).map_err(SaveError::disk(folder))?;
        let numbers = entries.filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix("node")?.parse().ok()
        });
        Ok(numbers.collect())
    }

    /// Writes a save to one file, which must not be there.
    ///
    /// # Errors
    /// Where there is no such save, or the disk refuses.
    pub fn export(&self, name: &str, file: &Path) -> Result<Save, SaveError> {
        let (about, path) = self.find(name)?;
        let in_file = || SaveError::disk(file);
        let out = File::options().write(true).create_new(true).open(file).map_err(in_file())?;
        let mut tar = Builder::new(BufWriter::new(out));
        tar.mode(HeaderMode::Deterministic);
        // Holes are written out: they are small, and a reader need not know of them.
        tar.sparse(false);
        let mut files = Vec::new();
        list_files(&path, Path::new(""), &mut files)?;
        // What it is comes first, so that a reader knows before it reads on.
        files.sort_by_key(|inner| (inner != Path::new(ABOUT), inner.clone()));
        for inner in files {
            let full = path.join(&inner);
            tar.append_path_with_name(&full, &inner).map_err(SaveError::disk(&full))?;
        }
        let out = tar.into_inner().and_then(|out| out.into_inner().map_err(Into::into));
        out.and_then(|out| out.sync_all()).map_err(in_file())?;
        Ok(about)
    }

    /// Reads a file that `export` wrote into a save of its own name, or of another. Nothing is
    /// written anywhere else, whatever the file says.
    ///
    /// # Errors
    /// Where it is no such file, the name is taken, or the disk refuses.
    pub fn import(&self, file: &Path, name: Option<&str>) -> Result<Save, SaveError> {
        let bad =
            |reason: &str| SaveError::BadFile { file: file.to_owned(), reason: reason.to_owned() };
        let input = File::open(file).map_err(SaveError::disk(file))?;
        let mut archive = Archive::new(BufReader::new(input));
        let mut entries = archive.entries().map_err(|error| bad(&error.to_string()))?;
        let first = entries.next().ok_or_else(|| bad("it is empty"))?;
        let mut first = first.map_err(|error| bad(&error.to_string()))?;
        if first.path().ok().as_deref() != Some(Path::new(ABOUT)) {
            return Err(bad("it does not begin with save.json"));
        }
        let mut text = Vec::new();
        let read = first.by_ref().take(MAX_SMALL_BYTES).read_to_end(&mut text);
        read.map_err(|error| bad(&error.to_string()))?;
        let mut about: Save =
            serde_json::from_slice(&text).map_err(|error| bad(&format!("save.json: {error}")))?;
        if about.format != FORMAT {
            return Err(SaveError::OtherFormat { name: about.name, found: about.format });
        }
        about.name = name.unwrap_or(&about.name).to_owned();
        let partial = self.begin(&about.name)?;
        let (mut files, mut bytes) = (0, 0_u64);
        for entry in entries {
            let mut entry = entry.map_err(|error| bad(&error.to_string()))?;
            let inner = entry.path().map_err(|error| bad(&error.to_string()))?.into_owned();
            if !matches!(entry.header().entry_type(), EntryType::Regular) || !is_inner(&inner) {
                return Err(bad(&format!("{} does not belong in it", inner.display())));
            }
            files += 1;
            bytes = bytes.saturating_add(entry.size());
            if files > MAX_FILES || bytes > MAX_IMPORT_BYTES {
                return Err(bad("it is too large"));
            }
            let to = partial.path.join(&inner);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(SaveError::disk(parent))?;
            }
            // Keys are among them.
            let out = File::options().write(true).create_new(true).mode(0o600).open(&to);
            let mut out = out.map_err(SaveError::disk(&to))?;
            io::copy(&mut entry, &mut out).map_err(SaveError::disk(&to))?;
        }
        partial.finish(&about)?;
        Ok(about)
    }
}

impl Partial {
    /// Where a node's data directory goes.
    pub(crate) fn node(&self, number: NodeNumber) -> PathBuf {
        self.path.join(format!("node{number}"))
    }

    /// Adds what of a node's data directory is not there yet: all of it where the node does not
    /// run, and beside a backup of the node what the backup leaves out.
    pub(crate) fn add_node(&self, number: NodeNumber, datadir: &Path) -> Result<(), SaveError> {
        copy_node(datadir, &self.node(number))
    }

    /// Adds what is not the nodes'.
    pub(crate) fn add_net(&self, layout: &Layout) -> Result<(), SaveError> {
        let wallets = layout.folder().join(WALLETS);
        copy_files(&wallets, &self.path.join(WALLETS), |_| true)?;
        copy_files(layout.folder(), &self.path, |name| NET_FILES.contains(&name))
    }

    /// Makes it a save.
    pub(crate) fn finish(self, about: &Save) -> Result<(), SaveError> {
        let text = serde_json::to_vec_pretty(about).unwrap_or_default();
        let path = self.path.join(ABOUT);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.map_err(SaveError::disk(&path))?;
        fs::rename(&self.path, &self.whole).map_err(SaveError::disk(&self.whole))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(error) = clear(&self.path) {
            tracing::warn!(%error, "what is left of a save can't be removed");
        }
    }
}

fn check_name(name: &str) -> Result<(), SaveError> {
    match crate::file::is_wallet_name(name) {
        true => Ok(()),
        false => Err(SaveError::Name { name: name.to_owned() }),
    }
}

/// Whether a file of this path can be part of a save: no way out of it, nothing unknown.
fn is_inner(path: &Path) -> bool {
    let names: Option<Vec<&str>> = path
        .components()
        .map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let is_node = |name: &str| {
        name.strip_prefix("node").is_some_and(|number| number.parse::<NodeNumber>().is_ok())
    };
    match names.as_deref() {
        Some([file]) => NET_FILES.contains(file),
        Some([WALLETS, _]) => true,
        Some([node, LEDGER, _]) => is_node(node),
        Some([node, file]) => is_node(node) && *file != LEDGER && !NOT_SAVED.contains(file),
        _ => false,
    }
}

/// Reads the `save.json` of a save's folder.
fn read_about(path: &Path) -> Result<Save, SaveError> {
    let file = path.join(ABOUT);
    let text = small_file(&file)?;
    serde_json::from_slice(&text)
        .map_err(|error| SaveError::BadFile { file, reason: error.to_string() })
}

/// A file that is small, whole.
fn small_file(path: &Path) -> Result<Vec<u8>, SaveError> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SMALL_BYTES).read_to_end(&mut content))
        .map_err(SaveError::disk(path))?;
    Ok(content)
}

/// A data directory, without what belongs to one run, where it is not there yet.
fn copy_node(from: &Path, to: &Path) -> Result<(), SaveError> {
    copy_files(from, to, |name| {
        let is_passing = name.ends_with(".tmp") || name.ends_with(".partial");
        !NOT_SAVED.contains(&name) && !is_passing
    })?;
    let ledger = from.join(LEDGER);
    if ledger.is_dir() && !to.join(LEDGER).exists() {
        copy_files(&ledger, &to.join(LEDGER), |name| name != "LOCK")?;
    }
    Ok(())
}

/// The files of one folder into another, where they are not there yet: those that never change as
/// links, or as copies where a link can't be.
fn copy_files(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), SaveError> {
    fs::create_dir_all(to).map_err(SaveError::disk(to))?;
    for entry in fs::read_dir(from).map_err(SaveError::disk(from))? {
        let entry = entry.map_err(SaveError::disk(from))?;
        let (source, name) = (entry.path(), entry.file_name());
        let (Some(name), Ok(true)) = (name.to_str(), entry.file_type().map(|kind| kind.is_file()))
        else {
            continue;
        };
        let target = to.join(name);
        if !wanted(name) || target.exists() {
            continue;
        }
        let extension = source.extension().and_then(|extension| extension.to_str());
        let is_fixed = extension.is_some_and(|extension| NEVER_CHANGED.contains(&extension));
        if is_fixed && fs::hard_link(&source, &target).is_ok() {
            continue;
        }
        fs::copy(&source, &target).map_err(SaveError::disk(&target))?;
    }
    Ok(())
}

/// Removes all of a data directory but its log.
fn empty_node(directory: &Path) -> Result<(), SaveError> {
    for entry in fs::read_dir(directory).map_err(SaveError::disk(directory))? {
        let entry = entry.map_err(SaveError::disk(directory))?;
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder {
            clear(&path)?;
        } else if entry.file_name() != "log" {
            fs::remove_file(&path).map_err(SaveError::disk(&path))?;
        }
    }
    Ok(())
}

/// Removes a folder that may not be there.
fn clear(folder: &Path) -> Result<(), SaveError> {
    remove_folder(folder).map_err(SaveError::disk(folder))
}

/// All files below a folder, by their paths in it.
fn list_files(root: &Path, inner: &Path, files: &mut Vec<PathBuf>) -> Result<(), SaveError> {
    let folder = root.join(inner);
    for entry in fs::read_dir(&folder).map_err(SaveError::disk(&folder))? {
        let entry = entry.map_err(SaveError::disk(&folder))?;
        let path = inner.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list_files(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::layout::NodeRecord;

    /// A testnet of one stopped node, as far as its files go.
    fn net(folder: &Path, genesis: &str) -> Layout {
        let layout = Layout::at(folder).unwrap();
        fs::create_dir_all(folder.join(WALLETS)).unwrap();
        fs::create_dir_all(layout.node(1).join(LEDGER)).unwrap();
        fs::write(layout.genesis(), genesis).unwrap();
        fs::write(layout.network_file(), "").unwrap();
        fs::write(layout.wallet("alice"), "words").unwrap();
        for (file, content) in [
            ("node.key", "key"),
            ("mempool.dat", "waiting"),
            ("log", "said"),
            ("pid", "7 7"),
            ("ledger/000004.sst", "table"),
            ("ledger/000005.blob", "bodies"),
            ("ledger/CURRENT", "first"),
        ] {
            fs::write(layout.node(1).join(file), content).unwrap();
        }
        let nodes = [(1, NodeRecord::default())].into();
        layout.save(&State { nodes, ..State::default() }).unwrap();
        layout
    }

    fn save(layout: &Layout, name: &str) -> Save {
        let mut about = Save::new(name, 5_000);
        let saves = Saves::of(layout);
        let partial = saves.begin(name).unwrap();
        partial.add_node(1, &layout.node(1)).unwrap();
        partial.add_net(layout).unwrap();
        about.nodes.insert(1, None);
        partial.finish(&about).unwrap();
        about
    }

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn what_is_saved_comes_back_and_what_never_changes_is_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let layout = net(folder.path(), "{}");
        let about = save(&layout, "before");
        assert_eq!(Saves::of(&layout).list().unwrap(), [about]);
        let node = layout.node(1);
        fs::write(node.join("ledger/CURRENT"), "second").unwrap();
        fs::remove_file(node.join("ledger/000004.sst")).unwrap();
        fs::write(node.join("ledger/000009.sst"), "later").unwrap();
        fs::write(layout.wallet("bob"), "other words").unwrap();
        fs::create_dir_all(layout.node(2)).unwrap();
        let (state, _) = Saves::of(&layout).restore("before").unwrap();
        assert!(state.nodes.contains_key(&1) && !layout.node(2).exists());
        assert_eq!(read(node.join("ledger/CURRENT")), "first");
        assert_eq!(read(node.join("ledger/000004.sst")), "table");
        assert!(!node.join("ledger/000009.sst").exists() && !layout.wallet("bob").exists());
        assert_eq!(
            (read(node.join("log")), read(node.join("node.key"))),
            ("said".into(), "key".into())
        );
        assert!(!node.join("pid").exists());
        let linked = |path: PathBuf| fs::metadata(path).unwrap().nlink();
        assert_eq!(linked(node.join("ledger/000005.blob")), 2);
        assert_eq!(linked(node.join("ledger/CURRENT")), 1, "it changes");
    }

    #[test]
    fn the_clock_goes_on_from_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let layout = net(folder.path(), "{}");
        let clock = crate::clock::standing_at(1);
        layout.save(&State { clock: Some(clock), ..layout.load().unwrap() }).unwrap();
        save(&layout, "then");
        let (state, _) = Saves::of(&layout).restore("then").unwrap();
        assert_eq!(state.clock.unwrap().unix_ms, 5_000);
        assert_eq!(layout.load().unwrap(), state);
    }

    #[test]
    fn one_file_holds_it_all_and_makes_a_testnet_elsewhere() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layout = net(here.path(), "{}");
        save(&layout, "case");
        let file = here.path().join("case.tar");
        let saves = Saves::of(&layout);
        saves.export("case", &file).unwrap();
        assert!(saves.export("case", &file).is_err(), "it is there already");
        assert!(matches!(saves.import(&file, None), Err(SaveError::Taken { .. })));
        assert_eq!(saves.import(&file, Some("again")).unwrap().name, "again");
        let other = Layout::at(there.path()).unwrap();
        Saves::of(&other).import(&file, None).unwrap();
        Saves::of(&other).restore("case").unwrap();
        assert_eq!(read(other.node(1).join("ledger/000005.blob")), "bodies");
        assert_eq!(read(other.wallet("alice")), "words");
        assert_eq!(other.load().unwrap(), layout.load().unwrap());
        // Also where nobody has used a wallet yet.
        fs::remove_file(layout.wallet("alice")).unwrap();
        save(&layout, "bare");
        let file = here.path().join("bare.tar");
        saves.export("bare", &file).unwrap();
        saves.import(&file, Some("bare-again")).unwrap();
        saves.restore("bare-again").unwrap();
        assert!(!layout.wallet("alice").exists() && here.path().join(WALLETS).is_dir());
    }

    #[test]
    fn a_save_of_another_chain_changes_nothing() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (layout, other) = (net(here.path(), "{}"), net(there.path(), "{ }"));
        save(&layout, "case");
        let file = here.path().join("case.tar");
        Saves::of(&layout).export("case", &file).unwrap();
        Saves::of(&other).import(&file, None).unwrap();
        let error = Saves::of(&other).restore("case").unwrap_err();
        assert_eq!((error.code(), read(other.node(1).join("log"))), ("other-chain", "said".into()));
    }

    #[test]
    fn a_file_that_leads_elsewhere_is_refused_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let layout = net(folder.path(), "{}");
        let about = serde_json::to_vec(&Save::new("evil", 0)).unwrap();
        for inner in
            ["node1/../../../evil", "/evil", "elsewhere/x", "node1/ledger/a/b", "node1/.cookie"]
        {
            let file = folder.path().join("evil.tar");
            let mut tar = Builder::new(File::create(&file).unwrap());
            for (name, content) in [(ABOUT, &about[..]), (inner, b"x")] {
                let mut header = tar::Header::new_ustar();
                // As `set_path` would not have it.
                header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
                header.set_size(content.len() as u64);
                header.set_mode(0o600);
                header.set_entry_type(EntryType::Regular);
                header.set_cksum();
                tar.append(&header, content).unwrap();
            }
            tar.finish().unwrap();
            let error = Saves::of(&layout).import(&file, None).unwrap_err();
            assert_eq!(error.code(), "bad-export", "{inner}: {error}");
            assert_eq!(fs::read_dir(folder.path().join("saves")).unwrap().count(), 0, "{inner}");
        }
    }

    #[test]
    fn names_that_are_none_and_saves_that_are_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let layout = net(folder.path(), "{}");
        for name in ["", "..", "a/b", "A"] {
            assert!(
                matches!(Saves::of(&layout).begin(name), Err(SaveError::Name { .. })),
                "{name}"
            );
        }
        save(&layout, "one");
        let missing = Saves::of(&layout).restore("two").unwrap_err();
        assert_eq!(
            (missing.code(), missing.hint()),
            ("no-such-save", Some("there are: one".into()))
        );
    }
}
