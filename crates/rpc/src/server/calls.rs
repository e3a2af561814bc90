//! From the text of a message to the text of its answer, by HTTP and by WebSocket alike.
//!
//! The methods are jsonrpsee's, made from the traits of [`crate::api`]. How a call reaches them is
//! here, not in jsonrpsee's own server: that one answers faults of its own in words of its own, has
//! no place for the tip beside a result, and can't be told who calls.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use http::{Extensions, StatusCode};
use jsonrpsee::{
    ConnectionId, MethodCallback, MethodResponse, MethodSink, Methods, SubscriptionState,
    core::{id_providers::RandomIntegerIdProvider, server::BoundedSubscriptions},
    types::{ErrorObject, ErrorObjectOwned, Id, Request},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};

use super::{
    caller::Caller,
    config::Limits,
    envelope::{Dialects, Entry, Message},
    made_at::{self, MAX_TOLD_BYTES, Note},
};
use crate::{
    error::{ErrorData, RpcError},
    scope::is_long,
    types::Tip,
};

/// Is told of each call that ended: the method (`unknown` where there is none of that name),
/// whether it brought a result, and how long it took.
pub(super) type NoteCall = Arc<dyn Fn(&str, bool, Duration) + Send + Sync>;

/// The tip of this moment, for answers that were made without a look at the chain.
pub(super) type CurrentTip = Arc<dyn Fn() -> Tip + Send + Sync>;

/// Events of one subscription that wait for a place among its WebSocket's messages.
const EVENTS_AHEAD: usize = 1;

/// All methods, and what holds for each call of them.
pub(super) struct Calls {
    pub(super) methods: Methods,
    pub(super) limits: Limits,
    pub(super) note_call: NoteCall,
    pub(super) current_tip: CurrentTip,
    /// WebSockets so far.
    pub(super) connections: AtomicUsize,
}

/// A WebSocket, as far as its subscriptions go.
#[derive(Debug)]
pub(super) struct Connection {
    id: ConnectionId,
    subscriptions: BoundedSubscriptions,
}

/// The events of a subscription, complete messages.
pub(super) type Events = mpsc::Receiver<Box<RawValue>>;

/// What a message is answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Over HTTP.
    pub(super) status: StatusCode,
    pub(super) json: String,
    /// Of the subscriptions that it opens: what follows it, not what goes before.
    pub(super) events: Vec<Events>,
}

/// What one call came to.
struct Outcome {
    json: String,
    /// The number of its error.
    error: Option<i32>,
    events: Option<Events>,
}

impl Outcome {
    fn failed(id: Id<'_>, error: impl Into<ErrorObjectOwned>) -> Self {
        let error = error.into();
        let number = error.code();
        let json = text_of(MethodResponse::error(id, error));
        Self { json, error: Some(number), events: None }
    }
}

/// An error as the whole answer to a message that has no id.
pub(super) fn refusal_text(error: &RpcError) -> String {
    text_of(MethodResponse::error(Id::Null, ErrorObjectOwned::from(error)))
}

fn text_of(response: MethodResponse) -> String {
    Box::<str>::from(response.into_json()).into()
}

impl Calls {
    /// For a WebSocket that has just been opened.
    pub(super) fn connect(&self) -> Connection {
        let id = ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed));
        let subscriptions = BoundedSubscriptions::new(self.limits.max_subscriptions);
        Connection { id, subscriptions }
    }

    /// Answers what somebody sent over HTTP or, with `connection`, over a WebSocket. `None`: it
    /// wants no answer.
    ///
    /// # Errors
    /// There is no part in it that could be answered, or the answer would be too long.
    pub(super) async fn answer(
        &self,
        message: &[u8],
        caller: &Caller,
        connection: Option<&Connection>,
    ) -> Result<Option<Answer>, RpcError> {
        let dialects = if connection.is_some() { Dialects::New } else { Dialects::All };
        match Message::read(message, self.limits.max_batch_calls as usize, dialects)? {
            Message::Single(Entry::Notification) => Ok(None),
            Message::Single(Entry::Fault(id, dialect)) => {
                let json = dialect.write(Outcome::failed(id, RpcError::NotACall).json);
                Ok(Some(Answer { status: StatusCode::BAD_REQUEST, json, events: Vec::new() }))
            }
            Message::Single(Entry::Call(request, dialect)) => {
                let outcome = self.call(request, caller, connection).await;
                let (status, json) = (dialect.status(outcome.error), dialect.write(outcome.json));
                Ok(Some(Answer { status, json, events: outcome.events.into_iter().collect() }))
            }
            // Apart, so that its state is not moved about with every single call.
            Message::Batch(entries) => Box::pin(self.batch(entries, caller, connection)).await,
        }
    }

    /// All calls of a batch together start within the time of one; those left over are answered
    /// as timed out.
    async fn batch(
        &self,
        entries: Vec<Entry<'_>>,
        caller: &Caller,
        connection: Option<&Connection>,
    ) -> Result<Option<Answer>, RpcError> {
        let (started, limit_ms) = (Instant::now(), self.limits.call_timeout_ms);
        let max_bytes = self.limits.max_response_bytes;
        let (mut json, mut events) = (String::new(), Vec::new());
        for entry in entries {
            let (outcome, dialect) = match entry {
                Entry::Notification => continue,
                Entry::Fault(id, dialect) => (Outcome::failed(id, RpcError::NotACall), dialect),
                Entry::Call(call, dialect) => {
                    let is_in_time = started.elapsed() < Duration::from_millis(limit_ms);
                    let outcome = match is_in_time {
                        true => self.call(call, caller, connection).await,
                        false => Outcome::failed(call.id, RpcError::TimedOut { limit_ms }),
                    };
                    (outcome, dialect)
                }
            };
            json.push(if json.is_empty() { '[' } else { ',' });
            json.push_str(&dialect.write(outcome.json));
            if json.len() >= max_bytes as usize {
                return Err(RpcError::AnswerTooLong { max_bytes });
            }
            events.extend(outcome.events);
        }
        if json.is_empty() {
            return Ok(None);
        }
        json.push(']');
        Ok(Some(Answer { status: StatusCode::OK, json, events }))
    }

    /// Asks whether the caller may make this call now, and makes it.
    async fn call(
        &self,
        request: Request<'_>,
        caller: &Caller,
        connection: Option<&Connection>,
    ) -> Outcome {
        let started = Instant::now();
        let known = self.methods.method_with_name(&request.method);
        let name = known.map_or("unknown", |(name, _)| name);
        let admitted = caller.admit(&request.method, started);
        let outcome = match (admitted, known) {
            (Ok(()), Some((name, method))) => self.run(name, method, request, connection).await,
            (admitted, _) => {
                let error = admitted.err().unwrap_or(RpcError::UnknownMethod);
                let method: &str = &request.method;
                tracing::debug!(caller = caller.name(), ?method, %error, "an RPC call was refused");
                Outcome::failed(request.id, error)
            }
        };
        (self.note_call)(name, outcome.error.is_none(), started.elapsed());
        outcome
    }

    /// Runs a method within its time and whatever becomes of it, and tells with its answer the tip
    /// that it was made at.
    async fn run(
        &self,
        name: &str,
        method: &MethodCallback,
        request: Request<'_>,
        connection: Option<&Connection>,
    ) -> Outcome {
        let id = request.id.clone().into_owned();
        let limit_ms =
            if is_long(name) { self.limits.long_call_ms() } else { self.limits.call_timeout_ms };
        let note = Arc::new(Note::default());
        // Unwind safety: what a handler shares is behind channels, locks of Tokio (which do not
        // poison, and guard no invariant here) and values that never change.
        let running = AssertUnwindSafe(made_at::noting(
            Arc::clone(&note),
            self.dispatch(method, request, connection),
        ));
        let ran = time::timeout(Duration::from_millis(limit_ms), running.catch_unwind()).await;
        let answered = match ran {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => {
                tracing::error!(method = name, "an RPC method panicked");
                Err(RpcError::Internal)
            }
            Err(_) => Err(RpcError::TimedOut { limit_ms }),
        };
        match answered {
            Ok((response, events)) => match response.as_error_code() {
                None => {
                    let at = note.tip().unwrap_or_else(|| (self.current_tip)());
                    Outcome { json: made_at::told(text_of(response), at), error: None, events }
                }
                Some(number) => {
                    Outcome::failed(id, self.shaped(&response, number).told(note.tip()))
                }
            },
            Err(error) => Outcome::failed(id, Shaped::from(error).told(note.tip())),
        }
    }

    async fn dispatch(
        &self,
        method: &MethodCallback,
        request: Request<'_>,
        connection: Option<&Connection>,
    ) -> Result<(MethodResponse, Option<Events>), RpcError> {
        let params = request.params().into_owned();
        let id = request.id.into_owned();
        let max_bytes = (self.limits.max_response_bytes as usize).saturating_sub(MAX_TOLD_BYTES);
        let extensions = Extensions::new();
        let connected = connection.ok_or(RpcError::NeedsWebSocket);
        Ok(match method {
            MethodCallback::Sync(method) => (method(id, params, max_bytes, extensions), None),
            MethodCallback::Async(method) => {
                let connection = connected.map_or(ConnectionId(0), |connection| connection.id);
                (method(id, params, connection, max_bytes, extensions).await, None)
            }
            MethodCallback::Unsubscription(method) => {
                (method(id, params, connected?.id, max_bytes, extensions), None)
            }
            MethodCallback::Subscription(method) => {
                let Connection { id: conn_id, subscriptions } = connected?;
                let max = subscriptions.max();
                let subscription_permit =
                    subscriptions.acquire().ok_or(RpcError::TooManySubscriptions { max })?;
                let id_provider = &RandomIntegerIdProvider;
                let state =
                    SubscriptionState { conn_id: *conn_id, id_provider, subscription_permit };
                let (sender, mut events) = mpsc::channel(EVENTS_AHEAD);
                let response = method(id, params, MethodSink::new(sender), state, extensions).await;
                // The library sends its answer among the events too: there it has no tip, and an
                // error no code.
                events.try_recv().ok();
                (response, Some(events))
            }
        })
    }

    /// What jsonrpsee says by itself, of parameters that it can't read or answers too long to send,
    /// has its words as `data` or none.
    fn shaped(&self, response: &MethodResponse, number: i32) -> Shaped {
        #[derive(Deserialize)]
        struct Failed<'a> {
            #[serde(borrow)]
            error: ErrorObject<'a>,
        }
        let failed = serde_json::from_str::<Failed<'_>>(response.as_json().get()).ok();
        let error = failed.as_ref().map(|failed| &failed.error);
        let data = error.and_then(|error| error.data()).map(RawValue::get);
        let read = data.and_then(|data| serde_json::from_str(data).ok());
        if let (Some(error), Some(data)) = (error, read) {
            return Shaped { number, message: error.message().to_owned(), data };
        }
        let words = || data.and_then(|data| serde_json::from_str::<String>(data).ok());
        let error = match number {
            -32_602 => RpcError::InvalidParameter {
                name: "list",
                reason: words().unwrap_or_else(|| "missing, or of the wrong type".to_owned()),
            },
            -32_008 => RpcError::AnswerTooLong { max_bytes: self.limits.max_response_bytes },
            _ => RpcError::Internal,
        };
        error.into()
    }
}

/// An error in the form of all.
struct Shaped {
    number: i32,
    message: String,
    data: ErrorData,
}

impl From<RpcError> for Shaped {
    fn from(error: RpcError) -> Self {
        let (number, message) = (error.number(), error.to_string());
        Self { number, message, data: ErrorData::from(&error) }
    }
}

impl Shaped {
    /// With the tip that was looked at, if any was.
    fn told(self, at: Option<Tip>) -> ErrorObjectOwned {
        let data = ErrorData { at, ..self.data };
        ErrorObject::owned(self.number, self.message, Some(data))
    }
}
