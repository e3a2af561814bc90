//! All unspent coins, looked through.

use std::collections::BTreeMap;

use ashlar_ledger::view::Cursor;
use ashlar_primitives::Lock;

use super::{
    address::parse_all,
    backend::Backend,
    context::{Context, tip_of},
};
use crate::{
    error::RpcError,
    types::{Addresses, ScannedCoin, ScannedCoins},
};

/// Most coins looked at in one call: a second's work.
const MAX_SCANNED: usize = 1_000_000;
/// Coins read at a time.
const READ_COINS: usize = 10_000;
/// A page ends where it holds so many.
const MAX_FOUND: usize = 10_000;

pub(super) async fn coins<B: Backend>(
    context: &Context<B>,
    addresses: Addresses,
    cursor: Option<String>,
) -> Result<ScannedCoins, RpcError> {
    let mut after = cursor.as_deref().map(parse_cursor).transpose()?;
    context
        .read(move |view| {
            let named = parse_all(addresses, &view.params().address_prefix)?;
            let wanted: BTreeMap<Lock, String> =
                named.into_iter().map(|(address, lock)| (lock, address)).collect();
            let (mut txouts, mut total_amount, mut unspents) = (0, 0_u64, Vec::new());
            loop {
                let page = view.all_coins(after.as_ref(), READ_COINS)?;
                txouts += page.items.len();
                for located in page.items {
                    let output = located.coin.output;
                    let Some(address) = wanted.get(&output.lock) else { continue };
                    total_amount = total_amount.saturating_add(output.value.grains());
                    unspents.push(ScannedCoin {
                        address: address.clone(),
                        txid: located.outpoint.txid.into(),
                        vout: located.outpoint.index,
                        value: output.value.grains(),
                        height: located.coin.height,
                        coinbase: located.coin.is_coinbase,
                    });
                }
                after = page.next;
                if after.is_none() || txouts >= MAX_SCANNED || unspents.len() >= MAX_FOUND {
                    let next = after.map(|Cursor(key)| hex::encode(key));
                    let txouts = txouts as u64;
                    return Ok(ScannedCoins {
                        at: tip_of(view),
                        txouts,
                        unspents,
                        total_amount,
                        next,
                    });
                }
            }
        })
        .await
}

fn parse_cursor(text: &str) -> Result<Cursor, RpcError> {
    hex::decode(text).map(Cursor).map_err(|_| RpcError::InvalidParameter {
        name: "cursor",
        reason: "give the next of the page before, unchanged".to_owned(),
    })
}
