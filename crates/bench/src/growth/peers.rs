//! How long a block takes from its finder to the last of all, by how many neighbours each has.

use ashlar_processes::Tips;

use crate::{
    Outcome,
    nodes::Net,
    parts::Bench,
    payments::Payments,
    plot::{Curve, Plot},
    relay::{self, Topology},
    timing::median_of,
};

use super::push_curves;

const PART: &str = "growth-peers";

/// Blocks before the first that counts.
const WARM_UP: usize = 3;

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let (count, blocks) = (bench.scale.growth_payments, bench.scale.growth_blocks);
    let (payments, lead) = Payments::new(bench.seed, count);
    let (mut finder, mut farthest) = (Vec::new(), Vec::new());
    for peers in bench.scale.growth_peers.clone() {
        eprintln!("{PART}: {peers} neighbours each, {blocks} blocks of {count} payments");
        let net = Net::new(bench.scratch()?, &Payments::genesis_text(count))?;
        let nodes = relay::start(&net, Topology::Mesh, peers + 1)?;
        let tips = Tips::of(nodes.iter().map(|node| &node.process))?;
        for made in &lead {
            relay::found(&nodes, &tips, made)?;
        }
        let mut payments = payments.clone();
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for number in 0..WARM_UP + blocks {
            let made = payments.block(count);
            relay::warm(&nodes, &made)?;
            let arrived = relay::found(&nodes, &tips, &made)?;
            if number >= WARM_UP {
                first.push(arrived[0]);
                last.push(arrived.into_iter().fold(0.0, f64::max));
            }
        }
        finder.push((peers as f64, median_of(first.into_iter())));
        farthest.push((peers as f64, median_of(last.into_iter())));
    }
    let curve = |name: &str, points| Curve { name: name.to_owned(), points };
    let title = format!("A block of {count} payments: found to tip, all on the same cores");
    let curves = vec![curve("at the last", farthest), curve("at its finder", finder)];
    let plot = Plot { name: "relay", title, x: "neighbours", y: "ms", curves };
    push_curves(bench, PART, "ms", plot);
    Ok(())
}
