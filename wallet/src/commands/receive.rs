//! What others are told: addresses. What lies there: balance, coins, status.

use ashlar_primitives::{Address, Amount, OutPoint};
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use serde_json::{Value, json};

use super::Context;
use crate::{
    amount::show,
    cli::AddressArguments,
    failure::Failure,
    journal::{self, Journal},
    keystore::{CHANGE, RECEIVE},
    node::HeldCoin,
    uri::Request,
};

pub(super) fn address(context: &Context<'_>, wanted: &AddressArguments) -> Result<(), Failure> {
    let address = if wanted.new {
        let _lock = context.lock()?;
        let mut wallet = context.unlock()?;
        let address = wallet.next_address(RECEIVE)?;
        wallet.save()?;
        address
    } else {
        context.keystore()?.receive_address()?
    };
    if let Some(label) = &wanted.label {
        let mut journal = context.lock()?;
        journal.set_label(&address.to_string(), label)?;
        journal.save()?;
    }
    let text = address.to_string();
    let request = Request {
        address,
        amount: wanted.amount,
        label: wanted.label.clone(),
        message: wanted.message.clone(),
    };
    let shown = if wanted.uri { request.to_string() } else { text.clone() };
    let mut lines = vec![shown.clone()];
    if wanted.qr {
        // Upper case takes a third less room in a QR code, and is the same address.
        let content = if wanted.uri { shown } else { text.to_uppercase() };
        lines.push(qr(&content)?);
    }
    context.tell(&json!({ "address": text, "uri": request.to_string() }), &lines);
    Ok(())
}

/// Dark on light also where the terminal is light on dark: scanners want it so.
fn qr(content: &str) -> Result<String, Failure> {
    let code = QrCode::with_error_correction_level(content, EcLevel::M)
        .map_err(|_| Failure::TooMuchForQr)?;
    let (dark, light) = (Dense1x2::Light, Dense1x2::Dark);
    Ok(code.render::<Dense1x2>().dark_color(dark).light_color(light).build())
}

pub(super) fn addresses(context: &Context<'_>) -> Result<(), Failure> {
    let keystore = context.keystore()?;
    let journal = Journal::read(&context.wallet)?;
    let mut rows = Vec::new();
    for address in keystore.addresses()? {
        let (kind, index) = match keystore.key_of(&address.lock) {
            Some(key) if key.change == CHANGE => ("change", Some(key.index)),
            Some(key) => ("receive", Some(key.index)),
            None => ("watched", None),
        };
        let address = address.to_string();
        let label = journal.labels().get(&address).cloned().unwrap_or_default();
        rows.push((address, kind, index, label));
    }
    let json: Vec<Value> = rows
        .iter()
        .map(|(address, kind, index, label)| {
            json!({ "address": address, "kind": kind, "index": index, "label": label })
        })
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|(address, kind, _, label)| {
            format!("{kind:<8} {address}  {label}").trim_end().to_owned()
        })
        .collect();
    context.tell(&json!(json), &lines);
    Ok(())
}

pub(super) fn label(context: &Context<'_>, address: &str, label: &str) -> Result<(), Failure> {
    let prefix = context.keystore()?.chain().address_prefix.clone();
    let address = Address::parse(address, &prefix)?.to_string();
    let mut journal = context.lock()?;
    journal.set_label(&address, label)?;
    journal.save()?;
    let line = match label {
        "" => format!("{address} has no name now."),
        _ => format!("{address} is {label}."),
    };
    context.tell(&json!({ "address": address, "label": label }), &[line]);
    Ok(())
}

pub(super) async fn balance(context: &Context<'_>) -> Result<(), Failure> {
    let keystore = context.keystore()?;
    let node = context.node()?;
    let info = node.check_chain(keystore.chain()).await?;
    let holdings = node.holdings(&keystore).await?;
    let journal = Journal::read(&context.wallet)?;
    let frozen =
        |coin: &HeldCoin| journal.frozen().contains(&journal::show_outpoint(&coin.outpoint));
    // Coins of a payment that was signed and did not reach the node are promised all the same.
    let promised = journal.reserved();
    let leaves = |coin: &HeldCoin| {
        coin.spent_by.is_some() || (promised.contains(&coin.outpoint) && !frozen(coin))
    };
    let spendable = holdings.sum(|coin| coin.mature && !leaves(coin) && !frozen(coin));
    let immature = holdings.sum(|coin| !coin.mature);
    let leaving = holdings.sum(|coin| coin.mature && leaves(coin));
    let kept = holdings.sum(|coin| coin.mature && !leaves(coin) && frozen(coin));
    let coins = holdings.coins.iter().filter(|coin| coin.mature && !leaves(coin) && !frozen(coin));
    // Of others' payments: what one's own bring back is `leaving`, and comes back.
    let waiting = node.waiting(&keystore.addresses()?).await?;
    let foreign = waiting.iter().filter(|one| journal.payment(&one.txid.to_string()).is_none());
    let incoming = foreign.map(|one| Amount::from_grains(one.received.saturating_sub(one.spent)));
    let incoming = Amount::checked_sum(incoming).unwrap_or(Amount::MAX_MONEY);
    let mut lines = vec![show(spendable)];
    for (amount, what) in [
        (incoming, "on its way here, in no block yet"),
        (immature, "mined, not yet spendable"),
        (
            leaving,
            "in payments that wait for a block, or for signatures (what is change of it comes back)",
        ),
        (kept, "frozen"),
    ] {
        if amount > Amount::ZERO {
            lines.push(format!("{} {what}", show(amount)));
        }
    }
    if keystore.is_watch_only() {
        lines.push("This wallet only watches: it can't spend any of it.".to_owned());
    }
    if info.initialblockdownload {
        lines.push("The node is catching up: this is about the past.".to_owned());
    }
    context.tell(
        &json!({
            "confirmed": spendable.grains(),
            "incoming": incoming.grains(),
            "immature": immature.grains(),
            "leaving": leaving.grains(),
            "frozen": kept.grains(),
            "coins": coins.count(),
            "watch_only": keystore.is_watch_only(),
            "tip": info.at.tip.to_string(),
            "tip_height": info.at.tip_height,
            "catching_up": info.initialblockdownload,
        }),
        &lines,
    );
    Ok(())
}

pub(super) async fn coins(context: &Context<'_>) -> Result<(), Failure> {
    let keystore = context.keystore()?;
    let node = context.node()?;
    node.check_chain(keystore.chain()).await?;
    let journal = Journal::read(&context.wallet)?;
    let (reserved, promised) = (journal.reserved(), journal.promised());
    let mut coins = node.holdings(&keystore).await?.coins;
    coins.sort_by_key(|coin| (std::cmp::Reverse(coin.output.value), coin.outpoint));
    let state = |coin: &HeldCoin| {
        let frozen = journal.frozen().contains(&journal::show_outpoint(&coin.outpoint));
        match (frozen, coin.mature, coin.spent_by.is_some() || reserved.contains(&coin.outpoint)) {
            (true, ..) => "frozen",
            (false, false, _) => "immature",
            (false, true, true) if promised.contains(&coin.outpoint) => "promised",
            (false, true, true) => "leaving",
            (false, true, false) => "free",
        }
    };
    let json: Vec<Value> = coins
        .iter()
        .map(|coin| {
            json!({
                "coin": journal::show_outpoint(&coin.outpoint),
                "value": coin.output.value.grains(),
                "address": coin.address,
                "confirmations": coin.confirmations,
                "state": state(coin),
            })
        })
        .collect();
    let mut lines: Vec<String> = coins
        .iter()
        .map(|coin| {
            let value = show(coin.output.value);
            format!("{value:>24}  {:<8}  {}", state(coin), journal::show_outpoint(&coin.outpoint))
        })
        .collect();
    if lines.is_empty() {
        lines.push("No coins yet.".to_owned());
    }
    context.tell(&json!(json), &lines);
    Ok(())
}

pub(super) fn freeze(context: &Context<'_>, coin: &str, frozen: bool) -> Result<(), Failure> {
    let outpoint: OutPoint =
        journal::parse_outpoint(coin).ok_or_else(|| Failure::NoCoin { text: coin.to_owned() })?;
    let news = context.lock()?.freeze(&outpoint, frozen)?;
    let coin = journal::show_outpoint(&outpoint);
    let state = if frozen { "frozen" } else { "free" };
    let before = if news { "" } else { " as before" };
    context.tell(
        &json!({ "coin": coin, "frozen": frozen, "changed": news }),
        &[format!("{coin} is {state}{before}.")],
    );
    Ok(())
}

pub(super) async fn status(context: &Context<'_>) -> Result<(), Failure> {
    let keystore = context.keystore()?;
    let chain = keystore.chain();
    let journal = Journal::read(&context.wallet)?;
    let addresses = keystore.addresses()?.len();
    let mut lines = vec![
        format!("wallet     {}", keystore.path().display()),
        format!("chain      {} ({})", chain.name, chain.id),
        format!("addresses  {addresses}"),
        format!("payments   {}", journal.payments().len()),
    ];
    if keystore.is_watch_only() {
        lines.push("keys       none: it only watches".to_owned());
    }
    let mut value = json!({
        "wallet": keystore.path(),
        "chain": chain.name,
        "chain_id": chain.id,
        "addresses": addresses,
        "payments": journal.payments().len(),
        "watch_only": keystore.is_watch_only(),
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
        if let Some(tip) = node.proven_tip().await? {
            let time = crate::date::show(tip.clock.into());
            lines.push(format!("proven     height {}, the last block of {time}", tip.height));
            value["proven"] = json!({ "height": tip.height, "tip": tip.id.to_string() });
        }
    }
    context.tell(&value, &lines);
    Ok(())
}
