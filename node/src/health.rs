//! How a node is, for watchers: what `GET /ready` judges by, and `ashlar-node health`, which asks a
//! running node and says it by its exit status.

use std::{io, time::Duration};

use ashlar_engine::call::{SyncStatus, Warning};
use ashlar_rpc::{client::Way, server::Health};
use clap::Args;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Failure, remote::RpcPlace};

/// Blocks that the best known header may be ahead of a node that is ready: their bodies are on
/// the way.
const READY_LAG_BLOCKS: u32 = 2;
/// Longest that `ashlar-node health` waits: longer than the node takes to give up on itself.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest answer that it reads, in bytes.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// What a node that is ready has, beside a chain that it has caught up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadyMarks {
    /// Connections at least.
    pub(crate) peers: usize,
    /// The newest block is no older; `None`: of any age.
    pub(crate) tip_age_seconds: Option<u64>,
}

/// What is known of a node at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) sync: SyncStatus,
    pub(crate) connections: usize,
    /// By the machine's clock and the highest time of the chain.
    pub(crate) tip_age_seconds: u64,
}

impl ReadyMarks {
    /// A node whose engine and network answer is healthy; the rest is whether it is ready.
    pub(crate) fn judge(&self, seen: &Seen) -> Health {
        let Seen { sync, connections, tip_age_seconds } = seen;
        let lag = sync.best_header_height.saturating_sub(sync.height);
        let mut unready = Vec::new();
        if sync.syncing {
            let target = sync
                .progress
                .as_ref()
                .map_or(sync.best_header_height, |progress| progress.target_height);
            unready.push(format!("it is catching up: at block {} of {target}", sync.height));
        } else if lag > READY_LAG_BLOCKS {
            unready.push(format!("it is {lag} blocks behind the best header that it knows"));
        }
        if *connections < self.peers {
            unready.push(format!("it has {connections} peers and should have {}", self.peers));
        }
        if let Some(most) = self.tip_age_seconds.filter(|most| tip_age_seconds > most) {
            unready.push(format!(
                "its newest block is {tip_age_seconds} s old and should be no older than {most} s"
            ));
        }
        for warning in &sync.warnings {
            unready.extend(match warning {
                Warning::ReorganisationHeld { depth, .. } => {
                    Some(format!("its operator is asked about a branch that undoes {depth} blocks"))
                }
                Warning::OnlyPrunedPeers { height } => {
                    Some(format!("none of its peers keeps block {height}, which it needs"))
                }
                Warning::BodiesWithheld { height, .. } => {
                    Some(format!("nobody hands out block {height} of a branch with more work"))
                }
                _ => None,
            });
        }
        Health { unhealthy: Vec::new(), unready }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct HealthArguments {
    #[command(flatten)]
    place: RpcPlace,
    /// Ask whether it is ready (caught up, connected), not only whether it works.
    #[arg(long)]
    ready: bool,
}

#[derive(Debug, Error)]
enum HealthError {
    #[error("the node does not answer at {address}: {error}; see its log")]
    Silent { address: String, error: io::Error },
    #[error("the node says: {answer}")]
    Unwell { answer: String },
}

/// Asks, prints the answer, and fails where it is no.
pub(crate) fn ask(arguments: &HealthArguments) -> Result<(), Failure> {
    let way = arguments.place.way()?;
    let path = if arguments.ready { "/ready" } else { "/healthy" };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async {
        let answer = tokio::time::timeout(ASK_TIMEOUT, get(&way, path)).await;
        answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    });
    let address = || way.authority().to_owned();
    let (status, body) =
        asked.map_err(|error| HealthError::Silent { address: address(), error })?;
    if status != 200 {
        return Err(HealthError::Unwell { answer: body.trim().to_owned() }.into());
    }
    println!("{}", body.trim());
    Ok(())
}

/// One request, over a connection of its own: the status and the body.
async fn get(way: &Way, path: &str) -> io::Result<(u16, String)> {
    let mut socket = way.open().await?;
    let host = way.authority();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.take(MAX_ANSWER_BYTES).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status
        .map(|status| (status, body.to_owned()))
        .ok_or_else(|| io::Error::other("something else than HTTP answers there"))
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::BlockId;

    use super::*;

    const MARKS: ReadyMarks = ReadyMarks { peers: 1, tip_age_seconds: Some(600) };

    fn well() -> Seen {
        Seen {
            sync: SyncStatus {
                syncing: false,
                height: 100,
                best_header_height: 100,
                blocks_in_flight: 0,
                peers: 1,
                reorganisations: Default::default(),
                warnings: Vec::new(),
                progress: None,
            },
            connections: 1,
            tip_age_seconds: 600,
        }
    }

    #[test]
    fn each_reason_is_told_and_only_where_it_holds() {
        assert_eq!(MARKS.judge(&well()), Health::default());
        let held = Warning::ReorganisationHeld {
            tip: BlockId([1; 32]),
            height: 100,
            held_tip: BlockId([2; 32]),
            held_height: 120,
            depth: 9,
        };
        type Change = fn(&mut Seen);
        let cases: [(Change, Option<Warning>, &str); 7] = [
            (|seen| seen.sync.syncing = true, None, "catching up: at block 100"),
            (|seen| seen.sync.best_header_height = 103, None, "3 blocks behind"),
            (|seen| seen.connections = 0, None, "0 peers and should have 1"),
            (|seen| seen.tip_age_seconds = 601, None, "601 s old"),
            (|_| {}, Some(held), "undoes 9 blocks"),
            (|_| {}, Some(Warning::OnlyPrunedPeers { height: 5 }), "keeps block 5"),
            (
                |_| {},
                Some(Warning::BodiesWithheld { id: BlockId([3; 32]), height: 101 }),
                "hands out block 101",
            ),
        ];
        for (change, warning, reason) in cases {
            let mut seen = well();
            change(&mut seen);
            seen.sync.warnings.extend(warning);
            let health = MARKS.judge(&seen);
            assert!(health.unhealthy.is_empty());
            assert!(health.unready.len() == 1 && health.unready[0].contains(reason), "{health:?}");
        }
        // What the operator did not ask for is no reason.
        let lax = ReadyMarks { peers: 0, tip_age_seconds: None };
        let alone = Seen { connections: 0, tip_age_seconds: u64::MAX, ..well() };
        assert_eq!(lax.judge(&alone), Health::default());
    }
}
