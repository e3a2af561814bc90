//! `chains.json`: blocks offered to a node in order, and what must come out after each
//! (PROTOCOL.md §8, §9).

use std::sync::Arc;

use ashlar_consensus::Genesis;
use ashlar_ledger::{Ledger, MemoryStore, Offered, Settings, View};
use ashlar_primitives::{BlockId, Commitment};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Check, Failure, Verdict,
    json::{Hex, text},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    genesis: Map<String, Value>,
    #[serde(deserialize_with = "text")]
    chain_id: BlockId,
    #[expect(dead_code, reason = "for people")]
    note: Option<String>,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    block: Hex,
    now: u64,
    verdict: String,
    #[expect(dead_code, reason = "the answer of nodes that judge side branches on arrival")]
    verdict_if_judged_at_once: Option<String>,
    #[serde(deserialize_with = "text")]
    tip: BlockId,
    height: u32,
    /// Highest digit first.
    work: Hex,
    /// Of the set after the tip.
    #[serde(deserialize_with = "text")]
    utxo_commitment: Commitment,
}

impl Check for Case {
    fn check(&self) -> Verdict {
        let genesis = Genesis::parse(&Value::Object(self.genesis.clone()).to_string())?;
        Failure::unless_equal("chain id", &genesis.params().chain_id, &self.chain_id)?;
        Failure::unless(!self.steps.is_empty(), || "there are no steps")?;
        self.run(&genesis, false)?;
        // What a node remembers is on disk: stopped and started after each block, it answers the
        // same.
        self.run(&genesis, true).map_err(|Failure(reason)| {
            Failure::new(format_args!("restarted after each step: {reason}"))
        })
    }
}

impl Case {
    fn run(&self, genesis: &Genesis, restarts: bool) -> Verdict {
        let store = Arc::new(MemoryStore::new());
        let open = || Ledger::open(Arc::clone(&store), genesis, Settings::default());
        let mut ledger = open()?;
        for (number, step) in self.steps.iter().enumerate() {
            let offered = ledger.offer(&step.block.0, step.now, &mut rand::rng())?;
            step.check(&offered, &ledger.view())
                .map_err(|Failure(reason)| Failure::new(format_args!("step {number}: {reason}")))?;
            if restarts {
                ledger.flush()?;
                ledger = open()?;
            }
        }
        Ok(())
    }
}

impl Step {
    fn check(&self, offered: &Offered, view: &View) -> Verdict {
        let verdict = match offered {
            Offered::Accepted => "accepted",
            Offered::Side => "side",
            Offered::Known => "known",
            Offered::Refused { code } => code,
        };
        Failure::unless_equal("verdict", &verdict, &self.verdict.as_str())?;
        Failure::unless_equal("tip", &view.tip().id, &self.tip)?;
        Failure::unless_equal("height", &view.tip().height, &self.height)?;
        let work = Hex(view.tip().work.to_be_bytes().to_vec());
        Failure::unless_equal("work", &work, &self.work)?;
        Failure::unless_equal("commitment", &view.utxo_commitment(), &self.utxo_commitment)
    }
}
