//! Steps of the tip.

use std::sync::Arc;

use ashlar_ledger::View;
use jsonrpsee::core::{SubscriptionError, SubscriptionResult, server::PendingSubscriptionSink};

use super::{Subscriber, accept, failed, path::Path};
use crate::{
    error::RpcError,
    server::{
        backend::{Backend, ChainEvent},
        context::Context,
    },
    types::{EventCursor, Tip, TipEvent},
};

pub(super) async fn serve<B: Backend>(
    context: &Context<B>,
    pending: PendingSubscriptionSink,
    since: Option<EventCursor>,
) -> SubscriptionResult {
    let mut events = context.backend.events();
    let view = context.view();
    let known = view.sequence();
    let from = since.map_or(view.tip().id, |since| since.block.0);
    let path = context.read_at(Arc::clone(&view), move |view| Path::new(view, &from)).await;
    let (ready, path) = match path {
        Ok(path) => (Ok(()), Some(path)),
        Err(error) => (Err(error), None),
    };
    let mut subscriber = accept(context, pending, ready).await?;
    if let Some(path) = path {
        tell(context, &mut subscriber, view, path).await?;
    }
    while let Some(event) = subscriber.next(&mut events).await? {
        let ChainEvent::Tip { sequence, tip, height, disconnected, connected, alarm } = event
        else {
            continue;
        };
        if sequence > known {
            let event = TipEvent {
                at: Tip { tip: tip.into(), tip_height: height },
                cursor: subscriber.cursor(tip),
                disconnected: disconnected.iter().map(|id| (*id).into()).collect(),
                connected: connected.iter().map(|id| (*id).into()).collect(),
                alarm,
            };
            subscriber.send(&event).await?;
        }
    }
    Ok(())
}

/// The way to the tip of the first view, piece by piece.
async fn tell<B: Backend>(
    context: &Context<B>,
    subscriber: &mut Subscriber,
    view: Arc<View>,
    mut path: Path,
) -> Result<(), SubscriptionError> {
    loop {
        let found = context
            .read_at(Arc::clone(&view), move |view| {
                let step = path.next(view)?;
                Ok::<_, RpcError>((step, path))
            })
            .await;
        let (step, rest) = found.map_err(failed)?;
        path = rest;
        let Some(step) = step else { return Ok(()) };
        let event = TipEvent {
            at: step.at,
            cursor: subscriber.cursor(step.at.tip.0),
            disconnected: step.disconnected,
            connected: step.connected,
            alarm: false,
        };
        subscriber.send(&event).await?;
    }
}
