//! `policy.json`: ids, hidden variants, limits and evaluation of policies (PROTOCOL.md §2).

use ashlar_primitives::{Decode, Policy, PolicyId, SigHash, Signature};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    json::{Hex, PolicyJson, Text, ToValue, check_encoding, text},
    policy_evaluation::evaluate,
};

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Case {
    Id {
        policy: PolicyJson,
        encoding: Hex,
        #[serde(deserialize_with = "text")]
        id: PolicyId,
        same_id: Vec<Variant>,
    },
    Shape {
        encoding: Hex,
        decodes: bool,
    },
    Evaluation {
        policy: PolicyJson,
        encoding: Hex,
        height: u32,
        coin_heights: Vec<u32>,
        #[serde(deserialize_with = "text")]
        digest: SigHash,
        signatures: Vec<Text<Signature>>,
        preimages: Vec<Hex>,
        result: String,
    },
}

/// The same policy with other children hidden.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variant {
    policy: PolicyJson,
    encoding: Hex,
}

/// A policy about to be satisfied, or not.
pub(super) struct Spend {
    pub(super) policy: Policy,
    /// Of the spending block.
    pub(super) height: u32,
    /// Of all coins under the lock.
    pub(super) coin_heights: Vec<u32>,
    pub(super) digest: SigHash,
    pub(super) signatures: Vec<Signature>,
    pub(super) preimages: Vec<[u8; 32]>,
}

impl Check for Case {
    fn check(&self) -> Verdict {
        match self {
            Self::Id { policy, encoding, id, same_id } => {
                check_tree(policy, encoding, Some(id))?;
                same_id.iter().try_for_each(|variant| {
                    check_tree(&variant.policy, &variant.encoding, Some(id)).map(drop)
                })
            }
            Self::Shape { encoding, decodes: true } => {
                check_encoding(encoding, &Policy::from_bytes(&encoding.0)?)
            }
            Self::Shape { encoding, decodes: false } => {
                Failure::unless_refused(Policy::from_bytes(&encoding.0))
            }
            Self::Evaluation {
                policy,
                encoding,
                height,
                coin_heights,
                digest,
                signatures,
                preimages,
                result,
            } => {
                let spend = Spend {
                    policy: check_tree(policy, encoding, None)?,
                    height: *height,
                    coin_heights: coin_heights.clone(),
                    digest: *digest,
                    signatures: super::json::texts(signatures),
                    preimages: preimages.iter().map(Hex::array).collect::<Result<_, _>>()?,
                };
                Failure::unless_equal("result", &evaluate(&spend)?, &result.as_str())
            }
        }
    }
}

fn check_tree(tree: &PolicyJson, encoding: &Hex, id: Option<&PolicyId>) -> Result<Policy, Failure> {
    let policy = tree.to_value()?;
    policy.validate()?;
    check_encoding(encoding, &policy)?;
    if let Some(id) = id {
        Failure::unless_equal("id", &policy.id(), id)?;
    }
    Ok(policy)
}
