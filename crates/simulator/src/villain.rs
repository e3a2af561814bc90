//! Who does not keep the rules: actors over the messages of PROTOCOL.md §12, without an engine.
//!
//! A villain answers as a node would that has the chain it claims, and breaks one promise of its
//! own. What it makes, the judge learns, as it learns of every block; what it only pretends to
//! have nobody can ever know. Villains act until the last phase begins, and are gone then.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use ashlar_engine::{GossipData, Peer, RequestId};
use ashlar_primitives::{
    Block, BlockId, Header, Lock, Transaction,
    compact::CompactBlock,
    wire,
    wire::{Answer, Request, Status},
};
use num_bigint::BigUint;
use rand::{RngExt, seq::IndexedRandom};

use crate::{
    craft::{Draft, Flaw, cheap_headers, craft, from_nowhere, spoil, spoil_transaction},
    judge::Judge,
    node::NodeId,
    random::{Random, once_in},
};

/// Headers in one answer (PROTOCOL.md §12).
const MAX_HEADERS: usize = 2_000;
/// As many as are cheap for whoever must look at them, too.
const FEW_HEADERS: usize = 100;
/// Blocks that a branch is led by before it is shown, at most.
const MAX_LEAD: u32 = 6;
/// How far below the tip a rewriter begins, at most.
const MAX_REWRITE: u32 = 12;
/// The cheap headers are made again each time that they were told so often.
const REMADE_EACH: u64 = 4;
/// How far below the tip a long and light branch begins, at most.
const LONG_BRANCH: u32 = 40;
/// Transactions in a villain's batch.
const BATCH: usize = 20;

/// What kind of harm somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Keeps the blocks that it finds until they are worth more than the others'.
    SelfishMiner,
    /// Finds blocks whose times are as early or as late as the rules let them be.
    TimestampPlayer,
    /// Answers with headers without end that cost nothing, and claims all work there is.
    LowWorkFlooder,
    /// Sends other bodies under honest headers.
    Mutator,
    /// Announces blocks and does not hand them out.
    Withholder,
    /// Finds a block that breaks a rule, and more on it.
    InvalidMiner,
    /// Gossips transactions that are wrong, worthless or lack their parents.
    TransactionFlooder,
    /// All that its victim hears, while its victim is cut off from everybody else.
    EclipseRing,
    /// Has most of the hash power, and undoes what was confirmed.
    Rewriter,
    /// Tells of tips that nobody has.
    StaleTipLiar,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::SelfishMiner,
        Self::TimestampPlayer,
        Self::LowWorkFlooder,
        Self::Mutator,
        Self::Withholder,
        Self::InvalidMiner,
        Self::TransactionFlooder,
        Self::EclipseRing,
        Self::Rewriter,
        Self::StaleTipLiar,
    ];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SelfishMiner => "selfish miner",
            Self::TimestampPlayer => "timestamp player",
            Self::LowWorkFlooder => "low-work flooder",
            Self::Mutator => "mutator",
            Self::Withholder => "withholder",
            Self::InvalidMiner => "invalid miner",
            Self::TransactionFlooder => "transaction flooder",
            Self::EclipseRing => "eclipse ring",
            Self::Rewriter => "rewriter",
            Self::StaleTipLiar => "stale-tip liar",
        }
    }

    /// How often it does something, in a world with this block interval.
    pub fn pace(self, block_interval: Duration) -> Duration {
        match self {
            Self::SelfishMiner | Self::TimestampPlayer => block_interval * 3,
            Self::Rewriter => block_interval / 2,
            Self::EclipseRing => block_interval * 5,
            Self::InvalidMiner | Self::Withholder => block_interval * 6,
            Self::LowWorkFlooder => Duration::from_secs(60),
            Self::Mutator | Self::StaleTipLiar => Duration::from_secs(20),
            Self::TransactionFlooder => Duration::from_secs(4),
        }
    }
}

/// What a villain does.
#[derive(Debug)]
pub enum Act {
    /// Asks.
    Ask(Peer, RequestId, Request),
    /// Answers.
    Tell(Peer, RequestId, Option<Answer>),
    /// Gossips.
    Publish(GossipData),
}

/// What a villain can see.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Knows every block that was ever made.
    pub judge: &'a mut Judge,
    /// The tip of an honest node.
    pub public: BlockId,
    /// By the world's clock, seconds since 1970.
    pub now_seconds: u32,
    /// Between two blocks.
    pub max_future_seconds: u32,
}

/// Somebody who does harm.
pub struct Villain {
    /// Where it is, among the nodes.
    pub id: NodeId,
    /// How.
    pub kind: Kind,
    random: Random,
    lock: Lock,
    /// Whose chain it claims to have.
    claimed: BlockId,
    /// What it keeps for itself.
    secret: Option<BlockId>,
    peers: BTreeMap<Peer, NodeId>,
    next_request: u64,
    marks: u64,
    cheap: Vec<Header>,
    heard: Vec<Transaction>,
}

impl fmt::Debug for Villain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} the {}, {} peers", self.id, self.kind.name(), self.peers.len())
    }
}

impl Villain {
    /// One that knows the genesis block.
    pub fn new(id: NodeId, kind: Kind, genesis: BlockId, random: Random) -> Self {
        Self {
            id,
            kind,
            random,
            lock: Lock { version: Lock::KEY, program: [id.0 as u8; 32] },
            claimed: genesis,
            secret: None,
            peers: BTreeMap::new(),
            next_request: 1,
            marks: 0,
            cheap: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Draws the time until it does something.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The connections that it has.
    pub fn peers(&self) -> Vec<Peer> {
        self.peers.keys().copied().collect()
    }

    /// A connection stands. It asks for status, as everybody must.
    pub fn connected(&mut self, peer: Peer, other: NodeId, scene: &Scene<'_>) -> Vec<Act> {
        self.peers.insert(peer, other);
        vec![self.ask_status(peer, scene)]
    }

    /// A connection ended.
    pub fn gone(&mut self, peer: Peer) {
        self.peers.remove(&peer);
    }

    fn ask_status(&mut self, peer: Peer, scene: &Scene<'_>) -> Act {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        Act::Ask(peer, id, Request::Status(self.status(scene)))
    }

    fn status(&mut self, scene: &Scene<'_>) -> Status {
        let judge = &*scene.judge;
        let entry = judge.entry(&self.claimed);
        let work = entry.map(|entry| entry.link.work.clone()).unwrap_or_default();
        let mut status = Status {
            chain_id: judge.params().chain_id,
            tip: self.claimed,
            height: entry.map_or(0, |entry| entry.link.height),
            work: le_bytes(&work),
            services: Status::ALL_BODIES | Status::RECENT_BODIES,
            agent: "ashlar/0.1.0".into(),
        };
        match self.kind {
            Kind::LowWorkFlooder => {
                status.height += 100_000;
                status.work = [0x7f; 32];
                status.tip = BlockId(self.random.random());
            }
            Kind::StaleTipLiar => {
                status.height = self.random.random_range(0..1_000_000);
                self.random.fill(&mut status.work);
                if once_in(&mut self.random, 2) {
                    status.tip = BlockId(self.random.random());
                }
            }
            _ => {}
        }
        status
    }

    /// A node asks.
    pub fn asked(
        &mut self,
        peer: Peer,
        id: RequestId,
        request: &Request,
        scene: &mut Scene<'_>,
    ) -> Vec<Act> {
        let answer = match request {
            Request::Status(_) => Some(Answer::Status(self.status(scene))),
            Request::Headers { locator, stop } => self.headers(locator, *stop, scene),
            Request::Blocks { ids } => self.blocks(ids, scene),
            Request::BlockTransactions { id, indexes } => self.parts(id, indexes, scene),
            Request::Mempool => Some(Answer::Mempool(Vec::new())),
            Request::Transactions { .. } => Some(Answer::Transactions(Vec::new())),
        };
        vec![Act::Tell(peer, id, answer)]
    }

    fn headers(
        &mut self,
        locator: &[BlockId],
        stop: Option<BlockId>,
        scene: &Scene<'_>,
    ) -> Option<Answer> {
        if self.kind == Kind::LowWorkFlooder {
            return Some(Answer::Headers(self.cheap.clone()));
        }
        let chain = scene.judge.chain(&self.claimed);
        let after = locator.iter().find_map(|id| chain.iter().position(|at| at == id));
        let mut ids = chain.into_iter().skip(after.unwrap_or(0) + 1);
        let mut headers = Vec::new();
        while let Some(id) = ids.next()
            && headers.len() < MAX_HEADERS
        {
            headers.extend(scene.judge.entry(&id).map(|entry| entry.link.header));
            if Some(id) == stop {
                break;
            }
        }
        Some(Answer::Headers(headers))
    }

    fn blocks(&mut self, ids: &[BlockId], scene: &Scene<'_>) -> Option<Answer> {
        match self.kind {
            Kind::Withholder | Kind::LowWorkFlooder | Kind::StaleTipLiar => None,
            Kind::Mutator => {
                let first = ids.first().and_then(|id| scene.judge.block(id))?;
                Some(Answer::Blocks(vec![self.mutated(first)]))
            }
            _ => {
                let blocks = ids.iter().map_while(|id| scene.judge.block(id)).cloned();
                Some(Answer::Blocks(blocks.collect()))
            }
        }
    }

    fn parts(&self, id: &BlockId, indexes: &[u32], scene: &Scene<'_>) -> Option<Answer> {
        if self.kind == Kind::Withholder {
            return None;
        }
        let block = scene.judge.block(id)?;
        let parts = indexes.iter().map(|index| {
            let index = usize::try_from(*index).ok()?;
            block.transactions.get(index).cloned()
        });
        Some(Answer::BlockTransactions(parts.collect::<Option<_>>()?))
    }

    /// Another body under the same header.
    fn mutated(&mut self, block: &Block) -> Block {
        let mut block = block.clone();
        match self.random.random_range(0..4) {
            0 => block.coinbase.extra.push(0),
            1 => block.transactions.extend(block.transactions.last().cloned()),
            2 => block.coinbase.height += 1,
            _ => block.transactions.push(from_nowhere(&mut self.random)),
        }
        block
    }

    /// It hears what honest nodes gossip.
    pub fn hears(&mut self, data: &GossipData) -> Vec<Act> {
        match (self.kind, data) {
            // The same header with something else, to whoever has not heard the honest one.
            (Kind::Mutator, GossipData::Block(compact)) => {
                let mut other = CompactBlock::clone(compact);
                match self.random.random_range(0..3) {
                    0 => other.coinbase.extra.push(0),
                    1 => other.salt ^= 1,
                    _ => other.short_ids.clear(),
                }
                vec![Act::Publish(GossipData::Block(Arc::new(other)))]
            }
            (Kind::TransactionFlooder, GossipData::Transactions(batch)) => {
                self.heard.extend(batch.iter().take(BATCH).cloned());
                let surplus = self.heard.len().saturating_sub(BATCH);
                self.heard.drain(..surplus);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// It does what it is there for.
    pub fn act(&mut self, scene: &mut Scene<'_>) -> Vec<Act> {
        match self.kind {
            Kind::SelfishMiner => self.mine_in_secret(scene, 0),
            Kind::Rewriter => {
                let depth = self.random.random_range(1..=MAX_REWRITE);
                self.mine_in_secret(scene, depth)
            }
            Kind::TimestampPlayer => self.mine_at_odd_times(scene),
            Kind::InvalidMiner => self.mine_invalid(scene),
            Kind::Withholder => self.announce_nothing(scene),
            Kind::TransactionFlooder => self.flood(scene),
            Kind::LowWorkFlooder => {
                self.marks += 1;
                if self.marks % REMADE_EACH == 1 {
                    let (public, now) = (scene.public, scene.now_seconds);
                    let count = match once_in(&mut self.random, 16) {
                        true => MAX_HEADERS,
                        false => FEW_HEADERS,
                    };
                    self.cheap = cheap_headers(scene.judge, &public, count, now);
                }
                self.push_status(scene)
            }
            Kind::EclipseRing => self.mine_for_victim(scene),
            Kind::StaleTipLiar => self.push_status(scene),
            Kind::Mutator => self.announce_mutated(scene),
        }
    }

    /// A good block, told with another body; who asks for the whole of it gets another one still.
    fn announce_mutated(&mut self, scene: &mut Scene<'_>) -> Vec<Act> {
        let (public, now) = (scene.public, scene.now_seconds);
        let Some(made) = self.make(scene, public, now) else { return Vec::new() };
        let Some(block) = scene.judge.block(&made).cloned() else { return Vec::new() };
        let mut compact = CompactBlock::announcement(&block, self.marks);
        compact.coinbase.extra.push(0);
        self.claimed = made;
        vec![Act::Publish(GossipData::Block(Arc::new(compact)))]
    }

    fn push_status(&mut self, scene: &Scene<'_>) -> Vec<Act> {
        let peers = self.peers();
        peers.into_iter().map(|peer| self.ask_status(peer, scene)).collect()
    }

    fn make(&mut self, scene: &mut Scene<'_>, parent: BlockId, time: u32) -> Option<BlockId> {
        let transactions = Vec::new();
        self.make_with(scene, parent, time, transactions)
    }

    fn make_with(
        &mut self,
        scene: &mut Scene<'_>,
        parent: BlockId,
        time: u32,
        transactions: Vec<Transaction>,
    ) -> Option<BlockId> {
        self.marks += 1;
        let draft = Draft { parent, time, pay_to: self.lock, mark: self.marks, transactions };
        let block = craft(scene.judge, draft)?;
        scene.judge.learn(&block).ok()?;
        Some(block.header.id())
    }

    /// Tells of a block, and of the chain that it ends.
    fn show(&mut self, scene: &Scene<'_>, id: BlockId) -> Vec<Act> {
        self.claimed = id;
        let mut acts = self.push_status(scene);
        if let Some(block) = scene.judge.block(&id) {
            let compact = CompactBlock::announcement(block, self.marks);
            let compact = match block.transactions.len() {
                0 => compact,
                count => {
                    let all: Vec<u32> = (0..u32::try_from(count).unwrap_or(0)).collect();
                    CompactBlock::build(block, self.marks, &all)
                }
            };
            acts.push(Act::Publish(GossipData::Block(Arc::new(compact))));
        }
        acts
    }

    fn work(scene: &Scene<'_>, id: &BlockId) -> BigUint {
        scene.judge.entry(id).map(|entry| entry.link.work.clone()).unwrap_or_default()
    }

    fn height(scene: &Scene<'_>, id: &BlockId) -> u32 {
        scene.judge.entry(id).map_or(0, |entry| entry.link.height)
    }

    /// One block more of its own branch, which begins so deep; it is shown when it is better than
    /// the public one, and the public one close, or it long enough.
    fn mine_in_secret(&mut self, scene: &mut Scene<'_>, depth: u32) -> Vec<Act> {
        let public = scene.public;
        let base = scene.judge.model().path_down(&public).take(depth as usize + 1).last();
        let base = base.map_or(public, |(id, _)| id);
        let (least, public_height) = (Self::work(scene, &base), Self::height(scene, &public));
        let parent = match self.secret {
            // Too far behind to ever be shown: a new beginning.
            Some(secret) if Self::height(scene, &secret) + MAX_REWRITE < public_height => base,
            Some(secret) if Self::work(scene, &secret) >= least || depth > 0 => secret,
            _ => base,
        };
        let now = scene.now_seconds;
        let Some(made) = self.make(scene, parent, now) else { return Vec::new() };
        self.secret = Some(made);
        let is_better = Self::work(scene, &made) > Self::work(scene, &public);
        let lead = Self::height(scene, &made).saturating_sub(public_height);
        let is_time = depth > 0 || lead >= MAX_LEAD || once_in(&mut self.random, 3);
        if is_better && is_time {
            self.secret = None;
            return self.show(scene, made);
        }
        Vec::new()
    }

    fn mine_at_odd_times(&mut self, scene: &mut Scene<'_>) -> Vec<Act> {
        if once_in(&mut self.random, 3) {
            return self.mine_long_and_light(scene);
        }
        let public = scene.public;
        let time = match once_in(&mut self.random, 2) {
            true => 0,
            false => scene.now_seconds + scene.max_future_seconds,
        };
        match self.make(scene, public, time) {
            Some(made) => self.show(scene, made),
            None => Vec::new(),
        }
    }

    /// A branch that is longer than the public one and has less work: after a long gap its first
    /// blocks are easy. One with more work would take hash power that nobody has.
    fn mine_long_and_light(&mut self, scene: &mut Scene<'_>) -> Vec<Act> {
        let public = scene.public;
        let depth = self.random.random_range(MAX_REWRITE..=LONG_BRANCH);
        let base = scene.judge.model().path_down(&public).nth(depth as usize);
        let Some((mut tip, _)) = base else { return Vec::new() };
        let mut time = scene.now_seconds;
        for _ in 0..=depth {
            let Some(next) = self.make(scene, tip, time) else { return Vec::new() };
            (tip, time) = (next, 0);
        }
        match Self::work(scene, &tip) < Self::work(scene, &public) {
            true => self.show(scene, tip),
            false => Vec::new(),
        }
    }

    /// A block that breaks a rule which only the state tells, and up to four on it.
    fn mine_invalid(&mut self, scene: &mut Scene<'_>) -> Vec<Act> {
        self.marks += 1;
        let public = scene.public;
        let draft = Draft {
            parent: public,
            time: scene.now_seconds,
            pay_to: self.lock,
            mark: self.marks,
            transactions: vec![from_nowhere(&mut self.random)],
        };
        let Some(block) = craft(scene.judge, draft) else { return Vec::new() };
        let flaw = [Flaw::Coinbase, Flaw::Transaction];
        let flaw = flaw.choose(&mut self.random).copied().filter(|_| self.marks.is_multiple_of(2));
        let block = match flaw {
            Some(flaw) => spoil(scene.judge, block, flaw, &mut self.random),
            None => Some(block),
        };
        let Some(block) = block else { return Vec::new() };
        let known = scene.judge.learn(&block).is_ok();
        let mut tip = block.header.id();
        let compact = CompactBlock::build(&block, self.marks, &[0]);
        let mut acts = vec![Act::Publish(GossipData::Block(Arc::new(compact)))];
        if known {
            for _ in 0..self.random.random_range(0..5) {
                let now = scene.now_seconds;
                let Some(next) = self.make(scene, tip, now) else { break };
                tip = next;
            }
            acts.extend(self.show(scene, tip));
        }
        acts
    }

    /// A good block with a part that nobody can get.
    fn announce_nothing(&mut self, scene: &mut Scene<'_>) -> Vec<Act> {
        self.marks += 1;
        let draft = Draft {
            parent: scene.public,
            time: scene.now_seconds,
            pay_to: self.lock,
            mark: self.marks,
            transactions: vec![from_nowhere(&mut self.random)],
        };
        let Some(block) = craft(scene.judge, draft) else { return Vec::new() };
        let compact = CompactBlock::build(&block, self.marks, &[]);
        vec![Act::Publish(GossipData::Block(Arc::new(compact)))]
    }

    fn flood(&mut self, scene: &Scene<'_>) -> Vec<Act> {
        let height = Self::height(scene, &scene.public) + 1;
        let count = self.random.random_range(1..=BATCH);
        let batch = (0..count).map(|_| match self.heard.choose(&mut self.random) {
            Some(like) if once_in(&mut self.random, 3) => {
                let mut transaction = like.clone();
                spoil_transaction(&mut transaction, height, &mut self.random);
                transaction
            }
            Some(like) if once_in(&mut self.random, 3) => like.clone(),
            _ => from_nowhere(&mut self.random),
        });
        let mut batch: Vec<Transaction> = batch.collect();
        while wire::encode_batch(&batch).len() > wire::MAX_BATCH_BYTES {
            batch.pop();
        }
        vec![Act::Publish(GossipData::Transactions(Arc::new(batch)))]
    }

    /// A branch of its own for a victim that hears nothing else.
    fn mine_for_victim(&mut self, scene: &mut Scene<'_>) -> Vec<Act> {
        let parent = self.secret.unwrap_or(scene.public);
        let parent = match Self::height(scene, &scene.public) > Self::height(scene, &parent) + 30 {
            true => scene.public,
            false => parent,
        };
        let now = scene.now_seconds;
        let Some(made) = self.make(scene, parent, now) else { return Vec::new() };
        self.secret = Some(made);
        self.show(scene, made)
    }
}

/// As on the wire.
fn le_bytes(work: &BigUint) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(work.to_bytes_le()) {
        *to = from;
    }
    bytes
}
