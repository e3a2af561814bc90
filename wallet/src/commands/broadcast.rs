//! Sending what was signed apart. Where it spends coins of this wallet it is a payment like any
//! other: written down before a node hears of it, so that `list`, `wait` and `rebroadcast` know it.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use ashlar_primitives::{Address, Amount, Decode, Encode, Lock, OutPoint, Output, Transaction};
use serde_json::json;

use super::{Context, tx};
use crate::{
    amount::show,
    exchange,
    failure::Failure,
    journal::{Journal, JournalCoin, Payment, Purpose, Recipient, Stage},
    keystore::Chain,
    node::{Node, Submitted},
    offline::{
        OfflineError, Partial,
        file::{FileContent, MAX_FILE_BYTES},
    },
};

/// A whole transaction, and what it spends where that is known, in the order of its inputs.
struct Whole {
    transaction: Transaction,
    spent: Option<Vec<Output>>,
}

impl Whole {
    fn fee(&self) -> Option<Amount> {
        let spent = Amount::checked_sum(self.spent.as_ref()?.iter().map(|output| output.value))?;
        let paid = self.transaction.outputs.iter().map(|output| output.value);
        spent.checked_sub(Amount::checked_sum(paid)?)
    }
}

pub(super) async fn run(context: &Context<'_>, file: &Path) -> Result<(), Failure> {
    let node = context.node()?;
    let (chain, whole) = read(&node, file).await?;
    let own = own_payment(context, &chain, &whole)?;
    let journal = match own {
        Some(payment) => {
            let mut journal = context.lock()?;
            journal.add(payment)?;
            Some(journal)
        }
        None => None,
    };
    let txid = whole.transaction.txid().to_string();
    let submitted = node.submit(&whole.transaction).await;
    if let Some(mut journal) = journal {
        match &submitted {
            Ok(Submitted::Taken) => {
                journal.set_stage(&txid, Stage::Sent);
                journal.release(&txid);
                journal.save()?;
            }
            // Perhaps only too early: what was promised to it stays so.
            Ok(Submitted::Refused { .. }) => {
                journal.set_stage(&txid, Stage::Refused);
                journal.save()?;
            }
            Err(_) => {}
        }
        if let Err(error) = submitted {
            return Err(Failure::Unanswered { txid, error: Box::new(error) });
        }
    }
    if let Submitted::Refused { reason } = submitted? {
        return Err(Failure::Rejected { reason });
    }
    let fee = whole.fee();
    let cost = fee.map_or_else(String::new, |fee| format!(", fee {}", show(fee)));
    context.tell(
        &json!({ "txid": txid, "fee": fee.map(Amount::grains) }),
        &[format!("Sent {txid}{cost}.")],
    );
    Ok(())
}

/// From a file of `tx create` that enough signed, or the hex of `tx finalize`; with the node's
/// chain.
async fn read(node: &Node, file: &Path) -> Result<(Chain, Whole), Failure> {
    let text = exchange::read(file, MAX_FILE_BYTES)?;
    if let Ok(content) = serde_json::from_str::<FileContent>(&text) {
        let partial = Partial::from_file(content)?;
        let info = node.check_chain(partial.chain()).await?;
        let transaction = partial.finalize(Some(info.at.tip_height.saturating_add(1)))?;
        let spent = partial.coins().iter().map(|coin| coin.output).collect();
        return Ok((partial.chain().clone(), Whole { transaction, spent: Some(spent) }));
    }
    let none = || OfflineError::NoTransaction { what: file.display().to_string() };
    let bytes = hex::decode(text.trim()).map_err(|_| none())?;
    let transaction = Transaction::from_bytes(&bytes).map_err(|_| none())?;
    let chain = node.chain().await?;
    let spent = node.outputs(&transaction.inputs, &chain.address_prefix).await?;
    Ok((chain, Whole { transaction, spent }))
}

/// What the journal is to keep of it; `None` where it spends nothing of this wallet's, or there is
/// no wallet of the chain.
fn own_payment(
    context: &Context<'_>,
    chain: &Chain,
    whole: &Whole,
) -> Result<Option<Payment>, Failure> {
    let (Ok(keystore), Some(spent)) = (context.keystore(), &whole.spent) else { return Ok(None) };
    let own = tx::own_addresses(context);
    let address = |lock: Lock| Address::new(&chain.address_prefix, lock).map(|it| it.to_string());
    let is_own = |output: &Output| address(output.lock).is_ok_and(|address| own.contains(&address));
    if keystore.chain().id != chain.id || !spent.iter().any(is_own) {
        return Ok(None);
    }
    let transaction = &whole.transaction;
    let coin = |outpoint: OutPoint, output: &Output| -> Result<JournalCoin, Failure> {
        Ok(JournalCoin {
            txid: outpoint.txid.to_string(),
            vout: outpoint.index,
            address: address(output.lock)?,
            value: output.value.grains(),
        })
    };
    let txid = transaction.txid();
    let (mut recipients, mut back) = (Vec::new(), Vec::new());
    for (index, output) in (0..=u16::MAX).zip(&transaction.outputs) {
        let paid = Recipient { address: address(output.lock)?, amount: output.value.grains() };
        match is_own(output) {
            true => back.push((paid, coin(OutPoint { txid, index }, output)?)),
            false => recipients.push(paid),
        }
    }
    // What comes back is change where somebody else is paid, and else the point of it.
    let change = match recipients.is_empty() {
        true => {
            recipients.extend(back.into_iter().map(|(paid, _)| paid));
            None
        }
        false => back.into_iter().map(|(_, coin)| coin).next(),
    };
    let spends = transaction.inputs.iter().zip(spent);
    let known = Journal::read(&context.wallet)?.payment(&txid.to_string()).cloned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(Some(Payment {
        txid: txid.to_string(),
        hex: hex::encode(transaction.to_bytes()),
        time: known.map_or(now, |known| known.time),
        purpose: Purpose::Shared,
        stage: Stage::Signed,
        replaces: None,
        id: None,
        recipients,
        fee: whole.fee().unwrap_or(Amount::ZERO).grains(),
        size_bytes: u64::try_from(transaction.encoded_len()).unwrap_or(u64::MAX),
        spends: spends
            .map(|(outpoint, output)| coin(*outpoint, output))
            .collect::<Result<_, _>>()?,
        change,
        memo: String::from_utf8_lossy(&transaction.memo).into_owned(),
        note: String::new(),
    }))
}
