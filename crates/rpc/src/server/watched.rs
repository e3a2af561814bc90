//! What waiting transactions do to addresses: no index knows, so all that wait are looked through.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_engine::{Call, call::AnswerBody};
use ashlar_ledger::View;
use ashlar_primitives::{BlockId, Lock, OutPoint, Output, Txid};

use super::{
    address::{Named, parse_all},
    backend::Backend,
    context::{Context, MAX_TIP_RETRIES, tip_of, unexpected},
};
use crate::{
    error::RpcError,
    types::{AddressMempool, AddressMovement, Addresses},
};

/// Waiting transactions that are looked through at once.
const PAGE: usize = 1_000;
/// Most movements in one answer.
const MAX_MOVEMENTS: usize = 10_000;

/// Addresses that somebody asks about.
pub(super) struct Watched {
    pub(super) named: Vec<Named>,
    places: BTreeMap<Lock, usize>,
}

impl Watched {
    pub(super) fn new(addresses: Addresses, view: &View) -> Result<Self, RpcError> {
        if !view.lock_index() {
            return Err(RpcError::IndexOff { index: "address" });
        }
        let named = parse_all(addresses, &view.params().address_prefix)?;
        let places = named.iter().enumerate().map(|(place, (_, lock))| (*lock, place)).collect();
        Ok(Self { named, places })
    }

    pub(super) fn movement(
        &self,
        place: usize,
        txid: Txid,
        received: u64,
        spent: u64,
    ) -> AddressMovement {
        let address = self.named.get(place).map(|(address, _)| address.clone());
        AddressMovement { address: address.unwrap_or_default(), txid: txid.into(), received, spent }
    }

    /// What a transaction does to them, in the order in which they were named.
    pub(super) fn movements<'a>(
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
}

/// A search through all that waits.
#[derive(Default)]
pub(super) struct Search {
    after: Option<u64>,
    /// Outputs to the addresses that wait themselves: a later one may spend them.
    made: BTreeMap<OutPoint, Output>,
    is_done: bool,
}

/// What one part of the search found.
pub(super) struct Found {
    /// The tip that it waits on.
    pub(super) tip: BlockId,
    /// Of all transactions that were looked at.
    pub(super) sequences: Vec<u64>,
    pub(super) movements: Vec<AddressMovement>,
}

impl Search {
    /// The next part, in order of entry; `None` after the last.
    pub(super) async fn next<B: Backend>(
        &mut self,
        context: &Context<B>,
        watched: &Arc<Watched>,
    ) -> Result<Option<Found>, RpcError> {
        if self.is_done {
            return Ok(None);
        }
        let answer = context.call(Call::MempoolPage { after: self.after, limit: PAGE }).await?;
        let tip = answer.tip;
        let AnswerBody::MempoolPage(page) = answer.body else {
            return Err(unexpected(&answer.body));
        };
        self.after = page.last().map(|entry| entry.sequence);
        self.is_done = page.len() < PAGE;
        let sequences = page.iter().map(|entry| entry.sequence).collect();
        for entry in &page {
            for (outpoint, coin) in entry.transaction.coins(0) {
                if watched.places.contains_key(&coin.output.lock) {
                    self.made.insert(outpoint, coin.output);
                }
            }
        }
        let (outputs, watched) = (core::mem::take(&mut self.made), Arc::clone(watched));
        let found = context.read(move |view| {
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
                told.extend(watched.movements(entry.transaction.txid(), made, &spent));
            }
            Ok((told, outputs))
        });
        let (movements, outputs) = found.await?;
        self.made = outputs;
        Ok(Some(Found { tip, sequences, movements }))
    }
}

/// `getaddressmempool`: one search whose parts all wait on one tip.
pub(super) async fn mempool<B: Backend>(
    context: &Context<B>,
    addresses: Addresses,
) -> Result<AddressMempool, RpcError> {
    let watched = Arc::new(context.read(move |view| Watched::new(addresses, view)).await?);
    'searches: for _ in 0..MAX_TIP_RETRIES {
        let view = context.view();
        let mut search = Search::default();
        let mut waiting = Vec::new();
        while let Some(found) = search.next(context, &watched).await? {
            if found.tip != view.tip().id {
                continue 'searches;
            }
            waiting.extend(found.movements);
            if waiting.len() > MAX_MOVEMENTS {
                return Err(RpcError::TooMany { what: "movements", max: MAX_MOVEMENTS });
            }
        }
        // Coins were looked up in the newest view each time: one view, if it is still this one.
        if context.view().tip().id == view.tip().id {
            return Ok(AddressMempool { at: tip_of(&view), waiting });
        }
    }
    Err(RpcError::Overloaded)
}
