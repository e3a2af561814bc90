//! What stands between the server and the methods: a guard for calls.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use jsonrpsee::{
    core::{
        middleware::{Batch, BatchEntry, Notification, RpcServiceT},
        server::{BatchResponseBuilder, MethodResponse},
    },
    types::{Id, Request},
};
use serde_json::Value;
use tokio::time::{self, Instant};
use tower::Layer;

use super::{
    caller::Caller,
    config::Limits,
    made_at::{self, Note},
};
use crate::{
    error::RpcError,
    scope::{is_long, is_subscription},
    types::Tip,
};

/// Is told of each call that ended: the method (`unknown` where there is none of that name),
/// whether it brought a result, and how long it took.
pub(super) type NoteCall = Arc<dyn Fn(&str, bool, Duration) + Send + Sync>;

/// The tip of this moment, for answers that were made without a look at the chain.
pub(super) type CurrentTip = Arc<dyn Fn() -> Tip + Send + Sync>;

/// Puts [`Guard`] round the methods.
#[derive(Clone)]
pub(super) struct GuardLayer {
    pub(super) limits: Limits,
    pub(super) note_call: NoteCall,
    pub(super) current_tip: CurrentTip,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;
    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, layer: self.clone() }
    }
}

/// Asks whether the caller may make this call now, bounds its time, keeps a panic to the call that
/// made it, gives the errors of jsonrpsee itself the shape of all others, and tells with each answer
/// the tip that it was made at.
#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    layer: GuardLayer,
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
        let layer = self.layer.clone();
        async move {
            let started = Instant::now();
            let id = request.id().into_owned();
            let method = request.method_name().to_owned();
            // Without a caller nobody was let in: a request that came another way than the door.
            let caller = request.extensions().get::<Caller>().cloned();
            let admitted = match &caller {
                Some(caller) => caller.admit(&method, started),
                None => Err(RpcError::Unauthorised),
            };
            let response = match admitted {
                Ok(()) => layer.answer(inner, request).await,
                Err(error) => {
                    let caller = caller.as_ref().map(Caller::name);
                    tracing::debug!(caller, ?method, %error, "an RPC call was refused");
                    MethodResponse::error(id, error)
                }
            };
            let is_unknown = response.as_error_code() == Some(RpcError::UnknownMethod.number());
            let name = if is_unknown { "unknown" } else { &method };
            (layer.note_call)(name, response.is_success(), started.elapsed());
            response
        }
    }

    /// jsonrpsee's own batch would go past this guard. All calls of a batch together start
    /// within the time of one; those left over are answered as timed out.
    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let guard = self.clone();
        async move {
            let limits = guard.layer.limits.clone();
            let limit_ms = limits.call_timeout_ms;
            let started = Instant::now();
            let mut answers =
                BatchResponseBuilder::new_with_limit(limits.max_response_bytes as usize);
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
                        let (_, id) = error.into_parts();
                        MethodResponse::error(id, RpcError::NotACall)
                    }
                };
                if answers.append(answer).is_err() {
                    let max_bytes = limits.max_response_bytes;
                    return MethodResponse::error(Id::Null, RpcError::AnswerTooLong { max_bytes });
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

impl GuardLayer {
    /// One call, within its time and whatever becomes of it.
    async fn answer<S>(&self, inner: S, request: Request<'_>) -> MethodResponse
    where
        S: RpcServiceT<MethodResponse = MethodResponse>,
    {
        let id = request.id().into_owned();
        let method = request.method_name().to_owned();
        let limit_ms =
            if is_long(&method) { self.limits.long_call_ms() } else { self.limits.call_timeout_ms };
        let note = Arc::new(Note::default());
        // Unwind safety: what a handler shares is behind channels, locks of Tokio (which do not
        // poison, and guard no invariant here) and values that never change.
        let call = AssertUnwindSafe(made_at::noting(Arc::clone(&note), async move {
            inner.call(request).await
        }));
        let answered = time::timeout(Duration::from_millis(limit_ms), call.catch_unwind()).await;
        let response = match answered {
            Ok(Ok(response)) => self.reshape(response, &id, &method),
            Ok(Err(_)) => {
                tracing::error!(?method, "an RPC method panicked");
                MethodResponse::error(id.clone(), RpcError::Internal)
            }
            Err(_) => MethodResponse::error(id.clone(), RpcError::TimedOut { limit_ms }),
        };
        let tip = match note.tip() {
            None if response.is_success() => Some((self.current_tip)()),
            noted => noted,
        };
        let Some(tip) = tip else { return response };
        let told =
            made_at::told(response, id.clone(), tip, self.limits.max_response_bytes as usize);
        self.reshape(told, &id, &method)
    }

    /// What jsonrpsee says by itself, of parameters that it can't read or answers too long to send,
    /// has its words as `data` or none.
    fn reshape(&self, response: MethodResponse, id: &Id<'static>, method: &str) -> MethodResponse {
        let Some(number) = response.as_error_code() else { return response };
        let answer: Value = serde_json::from_str(response.as_json().get()).unwrap_or_default();
        let data = answer.pointer("/error/data");
        if data.is_some_and(|data| data.get("code").is_some()) {
            return response;
        }
        let is_subscribing = is_subscription(method);
        let error = match number {
            -32_602 => {
                let words = data.and_then(Value::as_str).unwrap_or("missing, or of the wrong type");
                RpcError::InvalidParameter { name: "list", reason: words.to_owned() }
            }
            -32_601 => RpcError::UnknownMethod,
            -32_006 => RpcError::TooManySubscriptions { max: self.limits.max_subscriptions },
            -32_008 => RpcError::AnswerTooLong { max_bytes: self.limits.max_response_bytes },
            _ if is_subscribing => RpcError::NeedsWebSocket,
            _ => RpcError::Internal,
        };
        MethodResponse::error(id.clone(), error)
    }
}
