//! `ashlar-wallet`: keys in a file, payments through a node's JSON-RPC.
//!
//! It knows no ledger and no engine: what it needs of the chain it asks a node, and signs only
//! for the chain that its file names. Reading order: [`wallets`] and [`keystore`] (what is kept
//! and how), [`payment`] (coins → a signed transaction, without IO), [`node`] (what is asked),
//! [`cli`] (what can be typed), then [`commands`], a file for each family.

mod amount;
mod cli;
mod commands;
mod failure;
mod keystore;
mod node;
mod password;
mod payment;
mod wallets;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match commands::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(arguments.json);
            failure.kind().into()
        }
    }
}
