//! Targets and work beyond the vectors: the shifts that lose bits, the numbers at the ends.

use ashlar_consensus::{
    Params, Target, Work,
    difficulty::{advance, asert, required_target},
};
use ashlar_primitives::{Amount, BlockId};

use crate::builder::Chain;

fn target(bits: u32) -> Target {
    Target::from_bits(bits).unwrap()
}

#[test]
fn no_target_reaches_2_to_the_256() {
    // Every exponent with the mantissas at the edges, against a model on bytes.
    for exponent in 0..=255_u32 {
        for mantissa in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x7f_ffff]
        {
            let bits = exponent << 24 | mantissa;
            let expected = model(exponent, mantissa);
            assert_eq!(Target::from_bits(bits).map(Target::to_be_bytes), expected, "{bits:08x}");
            assert_eq!(Target::from_bits(bits | 0x0080_0000), None, "{bits:08x} with the sign");
            if let Some(target) = Target::from_bits(bits) {
                let shortest = target.to_bits();
                assert_eq!(Target::from_bits(shortest), Some(target));
                assert_eq!(shortest & 0x0080_0000, 0);
                assert!(shortest >> 24 <= exponent);
                assert_eq!(Target::from_be_bytes(target.to_be_bytes()), Some(target));
            }
        }
    }
}

/// The three bytes of the mantissa stand so that the lowest has the weight 256^(exponent − 3).
fn model(exponent: u32, mantissa: u32) -> Option<[u8; 32]> {
    let mut digits = [0; 32];
    for (place, byte) in mantissa.to_le_bytes().into_iter().enumerate() {
        let weight = i64::from(exponent) - 3 + i64::try_from(place).unwrap();
        match usize::try_from(weight) {
            Ok(weight) if weight < 32 => digits[31 - weight] = byte,
            Ok(_) if byte != 0 => return None,
            _ => {}
        }
    }
    (digits != [0; 32]).then_some(digits)
}

#[test]
fn doublings_stop_at_the_limit() {
    let limit = target(0x207f_ffff);
    let one = Target::HARDEST;
    assert_eq!(one.doubled(0, limit), one);
    assert_eq!(one.doubled(8, limit).to_be_bytes()[30..], [1, 0]);
    for count in [255, 256, 257, 320, 512, u32::MAX] {
        assert_eq!(one.doubled(count, limit), limit, "{count} doublings");
    }
    // A shift of whole words must not drop the bits that it moves out.
    for count in 1..=600 {
        let doubled = limit.doubled(count, limit);
        assert_eq!(doubled, limit, "{count} doublings of the limit");
    }
}

#[test]
fn asert_at_the_ends_of_its_range() {
    let (anchor, limit) = (target(0x1d00_ffff), target(0x207f_ffff));
    for half_life in [1, 1_800, u32::MAX] {
        assert_eq!(asert(anchor, limit, half_life, 0), anchor);
        let double = asert(anchor, limit, half_life, half_life.into());
        assert_eq!(double, anchor.doubled(1, limit));
        assert_eq!(asert(anchor, limit, half_life, 300 * i64::from(half_life)), limit);
        assert_eq!(asert(anchor, limit, half_life, -300 * i64::from(half_life)), Target::HARDEST);
        for lag in [i64::MIN, i64::MAX] {
            // No branch has such a lag; the arithmetic has an answer all the same.
            let expected = if lag < 0 { Target::HARDEST } else { limit };
            assert_eq!(asert(anchor, limit, half_life.min(1 << 20), lag), expected);
        }
    }
    assert_eq!(asert(anchor, limit, 0, 12_345), anchor, "fixed difficulty");
    // More lag is never a harder target.
    let mut last = Target::HARDEST;
    for lag in -20_000..20_000 {
        let now = asert(anchor, limit, 1_800, lag);
        assert!(now >= last);
        last = now;
    }
}

#[test]
fn fixed_difficulty_knows_no_relief() {
    let mut params = Chain::new().params;
    params.bits = 0x1d00_ffff;
    params.stall_relief_seconds = 300;
    let required = required_target(&params, 0, 0, u32::MAX);
    assert_eq!(required, target(0x1d00_ffff));
}

#[test]
fn work_saturates_and_orders_as_its_bytes_do() {
    let easy = target(0x207f_ffff).work();
    assert_eq!(easy.to_be_bytes()[31], 2);
    let most = Work::from_le_bytes([0xff; 32]);
    assert_eq!(most.saturating_add(easy), most);
    assert_eq!(Target::HARDEST.work().to_be_bytes()[0], 0x80);
    assert_eq!(Work::ZERO.saturating_sub(easy), Work::ZERO);
    assert_eq!(easy.saturating_mul(3).saturating_sub(easy), easy.saturating_add(easy));
    assert_eq!(most.saturating_mul(u64::MAX), most);
    assert_eq!(Work::from_le_bytes(easy.to_le_bytes()), easy);
    assert!(easy.to_be_bytes() < most.to_be_bytes() && easy < most);
}

#[test]
fn an_id_may_be_the_target_itself() {
    for bits in [0x0101_0000, 0x0300_0001, 0x1d00_ffff, 0x207f_ffff] {
        let target = target(bits);
        let mut at = target.to_be_bytes();
        at.reverse();
        assert!(target.is_met_by(&BlockId(at)), "{bits:08x}");
        // One more, with the carry.
        for byte in &mut at {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        assert!(!target.is_met_by(&BlockId(at)), "{bits:08x}");
    }
}

/// Half-life 1,800 s, interval 10 s, two doublings from the anchor to the limit, relief of 240 s.
fn moving() -> Params {
    Params {
        difficulty_half_life: 1_800,
        bits: 0x201f_ffff,
        stall_relief_seconds: 240,
        ..Chain::new().params
    }
}

#[test]
fn lag_and_gap_are_clamped_exactly() {
    let params = moving();
    let lag_after = |lag: i64, gap: u32| advance(&params, 1_000, lag, 1_000 + gap).1;
    // A pause counts for one half-life.
    assert_eq!(lag_after(0, 1_799), 1_789);
    assert_eq!(lag_after(0, 1_800), 1_790);
    assert_eq!(lag_after(0, 1_801), 1_790);
    // 300 half-lives ahead, no more.
    let floor = -300 * 1_800;
    assert_eq!(lag_after(floor + 11, 0), floor + 1);
    assert_eq!(lag_after(floor + 10, 0), floor);
    assert_eq!(lag_after(floor + 9, 0), floor);
    assert_eq!(lag_after(floor, 0), floor);
    // Behind by as many half-lives as there are doublings to the limit.
    let cap = 2 * 1_800;
    assert_eq!(lag_after(cap - 1, 10), cap - 1);
    assert_eq!(lag_after(cap - 1, 11), cap);
    assert_eq!(lag_after(cap - 1, 12), cap);
    assert_eq!(lag_after(cap, 1_000), cap);
    // The clock never goes back, and a time before it is no gap.
    assert_eq!(advance(&params, 1_000, 5, 999), (1_000, -5));
    assert_eq!(advance(&params, 1_000, 5, 1_000), (1_000, -5));
    assert_eq!(advance(&params, 1_000, 5, 1_001), (1_001, -4));
}

#[test]
fn relief_comes_in_steps_and_ends_at_the_limit() {
    let params = Params { pow_limit_bits: 0x1e7f_ffff, bits: 0x1d7f_ffff, ..moving() };
    let required = |gap: u32| required_target(&params, 1_000, 0, 1_000 + gap);
    let anchor = target(0x1d7f_ffff);
    let limit = target(0x1e7f_ffff);
    for (step, last_before) in (1..=8).zip((239..).step_by(240)) {
        assert_eq!(required(last_before), anchor.doubled(step - 1, limit), "{step}");
        assert_eq!(required(last_before + 1), anchor.doubled(step, limit), "{step}");
    }
    // Seven doublings of 0x7fffff · 256^26 fit below the limit, the eighth is cut to it.
    assert!(required(7 * 240) < limit);
    assert_eq!(required(8 * 240), limit);
    assert_eq!(required(256 * 240), limit);
    assert_eq!(required(u32::MAX - 1_000), limit);
    let without = Params { stall_relief_seconds: 0, ..params.clone() };
    assert_eq!(required_target(&without, 1_000, 0, u32::MAX), anchor);
}

#[test]
fn subsidies_halve_after_the_last_block_of_an_interval_and_end_at_64() {
    let params = Params {
        initial_subsidy: Amount::from_grains(u64::MAX),
        halving_interval: 10,
        ..Chain::new().params
    };
    let subsidy = |height| params.subsidy(height).grains();
    assert_eq!((subsidy(0), subsidy(1), subsidy(10)), (0, u64::MAX, u64::MAX));
    for halvings in 1..64_u32 {
        let last = halvings * 10;
        assert_eq!(subsidy(last), u64::MAX >> (halvings - 1), "{halvings}");
        assert_eq!(subsidy(last + 1), u64::MAX >> halvings, "{halvings}");
    }
    assert_eq!((subsidy(640), subsidy(641), subsidy(u32::MAX)), (1, 0, 0));
}
