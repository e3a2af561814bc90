//! The report as tables: CSV for machines, Markdown for people.

use super::Figures;

/// The columns of the grid, as a header of the CSV.
const COLUMNS: &str = "nodes,interval_s,block_bytes,seed,blocks_found,blocks_in_chain,\
stale_share,stale_share_expected,median_s,p95_s,p99_s,reached_in_interval,coverage,\
mean_block_bytes,upload_kb_per_s,blocks_incomplete_share,gossip_dropped,requests_failed,\
peers_cut,gossip_rejected,nodes_at_tip,deepest_reorganisation,events,jobs_recalled,jobs_compared,\
losing_side,recovery_median_s,recovery_p95_s,recovery_p99_s,recovery_last_s";

/// All figures, a line for each world. The same seed gives the same text.
pub fn csv(all: &[Figures]) -> String {
    let mut out = format!("{COLUMNS}\n");
    for figures in all {
        let (experiment, outcome) = (&figures.experiment, &figures.outcome);
        let interval = experiment.interval.as_secs_f64();
        let fields = [
            experiment.nodes.to_string(),
            interval.to_string(),
            experiment.block_bytes.to_string(),
            experiment.seed.to_string(),
            outcome.found.to_string(),
            outcome.chain.len().to_string(),
            format!("{:.4}", figures.stale()),
            figures.stale_expected().map(|it| format!("{it:.4}")).unwrap_or_default(),
            format!("{:.3}", figures.spread_seconds(50)),
            format!("{:.3}", figures.spread_seconds(95)),
            format!("{:.3}", figures.spread_seconds(99)),
            format!("{:.5}", figures.reached(interval)),
            format!("{:.5}", figures.coverage()),
            format!("{:.0}", figures.block_bytes()),
            format!("{:.1}", figures.upload_kilobytes()),
            format!("{:.4}", figures.incomplete()),
            outcome.gossip_dropped.to_string(),
            outcome.requests_failed.to_string(),
            outcome.peers_cut.to_string(),
            outcome.rejected.to_string(),
            outcome.at_tip.to_string(),
            outcome.deepest.to_string(),
            outcome.events.to_string(),
            outcome.recalled.to_string(),
            outcome.compared.to_string(),
            figures.losing_side().to_string(),
            match figures.recovery_seconds([50, 95, 99, 100]) {
                Some(seconds) => seconds.map(|it| format!("{it:.3}")).join(","),
                None => ",,,".to_owned(),
            },
        ];
        out.push_str(&fields.join(","));
        out.push('\n');
    }
    out
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// One line about a world, for whoever waits.
pub fn line(figures: &Figures) -> String {
    let experiment = &figures.experiment;
    let about = format!(
        "{} nodes, {} s, {} kB: {} of {} blocks stay",
        experiment.nodes,
        experiment.interval.as_secs(),
        experiment.block_bytes / 1_000,
        figures.outcome.chain.len(),
        figures.outcome.found,
    );
    match figures.stale_expected() {
        None => format!("{about} of a net that was cut"),
        Some(stale) => format!(
            "{about}; median {:.2} s, 95 % {:.2} s, 99 % {:.2} s, expected stale {}, {:.0} kB/s up",
            figures.spread_seconds(50),
            figures.spread_seconds(95),
            figures.spread_seconds(99),
            percent(stale),
            figures.upload_kilobytes(),
        ),
    }
}

/// The table for people. `footing` tells what the run cost.
pub fn markdown(all: &[Figures], footing: &str) -> String {
    let mut out = String::from(
        "# How blocks spread\n\n\
         | interval | block | median | 95 % | 99 % | within the interval | ever | stale (counted) \
         | stale (expected) | upload | incomplete |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let (cut, grid): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.experiment.cut.is_some());
    let mut row = |text: std::fmt::Arguments<'_>| out.push_str(&text.to_string());
    for figures in grid {
        let experiment = &figures.experiment;
        let interval = experiment.interval.as_secs_f64();
        row(format_args!(
            "| {interval} s | {:.2} MB | {:.2} s | {:.2} s | {:.2} s | {} | {} | {} of {} | {} \
             | {:.0} kB/s | {} |\n",
            figures.block_bytes() / 1e6,
            figures.spread_seconds(50),
            figures.spread_seconds(95),
            figures.spread_seconds(99),
            percent(figures.reached(interval)),
            percent(figures.coverage()),
            figures.outcome.found - figures.outcome.chain.len(),
            figures.outcome.found,
            figures.stale_expected().map(percent).unwrap_or_default(),
            figures.upload_kilobytes(),
            percent(figures.incomplete()),
        ));
    }
    for figures in cut {
        let (Some(cut), Some([half, most, nearly, all])) =
            (figures.experiment.cut, figures.recovery_seconds([50, 95, 99, 100]))
        else {
            continue;
        };
        row(format_args!(
            "\n{} % of the nodes cut off for {} s: {} blocks found, {} stay; {} nodes had to come \
             over, half of them {half:.1} s after the healing, 95 % {most:.1} s, 99 % \
             {nearly:.1} s, the last {all:.1} s; the deepest reorganisation undid {} blocks; {} \
             of {} nodes ended at one tip.\n",
            cut.percent,
            (cut.until - cut.from).as_secs(),
            figures.outcome.found,
            figures.outcome.chain.len(),
            figures.losing_side(),
            figures.outcome.deepest,
            figures.outcome.at_tip,
            figures.outcome.nodes,
        ));
    }
    out.push('\n');
    out.push_str(footing);
    out
}
