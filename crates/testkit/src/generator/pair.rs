//! The model and a ledger side by side: each is told the same, and whatever can be asked of both
//! must be answered the same.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::{
    Genesis, OpenError, SignatureCheck, Work, judge_transaction, open_body, open_transaction,
    verify_transactions,
};
use ashlar_ledger::{
    BodyStored, Ledger, Offered, Settings, Store, StoreError, View,
    view::{HistoryEntry, LocatedCoin, Page, QueryError},
};
use ashlar_primitives::{
    BlockId, Coin, Decode as _, Encode as _, Header, Lock, OutPoint, Output, Transaction, Txid,
};
use imbl::OrdMap;
use num_bigint::BigUint;
use rand::RngExt as _;

use super::{Random, tally::Tally};
use crate::model::{Code, Judged, Model, block_id, state};

/// More entries than any list of a generated chain has.
const ALL: usize = 1 << 20;
/// From this many headers in memory on a ledger knows the whole of a generated chain.
pub const AMPLE_HEADERS: u32 = 10_000;

/// Where the two differ, for people.
pub type Difference = String;

/// Opens the ledger's store: the same one each time.
pub type Open<'a, S> = dyn FnMut() -> Result<Arc<S>, StoreError> + 'a;

fn same<T: PartialEq + std::fmt::Debug>(
    what: impl std::fmt::Display,
    ledger: T,
    model: T,
) -> Result<(), Difference> {
    if ledger == model {
        return Ok(());
    }
    Err(format!("{what}: the ledger says {ledger:?}, the model {model:?}"))
}

fn broken(error: impl std::fmt::Display) -> Difference {
    format!("the ledger is broken: {error}")
}

/// What a transaction or coinbase did to locks: received and spent, in grains.
type Movements = BTreeMap<Lock, (u64, u64)>;

/// Both.
pub struct Pair<'a, S: Store> {
    /// The second opinion.
    pub model: Model,
    /// What was reached so far.
    pub tally: Tally,
    genesis: Genesis,
    open: &'a mut Open<'a, S>,
    /// `None` only while it is started again.
    ledger: Option<Ledger<S>>,
    /// Whether it never had fewer headers in memory than there are.
    knows_all: bool,
    /// The published tip that readers know.
    told: BlockId,
    random: Random,
}

impl<S: Store> std::fmt::Debug for Pair<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pair({:?})", self.ledger)
    }
}

impl<'a, S: Store> Pair<'a, S> {
    /// Both with the genesis block alone.
    pub fn new(
        genesis: Genesis,
        settings: Settings,
        open: &'a mut Open<'a, S>,
        random: Random,
    ) -> Result<Self, Difference> {
        let model = Model::new(&genesis);
        let mut pair = Self {
            told: model.best(),
            model,
            tally: Tally::default(),
            genesis,
            open,
            ledger: None,
            knows_all: true,
            random,
        };
        pair.start(settings)?;
        Ok(pair)
    }

    fn start(&mut self, settings: Settings) -> Result<(), Difference> {
        self.knows_all &= settings.headers_in_memory >= AMPLE_HEADERS;
        let store = (self.open)().map_err(broken)?;
        let mut ledger = Ledger::open(store, &self.genesis, settings).map_err(broken)?;
        ledger.settle_down(&mut self.random).map_err(broken)?;
        self.ledger = Some(ledger);
        self.compare()
    }

    /// Stops the ledger and starts it with other settings.
    pub fn restart(&mut self, settings: Settings) -> Result<(), Difference> {
        self.ledger().flush().map_err(broken)?;
        self.ledger = None;
        self.tally.restarts += 1;
        self.start(settings)
    }

    fn ledger(&mut self) -> &mut Ledger<S> {
        self.ledger.as_mut().expect("there but during a restart")
    }

    fn view(&self) -> Arc<View> {
        self.ledger.as_ref().expect("there but during a restart").view()
    }

    // --- both are told

    /// Whether the ledger has been told of every failure that this header is under. With few headers
    /// in memory it may learn of an ancestor's only when it next looks there, and may be wrong about
    /// descendants until then; what both say of those is not compared.
    fn is_told(&mut self, header: &Header) -> Result<bool, Difference> {
        for id in [block_id(header), header.parent] {
            let failed = self.model.entry(&id).and_then(|entry| entry.failed);
            if !self.knows_all && self.ledger().failed_code(&id).map_err(broken)? != failed {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A whole block by the straight road. Returns the code with which both refused it.
    pub fn offer(&mut self, bytes: &[u8], now: u64) -> Result<Option<Code>, Difference> {
        if let Some(Ok(header)) = bytes.get(..80).map(Header::from_bytes)
            && !self.is_told(&header)?
        {
            return Ok(Some("invalid-parent"));
        }
        let Self { ledger, random, .. } = self;
        let ledger = ledger.as_mut().expect("there but during a restart");
        let verdict = match ledger.offer(bytes, now, random).map_err(broken)? {
            Offered::Accepted => Ok(Judged::Accepted),
            Offered::Side => Ok(Judged::Side),
            Offered::Known => Ok(Judged::Known),
            Offered::Refused { code } => Err(code),
        };
        self.tally.verdict(match verdict {
            Ok(Judged::Accepted) => "accepted",
            Ok(Judged::Side) => "side",
            Ok(Judged::Known) => "known",
            Err(code) => code,
        });
        same("verdict", verdict, self.model.judge(bytes, now))?;
        self.compare()?;
        Ok(verdict.err())
    }

    /// A header on its own. Whether it was taken.
    pub fn header(&mut self, header: &Header, now: u64) -> Result<bool, Difference> {
        if !self.is_told(header)? {
            return Ok(false);
        }
        let taken = self.ledger().accept_header(header, now).map_err(broken)?;
        let taken = taken.map(|_| ()).map_err(|refusal| refusal.code());
        self.tally.verdict(taken.err().unwrap_or("header"));
        same("header", taken, self.model.take_header(header, now))?;
        Ok(taken.is_ok())
    }

    /// A block as a node takes it from peers: its header, then its body. Nothing moves before
    /// [`Pair::settle`].
    pub fn parts(&mut self, bytes: &[u8], now: u64) -> Result<(), Difference> {
        let header = Header::from_bytes(&bytes[..80]).expect("80 bytes are a header");
        if !self.header(&header, now)? {
            return Ok(());
        }
        let stored = self.body(&header, bytes)?;
        self.tally.verdict(stored.map_or_else(|code| code, |_| "body"));
        let taken = self.model.take_block(bytes, now).map(|taken| taken.was_known);
        same("body", stored, taken)
    }

    /// Whether the ledger had the body before.
    fn body(&mut self, header: &Header, bytes: &[u8]) -> Result<Result<bool, Code>, Difference> {
        let ledger = self.ledger();
        let id = block_id(header);
        if ledger.has_body(&id).map_err(broken)? {
            return Ok(Ok(true));
        }
        let params = Arc::clone(ledger.params());
        let height = ledger.header_state(&id).map_err(broken)?.expect("just taken").height;
        match open_body(&params, header, height, bytes) {
            Err(OpenError::Body(error)) => Ok(Err(error.code())),
            Err(OpenError::Block(error)) => {
                ledger.mark_invalid(&id, &error).map_err(broken)?;
                Ok(Err(error.code()))
            }
            Ok(block) => match ledger.store_body(Arc::new(block)).map_err(broken)? {
                BodyStored::New => Ok(Ok(false)),
                BodyStored::Known => Ok(Ok(true)),
                BodyStored::Unwanted => Err("a body under a good header is unwanted".into()),
            },
        }
    }

    /// Both move to their best chain.
    pub fn settle(&mut self) -> Result<(), Difference> {
        let Self { ledger, random, .. } = self;
        let ledger = ledger.as_mut().expect("there but during a restart");
        ledger.settle_down(random).map_err(broken)?;
        self.model.settle();
        self.compare()
    }

    /// The operator takes a block away.
    pub fn invalidate(&mut self, id: &BlockId) -> Result<(), Difference> {
        self.tally.operator += 1;
        self.ledger().invalidate(id).map_err(broken)?;
        self.model.invalidate(id);
        self.settle()
    }

    /// The operator gives a block back.
    pub fn reconsider(&mut self, id: &BlockId) -> Result<(), Difference> {
        self.tally.operator += 1;
        self.ledger().reconsider(id).map_err(broken)?;
        self.model.reconsider(id);
        self.settle()
    }

    /// A transaction on its own, judged as in the next block out of these coins.
    pub fn transaction(
        &mut self,
        bytes: &[u8],
        coins: &OrdMap<OutPoint, Coin>,
    ) -> Result<(), Difference> {
        let params = Arc::clone(self.ledger().params());
        let height = self.view().tip().height + 1;
        let by_node = || {
            let opened = open_transaction(bytes)?;
            let inputs = &opened.transaction().inputs;
            let spent: Vec<_> =
                inputs.iter().map(|outpoint| coins.get(outpoint).copied()).collect();
            let judged = judge_transaction(&params, height, &opened, &spent)?;
            Ok((u128::from(judged.fee.grains()), opened.wtxid(), judged.checks))
        };
        let by_node = by_node().map_err(|error: ashlar_consensus::TxError| error.code());
        let by_node = by_node.and_then(|(fee, wtxid, checks): (_, _, Vec<SignatureCheck>)| {
            match &verify_transactions(&[(wtxid, checks)], &mut self.random)[..] {
                [Ok(_)] => Ok(fee),
                _ => Err("tx-bad-signature"),
            }
        });
        self.tally.verdict(by_node.err().unwrap_or("transaction"));
        let by_model = state::judge_transaction(&params, height, bytes, coins);
        same("transaction", by_node, by_model)
    }

    // --- both are asked

    /// Everything that a settled ledger says of its tip, and what it remembers as failed.
    fn compare(&mut self) -> Result<(), Difference> {
        self.tally.comparisons += 1;
        let (view, best) = (self.view(), self.model.best());
        let tip = view.tip();
        same("tip", tip.id, best)?;
        let link = &self.model.entry(&best).expect("the tip").link;
        same("height", tip.height, link.height)?;
        same("work", work(&tip.work), link.work.clone())?;
        same("clock and lag", (tip.clock, tip.lag), (link.clock, link.lag))?;
        self.compare_way(&best)?;

        let coins = self.model.coins(&best);
        same("commitment", view.utxo_commitment(), self.model.commitment(&best))?;
        same("number of coins", view.coin_count(), coins.len() as u64)?;
        same("supply", view.coin_total().grains().into(), self.model.supply(&best))?;
        same("claimed", view.claimed_total().grains().into(), self.model.claimed(&best))?;
        let outpoints: Vec<OutPoint> = coins.keys().copied().collect();
        let found = view.coins(&outpoints).map_err(broken)?;
        for ((outpoint, coin), found) in coins.iter().zip(found) {
            same(format_args!("coin {outpoint:?}"), found, Some(*coin))?;
        }
        self.compare_tree()
    }

    /// What was published leads from the tip that was known to the new one, and nowhere else.
    fn compare_way(&mut self, best: &BlockId) -> Result<(), Difference> {
        let (mut left, mut joined) = (Vec::new(), Vec::new());
        if let Some(published) = self.ledger().take_published() {
            left = published.disconnected.iter().map(|moved| moved.id).collect();
            joined = published.connected.iter().map(|moved| moved.id).collect();
        }
        let below = |tip: &BlockId, other: &BlockId| -> Vec<BlockId> {
            let others: Vec<BlockId> = self.model.path_down(other).map(|(id, _)| id).collect();
            let mine = self.model.path_down(tip).map(|(id, _)| id);
            mine.take_while(|id| !others.contains(id)).collect()
        };
        let mut up = below(best, &self.told);
        up.reverse();
        same("blocks left", &left, &below(&self.told, best))?;
        same("blocks joined", &joined, &up)?;
        if left.len() > 1 {
            self.tally.reorganisations += 1;
            self.tally.deepest = self.tally.deepest.max(u32::try_from(left.len()).unwrap_or(0));
        }
        self.told = *best;
        Ok(())
    }

    /// What failed, with which code, and where synchronisation wants to go.
    fn compare_tree(&mut self) -> Result<(), Difference> {
        let ledger = self.ledger.as_ref().expect("there but during a restart");
        let mut heaviest = BigUint::ZERO;
        for (id, entry) in self.model.entries() {
            let failed = ledger.failed_code(id).map_err(broken)?;
            if self.knows_all || failed.is_some() {
                same(format_args!("failure of {id}"), failed, entry.failed)?;
            }
            if entry.failed.is_none() {
                heaviest = heaviest.max(entry.link.work.clone());
            }
            if self.knows_all {
                let has_body = ledger.has_body(id).map_err(broken)?;
                same(format_args!("body of {id}"), has_body, entry.body.is_some())?;
            }
        }
        if self.knows_all {
            same("work of the best header", work(&ledger.best_header().work), heaviest.clone())?;
        }
        let wanted = ledger.wanted_bodies(ALL).map_err(broken)?;
        for (_, id) in &wanted {
            let entry = self.model.entry(id).expect("a header that was taken");
            same(format_args!("{id} is wanted"), true, entry.body.is_none())?;
        }
        let is_behind = heaviest > *self.model.work(&self.model.best());
        same(
            "a body is wanted",
            !wanted.is_empty() || !self.knows_all,
            is_behind || !self.knows_all,
        )
    }

    /// A few questions to the indexes, drawn.
    pub fn ask(&mut self, locks: &[Lock]) -> Result<(), Difference> {
        let lock = locks[self.random.random_range(0..locks.len())];
        self.ask_lock(&lock)?;
        let height = self.random.random_range(0..=self.view().tip().height + 1);
        self.ask_height(height)
    }

    /// Every question there is, and the commitment made again from the coins alone.
    pub fn ask_everything(&mut self, locks: &[Lock]) -> Result<(), Difference> {
        let best = self.model.best();
        let again = self.model.state(&best).commitment_of_coins();
        same("commitment of the coins", self.view().utxo_commitment(), again)?;
        for lock in locks {
            self.ask_lock(lock)?;
        }
        for height in 0..=self.view().tip().height + 1 {
            self.ask_height(height)?;
        }
        // What stands on no branch but others is nowhere.
        let placed: Vec<Txid> =
            self.model.best_chain().iter().flat_map(|(_, entry)| txids(entry)).collect();
        let view = self.view();
        for (_, entry) in self.model.entries() {
            for txid in txids(entry).into_iter().filter(|txid| !placed.contains(txid)) {
                if view.transaction_index() {
                    let place = view.transaction_place(&txid).map_err(broken)?;
                    same(format_args!("place of {txid}"), place, None)?;
                }
            }
        }
        Ok(())
    }

    fn ask_height(&self, height: u32) -> Result<(), Difference> {
        let (view, chain) = (self.view(), self.model.best_chain());
        let id = view.block_id_at(height).map_err(broken)?;
        let expected = chain.get(usize::try_from(height).expect("32 bits"));
        same(format_args!("block at {height}"), id, expected.map(|(id, _)| *id))?;
        let Some((id, entry)) = expected else { return Ok(()) };
        let bytes = view.block_bytes(id).map_err(broken)?;
        same(
            format_args!("bytes of {id}"),
            bytes,
            entry.body.as_ref().map(|body| body.to_bytes()),
        )?;
        for (position, txid) in (0..).zip(txids(entry)) {
            let place = view.transaction_place(&txid);
            match (view.transaction_index(), place) {
                (false, Err(QueryError::IndexOff { .. })) => {}
                (true, Ok(place)) => {
                    same(format_args!("place of {txid}"), place, Some((height, position)))?;
                }
                (is_on, place) => return Err(format!("index on: {is_on}, answer: {place:?}")),
            }
        }
        Ok(())
    }

    fn ask_lock(&self, lock: &Lock) -> Result<(), Difference> {
        let view = self.view();
        if !view.lock_index() {
            return match view.lock_coins(lock, None, 1) {
                Err(QueryError::IndexOff { .. }) => Ok(()),
                answer => Err(format!("the lock index is off, but answers {answer:?}")),
            };
        }
        let coins = self.model.coins(&self.model.best()).iter();
        let coins = coins.filter(|(_, coin)| coin.output.lock == *lock);
        let coins: Vec<_> = coins
            .map(|(outpoint, coin)| LocatedCoin { outpoint: *outpoint, coin: *coin })
            .collect();
        let Page { items, .. } = view.lock_coins(lock, None, ALL).map_err(broken)?;
        same(format_args!("coins of {lock:?}"), items, coins)?;
        let Page { items, .. } = view.lock_history(lock, None, ALL).map_err(broken)?;
        same(format_args!("history of {lock:?}"), items, self.history(lock))
    }

    /// What happened to a lock, newest first.
    fn history(&self, lock: &Lock) -> Vec<HistoryEntry> {
        let mut outputs: BTreeMap<OutPoint, Output> = BTreeMap::new();
        let mut history = Vec::new();
        for (_, entry) in self.model.best_chain() {
            let block = entry.body.as_ref().expect("the best chain is whole");
            let mut placed = vec![(&[][..], &block.coinbase.outputs)];
            placed.extend(block.transactions.iter().map(|made| (&made.inputs[..], &made.outputs)));
            for ((position, (spends, makes)), txid) in (0..).zip(placed).zip(txids(entry)) {
                let mut moved = Movements::new();
                for outpoint in spends {
                    let Output { value, lock } = outputs[outpoint];
                    moved.entry(lock).or_default().1 += value.grains();
                }
                for (index, output) in (0..).zip(makes) {
                    outputs.insert(OutPoint { txid, index }, *output);
                    if output.value.grains() > 0 {
                        moved.entry(output.lock).or_default().0 += output.value.grains();
                    }
                }
                history.extend(moved.get(lock).map(|(received, spent)| HistoryEntry {
                    height: entry.link.height,
                    position,
                    txid,
                    received: ashlar_primitives::Amount::from_grains(*received),
                    spent: ashlar_primitives::Amount::from_grains(*spent),
                    is_coinbase: position == 0,
                }));
            }
        }
        history.reverse();
        history
    }
}

fn work(work: &Work) -> BigUint {
    BigUint::from_bytes_be(&work.to_be_bytes())
}

/// The coinbase's and the transactions', in order.
fn txids(entry: &crate::model::Entry) -> Vec<Txid> {
    let Some(block) = &entry.body else { return Vec::new() };
    let coinbase = std::iter::once(Txid(block.coinbase.id().0));
    coinbase.chain(block.transactions.iter().map(Transaction::txid)).collect()
}
