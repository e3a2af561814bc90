//! The first corpus: what the vectors hold for decoders, and for targets that bytes steer a few
//! strings of choices from a seed. What coverage finds is kept beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::{MAX_LEN, Target, driver::corpus_directory};

/// Seeds of one target at most, and what they may weigh together.
const MAX_SEEDS: usize = 40;
const MAX_BYTES: usize = 12_000;

/// Of choices from a seed, in bytes.
const LENGTHS: [usize; 8] = [8, 24, 48, 96, 128, 160, 224, 256];

fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(file);
    let vectors: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    vectors["cases"].as_array().unwrap().clone()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = (0..text.len() / 2).map(|place| &text[2 * place..2 * place + 2]);
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

/// Encodings of the vectors, each behind the byte that selects its decoder.
fn encodings(file: &str, field: &str, kinds: &[(&str, u8)], skip: usize) -> Vec<Vec<u8>> {
    let bytes = |case: &Value| {
        let kind = kinds.iter().find(|(name, _)| case["type"].as_str() == Some(name))?;
        let bytes = unhex(case[field].as_str()?);
        let mut seed = vec![kind.1];
        seed.extend_from_slice(bytes.get(skip..)?);
        Some(seed)
    };
    cases(file).iter().filter_map(bytes).collect()
}

fn texts(file: &str, field: &str) -> Vec<Vec<u8>> {
    let text = |case: &Value| Some([&[0], case[field].as_str()?.as_bytes()].concat());
    cases(file).iter().filter_map(text).collect()
}

fn of_vectors(name: &str) -> Vec<Vec<u8>> {
    match name {
        "decode_value" => {
            let kinds = [
                ("transaction", 0),
                ("block", 1),
                ("coinbase", 3),
                ("header", 4),
                ("policy", 5),
                ("witness", 6),
                ("output", 7),
                ("coin", 9),
            ];
            encodings("encoding.json", "hex", &kinds, 0)
        }
        "decode_message" => {
            let requests = encodings("wire.json", "hex", &[("request", 9)], 0);
            let gossip =
                [("block gossip", 6), ("compact_block", 6), ("tx gossip", 7), ("batch", 7)];
            let gossip = encodings("wire.json", "hex", &gossip, 0);
            // An answer's kind is its own tag, behind the length.
            let answers = encodings("wire.json", "hex", &[("answer", 0)], 4);
            let answers = answers.into_iter().map(|mut seed| {
                seed[0] = seed.get(1).copied().unwrap_or(0);
                seed
            });
            let all = requests.into_iter().chain(gossip).chain(answers);
            // The second byte chooses the chain's largest block.
            all.map(|mut seed| {
                seed.insert(1, 1);
                seed
            })
            .collect()
        }
        "address" => texts("address.json", "address"),
        "genesis_file" => texts("genesis.json", "text"),
        _ => Vec::new(),
    }
}

/// Spread over the whole list, within [`MAX_SEEDS`] and [`MAX_BYTES`].
fn thinned(mut seeds: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    seeds.retain(|seed| seed.len() <= MAX_LEN);
    let step = seeds.len().div_ceil(MAX_SEEDS).max(1);
    let mut bytes = 0;
    seeds
        .into_iter()
        .step_by(step)
        .filter(|seed| {
            let fits = bytes + seed.len() <= MAX_BYTES;
            bytes += if fits { seed.len() } else { 0 };
            fits
        })
        .collect()
}

/// The seeds of a target.
pub fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds = thinned(of_vectors(target.name));
    let mut rng = StdRng::seed_from_u64(0);
    for length in LENGTHS {
        let mut seed: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        // Odd first bytes: the steered half of targets that have one for text as well.
        seed[0] |= 1;
        seeds.push(seed);
    }
    seeds
}

/// Writes the seeds of a target into its corpus, beside what is there.
pub fn write(target: &Target) {
    let directory: PathBuf = corpus_directory(target);
    fs::create_dir_all(&directory).unwrap();
    for (number, seed) in seeds(target).into_iter().enumerate() {
        fs::write(directory.join(format!("seed-{number:02}")), seed).unwrap();
    }
}
