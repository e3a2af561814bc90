//! What Prometheus scrapes: `GET /metrics` on the RPC server's port, in OpenMetrics text.
//!
//! Names follow the convention: `ashlar_`, what is measured, the unit, `_total` for what only
//! rises. What *happens* is counted where the engine's outputs pass ([`Metrics::note_event`],
//! [`Metrics::note_cut`]); what *is* stands in [`Readings`], asked for at each scrape. A new
//! metric is one field and one line in [`Metrics::new`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ashlar_engine::{
    Event, Notice, Offence,
    call::{MempoolInfo, SyncStatus},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

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

/// What is true at the moment of a scrape.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    pub(crate) sync: SyncStatus,
    pub(crate) mempool: MempoolInfo,
    pub(crate) peers_inbound: usize,
    pub(crate) peers_outbound: usize,
}

/// All metrics of the process.
pub(crate) struct Metrics {
    /// Gauges are set and read under this lock, so that one scrape tells of one moment.
    registry: Mutex<Registry>,
    tip_height: Gauge,
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
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("ashlar");
        let r = &mut registry;
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
            tip_height: gauge(r, "tip_height", "Height of the best block"),
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
            Event::Notice(_) | Event::View(_) => {}
        }
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
        let Readings { sync, mempool, peers_inbound, peers_outbound } = readings;
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
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

fn set(gauge: &Gauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
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
    use ashlar_engine::call::ReorganisationCounts;
    use ashlar_primitives::{Amount, BlockId};

    use super::*;

    fn readings() -> Readings {
        Readings {
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
        let metrics = Metrics::new();
        let ids = |count: u8| (0..count).map(|id| BlockId([id; 32])).collect::<Vec<_>>();
        for is_deep in [false, true] {
            let (old_tip, new_tip) = (ids(1)[0], ids(2)[1]);
            let notice = Notice::Reorganised { depth: 9, old_tip, new_tip, is_deep };
            metrics.note_event(&Event::Notice(notice));
        }
        metrics.note_cut(Offence::InvalidHeader);
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
            ] {
                assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
            }
            assert!(text.ends_with("# EOF\n"));
        }
    }
}
