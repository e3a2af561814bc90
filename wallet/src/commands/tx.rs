//! Transactions that are signed apart: created, signed, combined, finalized, sent.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use ashlar_primitives::{Address, Encode, Lock, Output, Policy};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Context, broadcast};
use crate::{
    cli::shared::{CreateArguments, SignArguments, TxCommand},
    exchange,
    failure::Failure,
    journal::Journal,
    keystore::{Chain, Keystore},
    node::Node,
    offline::{
        OfflineError, Partial,
        file::{FileContent, MAX_FILE_BYTES},
        fund::{self, Wish},
    },
    policy::book::Book,
};

/// Of a file with a secret: its digits and white space.
const MAX_SECRET_BYTES: u64 = 1_024;

pub(super) async fn run(context: &Context<'_>, command: &TxCommand) -> Result<(), Failure> {
    match command {
        TxCommand::Create(order) => create(context, order).await,
        TxCommand::Sign(order) => sign(context, order),
        TxCommand::Combine { files, out } => combine(context, files, out),
        TxCommand::Finalize { file, out } => finalize(context, file, out.as_deref()).await,
        TxCommand::Inspect { file } => inspect(context, file).await,
        TxCommand::Broadcast { file } => broadcast::run(context, file).await,
        TxCommand::Discard { file } => discard(context, file),
    }
}

fn read(file: &Path) -> Result<Partial, Failure> {
    let content: FileContent =
        exchange::read_json(file, MAX_FILE_BYTES, "partially signed transaction")?;
    Ok(Partial::from_file(content)?)
}

/// What is told of every such transaction.
fn as_json(partial: &Partial, next_height: Option<u32>) -> Result<Value, Failure> {
    let chain = partial.chain();
    let signatures = partial.signed_keys();
    let keys = partial.wanted_keys();
    let text = |key| crate::policy::terms::key_text(key, &chain.address_prefix);
    let missing = keys.iter().filter(|key| !signatures.contains(key)).map(text);
    let output = |output: &Output| {
        let address = Address::new(&chain.address_prefix, output.lock);
        json!({
            "value": output.value.grains(),
            "address": address.map_or_else(|_| String::new(), |address| address.to_string()),
        })
    };
    Ok(json!({
        "txid": partial.transaction().txid().to_string(),
        "chain_id": chain.id,
        "spends": partial.coins().iter().map(|coin| output(&coin.output)).collect::<Vec<_>>(),
        "pays": partial.transaction().outputs.iter().map(output).collect::<Vec<_>>(),
        "fee": partial.fee()?.grains(),
        "most_bytes": partial.most_bytes(),
        "not_before": partial.transaction().not_before,
        "signed": signatures.iter().map(text).collect::<Vec<_>>(),
        "unsigned": missing.collect::<Vec<_>>(),
        "complete": partial.finalize(next_height).is_ok(),
    }))
}

async fn create(context: &Context<'_>, order: &CreateArguments) -> Result<(), Failure> {
    let keystore = context.keystore()?;
    let chain = keystore.chain();
    let prefix = &chain.address_prefix;
    let (mut pays, mut rest_to) = (Vec::new(), None);
    for pay in &order.pay {
        let address = Address::parse(&pay.address, prefix)?;
        super::refuse_unsound(&address)?;
        let lock = address.lock;
        match pay.amount {
            Some(value) => pays.push(Output { value, lock }),
            None if rest_to.is_none() => rest_to = Some(lock),
            None => return Err(OfflineError::TwiceMax.into()),
        }
    }
    let (addresses, policies, back_to) = source(context, &keystore, order.from.as_deref())?;
    let change_to = match &order.change {
        Some(address) => Address::parse(address, prefix)?.lock,
        None => back_to,
    };
    let node = context.node()?;
    node.check_chain(chain).await?;
    let mut journal = context.lock()?;
    release_spent(&node, &mut journal).await?;
    let mut coins = node.coins(&addresses).await?;
    // What is promised to another payment is left to it, and frozen coins lie.
    let reserved = journal.reserved();
    coins.retain(|coin| !reserved.contains(&coin.outpoint));
    let feerate_per_kb = match order.fee.fee_rate {
        Some(grains_per_byte) => grains_per_byte.saturating_mul(1_000),
        None => node.feerate_per_kb(order.fee.target).await?,
    };
    let wish = Wish {
        pays,
        rest_to,
        change_to,
        feerate_per_kb,
        not_before: order.not_before,
        memo: order.memo.clone().into_bytes(),
        allow_high_fee: order.fee.allow_high_fee,
    };
    let partial = fund::fund(chain, &wish, coins, &policies, &mut rand::rng())?;
    node.check_coins(partial.coins().iter().map(|coin| (coin.outpoint, coin.output))).await?;
    let text = exchange::to_text(&partial.to_file()?)?;
    exchange::create(&order.out, text.as_bytes())?;
    let spent = partial.coins().iter().map(|coin| coin.outpoint);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    journal.promise(&partial.transaction().txid(), spent, now)?;
    let done = format!("It is in {}; its coins are kept for it.", order.out.display());
    tell(context, &partial, None, &done)
}

/// A transaction of which a coin was spent can't come any more: the others are free.
async fn release_spent(node: &Node, journal: &mut Journal) -> Result<(), Failure> {
    for (txid, coins) in journal.promises() {
        for coin in coins {
            if !node.is_unspent(&coin, false).await? {
                journal.release(&txid);
                break;
            }
        }
    }
    Ok(())
}

fn discard(context: &Context<'_>, file: &Path) -> Result<(), Failure> {
    let partial = read(file)?;
    let txid = partial.transaction().txid().to_string();
    let mut journal = context.lock()?;
    let news = journal.release(&txid);
    journal.save()?;
    let line = match news {
        true => format!("The coins of {txid} are free again."),
        false => format!("This wallet kept no coins for {txid}."),
    };
    context.tell(&json!({ "txid": txid, "changed": news }), &[line]);
    Ok(())
}

/// Whose coins are spent, under which policies, and where change returns.
fn source(
    context: &Context<'_>,
    keystore: &Keystore,
    from: Option<&str>,
) -> Result<(Vec<Address>, Vec<Policy>, Lock), Failure> {
    let Some(name) = from else {
        return Ok((keystore.addresses()?, Vec::new(), keystore.receive_address()?.lock));
    };
    let book = Book::read(&context.wallet, keystore.chain())?;
    let watched = book.find(name)?;
    let lock = watched.address.lock;
    Ok((vec![watched.address.clone()], vec![watched.policy.clone()], lock))
}

/// The outline of a transaction, and what became of it.
fn tell(
    context: &Context<'_>,
    partial: &Partial,
    next_height: Option<u32>,
    done: &str,
) -> Result<(), Failure> {
    let own = own_addresses(context);
    let mut lines = partial.outline(|address| own.iter().any(|own| own == address), next_height);
    if !done.is_empty() {
        lines.push(done.to_owned());
    }
    context.tell(&as_json(partial, next_height)?, &lines);
    Ok(())
}

/// Of the wallet and its policies, where there is one: others may look at such files too.
pub(super) fn own_addresses(context: &Context<'_>) -> Vec<String> {
    let Ok(keystore) = context.keystore() else { return Vec::new() };
    let mut own: Vec<String> =
        keystore.addresses().unwrap_or_default().iter().map(ToString::to_string).collect();
    if let Ok(book) = Book::read(&context.wallet, keystore.chain()) {
        own.extend(book.watched().iter().map(|watched| watched.address.to_string()));
    }
    own
}

fn check_chain(partial: &Partial, wallet: &Chain) -> Result<(), OfflineError> {
    let file = &partial.chain().id;
    if *file == wallet.id {
        return Ok(());
    }
    Err(OfflineError::OtherChain { file: file.clone(), wallet: wallet.id.clone() })
}

fn sign(context: &Context<'_>, order: &SignArguments) -> Result<(), Failure> {
    let mut partial = read(&order.file)?;
    let keystore = context.keystore()?;
    check_chain(&partial, keystore.chain())?;
    if !order.allow_high_fee {
        fund::refuse_high_fee(&partial)?;
    }
    if let Some(file) = &order.preimage {
        partial.add_preimage(*secret(file)?)?;
    }
    let is_own = |key| keystore.key_of(&Lock::key(key)).is_some();
    if !partial.wanted_keys().into_iter().any(is_own) {
        return Err(OfflineError::NothingToSign.into());
    }
    if !order.yes {
        let own = own_addresses(context);
        let outline = partial.outline(|address| own.iter().any(|own| own == address), None);
        super::ask("sign", &outline, "Sign it?")?;
    }
    let wallet = context.unlock()?;
    partial.sign(|key| match wallet.keystore().key_of(&Lock::key(*key)) {
        Some(own) => Ok::<_, Failure>(Some(wallet.secret_key(own.change, own.index)?)),
        None => Ok(None),
    })?;
    let out = order.out.as_ref().unwrap_or(&order.file);
    exchange::replace_json(out, &partial.to_file()?)?;
    tell(context, &partial, None, &format!("Signed; it is in {}.", out.display()))
}

fn secret(file: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let text = Zeroizing::new(exchange::read(file, MAX_SECRET_BYTES)?);
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut *secret).map_err(|_| OfflineError::NotASecret)?;
    Ok(secret)
}

fn combine(context: &Context<'_>, files: &[PathBuf], out: &Path) -> Result<(), Failure> {
    let mut copies = files.iter().map(|file| read(file));
    let Some(first) = copies.next() else { return Ok(()) };
    let mut all = first?;
    for copy in copies {
        all.combine(copy?)?;
    }
    exchange::replace_json(out, &all.to_file()?)?;
    tell(context, &all, None, &format!("Combined; it is in {}.", out.display()))
}

/// The height of the next block, where a node of the transaction's chain was named.
async fn next_height(context: &Context<'_>, chain: &Chain) -> Result<Option<u32>, Failure> {
    if !context.has_node() {
        return Ok(None);
    }
    let info = context.node()?.check_chain(chain).await?;
    Ok(Some(info.at.tip_height.saturating_add(1)))
}

async fn inspect(context: &Context<'_>, file: &Path) -> Result<(), Failure> {
    let partial = read(file)?;
    let height = next_height(context, partial.chain()).await?;
    tell(context, &partial, height, "")
}

async fn finalize(context: &Context<'_>, file: &Path, out: Option<&Path>) -> Result<(), Failure> {
    let partial = read(file)?;
    let transaction = partial.finalize(next_height(context, partial.chain()).await?)?;
    let hex = hex::encode(transaction.to_bytes());
    if let Some(out) = out {
        exchange::create(out, format!("{hex}\n").as_bytes())?;
    }
    context.tell(
        &json!({
            "txid": transaction.txid().to_string(),
            "hex": &hex,
            "fee": partial.fee()?.grains(),
            "size_bytes": transaction.encoded_len(),
        }),
        &match out {
            Some(out) => vec![format!("Whole; it is in {}.", out.display())],
            None => vec![hex],
        },
    );
    Ok(())
}
