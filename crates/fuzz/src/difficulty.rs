//! Difficulty and targets against PROTOCOL.md §5 in numbers without an end.

use ashlar_consensus::{
    Genesis, HeaderState, Params, Target,
    difficulty::{advance, asert, relief_steps, required_target},
};
use ashlar_primitives::BlockId;
use ashlar_testkit::builder::genesis_text;
use num_bigint::{BigInt, BigUint, Sign};
use serde_json::json;

use crate::steer::Steer;

/// Headers in one chain at most.
const MAX_HEADERS: usize = 64;

fn big(target: Target) -> BigInt {
    BigInt::from_bytes_be(Sign::Plus, &target.to_be_bytes())
}

/// `None`: invalid.
fn target_of(bits: u32) -> Option<BigInt> {
    let (exponent, mantissa) = (bits >> 24, bits & 0x007f_ffff);
    let mantissa = BigInt::from(mantissa);
    let target = if exponent >= 3 {
        mantissa << (8 * (exponent - 3))
    } else {
        mantissa >> (8 * (3 - exponent))
    };
    let is_valid = bits & 0x0080_0000 == 0 && target > BigInt::ZERO && target.bits() <= 256;
    is_valid.then_some(target)
}

fn bits_of(target: &BigInt) -> u32 {
    let bytes = u32::try_from(target.bits() / 8 + 1).unwrap();
    let mantissa: BigInt =
        if bytes >= 3 { target >> (8 * (bytes - 3)) } else { target << (8 * (3 - bytes)) };
    bytes << 24 | u32::try_from(mantissa).unwrap()
}

/// Rounds toward minus infinity.
fn floor_div(dividend: &BigInt, divisor: &BigInt) -> BigInt {
    let quotient = dividend / divisor;
    if &quotient * divisor > *dividend { quotient - 1 } else { quotient }
}

fn asert_of(anchor: &BigInt, limit: &BigInt, half_life: u32, lag: i64) -> BigInt {
    if half_life == 0 {
        return anchor.clone();
    }
    // The division of `BigInt` goes toward zero.
    let exponent = BigInt::from(lag) * 65_536 / half_life;
    let shifts = i64::try_from(floor_div(&exponent, &BigInt::from(65_536))).unwrap();
    let fraction = exponent - BigInt::from(shifts) * 65_536;
    let cubic = BigInt::from(195_766_423_245_049_u64) * &fraction
        + BigInt::from(971_821_376_u64) * &fraction * &fraction
        + BigInt::from(5_127) * &fraction * &fraction * &fraction
        + (BigInt::from(1) << 47_u32);
    let factor = BigInt::from(65_536) + (cubic >> 48_u32);
    let product = anchor * factor;
    // No exponent is so high that doubling beyond it would still change what the limit cuts.
    let target: BigInt =
        if shifts >= 0 { product << shifts.min(1_000) } else { product >> (-shifts).min(1_000) };
    (target / 65_536).max(BigInt::from(1)).min(limit.clone())
}

fn genesis(steer: &mut Steer<'_>) -> Option<Genesis> {
    let mut bits = || {
        let exponent = 1 + steer.below(32);
        let mantissa = 0x8000 + steer.u32() % 0x7f_8000;
        u32::try_from(exponent << 24).unwrap() | mantissa
    };
    let (one, other) = (bits(), bits());
    let (low, high) =
        if target_of(one)? <= target_of(other)? { (one, other) } else { (other, one) };
    let interval = 1 + steer.below(1_000);
    let ahead = steer.below(10_000);
    let relief =
        if steer.byte() % 2 == 0 { 0 } else { 2 * ahead + 12 * interval + steer.below(9_000) };
    let half_life = if steer.one_in(8) { 0 } else { 1 + steer.edge32() % 10_000_000 };
    let text = genesis_text(
        &[],
        &[
            ("bits", json!(format!("{low:08x}"))),
            ("pow_limit_bits", json!(format!("{high:08x}"))),
            ("block_interval", json!(interval)),
            ("max_future_seconds", json!(ahead)),
            ("stall_relief_seconds", json!(relief)),
            ("difficulty_half_life", json!(half_life)),
        ],
    );
    Genesis::parse(&text).ok()
}

/// Clock and lag of a branch as §5 says them.
struct Schedule {
    clock: i64,
    lag: i64,
}

impl Schedule {
    fn next(&mut self, params: &Params, time: u32) -> i64 {
        let half_life = i64::from(params.difficulty_half_life);
        let bits = |bits: u32| i64::try_from(target_of(bits).unwrap().bits()).unwrap();
        let cap = half_life * (bits(params.pow_limit_bits) - bits(params.bits));
        let gap = (i64::from(time) - self.clock).max(0);
        self.clock += gap;
        let lag = self.lag + gap.min(half_life) - i64::from(params.block_interval);
        self.lag = lag.max(-300 * half_life).min(cap);
        gap
    }
}

/// Targets, required bits, work, clock and lag of any branch of headers are those of §5 computed
/// in numbers without an end; work only rises, and the median of times never falls.
pub fn difficulty(data: &[u8]) {
    let mut steer = Steer::new(data);
    compact(steer.u32());
    let Some(genesis) = genesis(&mut steer) else { return };
    let params = genesis.params();
    let (anchor, limit) =
        (target_of(params.bits).unwrap(), target_of(params.pow_limit_bits).unwrap());
    assert_eq!(big(params.anchor_target()), anchor);

    // The bare function, at any lag that 65,536 times fits a signed 64-bit integer.
    let lag = i64::from_le_bytes(steer.array()) >> 16 >> steer.below(32);
    let found =
        asert(params.anchor_target(), params.limit_target(), params.difficulty_half_life, lag);
    assert_eq!(big(found), asert_of(&anchor, &limit, params.difficulty_half_life, lag));

    let mut state: HeaderState = genesis.state().header.clone();
    let mut schedule = Schedule { clock: params.time.into(), lag: 0 };
    let mut work = (BigUint::from(1_u8) << 256_u32) / (anchor.to_biguint().unwrap() + 1_u8);
    for _ in 0..MAX_HEADERS {
        if steer.is_done() {
            return;
        }
        let lowest = u32::try_from(state.min_time()).unwrap_or(u32::MAX);
        let time = match steer.byte() % 4 {
            0 => lowest,
            1 => lowest.saturating_add(steer.byte().into()),
            2 => state.clock.saturating_add(params.block_interval),
            _ => lowest.saturating_add(steer.edge32()),
        };
        let gap = (i64::from(time) - schedule.clock).max(0);
        let mut target = asert_of(&anchor, &limit, params.difficulty_half_life, schedule.lag);
        let relief = i64::from(params.stall_relief_seconds);
        if relief > 0 && params.difficulty_half_life > 0 {
            let steps = gap / relief;
            assert_eq!(relief_steps(params, state.clock, time).map(i64::from), Some(steps));
            target = (target << steps.min(300)).min(limit.clone());
        }
        assert_eq!(big(required_target(params, state.clock, state.lag, time)), target);
        let bits = bits_of(&target);
        assert_eq!(state.required_bits(params, time), bits);
        if let Some(latest) = state.max_time(params, time) {
            assert!(latest >= time && state.required_bits(params, latest) == bits);
        }

        // As `check_header` does it once the work is done, which nobody can do here.
        let (clock, lag) = advance(params, state.clock, state.lag, time);
        schedule.next(params, time);
        assert_eq!((i64::from(clock), lag), (schedule.clock, schedule.lag));
        let (before, median) = (state.work, state.median_time());
        let met = Target::from_bits(bits).expect("required bits are valid");
        work += (BigUint::from(1_u8) << 256_u32)
            / (target_of(bits).unwrap().to_biguint().unwrap() + 1_u8);
        state.work = before.saturating_add(met.work());
        state.times.push(time);
        state = HeaderState { id: BlockId::ZERO, height: state.height + 1, clock, lag, ..state };
        assert!(state.work > before || work.bits() > 256);
        if time > median {
            assert!(state.median_time() >= median);
        }
        let most = (BigUint::from(1_u8) << 256_u32) - 1_u8;
        let found = BigUint::from_bytes_be(&state.work.to_be_bytes());
        assert_eq!(found, work.clone().min(most));
    }
}

/// Compact form and back.
fn compact(bits: u32) {
    let target = Target::from_bits(bits);
    assert_eq!(target.map(big), target_of(bits), "{bits:08x}");
    if let Some(target) = target {
        let shortest = target.to_bits();
        assert_eq!(shortest, bits_of(&big(target)));
        assert_eq!(Target::from_bits(shortest), Some(target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_knows_bitcoin() {
        assert_eq!(bits_of(&target_of(0x1d00_ffff).unwrap()), 0x1d00_ffff);
        assert_eq!(target_of(0x0123_4567), Some(BigInt::from(0x23)));
        assert_eq!(target_of(0x2100_ffff).map(|target| target.bits()), Some(256));
        assert_eq!(target_of(0x2101_0000), None);
    }
}
