//! How fast blocks of other kinds of transactions connect, beside what their parts take alone.

use crate::{
    Outcome, bounds,
    connect::{connected, recorded},
    drive::Trust,
    parts::Bench,
    payments::Kind,
    report::{Figure, Row},
    timing::median_of,
    workload::Workload,
};

const PART: &str = "kinds";

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    for (kind, name) in Kind::ALL {
        let what = match kind {
            // The workload of every other part.
            Kind::Payments => continue,
            Kind::OneOwner => format!("{} coins of one owner each", kind.inputs()),
            Kind::Policies => "two keys of three".to_owned(),
        };
        let per_block = bench.scale.payments_per_block / kind.inputs();
        let workload = Workload::new(bench, (kind, name), bench.scale.kind_blocks, per_block)?;
        let checks: Vec<_> = workload.made.iter().flat_map(|made| made.checks.clone()).collect();
        let commits = recorded(bench, &workload, false)?;
        let (mut times, mut parts) = (Vec::new(), Vec::new());
        for _ in 0..bench.scale.repeats {
            let alone = bounds::verify_in_batches(&checks)
                + bounds::hash(&workload.made)
                + bounds::accumulate(&workload.made)
                + bounds::write(bench.scratch()?.path(), commits.clone())?;
            parts.push(alone.wall.as_secs_f64());
            times.push(connected(bench, &workload, false, Trust::Nothing)?.wall.as_secs_f64());
        }
        let ratio = median_of(parts.iter().zip(&times).map(|(alone, time)| alone / time));
        let rate = |times: Vec<f64>| {
            Figure::new(workload.payments as f64 / median_of(times.into_iter()), "coins/s")
        };
        let signatures = checks.len() as f64 / workload.payments as f64;
        let row =
            Row::new(PART, format!("connect, all signatures, no indexes: {what}"), rate(times))
                .note(format!("{signatures:.2} signatures a coin"))
                .against_paired("its parts alone, one after the other", rate(parts), ratio);
        bench.report.push(row);
    }
    Ok(())
}
