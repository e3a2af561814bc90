//! Targets and work beyond the vectors: the shifts that lose bits, the numbers at the ends.

use ashlar_consensus::{
    Target, Work,
    difficulty::{asert, required_target},
};

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
