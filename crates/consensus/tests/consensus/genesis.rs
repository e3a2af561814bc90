//! What the vectors for `genesis.json` leave open: forms of JSON, messages, `restamp`.

use ashlar_consensus::{
    Genesis,
    genesis_file::{GenesisError, restamp},
};

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
