//! `utxo.json`: the commitment after each coin added or removed (PROTOCOL.md §6).

use ashlar_consensus::UtxoAccumulator;
use ashlar_primitives::{
    Coin, Commitment, Decode, OutPoint,
    codec::{DecodeError, Reader},
};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    json::{Hex, text},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// Of the empty set.
    #[serde(deserialize_with = "text")]
    empty: Commitment,
    steps: Vec<Step>,
    /// After the one step.
    state: Option<Hex>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Step {
    Add {
        add: Hex,
        #[serde(deserialize_with = "text")]
        commitment: Commitment,
    },
    Remove {
        remove: Hex,
        #[serde(deserialize_with = "text")]
        commitment: Commitment,
    },
}

impl Check for Case {
    fn check(&self) -> Verdict {
        let mut utxo = UtxoAccumulator::empty();
        Failure::unless_equal("empty", &utxo.commitment(), &self.empty)?;
        for step in &self.steps {
            let expected = match step {
                Step::Add { add, commitment } => {
                    let (outpoint, coin) = coin(add)?;
                    utxo.add(&outpoint, &coin);
                    commitment
                }
                Step::Remove { remove, commitment } => {
                    let (outpoint, coin) = coin(remove)?;
                    utxo.remove(&outpoint, &coin);
                    commitment
                }
            };
            Failure::unless_equal("commitment", &utxo.commitment(), expected)?;
        }
        let bytes = Hex(utxo.to_bytes());
        let again = UtxoAccumulator::from_bytes(&bytes.array()?);
        Failure::unless_equal("read back", &again, &utxo)?;
        match &self.state {
            Some(state) => Failure::unless_equal("state", &bytes, state),
            None => Ok(()),
        }
    }
}

/// The 80 bytes of §6: a coin behind its outpoint.
pub(super) fn coin(hex: &Hex) -> Result<(OutPoint, Coin), DecodeError> {
    let mut reader = Reader::new(&hex.0);
    let coin = (OutPoint::decode(&mut reader)?, Coin::decode(&mut reader)?);
    reader.finish()?;
    Ok(coin)
}
