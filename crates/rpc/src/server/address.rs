//! What belongs to addresses, by the ledger's lock index.

use std::collections::BTreeSet;

use ashlar_engine::{Call, call::AnswerBody};
use ashlar_ledger::{
    View,
    view::{Cursor, HistoryEntry, LocatedCoin, Page, QueryError},
};
use ashlar_primitives::{Address, Lock, OutPoint};

use super::{
    backend::Backend,
    context::{
        Context, MAX_TIP_RETRIES, confirmations, page_limit, parse_address, tip_of, unexpected,
    },
};
use crate::{
    error::RpcError,
    types::{
        AddressBalance, AddressHistory, AddressHistoryEntry, AddressUtxo, AddressUtxos, Addresses,
        ValidatedAddress,
    },
};

/// Longest page.
const MAX_PAGE: usize = 1_000;
/// Most coins that one balance is summed over.
const MAX_BALANCE_COINS: usize = 200_000;

/// An address as given, and what it stands for.
pub(super) type Named = (String, Lock);

/// Reads all addresses; none twice, since pages and sums would count it twice.
pub(super) fn parse_all(addresses: Addresses, prefix: &str) -> Result<Vec<Named>, RpcError> {
    let addresses = addresses.into_vec();
    if addresses.len() > Addresses::MAX {
        return Err(RpcError::TooMany { what: "addresses", max: Addresses::MAX });
    }
    let mut seen = BTreeSet::new();
    addresses
        .into_iter()
        .map(|address| {
            let lock = parse_address(&address, prefix)?;
            if seen.insert(lock) {
                Ok((address, lock))
            } else {
                Err(RpcError::InvalidParameter {
                    name: "addresses",
                    reason: format!("{address} stands twice"),
                })
            }
        })
        .collect()
}

/// Where a page over several addresses goes on: within which of them, and where in it.
/// Written as `INDEX` or `INDEX-HEX`; of no meaning to callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ListCursor {
    address: usize,
    after: Option<Cursor>,
}

impl ListCursor {
    fn parse(text: &str) -> Result<Self, RpcError> {
        let (index, after) = match text.split_once('-') {
            Some((index, after)) => (index, Some(after)),
            None => (text, None),
        };
        let address = index.parse().ok();
        let after = after.map(|after| hex::decode(after).map(Cursor)).transpose().ok();
        match (address, after) {
            (Some(address), Some(after)) => Ok(Self { address, after }),
            _ => Err(RpcError::InvalidParameter {
                name: "cursor",
                reason: "give the next of the page before, unchanged".to_owned(),
            }),
        }
    }

    fn text(&self) -> String {
        match &self.after {
            Some(after) => format!("{}-{}", self.address, hex::encode(&after.0)),
            None => self.address.to_string(),
        }
    }
}

/// Fills one page from the lists of several addresses, one after the other.
fn fill_page<T>(
    named: &[Named],
    start: ListCursor,
    limit: usize,
    list: impl Fn(&Lock, Option<&Cursor>, usize) -> Result<Page<T>, QueryError>,
    mut take: impl FnMut(&str, T) -> Result<(), RpcError>,
) -> Result<Option<String>, RpcError> {
    let mut room = limit;
    let mut after = start.after;
    for (index, (address, lock)) in named.iter().enumerate().skip(start.address) {
        while room > 0 {
            let page = list(lock, after.as_ref(), room)?;
            room = room.saturating_sub(page.items.len());
            for item in page.items {
                take(address, item)?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let here = after.is_some().then(|| ListCursor { address: index, after: after.take() });
        let next = here.or_else(|| {
            let following = index.saturating_add(1);
            (room == 0 && following < named.len())
                .then_some(ListCursor { address: following, after: None })
        });
        if next.is_some() {
            return Ok(next.map(|next| next.text()));
        }
    }
    Ok(None)
}

pub(super) async fn balance<B: Backend>(
    context: &Context<B>,
    addresses: Addresses,
) -> Result<AddressBalance, RpcError> {
    context
        .read(move |view| {
            let named = parse_all(addresses, &view.params().address_prefix)?;
            let mut sum = AddressBalance { at: tip_of(view), balance: 0, immature: 0, coins: 0 };
            // The sum can't overflow: it is a part of the supply.
            let rest = fill_page(
                &named,
                ListCursor::default(),
                MAX_BALANCE_COINS,
                |lock, after, limit| view.lock_coins(lock, after, limit.min(MAX_PAGE)),
                |_, coin| {
                    let value = coin.coin.output.value.grains();
                    sum.balance = sum.balance.saturating_add(value);
                    sum.coins = sum.coins.saturating_add(1);
                    if matures_at(view, &coin) > next_height(view) {
                        sum.immature = sum.immature.saturating_add(value);
                    }
                    Ok(())
                },
            )?;
            match rest {
                None => Ok(sum),
                Some(_) => Err(RpcError::TooMany { what: "coins", max: MAX_BALANCE_COINS }),
            }
        })
        .await
}

/// The first height at which a block may spend a coin (PROTOCOL.md §3).
fn matures_at(view: &View, coin: &LocatedCoin) -> u32 {
    let maturity = if coin.coin.is_coinbase { view.params().coinbase_maturity } else { 1 };
    // A coin of the genesis allocations has height 0 and is mature at once, which is height 1.
    coin.coin.height.saturating_add(maturity)
}

fn next_height(view: &View) -> u32 {
    view.tip().height.saturating_add(1)
}

pub(super) async fn utxos<B: Backend>(
    context: &Context<B>,
    addresses: Addresses,
    cursor: Option<String>,
    limit: Option<usize>,
) -> Result<AddressUtxos, RpcError> {
    let limit = page_limit(limit, MAX_PAGE)?;
    let start = cursor.as_deref().map(ListCursor::parse).transpose()?.unwrap_or_default();
    for _ in 0..MAX_TIP_RETRIES {
        let (addresses, start) = (addresses.clone(), start.clone());
        let mut page =
            context.read(move |view| confirmed_page(view, addresses, start, limit)).await?;
        let outpoints = page.utxos.iter().map(outpoint).collect();
        let answer = context.call(Call::MempoolSpenders(outpoints)).await?;
        let AnswerBody::MempoolSpenders(spenders) = answer.body else {
            return Err(unexpected(&answer.body));
        };
        // Of another tip, the mempool would no longer know spenders that were just confirmed.
        if answer.tip == page.at.tip.0 {
            for (utxo, spender) in page.utxos.iter_mut().zip(spenders) {
                utxo.spent_by = spender.map(Into::into);
            }
            return Ok(page);
        }
    }
    Err(RpcError::Overloaded)
}

fn outpoint(utxo: &AddressUtxo) -> OutPoint {
    OutPoint { txid: utxo.txid.0, index: utxo.vout }
}

fn confirmed_page(
    view: &View,
    addresses: Addresses,
    start: ListCursor,
    limit: usize,
) -> Result<AddressUtxos, RpcError> {
    let named = parse_all(addresses, &view.params().address_prefix)?;
    let mut utxos = Vec::new();
    let next = fill_page(
        &named,
        start,
        limit,
        |lock, after, limit| view.lock_coins(lock, after, limit),
        |address, coin| {
            utxos.push(utxo(view, address, &coin));
            Ok(())
        },
    )?;
    Ok(AddressUtxos { at: tip_of(view), utxos, next })
}

fn utxo(view: &View, address: &str, coin: &LocatedCoin) -> AddressUtxo {
    let matures_at = matures_at(view, coin);
    AddressUtxo {
        address: address.to_owned(),
        txid: coin.outpoint.txid.into(),
        vout: coin.outpoint.index,
        value: coin.coin.output.value.grains(),
        height: coin.coin.height,
        confirmations: confirmations(view.tip().height, coin.coin.height),
        coinbase: coin.coin.is_coinbase,
        matures_at,
        mature: matures_at <= next_height(view),
        spent_by: None,
    }
}

pub(super) async fn history<B: Backend>(
    context: &Context<B>,
    addresses: Addresses,
    cursor: Option<String>,
    limit: Option<usize>,
) -> Result<AddressHistory, RpcError> {
    let limit = page_limit(limit, MAX_PAGE)?;
    let start = cursor.as_deref().map(ListCursor::parse).transpose()?.unwrap_or_default();
    context
        .read(move |view| {
            let named = parse_all(addresses, &view.params().address_prefix)?;
            let mut entries = Vec::new();
            let next = fill_page(
                &named,
                start,
                limit,
                |lock, after, limit| view.lock_history(lock, after, limit),
                |address, entry| {
                    entries.push(history_entry(view, address, &entry)?);
                    Ok(())
                },
            )?;
            let history_start = view.history().start;
            Ok(AddressHistory { at: tip_of(view), history_start, entries, next })
        })
        .await
}

fn history_entry(
    view: &View,
    address: &str,
    entry: &HistoryEntry,
) -> Result<AddressHistoryEntry, RpcError> {
    let block = match view.block_id_at(entry.height)? {
        Some(id) => view.header(&id)?.map(|stored| (id, stored.header.time)),
        None => None,
    };
    let Some((blockhash, blocktime)) = block else {
        tracing::error!(height = entry.height, "the history names a height without a block");
        return Err(RpcError::Internal);
    };
    Ok(AddressHistoryEntry {
        address: address.to_owned(),
        txid: entry.txid.into(),
        received: entry.received.grains(),
        spent: entry.spent.grains(),
        coinbase: entry.is_coinbase,
        height: entry.height,
        position: entry.position,
        blockhash: blockhash.into(),
        blocktime,
        confirmations: confirmations(view.tip().height, entry.height),
    })
}

pub(super) fn validate<B: Backend>(context: &Context<B>, address: &str) -> ValidatedAddress {
    match Address::parse(address, &context.view().params().address_prefix) {
        Ok(address) => ValidatedAddress {
            isvalid: true,
            address: Some(address.to_string()),
            kind: Some(if address.lock.version == Lock::KEY { "key" } else { "policy" }.to_owned()),
            program: Some(hex::encode(address.lock.program)),
            error: None,
        },
        Err(error) => ValidatedAddress {
            isvalid: false,
            address: None,
            kind: None,
            program: None,
            error: Some(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three lists of 3, 0 and 4 items, which answer at most two at a time.
    fn lists(lock: &Lock, after: Option<&Cursor>, limit: usize) -> Page<u8> {
        let items: &[u8] = match lock.program[0] {
            0 => &[1, 2, 3],
            1 => &[],
            _ => &[4, 5, 6, 7],
        };
        let start = after.map_or(0, |cursor| usize::from(cursor.0[0]));
        let end = items.len().min(start + limit.min(2));
        let next = (end < items.len()).then(|| Cursor(vec![end as u8]));
        Page { items: items[start..end].to_vec(), next }
    }

    fn named() -> Vec<Named> {
        (0..3).map(|n| (format!("a{n}"), Lock { version: 0, program: [n; 32] })).collect()
    }

    #[test]
    fn pages_of_any_size_give_every_item_once_and_in_order() {
        for limit in 1..=8 {
            let (mut all, mut cursor, mut pages) = (Vec::new(), None, 0);
            loop {
                let start = cursor
                    .as_deref()
                    .map_or_else(ListCursor::default, |text| ListCursor::parse(text).unwrap());
                let mut page = Vec::new();
                cursor = fill_page(
                    &named(),
                    start,
                    limit,
                    |lock, after, limit| Ok(lists(lock, after, limit)),
                    |address, item| {
                        page.push((address.to_owned(), item));
                        Ok(())
                    },
                )
                .unwrap();
                assert!(page.len() <= limit);
                assert!(page.len() == limit || cursor.is_none(), "a short page is the last");
                all.extend(page);
                pages += 1;
                if cursor.is_none() {
                    break;
                }
            }
            let items: Vec<u8> = all.iter().map(|(_, item)| *item).collect();
            assert_eq!(items, [1, 2, 3, 4, 5, 6, 7], "limit {limit}, {pages} pages");
            assert_eq!(all[2].0, "a0");
            assert_eq!(all[3].0, "a2");
        }
    }

    #[test]
    fn a_cursor_that_was_not_given_out_is_refused() {
        for text in ["", "-", "x", "0-xyz", "0-abc", "-00"] {
            assert_eq!(ListCursor::parse(text).unwrap_err().code(), "invalid-parameter", "{text}");
        }
    }
}
