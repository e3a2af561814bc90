//! What others are told: addresses. What lies there: balance, history, status.

use std::collections::BTreeMap;

use ashlar_primitives::Amount;
use serde_json::{Value, json};

use super::Context;
use crate::{amount::show, failure::Failure, keystore::RECEIVE};

pub(super) fn address(context: &Context<'_>, new: bool) -> Result<(), Failure> {
    let address = if new {
        let mut wallet = context.unlock()?;
        let address = wallet.next_address(RECEIVE)?;
        wallet.save()?;
        address
    } else {
        context.keystore()?.receive_address()?
    };
    let address = address.to_string();
    context.tell(&json!({ "address": address }), std::slice::from_ref(&address));
    Ok(())
}

pub(super) async fn balance(context: &Context<'_>) -> Result<(), Failure> {
    let keystore = context.keystore()?;
    let node = context.node()?;
    let info = node.check_chain(keystore.chain()).await?;
    let holdings = node.holdings(&keystore).await?;
    let spendable = holdings.spendable_total();
    let mut lines = vec![show(spendable)];
    if holdings.immature > Amount::ZERO {
        lines.push(format!("{} mined, not yet spendable", show(holdings.immature)));
    }
    if holdings.leaving > Amount::ZERO {
        lines.push(format!("{} in payments that wait for a block", show(holdings.leaving)));
    }
    if info.initialblockdownload {
        lines.push("The node is catching up: this is about the past.".to_owned());
    }
    context.tell(
        &json!({
            "confirmed": spendable.grains(),
            "immature": holdings.immature.grains(),
            "leaving": holdings.leaving.grains(),
            "coins": holdings.spendable.len(),
            "tip": info.at.tip.to_string(),
            "tip_height": info.at.tip_height,
            "catching_up": info.initialblockdownload,
        }),
        &lines,
    );
    Ok(())
}

/// What one transaction did to the whole wallet.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    height: u32,
    time: u32,
    position: u32,
    confirmations: u32,
    received: u64,
    spent: u64,
    coinbase: bool,
}

pub(super) async fn history(context: &Context<'_>) -> Result<(), Failure> {
    let keystore = context.keystore()?;
    let node = context.node()?;
    node.check_chain(keystore.chain()).await?;
    let mut by_txid: BTreeMap<String, Line> = BTreeMap::new();
    for entry in node.history(&keystore.addresses()?).await? {
        let line = by_txid.entry(entry.txid.to_string()).or_default();
        line.height = entry.height;
        line.time = entry.blocktime;
        line.position = entry.position;
        line.confirmations = entry.confirmations;
        line.received = line.received.saturating_add(entry.received);
        line.spent = line.spent.saturating_add(entry.spent);
        line.coinbase = entry.coinbase;
    }
    let mut lines: Vec<(String, Line)> = by_txid.into_iter().collect();
    lines.sort_by_key(|(_, line)| std::cmp::Reverse((line.height, line.position)));
    let json: Vec<Value> = lines
        .iter()
        .map(|(txid, line)| {
            json!({
                "txid": txid,
                "height": line.height,
                "time": line.time,
                "confirmations": line.confirmations,
                "received": line.received,
                "spent": line.spent,
                "coinbase": line.coinbase,
            })
        })
        .collect();
    let text: Vec<String> = if lines.is_empty() {
        vec!["Nothing happened yet.".to_owned()]
    } else {
        lines.iter().map(|(txid, line)| show_line(txid, line)).collect()
    };
    context.tell(&json!(json), &text);
    Ok(())
}

fn show_line(txid: &str, line: &Line) -> String {
    let (sign, net) = match line.received.checked_sub(line.spent) {
        Some(net) => ('+', net),
        None => ('-', line.spent.saturating_sub(line.received)),
    };
    let amount = format!("{sign}{}", show(Amount::from_grains(net)));
    let what = match (line.coinbase, line.height) {
        (true, 0) => "genesis",
        (true, _) => "mined",
        (false, _) => "",
    };
    format!("{:>8}  {amount:>24}  {what:<7}  {txid}", line.height)
}

pub(super) async fn status(context: &Context<'_>) -> Result<(), Failure> {
    let keystore = context.keystore()?;
    let chain = keystore.chain();
    let mut lines = vec![
        format!("wallet     {}", keystore.path().display()),
        format!("chain      {} ({})", chain.name, chain.id),
        format!("addresses  {}", keystore.keys().len()),
    ];
    let mut value = json!({
        "wallet": keystore.path(),
        "chain": chain.name,
        "chain_id": chain.id,
        "addresses": keystore.keys().len(),
        "node": Value::Null,
    });
    if context.has_node() {
        let node = context.node()?;
        let info = node.check_chain(chain).await?;
        let state = if info.initialblockdownload { "catching up" } else { "caught up" };
        lines.push(format!("node       {}, height {}, {state}", node.address(), info.blocks));
        value["node"] = json!({
            "rpc": node.address(),
            "height": info.blocks,
            "tip": info.bestblockhash.to_string(),
            "catching_up": info.initialblockdownload,
        });
    }
    context.tell(&value, &lines);
    Ok(())
}
