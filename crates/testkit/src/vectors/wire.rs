//! `wire.json`: names, requests, answers and gossip (PROTOCOL.md §12).

use std::fmt::Debug;

use ashlar_primitives::{
    BlockId, Decode, DecodeError, Wtxid,
    wire::{
        Answer, Names, Request, Status, decode_announcement, decode_batch, encode_announcement,
        encode_batch, message_id, split_frame, tag,
    },
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Check, Failure, Verdict,
    json::{Hex, Text, ToValue, text, texts},
};

/// "Answers are judged as on a chain of the greatest `max_block_bytes`" (§7).
const MAX_BLOCK_BYTES: u32 = 32_000_000;

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Case {
    Names(NamesCase),
    Request(Message),
    Answer(Message),
    Batch(Gossip),
    Announcement(Gossip),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamesCase {
    #[serde(deserialize_with = "text")]
    chain_id: BlockId,
    net: String,
    block: String,
    tx: String,
    sync: String,
    kad: String,
}

/// A request or an answer with its length.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    message: Option<Kind>,
    hex: Option<Hex>,
    pieces: Option<Vec<Piece>>,
    size: Option<usize>,
    fields: Option<Value>,
    count: Option<usize>,
    error: Option<String>,
}

/// The data of a topic.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gossip {
    hex: Option<Hex>,
    pieces: Option<Vec<Piece>>,
    size: Option<usize>,
    message_id: Option<Hex>,
    fields: Option<Value>,
    count: Option<usize>,
    id: Option<Text<BlockId>>,
    short_ids: Option<usize>,
    prefilled: Option<usize>,
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Status,
    Headers,
    Blocks,
    BlockTransactions,
    Mempool,
    Transactions,
}

impl Kind {
    const fn tag(self) -> u8 {
        match self {
            Self::Status => tag::STATUS,
            Self::Headers => tag::HEADERS,
            Self::Blocks => tag::BLOCKS,
            Self::BlockTransactions => tag::BLOCK_TRANSACTIONS,
            Self::Mempool => tag::MEMPOOL,
            Self::Transactions => tag::TRANSACTIONS,
        }
    }
}

/// A part of large data.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Piece {
    Repeated(Hex, usize),
    Rising(u32, u32),
}

/// The whole data of a case.
fn data(
    hex: Option<&Hex>,
    pieces: Option<&[Piece]>,
    size: Option<usize>,
) -> Result<Vec<u8>, Failure> {
    match (hex, pieces, size) {
        (Some(hex), None, None) => Ok(hex.0.clone()),
        (None, Some(pieces), Some(size)) => {
            let data = pieces.iter().map(Piece::bytes).collect::<Vec<_>>().concat();
            Failure::unless_equal("size of the pieces", &data.len(), &size)?;
            Ok(data)
        }
        _ => Err(Failure::new("a case has either `hex`, or `pieces` and their `size`")),
    }
}

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Repeated(hex, times) => hex.0.repeat(*times),
            Self::Rising(first, count) => {
                (0..*count).flat_map(|step| (first + step).to_le_bytes()).collect()
            }
        }
    }
}

impl Check for Case {
    fn check(&self) -> Verdict {
        match self {
            Self::Names(case) => {
                let NamesCase { chain_id, net, block, tx, sync, kad } = case;
                let [net, block, tx, sync, kad] = [net, block, tx, sync, kad].map(Clone::clone);
                let expected = Names { net, block, tx, sync, kad };
                Failure::unless_equal("names", &Names::new(chain_id), &expected)
            }
            Self::Request(case) => case.check::<Request>(),
            Self::Answer(case) => case.check::<Answer>(),
            Self::Batch(case) => case.check_batch(),
            Self::Announcement(case) => case.check_announcement(),
        }
    }
}

impl Message {
    fn check<F: Framed>(&self) -> Verdict {
        let frame = data(self.hex.as_ref(), self.pieces.as_deref(), self.size)?;
        match (self.message, &self.fields, self.count, &self.error) {
            (Some(kind), fields, count, None) if fields.is_some() != count.is_some() => {
                let message = F::from_frame(&frame, Some(kind))?;
                Failure::unless_equal("tag", &message.tag(), &kind.tag())?;
                if let Some(fields) = fields {
                    Failure::unless_equal("fields", &message, &F::from_fields(kind, fields)?)?;
                }
                if count.is_some() {
                    Failure::unless_equal("count", &message.count(), &count)?;
                }
                Failure::unless(message.to_frame() == frame, || "encoded again it is another")
            }
            (kind, None, None, Some(error)) => {
                Failure::unless_equal("code", &"malformed", &error.as_str())?;
                Failure::unless_refused(F::from_frame(&frame, kind))
            }
            _ => Err(Failure::new("a case has `message` and `fields` or `count`, or an `error`")),
        }
    }
}

impl Gossip {
    fn data(&self) -> Result<Vec<u8>, Failure> {
        data(self.hex.as_ref(), self.pieces.as_deref(), self.size)
    }

    fn check_batch(&self) -> Verdict {
        let data = self.data()?;
        match self {
            Self { message_id: Some(id), fields, count, error: None, .. }
                if fields.is_some() != count.is_some() && self.is_of_batch() =>
            {
                let batch = decode_batch(&data)?;
                Failure::unless_equal("message id", &message_id(&data), &id.array()?)?;
                if let Some(fields) = fields {
                    let Transactions { transactions } = Transactions::deserialize(fields)?;
                    Failure::unless_equal("batch", &batch, &decoded(&transactions)?)?;
                }
                if let Some(count) = count {
                    Failure::unless_equal("count", &batch.len(), count)?;
                }
                Failure::unless(encode_batch(&batch) == data, || "encoded again it is another")
            }
            Self { message_id: None, fields: None, count: None, error: Some(error), .. }
                if self.is_of_batch() =>
            {
                Failure::unless_equal("code", &"malformed", &error.as_str())?;
                Failure::unless_refused(decode_batch(&data))
            }
            _ => Err(Failure::new("a batch has `message_id` and its content, or an `error`")),
        }
    }

    fn check_announcement(&self) -> Verdict {
        let data = self.data()?;
        match self {
            Self {
                message_id: Some(message),
                id: Some(id),
                short_ids: Some(short_ids),
                prefilled: Some(prefilled),
                fields: None,
                count: None,
                error: None,
                ..
            } => {
                let compact = decode_announcement(&data)?;
                Failure::unless_equal("message id", &message_id(&data), &message.array()?)?;
                Failure::unless_equal("id", &compact.header.id(), &id.0)?;
                Failure::unless_equal("short ids", &compact.short_ids.len(), short_ids)?;
                Failure::unless_equal("prefilled", &compact.prefilled.len(), prefilled)?;
                let again = encode_announcement(&compact);
                Failure::unless(again == data, || "encoded again it is another")
            }
            Self { message_id: None, fields: None, count: None, error: Some(error), .. }
                if !self.has_block() =>
            {
                Failure::unless_equal("code", &"malformed", &error.as_str())?;
                Failure::unless_refused(decode_announcement(&data))
            }
            _ => Err(Failure::new("an announcement has its content, or an `error`")),
        }
    }

    const fn has_block(&self) -> bool {
        self.id.is_some() || self.short_ids.is_some() || self.prefilled.is_some()
    }

    const fn is_of_batch(&self) -> bool {
        !self.has_block()
    }
}

/// What requests and answers have in common.
trait Framed: Sized + PartialEq + Debug {
    fn from_fields(kind: Kind, fields: &Value) -> Result<Self, Failure>;
    fn from_frame(frame: &[u8], kind: Option<Kind>) -> Result<Self, DecodeError>;
    fn to_frame(&self) -> Vec<u8>;
    fn tag(&self) -> u8;
    /// Items of the list, where there is one.
    fn count(&self) -> Option<usize>;
}

impl Framed for Request {
    fn from_fields(kind: Kind, fields: &Value) -> Result<Self, Failure> {
        Ok(match kind {
            Kind::Status => Self::Status(StatusJson::deserialize(fields)?.to_value()?),
            Kind::Headers => {
                let Locator { locator, stop } = Locator::deserialize(fields)?;
                let stop = Some(stop).filter(|stop| *stop != BlockId::ZERO);
                Self::Headers { locator: texts(&locator), stop }
            }
            Kind::Blocks => Self::Blocks { ids: texts(&Ids::deserialize(fields)?.ids) },
            Kind::BlockTransactions => {
                let Indexes { id, indexes } = Indexes::deserialize(fields)?;
                Self::BlockTransactions { id, indexes }
            }
            Kind::Mempool => {
                let Nothing {} = Nothing::deserialize(fields)?;
                Self::Mempool
            }
            Kind::Transactions => {
                Self::Transactions { wtxids: texts(&Wtxids::deserialize(fields)?.wtxids) }
            }
        })
    }

    fn from_frame(frame: &[u8], _: Option<Kind>) -> Result<Self, DecodeError> {
        Self::from_payload(split_frame(frame, Self::MAX_PAYLOAD)?)
    }

    fn to_frame(&self) -> Vec<u8> {
        self.to_frame()
    }

    fn tag(&self) -> u8 {
        self.tag()
    }

    fn count(&self) -> Option<usize> {
        match self {
            Self::Status(_) | Self::Mempool => None,
            Self::Headers { locator, .. } => Some(locator.len()),
            Self::Blocks { ids } => Some(ids.len()),
            Self::BlockTransactions { indexes, .. } => Some(indexes.len()),
            Self::Transactions { wtxids } => Some(wtxids.len()),
        }
    }
}

impl Framed for Answer {
    fn from_fields(kind: Kind, fields: &Value) -> Result<Self, Failure> {
        let transactions = || decoded(&Transactions::deserialize(fields)?.transactions);
        Ok(match kind {
            Kind::Status => Self::Status(StatusJson::deserialize(fields)?.to_value()?),
            Kind::Headers => Self::Headers(decoded(&Headers::deserialize(fields)?.headers)?),
            Kind::Blocks => Self::Blocks(decoded(&Blocks::deserialize(fields)?.blocks)?),
            Kind::BlockTransactions => Self::BlockTransactions(transactions()?),
            Kind::Mempool => Self::Mempool(texts(&Wtxids::deserialize(fields)?.wtxids)),
            Kind::Transactions => Self::Transactions(transactions()?),
        })
    }

    fn from_frame(frame: &[u8], kind: Option<Kind>) -> Result<Self, DecodeError> {
        let payload = split_frame(frame, Self::max_payload(MAX_BLOCK_BYTES))?;
        let asked = kind.map_or(tag::STATUS, Kind::tag);
        Self::from_payload(payload, asked, MAX_BLOCK_BYTES)
    }

    fn to_frame(&self) -> Vec<u8> {
        self.to_frame()
    }

    fn tag(&self) -> u8 {
        self.tag()
    }

    fn count(&self) -> Option<usize> {
        match self {
            Self::Status(_) => None,
            Self::Headers(headers) => Some(headers.len()),
            Self::Blocks(blocks) => Some(blocks.len()),
            Self::Mempool(wtxids) => Some(wtxids.len()),
            Self::BlockTransactions(list) | Self::Transactions(list) => Some(list.len()),
        }
    }
}

fn decoded<T: Decode>(items: &[Hex]) -> Result<Vec<T>, Failure> {
    items.iter().map(|bytes| Ok(T::from_bytes(&bytes.0)?)).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusJson {
    #[serde(deserialize_with = "text")]
    chain_id: BlockId,
    #[serde(deserialize_with = "text")]
    tip: BlockId,
    height: u32,
    /// Highest digit first, unlike the wire.
    work: Hex,
    services: u32,
    agent: String,
}

impl ToValue for StatusJson {
    type Value = Status;
    fn to_value(&self) -> Result<Status, Failure> {
        let mut work: [u8; 32] = self.work.array()?;
        work.reverse();
        Ok(Status {
            chain_id: self.chain_id,
            tip: self.tip,
            height: self.height,
            work,
            services: self.services,
            agent: self.agent.clone(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Locator {
    locator: Vec<Text<BlockId>>,
    #[serde(deserialize_with = "text")]
    stop: BlockId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Indexes {
    #[serde(deserialize_with = "text")]
    id: BlockId,
    indexes: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Objects of a single list.
macro_rules! lists {
    ($($name:ident { $field:ident: $item:ty })*) => {$(
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $field: Vec<$item>,
        }
    )*};
}
lists! {
    Ids { ids: Text<BlockId> }
    Wtxids { wtxids: Text<Wtxid> }
    Headers { headers: Hex }
    Blocks { blocks: Hex }
    Transactions { transactions: Hex }
}
