//! Transactions, outpoints, outputs and witnesses (PROTOCOL.md §3).

use core::{
    cmp::Ordering,
    hash::{Hash, Hasher},
};

use crate::{
    amount::Amount,
    codec::{
        Decode, DecodeError, Encode, Reader, bytes16_len, list16_len, put_bytes16, put_list16,
    },
    hash::{Signature, Txid, Wtxid, double_sha256},
    lock::Lock,
    policy::Policy,
};

/// Names a coin: `txid [32] ‖ index u16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutPoint {
    /// The transaction, or coinbase, that made the coin.
    pub txid: Txid,
    /// Which of its outputs.
    pub index: u16,
}

impl OutPoint {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 34;
}

impl Ord for OutPoint {
    /// By id, then by index.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.txid.cmp(&other.txid).then_with(|| self.index.cmp(&other.index))
    }
}

impl PartialOrd for OutPoint {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for OutPoint {
    /// Two writes, of id and index.
    #[inline]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.txid.hash(hasher);
        hasher.write_u16(self.index);
    }
}

/// `value u64 ‖ lock [33]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// How much.
    pub value: Amount,
    /// Who may spend it.
    pub lock: Lock,
}

impl Output {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 41;
}

/// What satisfies one lock, once for all coins under it (§3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witness {
    /// Kind 0, for a lock of version 0.
    Key {
        /// By the lock's key.
        signature: Signature,
    },
    /// Kind 1, for a lock of version 1.
    Policy {
        /// A tree whose id is the lock's program.
        policy: Policy,
        /// Taken in order by the tree's keys.
        signatures: Vec<Signature>,
        /// Taken in order by the tree's hashes.
        preimages: Vec<[u8; 32]>,
    },
}

/// A transfer of coins. Its version is always 1: no other decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The first height at which it may stand in a block.
    pub not_before: u32,
    /// The coins that it spends.
    pub inputs: Vec<OutPoint>,
    /// The coins that it makes.
    pub outputs: Vec<Output>,
    /// At most 256 bytes by the rules; 65,535 by the encoding.
    pub memo: Vec<u8>,
    /// One for each distinct lock spent, in the order of first appearance.
    pub witnesses: Vec<Witness>,
}

impl Transaction {
    /// The only version byte that decodes.
    pub const VERSION: u8 = 1;

    /// Appends the part that the txid commits to.
    pub fn encode_body(&self, out: &mut Vec<u8>) {
        Self::VERSION.encode(out);
        self.not_before.encode(out);
        put_list16(out, &self.inputs);
        put_list16(out, &self.outputs);
        put_bytes16(out, &self.memo);
    }

    /// Length in bytes of the part that the txid commits to.
    pub fn body_len(&self) -> usize {
        (1_usize + 4)
            .saturating_add(list16_len(&self.inputs))
            .saturating_add(list16_len(&self.outputs))
            .saturating_add(bytes16_len(&self.memo))
    }

    /// `H(body)`. Hashes on every call; rooms that need it often keep it beside the transaction.
    pub fn txid(&self) -> Txid {
        let mut body = Vec::with_capacity(self.body_len());
        self.encode_body(&mut body);
        Txid(double_sha256(&body))
    }

    /// `H(transaction)`. Hashes on every call.
    pub fn wtxid(&self) -> Wtxid {
        Wtxid(double_sha256(&self.to_bytes()))
    }
}

impl Encode for OutPoint {
    fn encode(&self, out: &mut Vec<u8>) {
        self.txid.encode(out);
        self.index.encode(out);
    }
    fn encoded_len(&self) -> usize {
        Self::LEN
    }
}

impl Decode for OutPoint {
    const MIN_LEN: usize = Self::LEN;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { txid: Txid::decode(reader)?, index: u16::decode(reader)? })
    }
}

impl Encode for Output {
    fn encode(&self, out: &mut Vec<u8>) {
        self.value.encode(out);
        self.lock.encode(out);
    }
    fn encoded_len(&self) -> usize {
        Self::LEN
    }
}

impl Decode for Output {
    const MIN_LEN: usize = Self::LEN;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { value: Amount::decode(reader)?, lock: Lock::decode(reader)? })
    }
}

impl Encode for Witness {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Key { signature } => {
                Lock::KEY.encode(out);
                signature.encode(out);
            }
            Self::Policy { policy, signatures, preimages } => {
                Lock::POLICY.encode(out);
                policy.encode(out);
                put_list16(out, signatures);
                put_list16(out, preimages);
            }
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Key { .. } => 1 + 64,
            Self::Policy { policy, signatures, preimages } => policy
                .encoded_len()
                .saturating_add(1)
                .saturating_add(list16_len(signatures))
                .saturating_add(list16_len(preimages)),
        }
    }
}

impl Decode for Witness {
    // The smallest is of kind 1 around the smallest policy, `after` or `older`.
    const MIN_LEN: usize = 1 + Policy::MIN_LEN + 2 + 2;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            Lock::KEY => Ok(Self::Key { signature: Signature::decode(reader)? }),
            Lock::POLICY => Ok(Self::Policy {
                policy: Policy::decode(reader)?,
                signatures: reader.list16()?,
                preimages: reader.list16()?,
            }),
            tag => Err(DecodeError::UnknownTag { what: "witness", tag }),
        }
    }
}

impl Encode for Transaction {
    fn encode(&self, out: &mut Vec<u8>) {
        self.encode_body(out);
        put_list16(out, &self.witnesses);
    }

    fn encoded_len(&self) -> usize {
        self.body_len().saturating_add(list16_len(&self.witnesses))
    }
}

impl Decode for Transaction {
    const MIN_LEN: usize = 1 + 4 + 2 + 2 + 2 + 2;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            Self::VERSION => {}
            tag => return Err(DecodeError::UnknownTag { what: "transaction", tag }),
        }
        Ok(Self {
            not_before: u32::decode(reader)?,
            inputs: reader.list16()?,
            outputs: reader.list16()?,
            memo: reader.bytes16()?,
            witnesses: reader.list16()?,
        })
    }
}
