//! The messages of PROTOCOL.md §12: names, limits, requests, answers, gossip data.
//!
//! Only what the bytes themselves show is judged here: whether headers link up, or an answer is
//! what was asked for, is the engine's to say. A network codec reads the `u32` before a message,
//! refuses it against [`Request::MAX_PAYLOAD`] or [`Answer::max_payload`] before it sets
//! anything aside, then hands what follows to `from_payload`.

use crate::{
    block::{Block, Header},
    codec::{
        Decode, DecodeError, Encode, Reader, bytes16_len, list16_len, list32_len, put_bytes16,
        put_list16, put_list32,
    },
    compact::CompactBlock,
    hash::{BlockId, Wtxid, sha256},
    transaction::Transaction,
};

/// Length in bytes of the `u32` that stands before every message.
pub const LENGTH_PREFIX: usize = 4;
/// Most bytes of a request's tag and fields.
pub const MAX_REQUEST_BYTES: usize = 262_144;
/// Most bytes of an answer's list with its count, unless one block and its count are more.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Most ids in a locator.
pub const MAX_LOCATOR: usize = 64;
/// Most headers in an answer.
pub const MAX_HEADERS: usize = 2_000;
/// Most blocks that one request may ask for.
pub const MAX_BLOCK_IDS: usize = 64;
/// Who lacks more transactions of a block fetches it whole; longer requests decode, up to
/// [`MAX_REQUEST_BYTES`], and may be refused.
pub const MAX_BLOCK_TRANSACTION_INDEXES: usize = 16_000;
/// How deep below the tip transactions of a block are still given one by one.
pub const MAX_BLOCK_TRANSACTIONS_DEPTH: u32 = 10;
/// Most ids in an answer about the mempool.
pub const MAX_MEMPOOL_IDS: usize = 10_000;
/// Most transactions that one request may ask for.
pub const MAX_TRANSACTION_IDS: usize = 1_000;
/// Most bytes of the list that answers a request for transactions, with its count.
pub const MAX_TRANSACTIONS_BYTES: usize = 1024 * 1024;
/// Most bytes of an agent.
pub const MAX_AGENT_BYTES: usize = 64;
/// Most bytes of a compact block in gossip; a larger one goes by
/// [`CompactBlock::announcement`].
pub const MAX_COMPACT_BYTES: usize = 262_144;
/// Most bytes of a batch of transactions in gossip.
pub const MAX_BATCH_BYTES: usize = 65_536;

/// The protocol version that identify carries.
pub const IDENTIFY_PROTOCOL: &str = "ashlar/1";

/// The protocol and topic names of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The first 8 hex digits of the chain id as people see it.
    pub net: String,
    /// The topic of compact blocks.
    pub block: String,
    /// The topic of transaction batches.
    pub tx: String,
    /// The request–response protocol.
    pub sync: String,
    /// The Kademlia protocol.
    pub kad: String,
}

impl Names {
    /// For the chain whose genesis block is this.
    pub fn new(chain_id: &BlockId) -> Self {
        let net: String = chain_id.to_string().chars().take(8).collect();
        let name = |what: &str| format!("/ashlar/{net}/{what}/1");
        Self { block: name("block"), tx: name("tx"), sync: name("sync"), kad: name("kad"), net }
    }
}

/// Tag 0, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The sender's chain. What decides whether two nodes belong together.
    pub chain_id: BlockId,
    /// The best block that the sender has published.
    pub tip: BlockId,
    /// The tip's.
    pub height: u32,
    /// Of the chain up to the tip. Little-endian, as on the wire.
    pub work: [u8; 32],
    /// A set of [`Status::ALL_BODIES`] and [`Status::RECENT_BODIES`]; other bits mean nothing.
    pub services: u32,
    /// Printable ASCII, at most 64 bytes ([`Status::is_agent`]).
    pub agent: String,
}

impl Status {
    /// Services bit 0: has all bodies.
    pub const ALL_BODIES: u32 = 1;
    /// Services bit 1: has at least the bodies of the last two days.
    pub const RECENT_BODIES: u32 = 2;

    /// How many blocks below and with its tip a node with recent bodies has at least: two days of
    /// them, and never fewer than 288. No node prunes more than that away.
    pub const fn recent_blocks(block_interval: u32) -> u32 {
        const LEAST: u32 = 288;
        const TWO_DAYS_SECONDS: u32 = 172_800;
        match TWO_DAYS_SECONDS.checked_div(block_interval) {
            Some(blocks) if blocks > LEAST => blocks,
            _ => LEAST,
        }
    }

    /// Whether a status may carry this agent: at most [`MAX_AGENT_BYTES`], each 0x20–0x7e, so
    /// that no peer can forge a line of a log.
    pub fn is_agent(text: &[u8]) -> bool {
        text.len() <= MAX_AGENT_BYTES && text.iter().all(|byte| (0x20..=0x7e).contains(byte))
    }
}

impl Encode for Status {
    fn encode(&self, out: &mut Vec<u8>) {
        self.chain_id.encode(out);
        self.tip.encode(out);
        self.height.encode(out);
        self.work.encode(out);
        self.services.encode(out);
        put_bytes16(out, self.agent.as_bytes());
    }

    fn encoded_len(&self) -> usize {
        bytes16_len(self.agent.as_bytes()).saturating_add(32 + 32 + 4 + 32 + 4)
    }
}

impl Decode for Status {
    const MIN_LEN: usize = 32 + 32 + 4 + 32 + 4 + 2;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            chain_id: BlockId::decode(reader)?,
            tip: BlockId::decode(reader)?,
            height: u32::decode(reader)?,
            work: reader.array()?,
            services: u32::decode(reader)?,
            agent: {
                let agent = reader.bytes16()?;
                if agent.len() > MAX_AGENT_BYTES {
                    return Err(DecodeError::OverLimit { what: "agent" });
                }
                String::from_utf8(agent)
                    .ok()
                    .filter(|agent| Self::is_agent(agent.as_bytes()))
                    .ok_or(DecodeError::NotCanonical { what: "agent" })?
            },
        })
    }
}

/// What a message is about, the same in a request and its answer.
pub mod tag {
    /// Who are you, and where is your tip?
    pub const STATUS: u8 = 0;
    /// Headers after a locator.
    pub const HEADERS: u8 = 1;
    /// Whole blocks.
    pub const BLOCKS: u8 = 2;
    /// Some transactions of one block.
    pub const BLOCK_TRANSACTIONS: u8 = 3;
    /// Ids of what is in the mempool.
    pub const MEMPOOL: u8 = 4;
    /// Unconfirmed transactions.
    pub const TRANSACTIONS: u8 = 5;
}

/// What one node asks of another. The limits are those of decoding; who builds a request keeps
/// them, or the other side refuses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The asker's own status.
    Status(Status),
    /// The headers after what both have.
    Headers {
        /// Newest first, at most [`MAX_LOCATOR`].
        locator: Vec<BlockId>,
        /// The last header wanted; `None` for no stop. The zero id is no block's.
        stop: Option<BlockId>,
    },
    /// Whole blocks.
    Blocks {
        /// At most [`MAX_BLOCK_IDS`].
        ids: Vec<BlockId>,
    },
    /// What is missing to rebuild a compact block.
    BlockTransactions {
        /// The block.
        id: BlockId,
        /// Ascending strictly; the coinbase is not among those counted.
        indexes: Vec<u32>,
    },
    /// The ids of the best unconfirmed transactions.
    Mempool,
    /// Unconfirmed transactions.
    Transactions {
        /// At most [`MAX_TRANSACTION_IDS`].
        wtxids: Vec<Wtxid>,
    },
}

/// The answer, tag by tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The answerer's own status.
    Status(Status),
    /// At most [`MAX_HEADERS`], in chain order.
    Headers(Vec<Header>),
    /// A prefix of what was asked; empty: has none.
    Blocks(Vec<Block>),
    /// All that were asked for, in order; empty: does not have the block, or it is too deep.
    BlockTransactions(Vec<Transaction>),
    /// At most [`MAX_MEMPOOL_IDS`], best feerate first.
    Mempool(Vec<Wtxid>),
    /// Those asked for that it has.
    Transactions(Vec<Transaction>),
}

impl Request {
    /// The most that a request's length prefix may say.
    pub const MAX_PAYLOAD: usize = MAX_REQUEST_BYTES;

    /// The tag of this request, which its answer must carry.
    pub const fn tag(&self) -> u8 {
        match self {
            Self::Status(_) => tag::STATUS,
            Self::Headers { .. } => tag::HEADERS,
            Self::Blocks { .. } => tag::BLOCKS,
            Self::BlockTransactions { .. } => tag::BLOCK_TRANSACTIONS,
            Self::Mempool => tag::MEMPOOL,
            Self::Transactions { .. } => tag::TRANSACTIONS,
        }
    }

    /// `length u32 ‖ tag ‖ fields`.
    ///
    /// # Panics
    /// Where a list is longer than its count can say: far over its limit.
    pub fn to_frame(&self) -> Vec<u8> {
        frame(self.tag(), self)
    }

    /// From the bytes after the length (tag and fields).
    ///
    /// # Errors
    /// Where the bytes are no request, or one over a limit of §12.
    pub fn from_payload(payload: &[u8]) -> Result<Self, DecodeError> {
        if payload.len() > Self::MAX_PAYLOAD {
            return Err(DecodeError::OverLimit { what: "request" });
        }
        let mut reader = Reader::new(payload);
        let request = match u8::decode(&mut reader)? {
            tag::STATUS => Self::Status(Status::decode(&mut reader)?),
            tag::HEADERS => Self::Headers {
                locator: reader.list16_at_most(MAX_LOCATOR, "locator")?,
                stop: Some(BlockId::decode(&mut reader)?).filter(|stop| *stop != BlockId::ZERO),
            },
            tag::BLOCKS => Self::Blocks { ids: reader.list16_at_most(MAX_BLOCK_IDS, "block ids")? },
            tag::BLOCK_TRANSACTIONS => {
                let id = BlockId::decode(&mut reader)?;
                let indexes = reader.list32::<u32>()?;
                if !indexes.iter().zip(indexes.iter().skip(1)).all(|(low, high)| low < high) {
                    return Err(DecodeError::NotCanonical { what: "transaction indexes" });
                }
                Self::BlockTransactions { id, indexes }
            }
            tag::MEMPOOL => Self::Mempool,
            tag::TRANSACTIONS => Self::Transactions {
                wtxids: reader.list16_at_most(MAX_TRANSACTION_IDS, "transaction ids")?,
            },
            tag => return Err(DecodeError::UnknownTag { what: "request", tag }),
        };
        reader.finish()?;
        Ok(request)
    }
}

/// The fields alone, without length and tag.
impl Encode for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Status(status) => status.encode(out),
            Self::Headers { locator, stop } => {
                put_list16(out, locator);
                stop.unwrap_or(BlockId::ZERO).encode(out);
            }
            Self::Blocks { ids } => put_list16(out, ids),
            Self::BlockTransactions { id, indexes } => {
                id.encode(out);
                put_list32(out, indexes);
            }
            Self::Mempool => {}
            Self::Transactions { wtxids } => put_list16(out, wtxids),
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Status(status) => status.encoded_len(),
            Self::Headers { locator, .. } => list16_len(locator).saturating_add(32),
            Self::Blocks { ids } => list16_len(ids),
            Self::BlockTransactions { indexes, .. } => list32_len(indexes).saturating_add(32),
            Self::Mempool => 0,
            Self::Transactions { wtxids } => list16_len(wtxids),
        }
    }
}

impl Answer {
    /// The tag of the request that this answers.
    pub const fn tag(&self) -> u8 {
        match self {
            Self::Status(_) => tag::STATUS,
            Self::Headers(_) => tag::HEADERS,
            Self::Blocks(_) => tag::BLOCKS,
            Self::BlockTransactions(_) => tag::BLOCK_TRANSACTIONS,
            Self::Mempool(_) => tag::MEMPOOL,
            Self::Transactions(_) => tag::TRANSACTIONS,
        }
    }

    /// `length u32 ‖ tag ‖ fields`.
    ///
    /// # Panics
    /// Where a list is longer than its count can say: far over its limit.
    pub fn to_frame(&self) -> Vec<u8> {
        frame(self.tag(), self)
    }

    /// From the bytes after the length; `asked` is the tag of the request.
    /// `max_block_bytes` is the chain's.
    ///
    /// # Errors
    /// Where the bytes are no answer to such a request, or one over a limit of §12.
    pub fn from_payload(
        payload: &[u8],
        asked: u8,
        max_block_bytes: u32,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        match u8::decode(&mut reader)? {
            tag if tag == asked => {}
            tag => return Err(DecodeError::UnknownTag { what: "answer", tag }),
        }
        let size = reader.remaining();
        let at_most = |limit: usize, what| {
            if size > limit { Err(DecodeError::OverLimit { what }) } else { Ok(()) }
        };
        let answer = match asked {
            tag::STATUS => Self::Status(Status::decode(&mut reader)?),
            tag::HEADERS => Self::Headers(reader.list16_at_most(MAX_HEADERS, "headers")?),
            tag::BLOCKS => {
                at_most(max_list(size_of::<u16>(), max_block_bytes), "blocks")?;
                let max_count = if size > MAX_ANSWER_BYTES { 1 } else { usize::from(u16::MAX) };
                Self::Blocks(reader.list16_at_most(max_count, "blocks")?)
            }
            tag::BLOCK_TRANSACTIONS => {
                at_most(max_list(size_of::<u32>(), max_block_bytes), "block transactions")?;
                Self::BlockTransactions(reader.list32()?)
            }
            tag::MEMPOOL => Self::Mempool(reader.list16_at_most(MAX_MEMPOOL_IDS, "mempool ids")?),
            tag::TRANSACTIONS => {
                at_most(MAX_TRANSACTIONS_BYTES, "transactions")?;
                Self::Transactions(reader.list16()?)
            }
            tag => return Err(DecodeError::UnknownTag { what: "answer", tag }),
        };
        reader.finish()?;
        Ok(answer)
    }

    /// The longest payload that an answer may have on a chain (the length prefix's value).
    pub fn max_payload(max_block_bytes: u32) -> usize {
        max_list(size_of::<u32>(), max_block_bytes).saturating_add(size_of::<u8>())
    }
}

/// "No answer's list exceeds 8 MiB, or one block and its count where that is more."
fn max_list(count_len: usize, max_block_bytes: u32) -> usize {
    usize::try_from(max_block_bytes)
        .unwrap_or(usize::MAX)
        .saturating_add(count_len)
        .max(MAX_ANSWER_BYTES)
}

/// The fields alone, without length and tag.
impl Encode for Answer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Status(status) => status.encode(out),
            Self::Headers(headers) => put_list16(out, headers),
            Self::Blocks(blocks) => put_list16(out, blocks),
            Self::BlockTransactions(transactions) => put_list32(out, transactions),
            Self::Mempool(wtxids) => put_list16(out, wtxids),
            Self::Transactions(transactions) => put_list16(out, transactions),
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Status(status) => status.encoded_len(),
            Self::Headers(headers) => list16_len(headers),
            Self::Blocks(blocks) => list16_len(blocks),
            Self::BlockTransactions(transactions) => list32_len(transactions),
            Self::Mempool(wtxids) => list16_len(wtxids),
            Self::Transactions(transactions) => list16_len(transactions),
        }
    }
}

#[expect(clippy::expect_used, reason = "a message without a length is a bug of its builder")]
fn frame(tag: u8, fields: &impl Encode) -> Vec<u8> {
    let payload_len = fields.encoded_len().saturating_add(size_of::<u8>());
    let mut out = Vec::with_capacity(payload_len.saturating_add(LENGTH_PREFIX));
    u32::try_from(payload_len).expect("no message is longer than 2^32 - 1 bytes").encode(&mut out);
    tag.encode(&mut out);
    fields.encode(&mut out);
    out
}

/// The payload of one whole message: what the length before it counts, no more and no less.
///
/// A codec that reads from a stream compares the length with `max_payload` itself, before it
/// waits for the payload.
///
/// # Errors
/// Where the length is over `max_payload`, or is not that of what follows.
pub fn split_frame(frame: &[u8], max_payload: usize) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(frame);
    let length = u32::decode(&mut reader)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= max_payload);
    let payload = reader.bytes(length.ok_or(DecodeError::OverLimit { what: "message" })?)?;
    reader.finish()?;
    Ok(payload)
}

/// Gossip data of the block topic.
///
/// # Errors
/// Where the data is no compact block, or over [`MAX_COMPACT_BYTES`].
pub fn decode_announcement(data: &[u8]) -> Result<CompactBlock, DecodeError> {
    if data.len() > MAX_COMPACT_BYTES {
        return Err(DecodeError::OverLimit { what: "compact block" });
    }
    CompactBlock::from_bytes(data)
}

/// Gossip data of the tx topic.
///
/// # Errors
/// Where the data is no list of transactions, or over [`MAX_BATCH_BYTES`].
pub fn decode_batch(data: &[u8]) -> Result<Vec<Transaction>, DecodeError> {
    if data.len() > MAX_BATCH_BYTES {
        return Err(DecodeError::OverLimit { what: "batch" });
    }
    let mut reader = Reader::new(data);
    let transactions = reader.list16()?;
    reader.finish()?;
    Ok(transactions)
}

/// The data that tells a block. The sender sees to [`MAX_COMPACT_BYTES`].
pub fn encode_announcement(compact: &CompactBlock) -> Vec<u8> {
    compact.to_bytes()
}

/// The data that carries transactions. The sender sees to [`MAX_BATCH_BYTES`].
///
/// # Panics
/// Where there are more than 65,535 transactions, which are over the limit by far.
pub fn encode_batch(transactions: &[Transaction]) -> Vec<u8> {
    let mut out = Vec::with_capacity(list16_len(transactions));
    put_list16(&mut out, transactions);
    out
}

/// The id of a gossip message: SHA-256 of its data.
pub fn message_id(data: &[u8]) -> [u8; 32] {
    sha256(data)
}
