//! `subsidy.json`: what a block may create at a height (PROTOCOL.md §4).

use ashlar_consensus::Params;
use ashlar_primitives::Amount;
use serde::Deserialize;

use super::{Check, Failure, Verdict, chain::params};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    initial_subsidy: u64,
    halving_interval: u32,
    height: u32,
    subsidy: u64,
}

impl Check for Case {
    fn check(&self) -> Verdict {
        let params = Params {
            initial_subsidy: Amount::from_grains(self.initial_subsidy),
            halving_interval: self.halving_interval,
            ..params()
        };
        Failure::unless_equal("subsidy", &params.subsidy(self.height).grains(), &self.subsidy)
    }
}
