//! `tests/vectors/chains.json` against the rules alone: a model that keeps the whole state of every
//! block and judges each with state on arrival (the vectors' reading `verdict_if_judged_at_once`).

use std::{collections::BTreeMap, fs, path::Path};

use ashlar_consensus::{
    Genesis, HeaderState, JudgeError, OpenError, Params, SpentCoins, State, check_header,
    connect_block, header::check_version, judge_header, open_body,
};
use ashlar_primitives::{BlockId, Coin, Decode, Header, OutPoint};
use serde::Deserialize;
use serde_json::Value;

use crate::builder::{apply, rng};

#[derive(Deserialize)]
struct File {
    cases: Vec<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    name: String,
    genesis: Value,
    chain_id: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    block: String,
    now: u64,
    verdict: String,
    verdict_if_judged_at_once: Option<String>,
    tip: String,
    height: u32,
    work: String,
    utxo_commitment: String,
}

struct Valid {
    state: State,
    coins: BTreeMap<OutPoint, Coin>,
}

/// A block that failed, and what its children's headers are judged by.
struct Failed {
    code: &'static str,
    header: HeaderState,
}

struct Model {
    params: Params,
    valid: BTreeMap<BlockId, Valid>,
    failed: BTreeMap<BlockId, Failed>,
    tip: BlockId,
}

impl Model {
    fn new(genesis: &Genesis) -> Self {
        let (params, state) = (genesis.params().clone(), genesis.state().clone());
        let tip = params.chain_id;
        let coins = genesis.diff().created.clone().into_iter().collect();
        let valid = BTreeMap::from([(tip, Valid { state, coins })]);
        Self { params, valid, failed: BTreeMap::new(), tip }
    }

    fn offer(&mut self, bytes: &[u8], now_seconds: u64) -> &'static str {
        let Some((Ok(header), _)) =
            bytes.split_first_chunk::<{ Header::LEN }>().map(|(h, b)| (Header::from_bytes(h), b))
        else {
            return "malformed";
        };
        let id = header.id();
        if self.valid.contains_key(&id) {
            return "known";
        }
        if let Some(failed) = self.failed.get(&id) {
            return failed.code;
        }
        if let Err(error) = check_version(&header) {
            return error.code();
        }
        if let Some(parent) = self.failed.get(&header.parent) {
            let code = "invalid-parent";
            if let Ok(header) = check_header(&parent.header, &self.params, &header) {
                self.failed.insert(id, Failed { code, header });
            }
            return code;
        }
        let Some(parent) = self.valid.get(&header.parent) else {
            return "unknown-parent";
        };
        let next = match judge_header(&parent.state.header, &self.params, &header, now_seconds) {
            Ok(next) => next,
            Err(JudgeError::Rule(error)) => return error.code(),
            Err(JudgeError::TooNew { .. }) => return "time-too-new",
        };
        let connected = open_body(&self.params, &header, next.height, bytes).and_then(|block| {
            let coins = SpentCoins { coins: parent.coins.clone().into_iter().collect() };
            let (state, params) = (&parent.state, &self.params);
            Ok(connect_block(state, next.clone(), params, &block, &coins, &mut rng())?)
        });
        match connected {
            Err(OpenError::Body(error)) => error.code(),
            Err(OpenError::Block(error)) => {
                self.failed.insert(id, Failed { code: error.code(), header: next });
                error.code()
            }
            Ok(transition) => {
                let (state, diff) = transition.into_parts();
                let mut coins = parent.coins.clone();
                apply(&diff, &mut coins);
                let is_better = state.header.work > self.tip().header.work;
                self.valid.insert(id, Valid { state, coins });
                if !is_better {
                    return "side";
                }
                self.tip = id;
                "accepted"
            }
        }
    }

    fn tip(&self) -> &State {
        &self.valid[&self.tip].state
    }
}

#[test]
fn every_scenario_judged_at_once() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/chains.json");
    let file: File = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(!file.cases.is_empty());
    for Scenario { name, genesis, chain_id, steps } in file.cases {
        let genesis = Genesis::parse(&genesis.to_string()).unwrap();
        assert_eq!(genesis.params().chain_id.to_string(), chain_id, "{name}");
        let mut model = Model::new(&genesis);
        for (number, step) in steps.into_iter().enumerate() {
            let verdict = model.offer(&hex::decode(&step.block).unwrap(), step.now);
            let expected = step.verdict_if_judged_at_once.unwrap_or(step.verdict);
            assert_eq!(verdict, expected, "{name}, step {number}");
            let State { header, utxo } = model.tip();
            assert_eq!(header.id.to_string(), step.tip, "{name}, step {number}");
            assert_eq!(header.height, step.height, "{name}, step {number}");
            assert_eq!(hex::encode(header.work.to_be_bytes()), step.work, "{name}, step {number}");
            let commitment = utxo.commitment().to_string();
            assert_eq!(commitment, step.utxo_commitment, "{name}, step {number}");
        }
    }
}
