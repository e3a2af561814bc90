//! What can be typed about policies, transactions signed apart, and messages.

use std::path::PathBuf;

use ashlar_primitives::Amount;
use clap::{Args, Subcommand};

use super::FeeArguments;
use crate::amount;

/// Coins that more than one signature spends. Keys are given as addresses of their owners
/// (`address --new`), or in hex.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// K of these keys together, in whatever order they are given.
    Multisig {
        /// How many must sign.
        k: u8,
        /// Whose keys.
        #[arg(required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        label: LabelArguments,
    },
    /// One key, not before its time.
    Timelock {
        /// Whose key.
        key: String,
        #[command(flatten)]
        time: TimeArguments,
        #[command(flatten)]
        label: LabelArguments,
    },
    /// One half of a swap: a claim with the secret of a digest, or a refund after a time.
    Htlc {
        /// Who may take the coins with the secret.
        #[arg(long, value_name = "KEY")]
        claim: String,
        /// Who gets them back when the time has come.
        #[arg(long, value_name = "KEY")]
        refund: String,
        /// SHA-256 of the secret, as `policy secret` prints it.
        #[arg(long, value_name = "DIGEST")]
        hash: String,
        #[command(flatten)]
        time: TimeArguments,
        #[command(flatten)]
        label: LabelArguments,
    },
    /// Watch a policy from a JSON file, as `policy show --json` prints it under `policy`.
    Add {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        label: LabelArguments,
    },
    /// The watched policies; with a node, what they hold.
    List,
    /// One of them: its address, its tree, and with a node its coins.
    Show {
        /// Its label or address.
        name: String,
    },
    /// The address of one of them, by itself.
    Address {
        /// Its label.
        name: String,
    },
    /// Make a new secret for a swap in a file, and print its digest.
    Secret {
        /// The file; whoever reads it has the secret.
        file: PathBuf,
    },
    /// Find the secret that somebody showed by spending from a policy.
    Reveal {
        /// The policy's label or address.
        name: String,
        /// Where the secret is written.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// How a policy is called in this wallet.
#[derive(Clone, Debug, Args)]
pub(crate) struct LabelArguments {
    /// How this wallet calls the policy: letters, digits, - and _.
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Option<String>,
}

/// When a time condition is met.
#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct TimeArguments {
    /// From this height on.
    #[arg(long, value_name = "HEIGHT")]
    pub(crate) after: Option<u32>,
    /// So many blocks after the coin.
    #[arg(long, value_name = "BLOCKS")]
    pub(crate) older: Option<u32>,
}

/// Transactions that are signed apart: by several wallets, or by one that is offline.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TxCommand {
    /// Make a transaction that nobody signed yet, and keep its coins for it. Needs a node, and no
    /// password.
    Create(CreateArguments),
    /// Show what it does, then sign it with this wallet's keys. Needs no node.
    Sign(SignArguments),
    /// Put the signatures of several copies together.
    Combine {
        /// The copies.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Where the result is written.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make the whole transaction once enough signed it; prints its hex.
    Finalize {
        /// The file.
        file: PathBuf,
        /// Write the hex to a file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show what it does, what it costs, and whose signature is missing.
    Inspect {
        /// The file.
        file: PathBuf,
    },
    /// Send it, complete or made whole by `finalize`.
    Broadcast {
        /// The file.
        file: PathBuf,
    },
    /// Give it up: its coins are free again, if it was never sent. The file stays, and whoever has
    /// enough signatures on it could still send it.
    Discard {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArguments {
    /// Whom to pay and how much, in ASH: `ADDRESS=12.5`, or for one of them `ADDRESS=max`, which
    /// takes all that is left.
    #[arg(required = true, value_name = "ADDRESS=AMOUNT", value_parser = parse_pay)]
    pub(crate) pay: Vec<Pay>,
    /// Spend coins of this policy; the wallet's own unless given.
    #[arg(long, value_name = "POLICY")]
    pub(crate) from: Option<String>,
    /// Where change goes: unless given, back to the policy, or to the wallet's newest address.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) change: Option<String>,
    #[command(flatten)]
    pub(crate) fee: FeeArguments,
    /// The first height at which it may stand in a block.
    #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
    pub(crate) not_before: u32,
    /// Text for the memo, at most 256 bytes: everybody can read it, for ever.
    #[arg(long, default_value = "")]
    pub(crate) memo: String,
    /// Where it is written.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SignArguments {
    /// The file.
    pub(crate) file: PathBuf,
    /// Write the signed copy here; unless given, the file itself is replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// A file with a secret that a policy asks for.
    #[arg(long, value_name = "FILE")]
    pub(crate) preimage: Option<PathBuf>,
    /// Do not ask: for scripts.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Sign a fee that looks like a mistake.
    #[arg(long)]
    pub(crate) allow_high_fee: bool,
}

/// One that is paid; the amount is `None` for all that is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pay {
    pub(crate) address: String,
    pub(crate) amount: Option<Amount>,
}

fn parse_pay(text: &str) -> Result<Pay, String> {
    let (address, amount) = text.split_once('=').ok_or("write ADDRESS=AMOUNT, or ADDRESS=max")?;
    let amount = match amount {
        "max" => None,
        amount => Some(amount::parse(amount).map_err(|error| error.to_string())?),
    };
    Ok(Pay { address: address.to_owned(), amount })
}
