//! The UTXO accumulator, LtHash16 over BLAKE3 (PROTOCOL.md §6).

use std::sync::LazyLock;

use ashlar_primitives::{Coin, Commitment, OutPoint, hash::Tag};
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

/// Number of `u16` lanes of the state.
const LANES: usize = 1_024;
/// The state in bytes, and how much of a coin's output stream is taken.
const STATE_BYTES: usize = 2 * LANES;

/// Of the commitment.
static UTXO: Tag = Tag::new("ashlar/utxo");

/// The derived key is the same for every coin: hashing the context once saves a third of the cost
/// of a short element.
static CONTEXT: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("ashlar 2026 utxo coin v1"));

/// A set of coins as 1,024 lanes of `u16`. Order of adds and removes is free, and each undoes the
/// other: the arithmetic neither knows nor asks whether a coin is in the set.
#[derive(Clone, PartialEq, Eq)]
pub struct UtxoAccumulator {
    lanes: Box<[u16; LANES]>,
}

impl UtxoAccumulator {
    /// Of no coins.
    pub fn empty() -> Self {
        Self { lanes: Box::new([0; LANES]) }
    }

    /// Takes a coin in.
    pub fn add(&mut self, outpoint: &OutPoint, coin: &Coin) {
        self.combine(outpoint, coin, u16::wrapping_add);
    }

    /// Takes a coin out.
    pub fn remove(&mut self, outpoint: &OutPoint, coin: &Coin) {
        self.combine(outpoint, coin, u16::wrapping_sub);
    }

    /// Generic, so that the loop over the lanes is compiled with the operation in it.
    fn combine(&mut self, outpoint: &OutPoint, coin: &Coin, operation: impl Fn(u16, u16) -> u16) {
        let mut stream = [0; STATE_BYTES];
        blake3::Hasher::new_from_context_key(&CONTEXT)
            .update(&coin.element(outpoint))
            .finalize_xof()
            .fill(&mut stream);
        let (terms, _) = stream.as_chunks::<2>();
        for (lane, term) in self.lanes.iter_mut().zip(terms) {
            *lane = operation(*lane, u16::from_le_bytes(*term));
        }
    }

    /// Does all that was done to `other`, which began empty.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (lane, term) in self.lanes.iter_mut().zip(other.lanes.iter()) {
            *lane = lane.wrapping_add(*term);
        }
    }

    /// `TH("ashlar/utxo", state)`.
    pub fn commitment(&self) -> Commitment {
        Commitment(UTXO.hash(&[&self.to_bytes()]))
    }

    /// The state: 2,048 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()
    }

    /// The inverse of [`UtxoAccumulator::to_bytes`]: every state is one.
    pub fn from_bytes(bytes: &[u8; STATE_BYTES]) -> Self {
        let mut accumulator = Self::empty();
        let (lanes, _) = bytes.as_chunks::<2>();
        for (lane, bytes) in accumulator.lanes.iter_mut().zip(lanes) {
            *lane = u16::from_le_bytes(*bytes);
        }
        accumulator
    }
}

impl core::fmt::Debug for UtxoAccumulator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "UtxoAccumulator({})", self.commitment())
    }
}
