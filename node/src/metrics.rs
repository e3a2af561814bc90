//! What Prometheus scrapes: `GET /metrics` on the RPC server's port, in OpenMetrics text.
//!
//! Names follow the convention: `ashlar_`, what is measured, the unit, `_total` for what only
//! rises. What *happens* is counted where the engine's outputs pass ([`Metrics::note_event`],
//! [`Metrics::note_cut`]); what *is* stands in [`Readings`], asked for at each scrape. A new
//! metric is one field and one line in [`Metrics::new`].

use std::{
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use ashlar_consensus::Work;
use ashlar_engine::{
    Event, Notice, Offence,
    call::{MempoolInfo, SyncStatus},
};
use ashlar_rpc::server::MiningState;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::process::Process;

/// Of `ashlar_peers`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    direction: &'static str,
}

/// Of `ashlar_peers_cut_total`: as many as there are offences.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CutLabels {
    offence: String,
}

/// Of `ashlar_rpc_calls_total`: the server's methods and `unknown`, each with and without a result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: String,
    outcome: &'static str,
}

/// Bounds of the buckets of a call's time, in seconds: from an answer out of memory to the longest
/// that a call may run.
const CALL_SECONDS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Of `ashlar_engine_queue_items`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    lane: &'static str,
}

/// Bounds of the buckets of the engine's time over one input, in seconds.
const INPUT_SECONDS: [f64; 8] = [0.000_1, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];

/// What is true at the moment of a scrape.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    /// The highest time on the chain, seconds since 1970.
    pub(crate) tip_time: u32,
    pub(crate) chain_work: Work,
    pub(crate) coins: u64,
    /// Blocks and undo records.
    pub(crate) stored_bytes: u64,
    /// `None`: nobody knows.
    pub(crate) disk_free_bytes: Option<u64>,
    pub(crate) mining: MiningState,
    /// Inputs that wait on the engine's lanes.
    pub(crate) urgent_items: usize,
    pub(crate) bulk_items: usize,
    pub(crate) bans: usize,
    pub(crate) sync: SyncStatus,
    pub(crate) mempool: MempoolInfo,
    pub(crate) peers_inbound: usize,
    pub(crate) peers_outbound: usize,
}

/// All metrics of the process.
pub(crate) struct Metrics {
    /// Gauges are set and read under this lock, so that one scrape tells of one moment.
    registry: Mutex<Registry>,
    process: Process,
    tip_height: Gauge,
    tip_timestamp: Gauge,
    chain_work: Gauge<f64, AtomicU64>,
    coins: Gauge,
    stored_bytes: Gauge,
    disk_free_bytes: Gauge,
    mining_threads: Gauge,
    mining_hashes_per_second: Gauge,
    engine_queue_items: Family<LaneLabels, Gauge>,
    engine_input_duration: Histogram,
    bans: Gauge,
    mempool_min_feerate: Gauge,
    header_height: Gauge,
    syncing: Gauge,
    blocks_in_flight: Gauge,
    blocks_connected: Counter,
    blocks_disconnected: Counter,
    blocks_invalid: Counter,
    reorganisations: Counter,
    reorganisation_alarms: Counter,
    reorganisation_depth_max: Gauge,
    reorganisations_held: Counter,
    warnings: Gauge,
    peers: Family<PeerLabels, Gauge>,
    peers_cut: Family<CutLabels, Counter>,
    mempool_transactions: Gauge,
    mempool_size_bytes: Gauge,
    mempool_memory_bytes: Gauge,
    mempool_limit_bytes: Gauge,
    mempool_orphans: Gauge,
    transactions_accepted: Counter,
    rpc_calls: Family<CallLabels, Counter>,
    rpc_call_duration: Histogram,
}

impl Metrics {
    /// `chain`: its name, which with the version stands in `ashlar_build_info`.
    pub(crate) fn new(chain: &str) -> Self {
        let mut registry = Registry::default();
        let process = Process::new(&mut registry);
        let r = registry.sub_registry_with_prefix("ashlar");
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let info = vec![("version", version), ("chain", chain.to_owned())];
        r.register("build", "Version of the program and name of the chain", Info::new(info));
        let engine_input_duration = Histogram::new(INPUT_SECONDS);
        r.register_with_unit(
            "engine_input_duration",
            "How long the engine took over an input",
            Unit::Seconds,
            engine_input_duration.clone(),
        );
        let rpc_call_duration = Histogram::new(CALL_SECONDS);
        r.register_with_unit(
            "rpc_call_duration",
            "How long calls took, to their answer",
            Unit::Seconds,
            rpc_call_duration.clone(),
        );
        Self {
            rpc_calls: registered(r, "rpc_calls", "Calls of JSON-RPC that ended"),
            rpc_call_duration,
            process,
            engine_input_duration,
            tip_height: gauge(r, "tip_height", "Height of the best block"),
            tip_timestamp: gauge(
                r,
                "tip_timestamp_seconds",
                "Highest time on the best chain, seconds since 1970",
            ),
            chain_work: registered(
                r,
                "chain_work_hashes",
                "Hashes that the best chain took on average; its growth is the network's hash rate",
            ),
            coins: gauge(r, "coins", "Unspent coins"),
            stored_bytes: gauge(r, "stored_blocks_bytes", "Stored blocks and undo records"),
            disk_free_bytes: gauge(r, "disk_free_bytes", "Room on the data directory's disk"),
            mining_threads: gauge(r, "mining_threads", "Threads of this node that mine"),
            mining_hashes_per_second: gauge(
                r,
                "mining_hashes_per_second",
                "Hashes that this node tries",
            ),
            engine_queue_items: registered(
                r,
                "engine_queue_items",
                "Inputs that wait for the engine",
            ),
            bans: gauge(r, "bans", "Peers and addresses that are kept out"),
            mempool_min_feerate: gauge(
                r,
                "mempool_min_feerate",
                "Grains for 1,000 bytes below which no transaction is taken now",
            ),
            header_height: gauge(r, "header_height", "Height of the best known header"),
            syncing: gauge(r, "syncing", "1 while the node is catching up, else 0"),
            blocks_in_flight: gauge(r, "blocks_in_flight", "Blocks asked of peers"),
            blocks_connected: counter(r, "blocks_connected", "Blocks that joined the best chain"),
            blocks_disconnected: counter(
                r,
                "blocks_disconnected",
                "Blocks that left the best chain",
            ),
            blocks_invalid: counter(r, "blocks_invalid", "Blocks that broke a rule"),
            reorganisations: counter(r, "reorganisations", "Times that the tip left its branch"),
            reorganisation_alarms: counter(
                r,
                "reorganisation_alarms",
                "Reorganisations deeper than reorg.alarm",
            ),
            reorganisation_depth_max: gauge(
                r,
                "reorganisation_depth_max",
                "Blocks that the deepest reorganisation since the start undid",
            ),
            reorganisations_held: counter(
                r,
                "reorganisations_held",
                "Branches deeper than reorg.hold that the operator was asked about",
            ),
            warnings: gauge(r, "warnings", "Warnings about the chain in getblockchaininfo"),
            peers: registered(r, "peers", "Connections"),
            peers_cut: registered(r, "peers_cut", "Connections ended for what the peer did"),
            mempool_transactions: gauge(r, "mempool_transactions", "Transactions that wait"),
            mempool_size_bytes: gauge(r, "mempool_size_bytes", "Their encodings"),
            mempool_memory_bytes: gauge(r, "mempool_memory_bytes", "Memory that they take"),
            mempool_limit_bytes: gauge(r, "mempool_limit_bytes", "Memory that they may take"),
            mempool_orphans: gauge(
                r,
                "mempool_orphans",
                "Transactions whose parents are missing, not counted as waiting",
            ),
            transactions_accepted: counter(
                r,
                "transactions_accepted",
                "Transactions that entered the mempool",
            ),
            registry: Mutex::new(registry),
        }
    }

    /// Counts what the engine tells.
    pub(crate) fn note_event(&self, event: &Event) {
        match event {
            Event::Tip { disconnected, connected, .. } => {
                self.blocks_disconnected.inc_by(disconnected.len() as u64);
                self.blocks_connected.inc_by(connected.len() as u64);
            }
            Event::TransactionAccepted { .. } => {
                self.transactions_accepted.inc();
            }
            Event::Notice(Notice::Reorganised { is_deep, .. }) => {
                self.reorganisations.inc();
                self.reorganisation_alarms.inc_by(u64::from(*is_deep));
            }
            Event::Notice(Notice::BlockInvalid { .. }) => {
                self.blocks_invalid.inc();
            }
            Event::Notice(_) | Event::View(_) | Event::TransactionsLeft(_) => {}
        }
    }

    /// Notes how long the engine took over an input.
    pub(crate) fn note_input(&self, took: Duration) {
        self.engine_input_duration.observe(took.as_secs_f64());
    }

    /// Counts a peer that the engine cuts.
    pub(crate) fn note_cut(&self, offence: Offence) {
        self.peers_cut.get_or_create(&CutLabels { offence: format!("{offence:?}") }).inc();
    }

    /// Counts a call that ended; `method` is none that a caller made up.
    pub(crate) fn note_call(&self, method: &str, is_ok: bool, took: Duration) {
        let outcome = if is_ok { "result" } else { "error" };
        self.rpc_calls.get_or_create(&CallLabels { method: method.to_owned(), outcome }).inc();
        self.rpc_call_duration.observe(took.as_secs_f64());
    }

    /// The text of one scrape.
    pub(crate) fn text(&self, readings: &Readings) -> String {
        let Readings { sync, mempool, peers_inbound, peers_outbound, .. } = readings;
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        self.process.read();
        self.tip_timestamp.set(readings.tip_time.into());
        self.chain_work.set(hashes(readings.chain_work));
        set(&self.coins, readings.coins);
        set(&self.stored_bytes, readings.stored_bytes);
        if let Some(bytes) = readings.disk_free_bytes {
            set(&self.disk_free_bytes, bytes);
        }
        set(&self.mining_threads, readings.mining.threads);
        set(&self.mining_hashes_per_second, readings.mining.hash_rate);
        for (lane, count) in [("urgent", readings.urgent_items), ("bulk", readings.bulk_items)] {
            set(&self.engine_queue_items.get_or_create(&LaneLabels { lane }), count);
        }
        set(&self.bans, readings.bans);
        set(&self.mempool_min_feerate, mempool.min_feerate_per_kb);
        self.tip_height.set(sync.height.into());
        self.header_height.set(sync.best_header_height.max(sync.height).into());
        self.syncing.set(sync.syncing.into());
        set(&self.blocks_in_flight, sync.blocks_in_flight);
        self.reorganisation_depth_max.set(sync.reorganisations.deepest.into());
        let held = sync.reorganisations.held.saturating_sub(self.reorganisations_held.get());
        self.reorganisations_held.inc_by(held);
        set(&self.warnings, sync.warnings.len());
        for (direction, count) in [("inbound", peers_inbound), ("outbound", peers_outbound)] {
            set(&self.peers.get_or_create(&PeerLabels { direction }), *count);
        }
        set(&self.mempool_transactions, mempool.count);
        set(&self.mempool_size_bytes, mempool.size_bytes);
        set(&self.mempool_memory_bytes, mempool.memory_bytes);
        set(&self.mempool_limit_bytes, mempool.max_bytes);
        set(&self.mempool_orphans, mempool.orphans);
        let mut text = String::new();
        #[expect(clippy::expect_used, reason = "a String takes every byte")]
        encode(&mut text, &registry).expect("writing to a string");
        text
    }
}

fn set(gauge: &Gauge, count: impl TryInto<i64>) {
    gauge.set(count.try_into().unwrap_or(i64::MAX));
}

/// A chain's work as a number with a point, which is near enough for a graph.
fn hashes(work: Work) -> f64 {
    work.to_be_bytes().iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte))
}

fn registered<M>(registry: &mut Registry, name: &'static str, help: &'static str) -> M
where
    M: prometheus_client::registry::Metric + Clone + Default,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn gauge(registry: &mut Registry, name: &'static str, help: &'static str) -> Gauge {
    registered(registry, name, help)
}

fn counter(registry: &mut Registry, name: &'static str, help: &'static str) -> Counter {
    registered(registry, name, help)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use ashlar_engine::call::ReorganisationCounts;
    use ashlar_primitives::{Amount, BlockId};

    use super::*;

    fn readings() -> Readings {
        Readings {
            tip_time: 1_700_000_000,
            chain_work: Work::from_le_bytes({
                let mut bytes = [0; 32];
                bytes[1] = 2;
                bytes
            }),
            coins: 11,
            stored_bytes: 12,
            disk_free_bytes: Some(13),
            mining: MiningState { threads: 2, hash_rate: 14 },
            urgent_items: 15,
            bulk_items: 16,
            bans: 17,
            sync: SyncStatus {
                syncing: true,
                height: 7,
                best_header_height: 70,
                blocks_in_flight: 16,
                peers: 3,
                reorganisations: ReorganisationCounts { count: 2, deepest: 9, alarms: 1, held: 1 },
                warnings: Vec::new(),
                progress: None,
            },
            mempool: MempoolInfo {
                count: 5,
                size_bytes: 1_000,
                memory_bytes: 4_000,
                max_bytes: 300_000_000,
                total_fee: Amount::ZERO,
                min_feerate_per_kb: 1_000,
                orphans: 2,
                sequence: 0,
            },
            peers_inbound: 1,
            peers_outbound: 2,
        }
    }

    #[test]
    fn a_scrape_tells_what_is_and_what_happened() {
        let metrics = Metrics::new("testchain");
        let ids = |count: u8| (0..count).map(|id| BlockId([id; 32])).collect::<Vec<_>>();
        for is_deep in [false, true] {
            let (old_tip, new_tip) = (ids(1)[0], ids(2)[1]);
            let notice = Notice::Reorganised { depth: 9, old_tip, new_tip, is_deep };
            metrics.note_event(&Event::Notice(notice));
        }
        metrics.note_cut(Offence::InvalidHeader);
        metrics.note_input(Duration::from_millis(2));
        metrics.note_call("getblockcount", true, Duration::from_millis(3));
        for _ in 0..2 {
            // Scraping changes nothing.
            let text = metrics.text(&readings());
            for line in [
                "# TYPE ashlar_tip_height gauge",
                "ashlar_tip_height 7",
                "ashlar_header_height 70",
                "ashlar_syncing 1",
                "ashlar_reorganisations_total 2",
                "ashlar_reorganisation_alarms_total 1",
                "ashlar_reorganisation_depth_max 9",
                "ashlar_reorganisations_held_total 1",
                "ashlar_peers{direction=\"outbound\"} 2",
                "ashlar_peers_cut_total{offence=\"InvalidHeader\"} 1",
                "ashlar_mempool_transactions 5",
                "ashlar_mempool_size_bytes 1000",
                "ashlar_mempool_min_feerate 1000",
                "ashlar_build_info{version=\"0.1.0\",chain=\"testchain\"} 1",
                "ashlar_tip_timestamp_seconds 1700000000",
                "ashlar_chain_work_hashes 512.0",
                "ashlar_coins 11",
                "ashlar_stored_blocks_bytes 12",
                "ashlar_disk_free_bytes 13",
                "ashlar_mining_threads 2",
                "ashlar_mining_hashes_per_second 14",
                "ashlar_engine_queue_items{lane=\"urgent\"} 15",
                "ashlar_engine_queue_items{lane=\"bulk\"} 16",
                "ashlar_bans 17",
                "ashlar_engine_input_duration_seconds_bucket{le=\"0.005\"} 1",
                "ashlar_rpc_calls_total{method=\"getblockcount\",outcome=\"result\"} 1",
                "ashlar_rpc_call_duration_seconds_count 1",
            ] {
                assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
            }
            assert!(text.ends_with("# EOF\n"));
        }
    }

    /// Names in the expressions of a dashboard or of rules.
    fn named(text: &str) -> BTreeSet<String> {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = text.split(|c: char| !is_of_name(c));
        words
            .filter(|word| word.starts_with("ashlar_") || word.starts_with("process_"))
            .map(str::to_owned)
            .collect()
    }

    /// Names of the samples of a scrape in which everything has happened once.
    fn samples() -> BTreeSet<String> {
        let metrics = Metrics::new("testchain");
        metrics.note_cut(Offence::InvalidHeader);
        metrics.note_call("stop", true, Duration::ZERO);
        let text = metrics.text(&readings());
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_dashboard_and_the_alerts_name_metrics_that_exist() {
        let samples = samples();
        let dashboard = include_str!("../../scripts/deploy/grafana/ashlar.json");
        let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        assert!(parsed["panels"].as_array().unwrap().len() >= 10);
        for text in [dashboard, include_str!("../../scripts/deploy/prometheus/alerts.yml")] {
            let named = named(text);
            assert!(named.len() >= 5, "{named:?}");
            assert_eq!(named.difference(&samples).collect::<Vec<_>>(), [""; 0]);
        }
    }

    /// The rules of `promtool check metrics` (prometheus/client_golang, `testutil/promlint`) that
    /// concern names and help, on the OpenMetrics text.
    #[test]
    fn names_keep_the_conventions_that_promtool_checks() {
        let metrics = Metrics::new("testchain");
        let text = metrics.text(&readings());
        let of = |mark: &'static str| {
            let lines = text.lines().filter_map(move |line| line.strip_prefix(mark));
            lines.filter_map(|line| line.split_once(' ')).collect::<BTreeMap<_, _>>()
        };
        let (types, helps) = (of("# TYPE "), of("# HELP "));
        assert!(types.len() > 30, "{}", types.len());
        let units = ["milliseconds", "ms", "minutes", "hours", "kb", "mb", "kilobytes", "percent"];
        for (name, kind) in &types {
            assert!(helps.get(name).is_some_and(|help| help.len() > 4), "{name} has no help");
            let words: Vec<_> = name.split('_').collect();
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert!(!words.iter().any(|word| units.contains(word)), "{name}: another base unit");
            assert!(!words.contains(kind), "{name} names its type");
            let suffixes = ["total", "count", "sum", "bucket", "info"];
            assert!(!suffixes.contains(words.last().unwrap()), "{name}: a suffix of samples");
        }
    }
}
