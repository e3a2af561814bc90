//! Opening a store: a new one begins with the genesis block, an old one goes on where it stood.

use core::ops::{Bound, ControlFlow};
use std::{collections::VecDeque, sync::Arc};

use ashlar_consensus::{Genesis, HeaderState, State, Work};
use ashlar_primitives::{Amount, BlockId, Encode as _};

use crate::{
    ahead::Ahead,
    assumed::Assumed,
    bodies::BodyCache,
    care::{Watch, reindex},
    fuse::Fuse,
    headers::Headers,
    index,
    keys::{self, meta},
    ledger::{Ledger, OpenLedgerError, OpenWarning, Settings},
    moved::Moved,
    prune::{History, Sweep, length},
    records::{self, IndexRecord, SCHEMA, StateRecord, Totals},
    route::Route,
    step::Step,
    store::{Announced, Batch, Direction, Durability, Family, Marker, Read, Store, StoreError},
    tree::Node,
    view::View,
};

/// So many of a branch's last headers come into memory when a ledger is opened: an ordinary branch
/// as a whole. Others do when they are asked for, and a start does not wait for them.
const END_BLOCKS: u32 = 1_024;

impl<S: Store> Ledger<S> {
    /// Opens the ledger of `genesis`'s chain over a store, which may be empty. Indexes are built
    /// or dropped as the settings say, which reads the whole chain where one is new.
    ///
    /// A crash half-way through a reorganisation leaves an intermediate tip; the published view
    /// is of that tip until [`Ledger::resume`].
    pub fn open(
        store: Arc<S>,
        genesis: &Genesis,
        settings: Settings,
    ) -> Result<Self, OpenLedgerError> {
        Self::open_watched(store, genesis, settings, &mut |_| ControlFlow::Continue(()))
    }

    /// [`Ledger::open`], telling how far the build of an index is.
    ///
    /// # Errors
    /// [`OpenLedgerError::Interrupted`] where `watch` broke the build off; the next opening goes
    /// on with it.
    pub fn open_watched(
        store: Arc<S>,
        genesis: &Genesis,
        settings: Settings,
        watch: &mut Watch<'_>,
    ) -> Result<Self, OpenLedgerError> {
        reindex::leave_to_ledger(&*store)?;
        Self::open_settled(store, genesis, settings, watch)
    }

    /// [`Ledger::open_watched`], whatever a reindex is doing.
    pub(crate) fn open_settled(
        store: Arc<S>,
        genesis: &Genesis,
        settings: Settings,
        watch: &mut Watch<'_>,
    ) -> Result<Self, OpenLedgerError> {
        let store = Arc::new(Fuse::new(store));
        if store.get(Family::Meta, meta::SCHEMA)?.is_none() {
            begin(&*store, genesis)?;
        }
        check_owner(&*store, genesis)?;
        let record = store.get(Family::Meta, meta::STATE)?;
        let record = record.ok_or_else(|| StoreError::corrupt("the state record is missing"))?;
        let StateRecord { tip, utxo, totals } = StateRecord::from_value(&record)?;

        let mut headers = Headers::new(Arc::clone(&store));
        let lost = || StoreError::corrupt(format_args!("the header of the tip {tip} is missing"));
        let header = headers.node(&tip)?.ok_or_else(lost)?.state;
        let stored_at = store.get(Family::Heights, &keys::height(header.height))?;
        if stored_at.as_deref() != Some(tip.as_bytes().as_slice()) {
            return Err(lost().into());
        }
        let history = History::read(&*store)?;
        check_indexes(&*store, settings.indexes(), history.start)?;
        if index::reconcile(&*store, settings.indexes(), header.height, watch)?.is_break() {
            return Err(OpenLedgerError::Interrupted);
        }
        let floor = header.height.saturating_sub(settings.headers_in_memory);
        let work = headers.standing_work(&header)?;
        headers.load_above(&header, floor, work, END_BLOCKS)?;

        let (warning, told) = compare_marker(&*store, &mut headers, &header)?;
        if warning.is_none() && header.work >= told {
            // The published view begins here: a crash may have come between step and marker.
            store.announce(Announced { height: header.height, id: tip })?;
        }

        let params = genesis.params().clone();
        #[cfg(feature = "canaries")]
        let params = crate::canary::hasty(params);
        let params = Arc::new(params);
        let published = Arc::new(View {
            params: Arc::clone(&params),
            snapshot: store.snapshot(),
            tip: header.clone(),
            sequence: 0,
            utxo_commitment: utxo.commitment(),
            totals,
            indexes: settings.indexes(),
            history,
            prune_bytes: settings.prune_bytes,
        });
        let pruned_at = header.height;
        let mut ledger = Self {
            store,
            params,
            bodies: BodyCache::new(settings.body_cache_bytes),
            moved: Moved::new(settings.moved_body_bytes),
            assumed: settings.assume_valid.map(Assumed::new),
            settings,
            headers,
            live: State { header, utxo },
            totals,
            step: Step::default(),
            frozen: None,
            late: None,
            route: Route::default(),
            ahead: Ahead::default(),
            out: VecDeque::new(),
            published,
            news: None,
            told,
            pruned_at,
            tidied_len: 0,
            warning,
            history,
            prune_floor: 0,
            sweep: Sweep::from(pruned_at),
            freed_bytes: 0,
            refreshed: false,
            reopened: false,
            accepted: None,
            has_held: false,
            is_withheld: false,
        };
        ledger.look_ahead()?;
        Ok(ledger)
    }
}

/// Writes the genesis block into an empty store.
fn begin(store: &impl Store, genesis: &Genesis) -> Result<(), StoreError> {
    for family in [Family::Headers, Family::Blocks, Family::Coins] {
        let all = (Bound::Unbounded, Bound::Unbounded);
        if !store.scan(family, all, 1, Direction::Forward)?.is_empty() {
            return Err(StoreError::corrupt("the schema number is missing, and data is there"));
        }
    }
    store.commit(genesis_batch(genesis)?, Durability::Synced)
}

/// All that a ledger holds which knows the genesis block alone.
pub(crate) fn genesis_batch(genesis: &Genesis) -> Result<Batch, StoreError> {
    let state = genesis.state();
    let id = state.header.id;
    let node = Node {
        header: genesis.block().header,
        state: state.header.clone(),
        has_body: true,
        arrival: 1,
        failed: None,
    };
    let coins = &genesis.diff().created;
    let value = Amount::checked_sum(coins.values().map(|coin| coin.output.value));
    let over = || StoreError::corrupt("the genesis allocations are out of range");
    let record = StateRecord {
        tip: id,
        utxo: state.utxo.clone(),
        totals: Totals {
            coins: u64::try_from(coins.len()).map_err(|_| over())?,
            value: value.ok_or_else(over)?,
            claimed: Amount::ZERO,
        },
    };
    let mut batch = Batch::default();
    batch.put(Family::Headers, keys::block(&id), node.to_record().to_value());
    let body = genesis.block().to_bytes();
    History { body_bytes: length(&body), ..History::default() }.write_sizes(&mut batch);
    batch.put(Family::Blocks, keys::block(&id), body);
    batch.put(Family::Heights, keys::height(0), keys::block(&id));
    batch.put(Family::Tips, keys::block(&id), Vec::new());
    for (outpoint, coin) in coins {
        batch.put(Family::Coins, keys::coin(outpoint), coin.to_bytes());
    }
    batch.put(Family::Meta, meta::SCHEMA.to_vec(), records::schema_value(SCHEMA));
    batch.put(Family::Meta, meta::CHAIN.to_vec(), keys::block(&id));
    batch.put(Family::Meta, meta::STATE.to_vec(), record.to_value());
    batch.put(Family::Meta, meta::INDEXES.to_vec(), IndexRecord::default().to_value());
    Ok(batch)
}

/// Whether the tip that was announced last is still here, and the work that others were told of.
/// A database that lost only the step which made it the tip has its body, and goes there by
/// itself; so does one that stands half-way through a reorganisation.
fn compare_marker<S: Store>(
    store: &S,
    headers: &mut Headers<S>,
    found: &HeaderState,
) -> Result<(Option<OpenWarning>, Work), StoreError> {
    let found_height = found.height;
    Ok(match store.announced()? {
        Marker::Absent => (None, found.work),
        Marker::Damaged => (Some(OpenWarning::MarkerDamaged { found_height }), found.work),
        Marker::Tip(announced) => match headers.node(&announced.id)? {
            Some(node) if node.is_whole() => match node.failed {
                None => {
                    // Where the chain stood, it has to be able to go.
                    headers.load(&announced.id)?;
                    (None, node.state.work.max(found.work))
                }
                // The operator took it away.
                Some(_) => (None, found.work),
            },
            _ => (Some(OpenWarning::WentBack { announced, found_height }), found.work),
        },
    })
}

/// The chain that a store holds.
///
/// # Errors
/// Another release wrote it, or it is damaged.
pub fn stored_chain(store: &impl Read) -> Result<BlockId, OpenLedgerError> {
    let missing = |what| StoreError::corrupt(format_args!("{what} is missing"));
    let schema = store.get(Family::Meta, meta::SCHEMA)?;
    let found = records::read_schema(&schema.ok_or_else(|| missing("the schema number"))?)?;
    if found != SCHEMA {
        return Err(OpenLedgerError::OtherSchema { found, known: SCHEMA });
    }
    let chain = store.get(Family::Meta, meta::CHAIN)?;
    Ok(keys::read_block_id(&chain.ok_or_else(|| missing("the chain id"))?)?)
}

/// Refuses what another release or another chain wrote.
fn check_owner(store: &impl Store, genesis: &Genesis) -> Result<(), OpenLedgerError> {
    let found = stored_chain(store)?;
    let expected = genesis.params().chain_id;
    if found != expected {
        return Err(OpenLedgerError::OtherChain { found, expected });
    }
    Ok(())
}

/// An index is made from the whole chain, so it can't begin once a part of that is gone.
fn check_indexes(
    store: &impl Store,
    wanted: IndexRecord,
    history_start: u32,
) -> Result<(), OpenLedgerError> {
    let stored = index::stored(store)?;
    let needs = |index| Err(OpenLedgerError::IndexNeedsHistory { index, history_start });
    match history_start {
        0 => Ok(()),
        _ if wanted.transactions && !stored.transactions => needs("transaction"),
        _ if wanted.locks && !stored.locks => needs("address"),
        _ => Ok(()),
    }
}
