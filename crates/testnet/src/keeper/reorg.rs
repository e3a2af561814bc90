//! Reorganisations and the tree of blocks, over the nodes that serve.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use ashlar_rpc::Client;
use serde::Deserialize;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::Keeper;
use crate::{
    error::TestnetError,
    file::{MAX_WALLETS, NodeNumber},
    programs::Programs,
    reorg::{Against, ReorgError, Reorganised, Tools, reorganise},
    tree::{self, Run},
    wallets::{KnownWallet, MINER, PASSWORD},
};

/// Where a private node may be, in the testnet's folder.
const WORKSHOP: &str = "workshop";

impl Keeper {
    /// Replaces the last blocks of a node's chain by a heavier branch.
    pub(crate) async fn reorganise(
        self: &Arc<Self>,
        depth: u32,
        against: Option<Against>,
        node: Option<NodeNumber>,
    ) -> Result<Reorganised, TestnetError> {
        // Nobody else finds blocks meanwhile, or works in the workshop.
        let _still = self.finding.lock().await;
        let mut nodes = self.clients();
        match node {
            Some(number) => {
                self.client(number)?;
                nodes.sort_by_key(|(other, _)| (*other != number, *other));
            }
            None if nodes.is_empty() => return Err(TestnetError::NodeDown { number: 1 }),
            None => {}
        }
        let words = match against {
            Some(Against::DoubleSpend(_)) => self.all_words().await?,
            _ => Vec::new(),
        };
        let prefix = &self.chain.params.address_prefix;
        let tools = Tools {
            program: &self.programs.node,
            folder: &self.layout.folder().join(WORKSHOP),
            clock: self.line(),
            pay_to: &KnownWallet::of(MINER, prefix).address,
            prefix,
            words: &words,
        };
        let done = reorganise(&nodes, depth, against, &tools).await?;
        info!(fork = done.fork, old = %done.old_tip, new = %done.new_tip, "reorganised");
        Ok(done)
    }

    /// The blocks of all nodes that serve, as one tree.
    pub(crate) async fn tree(&self) -> Result<Run, TestnetError> {
        Ok(tree::ask(&self.clients()).await.map_err(ReorgError::from)?)
    }

    /// To call each node that serves and does not stand still.
    fn clients(&self) -> Vec<(NodeNumber, Client)> {
        let able = self.serving().into_iter().filter(|number| !self.is_paused(*number));
        able.filter_map(|number| Some((number, self.client(number).ok()?))).collect()
    }

    /// The words of every wallet of the testnet that has the testnet's password.
    async fn all_words(&self) -> Result<Vec<String>, TestnetError> {
        let known = self.layout.known_wallets()?;
        let prefix = &self.chain.params.address_prefix;
        let mut words: Vec<String> =
            known.iter().map(|name| KnownWallet::of(name, prefix).words).collect();
        let (folder, programs) = (self.layout.folder().join("wallets"), self.programs.clone());
        let read = spawn_blocking(move || {
            let files = fs::read_dir(&folder).map_err(TestnetError::disk(&folder))?;
            let paths = files.filter_map(Result::ok).map(|file| file.path());
            let own = paths.filter(|path| {
                let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
                path.extension().is_some_and(|kind| kind == "json") && !known.contains(name)
            });
            Ok(own.take(MAX_WALLETS).filter_map(|path| words_of(&programs, &path)).collect())
        });
        let own: Result<Vec<String>, TestnetError> =
            read.await.map_err(|error| TestnetError::BadAnswer { reason: error.to_string() })?;
        words.extend(own?);
        Ok(words)
    }
}

/// What `ashlar-wallet --json show-mnemonic` prints.
#[derive(Deserialize)]
struct Shown {
    mnemonic: String,
}

fn words_of(programs: &Programs, wallet: &Path) -> Option<String> {
    let mut command = Command::new(&programs.wallet);
    command.arg("--wallet").arg(wallet).args(["--json", "show-mnemonic", "--yes"]);
    let output = command.env("ASHLAR_WALLET_PASSWORD", PASSWORD).stdin(Stdio::null()).output();
    let shown = output.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok());
    if shown.is_none() {
        warn!(wallet = %wallet.display(), "its words are not to be had");
    }
    shown.map(|shown: Shown| shown.mnemonic)
}
