//! The loop of a large net: as the one of small worlds, without its audits and faults.

mod connections;
mod people;
mod traffic;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use ashlar_consensus::Genesis;
use ashlar_engine::{
    Call, CallId, Event as EngineEvent, GossipData, Input, JobId, JobResult, Output, Outputs, Peer,
    RequestFailure, RequestId, output::Verdict,
};
use ashlar_ledger::{OpenLedgerError, StoreError, View};
use ashlar_primitives::{BlockId, Lock, OutPoint, Output as Coined, keys::SecretKey};
use rand::{RngExt, seq::SliceRandom as _};
use thiserror::Error;

use super::{
    Experiment, FILLERS_PER_BLOCK,
    figures::{Found, Outcome},
    filler::{TRANSACTION_BYTES, Weight},
    memo::{Disagreement, Memo},
    node::{HomeNode, Lane, LinkId, Message, MessageId, first_store},
    store::Pool,
    topology::{Link, dial, link_of, weave},
};
use crate::{
    mesh::GossipMessage,
    queue::Queue,
    random::{Purpose, Random, between, stream},
    readable::Fault,
};

/// Every node of such a number computes for itself.
const WITNESS_PERIOD: usize = 100;
/// All connections are made within this time.
const FIRST_DIALS: Duration = Duration::from_secs(3);
/// Then the mesh is made; now payments begin, and an interval later blocks.
const WARM: Duration = Duration::from_secs(10);
/// After the last block everything has time to arrive.
const TAIL: Duration = Duration::from_secs(30);

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

impl Net {
    /// The net of an experiment, before its first event.
    pub fn new(experiment: &Experiment) -> Result<Self, Broken> {
        let seed = experiment.seed;
        let mut random = stream(seed, Purpose::Links);
        let key = SecretKey::from_bytes(&stream(seed, Purpose::Wallets).random());
        let lock = Lock::key(key.public_key());
        let payments = experiment.blocks * FILLERS_PER_BLOCK * 2;
        let genesis = people::genesis(experiment, lock, payments)?;
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
        let waits = people::waits(experiment, &mut mining);
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
