//! The judge: what every block that was ever made in a world is worth, by the slow model of the
//! rules, which shares no rule with the nodes.
//!
//! It sees each block when it is made, wherever and by whom, so that it knows more than any node,
//! and none of it by a node's word.

use std::collections::BTreeMap;

use ashlar_consensus::{Genesis, Params};
use ashlar_primitives::{Amount, Block, BlockId, Encode as _};
use ashlar_testkit::model::{Code, Entry, Model};

use crate::invariants::TipFacts;

/// By the judge's clock no time is too new: that is not a verdict about a block.
const END_OF_TIME: u64 = u64::MAX / 2;

/// All blocks of a world.
#[derive(Debug)]
pub struct Judge {
    model: Model,
    facts: BTreeMap<BlockId, TipFacts>,
}

impl Judge {
    /// Knows the genesis block alone.
    pub fn new(genesis: &Genesis) -> Self {
        Self { model: Model::new(genesis), facts: BTreeMap::new() }
    }

    /// The chain's.
    pub const fn params(&self) -> &Params {
        self.model.params()
    }

    /// All that is known.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// Somebody made a block.
    ///
    /// # Errors
    /// The rule of groups 1 and 2 (PROTOCOL.md §8) that it breaks.
    pub fn learn(&mut self, block: &Block) -> Result<(), Code> {
        self.model.take_block(&block.to_bytes(), END_OF_TIME).map(drop)
    }

    /// Whether a block and all below it are valid. `None`: nobody made it here, or made only its
    /// header.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn verdict(&mut self, id: &BlockId) -> Option<Result<(), Code>> {
        self.model.judge_alone(id).map(|judged| judged.map(drop))
    }

    /// What a node whose tip is a valid block must say of it. `None`: it is not valid.
    pub fn facts(&mut self, id: &BlockId) -> Option<&TipFacts> {
        if !self.facts.contains_key(id) {
            self.verdict(id)?.ok()?;
            let state = self.model.state(id);
            let grains = |sum: u128| u64::try_from(sum).ok().map(Amount::from_grains);
            let facts = TipFacts {
                height: self.model.entry(id)?.link.height,
                commitment: state.commitment(),
                coins: state.coins.len() as u64,
                total: grains(self.model.supply(id))?,
                claimed: grains(state.claimed)?,
            };
            self.facts.insert(*id, facts);
        }
        self.facts.get(id)
    }

    /// A block that was made here.
    pub fn block(&self, id: &BlockId) -> Option<&Block> {
        self.entry(id)?.body.as_ref()
    }

    /// What is known of a block.
    pub fn entry(&self, id: &BlockId) -> Option<&Entry> {
        self.model.entry(id)
    }

    /// From genesis up to a block, by id.
    pub fn chain(&self, tip: &BlockId) -> Vec<BlockId> {
        let mut ids: Vec<_> = self.model.path_down(tip).map(|(id, _)| id).collect();
        ids.reverse();
        ids
    }

    /// All blocks with a body, by id.
    pub fn blocks(&self) -> Vec<BlockId> {
        let whole = self.model.entries().filter(|(_, entry)| entry.body.is_some());
        whole.map(|(id, _)| *id).collect()
    }
}
