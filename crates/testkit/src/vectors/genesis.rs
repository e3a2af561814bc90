//! `genesis.json`: what such files define, or that they are refused (PROTOCOL.md §7).

use ashlar_consensus::{Genesis, genesis_file::restamp};
use ashlar_primitives::{BlockId, CoinbaseId, Commitment};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    json::{Hex, check_encoding, text},
};

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Case {
    Good {
        text: String,
        params: Hex,
        block: Hex,
        #[serde(deserialize_with = "text")]
        chain_id: BlockId,
        #[serde(deserialize_with = "text")]
        coinbase_id: CoinbaseId,
        /// Of the set after the genesis block.
        #[serde(deserialize_with = "text")]
        utxo_commitment: Commitment,
    },
    Bad {
        text: String,
        #[expect(dead_code, reason = "for people, but it must be there")]
        reason: String,
    },
}

impl Check for Case {
    fn check(&self) -> Verdict {
        let (text, params, block, chain_id, coinbase_id, utxo_commitment) = match self {
            Self::Bad { text, .. } => return Failure::unless_refused(Genesis::parse(text)),
            Self::Good { text, params, block, chain_id, coinbase_id, utxo_commitment } => {
                (text, params, block, chain_id, coinbase_id, utxo_commitment)
            }
        };
        let genesis = Genesis::parse(text)?;
        Failure::unless_equal("params", &Hex(genesis.params_bytes().to_vec()), params)?;
        check_encoding(block, genesis.block())?;
        Failure::unless_equal("chain id", &genesis.params().chain_id, chain_id)?;
        Failure::unless_equal("coinbase id", &genesis.block().coinbase.id(), coinbase_id)?;
        let commitment = genesis.state().utxo.commitment();
        Failure::unless_equal("commitment", &commitment, utxo_commitment)?;
        // The same second written again is the same chain; another second is another.
        let time = genesis.params().time;
        let same = Genesis::parse(&restamp(text, time)?)?;
        Failure::unless_equal("restamped", &same.params().chain_id, chain_id)?;
        let other = Genesis::parse(&restamp(text, time ^ 1)?)?;
        Failure::unless(other.params().chain_id != *chain_id, || "restamping changes nothing")?;
        Failure::unless_equal("its time", &other.params().time, &(time ^ 1))
    }
}
