//! The mempool: a list, then its changes.

use std::collections::BTreeSet;

use ashlar_engine::{Call, call::AnswerBody};
use jsonrpsee::core::{SubscriptionError, SubscriptionResult, server::PendingSubscriptionSink};
use tokio::sync::broadcast::Receiver;

use super::{Subscriber, accept, at_hand, failed};
use crate::{
    server::{
        backend::{Backend, ChainEvent},
        context::{Context, tip_of, tip_of_answer, unexpected},
    },
    types::{MempoolAddition, MempoolEvent, MempoolRemoval, Tip},
};

/// Most transactions of one event.
const MAX_EVENT_TRANSACTIONS: usize = 1_000;

/// What the list told. An event that was under way meanwhile may be about it, or about what had
/// gone before the list came to its place: one that came back stands further down the list.
pub(super) struct Listed {
    sequences: BTreeSet<u64>,
    last: Option<u64>,
    /// Events that were under way when the list was done.
    pending: usize,
}

impl Listed {
    pub(super) fn new() -> Self {
        Self { sequences: BTreeSet::new(), last: None, pending: 0 }
    }

    pub(super) fn add(&mut self, sequence: u64) {
        self.sequences.insert(sequence);
        self.last = self.last.max(Some(sequence));
    }

    /// The list is done; events from then on are told as they come.
    pub(super) fn done(&mut self, events: &Receiver<ChainEvent>) {
        self.pending = events.len();
    }

    /// One event more was looked at.
    pub(super) fn note_event(&mut self) {
        self.pending = self.pending.saturating_sub(1);
        if self.pending == 0 {
            self.sequences = BTreeSet::new();
        }
    }

    fn is_listed_range(&self, sequence: u64) -> bool {
        self.last.is_some_and(|last| sequence <= last)
    }

    /// Whether the entry of a transaction is news.
    pub(super) fn is_new(&self, sequence: u64) -> bool {
        !self.is_listed_range(sequence)
    }

    /// Whether the subscriber knows what left.
    pub(super) fn knows(&self, sequence: u64) -> bool {
        self.pending == 0 || !self.is_listed_range(sequence) || self.sequences.contains(&sequence)
    }
}

pub(super) async fn serve<B: Backend>(
    context: &Context<B>,
    pending: PendingSubscriptionSink,
) -> SubscriptionResult {
    let mut events = context.backend.events();
    let mut at = tip_of(&context.view());
    let mut subscriber = accept(context, pending, Ok(())).await?;
    let mut listed = Listed::new();
    list(context, &mut subscriber, &mut listed, &mut at).await?;
    listed.done(&events);

    let mut batch = Batch::default();
    while let Some(event) = subscriber.next(&mut events).await? {
        let mut event = Some(event);
        while let Some(one) = event {
            batch.take(&mut subscriber, &mut at, &listed, one).await?;
            listed.note_event();
            event = at_hand(&mut events)?;
        }
        batch.send(&mut subscriber, at).await?;
    }
    Ok(())
}

/// What waits, page by page.
async fn list<B: Backend>(
    context: &Context<B>,
    subscriber: &mut Subscriber,
    listed: &mut Listed,
    at: &mut Tip,
) -> Result<(), SubscriptionError> {
    let mut after = None;
    let mut reset = true;
    loop {
        let call = Call::MempoolPage { after, limit: MAX_EVENT_TRANSACTIONS };
        let answer = context.call(call).await.map_err(failed)?;
        *at = tip_of_answer(&answer);
        let AnswerBody::MempoolPage(page) = answer.body else {
            return Err(failed(unexpected(&answer.body)));
        };
        let listing = page.len() == MAX_EVENT_TRANSACTIONS;
        after = page.last().map(|entry| entry.sequence);
        let mut added = Vec::with_capacity(page.len());
        for entry in page {
            listed.add(entry.sequence);
            added.push(MempoolAddition {
                txid: entry.transaction.txid().into(),
                wtxid: entry.transaction.wtxid().into(),
                size: entry.transaction.size_bytes(),
                fee: entry.fee.grains(),
            });
        }
        let cursor = subscriber.cursor(at.tip.0);
        let event = MempoolEvent { at: *at, cursor, reset, listing, added, removed: Vec::new() };
        subscriber.send(&event).await?;
        if !listing {
            return Ok(());
        }
        reset = false;
    }
}

/// Changes that go out in one event: a busy mempool makes thousands a second.
#[derive(Default)]
struct Batch {
    added: Vec<MempoolAddition>,
    removed: Vec<MempoolRemoval>,
}

impl Batch {
    async fn take(
        &mut self,
        subscriber: &mut Subscriber,
        at: &mut Tip,
        listed: &Listed,
        event: ChainEvent,
    ) -> Result<(), SubscriptionError> {
        match event {
            ChainEvent::Tip { tip, height, .. } => {
                self.send(subscriber, *at).await?;
                *at = Tip { tip: tip.into(), tip_height: height };
            }
            ChainEvent::Transaction { transaction, fee, sequence, .. } => {
                if !listed.is_new(sequence) {
                    return Ok(());
                }
                // One may come back that left before: what came is told before what left.
                if !self.removed.is_empty() || self.added.len() == MAX_EVENT_TRANSACTIONS {
                    self.send(subscriber, *at).await?;
                }
                self.added.push(MempoolAddition {
                    txid: transaction.txid().into(),
                    wtxid: transaction.wtxid().into(),
                    size: transaction.size_bytes(),
                    fee: fee.grains(),
                });
            }
            ChainEvent::Left(departures) => {
                for departure in departures.iter().filter(|left| listed.knows(left.sequence)) {
                    if self.removed.len() == MAX_EVENT_TRANSACTIONS {
                        self.send(subscriber, *at).await?;
                    }
                    self.removed.push(MempoolRemoval {
                        txid: departure.transaction.txid().into(),
                        reason: departure.why.name().to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    async fn send(
        &mut self,
        subscriber: &mut Subscriber,
        at: Tip,
    ) -> Result<(), SubscriptionError> {
        if self.added.is_empty() && self.removed.is_empty() {
            return Ok(());
        }
        let Self { added, removed } = core::mem::take(self);
        let cursor = subscriber.cursor(at.tip.0);
        let event = MempoolEvent { at, cursor, reset: false, listing: false, added, removed };
        subscriber.send(&event).await
    }
}
