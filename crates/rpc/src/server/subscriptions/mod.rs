//! Events for subscribers, each within two bounds: what waits for it, and how long.
//!
//! Every subscriber reads the node's event channel at its own pace. One that lets the channel run
//! over, or keeps one event waiting for longer than `slow_subscriber_ms`, gets the reason as its
//! last message and no more: a reader that stands still costs a bounded amount, and nobody else.
//!
//! Each stream first takes its place at the channel and then looks at the state: what lies between
//! is told twice, and left out the second time.

mod addresses;
mod mempool;
mod path;
mod sync;
mod tips;

use std::{sync::Arc, time::Duration};

use ashlar_primitives::BlockId;
use jsonrpsee::core::{
    SubscriptionError, SubscriptionResult, async_trait,
    server::{PendingSubscriptionSink, SendTimeoutError, SubscriptionSink},
    to_json_raw_value,
};
use serde::Serialize;
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
};

use super::{
    backend::{Backend, ChainEvent},
    context::Context,
};
use crate::{
    api::SubscriptionsServer,
    error::{ErrorData, RpcError},
    types::{Addresses, EventCursor},
};

/// The subscriptions of [`crate::api::subscriptions`].
pub(super) struct Subscriptions<B>(pub(super) Arc<Context<B>>);

#[async_trait]
impl<B: Backend> SubscriptionsServer for Subscriptions<B> {
    async fn subscribetips(
        &self,
        pending: PendingSubscriptionSink,
        since: Option<EventCursor>,
    ) -> SubscriptionResult {
        tips::serve(&self.0, pending, since).await
    }

    async fn subscribemempool(
        &self,
        pending: PendingSubscriptionSink,
        // Whatever it says, the list is told anew.
        _since: Option<EventCursor>,
    ) -> SubscriptionResult {
        mempool::serve(&self.0, pending).await
    }

    async fn subscribeaddresses(
        &self,
        pending: PendingSubscriptionSink,
        addresses: Addresses,
        since: Option<EventCursor>,
    ) -> SubscriptionResult {
        addresses::serve(&self.0, pending, addresses, since).await
    }

    async fn subscribesync(
        &self,
        pending: PendingSubscriptionSink,
        _since: Option<EventCursor>,
    ) -> SubscriptionResult {
        sync::serve(&self.0, pending).await
    }
}

/// Takes a subscriber on, or says why not.
async fn accept<B: Backend>(
    context: &Context<B>,
    pending: PendingSubscriptionSink,
    ready: Result<(), RpcError>,
) -> Result<Subscriber, SubscriptionError> {
    let max = context.max_subscriptions;
    let place = ready.and_then(|()| {
        Arc::clone(&context.subscriptions)
            .try_acquire_owned()
            .map_err(|_| RpcError::TooMany { what: "subscriptions", max })
    });
    let place = match place {
        Ok(place) => place,
        Err(error) => {
            pending.reject(&error).await;
            return Err(error.to_string().into());
        }
    };
    let sink = pending.accept().await?;
    let patience = Duration::from_millis(context.slow_subscriber_ms);
    Ok(Subscriber { sink, patience, next_sequence: 0, _place: place })
}

/// One subscriber that is being told.
struct Subscriber {
    sink: SubscriptionSink,
    patience: Duration,
    next_sequence: u64,
    _place: OwnedSemaphorePermit,
}

impl Subscriber {
    /// Of the next event, which leads to this tip.
    fn cursor(&mut self, block: BlockId) -> EventCursor {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.saturating_add(1);
        EventCursor { block: block.into(), sequence }
    }

    /// The next event; `None` once the subscriber has left.
    async fn next(
        &self,
        events: &mut Receiver<ChainEvent>,
    ) -> Result<Option<ChainEvent>, SubscriptionError> {
        let event = tokio::select! {
            () = self.sink.closed() => return Ok(None),
            event = events.recv() => event,
        };
        match event {
            Ok(event) => Ok(Some(event)),
            Err(RecvError::Lagged(missed)) => Err(too_slow(missed)),
            Err(RecvError::Closed) => Err(farewell("stopping", "the node is stopping")),
        }
    }

    async fn send<T: Serialize + Sync>(&self, message: &T) -> Result<(), SubscriptionError> {
        let json = to_json_raw_value(message)?;
        match self.sink.send_timeout(json, self.patience).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(_)) => Err(too_slow(1)),
            // Gone: whatever is answered now reaches nobody.
            Err(SendTimeoutError::Closed(_)) => Err("closed".into()),
        }
    }
}

/// What is there already, without waiting.
fn at_hand(events: &mut Receiver<ChainEvent>) -> Result<Option<ChainEvent>, SubscriptionError> {
    match events.try_recv() {
        Ok(event) => Ok(Some(event)),
        // An end is met by whoever waits next.
        Err(TryRecvError::Empty | TryRecvError::Closed) => Ok(None),
        Err(TryRecvError::Lagged(missed)) => Err(too_slow(missed)),
    }
}

/// The last message to a subscriber that events had to wait for.
fn too_slow(missed: u64) -> SubscriptionError {
    tracing::debug!(missed, "a subscriber was too slow");
    farewell("too-slow", "events waited too long: subscribe again with since, and read faster")
}

/// The last message to a subscriber whose stream failed.
fn failed(error: RpcError) -> SubscriptionError {
    told(&ErrorData::from(&error))
}

fn farewell(code: &str, hint: &str) -> SubscriptionError {
    let hint = Some(hint.to_owned());
    told(&ErrorData { code: code.to_owned(), hint, retry_after_ms: None, at: None })
}

fn told(reason: &ErrorData) -> SubscriptionError {
    match to_json_raw_value(reason) {
        Ok(json) => SubscriptionError::from_json(json),
        Err(error) => error.into(),
    }
}
