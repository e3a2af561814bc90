//! Who pays, and who finds blocks.

use std::{sync::Arc, time::Duration};

use ashlar_consensus::{Genesis, check_transaction};
use ashlar_engine::{
    Call,
    call::{AnswerBody, BlockVerdict},
};
use ashlar_primitives::{Address, Encode as _, Lock};
use rand::RngExt;

use super::{Broken, Event, Net, TAIL};
use crate::{
    people::solve,
    purse::{Opening, Owned, spend},
    random::{Random, exponential},
    scale::{Experiment, FILLERS_PER_BLOCK, figures::Found},
    scenario::EPOCH_SECONDS,
};

/// What each filler spends.
const COIN: u64 = 1_000_000;
/// In grains per byte.
const FEERATE: u64 = 10;

/// The chain of an experiment: fillers' coins are in its genesis block.
pub(super) fn genesis(
    experiment: &Experiment,
    lock: Lock,
    coins: usize,
) -> Result<Genesis, Broken> {
    let address = Address::new("sim", lock).map(|address| address.to_string());
    let address = address.unwrap_or_default();
    let allocation = format!(r#"{{"address": "{address}", "value": {COIN}}}"#);
    let allocations = vec![allocation; coins].join(", ");
    Ok(Genesis::parse(&format!(
        r#"{{"name": "scale", "address_prefix": "sim", "time": {EPOCH_SECONDS},
        "bits": "207fffff", "pow_limit_bits": "207fffff", "block_interval": {interval},
        "difficulty_half_life": 0, "stall_relief_seconds": 0, "max_future_seconds": 60,
        "max_block_bytes": 4000000, "coinbase_maturity": 20, "initial_subsidy": 500000000,
        "halving_interval": 6300000, "message": "", "allocations": [{allocations}]}}"#,
        interval = experiment.interval.as_secs().max(1),
    ))?)
}

/// The times between the blocks of an experiment: of a Poisson process, stretched so that on the
/// average they are what they should be. Otherwise the luck of a few blocks would hide the rest.
pub(super) fn waits(experiment: &Experiment, mining: &mut Random) -> Vec<Duration> {
    let count = experiment.blocks.saturating_sub(1);
    let drawn: Vec<Duration> =
        (0..count).map(|_| exponential(mining, experiment.interval)).collect();
    let sum = drawn.iter().sum::<Duration>().as_micros().max(1);
    let wanted = experiment.interval.as_micros() * count as u128;
    let stretched = |wait: &Duration| {
        let micros = wait.as_micros() * wanted / sum;
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    };
    drawn.iter().map(stretched).collect()
}

impl Net {
    /// A filler is handed in somewhere.
    pub(super) fn pay(&mut self) {
        if self.ends.is_some() {
            return;
        }
        let mean = self.experiment.interval / FILLERS_PER_BLOCK as u32;
        let next = self.now + exponential(&mut self.random, mean);
        self.queue.push(next, Event::Pay);
        let Some((outpoint, output)) = self.coins.pop() else { return };
        let owned = Owned { outpoint, output, opening: Opening::Key, is_aged: false };
        let to = (Lock::key(self.key.public_key()), 1);
        let chain_id = &self.genesis.params().chain_id;
        let made = spend(chain_id, &self.key, &[owned], to, FEERATE, &mut self.random);
        if let Some(Ok(checked)) = made.map(check_transaction) {
            self.outcome.fillers += 1;
            let call = Call::SubmitTransactions(vec![Arc::new(checked)]);
            let node = self.random.random_range(0..self.nodes.len());
            self.queue.push(self.now, Event::Call { node, call });
        }
    }

    /// Somebody finds a block: every home has as much hash power as any other.
    pub(super) fn find(&mut self) {
        let node = self.mining.random_range(0..self.nodes.len());
        let pay_to = Lock::key(self.key.public_key());
        let mut extra = Vec::new();
        self.blocks_tried += 1;
        self.blocks_tried.encode(&mut extra);
        self.queue.push(self.now, Event::Call { node, call: Call::Template { pay_to, extra } });
        match self.waits.pop() {
            Some(wait) => self.queue.push(self.now + wait, Event::Find),
            None => self.ends = Some(self.now + TAIL),
        }
    }

    pub(super) fn reply(&mut self, node: usize, body: AnswerBody) -> Result<(), Broken> {
        match body {
            AnswerBody::Template(template) => {
                let Some(block) = solve(&template) else { return Ok(()) };
                let id = block.header.id();
                self.places.insert(id, self.found.len());
                self.found.push(Found {
                    id,
                    height: template.height,
                    at: self.now,
                    fillers: block.transactions.len(),
                    delays: vec![None; self.nodes.len()],
                    joined: vec![None; self.nodes.len()],
                });
                let call = Call::SubmitBlock(block.to_bytes());
                self.queue.push(self.now, Event::Call { node, call });
                Ok(())
            }
            AnswerBody::Block(BlockVerdict::Refused { code, .. }) => Err(Broken::Refused { code }),
            AnswerBody::Submitted(results) => {
                self.outcome.fillers_refused +=
                    results.iter().filter(|result| result.is_err()).count();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
