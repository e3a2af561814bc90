//! What is answered beside JSON-RPC, to programs that watch: `GET /metrics`, `/healthy`, `/ready`.
//!
//! Metrics come in the format that is asked for: OpenMetrics where `Accept` names it, as
//! Prometheus does, else Prometheus's own text format 0.0.4, which `promtool check metrics` reads.
//! `/healthy` and `/ready` answer 200 or 503 and the reasons as JSON, from one look at the node a
//! second, so that callers without a password cost it nothing.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::Full;
use serde_json::json;
use tokio::{sync::Mutex, time};

use super::{
    backend::{Backend, Health},
    door::HttpResponse,
};
use crate::error::RpcError;

/// How long one look at the node's health holds for all callers.
const HEALTH_HOLDS: Duration = Duration::from_secs(1);
/// What each format of metrics is called.
const OPENMETRICS: &str = "application/openmetrics-text";
const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Which of them a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// What is measured.
    Metrics,
    /// Whether the node works, or should be started anew.
    Healthy,
    /// Whether the node should be asked, or another.
    Ready,
}

impl Probe {
    /// `None`: the path is JSON-RPC's.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/metrics" => Some(Self::Metrics),
            "/healthy" => Some(Self::Healthy),
            "/ready" => Some(Self::Ready),
            _ => None,
        }
    }
}

/// Asks the node for the text of its metrics.
type Scrape = dyn Fn() -> BoxFuture<'static, Result<String, RpcError>> + Send + Sync;
/// Asks the node how it is.
type Look = dyn Fn() -> BoxFuture<'static, Health> + Send + Sync;

/// The answers, shared by all connections.
#[derive(Clone)]
pub(super) struct Probes {
    scrape: Arc<Scrape>,
    look: Arc<Look>,
    seen: Arc<Mutex<Option<(Instant, Health)>>>,
    timeout: Duration,
}

impl Probes {
    pub(super) fn new<B: Backend>(backend: &Arc<B>, timeout: Duration) -> Self {
        let (scraped, looked_at) = (Arc::clone(backend), Arc::clone(backend));
        Self {
            scrape: Arc::new(move || {
                let backend = Arc::clone(&scraped);
                Box::pin(async move { Ok(backend.metrics().await?) })
            }),
            look: Arc::new(move || {
                let backend = Arc::clone(&looked_at);
                Box::pin(async move { backend.health().await })
            }),
            seen: Arc::default(),
            timeout,
        }
    }

    /// The answer to a request that the door let in; an error is for the door to shape.
    pub(super) async fn answer(
        &self,
        probe: Probe,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<HttpResponse, RpcError> {
        if method != Method::GET {
            let mut response = HttpResponse::new(Full::from("use GET\n"));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            return Ok(response);
        }
        match probe {
            Probe::Metrics => self.metrics(headers).await,
            Probe::Healthy => Ok(told("healthy", &self.health().await.unhealthy)),
            Probe::Ready => {
                let Health { mut unhealthy, unready } = self.health().await;
                unhealthy.extend(unready);
                Ok(told("ready", &unhealthy))
            }
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Result<HttpResponse, RpcError> {
        let limit_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let text = time::timeout(self.timeout, (self.scrape)())
            .await
            .map_err(|_| RpcError::TimedOut { limit_ms })??;
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        Ok(if accepted.is_some_and(|value| value.contains(OPENMETRICS)) {
            text_of(OPENMETRICS_TYPE, text)
        } else {
            text_of(PROMETHEUS_TYPE, prometheus_text(&text))
        })
    }

    /// Whoever comes while another looks waits for what that one sees.
    async fn health(&self) -> Health {
        let mut seen = self.seen.lock().await;
        if let Some((at, health)) = &*seen
            && at.elapsed() < HEALTH_HOLDS
        {
            return health.clone();
        }
        let health = match time::timeout(self.timeout, (self.look)()).await {
            Ok(health) => health,
            Err(_) => Health {
                unhealthy: vec![format!("it did not answer within {} s", self.timeout.as_secs())],
                unready: Vec::new(),
            },
        };
        *seen = Some((Instant::now(), health.clone()));
        health
    }
}

fn text_of(kind: &'static str, text: String) -> HttpResponse {
    let mut response = HttpResponse::new(Full::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn told(what: &str, reasons_against: &[String]) -> HttpResponse {
    let is_so = reasons_against.is_empty();
    let body = json!({ what: is_so, "reasons": reasons_against });
    let mut response = text_of("application/json", format!("{body}\n"));
    if !is_so {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    // A cache between here and the caller would tell of the past.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// OpenMetrics text as Prometheus's older text format: there a counter's `HELP` and `TYPE` carry
/// the suffix of its samples, information is a gauge, and units and the end are not marked.
fn prometheus_text(openmetrics: &str) -> String {
    let of_kind = |kind: &'static str| {
        let types = openmetrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let named = types.filter_map(move |line| line.strip_suffix(kind)?.strip_suffix(' '));
        named.collect::<BTreeSet<_>>()
    };
    let (counters, infos) = (of_kind("counter"), of_kind("info"));
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some(mark), Some(name), Some(rest)) => {
                let suffix = match () {
                    () if counters.contains(name) => "_total",
                    () if infos.contains(name) => "_info",
                    () => "",
                };
                let rest = match (mark, rest) {
                    ("TYPE", "info") => "gauge",
                    ("TYPE", "unknown") => "untyped",
                    (_, rest) => rest,
                };
                text.push_str(&format!("# {mark} {name}{suffix} {rest}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_and_information_as_their_samples() {
        let openmetrics = "# HELP a_blocks Blocks. All.\n# TYPE a_blocks counter\n\
            a_blocks_total 3\n# HELP a_build Version.\n# TYPE a_build info\n\
            a_build_info{version=\"1\"} 1\n# HELP a_run_seconds Time.\n\
            # TYPE a_run_seconds gauge\n# UNIT a_run_seconds seconds\na_run_seconds 2\n# EOF\n";
        let expected = "# HELP a_blocks_total Blocks. All.\n# TYPE a_blocks_total counter\n\
            a_blocks_total 3\n# HELP a_build_info Version.\n# TYPE a_build_info gauge\n\
            a_build_info{version=\"1\"} 1\n# HELP a_run_seconds Time.\n\
            # TYPE a_run_seconds gauge\na_run_seconds 2\n";
        assert_eq!(prometheus_text(openmetrics), expected);
    }
}
