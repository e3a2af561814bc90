//! Attacks by mass: headers, transactions, answers, connections.

use std::{net::Ipv4Addr, sync::atomic::Ordering, time::Instant};

use ashlar_hostile::{Manners, Peer, Pipe as _, Reply, select, yamux::Stream};
use ashlar_primitives::{
    BlockId, Header, MerkleRoot, OutPoint, Output, Transaction, Txid, Witness,
    wire::{self, Answer, Request, Status},
};
use ashlar_testkit::builder::{Chain, Plan, Spend, key, lock, output, solve};
use serde_json::json;
use tokio::task::JoinSet;

use super::arena::{Arena, empty};
use crate::harness::wait_for;

// ---- headers

/// The honest chain's difficulty rises to 2^13 hashes, so that easy headers stay below the bar.
pub(crate) const EASY_AT_FIRST: &[(&str, u32)] = &[("difficulty_half_life", 60)];
const RISING_BLOCKS: usize = 74;
/// 144 of them may be lacking.
const STEADY_BLOCKS: usize = 260;

pub(crate) fn hard_chain(chain: &mut Chain) {
    let mut tip = chain.genesis_id();
    let mut time = chain.genesis().params().time;
    for number in 0..RISING_BLOCKS + STEADY_BLOCKS {
        time += if number < RISING_BLOCKS { 1 } else { 10 };
        tip = chain.extend(&tip, Plan { time: Some(time), ..Plan::default() }).id();
    }
}

const FLOODERS: usize = 8;
/// Of each flooder's branch, two hashes each.
const EASY_HEADERS: usize = 20_000;

/// Valid headers on schedule from the genesis block on: difficulty never rises.
fn easy_branch(chain: &Chain, lane: u8) -> Vec<Header> {
    let params = chain.genesis().params();
    let mut parent = chain.genesis_id();
    let mut time = params.time;
    let mut headers = Vec::with_capacity(EASY_HEADERS);
    for _ in 0..EASY_HEADERS {
        time += params.block_interval;
        let header = solve(Header {
            version: 0x2000_0000,
            parent,
            merkle_root: MerkleRoot([lane; 32]),
            time,
            bits: params.bits,
            nonce: 0,
        });
        parent = header.id();
        headers.push(header);
    }
    headers
}

/// Answers locators along a branch, as an honest node would along its own.
fn along(headers: Vec<Header>) -> impl Fn(&Request) -> Reply + Send + Sync {
    let places: std::collections::BTreeMap<BlockId, usize> =
        headers.iter().map(Header::id).zip(1..).collect();
    move |request| {
        let Request::Headers { locator, .. } = request else {
            return Reply::answer(&empty(request));
        };
        let start = locator.iter().find_map(|id| places.get(id)).copied().unwrap_or(0);
        let end = headers.len().min(start + wire::MAX_HEADERS);
        Reply::answer(&Answer::Headers(headers[start..end].to_vec()))
    }
}

/// Eight peers, each with a long branch of its own that could never win.
pub(crate) fn low_work(arena: &mut Arena) -> Vec<Peer> {
    let disk = arena.stored();
    let mut peers = Vec::new();
    for lane in 0..FLOODERS {
        let headers = easy_branch(&arena.chain, lane as u8);
        let status = Status {
            tip: headers.last().unwrap().id(),
            height: EASY_HEADERS as u32,
            work: boast(),
            ..arena.status(&arena.tip)
        };
        peers.push(arena.introduced(status, along(headers)));
    }
    let requests =
        || -> u64 { peers.iter().map(|peer| peer.heard.requests.load(Ordering::Relaxed)).sum() };
    let whole_branch = EASY_HEADERS / wire::MAX_HEADERS;
    wait_for("three branches were walked", || {
        (requests() >= 3 * whole_branch as u64).then_some(())
    });
    let grown = arena.stored().saturating_sub(disk);
    assert!(grown < 64 * 1_024, "{grown} bytes of headers were stored");
    peers
}

fn boast() -> [u8; 32] {
    let mut work = [0; 32];
    work[20] = 1;
    work
}

// ---- transactions

/// Of transactions in one batch: about 60 kB.
const BATCH: usize = 390;

fn floods(arena: &Arena, batches: impl Iterator<Item = Vec<Transaction>>) -> Peer {
    let peer = arena.honest();
    arena.runtime.block_on(async {
        let mut gossip = peer.gossip().await.unwrap();
        for batch in batches {
            if gossip.transactions(&wire::encode_batch(&batch)).await.is_err() {
                return;
            }
        }
    });
    peer
}

/// One that spends what nobody knows.
fn orphan(number: u64) -> Transaction {
    let mut txid = [7; 32];
    txid[..8].copy_from_slice(&number.to_le_bytes());
    Transaction {
        not_before: 0,
        inputs: vec![OutPoint { txid: Txid(txid), index: 0 }],
        outputs: vec![output(lock(1), 1_000)],
        memo: Vec::new(),
        witnesses: vec![Witness::Key { signature: ashlar_primitives::Signature([0; 64]) }],
    }
}

/// 6 MB from each of four peers: a hundred times what a peer may send in vain.
pub(crate) fn orphans(arena: &mut Arena) -> Vec<Peer> {
    (0..4u64)
        .map(|peer| {
            let batches = (0..100u64).map(move |batch| {
                let first = peer << 40 | batch << 20;
                (first..).take(BATCH).map(orphan).collect()
            });
            floods(arena, batches)
        })
        .collect()
}

/// A payment that differs from its likes by its memo.
fn payment(arena: &Arena, coin: &(OutPoint, Output), number: u64, fee: u64) -> Transaction {
    let (outpoint, coin) = *coin;
    let spend = Spend {
        inputs: vec![(outpoint, coin)],
        outputs: vec![output(lock(1), coin.value.grains() - fee)],
        memo: number.to_le_bytes().to_vec(),
        ..Spend::default()
    };
    spend.sign(&arena.chain.genesis_id(), &[&key(1)])
}

/// Good in all, and they pay nothing.
pub(crate) fn free_payments(arena: &mut Arena) -> Vec<Peer> {
    let coin = arena.coin();
    let batches: Vec<Vec<Transaction>> = (0..60u64)
        .map(|batch| (0..BATCH as u64).map(|n| payment(arena, &coin, batch << 20 | n, 0)).collect())
        .collect();
    vec![floods(arena, batches.into_iter())]
}

/// Every batch of them is wrong for ever.
pub(crate) fn bad_signatures(arena: &mut Arena) -> Vec<Peer> {
    let coin = arena.coin();
    let batches: Vec<Vec<Transaction>> = (0..40u64)
        .map(|batch| {
            let mut transaction = payment(arena, &coin, batch, 1_000);
            transaction.memo.push(1);
            vec![transaction]
        })
        .collect();
    vec![floods(arena, batches.into_iter())]
}

// ---- answers

const BIG_TRANSACTIONS: usize = 40;
const BIG_OUTPUTS: usize = 2_200;

/// A first block of almost four megabytes.
pub(crate) fn big_block(chain: &mut Chain) {
    let genesis = chain.genesis_id();
    let coins = chain.spendable(&genesis, &lock(1));
    let transactions = coins.into_iter().take(BIG_TRANSACTIONS).map(|(outpoint, coin)| {
        let spend = Spend {
            inputs: vec![(outpoint, coin)],
            outputs: vec![output(lock(2), 1_000); BIG_OUTPUTS],
            ..Spend::default()
        };
        spend.sign(&genesis, &[&key(1)])
    });
    chain.extend(&genesis, Plan::of(transactions.collect()));
}

/// Asks for all it can on every stream it may have, and reads nothing of it.
pub(crate) fn unread_answers(arena: &mut Arena) -> Vec<Peer> {
    const GREEDY: usize = 4;
    let big = arena.chain.branch(&arena.tip)[0].id();
    let question = [
        select::line(select::HEADER),
        select::line(&arena.names().sync),
        Request::Blocks { ids: vec![big; wire::MAX_BLOCK_IDS] }.to_frame(),
    ]
    .concat();
    let peers: Vec<Peer> = (0..GREEDY).map(|_| arena.honest()).collect();
    let _open: Vec<Stream> = arena.runtime.block_on(async {
        let mut open = Vec::new();
        for peer in &peers {
            peer.session.set_reading(false);
            for _ in 0..30 {
                let mut stream = peer.session.open();
                stream.send(&question).await.unwrap();
                open.push(stream);
            }
        }
        open
    });
    arena.settle();
    peers
}

// ---- connections

const CROWD: usize = 500;
/// As many from one address as may be.
const CROWD_PER_SOURCE: usize = 4;
/// Handshakes at one time, below what the node takes.
const CROWD_HANDSHAKES: usize = 24;
/// What `getpeerinfo` may list: all inbound connections that may be, and some being closed.
const MOST_CONNECTIONS: usize = 119;

/// Five hundred polite strangers.
pub(crate) fn crowd(arena: &mut Arena) -> Vec<Peer> {
    let (target, chain_id) = (arena.target, arena.chain.genesis_id());
    let status = arena.status(&arena.tip);
    let manners: Manners = arena.manners(status.clone(), |request| Reply::answer(&empty(request)));
    let sources: Vec<Ipv4Addr> = (0..CROWD / CROWD_PER_SOURCE)
        .map(|_| arena.source())
        .flat_map(|source| [source; CROWD_PER_SOURCE])
        .collect();
    let start = Instant::now();
    let came: Vec<Peer> = arena.runtime.block_on(async {
        let (mut handshakes, mut came) = (JoinSet::new(), Vec::new());
        for source in sources {
            let (manners, status) = (manners.clone(), status.clone());
            handshakes.spawn(async move {
                let peer = Peer::connect(target, source, &chain_id, manners).await.ok()?;
                peer.introduce(status).await.ok()?;
                Some(peer)
            });
            if handshakes.len() >= CROWD_HANDSHAKES {
                came.extend(handshakes.join_next().await.and_then(Result::unwrap));
            }
        }
        while let Some(done) = handshakes.join_next().await {
            came.extend(done.unwrap());
        }
        came
    });
    let there = came.iter().filter(|peer| !peer.session.is_closed()).count();
    println!("{CROWD} dials in {:?}: {} got in, {there} are there", start.elapsed(), came.len());
    let listed = arena.victim.call("getpeerinfo", json!([])).as_array().unwrap().len();
    assert!(there >= 50, "the doors were shut before the house was full");
    assert!(listed <= MOST_CONNECTIONS, "{listed} connections");
    came.into_iter().filter(|peer| !peer.session.is_closed()).collect()
}

/// The same door, knocked at without end: connections that come and go at once.
pub(crate) fn knocking(arena: &mut Arena) -> Vec<Peer> {
    let target = arena.target;
    for _ in 0..500 {
        let source = arena.source();
        arena.runtime.block_on(async {
            drop(ashlar_hostile::peer::dial(target, source).await);
        });
    }
    Vec::new()
}
