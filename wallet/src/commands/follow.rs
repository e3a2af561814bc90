//! What became of payments: list, show, wait, rebroadcast, history.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ashlar_primitives::Amount;
use serde_json::{Value, json};

use super::Context;
use crate::{
    amount::show,
    date,
    failure::Failure,
    journal::{Journal, Payment, Purpose},
    node::{Node, NodeError},
    track::{self, Fate, Fates},
};

/// How often a node is asked while one waits.
const WAIT_POLL: Duration = Duration::from_secs(1);

/// The journal and where its payments stand. Takes the lock only to note what is settled.
async fn look(context: &Context<'_>, node: &Node) -> Result<(Journal, Fates), Failure> {
    let mut journal = context.lock()?;
    let fates = track::fates(node, &journal).await?;
    track::note(&mut journal, &fates)?;
    Ok((journal, fates))
}

async fn checked_node(context: &Context<'_>) -> Result<Node, Failure> {
    let node = context.node()?;
    node.check_chain(context.keystore()?.chain()).await?;
    Ok(node)
}

const fn purpose(payment: &Payment) -> &'static str {
    match payment.purpose {
        Purpose::Payment => "payment",
        Purpose::Bump => "bump",
        Purpose::Cancel => "cancel",
        Purpose::Shared => "shared",
    }
}

fn payment_json(payment: &Payment, fate: Option<&Fate>) -> Value {
    let fate = fate.unwrap_or(&Fate::Unknown);
    let mut value = json!({
        "txid": payment.txid,
        "status": fate.word(),
        "confirmations": Value::Null,
        "purpose": purpose(payment),
        "time": payment.time,
        "amount": payment.amount(),
        "recipients": payment.recipients,
        "fee": payment.fee,
        "size_bytes": payment.size_bytes,
        "spends": payment.spends,
        "change": payment.change,
        "replaces": payment.replaces,
        "id": payment.id,
        "memo": payment.memo,
        "note": payment.note,
    });
    match fate {
        Fate::Confirmed { confirmations, height, blockhash, time } => {
            value["confirmations"] = json!(confirmations);
            value["height"] = json!(height);
            value["blockhash"] = json!(blockhash);
            value["blocktime"] = json!(time);
        }
        Fate::Waiting | Fate::Missing => value["confirmations"] = json!(0),
        Fate::Replaced { by } => value["replaced_by"] = json!(by),
        Fate::Conflicted { by: Some(by) } => value["conflicts_with"] = json!(by),
        Fate::Settled | Fate::Refused | Fate::Conflicted { by: None } | Fate::Unknown => {}
    }
    value
}

/// A name for an address where there is one.
fn named(journal: &Journal, address: &str) -> String {
    match journal.labels().get(address) {
        Some(label) => format!("{label} ({address})"),
        None => address.to_owned(),
    }
}

pub(super) async fn list(context: &Context<'_>) -> Result<(), Failure> {
    let node = checked_node(context).await?;
    let (journal, fates) = look(context, &node).await?;
    let newest_first = || journal.payments().iter().rev();
    let json: Vec<Value> =
        newest_first().map(|payment| payment_json(payment, fates.get(&payment.txid))).collect();
    let mut lines: Vec<String> = newest_first()
        .map(|payment| {
            let fate = fates.get(&payment.txid).map_or("unknown", Fate::word);
            let amount = show(Amount::from_grains(payment.amount()));
            let what = purpose(payment);
            format!(
                "{}  {fate:<10}  {what:<7}  {amount:>22}  {}",
                date::show(payment.time),
                payment.txid
            )
        })
        .collect();
    if lines.is_empty() {
        lines.push("This wallet has paid nobody yet. What came in: `history`.".to_owned());
    }
    if fates.values().any(|fate| *fate == Fate::Missing) {
        lines.push("The node lacks what is \"unsent\": `rebroadcast` sends it.".to_owned());
    }
    context.tell(&json!(json), &lines);
    Ok(())
}

pub(super) async fn show_payment(context: &Context<'_>, txid: &str) -> Result<(), Failure> {
    let txid = track::parse_txid(txid)?;
    let node = checked_node(context).await?;
    let (journal, fates) = look(context, &node).await?;
    let id = txid.to_string();
    let Some(payment) = journal.payment(&id) else {
        return show_foreign(context, &node, &id).await;
    };
    let fate = fates.get(&id).unwrap_or(&Fate::Unknown);
    let mut lines = vec![
        format!("payment  {id}"),
        format!("signed   {} UTC", date::show(payment.time)),
        format!("status   {}", fate_line(fate)),
    ];
    for recipient in &payment.recipients {
        let amount = show(Amount::from_grains(recipient.amount));
        lines.push(format!("paid     {amount} to {}", named(&journal, &recipient.address)));
    }
    lines.push(format!("fee      {} grains for {} bytes", payment.fee, payment.size_bytes));
    for coin in &payment.spends {
        lines.push(format!("spends   {}:{}", coin.txid, coin.vout));
    }
    if let Some(change) = &payment.change {
        let value = show(Amount::from_grains(change.value));
        lines.push(format!("change   {value} to {}", change.address));
    }
    for (what, value) in [("replaces", payment.replaces.as_deref()), ("id", payment.id.as_deref())]
    {
        lines.extend(value.map(|value| format!("{what:<8} {value}")));
    }
    for rival in journal.rivals(payment) {
        let word = fates.get(&rival.txid).map_or("unknown", Fate::word);
        lines.push(format!("conflict {} ({word})", rival.txid));
    }
    for (what, value) in [("memo", &payment.memo), ("note", &payment.note)] {
        if !value.is_empty() {
            lines.push(format!("{what:<8} {}", value.escape_debug()));
        }
    }
    let mut value = payment_json(payment, Some(fate));
    let rivals: Vec<&str> = journal.rivals(payment).map(|rival| rival.txid.as_str()).collect();
    value["conflicts"] = json!(rivals);
    value["hex"] = json!(payment.hex);
    context.tell(&value, &lines);
    Ok(())
}

fn fate_line(fate: &Fate) -> String {
    match fate {
        Fate::Confirmed { confirmations, height, time, .. } => format!(
            "{}, in block {height} of {} UTC",
            depth_words(*confirmations),
            date::show(u64::from(*time))
        ),
        Fate::Settled => "confirmed long since".to_owned(),
        Fate::Waiting => "waits for a block".to_owned(),
        Fate::Missing => "the node does not have it: `rebroadcast` sends it".to_owned(),
        Fate::Refused => "refused by the node; its coins are free".to_owned(),
        Fate::Replaced { by } => format!("replaced by {by}"),
        Fate::Conflicted { by: Some(by) } => format!("its coins went into {by}"),
        Fate::Conflicted { by: None } => "its coins went into another transaction".to_owned(),
        Fate::Unknown => "its coins are not known to the node; is it caught up?".to_owned(),
    }
}

/// What somebody else's transaction did to this wallet.
async fn show_foreign(context: &Context<'_>, node: &Node, txid: &str) -> Result<(), Failure> {
    let status = node
        .transaction(&track::parse_txid(txid)?)
        .await?
        .ok_or_else(|| Failure::NoSuchTransaction { txid: txid.to_owned() })?;
    let lines = gather(context, node).await?;
    let (received, spent) = lines.get(txid).map_or((0, 0), |line| (line.received, line.spent));
    context.tell(
        &json!({
            "txid": txid,
            "status": if status.confirmations > 0 { "confirmed" } else { "waiting" },
            "confirmations": status.confirmations,
            "height": status.blockheight,
            "received": received,
            "spent": spent,
        }),
        &[
            format!("transaction {txid}"),
            format!("status      {}", depth_words(status.confirmations)),
            format!("received    {}", show(Amount::from_grains(received))),
            format!("spent       {}", show(Amount::from_grains(spent))),
        ],
    );
    Ok(())
}

pub(super) async fn rebroadcast(context: &Context<'_>) -> Result<(), Failure> {
    let node = checked_node(context).await?;
    let (mut journal, mut fates) = look(context, &node).await?;
    let resent = track::resend(&node, &mut journal, &mut fates).await?;
    let json: Vec<Value> = resent
        .iter()
        .map(|resent| json!({ "txid": resent.txid, "refused": resent.refused }))
        .collect();
    let mut lines: Vec<String> = resent
        .iter()
        .map(|resent| match &resent.refused {
            None => format!("sent     {}", resent.txid),
            Some(reason) => format!("refused  {}: {reason}", resent.txid),
        })
        .collect();
    if lines.is_empty() {
        lines.push("The node has every payment that still counts.".to_owned());
    }
    context.tell(&json!(json), &lines);
    Ok(())
}

pub(super) async fn wait(
    context: &Context<'_>,
    txid: Option<&str>,
    wanted: u32,
    timeout_seconds: u64,
) -> Result<(), Failure> {
    let txid = match txid {
        Some(txid) => track::parse_txid(txid)?.to_string(),
        None => {
            let journal = Journal::read(&context.wallet)?;
            journal.payments().last().ok_or(Failure::NoPayments)?.txid.clone()
        }
    };
    let deadline = Instant::now() + Duration::from_secs(timeout_seconds);
    // A wrong chain or a typing error is told at once; a node that is away may come back.
    checked_node(context).await?;
    loop {
        let (confirmations, height) = match depth(context, &txid).await {
            Ok(depth) => depth,
            Err(Failure::Node(NodeError::Client(_) | NodeError::RunFile(_))) => (0, None),
            Err(error) => return Err(error),
        };
        if confirmations >= wanted {
            context.tell(
                &json!({ "txid": txid, "confirmations": confirmations, "height": height }),
                &[format!("{txid} is confirmed ({}).", depth_words(confirmations))],
            );
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::NotInTime { txid, confirmations, seconds: timeout_seconds });
        }
        tokio::time::sleep(WAIT_POLL).await;
    }
}

fn depth_words(confirmations: u32) -> String {
    match confirmations {
        1 => "1 confirmation".to_owned(),
        _ => format!("{confirmations} confirmations"),
    }
}

/// How deep a transaction is. One of this wallet's that the node lost is sent again.
async fn depth(context: &Context<'_>, txid: &str) -> Result<(u32, Option<u32>), Failure> {
    let node = context.node()?;
    if let Some(status) = node.transaction(&track::parse_txid(txid)?).await?
        && (status.confirmations > 0 || status.time.is_some())
    {
        return Ok((status.confirmations, status.blockheight));
    }
    let (mut journal, mut fates) = look(context, &node).await?;
    match fates.get(txid) {
        Some(Fate::Missing) => {
            track::resend(&node, &mut journal, &mut fates).await?;
        }
        Some(Fate::Replaced { by }) => {
            let why = format!("{by} took its place");
            return Err(Failure::Never { txid: txid.to_owned(), why });
        }
        Some(Fate::Conflicted { .. }) => {
            let why = "another transaction spends its coins".to_owned();
            return Err(Failure::Never { txid: txid.to_owned(), why });
        }
        Some(Fate::Refused) => {
            let why = "the node refused it".to_owned();
            return Err(Failure::Never { txid: txid.to_owned(), why });
        }
        Some(Fate::Settled) => return Ok((u32::MAX, None)),
        None => return Err(Failure::NoSuchTransaction { txid: txid.to_owned() }),
        Some(_) => {}
    }
    Ok((0, None))
}

/// What one transaction did to the whole wallet.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Of its block; `None` while it waits for one.
    height: Option<u32>,
    time: Option<u32>,
    position: u32,
    confirmations: u32,
    received: u64,
    spent: u64,
    coinbase: bool,
}

impl Line {
    const fn kind(&self) -> &'static str {
        match (self.coinbase, self.height, self.spent) {
            (true, Some(0), _) => "genesis",
            (true, ..) => "mined",
            (false, _, 0) => "received",
            (false, ..) => "sent",
        }
    }

    /// With its sign.
    fn net(&self) -> i128 {
        i128::from(self.received) - i128::from(self.spent)
    }
}

async fn gather(context: &Context<'_>, node: &Node) -> Result<BTreeMap<String, Line>, Failure> {
    let mut by_txid: BTreeMap<String, Line> = BTreeMap::new();
    let addresses = context.keystore()?.addresses()?;
    for one in node.waiting(&addresses).await? {
        let line = by_txid.entry(one.txid.to_string()).or_default();
        line.received = line.received.saturating_add(one.received);
        line.spent = line.spent.saturating_add(one.spent);
    }
    for entry in node.history(&addresses).await? {
        let line = by_txid.entry(entry.txid.to_string()).or_default();
        if line.height.is_none() {
            // Confirmed since it was told as waiting.
            *line = Line::default();
        }
        line.height = Some(entry.height);
        line.time = Some(entry.blocktime);
        line.position = entry.position;
        line.confirmations = entry.confirmations;
        line.received = line.received.saturating_add(entry.received);
        line.spent = line.spent.saturating_add(entry.spent);
        line.coinbase = entry.coinbase;
    }
    Ok(by_txid)
}

pub(super) async fn history(context: &Context<'_>, csv: bool) -> Result<(), Failure> {
    let node = checked_node(context).await?;
    let journal = Journal::read(&context.wallet)?;
    let mut lines: Vec<(String, Line)> = gather(context, &node).await?.into_iter().collect();
    // What waits first, then the newest block.
    let place = |line: &Line| (line.height.is_none(), line.height, line.position);
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(place(line)));
    // Fee, recipients' names and the owner's own note are the journal's.
    let own = |txid: &str| journal.payment(txid);
    let words = |txid: &str| {
        own(txid).map_or_else(String::new, |payment| {
            let names =
                payment.recipients.iter().filter_map(|to| journal.labels().get(&to.address));
            let mut words: Vec<&str> = names.map(String::as_str).collect();
            words.extend(Some(payment.note.as_str()).filter(|note| !note.is_empty()));
            words.join(", ")
        })
    };
    if csv {
        println!("time,height,confirmations,kind,amount,fee,label,txid");
        for (txid, line) in &lines {
            let fee = own(txid).map_or_else(String::new, |payment| payment.fee.to_string());
            println!(
                "{},{},{},{},{},{fee},{},{txid}",
                line.time.map_or_else(String::new, |time| date::show(u64::from(time))),
                line.height.map_or_else(String::new, |height| height.to_string()),
                line.confirmations,
                line.kind(),
                signed(line.net()),
                csv_field(&words(txid))
            );
        }
        return Ok(());
    }
    let json: Vec<Value> = lines
        .iter()
        .map(|(txid, line)| {
            json!({
                "txid": txid,
                "kind": line.kind(),
                "height": line.height,
                "time": line.time,
                "confirmations": line.confirmations,
                "received": line.received,
                "spent": line.spent,
                "fee": own(txid).map(|payment| payment.fee),
                "label": words(txid),
                "coinbase": line.coinbase,
            })
        })
        .collect();
    let mut text: Vec<String> = lines
        .iter()
        .map(|(txid, line)| {
            let amount = format!("{} ASH", signed(line.net()));
            let time = line
                .time
                .map_or_else(|| "in no block yet".to_owned(), |time| date::show(u64::from(time)));
            let height = line.height.map_or_else(String::new, |height| height.to_string());
            let words = words(txid);
            format!("{time:<16}  {height:>8}  {amount:>24}  {:<8}  {txid}  {words}", line.kind())
                .trim_end()
                .to_owned()
        })
        .collect();
    if text.is_empty() {
        text.push("Nothing happened yet.".to_owned());
    }
    context.tell(&json!(json), &text);
    Ok(())
}

/// ASH with a sign.
fn signed(grains: i128) -> String {
    let sign = if grains < 0 { '-' } else { '+' };
    let grains = u64::try_from(grains.unsigned_abs()).unwrap_or(u64::MAX);
    format!("{sign}{}", show(Amount::from_grains(grains)).trim_end_matches(" ASH"))
}

/// By RFC 4180; a leading sign that a spreadsheet would take for a formula is quoted away.
fn csv_field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_no_formula_and_no_second_column() {
        assert_eq!(csv_field("Bob"), "Bob");
        assert_eq!(csv_field("Bob, \"the\" baker"), "\"Bob, \"\"the\"\" baker\"");
        assert_eq!(csv_field("=HYPERLINK(1)"), "'=HYPERLINK(1)");
    }

    #[test]
    fn what_went_out_has_a_minus() {
        assert_eq!(signed(-150_000_000), "-1.5");
        assert_eq!(signed(1), "+0.00000001");
        assert_eq!(signed(0), "+0");
    }
}
