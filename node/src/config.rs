//! What the operator chooses: flags over environment over file, unknown keys refused.

use std::{fs, io, net::SocketAddr, path::PathBuf};

use ashlar_engine::DEFAULT_REORG_ALARM;
use ashlar_rpc::server::{TlsFiles, Token};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use thiserror::Error;

use crate::{
    assume::AssumeValid,
    disk::DEFAULT_MIN_FREE,
    health::ReadyMarks,
    reorg::{Hold, ReorgTable},
    size::{ByteSize, Prune},
    tokens::{self, TokenError, TokenTable},
    work::MinimumWork,
};

/// The configuration file looked for in the data directory.
pub(crate) const CONFIG_FILE: &str = "ashlar.toml";
const DEFAULT_LISTEN: &str = "/ip4/0.0.0.0/tcp/9333";
const DEFAULT_RPC_LISTEN: &str = "127.0.0.1:9332";
/// Libraries tell of what peers do to them, as often as peers like; the rooms log that themselves.
const DEFAULT_LOG: &str =
    "info,libp2p=error,yamux=off,multistream_select=error,hickory=error,quinn=error";

/// How much memory the node takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    /// A machine of its own.
    #[default]
    Default,
    /// Many nodes on one machine: testnets.
    Small,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The flags of `run`; the same names with `_` are keys of the file and, in capitals behind
/// `ASHLAR_`, of the environment.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RunArguments {
    /// Where everything is kept.
    #[arg(long, env = "ASHLAR_DATADIR", value_name = "DIR")]
    pub(crate) datadir: PathBuf,
    /// Configuration file [default: ashlar.toml in the data directory, where there is one].
    #[arg(long, env = "ASHLAR_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The chain's genesis file [default: genesis.json in the data directory].
    #[arg(long, env = "ASHLAR_GENESIS", value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Multiaddress to accept peers on; may be repeated [default: /ip4/0.0.0.0/tcp/9333].
    #[arg(long, env = "ASHLAR_LISTEN", value_name = "MULTIADDR", value_delimiter = ',')]
    listen: Option<Vec<String>>,
    /// Multiaddress of a peer to connect to and to keep connected to; may be repeated.
    #[arg(long = "peer", env = "ASHLAR_PEERS", value_name = "MULTIADDR", value_delimiter = ',')]
    peers: Option<Vec<String>>,
    /// Multiaddress of a peer to connect to, and to none besides these; accepts nobody unless
    /// --listen is given too; may be repeated.
    #[arg(
        long,
        env = "ASHLAR_CONNECT",
        value_name = "MULTIADDR",
        value_delimiter = ',',
        conflicts_with = "peers"
    )]
    connect: Option<Vec<String>>,
    /// Peer id that may connect and be dialled, nobody else then; may be repeated.
    #[arg(
        long = "allow-peer",
        env = "ASHLAR_ALLOW_PEERS",
        value_name = "ID",
        value_delimiter = ','
    )]
    allow_peers: Option<Vec<String>>,
    /// File with the secret of a closed network (64 hex digits), the same on each of its nodes.
    #[arg(long, env = "ASHLAR_NETWORK_SECRET", value_name = "FILE")]
    network_secret: Option<PathBuf>,
    /// Multiaddress under which others reach this node, told to peers; may be repeated.
    #[arg(
        long = "external-address",
        env = "ASHLAR_EXTERNAL_ADDRESSES",
        value_name = "MULTIADDR",
        value_delimiter = ','
    )]
    external_addresses: Option<Vec<String>>,
    /// Ban no loopback address and take any number of connections from it: for many nodes on one
    /// machine.
    #[arg(long, env = "ASHLAR_EXEMPT_LOOPBACK", num_args = 0..=1, default_missing_value = "true")]
    exempt_loopback: Option<bool>,
    /// Find further peers through those that are connected [default: true].
    #[arg(long, env = "ASHLAR_DISCOVERY", num_args = 0..=1, default_missing_value = "true")]
    discovery: Option<bool>,
    /// DNS name whose dnsaddr records name peers, asked while there are too few; may be repeated.
    #[arg(long = "dns-seed", env = "ASHLAR_DNS_SEEDS", value_name = "NAME", value_delimiter = ',')]
    dns_seeds: Option<Vec<String>>,
    /// Find peers on the local network by multicast DNS.
    #[arg(long, env = "ASHLAR_MDNS", num_args = 0..=1, default_missing_value = "true")]
    mdns: Option<bool>,
    /// Address of the JSON-RPC server [default: 127.0.0.1:9332].
    #[arg(long, env = "ASHLAR_RPC_LISTEN", value_name = "IP:PORT")]
    rpc_listen: Option<SocketAddr>,
    /// A host name under which the RPC server may be called; may be repeated.
    #[arg(long = "rpc-allow-host", env = "ASHLAR_RPC_ALLOW_HOSTS", value_delimiter = ',')]
    rpc_allow_hosts: Option<Vec<String>>,
    /// An origin whose web pages may call the RPC server; may be repeated.
    #[arg(long = "rpc-allow-origin", env = "ASHLAR_RPC_ALLOW_ORIGINS", value_delimiter = ',')]
    rpc_allow_origins: Option<Vec<String>>,
    /// Peers without which /ready says that others should be asked [default: 1 where peers, DNS
    /// seeds or multicast DNS are configured, else 0].
    #[arg(long, env = "ASHLAR_READY_PEERS", value_name = "N")]
    ready_peers: Option<usize>,
    /// Age of the newest block, in seconds, beyond which /ready says so; 0 for any age
    /// [default: 0].
    #[arg(long, env = "ASHLAR_READY_TIP_AGE_SECONDS", value_name = "SECONDS")]
    ready_tip_age_seconds: Option<u64>,
    /// PEM file of the RPC server's certificate: callers from other machines must then use TLS.
    #[arg(long, env = "ASHLAR_RPC_TLS_CERTIFICATE", value_name = "FILE")]
    rpc_tls_certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    #[arg(long, env = "ASHLAR_RPC_TLS_KEY", value_name = "FILE")]
    rpc_tls_key: Option<PathBuf>,
    /// Mine, paying this address.
    #[arg(long, env = "ASHLAR_MINE", value_name = "ADDRESS")]
    mine: Option<String>,
    /// Mining threads [default: 1].
    #[arg(long, env = "ASHLAR_MINE_THREADS", value_name = "N")]
    mine_threads: Option<usize>,
    /// Keep the index of transactions by id [default: true].
    #[arg(long, env = "ASHLAR_TRANSACTION_INDEX", num_args = 0..=1, default_missing_value = "true")]
    transaction_index: Option<bool>,
    /// Keep the index of coins and history by address [default: true].
    #[arg(long, env = "ASHLAR_LOCK_INDEX", num_args = 0..=1, default_missing_value = "true")]
    lock_index: Option<bool>,
    /// Delete the oldest blocks so that blocks and undo records fit this size, such as 2GB; the
    /// last two days (never fewer than 288 blocks) always stay [default: off].
    #[arg(long, env = "ASHLAR_PRUNE", value_name = "SIZE")]
    prune: Option<Prune>,
    /// Free disk space that a start asks for, such as 500MB; the node stops when a quarter of it is
    /// left [default: 1GiB].
    #[arg(long, env = "ASHLAR_MIN_FREE", value_name = "SIZE")]
    min_free: Option<ByteSize>,
    /// The least work of a chain that counts, 64 hex digits as getblockchaininfo shows chainwork:
    /// branches below it are not stored, and until its own chain has so much the node is catching
    /// up [default: 0].
    #[arg(long, env = "ASHLAR_MINIMUM_WORK", value_name = "HEX")]
    minimum_work: Option<MinimumWork>,
    /// Take the signatures of this block and its ancestors for good, once its header is known;
    /// every other rule is judged: a block id, or off [default: off].
    #[arg(long, env = "ASHLAR_ASSUME_VALID", value_name = "BLOCK ID")]
    assume_valid: Option<AssumeValid>,
    /// Warn of reorganisations that undo more blocks than this [default: 6].
    #[arg(long, env = "ASHLAR_REORG_ALARM", value_name = "DEPTH")]
    reorg_alarm: Option<u32>,
    /// Ask before a reorganisation that undoes more blocks than this: until the answer the node
    /// stays on a chain that others may have left; a number, or off [default: off].
    #[arg(long, env = "ASHLAR_REORG_HOLD", value_name = "DEPTH")]
    reorg_hold: Option<Hold>,
    /// How much memory to take.
    #[arg(long, env = "ASHLAR_PROFILE")]
    profile: Option<Profile>,
    /// Let RPC set the clock; only on development chains: of fixed difficulty (half-life 0), or where
    /// a block takes at most 1,048,576 hashes at first.
    #[arg(long, env = "ASHLAR_DEV_CLOCK", num_args = 0..=1, default_missing_value = "true")]
    dev_clock: Option<bool>,
    /// What to log: a level, or directives such as `info,ashlar_network=debug`.
    #[arg(long, env = "ASHLAR_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How log lines look.
    #[arg(long, env = "ASHLAR_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

#[cfg(test)]
impl RunArguments {
    /// No flag but the data directory.
    pub(crate) fn of(datadir: &std::path::Path) -> Self {
        Self { datadir: datadir.to_owned(), ..Self::default() }
    }
}

/// The flags of commands on a stopped node: those of `run` that concern its ledger.
#[derive(Clone, Debug, Args)]
pub(crate) struct LedgerArguments {
    /// The data directory; no node may run on it.
    #[arg(long, env = "ASHLAR_DATADIR", value_name = "DIR")]
    pub(crate) datadir: PathBuf,
    /// Configuration file [default: ashlar.toml in the data directory, where there is one].
    #[arg(long, env = "ASHLAR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The chain's genesis file [default: genesis.json in the data directory].
    #[arg(long, env = "ASHLAR_GENESIS", value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Keep the index of transactions by id [default: true].
    #[arg(long, env = "ASHLAR_TRANSACTION_INDEX", num_args = 0..=1, default_missing_value = "true")]
    transaction_index: Option<bool>,
    /// Keep the index of coins and history by address [default: true].
    #[arg(long, env = "ASHLAR_LOCK_INDEX", num_args = 0..=1, default_missing_value = "true")]
    lock_index: Option<bool>,
    /// Free disk space that a command which writes asks for; it stops when a quarter of it is left
    /// [default: 1GiB].
    #[arg(long, env = "ASHLAR_MIN_FREE", value_name = "SIZE")]
    min_free: Option<ByteSize>,
    /// How much memory to take.
    #[arg(long, env = "ASHLAR_PROFILE")]
    profile: Option<Profile>,
}

impl From<&LedgerArguments> for RunArguments {
    fn from(arguments: &LedgerArguments) -> Self {
        let LedgerArguments {
            datadir,
            config,
            genesis,
            transaction_index,
            lock_index,
            min_free,
            profile,
        } = arguments.clone();
        Self {
            datadir,
            config,
            genesis,
            transaction_index,
            lock_index,
            min_free,
            profile,
            ..Self::default()
        }
    }
}

/// The file's keys, all optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    genesis: Option<PathBuf>,
    listen: Option<Vec<String>>,
    peers: Option<Vec<String>>,
    connect: Option<Vec<String>>,
    allow_peers: Option<Vec<String>>,
    network_secret: Option<PathBuf>,
    external_addresses: Option<Vec<String>>,
    exempt_loopback: Option<bool>,
    discovery: Option<bool>,
    dns_seeds: Option<Vec<String>>,
    mdns: Option<bool>,
    rpc_listen: Option<SocketAddr>,
    rpc_allow_hosts: Option<Vec<String>>,
    rpc_allow_origins: Option<Vec<String>>,
    ready_peers: Option<usize>,
    ready_tip_age_seconds: Option<u64>,
    rpc_tls_certificate: Option<PathBuf>,
    rpc_tls_key: Option<PathBuf>,
    #[serde(default)]
    rpc_tokens: Vec<TokenTable>,
    mine: Option<String>,
    mine_threads: Option<usize>,
    transaction_index: Option<bool>,
    lock_index: Option<bool>,
    prune: Option<Prune>,
    min_free: Option<ByteSize>,
    minimum_work: Option<MinimumWork>,
    assume_valid: Option<AssumeValid>,
    profile: Option<Profile>,
    dev_clock: Option<bool>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    #[serde(default)]
    reorg: ReorgTable,
}

/// What holds after flags, environment, file and defaults were merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) datadir: PathBuf,
    /// `None`: the data directory's own.
    pub(crate) genesis: Option<PathBuf>,
    pub(crate) listen: Vec<String>,
    pub(crate) peers: Vec<String>,
    /// `peers` are all there are: nobody else is looked for.
    pub(crate) connects_only: bool,
    pub(crate) allow_peers: Vec<String>,
    pub(crate) network_secret: Option<PathBuf>,
    pub(crate) external_addresses: Vec<String>,
    pub(crate) exempt_loopback: bool,
    pub(crate) discovery: bool,
    pub(crate) dns_seeds: Vec<String>,
    pub(crate) mdns: bool,
    pub(crate) rpc_listen: SocketAddr,
    pub(crate) rpc_allow_hosts: Vec<String>,
    pub(crate) rpc_allow_origins: Vec<String>,
    /// `None`: by whether peers are to be expected.
    pub(crate) ready_peers: Option<usize>,
    /// 0: any age.
    pub(crate) ready_tip_age_seconds: u64,
    pub(crate) rpc_tls: Option<TlsFiles>,
    pub(crate) rpc_tokens: Vec<Token>,
    pub(crate) mine: Option<String>,
    pub(crate) mine_threads: usize,
    pub(crate) transaction_index: bool,
    pub(crate) lock_index: bool,
    pub(crate) prune: Prune,
    pub(crate) min_free: ByteSize,
    pub(crate) minimum_work: MinimumWork,
    pub(crate) assume_valid: AssumeValid,
    pub(crate) reorg_alarm: u32,
    pub(crate) reorg_hold: Hold,
    pub(crate) profile: Profile,
    pub(crate) dev_clock: bool,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

/// A configuration that can't be used.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    #[error("can't read the configuration file {path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path} is not a configuration file: {error}")]
    BadFile { path: PathBuf, error: Box<toml::de::Error> },
    #[error("peers and connect exclude each other: connect names all peers there are to be")]
    PeersAndConnect,
    #[error("--mine-threads 0 would never find a block; leave --mine out to not mine")]
    NoMiningThreads,
    #[error("rpc_tls_certificate and rpc_tls_key go together: name both files, or neither")]
    HalfTls,
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Config {
    /// Merges: flags win over the environment, both over the file, all over defaults.
    pub(crate) fn load(arguments: &RunArguments) -> Result<Self, ConfigError> {
        let file = read_file(arguments)?;
        let flags = arguments.clone();
        if flags.peers.is_none() && file.connect.is_some() && file.peers.is_some() {
            return Err(ConfigError::PeersAndConnect);
        }
        // A flag of either kind wins over the file's of both.
        let connect = flags.connect.or(file.connect.filter(|_| flags.peers.is_none()));
        let connects_only = connect.is_some();
        let rpc_tls = match (
            flags.rpc_tls_certificate.or(file.rpc_tls_certificate),
            flags.rpc_tls_key.or(file.rpc_tls_key),
        ) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            _ => return Err(ConfigError::HalfTls),
        };
        let default_listen = if connects_only { vec![] } else { vec![DEFAULT_LISTEN.to_owned()] };
        let config = Self {
            datadir: flags.datadir,
            genesis: flags.genesis.or(file.genesis),
            listen: flags.listen.or(file.listen).unwrap_or(default_listen),
            peers: connect.or(flags.peers).or(file.peers).unwrap_or_default(),
            connects_only,
            allow_peers: flags.allow_peers.or(file.allow_peers).unwrap_or_default(),
            network_secret: flags.network_secret.or(file.network_secret),
            external_addresses: flags
                .external_addresses
                .or(file.external_addresses)
                .unwrap_or_default(),
            exempt_loopback: flags.exempt_loopback.or(file.exempt_loopback).unwrap_or(false),
            discovery: !connects_only && flags.discovery.or(file.discovery).unwrap_or(true),
            dns_seeds: flags.dns_seeds.or(file.dns_seeds).unwrap_or_default(),
            mdns: flags.mdns.or(file.mdns).unwrap_or(false),
            rpc_listen: flags.rpc_listen.or(file.rpc_listen).unwrap_or_else(default_rpc_listen),
            rpc_allow_hosts: flags.rpc_allow_hosts.or(file.rpc_allow_hosts).unwrap_or_default(),
            rpc_allow_origins: flags
                .rpc_allow_origins
                .or(file.rpc_allow_origins)
                .unwrap_or_default(),
            ready_peers: flags.ready_peers.or(file.ready_peers),
            ready_tip_age_seconds: flags
                .ready_tip_age_seconds
                .or(file.ready_tip_age_seconds)
                .unwrap_or_default(),
            rpc_tls,
            rpc_tokens: tokens::read(file.rpc_tokens)?,
            mine: flags.mine.or(file.mine),
            mine_threads: flags.mine_threads.or(file.mine_threads).unwrap_or(1),
            transaction_index: flags.transaction_index.or(file.transaction_index).unwrap_or(true),
            lock_index: flags.lock_index.or(file.lock_index).unwrap_or(true),
            prune: flags.prune.or(file.prune).unwrap_or_default(),
            min_free: flags.min_free.or(file.min_free).unwrap_or(DEFAULT_MIN_FREE),
            minimum_work: flags.minimum_work.or(file.minimum_work).unwrap_or_default(),
            assume_valid: flags.assume_valid.or(file.assume_valid).unwrap_or_default(),
            reorg_alarm: flags.reorg_alarm.or(file.reorg.alarm).unwrap_or(DEFAULT_REORG_ALARM),
            reorg_hold: flags.reorg_hold.or(file.reorg.hold).unwrap_or_default(),
            profile: flags.profile.or(file.profile).unwrap_or_default(),
            dev_clock: flags.dev_clock.or(file.dev_clock).unwrap_or(false),
            log: flags.log.or(file.log).unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
        };
        if config.mine_threads == 0 {
            return Err(ConfigError::NoMiningThreads);
        }
        Ok(config)
    }

    /// The configuration file named, or the data directory's own where there is one.
    pub(crate) fn file(arguments: &RunArguments) -> Option<PathBuf> {
        let own = arguments.datadir.join(CONFIG_FILE);
        arguments.config.clone().or_else(|| own.exists().then_some(own))
    }

    /// When `/ready` sends callers elsewhere.
    pub(crate) fn ready_marks(&self) -> ReadyMarks {
        let expects_peers = !self.peers.is_empty() || !self.dns_seeds.is_empty() || self.mdns;
        ReadyMarks {
            peers: self.ready_peers.unwrap_or(usize::from(expects_peers)),
            tip_age_seconds: (self.ready_tip_age_seconds > 0).then_some(self.ready_tip_age_seconds),
        }
    }
}

fn read_file(arguments: &RunArguments) -> Result<ConfigFile, ConfigError> {
    let Some(path) = Config::file(arguments) else { return Ok(ConfigFile::default()) };
    let text = fs::read_to_string(&path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    toml::from_str(&text)
        .map_err(|error| ConfigError::BadFile { path: path.to_owned(), error: Box::new(error) })
}

fn default_rpc_listen() -> SocketAddr {
    #[expect(clippy::expect_used, reason = "a constant, parsed by a test below")]
    DEFAULT_RPC_LISTEN.parse().expect("the default is an address")
}

/// The file that `init` writes: every key with its default, all commented out.
pub(crate) fn sample() -> String {
    let no_work = MinimumWork::default();
    format!(
        "# Configuration of this ashlar-node. Flags and ASHLAR_… variables win over this file.\n\
         # Every key is shown with its default; unknown keys are errors.\n\n\
         # listen = [\"{DEFAULT_LISTEN}\"]   # or, for QUIC, \"/ip4/0.0.0.0/udp/9333/quic-v1\"\n\
         # peers = []                # multiaddresses: \"/ip4/192.0.2.7/tcp/9333\"\n\
         # connect = []              # instead of peers: these and no others\n\
         # allow_peers = []          # peer ids; others are refused then\n\
         # network_secret = \"\"       # a file of 64 hex digits, the same on each node\n\
         # external_addresses = []\n\
         # exempt_loopback = false\n\
         # discovery = true\n\
         # dns_seeds = []            # names with dnsaddr records: \"seed.example.org\"\n\
         # mdns = false\n\
         # rpc_listen = \"{DEFAULT_RPC_LISTEN}\"\n\
         # rpc_allow_hosts = []\n\
         # rpc_allow_origins = []\n\
         # ready_peers = 1           # 0 where no peers are configured\n\
         # ready_tip_age_seconds = 0 # 0: any age\n\
         # rpc_tls_certificate = \"\"  # PEM files: callers from other machines must use TLS then\n\
         # rpc_tls_key = \"\"\n\
         # mine = \"\"                 # an address of this chain\n\
         # mine_threads = 1\n\
         # transaction_index = true\n\
         # lock_index = true\n\
         # prune = \"off\"             # or a size: \"2GB\"\n\
         # min_free = \"{DEFAULT_MIN_FREE}\"\n\
         # minimum_work = \"{no_work}\"\n\
         # assume_valid = \"off\"      # or a block id: signatures up to it are not verified\n\
         # profile = \"default\"       # or \"small\"\n\
         # dev_clock = false\n\
         # log = \"{DEFAULT_LOG}\"\n\
         # log_format = \"text\"       # or \"json\"\n\n\
         # [reorg]\n\
         # alarm = {DEFAULT_REORG_ALARM}\n\
         # hold = \"off\"              # or a depth: 100\n\n\
         # Passwords of narrower scope than the cookie's, as `ashlar-node token new` prints them:\n\
         # [[rpc_tokens]]\n\
         # name = \"explorer\"\n\
         # hash = \"sha256:...\"\n\
         # scopes = [\"read\"]         # read, wallet-broadcast, mine, admin\n\
         # calls_per_second = 100     # in the long run; left out: no limit\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> (PathBuf, RunArguments) {
        let directory = std::env::temp_dir().join(format!(
            "ashlar-config-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(CONFIG_FILE), text).unwrap();
        (directory.clone(), RunArguments { datadir: directory, ..RunArguments::default() })
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let (directory, mut flags) =
            arguments("mine_threads = 3\nmdns = true\n[reorg]\nalarm = 9\nhold = 100\n");
        flags.mine_threads = Some(2);
        flags.reorg_hold = Some(Hold(Some(50)));
        let config = Config::load(&flags).unwrap();
        assert_eq!((config.reorg_alarm, config.reorg_hold), (9, Hold(Some(50))));
        assert_eq!((config.mine_threads, config.mdns, config.lock_index), (2, true, true));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let (directory, flags) = arguments("mine_thread = 3\n");
        let error = Config::load(&flags).unwrap_err().to_string();
        assert!(error.contains("mine_thread"), "{error}");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn every_key_of_the_sample_is_known_and_shows_the_default() {
        let text: String = sample()
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.contains(" = ") || line.starts_with('['))
            // Naming them means something even where they are empty.
            .filter(|line| {
                let named = [
                    "mine =",
                    "connect =",
                    "network_secret =",
                    "ready_peers =",
                    "rpc_tls_certificate =",
                    "rpc_tls_key =",
                ];
                !named.iter().any(|key| line.starts_with(key))
            })
            // An example, at the end.
            .take_while(|line| *line != "[[rpc_tokens]]")
            .map(|line| format!("{line}\n"))
            .collect();
        let (directory, flags) = arguments(&text);
        let from_sample = Config::load(&flags).unwrap();
        fs::write(directory.join(CONFIG_FILE), "").unwrap();
        assert_eq!(from_sample, Config::load(&flags).unwrap());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn tokens_are_read_and_tls_needs_both_files() {
        let (directory, mut flags) = arguments("rpc_tls_key = \"key.pem\"\n");
        assert!(matches!(Config::load(&flags), Err(ConfigError::HalfTls)));
        flags.rpc_tls_certificate = Some("cert.pem".into());
        let config = Config::load(&flags).unwrap();
        let files = TlsFiles { certificate: "cert.pem".into(), key: "key.pem".into() };
        assert_eq!((config.rpc_tls, config.rpc_tokens), (Some(files), vec![]));
        let example = sample();
        let (_, table) = example.split_once("# [[rpc_tokens]]\n").unwrap();
        let lines = table.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
        let table = format!("[[rpc_tokens]]\n{}\n", lines.collect::<Vec<_>>().join("\n"));
        let table = table.replace("sha256:...", &format!("sha256:{}", "0".repeat(64)));
        fs::write(directory.join(CONFIG_FILE), table).unwrap();
        flags.rpc_tls_certificate = None;
        let tokens = Config::load(&flags).unwrap().rpc_tokens;
        assert_eq!((tokens[0].name.as_str(), tokens[0].calls_per_second), ("explorer", Some(100)));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn connect_names_all_peers_there_are() {
        let (directory, mut flags) = arguments("connect = [\"/ip4/192.0.2.1/tcp/1\"]\n");
        let config = Config::load(&flags).unwrap();
        assert!(config.connects_only && !config.discovery && config.listen.is_empty());
        assert_eq!(config.peers, ["/ip4/192.0.2.1/tcp/1"]);
        flags.peers = Some(vec!["/ip4/192.0.2.2/tcp/1".into()]);
        let config = Config::load(&flags).unwrap();
        assert!(!config.connects_only && config.discovery);
        assert_eq!(config.peers, ["/ip4/192.0.2.2/tcp/1"]);
        fs::write(directory.join(CONFIG_FILE), "connect = []\npeers = []\n").unwrap();
        flags.peers = None;
        assert!(matches!(Config::load(&flags), Err(ConfigError::PeersAndConnect)));
        fs::remove_dir_all(directory).unwrap();
    }
}
