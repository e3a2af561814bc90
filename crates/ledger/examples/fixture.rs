//! Makes the data directory that tests open for as long as its schema can be read:
//! `cargo run --release -p ashlar-ledger --features rocksdb --example fixture -- DIR`, where `DIR`
//! is `tests/fixtures/schema-N`, N being the schema of this release, and must not exist.
//!
//! RocksDB writes the machine's name into its tables. `unshare --user --uts --map-root-user sh -c
//! 'hostname localhost; exec "$@"' -- COMMAND` keeps it out.
#![allow(clippy::unwrap_used, reason = "a tool for developers")]

use std::{fs, path::Path, process::ExitCode, sync::Arc};

use ashlar_ledger::{Ledger, Offered, RocksOptions, RocksStore, Settings, records::SCHEMA};
use ashlar_primitives::{Amount, BlockId};
use ashlar_testkit::builder::{
    Chain, GENESIS_TIME, Plan, genesis, genesis_text, lock, output, seal,
};

const NOW: u64 = GENESIS_TIME as u64 + 1_000_000;

/// RocksDB's notes, which no opening needs and which name places on this machine.
const NOTES: [&str; 5] = ["LOG", "OPTIONS", "LOCK", "IDENTITY", "ashlar.lock"];

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: fixture DIR");
        return ExitCode::FAILURE;
    };
    let folder = Path::new(&folder);
    fs::create_dir(folder).unwrap();
    let allocations: Vec<_> = (0..6).map(|n| (lock(1 + n % 3), 1_000_000 + n)).collect();
    fs::write(folder.join("genesis.json"), genesis_text(&allocations, &[])).unwrap();
    let mut chain = Chain::new(genesis(&allocations));
    let tip = make(&mut chain, &folder.join("ledger"));
    tidy(&folder.join("ledger"));
    let state = chain.state(&tip);
    let expected = format!(
        "schema {SCHEMA}\nheight {}\ntip {tip}\ncommitment {}\ncoins {}\n",
        state.header.height,
        state.utxo.commitment(),
        chain.coins(&tip).len(),
    );
    fs::write(folder.join("expected.txt"), &expected).unwrap();
    print!("{expected}");
    ExitCode::SUCCESS
}

/// One of everything that can be stored.
fn make(chain: &mut Chain, ledger: &Path) -> BlockId {
    // Small bodies lie in tables; one large one, of outputs without value, in a blob.
    let mut tip = extend(chain, chain.genesis_id(), 6);
    let mut large = chain.draft(&tip, Plan::default());
    large.coinbase.outputs.extend(std::iter::repeat_n(output(lock(9), 0), 120));
    tip = chain.adopt(seal(large)).unwrap().id();
    let side = extend(chain, tip, 2);
    tip = extend(chain, tip, 3);
    session(chain, ledger, &[side, tip]);
    // A heavier branch that fails, a longer one that wins, a header without a body.
    let bad = chain.spoiled(&side, Plan::default(), |block| {
        block.coinbase.outputs[0].value = Amount::MAX_MONEY;
    });
    let bad = chain.adopt_unjudged(bad).id();
    let above_bad = chain.extend_unjudged(&bad);
    session(chain, ledger, &[above_bad]);
    tip = extend(chain, side, 4);
    session(chain, ledger, &[tip]);
    tip = extend(chain, tip, 2);
    let mut last = session(chain, ledger, &[tip]);
    let header = *chain.clone().extend(&tip, Plan::default()).header();
    last.accept_header(&header, NOW).unwrap().unwrap();
    last.flush().unwrap();
    tip
}

/// Blocks with a payment each.
fn extend(chain: &mut Chain, from: BlockId, count: u64) -> BlockId {
    (0..count).fold(from, |tip, number| {
        let pay = chain.pay(&tip, 1 + number % 3, lock(2 + number % 2), 700 + number, 10);
        chain.extend(&tip, Plan { pay_to: lock(1 + number % 3), ..Plan::of(vec![pay]) }).id()
    })
}

/// Offers branches to the database, opened anew: what was in its log becomes tables.
fn session(chain: &Chain, ledger: &Path, tips: &[BlockId]) -> Ledger<RocksStore> {
    let store = Arc::new(RocksStore::open(ledger, &RocksOptions::small()).unwrap());
    let mut opened = Ledger::open(store, chain.genesis(), Settings::default()).unwrap();
    for block in tips.iter().flat_map(|tip| chain.branch(tip)) {
        let offered = opened.offer(&block.to_bytes(), NOW, &mut rand::rng()).unwrap();
        println!("{} {offered:?}", block.height());
        assert_ne!(offered, Offered::Refused { code: "malformed" });
    }
    opened
}

fn tidy(ledger: &Path) {
    for entry in fs::read_dir(ledger).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if NOTES.iter().any(|note| name.starts_with(note)) {
            fs::remove_file(path).unwrap();
        }
    }
}
