//! What can be typed: one definition for the parser, the help, the completions and the man page.

pub(crate) mod shared;

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
    #[arg(long, global = true, env = "ASHLAR_RPC", value_name = "IP:PORT or URL")]
    pub(crate) rpc: Option<String>,
    /// The node's cookie file.
    #[arg(long, global = true, env = "ASHLAR_RPC_COOKIE", value_name = "FILE")]
    pub(crate) cookie: Option<PathBuf>,
    /// Speak TLS, as https:// does: the PEM file of the node's certificate, or of who signed it.
    #[arg(long, global = true, env = "ASHLAR_RPC_CA", value_name = "FILE")]
    pub(crate) rpc_ca: Option<PathBuf>,
    /// Believe no coin and no confirmation without a proof: headers with their proof of work from
    /// the genesis block on, and in them the transactions. The chain's genesis file is that of
    /// the data directory, or one named with `=`.
    #[arg(long, global = true, value_name = "GENESIS", num_args = 0..=1, require_equals = true)]
    pub(crate) verify: Option<Option<PathBuf>>,
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
    /// Make a wallet again from its words or from a backup; with a node, find its used addresses.
    Restore(RestoreArguments),
    /// Make a wallet that only watches addresses, without keys.
    Watch(WatchArguments),
    /// The named wallets.
    Wallets,
    /// Make a named wallet the default.
    Use {
        /// One of `wallets`.
        name: String,
    },
    /// Copy the wallet and its journal into one new file.
    Backup {
        /// Where nothing may be yet.
        file: PathBuf,
    },
    /// Put the wallet under another password.
    ChangePassword(ChangePasswordArguments),
    /// Show the words that are the wallet, after asking.
    ShowMnemonic {
        /// Do not ask: for scripts.
        #[arg(long)]
        yes: bool,
    },
    /// Show an address to be paid at.
    Address(AddressArguments),
    /// All addresses, with their labels.
    Addresses,
    /// Name an address, your own or another's.
    Label {
        /// The address.
        address: String,
        /// Its name; nothing forgets it.
        #[arg(default_value = "")]
        label: String,
    },
    /// What the wallet holds.
    Balance,
    /// The coins that make up the balance.
    Coins,
    /// Keep a coin from being chosen.
    Freeze {
        /// TXID:N, as `coins` shows it.
        coin: String,
    },
    /// Let a frozen coin be chosen again.
    Unfreeze {
        /// TXID:N.
        coin: String,
    },
    /// Pay an address, or several.
    Send(SendArguments),
    /// The payments made, newest first.
    List,
    /// Everything known of a payment.
    Show {
        /// Its id.
        txid: String,
    },
    /// Pay the same with a higher fee, in place of a payment that waits.
    Bump(BumpArguments),
    /// Take the coins of a payment that waits back, by paying them to yourself.
    Cancel(BumpArguments),
    /// Wait until a payment is so deep.
    Wait {
        /// Its id; the newest payment of this wallet unless given.
        txid: Option<String>,
        /// Blocks from its own up to the tip.
        #[arg(long, default_value_t = 1)]
        confirmations: u32,
        /// Give up after so many seconds.
        #[arg(long, default_value_t = 3_600, value_name = "SECONDS")]
        timeout: u64,
    },
    /// Send again what the node does not have: after a crash, a lost node, a reorganisation.
    Rebroadcast,
    /// What happened, newest first.
    History {
        /// As comma separated values.
        #[arg(long)]
        csv: bool,
    },
    /// The wallet, its chain and its node.
    Status,
    /// Coins that more than one signature spends.
    #[command(subcommand)]
    Policy(shared::PolicyCommand),
    /// Transactions that are signed apart: by several wallets, or offline.
    #[command(subcommand)]
    Tx(shared::TxCommand),
    /// Prove by a signature that a text is by the owner of an address.
    SignMessage {
        /// One of this wallet's addresses.
        address: String,
        /// The text.
        text: String,
    },
    /// Check such a proof; fails where it is none.
    VerifyMessage {
        /// Whose it should be.
        address: String,
        /// As `sign-message` printed it.
        signature: String,
        /// The text.
        text: String,
    },
    /// Print the completions of a shell.
    Completions {
        /// Which one.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder.
    Man {
        /// It must exist.
        directory: PathBuf,
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

/// Of every command that makes a wallet.
#[derive(Clone, Debug, Args)]
pub(crate) struct ChainArguments {
    /// The chain's genesis file, where no node is at hand.
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
}

/// How well a password protects.
#[derive(Clone, Debug, Args)]
pub(crate) struct CostArguments {
    /// Protect the file with the lowest allowed cost: for wallets that hold nothing of worth.
    #[arg(long)]
    pub(crate) light_kdf: bool,
    /// Take a password of fewer than 12 characters.
    #[arg(long)]
    pub(crate) allow_short_password: bool,
}

/// A secret beside the words (BIP-39): other words with it are another wallet.
#[derive(Clone, Debug, Args)]
pub(crate) struct PassphraseArguments {
    /// The words have a passphrase: ask for it, or take ASHLAR_WALLET_PASSPHRASE.
    #[arg(long)]
    pub(crate) passphrase: bool,
    /// Read the passphrase from a file's first line.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NewArguments {
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// How many words a new wallet has.
    #[arg(long, value_enum, default_value_t = Words::TwentyFour)]
    pub(crate) words: Words,
    #[command(flatten)]
    pub(crate) cost: CostArguments,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArguments,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArguments {
    /// A file of `backup`; without it, from words.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["genesis", "mnemonic_file", "passphrase"])]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// Read the words from a file. Without it: ASHLAR_WALLET_MNEMONIC, or a prompt.
    #[arg(long, value_name = "FILE")]
    pub(crate) mnemonic_file: Option<PathBuf>,
    /// How many unused addresses in a row end the search for used ones.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) gap_limit: u32,
    #[command(flatten)]
    pub(crate) cost: CostArguments,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArguments,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArguments {
    /// The addresses.
    #[arg(required_unless_present = "file")]
    pub(crate) addresses: Vec<String>,
    /// A file with one address a line; what stands behind it on the line is its label.
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ChangePasswordArguments {
    /// Read the new password from a file's first line. Without it: ASHLAR_WALLET_NEW_PASSWORD, or
    /// a prompt.
    #[arg(long, value_name = "FILE")]
    pub(crate) new_password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cost: CostArguments,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AddressArguments {
    /// A fresh one; better for every payer a new one.
    #[arg(long)]
    pub(crate) new: bool,
    /// Name it.
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// As a payment request for other wallets.
    #[arg(long)]
    pub(crate) uri: bool,
    /// The amount to ask for in the request, in ASH.
    #[arg(long, value_parser = amount::parse, requires = "uri")]
    pub(crate) amount: Option<Amount>,
    /// What the request is for.
    #[arg(long, requires = "uri")]
    pub(crate) message: Option<String>,
    /// As a QR code too.
    #[arg(long)]
    pub(crate) qr: bool,
}

/// How dear a payment may be.
#[derive(Clone, Debug, Args)]
pub(crate) struct FeeArguments {
    /// Grains a byte; the node's estimate unless given.
    #[arg(long, value_name = "GRAINS")]
    pub(crate) fee_rate: Option<u64>,
    /// Let the node estimate what it takes to be confirmed within so many blocks.
    #[arg(long, value_name = "BLOCKS", default_value_t = 2, conflicts_with = "fee_rate",
        value_parser = clap::value_parser!(u32).range(1..=1_008))]
    pub(crate) target: u32,
    /// Pay a fee that looks like a mistake.
    #[arg(long)]
    pub(crate) allow_high_fee: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SendArguments {
    /// Whom to pay: an address or a payment request (ashlar:…).
    #[arg(required_unless_present = "to")]
    pub(crate) address: Option<String>,
    /// How much, in ASH, with at most 8 decimals.
    #[arg(value_parser = amount::parse)]
    pub(crate) amount: Option<Amount>,
    /// A further recipient; may be repeated.
    #[arg(long, value_name = "ADDRESS=AMOUNT")]
    pub(crate) to: Vec<String>,
    /// All there is (of the coins named, if any), less the fee.
    #[arg(long, conflicts_with_all = ["amount", "to"])]
    pub(crate) max: bool,
    /// Spend this coin (TXID:N) and only such; may be repeated.
    #[arg(long, value_name = "COIN")]
    pub(crate) coin: Vec<String>,
    /// Do not spend change that waits for a block.
    #[arg(long)]
    pub(crate) confirmed: bool,
    #[command(flatten)]
    pub(crate) fee: FeeArguments,
    /// Text for the memo, at most 256 bytes: everybody can read it, for ever.
    #[arg(long, default_value = "")]
    pub(crate) memo: String,
    /// A note for yourself, kept in the journal.
    #[arg(long, default_value = "")]
    pub(crate) note: String,
    /// A name of your own for this payment: what was paid under it is not paid again.
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Pay, even where the same was just being paid when something went wrong.
    #[arg(long)]
    pub(crate) again: bool,
    /// Show what would be paid, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask: for scripts.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BumpArguments {
    /// The payment's id.
    pub(crate) txid: String,
    #[command(flatten)]
    pub(crate) fee: FeeArguments,
    /// Do not ask: for scripts.
    #[arg(long)]
    pub(crate) yes: bool,
}
