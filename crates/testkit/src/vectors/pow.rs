//! `pow.json`: compact bits, targets, work, and ids against targets (PROTOCOL.md §5).

use ashlar_consensus::{Target, Work};
use ashlar_primitives::BlockId;
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    chain::Bits,
    json::{Hex, bits, text},
};

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Case {
    Bits {
        #[serde(deserialize_with = "bits")]
        bits: u32,
        valid: bool,
        /// This and what follows, where valid: highest digit first.
        target: Option<Hex>,
        work: Option<Hex>,
        shortest: Option<Bits>,
    },
    Compact {
        target: Hex,
        #[serde(deserialize_with = "bits")]
        bits: u32,
    },
    Meets {
        #[serde(deserialize_with = "text")]
        id: BlockId,
        #[serde(deserialize_with = "bits")]
        bits: u32,
        meets: bool,
    },
    ChainWork {
        chain: Vec<Bits>,
        work: Hex,
    },
}

impl Check for Case {
    fn check(&self) -> Verdict {
        match self {
            Self::Bits { bits, valid, target, work, shortest } => {
                let got = Target::from_bits(*bits);
                Failure::unless_equal("valid", &got.is_some(), valid)?;
                let hex = |bytes: [u8; 32]| Hex(bytes.to_vec());
                Failure::unless_equal("target", &got.map(|it| hex(it.to_be_bytes())), target)?;
                let got_work = got.map(|it| hex(it.work().to_be_bytes()));
                Failure::unless_equal("work", &got_work, work)?;
                Failure::unless_equal("shortest", &got.map(|it| Bits(it.to_bits())), shortest)
            }
            Self::Compact { target, bits } => {
                let target = Target::from_be_bytes(target.array()?);
                Failure::unless_equal("bits", &target.map(Target::to_bits), &Some(*bits))
            }
            Self::Meets { id, bits, meets } => {
                Failure::unless_equal("meets", &target(*bits)?.is_met_by(id), meets)
            }
            Self::ChainWork { chain, work } => {
                let mut sum = Work::ZERO;
                for bits in chain {
                    sum = sum.saturating_add(target(bits.0)?.work());
                }
                Failure::unless_equal("work", &Hex(sum.to_be_bytes().to_vec()), work)
            }
        }
    }
}

fn target(bits: u32) -> Result<Target, Failure> {
    Target::from_bits(bits)
        .ok_or_else(|| Failure::new(format_args!("bits {bits:08x} should be valid")))
}
