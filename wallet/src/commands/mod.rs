//! The commands, a file for each family: ask, decide, tell.

mod create;
mod pay;
mod receive;

use std::path::PathBuf;

use serde_json::Value;

use crate::{
    cli::{Arguments, Command},
    failure::Failure,
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

/// Carries out one command.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let context = Context { arguments, wallet: Wallets::chosen(arguments)? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &arguments.command {
            Command::Create(new) => create::create(&context, new).await,
            Command::Restore(new) => create::restore(&context, new).await,
            Command::Address { new } => receive::address(&context, *new),
            Command::Balance => receive::balance(&context).await,
            Command::Send(order) => pay::send(&context, order).await,
            Command::History => receive::history(&context).await,
            Command::Status => receive::status(&context).await,
            Command::Wallets => create::list(&context),
            Command::Use { name } => create::choose(&context, name),
        }
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

    /// The wallet with its secret: asks for the password.
    pub(crate) fn unlock(&self) -> Result<Unlocked, Failure> {
        // Read first: a missing file should not cost a password.
        let keystore = self.keystore()?;
        let password = password::existing(&self.arguments.password)?;
        Ok(keystore.unlock(&password)?)
    }

    pub(crate) fn node(&self) -> Result<Node, Failure> {
        Ok(Node::find(&self.arguments.node)?)
    }

    /// Whether the user named a node.
    pub(crate) const fn has_node(&self) -> bool {
        self.arguments.node.datadir.is_some() || self.arguments.node.rpc.is_some()
    }
}
