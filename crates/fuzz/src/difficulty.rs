//! Difficulty and targets against the slow model's, which counts in numbers without an end.

use ashlar_consensus::{
    Genesis, HeaderState, Target,
    difficulty::{advance, relief_steps},
};
use ashlar_primitives::BlockId;
use ashlar_testkit::{
    builder::genesis_text,
    model::{difficulty as model, header::Link},
};
use num_bigint::BigUint;
use serde_json::json;

use crate::steer::Steer;

/// Headers in one chain at most.
const MAX_HEADERS: usize = 64;

fn big(target: Target) -> BigUint {
    BigUint::from_bytes_be(&target.to_be_bytes())
}

fn genesis(steer: &mut Steer<'_>) -> Option<Genesis> {
    let mut bits = || {
        let exponent = u32::try_from(1 + steer.below(32)).unwrap();
        exponent << 24 | (0x8000 + steer.u32() % 0x7f_8000)
    };
    let (one, other) = (bits(), bits());
    let ascend = model::target(one)? <= model::target(other)?;
    let (low, high) = if ascend { (one, other) } else { (other, one) };
    let interval = 1 + steer.below(1_000);
    let ahead = steer.below(10_000);
    let least_relief = 2 * ahead + 12 * interval;
    let relief = if steer.flag() { 0 } else { least_relief + steer.below(9_000) };
    let half_life = if steer.one_in(8) { 0 } else { 1 + steer.edge32() % 10_000_000 };
    let changes = [
        ("bits", json!(format!("{low:08x}"))),
        ("pow_limit_bits", json!(format!("{high:08x}"))),
        ("block_interval", json!(interval)),
        ("max_future_seconds", json!(ahead)),
        ("stall_relief_seconds", json!(relief)),
        ("difficulty_half_life", json!(half_life)),
    ];
    Genesis::parse(&genesis_text(&[], &changes)).ok()
}

/// Targets, required bits, work, clock and lag of any branch of headers are the model's; work only
/// rises, and the median of times never falls under rising times.
pub fn difficulty(data: &[u8]) {
    let mut steer = Steer::new(data);
    compact(steer.u32());
    let Some(genesis) = genesis(&mut steer) else { return };
    let params = genesis.params();
    let mut state: HeaderState = genesis.state().header.clone();
    let mut link = Link::genesis(params, genesis.block());
    assert_eq!(BigUint::from_bytes_be(&state.work.to_be_bytes()), link.work);

    // Anywhere between the bounds of the lag: no chain of this length would get there.
    let half_life = i64::from(params.difficulty_half_life);
    let spread = i64::from(params.limit_target().bit_len() - params.anchor_target().bit_len());
    let (floor, cap) = (-300 * half_life, spread * half_life);
    let lag = floor + i64::try_from(steer.u64() % u64::try_from(cap - floor + 1).unwrap()).unwrap();
    (state.lag, link.lag) = (lag, lag);

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
        let bits = model::required_bits(params, &link, time);
        assert_eq!(state.required_bits(params, time), bits);
        if let Some(steps) = relief_steps(params, state.clock, time) {
            assert_eq!(steps, model::gap(&link, time) / params.stall_relief_seconds);
        }
        // A template is good to the second before its bits change, and not a second longer.
        if let Some(latest) = state.max_time(params, time) {
            assert!(latest >= time && state.required_bits(params, latest) == bits);
        }

        // As `check_header` goes on once the work is done, which nobody can do here.
        let (clock, lag) = advance(params, state.clock, state.lag, time);
        let target = Target::from_bits(bits).expect("required bits are valid");
        let (before, median) = (state.work, state.median_time());
        state.work = before.saturating_add(target.work());
        state.times.push(time);
        state = HeaderState { id: BlockId::ZERO, height: state.height + 1, clock, lag, ..state };
        link = Link {
            height: link.height + 1,
            clock: link.clock + model::gap(&link, time),
            lag: model::lag(params, &link, time),
            work: model::add_work(&link.work, model::work(&big(target))),
            ..link
        };
        assert_eq!((state.clock, state.lag), (link.clock, link.lag));
        assert_eq!(BigUint::from_bytes_be(&state.work.to_be_bytes()), link.work);
        assert!(state.work > before || link.work.count_ones() == 256);
        assert!(time <= median || state.median_time() >= median);
    }
}

/// Compact form and back.
fn compact(bits: u32) {
    let target = Target::from_bits(bits);
    assert_eq!(target.map(big), model::target(bits), "{bits:08x}");
    if let Some(target) = target {
        let shortest = target.to_bits();
        assert_eq!(shortest, model::compact(&big(target)));
        assert_eq!(Target::from_bits(shortest), Some(target));
    }
}
