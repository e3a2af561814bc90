//! Blocks, headers and coinbases (PROTOCOL.md §4).

use crate::{
    codec::{
        Decode, DecodeError, Encode, Reader, bytes16_len, list16_len, list32_len, put_bytes16,
        put_list16, put_list32,
    },
    hash::{BlockId, CoinbaseId, Commitment, MerkleRoot, double_sha256},
    transaction::{Output, Transaction},
};

/// The 80 bytes that proof of work seals, in Bitcoin's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// `0x20000000`, with bits 13–28 free for miners.
    pub version: u32,
    /// The block before.
    pub parent: BlockId,
    /// Over the coinbase id and the wtxids.
    pub merkle_root: MerkleRoot,
    /// Seconds since 1970.
    pub time: u32,
    /// The target, in compact form.
    pub bits: u32,
    /// What miners try.
    pub nonce: u32,
}

impl Header {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 80;

    /// `H(header)`. Hashes on every call.
    pub fn id(&self) -> BlockId {
        BlockId(double_sha256(&self.to_bytes()))
    }
}

/// What a block creates out of nothing, and what it commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    /// 0 by the rules; another byte decodes and is `bad-coinbase` (§8).
    pub version: u8,
    /// The block's height.
    pub height: u32,
    /// The UTXO set *before* the block (§6).
    pub utxo_commitment: Commitment,
    /// To whom subsidy and fees go.
    pub outputs: Vec<Output>,
    /// At most 96 bytes by the rules: the miner's own, last so that it can be rolled.
    pub extra: Vec<u8>,
}

impl Coinbase {
    /// The only version that the rules allow.
    pub const VERSION: u8 = 0;

    /// `H(coinbase)`. Hashes on every call.
    pub fn id(&self) -> CoinbaseId {
        CoinbaseId(double_sha256(&self.to_bytes()))
    }
}

/// `header ‖ coinbase ‖ list32<transaction>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What is hashed and mined.
    pub header: Header,
    /// The first of the merkle leaves.
    pub coinbase: Coinbase,
    /// In an order in which each may spend from those before it.
    pub transactions: Vec<Transaction>,
}

impl Encode for Header {
    fn encode(&self, out: &mut Vec<u8>) {
        self.version.encode(out);
        self.parent.encode(out);
        self.merkle_root.encode(out);
        self.time.encode(out);
        self.bits.encode(out);
        self.nonce.encode(out);
    }
    fn encoded_len(&self) -> usize {
        Self::LEN
    }
}

impl Decode for Header {
    const MIN_LEN: usize = Self::LEN;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: u32::decode(reader)?,
            parent: BlockId::decode(reader)?,
            merkle_root: MerkleRoot::decode(reader)?,
            time: u32::decode(reader)?,
            bits: u32::decode(reader)?,
            nonce: u32::decode(reader)?,
        })
    }
}

impl Encode for Coinbase {
    fn encode(&self, out: &mut Vec<u8>) {
        self.version.encode(out);
        self.height.encode(out);
        self.utxo_commitment.encode(out);
        put_list16(out, &self.outputs);
        put_bytes16(out, &self.extra);
    }

    fn encoded_len(&self) -> usize {
        (1_usize + 4 + 32)
            .saturating_add(list16_len(&self.outputs))
            .saturating_add(bytes16_len(&self.extra))
    }
}

impl Decode for Coinbase {
    const MIN_LEN: usize = 1 + 4 + 32 + 2 + 2;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: u8::decode(reader)?,
            height: u32::decode(reader)?,
            utxo_commitment: Commitment::decode(reader)?,
            outputs: reader.list16()?,
            extra: reader.bytes16()?,
        })
    }
}

impl Encode for Block {
    fn encode(&self, out: &mut Vec<u8>) {
        self.header.encode(out);
        self.coinbase.encode(out);
        put_list32(out, &self.transactions);
    }

    fn encoded_len(&self) -> usize {
        Header::LEN
            .saturating_add(self.coinbase.encoded_len())
            .saturating_add(list32_len(&self.transactions))
    }
}

impl Decode for Block {
    const MIN_LEN: usize = Header::LEN + Coinbase::MIN_LEN + 4;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            header: Header::decode(reader)?,
            coinbase: Coinbase::decode(reader)?,
            transactions: reader.list32()?,
        })
    }
}
