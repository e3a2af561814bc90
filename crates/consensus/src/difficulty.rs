//! ASERT over the chain's own clock, and stall relief (PROTOCOL.md §5). Pure arithmetic on
//! integers, exposed in the pieces that the vectors test.

use ruint::aliases::{U256, U512};

use crate::{
    params::Params,
    pow::{Target, shift_left},
};

/// Fixed-point 1: exponents and factors have 16 bits after the point.
const ONE: i128 = 1 << 16;
/// Half-lives that a branch can be ahead of schedule: no more are remembered.
const MAX_LEAD_HALF_LIVES: i64 = 300;

/// The clock and lag of a child with `time` of a parent with these, in seconds.
pub fn advance(params: &Params, clock: u32, lag: i64, time: u32) -> (u32, i64) {
    let half_life = i64::from(params.difficulty_half_life);
    let gap = i64::from(time.saturating_sub(clock));
    // However long the gap, it adds at most one half-life: a pause is not made up for.
    let late = gap.min(half_life).saturating_sub(i64::from(params.block_interval));
    let floor = half_life.saturating_mul(-MAX_LEAD_HALF_LIVES);
    let lag = lag.saturating_add(late).max(floor).min(lag_cap(params));
    (clock.max(time), lag)
}

/// The lag at which the target is about the limit: more would not ease it further (§5, `cap`).
fn lag_cap(params: &Params) -> i64 {
    let doublings =
        params.limit_target().bit_len().saturating_sub(params.anchor_target().bit_len());
    i64::from(params.difficulty_half_life).saturating_mul(i64::from(doublings))
}

/// `target(bits0) · 2^(lag / τ)` by the arithmetic of `aserti3-2d`, within 1 and `limit`; the
/// anchor itself where `half_life` is 0. `lag` and `half_life` in seconds.
pub fn asert(anchor: Target, limit: Target, half_life: u32, lag: i64) -> Target {
    // Truncation toward zero, as Rust's division; a fixed difficulty has no exponent at all.
    let Some(exponent) = i128::from(lag).saturating_mul(ONE).checked_div(half_life.into()) else {
        return anchor;
    };
    let shifts = exponent.div_euclid(ONE);
    let fraction = exponent.rem_euclid(ONE).unsigned_abs();
    // factor · target: at most 17 + 256 bits.
    let product = U512::from(anchor.0).saturating_mul(U512::from(factor(fraction)));
    // The factor's own 16 bits after the point go with the shift, so that only one floor is taken.
    let shift = shifts.saturating_sub(16);
    let distance = usize::try_from(shift.unsigned_abs()).unwrap_or(usize::MAX);
    let target = match shift {
        ..0 => product.wrapping_shr(distance),
        0.. => shift_left(product, distance).unwrap_or(U512::MAX),
    };
    Target(target.min(U512::from(limit.0)).saturating_to::<U256>().max(U256::ONE))
}

/// `65536 · 2^(fraction / 65536)`, by the cubic of `aserti3-2d`; `fraction` is below 65,536, so
/// that every term is below 2^65.
fn factor(fraction: u128) -> u128 {
    let term =
        |coefficient: u128, power| coefficient.saturating_mul(fraction.saturating_pow(power));
    let sum = term(195_766_423_245_049, 1)
        .saturating_add(term(971_821_376, 2))
        .saturating_add(term(5_127, 3))
        .saturating_add(1 << 47);
    (sum >> 48).saturating_add(ONE.unsigned_abs())
}

/// The target of a child of a parent with this lag, without stall relief.
pub fn normal_target(params: &Params, lag: i64) -> Target {
    asert(params.anchor_target(), params.limit_target(), params.difficulty_half_life, lag)
}

/// The target of a child with `time` of a parent with this clock and lag.
pub fn required_target(params: &Params, clock: u32, lag: i64, time: u32) -> Target {
    let normal = normal_target(params, lag);
    match relief_steps(params, clock, time) {
        Some(steps) => normal.doubled(steps, params.limit_target()),
        None => normal,
    }
}

/// How many times stall relief doubles the target of a child with `time`; `None` on a chain
/// without relief (§5: none under a fixed difficulty either).
pub fn relief_steps(params: &Params, clock: u32, time: u32) -> Option<u32> {
    let gap = time.saturating_sub(clock);
    gap.checked_div(params.stall_relief_seconds).filter(|_| params.difficulty_half_life > 0)
}
