//! Both sides of the limits of PROTOCOL.md §12 that a node itself must keep to when it answers.

use ashlar_primitives::{
    Block, BlockId, Encode as _, OutPoint, Transaction, Txid,
    wire::{Answer, Request},
};
use ashlar_testkit::builder::{Chain, Plan, Spend, genesis, genesis_with, key, lock, output, seal};
use serde_json::Value;

use super::world::World;
use crate::{Peer, call::BlockVerdict};

const MIB: usize = 1 << 20;

struct Scene {
    world: World,
    chain: Chain,
    node: usize,
    peer: Peer,
    tip: BlockId,
}

impl Scene {
    /// A node with so many blocks, which may be large, and a peer that asks it.
    fn new(blocks: usize, max_block_bytes: usize) -> Self {
        let changes = [("max_block_bytes", Value::from(max_block_bytes))];
        let mut chain = Chain::new(genesis_with(&[(lock(1), 1_000_000)], &changes));
        let tip = chain.extend_by(&chain.genesis_id(), blocks);
        let mut world = World::new();
        let node = world.add(chain.genesis());
        world.feed(node, &chain.branch(&tip));
        let peer = world.hand_at(node, &chain, &tip);
        Self { world, chain, node, peer, tip }
    }

    fn ask(&mut self, request: Request) -> Option<Answer> {
        self.world.ask(self.node, self.peer, request)
    }

    /// Keeps a block beside the tip, which nobody judges with state.
    fn keep(&mut self, transactions: Vec<Transaction>) -> Block {
        let below = self.chain.block(&self.tip).header().parent;
        let block = seal(self.chain.draft(&below, Plan::of(transactions)));
        let id = block.header.id();
        assert_eq!(self.world.submit_block(self.node, &block), BlockVerdict::Side(id));
        block
    }

    fn rest(&mut self, block: &Block, count: usize) -> Option<Vec<Transaction>> {
        let (id, indexes) = (block.header.id(), (0..).take(count).collect());
        match self.ask(Request::BlockTransactions { id, indexes })? {
            Answer::BlockTransactions(transactions) => Some(transactions),
            other => panic!("{other:?}"),
        }
    }

    fn served(&mut self, blocks: &[&Block]) -> usize {
        let ids = blocks.iter().map(|block| block.header.id()).collect();
        match self.ask(Request::Blocks { ids }) {
            Some(Answer::Blocks(blocks)) => blocks.len(),
            other => panic!("{other:?}"),
        }
    }
}

/// What keeps the stateless rules and spends coins that nobody has: so many bytes.
fn junk(number: u16, size_bytes: usize) -> Transaction {
    let input = OutPoint { txid: Txid([0x77; 32]), index: number };
    let outputs = (size_bytes - 47) / 41;
    let junk = Transaction {
        not_before: 0,
        inputs: vec![input],
        outputs: vec![output(lock(1), 1); outputs],
        memo: vec![0; size_bytes - 47 - 41 * outputs],
        witnesses: Vec::new(),
    };
    assert_eq!(junk.encoded_len(), size_bytes);
    junk
}

/// Transactions of so many bytes together.
fn much_junk(mut size_bytes: usize) -> Vec<Transaction> {
    const LARGE: usize = 99_000;
    let mut list = Vec::new();
    for number in 0.. {
        let next = if size_bytes > 2 * LARGE { LARGE } else { size_bytes.min(LARGE) };
        list.push(junk(number, next));
        size_bytes -= next;
        if size_bytes == 0 {
            break;
        }
    }
    list
}

#[test]
fn headers_come_two_thousand_at_a_time() {
    let mut scene = Scene::new(2_001, 10_000);
    let branch = scene.chain.branch(&scene.tip.clone());
    let mut headers = |locator: Vec<BlockId>, stop| -> Vec<BlockId> {
        match scene.ask(Request::Headers { locator, stop }) {
            Some(Answer::Headers(headers)) => headers.iter().map(|header| header.id()).collect(),
            other => panic!("{other:?}"),
        }
    };
    let ids: Vec<BlockId> = branch.iter().map(|block| block.id()).collect();
    assert_eq!(headers(vec![], None), ids[..2_000]);
    assert_eq!(headers(vec![ids[0]], None), ids[1..]);
    assert!(headers(vec![ids[2_000]], None).is_empty());
    // Up to and including the stop.
    assert_eq!(headers(vec![ids[0]], Some(ids[2])), ids[1..=2]);
}

#[test]
fn blocks_come_up_to_eight_mebibytes_or_one_alone() {
    let mut scene = Scene::new(3, 9_000_000);
    // Each is one byte short of half, which the count takes.
    let fixed = scene.keep(vec![]).encoded_len();
    let half = scene.keep(much_junk(4 * MIB - 1 - fixed));
    let other = scene.keep(much_junk(4 * MIB - 1 - fixed));
    let more = scene.keep(much_junk(4 * MIB - fixed));
    let alone = scene.keep(much_junk(9_000_000 - fixed));
    assert_eq!(half.encoded_len(), 4 * MIB - 1);
    assert_eq!(scene.served(&[&half, &other]), 2);
    assert_eq!(scene.served(&[&half, &more]), 1);
    assert_eq!(alone.encoded_len(), 9_000_000);
    assert_eq!(scene.served(&[&alone, &half]), 1);
    // Of one block all that is asked for, however large.
    let rest = scene.rest(&alone, alone.transactions.len());
    assert!(rest == Some(alone.transactions));
}

#[test]
fn of_a_block_sixteen_thousand_transactions_may_be_asked_for() {
    let mut scene = Scene::new(3, 9_000_000);
    let count = 16_001_u16;
    let block = scene.keep((0..count).map(|number| junk(number, 88)).collect());
    let most = scene.rest(&block, 16_000).unwrap();
    assert!(most == block.transactions[..16_000]);
    assert_eq!(scene.rest(&block, 16_001), None);
}

#[test]
fn of_a_block_ten_below_the_tip_transactions_may_be_asked_for() {
    let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000)]));
    let genesis = chain.genesis_id();
    let payment = chain.pay(&genesis, 1, lock(2), 500, 1_000);
    let block = chain.extend(&genesis, Plan::of(vec![payment.clone()]));
    let mut world = World::new();
    let node = world.add(chain.genesis());
    let tip = chain.extend_by(&block.id(), 10);
    world.feed(node, &chain.branch(&tip));
    let peer = world.hand_at(node, &chain, &tip);
    let request = || Request::BlockTransactions { id: block.id(), indexes: vec![0] };
    let all = Answer::BlockTransactions(vec![payment]);
    assert_eq!(world.ask(node, peer, request()), Some(all));
    let next = chain.extend_by(&tip, 1);
    world.feed(node, &[chain.block(&next).clone()]);
    let none = Answer::BlockTransactions(Vec::new());
    assert_eq!(world.ask(node, peer, request()), Some(none));
}

#[test]
fn transactions_come_up_to_a_mebibyte() {
    // With the count of two bytes: what fits exactly, and what does not by one byte.
    for (last, fits) in [(56_574, true), (56_575, false)] {
        let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000_000); 17]));
        let genesis = chain.genesis_id();
        let tip = chain.extend_by(&genesis, 1);
        let mut world = World::new();
        let node = world.add(chain.genesis());
        world.feed(node, &chain.branch(&tip));
        let peer = world.hand_at(node, &chain, &tip);
        let sizes: Vec<usize> = [62_000; 16].into_iter().chain([last]).collect();
        let coins = chain.spendable(&tip, &lock(1));
        let transactions: Vec<Transaction> = coins
            .into_iter()
            .zip(&sizes)
            .map(|(coin, size)| {
                // 47 bytes with the input, 65 of the witness.
                let outputs = (size - 112) / 41;
                let spend = Spend {
                    inputs: vec![coin],
                    outputs: vec![output(lock(2), 100_000); outputs],
                    memo: vec![0; size - 112 - 41 * outputs],
                    ..Spend::default()
                };
                let transaction = spend.sign(&genesis, &[&key(1)]);
                assert_eq!(transaction.encoded_len(), *size);
                transaction
            })
            .collect();
        for transaction in &transactions {
            assert_eq!(world.submit(node, std::slice::from_ref(transaction)), ["ok"]);
        }
        let wtxids = transactions.iter().map(Transaction::wtxid).collect();
        let Some(Answer::Transactions(found)) =
            world.ask(node, peer, Request::Transactions { wtxids })
        else {
            panic!("no transactions")
        };
        assert_eq!(found.len(), if fits { 17 } else { 16 });
        assert!(found == transactions[..found.len()]);
        assert_eq!(Answer::Transactions(transactions).encoded_len() == MIB, fits);
    }
}
