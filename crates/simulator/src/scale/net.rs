//! The loop of a large net: as the one of small worlds, without its audits and faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use ashlar_consensus::{Genesis, check_transaction};
use ashlar_engine::{
    Call, CallId, Direction, Event as EngineEvent, GossipData, Input, JobId, JobResult, Output,
    Outputs, Peer, PeerConnected, RequestFailure, RequestId,
    call::{AnswerBody, BlockVerdict},
    output::Verdict,
};
use ashlar_ledger::{OpenLedgerError, StoreError, View};
use ashlar_primitives::{Address, keys::SecretKey};
use ashlar_primitives::{BlockId, Encode as _, Lock, OutPoint, Output as Coined, wire};
use rand::{RngExt, seq::SliceRandom as _};
use thiserror::Error;

use super::{
    Experiment, FILLERS_PER_BLOCK,
    figures::{Found, Outcome},
    filler::{TRANSACTION_BYTES, Weight},
    home::time_for,
    memo::{Disagreement, Memo},
    node::{Heard, HomeNode, Lane, LinkId, Message, MessageId, Outgoing, first_store},
    store::Pool,
    topology::{Link, dial, link_of, unravel, weave},
};
use crate::{
    mesh::GossipMessage,
    node::REQUEST_TIMEOUT,
    people::solve,
    purse::{Opening, Owned, spend},
    queue::Queue,
    random::{Purpose, Random, between, exponential, stream},
    readable::Fault,
    scenario::EPOCH_SECONDS,
};

/// Every node of such a number computes for itself.
const WITNESS_PERIOD: usize = 100;
/// All connections are made within this time.
const FIRST_DIALS: Duration = Duration::from_secs(3);
/// Then the mesh is made; now payments begin, and an interval later blocks.
const WARM: Duration = Duration::from_secs(10);
/// After the last block everything has time to arrive.
const TAIL: Duration = Duration::from_secs(30);
/// After a cut has healed, dialled nodes are found again within this time.
const REDIAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Gossip that waited longer for its sender's uplink is dropped (the network's own patience).
const GOSSIP_PATIENCE: Duration = Duration::from_secs(5);
/// From so many bytes on a node tells its neighbours that it has a message, so that they need not
/// send it (gossipsub's IDONTWANT).
const IDONTWANT_BYTES: u64 = 1_000;
/// The network gives an answer a second more for each such part.
const BYTES_PER_SECOND_OF_PATIENCE: u64 = 262_144;
/// What each filler spends.
const COIN: u64 = 1_000_000;
/// In grains per byte.
const FEERATE: u64 = 10;

/// Why there is no outcome.
#[derive(Debug, Error)]
pub enum Broken {
    /// A node could not begin.
    #[error(transparent)]
    Open(#[from] OpenLedgerError),
    /// A node's store failed, which a store in memory never does.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The memo is wrong.
    #[error(transparent)]
    Memo(#[from] Disagreement),
    /// The experiment makes no valid chain.
    #[error(transparent)]
    Genesis(#[from] ashlar_consensus::genesis_file::GenesisError),
    /// A node sent what nobody can read.
    #[error("a node sent what nobody can read: {0:?}")]
    Unreadable(Fault),
    /// A block that a node found was refused by itself.
    #[error("a block was refused by its finder: {code}")]
    Refused {
        /// Of PROTOCOL.md §8.
        code: &'static str,
    },
    /// Two nodes have one tip and not the same coins.
    #[error("two nodes at {tip} have different coins")]
    OtherCoins {
        /// Their tip.
        tip: BlockId,
    },
}

#[derive(Debug)]
enum Event {
    Dial(LinkId),
    Gone {
        node: usize,
        peer: Peer,
    },
    /// The message at the head of a lane has left.
    Left {
        node: usize,
        lane: Lane,
    },
    Arrive {
        peer: Peer,
        to: usize,
        message: Message,
    },
    Deadline {
        node: usize,
        request: RequestId,
    },
    Tick(usize),
    JobDone {
        node: usize,
        job: JobId,
        result: Box<JobResult>,
    },
    Call {
        node: usize,
        call: Call,
    },
    Weave,
    Pay,
    Find,
    Cut,
    Heal,
}

/// A net of homes.
pub struct Net {
    experiment: Experiment,
    weight: Weight,
    now: Duration,
    queue: Queue<Event>,
    nodes: Vec<HomeNode>,
    links: Vec<Link>,
    messages: Vec<Arc<GossipMessage>>,
    memo: Memo,
    coins: Vec<(OutPoint, Coined)>,
    genesis: Genesis,
    key: SecretKey,
    random: Random,
    mining: Random,
    jobs: Random,
    last_call: u64,
    /// Between the blocks that are still to be found, the next one last.
    waits: Vec<Duration>,
    blocks_tried: u64,
    ends: Option<Duration>,
    /// The smaller side of the cut.
    far: BTreeSet<usize>,
    is_cut: bool,
    found: Vec<Found>,
    places: BTreeMap<BlockId, usize>,
    outcome: Outcome,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, links) = (self.nodes.len(), self.links.len());
        write!(f, "Net({nodes} nodes, {links} links, {:?})", self.now)
    }
}

/// The chain of an experiment: fillers' coins are in its genesis block.
fn genesis(experiment: &Experiment, lock: Lock, coins: usize) -> Result<Genesis, Broken> {
    let address = Address::new("sim", lock).map(|address| address.to_string());
    let address = address.unwrap_or_default();
    let allocation = format!(r#"{{"address": "{address}", "value": {COIN}}}"#);
    let allocations = vec![allocation; coins].join(", ");
    Ok(Genesis::parse(&format!(
        r#"{{"name": "scale", "address_prefix": "sim", "time": {EPOCH_SECONDS},
        "bits": "207fffff", "pow_limit_bits": "207fffff", "block_interval": {interval},
        "difficulty_half_life": 0, "stall_relief_seconds": 0, "max_future_seconds": 60,
        "max_block_bytes": 4000000, "coinbase_maturity": 20, "initial_subsidy": 500000000,
        "halving_interval": 6300000, "message": "", "allocations": [{allocations}]}}"#,
        interval = experiment.interval.as_secs().max(1),
    ))?)
}

/// The times between the blocks of an experiment: of a Poisson process, stretched so that on the
/// average they are what they should be. Otherwise the luck of a few blocks would hide the rest.
fn waits(experiment: &Experiment, mining: &mut Random) -> Vec<Duration> {
    let count = experiment.blocks.saturating_sub(1);
    let drawn: Vec<Duration> =
        (0..count).map(|_| exponential(mining, experiment.interval)).collect();
    let sum = drawn.iter().sum::<Duration>().as_micros().max(1);
    let wanted = experiment.interval.as_micros() * count as u128;
    let stretched = |wait: &Duration| {
        let micros = wait.as_micros() * wanted / sum;
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    };
    drawn.iter().map(stretched).collect()
}

impl Net {
    /// The net of an experiment, before its first event.
    pub fn new(experiment: &Experiment) -> Result<Self, Broken> {
        let seed = experiment.seed;
        let mut random = stream(seed, Purpose::Links);
        let key = SecretKey::from_bytes(&stream(seed, Purpose::Wallets).random());
        let lock = Lock::key(key.public_key());
        let payments = experiment.blocks * FILLERS_PER_BLOCK * 2;
        let genesis = genesis(experiment, lock, payments)?;
        let first = first_store(&genesis)?;
        let pool = Arc::new(Pool::default());
        let mut drawn = stream(seed, Purpose::Nodes);
        let mut nodes = (0..experiment.nodes)
            .map(|index| {
                let shares = !is_witness(index);
                let pool = shares.then(|| Arc::clone(&pool));
                HomeNode::new(&genesis, &first, pool, &mut drawn)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let homes: Vec<_> = nodes.iter().map(|node| node.home).collect();
        let links = dial(&homes, &mut random);
        for (id, link) in links.iter().enumerate() {
            for end in link.ends {
                nodes[end].links.push(id);
            }
        }
        let created = &genesis.diff().created;
        let coins = created.iter().map(|(outpoint, coin)| (*outpoint, coin.output)).collect();
        let per_filler = experiment.block_bytes / FILLERS_PER_BLOCK as u64;
        let mut mining = stream(seed, Purpose::Miners);
        let waits = waits(experiment, &mut mining);
        let mut net = Self {
            weight: Weight((per_filler / TRANSACTION_BYTES).max(1)),
            now: Duration::ZERO,
            queue: Queue::new(),
            nodes,
            links,
            messages: Vec::new(),
            memo: Memo::default(),
            coins,
            genesis,
            key,
            random,
            mining,
            jobs: stream(seed, Purpose::Jobs),
            last_call: 0,
            waits,
            blocks_tried: 0,
            ends: None,
            far: BTreeSet::new(),
            is_cut: false,
            found: Vec::new(),
            places: BTreeMap::new(),
            outcome: Outcome::default(),
            experiment: experiment.clone(),
        };
        net.schedule_beginning();
        Ok(net)
    }

    fn schedule_beginning(&mut self) {
        for link in 0..self.links.len() {
            let at = between(&mut self.random, Duration::ZERO, FIRST_DIALS);
            self.queue.push(at, Event::Dial(link));
        }
        self.queue.push(FIRST_DIALS, Event::Weave);
        self.queue.push(WARM, Event::Pay);
        self.queue.push(WARM + self.experiment.interval, Event::Find);
        if let Some(cut) = self.experiment.cut {
            let mut all: Vec<usize> = (0..self.nodes.len()).collect();
            all.shuffle(&mut self.random);
            all.truncate(self.nodes.len() * cut.percent / 100);
            self.far = all.into_iter().collect();
            self.queue.push(cut.from, Event::Cut);
            self.queue.push(cut.until, Event::Heal);
        }
    }

    /// Runs to the end.
    pub fn run(mut self) -> Result<Outcome, Broken> {
        while let Some((at, event)) = self.queue.pop() {
            if self.ends.is_some_and(|ends| at > ends) {
                break;
            }
            self.now = at;
            self.outcome.events += 1;
            self.deliver(event)?;
        }
        self.conclude()
    }

    fn deliver(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Dial(link) => return self.open(link),
            Event::Gone { node, peer } => return self.gone(node, peer),
            Event::Left { node, lane } => self.transmit(node, lane),
            Event::Arrive { peer, to, message } => return self.arrive(peer, to, message),
            Event::Deadline { node, request } => {
                return self.request_fails(node, request, RequestFailure::Timeout);
            }
            Event::Tick(node) => {
                if self.nodes[node].wakes_at == Some(self.now) {
                    self.nodes[node].wakes_at = None;
                    return self.feed(node, Input::Tick);
                }
            }
            Event::JobDone { node, job, result } => {
                return self.feed(node, Input::JobDone(job, *result));
            }
            Event::Call { node, call } => {
                self.last_call += 1;
                return self.feed(node, Input::Call(CallId(self.last_call), call));
            }
            Event::Weave => weave(&mut self.nodes, &self.links, &mut self.random),
            Event::Pay => self.pay(),
            Event::Find => self.find(),
            Event::Cut => self.cut(),
            Event::Heal => self.heal(),
        }
        Ok(())
    }

    /// Hands an input to an engine and does what it wants.
    fn feed(&mut self, node: usize, input: Input) -> Result<(), Broken> {
        let mut outputs = Outputs::new();
        self.nodes[node].handle(self.now, input, &mut outputs)?;
        for output in outputs {
            self.perform(node, output)?;
        }
        let wakes_at = self.nodes[node].next_wakeup(self.now);
        if let Some(at) = wakes_at.filter(|_| wakes_at != self.nodes[node].wakes_at) {
            self.queue.push(at, Event::Tick(node));
        }
        self.nodes[node].wakes_at = wakes_at;
        Ok(())
    }

    fn perform(&mut self, node: usize, output: Output) -> Result<(), Broken> {
        match output {
            Output::Request(id, peer, request) => self.request(node, id, peer, request),
            Output::Answer(inbound, answer) => {
                if let Some((peer, theirs)) = self.nodes[node].answer(&inbound) {
                    let size_bytes = self.weight.answer(answer.as_ref());
                    let message = Message::Answer(theirs, answer.map(Arc::new));
                    self.send(node, peer, message, size_bytes);
                }
            }
            Output::Publish(data) => self.publish(node, data)?,
            Output::Verdict(ticket, verdict) => {
                let message = self.nodes[node].settle_ticket(&ticket);
                match (verdict, message) {
                    (Verdict::Accept, Some(message)) => {
                        self.note_block(node, message);
                        let to = self.nodes[node].onward(message);
                        self.spread(node, message, to);
                    }
                    (Verdict::Reject, _) => self.outcome.rejected += 1,
                    (Verdict::Accept | Verdict::Ignore, _) => {}
                }
            }
            Output::Cut { peer, .. } => {
                self.outcome.peers_cut += 1;
                self.close(link_of(peer));
            }
            Output::Reply(_, Ok(answer)) => return self.reply(node, answer.body),
            Output::Reply(_, Err(_)) => self.outcome.calls_refused += 1,
            Output::Job(id, job) => {
                let cost = self.weight.job(&job);
                let result = self.memo.run(job, is_witness(node), &mut self.jobs)?;
                let at = self.nodes[node].schedule_job(cost, self.now);
                let result = Box::new(result);
                self.queue.push(at, Event::JobDone { node, job: id, result });
            }
            Output::Event(EngineEvent::Tip { disconnected, connected, .. }) => {
                self.tip(node, &disconnected, &connected);
            }
            Output::Event(_) => {}
        }
        Ok(())
    }

    // ---- messages

    fn request(&mut self, node: usize, id: RequestId, peer: Peer, request: wire::Request) {
        let is_large = matches!(
            request,
            wire::Request::Blocks { .. }
                | wire::Request::BlockTransactions { .. }
                | wire::Request::Transactions { .. }
        );
        if matches!(request, wire::Request::BlockTransactions { .. }) {
            self.outcome.blocks_incomplete += 1;
        }
        let seconds = self.experiment.block_bytes / BYTES_PER_SECOND_OF_PATIENCE;
        let more = if is_large { Duration::from_secs(seconds) } else { Duration::ZERO };
        self.nodes[node].asked.insert(id, peer);
        let deadline = self.now + REQUEST_TIMEOUT + more;
        self.queue.push(deadline, Event::Deadline { node, request: id });
        let size_bytes = self.weight.request(&request);
        self.send(node, peer, Message::Request(id, Arc::new(request)), size_bytes);
    }

    fn request_fails(
        &mut self,
        node: usize,
        request: RequestId,
        failure: RequestFailure,
    ) -> Result<(), Broken> {
        if self.nodes[node].asked.remove(&request).is_none() {
            return Ok(());
        }
        self.outcome.requests_failed += 1;
        self.feed(node, Input::RequestFailed(request, failure))
    }

    fn publish(&mut self, node: usize, data: GossipData) -> Result<(), Broken> {
        let message = GossipMessage::new(data).map_err(Broken::Unreadable)?;
        let id = self.messages.len() as MessageId;
        self.messages.push(message);
        self.nodes[node].hears(id, None, self.now);
        // Its own go to everybody (gossipsub's flood publishing).
        let to: Vec<LinkId> = self.nodes[node].links.clone();
        self.spread(node, id, to);
        Ok(())
    }

    fn spread(&mut self, node: usize, message: MessageId, mut to: Vec<LinkId>) {
        // Nobody is always the first to be told.
        let first = message as usize % to.len().max(1);
        to.rotate_left(first);
        let size_bytes = self.weight.gossip(&self.messages[message as usize]);
        for link in to {
            let peer = self.links[link].peer(link);
            self.send(node, peer, Message::Gossip(message), size_bytes);
        }
    }

    /// Puts a message into its lane; lost where the connection is no more.
    fn send(&mut self, node: usize, peer: Peer, message: Message, size_bytes: u64) {
        let lane = match &message {
            Message::Gossip(id) => match &self.messages[*id as usize].data {
                GossipData::Block(_) => Lane::Blocks,
                GossipData::Transactions(_) => Lane::Transactions,
            },
            Message::Request(..) | Message::Answer(..) => Lane::Blocks,
        };
        let uplink = &mut self.nodes[node].uplinks[lane as usize];
        uplink.waiting.push_back(Outgoing { peer, message, size_bytes, since: self.now });
        if !uplink.is_busy {
            self.transmit(node, lane);
        }
    }

    /// The next message of a lane begins to leave.
    fn transmit(&mut self, node: usize, lane: Lane) {
        self.nodes[node].uplinks[lane as usize].is_busy = false;
        while let Some(next) = self.nodes[node].uplinks[lane as usize].waiting.pop_front() {
            let id = link_of(next.peer);
            if self.is_wanted(node, &next) {
                let Outgoing { peer, message, size_bytes, .. } = next;
                let sender = &mut self.nodes[node];
                let shared = sender.uplinks[lane.other() as usize].is_busy;
                let rate = if shared { sender.home.upload / 2 } else { sender.home.upload };
                let left = self.now + time_for(size_bytes, rate);
                sender.sent_bytes += size_bytes;
                sender.uplinks[lane as usize].is_busy = true;
                self.queue.push(left, Event::Left { node, lane });
                let link = &mut self.links[id];
                let to = link.other(node);
                let home = self.nodes[to].home;
                let travels = home.travel(link.latency, size_bytes, &mut self.random);
                let at = link.arrive(to, lane, left + travels);
                self.queue.push(at, Event::Arrive { peer, to, message });
                return;
            }
        }
    }

    /// Whether it makes sense to send something now.
    fn is_wanted(&mut self, node: usize, next: &Outgoing) -> bool {
        let id = link_of(next.peer);
        let link = &self.links[id];
        if !link.is_up || link.peer(id) != next.peer {
            return false;
        }
        let Message::Gossip(message) = next.message else { return true };
        if self.now > next.since + GOSSIP_PATIENCE {
            self.outcome.gossip_dropped += 1;
            return false;
        }
        let known = |heard: &Heard| heard.at + link.latency <= self.now;
        let has_it = self.nodes[link.other(node)].heard.get(&message).is_some_and(known);
        !(has_it && next.size_bytes >= IDONTWANT_BYTES)
    }

    fn arrive(&mut self, peer: Peer, to: usize, message: Message) -> Result<(), Broken> {
        let id = link_of(peer);
        if !self.links[id].is_up || self.links[id].peer(id) != peer {
            return Ok(());
        }
        match message {
            Message::Gossip(message) => {
                if !self.nodes[to].hears(message, Some(id), self.now) {
                    return Ok(());
                }
                let ticket = self.nodes[to].issue_ticket(message, peer, self.now);
                let data = self.messages[message as usize].data.clone();
                self.feed(to, Input::Gossip(ticket, data))
            }
            Message::Request(theirs, request) => {
                let inbound = self.nodes[to].receive_request(peer, theirs);
                let request = Arc::unwrap_or_clone(request);
                self.feed(to, Input::Request(inbound, peer, request))
            }
            Message::Answer(request, Some(answer)) => {
                match self.nodes[to].asked.remove(&request) {
                    Some(_) => {
                        let answer = Arc::unwrap_or_clone(answer);
                        self.feed(to, Input::Response(request, answer))
                    }
                    // It came after its time.
                    None => Ok(()),
                }
            }
            Message::Answer(request, None) => {
                self.request_fails(to, request, RequestFailure::Closed)
            }
        }
    }

    // ---- connections

    fn open(&mut self, id: LinkId) -> Result<(), Broken> {
        let link = &mut self.links[id];
        if link.is_up {
            return Ok(());
        }
        link.open();
        let (peer, [dialler, listener]) = (link.peer(id), link.ends);
        for (node, other, direction) in
            [(dialler, listener, Direction::Outbound), (listener, dialler, Direction::Inbound)]
        {
            let connected = PeerConnected {
                peer,
                direction,
                address: format!("/n/{other}"),
                identity: String::new(),
            };
            self.feed(node, Input::PeerConnected(connected))?;
        }
        Ok(())
    }

    fn close(&mut self, id: LinkId) {
        let link = &mut self.links[id];
        if !link.is_up {
            return;
        }
        link.is_up = false;
        let peer = link.peer(id);
        for node in link.ends {
            self.nodes[node].mesh.retain(|other| *other != id);
            self.queue.push(self.now, Event::Gone { node, peer });
        }
        if !self.crosses(id) || !self.is_cut {
            self.redial(id);
        }
    }

    fn redial(&mut self, id: LinkId) {
        let wait = between(&mut self.random, REDIAL.0, REDIAL.1);
        self.queue.push(self.now + wait, Event::Dial(id));
    }

    fn gone(&mut self, node: usize, peer: Peer) -> Result<(), Broken> {
        let asked = &self.nodes[node].asked;
        let unanswered: Vec<RequestId> =
            asked.iter().filter(|(_, of)| **of == peer).map(|(id, _)| *id).collect();
        for request in unanswered {
            self.request_fails(node, request, RequestFailure::Closed)?;
        }
        self.feed(node, Input::PeerGone(peer))
    }

    fn crosses(&self, id: LinkId) -> bool {
        let [a, b] = self.links[id].ends;
        self.far.contains(&a) != self.far.contains(&b)
    }

    fn cut(&mut self) {
        self.is_cut = true;
        let crossing: Vec<LinkId> =
            (0..self.links.len()).filter(|link| self.crosses(*link)).collect();
        for link in crossing {
            self.close(link);
        }
        unravel(&mut self.nodes, &self.links);
        weave(&mut self.nodes, &self.links, &mut self.random);
    }

    fn heal(&mut self) {
        self.is_cut = false;
        let crossing: Vec<LinkId> =
            (0..self.links.len()).filter(|link| self.crosses(*link)).collect();
        for link in crossing {
            self.redial(link);
        }
        self.queue.push(self.now + REDIAL.1 / 4, Event::Weave);
        self.queue.push(self.now + REDIAL.1, Event::Weave);
    }

    // ---- people

    /// A filler is handed in somewhere.
    fn pay(&mut self) {
        if self.ends.is_some() {
            return;
        }
        let mean = self.experiment.interval / FILLERS_PER_BLOCK as u32;
        let next = self.now + exponential(&mut self.random, mean);
        self.queue.push(next, Event::Pay);
        let Some((outpoint, output)) = self.coins.pop() else { return };
        let owned = Owned { outpoint, output, opening: Opening::Key, is_aged: false };
        let to = (Lock::key(self.key.public_key()), 1);
        let chain_id = &self.genesis.params().chain_id;
        let made = spend(chain_id, &self.key, &[owned], to, FEERATE, &mut self.random);
        if let Some(Ok(checked)) = made.map(check_transaction) {
            self.outcome.fillers += 1;
            let call = Call::SubmitTransactions(vec![Arc::new(checked)]);
            let node = self.random.random_range(0..self.nodes.len());
            self.queue.push(self.now, Event::Call { node, call });
        }
    }

    /// Somebody finds a block: every home has as much hash power as any other.
    fn find(&mut self) {
        let node = self.mining.random_range(0..self.nodes.len());
        let pay_to = Lock::key(self.key.public_key());
        let mut extra = Vec::new();
        self.blocks_tried += 1;
        self.blocks_tried.encode(&mut extra);
        self.queue.push(self.now, Event::Call { node, call: Call::Template { pay_to, extra } });
        match self.waits.pop() {
            Some(wait) => self.queue.push(self.now + wait, Event::Find),
            None => self.ends = Some(self.now + TAIL),
        }
    }

    fn reply(&mut self, node: usize, body: AnswerBody) -> Result<(), Broken> {
        match body {
            AnswerBody::Template(template) => {
                let Some(block) = solve(&template) else { return Ok(()) };
                let id = block.header.id();
                self.places.insert(id, self.found.len());
                self.found.push(Found {
                    id,
                    height: template.height,
                    at: self.now,
                    fillers: block.transactions.len(),
                    is_far: self.is_cut && self.far.contains(&node),
                    delays: vec![None; self.nodes.len()],
                    joined: vec![None; self.nodes.len()],
                });
                let call = Call::SubmitBlock(block.to_bytes());
                self.queue.push(self.now, Event::Call { node, call });
                Ok(())
            }
            AnswerBody::Block(BlockVerdict::Refused { code, .. }) => Err(Broken::Refused { code }),
            AnswerBody::Submitted(results) => {
                self.outcome.fillers_refused +=
                    results.iter().filter(|result| result.is_err()).count();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn tip(&mut self, node: usize, disconnected: &[BlockId], connected: &[BlockId]) {
        let depth = disconnected.len();
        self.outcome.deepest = self.outcome.deepest.max(depth);
        if depth > 0 {
            self.outcome.reorganisations += 1;
        }
        for id in connected {
            if let Some(found) = self.places.get(id).and_then(|place| self.found.get_mut(*place)) {
                let delay = found.since(self.now);
                // Who did not hear of it by gossip has it now at the latest.
                found.delays[node].get_or_insert(delay);
                found.joined[node].get_or_insert(delay);
            }
        }
    }

    /// A node has a block and passes it on.
    fn note_block(&mut self, node: usize, message: MessageId) {
        if let GossipData::Block(compact) = &self.messages[message as usize].data
            && let Some(place) = self.places.get(&compact.header.id())
            && let Some(found) = self.found.get_mut(*place)
        {
            let delay = found.since(self.now);
            found.delays[node].get_or_insert(delay);
        }
    }

    // ---- the end

    fn conclude(mut self) -> Result<Outcome, Broken> {
        let views: Vec<Arc<View>> = self.nodes.iter().map(HomeNode::view).collect();
        let mut coins = BTreeMap::new();
        for view in &views {
            let tip = view.tip().id;
            let commitment = view.utxo_commitment();
            if *coins.entry(tip).or_insert(commitment) != commitment {
                return Err(Broken::OtherCoins { tip });
            }
        }
        let best = views.iter().max_by_key(|view| (view.tip().work, view.tip().id));
        let Some(best) = best else { return Ok(self.outcome) };
        let tip = best.tip().id;
        self.outcome.at_tip = views.iter().filter(|view| view.tip().id == tip).count();
        for found in &mut self.found {
            if best.block_id_at(found.height)? == Some(found.id) {
                self.outcome.chain.push(found.clone());
            }
        }
        self.outcome.found = self.found.len();
        self.outcome.nodes = self.nodes.len();
        self.outcome.lasted = self.now;
        self.outcome.sent_bytes = self.nodes.iter().map(|node| node.sent_bytes).sum();
        self.outcome.recalled = self.memo.recalled;
        self.outcome.compared = self.memo.compared;
        Ok(self.outcome)
    }
}

/// Whether a node computes everything for itself, and shares no store.
const fn is_witness(node: usize) -> bool {
    node.is_multiple_of(WITNESS_PERIOD)
}
