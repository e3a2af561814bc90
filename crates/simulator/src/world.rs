//! The loop: takes what happens next, hands it to whom it concerns, does what they want.
//!
//! Nothing is delivered from within a delivery: whatever an engine or a person wants goes back
//! into the queue, so that the order of the queue is the order of everything. The parts: events
//! of connections and messages (`transport`), outputs of engines (`outputs`), calls of people
//! and their replies (`errands`), what goes wrong (`trouble`), what is looked at again and again
//! (`audit`), who does not keep the rules (`villainy`).

mod audit;
mod errands;
mod outputs;
#[cfg(test)]
mod tests;
mod transport;
mod trouble;
mod villainy;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ashlar_consensus::Genesis;
use ashlar_engine::{Call, CallId, Input, JobId, JobResult, Peer, RequestFailure, RequestId};
use ashlar_ledger::View;
use ashlar_primitives::{BlockId, Transaction, Txid};
use rand::SeedableRng as _;

use crate::{
    faults::nodes_down,
    invariants::{Checks, Replay, Violation, one_tip},
    judge::Judge,
    links::{Links, Message, PairId},
    mesh::Mesh,
    node::{Node, NodeId},
    people::{Errand, MinerId, Payment, People, WalletId},
    queue::Queue,
    random::{Purpose, Random, stream},
    report::{Failure, Report, Tally},
    scenario::Scenario,
    trace::{Entry, Subject, Trace},
    villain::Villain,
};

/// No world that comes to an end has more events.
const MAX_EVENTS: u64 = 50_000_000;
/// All nodes are looked at so often.
const AUDIT_INTERVAL: Duration = Duration::from_secs(30);
/// So many ticks of a node at one moment mean that it gets nowhere.
const MAX_TICKS_AT_ONCE: u32 = 1_000;

/// Something that happens.
#[derive(Debug)]
enum Event {
    /// One end of a pair tries to connect.
    Dial(PairId),
    /// Its handshakes are done.
    Open(PairId),
    /// Nobody has heard from the other end for too long, if the link is still cut.
    GiveUp(Peer),
    /// A node learns that a connection ended.
    Gone { node: NodeId, peer: Peer },
    /// A message has come over a link.
    Arrive { peer: Peer, to: NodeId, message: Message, size_bytes: usize },
    /// A request can't even be sent.
    Unsent { node: NodeId, life: u32, request: RequestId },
    /// A request has waited long enough.
    RequestDeadline { node: NodeId, life: u32, request: RequestId },
    /// A ticket must have had its verdict.
    TicketDeadline { node: NodeId, ticket: u64 },
    /// A call must have had its reply.
    CallDeadline { node: NodeId, call: CallId },
    /// An engine's wake-up.
    Tick(NodeId),
    /// A job is done.
    JobDone { node: NodeId, life: u32, job: JobId, result: Box<JobResult> },
    /// Somebody calls a node.
    Call { node: NodeId, errand: Errand, call: Call },
    /// The fault of this number begins.
    FaultBegins(usize),
    /// It ends.
    FaultEnds(usize),
    /// All nodes are looked at.
    Audit,
    /// The villain of this number does something.
    Villain(usize),
    /// Villains stop.
    Truce,
    /// A miner of the first phase finds a block.
    Find(MinerId),
    /// The last miner finds one; so many are to follow.
    Settle { following: u32 },
    /// A wallet pays.
    Pay(WalletId),
    /// Somebody hands in a transaction with something wrong.
    Blunder,
    /// A wallet makes the payment that must be confirmed everywhere.
    Probe,
    /// Wallets ask for payments that are not confirmed.
    Inquire,
}

impl Event {
    /// Whose process it needs, and which of its lives where that matters.
    const fn concerns(&self) -> Option<(NodeId, Option<u32>)> {
        match self {
            Self::Arrive { to: node, .. }
            | Self::Gone { node, .. }
            | Self::TicketDeadline { node, .. }
            | Self::CallDeadline { node, .. }
            | Self::Tick(node)
            | Self::Call { node, .. } => Some((*node, None)),
            Self::Unsent { node, life, .. }
            | Self::RequestDeadline { node, life, .. }
            | Self::JobDone { node, life, .. } => Some((*node, Some(*life))),
            Self::Dial(_)
            | Self::Open(_)
            | Self::GiveUp(_)
            | Self::FaultBegins(_)
            | Self::FaultEnds(_)
            | Self::Audit
            | Self::Villain(_)
            | Self::Truce
            | Self::Find(_)
            | Self::Settle { .. }
            | Self::Pay(_)
            | Self::Blunder
            | Self::Probe
            | Self::Inquire => None,
        }
    }
}

/// A world.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    now: Duration,
    queue: Queue<Event>,
    nodes: Vec<Node>,
    /// Their ids follow those of the nodes.
    villains: Vec<Villain>,
    links: Links,
    mesh: Mesh,
    people: People,
    genesis: Genesis,
    judge: Judge,
    checks: Checks,
    /// For each node, the better branch that it had all of when it was last looked at.
    suspects: BTreeMap<NodeId, BlockId>,
    /// How often all nodes were looked at.
    audits: u32,
    trace: Trace,
    tally: Tally,
    job_random: Random,
    /// For what processes draw when they begin again.
    node_random: Random,
    /// Ticks of each node at this moment.
    ticks: BTreeMap<NodeId, (Duration, u32)>,
    /// When a block became some node's tip for the first time.
    first_tips: BTreeMap<BlockId, Duration>,
    /// In order of making, and whether the wallet's node took it.
    payments: Vec<(Payment, bool)>,
    /// Where each of them is.
    payment_places: BTreeMap<Txid, usize>,
    probe: Option<Txid>,
    /// Transactions with something wrong that wait for their verdict.
    blunders: BTreeMap<Txid, Transaction>,
    /// Nodes that once, after a reorganisation, had more payments to take back than may hang
    /// together in a mempool, and those whose mempool is small or was lost with its process.
    forgetful: BTreeSet<NodeId>,
    /// Nodes that went through a reorganisation.
    reorganised: BTreeSet<NodeId>,
}

impl World {
    /// The world of a scenario, before its first event. With `printing`, every event is written
    /// to standard output.
    ///
    /// # Panics
    /// Where a scenario makes no valid genesis, which [`Scenario::draw`] never does.
    pub fn new(scenario: Scenario, printing: bool) -> Self {
        let people = People::new(&scenario);
        let genesis = scenario
            .genesis(&people.first_locks())
            .expect("the parameters of a drawn scenario are within the limits of a genesis");
        let mut node_random = stream(scenario.seed, Purpose::Nodes);
        let nodes: Vec<Node> = (0..scenario.nodes)
            .map(|index| {
                let mut node = Node::new(NodeId(index), &mut node_random);
                node.start(&genesis, &mut node_random).expect("a new store in memory opens");
                node
            })
            .collect();
        let usual = ashlar_mempool::Limits::default().max_bytes;
        let small = nodes.iter().filter(|node| node.mempool_limits().max_bytes < usual);
        let mut forgetful = nodes_down(&scenario.faults);
        forgetful.extend(small.map(|node| node.id));
        let random = &mut stream(scenario.seed, Purpose::Villains);
        let villains = (scenario.nodes..)
            .zip(&scenario.villains)
            .map(|(id, plan)| {
                let own = Random::from_rng(random);
                Villain::new(NodeId(id), plan.kind, genesis.params().chain_id, own)
            })
            .collect();
        let mut world = Self {
            now: Duration::ZERO,
            queue: Queue::new(),
            nodes,
            villains,
            links: Links::new(&scenario),
            mesh: Mesh::default(),
            people,
            judge: Judge::new(&genesis),
            genesis,
            checks: Checks::default(),
            suspects: BTreeMap::new(),
            audits: 0,
            trace: Trace::new(printing),
            tally: Tally::default(),
            job_random: stream(scenario.seed, Purpose::Jobs),
            node_random,
            ticks: BTreeMap::new(),
            first_tips: BTreeMap::new(),
            payments: Vec::new(),
            payment_places: BTreeMap::new(),
            probe: None,
            blunders: BTreeMap::new(),
            forgetful,
            reorganised: BTreeSet::new(),
            scenario,
        };
        world.schedule_beginning();
        world
    }

    fn schedule_beginning(&mut self) {
        for (number, fault) in self.scenario.faults.iter().enumerate() {
            self.queue.push(fault.from, Event::FaultBegins(number));
            self.queue.push(fault.until, Event::FaultEnds(number));
        }
        self.queue.push(AUDIT_INTERVAL, Event::Audit);
        self.schedule_first_dials();
        self.schedule_people();
        self.schedule_villains();
        for index in 0..self.nodes.len() {
            self.schedule_wakeup(NodeId(index));
        }
    }

    /// Runs to the end. `Err`: the first promise that was broken.
    pub fn run(&mut self) -> Result<Report, Box<Failure>> {
        self.live().and_then(|()| self.judge()).map_err(|violation| {
            Box::new(Failure {
                scenario: self.scenario.clone(),
                at: self.now,
                violation,
                nodes: self.nodes.iter().map(Node::account).collect(),
                recent: self.trace.recent().copied().collect(),
            })
        })
    }

    fn live(&mut self) -> Result<(), Violation> {
        while let Some((at, event)) = self.queue.pop() {
            if at > self.scenario.timeline.end {
                break;
            }
            self.now = at;
            self.tally.events += 1;
            if self.tally.events > MAX_EVENTS {
                return Err(Violation::Endless { events: MAX_EVENTS });
            }
            self.deliver(event).or_else(|violation| self.stops(violation))?;
        }
        Ok(())
    }

    fn deliver(&mut self, event: Event) -> Result<(), Violation> {
        let Some(event) = self.reaches(event) else { return Ok(()) };
        match event {
            Event::Dial(pair) => self.dial(pair),
            Event::Open(pair) => return self.open(pair),
            Event::GiveUp(peer) => self.give_up(peer),
            Event::Gone { node, peer } => return self.gone(node, peer),
            Event::Arrive { peer, to, message, size_bytes } => {
                return self.arrive(peer, to, message, size_bytes);
            }
            Event::Unsent { node, request, .. } => {
                return self.request_fails(node, request, RequestFailure::Closed);
            }
            Event::RequestDeadline { node, request, .. } => {
                return self.request_deadline(node, request);
            }
            Event::TicketDeadline { node, ticket } => {
                if self.node(node).ticket_is_open(ticket) {
                    return Err(Violation::NoVerdict { node, ticket });
                }
            }
            Event::CallDeadline { node, call } => {
                if self.node(node).call_is_open(call) {
                    return Err(Violation::NoReply { node, call: call.0 });
                }
            }
            Event::Tick(node) => return self.tick(node),
            Event::JobDone { node, job, result, .. } => {
                self.tally.jobs += 1;
                let entry = ("job done", Subject::Number(job.0));
                return self.feed(node, entry, Input::JobDone(job, *result));
            }
            Event::Call { node, errand, call } => return self.call(node, errand, call),
            Event::FaultBegins(number) => return self.fault_begins(number),
            Event::FaultEnds(number) => return self.fault_ends(number),
            Event::Audit => return self.audit(),
            Event::Villain(index) => self.villain_acts(index),
            Event::Truce => self.truce(),
            Event::Find(miner) => self.find(miner),
            Event::Settle { following } => self.settle(following),
            Event::Pay(wallet) => return self.pay(wallet),
            Event::Blunder => return self.blunder(),
            Event::Probe => return self.make_probe(),
            Event::Inquire => return self.inquire(),
        }
        Ok(())
    }

    /// Hands an input to an engine and does what it wants.
    fn feed(
        &mut self,
        node: NodeId,
        (kind, subject): (&'static str, Subject),
        input: Input,
    ) -> Result<(), Violation> {
        self.note(Some(node), kind, subject);
        let now = self.now;
        let outputs =
            self.node(node).handle(now, input).map_err(|error| Violation::Store { node, error })?;
        for output in outputs {
            self.perform(node, output)?;
        }
        self.schedule_wakeup(node);
        Ok(())
    }

    fn tick(&mut self, node: NodeId) -> Result<(), Violation> {
        let at = self.now;
        if self.node(node).wakes_at != Some(at) {
            // The engine has changed its mind since.
            return Ok(());
        }
        self.node(node).wakes_at = None;
        let (moment, count) = self.ticks.entry(node).or_insert((at, 0));
        *count = if *moment == at { *count + 1 } else { 1 };
        *moment = at;
        if *count > MAX_TICKS_AT_ONCE {
            return Err(Violation::Spinning { node, at });
        }
        let number = u64::from(*count);
        self.feed(node, ("tick", Subject::Number(number)), Input::Tick)
    }

    fn schedule_wakeup(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        let wanted = node.next_wakeup(now);
        if node.wakes_at == wanted {
            return;
        }
        node.wakes_at = wanted;
        if let Some(at) = wanted {
            self.queue.push(at, Event::Tick(id));
        }
    }

    /// # Panics
    /// On a node that is not of this world.
    fn node(&mut self, NodeId(index): NodeId) -> &mut Node {
        &mut self.nodes[index]
    }

    fn note(&mut self, node: Option<NodeId>, kind: &'static str, subject: Subject) {
        self.trace.record(Entry { at: self.now, node, kind, subject });
    }

    /// What must hold at the end.
    fn judge(&mut self) -> Result<Report, Violation> {
        for index in 0..self.nodes.len() {
            self.look_at_marks(NodeId(index), 0)?;
        }
        let mut last: Vec<(NodeId, Arc<View>, BlockId)> = Vec::new();
        for node in &self.nodes {
            if let Some(ledger) = node.ledger() {
                last.push((node.id, ledger.view(), ledger.best_header().id));
            }
        }
        one_tip(last.iter().map(|(node, view, best)| (*node, view.as_ref(), *best)))?;
        let probe = self.probe.ok_or(Violation::NoProbe)?;
        let mut replays = Vec::new();
        for (node, view, _) in &last {
            let replay = Replay::of(*node, view)?;
            replay.compare_supply(*node, view, self.scenario.allocated())?;
            if !replay.confirmed.contains(&probe) {
                return Err(Violation::Unconfirmed { node: *node, txid: probe });
            }
            for lock in self.people.locks() {
                replay.compare_index(*node, view, &lock)?;
            }
            replays.push(replay);
        }
        let ((_, view, _), replay) = last
            .first()
            .zip(replays.first())
            .expect("a world has at least as many nodes as the least scenario");
        let payments = self.payments.iter().filter(|(_, accepted)| *accepted);
        let confirmed =
            payments.filter(|(payment, _)| replay.confirmed.contains(&payment.transaction.txid()));
        Ok(Report {
            scenario: self.scenario.clone(),
            tip: view.tip().id,
            height: view.tip().height,
            commitment: view.utxo_commitment(),
            supply: view.coin_total(),
            fees: replay.fees(),
            payments_confirmed: confirmed.count() as u64,
            trace_hash: self.trace.hash(),
            tally: self.tally.clone(),
        })
    }
}
