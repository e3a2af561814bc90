//! `genesis.json`: whatever text it is, an error or a chain that keeps PROTOCOL.md §7.

use ashlar_consensus::{
    Genesis,
    genesis_file::{GenesisError, restamp},
};
use ashlar_primitives::{Amount, Block, Decode as _, Encode as _};
use ashlar_testkit::builder::{GENESIS_TIME, genesis_text, lock};
use serde_json::{Value, json};

use crate::steer::Steer;

const FIELDS: [&str; 15] = [
    "name",
    "address_prefix",
    "time",
    "bits",
    "pow_limit_bits",
    "block_interval",
    "difficulty_half_life",
    "stall_relief_seconds",
    "max_future_seconds",
    "max_block_bytes",
    "coinbase_maturity",
    "initial_subsidy",
    "halving_interval",
    "message",
    "allocations",
];

/// Half of the inputs are text as it is, half steer changes to a good file.
pub fn genesis_file(data: &[u8]) {
    let mut steer = Steer::new(data);
    let text = if steer.flag() {
        String::from_utf8_lossy(steer.take_rest()).into_owned()
    } else {
        changed(&mut steer)
    };
    match Genesis::parse(&text) {
        Ok(genesis) => check(&genesis, &text),
        Err(error) => refused(&error),
    }
}

fn changed(steer: &mut Steer<'_>) -> String {
    let mut changes = Vec::new();
    for _ in 0..steer.below(4) {
        let field = *steer.pick(&FIELDS);
        let value = match steer.byte() % 8 {
            0 => json!(steer.edge()),
            1 => json!(steer.edge32()),
            2 => json!(format!("{:08x}", steer.edge32())),
            3 => json!(format!("{:08x}", 0x2000_0000 | (steer.u32() & 0x007f_ffff))),
            4 => json!("abcdefghijklmnopqrstuvwxyz"[..steer.below(26)]),
            5 => json!("é".repeat(steer.below(600))),
            6 => json!(steer.below(40_000)),
            _ => Value::Null,
        };
        changes.push((field, value));
    }
    let allocations: Vec<_> = (1..).zip(0..steer.below(4)).collect();
    let allocations: Vec<_> =
        allocations.into_iter().map(|(number, _)| (lock(number), steer.edge())).collect();
    let mut text = genesis_text(&allocations, &changes);
    // A slip of the pen in the text itself.
    if steer.one_in(4) {
        let place = steer.below(text.len());
        if text.is_char_boundary(place) {
            text.insert(place, char::from(steer.byte() % 128));
        }
    }
    text
}

/// The limits of §7, from the text and not by the code that judged it.
fn check(genesis: &Genesis, text: &str) {
    let value: Value = serde_json::from_str(text).expect("a genesis is JSON");
    let fields = value.as_object().unwrap();
    assert_eq!(fields.len(), FIELDS.len());
    assert!(FIELDS.iter().all(|field| fields.contains_key(*field)));
    let number = |field: &str| u128::from(value[field].as_u64().unwrap());
    let length = |field: &str| value[field].as_str().unwrap().len();
    assert!((1..=64).contains(&length("name")) && length("message") <= 1_024);
    assert!((1..=16).contains(&length("address_prefix")));
    assert!((10_000..=32_000_000).contains(&number("max_block_bytes")));
    assert!(number("halving_interval") >= 1 && number("block_interval") >= 1);
    let relief = number("stall_relief_seconds");
    let least = 2 * number("max_future_seconds") + 12 * number("block_interval");
    assert!(relief == 0 || relief >= least);
    let allocations = value["allocations"].as_array().unwrap();
    assert!(allocations.len() <= 1_024);
    let values = allocations.iter().map(|one| u128::from(one["value"].as_u64().unwrap()));
    assert!(values.clone().all(|value| value >= 1));
    let subsidies: u128 = (0..64).map(|shift| number("initial_subsidy") >> shift).sum();
    let money = values.sum::<u128>() + subsidies * number("halving_interval");
    assert!(money <= u128::from(Amount::MAX_MONEY.grains()));

    let params = genesis.params();
    assert!(params.anchor_target() <= params.limit_target());
    assert_eq!(params.chain_id, genesis.block().header.id());
    assert_eq!(genesis.diff().created.len(), allocations.len());
    let bytes = genesis.block().to_bytes();
    assert_eq!(Block::from_bytes(&bytes).as_ref(), Ok(genesis.block()));

    // The chain id commits to the time and to nothing of the layout.
    let again = Genesis::parse(&restamp(text, params.time).unwrap()).unwrap();
    assert_eq!((again.params(), again.params_bytes()), (params, genesis.params_bytes()));
    let other = if params.time == GENESIS_TIME { 1 } else { GENESIS_TIME };
    let other = Genesis::parse(&restamp(text, other).unwrap()).unwrap();
    assert_ne!(other.params().chain_id, params.chain_id);
}

/// An error has something to say, and where.
fn refused(error: &GenesisError) {
    assert!(!error.to_string().is_empty());
}
