//! The file of a partially signed transaction: JSON in ASCII, so that mail, a memory stick or a
//! clipboard carry it unharmed.
//!
//! `txid` and `digest` say nothing that the rest does not: they are there to find damage.

use ashlar_primitives::{Address, Amount, OutPoint, Output, PublicKey, Signature};
use serde::{Deserialize, Serialize};

use super::{OfflineError, Partial, SpentCoin};
use crate::{
    keystore::Chain,
    policy::terms::{Terms, key_text, parse_key},
};

const FORMAT: &str = "ashlar-pst";
const VERSION: u32 = 1;
/// The largest transaction with the largest policies, in JSON, is below this.
pub(crate) const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileContent {
    format: String,
    version: u32,
    chain: Chain,
    txid: String,
    digest: String,
    not_before: u32,
    memo: String,
    inputs: Vec<FileInput>,
    outputs: Vec<FileOutput>,
    policies: Vec<Terms>,
    signatures: Vec<FileSignature>,
    preimages: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileInput {
    txid: String,
    vout: u16,
    /// In grains.
    value: u64,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileOutput {
    /// In grains.
    value: u64,
    address: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSignature {
    key: String,
    signature: String,
}

impl Partial {
    /// As it is written.
    pub(crate) fn to_file(&self) -> Result<FileContent, OfflineError> {
        let prefix = &self.chain().address_prefix;
        let inputs = self.coins().iter().map(|coin| FileInput {
            txid: coin.outpoint.txid.to_string(),
            vout: coin.outpoint.index,
            value: coin.output.value.grains(),
            address: self.address_text(coin.output.lock),
            height: coin.height,
        });
        let outputs = self.transaction().outputs.iter().map(|output| FileOutput {
            value: output.value.grains(),
            address: self.address_text(output.lock),
        });
        let signatures = self.signatures.iter().map(|(key, signature)| FileSignature {
            key: key_text(key, prefix),
            signature: signature.to_string(),
        });
        Ok(FileContent {
            format: FORMAT.to_owned(),
            version: VERSION,
            chain: self.chain().clone(),
            txid: self.transaction().txid().to_string(),
            digest: self.digest()?.to_string(),
            not_before: self.transaction().not_before,
            memo: hex::encode(&self.transaction().memo),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            policies: self.policies.values().map(|policy| Terms::of(policy, prefix)).collect(),
            signatures: signatures.collect(),
            preimages: self.preimages.values().map(hex::encode).collect(),
        })
    }

    /// What a file says, if it holds together and every signature in it is good.
    pub(crate) fn from_file(content: FileContent) -> Result<Self, OfflineError> {
        let damaged = |what| OfflineError::Damaged { what };
        if content.format != FORMAT {
            return Err(OfflineError::OtherFormat);
        }
        if content.version != VERSION {
            return Err(OfflineError::OtherVersion { found: content.version, known: VERSION });
        }
        let prefix = content.chain.address_prefix.clone();
        let output = |value, address: &str| {
            let address = Address::parse(address, &prefix).map_err(|_| damaged("an address"))?;
            Ok::<_, OfflineError>(Output { value: Amount::from_grains(value), lock: address.lock })
        };
        let mut coins = Vec::with_capacity(content.inputs.len());
        for input in &content.inputs {
            let txid = input.txid.parse().map_err(|_| damaged("the id of a coin"))?;
            coins.push(SpentCoin {
                outpoint: OutPoint { txid, index: input.vout },
                output: output(input.value, &input.address)?,
                height: input.height,
            });
        }
        let outputs = content.outputs.iter().map(|paid| output(paid.value, &paid.address));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let policies = content.policies.iter().map(|terms| terms.policy(&prefix));
        let policies = policies.collect::<Result<Vec<_>, _>>()?;
        let memo = hex::decode(&content.memo).map_err(|_| damaged("the memo"))?;
        let mut partial =
            Self::new(content.chain, content.not_before, coins, outputs, memo, policies)?;
        if partial.transaction().txid().to_string() != content.txid {
            return Err(damaged("the transaction has not the id that stands beside it"));
        }
        if partial.digest()?.to_string() != content.digest {
            return Err(damaged("an amount, an address or the chain was changed"));
        }
        let signatures = content.signatures.iter().map(|signed| {
            let key: PublicKey = parse_key(&signed.key, &prefix)?;
            let signature: Signature =
                signed.signature.parse().map_err(|_| damaged("a signature"))?;
            Ok::<_, OfflineError>((key, signature))
        });
        partial.add_signatures(signatures.collect::<Result<Vec<_>, _>>()?)?;
        for preimage in &content.preimages {
            let mut bytes = [0; 32];
            hex::decode_to_slice(preimage, &mut bytes).map_err(|_| damaged("a preimage"))?;
            partial.add_preimage(bytes)?;
        }
        Ok(partial)
    }
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::keys::SecretKey;

    use super::*;
    use crate::offline::tests::shared;

    fn text(partial: &Partial) -> String {
        serde_json::to_string_pretty(&partial.to_file().unwrap()).unwrap()
    }

    fn read(text: &str) -> Result<Partial, OfflineError> {
        Partial::from_file(serde_json::from_str(text).expect("well-formed"))
    }

    #[test]
    fn what_is_written_reads_back_whole() {
        let mut partial = shared();
        assert_eq!(read(&text(&partial)).unwrap(), partial);
        let key = SecretKey::from_bytes(&[2; 32]);
        let own = |wanted: &PublicKey| {
            Ok::<_, OfflineError>(
                (key.public_key() == *wanted).then(|| SecretKey::from_bytes(&[2; 32])),
            )
        };
        partial.sign(own).unwrap();
        let written = text(&partial);
        assert!(written.is_ascii());
        assert_eq!(read(&written).unwrap(), partial);
    }

    #[test]
    fn no_change_goes_unnoticed() {
        let mut partial = shared();
        let key = SecretKey::from_bytes(&[1; 32]);
        let digest = partial.digest().unwrap();
        partial.add_signatures([(key.public_key(), key.sign(&digest))]).unwrap();
        let written = text(&partial);
        let signature = partial.signatures.values().next().unwrap().to_string();
        for (from, to) in [
            ("\"value\": 10000", "\"value\": 10001"),
            ("\"value\": 29000", "\"value\": 28000"),
            ("\"vout\": 0", "\"vout\": 1"),
            ("\"not_before\": 0", "\"not_before\": 9"),
            ("\"k\": 2", "\"k\": 1"),
            ("\"version\": 1", "\"version\": 2"),
            ("ashlar-pst", "ashlar-psbt"),
            (&hex::encode("rent"), &hex::encode("rant")),
            (&"07".repeat(32), &"08".repeat(32)),
            (&signature[..6], "000000"),
        ] {
            assert!(written.contains(from), "{from}");
            let changed = written.replace(from, to);
            assert!(read(&changed).is_err(), "{from} became {to}");
        }
    }
}
