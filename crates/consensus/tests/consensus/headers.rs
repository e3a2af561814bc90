//! Header rules at their edges, and what a template asks of them (PROTOCOL.md §5).

use ashlar_consensus::{
    Genesis, HeaderError, HeaderState, JudgeError, Params, RecentTimes, Target, Work, check_header,
    header::is_too_new, judge_header,
};
use ashlar_primitives::{BlockId, Header};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::builder::{Chain, mine, required};

#[test]
fn version_bits_that_are_fixed_and_those_that_are_free() {
    let Chain { params, state, .. } = Chain::new();
    let judge = |version| {
        let mut header = Header { version, ..Chain::new().header() };
        mine(&mut header);
        check_header(&state.header, &params, &header).map(drop)
    };
    for bit in 0..32 {
        let version = 0x2000_0000 ^ (1 << bit);
        let expected = match bit {
            13..=28 => Ok(()),
            _ => Err(HeaderError::BadVersion { version }),
        };
        assert_eq!(judge(version), expected, "bit {bit}");
    }
}

#[test]
fn times_are_above_the_median_and_not_too_far_ahead() {
    let mut chain = Chain::new();
    let owner = crate::builder::Owner::new(1);
    for _ in 0..15 {
        chain.extend(&owner, vec![], 0);
    }
    let parent = &chain.state.header;
    let judge = |time, now| {
        let mut header = Header { time, ..chain.header() };
        mine(&mut header);
        assert_eq!(
            is_too_new(&chain.params, &header, now),
            u64::from(time) > now.saturating_add(60)
        );
        judge_header(parent, &chain.params, &header, now).map(|next| next.times)
    };
    let median = parent.median_time();
    assert_eq!(median, parent.clock - 50, "the sixth of the last eleven, ten seconds each");
    let too_old = HeaderError::TimeTooOld { time: median, median };
    assert_eq!(judge(median, 1 << 40), Err(JudgeError::Rule(too_old)));
    let times = judge(median + 1, 1 << 40).unwrap();
    assert_eq!(times.iter().len(), 11);
    assert_eq!(times.iter().last(), Some(median + 1));
    assert_eq!(times.iter().next(), parent.times.iter().nth(1));
    assert_eq!(parent.min_time(), u64::from(median) + 1);

    let time = parent.clock + 1_000;
    let now = u64::from(time) - 60;
    assert!(judge(time, now).is_ok());
    assert_eq!(judge(time, now - 1), Err(JudgeError::TooNew { time, latest: now + 59 }));
    assert!(judge(u32::MAX, u64::MAX).is_ok(), "a clock that can't be right overflows nothing");
}

#[test]
fn recent_times_keep_the_last_eleven() {
    for count in 1..30_u32 {
        let times: RecentTimes = (0..count).map(|number| number * 7 % 29).collect();
        let mut last: Vec<_> =
            (count.saturating_sub(11)..count).map(|number| number * 7 % 29).collect();
        assert_eq!(times.iter().collect::<Vec<_>>(), last);
        last.sort_unstable();
        assert_eq!(times.median(), last[last.len() / 2]);
    }
}

/// A chain with moving difficulty and relief after 300 s.
fn moving() -> (Params, HeaderState) {
    let genesis = Genesis::parse(
        &crate::builder::GENESIS
            .replace(r#""difficulty_half_life": 0"#, r#""difficulty_half_life": 1800"#)
            .replace(r#""stall_relief_seconds": 0"#, r#""stall_relief_seconds": 300"#)
            .replace(r#""bits": "207fffff""#, r#""bits": "1e00ffff""#),
    )
    .unwrap();
    (genesis.params().clone(), genesis.state().header.clone())
}

#[test]
fn required_bits_are_those_of_a_template_from_mintime_to_maxtime() {
    let (params, parent) = moving();
    let clock = parent.clock;
    assert_eq!(parent.normal_bits(&params), 0x1e00_ffff);
    assert_eq!(parent.required_bits(&params, clock + 299), 0x1e00_ffff);
    assert_eq!(parent.required_bits(&params, clock + 300), 0x1e01_fffe);
    for time in [clock - 5, clock, clock + 1, clock + 299, clock + 300, clock + 900] {
        let last = parent.max_time(&params, time).unwrap();
        assert!(time <= last);
        assert_eq!((last + 1 - clock) % 300, 0);
        let bits = required(&params, &parent, time);
        assert_eq!(parent.required_bits(&params, time), bits);
        assert_eq!(parent.required_bits(&params, last), bits);
        assert_ne!(parent.required_bits(&params, last + 1), bits);
    }
    let fixed = Params { difficulty_half_life: 0, ..params.clone() };
    assert_eq!(parent.max_time(&fixed, clock), None);
    let late = HeaderState { clock: u32::MAX - 10, ..parent };
    assert_eq!(late.max_time(&params, u32::MAX), None, "the next step is after all time");
    assert_eq!(Chain::new().state.header.max_time(&Chain::new().params, clock), None);
}

#[test]
fn a_relieved_block_counts_for_the_work_of_its_bits() {
    let (mut params, mut parent) = moving();
    // Easy enough to mine here.
    (params.bits, params.pow_limit_bits) = (0x2007_ffff, 0x207f_ffff);
    parent.work = Work::ZERO;
    let time = parent.clock + 650;
    let bits = required(&params, &parent, time);
    assert_eq!(bits, 0x201f_fffc, "two doublings");
    let mut header = Header { time, bits, parent: parent.id, ..Chain::new().header() };
    mine(&mut header);
    let next = check_header(&parent, &params, &header).unwrap();
    assert_eq!(next.work, Target::from_bits(bits).unwrap().work());
    assert_eq!((next.clock, next.lag), (time, 640));
    assert_eq!((next.id, next.height), (header.id(), 1));
    header.bits = parent.normal_bits(&params);
    let wrong = HeaderError::BadDifficulty { bits: header.bits, required: bits };
    assert_eq!(check_header(&parent, &params, &header), Err(wrong));
}

#[test]
fn a_pause_is_not_made_up_for() {
    let (params, mut parent) = moving();
    parent.id = BlockId::ZERO;
    let year = parent.clock + 31_536_000;
    let (clock, lag) =
        ashlar_consensus::difficulty::advance(&params, parent.clock, parent.lag, year);
    assert_eq!((clock, lag), (year, 1_800 - 10));
}

#[test]
fn work_and_median_rise_along_any_valid_chain() {
    let (params, start) = moving();
    // Easy enough to mine here, with two doublings up to the limit.
    let params = Params { bits: 0x201f_ffff, ..params };
    let (mut relieved, mut hardened) = (0, 0);
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        // In a hurry, at leisure, or with pauses; never later than an hour.
        let pace = [5, 20, 400, 3_600][usize::try_from(seed).unwrap() % 4];
        let mut parent = start.clone();
        for _ in 0..150 {
            let earliest = u32::try_from(parent.min_time()).unwrap();
            let time = random.random_range(earliest..=parent.clock + pace);
            let bits = parent.required_bits(&params, time);
            let mut header = Header { parent: parent.id, time, bits, ..Chain::new().header() };
            mine(&mut header);
            let next = check_header(&parent, &params, &header).unwrap();
            let own = Target::from_bits(bits).unwrap().work();
            assert!(next.work > parent.work);
            assert_eq!(next.work, parent.work.saturating_add(own));
            assert!(next.median_time() >= parent.median_time());
            assert!(next.min_time() > parent.median_time().into());
            assert_eq!(next.clock, parent.clock.max(time));
            assert_eq!(next.height, parent.height + 1);
            assert!((-300 * 1_800..=2 * 1_800).contains(&next.lag));
            relieved += usize::from(bits != parent.normal_bits(&params));
            hardened += usize::from(next.normal_bits(&params) < parent.normal_bits(&params));
            parent = next;
        }
    }
    assert!(relieved > 50 && hardened > 50, "{relieved}, {hardened}");
}
