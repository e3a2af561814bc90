//! Targets, compact bits, work (PROTOCOL.md §5).

use ashlar_primitives::BlockId;
use ruint::aliases::U256;

/// A target: an id at or below it, read little-endian, meets it. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target(pub(crate) U256);

impl Target {
    /// From compact bits; `None` where invalid (sign bit, 0, ≥ 2^256). Non-shortest forms are valid.
    pub fn from_bits(bits: u32) -> Option<Self> { todo!() }
    /// The shortest compact form.
    pub fn to_bits(self) -> u32 { todo!() }
    pub fn is_met_by(self, id: &BlockId) -> bool { todo!() }
    /// ⌊2^256 / (target + 1)⌋.
    pub fn work(self) -> Work { todo!() }
    /// 32 bytes, highest first.
    pub fn to_be_bytes(self) -> [u8; 32] { todo!() }
}

/// Work of a chain; adds saturating at 2^256 − 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work(pub(crate) U256);

impl Work {
    pub const ZERO: Self = Self(U256::ZERO);
    pub fn saturating_add(self, other: Self) -> Self { todo!() }
    pub fn saturating_sub(self, other: Self) -> Self { todo!() }
    pub fn saturating_mul(self, times: u64) -> Self { todo!() }
    pub fn to_le_bytes(self) -> [u8; 32] { todo!() }
    pub fn from_le_bytes(bytes: [u8; 32]) -> Self { todo!() }
    pub fn to_be_bytes(self) -> [u8; 32] { todo!() }
}
