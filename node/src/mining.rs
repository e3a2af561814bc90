//! The node's own miner: keeps the mining threads supplied with templates of the published tip.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ashlar_consensus::Target;
use ashlar_engine::{
    Call,
    call::{AnswerBody, BlockVerdict},
};
use ashlar_ledger::View;
use ashlar_miner::{Found, Miner, Work};
use ashlar_primitives::{Block, Encode, Lock};
use ashlar_rpc::server::{Backend, MiningState};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use crate::backend::NodeBackend;

/// How often work is renewed on an unchanged tip, for new transactions and a current time.
const REFRESH: Duration = Duration::from_secs(2);
/// Blocks kept for threads that still find on older work of the same tip.
const MAX_TEMPLATES: usize = 4;
/// Found headers waiting to be submitted: more than one at a time is already unusual.
const MAX_FOUND: usize = 64;

/// Mines until `views` closes, that is until the node stops.
pub(crate) async fn mine(
    backend: Arc<NodeBackend>,
    mut views: watch::Receiver<Arc<View>>,
    pay_to: Lock,
    threads: usize,
) {
    let (found_sender, mut found) = mpsc::channel(MAX_FOUND);
    info!(threads, kernel = ashlar_miner::kernel(), "mining");
    let miner = Miner::start(threads, move |block: Found| {
        // On trivial targets more may be found than can be used; the next template follows.
        drop(found_sender.try_send(block));
    });
    // Two miners that pay the same address must not try the same headers.
    let extra: [u8; 8] = rand::random();
    let mut desk = Desk { templates: VecDeque::new(), next: 0 };
    loop {
        let work = desk.renew(&backend, pay_to, &extra).await;
        miner.set_work(work);
        backend.set_mining(MiningState { threads, hash_rate: miner.hash_rate() });
        tokio::select! {
            changed = views.changed() => {
                if changed.is_err() {
                    break;
                }
            }
            Some(block) = found.recv() => {
                miner.set_work(None);
                desk.submit(&backend, &block).await;
            }
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
    miner.stop();
}

/// The templates that are being worked on.
struct Desk {
    templates: VecDeque<(u64, Block)>,
    next: u64,
}

impl Desk {
    /// New work, or none while the node catches up or can't say.
    async fn renew(&mut self, backend: &NodeBackend, pay_to: Lock, extra: &[u8]) -> Option<Work> {
        if is_syncing(backend).await {
            return None;
        }
        let answer = match backend.call(Call::Template { pay_to, extra: extra.to_vec() }).await {
            Ok(answer) => answer,
            Err(error) => {
                warn!(%error, "no block to mine on for now");
                return None;
            }
        };
        let AnswerBody::Template(template) = answer.body else { return None };
        let header = template.block.header;
        let target = Target::from_bits(header.bits)?.to_be_bytes();
        let id = self.next;
        self.next += 1;
        self.templates.push_back((id, template.block.clone()));
        if self.templates.len() > MAX_TEMPLATES {
            self.templates.pop_front();
        }
        debug!(
            height = template.height,
            transactions = template.block.transactions.len(),
            "mining on a new template"
        );
        Some(Work { id, header, target })
    }

    async fn submit(&self, backend: &NodeBackend, found: &Found) {
        let Some((_, block)) = self.templates.iter().find(|(id, _)| *id == found.work) else {
            return;
        };
        let mut block = block.clone();
        block.header = found.header;
        match backend.call(Call::SubmitBlock(block.to_bytes())).await {
            Ok(answer) => match answer.body {
                AnswerBody::Block(BlockVerdict::Accepted(id)) => info!(%id, "mined a block"),
                AnswerBody::Block(BlockVerdict::Side(id)) => info!(%id, "mined a block, too late"),
                AnswerBody::Block(BlockVerdict::Refused { code, message }) => {
                    error!(code, message = message.as_str(), "a mined block was refused");
                }
                _ => {}
            },
            Err(error) => error!(%error, "a mined block could not be submitted"),
        }
    }
}

async fn is_syncing(backend: &NodeBackend) -> bool {
    match backend.call(Call::SyncStatus).await {
        Ok(answer) => matches!(answer.body, AnswerBody::Sync(status) if status.syncing),
        Err(_) => true,
    }
}
