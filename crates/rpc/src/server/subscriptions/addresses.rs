//! What happens to addresses: steps of the tip with what they confirm, and what waits.

use std::{collections::BTreeSet, sync::Arc};

use ashlar_engine::Departure;
use ashlar_ledger::{View, view::HistoryEntry};
use ashlar_primitives::{BlockId, Txid};
use jsonrpsee::core::{SubscriptionError, SubscriptionResult, server::PendingSubscriptionSink};

use super::{
    Subscriber, accept, failed,
    mempool::Listed,
    path::{Path, Step},
};
use crate::{
    error::RpcError,
    server::{
        backend::{Backend, ChainEvent},
        context::Context,
        watched::{Search, Watched},
    },
    types::{
        AddressConfirmation, AddressEvent, AddressMovement, Addresses, EventCursor, MempoolRemoval,
        Tip,
    },
};

/// Entries after which an event ends with the block that it is in.
const MAX_EVENT_ENTRIES: usize = 1_000;
/// Most entries that are told of the past.
const MAX_REPLAY_ENTRIES: usize = 100_000;

impl Watched {
    /// What the blocks above a height did to them, in the order of the chain.
    fn history(
        &self,
        view: &View,
        above: u32,
    ) -> Result<Vec<(u32, AddressConfirmation)>, RpcError> {
        let mut found: Vec<(HistoryEntry, usize)> = Vec::new();
        for (place, (_, lock)) in self.named.iter().enumerate() {
            let mut after = None;
            loop {
                let page = view.lock_history(lock, after.as_ref(), MAX_EVENT_ENTRIES)?;
                let entries = page.items.len();
                let newer = page.items.into_iter().take_while(|entry| entry.height > above);
                let before = found.len();
                found.extend(newer.map(|entry| (entry, place)));
                if found.len() > MAX_REPLAY_ENTRIES {
                    let max = MAX_REPLAY_ENTRIES;
                    return Err(RpcError::TooMany { what: "entries since then", max });
                }
                after = page.next;
                if after.is_none() || found.len() - before < entries {
                    break;
                }
            }
        }
        found.sort_by_key(|(entry, place)| (entry.height, entry.position, *place));
        let mut told = Vec::with_capacity(found.len());
        let mut block: Option<(u32, BlockId)> = None;
        for (entry, place) in found {
            let id = match block {
                Some((height, id)) if height == entry.height => id,
                _ => view.block_id_at(entry.height)?.ok_or(RpcError::Internal)?,
            };
            block = Some((entry.height, id));
            let (received, spent) = (entry.received.grains(), entry.spent.grains());
            let movement = self.movement(place, entry.txid, received, spent);
            let confirmation =
                AddressConfirmation { movement, block: id.into(), height: entry.height };
            told.push((entry.height, confirmation));
        }
        Ok(told)
    }

    /// The way from a block to the tip of a view, with what it confirms.
    fn way(&self, view: &View, from: &BlockId) -> Result<Vec<Piece>, RpcError> {
        let mut path = Path::new(view, from)?;
        let fork = path.fork_height();
        let history_start = view.history().start;
        if fork.saturating_add(1) < history_start && fork < view.tip().height {
            return Err(RpcError::Pruned { id: from.to_string(), history_start });
        }
        let mut confirmed = self.history(view, fork)?.into_iter().peekable();
        let mut pieces = Vec::new();
        while let Some(Step { at, mut disconnected, .. }) = path.next(view)? {
            let mut piece: Vec<AddressConfirmation> = Vec::new();
            while let Some((height, one)) =
                confirmed.next_if(|(height, _)| *height <= at.tip_height)
            {
                let is_last = confirmed.peek().is_none_or(|(next, _)| *next > height);
                let block = Tip { tip: one.block, tip_height: height };
                piece.push(one);
                if is_last && piece.len() >= MAX_EVENT_ENTRIES && height < at.tip_height {
                    let (at, confirmed) = (block, core::mem::take(&mut piece));
                    let disconnected = core::mem::take(&mut disconnected);
                    pieces.push(Piece { at, disconnected, confirmed });
                }
            }
            pieces.push(Piece { at, disconnected, confirmed: piece });
        }
        Ok(pieces)
    }
}

/// A step of the tip, with what it confirms.
struct Piece {
    at: Tip,
    disconnected: Vec<crate::types::Text<BlockId>>,
    confirmed: Vec<AddressConfirmation>,
}

/// One subscription.
struct Stream<'a, B> {
    context: &'a Context<B>,
    subscriber: Subscriber,
    watched: Arc<Watched>,
    at: Tip,
    /// Of the view that `at` is of.
    known: u64,
    /// What was told as waiting.
    waiting: BTreeSet<Txid>,
    listed: Listed,
}

pub(super) async fn serve<B: Backend>(
    context: &Context<B>,
    pending: PendingSubscriptionSink,
    addresses: Addresses,
    since: Option<EventCursor>,
) -> SubscriptionResult {
    let mut events = context.backend.events();
    let view = context.view();
    let known = view.sequence();
    let from = since.map_or(view.tip().id, |since| since.block.0);
    let prepared = context
        .read_at(view, move |view| {
            let watched = Watched::new(addresses, view)?;
            let way = watched.way(view, &from)?;
            Ok((watched, way))
        })
        .await;
    let (ready, prepared) = match prepared {
        Ok(prepared) => (Ok(()), Some(prepared)),
        Err(error) => (Err(error), None),
    };
    let subscriber = accept(context, pending, ready).await?;
    let Some((watched, way)) = prepared else { return Ok(()) };
    let mut stream = Stream {
        context,
        subscriber,
        watched: Arc::new(watched),
        at: Tip { tip: from.into(), tip_height: 0 },
        known,
        waiting: BTreeSet::new(),
        listed: Listed::new(),
    };
    stream.tell_way(way).await?;
    stream.list().await?;
    stream.listed.done(&events);
    while let Some(event) = stream.subscriber.next(&mut events).await? {
        stream.take(event).await?;
        stream.listed.note_event();
    }
    Ok(())
}

impl<B: Backend> Stream<'_, B> {
    async fn take(&mut self, event: ChainEvent) -> Result<(), SubscriptionError> {
        match event {
            ChainEvent::Tip { sequence, .. } if sequence > self.known => self.step().await,
            ChainEvent::Tip { .. } => Ok(()),
            ChainEvent::Transaction { transaction, spent, sequence, .. } => {
                if !self.listed.is_new(sequence) {
                    return Ok(());
                }
                let made = &transaction.transaction().outputs;
                let spent = spent.iter().map(|coin| &coin.output);
                let waiting = self.watched.movements(transaction.txid(), made, spent);
                if waiting.is_empty() {
                    return Ok(());
                }
                self.waiting.insert(transaction.txid());
                self.send_mempool(false, waiting, Vec::new()).await
            }
            ChainEvent::Left(departures) => self.leave(&departures).await,
        }
    }

    /// The published tip moved: on to that of the newest view, whose index it is.
    async fn step(&mut self) -> Result<(), SubscriptionError> {
        let view = self.context.view();
        let (known, from, watched) = (view.sequence(), self.at.tip.0, Arc::clone(&self.watched));
        let way = self.context.read_at(view, move |view| watched.way(view, &from)).await;
        self.tell_way(way.map_err(failed)?).await?;
        self.known = known;
        Ok(())
    }

    async fn tell_way(&mut self, way: Vec<Piece>) -> Result<(), SubscriptionError> {
        for Piece { at, disconnected, confirmed } in way {
            self.at = at;
            let event = AddressEvent {
                at,
                cursor: self.subscriber.cursor(at.tip.0),
                disconnected,
                confirmed,
                reset: false,
                waiting: Vec::new(),
                left: Vec::new(),
            };
            self.subscriber.send(&event).await?;
        }
        Ok(())
    }

    /// What waits and is about the addresses, looked for page by page.
    async fn list(&mut self) -> Result<(), SubscriptionError> {
        let mut search = Search::default();
        let mut reset = true;
        while let Some(page) = search.next(self.context, &self.watched).await.map_err(failed)? {
            for sequence in page.sequences {
                self.listed.add(sequence);
            }
            self.waiting.extend(page.movements.iter().map(|movement| movement.txid.0));
            if reset || !page.movements.is_empty() {
                self.send_mempool(reset, page.movements, Vec::new()).await?;
            }
            reset = false;
        }
        Ok(())
    }

    async fn leave(&mut self, departures: &[Departure]) -> Result<(), SubscriptionError> {
        let mut left = Vec::new();
        for departure in departures.iter().filter(|left| self.listed.knows(left.sequence)) {
            let txid = departure.transaction.txid();
            if self.waiting.remove(&txid) {
                let reason = departure.why.name().to_owned();
                left.push(MempoolRemoval { txid: txid.into(), reason });
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        self.send_mempool(false, Vec::new(), left).await
    }

    async fn send_mempool(
        &mut self,
        reset: bool,
        waiting: Vec<AddressMovement>,
        left: Vec<MempoolRemoval>,
    ) -> Result<(), SubscriptionError> {
        let event = AddressEvent {
            at: self.at,
            cursor: self.subscriber.cursor(self.at.tip.0),
            disconnected: Vec::new(),
            confirmed: Vec::new(),
            reset,
            waiting,
            left,
        };
        self.subscriber.send(&event).await
    }
}
