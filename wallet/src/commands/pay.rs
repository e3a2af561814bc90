//! Paying.

use std::io::{self, BufRead, IsTerminal, Write};

use ashlar_primitives::{Address, Amount};
use serde_json::json;

use super::Context;
use crate::{
    amount::show,
    cli::SendArguments,
    failure::Failure,
    keystore::CHANGE,
    password,
    payment::{self, Order, Plan},
};

/// An answer typed on a terminal is not longer.
const MAX_ANSWER_BYTES: u64 = 1_024;

pub(super) async fn send(context: &Context<'_>, order: &SendArguments) -> Result<(), Failure> {
    let keystore = context.keystore()?;
    // Asked before the password: a typing error should cost nothing.
    let pay_to = Address::parse(&order.address, &keystore.chain().address_prefix)?;
    let node = context.node()?;
    node.check_chain(keystore.chain()).await?;
    let holdings = node.holdings(&keystore).await?;
    let feerate_per_kb = match order.fee_rate {
        Some(grains_per_byte) => grains_per_byte.saturating_mul(1_000),
        None => node.feerate_per_kb().await?,
    };
    let chain_id = keystore.chain().block_id()?;
    let password = password::existing(&context.arguments.password)?;
    let mut wallet = keystore.unlock(&password)?;
    let change_to = wallet.next_address(CHANGE)?.lock;
    let mut plan = payment::plan(
        &Order {
            pay_to: pay_to.lock,
            amount: order.amount,
            memo: order.memo.clone().into_bytes(),
            feerate_per_kb,
            change_to,
            allow_high_fee: order.allow_high_fee,
        },
        holdings.spendable,
    )?;
    if !order.yes {
        confirm(&pay_to, order.amount, &plan)?;
    }
    payment::sign(&mut plan, &chain_id, |row, index| wallet.secret_key(row, index))?;
    if plan.change.is_some() {
        // On disk before the world can know the address.
        wallet.save()?;
    }
    let txid = node.submit(&plan.transaction).await?;
    if txid != plan.transaction.txid().to_string() {
        return Err(Failure::NothingNew { txid });
    }
    context.tell(
        &json!({
            "txid": txid,
            "amount": order.amount.grains(),
            "fee": plan.fee.grains(),
            "change": plan.change.map_or(0, Amount::grains),
            "size_bytes": plan.size_bytes,
        }),
        &[
            format!("Sent {} to {pay_to}, fee {}.", show(order.amount), show(plan.fee)),
            format!("  {txid}"),
        ],
    );
    Ok(())
}

/// Shows what will happen and waits for a yes.
fn confirm(pay_to: &Address, amount: Amount, plan: &Plan) -> Result<(), Failure> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(Failure::NobodyToAsk { what: "pay" });
    }
    let text = pay_to.to_string();
    println!("Pay     {}", show(amount));
    println!("to      {text}");
    println!("        (it ends in {})", &text[text.len().saturating_sub(8)..]);
    println!("fee     {} grains, {}", plan.fee, share(plan.fee, amount));
    println!("change  {}", show(plan.change.unwrap_or(Amount::ZERO)));
    print!("Send it? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::Read::take(input.lock(), MAX_ANSWER_BYTES).read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::SaidNo),
    }
}

/// A fee as a share of the amount, in hundredths of a percent, without floats.
fn share(fee: Amount, amount: Amount) -> String {
    let hundredths = u128::from(fee.grains()) * 10_000 / u128::from(amount.grains().max(1));
    match hundredths {
        0 => "under 0.01 % of it".to_owned(),
        _ => format!("{}.{:02} % of it", hundredths / 100, hundredths % 100),
    }
}
