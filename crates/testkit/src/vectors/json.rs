//! How values of the protocol look in vectors, and what they are in the code.

use std::{
    fmt::{self, Debug, Display},
    str::FromStr,
};

use ashlar_primitives::{
    Amount, Block, BlockId, Coinbase, Commitment, Decode, Encode, Header, Lock, MerkleRoot,
    OutPoint, Output, Policy, PolicyId, PublicKey, Signature, Transaction, Txid, Witness,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};
use serde_json::{Map, Value};

use super::{Failure, Verdict};

/// A value written as text: ids, keys, signatures.
pub(super) fn text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// A [`text`] where a wrapper is needed: in lists and options.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(bound = "T: FromStr<Err: Display>")]
pub(super) struct Text<T>(#[serde(deserialize_with = "text")] pub(super) T);

/// The values of a list of texts.
pub(super) fn texts<T: Clone>(texts: &[Text<T>]) -> Vec<T> {
    texts.iter().map(|text| text.0.clone()).collect()
}

/// Bytes as lower-case hex.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hex(pub(super) Vec<u8>);

impl Hex {
    /// The bytes as an array, where there are as many.
    pub(super) fn array<const N: usize>(&self) -> Result<[u8; N], Failure> {
        self.0.as_slice().try_into().map_err(|_| {
            Failure::new(format_args!("expected {N} bytes of hex, got {}", self.0.len()))
        })
    }
}

impl Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(de::Error::custom("hex is in lower case"));
        }
        hex::decode(text).map(Self).map_err(de::Error::custom)
    }
}

/// A case that is good, or has an `error` and must be refused: told apart by that field, so that
/// the message about any other names the field.
#[derive(Clone, Debug)]
pub(super) enum Judged<G> {
    Good(G),
    Bad(Bad),
}

/// Bytes that must not decode.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bad {
    pub(super) hex: Hex,
    pub(super) error: String,
}

impl<'de, G: DeserializeOwned> Deserialize<'de> for Judged<G> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Map::deserialize(deserializer)?;
        if fields.contains_key("error") {
            Bad::deserialize(Value::Object(fields)).map(Self::Bad)
        } else {
            G::deserialize(Value::Object(fields)).map(Self::Good)
        }
        .map_err(de::Error::custom)
    }
}

impl Bad {
    /// Checks that the bytes are no `T`, and that the code for that is `code`.
    pub(super) fn check<T: Decode + Debug>(&self, code: &str) -> Verdict {
        Failure::unless_equal("code", &code, &self.error.as_str())?;
        Failure::unless_refused(T::from_bytes(&self.hex.0))
    }
}

/// A value in JSON that stands for one of the protocol.
pub(super) trait ToValue {
    /// What it stands for.
    type Value;
    /// Reads it.
    fn to_value(&self) -> Result<Self::Value, Failure>;
}

/// All values of a list.
pub(super) fn values<T: ToValue>(items: &[T]) -> Result<Vec<T::Value>, Failure> {
    items.iter().map(T::to_value).collect()
}

/// Checks that `hex` is the one encoding of `value`, both ways.
pub(super) fn check_encoding<T>(hex: &Hex, value: &T) -> Verdict
where
    T: Encode + Decode + PartialEq + Debug,
{
    Failure::unless_equal("decoded", &T::from_bytes(&hex.0)?, value)?;
    Failure::unless_equal("encoded", &Hex(value.to_bytes()), hex)?;
    Failure::unless_equal("length", &value.encoded_len(), &hex.0.len())
}

/// A `lock`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockJson {
    version: u8,
    program: Hex,
}

impl ToValue for LockJson {
    type Value = Lock;
    fn to_value(&self) -> Result<Lock, Failure> {
        Ok(Lock { version: self.version, program: self.program.array()? })
    }
}

/// An `output`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputJson {
    value: u64,
    lock: LockJson,
}

impl ToValue for OutputJson {
    type Value = Output;
    fn to_value(&self) -> Result<Output, Failure> {
        Ok(Output { value: Amount::from_grains(self.value), lock: self.lock.to_value()? })
    }
}

/// An `outpoint`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutPointJson {
    #[serde(deserialize_with = "text")]
    txid: Txid,
    index: u16,
}

impl ToValue for OutPointJson {
    type Value = OutPoint;
    fn to_value(&self) -> Result<OutPoint, Failure> {
        Ok(OutPoint { txid: self.txid, index: self.index })
    }
}

/// A `policy`, a tree.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum PolicyJson {
    Opaque {
        #[serde(deserialize_with = "text")]
        id: PolicyId,
    },
    Key {
        #[serde(deserialize_with = "text")]
        key: PublicKey,
    },
    Hash {
        digest: Hex,
    },
    After {
        height: u32,
    },
    Older {
        blocks: u32,
    },
    Threshold {
        k: u8,
        children: Vec<Self>,
    },
}

impl ToValue for PolicyJson {
    type Value = Policy;
    fn to_value(&self) -> Result<Policy, Failure> {
        Ok(match self {
            Self::Opaque { id } => Policy::Opaque(*id),
            Self::Key { key } => Policy::Key(*key),
            Self::Hash { digest } => Policy::Hash(digest.array()?),
            Self::After { height } => Policy::After(*height),
            Self::Older { blocks } => Policy::Older(*blocks),
            Self::Threshold { k, children } => {
                Policy::Threshold { k: *k, children: values(children)? }
            }
        })
    }
}

/// A `witness`: its kind is a number, so which fields belong to it is told by their names.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum WitnessJson {
    Key { kind: u8, signature: Text<Signature> },
    Policy { kind: u8, policy: PolicyJson, signatures: Vec<Text<Signature>>, preimages: Vec<Hex> },
}

impl ToValue for WitnessJson {
    type Value = Witness;
    fn to_value(&self) -> Result<Witness, Failure> {
        match self {
            Self::Key { kind, signature } => {
                Failure::unless_equal("witness kind", kind, &0)?;
                Ok(Witness::Key { signature: signature.0 })
            }
            Self::Policy { kind, policy, signatures, preimages } => {
                Failure::unless_equal("witness kind", kind, &1)?;
                Ok(Witness::Policy {
                    policy: policy.to_value()?,
                    signatures: texts(signatures),
                    preimages: preimages.iter().map(Hex::array).collect::<Result<_, _>>()?,
                })
            }
        }
    }
}

/// A transaction, field by field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransactionJson {
    version: u8,
    not_before: u32,
    inputs: Vec<OutPointJson>,
    outputs: Vec<OutputJson>,
    memo: Hex,
    witnesses: Vec<WitnessJson>,
}

impl ToValue for TransactionJson {
    type Value = Transaction;
    fn to_value(&self) -> Result<Transaction, Failure> {
        Failure::unless_equal("transaction version", &self.version, &Transaction::VERSION)?;
        Ok(Transaction {
            not_before: self.not_before,
            inputs: values(&self.inputs)?,
            outputs: values(&self.outputs)?,
            memo: self.memo.0.clone(),
            witnesses: values(&self.witnesses)?,
        })
    }
}

/// A coinbase, field by field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CoinbaseJson {
    version: u8,
    height: u32,
    #[serde(deserialize_with = "text")]
    utxo_commitment: Commitment,
    outputs: Vec<OutputJson>,
    extra: Hex,
}

impl ToValue for CoinbaseJson {
    type Value = Coinbase;
    fn to_value(&self) -> Result<Coinbase, Failure> {
        Ok(Coinbase {
            version: self.version,
            height: self.height,
            utxo_commitment: self.utxo_commitment,
            outputs: values(&self.outputs)?,
            extra: self.extra.0.clone(),
        })
    }
}

/// A header, field by field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderJson {
    version: u32,
    #[serde(deserialize_with = "text")]
    parent: BlockId,
    #[serde(deserialize_with = "text")]
    merkle_root: MerkleRoot,
    time: u32,
    #[serde(deserialize_with = "bits")]
    bits: u32,
    nonce: u32,
}

impl ToValue for HeaderJson {
    type Value = Header;
    fn to_value(&self) -> Result<Header, Failure> {
        let Self { version, parent, merkle_root, time, bits, nonce } = *self;
        Ok(Header { version, parent, merkle_root, time, bits, nonce })
    }
}

/// A block, field by field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockJson {
    header: HeaderJson,
    coinbase: CoinbaseJson,
    transactions: Vec<TransactionJson>,
}

impl ToValue for BlockJson {
    type Value = Block;
    fn to_value(&self) -> Result<Block, Failure> {
        Ok(Block {
            header: self.header.to_value()?,
            coinbase: self.coinbase.to_value()?,
            transactions: values(&self.transactions)?,
        })
    }
}

/// `bits`: 8 hex digits of a `u32`.
pub(super) fn bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() != 8 || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(de::Error::custom("bits are 8 lower-case hex digits"));
    }
    u32::from_str_radix(&text, 16).map_err(de::Error::custom)
}
