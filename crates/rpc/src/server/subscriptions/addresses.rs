//! What happens to addresses: steps of the tip with what they confirm, and what waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ashlar_engine::{Call, Departure, call::AnswerBody};
use ashlar_ledger::{View, view::HistoryEntry};
use ashlar_primitives::{BlockId, Lock, Output, Txid};
use jsonrpsee::core::{SubscriptionError, SubscriptionResult, server::PendingSubscriptionSink};

use super::{
    Subscriber, accept, failed,
    mempool::Listed,
    path::{Path, Step},
};
use crate::{
    error::RpcError,
    server::{
        address::{Named, parse_all},
        backend::{Backend, ChainEvent},
        context::{Context, unexpected},
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
/// Waiting transactions that are looked through at once.
const PAGE: usize = 1_000;

/// The addresses of one subscription.
struct Watched {
    named: Vec<Named>,
    places: BTreeMap<Lock, usize>,
}

impl Watched {
    fn new(addresses: Addresses, view: &View) -> Result<Self, RpcError> {
        if !view.lock_index() {
            return Err(RpcError::IndexOff { index: "address" });
        }
        let named = parse_all(addresses, &view.params().address_prefix)?;
        let places = named.iter().enumerate().map(|(place, (_, lock))| (*lock, place)).collect();
        Ok(Self { named, places })
    }

    fn movement(&self, place: usize, txid: Txid, received: u64, spent: u64) -> AddressMovement {
        let address = self.named.get(place).map(|(address, _)| address.clone());
        AddressMovement { address: address.unwrap_or_default(), txid: txid.into(), received, spent }
    }

    /// What a transaction does to them, in the order in which they were named.
    fn movements<'a>(
        &self,
        txid: Txid,
        made: impl IntoIterator<Item = &'a Output>,
        spent: impl IntoIterator<Item = &'a Output>,
    ) -> Vec<AddressMovement> {
        let mut sums: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        // No sum overflows: it is a part of the supply.
        for output in made {
            if let Some(place) = self.places.get(&output.lock) {
                sums.entry(*place).or_default().0 += output.value.grains();
            }
        }
        for output in spent {
            if let Some(place) = self.places.get(&output.lock) {
                sums.entry(*place).or_default().1 += output.value.grains();
            }
        }
        let told = sums
            .into_iter()
            .map(|(place, (received, spent))| self.movement(place, txid, received, spent));
        told.collect()
    }

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
        let mut after = None;
        let mut reset = true;
        // Outputs to the addresses that wait themselves: a later one may spend them.
        let mut made: BTreeMap<_, Output> = BTreeMap::new();
        loop {
            let call = Call::MempoolPage { after, limit: PAGE };
            let answer = self.context.call(call).await.map_err(failed)?;
            let AnswerBody::MempoolPage(page) = answer.body else {
                return Err(failed(unexpected(&answer.body)));
            };
            after = page.last().map(|entry| entry.sequence);
            let (more, watched) = (page.len() == PAGE, Arc::clone(&self.watched));
            for entry in &page {
                self.listed.add(entry.sequence);
                for (outpoint, coin) in entry.transaction.coins(0) {
                    if watched.places.contains_key(&coin.output.lock) {
                        made.insert(outpoint, coin.output);
                    }
                }
            }
            let outputs = core::mem::take(&mut made);
            let found = self.context.read(move |view| {
                let inputs = |place: usize| {
                    let entry = page.get(place);
                    entry.map_or(&[][..], |entry| &entry.transaction.transaction().inputs)
                };
                let all: Vec<_> =
                    (0..page.len()).flat_map(|place| inputs(place).iter().copied()).collect();
                let mut coins = view.coins(&all)?.into_iter();
                let mut told = Vec::new();
                for (place, entry) in page.iter().enumerate() {
                    let spent: Vec<Output> = inputs(place)
                        .iter()
                        .zip(coins.by_ref())
                        .filter_map(|(input, coin)| {
                            coin.map(|coin| coin.output).or_else(|| outputs.get(input).copied())
                        })
                        .collect();
                    let made = &entry.transaction.transaction().outputs;
                    told.push(watched.movements(entry.transaction.txid(), made, &spent));
                }
                Ok((told, outputs))
            });
            let (told, outputs) = found.await.map_err(failed)?;
            made = outputs;
            let waiting: Vec<AddressMovement> = told.into_iter().flatten().collect();
            self.waiting.extend(waiting.iter().map(|movement| movement.txid.0));
            if reset || !waiting.is_empty() {
                self.send_mempool(reset, waiting, Vec::new()).await?;
            }
            if !more {
                return Ok(());
            }
            reset = false;
        }
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
