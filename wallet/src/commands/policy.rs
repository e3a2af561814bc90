//! Policies: made, watched, and what was revealed by spending from them.

use std::path::Path;

use ashlar_primitives::{Amount, Policy, Witness, hash::sha256};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Context;
use crate::{
    amount::show,
    cli::shared::{LabelArguments, PolicyCommand, TimeArguments},
    exchange,
    failure::Failure,
    keystore::Chain,
    node::Node,
    offline::{OfflineError, outline::policy_lines},
    policy::{
        self,
        book::{Book, Watched},
        satisfy,
        terms::{Terms, parse_digest, parse_key},
    },
};

/// Of a file with one policy.
const MAX_POLICY_BYTES: u64 = 64 * 1024;

pub(super) async fn run(context: &Context<'_>, command: &PolicyCommand) -> Result<(), Failure> {
    if let PolicyCommand::Secret { file } = command {
        return secret(context, file);
    }
    let chain = context.keystore()?.chain().clone();
    let prefix = &chain.address_prefix;
    match command {
        PolicyCommand::Multisig { k, keys, label } => {
            let keys = keys.iter().map(|key| parse_key(key, prefix)).collect::<Result<_, _>>()?;
            watch(context, &chain, label, policy::multisig(*k, keys)?)
        }
        PolicyCommand::Timelock { key, time, label } => {
            let policy = policy::timelock(parse_key(key, prefix)?, condition(*time))?;
            watch(context, &chain, label, policy)
        }
        PolicyCommand::Htlc { claim, refund, hash, time, label } => {
            let (claim, refund) = (parse_key(claim, prefix)?, parse_key(refund, prefix)?);
            let policy = policy::htlc(claim, refund, parse_digest(hash)?, condition(*time))?;
            watch(context, &chain, label, policy)
        }
        PolicyCommand::Add { file, label } => {
            let terms: Terms = exchange::read_json(file, MAX_POLICY_BYTES, "policy")?;
            watch(context, &chain, label, terms.policy(prefix)?)
        }
        PolicyCommand::List => list(context, &chain).await,
        PolicyCommand::Show { name } => show_one(context, &chain, name).await,
        PolicyCommand::Address { name } => {
            let address = Book::read(&context.wallet, &chain)?.find(name)?.address.to_string();
            context.tell(&json!({ "address": address }), std::slice::from_ref(&address));
            Ok(())
        }
        PolicyCommand::Secret { file } => secret(context, file),
        PolicyCommand::Reveal { name, out } => reveal(context, &chain, name, out).await,
    }
}

/// The parser lets exactly one of the two through.
fn condition(time: TimeArguments) -> Policy {
    match time {
        TimeArguments { after: Some(height), .. } => Policy::After(height),
        TimeArguments { older, .. } => Policy::Older(older.unwrap_or(u32::MAX)),
    }
}

fn watch(
    context: &Context<'_>,
    chain: &Chain,
    label: &LabelArguments,
    policy: Policy,
) -> Result<(), Failure> {
    let mut book = Book::read(&context.wallet, chain)?;
    let watched = book.add(label.label.as_deref(), policy)?;
    tell_one(context, chain, &watched, None);
    Ok(())
}

fn as_json(watched: &Watched, chain: &Chain) -> Value {
    json!({
        "label": watched.label,
        "address": watched.address.to_string(),
        "policy": Terms::of(&watched.policy, &chain.address_prefix),
    })
}

fn tell_one(context: &Context<'_>, chain: &Chain, watched: &Watched, held: Option<Amount>) {
    let mut value = as_json(watched, chain);
    let mut lines =
        vec![format!("{}  {}", watched.label, watched.address), "is spent by".to_owned()];
    lines.extend(policy_lines(&watched.policy, None, &chain.address_prefix));
    if let Some(held) = held {
        value["confirmed"] = held.grains().into();
        lines.push(format!("holds {}", show(held)));
    }
    context.tell(&value, &lines);
}

/// What of a policy could be spent if all agreed.
async fn held(node: &Node, watched: &Watched) -> Result<Amount, Failure> {
    let coins = node.coins(std::slice::from_ref(&watched.address)).await?;
    // A lying node can at most make it look like all there is.
    let sum = Amount::checked_sum(coins.iter().map(|coin| coin.output.value));
    Ok(sum.unwrap_or(Amount::MAX_MONEY))
}

async fn node_of(context: &Context<'_>, chain: &Chain) -> Result<Option<Node>, Failure> {
    if !context.has_node() {
        return Ok(None);
    }
    let node = context.node()?;
    node.check_chain(chain).await?;
    Ok(Some(node))
}

async fn list(context: &Context<'_>, chain: &Chain) -> Result<(), Failure> {
    let book = Book::read(&context.wallet, chain)?;
    let node = node_of(context, chain).await?;
    let (mut values, mut lines) = (Vec::new(), Vec::new());
    for watched in book.watched() {
        let mut value = as_json(watched, chain);
        let mut line = format!("{:<16}  {}", watched.label, watched.address);
        if let Some(node) = &node {
            let held = held(node, watched).await?;
            value["confirmed"] = held.grains().into();
            line.push_str(&format!("  {}", show(held)));
        }
        values.push(value);
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push("None yet; `policy multisig` and its like make one.".to_owned());
    }
    context.tell(&json!(values), &lines);
    Ok(())
}

async fn show_one(context: &Context<'_>, chain: &Chain, name: &str) -> Result<(), Failure> {
    let book = Book::read(&context.wallet, chain)?;
    let watched = book.find(name)?;
    let held = match node_of(context, chain).await? {
        Some(node) => Some(held(&node, watched).await?),
        None => None,
    };
    tell_one(context, chain, watched, held);
    Ok(())
}

fn secret(context: &Context<'_>, file: &Path) -> Result<(), Failure> {
    let mut secret = Zeroizing::new([0u8; 32]);
    rand::fill(&mut *secret);
    let text = Zeroizing::new(format!("{}\n", hex::encode(*secret)));
    exchange::create(file, text.as_bytes())?;
    let digest = hex::encode(sha256(&*secret));
    context.tell(&json!({ "hash": digest }), std::slice::from_ref(&digest));
    Ok(())
}

/// Looks at everything that spends from the policy, the mempool's transactions too: who has
/// waited for a secret should not wait for a block.
async fn reveal(
    context: &Context<'_>,
    chain: &Chain,
    name: &str,
    out: &Path,
) -> Result<(), Failure> {
    let book = Book::read(&context.wallet, chain)?;
    let watched = book.find(name)?;
    let node = context.node()?;
    node.check_chain(chain).await?;
    for transaction in node.spenders(&watched.address).await? {
        for witness in &transaction.witnesses {
            let Witness::Policy { preimages, .. } = witness else { continue };
            // The digest in the policy is the judge, whatever the node says.
            let asked = preimages.iter().find(|secret| satisfy::asks_for(&watched.policy, secret));
            if let Some(secret) = asked {
                exchange::create(out, format!("{}\n", hex::encode(secret)).as_bytes())?;
                let txid = transaction.txid().to_string();
                let hash = hex::encode(sha256(secret));
                context.tell(
                    &json!({ "txid": txid, "hash": hash, "file": out }),
                    &[format!("{txid} showed it; it is in {} now.", out.display())],
                );
                return Ok(());
            }
        }
    }
    Err(OfflineError::NotRevealed { address: watched.address.to_string() }.into())
}
