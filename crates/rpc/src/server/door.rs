//! What stands before the methods: who comes in, with how much, and what HTTP says to it.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::{
    sync::{Semaphore, watch},
    time,
};

use super::{
    auth::{self, Doors},
    calls::{Calls, refusal_text},
    listen::Admitted,
    probes::{Probe, Probes},
    websocket::{self, Guest},
};
use crate::error::RpcError;

/// How long a wrong password waits for its answer, which makes guessing slow.
const REFUSAL_DELAY: Duration = Duration::from_millis(250);

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// When a caller that had too much going on may try again, in seconds.
const RETRY_AFTER_SECONDS: u16 = 1;

/// What HTTP carries back.
pub(super) type HttpResponse = Response<Full<Bytes>>;

/// Answers the requests of all connections.
pub(super) struct Door {
    doors: Doors,
    calls: Arc<Calls>,
    probes: Probes,
    /// For requests being answered and WebSockets.
    places: Arc<Semaphore>,
    max_body_bytes: u32,
}

impl Door {
    pub(super) fn new(doors: Doors, calls: Calls, probes: Probes, max_body_bytes: u32) -> Self {
        let places = Arc::new(Semaphore::new(calls.limits.max_connections as usize));
        Self { doors, calls: Arc::new(calls), probes, places, max_body_bytes }
    }

    /// Whatever is asked has an answer.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        admitted: &Admitted,
        stop: watch::Receiver<bool>,
    ) -> HttpResponse {
        let answered = match Probe::of(request.uri().path()) {
            Some(probe) => Box::pin(self.probe(probe, &request)).await,
            None => self.let_in(request, admitted, stop).await,
        };
        match answered {
            Ok(response) => response,
            Err(error) => {
                if error == RpcError::Unauthorised {
                    time::sleep(REFUSAL_DELAY).await;
                }
                refusal(&error)
            }
        }
    }

    /// What watchers ask, who may be many and need no place.
    async fn probe(
        &self,
        probe: Probe,
        request: &Request<Incoming>,
    ) -> Result<HttpResponse, RpcError> {
        match probe {
            Probe::Metrics => self.doors.check_metrics(request.headers())?,
            Probe::Healthy | Probe::Ready => self.doors.check_place(request.headers())?,
        }
        self.probes.answer(probe, request.method(), request.headers()).await
    }

    /// A call or a WebSocket: its caller, and a place of theirs for as long as it takes.
    async fn let_in(
        &self,
        request: Request<Incoming>,
        admitted: &Admitted,
        stop: watch::Receiver<bool>,
    ) -> Result<HttpResponse, RpcError> {
        let caller = self.doors.check(request.headers())?;
        admitted.set();
        let place =
            Arc::clone(&self.places).try_acquire_owned().map_err(|_| RpcError::Overloaded)?;
        let places = [caller.place()?, place];
        if websocket::is_asked_for(&request) {
            let calls = Arc::clone(&self.calls);
            let guest = Guest {
                caller,
                _places: places,
                calls,
                max_message_bytes: self.max_body_bytes,
                stop,
            };
            return Ok(websocket::open(request, guest)?.map(Full::new));
        }
        if request.method() != Method::POST {
            return Err(RpcError::NotPosted);
        }
        if !auth::says_json(request.headers()) {
            return Err(RpcError::NotSaidJson);
        }
        let body = self.read(request.into_body()).await?;
        Ok(match self.calls.answer(&body, &caller, None).await? {
            Some(answer) => json(answer.status, answer.json),
            // As Bitcoin Core answers those who want no answer.
            None => empty(StatusCode::NO_CONTENT),
        })
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, RpcError> {
        let max_bytes = self.max_body_bytes;
        // Refused by the length that it tells, before any of it is read.
        if body.size_hint().lower() > max_bytes.into() {
            return Err(RpcError::BodyTooLong { max_bytes });
        }
        let reading = Limited::new(body, max_bytes as usize).collect();
        match time::timeout(BODY_TIMEOUT, reading).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            // It told no length, and went over the bound.
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(RpcError::BodyTooLong { max_bytes })
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the body of an RPC request broke off");
                Err(RpcError::BrokenOff)
            }
            Err(_) => Err(RpcError::TimedOut {
                limit_ms: u64::try_from(BODY_TIMEOUT.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }
}

fn empty(status: StatusCode) -> HttpResponse {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn json(status: StatusCode, text: String) -> HttpResponse {
    let mut response = empty(status);
    *response.body_mut() = Full::from(text);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A JSON-RPC error as the body of a response, to a request without an id.
fn refusal(error: &RpcError) -> HttpResponse {
    let status = match error {
        RpcError::Unauthorised => StatusCode::UNAUTHORIZED,
        RpcError::HostRefused | RpcError::OriginRefused => StatusCode::FORBIDDEN,
        RpcError::TimedOut { .. } => StatusCode::REQUEST_TIMEOUT,
        RpcError::TooManyAtOnce { .. } => StatusCode::TOO_MANY_REQUESTS,
        RpcError::Overloaded | RpcError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        RpcError::NotJson { .. }
        | RpcError::NotACall
        | RpcError::EmptyBatch
        | RpcError::BadHandshake { .. }
        | RpcError::BrokenOff => StatusCode::BAD_REQUEST,
        RpcError::BodyTooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        RpcError::NotPosted => StatusCode::METHOD_NOT_ALLOWED,
        RpcError::NotSaidJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        // A JSON-RPC answer like that of a call, for clients that read those alone.
        RpcError::BatchTooLong { .. } | RpcError::AnswerTooLong { .. } => StatusCode::OK,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = json(status, refusal_text(error));
    let headers = response.headers_mut();
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
