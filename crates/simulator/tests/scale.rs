//! Nets of homes, small ones: the large are for `ashlar-sim report`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{num::NonZeroUsize, time::Duration};

use ashlar_simulator::scale::{Cut, Experiment, Figures, run_all, table};

/// Two of these compute for themselves.
const NODES: usize = 120;

fn run(worlds: &[Experiment], threads: usize) -> Vec<Figures> {
    run_all(worlds, NonZeroUsize::new(threads).unwrap(), |_| ()).unwrap()
}

fn net(seed: u64, interval_seconds: u64, block_bytes: u64) -> Experiment {
    let net = Experiment::of(NODES, interval_seconds, block_bytes);
    Experiment { seed, blocks: 6, ..net }
}

#[test]
fn blocks_reach_every_home_and_nobody_is_blamed() {
    let worlds = [net(1, 10, 100_000), net(2, 10, 4_000_000)];
    let [small, large] = <[Figures; 2]>::try_from(run(&worlds, 1)).unwrap();
    for figures in [&small, &large] {
        assert_eq!(figures.coverage(), 1.0, "{figures:?}");
        let outcome = &figures.outcome;
        assert_eq!((outcome.rejected, outcome.peers_cut, outcome.calls_refused), (0, 0, 0));
        assert_eq!((outcome.at_tip, outcome.fillers_refused), (NODES, 0));
        assert!(outcome.compared > 0 && outcome.recalled > 50 * outcome.compared);
    }
    assert!(large.spread_seconds(50) > 2.0 * small.spread_seconds(50));
    assert!(large.upload_kilobytes() > 10.0 * small.upload_kilobytes());
    assert!(large.stale_expected() > small.stale_expected());
}

#[test]
fn the_same_seed_gives_the_same_report_on_one_thread_and_on_two() {
    let worlds = [net(1, 5, 100_000), net(1, 5, 100_000), net(2, 5, 100_000)];
    let (one, two) = (table::csv(&run(&worlds, 1)), table::csv(&run(&worlds, 2)));
    assert_eq!(one, two);
    let lines: Vec<&str> = one.lines().collect();
    assert_eq!(lines[1], lines[2]);
    assert_ne!(lines[1], lines[3]);
}

/// ```text
///           ┌ b1 ── b2            three tenths of the homes, while the net is cut
/// genesis … ┤
///           └ a1 ── a2 ── a3 … ── all, after it healed
/// ```
#[test]
fn who_was_cut_off_comes_over() {
    let [from, until] = [30, 130].map(Duration::from_secs);
    let cut = Some(Cut { percent: 30, from, until });
    let world = Experiment { cut, blocks: 18, ..net(3, 10, 100_000) };
    let figures = run(&[world], 1).remove(0);
    assert!(figures.outcome.deepest > 0);
    assert!((1..NODES).contains(&figures.losing_side()));
    let [half, all] = figures.recovery_seconds([50, 100]).unwrap();
    assert!(half <= all && all < 60.0, "{half} {all}");
    assert_eq!(figures.outcome.at_tip, NODES);
    assert!(table::markdown(&[figures], "").contains("30 % of the nodes cut off for 100 s"));
}
