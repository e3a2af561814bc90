//! What the vectors for `genesis.json` leave open: forms of JSON, both sides of every limit,
//! messages, `restamp`.

use ashlar_consensus::{
    Genesis,
    genesis::GenesisFault,
    genesis_file::{GenesisError, restamp},
};
use ashlar_primitives::{Address, Lock};
use ashlar_testkit::causes;
use serde_json::{Value, json};

use crate::builder::GENESIS;

const ADDRESS: &str = "vash1qasfj4ngeml78nr6zacfl26c4v5mxkknw8r6fwsyjdvg7u7aq2zcq25m8cu";

fn with_allocations(allocations: &str) -> String {
    let list = format!(r#""allocations": [{allocations}]"#);
    GENESIS.replace(r#""allocations": []"#, &list).replace(r#""rule""#, r#""vash""#)
}

#[test]
fn objects_are_written_as_objects() {
    let good = with_allocations(&format!(r#"{{"address": "{ADDRESS}", "value": 5}}"#));
    assert_eq!(Genesis::parse(&good).unwrap().diff().created.len(), 1);
    // A list of the fields' values, in their order, is no object.
    let list = with_allocations(&format!(r#"["{ADDRESS}", 5]"#));
    assert!(matches!(Genesis::parse(&list), Err(GenesisError::Json { .. })));
    let values = r#"["rules", "rule", 1, "207fffff", "207fffff", 10, 0, 0, 60, 1000000, 2, 1000,
        100, "", []]"#;
    assert!(matches!(Genesis::parse(values), Err(GenesisError::Json { .. })));
}

#[test]
fn a_mistake_is_named_with_its_place() {
    let misspelt = GENESIS.replace("block_interval", "block_intervall");
    let error = Genesis::parse(&misspelt).unwrap_err();
    let GenesisError::Json { line, problem, .. } = &error else { panic!("{error}") };
    assert_eq!(*line, 3);
    assert!(problem.contains("unknown field `block_intervall`"), "{problem}");

    let messages = [
        (r#""block_interval": 10"#, r#""block_interval": 0"#, "block_interval must be at least 1"),
        (r#""bits": "207fffff""#, r#""bits": "207FFFFF""#, "bits must be 8 lower-case hex digits"),
        (r#""bits": "207fffff""#, r#""bits": "+07fffff""#, "bits must be 8 lower-case hex digits"),
        (
            r#""initial_subsidy": 1000"#,
            r#""initial_subsidy": 9007199254740991"#,
            "allocations and all subsidies come to",
        ),
    ];
    for (right, wrong, message) in messages {
        let error = Genesis::parse(&GENESIS.replacen(right, wrong, 1)).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    let foreign = with_allocations(r#"{"address": "rule1qqqq", "value": 5}"#);
    let error = Genesis::parse(&foreign).unwrap_err();
    assert!(matches!(error, GenesisError::AllocationAddress { index: 0, .. }), "{error}");
}

#[test]
fn restamping_changes_the_time_and_so_the_chain() {
    let original = Genesis::parse(GENESIS).unwrap();
    let text = restamp(GENESIS, 1_800_000_000).unwrap();
    let restamped = Genesis::parse(&text).unwrap();
    assert_ne!(restamped.params().chain_id, original.params().chain_id);
    assert_eq!(restamped.params().time, 1_800_000_000);
    let again = Genesis::parse(&restamp(&text, original.params().time).unwrap()).unwrap();
    assert_eq!(again.params(), original.params());
    assert_eq!(again.params_bytes(), original.params_bytes());
    assert!(restamp("{}", 0).is_err());
}

/// A field, its last good value and the first that is none, and what is said of that.
type Limit = (&'static str, Value, Value, &'static str);

#[test]
fn limits_are_met_exactly() {
    const MAX_MONEY: u64 = (1 << 53) - 1;
    let text = |length: usize| Value::from("x".repeat(length));
    let allocations = |count: usize, value: u64| {
        let one = json!({"address": rule_address(), "value": value});
        Value::from(vec![one; count])
    };
    let bits = "the shortest form of a target";
    let relief = "0, or at least 2 max_future_seconds and 12 block_intervals";
    let limits: Vec<Limit> = vec![
        ("address_prefix", text(1), text(0), "1 to 16 lower-case letters"),
        ("address_prefix", text(16), text(17), "1 to 16 lower-case letters"),
        ("address_prefix", "az".into(), "a1".into(), "1 to 16 lower-case letters"),
        ("name", text(1), text(0), "1 to 64 bytes of UTF-8"),
        ("name", text(64), text(65), "1 to 64 bytes of UTF-8"),
        // Bytes are counted, not characters.
        ("name", "ä".repeat(32).into(), "ä".repeat(33).into(), "1 to 64 bytes of UTF-8"),
        ("message", text(1_024), text(1_025), "at most 1024 bytes of UTF-8"),
        ("bits", "01010000".into(), "01000000".into(), bits),
        ("bits", "207fffff".into(), "21007fff".into(), bits),
        ("pow_limit_bits", "2100ffff".into(), "21010000".into(), bits),
        ("pow_limit_bits", "207fffff".into(), "20ffffff".into(), bits),
        ("bits", "207fffff".into(), "2100ffff".into(), "a target at most that of pow_limit_bits"),
        ("block_interval", 1.into(), 0.into(), "at least 1"),
        ("max_block_bytes", 10_000.into(), 9_999.into(), "10000 to 32000000"),
        ("max_block_bytes", 32_000_000.into(), 32_000_001.into(), "10000 to 32000000"),
        ("halving_interval", 1.into(), 0.into(), "at least 1"),
        // 2 · 60 + 12 · 10
        ("stall_relief_seconds", 240.into(), 239.into(), relief),
        ("stall_relief_seconds", 0.into(), 1.into(), relief),
        ("allocations", allocations(1_024, 1), allocations(1_025, 1), "at most 1024"),
        ("value", allocations(1, 1), allocations(1, 0), "at least 1 in every allocation"),
    ];
    let with = |field: &str, value: &Value| {
        let mut text: Value = serde_json::from_str(GENESIS).unwrap();
        text[if field == "value" { "allocations" } else { field }] = value.clone();
        Genesis::parse(&text.to_string()).map(drop)
    };
    for (field, at, beyond, expected) in limits {
        assert_eq!(with(field, &at), Ok(()), "{field}");
        let fault = GenesisFault::Field { field, expected };
        assert_eq!(with(field, &beyond), Err(fault.into()), "{field}");
    }

    // 100 blocks each of 1,000, 500, 250, 125, 62, 31, 15, 7, 3 and 1 grains.
    const SUBSIDIES: u64 = 199_400;
    let at = allocations(1, MAX_MONEY - SUBSIDIES);
    assert_eq!(with("allocations", &at), Ok(()));
    let beyond = allocations(1, MAX_MONEY - SUBSIDIES + 1);
    let total = u128::from(MAX_MONEY) + 1;
    let fault = GenesisFault::TooMuchMoney { total };
    assert_eq!(with("allocations", &beyond), Err(fault.into()));
    // Nor do sums beyond 64 bits come round again.
    let fault =
        GenesisFault::TooMuchMoney { total: 2 * u128::from(u64::MAX) + u128::from(SUBSIDIES) };
    assert_eq!(with("allocations", &allocations(2, u64::MAX)), Err(fault.into()));
}

fn rule_address() -> String {
    Address::new("rule", Lock { version: 1, program: [7; 32] }).unwrap().to_string()
}

causes! {
    /// Every cause for which a text is no genesis.
    CAUSES, cause_of(GenesisError);
    GenesisError::Json { .. } => "json",
    GenesisError::BitsForm { .. } => "form of bits",
    GenesisError::AllocationAddress { .. } => "address",
    GenesisError::Fault(GenesisFault::Field { .. }) => "field",
    GenesisError::Fault(GenesisFault::TooMuchMoney { .. }) => "money",
}

#[test]
fn every_cause_has_its_row() {
    assert_eq!(Genesis::parse(GENESIS).map(drop), Ok(()));
    let rows = [
        (r#""time": 1700000000"#, r#""time": -0"#),
        (r#""bits": "207fffff""#, r#""bits": "207FFFFF""#),
        (r#""allocations": []"#, r#""allocations": [{"address": "rule1", "value": 1}]"#),
        (r#""block_interval": 10"#, r#""block_interval": 0"#),
        (r#""initial_subsidy": 1000"#, r#""initial_subsidy": 9007199254740991"#),
    ];
    let cause = |(right, wrong): (&str, &str)| {
        assert!(GENESIS.contains(right), "{right}");
        cause_of(&Genesis::parse(&GENESIS.replacen(right, wrong, 1)).unwrap_err())
    };
    assert_eq!(rows.map(cause), CAUSES);
}
