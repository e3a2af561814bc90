//! Coins: unspent outputs with what the rules need to know of their birth (PROTOCOL.md §6).

use crate::{
    codec::{Decode, DecodeError, Encode, Reader},
    transaction::{OutPoint, Output},
};

/// An unspent output. Its outpoint is its key and stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Coin {
    /// Value and lock.
    pub output: Output,
    /// Of the block that made it.
    pub height: u32,
    /// Whether it is a coinbase output of a block of height ≥ 1, which must mature.
    pub is_coinbase: bool,
}

impl Coin {
    /// Length in bytes of a coin with its outpoint, as the accumulator hashes it.
    pub const LEN: usize = 80;

    /// `outpoint ‖ output ‖ height u32 ‖ coinbase u8`, the element of the UTXO commitment.
    pub fn element(&self, outpoint: &OutPoint) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        outpoint.encode(&mut out);
        self.encode(&mut out);
        out
    }
}

impl Encode for Coin {
    fn encode(&self, out: &mut Vec<u8>) {
        self.output.encode(out);
        self.height.encode(out);
        u8::from(self.is_coinbase).encode(out);
    }

    fn encoded_len(&self) -> usize {
        Self::LEN - OutPoint::LEN
    }
}

impl Decode for Coin {
    const MIN_LEN: usize = Self::LEN - OutPoint::LEN;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            output: Output::decode(reader)?,
            height: u32::decode(reader)?,
            is_coinbase: match u8::decode(reader)? {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::NotCanonical { what: "coinbase flag" }),
            },
        })
    }
}
