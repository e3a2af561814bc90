//! A node without network or engine: a real ledger in memory, and a mempool that is a list.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ashlar_consensus::{CheckedTransaction, Genesis, TxError, judge_transaction, open_transaction};
use ashlar_engine::{
    Answer, Call, CallError, Direction, Peer,
    call::{
        AnswerBody, BlockVerdict, FeeEstimate, InFlight, MempoolEntry, MempoolInfo, MempoolKin,
        PeerInfo, ReorganisationCounts, SubmittedTransaction, SyncProgress, SyncStatus, Template,
        Warning,
    },
};
use ashlar_ledger::{Ledger, MemoryStore, MovedBlock, Offered, Published, Settings, View};
use ashlar_mempool::{Departure, Leaving, PolicyError, Refusal};
use ashlar_primitives::{
    Address, Amount, Block, BlockId, Decode as _, Encode as _, Lock, Txid,
    merkle::block_merkle_root,
};
use ashlar_rpc::{
    server::{
        Backend, BackendError, ChainEvent, EVENT_CAPACITY, Health, MemoryState, MempoolFile,
        MiningState, NetworkState, PeerTraffic,
    },
    types::{BannedPeer, ClockInfo, ClockSetting},
};
use ashlar_testkit::builder::{self, Chain, Plan, lock};
use tokio::sync::{Notify, broadcast};

/// What the genesis block gives key 1.
pub(crate) const ALLOCATION: u64 = 1_000_000;
/// When it is, for this node: long after its genesis.
const NOW: u64 = builder::GENESIS_TIME as u64 + 1_000_000;
/// What the machine's clock would read.
const MACHINE_MS: u64 = NOW * 1_000;

pub(crate) struct Fake {
    world: Mutex<World>,
    events: broadcast::Sender<ChainEvent>,
    pub(crate) nodes: Mutex<Vec<String>>,
    bans: Mutex<BTreeMap<String, u64>>,
    pub(crate) clock: Mutex<Option<ClockSetting>>,
    pub(crate) real_clock: AtomicBool,
    pub(crate) syncing: AtomicBool,
    /// What waited in the last run is not loaded yet.
    pub(crate) loading: AtomicBool,
    /// `mining` panics.
    pub(crate) broken: AtomicBool,
    /// Calls to the engine are never answered.
    pub(crate) stuck: AtomicBool,
    pub(crate) stopped: Notify,
    /// What the engine warns of.
    pub(crate) warnings: Mutex<Vec<Warning>>,
    /// What it was told of calls that ended: the method, and whether it brought a result.
    pub(crate) calls: Mutex<Vec<(String, bool)>>,
    pub(crate) log_filter: Mutex<String>,
}

struct World {
    chain: Chain,
    ledger: Ledger<MemoryStore>,
    mempool: Vec<Waiting>,
    next_sequence: u64,
    /// To be told.
    accepted: Vec<ChainEvent>,
    priorities: BTreeMap<Txid, i64>,
    /// Of the mempool.
    sequence: u64,
}

struct Waiting {
    transaction: Arc<CheckedTransaction>,
    fee: Amount,
    sequence: u64,
}

impl Fake {
    /// A chain of the genesis block alone, which gives key 1 [`ALLOCATION`].
    pub(crate) fn new() -> Arc<Self> {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Arc<Self> {
        Self::of(Chain::new(builder::genesis(&[(lock(1), ALLOCATION)])), settings)
    }

    /// A chain of a genesis block of the caller's.
    pub(crate) fn of(chain: Chain, settings: Settings) -> Arc<Self> {
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::open(store, chain.genesis(), settings).unwrap();
        let world = World {
            chain,
            ledger,
            mempool: Vec::new(),
            priorities: BTreeMap::new(),
            sequence: 0,
            next_sequence: 0,
            accepted: Vec::new(),
        };
        Arc::new(Self {
            world: Mutex::new(world),
            events: broadcast::channel(EVENT_CAPACITY).0,
            nodes: Mutex::default(),
            bans: Mutex::default(),
            clock: Mutex::default(),
            real_clock: AtomicBool::new(false),
            syncing: AtomicBool::new(false),
            loading: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            calls: Mutex::default(),
            log_filter: Mutex::new("info".to_owned()),
            stopped: Notify::new(),
            warnings: Mutex::default(),
        })
    }

    /// A payment by key 1 that is good on the tip, as hex.
    pub(crate) fn payment(&self, to: Lock, grains: u64, fee: u64) -> String {
        self.payment_by(1, to, grains, fee)
    }

    /// The same by any key.
    pub(crate) fn payment_by(&self, from: u64, to: Lock, grains: u64, fee: u64) -> String {
        let world = self.world.lock().unwrap();
        let tip = world.ledger.view().tip().id;
        hex::encode(world.chain.pay(&tip, from, to, grains, fee).to_bytes())
    }

    /// The same payment to key 2, checked.
    pub(crate) fn checked_payment(&self) -> Arc<CheckedTransaction> {
        let bytes = hex::decode(self.payment(lock(2), 5, 1)).unwrap();
        Arc::new(open_transaction(&bytes).unwrap())
    }

    /// A block on the tip, as hex, with the first so many transactions that wait.
    pub(crate) fn block_of_waiting(&self, count: usize) -> String {
        let mut world = self.world.lock().unwrap();
        let tip = world.ledger.view().tip().id;
        let waiting = world.mempool.iter().take(count);
        let transactions = waiting.map(|w| w.transaction.transaction().clone()).collect();
        hex::encode(world.chain.extend(&tip, Plan::of(transactions)).to_bytes())
    }

    /// Makes an empty block on the tip, or on any block made before.
    pub(crate) fn mine_on(&self, parent: Option<BlockId>) -> BlockId {
        self.mine(parent, Plan::default())
    }

    /// The first block's id.
    pub(crate) fn genesis_id(&self) -> BlockId {
        self.world.lock().unwrap().chain.genesis_id()
    }

    /// The same with something particular about it.
    pub(crate) fn mine(&self, parent: Option<BlockId>, plan: Plan) -> BlockId {
        let block = {
            let mut world = self.world.lock().unwrap();
            let parent = parent.unwrap_or(world.ledger.view().tip().id);
            world.chain.extend(&parent, plan)
        };
        self.submit(&block.to_bytes());
        block.id()
    }

    pub(crate) fn send(&self, event: ChainEvent) {
        // Nobody may be listening.
        drop(self.events.send(event));
    }

    /// Subscribers that are still told of events.
    pub(crate) fn listeners(&self) -> usize {
        self.events.receiver_count()
    }

    fn submit(&self, bytes: &[u8]) -> BlockVerdict {
        let mut world = self.world.lock().unwrap();
        let offered = world.ledger.offer(bytes, NOW, &mut rand::rng()).unwrap();
        let id = || Block::from_bytes(bytes).unwrap().header.id();
        if let Some(published) = world.ledger.take_published() {
            let left = world.published(bytes, &published);
            self.send(tip_event(&published));
            if !left.is_empty() {
                self.send(ChainEvent::Left(left.into()));
            }
        }
        match offered {
            Offered::Accepted => BlockVerdict::Accepted(id()),
            Offered::Side => BlockVerdict::Side(id()),
            Offered::Known => BlockVerdict::Known(id()),
            Offered::Refused { code } => {
                BlockVerdict::Refused { code, message: format!("the block is {code}") }
            }
        }
    }

    /// An order was given: the tip moves as far as it goes.
    fn settle(&self, world: &mut World) -> AnswerBody {
        world.ledger.settle_down(&mut rand::rng()).unwrap();
        if let Some(published) = world.ledger.take_published() {
            self.send(tip_event(&published));
        }
        AnswerBody::Done
    }

    fn answer(&self, call: Call) -> AnswerBody {
        if let Call::SubmitBlock(bytes) = call {
            return AnswerBody::Block(self.submit(&bytes));
        }
        let mut world = self.world.lock().unwrap();
        let view = world.ledger.view();
        match call {
            Call::SubmitTransactions(list) => {
                let judged = list.into_iter().map(|t| world.judge(t, true)).collect();
                for event in core::mem::take(&mut world.accepted) {
                    self.send(event);
                }
                AnswerBody::Submitted(judged)
            }
            Call::TestTransactions(list) => {
                AnswerBody::Tested(list.into_iter().map(|t| world.judge(t, false)).collect())
            }
            Call::Template { pay_to, .. } => AnswerBody::Template(world.template(pay_to)),
            Call::MempoolInfo => AnswerBody::MempoolInfo(MempoolInfo {
                count: world.mempool.len(),
                size_bytes: world.mempool.iter().map(|w| w.transaction.size_bytes() as usize).sum(),
                memory_bytes: 4_096,
                max_bytes: 1 << 20,
                total_fee: Amount::checked_sum(world.mempool.iter().map(|w| w.fee)).unwrap(),
                min_feerate_per_kb: 1_000,
                orphans: 0,
                sequence: world.sequence,
            }),
            Call::MempoolPage { after, limit } => AnswerBody::MempoolPage(
                (0..world.mempool.len())
                    .map(|place| world.entry(place))
                    .filter(|entry| after.is_none_or(|after| entry.sequence > after))
                    .take(limit)
                    .collect(),
            ),
            Call::MempoolTransaction(txid) => {
                let place = world.mempool.iter().position(|w| w.transaction.txid() == txid);
                AnswerBody::MempoolTransaction(place.map(|place| world.entry(place)))
            }
            Call::MempoolKin(txid) => AnswerBody::MempoolKin(world.kin(&txid)),
            Call::Prioritise { txid, delta_grains } => {
                let sum = world.priorities.entry(txid).or_default();
                *sum += delta_grains;
                let sum = *sum;
                world.sequence += 1;
                AnswerBody::Priority(sum)
            }
            Call::Priorities => AnswerBody::Priorities(world.priorities.clone()),
            Call::MempoolSpenders(outpoints) => AnswerBody::MempoolSpenders(
                outpoints
                    .iter()
                    .map(|outpoint| {
                        let mut waiting = world.mempool.iter();
                        let spends =
                            |t: &CheckedTransaction| t.transaction().inputs.contains(outpoint);
                        let spender = waiting.find(|waiting| spends(&waiting.transaction));
                        spender.map(|waiting| waiting.transaction.txid())
                    })
                    .collect(),
            ),
            Call::Peers => AnswerBody::Peers(vec![PeerInfo {
                peer: Peer(7),
                direction: Direction::Outbound,
                address: "/ip4/127.0.0.1/tcp/9333".into(),
                identity: "peer".into(),
                agent: Some("ashlar/0.1.0".into()),
                height: Some(0),
                tip: Some(view.tip().id),
                services: Some(3),
                connected_ms: 5,
                synced_headers: Some(0),
                in_flight: InFlight { blocks: 2, ..InFlight::default() },
                last_seen_unix: NOW,
                last_block_unix: Some(NOW - 1),
                last_transaction_unix: None,
                score: 0,
            }]),
            Call::SyncStatus => AnswerBody::Sync(SyncStatus {
                syncing: self.syncing.load(Ordering::Relaxed),
                height: view.tip().height,
                best_header_height: view.tip().height,
                blocks_in_flight: 0,
                peers: 1,
                reorganisations: ReorganisationCounts { count: 3, deepest: 9, alarms: 1, held: 0 },
                warnings: self.warnings.lock().unwrap().clone(),
                progress: self.syncing.load(Ordering::Relaxed).then_some(SyncProgress {
                    height: 2,
                    target_height: 1_002,
                    milliblocks_per_second: Some(12_500),
                    seconds_left: Some(80),
                }),
            }),
            Call::EstimateFee { target_blocks } => AnswerBody::Fee(FeeEstimate {
                feerate_per_kb: 1_000,
                basis: "the minimum",
                waiting_bytes: 0,
                target_blocks,
            }),
            Call::InvalidateBlock(id) => {
                world.ledger.invalidate(&id).unwrap();
                self.settle(&mut world)
            }
            Call::ReconsiderBlock(id) => {
                world.ledger.reconsider(&id).unwrap();
                self.settle(&mut world)
            }
            Call::Prune { height } => {
                world.ledger.prune_below(height);
                self.settle(&mut world)
            }
            Call::RestoreTransactions(_) | Call::SubmitBlock(_) | Call::AcceptReorganisation(_) => {
                AnswerBody::Done
            }
        }
    }
}

fn tip_event(published: &Published) -> ChainEvent {
    let ids = |moved: &[MovedBlock]| moved.iter().map(|b| b.id).collect();
    ChainEvent::Tip {
        sequence: published.view.sequence(),
        tip: published.view.tip().id,
        height: published.view.tip().height,
        disconnected: ids(&published.disconnected),
        connected: ids(&published.connected),
        alarm: !published.disconnected.is_empty(),
    }
}

impl World {
    fn published(&mut self, bytes: &[u8], published: &Published) -> Vec<Departure> {
        let block = Block::from_bytes(bytes).unwrap();
        let confirmed: Vec<_> = block.transactions.iter().map(|t| t.txid()).collect();
        let is_confirmed = |waiting: &Waiting| confirmed.contains(&waiting.transaction.txid());
        let departed = self.mempool.iter().filter(|waiting| is_confirmed(waiting));
        let left = departed
            .map(|waiting| Departure {
                transaction: Arc::clone(&waiting.transaction),
                sequence: waiting.sequence,
                why: Leaving::Confirmed,
            })
            .collect();
        self.mempool.retain(|waiting| !is_confirmed(waiting));
        self.sequence += 1;
        // Blocks found by `generatetoaddress` are new to the builder.
        if published.connected.len() == 1 {
            drop(self.chain.adopt(block));
        }
        left
    }

    fn judge(
        &mut self,
        transaction: Arc<CheckedTransaction>,
        keep: bool,
    ) -> Result<SubmittedTransaction, Refusal> {
        let is_same = |waiting: &Waiting| waiting.transaction.txid() == transaction.txid();
        if self.mempool.iter().any(is_same) {
            return Err(PolicyError::AlreadyKnown.into());
        }
        let view = self.ledger.view();
        let inputs = &transaction.transaction().inputs;
        let coins = view.coins(inputs).unwrap();
        let height = view.tip().height + 1;
        let judged = judge_transaction(view.params(), height, &transaction, &coins)
            .map_err(|error: TxError| Refusal::from(error))?;
        let submitted = SubmittedTransaction {
            txid: transaction.txid(),
            wtxid: transaction.wtxid(),
            fee: judged.fee,
            size_bytes: transaction.size_bytes(),
        };
        if keep {
            let (fee, sequence) = (judged.fee, self.next_sequence);
            self.next_sequence += 1;
            let spent: Arc<[_]> = coins.into_iter().flatten().collect();
            self.accepted.push(ChainEvent::Transaction {
                transaction: Arc::clone(&transaction),
                fee,
                spent,
                sequence,
            });
            self.mempool.push(Waiting { transaction, fee, sequence });
            self.sequence += 1;
        }
        Ok(submitted)
    }

    fn entry(&self, place: usize) -> MempoolEntry {
        let Waiting { transaction, fee, sequence } = &self.mempool[place];
        MempoolEntry {
            transaction: Arc::clone(transaction),
            fee: *fee,
            delta_grains: self.priorities.get(&transaction.txid()).copied().unwrap_or(0),
            entered_unix: NOW,
            sequence: *sequence,
            ancestor_count: 1,
            descendant_count: 1,
            depends: Vec::new(),
            spent_by: Vec::new(),
        }
    }

    /// Of a list, in which nothing spends from anything.
    fn kin(&self, txid: &Txid) -> Option<MempoolKin> {
        let place = self.mempool.iter().position(|w| w.transaction.txid() == *txid)?;
        let entry = self.entry(place);
        Some(MempoolKin { entry, ancestors: Vec::new(), descendants: Vec::new() })
    }

    fn template(&self, pay_to: Lock) -> Arc<Template> {
        let tip = self.ledger.view().tip().clone();
        let transactions =
            self.mempool.iter().map(|w| w.transaction.transaction().clone()).collect();
        let mut block = self.chain.draft(&tip.id, Plan { transactions, pay_to, ..Plan::default() });
        block.header.merkle_root = block_merkle_root(&block).unwrap();
        let fees: Vec<Amount> = self.mempool.iter().map(|waiting| waiting.fee).collect();
        Arc::new(Template {
            height: tip.height + 1,
            min_time: tip.median_time() + 1,
            max_time: u32::MAX,
            fees: Amount::checked_sum(fees.iter().copied()).unwrap(),
            subsidy: self.ledger.params().subsidy(tip.height + 1),
            mempool_sequence: self.sequence,
            transaction_fees: fees,
            block,
        })
    }
}

impl Backend for Fake {
    fn view(&self) -> Arc<View> {
        self.world.lock().unwrap().ledger.view()
    }

    async fn call(&self, call: Call) -> Result<Answer, CallError> {
        if self.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let tip = self.view().tip().clone();
        match call {
            Call::AcceptReorganisation(block) if block == tip.id => {
                return Err(CallError::NotHeld { block });
            }
            Call::InvalidateBlock(id) | Call::ReconsiderBlock(id)
                if self.view().header(&id).unwrap().is_none() =>
            {
                return Err(CallError::NotFound);
            }
            Call::Prune { .. } if self.view().prune_bytes().is_none() => {
                return Err(CallError::NotPruning);
            }
            _ => {}
        }
        let body = self.answer(call);
        let tip = self.view().tip().clone();
        Ok(Answer { tip: tip.id, height: tip.height, body })
    }

    fn events(&self) -> broadcast::Receiver<ChainEvent> {
        self.events.subscribe()
    }

    async fn network(&self) -> Option<NetworkState> {
        Some(NetworkState {
            identity: "me".into(),
            listening: vec!["/ip4/127.0.0.1/tcp/9333".into()],
            inbound: 0,
            outbound: 1,
            bytes_received: 3_000,
            bytes_sent: 4_000,
            unix_ms: NOW * 1_000,
        })
    }

    async fn traffic(&self) -> Vec<PeerTraffic> {
        let other = PeerTraffic { peer: 8, bytes_received: 1, ..PeerTraffic::default() };
        let ours = PeerTraffic {
            peer: 7,
            bytes_received: 1_000,
            bytes_sent: 2_000,
            ping_ms: Some(3),
            gossip_score: -0.5,
        };
        vec![other, ours]
    }

    async fn add_node(&self, address: String) -> Result<(), BackendError> {
        if !address.starts_with('/') {
            return Err(BackendError::BadAddress { address, reason: "no multiaddress".into() });
        }
        self.nodes.lock().unwrap().push(address);
        Ok(())
    }

    async fn remove_node(&self, address: String) -> Result<(), BackendError> {
        self.nodes.lock().unwrap().retain(|known| *known != address);
        Ok(())
    }

    async fn disconnect_node(&self, who: String, away_seconds: u64) -> Result<(), BackendError> {
        assert!(away_seconds > 0, "or it comes back at once");
        if who == "7" { Ok(()) } else { Err(BackendError::NotConnected { who }) }
    }

    async fn bans(&self) -> Result<Vec<BannedPeer>, BackendError> {
        let bans = self.bans.lock().unwrap();
        let told = bans.iter().map(|(who, seconds)| BannedPeer {
            address: who.clone(),
            ban_created: 1_000,
            banned_until: 1_000 + seconds,
            ban_reason: "for a test".into(),
        });
        Ok(told.collect())
    }

    async fn ban(&self, who: String, seconds: u64) -> Result<(), BackendError> {
        if who == "nobody" {
            return Err(BackendError::NotBannable { reason: "no peer id".into() });
        }
        self.bans.lock().unwrap().insert(who, seconds);
        Ok(())
    }

    async fn unban(&self, who: String) -> Result<(), BackendError> {
        let lifted = self.bans.lock().unwrap().remove(&who);
        lifted.map(drop).ok_or(BackendError::NotBanned { who })
    }

    async fn clear_bans(&self) -> Result<(), BackendError> {
        self.bans.lock().unwrap().clear();
        Ok(())
    }

    fn clock(&self) -> ClockInfo {
        let setting = *self.clock.lock().unwrap();
        let unix_ms = setting.map_or(MACHINE_MS, |setting| setting.read(MACHINE_MS));
        ClockInfo { unix_ms, setting }
    }

    fn set_clock(&self, setting: Option<ClockSetting>) -> Result<(), BackendError> {
        if self.real_clock.load(Ordering::Relaxed) {
            return Err(BackendError::RealClock);
        }
        *self.clock.lock().unwrap() = setting;
        Ok(())
    }

    async fn backup(&self, directory: String) -> Result<(), BackendError> {
        match directory.as_str() {
            "/full/copy" => Err(BackendError::BackupFailed { reason: "no room".into() }),
            path if !path.starts_with('/') => {
                Err(BackendError::BadDirectory { reason: "not absolute".into() })
            }
            _ => Ok(()),
        }
    }

    async fn save_mempool(&self) -> Result<MempoolFile, BackendError> {
        if !self.is_mempool_loaded() {
            return Err(BackendError::MempoolLoading);
        }
        let transactions = self.world.lock().unwrap().mempool.len() as u64;
        Ok(MempoolFile { path: "/data/mempool.dat".into(), transactions })
    }

    fn is_mempool_loaded(&self) -> bool {
        !self.loading.load(Ordering::Relaxed)
    }

    fn genesis(&self) -> Result<Genesis, BackendError> {
        Ok(self.world.lock().unwrap().chain.genesis().clone())
    }

    fn uptime_seconds(&self) -> u64 {
        86_400
    }

    fn memory(&self) -> MemoryState {
        MemoryState { resident_bytes: 100 << 20, peak_bytes: 200 << 20 }
    }

    fn mining(&self) -> MiningState {
        assert!(!self.broken.load(Ordering::Relaxed), "broken for a test");
        MiningState { threads: 1, hash_rate: 1_000 }
    }

    async fn metrics(&self) -> Result<String, CallError> {
        if self.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(format!("ashlar_tip_height {}\n# EOF\n", self.view().tip().height))
    }

    async fn health(&self) -> Health {
        if self.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let unready = vec!["it is catching up: at block 0 of 9".to_owned()];
        Health { unhealthy: Vec::new(), unready }
    }

    fn note_call(&self, method: &str, is_ok: bool, _: Duration) {
        self.calls.lock().unwrap().push((method.to_owned(), is_ok));
    }

    fn log_filter(&self) -> String {
        self.log_filter.lock().unwrap().clone()
    }

    fn set_log_filter(&self, directives: &str) -> Result<(), BackendError> {
        if directives.contains(' ') {
            let (directives, reason) = (directives.to_owned(), "a space".to_owned());
            return Err(BackendError::BadLogFilter { directives, reason });
        }
        *self.log_filter.lock().unwrap() = directives.to_owned();
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn stop(&self) {
        self.stopped.notify_one();
    }
}

/// The address of a number's key.
pub(crate) fn address(number: u64) -> String {
    Address::new(builder::PREFIX, lock(number)).unwrap().to_string()
}
