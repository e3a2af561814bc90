//! How it stands, and what there is.

use std::{path::Path, sync::Arc};

use ashlar_rpc::{Client, RunFile, prelude::*};
use tokio::task::JoinSet;

use super::{Keeper, nodes};
use crate::{
    control::{NodeAnswers, NodeState, NodeStatus, Overview, Place, Status},
    file::NodeNumber,
    wallets::{FAUCET, KnownWallet, MINER, PASSWORD},
};

/// Longest that a node may take to say how it is: one that stands still says nothing.
const ANSWER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

impl Keeper {
    /// How every node stands; all are asked at once.
    pub(super) async fn status(self: &Arc<Self>) -> Status {
        let (mut rows, mut asked) = (Vec::new(), JoinSet::new());
        for (number, node) in self.nodes().iter() {
            let vitals = nodes::vitals(node);
            let is_paused = vitals.is_some_and(|vitals| vitals.is_paused);
            if let Some(client) = node.client().filter(|_| !is_paused) {
                let number = *number;
                asked.spawn(async move { (number, answers(&client).await) });
            }
            rows.push(NodeStatus {
                node: *number,
                state: if is_paused { NodeState::Paused } else { node.state },
                reason: node.reason.clone(),
                pid: node.process.as_ref().map(super::process::Process::pid),
                memory_bytes: vitals.map(|vitals| vitals.memory_bytes),
                cpu_ms: vitals.map(|vitals| vitals.cpu_ms),
                answers: None,
            });
        }
        while let Some(answered) = asked.join_next().await {
            if let Ok((number, answers)) = answered
                && let Some(row) = rows.iter_mut().find(|row| row.node == number)
            {
                row.answers = answers;
            }
        }
        Status {
            nodes: rows,
            mining: self.mining.borrow().clone(),
            keeper_pid: Some(std::process::id()),
        }
    }

    /// What there is and where.
    pub(super) async fn overview(self: &Arc<Self>) -> Overview {
        let status = self.status().await;
        let heights = status.nodes.iter().filter_map(|node| Some(node.answers.as_ref()?.height));
        let prefix = &self.chain.params.address_prefix;
        let named = self.file.wallet.iter().map(|wallet| wallet.name.as_str());
        let wallets = [FAUCET, MINER].into_iter().chain(named);
        Overview {
            folder: self.layout.folder().to_owned(),
            chain: self.chain.params.name.clone(),
            height: heights.max().unwrap_or(0),
            mining: status.mining,
            nodes: status.nodes.iter().map(|node| self.place(node.node)).collect(),
            wallets: wallets.map(|name| KnownWallet::of(name, prefix)).collect(),
            wallet_password: PASSWORD.to_owned(),
            faucet: Some(format!("http://127.0.0.1:{}/", self.state().faucet_port)),
        }
    }

    fn place(&self, number: NodeNumber) -> Place {
        let datadir = self.layout.node(number);
        let port = self.state().nodes.get(&number).map_or(0, |record| record.rpc_port);
        let own = self.netns.as_ref().and_then(|netns| netns.own(number).ok());
        let own = own.unwrap_or(std::net::Ipv4Addr::LOCALHOST);
        Place {
            node: number,
            rpc: format!("http://{own}:{port}"),
            cookie: cookie(&datadir),
            log: self.layout.log(number),
            datadir,
        }
    }
}

fn cookie(datadir: &Path) -> std::path::PathBuf {
    match RunFile::credentials(datadir) {
        ashlar_rpc::Credentials::Cookie(path) => path,
        _ => datadir.to_owned(),
    }
}

async fn answers(client: &Client) -> Option<NodeAnswers> {
    let ask = async {
        let mempool = client.getmempoolinfo().await.ok()?;
        let network = client.getnetworkinfo().await.ok()?;
        Some(NodeAnswers {
            height: mempool.at.tip_height,
            tip: mempool.at.tip,
            peers: network.connections,
            waiting: mempool.size,
        })
    };
    tokio::time::timeout(ANSWER_PATIENCE, ask).await.ok()?
}
