//! Targets, compact bits, work (PROTOCOL.md §5).

use ashlar_primitives::BlockId;
use ruint::{Uint, aliases::U256};

/// The sign bit of the compact form: no target has it.
const SIGN_BIT: u32 = 0x0080_0000;

/// A target: an id at or below it, read little-endian, meets it. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target(pub(crate) U256);

impl Target {
    /// Only the id 0 or 1 meets it.
    pub const HARDEST: Self = Self(U256::ONE);

    /// From compact bits; `None` where invalid (sign bit, 0, ≥ 2^256). Non-shortest forms are valid.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let [exponent, mantissa @ ..] = bits.to_be_bytes();
        let [high, middle, low] = mantissa;
        let mantissa = U256::from(u32::from_be_bytes([0, high, middle, low]));
        let target = match exponent.checked_sub(3) {
            Some(bytes) => shift_left(mantissa, usize::from(bytes).saturating_mul(8))?,
            None => {
                mantissa.wrapping_shr(usize::from(3_u8.saturating_sub(exponent)).saturating_mul(8))
            }
        };
        (bits & SIGN_BIT == 0 && !target.is_zero()).then_some(Self(target))
    }

    /// The shortest compact form.
    pub fn to_bits(self) -> u32 {
        // One bit more than the value has: the mantissa's top bit must be clear.
        let bytes = self.0.bit_len().saturating_add(8).saturating_div(8);
        let mantissa = match bytes.checked_sub(3) {
            Some(dropped) => self.0.wrapping_shr(dropped.saturating_mul(8)),
            None => self.0.wrapping_shl(3_usize.saturating_sub(bytes).saturating_mul(8)),
        };
        let [low, middle, high, ..] = mantissa.to_le_bytes::<32>();
        // A 256-bit value has at most 33 bytes by the count above.
        let exponent = u8::try_from(bytes).unwrap_or(u8::MAX);
        u32::from_be_bytes([exponent, high, middle, low])
    }

    /// Whether a block with this id has done the work.
    pub fn is_met_by(self, id: &BlockId) -> bool {
        U256::from_le_bytes(id.0) <= self.0
    }

    /// ⌊2^256 / (target + 1)⌋.
    pub fn work(self) -> Work {
        // 2^256 itself does not fit: (2^256 − (target + 1)) / (target + 1) + 1 is the same.
        let divisor = self.0.saturating_add(U256::ONE);
        Work((!self.0).checked_div(divisor).unwrap_or_default().saturating_add(U256::ONE))
    }

    /// This target `count` doublings easier, but not above `limit`.
    pub fn doubled(self, count: u32, limit: Self) -> Self {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        shift_left(self.0, count).map_or(limit, |target| Self(target).min(limit))
    }

    /// How many bits the target needs: 1 to 256.
    pub fn bit_len(self) -> u16 {
        u16::try_from(self.0.bit_len()).unwrap_or(u16::MAX)
    }

    /// 32 bytes, highest first.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// From 32 bytes, highest first; `None` for 0, which is no target.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Option<Self> {
        Some(U256::from_be_bytes(bytes)).filter(|target| !target.is_zero()).map(Self)
    }
}

/// `value · 2^count` where it fits. (ruint 1.17 has `checked_shl`, which does not see bits lost
/// by a shift of whole limbs.)
pub(crate) fn shift_left<const BITS: usize, const LIMBS: usize>(
    value: Uint<BITS, LIMBS>,
    count: usize,
) -> Option<Uint<BITS, LIMBS>> {
    let fits = value.bit_len().saturating_add(count) <= BITS;
    (fits || value.is_zero()).then(|| value.wrapping_shl(count))
}

/// Work of a chain; adds saturating at 2^256 − 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work(pub(crate) U256);

impl Work {
    /// Of no block at all.
    pub const ZERO: Self = Self(U256::ZERO);

    /// The work of both, at most 2^256 − 1 (§5).
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What this has more than `other`; 0 where it has less.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The work of so many such blocks, at most 2^256 − 1.
    pub fn saturating_mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(U256::from(times)))
    }

    /// 32 bytes, lowest first: the form of §12.
    pub fn to_le_bytes(self) -> [u8; 32] {
        self.0.to_le_bytes()
    }

    /// The inverse of [`Work::to_le_bytes`].
    pub fn from_le_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_le_bytes(bytes))
    }

    /// 32 bytes, highest first: as people read it, and as keys sort it.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }
}
