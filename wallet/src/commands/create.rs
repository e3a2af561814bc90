//! Making wallets: new ones, and old ones from their words.

use std::fs;

use ashlar_consensus::Genesis;
use ashlar_primitives::{Address, keys::Mnemonic};
use serde_json::json;
use zeroize::Zeroizing;

use super::Context;
use crate::{
    cli::{NewArguments, Words},
    failure::Failure,
    keystore::{CHANGE, Chain, Cost, RECEIVE, Unlocked},
    node::Node,
    password,
    wallets::{self, Wallets},
};

/// How many unused addresses in a row end a scan (BIP-44's gap limit).
const GAP_LIMIT: u32 = 20;

async fn chain_for(context: &Context<'_>, new: &NewArguments) -> Result<Chain, Failure> {
    if let Some(path) = &new.genesis {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::Unreadable { path: path.clone(), error })?;
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

fn cost(new: &NewArguments) -> Cost {
    if new.light_kdf { Cost::LIGHT } else { Cost::STRONG }
}

pub(super) async fn create(context: &Context<'_>, new: &NewArguments) -> Result<(), Failure> {
    let chain = chain_for(context, new).await?;
    let password = password::new(&context.arguments.password)?;
    let mut entropy = Zeroizing::new([0u8; 32]);
    rand::fill(&mut *entropy);
    let length = match new.words {
        Words::Twelve => 16,
        Words::TwentyFour => 32,
    };
    let mnemonic = Mnemonic::from_entropy(&entropy[..length])?;
    wallets::make_folder(&context.wallet)?;
    let mut wallet = Unlocked::create(&context.wallet, chain, mnemonic, &password, cost(new))?;
    wallet.save()?;
    let address = wallet.keystore().receive_address()?.to_string();
    let words = wallet.words();
    context.tell(
        &json!({ "wallet": context.wallet, "address": address, "mnemonic": words.as_str() }),
        &[
            format!("The wallet {} is made. Its first address:", context.wallet.display()),
            format!("  {address}"),
            "Write these words on paper, in order. Whoever has them has the money; without them"
                .into(),
            "and without the file it is lost. They are not shown again:".into(),
            format!("  {}", words.as_str()),
        ],
    );
    Ok(())
}

pub(super) async fn restore(context: &Context<'_>, new: &NewArguments) -> Result<(), Failure> {
    let chain = chain_for(context, new).await?;
    let words = password::mnemonic(new.mnemonic_file.as_deref())?;
    let mnemonic = Mnemonic::parse(&words)?;
    let password = password::new(&context.arguments.password)?;
    wallets::make_folder(&context.wallet)?;
    let mut wallet = Unlocked::create(&context.wallet, chain, mnemonic, &password, cost(new))?;
    let has_node = context.has_node();
    if has_node {
        let node = context.node()?;
        node.check_chain(wallet.keystore().chain()).await?;
        scan(&node, &mut wallet).await?;
    }
    wallet.save()?;
    let addresses = wallet.keystore().keys().len();
    let address = wallet.keystore().receive_address()?.to_string();
    context.tell(
        &json!({ "wallet": context.wallet, "address": address, "addresses": addresses, "scanned": has_node }),
        &[
            format!(
                "The wallet {} is restored: {addresses} addresses.",
                context.wallet.display()
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
