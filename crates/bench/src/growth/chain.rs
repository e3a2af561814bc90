//! How long a fresh node takes to copy a chain from a neighbour, by the chain's length.

use crate::{
    Outcome,
    nodes::Net,
    parts::Bench,
    payments::Payments,
    plot::{Curve, Plot},
    sync,
    timing::median_of,
};

use super::push_curves;

const PART: &str = "growth-chain";

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let per_block = bench.scale.growth_payments;
    let mut points = Vec::new();
    for blocks in bench.scale.growth_chain.clone() {
        eprintln!("{PART}: {blocks} blocks of {per_block} payments");
        let net = Net::new(bench.scratch()?, &Payments::genesis_text(per_block))?;
        let tip = sync::make_chain(bench, net.path(), (blocks, per_block), 1)?;
        let peer = net.start("peer0", &[])?;
        let times = (0..bench.scale.repeats)
            .map(|_| sync::copied(&net, std::iter::once(peer.rpc.peer_address.clone()), tip));
        points.push((blocks as f64, median_of(times.collect::<Outcome<Vec<_>>>()?.into_iter())));
    }
    let name = format!("{per_block} payments each");
    let title = format!("A fresh node copies the chain, {per_block} payments a block");
    let curves = vec![Curve { name, points }];
    let plot = Plot { name: "sync", title, x: "blocks", y: "s", curves };
    push_curves(bench, PART, "s", plot);
    Ok(())
}
