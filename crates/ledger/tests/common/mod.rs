//! What the ledger's tests share: stores of each kind, dumps, and the replay that every state is
//! compared with.
#![allow(dead_code, reason = "no test uses everything")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod world;

use std::{ops::Bound, sync::Arc};

use ashlar_consensus::CheckedBlock;
use ashlar_ledger::{
    Direction, Durability, Family, Ledger, MemoryStore, Offered, Read, Settings, Store,
    store::Entry,
};
use ashlar_primitives::{Block, BlockId, Encode as _};
use ashlar_testkit::{
    builder::{Chain, GENESIS_TIME, Plan, genesis, lock},
    recorder,
};

/// Later than every block of these tests.
pub(crate) const NOW: u64 = GENESIS_TIME as u64 + 1_000_000;

/// Families that follow from the chain up to the tip alone. (Headers, bodies, undo records and
/// tips of other branches stay.)
pub(crate) const DERIVED: [Family; 6] = [
    Family::Coins,
    Family::Heights,
    Family::Transactions,
    Family::LockCoins,
    Family::LockHistory,
    Family::Meta,
];

/// A chain whose keys 1 to 4 have many coins from the start.
pub(crate) fn rich_chain() -> Chain {
    let allocations: Vec<_> =
        (0..40).map(|number| (lock(1 + number % 4), 1_000_000 + number)).collect();
    Chain::new(genesis(&allocations))
}

/// Extends `tip` by blocks that each hold a payment between the keys 1 to 4, as `seed` says.
pub(crate) fn extend_with_payments(
    chain: &mut Chain,
    tip: &BlockId,
    count: u64,
    seed: u64,
) -> BlockId {
    (0..count).fold(*tip, |tip, number| {
        let (from, to) = (1 + (seed + number) % 4, 1 + (seed + number * 3 + 1) % 4);
        let grains = 1_000 + seed * 100 + number;
        let pay = chain.pay(&tip, from, lock(to), grains, 10);
        let plan = Plan { pay_to: lock(1 + number % 4), ..Plan::of(vec![pay]) };
        chain.extend(&tip, plan).id()
    })
}

/// [`extend_with_payments`] from genesis.
pub(crate) fn start(chain: &mut Chain, count: u64, seed: u64) -> BlockId {
    let genesis = chain.genesis_id();
    extend_with_payments(chain, &genesis, count, seed)
}

pub(crate) fn open<S: Store>(store: &Arc<S>, chain: &Chain, settings: &Settings) -> Ledger<S> {
    Ledger::open(Arc::clone(store), chain.genesis(), settings.clone()).unwrap()
}

pub(crate) fn offer<S: Store>(ledger: &mut Ledger<S>, block: &CheckedBlock) -> Offered {
    ledger.offer(&block.to_bytes(), NOW, &mut rand::rng()).unwrap()
}

pub(crate) fn offer_bytes<S: Store>(ledger: &mut Ledger<S>, block: &Block) -> Offered {
    ledger.offer(&block.to_bytes(), NOW, &mut rand::rng()).unwrap()
}

/// Offers a branch from above genesis.
pub(crate) fn offer_branch<S: Store>(ledger: &mut Ledger<S>, chain: &Chain, tip: &BlockId) {
    for block in chain.branch(tip) {
        let offered = offer(ledger, &block);
        assert!(!matches!(offered, Offered::Refused { .. }), "{offered:?}");
    }
}

/// Takes in headers and bodies of a branch without moving the tip.
pub(crate) fn store_branch<S: Store>(ledger: &mut Ledger<S>, chain: &Chain, tip: &BlockId) {
    for block in chain.branch(tip) {
        ledger.accept_header(block.header(), NOW).unwrap().unwrap();
        ledger.store_body(block).unwrap();
    }
}

pub(crate) fn settle<S: Store>(ledger: &mut Ledger<S>) {
    ledger.settle_down(&mut rand::rng()).unwrap();
}

/// Everything in a family.
pub(crate) fn dump(store: &(impl Read + ?Sized), family: Family) -> Vec<Entry> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    store.scan(family, all, usize::MAX, Direction::Forward).unwrap()
}

/// What of a family follows from the chain up to the tip alone: counters of stored bytes and
/// milestones are of other branches too.
pub(crate) fn derived(store: &(impl Read + ?Sized), family: Family) -> Vec<Entry> {
    let counters: [&[u8]; 2] = [b"body_bytes", b"undo_bytes"];
    let mut entries = dump(store, family);
    entries.retain(|(key, _)| {
        let is_others = counters.contains(&key.as_slice()) || key.starts_with(b"milestone/");
        family != Family::Meta || !is_others
    });
    entries
}

/// A store that has seen nothing but the branch to `tip`.
pub(crate) fn replay(chain: &Chain, tip: &BlockId, settings: &Settings) -> MemoryStore {
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, chain, settings);
    offer_branch(&mut ledger, chain, tip);
    assert_eq!(ledger.view().tip().id, *tip);
    ledger.flush().unwrap();
    drop(ledger);
    Arc::into_inner(store).unwrap()
}

/// The store holds exactly what a node that went straight to `tip` would.
pub(crate) fn assert_is_replay(
    store: &impl Read,
    chain: &Chain,
    tip: &BlockId,
    settings: &Settings,
) {
    let straight = replay(chain, tip, settings);
    for family in DERIVED {
        assert_eq!(derived(store, family), derived(&straight, family), "{}", family.name());
    }
    let coins: Vec<Vec<u8>> = chain.coins(tip).values().map(|coin| coin.to_bytes()).collect();
    let stored: Vec<Vec<u8>> = dump(store, Family::Coins).into_iter().map(|e| e.1).collect();
    assert_eq!(stored, coins);
}

/// What the view says is what the builder knows of its tip.
pub(crate) fn assert_view<S: Store>(ledger: &Ledger<S>, chain: &Chain, tip: &BlockId) {
    let view = ledger.view();
    assert_eq!(view.tip(), &chain.state(tip).header);
    assert_eq!(view.utxo_commitment(), chain.state(tip).utxo.commitment());
    let coins = chain.coins(tip);
    assert_eq!(view.coin_count(), coins.len() as u64);
    let sum: u64 = coins.values().map(|coin| coin.output.value.grains()).sum();
    assert_eq!(view.coin_total().grains(), sum);
    let claimed: u64 = chain
        .branch(tip)
        .iter()
        .flat_map(|block| block.coinbase().outputs.clone())
        .map(|output| output.value.grains())
        .sum();
    assert_eq!(view.claimed_total().grains(), claimed);
}

/// A store in memory, and every state that it was ever in.
pub(crate) type Recorder = recorder::Recorder<MemoryStore>;

/// The states of a recorder that began empty.
pub(crate) fn states(recorder: &Recorder) -> Vec<(MemoryStore, Durability)> {
    recorder::states(&MemoryStore::new(), &recorder.written())
}
