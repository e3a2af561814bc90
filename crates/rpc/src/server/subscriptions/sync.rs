//! How far the node has caught up.

use std::time::Duration;

use ashlar_engine::{Call, call::AnswerBody};
use jsonrpsee::core::{SubscriptionResult, server::PendingSubscriptionSink};
use tokio::time::{self, MissedTickBehavior};

use super::{accept, failed};
use crate::{
    server::{
        backend::Backend,
        chain::sync_info,
        context::{Context, tip_of_answer, unexpected},
    },
    types::SyncEvent,
};

/// The least time between two events.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn serve<B: Backend>(
    context: &Context<B>,
    pending: PendingSubscriptionSink,
) -> SubscriptionResult {
    let mut subscriber = accept(context, pending, Ok(())).await?;
    let mut ticks = time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<SyncEvent> = None;
    loop {
        tokio::select! {
            () = subscriber.sink.closed() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let answer = context.call(Call::SyncStatus).await.map_err(failed)?;
        let at = tip_of_answer(&answer);
        let AnswerBody::Sync(status) = answer.body else {
            return Err(failed(unexpected(&answer.body)));
        };
        let told = last.as_ref().map(|event| event.cursor);
        let mut event = SyncEvent {
            at,
            cursor: told.unwrap_or_else(|| subscriber.cursor(at.tip.0)),
            initialblockdownload: status.syncing,
            headers: status.best_header_height,
            peers: u64::try_from(status.peers).unwrap_or(u64::MAX),
            sync: status.progress.map(sync_info),
        };
        if last.as_ref() != Some(&event) {
            if last.is_some() {
                event.cursor = subscriber.cursor(at.tip.0);
            }
            subscriber.send(&event).await?;
            last = Some(event);
        }
    }
}
