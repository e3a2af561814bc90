//! A few engines, their clock, and what lies between them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use ashlar_consensus::{CheckedBlock, CheckedTransaction, Genesis, Work, check_transaction};
use ashlar_ledger::{Ledger, MemoryStore};
use ashlar_primitives::{
    Block, BlockId, Encode as _, Transaction, Wtxid,
    wire::{self, Answer, Request, Status},
};
use ashlar_testkit::builder::{Chain, GENESIS_TIME, genesis, lock};

use crate::{
    Call, CallId, Direction, Engine, Event, GossipData, InboundId, Input, Notice, Offence, Output,
    Outputs, Peer, PeerConnected, RequestFailure, RequestId, Settings, Ticket, Time, Verdict,
    call::{AnswerBody, BlockVerdict, CallError, SyncStatus},
};

/// How long a ticket is good for, as the network gives it.
pub(super) const TICKET_MS: u64 = 8_000;

/// Where the other end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At this node, under this number.
    Node(usize, Peer),
    /// In the test's hand.
    Hand,
}

/// A peer that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) peer: Peer,
    pub(super) offence: Offence,
    pub(super) ban_ms: Option<u64>,
}

/// One engine and everything that it said.
pub(super) struct Node {
    pub(super) engine: Engine<MemoryStore>,
    pub(super) store: Arc<MemoryStore>,
    links: BTreeMap<Peer, End>,
    seen: BTreeSet<[u8; 32]>,
    tickets: BTreeMap<u64, (GossipData, Peer)>,
    pub(super) verdicts: BTreeMap<u64, Verdict>,
    pub(super) cuts: Vec<Cut>,
    pub(super) notices: Vec<Notice>,
    pub(super) published: Vec<GossipData>,
    /// What it asked of peers in the test's hand.
    pub(super) asked: VecDeque<(RequestId, Peer, Request)>,
    /// What it answered to peers in the test's hand.
    pub(super) answers: BTreeMap<u64, Option<Answer>>,
    replies: BTreeMap<CallId, Result<AnswerBody, CallError>>,
    pub(super) tips: Vec<(Vec<BlockId>, Vec<BlockId>)>,
    /// How many of these were told as deep reorganisations.
    pub(super) deep_tips: usize,
}

/// Engines with instant links.
pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Time,
    queue: VecDeque<(usize, Input)>,
    inbound: BTreeMap<u64, (usize, RequestId)>,
    /// Nodes whose requests for bodies go unanswered.
    pub(super) mute: BTreeSet<usize>,
    /// Where set, jobs wait here until `run_jobs`.
    pub(super) held: Option<Vec<(usize, crate::JobId, crate::Job)>>,
    /// A line for each thing that was done, for comparison between runs.
    pub(super) trace: Vec<String>,
    next: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let unix_ms = (u64::from(GENESIS_TIME) + 100_000) * 1_000;
        Self {
            nodes: Vec::new(),
            now: Time { monotonic_ms: 1_000, unix_ms },
            queue: VecDeque::new(),
            inbound: BTreeMap::new(),
            mute: BTreeSet::new(),
            held: None,
            trace: Vec::new(),
            next: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn add(&mut self, genesis: &Genesis) -> usize {
        self.add_with(genesis, Work::ZERO)
    }

    pub(super) fn add_with(&mut self, genesis: &Genesis, minimum_work: Work) -> usize {
        self.add_kept(genesis, minimum_work, ashlar_ledger::Settings::default())
    }

    /// A node that asks its operator before a reorganisation deeper than this.
    pub(super) fn add_holding(&mut self, genesis: &Genesis, depth: u32) -> usize {
        let kept = ashlar_ledger::Settings {
            reorg_hold: Some(depth),
            ..ashlar_ledger::Settings::default()
        };
        self.add_kept(genesis, Work::ZERO, kept)
    }

    /// A node that keeps no more of the past than it must.
    pub(super) fn add_pruned(&mut self, genesis: &Genesis) -> usize {
        let kept =
            ashlar_ledger::Settings { prune_bytes: Some(0), ..ashlar_ledger::Settings::default() };
        self.add_kept(genesis, Work::ZERO, kept)
    }

    pub(super) fn add_kept(
        &mut self,
        genesis: &Genesis,
        minimum_work: Work,
        kept: ashlar_ledger::Settings,
    ) -> usize {
        let store = Arc::new(MemoryStore::default());
        let ledger = Ledger::open(store.clone(), genesis, kept).unwrap();
        let settings = settings(minimum_work);
        let node = self.nodes.len();
        self.nodes.push(Node {
            engine: Engine::new(ledger, settings, u64::try_from(node).unwrap()),
            store,
            links: BTreeMap::new(),
            seen: BTreeSet::new(),
            tickets: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            cuts: Vec::new(),
            notices: Vec::new(),
            published: Vec::new(),
            asked: VecDeque::new(),
            answers: BTreeMap::new(),
            replies: BTreeMap::new(),
            tips: Vec::new(),
            deep_tips: 0,
        });
        node
    }

    /// A node stops well and starts again, its peers gone.
    pub(super) fn restart(&mut self, node: usize, genesis: &Genesis) {
        let peers: Vec<Peer> = self.nodes[node].links.keys().copied().collect();
        for peer in peers {
            self.lose(node, peer);
        }
        let node = &mut self.nodes[node];
        node.engine.close().unwrap();
        let kept = ashlar_ledger::Settings::default();
        let ledger = Ledger::open(node.store.clone(), genesis, kept).unwrap();
        node.engine = Engine::new(ledger, settings(Work::ZERO), 0);
        node.asked.clear();
    }

    /// `dialler` connects to `listener`.
    pub(super) fn connect(&mut self, dialler: usize, listener: usize) -> (Peer, Peer) {
        let (theirs, ours) = (Peer(self.number()), Peer(self.number()));
        self.nodes[dialler].links.insert(theirs, End::Node(listener, ours));
        self.nodes[listener].links.insert(ours, End::Node(dialler, theirs));
        self.tell_connected(listener, ours, Direction::Inbound);
        self.tell_connected(dialler, theirs, Direction::Outbound);
        self.pump();
        (theirs, ours)
    }

    fn tell_connected(&mut self, node: usize, peer: Peer, direction: Direction) {
        let address = format!("/test/{}", peer.0);
        let identity = format!("peer {}", peer.0);
        let connected = PeerConnected { peer, direction, address, identity };
        self.queue.push_back((node, Input::PeerConnected(connected)));
    }

    /// A peer in the test's hand, dialled by the node, its handshake not begun.
    pub(super) fn hand(&mut self, node: usize) -> Peer {
        let peer = Peer(self.number());
        self.nodes[node].links.insert(peer, End::Hand);
        self.tell_connected(node, peer, Direction::Outbound);
        self.pump();
        peer
    }

    /// The same, having dialled the node.
    pub(super) fn hand_that_dialled(&mut self, node: usize) -> Peer {
        let peer = Peer(self.number());
        self.nodes[node].links.insert(peer, End::Hand);
        self.tell_connected(node, peer, Direction::Inbound);
        self.pump();
        peer
    }

    /// A peer in the test's hand that claims to be at this tip.
    pub(super) fn hand_at(&mut self, node: usize, chain: &Chain, tip: &BlockId) -> Peer {
        let peer = self.hand(node);
        let (id, asked, _) = self.nodes[node].asked.pop_back().expect("a question for status");
        assert_eq!(asked, peer);
        self.answer(node, id, Answer::Status(status_at(chain, tip)));
        peer
    }

    // --- moving on

    /// Everything that happens now.
    pub(super) fn pump(&mut self) {
        loop {
            while let Some((node, input)) = self.queue.pop_front() {
                self.handle(node, input);
            }
            let now_ms = self.now.monotonic_ms;
            let due = self
                .nodes
                .iter()
                .position(|node| node.engine.next_wakeup().is_some_and(|at_ms| at_ms <= now_ms));
            match due {
                Some(node) => self.handle(node, Input::Tick),
                None => return,
            }
        }
    }

    /// Everything that happens within so long.
    pub(super) fn advance(&mut self, span_ms: u64) {
        let end_ms = self.now.monotonic_ms + span_ms;
        loop {
            self.pump();
            let next_ms = self.nodes.iter().filter_map(|node| node.engine.next_wakeup()).min();
            match next_ms.filter(|&next_ms| next_ms <= end_ms) {
                Some(next_ms) => self.set_clock(next_ms),
                None => break,
            }
        }
        self.set_clock(end_ms);
        self.pump();
    }

    fn set_clock(&mut self, monotonic_ms: u64) {
        self.now.unix_ms += monotonic_ms - self.now.monotonic_ms;
        self.now.monotonic_ms = monotonic_ms;
    }

    fn handle(&mut self, node: usize, input: Input) {
        let mut outputs = Outputs::new();
        self.nodes[node].engine.handle(self.now, input, &mut outputs).unwrap();
        for output in outputs {
            self.trace.push(format!("{} {node} {output:?}", self.now.monotonic_ms));
            self.perform(node, output);
        }
    }

    fn perform(&mut self, node: usize, output: Output) {
        match output {
            Output::Request(id, peer, request) => {
                let over = wire::Request::from_payload(&request.to_frame()[4..]);
                assert_eq!(over.as_ref(), Ok(&request), "every request can be sent");
                match self.nodes[node].links.get(&peer) {
                    Some(End::Node(other, theirs)) => {
                        let (other, theirs) = (*other, *theirs);
                        if self.mute.contains(&other) && matches!(request, Request::Blocks { .. }) {
                            return;
                        }
                        let inbound = self.number();
                        self.inbound.insert(inbound, (node, id));
                        let input = Input::Request(InboundId(inbound), theirs, request);
                        self.queue.push_back((other, input));
                    }
                    Some(End::Hand) => self.nodes[node].asked.push_back((id, peer, request)),
                    None => {
                        let input = Input::RequestFailed(id, RequestFailure::Closed);
                        self.queue.push_back((node, input));
                    }
                }
            }
            Output::Answer(inbound, answer) => match self.inbound.remove(&inbound.0) {
                Some((asker, id)) => {
                    let input = match answer {
                        Some(answer) => Input::Response(id, answer),
                        None => Input::RequestFailed(id, RequestFailure::Closed),
                    };
                    self.queue.push_back((asker, input));
                }
                None => {
                    let before = self.nodes[node].answers.insert(inbound.0, answer);
                    assert!(before.is_none(), "two answers to one request");
                }
            },
            Output::Publish(data) => {
                self.nodes[node].published.push(data.clone());
                self.spread(node, &data, None);
            }
            Output::Verdict(ticket, verdict) => {
                let (data, source) =
                    self.nodes[node].tickets.remove(&ticket.id).expect("one verdict a ticket");
                self.nodes[node].verdicts.insert(ticket.id, verdict);
                if verdict == Verdict::Accept {
                    self.spread(node, &data, Some(source));
                }
            }
            Output::Cut { peer, offence, ban_ms, .. } => {
                self.nodes[node].cuts.push(Cut { peer, offence, ban_ms });
                if let Some(End::Node(other, theirs)) = self.nodes[node].links.remove(&peer) {
                    self.nodes[other].links.remove(&theirs);
                    self.queue.push_back((other, Input::PeerGone(theirs)));
                }
                self.queue.push_back((node, Input::PeerGone(peer)));
            }
            Output::Reply(call, answer) => {
                let answer = answer.map(|answer| answer.body);
                let before = self.nodes[node].replies.insert(call, answer);
                assert!(before.is_none(), "two replies to one call");
            }
            Output::Job(id, job) => {
                if let Some(held) = &mut self.held {
                    held.push((node, id, job));
                    return;
                }
                let result = job.run(&mut rand::rng());
                self.queue.push_back((node, Input::JobDone(id, result)));
            }
            Output::Event(Event::Tip { disconnected, connected, is_deep, .. }) => {
                self.nodes[node].deep_tips += usize::from(is_deep);
                self.nodes[node].tips.push((disconnected, connected));
            }
            Output::Event(Event::Notice(notice)) => self.nodes[node].notices.push(notice),
            Output::Event(
                Event::TransactionAccepted { .. } | Event::TransactionsLeft(_) | Event::View(_),
            ) => {}
        }
    }

    /// Runs the jobs that wait, the last one first, until none comes any more.
    pub(super) fn run_jobs(&mut self) {
        while let Some((node, id, job)) = self.held.as_mut().and_then(Vec::pop) {
            let result = job.run(&mut rand::rng());
            self.queue.push_back((node, Input::JobDone(id, result)));
            self.pump();
        }
    }

    /// The result of one job.
    pub(super) fn done(&mut self, node: usize, id: crate::JobId, result: crate::JobResult) {
        self.queue.push_back((node, Input::JobDone(id, result)));
        self.pump();
    }

    // --- gossip

    fn spread(&mut self, node: usize, data: &GossipData, source: Option<Peer>) {
        self.nodes[node].seen.insert(message_id(data));
        let links: Vec<(Peer, End)> =
            self.nodes[node].links.iter().map(|(&peer, &end)| (peer, end)).collect();
        for (peer, end) in links {
            if let End::Node(other, theirs) = end
                && source != Some(peer)
            {
                self.gossip(other, theirs, data.clone());
            }
        }
    }

    /// A message for `node` from a peer of its; its ticket, where it had not seen it before.
    pub(super) fn gossip(&mut self, node: usize, source: Peer, data: GossipData) -> Option<u64> {
        let over = match &data {
            GossipData::Block(compact) => {
                wire::decode_announcement(&wire::encode_announcement(compact)).map(|_| ())
            }
            GossipData::Transactions(batch) => {
                wire::decode_batch(&wire::encode_batch(batch)).map(|_| ())
            }
        };
        assert_eq!(over, Ok(()), "all gossip can be sent");
        if !self.nodes[node].seen.insert(message_id(&data)) {
            return None;
        }
        let id = self.number();
        self.nodes[node].tickets.insert(id, (data.clone(), source));
        let deadline_ms = self.now.monotonic_ms + TICKET_MS;
        let input = Input::Gossip(Ticket { id, source, deadline_ms }, data);
        self.queue.push_back((node, input));
        Some(id)
    }

    /// The same from a peer in the test's hand, and what happens then; its verdict, if it has one.
    pub(super) fn tell(&mut self, node: usize, source: Peer, data: GossipData) -> Option<Verdict> {
        let id = self.gossip(node, source, data).expect("a new message");
        self.pump();
        self.nodes[node].verdicts.get(&id).copied()
    }

    /// Lets all tickets run out: each has exactly one verdict then.
    pub(super) fn settle(&mut self) {
        self.advance(TICKET_MS + 1);
        for node in &self.nodes {
            assert!(node.tickets.is_empty(), "a ticket without a verdict");
        }
    }

    // --- peers in the test's hand

    /// The next request to a peer in the test's hand that is like this.
    pub(super) fn take_asked(
        &mut self,
        node: usize,
        like: impl Fn(&Request) -> bool,
    ) -> (RequestId, Request) {
        let asked = &mut self.nodes[node].asked;
        let found = asked.iter().position(|(_, _, request)| like(request));
        let (id, _, request) = asked.remove(found.expect("such a request")).unwrap();
        (id, request)
    }

    pub(super) fn has_asked(&self, node: usize, like: impl Fn(&Request) -> bool) -> bool {
        self.nodes[node].asked.iter().any(|(_, _, request)| like(request))
    }

    pub(super) fn answer(&mut self, node: usize, id: RequestId, answer: Answer) {
        self.queue.push_back((node, Input::Response(id, answer)));
        self.pump();
    }

    pub(super) fn fail(&mut self, node: usize, id: RequestId, failure: RequestFailure) {
        self.queue.push_back((node, Input::RequestFailed(id, failure)));
        self.pump();
    }

    /// A peer in the test's hand asks; what it is answered.
    pub(super) fn ask(&mut self, node: usize, peer: Peer, request: Request) -> Option<Answer> {
        let inbound = self.number();
        self.queue.push_back((node, Input::Request(InboundId(inbound), peer, request)));
        self.pump();
        self.nodes[node].answers.remove(&inbound).expect("an answer or a refusal")
    }

    pub(super) fn lose(&mut self, node: usize, peer: Peer) {
        self.nodes[node].links.remove(&peer);
        self.queue.push_back((node, Input::PeerGone(peer)));
        self.pump();
    }

    /// Answers everything that is asked of peers in the test's hand as an honest node at `tip`
    /// would, until nothing is asked any more.
    pub(super) fn serve(&mut self, node: usize, chain: &Chain, tip: &BlockId) {
        while let Some((id, _, request)) = self.nodes[node].asked.pop_front() {
            let answer = honest_answer(chain, tip, &request);
            self.answer(node, id, answer);
        }
    }

    // --- calls

    pub(super) fn begin_call(&mut self, node: usize, call: Call) -> CallId {
        let id = CallId(self.number());
        self.queue.push_back((node, Input::Call(id, call)));
        id
    }

    pub(super) fn reply(&mut self, node: usize, id: CallId) -> Result<AnswerBody, CallError> {
        self.nodes[node].replies.remove(&id).expect("a reply")
    }

    pub(super) fn call(&mut self, node: usize, call: Call) -> Result<AnswerBody, CallError> {
        let id = self.begin_call(node, call);
        self.pump();
        self.reply(node, id)
    }

    pub(super) fn submit_block(&mut self, node: usize, block: &Block) -> BlockVerdict {
        match self.call(node, Call::SubmitBlock(block.to_bytes())) {
            Ok(AnswerBody::Block(verdict)) => verdict,
            other => panic!("{other:?}"),
        }
    }

    /// Submits the blocks of a branch in order.
    pub(super) fn feed(&mut self, node: usize, blocks: &[Arc<CheckedBlock>]) {
        for block in blocks {
            self.submit_block(node, &block.to_block());
        }
    }

    pub(super) fn submit(
        &mut self,
        node: usize,
        transactions: &[Transaction],
    ) -> Vec<&'static str> {
        let call = Call::SubmitTransactions(transactions.iter().map(checked).collect());
        match self.call(node, call) {
            Ok(AnswerBody::Submitted(results)) => codes(&results),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn sync_status(&mut self, node: usize) -> SyncStatus {
        match self.call(node, Call::SyncStatus) {
            Ok(AnswerBody::Sync(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn tip(&self, node: usize) -> BlockId {
        self.nodes[node].engine.ledger().view().tip().id
    }

    pub(super) fn waits(&self, node: usize, transaction: &Transaction) -> bool {
        let wtxid: Wtxid = transaction.wtxid();
        self.nodes[node].engine.mempool.get_by_wtxid(&wtxid).is_some()
    }

    pub(super) fn offences(&self, node: usize) -> Vec<Offence> {
        self.nodes[node].cuts.iter().map(|cut| cut.offence).collect()
    }

    /// The score of a peer that is still there.
    pub(super) fn score(&self, node: usize, peer: Peer) -> Option<u32> {
        let state = self.nodes[node].engine.peers.get(peer)?;
        Some(state.score(self.now.monotonic_ms))
    }
}

fn settings(minimum_work: Work) -> Settings {
    Settings {
        mempool: ashlar_mempool::Limits::default(),
        agent: "ashlar/test".into(),
        minimum_work,
        reorg_alarm: crate::DEFAULT_REORG_ALARM,
    }
}

fn message_id(data: &GossipData) -> [u8; 32] {
    wire::message_id(&match data {
        GossipData::Block(compact) => wire::encode_announcement(compact),
        GossipData::Transactions(batch) => wire::encode_batch(batch),
    })
}

/// `ok`, or the code of the refusal.
pub(super) fn codes<T>(results: &[Result<T, ashlar_mempool::Refusal>]) -> Vec<&'static str> {
    results.iter().map(|result| result.as_ref().map_or_else(|e| e.code(), |_| "ok")).collect()
}

pub(super) fn checked(transaction: &Transaction) -> Arc<CheckedTransaction> {
    Arc::new(check_transaction(transaction.clone()).unwrap())
}

/// What a node at this tip says of itself.
pub(super) fn status_at(chain: &Chain, tip: &BlockId) -> Status {
    let state = &chain.state(tip).header;
    Status {
        chain_id: chain.genesis_id(),
        tip: *tip,
        height: state.height,
        work: state.work.to_le_bytes(),
        services: Status::ALL_BODIES | Status::RECENT_BODIES,
        agent: "hand".into(),
    }
}

/// What a node at this tip, with an empty mempool, answers.
pub(super) fn honest_answer(chain: &Chain, tip: &BlockId, request: &Request) -> Answer {
    let branch = chain.branch(tip);
    let find = |id: &BlockId| branch.iter().find(|block| block.id() == *id);
    match request {
        Request::Status(_) => Answer::Status(status_at(chain, tip)),
        Request::Headers { locator, .. } => {
            let known = |block: &&Arc<CheckedBlock>| locator.contains(&block.id());
            let from = branch.iter().rev().find(known).map_or(0, |block| block.height());
            let from = usize::try_from(from).unwrap();
            let headers = branch[from..].iter().map(|block| *block.header());
            Answer::Headers(headers.take(wire::MAX_HEADERS).collect())
        }
        Request::Blocks { ids } => {
            Answer::Blocks(ids.iter().map_while(find).map(|block| block.to_block()).collect())
        }
        Request::BlockTransactions { id, indexes } => {
            let block = find(id).map(|block| block.to_block());
            let transactions = block.map(|block| block.transactions).unwrap_or_default();
            let index = |index: &u32| transactions[usize::try_from(*index).unwrap()].clone();
            Answer::BlockTransactions(indexes.iter().map(index).collect())
        }
        Request::Mempool => Answer::Mempool(Vec::new()),
        Request::Transactions { .. } => Answer::Transactions(Vec::new()),
    }
}

/// So many empty blocks on a genesis of one coin, and the last one.
pub(super) fn chain_of(blocks: usize) -> (Chain, BlockId) {
    let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000)]));
    let tip = chain.extend_by(&chain.genesis_id(), blocks);
    (chain, tip)
}

pub(super) fn is_headers(request: &Request) -> bool {
    matches!(request, Request::Headers { .. })
}

pub(super) fn is_bodies(request: &Request) -> bool {
    matches!(request, Request::Blocks { .. })
}
