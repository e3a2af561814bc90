//! `ashlar-wallet`: keys in a file, payments through a node's JSON-RPC.
//!
//! It knows no ledger and no engine: what it needs of the chain it asks a node, and signs only
//! for the chain that its file names. Reading order: [`keystore`] (what is kept and how),
//! [`payment`] (coins → a signed transaction, without IO), [`node`] (what is asked), then
//! [`commands`].

mod amount;
mod commands;
mod keystore;
mod node;
mod password;
mod payment;

use std::{path::PathBuf, process::ExitCode};

use ashlar_primitives::Amount;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// A wallet of an Ashlar chain.
#[derive(Debug, Parser)]
#[command(name = "ashlar-wallet", version, about, max_term_width = 100)]
struct Arguments {
    /// The wallet's file.
    #[arg(
        long,
        global = true,
        env = "ASHLAR_WALLET",
        value_name = "FILE",
        default_value = "ashlar-wallet.json"
    )]
    wallet: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    password: PasswordArguments,
    #[command(subcommand)]
    command: Command,
}

/// How the node is found.
#[derive(Clone, Debug, Args)]
struct NodeArguments {
    /// The data directory of a node on this machine: its address and cookie are read from there.
    #[arg(long, global = true, env = "ASHLAR_DATADIR", value_name = "DIR")]
    datadir: Option<PathBuf>,
    /// Address of a node's RPC server.
    #[arg(long, global = true, env = "ASHLAR_RPC", value_name = "IP:PORT")]
    rpc: Option<String>,
    /// The node's cookie file.
    #[arg(long, global = true, env = "ASHLAR_RPC_COOKIE", value_name = "FILE")]
    cookie: Option<PathBuf>,
}

/// Where the password comes from; never an argument, which every process on the machine can see.
#[derive(Clone, Debug, Args)]
struct PasswordArguments {
    /// Read the password from a file's first line. Without it: ASHLAR_WALLET_PASSWORD (visible to
    /// other processes of the same user), or a prompt.
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new wallet, and show its words once.
    Create(NewArguments),
    /// Make a wallet again from its words; with a node, find its used addresses.
    Restore(NewArguments),
    /// Show an address to be paid at.
    Address {
        /// A fresh one.
        #[arg(long)]
        new: bool,
    },
    /// What the wallet holds.
    Balance,
    /// Pay an address.
    Send(SendArguments),
    /// What happened, newest first.
    History,
    /// The wallet, its chain and its node.
    Status,
}

/// Length of a mnemonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Words {
    #[value(name = "12")]
    Twelve,
    #[value(name = "24")]
    TwentyFour,
}

#[derive(Clone, Debug, Args)]
struct NewArguments {
    /// The chain's genesis file, where no node is at hand.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// How many words a new wallet has.
    #[arg(long, value_enum, default_value_t = Words::TwentyFour)]
    words: Words,
    /// Protect the file with the lowest allowed cost: for wallets that hold nothing of worth.
    #[arg(long)]
    light_kdf: bool,
    /// `restore`: read the words from a file. Without it: ASHLAR_WALLET_MNEMONIC, or a prompt.
    #[arg(long, value_name = "FILE")]
    mnemonic_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
struct SendArguments {
    /// Whom to pay.
    address: String,
    /// How much, in ASH, with at most 8 decimals.
    #[arg(value_parser = amount::parse)]
    amount: Amount,
    /// Grains a byte; the node's estimate unless given.
    #[arg(long, value_name = "GRAINS")]
    fee_rate: Option<u64>,
    /// Text for the memo, at most 256 bytes: everybody can read it, for ever.
    #[arg(long, default_value = "")]
    memo: String,
    /// Do not ask: for scripts.
    #[arg(long)]
    yes: bool,
    /// Pay a fee that looks like a mistake.
    #[arg(long)]
    allow_high_fee: bool,
}

fn main() -> ExitCode {
    match commands::run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ashlar-wallet: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What ends a command, shown to the user.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
