//! What a generated chain is made of: a genesis, owners, and every block written so far, on any
//! branch, with the state that the model finds after it.

use std::collections::BTreeMap;

use ashlar_consensus::{Genesis, Params};
use ashlar_primitives::{
    Block, BlockId, Coin, Coinbase, Encode as _, Header, Lock, MerkleRoot, OutPoint, Output,
};
use imbl::OrdMap;
use rand::RngExt as _;
use serde_json::json;

use super::{Random, wallet::Wallet};
use crate::{
    builder,
    model::{
        block_id,
        body::{self, merkle_root},
        difficulty::{self, is_met, required_bits},
        header::{self, Link},
        state::{self, State},
    },
};

/// Seconds between blocks.
const INTERVAL: u32 = 10;

/// A block that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// What a child is written by.
    pub link: Link,
    /// After it; where it is invalid, what its children pretend.
    pub state: State,
    /// Its encoding.
    pub bytes: Vec<u8>,
    /// Whether it and its ancestors break no rule but those that depend on a clock.
    pub is_valid: bool,
}

/// A block that lacks merkle root and work, and what else a spoiler may want to know of it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Valid, once it is finished.
    pub block: Block,
    /// Its height.
    pub height: u32,
    /// The coins that one more transaction at its end could spend.
    pub coins: OrdMap<OutPoint, Coin>,
    /// What its transactions pay, in grains.
    pub fees: u128,
}

/// All that was written of one chain.
#[derive(Debug)]
pub struct World {
    /// What the chain begins with.
    pub genesis: Genesis,
    /// Who owns coins.
    pub wallet: Wallet,
    /// By id; those whose header rules hold.
    pub written: BTreeMap<BlockId, Written>,
    /// The time that nodes are told, in seconds since 1970: no earlier than any block written,
    /// unless that was to be from the future.
    pub now_seconds: u64,
    serial: u64,
}

/// Any of these.
pub fn one_of<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.random_range(0..of.len())]
}

impl World {
    /// Draws a genesis with trivial work: fixed difficulty or moving, with or without relief,
    /// small blocks or larger ones, young coinbases spendable or not.
    pub fn draw(random: &mut Random) -> Self {
        let wallet = Wallet::draw(random);
        let allocations: Vec<(Lock, u64)> = (0..random.random_range(4..=10))
            .map(|_| (wallet.draw_lock(random), random.random_range(1..=1_000_000)))
            .collect();
        let half_life = one_of(random, &[0, 100, 500]);
        let bits =
            if half_life == 0 { "207fffff" } else { one_of(random, &["207fffff", "2007ffff"]) };
        let max_future = one_of(random, &[0, 60]);
        let genesis = builder::genesis_with(
            &allocations,
            &[
                ("bits", json!(bits)),
                ("block_interval", json!(INTERVAL)),
                ("difficulty_half_life", json!(half_life)),
                ("max_future_seconds", json!(max_future)),
                ("stall_relief_seconds", json!(one_of(random, &[0, 240, 300]))),
                ("max_block_bytes", json!(one_of(random, &[10_000, 10_000, 10_000, 300_000]))),
                ("coinbase_maturity", json!(random.random_range(0..=4))),
                (
                    "initial_subsidy",
                    json!(one_of(random, &[0, 7, 50_000, 50_000, 5_000_000_000_u64])),
                ),
                ("halving_interval", json!(one_of(random, &[1, 7, 100_000]))),
            ],
        );
        let params = genesis.params();
        let written = Written {
            link: Link::genesis(params, genesis.block()),
            state: State::genesis(genesis.block()),
            bytes: genesis.block().to_bytes(),
            is_valid: true,
        };
        let (id, now_seconds) = (params.chain_id, u64::from(params.time));
        Self { wallet, written: BTreeMap::from([(id, written)]), now_seconds, serial: 0, genesis }
    }

    /// The chain's.
    pub const fn params(&self) -> &Params {
        self.genesis.params()
    }

    /// A block that was written.
    pub fn at(&self, id: &BlockId) -> &Written {
        &self.written[id]
    }

    /// The times of a block and of up to ten before it.
    pub fn times_before(&self, parent: &BlockId) -> Vec<u32> {
        let up = |id: &BlockId| self.written.get(id).map(|written| written.link.header);
        let headers = std::iter::successors(up(parent), |header| up(&header.parent));
        headers.take(11).map(|header| header.time).collect()
    }

    fn draw_time(&self, random: &mut Random, parent: &BlockId) -> u32 {
        let mut times = self.times_before(parent);
        times.sort_unstable();
        let earliest = times[times.len() / 2] + 1;
        let Link { header, clock, .. } = &self.at(parent).link;
        let relief = self.params().stall_relief_seconds;
        match random.random_range(0..20) {
            0..=2 => earliest,
            3..=5 => clock + random.random_range(0..4 * INTERVAL),
            6 => clock + relief + random.random_range(0..=2 * relief.max(INTERVAL)),
            _ => header.time + INTERVAL,
        }
        .max(earliest)
    }

    /// A child of `parent` with a few transactions, valid where the parent is.
    pub fn draft(&mut self, random: &mut Random, parent: &BlockId) -> Draft {
        let time = self.draw_time(random, parent);
        let params = self.genesis.params();
        let Written { link, state, .. } = &self.written[parent];
        let height = link.height + 1;
        let (mut coins, mut fees, mut transactions) = (state.coins.clone(), 0, Vec::new());
        for _ in 0..one_of(random, &[0, 0, 1, 1, 1, 2, 4]) {
            let paid = self.wallet.pay(random, height, params.coinbase_maturity, &coins);
            let Some(payment) = paid else { continue };
            let transaction = payment.sign(&params.chain_id);
            fees += body::sum(payment.spent.iter().map(|coin| &coin.output))
                - body::sum(&transaction.outputs);
            for outpoint in &transaction.inputs {
                coins.remove(outpoint);
            }
            for (index, output) in (0..).zip(&transaction.outputs) {
                let outpoint = OutPoint { txid: state::txid(&transaction), index };
                coins.insert(outpoint, Coin { output: *output, height, is_coinbase: false });
            }
            transactions.push(transaction);
        }
        let allowed = u64::try_from(state::subsidy(params, height) + fees).expect("in range");
        self.serial += 1;
        let coinbase = Coinbase {
            version: Coinbase::VERSION,
            height,
            utxo_commitment: state.commitment(),
            outputs: self.draw_claims(random, allowed),
            extra: self.serial.to_le_bytes().to_vec(),
        };
        let header = Header {
            version: 0x2000_0000 | (random.random::<u32>() & 0x1fff_e000),
            parent: *parent,
            merkle_root: MerkleRoot::ZERO,
            time,
            bits: required_bits(params, link, time),
            nonce: 0,
        };
        Draft { block: Block { header, coinbase, transactions }, height, coins, fees }
    }

    /// Mostly all of what is allowed, now and then less, with outputs of no value between.
    fn draw_claims(&self, random: &mut Random, allowed: u64) -> Vec<Output> {
        let claimed =
            if random.random_bool(0.1) { random.random_range(0..=allowed) } else { allowed };
        let first = if random.random_bool(0.2) { random.random_range(0..=claimed) } else { 0 };
        let mut outputs = vec![builder::output(self.wallet.draw_lock(random), claimed - first)];
        if first > 0 || random.random_bool(0.1) {
            outputs.insert(0, builder::output(self.wallet.draw_lock(random), first));
        }
        outputs
    }

    /// Takes in a finished block, so that children of it can be written. Where its header breaks a
    /// rule nothing is kept: no node would.
    pub fn adopt(&mut self, block: &Block) -> BlockId {
        let id = block_id(&block.header);
        let Written { link, state, is_valid, .. } = &self.written[&block.header.parent];
        let times = self.times_before(&block.header.parent);
        let any_time = u64::from(u32::MAX);
        if let Ok(link) = header::check(self.params(), link, times, &block.header, any_time) {
            let bytes = block.to_bytes();
            let after = body::decode(self.params(), &bytes)
                .and_then(|block| body::check(link.height, &block))
                .and_then(|()| state.apply(self.params(), link.height, block));
            let is_valid = *is_valid && after.is_ok();
            let state = after.unwrap_or_else(|_| state.clone());
            let written = Written { link, state, bytes, is_valid };
            self.written.insert(id, written);
        }
        id
    }

    /// Writes a valid child of `parent` whose time has come.
    pub fn write(&mut self, random: &mut Random, parent: &BlockId) -> BlockId {
        let draft = self.draft(random, parent);
        self.now_seconds = self.now_seconds.max(draft.block.header.time.into());
        let block = finish(draft.block);
        self.adopt(&block)
    }
}

/// Makes the merkle root fit, then does the work.
pub fn finish(mut block: Block) -> Block {
    if let Some(root) = merkle_root(&block) {
        block.header.merkle_root = root;
    }
    block.header = solve(block.header, true);
    block
}

/// Finds a nonce that meets the header's target, or one that misses it. Bits without a target are
/// met by any.
pub fn solve(header: Header, meets: bool) -> Header {
    let Some(target) = difficulty::target(header.bits) else { return header };
    (0..=u32::MAX)
        .map(|nonce| Header { nonce, ..header })
        .find(|header| is_met(&target, &block_id(header)) == meets)
        .expect("the work of generated chains is trivial")
}
