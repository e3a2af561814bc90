//! How a command fails: for people a sentence, for scripts a kind and an exit code.

use std::{io, path::PathBuf, process::ExitCode};

use ashlar_consensus::genesis_file::GenesisError;
use ashlar_primitives::{AddressError, keys::KeyError};
use serde_json::json;
use thiserror::Error;

use crate::{
    amount::AmountError, exchange::FileError, journal::JournalError, keystore::KeystoreError,
    message::MessageError, node::NodeError, offline::OfflineError, password::SecretError,
    payment::PaymentError, policy::PolicyError, uri::UriError, wallets::WalletsError,
};

/// What a script can tell apart. The exit code is the number; 2 is the parser's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The system refused something: a disk, a terminal.
    System = 1,
    /// What was typed makes no sense: an address, an amount, a name.
    Usage = 2,
    /// The wallet's file is missing, there already, damaged or in use, or the password is wrong.
    Wallet = 3,
    /// A person said no, or there is nobody to ask.
    Refused = 4,
    /// The wallet can't pay this: too little money, a fee that looks like a mistake.
    Money = 5,
    /// No node, or none that answers.
    Node = 6,
    /// The node refused the transaction.
    Rejected = 7,
    /// It did not happen in time.
    Waiting = 8,
    /// The node says what can't be true, or is of another chain.
    Trust = 9,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Usage => "usage",
            Self::Wallet => "wallet",
            Self::Refused => "refused",
            Self::Money => "money",
            Self::Node => "node",
            Self::Rejected => "rejected",
            Self::Waiting => "waiting",
            Self::Trust => "trust",
        }
    }
}

impl From<Kind> for ExitCode {
    #[expect(clippy::as_conversions, reason = "the enum's own numbers")]
    fn from(kind: Kind) -> Self {
        Self::from(kind as u8)
    }
}

/// What ends a command, shown to the user.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    #[error(transparent)]
    Wallets(#[from] WalletsError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Payment(#[from] PaymentError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Uri(#[from] UriError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Offline(#[from] OfflineError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("{address} is not an address of this wallet")]
    ForeignAddress { address: String },
    #[error(
        "{address} is under a key that nobody, or everybody, can sign for; don't trust its sender"
    )]
    UnsoundAddress { address: String },
    #[error("name the chain: --genesis FILE, or a node (--datadir DIR)")]
    NoChain,
    #[error("{path} can't be read: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
    #[error("say --yes to {what} without being asked: there is no terminal to ask on")]
    NobodyToAsk { what: &'static str },
    #[error("not done")]
    SaidNo,
    #[error("the node refuses the payment: {reason}")]
    Rejected { reason: String },
    #[error(
        "the node did not answer ({error}): the payment {txid} is signed and written down; `rebroadcast` sends it, `show {txid}` tells where it is"
    )]
    Unanswered { txid: String, error: Box<NodeError> },
    #[error(
        "the same was being paid when something went wrong, and it is sent now ({txid}); say --again to pay it once more"
    )]
    PaidBefore { txid: String },
    #[error("{text:?} is no transaction's id: 64 hex digits")]
    NoTxid { text: String },
    #[error("{text:?} is no coin: TXID:N, as `coins` shows them")]
    NoCoin { text: String },
    #[error("this wallet has no such coin that could be spent now: {coin}")]
    UnknownCoin { coin: String },
    #[error("this wallet made no payment {txid}")]
    NotOurs { txid: String },
    #[error("the payment {txid} can't be replaced: {why}")]
    NotReplaceable { txid: String, why: &'static str },
    #[error("its change is spent by {child}, which would die with it; replace that one instead")]
    HasChild { child: String },
    #[error("{form:?} is no recipient: ADDRESS=AMOUNT")]
    NoRecipient { form: String },
    #[error("how much? Give an amount in ASH, or --max")]
    NoAmount,
    #[error("an amount is given twice, {request} by the request and {typed} by hand")]
    TwoAmounts { request: String, typed: String },
    #[error("recipient {form:?}: {error}")]
    RecipientAmount { form: String, error: AmountError },
    #[error("{txid} has {confirmations} confirmations after {seconds} s")]
    NotInTime { txid: String, confirmations: u32, seconds: u64 },
    #[error("{txid} can't be confirmed any more: {why}")]
    Never { txid: String, why: String },
    #[error("this wallet has paid nobody yet; name the transaction to wait for")]
    NoPayments,
    #[error("the node knows nothing of {txid}, and this wallet made no such payment")]
    NoSuchTransaction { txid: String },
    #[error("{path} exists already; nothing was written over it")]
    Occupied { path: PathBuf },
    #[error("{path} is no backup of a wallet: {error}")]
    NoBackup { path: PathBuf, error: serde_json::Error },
    #[error("line {line} of {path}: {error}")]
    WatchList { path: PathBuf, line: usize, error: AddressError },
    #[error("{what} can't be written to {path}: {error}")]
    Unwritable { what: &'static str, path: PathBuf, error: io::Error },
    #[error("no QR code holds that much")]
    TooMuchForQr,
}

impl Failure {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Keystore(_)
            | Self::Secret(_)
            | Self::Journal(_)
            | Self::Occupied { .. }
            | Self::NoBackup { .. } => Kind::Wallet,
            Self::Wallets(error) => error.kind(),
            Self::Payment(_) => Kind::Money,
            Self::Node(error) => error.kind(),
            Self::Offline(error) => error.kind(),
            Self::Message(_) => Kind::Trust,
            Self::Address(_)
            | Self::File(_)
            | Self::Policy(_)
            | Self::ForeignAddress { .. }
            | Self::UnsoundAddress { .. }
            | Self::Key(_)
            | Self::Genesis(_)
            | Self::Uri(_)
            | Self::NoChain
            | Self::NoTxid { .. }
            | Self::NoCoin { .. }
            | Self::NoRecipient { .. }
            | Self::NoAmount
            | Self::NoPayments
            | Self::TwoAmounts { .. }
            | Self::RecipientAmount { .. }
            | Self::WatchList { .. }
            | Self::TooMuchForQr
            | Self::Unreadable { .. } => Kind::Usage,
            Self::Terminal(_) | Self::Unwritable { .. } => Kind::System,
            Self::NobodyToAsk { .. } | Self::SaidNo | Self::PaidBefore { .. } => Kind::Refused,
            Self::UnknownCoin { .. }
            | Self::NotOurs { .. }
            | Self::NotReplaceable { .. }
            | Self::HasChild { .. } => Kind::Money,
            Self::Rejected { .. } => Kind::Rejected,
            Self::Unanswered { .. } | Self::NoSuchTransaction { .. } => Kind::Node,
            Self::NotInTime { .. } | Self::Never { .. } => Kind::Waiting,
        }
    }

    /// To standard error: a sentence, or with `--json` an object of stable fields.
    pub(crate) fn tell(&self, json: bool) {
        if json {
            let kind = self.kind().name();
            eprintln!("{:#}", json!({ "error": { "kind": kind, "message": self.to_string() } }));
        } else {
            eprintln!("ashlar-wallet: {self}");
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Arguments;

    const PAGE: &str = include_str!("../../docs/wallet.md");

    #[test]
    fn every_exit_code_is_in_the_documentation() {
        for kind in [
            Kind::System,
            Kind::Usage,
            Kind::Wallet,
            Kind::Refused,
            Kind::Money,
            Kind::Node,
            Kind::Rejected,
            Kind::Waiting,
            Kind::Trust,
        ] {
            #[expect(clippy::as_conversions, reason = "the enum's own numbers")]
            let row = format!("| {} | `{}` |", kind as u8, kind.name());
            assert!(PAGE.contains(&row), "{row}");
        }
    }

    #[test]
    fn the_command_line_is_consistent_and_its_commands_are_in_the_documentation() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for command in command.get_subcommands() {
            let name = command.get_name();
            assert!(PAGE.contains(name), "{name}");
        }
    }
}
