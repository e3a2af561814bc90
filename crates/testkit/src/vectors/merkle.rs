//! `merkle.json`: leaves and their root (PROTOCOL.md §4).

use ashlar_primitives::{MerkleRoot, merkle::merkle_root};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    json::{Text, text},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// Shown like a root: reversed.
    leaves: Vec<Text<MerkleRoot>>,
    #[serde(deserialize_with = "text")]
    root: MerkleRoot,
}

impl Check for Case {
    fn check(&self) -> Verdict {
        let leaves: Vec<_> = self.leaves.iter().map(|leaf| leaf.0.0).collect();
        Failure::unless_equal("root", &merkle_root(&leaves), &self.root)
    }
}
