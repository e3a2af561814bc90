//! What stands between the port and the methods: doors for requests, a guard for calls.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderValue, Method, StatusCode, header};
use jsonrpsee::{
    core::{
        BoxError,
        middleware::{Batch, BatchEntry, Notification, RpcServiceT},
        server::{BatchResponseBuilder, MethodResponse},
    },
    server::{HttpBody, HttpRequest, HttpResponse},
    types::{ErrorObjectOwned, Id, Request},
};
use serde_json::{Value, json};
use tokio::time::{self, Instant};
use tower::{Layer, Service};

use super::{auth::Doors, config::Limits};
use crate::{error::RpcError, scope::is_long};

/// How long a wrong password waits for its answer, which makes guessing slow.
const REFUSAL_DELAY: Duration = Duration::from_millis(250);

/// How many times as long as others the calls of [`is_long`] may run.
const MINING_TIMEOUT_FACTOR: u64 = 12;

/// How long the body of a request may take to arrive, beyond the time of its longest call.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where metrics are, beside JSON-RPC on every other path.
const METRICS_PATH: &str = "/metrics";

/// What the text of metrics is.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Asks the node for the text of its metrics.
pub(super) type Scrape =
    Arc<dyn Fn() -> BoxFuture<'static, Result<String, RpcError>> + Send + Sync>;

/// Puts [`Door`] before each connection's service.
#[derive(Clone)]
pub(super) struct DoorLayer {
    doors: Arc<Doors>,
    request_timeout: Duration,
    call_timeout: Duration,
    scrape: Scrape,
}

impl DoorLayer {
    pub(super) fn new(doors: Doors, limits: &Limits, scrape: Scrape) -> Self {
        let longest = Duration::from_millis(mining_timeout_ms(limits));
        Self {
            doors: Arc::new(doors),
            request_timeout: longest.saturating_add(BODY_TIMEOUT),
            call_timeout: Duration::from_millis(limits.call_timeout_ms),
            scrape,
        }
    }

    fn check<B>(&self, request: &HttpRequest<B>) -> Result<(), RpcError> {
        match request.uri().path() {
            METRICS_PATH => self.doors.check_metrics(request.headers()),
            _ => self.doors.check(request.headers()),
        }
    }
}

async fn metrics(layer: DoorLayer, method: Method) -> HttpResponse {
    if method != Method::GET {
        let mut response = HttpResponse::new(HttpBody::from("use GET\n"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    match time::timeout(layer.call_timeout, (layer.scrape)()).await {
        Ok(Ok(text)) => {
            let mut response = HttpResponse::new(HttpBody::from(text));
            let kind = HeaderValue::from_static(METRICS_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Ok(Err(error)) => refusal(&error),
        Err(_) => refusal(&timed_out(layer.call_timeout)),
    }
}

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;
    fn layer(&self, inner: S) -> Door<S> {
        Door { inner, layer: self.clone() }
    }
}

/// Answers requests that may not come in, and ends those whose body never does.
#[derive(Clone)]
pub(super) struct Door<S> {
    inner: S,
    layer: DoorLayer,
}

type Responding = Pin<Box<dyn Future<Output = Result<HttpResponse, BoxError>> + Send>>;

impl<S, B> Service<HttpRequest<B>> for Door<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = Responding;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: HttpRequest<B>) -> Responding {
        if let Err(error) = self.layer.check(&request) {
            return Box::pin(async move {
                if error == RpcError::Unauthorised {
                    time::sleep(REFUSAL_DELAY).await;
                }
                Ok(refusal(&error))
            });
        }
        if request.uri().path() == METRICS_PATH {
            let answer = metrics(self.layer.clone(), request.method().clone());
            return Box::pin(answer.map(Ok));
        }
        let limit = self.layer.request_timeout;
        let answer = self.inner.call(request);
        Box::pin(async move {
            match time::timeout(limit, answer).await {
                Ok(answer) => answer,
                Err(_) => Ok(refusal(&timed_out(limit))),
            }
        })
    }
}

fn timed_out(limit: Duration) -> RpcError {
    RpcError::TimedOut { limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
}

/// A JSON-RPC error as the body of a response that is not 200.
fn refusal(error: &RpcError) -> HttpResponse {
    let status = match error {
        RpcError::Unauthorised => StatusCode::UNAUTHORIZED,
        RpcError::HostRefused | RpcError::OriginRefused => StatusCode::FORBIDDEN,
        RpcError::TimedOut { .. } => StatusCode::REQUEST_TIMEOUT,
        RpcError::Overloaded | RpcError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let error = ErrorObjectOwned::from(error);
    let body = json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string();
    let mut response = HttpResponse::new(HttpBody::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Basic realm=\"ashlar\"");
        headers.insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// Puts [`Guard`] round the methods.
#[derive(Clone, Debug)]
pub(super) struct GuardLayer(pub(super) Limits);

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;
    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, limits: self.0.clone() }
    }
}

/// Bounds the time of each call, keeps a panic to the call that made it, and gives the errors of
/// jsonrpsee itself the shape of all others.
#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    limits: Limits,
}

fn mining_timeout_ms(limits: &Limits) -> u64 {
    limits.call_timeout_ms.saturating_mul(MINING_TIMEOUT_FACTOR)
}

impl<S> RpcServiceT for Guard<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            NotificationResponse = MethodResponse,
            BatchResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let inner = self.inner.clone();
        let limit_ms = if is_long(request.method_name()) {
            mining_timeout_ms(&self.limits)
        } else {
            self.limits.call_timeout_ms
        };
        async move {
            let id = request.id().into_owned();
            let method = request.method_name().to_owned();
            // Unwind safety: what a handler shares is behind channels, locks of Tokio (which do
            // not poison, and guard no invariant here) and values that never change.
            let call = AssertUnwindSafe(async move { inner.call(request).await }).catch_unwind();
            match time::timeout(Duration::from_millis(limit_ms), call).await {
                Ok(Ok(response)) => reshape(response, id),
                Ok(Err(_)) => {
                    tracing::error!(?method, "an RPC method panicked");
                    MethodResponse::error(id, RpcError::Internal)
                }
                Err(_) => MethodResponse::error(id, RpcError::TimedOut { limit_ms }),
            }
        }
    }

    /// jsonrpsee's own batch would go past this guard. All calls of a batch together start
    /// within the time of one; those left over are answered as timed out.
    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let guard = self.clone();
        async move {
            let limit_ms = guard.limits.call_timeout_ms;
            let started = Instant::now();
            let mut answers =
                BatchResponseBuilder::new_with_limit(guard.limits.max_response_bytes as usize);
            let mut notified = false;
            for entry in batch {
                let answer = match entry {
                    Ok(BatchEntry::Call(call))
                        if started.elapsed() < Duration::from_millis(limit_ms) =>
                    {
                        guard.call(call).await
                    }
                    Ok(BatchEntry::Call(call)) => {
                        MethodResponse::error(call.id(), RpcError::TimedOut { limit_ms })
                    }
                    Ok(BatchEntry::Notification(notification)) => {
                        notified = true;
                        guard.notification(notification).await;
                        continue;
                    }
                    Err(error) => {
                        let (error, id) = error.into_parts();
                        MethodResponse::error(id, error)
                    }
                };
                if let Err(too_long) = answers.append(answer) {
                    return too_long;
                }
            }
            if answers.is_empty() && notified {
                MethodResponse::notification()
            } else {
                MethodResponse::from_batch(answers.finish())
            }
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.inner.notification(notification)
    }
}

/// jsonrpsee says "Invalid params" (−32602) with serde's words as `data`, and "Method not found"
/// (−32601) with none.
fn reshape(response: MethodResponse, id: Id<'static>) -> MethodResponse {
    match response.as_error_code() {
        Some(-32_602) => {
            let reason = serde_json::from_str::<Value>(response.as_json().get())
                .ok()
                .and_then(|answer| Some(answer.pointer("/error/data")?.as_str()?.to_owned()));
            let reason = reason.unwrap_or_else(|| "missing, or of the wrong type".to_owned());
            MethodResponse::error(id, RpcError::InvalidParameter { name: "list", reason })
        }
        Some(-32_601) => MethodResponse::error(id, RpcError::UnknownMethod),
        _ => response,
    }
}
