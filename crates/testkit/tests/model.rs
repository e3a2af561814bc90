//! The slow model agrees with the vectors of an independent implementation.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use ashlar_consensus::Genesis;
use ashlar_testkit::model::{Judged, Model};
use serde_json::Value;

/// `chains.json` from the first to the last step: verdicts, tips, heights, work, commitments.
#[test]
fn the_model_agrees_with_every_chain_of_the_vectors() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/chains.json");
    let file: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let mut steps = 0;
    for case in cases {
        let mut model = Model::new(&Genesis::parse(&case["genesis"].to_string()).unwrap());
        assert_eq!(model.best().to_string(), case["chain_id"], "{}", case["name"]);
        for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let block = hex::decode(step["block"].as_str().unwrap()).unwrap();
            let verdict = match model.judge(&block, step["now"].as_u64().unwrap()) {
                Ok(Judged::Accepted) => "accepted",
                Ok(Judged::Side) => "side",
                Ok(Judged::Known) => "known",
                Err(code) => code,
            };
            let at = format!("{} step {number}", case["name"]);
            assert_eq!(verdict, step["verdict"], "{at}");
            let tip = model.best();
            assert_eq!(tip.to_string(), step["tip"], "{at}");
            assert_eq!(model.entry(&tip).unwrap().link.height, step["height"], "{at}");
            assert_eq!(format!("{:064x}", model.work(&tip)), step["work"], "{at}");
            assert_eq!(model.commitment(&tip).to_string(), step["utxo_commitment"], "{at}");
            steps += 1;
        }
        let tip = model.best();
        assert_eq!(model.state(&tip).commitment_of_coins(), model.commitment(&tip));
    }
    assert!(cases.len() >= 400 && steps >= 1_800, "{} cases, {steps} steps", cases.len());
}
