//! `ashlar-node`: the driver that runs one engine on real disks, sockets and clocks.
//!
//! It wires rooms together and decides nothing about the chain. Reading order: [`config`] (what
//! the operator chooses), [`run`] (start, supervision, stop), [`driver`] (the engine's thread and
//! its two lanes), then [`backend`] and [`mining`], which are callers of the engine like others;
//! [`care`] holds the commands for a node that is stopped.

mod backend;
mod backup;
mod care;
mod check_file;
mod clock;
mod config;
mod cores;
mod datadir;
mod disk;
mod driver;
mod health;
mod init;
mod keeper;
mod lanes;
mod logging;
mod mempool_file;
mod metrics;
mod mining;
mod progress;
mod remote;
mod reorg;
mod run;
mod size;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A full node of a private Ashlar chain.
#[derive(Debug, Parser)]
#[command(name = "ashlar-node", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until it is stopped by a signal or by RPC.
    Run(Box<config::RunArguments>),
    /// Prepare a data directory: its genesis file and a configuration to edit.
    Init(init::InitArguments),
    /// Call a method of a running node and print the answer.
    Rpc(remote::RpcArguments),
    /// Ask a running node whether it works, for watchers: the exit status says it.
    Health(health::HealthArguments),
    /// Compare everything that a stopped node has stored; changes nothing.
    Check(care::CheckArguments),
    /// Make everything anew from stored blocks; goes on where it was interrupted.
    Reindex(care::ReindexArguments),
    /// Write the chain of a stopped node to one file.
    Export(care::ExportArguments),
    /// Take in a file that `export` wrote; goes on where it was interrupted.
    Import(care::ImportArguments),
    /// Copy a stopped node's data directory (of a running one: the RPC method `backup`).
    Backup(care::BackupArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Init(arguments) => init::init(&arguments),
        Command::Rpc(arguments) => remote::call(&arguments),
        Command::Health(arguments) => health::ask(&arguments),
        Command::Check(arguments) => care::check(&arguments),
        Command::Reindex(arguments) => care::reindex(&arguments),
        Command::Export(arguments) => care::export(&arguments),
        Command::Import(arguments) => care::import(&arguments),
        Command::Backup(arguments) => care::backup(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::fatal(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// What ends a command: shown to the operator with all its causes.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
