//! The commands: ask, decide, tell.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, IsTerminal, Write},
};

use ashlar_consensus::Genesis;
use ashlar_primitives::{Address, Amount, keys::Mnemonic};
use serde_json::{Value, json};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    Arguments, Command, Failure, NewArguments, SendArguments, Words,
    amount::show,
    keystore::{CHANGE, Chain, Cost, Keystore, RECEIVE, Unlocked},
    node::Node,
    password,
    payment::{self, Order, Plan},
};

/// How many unused addresses in a row end a scan (BIP-44's gap limit).
const GAP_LIMIT: u32 = 20;
/// A memo or answer typed on a terminal is not longer.
const MAX_ANSWER_BYTES: u64 = 1_024;

#[derive(Debug, Error)]
enum CommandError {
    #[error("say --yes to pay without being asked: there is no terminal to ask on")]
    NobodyToAsk,
    #[error("not sent")]
    NotSent,
    #[error("name the chain: --genesis FILE, or a node (--datadir DIR)")]
    NoChain,
    #[error("{path} can't be read: {error}")]
    Genesis { path: std::path::PathBuf, error: io::Error },
    #[error("the payment waits already ({txid}); nothing new was sent")]
    NothingNew { txid: String },
}

/// Carries out one command.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &arguments.command {
            Command::Create(new) => create(arguments, new).await,
            Command::Restore(new) => restore(arguments, new).await,
            Command::Address { new } => address(arguments, *new),
            Command::Balance => balance(arguments).await,
            Command::Send(send_arguments) => send(arguments, send_arguments).await,
            Command::History => history(arguments).await,
            Command::Status => status(arguments).await,
        }
    })
}

/// JSON, or the lines for people.
fn tell(arguments: &Arguments, value: &Value, lines: &[String]) {
    if arguments.json {
        println!("{value:#}");
    } else {
        for line in lines {
            println!("{line}");
        }
    }
}

fn unlock(arguments: &Arguments) -> Result<Unlocked, Failure> {
    let keystore = Keystore::read(&arguments.wallet)?;
    let password = password::existing(&arguments.password)?;
    Ok(keystore.unlock(&password)?)
}

async fn chain_for(arguments: &Arguments, new: &NewArguments) -> Result<Chain, Failure> {
    if let Some(path) = &new.genesis {
        let text = fs::read_to_string(path)
            .map_err(|error| CommandError::Genesis { path: path.clone(), error })?;
        let genesis = Genesis::parse(&text)?;
        let params = genesis.params();
        return Ok(Chain {
            name: params.name.clone(),
            id: params.chain_id.to_string(),
            address_prefix: params.address_prefix.clone(),
        });
    }
    if arguments.node.datadir.is_none() && arguments.node.rpc.is_none() {
        return Err(CommandError::NoChain.into());
    }
    Ok(Node::find(&arguments.node)?.chain().await?)
}

fn cost(new: &NewArguments) -> Cost {
    if new.light_kdf { Cost::LIGHT } else { Cost::STRONG }
}

async fn create(arguments: &Arguments, new: &NewArguments) -> Result<(), Failure> {
    let chain = chain_for(arguments, new).await?;
    let password = password::new(&arguments.password)?;
    let mut entropy = Zeroizing::new([0u8; 32]);
    rand::fill(&mut *entropy);
    let length = match new.words {
        Words::Twelve => 16,
        Words::TwentyFour => 32,
    };
    let mnemonic = Mnemonic::from_entropy(&entropy[..length])?;
    let mut wallet = Unlocked::create(&arguments.wallet, chain, mnemonic, &password, cost(new))?;
    wallet.save()?;
    let address = wallet.keystore().receive_address()?.to_string();
    let words = wallet.words();
    tell(
        arguments,
        &json!({ "wallet": arguments.wallet, "address": address, "mnemonic": words.as_str() }),
        &[
            format!("The wallet {} is made. Its first address:", arguments.wallet.display()),
            format!("  {address}"),
            "Write these words on paper, in order. Whoever has them has the money; without them"
                .into(),
            "and without the file it is lost. They are not shown again:".into(),
            format!("  {}", words.as_str()),
        ],
    );
    Ok(())
}

async fn restore(arguments: &Arguments, new: &NewArguments) -> Result<(), Failure> {
    let chain = chain_for(arguments, new).await?;
    let words = password::mnemonic(new.mnemonic_file.as_deref())?;
    let mnemonic = Mnemonic::parse(&words)?;
    let password = password::new(&arguments.password)?;
    let mut wallet = Unlocked::create(&arguments.wallet, chain, mnemonic, &password, cost(new))?;
    let has_node = arguments.node.datadir.is_some() || arguments.node.rpc.is_some();
    if has_node {
        let node = Node::find(&arguments.node)?;
        node.check_chain(wallet.keystore().chain()).await?;
        scan(&node, &mut wallet).await?;
    }
    wallet.save()?;
    let addresses = wallet.keystore().keys().len();
    let address = wallet.keystore().receive_address()?.to_string();
    tell(
        arguments,
        &json!({ "wallet": arguments.wallet, "address": address, "addresses": addresses, "scanned": has_node }),
        &[
            format!(
                "The wallet {} is restored: {addresses} addresses.",
                arguments.wallet.display()
            ),
            format!("  {address}"),
        ],
    );
    Ok(())
}

/// Makes addresses until so many in a row were never used, then keeps those that were (and one).
async fn scan(node: &Node, wallet: &mut Unlocked) -> Result<(), Failure> {
    for row in [RECEIVE, CHANGE] {
        let mut used = 0;
        loop {
            for _ in count(wallet, row)..used + GAP_LIMIT {
                wallet.next_address(row)?;
            }
            let addresses = row_addresses(wallet, row)?;
            let seen = node.used(&addresses).await?;
            let newest = addresses
                .iter()
                .rposition(|address| seen.contains(address.to_string().as_str()))
                .map_or(0, |position| u32::try_from(position + 1).unwrap_or(u32::MAX));
            if newest == used {
                break;
            }
            used = newest;
        }
        let least = u32::from(row == RECEIVE);
        wallet.keep(row, used.max(least));
    }
    Ok(())
}

fn count(wallet: &Unlocked, row: u32) -> u32 {
    let keys = wallet.keystore().keys().iter().filter(|key| key.change == row).count();
    u32::try_from(keys).unwrap_or(u32::MAX)
}

fn row_addresses(wallet: &Unlocked, row: u32) -> Result<Vec<Address>, Failure> {
    let keystore = wallet.keystore();
    let keys = keystore.keys().iter().filter(|key| key.change == row);
    Ok(keys.map(|key| keystore.address(key)).collect::<Result<_, _>>()?)
}

fn address(arguments: &Arguments, new: bool) -> Result<(), Failure> {
    let address = if new {
        let mut wallet = unlock(arguments)?;
        let address = wallet.next_address(RECEIVE)?;
        wallet.save()?;
        address
    } else {
        Keystore::read(&arguments.wallet)?.receive_address()?
    };
    let address = address.to_string();
    tell(arguments, &json!({ "address": address }), std::slice::from_ref(&address));
    Ok(())
}

async fn balance(arguments: &Arguments) -> Result<(), Failure> {
    let keystore = Keystore::read(&arguments.wallet)?;
    let node = Node::find(&arguments.node)?;
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
    tell(
        arguments,
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

async fn send(arguments: &Arguments, order: &SendArguments) -> Result<(), Failure> {
    let keystore = Keystore::read(&arguments.wallet)?;
    // Asked before the password: a typing error should cost nothing.
    let pay_to = Address::parse(&order.address, &keystore.chain().address_prefix)?;
    let node = Node::find(&arguments.node)?;
    node.check_chain(keystore.chain()).await?;
    let holdings = node.holdings(&keystore).await?;
    let feerate_per_kb = match order.fee_rate {
        Some(grains_per_byte) => grains_per_byte.saturating_mul(1_000),
        None => node.feerate_per_kb().await?,
    };
    let chain_id = keystore.chain().block_id()?;
    let password = password::existing(&arguments.password)?;
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
        return Err(CommandError::NothingNew { txid }.into());
    }
    tell(
        arguments,
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
        return Err(CommandError::NobodyToAsk.into());
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
        _ => Err(CommandError::NotSent.into()),
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

async fn history(arguments: &Arguments) -> Result<(), Failure> {
    let keystore = Keystore::read(&arguments.wallet)?;
    let node = Node::find(&arguments.node)?;
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
    tell(arguments, &json!(json), &text);
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

async fn status(arguments: &Arguments) -> Result<(), Failure> {
    let keystore = Keystore::read(&arguments.wallet)?;
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
    if arguments.node.datadir.is_some() || arguments.node.rpc.is_some() {
        let node = Node::find(&arguments.node)?;
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
    tell(arguments, &value, &lines);
    Ok(())
}
