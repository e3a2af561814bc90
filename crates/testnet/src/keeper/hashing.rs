//! Real proof of work, split between nodes by weight: each miner's node gives a template, one
//! thread of low priority tries headers of all of them in turns, and what is found goes to
//! the node whose template it was.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ashlar_miner::search;
use ashlar_primitives::{Decode, Encode, Header};
use ashlar_rpc::{
    prelude::*,
    types::{BlockTemplate, Hex, TemplateRequest},
};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::{info, warn};

use super::Keeper;
use crate::{
    file::NodeNumber,
    mining::{Mining, Share, Turns},
    wallets::{KnownWallet, MINER},
};

/// Headers tried in one turn: some milliseconds' work, so that shares are kept over short stretches
/// and work that is out of date is soon laid down.
const TURN: u32 = 1 << 15;
/// Between two questions to a node that has no template to give.
const RETRY: Duration = Duration::from_millis(500);
/// While there is no work.
const IDLE: Duration = Duration::from_millis(50);
/// Found headers that wait to be submitted: more than one at a time is already unusual.
const MAX_FOUND: usize = 64;

/// What is worked on for a node.
#[derive(Clone, Debug)]
struct Work {
    /// The next to be tried.
    header: Header,
    target: [u8; 32],
    /// The whole block, but for its proof of work.
    block: Vec<u8>,
}

impl Work {
    /// A template as it came; `None` where it is none.
    fn of(template: &BlockTemplate) -> Option<Self> {
        let block = template.block.0.clone();
        let header = Header::from_bytes(block.get(..Header::LEN)?).ok()?;
        let target = hex::decode(&template.target).ok()?.try_into().ok()?;
        Some(Self { header, target, block })
    }

    /// The block with a header that was found.
    fn sealed(mut self, header: &Header) -> Vec<u8> {
        self.block.splice(..Header::LEN, header.to_bytes());
        self.block
    }
}

/// The work of each node.
type Bench = Arc<Mutex<BTreeMap<NodeNumber, Work>>>;

/// Ends the thread with the task that owns it.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Works for the miners, until dropped.
pub(super) async fn work(keeper: &Arc<Keeper>, mining: &Mining) {
    let bench = Bench::default();
    let stop = Stop(Arc::default());
    let (sender, mut found) = mpsc::channel(MAX_FOUND);
    let shares = mining.miners.clone();
    let cpu_percent = mining.cpu_percent;
    let (on, ends) = (Arc::clone(&bench), Arc::clone(&stop.0));
    let thread = thread::Builder::new().name("hashing".to_owned());
    let started = thread.spawn(move || hash(&on, &shares, cpu_percent, &ends, &sender));
    if let Err(error) = started {
        warn!(%error, "no thread to hash on");
        return;
    }
    let mut suppliers = JoinSet::new();
    for share in &mining.miners {
        suppliers.spawn(supply(Arc::clone(keeper), share.node, Arc::clone(&bench)));
    }
    while let Some((node, block)) = found.recv().await {
        let Ok(client) = keeper.client(node) else { continue };
        let _alone = keeper.finding.lock().await;
        match client.submitblock(hex::encode(block)).await {
            Ok(None) => info!(node, "found a block"),
            Ok(Some(why)) => info!(node, why, "found a block in vain"),
            Err(error) => warn!(node, %error, "a block that was found can't be submitted"),
        }
    }
}

/// Keeps one node's work up to date.
async fn supply(keeper: Arc<Keeper>, node: NodeNumber, bench: Bench) {
    let address = KnownWallet::of(MINER, &keeper.chain.params.address_prefix).address;
    let mut longpollid = None;
    loop {
        // Two nodes must not try the same headers.
        let extra = Some(Hex(node.to_be_bytes().to_vec()));
        let request = TemplateRequest { address: address.clone(), extra, longpollid };
        let template = match keeper.client(node) {
            Ok(client) => client.getblocktemplate(request).await.ok(),
            Err(_) => None,
        };
        let work = template.as_ref().and_then(Work::of);
        let has_work = work.is_some();
        {
            let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
            match work {
                Some(work) => drop(bench.insert(node, work)),
                None => drop(bench.remove(&node)),
            }
        }
        longpollid = template.map(|template| template.longpollid);
        if !has_work {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Tries headers in turns, and rests so long that its part of a core is kept.
fn hash(
    bench: &Bench,
    shares: &[Share],
    cpu_percent: u8,
    ends: &AtomicBool,
    found: &mpsc::Sender<(NodeNumber, Vec<u8>)>,
) {
    ashlar_miner::lower_thread_priority();
    let mut turns = Turns::default();
    while !ends.load(Ordering::Relaxed) {
        let start = Instant::now();
        let able: Vec<Share> = {
            let bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
            shares.iter().filter(|share| bench.contains_key(&share.node)).copied().collect()
        };
        let Some(node) = turns.next(&able) else {
            thread::sleep(IDLE);
            continue;
        };
        let work = {
            let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(work) = bench.get_mut(&node) else { continue };
            let now = work.clone();
            work.header.nonce = work.header.nonce.wrapping_add(TURN);
            now
        };
        if let Some(header) = search(work.header, &work.target, TURN.into()) {
            {
                // Another on the same parent would be in vain; the next template follows at once.
                let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
                if bench.get(&node).is_some_and(|now| now.header.parent == header.parent) {
                    bench.remove(&node);
                }
            }
            if found.blocking_send((node, work.sealed(&header))).is_err() {
                return;
            }
        }
        let busy = start.elapsed();
        thread::sleep(busy * u32::from(100 - cpu_percent.min(100)) / u32::from(cpu_percent.max(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks that are found in a stretch of work on targets that one header in so many meets.
    fn found(shares: &[Share], count: usize) -> BTreeMap<NodeNumber, usize> {
        let bench = Bench::default();
        let header = |node: NodeNumber| Header {
            version: 0x2000_0000,
            parent: ashlar_primitives::BlockId::ZERO,
            merkle_root: ashlar_primitives::MerkleRoot([u8::try_from(node).unwrap(); 32]),
            time: 1,
            bits: 0,
            nonce: 0,
        };
        // About one block in each turn.
        let mut target = [0xff; 32];
        target[..2].copy_from_slice(&[0, 2]);
        let work = |node| Work { header: header(node), target, block: vec![7; Header::LEN + 3] };
        let put = |node| bench.lock().unwrap().insert(node, work(node));
        shares.iter().for_each(|share| drop(put(share.node)));
        let (sender, mut receiver) = mpsc::channel(1);
        let ends = AtomicBool::new(false);
        let mut counts = BTreeMap::new();
        thread::scope(|scope| {
            scope.spawn(|| hash(&bench, shares, 100, &ends, &sender));
            for _ in 0..count {
                let (node, block) = receiver.blocking_recv().unwrap();
                let sealed = Header::from_bytes(&block[..Header::LEN]).unwrap();
                assert_eq!((sealed.merkle_root, block.len()), (header(node).merkle_root, 83));
                *counts.entry(node).or_default() += 1;
                let mut bench = bench.lock().unwrap();
                let mut next = work(node);
                next.header.nonce = sealed.nonce.wrapping_add(1);
                bench.insert(node, next);
            }
            ends.store(true, Ordering::Relaxed);
            drop(receiver);
        });
        counts
    }

    #[test]
    fn each_miner_finds_blocks_of_its_own() {
        let shares = ["1=3", "2=1"].map(|text| text.parse::<Share>().unwrap());
        let counts = found(&shares, 40);
        assert_eq!(counts.values().sum::<usize>(), 40);
        assert!(counts.len() == 2, "{counts:?}");
    }
}
