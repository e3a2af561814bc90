//! Targets, work and the required difficulty (PROTOCOL.md §5), in unbounded integers.

use ashlar_consensus::Params;
use ashlar_primitives::BlockId;
use num_bigint::BigUint;

use super::header::Link;

fn two_to_the(exponent: u32) -> BigUint {
    BigUint::from(1_u8) << exponent
}

/// The target of compact bits; `None` where they are invalid.
pub fn target(bits: u32) -> Option<BigUint> {
    let (exponent, mantissa) = (bits >> 24, BigUint::from(bits & 0x007f_ffff));
    let target = if exponent >= 3 {
        mantissa << (8 * (exponent - 3))
    } else {
        mantissa >> (8 * (3 - exponent))
    };
    let has_sign = bits & 0x0080_0000 != 0;
    let in_range = target > BigUint::ZERO && target < two_to_the(256);
    (!has_sign && in_range).then_some(target)
}

/// The shortest compact form whose mantissa's top bit is clear.
pub fn compact(target: &BigUint) -> u32 {
    let mut exponent = u32::try_from(target.bits().div_ceil(8)).expect("at most 33 bytes");
    let mut mantissa =
        if exponent >= 3 { target >> (8 * (exponent - 3)) } else { target << (8 * (3 - exponent)) };
    if mantissa.bit(23) {
        mantissa >>= 8_u32;
        exponent += 1;
    }
    exponent << 24 | u32::try_from(mantissa).expect("three bytes")
}

/// Whether an id, read as a little-endian number, is at most the target.
pub fn is_met(target: &BigUint, id: &BlockId) -> bool {
    BigUint::from_bytes_le(id.as_bytes()) <= *target
}

/// ⌊2^256 / (target + 1)⌋.
pub fn work(target: &BigUint) -> BigUint {
    two_to_the(256) / (target + 1_u8)
}

/// The work of a chain and one more block, saturating at 2^256 − 1.
pub fn add_work(chain: &BigUint, block: BigUint) -> BigUint {
    (chain + block).min(two_to_the(256) - 1_u8)
}

/// The seconds by which a child with this time moves its branch's clock.
pub fn gap(parent: &Link, time: u32) -> u32 {
    time.saturating_sub(parent.clock)
}

/// The lag of a child with this time.
pub fn lag(params: &Params, parent: &Link, time: u32) -> i64 {
    let half_life = i64::from(params.difficulty_half_life);
    if half_life == 0 {
        return 0;
    }
    let bit_length = |bits| i64::try_from(genesis_target(bits).bits()).expect("at most 256");
    let cap = half_life * (bit_length(params.pow_limit_bits) - bit_length(params.bits));
    let moved = i64::from(gap(parent, time)).min(half_life) - i64::from(params.block_interval);
    (parent.lag + moved).max(-300 * half_life).min(cap)
}

/// The bits that a child with this time must have.
pub fn required_bits(params: &Params, parent: &Link, time: u32) -> u32 {
    if params.difficulty_half_life == 0 {
        return params.bits;
    }
    let limit = genesis_target(params.pow_limit_bits);
    let exponent = i128::from(parent.lag) * 65_536 / i128::from(params.difficulty_half_life);
    let (shifts, f) = (exponent.div_euclid(65_536), exponent.rem_euclid(65_536));
    let factor = 65_536
        + ((195_766_423_245_049 * f + 971_821_376 * f * f + 5_127 * f * f * f + (1 << 47)) >> 48);
    let scaled = genesis_target(params.bits) * BigUint::try_from(factor).expect("positive");
    let scaled = if shifts >= 0 { scaled << shifts } else { scaled >> -shifts };
    let mut target = (scaled >> 16_u32).max(BigUint::from(1_u8)).min(limit.clone());

    let (gap, relief) = (gap(parent, time), params.stall_relief_seconds);
    if relief > 0 && gap >= relief {
        let doublings = gap / relief;
        target = if doublings >= 256 { limit } else { (target << doublings).min(limit) };
    }
    compact(&target)
}

fn genesis_target(bits: u32) -> BigUint {
    target(bits).expect("the bits of a genesis are valid (§7)")
}
