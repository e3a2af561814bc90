//! What must hold of real processes whatever was done to them, and what was seen of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ashlar_consensus::Genesis;
use ashlar_primitives::{BlockId, Txid};
use ashlar_processes::Rpc;
use ashlar_rpc::{ClientError, types::BlockchainInfo};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::CONVERGENCE;
use crate::file::NodeNumber;

/// Blocks that a node told of which are asked for again; older ones were asked for before.
const MAX_TOLD: usize = 10_000;
/// A process may grow from its first sample by a half of it and so much more, in bytes: caches and
/// tables fill, and then no more.
const MEMORY_SLACK_BYTES: u64 = 64 << 20;
/// Descriptors that a process may have more than at its first sample: files of the database come
/// and go, and peers that dial while one is still given up.
const DESCRIPTOR_SLACK: u64 = 48;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Breach {
    /// The nodes stayed apart.
    #[error(
        "no one chain {} s after the last fault was undone: {tips}",
        CONVERGENCE.as_secs()
    )]
    Apart {
        /// Each node's tip.
        tips: String,
    },
    /// A payment that was acknowledged is in no block of some node.
    #[error(
        "payment {txid} was acknowledged, and no block of the chain has it {seconds} s after all was healed"
    )]
    PaymentLost {
        /// Which.
        txid: Txid,
        /// How long it had.
        seconds: u64,
    },
    /// A coin that payments left is not there.
    #[error("node {node} does not have the coin that payment {txid} made, of {grains} grains")]
    CoinLost {
        /// Where.
        node: NodeNumber,
        /// Its transaction.
        txid: Txid,
        /// Its value.
        grains: u64,
    },
    /// A block that a node had as its tip is unknown to it.
    #[error("node {node} told of block {block} (height {height}) and does not know it any more")]
    BlockLost {
        /// Where.
        node: NodeNumber,
        /// Which.
        block: BlockId,
        /// Its height.
        height: u32,
    },
    /// Two nodes on one tip that say different things of it.
    #[error("on tip {tip} nodes {one} and {other} differ in {what}")]
    Differ {
        /// The tip.
        tip: BlockId,
        /// The first node.
        one: NodeNumber,
        /// The other.
        other: NodeNumber,
        /// In what.
        what: &'static str,
    },
    /// There are more coins than were made, or fewer.
    #[error("node {node} has {found} grains at height {height}, and the rules make {expected}")]
    Supply {
        /// Where.
        node: NodeNumber,
        /// At which height.
        height: u32,
        /// What there is.
        found: u64,
        /// What there should be.
        expected: u64,
    },
    /// A node ended, and nobody had done anything to it.
    #[error("node {node} ended by itself: {reason}")]
    Ended {
        /// Which.
        node: NodeNumber,
        /// How.
        reason: String,
    },
    /// A process that grows.
    #[error("node {node}: its process {pid} grew from {first} to {last} {what}")]
    Grew {
        /// Which.
        node: NodeNumber,
        /// Its process.
        pid: u32,
        /// At the first sample.
        first: u64,
        /// Now.
        last: u64,
        /// Of what.
        what: &'static str,
    },
    /// A node does not answer that nothing is done to.
    #[error("node {node} does not answer, and nothing is done to it: {error}")]
    Mute {
        /// Which.
        node: NodeNumber,
        /// What came instead.
        error: String,
    },
}

impl Breach {
    pub(super) fn mute(node: NodeNumber) -> impl FnOnce(ClientError) -> Self {
        move |error| Self::Mute { node, error: error.to_string() }
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The process.
    pub pid: u32,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// Its descriptors.
    pub descriptors: u64,
}

impl Sample {
    /// Of a process that runs; its memory is known already.
    pub(super) fn of(pid: u32, memory_bytes: u64) -> Option<Self> {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        Some(Self { pid, memory_bytes, descriptors })
    }
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Watch {
    genesis: Genesis,
    /// The blocks that each node had as its tip, and that were not asked for again yet.
    told: BTreeMap<NodeNumber, BTreeMap<BlockId, u32>>,
    pub(super) blocks: BTreeSet<BlockId>,
    first: BTreeMap<NodeNumber, Sample>,
    pub(super) last: BTreeMap<NodeNumber, (Sample, Sample)>,
}

impl Watch {
    pub(super) fn new(genesis: Genesis) -> Self {
        Self {
            genesis,
            told: BTreeMap::new(),
            blocks: BTreeSet::new(),
            first: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    /// A node told its tip.
    pub(super) fn tip(&mut self, node: NodeNumber, info: &BlockchainInfo) {
        self.blocks.insert(info.bestblockhash.0);
        let told = self.told.entry(node).or_default();
        if told.len() < MAX_TOLD {
            told.insert(info.bestblockhash.0, info.blocks);
        }
    }

    /// Whether a node still knows every block that it told of.
    pub(super) fn kept(&mut self, node: NodeNumber, rpc: &Rpc) -> Result<(), Breach> {
        for (block, height) in self.told.remove(&node).unwrap_or_default() {
            let known = rpc.call("getblockheader", vec![block.to_string().into(), false.into()]);
            match known {
                Ok(_) => {}
                Err(error) if error.code() == Some("not-found") => {
                    return Err(Breach::BlockLost { node, block, height });
                }
                Err(error) => return Err(Breach::mute(node)(error)),
            }
        }
        Ok(())
    }

    /// Whether nodes on one tip say the same of it, and what the rules say.
    pub(super) fn same(&self, infos: &BTreeMap<NodeNumber, BlockchainInfo>) -> Result<(), Breach> {
        let Some((one, first)) = infos.first_key_value() else { return Ok(()) };
        for (other, info) in infos {
            let differs = [
                ("their UTXO commitment", info.utxo_commitment != first.utxo_commitment),
                ("how many coins there are", info.coins != first.coins),
                ("the supply", info.supply != first.supply),
                ("the chain's work", info.chainwork != first.chainwork),
            ];
            if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
                let tip = first.bestblockhash.0;
                return Err(Breach::Differ { tip, one: *one, other: *other, what });
            }
        }
        let expected = self.expected_grains(first.blocks);
        if first.supply != expected {
            let (node, height, found) = (*one, first.blocks, first.supply);
            return Err(Breach::Supply { node, height, found, expected });
        }
        Ok(())
    }

    /// What the genesis gave, and a subsidy for each block: a testnet's miners claim all that they
    /// may, so fees change hands and nothing is lost.
    fn expected_grains(&self, height: u32) -> u64 {
        let created = self.genesis.diff().created.values();
        let allocated: u64 = created.map(|coin| coin.output.value.grains()).sum();
        let params = self.genesis.params();
        allocated + (1..=height).map(|height| params.subsidy(height).grains()).sum::<u64>()
    }

    /// A process at rest: its first sample is what later ones are held against.
    pub(super) fn sample(&mut self, node: NodeNumber, sample: Sample) -> Result<(), Breach> {
        let first = self.first.entry(node).or_insert(sample);
        if first.pid != sample.pid {
            *first = sample;
        }
        let first = *first;
        self.last.insert(node, (first, sample));
        let grew = |what, first, last| Breach::Grew { node, pid: sample.pid, first, last, what };
        let most = first.memory_bytes + first.memory_bytes / 2 + MEMORY_SLACK_BYTES;
        if sample.memory_bytes > most {
            return Err(grew("bytes of memory", first.memory_bytes, sample.memory_bytes));
        }
        if sample.descriptors > first.descriptors + DESCRIPTOR_SLACK {
            return Err(grew("descriptors", first.descriptors, sample.descriptors));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> Watch {
        Watch::new(Genesis::parse(include_str!("../../../../genesis.json")).unwrap())
    }

    #[test]
    fn growth_is_measured_from_a_processs_own_first_sample() {
        let mut watch = watch();
        let sample = |pid, memory_mb: u64, descriptors| Sample {
            pid,
            memory_bytes: memory_mb << 20,
            descriptors,
        };
        watch.sample(1, sample(7, 100, 50)).unwrap();
        watch.sample(1, sample(7, 200, 90)).unwrap();
        let grew = watch.sample(1, sample(7, 215, 50)).unwrap_err();
        assert!(grew.to_string().contains("bytes of memory"), "{grew}");
        let grew = watch.sample(1, sample(7, 100, 99)).unwrap_err();
        assert!(grew.to_string().contains("from 50 to 99 descriptors"), "{grew}");
        watch.sample(1, sample(8, 500, 200)).unwrap();
    }

    #[test]
    fn supply_is_what_the_rules_make() {
        let watch = watch();
        let params = watch.genesis.params().clone();
        let made = watch.expected_grains(3) - watch.expected_grains(0);
        assert_eq!(made, 3 * params.initial_subsidy.grains());
        assert!(watch.expected_grains(0) > 0);
    }
}
