//! Attacks with headers, bodies and compact blocks.

use std::sync::{Arc, atomic::Ordering};

use ashlar_consensus::Target;
use ashlar_hostile::{Peer, Reply};
use ashlar_primitives::{
    Block, BlockId, Header, Transaction,
    compact::CompactBlock,
    wire::{self, Answer, Request, Status},
};
use ashlar_testkit::builder::{Plan, Spend, key, lock, output, seal, solve};

use super::arena::{Arena, GOING, empty};
use crate::harness::wait_for;

const SALT: u64 = 7;

/// A payment of one of key 1's coins that nobody has seen.
fn payment(arena: &Arena) -> Transaction {
    let (outpoint, coin) = arena.coin();
    let spend = Spend {
        inputs: vec![(outpoint, coin)],
        outputs: vec![output(lock(1), coin.value.grains() - 1_000)],
        ..Spend::default()
    };
    spend.sign(&arena.chain.genesis_id(), &[&key(1)])
}

/// The next block, good in all, with two payments that nobody has seen.
fn next_block(arena: &Arena) -> Block {
    let plan = Plan::of(vec![payment(arena), payment(arena)]);
    arena.chain.spoiled(&arena.tip, plan, |_| {})
}

/// Another body under the same header.
fn mutated(block: &Block) -> Block {
    let mut block = block.clone();
    block.transactions.reverse();
    block
}

/// The status of who has this block on top of everybody's tip.
fn status_of(arena: &Arena, block: &Block) -> Status {
    let mut status = arena.status(&arena.tip);
    status.tip = block.header.id();
    status.height += 1;
    // more than ours, and that is all the node looks at before it has the header
    status.work[20] = 1;
    status
}

/// Tells of a block as its tip, hands out these headers, and answers other questions as told.
fn claims(
    arena: &Arena,
    block: &Block,
    headers: Vec<Header>,
    other: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Peer {
    let headers = Answer::Headers(headers);
    arena.introduced(status_of(arena, block), move |request| match request {
        Request::Headers { .. } => Reply::answer(&headers),
        request => other(request),
    })
}

/// Gossips this, and answers questions as told.
fn gossips(
    arena: &Arena,
    data: &[u8],
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Peer {
    let peer = arena.introduced(arena.status(&arena.tip), answer);
    arena.runtime.block_on(async {
        let mut gossip = peer.gossip().await.unwrap();
        gossip.block(data).await.unwrap();
    });
    peer
}

fn nothing(request: &Request) -> Reply {
    Reply::answer(&empty(request))
}

fn was_asked(peer: &Peer) {
    wait_for("the node asked", || (peer.heard.requests.load(Ordering::Relaxed) > 0).then_some(()));
}

/// The header that was given a false body still gets its true one, from the friend.
fn honest_body_is_welcome(arena: &mut Arena, block: &Block) {
    arena.submit(block);
    arena.adopt(block.clone());
}

pub(crate) fn workless_gossip(arena: &mut Arena) -> Vec<Peer> {
    let mut block = next_block(arena);
    let target = Target::from_bits(block.header.bits).unwrap();
    while target.is_met_by(&block.header.id()) {
        block.header.nonce += 1;
    }
    let data = wire::encode_announcement(&CompactBlock::build(&block, SALT, &[0, 1]));
    vec![gossips(arena, &data, nothing)]
}

pub(crate) fn bad_header_good_sibling(arena: &mut Arena) -> Vec<Peer> {
    let good = next_block(arena);
    let sibling = solve(Header { bits: 0x207f_fffe, ..good.header });
    let child = solve(Header { parent: good.header.id(), ..sibling });
    let peer = claims(arena, &good, vec![good.header, child], nothing);
    was_asked(&peer);
    let other = claims(arena, &good, vec![sibling], nothing);
    was_asked(&other);
    honest_body_is_welcome(arena, &good);
    vec![peer, other]
}

pub(crate) fn headers_from_nowhere(arena: &mut Arena) -> Vec<Peer> {
    let block = next_block(arena);
    let orphan = solve(Header { parent: BlockId([9; 32]), ..block.header });
    let peer = claims(arena, &block, vec![orphan], nothing);
    was_asked(&peer);
    vec![peer]
}

/// Who asks for blocks gets these.
fn bodies(blocks: Vec<Block>) -> impl Fn(&Request) -> Reply + Send + Sync {
    let answer = Answer::Blocks(blocks);
    move |request| match request {
        Request::Blocks { .. } => Reply::answer(&answer),
        request => nothing(request),
    }
}

/// The node asks for the body of a header and is given these.
fn false_bodies(arena: &mut Arena, block: &Block, given: Vec<Block>) -> Vec<Peer> {
    let peer = claims(arena, block, vec![block.header], bodies(given));
    was_asked(&peer);
    arena.runtime.block_on(peer.is_gone_within(GOING));
    honest_body_is_welcome(arena, block);
    vec![peer]
}

/// The node asks for one block and is given others.
pub(crate) fn unrequested_bodies(arena: &mut Arena) -> Vec<Peer> {
    let block = next_block(arena);
    let other = arena.chain.block(&arena.tip).to_block();
    let given = vec![other.clone(), block.clone(), other];
    false_bodies(arena, &block, given)
}

pub(crate) fn mutated_body(arena: &mut Arena) -> Vec<Peer> {
    let block = next_block(arena);
    let given = vec![mutated(&block)];
    false_bodies(arena, &block, given)
}

pub(crate) fn mutated_gossip(arena: &mut Arena) -> Vec<Peer> {
    let block = next_block(arena);
    let data = wire::encode_announcement(&CompactBlock::build(&mutated(&block), SALT, &[0, 1]));
    let peer = gossips(arena, &data, bodies(vec![mutated(&block)]));
    arena.runtime.block_on(peer.is_gone_within(GOING));
    honest_body_is_welcome(arena, &block);
    vec![peer]
}

/// Work was done for it, and its coinbase names another height.
pub(crate) fn invalid_block(arena: &mut Arena) -> Vec<Peer> {
    let mut block = next_block(arena);
    block.coinbase.height += 1;
    let block = seal(block);
    let data = wire::encode_announcement(&CompactBlock::build(&block, SALT, &[0, 1]));
    vec![gossips(arena, &data, nothing)]
}

/// Answers about one block: whole by `whole`, in part by `part`.
fn holder(whole: Block, part: Vec<Transaction>) -> impl Fn(&Request) -> Reply + Send + Sync {
    let whole = Arc::new(whole);
    move |request| match request {
        Request::Blocks { .. } => Reply::answer(&Answer::Blocks(vec![(*whole).clone()])),
        Request::BlockTransactions { .. } => {
            Reply::answer(&Answer::BlockTransactions(part.clone()))
        }
        request => nothing(request),
    }
}

pub(crate) fn colliding_short_ids(arena: &mut Arena) -> Vec<Peer> {
    let block = next_block(arena);
    let mut compact = CompactBlock::build(&block, SALT, &[]);
    compact.short_ids[1] = compact.short_ids[0];
    let data = wire::encode_announcement(&compact);
    let peer = gossips(arena, &data, holder(block.clone(), Vec::new()));
    was_asked(&peer);
    // the whole block shows that the ids were not its own
    arena.runtime.block_on(peer.is_gone_within(GOING));
    honest_body_is_welcome(arena, &block);
    vec![peer]
}

pub(crate) fn wrong_missing(arena: &mut Arena) -> Vec<Peer> {
    let block = next_block(arena);
    let data = wire::encode_announcement(&CompactBlock::build(&block, SALT, &[]));
    let wrong = vec![payment(arena), payment(arena)];
    let peer = gossips(arena, &data, holder(block.clone(), wrong));
    arena.adopt(block);
    let block = next_block(arena);
    let data = wire::encode_announcement(&CompactBlock::build(&block, SALT, &[]));
    let one_too_few = vec![block.transactions[0].clone()];
    let other = gossips(arena, &data, holder(block.clone(), one_too_few));
    arena.adopt(block);
    vec![peer, other]
}

pub(crate) fn wrong_missing_wrong_body(arena: &mut Arena) -> Vec<Peer> {
    let block = next_block(arena);
    let data = wire::encode_announcement(&CompactBlock::build(&block, SALT, &[]));
    let wrong = vec![payment(arena), payment(arena)];
    let peer = gossips(arena, &data, holder(mutated(&block), wrong));
    arena.runtime.block_on(peer.is_gone_within(GOING));
    honest_body_is_welcome(arena, &block);
    vec![peer]
}

pub(crate) fn withheld(arena: &mut Arena) -> Vec<Peer> {
    let block = next_block(arena);
    let data = wire::encode_announcement(&CompactBlock::build(&block, SALT, &[]));
    let peer = gossips(arena, &data, nothing);
    was_asked(&peer);
    honest_body_is_welcome(arena, &block);
    vec![peer]
}
