//! The ledger's own records, and a store that gives back other bytes than were written.

use std::{cell::OnceCell, ops::Bound, sync::Arc};

use ashlar_consensus::CheckedBlock;
use ashlar_ledger::{
    Batch, Direction, Durability, Family, Ledger, MemoryStore, OpenLedgerError, Read, Settings,
    Store, StoreError, Stored,
    chain_file::{ChainFileError, Reader, Writer},
    view::QueryError,
};
use ashlar_primitives::{BlockId, Header};
use ashlar_testkit::builder::{Chain, GENESIS_TIME, Plan, genesis, lock};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::steer::Steer;

/// Of the chain whose files are read here.
const MAX_BLOCK_BYTES: usize = 400;
/// Late enough for every block of the scene.
const NOW_SECONDS: u64 = GENESIS_TIME as u64 + 100_000;

/// Bytes are refused, or are exactly what the ledger would have written. The first byte says
/// which kind.
pub fn record(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let kind = Stored::ALL[usize::from(*kind) % Stored::ALL.len()];
    match kind.rewrite(bytes) {
        Ok(again) => assert_eq!(again, bytes, "two forms of one {kind:?}"),
        Err(StoreError::Corrupt { what }) => assert!(!what.is_empty()),
        Err(other) => panic!("damage is told as {other}"),
    }
}

/// A file as it is, or a good one steered from blocks of any content and then damaged: read back
/// whole, or refused; never more in memory than what is there.
pub fn chain_file(data: &[u8]) {
    let chain_id = BlockId([7; 32]);
    let mut steer = Steer::new(data);
    if steer.flag() {
        if let Ok(blocks) = read_chain_file(steer.take_rest(), &chain_id) {
            assert!(blocks.iter().all(|block| block.len() <= MAX_BLOCK_BYTES));
        }
        return;
    }
    let mut blocks = Vec::new();
    for _ in 0..steer.below(6) {
        let length = Header::LEN + steer.below(MAX_BLOCK_BYTES - Header::LEN + 1);
        blocks.push(vec![steer.byte(); length]);
    }
    let mut writer = Writer::new(Vec::new(), &chain_id).unwrap();
    for block in &blocks {
        writer.push(block).unwrap();
    }
    let whole = writer.finish().unwrap();
    assert_eq!(read_chain_file(&whole, &chain_id).unwrap(), blocks);
    let mut damaged = whole.clone();
    for _ in 0..=steer.below(3) {
        let place = steer.below(damaged.len());
        match steer.byte() % 4 {
            0 => damaged.truncate(place),
            1 => damaged.insert(place, steer.byte()),
            _ => damaged[place] ^= 1 << steer.below(8),
        }
        if damaged.is_empty() {
            break;
        }
    }
    assert_eq!(read_chain_file(&damaged, &chain_id).is_ok(), damaged == whole);
}

fn read_chain_file(bytes: &[u8], chain_id: &BlockId) -> Result<Vec<Vec<u8>>, ChainFileError> {
    let max = u32::try_from(MAX_BLOCK_BYTES).unwrap();
    let mut reader = Reader::new(bytes, chain_id, max)?;
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        blocks.push(block);
    }
    // The sum itself lies behind all that it sums.
    assert_eq!(reader.place().bytes() + 32, u64::try_from(bytes.len()).unwrap());
    assert!(reader.next_block()?.is_none());
    Ok(blocks)
}

/// A chain with payments and a shorter branch, and the stores of a node that is nearly at its end.
struct Scene {
    chain: Chain,
    store: MemoryStore,
    rest: Vec<Arc<CheckedBlock>>,
}

impl Scene {
    fn new() -> Self {
        let mut chain = Chain::new(genesis(&[(lock(1), 1_000_000), (lock(2), 500)]));
        let mut tip = chain.genesis_id();
        let mut fork = tip;
        for number in 0..8_u64 {
            let payment = chain.pay(&tip, 1, lock(number % 3 + 1), 10 + number, 1);
            tip = chain.extend(&tip, Plan::of(vec![payment])).id();
            if number == 4 {
                fork = tip;
            }
        }
        let side = chain.extend_by(&fork, 4);
        let heavier = chain.extend_by(&side, 4);
        let store = Arc::new(MemoryStore::new());
        let settings = Settings { transaction_index: true, lock_index: true, ..<_>::default() };
        let mut ledger = Ledger::open(Arc::clone(&store), chain.genesis(), settings).unwrap();
        for block in chain.branch(&tip).iter().chain(&chain.branch(&side)) {
            offer(&mut ledger, block).unwrap();
        }
        ledger.flush().unwrap();
        assert_eq!(ledger.view().tip().id, side);
        drop(ledger);
        let rest = chain.branch(&heavier);
        Self { chain, store: Arc::into_inner(store).unwrap(), rest }
    }
}

fn offer<S: Store>(ledger: &mut Ledger<S>, block: &CheckedBlock) -> Result<(), StoreError> {
    ledger.offer(&block.to_bytes(), NOW_SECONDS, &mut StdRng::seed_from_u64(0)).map(drop)
}

thread_local! {
    static SCENE: OnceCell<Scene> = const { OnceCell::new() };
}

fn damage(steer: &mut Steer<'_>, store: &MemoryStore) {
    let family = *steer.pick(&Family::ALL);
    let all = (Bound::Unbounded, Bound::Unbounded);
    let entries = store.scan(family, all, usize::MAX, Direction::Forward).unwrap();
    if entries.is_empty() {
        return;
    }
    let (key, mut value) = steer.pick(&entries).clone();
    let mut batch = Batch::default();
    match steer.byte() % 6 {
        0 => batch.delete(family, key),
        1 => {
            value.truncate(steer.below(value.len() + 1));
            batch.put(family, key, value);
        }
        2 => batch.put(family, key, steer.pick(&entries).1.clone()),
        3 => {
            let mut key = key;
            let place = steer.below(key.len());
            key[place] ^= 1 << steer.below(8);
            batch.put(family, key, value);
        }
        _ => {
            if !value.is_empty() {
                let place = steer.below(value.len());
                value[place] ^= 1 << steer.below(8);
            }
            batch.put(family, key, value);
        }
    }
    store.commit(batch, Durability::Synced).unwrap();
}

/// Whatever becomes of stored bytes, a ledger opens, answers and goes on, or says what is damaged:
/// it never panics.
pub fn damaged_store(data: &[u8]) {
    SCENE.with(|scene| {
        let scene = scene.get_or_init(Scene::new);
        let mut steer = Steer::new(data);
        let store = Arc::new(scene.store.clone());
        let settings = match steer.byte() % 2 {
            0 => Settings { transaction_index: true, lock_index: true, ..<_>::default() },
            _ => Settings::default(),
        };
        for _ in 0..=steer.below(3) {
            damage(&mut steer, &store);
        }
        match go_on(scene, &store, settings) {
            Ok(()) | Err(OpenLedgerError::Store(StoreError::Corrupt { .. })) => {}
            // These are what the damage may say by itself.
            Err(OpenLedgerError::OtherChain { .. } | OpenLedgerError::OtherSchema { .. }) => {}
            Err(error) => panic!("damage is told as {error}"),
        }
    });
}

fn go_on(
    scene: &Scene,
    store: &Arc<MemoryStore>,
    settings: Settings,
) -> Result<(), OpenLedgerError> {
    let mut ledger = Ledger::open(Arc::clone(store), scene.chain.genesis(), settings)?;
    read(&ledger, scene)?;
    for block in &scene.rest {
        offer(&mut ledger, block)?;
    }
    read(&ledger, scene)?;
    ledger.flush()?;
    Ok(())
}

fn read<S: Store>(ledger: &Ledger<S>, scene: &Scene) -> Result<(), StoreError> {
    let view = ledger.view();
    view.state()?;
    view.chain_tips()?;
    for height in 0..=view.tip().height.min(100) {
        let id: Option<BlockId> = view.block_id_at(height)?;
        if let Some(id) = id {
            view.block(&id)?;
            view.header_state(&id)?;
            view.is_active(&id)?;
        }
    }
    let genesis = scene.chain.genesis_id();
    for outpoint in scene.chain.coins(&genesis).keys() {
        view.coin(outpoint)?;
    }
    for number in 0..4 {
        told(view.lock_coins(&lock(number), None, 8))?;
        told(view.lock_history(&lock(number), None, 8))?;
    }
    for block in &scene.rest {
        told(view.transaction_place(&block.coinbase_id().into()))?;
    }
    Ok(())
}

fn told<T>(answer: Result<T, QueryError>) -> Result<(), StoreError> {
    match answer {
        Ok(_) | Err(QueryError::IndexOff { .. }) => Ok(()),
        Err(QueryError::Store(error)) => Err(error),
    }
}
