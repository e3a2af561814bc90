//! `ashlar-node doctor`: looks for the usual troubles of a node, running or not, and says how each
//! is mended. It changes nothing.
//!
//! Two halves: [`examine`] gathers what is so ([`Facts`]), [`findings`] says what is wrong with
//! that, and is a function of it alone.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use ashlar_ledger::{RocksReader, stored_chain};
use ashlar_primitives::BlockId;
use ashlar_rpc::{
    Client, RunFile,
    client::Way,
    types::{BlockchainInfo, NetworkInfo},
};
use clap::Args;
use rustix::process::{Resource, getrlimit};
use thiserror::Error;

use crate::{
    Failure,
    clock::machine_unix_ms,
    config::{Config, RunArguments},
    datadir::{Datadir, GENESIS_FILE, KEY_FILE, LOCK_FILE},
    disk::{DiskError, Room},
    ntp, run, settings,
};

/// Longest that a running node is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How far the machine's clock may be from a time server's, in milliseconds: blocks from a second
/// further ahead than a chain allows wait, and a minute is what chains allow.
const MAX_CLOCK_OFFSET_MS: u64 = 5_000;
/// Open files that a node needs: the database's, and one for each connection.
const MIN_OPEN_FILES: u64 = 2_048;
/// Block intervals after which a chain that does not grow is told of. Blocks come at random: with
/// the hash power unchanged, one pause in half a million is so long.
const STUCK_INTERVALS: u64 = 13;

#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    run: Box<RunArguments>,
    /// Compare the machine's clock with this time server, which is asked only where it is named:
    /// `pool.ntp.org`, with `:PORT` where that is not 123.
    #[arg(long, value_name = "HOST")]
    ntp: Option<String>,
    /// Ask the node by TLS, where it listens on an address of the network: the PEM file of its
    /// certificate, or of who signed it.
    #[arg(long, env = "ASHLAR_RPC_CA", value_name = "FILE")]
    rpc_ca: Option<PathBuf>,
}

/// Ends the command where something is wrong.
#[derive(Debug, Error)]
#[error("{count} of the node's affairs need care: see above")]
struct NeedsCare {
    count: usize,
}

/// What is so. Each part is what was found, however bad.
#[derive(Clone, Debug)]
struct Facts {
    now_seconds: u64,
    /// The machine's clock less the time server's, where one was asked.
    clock_offset_ms: Option<Result<i64, String>>,
    open_files: Option<u64>,
    /// What `config check` says.
    problems: Vec<String>,
    datadir: PathBuf,
    has_datadir: bool,
    is_writable: bool,
    /// Secrets that others on the machine may read.
    bare_secrets: Vec<PathBuf>,
    /// Why there is too little room, or nobody knows.
    disk: Option<String>,
    /// Of the genesis file, with its time, block interval and furthest future.
    chain: Option<ChainFacts>,
    /// Of the stored chain, where the node is not running.
    stored: Option<Result<BlockId, String>>,
    process: ProcessFacts,
}

/// What the genesis file says.
#[derive(Clone, Copy, Debug)]
struct ChainFacts {
    id: BlockId,
    genesis_time: u64,
    interval_seconds: u64,
    max_future_seconds: u64,
}

/// The node itself.
#[derive(Clone, Debug)]
enum ProcessFacts {
    /// Nothing holds the data directory; ports that something else holds, and whether `run.json`
    /// says that a node was there.
    Stopped { taken: Vec<String>, left_behind: bool },
    /// Something does, and does not answer.
    Silent { reason: String },
    /// It answers.
    Running(Box<(BlockchainInfo, NetworkInfo)>),
}

/// One trouble and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// What it is about: one word that scripts may look for.
    about: &'static str,
    what: String,
    mend: String,
}

/// Looks, prints, and fails where there is something to mend.
pub(crate) fn doctor(arguments: &DoctorArguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.run)?;
    let facts = examine(&config, arguments)?;
    let state = match &facts.process {
        ProcessFacts::Stopped { .. } => "no node runs on it",
        ProcessFacts::Silent { .. } => "a node runs on it",
        ProcessFacts::Running(_) => "a node runs on it and answers",
    };
    println!("data directory {}: {state}", config.datadir.display());
    let findings = findings(&facts);
    for Finding { about, what, mend } in &findings {
        println!("\n{about}: {what}\n  to mend: {mend}");
    }
    if !findings.is_empty() {
        return Err(NeedsCare { count: findings.len() }.into());
    }
    println!("nothing is wrong that this command knows of");
    Ok(())
}

fn examine(config: &Config, arguments: &DoctorArguments) -> Result<Facts, Failure> {
    let datadir = config.datadir.clone();
    let chain = run::load_genesis(config).ok().map(|(genesis, _)| {
        let params = genesis.params();
        ChainFacts {
            id: params.chain_id,
            genesis_time: params.time.into(),
            interval_seconds: params.block_interval.into(),
            max_future_seconds: params.max_future_seconds.into(),
        }
    });
    let process = process(config, arguments.rpc_ca.as_deref())?;
    let is_stopped = matches!(process, ProcessFacts::Stopped { .. });
    let stored = (is_stopped && Datadir::has_ledger(&datadir)).then(|| {
        let directory = datadir.join(crate::datadir::LEDGER_DIRECTORY);
        let store = RocksReader::open(&directory, &run::rocks_options(config));
        let store = store.map_err(|error| error.to_string())?;
        stored_chain(&store).map_err(|error| error.to_string())
    });
    let has_datadir = datadir.is_dir();
    let room = has_datadir.then(|| Room::new(&datadir, config.min_free).check_start());
    let secrets = [KEY_FILE, ashlar_rpc::run_file::COOKIE_FILE].map(|name| datadir.join(name));
    Ok(Facts {
        now_seconds: machine_unix_ms() / 1_000,
        clock_offset_ms: arguments.ntp.as_deref().map(ntp::offset_ms),
        // A node raises its own limit up to this one.
        open_files: getrlimit(Resource::Nofile).maximum,
        problems: settings::problems(config),
        is_writable: rustix::fs::access(&datadir, rustix::fs::Access::WRITE_OK).is_ok(),
        bare_secrets: secrets.into_iter().filter(|path| is_bare(path)).collect(),
        disk: room.and_then(Result::err).map(|error: DiskError| error.to_string()),
        datadir,
        has_datadir,
        chain,
        stored,
        process,
    })
}

/// Whether others than its owner may read a file.
fn is_bare(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

fn process(config: &Config, rpc_ca: Option<&Path>) -> Result<ProcessFacts, Failure> {
    let run = RunFile::read(&config.datadir);
    if !is_held(&config.datadir.join(LOCK_FILE)) {
        return Ok(ProcessFacts::Stopped { taken: taken(config), left_behind: run.is_ok() });
    }
    let run = match run {
        Ok(run) => run,
        Err(error) => return Ok(ProcessFacts::Silent { reason: error.to_string() }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async {
        let way = Way::new(&run.rpc, rpc_ca).map_err(|error| error.to_string())?;
        let client = Client::connect_by(way, &RunFile::credentials(&config.datadir))
            .map_err(|error| error.to_string())?;
        let both = tokio::time::timeout(ANSWER_TIMEOUT, async {
            let chain = client.call("getblockchaininfo", vec![]).await?;
            let network = client.call("getnetworkinfo", vec![]).await?;
            Ok::<_, ashlar_rpc::ClientError>((chain, network))
        });
        let (chain, network) = both
            .await
            .map_err(|_| format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))?
            .map_err(|error| error.to_string())?;
        let read = |error: serde_json::Error| error.to_string();
        let chain = serde_json::from_value(chain).map_err(read)?;
        Ok((chain, serde_json::from_value(network).map_err(read)?))
    });
    Ok(match asked {
        Ok(answers) => ProcessFacts::Running(Box::new(answers)),
        Err(reason) => ProcessFacts::Silent { reason },
    })
}

/// Whether a process holds the lock of a data directory.
fn is_held(lock: &Path) -> bool {
    File::open(lock).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// The addresses of the configuration that another program listens on.
fn taken(config: &Config) -> Vec<String> {
    let is_taken = |address: &SocketAddr| {
        TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    };
    let rpc = is_taken(&config.rpc_listen).then(|| format!("{} (RPC)", config.rpc_listen));
    let peers = ashlar_network::taken(&config.listen).into_iter();
    rpc.into_iter().chain(peers.map(|address| format!("{address} (peers)"))).collect()
}

/// What is wrong, what must be mended first coming first.
fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tell = |about, what: String, mend: &str| {
        found.push(Finding { about, what, mend: mend.to_owned() });
    };
    for problem in &facts.problems {
        tell(
            "configuration",
            problem.clone(),
            "change the flag, variable or key that it names; \
            `ashlar-node config show` tells where each value comes from",
        );
    }
    of_directory(facts, &mut tell);
    of_clock(facts, &mut tell);
    if let Some(files) = facts.open_files.filter(|files| *files < MIN_OPEN_FILES) {
        tell(
            "files",
            format!("a process may open {files} files"),
            &format!(
                "allow {MIN_OPEN_FILES} or more: `ulimit -Hn`, or LimitNOFILE= of the service"
            ),
        );
    }
    match &facts.process {
        ProcessFacts::Stopped { taken, left_behind } => {
            for address in taken {
                tell(
                    "port",
                    format!("another program listens on {address}"),
                    "stop it (`ss -ltnp` \
                    names it), or choose another address with --listen or --rpc-listen",
                );
            }
            if *left_behind {
                tell(
                    "crash",
                    "a node ran here and did not stop cleanly".to_owned(),
                    "read the end \
                    of its log, then start it again: nothing that it had told anyone is lost",
                );
            }
        }
        ProcessFacts::Silent { reason } => tell(
            "silent",
            format!("a node holds the data directory and does not answer: {reason}"),
            "it may still be starting, or building an index: its log says so. Where the log stands \
             still, stop it (SIGTERM, then SIGKILL: no harm is done) and start it again",
        ),
        ProcessFacts::Running(answers) => of_running(facts, &answers.0, &answers.1, &mut tell),
    }
    found
}

fn of_directory(facts: &Facts, tell: &mut impl FnMut(&'static str, String, &str)) {
    let at = facts.datadir.display();
    if !facts.has_datadir {
        let mend = format!(
            "name the right one with --datadir, or make one: `ashlar-node init \
            --datadir {at}`"
        );
        return tell("directory", format!("{at} is not there"), &mend);
    }
    if !facts.is_writable {
        tell(
            "directory",
            format!("this user may not write to {at}"),
            "run this command, and the \
            node, as the user who owns it, or give it to that user with chown",
        );
    }
    for path in &facts.bare_secrets {
        let path = path.display();
        let mend = format!(
            "chmod 600 {path}; where others may have read it, remove the file while \
            the node is stopped and a new one is made"
        );
        tell("secret", format!("others on this machine may read {path}"), &mend);
    }
    if let Some(disk) = &facts.disk {
        tell(
            "disk",
            disk.clone(),
            "delete what is not needed, move the data directory to a larger \
            disk, or keep fewer blocks with --prune",
        );
    }
    let expected = facts.chain.map(|chain| chain.id);
    match (&facts.stored, expected) {
        (Some(Err(reason)), _) => tell(
            "ledger",
            reason.clone(),
            "`ashlar-node check` tells what \
            is wrong with it and which command mends it",
        ),
        (Some(Ok(found)), Some(expected)) if *found != expected => {
            wrong_genesis(*found, expected, tell);
        }
        _ => {}
    }
}

fn wrong_genesis(
    found: BlockId,
    expected: BlockId,
    tell: &mut impl FnMut(&'static str, String, &str),
) {
    tell(
        "genesis",
        format!(
            "the node's data are of chain {found}, its genesis file makes \
        {expected}"
        ),
        &format!(
            "copy the {GENESIS_FILE} that the others of the net use into the \
        data directory, and remove `ledger/` where the data are of the wrong chain"
        ),
    );
}

fn of_clock(facts: &Facts, tell: &mut impl FnMut(&'static str, String, &str)) {
    const MEND: &str = "set the clock and keep it right: `timedatectl set-ntp true`, or chrony";
    match &facts.clock_offset_ms {
        Some(Ok(offset)) if offset.unsigned_abs() > MAX_CLOCK_OFFSET_MS => {
            let way = if *offset > 0 { "ahead of" } else { "behind" };
            let what = format!("the clock is {} ms {way} the time server's", offset.unsigned_abs());
            tell("clock", what, MEND);
        }
        Some(Err(reason)) => tell(
            "clock",
            format!(
                "the time server did not tell the time: \
            {reason}"
            ),
            "name another with --ntp, and let UDP to its port 123 pass",
        ),
        _ => {}
    }
    let Some(chain) = facts.chain else { return };
    let now = facts.now_seconds;
    if now < chain.genesis_time {
        let ahead = chain.genesis_time - now;
        tell("clock", format!("the chain begins {ahead} s after the time of this machine"), MEND);
    }
    if let ProcessFacts::Running(answers) = &facts.process {
        let tip = u64::from(answers.0.time);
        let ahead = tip.saturating_sub(now);
        if ahead > chain.max_future_seconds {
            tell("clock", format!("the newest block is {ahead} s ahead of this machine"), MEND);
        }
    }
}

fn of_running(
    facts: &Facts,
    chain: &BlockchainInfo,
    network: &NetworkInfo,
    tell: &mut impl FnMut(&'static str, String, &str),
) {
    if let Some(expected) = facts.chain.map(|chain| chain.id)
        && chain.chain_id.0 != expected
    {
        wrong_genesis(chain.chain_id.0, expected, tell);
    }
    if network.connections == 0 {
        tell(
            "peers",
            "the node has no peers".to_owned(),
            "name one that is up with --peer or \
            `addnode`; let its port pass the firewall; look whether it runs the same chain \
            (chain_id of getblockchaininfo), has the same --network-secret, or is banned \
            (`listbanned`, `clearbanned`)",
        );
    }
    for warning in &chain.warnings {
        tell(
            "warning",
            warning.clone(),
            "the warning says what to do; docs/operations.md says \
            more",
        );
    }
    let interval = facts.chain.map_or(u64::from(chain.block_interval), |c| c.interval_seconds);
    let age = facts.now_seconds.saturating_sub(chain.time.into());
    let longest = interval.saturating_mul(STUCK_INTERVALS);
    if chain.initialblockdownload || age <= longest {
        return;
    }
    let what = format!(
        "the newest block, {}, is {age} s old, and one is due every {interval} s",
        chain.blocks
    );
    let mend = if chain.headers > chain.blocks {
        "headers of newer blocks are known and their bodies do not come: connect to more peers \
         (`addnode`)"
    } else if network.connections == 0 {
        "without peers nothing new comes, unless this node mines: mend that first"
    } else {
        "compare with another node's `getbestblockhash`. Where it has newer blocks, disconnect \
         from the peers at hand and name others; where nobody has, nobody mines: start a miner \
         (--mine ADDRESS)"
    };
    tell("tip", what, mend);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn chain() -> BlockchainInfo {
        let id = BlockId([1; 32]).to_string();
        let zero = "0".repeat(64);
        serde_json::from_value(json!({
            "tip": id, "tip_height": 9, "chain": "t", "chain_id": id, "address_prefix": "t",
            "blocks": 9, "headers": 9, "bestblockhash": id, "bits": "1f00ffff", "target": zero,
            "time": NOW - 30, "mediantime": NOW - 90, "initialblockdownload": false,
            "chainwork": zero, "coins": 1, "supply": 1, "claimed": 1, "utxo_commitment": zero,
            "next_subsidy": 1, "coinbase_maturity": 100, "block_interval": 60,
            "max_block_bytes": 1_000_000, "transaction_index": true, "address_index": true,
            "size_on_disk": 1, "pruned": false, "warnings": [],
        }))
        .unwrap()
    }

    fn network() -> NetworkInfo {
        serde_json::from_value(json!({
            "subversion": "ashlar", "protocolversion": 1, "network": "00000000",
            "identity": "me", "networkactive": true, "connections": 2, "connections_in": 1,
            "connections_out": 1, "localaddresses": [], "warnings": [],
        }))
        .unwrap()
    }

    fn well() -> Facts {
        Facts {
            now_seconds: NOW,
            clock_offset_ms: Some(Ok(-40)),
            open_files: Some(MIN_OPEN_FILES),
            problems: Vec::new(),
            datadir: "/var/lib/ashlar".into(),
            has_datadir: true,
            is_writable: true,
            bare_secrets: Vec::new(),
            disk: None,
            chain: Some(ChainFacts {
                id: BlockId([1; 32]),
                genesis_time: NOW - 1_000,
                interval_seconds: 60,
                max_future_seconds: 60,
            }),
            stored: None,
            process: ProcessFacts::Running(Box::new((chain(), network()))),
        }
    }

    /// The facts with a change to what the running node says.
    fn saying(change: impl FnOnce(&mut BlockchainInfo, &mut NetworkInfo)) -> Facts {
        let (mut chain, mut network) = (chain(), network());
        change(&mut chain, &mut network);
        Facts { process: ProcessFacts::Running(Box::new((chain, network))), ..well() }
    }

    fn stopped(taken: &[&str], left_behind: bool) -> ProcessFacts {
        let taken = taken.iter().map(|address| (*address).to_owned()).collect();
        ProcessFacts::Stopped { taken, left_behind }
    }

    #[test]
    fn a_node_that_is_well_has_no_findings() {
        assert_eq!(findings(&well()), []);
        let stored = Some(Ok(BlockId([1; 32])));
        assert_eq!(findings(&Facts { process: stopped(&[], false), stored, ..well() }), []);
        // While it catches up its tip is old by right.
        let syncing = |chain: &mut BlockchainInfo, _: &mut NetworkInfo| {
            chain.initialblockdownload = true;
            chain.time = 1_700_000_000;
        };
        assert_eq!(findings(&saying(syncing)), []);
    }

    #[test]
    fn each_trouble_is_found_alone_and_its_mending_told() {
        let late = u32::try_from(NOW - 60 * STUCK_INTERVALS - 1).unwrap();
        let cases: Vec<(Facts, &str, &str, &str)> = vec![
            (
                Facts { problems: vec!["no genesis".into()], ..well() },
                "configuration",
                "no genesis",
                "config show",
            ),
            (Facts { has_datadir: false, ..well() }, "directory", "not there", "ashlar-node init"),
            (Facts { is_writable: false, ..well() }, "directory", "may not write", "chown"),
            (
                Facts { bare_secrets: vec!["/d/node.key".into()], ..well() },
                "secret",
                "/d/node.key",
                "chmod 600",
            ),
            (Facts { disk: Some("1 MB free".into()), ..well() }, "disk", "1 MB", "--prune"),
            (
                Facts {
                    stored: Some(Err("damaged".into())),
                    process: stopped(&[], false),
                    ..well()
                },
                "ledger",
                "damaged",
                "ashlar-node check",
            ),
            (
                Facts {
                    stored: Some(Ok(BlockId([2; 32]))),
                    process: stopped(&[], false),
                    ..well()
                },
                "genesis",
                "0202",
                "genesis.json",
            ),
            (
                saying(|chain, _| chain.chain_id = BlockId([2; 32]).into()),
                "genesis",
                "0202",
                "genesis.json",
            ),
            (
                Facts { clock_offset_ms: Some(Ok(6_000)), ..well() },
                "clock",
                "6000 ms ahead",
                "timedatectl",
            ),
            (
                Facts { clock_offset_ms: Some(Ok(-6_000)), ..well() },
                "clock",
                "6000 ms behind",
                "timedatectl",
            ),
            (
                Facts { clock_offset_ms: Some(Err("silence".into())), ..well() },
                "clock",
                "silence",
                "--ntp",
            ),
            (
                Facts { now_seconds: NOW - 1_010, process: stopped(&[], false), ..well() },
                "clock",
                "begins 10 s after",
                "timedatectl",
            ),
            (
                saying(|chain, _| chain.time = u32::try_from(NOW + 61).unwrap()),
                "clock",
                "61 s ahead",
                "timedatectl",
            ),
            (Facts { open_files: Some(256), ..well() }, "files", "256", "LimitNOFILE"),
            (
                Facts { process: stopped(&["127.0.0.1:9332 (RPC)"], false), ..well() },
                "port",
                "127.0.0.1:9332",
                "--rpc-listen",
            ),
            (
                Facts { process: stopped(&[], true), ..well() },
                "crash",
                "did not stop cleanly",
                "start it again",
            ),
            (
                Facts {
                    process: ProcessFacts::Silent { reason: "no answer within 10 s".into() },
                    ..well()
                },
                "silent",
                "no answer",
                "SIGTERM",
            ),
            (saying(|_, network| network.connections = 0), "peers", "no peers", "--peer"),
            (
                saying(|chain, _| chain.warnings = vec!["only pruned peers".into()]),
                "warning",
                "only pruned peers",
                "docs/operations.md",
            ),
            (saying(|chain, _| chain.time = late), "tip", "block, 9, is 781 s old", "--mine"),
            (
                saying(|chain, _| {
                    chain.time = late;
                    chain.headers = 12;
                }),
                "tip",
                "781 s old",
                "bodies do not come",
            ),
        ];
        for (facts, about, what, mend) in cases {
            let found = findings(&facts);
            assert!(
                found.len() == 1
                    && found[0].about == about
                    && found[0].what.contains(what)
                    && found[0].mend.contains(mend),
                "{about}: {found:?}"
            );
        }
    }

    #[test]
    fn a_port_that_something_holds_is_found() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut arguments = RunArguments::of(directory.path());
        let file = directory.path().join(crate::config::CONFIG_FILE);
        let peers = format!("/ip4/127.0.0.1/tcp/{}", address.port());
        let text = format!("rpc_listen = \"{address}\"\nlisten = [\"{peers}\"]\n");
        fs::write(&file, text).unwrap();
        arguments.config = Some(file);
        let config = Config::load(&arguments).unwrap();
        assert_eq!(taken(&config), [format!("{address} (RPC)"), format!("{peers} (peers)")]);
        drop(holder);
        assert_eq!(taken(&config), [""; 0]);
    }
}
