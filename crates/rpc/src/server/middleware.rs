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

use super::{caller::Caller, config::Limits};
use crate::{error::RpcError, scope::is_long};

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

/// Asks whether the caller may make this call now, bounds its time, keeps a panic to the call that
/// made it, and gives the errors of jsonrpsee itself the shape of all others.
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
            // Without a caller nobody was let in: a request that came another way than the door.
            let caller = request.extensions().get::<Caller>().cloned();
            let admitted = match &caller {
                Some(caller) => caller.admit(&method, started),
                None => Err(RpcError::Unauthorised),
            };
            let response = match admitted {
                Ok(()) => answer(inner, request, limit_ms).await,
                Err(error) => {
                    let caller = caller.as_ref().map(Caller::name);
                    tracing::debug!(caller, ?method, %error, "an RPC call was refused");
                    MethodResponse::error(id, error)
                }
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

/// One call, within its time and whatever becomes of it.
async fn answer<S>(inner: S, request: Request<'_>, limit_ms: u64) -> MethodResponse
where
    S: RpcServiceT<MethodResponse = MethodResponse>,
{
    let id = request.id().into_owned();
    let method = request.method_name().to_owned();
    // Unwind safety: what a handler shares is behind channels, locks of Tokio (which do not
    // poison, and guard no invariant here) and values that never change.
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
