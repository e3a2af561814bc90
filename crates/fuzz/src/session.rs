//! A node among peers that may do anything: whatever arrives, in whatever order, the engine stands,
//! keeps its promises to the driver, and follows an honest peer afterwards.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use ashlar_consensus::{Work, check_transaction};
use ashlar_engine::{
    Call, CallId, Direction, Engine, GossipData, InboundId, Input, Job, JobId, Output, Outputs,
    Peer, PeerConnected, RequestFailure, RequestId, Settings, Ticket, Time,
};
use ashlar_ledger::{Ledger, MemoryStore};
use ashlar_primitives::{
    Block, BlockId, Encode as _, Header, Transaction,
    compact::CompactBlock,
    wire::{self, Answer, LENGTH_PREFIX, Request, Status},
};
use ashlar_testkit::builder::{Chain, GENESIS_TIME, Plan, genesis, lock, output, seal};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::steer::Steer;

/// Things that happen in one session at most.
const MAX_STEPS: usize = 96;
/// Peers at one time.
const MAX_PEERS: usize = 6;
/// How long a ticket is good for, as the network gives it.
const TICKET_MS: u64 = 8_000;
/// One call does one bounded piece of work; so much it may ask for.
const MAX_OUTPUTS: usize = 1_024;
/// Wakeups that an engine may ask for at one moment before it counts as running in a circle.
const MAX_WAKEUPS: usize = 10_000;

/// What there is to talk about.
struct Scene {
    chain: Chain,
    /// The best valid one that is talked about.
    tip: BlockId,
    /// On top of it, heavier than whatever a session can make: how the world goes on.
    later: BlockId,
    /// Of several branches; the last is wrong, with more work than the best.
    tips: Vec<BlockId>,
    blocks: Vec<Block>,
    /// Good at `tip`.
    transactions: Vec<Transaction>,
    /// Nodes at different heights.
    stores: Vec<MemoryStore>,
}

impl Scene {
    fn new() -> Self {
        let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000), (lock(2), 90_000)]));
        let genesis = chain.genesis_id();
        let mut trunk = vec![genesis];
        for number in 0..10_u64 {
            let tip = trunk[trunk.len() - 1];
            let payment = chain.pay(&tip, 1, lock(3 + number % 2), 500 + number, 300);
            trunk.push(chain.extend(&tip, Plan::of(vec![payment])).id());
        }
        let tip = trunk[10];
        let side = chain.extend_by(&trunk[6], 3);
        let bad = chain.spoiled(&trunk[7], Plan::default(), |block| {
            block.coinbase.outputs = vec![output(lock(9), 600_000_000)];
        });
        let mut wrong = chain.adopt_unjudged(bad).id();
        for _ in 0..5 {
            wrong = chain.extend_unjudged(&wrong);
        }
        let transactions = (0..6)
            .map(|number| chain.pay(&tip, 1 + number % 4, lock(5 + number), 100 + number, 1_000))
            .collect();
        let tips = vec![tip, trunk[4], side, wrong];
        let mut all: BTreeMap<BlockId, Block> = BTreeMap::new();
        for block in tips.iter().flat_map(|tip| chain.branch(tip)) {
            all.insert(block.id(), block.to_block());
        }
        let stores = [0, 5, 9]
            .map(|height| {
                let store = Arc::new(MemoryStore::new());
                let mut ledger =
                    Ledger::open(Arc::clone(&store), chain.genesis(), <_>::default()).unwrap();
                for block in chain.branch(&trunk[height]) {
                    let bytes = block.to_bytes();
                    ledger.offer(&bytes, now_seconds(), &mut StdRng::seed_from_u64(0)).unwrap();
                }
                ledger.flush().unwrap();
                drop(ledger);
                Arc::into_inner(store).unwrap()
            })
            .to_vec();
        let blocks = all.into_values().collect();
        let later = chain.extend_by(&tip, 8);
        Self { chain, tip, later, tips, blocks, transactions, stores }
    }

    fn status(&self, tip: &BlockId) -> Status {
        let state = &self.chain.state(tip).header;
        Status {
            chain_id: self.chain.genesis_id(),
            tip: *tip,
            height: state.height,
            work: state.work.to_le_bytes(),
            services: Status::ALL_BODIES | Status::RECENT_BODIES,
            agent: "fuzz".into(),
        }
    }

    /// What a node at this tip with an empty mempool answers.
    fn honest(&self, tip: &BlockId, request: &Request) -> Answer {
        let branch = self.chain.branch(tip);
        let find = |id: &BlockId| branch.iter().find(|block| block.id() == *id);
        match request {
            Request::Status(_) => Answer::Status(self.status(tip)),
            Request::Headers { locator, .. } => {
                let shared = branch.iter().rposition(|block| locator.contains(&block.id()));
                let from = shared.map_or(0, |place| place + 1);
                Answer::Headers(branch[from..].iter().map(|block| *block.header()).collect())
            }
            Request::Blocks { ids } => {
                Answer::Blocks(ids.iter().map_while(find).map(|block| block.to_block()).collect())
            }
            Request::BlockTransactions { id, indexes } => {
                let all = find(id).map(|block| block.to_block().transactions).unwrap_or_default();
                let wanted = indexes.iter().map(|index| all.get(usize::try_from(*index).unwrap()));
                let wanted: Option<Vec<_>> = wanted.map(Option::<&_>::cloned).collect();
                Answer::BlockTransactions(wanted.unwrap_or_default())
            }
            Request::Mempool => Answer::Mempool(Vec::new()),
            Request::Transactions { wtxids } => {
                let known = self.transactions.iter();
                Answer::Transactions(
                    known.filter(|tx| wtxids.contains(&tx.wtxid())).cloned().collect(),
                )
            }
        }
    }
}

const fn now_seconds() -> u64 {
    GENESIS_TIME as u64 + 100_000
}

thread_local! {
    static SCENE: OnceCell<Scene> = const { OnceCell::new() };
}

/// One engine and its driver.
struct Session<'s> {
    scene: &'s Scene,
    engine: Engine<MemoryStore>,
    now: Time,
    numbers: u64,
    peers: BTreeSet<Peer>,
    asked: VecDeque<(RequestId, Peer, Request)>,
    jobs: VecDeque<(JobId, Job)>,
    inbound: BTreeMap<u64, Request>,
    tickets: BTreeSet<u64>,
    calls: BTreeSet<CallId>,
    cut: BTreeSet<Peer>,
    rng: StdRng,
}

impl<'s> Session<'s> {
    fn new(scene: &'s Scene, steer: &mut Steer<'_>) -> Self {
        let store = Arc::new(steer.pick(&scene.stores).clone());
        let ledger = Ledger::open(store, scene.chain.genesis(), <_>::default()).unwrap();
        let minimum_work = match steer.byte() % 4 {
            0 => scene.chain.state(&scene.tip).header.work,
            _ => Work::ZERO,
        };
        let settings = Settings {
            mempool: ashlar_mempool::Limits::default(),
            agent: "ashlar/fuzz".into(),
            minimum_work,
            reorg_alarm: ashlar_engine::DEFAULT_REORG_ALARM,
        };
        Self {
            scene,
            engine: Engine::new(ledger, settings, steer.byte().into()),
            now: Time { monotonic_ms: 1_000, unix_ms: now_seconds() * 1_000 },
            numbers: 0,
            peers: BTreeSet::new(),
            asked: VecDeque::new(),
            jobs: VecDeque::new(),
            inbound: BTreeMap::new(),
            tickets: BTreeSet::new(),
            calls: BTreeSet::new(),
            cut: BTreeSet::new(),
            rng: StdRng::seed_from_u64(0),
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    // --- what the driver does

    fn handle(&mut self, input: Input) {
        let mut outputs = Outputs::new();
        self.engine.handle(self.now, input, &mut outputs).expect("a store in memory");
        assert!(outputs.len() <= MAX_OUTPUTS, "{} outputs of one call", outputs.len());
        let mut gone = Vec::new();
        for output in outputs {
            match output {
                Output::Request(id, peer, request) => {
                    let payload = &request.to_frame()[LENGTH_PREFIX..];
                    assert_eq!(Request::from_payload(payload).as_ref(), Ok(&request));
                    self.asked.push_back((id, peer, request));
                }
                Output::Answer(inbound, answer) => {
                    let request = self.inbound.remove(&inbound.0).expect("one answer a request");
                    if let Some(answer) = answer {
                        let max = self.scene.chain.genesis().params().max_block_bytes;
                        let payload = &answer.to_frame()[LENGTH_PREFIX..];
                        let read = Answer::from_payload(payload, request.tag(), max);
                        assert_eq!(read, Ok(answer));
                    }
                }
                Output::Publish(data) => check_gossip(&data),
                Output::Verdict(ticket, _) => {
                    assert!(self.tickets.remove(&ticket.id), "one verdict a ticket");
                }
                Output::Cut { peer, .. } => {
                    assert!(self.peers.remove(&peer), "cuts a peer that is not there");
                    self.cut.insert(peer);
                    gone.push(peer);
                }
                Output::Reply(id, _) => assert!(self.calls.remove(&id), "one reply a call"),
                Output::Job(id, job) => self.jobs.push_back((id, job)),
                Output::Event(_) => {}
            }
        }
        for peer in gone {
            self.handle(Input::PeerGone(peer));
        }
    }

    fn pump(&mut self) {
        for _ in 0..MAX_WAKEUPS {
            match self.engine.next_wakeup() {
                Some(at_ms) if at_ms <= self.now.monotonic_ms => self.handle(Input::Tick),
                _ => return,
            }
        }
        panic!("the engine runs in a circle");
    }

    fn advance(&mut self, span_ms: u64) {
        let end_ms = self.now.monotonic_ms + span_ms;
        loop {
            self.pump();
            match self.engine.next_wakeup() {
                Some(at_ms) if at_ms <= end_ms => self.set_clock(at_ms),
                _ => break,
            }
        }
        self.set_clock(end_ms);
        self.pump();
    }

    fn set_clock(&mut self, monotonic_ms: u64) {
        self.now.unix_ms += monotonic_ms - self.now.monotonic_ms;
        self.now.monotonic_ms = monotonic_ms;
    }

    fn tell(&mut self, input: Input) {
        self.handle(input);
        self.pump();
    }

    fn run_job(&mut self, newest_first: bool) -> bool {
        let job = if newest_first { self.jobs.pop_back() } else { self.jobs.pop_front() };
        let Some((id, job)) = job else { return false };
        let result = job.run(&mut self.rng);
        self.tell(Input::JobDone(id, result));
        true
    }

    fn connect(&mut self, direction: Direction) -> Peer {
        let peer = Peer(self.number());
        self.peers.insert(peer);
        let (address, identity) = (format!("/fuzz/{}", peer.0), format!("peer {}", peer.0));
        self.tell(Input::PeerConnected(PeerConnected { peer, direction, address, identity }));
        peer
    }

    fn lose(&mut self, peer: Peer) {
        if self.peers.remove(&peer) {
            self.tell(Input::PeerGone(peer));
        }
    }

    fn gossip(&mut self, source: Peer, data: GossipData) {
        let id = self.number();
        self.tickets.insert(id);
        let deadline_ms = self.now.monotonic_ms + TICKET_MS;
        self.tell(Input::Gossip(Ticket { id, source, deadline_ms }, data));
    }

    fn ask(&mut self, peer: Peer, request: Request) {
        let id = self.number();
        self.inbound.insert(id, request.clone());
        self.tell(Input::Request(InboundId(id), peer, request));
    }

    fn call(&mut self, call: Call) {
        let id = CallId(self.number());
        self.calls.insert(id);
        self.tell(Input::Call(id, call));
    }

    // --- what the bytes make of it

    fn step(&mut self, steer: &mut Steer<'_>) {
        let peers: Vec<Peer> = self.peers.iter().copied().collect();
        let kind = steer.byte() % 24;
        if peers.is_empty() || (kind == 0 && peers.len() < MAX_PEERS) {
            let direction =
                if steer.below(4) == 0 { Direction::Inbound } else { Direction::Outbound };
            self.connect(direction);
            return;
        }
        let peer = *steer.pick(&peers);
        match kind {
            0 | 1 => self.lose(peer),
            2 | 3 => {
                let data = self.announcement(steer);
                self.gossip(peer, GossipData::Block(Arc::new(data)));
            }
            4 | 5 => {
                let batch = self.batch(steer);
                self.gossip(peer, GossipData::Transactions(Arc::new(batch)));
            }
            6 | 7 => {
                let request = self.request(steer);
                self.ask(peer, request);
            }
            8..=14 => self.respond(steer),
            15 => {
                let failures =
                    [RequestFailure::Timeout, RequestFailure::Closed, RequestFailure::Malformed];
                if let Some((id, _, _)) = self.asked.pop_front() {
                    self.tell(Input::RequestFailed(id, *steer.pick(&failures)));
                }
            }
            16 | 17 => {
                let span_ms = *steer.pick(&[1, 20, 100, 1_000, 2_500, 10_000, 20_000, 120_000]);
                self.advance(span_ms);
            }
            18 => {
                let call = self.question(steer);
                self.call(call);
            }
            19 | 20 => drop(self.run_job(steer.below(4) == 0)),
            21 => while self.run_job(false) {},
            // Data as it comes from the wire.
            22 => {
                let count = steer.below(300);
                let bytes = steer.bytes(count);
                if let Ok(compact) = wire::decode_announcement(&bytes) {
                    self.gossip(peer, GossipData::Block(Arc::new(compact)));
                } else if let Ok(batch) = wire::decode_batch(&bytes) {
                    self.gossip(peer, GossipData::Transactions(Arc::new(batch)));
                } else if let Ok(request) = Request::from_payload(&bytes) {
                    self.ask(peer, request);
                }
            }
            // An answer to what was never asked, or once more.
            _ => {
                let answer = self.scene.honest(&self.scene.tip, &Request::Mempool);
                self.tell(Input::Response(RequestId(steer.byte().into()), answer));
            }
        }
    }

    /// A block of the scene, as it is or with something changed, the work done again or not.
    fn block(&self, steer: &mut Steer<'_>) -> Block {
        let mut block = steer.pick(&self.scene.blocks).clone();
        match steer.byte() % 16 {
            0 => block.coinbase.extra.push(steer.byte()),
            1 => block.header.nonce = steer.u32(),
            2 => block.header.bits = steer.edge32(),
            3 => block.header.time = block.header.time.wrapping_add(steer.edge32()),
            4 => block.header.parent = BlockId([steer.byte(); 32]),
            5 => block.transactions.extend_from_within(..),
            6 => block.transactions.push(steer.pick(&self.scene.transactions).clone()),
            7 => block.transactions.clear(),
            8 => block.coinbase.height ^= u32::from(steer.byte()),
            9 => block.header.version = steer.u32(),
            _ => return block,
        }
        // Only easy bits can be solved here.
        if steer.below(4) > 0 && block.header.bits == 0x207f_ffff { seal(block) } else { block }
    }

    fn announcement(&self, steer: &mut Steer<'_>) -> CompactBlock {
        let block = self.block(steer);
        let salt = u64::from(steer.byte());
        let mut compact = match steer.byte() % 4 {
            0 => CompactBlock::announcement(&block, salt),
            1 => CompactBlock::build(&block, salt, &[0, 1, 2, 3]),
            _ => CompactBlock::build(&block, salt, &[]),
        };
        match steer.byte() % 8 {
            0 => compact.short_ids.push(ashlar_primitives::compact::ShortId(steer.array())),
            1 => drop(compact.short_ids.pop()),
            _ => {}
        }
        compact
    }

    fn batch(&self, steer: &mut Steer<'_>) -> Vec<Transaction> {
        let mut batch: Vec<Transaction> =
            (0..=steer.below(3)).map(|_| steer.pick(&self.scene.transactions).clone()).collect();
        let transaction = &mut batch[0];
        match steer.byte() % 8 {
            0 => transaction.witnesses.clear(),
            1 => transaction.not_before = steer.edge32(),
            2 => transaction.inputs.iter_mut().for_each(|input| input.index ^= 1),
            3 => transaction.outputs.clear(),
            4 => transaction.memo = steer.bytes(3),
            _ => {}
        }
        batch
    }

    fn some_id(&self, steer: &mut Steer<'_>) -> BlockId {
        match steer.byte() % 4 {
            0 => BlockId([steer.byte(); 32]),
            1 => self.scene.chain.genesis_id(),
            _ => steer.pick(&self.scene.blocks).header.id(),
        }
    }

    fn status(&self, steer: &mut Steer<'_>) -> Status {
        let mut status = self.scene.status(steer.pick(&self.scene.tips));
        match steer.byte() % 12 {
            0 => status.chain_id = BlockId([steer.byte(); 32]),
            1 => status.work = [steer.byte(); 32],
            2 => status.height = steer.edge32(),
            3 => status.tip = self.some_id(steer),
            4 => status.services = steer.edge32(),
            _ => {}
        }
        status
    }

    fn request(&self, steer: &mut Steer<'_>) -> Request {
        let count = steer.below(5);
        match steer.byte() % 8 {
            0..=2 => Request::Status(self.status(steer)),
            3 => {
                let locator = (0..count).map(|_| self.some_id(steer)).collect();
                let stop = (steer.flag()).then(|| self.some_id(steer));
                Request::Headers { locator, stop }
            }
            4 => Request::Blocks { ids: (0..count).map(|_| self.some_id(steer)).collect() },
            5 => {
                let indexes: BTreeSet<u32> = (0..count).map(|_| steer.edge32() % 9).collect();
                let indexes = indexes.into_iter().collect();
                Request::BlockTransactions { id: self.some_id(steer), indexes }
            }
            6 => Request::Mempool,
            _ => {
                let some = |steer: &mut Steer<'_>| steer.pick(&self.scene.transactions).wtxid();
                Request::Transactions { wtxids: (0..count).map(|_| some(steer)).collect() }
            }
        }
    }

    fn respond(&mut self, steer: &mut Steer<'_>) {
        if self.asked.is_empty() {
            return;
        }
        let place = if steer.below(4) == 0 { steer.below(self.asked.len()) } else { 0 };
        let (id, _, request) = self.asked.remove(place).unwrap();
        let tip = if steer.flag() { self.scene.tip } else { *steer.pick(&self.scene.tips) };
        let mut answer = self.scene.honest(&tip, &request);
        match steer.byte() % 16 {
            0 => answer = self.scene.honest(&tip, &self.request(steer)),
            1..=3 => self.spoil(steer, &mut answer),
            // Bytes as they come from the wire.
            4 => {
                let count = steer.below(300);
                let read = Answer::from_payload(&steer.bytes(count), request.tag(), 4_000_000);
                match read {
                    Ok(read) => answer = read,
                    Err(_) => {
                        self.tell(Input::RequestFailed(id, RequestFailure::Malformed));
                        return;
                    }
                }
            }
            _ => {}
        }
        self.tell(Input::Response(id, answer));
    }

    fn spoil(&self, steer: &mut Steer<'_>, answer: &mut Answer) {
        match answer {
            Answer::Status(status) => *status = self.status(steer),
            Answer::Headers(headers) => spoil_headers(steer, headers),
            Answer::Blocks(blocks) => {
                let block = self.block(steer);
                let place = steer.below(blocks.len() + 1);
                match steer.byte() % 3 {
                    0 => blocks.insert(place, block),
                    1 => blocks.truncate(place),
                    _ => blocks.iter_mut().skip(place).take(1).for_each(|one| *one = block.clone()),
                }
            }
            Answer::BlockTransactions(transactions) | Answer::Transactions(transactions) => {
                transactions.extend(self.batch(steer));
            }
            Answer::Mempool(wtxids) => {
                wtxids.extend(self.scene.transactions.iter().map(Transaction::wtxid));
                wtxids.push(ashlar_primitives::Wtxid([steer.byte(); 32]));
            }
        }
    }

    fn question(&self, steer: &mut Steer<'_>) -> Call {
        match steer.byte() % 12 {
            0..=2 => Call::SubmitBlock(self.block(steer).to_bytes()),
            3 => Call::SubmitBlock(steer.bytes(90)),
            4 | 5 => {
                let batch = self.batch(steer).into_iter();
                let checked = batch.filter_map(|tx| check_transaction(tx).ok()).map(Arc::new);
                let checked = checked.collect();
                if steer.below(4) == 0 {
                    Call::TestTransactions(checked)
                } else {
                    Call::SubmitTransactions(checked)
                }
            }
            6 | 7 => Call::Template {
                pay_to: lock(steer.byte().into()),
                extra: vec![0; steer.below(99)],
            },
            8 => Call::MempoolInfo,
            9 => Call::MempoolPage { after: None, limit: steer.below(3) },
            10 => Call::EstimateFee { target_blocks: steer.edge32() },
            _ => Call::SyncStatus,
        }
    }

    // --- and at the end

    /// What was promised was kept.
    fn settle(&mut self) {
        while self.run_job(false) {}
        self.advance(TICKET_MS + 1);
        while self.run_job(false) {}
        assert!(self.tickets.is_empty(), "tickets without verdict: {:?}", self.tickets);
        assert!(self.calls.is_empty(), "calls without reply: {:?}", self.calls);
        assert!(self.inbound.is_empty(), "requests without answer: {:?}", self.inbound);
    }

    /// Everybody leaves, and one honest peer comes. Its chain is the heaviest: while a heavier one is
    /// only told and its bodies are kept back, a node waits for them.
    fn recover(&mut self) {
        for peer in self.peers.clone() {
            self.lose(peer);
        }
        self.asked.clear();
        let honest = self.connect(Direction::Outbound);
        let best = self.scene.later;
        for _ in 0..60 {
            while let Some((id, _, request)) = self.asked.pop_front() {
                let answer = self.scene.honest(&best, &request);
                self.tell(Input::Response(id, answer));
                while self.run_job(false) {}
            }
            assert!(!self.cut.contains(&honest), "an honest peer was cut");
            if self.engine.ledger().view().tip().id == best {
                return;
            }
            self.advance(5_000);
        }
        panic!("an honest peer was not followed: {:?}", self.engine);
    }
}

fn spoil_headers(steer: &mut Steer<'_>, headers: &mut Vec<Header>) {
    if headers.is_empty() {
        return;
    }
    let place = steer.below(headers.len());
    match steer.byte() % 5 {
        0 => headers.truncate(place),
        1 => drop(headers.remove(place)),
        2 => headers.swap(0, place),
        3 => headers[place].time = steer.edge32(),
        _ => headers[place].nonce = steer.u32(),
    }
}

fn check_gossip(data: &GossipData) {
    match data {
        GossipData::Block(compact) => {
            let bytes = wire::encode_announcement(compact);
            assert_eq!(wire::decode_announcement(&bytes).as_ref(), Ok(&**compact));
        }
        GossipData::Transactions(batch) => {
            let bytes = wire::encode_batch(batch);
            assert_eq!(wire::decode_batch(&bytes).as_ref(), Ok(&**batch));
        }
    }
}

/// No panic, no store error, bounded outputs, only messages that can be sent; one verdict for each
/// ticket, one reply for each call, one answer or refusal for each request; and whatever came
/// before, one honest peer then leads the node to the heaviest chain and is not cut.
pub fn p2p_session(data: &[u8]) {
    SCENE.with(|scene| {
        let scene = scene.get_or_init(Scene::new);
        let mut steer = Steer::new(data);
        let mut session = Session::new(scene, &mut steer);
        for _ in 0..MAX_STEPS {
            if steer.is_done() {
                break;
            }
            session.step(&mut steer);
        }
        session.settle();
        session.recover();
    });
}
