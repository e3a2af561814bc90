//! `compact.json`: short ids, compact blocks and their rebuilding (PROTOCOL.md §12).

use ashlar_primitives::{
    Block, BlockId, Decode, Encode, Header, Transaction, Wtxid,
    compact::{CompactBlock, Rebuild, ShortId, ShortIdKey, rebuild},
};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    json::{
        CoinbaseJson, HeaderJson, Hex, Judged, Text, ToValue, TransactionJson, check_encoding, text,
    },
};

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Case {
    Siphash(SipHash),
    ShortIds(ShortIds),
    Build(Build),
    Encoding(Judged<Encoding>),
    Rebuild(Rebuilding),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SipHash {
    key: Hex,
    message: Hex,
    hash: Hex,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShortIds {
    header: Hex,
    salt: u64,
    wtxids: Vec<Text<Wtxid>>,
    key: Hex,
    short_ids: Vec<Hex>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Build {
    block: Hex,
    salt: u64,
    prefill: Vec<u32>,
    hex: Hex,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Encoding {
    hex: Hex,
    fields: CompactJson,
    #[serde(deserialize_with = "text")]
    id: BlockId,
    key: Hex,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompactJson {
    header: HeaderJson,
    coinbase: CoinbaseJson,
    salt: u64,
    short_ids: Vec<Hex>,
    prefilled: Vec<PrefilledJson>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PrefilledJson {
    index: u32,
    transaction: TransactionJson,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rebuilding {
    compact: Hex,
    known: Vec<Hex>,
    received: Option<Vec<Hex>>,
    result: RebuildResult,
    block: Option<Hex>,
    indexes: Option<Vec<u32>>,
    #[expect(dead_code, reason = "for people")]
    note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RebuildResult {
    Complete,
    Ask,
    Whole,
}

impl ToValue for CompactJson {
    type Value = CompactBlock;
    fn to_value(&self) -> Result<CompactBlock, Failure> {
        Ok(CompactBlock {
            header: self.header.to_value()?,
            coinbase: self.coinbase.to_value()?,
            salt: self.salt,
            short_ids: to_short_ids(&self.short_ids)?,
            prefilled: self
                .prefilled
                .iter()
                .map(|prefilled| Ok((prefilled.index, prefilled.transaction.to_value()?)))
                .collect::<Result<_, Failure>>()?,
        })
    }
}

impl Check for Case {
    fn check(&self) -> Verdict {
        match self {
            Self::Siphash(case) => {
                let hash = ShortIdKey::from_bytes(&case.key.array()?).hash(&case.message.0);
                Failure::unless_equal("hash", &Hex(hash.to_le_bytes().to_vec()), &case.hash)
            }
            Self::ShortIds(case) => {
                let key = ShortIdKey::new(&Header::from_bytes(&case.header.0)?, case.salt);
                Failure::unless_equal("key", &key.to_bytes(), &case.key.array()?)?;
                let got: Vec<_> = case.wtxids.iter().map(|id| key.short_id(&id.0)).collect();
                Failure::unless_equal("short ids", &got, &to_short_ids(&case.short_ids)?)
            }
            Self::Build(case) => {
                let block = Block::from_bytes(&case.block.0)?;
                let compact = CompactBlock::build(&block, case.salt, &case.prefill);
                Failure::unless_equal("compact block", &Hex(compact.to_bytes()), &case.hex)
            }
            Self::Encoding(Judged::Good(case)) => {
                let compact = case.fields.to_value()?;
                check_encoding(&case.hex, &compact)?;
                Failure::unless_equal("id", &compact.header.id(), &case.id)?;
                let key = ShortIdKey::new(&compact.header, compact.salt);
                Failure::unless_equal("key", &key.to_bytes(), &case.key.array()?)
            }
            Self::Encoding(Judged::Bad(bad)) => bad.check::<CompactBlock>("malformed"),
            Self::Rebuild(case) => case.check(),
        }
    }
}

impl Rebuilding {
    fn check(&self) -> Verdict {
        let expected = match (self.result, &self.block, &self.indexes) {
            (RebuildResult::Complete, Some(block), None) => {
                Rebuild::Complete(Block::from_bytes(&block.0)?)
            }
            (RebuildResult::Ask, None, Some(indexes)) => Rebuild::Ask(indexes.clone()),
            (RebuildResult::Whole, None, None) => Rebuild::Whole,
            _ => return Err(Failure::new("`block` and `indexes` don't go with the `result`")),
        };
        let compact = CompactBlock::from_bytes(&self.compact.0)?;
        let known = to_transactions(&self.known)?;
        let known = known.iter().map(|transaction| (transaction.wtxid(), transaction));
        let received = self.received.as_deref().map(to_transactions).transpose()?;
        Failure::unless_equal("result", &rebuild(&compact, known, received.as_deref()), &expected)
    }
}

fn to_short_ids(ids: &[Hex]) -> Result<Vec<ShortId>, Failure> {
    ids.iter().map(|id| id.array().map(ShortId)).collect()
}

fn to_transactions(transactions: &[Hex]) -> Result<Vec<Transaction>, Failure> {
    transactions.iter().map(|bytes| Ok(Transaction::from_bytes(&bytes.0)?)).collect()
}
