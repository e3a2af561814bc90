//! Paying: `send`, and what replaces a payment that waits.
//!
//! The order of steps is what makes a crash harmless: choose, ask, sign, write the change address
//! and then the signed payment to disk, and only then tell a node. Whatever is killed in between,
//! nothing was sent yet, or the journal has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use ashlar_primitives::{Address, Amount, Encode, OutPoint, Output};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::Context;
use crate::{
    amount::{self, show},
    cli::{BumpArguments, FeeArguments, SendArguments},
    failure::Failure,
    journal::{self, Journal, JournalCoin, Payment, Purpose, Recipient, Stage},
    keystore::{CHANGE, Keystore, KeystoreError, Unlocked},
    node::{Node, Submitted},
    payment::{self, Coins, Order, OwnCoin, Plan, fee_for},
    select::{INPUT_BYTES, LONG_TERM_RATE_PER_KB, WITNESS_BYTES},
    track::{self, Fate, Fates},
    uri::Request,
};

/// So many coins at one address are worth bringing together while fees are low.
const MANY_COINS: usize = 20;

/// What is known before the password is asked for.
struct Desk {
    node: Node,
    keystore: Keystore,
    journal: Journal,
    fates: Fates,
    /// Confirmed coins that can be spent now.
    coins: Vec<OwnCoin>,
    /// Payments of which no node had said before that it has them.
    unanswered: BTreeSet<String>,
}

/// What a payment is for, beside what stands in the transaction.
struct Purposes {
    purpose: Purpose,
    replaces: Option<String>,
    id: Option<String>,
    note: String,
}

impl Desk {
    /// Locks the wallet and looks where its payments stand.
    async fn open(context: &Context<'_>) -> Result<Self, Failure> {
        let mut journal = context.lock()?;
        let keystore = context.keystore()?;
        if keystore.is_watch_only() {
            return Err(KeystoreError::WatchOnly.into());
        }
        let node = context.node()?;
        node.check_chain(keystore.chain()).await?;
        let unanswered = journal.payments().iter();
        let unanswered = unanswered.filter(|payment| payment.stage == Stage::Signed);
        let unanswered = unanswered.map(|payment| payment.txid.clone()).collect();
        let fates = track::fates(&node, &journal).await?;
        track::note(&mut journal, &fates)?;
        let coins = node.holdings(&keystore).await?.spendable(&journal.reserved());
        Ok(Self { node, keystore, journal, fates, coins, unanswered })
    }

    /// Sends again what got lost.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        track::resend(&self.node, &mut self.journal, &mut self.fates).await?;
        Ok(())
    }

    /// The payment of the same to the same that was cut off: nobody was told that it was made.
    fn cut_off(&self, recipients: &[Recipient]) -> Option<&Payment> {
        let same = |payment: &&Payment| {
            self.unanswered.contains(&payment.txid) && payment.recipients == recipients
        };
        self.journal.payments().iter().find(same)
    }

    async fn feerate_per_kb(&self, fee: &FeeArguments) -> Result<u64, Failure> {
        match fee.fee_rate {
            Some(grains_per_byte) => Ok(grains_per_byte.saturating_mul(1_000)),
            None => Ok(self.node.feerate_per_kb(fee.target).await?),
        }
    }

    /// Signs, writes down, sends.
    async fn carry_out(
        mut self,
        mut wallet: Unlocked,
        mut plan: Plan,
        recipients: Vec<Recipient>,
        memo: &str,
        purposes: Purposes,
    ) -> Result<Payment, Failure> {
        self.node.check_coins(plan.coins.iter().map(|coin| (coin.outpoint, coin.output))).await?;
        let chain_id = self.keystore.chain().block_id()?;
        payment::sign(&mut plan, &chain_id, |row, index| wallet.secret_key(row, index))?;
        if plan.change.is_some() || purposes.purpose == Purpose::Cancel {
            // On disk before the world can know the address.
            wallet.save()?;
        }
        let payment = record(&self.keystore, &plan, recipients, memo, purposes)?;
        self.journal.add(payment.clone())?;
        match self.node.submit(&plan.transaction).await {
            Ok(Submitted::Taken) => {
                self.journal.set_stage(&payment.txid, Stage::Sent);
                self.journal.save()?;
                Ok(payment)
            }
            Ok(Submitted::Refused { reason }) => {
                self.journal.set_stage(&payment.txid, Stage::Refused);
                self.journal.save()?;
                Err(Failure::Rejected { reason })
            }
            Err(error) => Err(Failure::Unanswered { txid: payment.txid, error: Box::new(error) }),
        }
    }
}

/// Change of this wallet's own payments that wait: nobody else can make it vanish.
fn waiting_change(keystore: &Keystore, journal: &Journal, fates: &Fates) -> Vec<OwnCoin> {
    let reserved = journal.reserved();
    let waiting = journal.payments().iter().filter(|payment| {
        fates.get(&payment.txid) == Some(&Fate::Waiting) && payment.keeps_its_coins()
    });
    waiting
        .filter_map(|payment| own_coin(keystore, payment.change.as_ref()?))
        .filter(|coin| !reserved.contains(&coin.outpoint))
        .collect()
}

/// A coin of the journal, with its key.
fn own_coin(keystore: &Keystore, coin: &JournalCoin) -> Option<OwnCoin> {
    let address = Address::parse(&coin.address, &keystore.chain().address_prefix).ok()?;
    let key = keystore.key_of(&address.lock)?;
    Some(OwnCoin {
        outpoint: coin.outpoint()?,
        output: Output { value: Amount::from_grains(coin.value), lock: address.lock },
        change: key.change,
        index: key.index,
    })
}

/// What the journal keeps of a signed plan.
fn record(
    keystore: &Keystore,
    plan: &Plan,
    recipients: Vec<Recipient>,
    memo: &str,
    purposes: Purposes,
) -> Result<Payment, Failure> {
    let txid = plan.transaction.txid().to_string();
    let prefix = &keystore.chain().address_prefix;
    let coin = |outpoint: OutPoint, output: Output| -> Result<JournalCoin, Failure> {
        Ok(JournalCoin {
            txid: outpoint.txid.to_string(),
            vout: outpoint.index,
            address: Address::new(prefix, output.lock)?.to_string(),
            value: output.value.grains(),
        })
    };
    let spends = plan.coins.iter().map(|own| coin(own.outpoint, own.output));
    let change = plan.change.and_then(|(_, vout)| {
        let output = plan.transaction.outputs.get(usize::from(vout))?;
        Some(coin(OutPoint { txid: plan.transaction.txid(), index: vout }, *output))
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(Payment {
        txid,
        hex: hex::encode(plan.transaction.to_bytes()),
        time: now,
        purpose: purposes.purpose,
        stage: Stage::Signed,
        replaces: purposes.replaces,
        id: purposes.id,
        recipients,
        fee: plan.fee.grains(),
        size_bytes: plan.size_bytes,
        spends: spends.collect::<Result<_, _>>()?,
        change: change.transpose()?,
        memo: memo.to_owned(),
        note: purposes.note,
    })
}

/// Who is to be paid, by what was typed. An amount of zero stands for all there is.
fn recipients(order: &SendArguments, prefix: &str) -> Result<Vec<(Address, Amount)>, Failure> {
    let mut recipients = Vec::new();
    if let Some(text) = &order.address {
        let request = Request::parse(text, prefix)?;
        let amount = match (order.max, request.amount, order.amount) {
            (true, None, _) => Amount::ZERO,
            (true, Some(asked), _) => {
                return Err(Failure::TwoAmounts { request: show(asked), typed: "--max".into() });
            }
            (false, Some(asked), Some(typed)) if asked != typed => {
                return Err(Failure::TwoAmounts { request: show(asked), typed: show(typed) });
            }
            (false, Some(amount), _) | (false, None, Some(amount)) => amount,
            (false, None, None) => return Err(Failure::NoAmount),
        };
        recipients.push((request.address, amount));
    }
    for form in &order.to {
        let (address, amount) =
            form.split_once('=').ok_or_else(|| Failure::NoRecipient { form: form.clone() })?;
        let amount = amount::parse(amount)
            .map_err(|error| Failure::RecipientAmount { form: form.clone(), error })?;
        recipients.push((Address::parse(address, prefix)?, amount));
    }
    for (address, _) in &recipients {
        super::refuse_unsound(address)?;
    }
    Ok(recipients)
}

/// The coins that were named by hand: even frozen ones, never those of a payment under way.
fn named_coins(desk: &Desk, names: &[String], free: &[OwnCoin]) -> Result<Vec<OwnCoin>, Failure> {
    let mut named = Vec::new();
    for text in names {
        let coin =
            journal::parse_outpoint(text).ok_or_else(|| Failure::NoCoin { text: text.clone() })?;
        let own = free
            .iter()
            .chain(&desk.coins)
            .find(|own| own.outpoint == coin)
            .ok_or_else(|| Failure::UnknownCoin { coin: text.clone() })?;
        if !named.contains(own) {
            named.push(own.clone());
        }
    }
    Ok(named)
}

pub(super) async fn send(context: &Context<'_>, order: &SendArguments) -> Result<(), Failure> {
    let prefix = context.keystore()?.chain().address_prefix.clone();
    // Asked before the password: a typing error should cost nothing.
    let to = recipients(order, &prefix)?;
    let mut desk = Desk::open(context).await?;
    desk.catch_up().await?;
    let recipient = |(address, amount): &(Address, Amount)| Recipient {
        address: address.to_string(),
        amount: amount.grains(),
    };
    let asked: Vec<Recipient> = to.iter().map(recipient).collect();
    if let Some(known) = order.id.as_deref().and_then(|id| desk.journal.by_id(id)) {
        tell_sent(context, known, true);
        return Ok(());
    }
    if let (Some(payment), false) = (desk.cut_off(&asked), order.again) {
        return Err(Failure::PaidBefore { txid: payment.txid.clone() });
    }
    if !order.confirmed {
        desk.coins.extend(waiting_change(&desk.keystore, &desk.journal, &desk.fates));
    }
    let coins = if order.coin.is_empty() {
        match order.max {
            true => Coins::Sweep(desk.coins.clone()),
            false => Coins::Best(desk.coins.clone()),
        }
    } else {
        let held = desk.node.holdings(&desk.keystore).await?;
        let mut reserved = desk.journal.reserved();
        let frozen = desk.journal.frozen().iter().filter_map(|text| journal::parse_outpoint(text));
        for coin in frozen {
            reserved.remove(&coin);
        }
        let named = named_coins(&desk, &order.coin, &held.spendable(&reserved))?;
        match order.max {
            true => Coins::Sweep(named),
            false => Coins::These(named, Vec::new()),
        }
    };
    let feerate_per_kb = desk.feerate_per_kb(&order.fee).await?;
    let outputs = to.iter().map(|(address, value)| Output { value: *value, lock: address.lock });
    let mut sketch = Order {
        recipients: outputs.collect(),
        memo: order.memo.clone().into_bytes(),
        feerate_per_kb,
        change_to: desk.keystore.receive_address()?.lock,
        allow_high_fee: order.fee.allow_high_fee,
        replaced_fee: None,
    };
    // The same seed chooses the same coins again, once the password gives the address for change:
    // so nobody types a password for a payment that can't be.
    let seed: u64 = rand::random();
    let plan = payment::plan(&sketch, coins.clone(), &mut StdRng::seed_from_u64(seed))?;
    let asked = match order.max {
        true => asked
            .into_iter()
            .map(|recipient| Recipient { amount: plan.amount.grains(), ..recipient })
            .collect(),
        false => asked,
    };
    if order.dry_run {
        context.tell(&plan_json(&plan, &asked), &plan_lines(&plan, &asked));
        return Ok(());
    }
    if !order.yes {
        super::ask("pay", &plan_lines(&plan, &asked), "Send it?")?;
    }
    let mut wallet = context.unlock()?;
    sketch.change_to = wallet.next_address(CHANGE)?.lock;
    let plan = payment::plan(&sketch, coins, &mut StdRng::seed_from_u64(seed))?;
    let purposes = Purposes {
        purpose: Purpose::Payment,
        replaces: None,
        id: order.id.clone(),
        note: order.note.clone(),
    };
    let hint = consolidation_hint(&desk.coins, &plan, feerate_per_kb);
    let payment = desk.carry_out(wallet, plan, asked, &order.memo, purposes).await?;
    tell_sent(context, &payment, false);
    if let (Some(hint), false) = (hint, context.arguments.json) {
        println!("{hint}");
    }
    Ok(())
}

/// Says when it is a good time to bring coins together.
fn consolidation_hint(coins: &[OwnCoin], plan: &Plan, feerate_per_kb: u64) -> Option<String> {
    let spent = |coin: &&OwnCoin| !plan.coins.iter().any(|own| own.outpoint == coin.outpoint);
    let left: Vec<&OwnCoin> = coins.iter().filter(spent).collect();
    let mut owners = BTreeMap::<_, usize>::new();
    for coin in &left {
        *owners.entry(coin.output.lock).or_default() += 1;
    }
    let most = owners.into_values().max().filter(|most| *most >= MANY_COINS)?;
    if feerate_per_kb > LONG_TERM_RATE_PER_KB {
        return None;
    }
    let count = u64::try_from(most).unwrap_or(u64::MAX);
    let fee = fee_for(count.saturating_mul(INPUT_BYTES) + WITNESS_BYTES, feerate_per_kb);
    Some(format!(
        "{most} coins lie at one address, and fees are low: one signature brings them together \
         for about {fee} grains (`send --max` to an address of your own)."
    ))
}

fn plan_json(plan: &Plan, recipients: &[Recipient]) -> Value {
    json!({
        "amount": plan.amount.grains(),
        "recipients": recipients,
        "fee": plan.fee.grains(),
        "change": plan.change.map_or(0, |(value, _)| value.grains()),
        "coins": plan.coins.len(),
        "size_bytes": plan.size_bytes,
    })
}

/// What will happen, for people.
fn plan_lines(plan: &Plan, recipients: &[Recipient]) -> Vec<String> {
    let mut lines = Vec::new();
    for recipient in recipients {
        let address = &recipient.address;
        lines.push(format!("pay     {}", show(Amount::from_grains(recipient.amount))));
        lines.push(format!("to      {address}"));
        lines.push(format!("        (it ends in {})", &address[address.len().saturating_sub(8)..]));
    }
    lines.push(format!("fee     {} grains, {}", plan.fee, share(plan.fee, plan.amount)));
    lines.push(format!(
        "change  {}, from {} coins",
        show(plan.change.map_or(Amount::ZERO, |(value, _)| value)),
        plan.coins.len()
    ));
    lines
}

/// A fee as a share of the amount, in hundredths of a percent, without floats.
fn share(fee: Amount, amount: Amount) -> String {
    let hundredths = u128::from(fee.grains()) * 10_000 / u128::from(amount.grains().max(1));
    match hundredths {
        0 => "under 0.01 % of it".to_owned(),
        _ => format!("{}.{:02} % of it", hundredths / 100, hundredths % 100),
    }
}

fn tell_sent(context: &Context<'_>, payment: &Payment, before: bool) {
    let (amount, fee) = (Amount::from_grains(payment.amount()), Amount::from_grains(payment.fee));
    let to = match payment.recipients.as_slice() {
        [one] => one.address.clone(),
        several => format!("{} recipients", several.len()),
    };
    let word = if before { "Sent before:" } else { "Sent" };
    context.tell(
        &json!({
            "txid": payment.txid,
            "amount": payment.amount(),
            "recipients": payment.recipients,
            "fee": payment.fee,
            "change": payment.change.as_ref().map_or(0, |coin| coin.value),
            "size_bytes": payment.size_bytes,
            "replaces": payment.replaces,
            "sent_before": before,
        }),
        &[
            format!(
                "{word} {} to {to}, fee {} grains ({}).",
                show(amount),
                fee,
                share(fee, amount)
            ),
            format!("  {}", payment.txid),
        ],
    );
}

/// The payment that a replacement is to take the place of: one that the node has or could have.
fn replaceable(desk: &Desk, txid: &str) -> Result<Payment, Failure> {
    let txid = track::parse_txid(txid)?.to_string();
    let payment =
        desk.journal.payment(&txid).ok_or_else(|| Failure::NotOurs { txid: txid.clone() })?;
    let payment = track::newest(&desk.journal, payment);
    let refuse = |why| Failure::NotReplaceable { txid: payment.txid.clone(), why };
    match desk.fates.get(&payment.txid) {
        Some(Fate::Waiting | Fate::Missing | Fate::Refused) => {}
        Some(Fate::Confirmed { .. } | Fate::Settled) => return Err(refuse("it is confirmed")),
        Some(Fate::Replaced { .. } | Fate::Conflicted { .. }) => {
            return Err(refuse("another transaction spends its coins"));
        }
        Some(Fate::Unknown) | None => {
            return Err(refuse("its coins are not there; is the node caught up?"));
        }
    }
    if let Some(child) = desk.journal.child(payment) {
        return Err(Failure::HasChild { child: child.txid.clone() });
    }
    Ok(payment.clone())
}

pub(super) async fn bump(context: &Context<'_>, bump: &BumpArguments) -> Result<(), Failure> {
    let desk = Desk::open(context).await?;
    let old = replaceable(&desk, &bump.txid)?;
    replace(context, desk, bump, old, false).await
}

pub(super) async fn cancel(context: &Context<'_>, cancel: &BumpArguments) -> Result<(), Failure> {
    let desk = Desk::open(context).await?;
    let old = replaceable(&desk, &cancel.txid)?;
    replace(context, desk, cancel, old, true).await
}

/// Pays the same again, or nobody but oneself, with the same coins and a higher fee.
async fn replace(
    context: &Context<'_>,
    desk: Desk,
    arguments: &BumpArguments,
    old: Payment,
    cancel: bool,
) -> Result<(), Failure> {
    let own = |coin| {
        own_coin(&desk.keystore, coin).ok_or_else(|| Failure::NotReplaceable {
            txid: old.txid.clone(),
            why: "a coin of it has no key here",
        })
    };
    let coins: Vec<OwnCoin> = old.spends.iter().map(own).collect::<Result<_, _>>()?;
    // The replaced feerate must be beaten, by a grain a byte at least.
    let least = old.feerate_per_kb().saturating_add(1_000);
    let feerate_per_kb = desk.feerate_per_kb(&arguments.fee).await?.max(least);
    let mut wallet = context.unlock()?;
    let prefix = desk.keystore.chain().address_prefix.clone();
    // A bump brings change back to where it would have come; a cancelled payment's coins go to an
    // address that nobody else knows.
    let old_change = old.change.as_ref().filter(|_| !cancel);
    let change_to = match old_change {
        Some(change) => Address::parse(&change.address, &prefix)?,
        None => wallet.next_address(CHANGE)?,
    };
    let to_oneself = cancel || track::is_cancel(&old);
    let outputs = match to_oneself {
        true => vec![Output { value: Amount::ZERO, lock: change_to.lock }],
        false => old
            .recipients
            .iter()
            .map(|recipient| {
                let lock = Address::parse(&recipient.address, &prefix)?.lock;
                Ok(Output { value: Amount::from_grains(recipient.amount), lock })
            })
            .collect::<Result<_, Failure>>()?,
    };
    let memo = if to_oneself { "" } else { old.memo.as_str() };
    let plan = payment::plan(
        &Order {
            recipients: outputs,
            memo: memo.as_bytes().to_vec(),
            feerate_per_kb,
            change_to: change_to.lock,
            allow_high_fee: arguments.fee.allow_high_fee,
            replaced_fee: Some(Amount::from_grains(old.fee)),
        },
        match to_oneself {
            true => Coins::Sweep(coins),
            false => Coins::These(coins, desk.coins.clone()),
        },
        &mut rand::rng(),
    )?;
    let recipients = match to_oneself {
        true => vec![Recipient { address: change_to.to_string(), amount: plan.amount.grains() }],
        false => old.recipients.clone(),
    };
    if !arguments.yes {
        let mut lines = vec![format!("In place of {} (fee {} grains):", old.txid, old.fee)];
        lines.extend(plan_lines(&plan, &recipients));
        super::ask("replace the payment", &lines, "Send it?")?;
    }
    let purposes = Purposes {
        purpose: if to_oneself { Purpose::Cancel } else { Purpose::Bump },
        replaces: Some(old.txid.clone()),
        id: if to_oneself { None } else { old.id.clone() },
        note: old.note.clone(),
    };
    let payment = desk.carry_out(wallet, plan, recipients, memo, purposes).await?;
    tell_sent(context, &payment, false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::{Lock, PublicKey, Transaction, Txid};

    use super::*;

    fn coins(count: u8, owners: u8) -> Vec<OwnCoin> {
        (0..count)
            .map(|number| OwnCoin {
                outpoint: OutPoint { txid: Txid([number; 32]), index: 0 },
                output: Output {
                    value: Amount::from_grains(1_000),
                    lock: Lock::key(PublicKey([number % owners; 32])),
                },
                change: 0,
                index: 0,
            })
            .collect()
    }

    #[test]
    fn bringing_coins_together_is_advised_when_it_is_cheap() {
        let plan = Plan {
            coins: Vec::new(),
            transaction: Transaction {
                not_before: 0,
                inputs: Vec::new(),
                outputs: Vec::new(),
                memo: Vec::new(),
                witnesses: Vec::new(),
            },
            fee: Amount::ZERO,
            amount: Amount::ZERO,
            change: None,
            size_bytes: 0,
        };
        let hint = consolidation_hint(&coins(30, 1), &plan, 1_000).unwrap();
        assert!(hint.contains("30 coins") && hint.contains("1085 grains"), "{hint}");
        assert_eq!(consolidation_hint(&coins(30, 1), &plan, 10_000), None, "fees are high");
        assert_eq!(consolidation_hint(&coins(30, 3), &plan, 1_000), None, "three owners");
    }

    #[test]
    fn a_fee_is_shown_as_a_share_without_rounding_it_away() {
        let share = |fee, amount| share(Amount::from_grains(fee), Amount::from_grains(amount));
        assert_eq!(share(1, 1_000_000), "under 0.01 % of it");
        assert_eq!(share(150, 100_000), "0.15 % of it");
        assert_eq!(share(3, 2), "150.00 % of it");
    }
}
