//! Making wallets, keeping them, and showing their words.

use std::{
    fs,
    io::{self, IsTerminal},
    path::Path,
};

use ashlar_consensus::Genesis;
use ashlar_primitives::{Address, keys::Mnemonic};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use zeroize::Zeroizing;

use super::Context;
use crate::{
    backup::Backup,
    cli::{
        ChainArguments, ChangePasswordArguments, CostArguments, NewArguments, RestoreArguments,
        WatchArguments, Words,
    },
    failure::Failure,
    journal::Journal,
    keystore::{CHANGE, Chain, Cost, Keystore, RECEIVE, Secret, Unlocked},
    node::Node,
    password,
    policy::book::Book,
    wallets::{self, Wallets},
};

/// Most addresses of a watch-only wallet.
const MAX_WATCHED: usize = 100_000;

async fn chain_for(context: &Context<'_>, given: &ChainArguments) -> Result<Chain, Failure> {
    if let Some(path) = &given.genesis {
        let text = read(path)?;
        let genesis = Genesis::parse(&text)?;
        let params = genesis.params();
        return Ok(Chain {
            name: params.name.clone(),
            id: params.chain_id.to_string(),
            address_prefix: params.address_prefix.clone(),
        });
    }
    if !context.has_node() {
        return Err(Failure::NoChain);
    }
    Ok(context.node()?.chain().await?)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::Unreadable { path: path.to_owned(), error })
}

const fn cost(arguments: &CostArguments) -> Cost {
    if arguments.light_kdf { Cost::LIGHT } else { Cost::STRONG }
}

/// A place for a new wallet, nobody else's.
fn prepare(context: &Context<'_>) -> Result<Journal, Failure> {
    wallets::make_folder(&context.wallet)?;
    let journal = Journal::lock(&context.wallet)?;
    // Asked before the password: a name that is taken should not cost one.
    Keystore::check_free(&context.wallet)?;
    Ok(journal)
}

/// The same, where a journal that was left behind would be another wallet's.
fn prepare_new(context: &Context<'_>) -> Result<Journal, Failure> {
    let journal = prepare(context)?;
    let path = Journal::path_of(&context.wallet);
    if path.exists() { Err(Failure::Occupied { path }) } else { Ok(journal) }
}

pub(super) async fn create(context: &Context<'_>, new: &NewArguments) -> Result<(), Failure> {
    let chain = chain_for(context, &new.chain).await?;
    let _journal = prepare_new(context)?;
    let password = password::new(&context.arguments.password, &new.cost)?;
    let passphrase = password::passphrase(&new.passphrase)?;
    let mut entropy = Zeroizing::new([0u8; 32]);
    rand::fill(&mut *entropy);
    let length = match new.words {
        Words::Twelve => 16,
        Words::TwentyFour => 32,
    };
    let mnemonic = Mnemonic::from_entropy(&entropy[..length])?;
    let has_passphrase = !passphrase.is_empty();
    let secret = Secret { mnemonic, passphrase };
    let mut wallet = Unlocked::create(&context.wallet, chain, secret, &password, cost(&new.cost))?;
    wallet.save()?;
    let address = wallet.keystore().receive_address()?.to_string();
    let words = wallet.secret().mnemonic.words();
    let mut lines = vec![
        format!("The wallet {} is made. Its first address:", context.wallet.display()),
        format!("  {address}"),
        "Write these words on paper, in order. Whoever has them has the money; without them".into(),
        "and without the file it is lost. They are not shown again:".into(),
    ];
    lines.extend(numbered(&words));
    if has_passphrase {
        lines.push("The passphrase belongs to them and is not shown: write it down too.".into());
    }
    context.tell(
        &json!({ "wallet": context.wallet, "address": address, "mnemonic": words.as_str() }),
        &lines,
    );
    Ok(())
}

/// Words in rows of six, each with its number: easier to write down and to check.
fn numbered(words: &str) -> Vec<String> {
    let words: Vec<&str> = words.split(' ').collect();
    let rows = words.chunks(6).enumerate();
    rows.map(|(row, words)| {
        let cells = words.iter().enumerate();
        let cells = cells.map(|(place, word)| format!("{:>2} {word:<9}", row * 6 + place + 1));
        format!("  {}", cells.collect::<String>().trim_end())
    })
    .collect()
}

pub(super) async fn restore(context: &Context<'_>, old: &RestoreArguments) -> Result<(), Failure> {
    if let Some(path) = &old.from {
        return restore_backup(context, path);
    }
    let chain = chain_for(context, &old.chain).await?;
    let _journal = prepare(context)?;
    let words = password::mnemonic(old.mnemonic_file.as_deref())?;
    let mnemonic = Mnemonic::parse(&words)?;
    let passphrase = password::passphrase(&old.passphrase)?;
    let password = password::new(&context.arguments.password, &old.cost)?;
    let secret = Secret { mnemonic, passphrase };
    let mut wallet = Unlocked::create(&context.wallet, chain, secret, &password, cost(&old.cost))?;
    if context.has_node() {
        let node = context.node()?;
        node.check_chain(wallet.keystore().chain()).await?;
        scan(&node, &mut wallet, old.gap_limit).await?;
    }
    wallet.save()?;
    let addresses = wallet.keystore().keys().len();
    let address = wallet.keystore().receive_address()?.to_string();
    let mut lines = vec![
        format!("The wallet {} is restored: {addresses} addresses.", context.wallet.display()),
        format!("  {address}"),
    ];
    if !context.has_node() {
        lines.push(
            "No node was asked for used addresses: with --datadir DIR they would be found.".into(),
        );
    }
    context.tell(
        &json!({
            "wallet": context.wallet,
            "address": address,
            "addresses": addresses,
            "scanned": context.has_node(),
        }),
        &lines,
    );
    Ok(())
}

/// Makes addresses until so many in a row were never used, then keeps those that were (and one).
async fn scan(node: &Node, wallet: &mut Unlocked, gap_limit: u32) -> Result<(), Failure> {
    let bar = match io::stderr().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {pos}/{len}") {
        bar.set_style(style);
    }
    for (row, what) in [(RECEIVE, "addresses"), (CHANGE, "change")] {
        let mut used = 0u32;
        loop {
            let goal = used.saturating_add(gap_limit);
            bar.set_message(format!("looking at {what}, {used} in use"));
            bar.set_length(u64::from(goal));
            for number in count(wallet, row)..goal {
                bar.set_position(u64::from(number));
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
    bar.finish_and_clear();
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

pub(super) async fn watch(context: &Context<'_>, list: &WatchArguments) -> Result<(), Failure> {
    let chain = chain_for(context, &list.chain).await?;
    let mut journal = prepare_new(context)?;
    let mut addresses = Vec::new();
    for text in &list.addresses {
        addresses.push(Address::parse(text, &chain.address_prefix)?);
    }
    if let Some(path) = &list.file {
        for (number, line) in read(path)?.lines().enumerate().take(MAX_WATCHED) {
            let (address, label) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            if address.is_empty() {
                continue;
            }
            let address = Address::parse(address, &chain.address_prefix).map_err(|error| {
                Failure::WatchList { path: path.clone(), line: number + 1, error }
            })?;
            journal.set_label(&address.to_string(), label.trim())?;
            addresses.push(address);
        }
    }
    addresses.dedup();
    journal.save()?;
    Keystore::watch(&context.wallet, chain, &addresses)?;
    context.tell(
        &json!({ "wallet": context.wallet, "addresses": addresses.len() }),
        &[format!("{} watches {} addresses.", context.wallet.display(), addresses.len())],
    );
    Ok(())
}

/// The named wallets, the default one marked.
pub(super) fn list(context: &Context<'_>) -> Result<(), Failure> {
    let wallets = Wallets::find(context.arguments.wallets.as_deref())?;
    let (names, default) = (wallets.names()?, wallets.default_name()?);
    let mut lines: Vec<String> = names
        .iter()
        .map(|name| format!("{} {name}", if *name == default { '*' } else { ' ' }))
        .collect();
    if lines.is_empty() {
        lines.push("There are none yet; make one with `create` or `restore`.".to_owned());
    }
    context.tell(&json!({ "wallets": names, "default": default }), &lines);
    Ok(())
}

/// Makes a named wallet the default.
pub(super) fn choose(context: &Context<'_>, name: &str) -> Result<(), Failure> {
    Wallets::find(context.arguments.wallets.as_deref())?.set_default(name)?;
    context.tell(&json!({ "default": name }), &[format!("{name} is the default wallet now.")]);
    Ok(())
}

pub(super) fn backup(context: &Context<'_>, file: &Path) -> Result<(), Failure> {
    let journal = context.lock()?;
    let keystore = context.keystore()?;
    let policies = Book::read(&context.wallet, keystore.chain())?;
    Backup::new(&keystore, &journal, &policies).write(file)?;
    context.tell(
        &json!({ "backup": file, "payments": journal.payments().len() }),
        &[
            format!("{} holds the wallet, its journal and its policies.", file.display()),
            "It opens with the password of today; the words alone restore the money too.".into(),
        ],
    );
    Ok(())
}

fn restore_backup(context: &Context<'_>, file: &Path) -> Result<(), Failure> {
    let backup = Backup::read(file)?;
    let mut journal = prepare_new(context)?;
    let payments = backup.restore(&context.wallet, &mut journal)?;
    let address = context.keystore()?.receive_address()?.to_string();
    context.tell(
        &json!({ "wallet": context.wallet, "address": address, "payments": payments }),
        &[
            format!("The wallet {} is as it was.", context.wallet.display()),
            "Addresses made since the backup are found by restoring from the words.".into(),
        ],
    );
    Ok(())
}

pub(super) fn change_password(
    context: &Context<'_>,
    change: &ChangePasswordArguments,
) -> Result<(), Failure> {
    let _journal = context.lock()?;
    let mut wallet = context.unlock()?;
    let password = password::changed(change)?;
    let cost = match change.cost.light_kdf {
        true => Cost::LIGHT,
        // A light wallet stays one: it holds nothing of worth.
        false => wallet.cost(),
    };
    wallet.change_password(&password, cost)?;
    wallet.save()?;
    context.tell(
        &json!({ "wallet": context.wallet, "changed": true }),
        &["The password is changed. Backups made before still open with the old one.".to_owned()],
    );
    Ok(())
}

pub(super) fn show_mnemonic(context: &Context<'_>, yes: bool) -> Result<(), Failure> {
    if !yes {
        super::ask(
            "show the words",
            &["Whoever sees the words has the money, for ever.".to_owned()],
            "Is nobody looking?",
        )?;
    }
    let wallet = context.unlock()?;
    let words = wallet.secret().mnemonic.words();
    let has_passphrase = !wallet.secret().passphrase.is_empty();
    let mut lines = numbered(&words);
    if has_passphrase {
        lines.push("A passphrase belongs to them; it is not shown.".into());
    }
    context.tell(&json!({ "mnemonic": words.as_str(), "passphrase": has_passphrase }), &lines);
    Ok(())
}
