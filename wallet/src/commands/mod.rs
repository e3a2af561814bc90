//! The commands, a file for each family: ask, decide, tell.

mod broadcast;
mod create;
mod follow;
mod message;
mod pay;
mod policy;
mod receive;
mod tx;

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use ashlar_primitives::{Address, Lock, PublicKey, keys::is_sound_key};
use clap::CommandFactory;
use serde_json::Value;

use crate::{
    cli::{Arguments, Command},
    failure::Failure,
    journal::Journal,
    keystore::{Keystore, Unlocked},
    node::Node,
    password,
    wallets::Wallets,
};

/// What every command is carried out with.
pub(crate) struct Context<'a> {
    pub(crate) arguments: &'a Arguments,
    /// The wallet's file.
    pub(crate) wallet: PathBuf,
}

/// An answer typed on a terminal is not longer.
const MAX_ANSWER_BYTES: u64 = 1_024;

/// Carries out one command.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Completions { shell } => return completions(*shell),
        Command::Man { directory } => return manual(directory),
        _ => {}
    }
    let context = Context { arguments, wallet: Wallets::chosen(arguments)? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(carry_out(&context))
}

async fn carry_out(context: &Context<'_>) -> Result<(), Failure> {
    match &context.arguments.command {
        Command::Create(new) => create::create(context, new).await,
        Command::Restore(old) => create::restore(context, old).await,
        Command::Watch(list) => create::watch(context, list).await,
        Command::Wallets => create::list(context),
        Command::Use { name } => create::choose(context, name),
        Command::Backup { file } => create::backup(context, file),
        Command::ChangePassword(change) => create::change_password(context, change),
        Command::ShowMnemonic { yes } => create::show_mnemonic(context, *yes),
        Command::Address(wanted) => receive::address(context, wanted),
        Command::Addresses => receive::addresses(context),
        Command::Label { address, label } => receive::label(context, address, label),
        Command::Balance => receive::balance(context).await,
        Command::Coins => receive::coins(context).await,
        Command::Freeze { coin } => receive::freeze(context, coin, true),
        Command::Unfreeze { coin } => receive::freeze(context, coin, false),
        Command::Send(order) => pay::send(context, order).await,
        Command::List => follow::list(context).await,
        Command::Show { txid } => follow::show_payment(context, txid).await,
        Command::Bump(bump) => pay::bump(context, bump).await,
        Command::Cancel(cancel) => pay::cancel(context, cancel).await,
        Command::Wait { txid, confirmations, timeout } => {
            follow::wait(context, txid.as_deref(), *confirmations, *timeout).await
        }
        Command::Rebroadcast => follow::rebroadcast(context).await,
        Command::History { csv } => follow::history(context, *csv).await,
        Command::Status => receive::status(context).await,
        Command::Policy(command) => policy::run(context, command).await,
        Command::Tx(command) => tx::run(context, command).await,
        Command::SignMessage { address, text } => message::sign(context, address, text),
        Command::VerifyMessage { address, signature, text } => {
            message::verify(context, address, signature, text)
        }
        // They need no wallet.
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ashlar-wallet", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

fn manual(directory: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(Arguments::command(), directory).map_err(|error| Failure::Unwritable {
        what: "the manual",
        path: directory.to_owned(),
        error,
    })
}

impl Context<'_> {
    /// JSON, or the lines for people.
    pub(crate) fn tell(&self, value: &Value, lines: &[String]) {
        if self.arguments.json {
            println!("{value:#}");
        } else {
            for line in lines {
                println!("{line}");
            }
        }
    }

    /// The wallet as it is without its password.
    pub(crate) fn keystore(&self) -> Result<Keystore, Failure> {
        Ok(Keystore::read(&self.wallet)?)
    }

    /// The wallet's journal, and every other command kept out until it is dropped.
    pub(crate) fn lock(&self) -> Result<Journal, Failure> {
        // A wallet that is not there gets no lock and no journal.
        self.keystore()?;
        Ok(Journal::lock(&self.wallet)?)
    }

    /// The wallet with its secret: asks for the password.
    pub(crate) fn unlock(&self) -> Result<Unlocked, Failure> {
        // Read first: a missing file should not cost a password.
        let keystore = self.keystore()?;
        let password = password::existing(&self.arguments.password)?;
        Ok(keystore.unlock(&password)?)
    }

    pub(crate) fn node(&self) -> Result<Node, Failure> {
        Ok(Node::find(&self.arguments.node, &self.wallet)?)
    }

    /// Whether the user named a node.
    pub(crate) const fn has_node(&self) -> bool {
        self.arguments.node.datadir.is_some() || self.arguments.node.rpc.is_some()
    }
}

/// Refuses to pay where nobody could spend, or everybody: to a key that is no point of the curve,
/// or one of small order.
fn refuse_unsound(address: &Address) -> Result<(), Failure> {
    let is_sound = is_sound_key(&PublicKey(address.lock.program));
    if address.lock.version != Lock::KEY || is_sound {
        return Ok(());
    }
    Err(Failure::UnsoundAddress { address: address.to_string() })
}

/// Shows what will happen and waits for a yes; `what` is said where there is nobody to ask.
fn ask(what: &'static str, lines: &[String], question: &str) -> Result<(), Failure> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(Failure::NobodyToAsk { what });
    }
    // What a script reads from standard output stays clean.
    for line in lines {
        eprintln!("{line}");
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::Read::take(input.lock(), MAX_ANSWER_BYTES).read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::SaidNo),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_paid_under_a_key_that_nobody_or_everybody_has() {
        let pay = |version, first| {
            let mut program = [0; 32];
            program[0] = first;
            refuse_unsound(&Address::new("ash", Lock { version, program }).unwrap())
        };
        // The identity, and a number that is no point.
        for first in [1, 2] {
            assert!(matches!(pay(Lock::KEY, first), Err(Failure::UnsoundAddress { .. })));
            assert!(pay(Lock::POLICY, first).is_ok(), "the id of a policy may be any");
        }
    }
}
