//! Events for subscribers, each within two bounds: what waits for it, and how long.
//!
//! Every subscriber reads the node's event channel at its own pace. One that lets the channel run
//! over, or keeps one event waiting for longer than `slow_subscriber_ms`, gets the reason as its
//! last message and no more: a reader that stands still costs a bounded amount, and nobody else.

use std::{sync::Arc, time::Duration};

use jsonrpsee::core::{
    SubscriptionError, SubscriptionResult, async_trait,
    server::{PendingSubscriptionSink, SendTimeoutError, SubscriptionSink},
    to_json_raw_value,
};
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    backend::{Backend, ChainEvent},
    context::{Context, tip_of},
};
use crate::{
    api::SubscriptionsServer,
    error::ErrorData,
    types::{Tip, TipEvent, TransactionEvent},
};

/// The subscriptions of [`crate::api::Subscriptions`].
pub(super) struct Subscriptions<B>(pub(super) Arc<Context<B>>);

#[async_trait]
impl<B: Backend> SubscriptionsServer for Subscriptions<B> {
    async fn subscribetips(&self, pending: PendingSubscriptionSink) -> SubscriptionResult {
        // First the events, then the view: what lies between is told twice, and skipped below.
        let events = self.0.backend.events();
        let view = self.0.view();
        let known = view.sequence();
        let first =
            TipEvent { at: tip_of(&view), disconnected: vec![], connected: vec![], alarm: false };
        drop(view);
        let subscriber = self.accept(pending).await?;
        subscriber.send(&first).await?;
        subscriber
            .follow(events, |event| match event {
                ChainEvent::Tip { sequence, tip, height, disconnected, connected, alarm }
                    if sequence > known =>
                {
                    Some(TipEvent {
                        at: Tip { tip: tip.into(), tip_height: height },
                        disconnected: disconnected.iter().map(|id| (*id).into()).collect(),
                        connected: connected.iter().map(|id| (*id).into()).collect(),
                        alarm,
                    })
                }
                _ => None,
            })
            .await
    }

    async fn subscribetransactions(&self, pending: PendingSubscriptionSink) -> SubscriptionResult {
        let events = self.0.backend.events();
        let subscriber = self.accept(pending).await?;
        subscriber
            .follow(events, |event| match event {
                ChainEvent::Transaction { txid, wtxid } => {
                    Some(TransactionEvent { txid: txid.into(), wtxid: wtxid.into() })
                }
                ChainEvent::Tip { .. } => None,
            })
            .await
    }
}

impl<B: Backend> Subscriptions<B> {
    async fn accept(
        &self,
        pending: PendingSubscriptionSink,
    ) -> Result<Subscriber, SubscriptionError> {
        let sink = pending.accept().await?;
        Ok(Subscriber { sink, patience: Duration::from_millis(self.0.slow_subscriber_ms) })
    }
}

struct Subscriber {
    sink: SubscriptionSink,
    patience: Duration,
}

impl Subscriber {
    /// Passes events on until the subscriber leaves, falls behind, or the node ends.
    async fn follow<T: Serialize + Sync>(
        &self,
        mut events: Receiver<ChainEvent>,
        describe: impl Fn(ChainEvent) -> Option<T>,
    ) -> SubscriptionResult {
        loop {
            let event = tokio::select! {
                () = self.sink.closed() => return Ok(()),
                event = events.recv() => event,
            };
            match event {
                Ok(event) => {
                    if let Some(message) = describe(event) {
                        self.send(&message).await?;
                    }
                }
                Err(RecvError::Lagged(missed)) => return Err(too_slow(missed)),
                Err(RecvError::Closed) => return Err(farewell("stopping", "the node is stopping")),
            }
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

/// The last message to a subscriber that events had to wait for.
fn too_slow(missed: u64) -> SubscriptionError {
    tracing::debug!(missed, "a subscriber was too slow");
    farewell("too-slow", "events waited too long: subscribe again, and read faster")
}

fn farewell(code: &str, hint: &str) -> SubscriptionError {
    let reason = ErrorData { code: code.to_owned(), hint: Some(hint.to_owned()) };
    match to_json_raw_value(&reason) {
        Ok(json) => SubscriptionError::from_json(json),
        Err(error) => error.into(),
    }
}
