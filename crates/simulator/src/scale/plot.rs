//! The report as a picture: how far blocks have spread after how long, and what that costs.

use super::Figures;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Left, top, right, bottom of the plotted area.
const FRAME: [f64; 4] = [64.0, 40.0, 520.0, 360.0];
/// Told apart also by those who see few colours (Okabe and Ito).
const COLOURS: [&str; 8] =
    ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#000000"];
/// Points of a curve.
const STEPS: usize = 200;

/// A scale from numbers to places.
#[derive(Clone, Copy)]
struct Axis {
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn place(self, value: f64) -> f64 {
        self.from + (self.to - self.from) * (value / self.most).min(1.0)
    }
}

/// A picture with one curve for each world without a cut: seconds since a block was found, and
/// the share of nodes that have it.
pub fn spreading(all: &[Figures]) -> String {
    let curves: Vec<&Figures> = all.iter().filter(|it| it.experiment.cut.is_none()).collect();
    let slowest = curves.iter().map(|it| it.spread_seconds(99)).fold(1.0, f64::max).ceil();
    let [left, top, right, bottom] = FRAME;
    let x = Axis { most: slowest, from: left, to: right };
    let y = Axis { most: 1.0, from: bottom, to: top };
    let mut out = String::new();
    let mut add = |text: std::fmt::Arguments<'_>| out.push_str(&text.to_string());
    add(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{left}\" y=\"24\" font-size=\"15\">Share of {} nodes that have a block</text>\n",
        curves.first().map_or(0, |it| it.experiment.nodes)
    ));
    for tenth in 0..=10 {
        let (share, at) = (f64::from(tenth) / 10.0, f64::from(tenth) * slowest / 10.0);
        let (across, down) = (x.place(at), y.place(share));
        add(format_args!(
            "<path d=\"M{left} {down:.1}H{right}M{across:.1} {top}V{bottom}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} %</text>\n\
             <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at:.1}</text>\n",
            left - 8.0,
            down + 4.0,
            tenth * 10,
            bottom + 18.0,
        ));
    }
    add(format_args!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">seconds since it was found</text>\n",
        (left + right) / 2.0,
        bottom + 40.0
    ));
    for (number, figures) in curves.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let points: Vec<String> = (0..=STEPS)
            .map(|step| {
                let at = slowest * step as f64 / STEPS as f64;
                format!("{:.1},{:.1}", x.place(at), y.place(figures.reached(at)))
            })
            .collect();
        let (line, legend) = (top + 20.0 * number as f64 + 8.0, right + 16.0);
        add(format_args!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\n\
             <path d=\"M{legend} {line}h20\" stroke=\"{colour}\" stroke-width=\"3\"/>\n\
             <text x=\"{}\" y=\"{}\">{} kB each {} s, stale {:.1} %</text>\n",
            points.join(" "),
            legend + 26.0,
            line + 4.0,
            figures.experiment.block_bytes / 1_000,
            figures.experiment.interval.as_secs(),
            figures.stale_expected().unwrap_or_default() * 100.0,
        ));
    }
    out.push_str("</svg>\n");
    out
}
