//! What stands between the port and the methods: doors for requests, a guard for calls.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt as _;
use http::{HeaderValue, StatusCode, header};
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

use super::{
    auth::Doors,
    config::Limits,
    probes::{Probe, Probes},
};
use crate::{error::RpcError, scope::is_long};

/// How long a wrong password waits for its answer, which makes guessing slow.
const REFUSAL_DELAY: Duration = Duration::from_millis(250);

/// How long the body of a request may take to arrive, beyond the time of its longest call.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Puts [`Door`] before each connection's service.
#[derive(Clone)]
pub(super) struct DoorLayer {
    doors: Arc<Doors>,
    request_timeout: Duration,
    probes: Probes,
}

impl DoorLayer {
    pub(super) fn new(doors: Doors, limits: &Limits, probes: Probes) -> Self {
        let longest = Duration::from_millis(limits.long_call_ms());
        Self {
            doors: Arc::new(doors),
            request_timeout: longest.saturating_add(BODY_TIMEOUT),
            probes,
        }
    }

    fn check<B>(&self, request: &HttpRequest<B>) -> Result<(), RpcError> {
        match Probe::of(request.uri().path()) {
            Some(Probe::Metrics) => self.doors.check_metrics(request.headers()),
            Some(Probe::Healthy | Probe::Ready) => self.doors.check_place(request.headers()),
            None => self.doors.check(request.headers()),
        }
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
        if let Some(probe) = Probe::of(request.uri().path()) {
            let (method, headers) = (request.method().clone(), request.headers().clone());
            let answer = self.layer.probes.clone().answer(probe, method, headers);
            return Box::pin(
                answer.map(|answer| Ok(answer.unwrap_or_else(|error| refusal(&error)))),
            );
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

/// Is told of each call that ended: the method (`unknown` where there is none of that name),
/// whether it brought a result, and how long it took.
pub(super) type NoteCall = Arc<dyn Fn(&str, bool, Duration) + Send + Sync>;

/// Puts [`Guard`] round the methods.
#[derive(Clone)]
pub(super) struct GuardLayer {
    pub(super) limits: Limits,
    pub(super) note_call: NoteCall,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;
    fn layer(&self, inner: S) -> Guard<S> {
        let Self { limits, note_call } = self.clone();
        Guard { inner, limits, note_call }
    }
}

/// Bounds the time of each call, keeps a panic to the call that made it, and gives the errors of
/// jsonrpsee itself the shape of all others.
#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    limits: Limits,
    note_call: NoteCall,
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
            self.limits.long_call_ms()
        } else {
            self.limits.call_timeout_ms
        };
        let note_call = Arc::clone(&self.note_call);
        async move {
            let started = Instant::now();
            let id = request.id().into_owned();
            let method = request.method_name().to_owned();
            // Unwind safety: what a handler shares is behind channels, locks of Tokio (which do
            // not poison, and guard no invariant here) and values that never change.
            let call = AssertUnwindSafe(async move { inner.call(request).await }).catch_unwind();
            let response = match time::timeout(Duration::from_millis(limit_ms), call).await {
                Ok(Ok(response)) => reshape(response, id),
                Ok(Err(_)) => {
                    tracing::error!(?method, "an RPC method panicked");
                    MethodResponse::error(id, RpcError::Internal)
                }
                Err(_) => MethodResponse::error(id, RpcError::TimedOut { limit_ms }),
            };
            let is_unknown = response.as_error_code() == Some(RpcError::UnknownMethod.number());
            let name = if is_unknown { "unknown" } else { &method };
            note_call(name, response.is_success(), started.elapsed());
            response
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
