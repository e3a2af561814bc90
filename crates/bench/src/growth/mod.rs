//! How costs grow: with the number of coins, the length of the chain, the number of peers and the
//! size of the mempool. Each is a curve (`--plots`) and a row that holds its end against its
//! beginning.

pub mod chain;
pub mod coins;
pub mod mempool;
pub mod peers;

use crate::{
    parts::Bench,
    plot::{Curve, Plot},
    report::{Figure, Row},
};

/// Takes in a curve: its plot, and a row for each of its points against the first.
fn push_curves(bench: &mut Bench<'_>, part: &'static str, unit: &'static str, plot: Plot) {
    for Curve { name, points } in &plot.curves {
        let Some((_, first)) = points.first() else { continue };
        for (at, (x, y)) in points.iter().enumerate() {
            let what = format!("{name}: {x} {}", plot.x);
            let row = Row::new(part, what, Figure::new(*y, unit));
            let peer = || format!("{} {}", points[0].0, plot.x);
            let row = if at == 0 { row } else { row.against(peer(), Figure::new(*first, unit)) };
            bench.report.push(row);
        }
    }
    bench.report.plots.push(plot);
}
