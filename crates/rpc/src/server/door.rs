//! What stands before the server: who comes in, with how much, and in which dialect.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::LengthLimitError;
use hyper::body::{Body, Bytes};
use jsonrpsee::{
    core::{
        BoxError,
        http_helpers::{self, HttpError},
    },
    server::{HttpBody, HttpRequest, HttpResponse, ws},
    types::ErrorObjectOwned,
};
use serde_json::{json, value::RawValue};
use tokio::time;
use tower::{Layer, Service};

use super::{
    auth::{self, Doors},
    config::Limits,
    dialect, envelope,
    listen::Admitted,
    probes::{Probe, Probes},
};
use crate::error::RpcError;

/// How long a wrong password waits for its answer, which makes guessing slow.
const REFUSAL_DELAY: Duration = Duration::from_millis(250);

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// When a caller that had too much going on may try again, in seconds.
const RETRY_AFTER_SECONDS: u16 = 1;

/// Puts [`Door`] before each connection's service.
#[derive(Clone)]
pub(super) struct DoorLayer {
    doors: Arc<Doors>,
    /// For the answer to a request that is here.
    request_timeout: Duration,
    max_body_bytes: u32,
    max_batch_calls: usize,
    probes: Probes,
}

impl DoorLayer {
    pub(super) fn new(doors: Doors, limits: &Limits, max_body_bytes: u32, probes: Probes) -> Self {
        let call_timeout = Duration::from_millis(limits.call_timeout_ms);
        let longest = Duration::from_millis(limits.long_call_ms());
        Self {
            doors: Arc::new(doors),
            // A batch whose last call starts when its time is nearly over.
            request_timeout: longest.saturating_add(call_timeout),
            max_body_bytes,
            max_batch_calls: limits.max_batch_calls as usize,
            probes,
        }
    }

    /// What watchers ask, who may be many and need no place.
    async fn probe(
        self,
        probe: Probe,
        method: Method,
        headers: HeaderMap,
    ) -> Result<HttpResponse, BoxError> {
        let checked = match probe {
            Probe::Metrics => self.doors.check_metrics(&headers),
            Probe::Healthy | Probe::Ready => self.doors.check_place(&headers),
        };
        match checked {
            Ok(()) => {
                let answer = self.probes.answer(probe, method, headers).await;
                Ok(answer.unwrap_or_else(|error| refusal(&error)))
            }
            Err(error) => refuse(error).await,
        }
    }

    /// Lets a call or a WebSocket in: its caller, and a place of theirs for as long as it takes.
    fn let_in<B>(&self, request: &mut HttpRequest<B>) -> Result<(), RpcError> {
        let caller = self.doors.check(request.headers())?;
        if let Some(admitted) = request.extensions().get::<Admitted>() {
            admitted.set();
        }
        let place = Arc::new(caller.place()?);
        // A WebSocket keeps the extensions of its upgrade for life.
        request.extensions_mut().insert(place);
        request.extensions_mut().insert(caller);
        Ok(())
    }

    fn too_long(&self) -> RpcError {
        RpcError::BodyTooLong { max_bytes: self.max_body_bytes }
    }

    /// Reads the body, and puts it into the one dialect that is spoken inside.
    async fn read<B>(
        &self,
        request: HttpRequest<B>,
    ) -> Result<(HttpRequest, Option<dialect::Translated>), HttpResponse>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        let reading = http_helpers::read_body(&parts.headers, body, self.max_body_bytes);
        let (body, is_single) = match time::timeout(BODY_TIMEOUT, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(HttpError::TooLarge)) => return Err(refusal(&self.too_long())),
            Ok(Err(HttpError::Malformed)) => {
                let reason = "it begins with neither { nor [".to_owned();
                return Err(refusal(&RpcError::NotJson { reason }));
            }
            // It told no length, and went over the bound.
            Ok(Err(HttpError::Stream(error))) if error.is::<LengthLimitError>() => {
                return Err(refusal(&self.too_long()));
            }
            Ok(Err(HttpError::Stream(error))) => {
                tracing::debug!(%error, "the body of an RPC request broke off");
                return Err(refusal(&RpcError::BrokenOff));
            }
            Err(_) => return Err(refusal(&timed_out(BODY_TIMEOUT))),
        };
        let json = HeaderValue::from_static("application/json");
        parts.headers.insert(header::CONTENT_TYPE, json);
        let translated = dialect::translate(&body, is_single, self.max_batch_calls);
        let body = match &translated {
            Some(translated) => translated.body.clone(),
            None => body,
        };
        if let Err(envelope::Fault { error, id }) =
            envelope::judge(&body, is_single, self.max_batch_calls)
        {
            let refused = refusal_of(&error, id.as_deref());
            return Err(match &translated {
                Some(asked) => self.restore(refused, asked).await,
                None => refused,
            });
        }
        parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
        parts.headers.remove(header::TRANSFER_ENCODING);
        Ok((HttpRequest::from_parts(parts, HttpBody::from(body)), translated))
    }

    /// The answer in the dialect of its request.
    async fn restore(&self, answer: HttpResponse, asked: &dialect::Translated) -> HttpResponse {
        let (mut parts, body) = answer.into_parts();
        let read = http_helpers::read_body(&parts.headers, body, u32::MAX).await;
        let Ok((body, _)) = read else { return refusal(&RpcError::Internal) };
        let body = match asked.restore(&body) {
            Some((status, body)) => {
                parts.status = status;
                body
            }
            None => body,
        };
        parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
        HttpResponse::from_parts(parts, HttpBody::from(body))
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
    S: Service<HttpRequest, Response = HttpResponse, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = Responding;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: HttpRequest<B>) -> Responding {
        let layer = self.layer.clone();
        if let Some(probe) = Probe::of(request.uri().path()) {
            return Box::pin(layer.probe(
                probe,
                request.method().clone(),
                request.headers().clone(),
            ));
        }
        if let Err(error) = layer.let_in(&mut request) {
            return Box::pin(refuse(error));
        }
        let mut inner = self.inner.clone();
        if ws::is_upgrade_request(&request) {
            return inner.call(request.map(|_| HttpBody::empty())).boxed();
        }
        if request.method() != Method::POST {
            return Box::pin(refuse(RpcError::NotPosted));
        }
        if !auth::says_json(request.headers()) {
            return Box::pin(refuse(RpcError::NotSaidJson));
        }
        Box::pin(async move {
            let (request, translated) = match layer.read(request).await {
                Ok(read) => read,
                Err(refused) => return Ok(refused),
            };
            let answer = match time::timeout(layer.request_timeout, inner.call(request)).await {
                Ok(answer) => answer?,
                Err(_) => return Ok(refusal(&timed_out(layer.request_timeout))),
            };
            Ok(match &translated {
                Some(translated) => layer.restore(answer, translated).await,
                None => answer,
            })
        })
    }
}

/// Says no; to a wrong password slowly.
async fn refuse(error: RpcError) -> Result<HttpResponse, BoxError> {
    if error == RpcError::Unauthorised {
        time::sleep(REFUSAL_DELAY).await;
    }
    Ok(refusal(&error))
}

fn timed_out(limit: Duration) -> RpcError {
    RpcError::TimedOut { limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
}

/// A JSON-RPC error as the body of a response, to a request without an id.
fn refusal(error: &RpcError) -> HttpResponse {
    refusal_of(error, None)
}

fn refusal_of(error: &RpcError, id: Option<&RawValue>) -> HttpResponse {
    let status = match error {
        RpcError::Unauthorised => StatusCode::UNAUTHORIZED,
        RpcError::HostRefused | RpcError::OriginRefused => StatusCode::FORBIDDEN,
        RpcError::TimedOut { .. } => StatusCode::REQUEST_TIMEOUT,
        RpcError::TooManyAtOnce { .. } => StatusCode::TOO_MANY_REQUESTS,
        RpcError::Overloaded | RpcError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        RpcError::NotJson { .. }
        | RpcError::NotACall
        | RpcError::EmptyBatch
        | RpcError::BrokenOff => StatusCode::BAD_REQUEST,
        RpcError::BodyTooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        RpcError::NotPosted => StatusCode::METHOD_NOT_ALLOWED,
        RpcError::NotSaidJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        // A JSON-RPC answer like that of a call, for clients that read those alone.
        RpcError::BatchTooLong { .. } => StatusCode::OK,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let error = ErrorObjectOwned::from(error);
    let body = json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string();
    let mut response = HttpResponse::new(HttpBody::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Basic realm=\"ashlar\"");
        headers.insert(header::WWW_AUTHENTICATE, scheme);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    }
    response
}
