//! What can be typed: one definition for the parser, the help, the completions and the man page.

use std::path::PathBuf;

use ashlar_primitives::Amount;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::amount;

/// A wallet of an Ashlar chain.
#[derive(Debug, Parser)]
#[command(name = "ashlar-wallet", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Which wallet: a name, or a file (whatever holds a `/` or ends in `.json`). Without it: the
    /// default wallet.
    #[arg(short, long, global = true, env = "ASHLAR_WALLET", value_name = "NAME")]
    pub(crate) wallet: Option<String>,
    /// Where named wallets lie; ~/.local/share/ashlar/wallets unless given.
    #[arg(long, global = true, env = "ASHLAR_WALLETS", value_name = "DIR")]
    pub(crate) wallets: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) node: NodeArguments,
    #[command(flatten)]
    pub(crate) password: PasswordArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How the node is found.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArguments {
    /// The data directory of a node on this machine: its address and cookie are read from there.
    #[arg(long, global = true, env = "ASHLAR_DATADIR", value_name = "DIR")]
    pub(crate) datadir: Option<PathBuf>,
    /// Address of a node's RPC server.
    #[arg(long, global = true, env = "ASHLAR_RPC", value_name = "IP:PORT")]
    pub(crate) rpc: Option<String>,
    /// The node's cookie file.
    #[arg(long, global = true, env = "ASHLAR_RPC_COOKIE", value_name = "FILE")]
    pub(crate) cookie: Option<PathBuf>,
}

/// Where the password comes from; never an argument, which every process on the machine can see.
#[derive(Clone, Debug, Args)]
pub(crate) struct PasswordArguments {
    /// Read the password from a file's first line. Without it: ASHLAR_WALLET_PASSWORD (visible to
    /// other processes of the same user), or a prompt.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
    /// The named wallets.
    Wallets,
    /// Make a named wallet the default.
    Use {
        /// One of `wallets`.
        name: String,
    },
}

/// Length of a mnemonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Words {
    #[value(name = "12")]
    Twelve,
    #[value(name = "24")]
    TwentyFour,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NewArguments {
    /// The chain's genesis file, where no node is at hand.
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
    /// How many words a new wallet has.
    #[arg(long, value_enum, default_value_t = Words::TwentyFour)]
    pub(crate) words: Words,
    /// Protect the file with the lowest allowed cost: for wallets that hold nothing of worth.
    #[arg(long)]
    pub(crate) light_kdf: bool,
    /// `restore`: read the words from a file. Without it: ASHLAR_WALLET_MNEMONIC, or a prompt.
    #[arg(long, value_name = "FILE")]
    pub(crate) mnemonic_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SendArguments {
    /// Whom to pay.
    pub(crate) address: String,
    /// How much, in ASH, with at most 8 decimals.
    #[arg(value_parser = amount::parse)]
    pub(crate) amount: Amount,
    /// Grains a byte; the node's estimate unless given.
    #[arg(long, value_name = "GRAINS")]
    pub(crate) fee_rate: Option<u64>,
    /// Text for the memo, at most 256 bytes: everybody can read it, for ever.
    #[arg(long, default_value = "")]
    pub(crate) memo: String,
    /// Do not ask: for scripts.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Pay a fee that looks like a mistake.
    #[arg(long)]
    pub(crate) allow_high_fee: bool,
}
