//! The UTXO accumulator, LtHash16 over BLAKE3 (PROTOCOL.md §6).

use ashlar_primitives::{Coin, Commitment, OutPoint};

/// 1,024 lanes of u16. Order of adds and removes is free.
#[derive(Clone, PartialEq, Eq)]
pub struct UtxoAccumulator { /* Box<[u16; 1024]> or so */ }

impl UtxoAccumulator {
    pub fn empty() -> Self { todo!() }
    pub fn add(&mut self, outpoint: &OutPoint, coin: &Coin) { todo!() }
    pub fn remove(&mut self, outpoint: &OutPoint, coin: &Coin) { todo!() }
    pub fn commitment(&self) -> Commitment { todo!() }
    pub fn to_bytes(&self) -> Vec<u8> { todo!() }
    pub fn from_bytes(bytes: &[u8; 2048]) -> Self { todo!() }
}

impl core::fmt::Debug for UtxoAccumulator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { write!(f, "UtxoAccumulator({})", self.commitment()) }
}
