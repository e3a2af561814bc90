//! How a command fails: for people a sentence, for scripts a kind and an exit code.

use std::{io, path::PathBuf, process::ExitCode};

use ashlar_consensus::genesis_file::GenesisError;
use ashlar_primitives::{AddressError, keys::KeyError};
use serde_json::json;
use thiserror::Error;

use crate::{
    keystore::KeystoreError, node::NodeError, password::SecretError, payment::PaymentError,
    wallets::WalletsError,
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
    #[error("the payment waits already ({txid}); nothing new was sent")]
    NothingNew { txid: String },
}

impl Failure {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Keystore(_) | Self::Secret(_) => Kind::Wallet,
            Self::Wallets(error) => error.kind(),
            Self::Payment(_) => Kind::Money,
            Self::Node(error) => error.kind(),
            Self::Address(_)
            | Self::Key(_)
            | Self::Genesis(_)
            | Self::NoChain
            | Self::Unreadable { .. } => Kind::Usage,
            Self::Terminal(_) => Kind::System,
            Self::NobodyToAsk { .. } | Self::SaidNo => Kind::Refused,
            Self::NothingNew { .. } => Kind::Rejected,
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
