//! The short form of the torture: see the library of this package.

use ashlar_torture::{
    campaign::{Campaign, Feed, Setup},
    fault::Strikes,
    report::Tally,
    tree::Shape,
};

use crate::harness::{Net, binary};

/// Of these tests; the machine's timing makes each run another.
const SEED: u64 = 1;
const SHAPE: Shape = Shape { blocks: 120, payments: 8, deepest: 30 };

fn setup(net: &Net) -> Setup {
    Setup { node: binary("ashlar-node"), folder: net.path(""), flags: Vec::new(), shape: SHAPE }
}

#[test]
fn a_node_killed_at_any_moment_keeps_what_it_said() {
    let net = Net::new();
    let mut tally = Tally::default();
    for (feed, rounds, seed) in [(Feed::Rpc, 5, SEED), (Feed::Peer, 5, SEED + 1)] {
        let before = tally.rounds;
        let mut campaign = Campaign::new(&setup(&net), feed, seed, None, &mut tally).unwrap();
        while campaign.rounds() < before + rounds {
            campaign.kill().unwrap_or_else(|loss| panic!("seed {seed}, {feed:?}: {loss}"));
        }
        campaign.finish().unwrap_or_else(|loss| panic!("seed {seed}, {feed:?}: {loss}"));
    }
    assert_eq!(tally.rounds, 10);
    assert!(tally.verified >= 12 && tally.deepest > 5, "{tally}");
}

#[test]
fn a_node_killed_at_a_system_call_or_given_an_error_keeps_what_it_said() {
    let net = Net::new();
    if let Some(reason) = ashlar_torture::fault::missing_tracer() {
        eprintln!("skipped: {reason}");
        return;
    }
    let mut tally = Tally::default();
    let mut campaign = Campaign::new(&setup(&net), Feed::Rpc, SEED, None, &mut tally).unwrap();
    for mut strikes in [Strikes::kills(SEED), Strikes::errors(SEED)] {
        for _ in 0..4 {
            let strike = strikes.draw();
            let was_dealt = campaign.strike(strike);
            strikes.done(was_dealt.unwrap_or_else(|loss| panic!("{strike:?}: {loss}")));
        }
    }
    campaign.finish().unwrap();
    assert_eq!(tally.rounds, 8);
}
