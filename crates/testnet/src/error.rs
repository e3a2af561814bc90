//! Why a verb did not do what it should: for people a sentence and a hint, for programs a code.

use std::{io, path::PathBuf};

use ashlar_primitives::AddressError;
use ashlar_rpc::{ClientError, RunFileError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    chaos::ChaosError,
    clock::TimeError,
    file::{FileError, NodeNumber},
    lines::LineError,
    mining::MiningError,
    netns::NetnsError,
    presets::PresetError,
    render::RenderError,
    reorg::ReorgError,
    saves::SaveError,
};

/// Everything that can go wrong with a testnet.
#[derive(Debug, Error)]
pub enum TestnetError {
    /// The network file is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// The chain is wrong.
    #[error(transparent)]
    Preset(#[from] PresetError),
    /// What was said of mining makes no sense.
    #[error(transparent)]
    Mining(#[from] MiningError),
    /// The clock can't be so.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// Nothing was saved, loaded, exported or imported.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// There was no reorganisation.
    #[error(transparent)]
    Reorg(#[from] ReorgError),
    /// A file or folder of the testnet can't be read or written.
    #[error("{path}: {error}")]
    Disk {
        /// Which.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// A file of the testnet is not what was written there.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no testnet in the folder.
    #[error("there is no testnet in {folder}")]
    NoTestnet {
        /// The folder.
        folder: PathBuf,
    },
    /// There is one, made from another file.
    #[error("the testnet in {folder} was made from another network file, or with other options")]
    OtherFile {
        /// The folder.
        folder: PathBuf,
    },
    /// Its keeper does not run.
    #[error("the testnet in {folder} does not run")]
    NotRunning {
        /// The folder.
        folder: PathBuf,
    },
    /// Its keeper runs already.
    #[error("the testnet in {folder} has a keeper already")]
    KeptAlready {
        /// The folder.
        folder: PathBuf,
    },
    /// The keeper did not come up.
    #[error("the keeper did not start; the end of {log}:\n{tail}")]
    Keeper {
        /// Its log.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// The keeper hung up, or spoke otherwise than agreed.
    #[error("the keeper's answer can't be understood: {reason}")]
    BadAnswer {
        /// What is wrong.
        reason: String,
    },
    /// A program is missing.
    #[error("{words}")]
    NoProgram {
        /// Which, and what to do.
        words: String,
    },
    /// A program can't be started.
    #[error("can't start {}: {error}", program.display())]
    Program {
        /// Which.
        program: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// There is no such node.
    #[error("there is no node {number}")]
    NoSuchNode {
        /// Its number.
        number: NodeNumber,
        /// Those that are there.
        nodes: Vec<NodeNumber>,
    },
    /// The node does not run.
    #[error("node {number} does not run")]
    NodeDown {
        /// Its number.
        number: NodeNumber,
    },
    /// The node runs already.
    #[error("node {number} runs already")]
    NodeUp {
        /// Its number.
        number: NodeNumber,
    },
    /// The node ended while it started.
    #[error("node {number} did not start: {reason}")]
    NodeFailed {
        /// Its number.
        number: NodeNumber,
        /// How it ended, and its last words.
        reason: String,
    },
    /// A node did not do it in time.
    #[error("node {number} did not {what} within {seconds} s")]
    Patience {
        /// Its number.
        number: NodeNumber,
        /// What.
        what: &'static str,
        /// How long it had.
        seconds: u64,
    },
    /// The nodes did not come together.
    #[error("the nodes are not connected and on one tip after {seconds} s")]
    NoAgreement {
        /// How long they had.
        seconds: u64,
    },
    /// More nodes than a testnet has.
    #[error("a testnet has at most {most} nodes")]
    TooManyNodes {
        /// So many.
        most: NodeNumber,
    },
    /// The node refused a call.
    #[error("node {number}: {error}")]
    Call {
        /// Its number.
        number: NodeNumber,
        /// Its word.
        error: Box<ClientError>,
    },
    /// The node's `run.json` is not to be had.
    #[error(transparent)]
    RunFile(#[from] RunFileError),
    /// The wallet's program refused.
    #[error("the wallet {name}: {words}")]
    Wallet {
        /// Which wallet.
        name: String,
        /// What it said.
        words: String,
    },
    /// The address is none of this chain.
    #[error("{address}: {error}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        error: AddressError,
    },
    /// No node serves.
    #[error("no node runs")]
    NoNode,
    /// The network file is not for several machines.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// No namespaces.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A line can't be so.
    #[error(transparent)]
    Line(#[from] LineError),
    /// Chaos found a broken promise, or no verdict.
    #[error("{0}")]
    Chaos(Box<ChaosError>),
    /// Too much or too little.
    #[error(
        "a node flaps 1 to 1,000 times, each in 10 ms to 60 s, not {times} times in {period_ms} ms"
    )]
    Flap {
        /// How often.
        times: u32,
        /// How fast.
        period_ms: u32,
    },
    /// What the keeper said, as a client hears it.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

/// An error as it crosses the socket, and as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl TestnetError {
    /// Wraps an error of the disk.
    pub(crate) fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Disk { path, error }
    }

    /// Wraps a node's answer to a call.
    pub(crate) fn call<E: Into<ClientError>>(number: NodeNumber) -> impl FnOnce(E) -> Self {
        move |error| Self::Call { number, error: Box::new(error.into()) }
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::File(_) => "bad-file",
            Self::Preset(_) => "bad-genesis",
            Self::Mining(_) => "bad-mining",
            Self::Time(_) => "bad-time",
            Self::Save(error) => error.code(),
            Self::Reorg(_) => "bad-reorg",
            Self::Disk { .. } => "disk",
            Self::Damaged { .. } => "damaged",
            Self::NoTestnet { .. } => "no-testnet",
            Self::OtherFile { .. } => "other-file",
            Self::NotRunning { .. } => "not-running",
            Self::KeptAlready { .. } => "kept-already",
            Self::Keeper { .. } => "keeper",
            Self::BadAnswer { .. } => "bad-answer",
            Self::NoProgram { .. } | Self::Program { .. } => "no-program",
            Self::NoSuchNode { .. } => "no-such-node",
            Self::NodeDown { .. } => "node-down",
            Self::NodeUp { .. } => "node-up",
            Self::NodeFailed { .. } => "node-failed",
            Self::Patience { .. } => "timeout",
            Self::NoAgreement { .. } => "no-agreement",
            Self::TooManyNodes { .. } => "too-many-nodes",
            Self::Call { .. } | Self::RunFile(_) => "node",
            Self::Wallet { .. } => "wallet",
            Self::Address { .. } => "invalid-address",
            Self::NoNode => "no-node",
            Self::Render(_) => "bad-render",
            Self::Netns(_) => "no-netns",
            Self::Line(_) => "bad-line",
            Self::Flap { .. } => "bad-flap",
            Self::Chaos(_) => "chaos",
            Self::Refused(refusal) => &refusal.code,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoTestnet { .. } => "start one: scripts/testnet.sh up".to_owned(),
            Self::NotRunning { .. } => "start it: scripts/testnet.sh up".to_owned(),
            Self::OtherFile { .. } => {
                "`up` without them goes on with it; or `destroy` it, or choose another --dir"
                    .to_owned()
            }
            Self::NoSuchNode { nodes, .. } => {
                let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                format!("there are: {}", nodes.join(", "))
            }
            Self::Netns(_) => {
                "namespaces want root and iproute2; without `netns` no right is needed".to_owned()
            }
            Self::NodeDown { number } => format!("start it: scripts/testnet.sh start {number}"),
            Self::NoNode => "start them: scripts/testnet.sh up".to_owned(),
            Self::NoAgreement { .. } => {
                "look at `scripts/testnet.sh status`, `links` and `logs`".to_owned()
            }
            Self::Damaged { .. } => "`destroy` the testnet and make it anew".to_owned(),
            Self::NodeFailed { number, .. } => format!("its log: scripts/testnet.sh logs {number}"),
            Self::Save(error) => return error.hint(),
            Self::Refused(refusal) => return refusal.hint.clone(),
            _ => return None,
        })
    }
}

impl From<&TestnetError> for Refusal {
    fn from(error: &TestnetError) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string(), hint: error.hint() }
    }
}
