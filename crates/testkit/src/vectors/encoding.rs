//! `encoding.json`: the one encoding of transactions, blocks and policies (PROTOCOL.md §1–4).

use ashlar_primitives::{
    Block, BlockId, Coinbase, CoinbaseId, Header, MerkleRoot, Policy, PolicyId, Transaction, Txid,
    Wtxid, merkle::block_merkle_root,
};
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    json::{
        BlockJson, CoinbaseJson, HeaderJson, Hex, Judged, PolicyJson, Text, ToValue,
        TransactionJson, check_encoding, text,
    },
};

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Case {
    Transaction(Judged<GoodTransaction>),
    Coinbase(Judged<Good<CoinbaseJson, Text<CoinbaseId>>>),
    Header(Judged<Good<HeaderJson, Text<BlockId>>>),
    Block(Judged<GoodBlock>),
    Policy(Judged<Good<PolicyJson, Text<PolicyId>>>),
}

/// What has one id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Good<F, I> {
    hex: Hex,
    fields: F,
    id: I,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GoodTransaction {
    hex: Hex,
    fields: TransactionJson,
    #[serde(deserialize_with = "text")]
    txid: Txid,
    #[serde(deserialize_with = "text")]
    wtxid: Wtxid,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GoodBlock {
    hex: Hex,
    fields: BlockJson,
    #[serde(deserialize_with = "text")]
    id: BlockId,
    #[serde(deserialize_with = "text")]
    coinbase_id: CoinbaseId,
    #[serde(deserialize_with = "text")]
    merkle_root: MerkleRoot,
}

impl Check for Case {
    fn check(&self) -> Verdict {
        match self {
            Self::Transaction(Judged::Good(good)) => {
                let transaction = good.fields.to_value()?;
                check_encoding(&good.hex, &transaction)?;
                Failure::unless_equal("txid", &transaction.txid(), &good.txid)?;
                Failure::unless_equal("wtxid", &transaction.wtxid(), &good.wtxid)
            }
            Self::Coinbase(Judged::Good(good)) => {
                let coinbase = good.fields.to_value()?;
                check_encoding(&good.hex, &coinbase)?;
                Failure::unless_equal("id", &coinbase.id(), &good.id.0)
            }
            Self::Header(Judged::Good(good)) => {
                let header = good.fields.to_value()?;
                check_encoding(&good.hex, &header)?;
                Failure::unless_equal("id", &header.id(), &good.id.0)
            }
            Self::Block(Judged::Good(good)) => {
                let block = good.fields.to_value()?;
                check_encoding(&good.hex, &block)?;
                Failure::unless_equal("id", &block.header.id(), &good.id)?;
                Failure::unless_equal("coinbase id", &block.coinbase.id(), &good.coinbase_id)?;
                let root = block_merkle_root(&block);
                Failure::unless_equal("merkle root", &root, &Some(good.merkle_root))
            }
            Self::Policy(Judged::Good(good)) => {
                let policy = good.fields.to_value()?;
                check_encoding(&good.hex, &policy)?;
                Failure::unless_equal("id", &policy.id(), &good.id.0)
            }
            Self::Transaction(Judged::Bad(bad)) => bad.check::<Transaction>("tx-malformed"),
            Self::Coinbase(Judged::Bad(bad)) => bad.check::<Coinbase>("malformed"),
            Self::Header(Judged::Bad(bad)) => bad.check::<Header>("malformed"),
            Self::Block(Judged::Bad(bad)) => bad.check::<Block>("malformed"),
            Self::Policy(Judged::Bad(bad)) => bad.check::<Policy>("malformed"),
        }
    }
}
