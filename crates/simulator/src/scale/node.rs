//! One node of a large net: an engine at home, and what its driver must remember.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use ashlar_consensus::{Genesis, Work};
use ashlar_engine::{Engine, InboundId, Input, Outputs, Peer, RequestId, Settings, Ticket, Time};
use ashlar_ledger::{Ledger, OpenLedgerError, StoreError, View};
use ashlar_primitives::wire;
use rand::RngExt;

use super::{
    home::Home,
    store::{Pool, SharedStore},
};
use crate::{node::VERDICT_DEADLINE, random::Random, scenario::EPOCH_SECONDS};

/// How far a wall clock is off, at most, either way.
const MAX_CLOCK_OFFSET_MS: i64 = 2_000;
/// Of what a node has heard, so much is remembered, newest first: more than travels in the two
/// minutes for which gossipsub remembers.
const MAX_HEARD: usize = 512;
/// Headers kept in memory: as in a long chain, all but the last are read from the store.
const HEADERS_IN_MEMORY: u32 = 64;

/// The place of a link in the list of all.
pub type LinkId = usize;
/// The place of a gossip message in the list of all.
pub type MessageId = u32;

/// Something on its way.
#[derive(Clone, Debug)]
pub enum Message {
    /// Published or passed on.
    Gossip(MessageId),
    /// Under the asker's number.
    Request(RequestId, Arc<wire::Request>),
    /// To the question of that number; `None`: refused.
    Answer(RequestId, Option<Arc<wire::Answer>>),
}

/// Something that waits for its sender's uplink.
#[derive(Debug)]
pub struct Outgoing {
    /// Over which connection.
    pub peer: Peer,
    /// What.
    pub message: Message,
    /// As declared.
    pub size_bytes: u64,
    /// Since when.
    pub since: Duration,
}

/// The streams of an uplink: each in order, and half of the line for each while both have
/// something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Batches of transactions.
    Transactions = 0,
    /// Blocks, requests, answers.
    Blocks = 1,
}

impl Lane {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Transactions => Self::Blocks,
            Self::Blocks => Self::Transactions,
        }
    }
}

/// What waits in one lane.
#[derive(Debug, Default)]
pub struct Uplink {
    /// In order.
    pub waiting: VecDeque<Outgoing>,
    /// Whether something is leaving.
    pub is_busy: bool,
}

/// That a node has heard of a message.
#[derive(Debug)]
pub struct Heard {
    /// When first.
    pub at: Duration,
    /// From whom.
    pub from: Vec<LinkId>,
}

/// A node.
pub struct HomeNode {
    /// Where it lives.
    pub home: Home,
    engine: Engine<SharedStore>,
    clock_offset_ms: i64,
    /// When the wake-up that counts comes.
    pub wakes_at: Option<Duration>,
    /// Its links, up or not.
    pub links: Vec<LinkId>,
    /// Those over which gossip goes.
    pub mesh: Vec<LinkId>,
    /// What it heard.
    pub heard: BTreeMap<MessageId, Heard>,
    /// By [`Lane`].
    pub uplinks: [Uplink; 2],
    /// Bytes that left.
    pub sent_bytes: u64,
    /// Requests without an answer.
    pub asked: BTreeMap<RequestId, Peer>,
    inbound: BTreeMap<u64, (Peer, RequestId)>,
    next_inbound: u64,
    tickets: BTreeMap<u64, MessageId>,
    next_ticket: u64,
    busy_until: Duration,
}

impl fmt::Debug for HomeNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HomeNode({:?}, {} links)", self.engine, self.links.len())
    }
}

impl HomeNode {
    /// A node that starts from `first`'s content, in `pool` with others or alone.
    pub fn new(
        genesis: &Genesis,
        first: &SharedStore,
        pool: Option<Arc<Pool>>,
        random: &mut Random,
    ) -> Result<Self, OpenLedgerError> {
        let store = Arc::new(first.copy(pool));
        let ledger = Ledger::open(store, genesis, ledger_settings())?;
        let settings = Settings {
            mempool: ashlar_mempool::Limits::default(),
            agent: "ashlar-sim".into(),
            minimum_work: Work::ZERO,
            reorg_alarm: ashlar_engine::DEFAULT_REORG_ALARM,
        };
        Ok(Self {
            home: Home::draw(random),
            engine: Engine::new(ledger, settings, random.random()),
            clock_offset_ms: random.random_range(-MAX_CLOCK_OFFSET_MS..=MAX_CLOCK_OFFSET_MS),
            wakes_at: None,
            links: Vec::new(),
            mesh: Vec::new(),
            heard: BTreeMap::new(),
            uplinks: [Uplink::default(), Uplink::default()],
            sent_bytes: 0,
            asked: BTreeMap::new(),
            inbound: BTreeMap::new(),
            next_inbound: 1,
            tickets: BTreeMap::new(),
            next_ticket: 1,
            busy_until: Duration::ZERO,
        })
    }

    /// What its readers see.
    pub fn view(&self) -> Arc<View> {
        self.engine.ledger().view()
    }

    /// Hands one input to the engine.
    pub fn handle(
        &mut self,
        now: Duration,
        input: Input,
        outputs: &mut Outputs,
    ) -> Result<(), StoreError> {
        self.engine.handle(self.clocks(now), input, outputs)
    }

    /// When the engine wants its next tick: not before `now`.
    pub fn next_wakeup(&self, now: Duration) -> Option<Duration> {
        self.engine.next_wakeup().map(|at_ms| Duration::from_millis(at_ms).max(now))
    }

    fn clocks(&self, now: Duration) -> Time {
        let monotonic_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let unix_ms = u64::from(EPOCH_SECONDS) * 1_000 + monotonic_ms;
        Time { monotonic_ms, unix_ms: unix_ms.saturating_add_signed(self.clock_offset_ms) }
    }

    /// Whether a message is new here. Either way `from` is known to have it.
    pub fn hears(&mut self, message: MessageId, from: Option<LinkId>, now: Duration) -> bool {
        if let Some(heard) = self.heard.get_mut(&message) {
            heard.from.extend(from);
            return false;
        }
        self.heard.insert(message, Heard { at: now, from: from.into_iter().collect() });
        if self.heard.len() > MAX_HEARD {
            self.heard.pop_first();
        }
        true
    }

    /// To whom an accepted message is passed on: the mesh, but for those that have it.
    pub fn onward(&self, message: MessageId) -> Vec<LinkId> {
        let Some(heard) = self.heard.get(&message) else { return Vec::new() };
        self.mesh.iter().copied().filter(|link| !heard.from.contains(link)).collect()
    }

    /// A ticket for a message that came from `source`.
    pub fn issue_ticket(&mut self, message: MessageId, source: Peer, now: Duration) -> Ticket {
        let id = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(id, message);
        let deadline_ms = self.clocks(now + VERDICT_DEADLINE).monotonic_ms;
        Ticket { id, source, deadline_ms }
    }

    /// The message of a ticket that has its verdict now.
    pub fn settle_ticket(&mut self, ticket: &Ticket) -> Option<MessageId> {
        self.tickets.remove(&ticket.id)
    }

    /// A number for a request that came, under the asker's own number.
    pub fn receive_request(&mut self, peer: Peer, theirs: RequestId) -> InboundId {
        let id = self.next_inbound;
        self.next_inbound += 1;
        self.inbound.insert(id, (peer, theirs));
        InboundId(id)
    }

    /// Where an answer goes.
    pub fn answer(&mut self, id: &InboundId) -> Option<(Peer, RequestId)> {
        self.inbound.remove(&id.0)
    }

    /// When a job that leaves now and takes so long is done: one core, one after the other.
    pub fn schedule_job(&mut self, cost: Duration, now: Duration) -> Duration {
        self.busy_until = self.busy_until.max(now) + cost;
        self.busy_until
    }
}

/// The first store of a net, with the genesis block in it.
pub fn first_store(genesis: &Genesis) -> Result<SharedStore, OpenLedgerError> {
    let store = Arc::new(SharedStore::new(None));
    let ledger = Ledger::open(Arc::clone(&store), genesis, ledger_settings())?;
    drop(ledger);
    Ok(store.copy(None))
}

fn ledger_settings() -> ashlar_ledger::Settings {
    ashlar_ledger::Settings {
        headers_in_memory: HEADERS_IN_MEMORY,
        ..ashlar_ledger::Settings::default()
    }
}
