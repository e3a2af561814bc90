//! `ashlar-wallet`: keys in a file, payments through a node's JSON-RPC.
//!
//! It knows no ledger and no engine: what it needs of the chain it asks a node, and signs only
//! for the chain that its file names. Reading order: [`wallets`], [`keystore`] and [`journal`]
//! (what is kept and how), [`select`] and [`payment`] (coins → a signed transaction, without IO),
//! [`node`] (what is asked), [`trust`] (how it is checked), [`track`] (where payments stand), [`policy`], [`offline`] and
//! [`message`] (coins of several owners, transactions signed apart, signed texts), [`cli`] (what can
//! be typed), then [`commands`], a file for each family.

mod amount;
mod backup;
mod cli;
mod commands;
mod date;
mod exchange;
mod failure;
mod files;
mod journal;
mod keystore;
mod message;
mod node;
mod offline;
mod password;
mod payment;
mod policy;
mod select;
mod track;
mod trust;
mod uri;
mod wallets;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    keep_memory_private();
    let arguments = cli::Arguments::parse();
    match commands::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(arguments.json);
            failure.kind().into()
        }
    }
}

/// No core dumps and no debugger of the same user: secrets stay where they are. Where the system
/// does not know how, it goes on without.
fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).ok();
}
