//! `ashlar-node`: the driver that runs one engine on real disks, sockets and clocks.
//!
//! It wires rooms together and decides nothing about the chain. Reading order: [`config`] (what
//! the operator chooses), [`run`] (start, supervision, stop), [`driver`] (the engine's thread and
//! its two lanes), then [`backend`] and [`mining`], which are callers of the engine like others;
//! [`care`] holds the commands for a node that is stopped.

mod assume;
mod backend;
mod backup;
mod care;
mod check_file;
mod clock;
mod config;
mod cores;
mod datadir;
#[cfg(test)]
mod deploy;
mod disk;
mod doctor;
mod driver;
mod health;
mod init;
mod keeper;
mod lanes;
mod logging;
mod memory;
mod mempool_file;
mod metrics;
mod mining;
mod ntp;
mod process;
mod progress;
mod remote;
mod reorg;
mod run;
mod settings;
mod size;
mod status;
mod tokens;
mod work;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// The C library keeps much of what a synchronisation freed in arenas for each thread; this one
/// gives it back after some seconds, and serves RocksDB's C++ too (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    /// Try a configuration, or print it with where each value comes from.
    #[command(subcommand)]
    Config(settings::ConfigCommand),
    /// Call a method of a running node and print the answer.
    Rpc(remote::RpcArguments),
    /// Show a running node on the terminal: sync, peers, mempool, newest blocks.
    Status(status::StatusArguments),
    /// Look for the usual troubles and say how to mend each; changes nothing.
    Doctor(doctor::DoctorArguments),
    /// Ask a running node whether it works, for watchers: the exit status says it.
    Health(health::HealthArguments),
    /// Tokens: passwords of narrower scope for the RPC port.
    #[command(subcommand)]
    Token(tokens::TokenCommand),
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
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Init(arguments) => init::init(&arguments),
        Command::Rpc(arguments) => remote::call(&arguments),
        Command::Config(command) => settings::run(&command, innermost(&matches)),
        Command::Status(arguments) => status::status(&arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Health(arguments) => health::ask(&arguments),
        Command::Token(command) => tokens::run(&command),
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

/// What the arguments of the command itself were read from.
pub(crate) fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

/// What ends a command: shown to the operator with all its causes.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
