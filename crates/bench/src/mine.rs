//! How many headers a mining thread tries in a second, by each kernel that this processor has,
//! beside the plain loop over the `sha2` crate with the midstate kept.

use ashlar_sha256d::{Kernel, Series};

use crate::{
    Outcome,
    parts::Bench,
    report::{Figure, Row},
    timing::{Watch, median_of},
};

const PART: &str = "mine";

/// What a kernel must do beside the plain loop on the same thread: one of the widest registers,
/// and any other.
const TARGET_WIDEST: f64 = 3.5;
const TARGET: f64 = 2.0;
/// The lanes of the widest registers.
const WIDEST_LANES: u32 = 16;

/// Measures this part.
pub fn run(bench: &mut Bench<'_>) -> Outcome<()> {
    let kernels = Kernel::available();
    let Some((plain, others)) = kernels.split_last() else { return Ok(()) };
    eprintln!("{PART}: {} headers by each of {} kernels", bench.scale.mine_headers, kernels.len());
    let (mut rates, mut plain_rates) = (vec![Vec::new(); others.len()], Vec::new());
    for _ in 0..bench.scale.mine_rounds {
        plain_rates.push(rate(plain, bench.scale.mine_headers));
        for (kernel, rates) in others.iter().zip(&mut rates) {
            rates.push(rate(kernel, bench.scale.mine_headers));
        }
    }
    let median = |rates: &[f64]| Figure::new(median_of(rates.iter().copied()), "headers/s");
    for (place, (kernel, rates)) in others.iter().zip(&rates).enumerate() {
        let ratio = median_of(rates.iter().zip(&plain_rates).map(|(rate, plain)| rate / plain));
        let what = format!("mining, a thread, {}", kernel.name());
        let plain = format!("{}, midstate kept", plain.name());
        let row =
            Row::new(PART, what, median(rates)).against_paired(plain, median(&plain_rates), ratio);
        let target = if kernel.lanes() >= WIDEST_LANES { TARGET_WIDEST } else { TARGET };
        // The node takes the first; the others are told of.
        let is_judged = bench.scale.is_judged && place == 0;
        bench.report.push(if is_judged { row.at_least(target) } else { row });
    }
    if others.is_empty() {
        let what = format!("mining, a thread, {}", plain.name());
        bench.report.push(Row::new(PART, what, median(&plain_rates)));
    }
    Ok(())
}

/// Headers in a second of processor time.
fn rate(kernel: &Kernel, headers: u32) -> f64 {
    // Nothing meets this target, so that all are tried.
    let series = Series::new(&[7; 80], &[0; 32]);
    let watch = Watch::start();
    std::hint::black_box(kernel.find(std::hint::black_box(&series), 0, headers));
    f64::from(headers) / watch.taken().processor.as_secs_f64()
}
